// Swap only what changed: [data-part] by [data-part], never a form that somebody is filling in.
import { correctFrom } from "./clock.js";

const served = new WeakMap(); // live region -> Map(part name -> what the server sent, ticking texts left out)

function fingerprint(part) {
  const copy = part.cloneNode(true);
  for (const e of copy.querySelectorAll("[data-clock], [data-ago], [data-until], [data-checked]")) e.textContent = "";
  for (const e of copy.querySelectorAll("[data-now]")) e.removeAttribute("value");
  return copy.outerHTML;
}

function busy(part) {
  if (part.querySelector("[data-kept]")) return true;
  if (part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select")) return true;
  return [...part.querySelectorAll("input, textarea, select")].some((field) => {
    if (field.type === "hidden" || (field.dataset.now !== undefined && !field.dataset.touched)) return false;
    if (field.tagName === "SELECT") return ![...field.options].every((o) => o.selected === o.defaultSelected || field.selectedIndex === 0);
    return field.value !== field.defaultValue;
  });
}

function replace(old, fresh) {
  const open = [...old.querySelectorAll("details[open][id]")].map((d) => d.id);
  const focus = old.contains(document.activeElement) ? document.activeElement.id : "";
  old.replaceWith(fresh);
  for (const id of open) { const d = fresh.querySelector(`#${CSS.escape(id)}`); if (d) d.open = true; }
  if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
}

export function swap(region, html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const current = new Map([...region.children].filter((e) => e.dataset.part).map((p) => [p.dataset.part, p]));
  // A form that was refused came with what was typed in it: what stands there is taken for what the server sends.
  const asSent = (part) => part.querySelector("[data-kept]") ? null : fingerprint(part);
  const known = served.get(region) ?? new Map([...current].map(([name, part]) => [name, asSent(part)]));
  const next = new Map();
  let previous = null;
  const parts = [...template.content.children].filter((e) => e.dataset.part);
  // An answer without parts is not ours (a proxy's page, say): an emptied board must never come of it.
  if (!parts.length) throw new Error("the answer held no parts");
  for (const fresh of parts) {
    const name = fresh.dataset.part;
    const text = fingerprint(fresh);
    next.set(name, text);
    let part = current.get(name);
    current.delete(name);
    if (!part) {
      part = fresh;
      previous ? previous.after(part) : region.prepend(part);
    } else if (known.get(name) !== text && known.get(name) !== null) {
      if (busy(part)) {
        part.querySelector("[data-changed]")?.removeAttribute("hidden");
        next.set(name, known.get(name) ?? "");
      } else {
        replace(part, fresh);
        part = fresh;
      }
    }
    if (previous ? part.previousElementSibling !== previous : region.firstElementChild !== part) {
      const focused = part.contains(document.activeElement) ? document.activeElement : null;
      previous ? previous.after(part) : region.prepend(part);
      focused?.focus({ preventScroll: true });
    }
    previous = part;
  }
  for (const gone of current.values()) if (!busy(gone)) gone.remove();
  served.set(region, next);
}

// Returns true when read, false when the session has ended; throws when the server cannot answer.
export async function refreshRegion(region) {
  const path = region.dataset.live;
  const response = await fetch(path, { headers: { "X-Ansim": "fragment" }, cache: "no-store", signal: AbortSignal.timeout(6000) });
  if (response.status === 401) return false;
  if (response.status === 403 || response.status === 404) {
    // Not ours to see any more: what stands there must go.
    if (region.dataset.live === path) location.reload();
    return true;
  }
  if (!response.ok) throw new Error(`status ${response.status}`);
  correctFrom(response);
  const html = await response.text();
  if (region.dataset.live === path) swap(region, html);
  return true;
}

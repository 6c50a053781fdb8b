// The dispatcher's board: selection, keys, panel, sound. What the rows say comes from the server.
import { nowMs, timeOfDay } from "./clock.js";
import { sendForms } from "./forms.js";
import { Live } from "./live.js";
import { refreshRegion } from "./parts.js";
import * as sound from "./sound.js";
import { t } from "./words.js";

const region = document.getElementById("rows");
const panel = document.getElementById("panel");
const wide = matchMedia("(min-width: 68.75rem)");
const title = document.title;
let selected = null;
let known = new Set(rows().map((row) => row.dataset.id));

function rows() { return [...region.querySelectorAll(".row")]; }

async function refresh() {
  const signedIn = await refreshRegion(region);
  if (signedIn) afterRows();
  const open = panel.querySelector("[data-live]");
  if (signedIn && open) await refreshRegion(open);
  return signedIn;
}

const live = new Live({ refresh, onTick });

function afterRows() {
  const fresh = rows().filter((row) => !known.has(row.dataset.id));
  known = new Set(rows().map((row) => row.dataset.id));
  if (fresh.length) document.getElementById("said").textContent = fresh.map((row) => `${t("js.board.new")}: ${row.dataset.say}`).join(" ");
  mark();
}

function mark() {
  const openId = panel.querySelector("[data-live]")?.dataset.id;
  for (const row of rows()) {
    row.classList.toggle("selected", row.dataset.id === selected);
    row.classList.toggle("open-here", row.dataset.id === openId);
  }
}

function select(row) {
  if (!row) return;
  selected = row.dataset.id;
  mark();
  row.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

async function open(id) {
  if (!wide.matches) { location.assign(`/incidents/${id}`); return; }
  const box = document.createElement("div");
  box.className = "case";
  box.dataset.live = `/incidents/${id}/body`;
  box.dataset.id = id;
  panel.replaceChildren(box);
  panel.scrollTop = 0;
  selected = id;
  mark();
  await live.reread();
}

function closePanel() {
  const empty = Object.assign(document.createElement("p"), { className: "panel-empty quiet", textContent: t("js.board.panel_empty") });
  panel.replaceChildren(empty);
  mark();
}

function onTick(state) {
  const unclaimed = rows().filter((row) => "unclaimed" in row.dataset);
  const age = (row) => nowMs() / 1000 - row.dataset.opened;
  const urgency = Math.max(0, ...unclaimed.map((row) => sound.level(row.dataset.priority, age(row))));
  // The lost link is louder: what the rows say is no longer known to be true.
  if (state === "lost") sound.lostTone(); else sound.alarm(urgency);
  document.title = (state === "lost" ? "⚠ " : "") + (unclaimed.length ? `(${unclaimed.length}) ` : "") + title;
  document.documentElement.dataset.urgency = state === "lost" ? "lost" : urgency;
  const checked = region.querySelector("[data-checked]");
  if (checked) checked.textContent = timeOfDay(Math.max(live.heard, live.read) + (nowMs() - Date.now()));
  document.getElementById("sound").hidden = sound.audible();
  document.getElementById("sound-ok").hidden = !sound.audible();
}

async function unlock() {
  await sound.unlock();
  onTick(live.state);
}
document.getElementById("sound").hidden = false;
document.getElementById("sound").addEventListener("click", unlock);
for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, unlock, { once: true });
unlock(); // A page opened by a click may already be allowed to sound.

function press(row, action) { row?.querySelector(`form[data-act="${action}"] button`)?.click(); }

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, textarea, select")) { if (event.key === "Escape") event.target.blur(); return; }
  const list = rows();
  const at = list.findIndex((row) => row.dataset.id === selected);
  if (event.key === "j") select(list[Math.min(at + 1, list.length - 1)]);
  else if (event.key === "k") select(list[Math.max(at - 1, 0)]);
  else if (event.key === "Enter" && at >= 0 && !event.target.matches("a, button, summary")) open(selected);
  else if (event.key === "c") press(list[at], "claim");
  else if (event.key === "a") press(list[at], "acknowledge");
  else if (event.key === "Escape") closePanel();
  else return;
  event.preventDefault();
});

region.addEventListener("click", (event) => {
  const link = event.target.closest("[data-open-id]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || !wide.matches) return;
  event.preventDefault();
  open(link.dataset.openId);
});

sendForms((action, form, worked) => {
  const id = form.closest(".row")?.dataset.id;
  // Whoever claims from the list needs the whole case next.
  if (action === "claim" && worked && id) open(id); else live.reread();
});

// Send the actions without leaving the page; without this script they are plain forms.
import { toast } from "./live.js";
import { t } from "./words.js";

// A page that was opened before the help button was pressed has no tick to set yet; what was chosen stays.
function askIfSure(form) {
  const part = form.querySelector("[data-sure]");
  const tick = part?.querySelector("input");
  if (!tick) return;
  part.hidden = false;
  tick.disabled = false;
  tick.required = true;
  tick.focus();
}

export function sendForms(done) {
  document.addEventListener("input", (event) => { event.target.dataset.touched = "1"; });
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.dataset.act) return;
    event.preventDefault();
    const buttons = [...form.querySelectorAll("button")];
    const body = new URLSearchParams(new FormData(form, event.submitter));
    buttons.forEach((b) => { b.disabled = true; });
    try {
      const response = await fetch(form.getAttribute("action"), {
        method: "POST", body, headers: { "X-Ansim": "fragment" }, signal: AbortSignal.timeout(10000),
      });
      if (response.ok) {
        form.reset();
        const kept = form.dataset.kept !== undefined;
        delete form.dataset.kept;
        for (const field of form.elements) {
          delete field.dataset.touched;
          if (kept && field.matches("input:not([type=hidden], [type=checkbox]), textarea, select")) field.value = "";
        }
        form.closest("details")?.removeAttribute("open");
        document.activeElement?.blur?.();
        if (response.status === 202) toast((await response.json()).message);
        done(form.dataset.act, form, true);
      } else {
        const answer = response.status === 409 ? await response.json() : {};
        if (answer.sure) askIfSure(form);
        toast(answer.message || t("js.act.failed"));
        done(form.dataset.act, form, false);
      }
    } catch (error) {
      console.warn("action failed", error);
      toast(t("js.act.no_link"));
    }
    buttons.forEach((b) => { b.disabled = false; });
  });
}

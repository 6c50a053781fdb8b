// One link to the server's event stream, and the judgement whether what is on the screen still holds.
import { nowMs, tick, timeOfDay } from "./clock.js";
import { t } from "./words.js";

const EVENTS = ["beat", "incident", "condition", "device"];
const SILENCE_MS = 8000;
const FAILING_MS = 4000; // the browser itself says that the link is down
const RETRY_MS = 3000;
const NET_MS = 20000; // re-read now and then even if no event said so
const POLL_MS = 3000; // while there is no stream (refused, cut by a proxy) ask instead of listening

export class Live {
  constructor({ refresh, onTick = () => {}, onState = () => {} }) {
    Object.assign(this, { refresh, onTick, onState });
    this.heard = Date.now();
    this.failing = null;
    this.wanted = null; // since when the screen has known that it is out of date
    this.read = Date.now();
    this.state = "waiting";
    this.signedOut = false;
    this.reading = false;
    this.again = false;
    this.connect();
    const worker = new Worker(new URL("./ticker.js", import.meta.url));
    worker.onmessage = () => this.everySecond();
  }

  connect() {
    this.source?.close();
    this.dialled = Date.now();
    this.source = new EventSource("/v1/events");
    this.source.onopen = () => { this.hear(); this.reread(); };
    this.source.onmessage = () => { this.hear(); this.reread(); };
    for (const name of EVENTS) {
      this.source.addEventListener(name, (event) => { this.hear(); if (name !== "beat" || this.callsChanged(event)) this.reread(); });
    }
    // Refused outright (signed out, server gone): the browser will not try again, so we find out why.
    this.source.onerror = () => {
      this.failing ??= Date.now();
      if (this.source.readyState === EventSource.CLOSED) this.reread();
    };
  }

  // The beat tells whether calls go out at all; a change of that is news like any other.
  callsChanged(event) {
    const { calls } = JSON.parse(event.data);
    const changed = this.calls !== undefined && this.calls !== calls;
    this.calls = calls;
    return changed;
  }

  hear() { this.heard = Date.now(); this.failing = null; this.judge(); }

  async reread() {
    this.wanted ??= Date.now();
    if (this.reading) { this.again = true; return; }
    this.reading = true;
    this.again = false;
    const asked = Date.now();
    try {
      const signedIn = await this.refresh();
      this.signedOut = !signedIn;
      if (signedIn) { this.read = asked; this.wanted = this.again ? asked : null; }
    } catch (error) {
      console.warn("refresh failed", error);
    }
    this.reading = false;
    this.judge();
    if (this.again) this.reread();
  }

  staleSince() {
    const marks = [];
    const now = Date.now();
    const fresh = Math.max(this.heard, this.read);
    const down = this.failing && now - this.failing > FAILING_MS && now - fresh > FAILING_MS;
    if (down || now - fresh > SILENCE_MS) marks.push(fresh);
    if (this.wanted && now - this.wanted > SILENCE_MS) marks.push(this.wanted);
    if (this.signedOut) marks.push(this.read);
    return marks.length ? Math.min(...marks) : null;
  }

  everySecond() {
    tick();
    const now = Date.now();
    const quiet = now - this.heard > SILENCE_MS;
    const refused = this.source.readyState === EventSource.CLOSED;
    if ((quiet || refused) && now - this.dialled > RETRY_MS) this.connect();
    const pause = quiet || this.failing ? POLL_MS : NET_MS;
    if ((this.wanted && now - this.wanted > 2000) || now - this.read > pause) this.reread();
    this.judge();
    this.onTick(this.state);
  }

  judge() {
    const since = this.staleSince();
    const state = since === null ? "live" : "lost";
    showLink(state, this.failing || Date.now() - this.heard > SILENCE_MS);
    if (state === "lost") showLost(since, this.signedOut);
    if (state !== this.state) {
      if (state === "live") hideLost(this.state === "lost");
      this.state = state;
      this.onState(state);
    }
  }
}

function showLink(state, slow) {
  const link = document.getElementById("link");
  if (!link) return;
  link.dataset.state = state;
  const key = state === "lost" ? "js.link.lost" : slow ? "js.link.slow" : "js.link.live";
  const text = t(key, { time: timeOfDay(nowMs()) });
  const label = document.getElementById("link-text");
  if (label.textContent !== text) label.textContent = text;
}

function showLost(since, signedOut) {
  const banner = document.getElementById("lost");
  const at = timeOfDay(since + (nowMs() - Date.now()));
  const key = `${signedOut}${at}`;
  document.body.classList.add("is-lost");
  document.getElementById("toast").hidden = true;
  if (!banner.hidden && banner.dataset.key === key) return;
  banner.dataset.key = key;
  banner.replaceChildren();
  const main = document.createElement("span");
  main.textContent = `⚠ ${signedOut ? t("js.lost.signed_out", { time: at }) : t("js.lost", { time: at })}`;
  banner.append(main);
  if (signedOut) {
    const link = Object.assign(document.createElement("a"), {
      className: "button", href: `/login?next=${encodeURIComponent(location.pathname)}`, textContent: t("js.lost.log_in"),
    });
    banner.append(link);
  }
  const what = document.createElement("small");
  what.textContent = t("js.lost.what") + (signedOut ? "" : ` ${t("js.lost.trying")}`);
  banner.append(what);
  banner.hidden = false;
}

function hideLost(wasLost) {
  document.getElementById("lost").hidden = true;
  document.body.classList.remove("is-lost");
  if (wasLost) toast(t("js.link.back"));
}

let toastTimer;
export function toast(text) {
  const box = document.getElementById("toast");
  box.textContent = text;
  box.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { box.hidden = true; }, 6000);
}

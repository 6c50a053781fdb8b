// Ages and countdowns by the server's clock: a dispatcher's computer may be minutes off.
import { t } from "./words.js";

let offsetMs = Number(document.querySelector('meta[name="server-time"]')?.content || 0) * 1000 - Date.now();
if (!Number.isFinite(offsetMs) || Math.abs(offsetMs) > 1e12) offsetMs = 0;

export function correctFrom(response) {
  const seconds = Number(response.headers.get("X-Server-Time"));
  if (seconds > 0) offsetMs = seconds * 1000 - Date.now();
}

export const nowMs = () => Date.now() + offsetMs;

const wallClock = new Intl.DateTimeFormat("en-GB", {
  timeZone: document.querySelector('meta[name="time-zone"]')?.content || undefined,
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
export const timeOfDay = (ms) => wallClock.format(new Date(ms));

export function secondsClock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

export function ago(seconds) {
  const whole = Math.floor(seconds);
  if (whole < 10) return t("js.ago.now");
  if (whole >= 86400) return count(Math.floor(whole / 86400), t("js.ago.day", { n: 1 }), "js.ago.days");
  if (whole >= 3600) return count(Math.floor(whole / 3600), t("js.ago.hour", { n: 1 }), "js.ago.hours");
  if (whole >= 60) return count(Math.floor(whole / 60), t("js.ago.minute", { n: 1 }), "js.ago.minutes");
  return count(whole, t("js.ago.second", { n: 1 }), "js.ago.seconds");
}

const count = (n, one, many) => (n === 1 ? one : t(many, { n }));

export function until(seconds) {
  const whole = Math.floor(seconds);
  if (whole <= 0) return t("js.until.now");
  if (whole < 100) return t("js.until.seconds", { n: whole });
  const m = Math.floor(whole / 60);
  if (m < 10) return t("js.until.minutes_seconds", { m, s: whole % 60 });
  return m < 100 ? t("js.until.minutes", { m }) : t("js.until.hours", { h: Math.floor(m / 60), m: m % 60 });
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function tick() {
  const now = nowMs() / 1000;
  for (const e of document.querySelectorAll("[data-clock]")) put(e, secondsClock(now - e.dataset.clock));
  for (const e of document.querySelectorAll("[data-ago]")) put(e, ago(now - e.dataset.ago));
  for (const e of document.querySelectorAll("[data-until]")) put(e, until(e.dataset.until - now));
  for (const e of document.querySelectorAll("input[data-now]")) {
    if (!e.dataset.touched && document.activeElement !== e) e.value = e.defaultValue = timeOfDay(nowMs());
  }
}

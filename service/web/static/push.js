// The switch "get alerts on this device". What holds is asked of the browser and of the server whenever a page opens.
import { t } from "./words.js";

const box = document.getElementById("push");
const [line, on, off] = ["push-state", "push-on", "push-off"].map((id) => document.getElementById(id));
const { key, me } = box.dataset;
const csrf = box.querySelector("[name=csrf]").value;
const WISH = "ansim-push"; // who wants to be told in this browser, so that what the browser ended is begun again
const WORKER = "/service-worker.js";
const SAID = {
  on: "js.push.on", off: "js.push.off", other: "js.push.other", blocked: "js.push.blocked", working: "js.push.working",
  unsupported: "js.push.unsupported", failed: "js.push.failed", unsure: "js.push.unsure",
};
const able = isSecureContext && "serviceWorker" in navigator && "PushManager" in window && "Notification" in window;

function show(state, offers = state) {
  box.dataset.state = state;
  box.hidden = false;
  line.textContent = t(SAID[state]);
  on.hidden = offers !== "off";
  off.hidden = offers !== "on";
  on.disabled = off.disabled = state === "working";
}

const wish = {
  get() { try { return localStorage.getItem(WISH); } catch { return null; } },
  set(value) { try { value ? localStorage.setItem(WISH, value) : localStorage.removeItem(WISH); } catch { /* asked again next time */ } },
};

async function door(method, body) {
  const headers = { "X-CSRF-Token": csrf, ...(body && { "Content-Type": "application/json" }) };
  const answer = await fetch("/v1/me/push", {
    method, headers, body: body && JSON.stringify(body), cache: "no-store", signal: AbortSignal.timeout(10000),
  });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.status === 204 ? null : answer.json();
}

const text = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const bytes = (raw) => Uint8Array.from(atob(raw.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const mark = async (endpoint) => text(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(endpoint)));

async function present() {
  const worker = await navigator.serviceWorker.getRegistration("/");
  return (await worker?.pushManager.getSubscription()) ?? null;
}

const fits = (subscription) => {
  const made = subscription.options?.applicationServerKey;
  const ending = subscription.expirationTime && subscription.expirationTime - Date.now() < 7 * 86400000;
  return !ending && (!made || text(made) === key);
};

async function begin() {
  const worker = await navigator.serviceWorker.register(WORKER, { scope: "/", updateViaCache: "none" });
  await navigator.serviceWorker.ready;
  let subscription = await worker.pushManager.getSubscription();
  if (subscription && !fits(subscription)) {
    await subscription.unsubscribe();
    subscription = null;
  }
  subscription ??= await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: bytes(key) });
  await door("POST", subscription.toJSON());
  wish.set(me);
  return worker;
}

async function turnOn() {
  show("working", "");
  if (await Notification.requestPermission() !== "granted") return look();
  const worker = await begin();
  show("on");
  await worker.showNotification(t("js.push.title"), { body: t("js.push.hello"), tag: "hello", icon: "/assets/favicon.svg" });
  off.focus();
}

async function turnOff() {
  show("working", "");
  const subscription = await present();
  wish.set(null);
  if (subscription) {
    // Either is enough: what the browser has ended, its push service refuses, and the server forgets it.
    const told = await Promise.allSettled([door("DELETE", { endpoint: subscription.endpoint }), subscription.unsubscribe()]);
    if (told.every((one) => one.status === "rejected")) throw told[0].reason;
  }
  show("off");
  on.focus();
}

async function look() {
  if (!able) return show("unsupported", "");
  if (Notification.permission === "denied") return show("blocked", "");
  const [subscription, told] = [await present(), await door("GET")];
  const mine = subscription && told.browsers.includes(await mark(subscription.endpoint));
  if (mine && fits(subscription)) {
    wish.set(me);
    return show("on");
  }
  if (Notification.permission === "granted" && (mine || wish.get() === me)) {
    await begin();
    return show("on");
  }
  return show(subscription && wish.get() ? "other" : "off", "off");
}

const tried = (work, state, offers) => work().catch((error) => {
  console.warn("push", error);
  show(state, offers);
});
on.addEventListener("click", () => tried(turnOn, "failed", "off"));
off.addEventListener("click", () => tried(turnOff, "failed", "on"));
tried(look, "unsure", "off");
if (able) {
  navigator.permissions?.query({ name: "notifications" }).then((permission) => {
    permission.onchange = () => { if (box.dataset.state !== "working") tried(look, "unsure", "off"); };
  }, () => {});
}

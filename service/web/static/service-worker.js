// Shows what is pushed, and opens the page that it names. It reads no page and keeps nothing.
const KEPT = { title: "안심 Ansim", body: "확인이 필요합니다. Please look.", path: "/" };
const AGAIN = "알림을 계속 받으려면 눌러서 열어 주세요. Tap to keep getting alerts.";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

// What does not open is shown all the same: a browser that swallows pushes loses the right to them.
function read(data) {
  try { return { ...KEPT, ...data.json() }; } catch { return KEPT; }
}

self.addEventListener("push", (event) => {
  const { title, body, tag, path, stays } = read(event.data);
  event.waitUntil(self.registration.showNotification(title, {
    body, tag, renotify: Boolean(tag), requireInteraction: Boolean(stays), data: { path }, icon: "/assets/favicon.svg",
  }));
});

function ours(path) {
  const url = new URL(String(path), self.location.origin);
  return url.origin === self.location.origin ? url.href : self.location.origin;
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const url = ours(event.notification.data?.path ?? "/");
  event.waitUntil(self.clients.matchAll({ type: "window", includeUncontrolled: true }).then((open) => {
    const there = open.find((one) => one.url === url);
    return there ? there.focus() : self.clients.openWindow(url);
  }));
});

// Only a page of ours may subscribe anew for whoever is signed in; it does so by itself once it is open.
self.addEventListener("pushsubscriptionchange", (event) => {
  event.waitUntil(self.registration.showNotification(KEPT.title, {
    body: AGAIN, tag: "again", requireInteraction: true, data: { path: "/" },
  }));
});

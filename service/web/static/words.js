// The texts of the page's language, written into the page by the server.
const texts = JSON.parse(document.getElementById("words")?.textContent || "{}");

export function t(key, params = {}) {
  const text = texts[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in params ? params[name] : whole));
}

// What is wrong with this page, by kind: too wide, cut off, too small, nameless, too pale, out of order.
const asked = { opacityProperty: true, visibilityProperty: true };
const visible = (e) => e.checkVisibility(asked) && e.getClientRects().length;
const named = (e) => e.outerHTML.slice(0, 90);
const all = (css) => [...document.querySelectorAll(css)].filter(visible);
const controls = all("button, summary, .button, select, textarea, input:not([type=hidden])");
const name = (e) => e.getAttribute("aria-label") || e.labels?.[0]?.textContent || e.textContent || e.title || "";
const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
const rgb = (text) => (text.match(/[\d.]+/g) || []).map(Number);
const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) => [r, g, b].map((c) => linear(c / 255))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
function ground(e) {
  for (let at = e; at; at = at.parentElement) {
    const colour = rgb(getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
}
function pale(e) {
  const style = getComputedStyle(e);
  const [one, other] = [light(rgb(style.color)), light(ground(e))].sort((a, b) => b - a);
  const px = parseFloat(style.fontSize);
  return (one + 0.05) / (other + 0.05) < (px >= 24 || (px >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5);
}
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const said = new Set();
while (walker.nextNode()) if (walker.currentNode.data.trim()) said.add(walker.currentNode.parentElement);
const texts = [...said].filter((e) => visible(e) && !e.closest("svg, script, .sr, .skip, :disabled"));
const levels = all("h1, h2, h3, h4").map((e) => Number(e.tagName[1]));
return {
  wide: Math.max(0, document.documentElement.scrollWidth - innerWidth),
  beyond: texts.filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest("pre, textarea, table")).map(named),
  cut: texts.filter((e) => e.scrollWidth > e.clientWidth + 1 && /hidden|clip/.test(getComputedStyle(e).overflowX)).map(named),
  small: controls.filter((e) => e.getBoundingClientRect().height < 43.5).map(named),
  nameless: [...controls, ...all("a[href]")].filter((e) => !name(e).trim()).map(named),
  unlabelled: all("select, textarea, input:not([type=hidden])").filter((e) => !e.labels?.length && !e.getAttribute("aria-label")).map(named),
  twice: ids.filter((id, i) => ids.indexOf(id) !== i),
  dangling: all("[aria-labelledby]").filter((e) => e.getAttribute("aria-labelledby").split(" ").some((id) => !document.getElementById(id))).map(named),
  pale: texts.filter(pale).map(named),
  headings: levels.filter((n, i) => n > (i ? levels[i - 1] : 0) + 1).length + (levels.filter((n) => n === 1).length === 1 ? 0 : 1),
  language: document.documentElement.lang ? [] : ["html"],
};

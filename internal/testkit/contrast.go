package testkit

import (
	"fmt"

	"github.com/chromedp/chromedp"
)

// lowContrastScript lists the visible texts of a page whose contrast ratio to
// their background (WCAG 2.1) is below a minimum.
const lowContrastScript = `(least => {
  const parse = c => { const n = c.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const over = (top, under) => top.slice(0, 3).map((v, i) => v * top[3] + under[i] * (1 - top[3]));
  const light = c => {
    const [r, g, b] = c.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = e => {
    const layers = [];
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      layers.push(c);
      if (c[3] === 1) break;
    }
    return layers.reverse().reduce((under, c) => over(c, under), [255, 255, 255]);
  };
  const found = new Set();
  for (const e of document.body.querySelectorAll("*")) {
    const text = [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join(" ").trim();
    const style = getComputedStyle(e);
    if (!text || !e.checkVisibility({opacityProperty: true, visibilityProperty: true}) || e.closest("svg, option, :disabled")) continue;
    const back = behind(e), a = light(over(parse(style.color), back)), b = light(back);
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < least) found.add(contrast.toFixed(2) + " " + e.tagName.toLowerCase() + "." + e.className + ": " + text.slice(0, 40));
  }
  return [...found];
})(%g)`

// FaintTexts returns the visible texts whose contrast ratio is below least, which
// is from 1 (invisible) to 21 (black on white).
func (b *Browser) FaintTexts(least float64) []string {
	b.t.Helper()
	return inBrowser(b, "find texts of low contrast", chromedp.Evaluate[[]string](fmt.Sprintf(lowContrastScript, least)))
}

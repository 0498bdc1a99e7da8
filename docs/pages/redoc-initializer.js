// Starts ReDoc on /redoc. A file of its own, because the page's Content-Security-Policy allows no inline script.
"use strict";

// ReDoc shows a logo from its makers' server. Images from elsewhere are not asked for: the page works offline. React sets
// an image's source both as an attribute and as a property.
const isOurs = (url) => url.startsWith("data:") || new URL(url, location.href).origin === location.origin;
const source = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, "src");
Object.defineProperty(HTMLImageElement.prototype, "src", {
  ...source,
  set(url) {
    if (isOurs(url)) {
      source.set.call(this, url);
    }
  },
});
HTMLImageElement.prototype.setAttribute = function (name, value) {
  if (name !== "src" || isOurs(value)) {
    Element.prototype.setAttribute.call(this, name, value);
  }
};

const themes = {
  light: {
    colors: { primary: { main: "#1d5fa8" }, text: { primary: "#1f2933" } },
    sidebar: { backgroundColor: "#f4f6f8", textColor: "#1f2933" },
    rightPanel: { backgroundColor: "#1f2b36" },
  },
  dark: {
    colors: {
      primary: { main: "#8ab8ec" },
      success: { main: "#7fc98b" },
      warning: { main: "#e3b867", contrastText: "#15181a" },
      error: { main: "#ef8f8f" },
      gray: { 50: "#23292c", 100: "#2a3135" },
      text: { primary: "#e4e6e6", secondary: "#b3bbc0" },
      border: { dark: "#454e53", light: "#353c40" },
      responses: {
        success: { color: "#7fc98b", backgroundColor: "#1d2a20", tabTextColor: "#7fc98b" },
        error: { color: "#ef8f8f", backgroundColor: "#2d2020", tabTextColor: "#ef8f8f" },
        redirect: { color: "#e3b867", backgroundColor: "#2c2719", tabTextColor: "#e3b867" },
        info: { color: "#8ab8ec", backgroundColor: "#1c2733", tabTextColor: "#8ab8ec" },
      },
    },
    schema: { nestedBackground: "#22282b", linesColor: "#56718a", typeNameColor: "#b3bbc0", typeTitleColor: "#b3bbc0" },
    typography: { code: { color: "#f2a7a7", backgroundColor: "#2a3135" }, links: { color: "#8ab8ec" } },
    sidebar: { backgroundColor: "#15181a", textColor: "#e4e6e6" },
    rightPanel: { backgroundColor: "#15181a", textColor: "#e4e6e6" },
    codeBlock: { backgroundColor: "#0d0f10" },
  },
};

// ReDoc 2.5 skips levels: below the heading of an operation it writes h5.
const setLevels = () => document.querySelectorAll("#redoc h5").forEach((heading) => heading.setAttribute("aria-level", "3"));

// Follow what the browser prefers, also when it changes: ReDoc takes its colours once, so it starts anew then.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const start = () => {
  const place = document.createElement("div");
  document.getElementById("redoc").replaceChildren(place);
  document.documentElement.classList.toggle("dark-mode", dark.matches);
  Redoc.init("/openapi.json", {
    theme: dark.matches ? themes.dark : themes.light,
    hideDownloadButton: true, // the bar has the link
    sortRequiredPropsFirst: true,
    expandResponses: "200,201",
  }, place, setLevels);
};
start();
dark.addEventListener("change", start);

// Adds to the guide's pages what HTML alone can't do. Without this script everything can be read and searched.

// A button that copies its block of code, where the browser allows it.
const addCopyButton = (block) => {
  const button = document.createElement("button");
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(block.textContent);
    button.textContent = "Copied";
  });
  block.parentElement.before(button);
};
if (navigator.clipboard) {
  document.querySelectorAll("main pre > code").forEach(addCopyButton);
}

// What is wider than the page can be scrolled by keyboard, and has a name for that.
const scrollers = document.querySelectorAll("main pre, main .table");
const markScrollers = () => {
  for (const element of scrollers) {
    const scrolls = element.scrollWidth > element.clientWidth;
    element.toggleAttribute("tabindex", scrolls);
    if (scrolls) {
      element.tabIndex = 0;
      element.setAttribute("role", "group");
      element.setAttribute("aria-label", element.matches("pre") ? "Code, scrolls sideways" : "Table, scrolls sideways");
    } else {
      element.removeAttribute("role");
      element.removeAttribute("aria-label");
    }
  }
};
markScrollers();
addEventListener("resize", markScrollers);

// Adds to the guide's pages what HTML alone can't do. Without this script everything can be read and searched.

// What there is to copy of a block of code: of a transcript, the commands without prompts and output.
const copyable = (block) => {
  if (!block.matches(".language-console")) {
    return block.textContent;
  }
  let continued = false;
  const commands = block.textContent.split("\n").filter((line) => {
    const command = continued || line.startsWith("$ ");
    continued = command && line.endsWith("\\");
    return command;
  });
  return commands.map((line) => line.replace(/^\$ /, "")).join("\n");
};

// A button that copies its block of code, where the browser allows it.
const addCopyButton = (block) => {
  const button = document.createElement("button");
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(copyable(block));
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

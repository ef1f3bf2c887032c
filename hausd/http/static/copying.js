// Buttons that copy a text.

export function copyButton(text, what, shown) {
  const button = document.createElement("button");
  button.type = "button";
  // Its name is what is shown, and of what.
  const show = (words, name) => {
    button.textContent = words;
    button.setAttribute("aria-label", name);
  };
  const begin = () => show("Copy", `Copy ${what}`);
  begin();
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      show("Copied", `Copied: ${what}`);
    } catch { // without HTTPS there is no clipboard: the text is selected instead
      if (shown.select) shown.select();
      else getSelection().selectAllChildren(shown);
      show("Press Ctrl+C", `Press Ctrl+C to copy ${what}`);
    }
    setTimeout(begin, 1600);
  });
  return button;
}

// A row of code with its button.
export function copyRow(place) {
  const code = place.querySelector("code");
  code.tabIndex = 0;
  place.append(copyButton(() => code.textContent, place.dataset.what ?? "this", code));
}

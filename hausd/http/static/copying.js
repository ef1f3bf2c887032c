// Buttons that copy a text.

export function copyButton(text, what, shown) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy ${what}`);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch { // without HTTPS there is no clipboard: the text is selected instead
      if (shown.select) shown.select();
      else getSelection().selectAllChildren(shown);
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  });
  return button;
}

// A row of code with its button.
export function copyRow(place) {
  const code = place.querySelector("code");
  code.tabIndex = 0;
  place.append(copyButton(() => code.textContent, place.dataset.what ?? "this", code));
}

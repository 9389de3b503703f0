for (const ticket of document.querySelectorAll("details.ticket")) {
  const [button, text] = [ticket.querySelector("button"), ticket.querySelector("pre")];
  button.hidden = false;
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(text);
    try {
      await navigator.clipboard.writeText(text.textContent);
    } catch {
      document.execCommand("copy"); // a page that was opened from a file has no clipboard of its own everywhere
    }
    button.textContent = "copied";
  });
}

// Joins the page of the explorer and the explorer in its frame, by messages, which also work
// between files: the theme goes in, the state and the height come out. The link has the state.
"use strict";

const frame = document.querySelector("iframe.explorer");

function sendTheme() {
  frame.contentWindow.postMessage({ theme: document.body.dataset.theme ?? "auto" }, "*");
}

window.addEventListener("message", ({ data, source }) => {
  if (source !== frame.contentWindow) return;
  if (data.height) frame.style.height = `${data.height}px`;
  if (data.link) history.replaceState(null, "", `#${data.link}`);
  if (data.isReady) sendTheme();
});
new MutationObserver(sendTheme).observe(document.body, { attributeFilter: ["data-theme"] });
if (location.hash) frame.src += location.hash;

// Keeps the page up to date and moves the cursor over the spectrogram. Everything works without it but by hand.
//
// The server says by an event that something has changed; the page is fetched anew and the parts that differ are put
// in (data-live names them). A part in which somebody is typing, listening or has opened something waits for later.
"use strict";
const main = document.querySelector("[data-live]");
const cut = document.getElementById("cut");

function busy(part) {
  const active = document.activeElement;
  const typing = part.contains(active) && active.matches("input, select, textarea, audio, button");
  return typing || part.querySelector("details[open]") || [...part.querySelectorAll("audio")].some((a) => !a.paused);
}

document.body.addEventListener("htmx:oobBeforeSwap", (event) => {
  const { target, fragment } = event.detail;
  const fresh = fragment.firstElementChild ?? fragment;
  if (busy(target) || target.outerHTML === fresh.outerHTML) event.detail.shouldSwap = false;
});

if (main && window.htmx) {
  const parts = main.dataset.live.split(" ").filter((id) => document.getElementById(id));
  main.setAttribute("hx-get", location.pathname + location.search);
  main.setAttribute("hx-trigger", "renew");
  main.setAttribute("hx-swap", "none");
  main.setAttribute("hx-select-oob", parts.map((id) => `#${id}`).join(","));
  main.setAttribute("hx-disinherit", "*");
  main.setAttribute("hx-sync", "this:drop");
  htmx.process(main);
  const events = new EventSource("/events");
  const renew = () => htmx.trigger(main, "renew");
  events.addEventListener("changed", renew);
  events.addEventListener("tick", renew);
  events.addEventListener("open", () => { if (!cut.hidden) renew(); cut.hidden = true; });
  events.addEventListener("error", () => { cut.hidden = false; });
  document.body.addEventListener("htmx:sendError", () => { cut.hidden = false; });
}

// One sound at a time, and the line that shows where in the spectrogram it is.
document.addEventListener("play", (event) => {
  for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
}, true);
document.addEventListener("timeupdate", (event) => {
  const audio = event.target;
  if (!["raw", "separated", "enhanced"].includes(audio.dataset.kind) || !audio.duration) return;
  for (const line of document.querySelectorAll(".cursor")) {
    const x = Number(line.dataset.room) * (audio.currentTime / audio.duration);
    line.setAttribute("transform", `translate(${x.toFixed(1)} 0)`);
  }
}, true);

// A form that is opened takes the keyboard to its button: Enter acknowledges.
document.addEventListener("toggle", (event) => {
  if (event.target.matches("details.act") && event.target.open) event.target.querySelector("button").focus();
}, true);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const one of document.querySelectorAll("details.act[open]")) {
    one.open = false;
    one.querySelector("summary").focus();
  }
});

// Fetches the page anew every few seconds and puts in what has changed. Sound that plays, and the keyboard's place,
// are left alone: the part they are in waits for the next time.
"use strict";
const EVERY_MS = 5000;
const PARTS = ["problems", "open", "machines", "recent", "foot"];
const cut = document.getElementById("cut");

function busy(part) {
  return part.contains(document.activeElement) || [...part.querySelectorAll("audio")].some((a) => !a.paused);
}

async function refresh() {
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of PARTS) {
      const old = document.getElementById(id);
      const now = fresh.getElementById(id);
      if (old && now && old.innerHTML !== now.innerHTML && !busy(old)) old.replaceWith(document.adoptNode(now));
    }
    cut.hidden = true;
  } catch {
    cut.hidden = false;
  }
  setTimeout(refresh, EVERY_MS);
}

setTimeout(refresh, EVERY_MS);

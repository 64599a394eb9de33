"use strict";

// Keeps the changing part of a page up to date: asks the same address for that part alone, often while a job is still to
// end, seldom otherwise, and not at all while nobody looks.
const BUSY_MS = 1000;
const IDLE_MS = 5000;
const ERROR_MS = 15000;

function keepLive(element) {
  const address = new URL(element.dataset.live, location.href);
  address.searchParams.set("part", "1");
  let shown = element.innerHTML;

  async function refresh() {
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    if (!answer.ok) {
      throw new Error(`The server answered ${answer.status}.`);
    }
    const text = await answer.text();
    if (text !== shown) {
      shown = text;
      element.innerHTML = text;
    }
  }

  async function tick() {
    let pause = ERROR_MS;
    try {
      if (!document.hidden) {
        await refresh();
      }
      pause = element.querySelector("[data-unfinished]") ? BUSY_MS : IDLE_MS;
    } catch (error) {
      console.warn(error);
    }
    setTimeout(tick, pause);
  }

  setTimeout(tick, BUSY_MS);
}

document.querySelectorAll("[data-live]").forEach(keepLive);

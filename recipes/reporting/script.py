# SPDX-License-Identifier: Apache-2.0
"""What a report does when it is touched: maps tell their points, players move over spectrograms."""

# Plain JavaScript, run once at the page's end. Without it, the maps' points still tell themselves
# where the pointer rests, and the players still play.
SCRIPT = """
"use strict";
(() => {
  const maps = [...document.querySelectorAll(".map")];
  const dotsOf = map => [...map.querySelectorAll(".dot")];
  const everyDot = maps.flatMap(dotsOf);

  function clear() {
    everyDot.forEach(dot => dot.classList.remove("dim", "same"));
    document.querySelectorAll(".maps .tip").forEach(tip => { tip.hidden = true; });
    document.querySelectorAll(".legend button").forEach(key => {
      key.setAttribute("aria-pressed", "false");
    });
  }

  function single(dot) {
    clear();
    everyDot.forEach(other => {
      if (other.dataset.n === dot.dataset.n) other.classList.add("same");
    });
    const map = dot.closest(".map"), figure = dot.closest("figure");
    dotsOf(map).forEach(other => {
      if (other.dataset.g !== dot.dataset.g) other.classList.add("dim");
    });
    const tip = figure.querySelector(".tip");
    tip.textContent = dot.dataset.told;
    tip.hidden = false;
    const box = figure.getBoundingClientRect(), at = dot.getBoundingClientRect();
    const left = Math.min(at.left - box.left, box.width - tip.offsetWidth);
    const above = at.top - box.top - tip.offsetHeight - 8;
    tip.style.left = Math.max(0, left) + "px";
    tip.style.top = (above > 0 ? above : at.bottom - box.top + 8) + "px";
  }

  everyDot.forEach(dot => {
    const title = dot.querySelector("title");
    dot.dataset.told = title.textContent;
    title.remove();
    dot.addEventListener("pointerenter", () => single(dot));
    dot.addEventListener("click", event => { event.stopPropagation(); single(dot); });
  });
  maps.forEach(map => {
    map.addEventListener("pointerleave", event => {
      if (event.pointerType === "mouse") clear();
    });
    map.addEventListener("click", clear);
    map.closest("figure").querySelectorAll(".legend button").forEach(key => {
      key.addEventListener("click", () => {
        const pressed = key.getAttribute("aria-pressed") === "true";
        clear();
        if (pressed) return;
        key.setAttribute("aria-pressed", "true");
        dotsOf(map).forEach(dot => {
          if (dot.dataset.g !== key.dataset.g) dot.classList.add("dim");
        });
      });
    });
  });

  const players = [...document.querySelectorAll(".clip-card audio")];
  players.forEach(player => {
    const picture = player.closest(".clip-card").querySelector(".spectrogram");
    if (!picture) return;
    const line = picture.querySelector(".playhead");
    const seconds = Number(picture.dataset.seconds);
    const move = () => {
      const x = 1000 * Math.min(1, player.currentTime / seconds);
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
      if (!player.paused) requestAnimationFrame(move);
    };
    player.addEventListener("play", () => {
      players.forEach(other => { if (other !== player) other.pause(); });
      line.classList.add("playing");
      move();
    });
    player.addEventListener("seeked", move);
    player.addEventListener("ended", () => line.classList.remove("playing"));
    picture.addEventListener("click", event => {
      const box = picture.getBoundingClientRect();
      player.currentTime = seconds * (event.clientX - box.left) / box.width;
      line.classList.add("playing");
      player.play().catch(() => {});
    });
  });
})();
"""

// From one seed's latents to another's, on the great circle or the line.

import { seedField } from "./draw.js";
import { latest } from "./engine.js";
import { lerp, parseSeed, slerp } from "./maths.js";
import { paint } from "./picture.js";

const $ = (id) => document.getElementById(id);
const SECONDS = 3;

export function between(explorer) {
  const { state, latents } = explorer;
  let from = null;
  let to = null;
  let playing = 0;

  const load = latest(async (then = null) => {
    const seeds = [$("seed-a"), $("seed-b")].map((input) => parseSeed(input.value));
    if (seeds.includes(null)) return;
    try {
      const drawn = await explorer.generate(seeds);
      [from, to] = seeds.map((_, i) => explorer.joined(drawn, i));
      ["end-a", "end-b"].forEach((id, i) => paint($(id), drawn.mean[i], explorer.image));
      then?.();
    } catch (error) {
      explorer.fails(error);
    }
  });

  const show = () => {
    if (!from) return;
    const path = document.querySelector("input[name=path]:checked").value === "lerp" ? lerp : slerp;
    const at = Number($("at").value);
    $("at").setAttribute("aria-valuetext", `${Math.round(100 * at)} per cent`);
    const name = `Between seeds ${$("seed-a").value.trim()} and ${$("seed-b").value.trim()}`;
    const z = new Float32Array(latents.size);
    for (const { start, size } of latents.groups) {
      z.set(path(from.subarray(start, start + size), to.subarray(start, start + size), at), start);
    }
    explorer.place(z, "between", name);
  };

  const stop = () => {
    cancelAnimationFrame(playing);
    playing = 0;
    $("play").setAttribute("aria-pressed", "false");
    $("play").textContent = "Play";
  };

  $("play").addEventListener("click", () => {
    if (playing) {
      stop();
      return;
    }
    $("play").setAttribute("aria-pressed", "true");
    $("play").textContent = "Pause";
    let last = performance.now();
    let forward = Number($("at").value) < 1;
    const frame = (now) => {
      const step = Math.min(0.1, (now - last) / (1000 * SECONDS));
      last = now;
      const at = Number($("at").value) + (forward ? step : -step);
      if (at >= 1 || at <= 0) forward = at <= 0;
      $("at").value = String(Math.min(1, Math.max(0, at)));
      show();
      playing = requestAnimationFrame(frame);
    };
    playing = requestAnimationFrame(frame);
  });

  $("at").addEventListener("input", () => {
    stop();
    show();
  });
  // Whatever else moves the latents has the word.
  explorer.addEventListener("latents", () => playing && state.source !== "between" && stop());
  for (const input of document.querySelectorAll("input[name=path]")) {
    input.addEventListener("change", show);
  }
  for (const id of ["seed-a", "seed-b"]) {
    seedField($(id), () => load(state.source === "between" ? show : null));
  }
  explorer.addEventListener("settings", () => load());
}

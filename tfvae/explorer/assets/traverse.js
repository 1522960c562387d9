// A traversal: what one latent does, from end to end, all others as they are.

import { settled } from "./engine.js";
import { choices, ends, nameOf } from "./latents.js";
import { written } from "./maths.js";
import { thumbnails } from "./picture.js";

const $ = (id) => document.getElementById(id);
const CELLS = 9;

export function traversal(explorer) {
  const { state, latents } = explorer;
  const select = $("traversed");
  choices(select, latents);
  explorer.touched ??= latents.order[0];
  select.addEventListener("change", () => {
    explorer.touched = Number(select.value);
    refresh();
  });

  const refresh = settled(async () => {
    const index = explorer.touched;
    select.value = String(index);
    const z = state.z;
    const [low, high] = ends(latents, index, z[index]);
    const values = Array.from({ length: CELLS }, (_, i) => low + ((high - low) * i) / (CELLS - 1));
    const rows = values.map((value) => {
      const row = Float32Array.from(z);
      row[index] = value;
      return row;
    });
    try {
      const { mean } = await explorer.means(rows);
      if (z !== state.z) return; // the next one is on its way
      const near = values.reduce(
        (best, value, i) => (Math.abs(value - z[index]) < Math.abs(values[best] - z[index]) ? i : best),
        0,
      );
      const name = nameOf(latents, index).flat;
      thumbnails($("strip"), mean, explorer.image, {
        label: (i) => `${name} at ${written(values[i])}`,
        current: near,
        choose: (i) => explorer.move(rows[i]),
      });
      $("strip-ends").textContent =
        `From ${written(low)} to ${written(high)}; it follows the slider moved last.`;
    } catch (error) {
      explorer.fails(error);
    }
  }, () => 80 + 2 * explorer.rowMs);
  for (const kind of ["latents", "settings", "touched"]) explorer.addEventListener(kind, refresh);
}

// Two latents at once, on a map of what they decode to.

import { latest, settled } from "./engine.js";
import { choices, ends, nameOf, ordered } from "./latents.js";
import { paintGrid } from "./picture.js";

const $ = (id) => document.getElementById(id);
// Cells of the map along each side, by how long one picture takes, ms.
const CELLS = [[0.6, 11], [3, 7], [12, 5]];
const STEPS = 40;

export function plane(explorer) {
  const { state, latents, image } = explorer;
  if (!state.axes) {
    $("plane").hidden = true;
    return;
  }
  const pad = $("pad");
  const selects = [$("axis-x"), $("axis-y")];
  selects.forEach((select, axis) => {
    choices(select, latents, 2);
    select.addEventListener("change", () => {
      const chosen = Number(select.value);
      const other = state.axes[1 - axis];
      const level = latents.groups.find(({ start, size }) => chosen >= start && chosen < start + size);
      // The same latent twice is a swap.
      if (chosen === other) state.axes.reverse();
      else state.axes[axis] = chosen;
      // Of two levels one would follow the other, away from where the finger is.
      const together = ordered(latents, level);
      if (!together.includes(other)) state.axes[1 - axis] = together.find((index) => index !== chosen);
      explorer.changed();
    });
  });

  const spans = () => state.axes.map((index) => ends(latents, index, state.z[index]));

  const set = (values) => {
    const z = Float32Array.from(state.z);
    state.axes.forEach((index, axis) => (z[index] = values[axis]));
    explorer.move(z);
  };

  const go = (event) => {
    const box = pad.getBoundingClientRect();
    const at = [(event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height];
    set(spans().map(([low, high], axis) => low + (high - low) * Math.min(1, Math.max(0, at[axis]))));
  };
  pad.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pad.setPointerCapture(event.pointerId);
    go(event);
  });
  pad.addEventListener("pointermove", (event) => pad.hasPointerCapture(event.pointerId) && go(event));

  pad.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const far = event.shiftKey ? 5 : 1;
    set(
      spans().map(([low, high], axis) => {
        const value = state.z[state.axes[axis]] + (moves[event.key][axis] * far * (high - low)) / STEPS;
        return Math.min(high, Math.max(low, value));
      }),
    );
  });

  let mapped = "";
  const map = latest(async () => {
    const found = CELLS.find(([ms]) => explorer.rowMs <= ms);
    const [x, y] = state.axes;
    const [across, up] = spans();
    const others = Float32Array.from(state.z);
    others[x] = others[y] = 0;
    const key = [state.axes, across, up, state.condition, others, found].join(";");
    if (key === mapped || !found) return;
    mapped = key;
    const count = found[1];
    const rows = [];
    for (let j = 0; j < count; j++) {
      for (let i = 0; i < count; i++) {
        const row = Float32Array.from(state.z);
        row[x] = across[0] + ((across[1] - across[0]) * (i + 0.5)) / count;
        row[y] = up[1] - ((up[1] - up[0]) * (j + 0.5)) / count;
        rows.push(row);
      }
    }
    try {
      const { mean } = await explorer.means(rows);
      paintGrid($("pad-map"), mean, count, image);
    } catch (error) {
      explorer.fails(error);
    }
  });
  const remap = settled(map, () => 120 + 2 * explorer.rowMs);

  const follow = () => {
    state.axes.forEach((index, axis) => (selects[axis].value = String(index)));
    const [x, y] = state.axes.map((index) => state.z[index]);
    const [[left, right], [bottom, top]] = spans();
    $("pad-dot").style.left = `${(100 * (x - left)) / (right - left)}%`;
    $("pad-dot").style.top = `${(100 * (top - y)) / (top - bottom)}%`;
    const said = state.axes.map((index, axis) => `${nameOf(latents, index).flat} ${[x, y][axis].toFixed(2)}`);
    pad.setAttribute("aria-valuetext", said.join(", "));
    pad.setAttribute("aria-valuemin", left.toFixed(2));
    pad.setAttribute("aria-valuemax", right.toFixed(2));
    pad.setAttribute("aria-valuenow", x.toFixed(2));
    remap();
  };
  explorer.addEventListener("latents", follow);
  explorer.addEventListener("settings", remap);
}

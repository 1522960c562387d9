// The state of the page as the part of its address after #, so that a link shows the same picture.

import { parseSeed } from "./maths.js";

/** Latents as text: their float32 bytes in base64url, so that a link is exact. */
export function packLatents(z) {
  const bytes = new Uint8Array(Float32Array.from(z).buffer);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Read latents; null if the text is not `size` finite numbers. */
export function unpackLatents(text, size) {
  try {
    const raw = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(raw, (character) => character.charCodeAt(0));
    if (bytes.length !== 4 * size) return null;
    const z = new Float32Array(bytes.buffer);
    return z.every(Number.isFinite) ? z : null;
  } catch {
    return null;
  }
}

/** Write the state down. */
export function write(state) {
  const parts = new URLSearchParams();
  parts.set("seed", String(state.seed));
  if (state.temperatures.some((value) => value !== 1)) parts.set("t", state.temperatures.join(","));
  if (state.shown !== "mean") parts.set("show", state.shown);
  if (state.condition !== null) parts.set("c", [state.condition].flat().join(","));
  if (state.axes) parts.set("axes", state.axes.join(","));
  if (state.source !== "seed") {
    parts.set("from", state.source);
    parts.set("z", packLatents(state.z));
  }
  return `#${parts.toString().replaceAll("%2C", ",")}`;
}

/** Read the state; what is missing or makes no sense is left out. */
export function read(hash, { size, groups, levels, condition }) {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const state = {};
  const numbers = (name) => (parts.get(name) ?? "").split(",").map((text) => Number(text || NaN));
  const seed = parseSeed(parts.get("seed") ?? "");
  if (seed !== null) state.seed = seed;
  const t = numbers("t");
  if (t.length === Math.max(1, levels) && t.every((value) => value >= 0 && value <= 2)) {
    state.temperatures = t;
  }
  if (["mean", "sample"].includes(parts.get("show"))) state.shown = parts.get("show");
  const c = numbers("c");
  if (condition?.kind === "class") {
    const last = condition.first + condition.names.length - 1;
    if (Number.isInteger(c[0]) && c[0] >= condition.first && c[0] <= last) state.condition = c[0];
  } else if (condition && c.length === condition.size && c.every(Number.isFinite)) {
    state.condition = Array.isArray(condition.initial) ? c : c[0];
  }
  const axes = numbers("axes");
  // Both of one level.
  const inside = groups.some((group) =>
    axes.every((i) => Number.isInteger(i) && i >= group.start && i < group.start + group.size),
  );
  if (axes.length === 2 && inside && axes[0] !== axes[1]) state.axes = axes;
  const z = parts.has("z") ? unpackLatents(parts.get("z"), size) : null;
  if (z) {
    state.z = z;
    const from = parts.get("from");
    state.source = ["edited", "image", "between"].includes(from) ? from : "edited";
  }
  return state;
}

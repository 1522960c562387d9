// What is computed outside the model: seeds, paths between latents, values to pixels and back.
// Nothing here touches the document, so that Node can test it.

const SEED_MIN = -(2n ** 63n);
const SEED_MAX = 2n ** 63n - 1n;

/** Read a seed, any int64, with whatever minus it was typeset; null if the text is none. */
export function parseSeed(text) {
  const plain = text.trim().replace(/^[\u2212\u2013\ufe63\uff0d]/, "-");
  if (!/^[+-]?\d{1,19}$/.test(plain)) return null;
  const seed = BigInt(plain.replace(/^\+/, ""));
  return seed < SEED_MIN || seed > SEED_MAX ? null : seed;
}

/** Add to a seed, and wrap around as int64 does. */
export function nextSeed(seed, step) {
  return BigInt.asIntN(64, seed + BigInt(step));
}

/** Write a number with two places, and a proper minus. */
export function written(value) {
  return value.toFixed(2).replace("-", "\u2212");
}

/** Go from a to b on the great circle between them, or on the line where they lie on one. */
export function slerp(a, b, at) {
  let dot = 0, aa = 0, bb = 0;
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  const cosine = Math.min(1, Math.max(-1, dot / Math.sqrt(aa * bb)));
  const angle = Math.acos(cosine);
  const sine = Math.sin(angle);
  if (!(sine > 1e-6)) return lerp(a, b, at);
  const [from, to] = [Math.sin((1 - at) * angle) / sine, Math.sin(at * angle) / sine];
  return Float32Array.from(a, (value, i) => from * value + to * b[i]);
}

/** Go from a to b on the line between them. */
export function lerp(a, b, at) {
  return Float32Array.from(a, (value, i) => (1 - at) * value + at * b[i]);
}

/** Bring latents back to length one along their last axis. */
export function onSphere(z, axis) {
  const out = Float32Array.from(z);
  for (let start = 0; start < out.length; start += axis) {
    const part = out.subarray(start, start + axis);
    const norm = Math.hypot(...part);
    if (norm > 0) for (let i = 0; i < axis; i++) part[i] /= norm;
  }
  return out;
}

/** Values of one image to RGBA bytes, as the library's pictures round them. */
export function toPixels(values, { height, width, channels, low, high }) {
  const pixels = new Uint8ClampedArray(4 * height * width);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 3; c++) {
      const value = Number(values[i * channels + (channels === 3 ? c : 0)]);
      const unit = Math.min(1, Math.max(0, (value - low) / (high - low)));
      pixels[4 * i + c] = Math.floor(255 * unit + 0.5);
    }
    pixels[4 * i + 3] = 255;
  }
  return pixels;
}

/** RGB values in [0, 255] to the values of one image. */
export function fromPixels(pixels, { height, width, channels, low, high }, invert = false) {
  const values = new Float32Array(height * width * channels);
  for (let i = 0; i < height * width; i++) {
    const [r, g, b] = [pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]];
    // Of grey images all three are the same, and stay exactly what they are.
    const grey = r === g && g === b ? r : 0.299 * r + 0.587 * g + 0.114 * b;
    const seen = channels === 3 ? [r, g, b] : [grey];
    seen.forEach((value, c) => {
      const unit = invert ? 1 - value / 255 : value / 255;
      values[i * channels + c] = low + unit * (high - low);
    });
  }
  return values;
}

/** The largest part of a picture, in its middle, that has the shape of another. */
export function middle(width, height, toWidth, toHeight) {
  const scale = Math.min(width / toWidth, height / toHeight);
  const [w, h] = [toWidth * scale, toHeight * scale];
  return { x: (width - w) / 2, y: (height - h) / 2, width: w, height: h };
}

/** Averages of RGBA pixels over the cells of a grid laid on a part of them: RGB, [0, 255]. */
export function resample(rgba, width, part, toWidth, toHeight) {
  const columns = shares(part.x, part.width, toWidth);
  const rows = shares(part.y, part.height, toHeight);
  const out = new Float64Array(3 * toWidth * toHeight);
  for (let j = 0; j < toHeight; j++) {
    for (let i = 0; i < toWidth; i++) {
      for (let c = 0; c < 3; c++) {
        let sum = 0, area = 0;
        for (const [y, tall] of rows[j]) {
          for (const [x, wide] of columns[i]) {
            sum += tall * wide * rgba[4 * (y * width + x) + c];
            area += tall * wide;
          }
        }
        out[3 * (j * toWidth + i) + c] = sum / area;
      }
    }
  }
  return out;
}

/** Which pixels each cell of an axis covers, and how much of each. */
function shares(start, length, cells) {
  const size = length / cells;
  return Array.from({ length: cells }, (_, cell) => {
    const [from, to] = [start + cell * size, start + (cell + 1) * size];
    const covered = [];
    for (let pixel = Math.floor(from); pixel < to - 1e-9; pixel++) {
      const share = Math.min(to, pixel + 1) - Math.max(from, pixel);
      if (share > 1e-9) covered.push([pixel, share]);
    }
    return covered;
  });
}

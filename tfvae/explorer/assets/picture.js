// Pictures: values painted pixel for pixel, saved, and read from files.

import { fromPixels, middle, resample, toPixels } from "./maths.js";

/** Paint the values of one image into a canvas, which gets the image's own size. */
export function paint(canvas, values, image) {
  if (canvas.width !== image.width || canvas.height !== image.height) {
    canvas.width = image.width;
    canvas.height = image.height;
  }
  const data = new ImageData(toPixels(values, image), image.width, image.height);
  canvas.getContext("2d").putImageData(data, 0, 0);
}

/** Paint images side by side, `columns` in a row, a little apart. */
export function paintGrid(canvas, rows, columns, image) {
  const gap = Math.max(1, Math.round(Math.max(image.width, image.height) / 16));
  canvas.width = columns * (image.width + gap) - gap;
  canvas.height = Math.ceil(rows.length / columns) * (image.height + gap) - gap;
  const context = canvas.getContext("2d");
  rows.forEach((values, i) => {
    const data = new ImageData(toPixels(values, image), image.width, image.height);
    const [column, row] = [i % columns, Math.floor(i / columns)];
    context.putImageData(data, column * (image.width + gap), row * (image.height + gap));
  });
}

/** Fill a box with pictures that are buttons; `choose(i)` is called with the one pressed. */
export function thumbnails(box, rows, image, { label, current, choose }) {
  while (box.children.length > rows.length) box.lastElementChild.remove();
  while (box.children.length < rows.length) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(document.createElement("canvas"));
    box.append(button);
  }
  box.style.setProperty("--wide", rows.length);
  box.style.setProperty("--narrow", Math.ceil(rows.length / 2));
  rows.forEach((values, i) => {
    const button = box.children[i];
    button.setAttribute("aria-label", label(i));
    button.title = label(i);
    if (current === i) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    button.onclick = () => choose(i);
    paint(button.firstElementChild, values, image);
  });
}

/** Save a canvas as a PNG, each pixel a square block where there are few. */
export async function download(canvas, name) {
  const scale = Math.max(1, Math.floor(512 / Math.max(canvas.width, canvas.height)));
  const large = document.createElement("canvas");
  large.width = scale * canvas.width;
  large.height = scale * canvas.height;
  const context = large.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(canvas, 0, 0, large.width, large.height);
  const blob = await new Promise((done) => large.toBlob(done, "image/png"));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// What a browser surely gives a canvas; larger pictures are made smaller first.
const LARGEST = 2048;

/** Read a file as a picture: its RGBA pixels, on white where it is transparent. */
export async function read(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name || "This"} is no picture that the browser can read.`);
  }
  const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(scale * bitmap.width));
  canvas.height = Math.max(1, Math.round(scale * bitmap.height));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

/** A picture as the model takes it: its middle, averaged over the model's pixels. */
export function fit(picture, image, invert) {
  const part = middle(picture.width, picture.height, image.width, image.height);
  const pixels = resample(picture.data, picture.width, part, image.width, image.height);
  return fromPixels(pixels, image, invert);
}

// The page: what is shown, and the panels that change it.

import { between } from "./between.js";
import { drawing } from "./draw.js";
import { Engine } from "./engine.js";
import { sliders } from "./latents.js";
import * as link from "./link.js";
import { plane } from "./pad.js";
import { download } from "./picture.js";
import { Explorer } from "./state.js";
import { taking } from "./take.js";
import { traversal } from "./traverse.js";

const $ = (id) => document.getElementById(id);

function describe(state) {
  const { seed, source, name, shown } = state;
  if (source === "seed") return shown === "sample" ? `Seed ${seed}, sampled` : `Seed ${seed}`;
  if (source === "image") return `Encoded from ${name || "a picture"}`;
  if (source === "between") return name || "Between two seeds";
  return source === "centre" ? "Middle of the latents" : "Edited latents";
}

function stage(explorer) {
  const { state, description } = explorer;
  const { width, height } = explorer.image;
  const ratio = Math.min(4, Math.max(0.5, width / height));
  document.querySelector(".frame").style.aspectRatio = String(ratio);
  explorer.addEventListener("picture", () => {
    const text = describe(state);
    if ($("status").textContent !== text) $("status").textContent = text;
    const ms = explorer.ms < 10 ? explorer.ms.toFixed(1) : Math.round(explorer.ms);
    $("time").textContent = `${state.source === "seed" ? "drawn" : "decoded"} in ${ms} ms`;
    $("picture").setAttribute("aria-label", `Picture: ${text}`);
    document.body.dataset.drawn = Number(document.body.dataset.drawn ?? 0) + 1;
  });
  $("random").addEventListener("click", () => {
    explorer.seed(BigInt(crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000));
  });
  $("reset").addEventListener("click", () => {
    const { seed, temperatures, condition, shown, z } = explorer.defaults();
    Object.assign(state, { temperatures, condition, shown });
    explorer.changed("settings");
    if (explorer.engine.has("generate")) explorer.seed(seed);
    else explorer.place(z, "centre");
  });
  $("download").addEventListener("click", () => {
    const what = state.source === "seed" ? `seed-${state.seed}` : state.source;
    download($("picture"), `${description.model.name}-${what}.png`);
  });
  $("copy").hidden = !navigator.clipboard;
  $("copy").addEventListener("click", async () => {
    history.replaceState(null, "", link.write(state));
    try {
      await navigator.clipboard.writeText(location.href);
      $("copy").textContent = "Copied";
    } catch {
      $("copy").textContent = "Not allowed";
    }
    setTimeout(() => ($("copy").textContent = "Copy link"), 1500);
  });
}

function facts(description) {
  const { model, image, latents, levels } = description;
  document.title = `${model.name} · latent explorer`;
  $("name").textContent = model.name;
  const colour = image.channels === 3 ? "colour" : "grey";
  const count = latents.size === 1 ? "1 latent" : `${latents.size} latents`;
  const parts = [`${image.width} × ${image.height} ${colour}`, levels ? `${count}, ${levels} levels` : count];
  if (model.likelihood) parts.push(model.likelihood);
  if (model.version) parts.push(`version ${model.version}`);
  $("facts").textContent = parts.map((part) => part.replaceAll(" ", "\u00a0")).join(" · ");
  const made = model.created ? `, exported ${model.created.slice(0, 10)}` : "";
  $("about").textContent =
    `${model.kind}${made} with tfvae ${model.tfvae}. The model runs in this browser; nothing leaves it.`;
}

/** Take away what this export cannot do, and say why. */
function allow(engine, absent) {
  for (const element of document.querySelectorAll("[data-needs]")) {
    element.hidden = element.dataset.needs.split(" ").some((name) => !engine.has(name));
  }
  for (const element of document.querySelectorAll("[data-absent]")) {
    const reason = absent[element.dataset.absent] ?? "";
    element.hidden = !reason;
    element.textContent = reason;
  }
  if (!engine.has("encode") || !engine.has("decode")) $("take").querySelector("div").hidden = true;
}

function problem(error) {
  $("problem").textContent = error.message ?? String(error);
  $("problem").hidden = false;
}

/** Keep the page's address in step, and follow it where somebody changes it. */
function follow(explorer) {
  const { state, description } = explorer;
  let written = "";
  let timer = 0;
  const record = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      written = link.write(state);
      history.replaceState(null, "", written);
    }, 250); // browsers refuse to be asked more often
  };
  for (const kind of ["latents", "settings", "picture"]) explorer.addEventListener(kind, record);
  const apply = () => {
    const { size, groups } = explorer.latents;
    const found = link.read(location.hash, { ...description, size, groups });
    // A link says all of a page: what it leaves out is as on a page that was just opened.
    Object.assign(state, explorer.defaults(), found);
    explorer.changed("settings");
    if (found.z && explorer.engine.has("decode")) explorer.place(found.z, found.source);
    else if (explorer.engine.has("generate")) explorer.seed(state.seed);
    else explorer.place(state.z, "centre");
  };
  addEventListener("hashchange", () => location.hash !== written && apply());
  apply();
}

async function start() {
  const response = await fetch("explorer.json");
  if (!response.ok) throw new Error(`explorer.json: ${response.status} ${response.statusText}`);
  const description = await response.json();
  facts(description);
  const engine = new Engine(description);
  await engine.start((loaded, total) => {
    const [bar, mega] = [$("loading-bar"), (bytes) => (bytes / 1e6).toFixed(1)];
    if (total) bar.max = total;
    if (total) bar.value = loaded;
    $("loading-text").textContent = `Loading the runtime, ${mega(loaded)} MB`;
  });
  $("loading-text").textContent = "Loading the model";
  const first = ["generate", "decode", "move"].filter((name) => engine.has(name));
  await Promise.all(first.map((name) => engine.open(name)));
  const explorer = new Explorer(description, engine);
  explorer.addEventListener("problem", ({ detail }) => problem(detail));
  allow(engine, description.absent);
  stage(explorer);
  drawing(explorer);
  if (engine.has("decode")) {
    sliders(explorer);
    traversal(explorer);
    plane(explorer);
  }
  if (engine.has("decode") && engine.has("generate")) between(explorer);
  if (engine.has("decode") && engine.has("encode")) taking(explorer, problem);
  follow(explorer);
  explorer.addEventListener("picture", () => (document.body.dataset.state = "ready"), { once: true });
}

start().catch((error) => {
  document.body.dataset.state = "failed";
  problem(new Error(`This page could not be started. ${error.message ?? error}`));
});

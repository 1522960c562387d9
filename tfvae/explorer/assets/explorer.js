// The page: what is shown, and the panels that change it.

import { between } from "./between.js";
import { drawing } from "./draw.js";
import { Engine, latest } from "./engine.js";
import { sliders } from "./latents.js";
import * as link from "./link.js";
import { onSphere } from "./maths.js";
import { plane } from "./pad.js";
import { download, paint } from "./picture.js";
import { taking } from "./take.js";
import { traversal } from "./traverse.js";

const $ = (id) => document.getElementById(id);

/**
 * What is shown, and how it changes. Events: "latents" when z or the seed did, "picture" when what
 * is shown did, "settings" when temperature or condition did.
 */
class Explorer extends EventTarget {
  constructor(description, engine) {
    super();
    this.description = description;
    this.engine = engine;
    this.image = description.image;
    this.latents = description.latents;
    this.state = {
      seed: 0n,
      temperatures: Array(Math.max(1, description.levels)).fill(1),
      shown: "mean",
      condition: description.condition?.initial ?? null,
      axes: this.latents.size > 1 ? this.latents.order.slice(0, 2) : null,
      z: Float32Array.from(this.latents.centre),
      source: engine.has("generate") ? "seed" : "centre",
      name: "",
    };
    this.drawn = null;
    this.ms = 0;
    this.rowMs = 0; // what a picture costs, about
    this.fails = (error) => this.dispatchEvent(new CustomEvent("problem", { detail: error }));
    this.wanted = "draw"; // of the two, what was asked for last
    this.asked = {
      draw: latest(() => this.#draw().catch(this.fails)),
      decode: latest(() => this.#decode().catch(this.fails)),
    };
  }

  /** Show what the seed draws. */
  draw() {
    this.wanted = "draw";
    this.asked.draw();
  }

  /** Return what `generate` makes of seeds, by the settings of the page. */
  generate(seeds) {
    const { temperatures, condition } = this.state;
    return this.engine.run("generate", seeds.length, {
      seed: seeds,
      temperature: temperatures,
      condition: [condition].flat(),
    });
  }

  /** Return the means of rows of latents, and the time it took. */
  async means(rows) {
    const all = new Float32Array(rows.length * this.latents.size);
    rows.forEach((row, i) => all.set(row, i * this.latents.size));
    const { condition } = this.state;
    const given = { [this.latents.name]: all, condition: [condition].flat() };
    const decoded = await this.engine.run("decode", rows.length, given);
    this.rowMs = decoded.ms / rows.length;
    return decoded;
  }

  /** Show these latents. */
  move(z, source = "edited", name = this.state.name) {
    const sphere = this.latents.sphere ? this.latents.shape.at(-1) : 0;
    this.state.z = sphere ? onSphere(z, sphere) : z;
    this.state.source = source;
    this.state.name = name;
    this.wanted = "decode";
    this.changed();
    this.asked.decode();
  }

  /** Show what another seed draws. */
  seed(seed) {
    this.state.seed = seed;
    this.draw();
  }

  /** Show what the state says, after a part of it changed that the model is given. */
  refresh() {
    this.changed("settings");
    if (this.state.source === "seed") this.draw();
    else this.asked.decode();
  }

  changed(kind = "latents") {
    this.dispatchEvent(new Event(kind));
  }

  async #draw() {
    const { seed } = this.state;
    const drawn = await this.generate([seed]);
    if (this.wanted !== "draw") return; // latents were moved meanwhile
    this.drawn = { mean: drawn.mean[0], sample: drawn.sample[0] };
    this.state.z = Float32Array.from(drawn[this.latents.name][0]);
    this.state.source = "seed";
    this.ms = drawn.ms;
    this.rowMs ||= drawn.ms;
    this.changed();
    this.show();
  }

  async #decode() {
    const { mean, ms } = await this.means([this.state.z]);
    if (this.wanted !== "decode") return;
    this.drawn = { mean: mean[0] };
    this.ms = ms;
    this.show();
  }

  /** Paint what was computed last. */
  show() {
    if (!this.drawn) return;
    const { shown } = this.state;
    paint($("picture"), this.drawn[shown] ?? this.drawn.mean, this.image);
    this.changed("picture");
  }
}

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
    state.temperatures.fill(1);
    state.condition = description.condition?.initial ?? null;
    state.shown = "mean";
    explorer.changed("settings");
    if (explorer.engine.has("generate")) explorer.seed(0n);
    else explorer.move(Float32Array.from(explorer.latents.centre), "centre");
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
    element.hidden = engine.has(element.dataset.absent);
    element.textContent = absent[element.dataset.absent] ?? "";
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
    const { size } = explorer.latents;
    const found = link.read(location.hash, { ...description, size });
    Object.assign(state, found);
    explorer.changed("settings");
    if (found.z && explorer.engine.has("decode")) explorer.move(found.z, found.source, "");
    else if (explorer.engine.has("generate")) explorer.seed(state.seed);
    else explorer.move(state.z, "centre");
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
  const first = ["generate", "decode"].filter((name) => engine.has(name));
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

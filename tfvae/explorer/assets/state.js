// What is shown: latents, seed and settings, and the picture that the model makes of them.

import { latest } from "./engine.js";
import { firstAxes } from "./latents.js";
import { onSphere } from "./maths.js";
import { paint } from "./picture.js";

const $ = (id) => document.getElementById(id);

/**
 * What is shown, and how it changes. Events: "latents" when z or the seed did, "picture" when what
 * is shown did, "settings" when temperature or condition did.
 */
export class Explorer extends EventTarget {
  constructor(description, engine) {
    super();
    this.description = description;
    this.engine = engine;
    this.image = description.image;
    this.latents = description.latents;
    this.state = this.defaults();
    this.base = this.state.z; // the latents that were computed last; others follow from them
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

  /** Return the state of a page that was told nothing. */
  defaults() {
    const { levels, condition } = this.description;
    return {
      seed: 0n,
      temperatures: Array(Math.max(1, levels)).fill(1),
      shown: "mean",
      condition: condition?.initial ?? null,
      axes: firstAxes(this.latents),
      z: Float32Array.from(this.latents.centre),
      source: this.engine.has("generate") ? "seed" : "centre",
      name: "",
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

  /**
   * Return the means of rows of latents, and the time it took. Where a row moves a level of a
   * hierarchy from where it is in `from`, the levels below follow: `z` has the rows after that.
   */
  async means(rows, from = this.state.z) {
    const { groups } = this.latents;
    const highest = rows.map((row) => highestMoved(groups, row, from));
    const decoded = Math.max(...highest) > 0 ? this.#follow(rows, from) : this.#decoded(rows);
    const outputs = await decoded;
    this.rowMs = outputs.ms / rows.length;
    const z = rows.map((row, i) => {
      if (highest[i] <= 0) return row;
      const moved = Float32Array.from(row);
      for (const { name, start } of groups.slice(0, highest[i])) {
        moved.set(outputs[name.replace("z", "moved")][i], start);
      }
      return moved;
    });
    return { ...outputs, z };
  }

  /** Show these latents, of all levels. */
  place(z, source, name = "") {
    this.base = this.#valid(z);
    this.#set(this.base, source, name);
  }

  /** Show the latents after some were moved; of a hierarchy the levels below follow. */
  move(z) {
    this.#set(this.#valid(z), "edited", this.state.name);
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

  /** Return the latents of one row of outputs, which are called so for each level. */
  joined(outputs, row, called = (name) => name) {
    const z = new Float32Array(this.latents.size);
    for (const { name, start } of this.latents.groups) z.set(outputs[called(name)][row], start);
    return z;
  }

  #valid(z) {
    const sphere = this.latents.sphere ? this.latents.groups[0].shape.at(-1) : 0;
    return sphere ? onSphere(z, sphere) : z;
  }

  #set(z, source, name) {
    Object.assign(this.state, { z, source, name });
    this.wanted = "decode";
    this.changed();
    this.asked.decode();
  }

  #decoded(rows) {
    const [{ name, size }] = this.latents.groups;
    const all = new Float32Array(rows.length * size);
    rows.forEach((row, i) => all.set(row.subarray(0, size), i * size));
    const given = { [name]: all, condition: [this.state.condition].flat() };
    return this.engine.run("decode", rows.length, given);
  }

  #follow(rows, from) {
    const given = {};
    for (const { name, start, size } of this.latents.groups) {
      given[name] = from.subarray(start, start + size);
      const shift = new Float32Array(rows.length * size);
      shift.forEach((_, i) => {
        const at = start + (i % size);
        shift[i] = rows[Math.floor(i / size)][at] - from[at];
      });
      given[name.replace("z", "shift")] = shift;
    }
    return this.engine.run("move", rows.length, given);
  }

  async #draw() {
    const { seed } = this.state;
    const drawn = await this.generate([seed]);
    if (this.wanted !== "draw") return; // latents were moved meanwhile
    this.drawn = { mean: drawn.mean[0], sample: drawn.sample[0] };
    this.state.z = this.base = this.joined(drawn, 0);
    this.state.source = "seed";
    this.ms = drawn.ms;
    this.rowMs ||= drawn.ms;
    this.changed();
    this.show();
  }

  async #decode() {
    const from = this.base;
    const asked = this.state.z;
    const { mean, z, ms } = await this.means([asked], from);
    if (this.wanted !== "decode" || this.base !== from) return; // others were asked for meanwhile
    this.base = z[0];
    this.drawn = { mean: mean[0] };
    this.ms = ms;
    if (this.base !== asked) {
      // What was moved meanwhile comes next.
      const late = this.state.z;
      const more = (value, i) => value + (late[i] - asked[i]);
      this.state.z = late === asked ? this.base : this.base.map(more);
      this.changed();
    }
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

/** Return the highest level in which latents differ from others; -1 where none does. */
function highestMoved(groups, z, from) {
  return groups.findLastIndex(({ start, size }) => {
    for (let i = start; i < start + size; i++) if (z[i] !== from[i]) return true;
    return false;
  });
}

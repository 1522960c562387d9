// Draws from the prior: seed, temperature, condition, and the seeds that come next.

import { settled } from "./engine.js";
import { nextSeed, parseSeed } from "./maths.js";
import { thumbnails } from "./picture.js";

const $ = (id) => document.getElementById(id);
const NEXT = 8;

/** Follow a field that holds a seed; `take(seed)` is called with each that is one. */
export function seedField(input, take, error = null) {
  const check = () => {
    const seed = parseSeed(input.value);
    input.setAttribute("aria-invalid", String(seed === null));
    if (error) error.hidden = seed !== null;
    return seed;
  };
  input.addEventListener("input", check);
  input.addEventListener("change", () => {
    const seed = check();
    if (seed !== null) take(seed);
  });
}

export function drawing(explorer) {
  const { state, engine, description } = explorer;
  condition(explorer);
  if (!engine.has("generate")) return;
  seedField($("seed"), (seed) => explorer.seed(seed), $("seed-error"));
  $("previous").addEventListener("click", () => explorer.seed(nextSeed(state.seed, -1)));
  $("next").addEventListener("click", () => explorer.seed(nextSeed(state.seed, 1)));
  explorer.addEventListener("latents", () => {
    if (document.activeElement === $("seed") && state.source !== "seed") return;
    $("seed").value = String(state.seed);
    $("seed").setAttribute("aria-invalid", "false");
    $("seed-error").hidden = true;
  });
  temperatures(explorer, description.levels);
  shown(explorer);
  gallery(explorer);
}

function temperatures(explorer, levels) {
  const { state } = explorer;
  const fields = state.temperatures.map((_, level) => {
    const field = document.createElement("div");
    field.className = "field";
    const name = levels ? `Temperature of level ${level}` : "Temperature";
    field.innerHTML = `<label for="t${level}">${name}</label><div class="scale">
      <input id="t${level}" type="range" min="0" max="2" step="0.01"><output for="t${level}"></output>
      </div>`;
    $("temperatures").append(field);
    const [input, output] = [field.querySelector("input"), field.querySelector("output")];
    input.addEventListener("input", () => {
      state.temperatures[level] = Number(input.value);
      explorer.changed("settings");
      explorer.draw();
    });
    return { input, output };
  });
  explorer.addEventListener("settings", () => {
    fields.forEach(({ input, output }, level) => {
      input.value = String(state.temperatures[level]);
      output.textContent = state.temperatures[level].toFixed(2);
    });
  });
}

function shown(explorer) {
  const { state } = explorer;
  const choices = [...document.querySelectorAll("input[name=shown]")];
  for (const choice of choices) {
    choice.addEventListener("change", () => {
      state.shown = choice.value;
      explorer.changed("settings");
      explorer.show();
    });
  }
  const follow = () => {
    for (const choice of choices) {
      choice.checked = choice.value === state.shown;
      // A sample is a function of a seed: of other latents there is the mean alone.
      choice.disabled = choice.value === "sample" && state.source !== "seed";
    }
  };
  explorer.addEventListener("settings", follow);
  explorer.addEventListener("latents", follow);
}

function condition(explorer) {
  const { state, description } = explorer;
  const kind = description.condition;
  if (!kind) return;
  const field = document.createElement("div");
  field.className = "field";
  const label = document.createElement("label");
  field.append(label);
  $("condition").append(field);
  if (kind.kind === "class") {
    const select = document.createElement("select");
    select.id = "class";
    kind.names.forEach((name, i) => select.add(new Option(name, String(kind.first + i))));
    label.htmlFor = select.id;
    label.textContent = "Class";
    field.append(select);
    select.addEventListener("change", () => {
      state.condition = Number(select.value);
      explorer.refresh();
    });
    explorer.addEventListener("settings", () => (select.value = String(state.condition)));
    return;
  }
  const inputs = [state.condition].flat().map((_, i) => {
    const input = document.createElement("input");
    input.type = "number";
    input.step = kind.whole ? "1" : "any";
    input.id = `c${i}`;
    input.setAttribute("aria-label", kind.size > 1 ? `Condition, value ${i}` : "Condition");
    input.addEventListener("change", () => {
      const value = input.valueAsNumber;
      if (!Number.isFinite(value)) return;
      if (Array.isArray(state.condition)) state.condition[i] = value;
      else state.condition = value;
      explorer.refresh();
    });
    field.append(input);
    return input;
  });
  label.htmlFor = "c0";
  label.textContent = "Condition";
  explorer.addEventListener("settings", () => {
    [state.condition].flat().forEach((value, i) => (inputs[i].value = String(value)));
  });
}

function gallery(explorer) {
  const { state } = explorer;
  let last = "";
  const refresh = settled(async () => {
    const key = [state.seed, state.temperatures, state.condition, state.shown].join(";");
    if (key === last) return;
    last = key;
    const seeds = Array.from({ length: NEXT }, (_, i) => nextSeed(state.seed, i + 1));
    try {
      const drawn = await explorer.generate(seeds);
      if (key !== last) return;
      thumbnails($("gallery"), drawn[state.shown], explorer.image, {
        label: (i) => `Seed ${seeds[i]}`,
        choose: (i) => explorer.seed(seeds[i]),
      });
    } catch (error) {
      explorer.fails(error);
    }
  }, () => 150 + 3 * explorer.rowMs);
  explorer.addEventListener("latents", refresh);
  explorer.addEventListener("settings", refresh);
}

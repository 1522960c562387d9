// A slider for each latent, the most active first.

const FIRST = 16;
const FIRST_OF_EACH = 8;
const MORE = 64;

const $ = (id) => document.getElementById(id);

/** A latent's name: z and its place, as in z3 or z0,1,4. */
export function nameOf({ groups }, index) {
  const { name, shape, start } = groups.findLast((group) => group.start <= index);
  const places = [];
  let rest = index - start;
  for (const size of [...shape].reverse()) {
    places.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  const flat = `${name}[${places.join(", ")}]`;
  // Of a hierarchy, z_0 has a number already.
  return name === "z" ? { letter: "z", place: places.join(","), flat } : { letter: flat, place: "", flat };
}

/** The latents of one level, the most active first. */
export function ordered(latents, { start, size }) {
  return latents.order.slice(start, start + size);
}

/** The most active two of a level, the lowest that has two; null where none has. */
export function firstAxes(latents) {
  const group = latents.groups.find(({ size }) => size > 1);
  return group ? ordered(latents, group).slice(0, 2) : null;
}

/** Fill a list of latents to choose from, of levels that have so many. */
export function choices(select, latents, least = 1) {
  const groups = latents.groups.filter(({ size }) => size >= least);
  groups.forEach((group) => {
    let list = select;
    if (latents.groups.length > 1) {
      list = document.createElement("optgroup");
      list.label = title(group);
      select.append(list);
    }
    for (const index of ordered(latents, group)) {
      list.append(new Option(nameOf(latents, index).flat, String(index)));
    }
  });
}

const title = ({ name }) => `Level ${name.replace("z_", "")}`;

/** What a slider's ends are: those of its latent, or further out where its value is. */
export function ends(latents, index, value) {
  return [Math.min(latents.low[index], value), Math.max(latents.high[index], value)];
}

export function sliders(explorer) {
  const { state, latents } = explorer;
  const rows = new Map();
  const activity = latents.activity;
  const most = activity?.reduce((best, value) => Math.max(best, value), 1e-9);
  if (activity) {
    $("measure").textContent = `Most active first. Bars: ${latents.measure}.`;
  } else {
    $("measure").textContent = "In their own order: the export does not say how active each is.";
  }
  if (latents.groups.length > 1) {
    $("measure").textContent += " Where a level is moved, those below follow.";
  }

  const set = (index, value) => {
    const z = Float32Array.from(state.z);
    z[index] = value;
    explorer.touched = index;
    explorer.move(z);
  };

  const follow = (index) => {
    const { range, number } = rows.get(index);
    const value = state.z[index];
    const [low, high] = ends(latents, index, value);
    // Not the slider that is being dragged: it knows better.
    range.min = String(low);
    range.max = String(high);
    if (Number(range.value) !== value) range.value = String(value);
    range.setAttribute("aria-valuetext", value.toFixed(2));
    if (document.activeElement !== number) number.value = value.toFixed(2);
  };

  const add = (list, index) => {
    const name = nameOf(latents, index);
    const item = document.createElement("li");
    const label = document.createElement("label");
    const subscript = document.createElement("sub");
    subscript.textContent = name.place;
    const text = document.createElement("span");
    text.append(name.letter, subscript);
    label.append(text);
    label.htmlFor = `z${index}`;
    if (activity) {
      const meter = document.createElement("span");
      const fill = document.createElement("i");
      meter.className = "meter";
      fill.style.width = `${Math.max(0, (100 * activity[index]) / most)}%`;
      meter.append(fill);
      label.append(meter);
      label.title = `${name.flat}: ${activity[index].toPrecision(3)} ${latents.measure}`;
    }
    const range = document.createElement("input");
    range.type = "range";
    range.id = `z${index}`;
    const step = (latents.high[index] - latents.low[index]) / 200;
    range.step = "any";
    range.setAttribute("aria-label", `Latent ${name.flat}`);
    range.addEventListener("input", () => set(index, Number(range.value)));
    // With a step of "any", browsers differ in what an arrow key does.
    range.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
      if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const value = state.z[index] + steps[event.key] * step;
      set(index, Math.min(Number(range.max), Math.max(Number(range.min), value)));
    });
    range.addEventListener("focus", () => {
      if (explorer.touched !== index) {
        explorer.touched = index;
        explorer.changed("touched");
      }
    });
    const number = document.createElement("input");
    number.type = "number";
    number.step = "any";
    number.setAttribute("aria-label", `Value of ${name.flat}`);
    number.addEventListener("change", () => {
      if (Number.isFinite(number.valueAsNumber)) set(index, number.valueAsNumber);
      else follow(index);
    });
    item.append(label, range, number);
    list.append(item);
    rows.set(index, { range, number });
    follow(index);
  };

  for (const group of latents.groups) {
    const list = document.createElement("ol");
    const more = document.createElement("button");
    more.type = "button";
    const indices = ordered(latents, group);
    const grow = (count) => {
      indices.splice(0, count).forEach((index) => add(list, index));
      const rest = indices.length;
      more.hidden = !rest;
      more.textContent = rest > MORE ? `Show ${MORE} more of ${rest}` : `Show the other ${rest}`;
    };
    more.addEventListener("click", () => {
      const before = list.children.length;
      grow(MORE);
      list.children[before].querySelector("input").focus();
    });
    if (latents.groups.length > 1) {
      const heading = document.createElement("h3");
      heading.id = `sliders-${group.name}`;
      heading.textContent = title(group);
      list.setAttribute("aria-labelledby", heading.id);
      $("sliders").append(heading);
    }
    $("sliders").append(list, more);
    grow(latents.groups.length > 1 ? FIRST_OF_EACH : FIRST);
  }
  explorer.addEventListener("latents", () => {
    for (const index of rows.keys()) follow(index);
  });
}

// A slider for each latent, the most active first.

const FIRST = 16;
const MORE = 64;

const $ = (id) => document.getElementById(id);

/** A latent's name: z and its place, as in z3 or z0,1,4. */
export function nameOf({ name, shape }, index) {
  const places = [];
  let rest = index;
  for (const size of [...shape].reverse()) {
    places.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  const flat = `${name}[${places.join(", ")}]`;
  // Of a hierarchy, z_0 has a number already.
  return name === "z" ? { letter: "z", place: places.join(","), flat } : { letter: flat, place: "", flat };
}

/** Fill a list of latents to choose from. */
export function choices(select, latents) {
  for (const index of latents.order) select.add(new Option(nameOf(latents, index).flat, String(index)));
}

/** What a slider's ends are: those of its latent, or further out where its value is. */
export function ends(latents, index, value) {
  return [Math.min(latents.low[index], value), Math.max(latents.high[index], value)];
}

export function sliders(explorer) {
  const { state, latents } = explorer;
  const rows = new Map();
  const list = $("sliders");
  const activity = latents.activity;
  const most = activity?.reduce((best, value) => Math.max(best, value), 1e-9);
  if (activity) {
    $("measure").textContent = `Most active first. Bars: ${latents.measure}.`;
  } else {
    $("measure").textContent = "In their own order: the export does not say how active each is.";
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

  const add = (index) => {
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

  const grow = (count) => {
    latents.order.slice(rows.size, rows.size + count).forEach(add);
    const rest = latents.size - rows.size;
    $("more").hidden = !rest;
    $("more").textContent = rest > MORE ? `Show ${MORE} more of ${rest}` : `Show the other ${rest}`;
  };
  $("more").addEventListener("click", () => {
    const before = rows.size;
    grow(MORE);
    list.children[before].querySelector("input").focus();
  });
  grow(FIRST);
  explorer.addEventListener("latents", () => {
    for (const index of rows.keys()) follow(index);
  });
}

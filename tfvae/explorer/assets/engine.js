// The model, as the page sees it: endpoints that are run by name, in a worker.

const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
};

export class Engine {
  #worker;
  #waiting = new Map();
  #opened = new Map();
  #count = 0;

  constructor(description) {
    this.description = description;
    this.endpoints = description.endpoints;
  }

  has(name) {
    return name in this.endpoints;
  }

  /** Start the runtime; `report(loaded, total)` is told how many bytes have come. */
  async start(report) {
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.#worker.addEventListener("message", ({ data }) => {
      const waiting = this.#waiting.get(data.id);
      if ("loaded" in data) {
        report(data.loaded, data.total);
        return;
      }
      this.#waiting.delete(data.id);
      if ("error" in data) waiting.reject(new Error(data.error));
      else waiting.resolve(data.result);
    });
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      const error = new Error(event.message || "The model's runtime could not be started.");
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    });
    await this.#ask({ task: "start" });
  }

  /** Load an endpoint, once. */
  open(name) {
    if (!this.#opened.has(name)) {
      const file = new URL(this.endpoints[name].file, document.baseURI).href;
      this.#opened.set(name, this.#ask({ task: "open", name, file }));
    }
    return this.#opened.get(name);
  }

  /**
   * Run an endpoint on `rows` rows.
   * `given` has an array of numbers (or BigInts) for each input, row after row, or one row's for
   * all. Returns the outputs, each with the values of one row in `rows[i]`, and the time it took.
   */
  async run(name, rows, given) {
    await this.open(name);
    const feeds = {};
    for (const { name: key, shape, dtype, default: value } of this.endpoints[name].inputs) {
      const size = shape.reduce((product, n) => product * n, 1);
      const data = new ARRAYS[dtype](rows * size);
      const from = given[key] ?? [value ?? 0];
      const wide = dtype === "int64";
      const whole = !dtype.startsWith("float");
      for (let i = 0; i < data.length; i++) {
        const each = from[i % from.length];
        data[i] = wide ? BigInt(each) : whole ? Math.round(each) : each;
      }
      feeds[key] = { type: dtype, dims: [rows, ...shape], data };
    }
    const { outputs, ms } = await this.#ask({ task: "run", name, feeds });
    const split = {};
    for (const [key, { data }] of Object.entries(outputs)) {
      const size = data.length / rows;
      split[key] = Array.from({ length: rows }, (_, i) => data.subarray(i * size, (i + 1) * size));
    }
    return { ...split, ms };
  }

  #ask(message) {
    const id = ++this.#count;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ ...message, id });
    });
  }
}

// How much is under way; whoever drives the page, a test say, sees by it when all is done.
let pending = 0;

function count(change) {
  pending += change;
  document.body.dataset.busy = String(pending > 0);
}

/** Keeps one call of an asynchronous function under way; of those asked meanwhile, the last runs. */
export function latest(work) {
  let busy = false;
  let next = null;
  return function ask(...given) {
    if (busy) {
      next = given;
      return;
    }
    busy = true;
    count(1);
    Promise.resolve(work(...given)).finally(() => {
      busy = false;
      if (next) {
        const again = next;
        next = null;
        ask(...again);
      }
      count(-1);
    });
  };
}

/** Calls a function once nothing has asked for it for `wait()` milliseconds. */
export function settled(work, wait) {
  let timer = 0;
  return (...given) => {
    if (timer) clearTimeout(timer);
    else count(1);
    timer = setTimeout(async () => {
      timer = 0;
      await work(...given);
      count(-1);
    }, wait());
  };
}

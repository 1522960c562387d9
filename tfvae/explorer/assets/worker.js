// Runs the model beside the page, which stays responsive however large the model is.

import * as ort from "./runtime/ort.wasm.bundle.min.js";

// One thread needs no special headers of the web server.
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
const sessions = new Map();

async function download(url, report) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
  const total = Number(response.headers.get("Content-Length")) || 0;
  // A compressed file's length is not that of what comes out.
  const known = total && !response.headers.get("Content-Encoding");
  const reader = response.body.getReader();
  const parts = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    length += value.length;
    report(length, known ? total : 0);
  }
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

const tasks = {
  async start({ id }) {
    const report = (loaded, total) => postMessage({ id, loaded, total });
    const wasm = await download("./runtime/ort-wasm-simd-threaded.wasm", report);
    ort.env.wasm.wasmBinary = wasm.buffer;
    return {};
  },

  async open({ name, file }) {
    const graph = await download(file, () => {});
    const options = { executionProviders: ["wasm"], logSeverityLevel: 3 };
    sessions.set(name, await ort.InferenceSession.create(graph, options));
    return {};
  },

  async run({ name, feeds }) {
    const tensors = Object.fromEntries(
      Object.entries(feeds).map(([key, { type, dims, data }]) => [
        key,
        new ort.Tensor(type, data, dims),
      ]),
    );
    const started = performance.now();
    const results = await sessions.get(name).run(tensors);
    const ms = performance.now() - started;
    const outputs = {};
    for (const [key, tensor] of Object.entries(results)) {
      // A copy: what the runtime returns may lie in its own memory.
      outputs[key] = { dims: [...tensor.dims], data: tensor.data.slice() };
      tensor.dispose();
    }
    for (const tensor of Object.values(tensors)) tensor.dispose();
    return { outputs, ms };
  },
};

// One after the other: the runtime computes one thing at a time.
let queue = Promise.resolve();
addEventListener("message", ({ data }) => {
  queue = queue.then(async () => {
    try {
      postMessage({ id: data.id, result: await tasks[data.task](data) });
    } catch (error) {
      postMessage({ id: data.id, error: String(error?.message ?? error) });
    }
  });
});

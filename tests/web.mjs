// Run an ONNX file in onnxruntime-web: node web.mjs MODULE WASM MODEL INPUTS, outputs as JSON.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [module, wasm, model, inputs] = process.argv.slice(2);
const ort = await import(pathToFileURL(module));
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmBinary = readFileSync(wasm);

const feeds = {};
for (const [name, { type, dims, data }] of Object.entries(JSON.parse(readFileSync(inputs)))) {
  const values =
    type === "int64" ? BigInt64Array.from(data, BigInt) : Float32Array.from(data, Number);
  feeds[name] = new ort.Tensor(type, values, dims);
}
const session = await ort.InferenceSession.create(readFileSync(model), {
  executionProviders: ["wasm"],
});
const outputs = Object.entries(await session.run(feeds));
console.log(JSON.stringify(Object.fromEntries(outputs.map(([k, v]) => [k, Array.from(v.data)]))));

"""What an export costs to make and to run, against what else could be done, in one run.

    python benchmarks/export.py
    python benchmarks/export.py --rounds 3 --block 0.02 --batches 1 64    a quick look

Four questions, for a dense and a convolutional decoder of 28x28 binary images and several batch
sizes:

* decode: our ONNX file in onnxruntime against the same network exported by
  `keras.Model.export(format="onnx")`, and by `torch.onnx` where torch is installed. All return
  the mean and the logits.
* saved_model: the exported SavedModel in a Session, as TF Serving runs it, against a bare
  `tf.function` of the same network.
* generate: noise, decode and a draw for each pixel, against decode plus as many Philox words
  alone.
* export: seconds from a model to a published version, all endpoints, verification included.

The contenders of a question take turns, each for `--block` seconds a round; see `paired.py`. An
aim is met or missed if the middle half of the rounds says so, and otherwise within the noise.
Writes results/export-DATE.json and .md.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import functools
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
from paired import Call, Row, describe_machine, in_turns, table

import tfvae
from tfvae import files, random
from tfvae.export import onnx as onnx_format
from tfvae.export import pipeline
from tfvae.export.endpoint import Definition, trace
from tfvae.export.manifest import Tensor

RESULTS = Path(__file__).parent / "results"
LATENT = 20
SHAPE = (28, 28, 1)
AIMS = {"decode": 1.0, "saved_model": 1.1, "generate": 1.2, "export": 15.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--block", type=float, default=0.2, help="seconds of a turn")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64, 1024])
    parser.add_argument("--networks", nargs="+", default=["mlp", "conv"], choices=["mlp", "conv"])
    parser.add_argument("--out", type=Path, help="a path without its ending")
    arguments = parser.parse_args()
    machine = describe_machine()
    seconds: dict[str, float] = {}
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for network in arguments.networks:
            vae = model(network)
            started = time.perf_counter()
            path = pipeline.export(vae, Path(folder) / network)
            seconds[network] = time.perf_counter() - started
            print(f"export {network}: {seconds[network]:.1f} s", flush=True)
            for row in compare(vae, network, path, arguments):
                rows.append(row)
                print(row, flush=True)
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    settings = {"rounds": arguments.rounds, "block": arguments.block}
    document: dict[str, Any] = {
        "date": date,
        "machine": machine,
        "settings": settings,
        "aims": AIMS,
    }
    document |= {"export_seconds": seconds, "rows": [dataclasses.asdict(row) for row in rows]}
    out = arguments.out or RESULTS / f"export-{date}"
    files.replace_json(out.with_name(out.name + ".json"), document)
    files.replace_text(out.with_name(out.name + ".md"), report(document, rows))


def model(network: Literal["mlp", "conv"]) -> tfvae.VAE:
    """Make a model that passes for trained: biases of zero would be left out of every graph."""
    vae = tfvae.zoo.vae(SHAPE, LATENT, network=network)
    rng = np.random.default_rng(0)
    for weight in vae.weights:
        values = weight.value.numpy()
        weight.assign(values + 0.01 * rng.standard_normal(values.shape))
    vae.step.assign(1)
    return vae


def compare(
    vae: tfvae.VAE, network: str, path: Path, arguments: argparse.Namespace
) -> Iterator[Row]:
    """Yield the rows of one model."""
    ours = session(path / "onnx" / "decode.onnx")
    generator = session(path / "onnx" / "generate.onnx")
    others = {"keras": keras_session(vae, path.parent), "torch": torch_session(vae, path.parent)}
    words = words_session(vae)
    served, bare = saved_model(path), bare_function(vae)
    for batch in arguments.batches:
        z = np.random.default_rng(0).standard_normal((batch, LATENT), np.float32)
        seed = np.arange(batch)
        requests = {"seed": seed, "temperature": np.ones(batch, np.float32)}

        def row(question: str, against: str, calls: Sequence[Call], batch: int = batch) -> Row:
            times = in_turns(calls, arguments.rounds, arguments.block)
            return Row.of_times(
                times, question, f"{network}, batch {batch}", against, AIMS[question]
            )

        decode = on(ours, {"z": z})
        for against, other in others.items():
            if other is not None:
                given = {other.get_inputs()[0].name: z}
                yield row("decode", against, [decode, on(other, given)])
        in_tensorflow = [functools.partial(served, z), functools.partial(bare, z)]
        yield row("saved_model", "tf.function", in_tensorflow)
        calls = [on(generator, requests), decode, on(words, {"seed": seed})]
        yield row("generate", "decode + words", calls)


def session(file: Path | bytes) -> onnxruntime.InferenceSession:
    source = str(file) if isinstance(file, Path) else file
    return onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])


def on(running: onnxruntime.InferenceSession, inputs: dict[str, Any]) -> Call:
    return lambda: running.run(None, inputs)


def keras_session(vae: tfvae.VAE, folder: Path) -> onnxruntime.InferenceSession:
    """Export the decoder and its mean as Keras does."""
    logits = vae.decoder.output
    outputs = {"mean": keras.ops.sigmoid(logits), "logits": logits}
    path = folder / "keras.onnx"
    both = keras.Model(vae.decoder.input, outputs)
    both(np.zeros((1, LATENT), np.float32))  # Keras refuses one that was never called
    both.export(path, format="onnx", verbose=False)
    return session(path)


def torch_session(vae: tfvae.VAE, folder: Path) -> onnxruntime.InferenceSession | None:
    """Write the same layers in torch, with weights of their own, and export them."""
    try:
        import torch
    except ImportError:
        print("torch is not installed: no comparison with torch.onnx")
        return None
    layers: list[Any] = []
    for layer in vae.decoder.layers:
        if isinstance(layer, keras.layers.Dense):
            layers.append(torch.nn.Linear(*layer.kernel.shape))
        elif isinstance(layer, keras.layers.Conv2DTranspose):
            *_, wide, deep = layer.kernel.shape
            layers.append(torch.nn.ConvTranspose2d(deep, wide, 4, stride=2, padding=1))
        elif isinstance(layer, keras.layers.Reshape):
            height, width, channels = layer.target_shape
            layers.append(torch.nn.Unflatten(1, (channels, height, width)))
        if getattr(layer, "activation", None) is keras.activations.relu:
            layers.append(torch.nn.ReLU())

    class Decoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = torch.nn.Sequential(*layers)

        def forward(self, z: Any) -> Any:
            logits = self.network(z)
            return torch.sigmoid(logits), logits

    path, names = folder / "torch.onnx", ("z", "mean", "logits")
    torch.onnx.export(
        Decoder().eval(),
        (torch.zeros(2, LATENT),),
        str(path),
        input_names=names[:1],
        output_names=names[1:],
        dynamic_axes={name: {0: "batch"} for name in names},
        opset_version=17,
        dynamo=False,
    )
    return session(path)


def words_session(vae: tfvae.VAE) -> onnxruntime.InferenceSession:
    """Make a graph of as many words as `generate` draws, and of nothing else."""
    streams = [
        (random.Request(layer.noise, layer.noise_shape, stream, layer.choices).words, stream)
        for layer, stream in ((vae.prior, random.LATENT), (vae.likelihood, random.OBSERVATION))
        if layer.noise is not None
    ]
    pixels = math.prod(SHAPE)
    print(f"words a row: {sum(n for n, _ in streams)}, for {LATENT} normals and {pixels} pixels")
    definition = Definition(
        description="Words.",
        inputs=(Tensor("seed", (None,), "int64"),),
        function=lambda seed: dict(
            zip(("latent", "observation"), random.row_streams(seed, streams), strict=True)
        ),
        reference=lambda **_: {},
        examples=lambda _: {},
        values={},
    )
    endpoint = trace("words", definition, ("words",), 18)
    return session(onnx_format.convert(endpoint).SerializeToString())


def saved_model(path: Path) -> Callable[[Any], object]:
    """Load a SavedModel as the C++ loader does, without Python's parsing of fetches."""
    with tf.Graph().as_default():
        running = tf.compat.v1.Session()
        meta = tf.compat.v1.saved_model.load(running, ["serve"], str(path))
        signature = meta.signature_def["decode"]
        fetches = [signature.outputs[name].name for name in ("mean", "logits")]
        call: Callable[[Any], object] = running.make_callable(fetches, [signature.inputs["z"].name])
    return call


def bare_function(vae: tfvae.VAE) -> Callable[[Any], object]:
    @tf.function(input_signature=[tf.TensorSpec([None, LATENT])], autograph=False)
    def decode(z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = vae.decoder(z, training=False)
        return tf.sigmoid(logits), logits

    return lambda z: [output.numpy() for output in decode(tf.constant(z))]


def report(document: dict[str, Any], rows: Sequence[Row]) -> str:
    """Write the figures as a page."""
    machine, settings = document["machine"], document["settings"]
    versions = {name: machine["versions"][name] for name in ("tensorflow", "keras", "onnxruntime")}
    seconds = ", ".join(
        f"{name} {value:.1f} s" for name, value in document["export_seconds"].items()
    )
    return "\n".join(
        [
            "# Exports: what they cost to make and to run",
            "",
            f"`python benchmarks/export.py`, {settings['rounds']} rounds of "
            f"{settings['block']} s, {document['date']}; {machine['cores']} cores of "
            f"{machine['cpu']}, load {machine['load']} before it began; "
            + ", ".join(f"{name} {version}" for name, version in versions.items())
            + ". Milliseconds a call; ratios within rounds: median (quartiles).",
            "",
            *table(rows),
            "",
            f"From a model to a published version, all endpoints, verification included: {seconds} "
            f"(aim, of the dense model: {AIMS['export']:.0f} s).",
            "",
        ]
    )


if __name__ == "__main__":
    main()

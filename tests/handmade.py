"""Exports made by hand, of a few ONNX nodes each: what they compute is known in closed form."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tfvae.export.manifest import EndpointRecord, Manifest, Tensor, fingerprints

CLASSES = ("red", "green", "blue")
_TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "int32": TensorProto.INT32}


def endpoint(
    folder: Path,
    name: str,
    inputs: list[Tensor],
    outputs: list[Tensor],
    nodes: list[Any],
    **const: Any,
) -> EndpointRecord:
    """Write an ONNX file of these nodes and constants, and return its record."""

    def info(spec: Tensor) -> Any:
        return helper.make_tensor_value_info(
            spec.name, _TYPES[spec.dtype], ["batch", *spec.shape[1:]]
        )

    graph = helper.make_graph(
        nodes, name, [info(spec) for spec in inputs], [info(spec) for spec in outputs],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in const.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    path = f"onnx/{name}.onnx"
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / path)
    return EndpointRecord(name, "", tuple(inputs), tuple(outputs), (), path)


def node(kind: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def publish(folder: Path, *records: EndpointRecord, **given: Any) -> Path:
    """Write the manifest of a version folder, and test vectors where there are none."""
    vectors = given.pop("vectors", {})
    np.savez(folder / "test_vectors.npz", allow_pickle=False, **vectors)
    manifest = Manifest(
        name="handmade", created="2026-01-01T00:00:00+00:00", opset=18, endpoints=records,
        slots=given.pop("slots", {}), versions={"tfvae": "0"}, test_vectors="test_vectors.npz",
        **given,
    )  # fmt: skip
    dataclasses.replace(manifest, files=fingerprints(folder)).write(folder)
    return folder


def painter(folder: Path, latents: int = 40) -> Path:
    r"""Export a hierarchy of colour images 3 by 4, given a class of three.

    mean = 0.5 + W z_0 + 0.3 (one-hot class in its channel), where the first 36 latents move a value
    each; z_0 = temperature_0 (1 .. n) sin(seed) / n + temperature_1 / 10.
    """
    values = 3 * 4 * 3
    weights = np.zeros((latents, values), np.float32)
    np.fill_diagonal(weights, 0.1)
    tint = np.zeros((3, 3, 4, 3), np.float32)
    for each in range(3):
        tint[each, :, :, each] = 0.3
    z = Tensor("z_0", (None, latents), "float32")
    top = Tensor("z_1", (None, 1), "float32")
    given = Tensor("condition", (None,), "int64", bounds=(0, 2))
    mean = Tensor("mean", (None, 3, 4, 3), "float32", bounds=(0.0, 1.0))
    sample = dataclasses.replace(mean, name="sample")
    paint = [
        node("MatMul", "z_0 weights", "moved"),
        node("Add", "moved half", "flat"),
        node("Reshape", "flat shape", "plain"),
        node("Gather", "tint condition", "tinted", axis=0),
        node("Add", "plain tinted", "mean"),
    ]
    constants = {
        "weights": weights,
        "half": np.float32(0.5),
        "shape": np.array([-1, 3, 4, 3]),
        "tint": tint,
    }
    draw = [
        node("Cast", "seed", "real", to=TensorProto.FLOAT),
        node("Sin", "real", "wave"),
        node("Unsqueeze", "wave last", "column"),
        node("MatMul", "column ramp", "raw"),
        node("Split", "temperature", "t0", axis=1, num_outputs=2),
        node("Mul", "raw t0", "scaled"),
        node("Mul", "t1 tenth", "z_1"),
        node("Add", "scaled z_1", "z_0"),
        *paint,
        node("Round", "mean", "sample"),
    ]
    draw[4].output.append("t1")
    drawing = {
        "last": np.array([1]),
        "ramp": (np.arange(1, latents + 1, dtype=np.float32) / latents)[None],
        "tenth": np.float32(0.1),
    }
    seed = Tensor("seed", (None,), "int64")
    temperature = Tensor("temperature", (None, 2), "float32", bounds=(0.0, None), default=1.0)
    return publish(
        folder,
        endpoint(folder, "decode", [z, given], [mean], paint, **constants),
        endpoint(
            folder, "generate", [seed, temperature, given], [z, top, mean, sample], draw,
            **constants, **drawing,
        ),
        classes=CLASSES,
    )  # fmt: skip


# Of the hierarchy: the mean of z_0 is z_1 LEVEL_MEAN and its deviation exp(z_1 LEVEL_SPREAD).
LEVEL_MEAN = np.float32([[0.5, -0.3, 0.2], [0.1, 0.4, -0.6]])
LEVEL_SPREAD = np.float32([[0.3, -0.2, 0.0], [-0.1, 0.2, 0.4]])
LEVEL_IMAGE = np.float32(np.cos(np.arange(18) ** 2).reshape(3, 6) / 8)


def hierarchy(folder: Path, vectors: dict[str, Any] | None = None) -> Path:
    """Export two levels of latents, three and two, of which grey images 2 by 3 are made.

    mean = 0.5 + z_0 LEVEL_IMAGE; encoding inverts that, and gives z_1 half of the first two.
    """
    z = [Tensor("z_0", (None, 3), "float32"), Tensor("z_1", (None, 2), "float32")]
    shifts = [dataclasses.replace(each, name=f"shift_{i}", default=0.0) for i, each in enumerate(z)]
    moved = [dataclasses.replace(each, name=f"moved_{i}") for i, each in enumerate(z)]
    means = [dataclasses.replace(each, name=f"mean_{i}") for i, each in enumerate(z)]
    mean = Tensor("mean", (None, 2, 3), "float32", bounds=(0.0, 1.0))
    constants = {"image": LEVEL_IMAGE, "half": np.float32(0.5), "shape": np.array([-1, 2, 3])}
    levels = {"a": LEVEL_MEAN, "b": LEVEL_SPREAD}

    def paint(latents: str) -> list[Any]:
        return [
            node("MatMul", f"{latents} image", "moves"),
            node("Add", "moves half", "flat"),
            node("Reshape", "flat shape", "mean"),
        ]

    def prior(above: str, name: str) -> list[Any]:
        return [
            node("MatMul", f"{above} a", f"{name}_mean"),
            node("MatMul", f"{above} b", f"{name}_log"),
            node("Exp", f"{name}_log", f"{name}_dev"),
        ]

    draw = [
        node("Cast", "seed", "real", to=TensorProto.FLOAT),
        node("Unsqueeze", "real last", "column"),
        node("Mul", "column often", "phases"),
        node("Sin", "phases", "noise"),
        node("Split", "noise sizes", "noise_0", axis=1),
        node("Split", "temperature", "t0", axis=1, num_outputs=2),
        node("Mul", "noise_1 t1", "z_1"),
        *prior("z_1", "prior"),
        node("Mul", "noise_0 t0", "warm"),
        node("Mul", "warm prior_dev", "spread"),
        node("Add", "spread prior_mean", "z_0"),
        *paint("z_0"),
        node("Round", "mean", "sample"),
    ]
    draw[4].output.append("noise_1")
    draw[5].output.append("t1")
    follow = [
        node("Add", "z_1 shift_1", "moved_1"),
        *prior("z_1", "old"),
        *prior("moved_1", "new"),
        node("Sub", "z_0 old_mean", "off"),
        node("Div", "off old_dev", "place"),
        node("Mul", "place new_dev", "spread"),
        node("Add", "spread new_mean", "followed"),
        node("Add", "followed shift_0", "moved_0"),
        *paint("moved_0"),
    ]
    see = [
        node("Reshape", "x row", "values"),
        node("Sub", "values half", "flat"),
        node("MatMul", "flat inverse", "mean_0"),
        node("MatMul", "mean_0 first", "mean_1"),
    ]
    drawing = {
        "last": np.array([1]),
        "often": np.float32([[1.0, 2.0, 3.0, 0.7, 1.3]]),
        "sizes": np.array([3, 2]),
    }
    seeing = {
        "row": np.array([-1, 6]),
        "half": np.float32(0.5),
        "inverse": np.linalg.pinv(LEVEL_IMAGE),
        "first": np.eye(3, 2, dtype=np.float32) / 2,
    }
    seed = Tensor("seed", (None,), "int64")
    temperature = Tensor("temperature", (None, 2), "float32", bounds=(0.0, None), default=1.0)
    sample = dataclasses.replace(mean, name="sample")
    x = dataclasses.replace(mean, name="x")
    return publish(
        folder,
        endpoint(folder, "decode", z[:1], [mean], paint("z_0"), **constants),
        endpoint(
            folder, "generate", [seed, temperature], [*z, mean, sample], draw,
            **constants, **levels, **drawing,
        ),
        endpoint(folder, "encode", [x], means, see, **seeing),
        endpoint(folder, "move", [*z, *shifts], [*moved, mean], follow, **constants, **levels),
        vectors=vectors or {},
    )  # fmt: skip


def encoder(
    folder: Path,
    shape: tuple[int, ...] = (2, 2),
    *,
    decodes: bool = True,
    vectors: dict[str, Any] | None = None,
    bounds: tuple[float | None, float | None] = (0.0, 1.0),
    slots: dict[str, Any] | None = None,
    name: str = "x",
) -> Path:
    """Export the identity: latents are the values of the image themselves, [B, n]."""
    size = int(np.prod(shape))
    x = Tensor(name, (None, *shape), "float32", bounds=bounds)
    z = Tensor("z", (None, size), "float32")
    mean = dataclasses.replace(x, name="mean")
    records = [
        endpoint(
            folder, "encode", [x], [dataclasses.replace(z, name="mean")],
            [node("Reshape", f"{name} shape", "mean")], shape=np.array([-1, size]),
        ),
    ]  # fmt: skip
    if decodes:
        nodes = [node("Reshape", "z shape", "mean")]
        target = np.array([-1, *shape])
        records.insert(0, endpoint(folder, "decode", [z], [mean], nodes, shape=target))
    return publish(folder, *records, vectors=vectors or {}, slots=slots or {})

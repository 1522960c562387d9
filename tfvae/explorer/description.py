"""What a page is told of an export: its picture, latents, endpoints, and what it cannot do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfvae.export import ExportError, LoadedExport
from tfvae.export.manifest import VOCABULARY, EndpointRecord, Tensor

from .latents import Latents, study

FORMAT = "tfvae-explorer"
FORMAT_VERSION = 2
FILENAME = "explorer.json"

ENDPOINTS = ("decode", "generate", "encode", "move")
"""What a page runs. Either of the first two will do; the last one is of hierarchies."""

_ABSENT = {
    "decode": "This export has no endpoint “decode”: pictures come from seeds alone, and latents "
    "cannot be moved.",
    "generate": "This export has no endpoint “generate”, so there are no seeds: its prior or "
    "likelihood has no portable sampler, or it was exported without.",
    "encode": "This export has no endpoint “encode”, so pictures cannot be taken in: the model has "
    "no encoder, or it was exported without.",
    "move": "These are the latents of level 0, of which alone the picture is a function. The "
    "levels above are drawn with each seed and cannot be moved: this export has no endpoint "
    "“move”, or a prior of the model does not allow one.",
}
# Their draws have length one along the last axis, and nothing else was ever decoded.
_SPHERES = frozenset({"HypersphericalUniform", "VonMisesFisher", "PowerSpherical"})


def describe(export: LoadedExport, image_shape: Sequence[int] | None = None) -> dict[str, Any]:
    """Return what ``explorer.json`` holds.

    Args:
        export: the export.
        image_shape: of a model of flat vectors, how they become pictures: (H, W) or (H, W, 3).

    Raises:
        ExportError: if what the export draws are no pictures, or it has neither ``decode`` nor
            ``generate``.
    """
    records = runs(export)
    _check(export, records)
    first = records.get("decode") or records["generate"]
    mean = next(spec for spec in first.outputs if spec.name == "mean")
    image = _image(mean, image_shape)
    levels = _moved_levels(records)
    condition = _condition(records, export.manifest.classes)
    latents = study(export, levels, None if condition is None else condition["initial"])
    absent = {name: text for name, text in _ABSENT.items() if name not in records}
    if "decode" not in records or not _has_levels(records):
        absent.pop("move", None)
    manifest = export.manifest
    folder = export.path.absolute()
    # A version folder lies in the folder of its model, whose name says more than the network's.
    name = folder.parent.name if folder.name.isdecimal() and folder.parent.name else manifest.name
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": {
            "name": name,
            "kind": manifest.name,
            "version": folder.name if folder.name.isdecimal() else "",
            "created": manifest.created,
            "tfvae": manifest.versions.get("tfvae", ""),
            "prior": manifest.slots.get("prior", {}).get("class", ""),
            "likelihood": manifest.slots.get("likelihood", {}).get("class", ""),
        },
        "image": image,
        "latents": _latents(levels, latents, export),
        "condition": condition,
        "levels": _levels(records.get("generate")),
        "endpoints": {name: _endpoint(record) for name, record in records.items()},
        "absent": absent,
    }


def runs(export: LoadedExport) -> dict[str, EndpointRecord]:
    """Return the endpoints that a page of this export runs, by name."""
    found = {name: export.endpoints[name] for name in ENDPOINTS if name in export.endpoints}
    if "decode" not in found:  # without it no latent is moved
        found.pop("move", None)
    return found


def _moved_levels(records: dict[str, EndpointRecord]) -> list[Tensor]:
    """Return the latents that can be moved, level 0's first; of a flat model they are one."""
    if "move" in records:
        return [spec for spec in records["move"].inputs if spec.name.startswith("z_")]
    if "decode" in records:
        return [records["decode"].inputs[0]]
    return [next(spec for spec in records["generate"].outputs if spec.name in ("z", "z_0"))]


def _has_levels(records: dict[str, EndpointRecord]) -> bool:
    """Whether there are latents above those that ``decode`` takes."""
    names = {spec.name for record in records.values() for spec in record.outputs}
    return bool(names & {"z_1", "mean_1"})


def _check(export: LoadedExport, records: dict[str, EndpointRecord]) -> None:
    """Refuse what is no picture, and what cannot be drawn."""
    if VOCABULARY in export.manifest.files:
        raise ExportError(
            f"Expected an export of a model of images. Received: {export.path}, which writes "
            "sentences. See them with `tfvae generate`."
        )
    inputs = {spec.name for record in records.values() for spec in record.inputs}
    if "length" in inputs:
        raise ExportError(
            f"Expected an export of a model of images. Received: {export.path}, which draws "
            "sequences. See them with `tfvae generate`, as lines."
        )
    if not records.keys() & {"decode", "generate"}:
        there = ", ".join(export.endpoints) or "none"
        raise ExportError(
            f"Expected an export with the endpoint 'decode' or 'generate'. Received: {export.path} "
            f"with {there}. Export it with all endpoints, the default."
        )


def _image(mean: Tensor, image_shape: Sequence[int] | None) -> dict[str, Any]:
    shape = tuple(size for size in mean.shape if size is not None)
    seen = tuple(image_shape) if image_shape is not None else shape
    if math.prod(seen) != math.prod(shape):
        raise ExportError(
            f"Expected `image_shape` with as many values as the model's {list(shape)}. "
            f"Received: {list(seen)}, {math.prod(seen)} in place of {math.prod(shape)}."
        )
    if not (len(seen) == 2 or (len(seen) == 3 and seen[-1] in (1, 3))):
        hint = "Only images can be explored; save other draws with `tfvae generate --npz`."
        side = math.isqrt(shape[0]) if len(shape) == 1 else 0
        if side > 1 and side**2 == shape[0]:
            hint = f"If they are flat images, say so: --image-shape {side},{side}."
        raise ExportError(
            "Expected a model of images, [H, W], [H, W, 1] or [H, W, 3]. Received: data of shape "
            f"{list(seen)}. {hint}"
        )
    low, high = mean.bounds
    if mean.dtype == "uint8":
        low, high = 0.0, 255.0
    elif low is None or high is None:  # as the library's pictures clip them
        low, high = 0.0, 1.0
    height, width, *channels = seen
    return {
        "height": height,
        "width": width,
        "channels": channels[0] if channels else 1,
        "low": low,
        "high": high,
    }


def _latents(levels: Sequence[Tensor], found: Latents, export: LoadedExport) -> dict[str, Any]:
    """Say of latents, those of one level after those of another, all that a page needs."""
    order: list[int] = []
    groups = []
    for level in levels:
        start, size = len(order), level.row_size
        own = np.arange(size)
        if found.activity is not None:
            own = np.argsort(-found.activity[start : start + size], kind="stable")
        order += (start + own).tolist()
        shape = [each for each in level.shape if each is not None]
        groups.append({"name": level.name, "shape": shape, "start": start, "size": size})
    slots = export.manifest.slots
    spherical = {slots.get(name, {}).get("class") for name in ("prior", "posterior")} & _SPHERES
    return {
        "groups": groups,
        "size": len(order),
        "order": order,
        "activity": None if found.activity is None else _numbers(found.activity),
        "measure": found.measure,
        "low": _numbers(found.low),
        "high": _numbers(found.high),
        "centre": _numbers(found.centre),
        "sphere": bool(spherical),
    }


def _numbers(values: Any) -> list[float]:
    """Return numbers that are short in JSON, to six places that count."""
    return [float(f"{value:.6g}") for value in np.asarray(values, np.float64)]


def _condition(records: dict[str, EndpointRecord], classes: Sequence[str]) -> dict[str, Any] | None:
    """Say what a condition is: one of some classes, or numbers."""
    given = [
        spec
        for name in ("generate", "decode", "encode")
        if name in records
        for spec in records[name].inputs
        if spec.name == "condition"
    ]
    if not given:
        return None
    spec = given[0]
    low, high = spec.bounds
    whole = np.issubdtype(spec.dtype, np.integer)
    if spec.shape[1:] == () and whole and low is not None and high is not None:
        first = max(int(low), 0)
        names = [str(each) for each in classes] or [str(n) for n in range(first, int(high) + 1)]
        return {"kind": "class", "names": names, "first": first, "initial": first}
    size = spec.row_size
    initial = [0] * size if spec.shape[1:] else 0
    return {"kind": "numbers", "size": size, "whole": bool(whole), "initial": initial}


def _levels(generate: EndpointRecord | None) -> int:
    """Return how many temperatures there are beside the one of a model without levels."""
    inputs = generate.inputs if generate else ()
    shapes = [spec.shape[1:] for spec in inputs if spec.name == "temperature"]
    return next((shape[0] or 0 for shape in shapes if shape), 0)


def _endpoint(record: EndpointRecord) -> dict[str, Any]:
    return {
        "file": f"model/{record.name}.onnx",
        "inputs": [_tensor(spec) for spec in record.inputs],
        "outputs": [_tensor(spec) for spec in record.outputs],
    }


def _tensor(spec: Tensor) -> dict[str, Any]:
    shape = [size for size in spec.shape if size is not None]
    return {"name": spec.name, "shape": shape, "dtype": spec.dtype, "default": spec.default}

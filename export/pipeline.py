"""The export itself: from a model to a published version, in order."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from tfvae.model import VAE

from . import onnx, saved_model, verification
from .endpoints import Endpoint
from .endpoints import endpoints as endpoints_of
from .errors import ExportError
from .manifest import Check, Manifest, fingerprints, now, package_versions
from .publish import check_target, publish, staging

if TYPE_CHECKING:
    import numpy.typing as npt

_log = logging.getLogger(__name__)

_TEST_VECTORS = "test_vectors.npz"
_ROWS = 64
# Test vectors of large images would outweigh the model: 4 million values are 16 MB.
_MAXIMUM_VALUES = 2**22


def export(
    vae: VAE,
    path: str | os.PathLike[str],
    *,
    endpoints: Iterable[str] | None = None,
    opset: int = 18,
) -> Path:
    """Publish a model as the next version of a model folder, verified, or not at all.

    The version folder holds a SavedModel with a signature for each endpoint, one ONNX file for
    each, and ``manifest.json``. Before it appears, a fresh process without tfvae, TFP or tf_keras
    has run every endpoint through onnxruntime, ``tf.saved_model.load`` and the C++ loader, to
    within 1e-5 of the scale of what Keras computes.

    Args:
        vae: the model.
        path: the model folder, such as ``"savedmodels/digits"``.
        endpoints: which endpoints; by default all that the model's slots allow.
        opset: the ONNX operator set, 15 to 18; ``generate`` needs 18.

    Returns:
        The version folder, ``path/<version>``.

    Raises:
        TypeError: if `vae` is not a VAE.
        ExportError: if it cannot be exported (weights that are not finite, an operation without
            an ONNX counterpart, a slot without a portable sampler) or an export differs from
            Keras. Nothing is published.
        OSError: if the folder cannot be written.

    Warns:
        UserWarning: if the model was never trained.

    Example:
        >>> tfvae.export.export(vae, "savedmodels/digits")  # doctest: +SKIP
        PosixPath('savedmodels/digits/1')
    """
    folder = check_target(path)
    _check_model(vae)
    exported = endpoints_of(vae, endpoints)
    _check_opset(opset, exported)
    with staging(folder) as staged:
        saved_model.write(exported, staged)
        for endpoint in exported:
            onnx.write(endpoint, staged, opset)
        record(exported, staged / _TEST_VECTORS)
        manifest = Manifest(
            name=vae.name,
            created=now(),
            opset=opset,
            endpoints=tuple(endpoint.record for endpoint in exported),
            slots=_slots(vae),
            versions=package_versions(),
            test_vectors=_TEST_VECTORS,
        )
        manifest.write(staged)
        checks = _verified(vae, staged)
        final = dataclasses.replace(manifest, verification=checks, files=fingerprints(staged))
        final.write(staged)
        published = publish(staged)
    _log.info("published %s", published)
    return published


def record(endpoints: Sequence[Endpoint], path: Path) -> None:
    """Write test vectors: rows of inputs, and outputs that Keras computes from them.

    Raises:
        ExportError: if Keras's own outputs are not finite.
    """
    vectors: dict[str, npt.NDArray[Any]] = {}
    for endpoint in endpoints:
        largest = max(spec.row_size for spec in endpoint.outputs)
        inputs = endpoint.examples(min(_ROWS, max(4, _MAXIMUM_VALUES // largest)))
        # On the CPU: an accelerator may round to TF32.
        with tf.device("/CPU:0"):
            outputs = endpoint.reference(**inputs)
        for name, values in outputs.items():
            if not np.isfinite(values).all():
                raise ExportError(
                    f"Expected finite outputs. Received: NaN or infinity in {name!r} of "
                    f"{endpoint.name!r}, computed by Keras at latents of up to 6 standard "
                    "deviations. Bound the network's outputs."
                )
        arrays = {**inputs, **outputs}
        vectors |= {f"{endpoint.name}/{name}": values for name, values in arrays.items()}
    np.savez_compressed(path, allow_pickle=False, **vectors)


def _check_model(vae: VAE) -> None:
    if not isinstance(vae, VAE):
        raise TypeError(
            f"Expected `vae` to be a tfvae.VAE. Received: {type(vae).__name__}. To export another "
            "decoder, give it to tfvae.VAE with a prior and a likelihood."
        )
    if not vae.decoder.built:
        raise ExportError(
            "Expected a model whose decoder is built. Received: a decoder without weights yet. "
            "Call it once, `vae.generate(1)`, or train it."
        )
    if "float64" in (vae.likelihood.compute_dtype, vae.decoder.dtype_policy.compute_dtype):
        raise ExportError(
            "Expected a model that computes in float32. Received: one in float64, for which "
            "runtimes lack operations. Build it under the float32 policy and hand the weights "
            "over: model32.set_weights(vae.get_weights())."
        )
    for weight in vae.weights:
        # `.value`, for NumPy 2 warns at Keras's own conversion of its variables.
        values = weight.value.numpy()
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            raise ExportError(
                f"Expected finite weights. Received: NaN or infinity in {weight.path!r}. A broken "
                "model is not published: train again, or load the last good weights."
            )
    if int(vae.step) == 0:
        warnings.warn(
            "This model was never trained: it is exported with its initial weights.",
            UserWarning,
            stacklevel=3,
        )


def _check_opset(opset: int, exported: Sequence[Endpoint]) -> None:
    if opset not in onnx.OPSETS:
        raise ExportError(
            f"Expected `opset` to be one of {', '.join(map(str, onnx.OPSETS))}. "
            f"Received: opset={opset!r}."
        )
    for endpoint in exported:
        if opset < endpoint.minimum_opset:
            low = [other.name for other in exported if other.minimum_opset <= opset]
            raise ExportError(
                f"Expected `opset` to be at least {endpoint.minimum_opset} for the endpoint "
                f"{endpoint.name!r}. Received: opset={opset}. Raise it"
                + (f", or pass endpoints={tuple(low)!r}." if low else ".")
            )


def _verified(vae: VAE, staged: Path) -> tuple[Check, ...]:
    """Return the checks that the staged export passed, or raise with those it did not."""
    (checks,) = verification.run_stranger([staged])
    failed = [verification.describe(row) for row in checks if not row.ok]
    if failed:
        policy = vae.decoder.dtype_policy.name
        hint = "" if policy == "float32" else f"\nThe decoder computes in {policy}: try float32."
        raise ExportError(
            "The exported files do not compute what Keras computes, and were not published:\n"
            + "\n".join(failed)
            + hint
        )
    return checks


def _slots(vae: VAE) -> dict[str, Any]:
    """Describe the slots, so that a manifest says what the model is."""
    slots: dict[str, Any] = {}
    for name in ("prior", "posterior", "likelihood", "objective"):
        serialized = keras.saving.serialize_keras_object(getattr(vae, name))
        slots[name] = {"class": serialized["class_name"], "config": serialized["config"]}
    for name in ("encoder", "decoder"):
        network = getattr(vae, name)
        slots[name] = {"class": type(network).__name__, "parameters": network.count_params()}
    described: dict[str, Any] = json.loads(json.dumps(slots, default=repr))
    return described

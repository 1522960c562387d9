"""The export itself: from a model to a published version, in order."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from tfvae import description
from tfvae.generator import Generator
from tfvae.model import VAE

from . import card as cards
from . import onnx, saved_model, sentences, verification, warmup
from .card import Card
from .endpoint import Arrays, Endpoint
from .endpoints import endpoints as endpoints_of
from .errors import ExportError
from .manifest import Check, EndpointRecord, Manifest, fingerprints, now, package_versions
from .preparation import (
    check_model,
    check_opset,
    generative,
    prepared,
    variants_of,
    with_plain_weights,
)
from .processing import Processing
from .publish import check_keep, check_target, prune, publish
from .shown import Published
from .staging import staging
from .subject import BEAM_WIDTH, SAMPLES

if TYPE_CHECKING:
    from tfvae.layers import DistributionLayer
    from tfvae.priors import Prior

_log = logging.getLogger(__name__)

_TEST_VECTORS = "test_vectors.npz"
_ROWS = 64
# Test vectors of large images would outweigh the model: 4 million values are 16 MB.
_MAXIMUM_VALUES = 2**22


def export(
    model: VAE | Generator | keras.Model,
    path: str | os.PathLike[str],
    *,
    endpoints: Iterable[str] | None = None,
    opset: int = 18,
    prior: Prior | None = None,
    likelihood: str | DistributionLayer | None = None,
    processing: Processing | None = None,
    samples: int = SAMPLES,
    beam_width: int = BEAM_WIDTH,
    calibration: Any = None,
    false_alarm_rates: Iterable[float] | None = None,
    precision: str | None = None,
    quantize: str | None = None,
    weight_seed: int | None = None,
    keep: int | None = None,
    card: Card | None = None,
) -> Path:
    """Publish a model as the next version of a model folder, verified, or not at all.

    The version folder holds a SavedModel with a signature for each endpoint, one ONNX file for
    each, warm-up requests for TF Serving, ``manifest.json``, and ``README.md``, a model card.
    Before it appears, two fresh processes without tfvae, TFP or tf_keras, one of them without
    TensorFlow, have run every endpoint through onnxruntime, ``tf.saved_model.load`` and the C++
    loader, to within 1e-5 of the scale of what Keras computes; a sum of n terms may be off by
    1e-5 times the root of n, however small it is.

    Args:
        model: a VAE; a :class:`tfvae.Generator`; or any Keras model from z to the parameters of
            `likelihood`, which needs no training by tfvae.
        path: the model folder, such as ``"savedmodels/digits"``.
        endpoints: which endpoints; by default all that the model's slots allow.
        opset: the ONNX operator set, 15 to 23; ``generate`` and ``score`` need 18.
        prior: of a Keras model, p(z); standard normal by default.
        likelihood: of a Keras model, p(x|z).
        processing: what clients see in place of the model's units: bytes, scales, class names.
        samples: importance samples of ``score``.
        beam_width: of the beam search of ``beam``, where the model writes sentences.
        calibration: held-out data, x or (x, condition) or Examples, in the model's units. With
            them the manifest holds thresholds of ``score``, and they are what endpoints are
            verified on.
        false_alarm_rates: of those thresholds; by default 0.001, 0.01 and 0.05, as far as there
            are examples enough.
        precision: ``"float16"`` adds ONNX files in half precision, with a tolerance of their own.
        quantize: ``"int8"`` adds ONNX files with quantised matrix products, likewise.
        weight_seed: of a model with Bayesian layers, the seed of the draw of weights that is
            exported, :func:`tfvae.bayesian.draw`; by default their means are.
        keep: how many versions stay; older ones are removed once this one is in place.
        card: what the model card, ``README.md``, is to say beside what is known of the model:
            intended use, data, metrics, licence. What is not told is not invented.

    Returns:
        The version folder, ``path/<version>``; a notebook shows its endpoints and checks.

    Raises:
        TypeError: if `model` or `processing` is none of these.
        ExportError: if it cannot be exported (weights that are not finite, an operation without
            an ONNX counterpart, a slot without a portable sampler) or an export differs from
            Keras. Nothing is published.
        ValueError: for samples < 1, or a likelihood that is not known or does not fit the decoder.
        OSError: if the folder cannot be written.

    Warns:
        UserWarning: if the model was never trained.

    Example:
        >>> tfvae.export.export(vae, "savedmodels/digits")  # doctest: +SKIP
        PosixPath('savedmodels/digits/1')
    """
    folder = check_target(path)
    check_keep(keep)
    card = cards.check(card)
    source = with_plain_weights(generative(model, prior, likelihood), weight_seed)
    check_model(source)
    variants = variants_of(precision, quantize)
    if processing is None:
        processing = Processing()
    subject, calibrated = prepared(source, processing, samples, calibration, false_alarm_rates)
    subject = dataclasses.replace(subject, width=beam_width)
    exported = endpoints_of(subject, endpoints)
    check_opset(opset, exported)
    with verification.strangers() as examine, staging(folder) as staged:
        saved_model.write(exported, staged)
        sentences.write_vocabulary(source, staged)
        records = _write_onnx(exported, staged, opset, variants)
        vectors = record(exported, staged / _TEST_VECTORS)
        warmup.write(staged, records, vectors)
        manifest = Manifest(
            name=source.name,
            created=now(),
            opset=opset,
            endpoints=records,
            slots=description.slots(source),
            versions=package_versions(),
            test_vectors=_TEST_VECTORS,
            classes=tuple(subject.processing.classes),
            calibration=calibrated,
            weight_seed=weight_seed,
        )
        manifest.write(staged)
        checks = _verified(source, staged, examine)
        final = dataclasses.replace(manifest, verification=checks, files=fingerprints(staged))
        final.write(staged)
        cards.write(staged, final, card, folder.absolute().name)
        published = publish(staged)
    if keep is not None:
        prune(folder, keep)
    _log.info("published %s", published)
    return Published(published)


def record(endpoints: Sequence[Endpoint], path: Path) -> Arrays:
    """Write test vectors: rows of inputs, and outputs that Keras computes from them.

    Returns:
        The rows [N, ...] by ``"<endpoint>/<input or output>"``.

    Raises:
        ExportError: if Keras's own outputs are not finite.
    """
    vectors: Arrays = {}
    for endpoint in endpoints:
        largest = max(spec.row_size for spec in (*endpoint.inputs, *endpoint.outputs))
        given = endpoint.examples(min(_ROWS, max(4, _MAXIMUM_VALUES // largest)))
        # On the CPU: an accelerator may round to TF32.
        with tf.device("/CPU:0"):
            outputs = endpoint.reference(**given)
        for name, values in outputs.items():
            if not np.isfinite(values).all():
                raise ExportError(
                    f"Expected finite outputs. Received: NaN or infinity in {name!r} of "
                    f"{endpoint.name!r}, computed by Keras at latents of up to 6 standard "
                    "deviations. Bound the network's outputs."
                )
        vectors |= {f"{endpoint.name}/{name}": each for name, each in (given | outputs).items()}
    np.savez_compressed(path, allow_pickle=False, **vectors)
    return vectors


def _write_onnx(
    exported: Sequence[Endpoint], folder: Path, opset: int, variants: Sequence[str]
) -> tuple[EndpointRecord, ...]:
    """Write the endpoints' ONNX files and return their records.

    Raises:
        ExportError: if some cannot be converted (those that can are named), or no endpoint has
            a variant that is asked for.
    """
    records: list[EndpointRecord] = []
    refused: list[ExportError] = []
    for endpoint in exported:
        try:
            onnx.write(endpoint, folder, opset)
            records.append(endpoint.record)
        except ExportError as error:
            refused.append(error)
    if refused:
        rest = tuple(each.name for each in records)
        hint = f"\nThe others can be exported: endpoints={rest!r}." if rest else ""
        raise ExportError("\n".join(map(str, refused)) + hint) from refused[0]
    for name in variants:
        records = _write_variant(records, folder, name)
    return tuple(records)


def _write_variant(
    records: Sequence[EndpointRecord], folder: Path, name: str
) -> list[EndpointRecord]:
    """Write a variant of each endpoint that can have it: one that is all noise cannot."""
    written, refused = [], []
    for record in records:
        try:
            made = onnx.write_variants(record, folder, [name])
            written.append(dataclasses.replace(record, variants=(*record.variants, *made)))
        except ExportError as error:
            written.append(record)
            refused.append(error)
            _log.info("%s", error)
    if len(refused) == len(records):
        raise ExportError("\n".join(map(str, refused))) from refused[0]
    return written


def _verified(
    vae: VAE | Generator, staged: Path, examine: verification.Examine
) -> tuple[Check, ...]:
    """Return the checks that the staged export passed, or raise with those it did not."""
    (checks,) = examine([staged])
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

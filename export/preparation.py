"""What is exported, and whether it can be: checked before anything is written."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from tfvae.bayesian.conversion import bayesian_layers, draw, mean
from tfvae.generator import Generator
from tfvae.layers.base import DistributionLayer
from tfvae.model import VAE
from tfvae.objectives import check_samples
from tfvae.priors import Prior

from . import onnx
from .calibration import calibrate, held_out
from .endpoint import Endpoint
from .errors import ExportError
from .manifest import Calibration
from .processing import Processing
from .subject import Subject


def generative(
    model: Any, prior: Prior | None, likelihood: str | DistributionLayer | None
) -> VAE | Generator:
    """Return what generates: the model itself, or a Keras decoder with its slots.

    Raises:
        TypeError: if it is not a model.
        ExportError: for slots beside a model that has its own, a decoder without likelihood, or
            one that is not built.
    """
    if isinstance(model, VAE | Generator):
        if prior is not None or likelihood is not None:
            raise ExportError(
                f"Expected no `prior` and no `likelihood` beside a {type(model).__name__}, which "
                "has its own. Received: one. To change a slot, make a model with the new one."
            )
        return model
    if not isinstance(model, keras.Model):
        raise TypeError(
            "Expected `model` to be a tfvae.VAE, a tfvae.Generator or a Keras model. "
            f"Received: {type(model).__name__}."
        )
    if likelihood is None:
        raise ExportError(
            "Expected `likelihood` to say what the decoder's outputs are the parameters of, such "
            'as likelihood="Bernoulli" for logits. Received: none.'
        )
    if not model.built:
        raise ExportError(
            "Expected a decoder that is built, and trained. Received: one without weights yet. "
            "Begin it with keras.Input(shape), and train it or load its weights."
        )
    return Generator(model, likelihood, prior)


def with_plain_weights(model: VAE | Generator, seed: int | None) -> VAE | Generator:
    """Return a model without Bayesian layers: with one draw of their weights, or with the means.

    Raises:
        ExportError: for a seed that is no 64-bit integer, or of a model without such layers.
    """
    bayesian = bool(bayesian_layers(model))
    if seed is None:
        return mean(model) if bayesian else model
    if not bayesian or isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        received = f"weight_seed={seed!r}" if bayesian else "one whose layers have no posterior"
        raise ExportError(
            "Expected `weight_seed` to be an integer, for a model with Bayesian layers. "
            f"Received: {received}."
        )
    drawn: VAE | Generator = draw(model, int(seed))
    return drawn


def prepared(
    model: VAE | Generator,
    processing: Processing,
    samples: int,
    calibration: Any,
    rates: Iterable[float] | None,
) -> tuple[Subject, Calibration | None]:
    """Put together what is exported; with held-out data, calibrated.

    Raises:
        ExportError: for held-out data that the model cannot score or that are too few, or rates
            without any.
        TypeError: if `processing` is none.
        ValueError: for samples < 1.
    """
    check_samples(samples)
    subject = Subject(model, processing, samples)
    if calibration is None:
        if rates is not None:
            raise ExportError(
                "Expected no `false_alarm_rates` without held-out data. Received: some. "
                "Give the data too: calibration=x."
            )
        return subject, None
    obstacle = subject.score_obstacle()
    if not isinstance(model, VAE) or obstacle:
        raise ExportError(
            f"Expected no `calibration`, for this export has no endpoint 'score'. {obstacle}"
        )
    examples = held_out(model, calibration)
    condition = examples.y if model.conditional else None
    subject = dataclasses.replace(subject, data=examples.values(), condition=condition)
    return subject, calibrate(model, examples, samples, rates)


def check_model(vae: VAE | Generator) -> None:
    """Refuse a model that computes in float64 or has weights that are not finite."""
    if "float64" in (vae.likelihood.compute_dtype, vae.decoder.dtype_policy.compute_dtype):
        raise ExportError(
            "Expected a model that computes in float32. Received: one in float64, for which "
            "runtimes lack operations. Build it under the float32 policy and hand the weights "
            "over: model32.set_weights(vae.get_weights())."
        )
    trained = {id(weight): weight for weight in (*vae.weights, *vae.decoder.weights)}
    for weight in trained.values():
        # `.value`, for NumPy 2 warns at Keras's own conversion of its variables.
        values = weight.value.numpy()
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            raise ExportError(
                f"Expected finite weights. Received: NaN or infinity in {weight.path!r}. A broken "
                "model is not published: train again, or load the last good weights."
            )
    if isinstance(vae, VAE) and int(vae.step) == 0:
        warnings.warn(
            "This model was never trained: it is exported with its initial weights.",
            UserWarning,
            stacklevel=3,
        )


def check_opset(opset: int, exported: Sequence[Endpoint]) -> None:
    """Refuse an operator set that is not known, or too old for an endpoint."""
    if not isinstance(opset, int) or opset not in onnx.OPSETS:
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


def variants_of(precision: str | None, quantize: str | None) -> tuple[str, ...]:
    """Return the names of the ONNX variants that are asked for."""
    asked = {"precision": (precision, "float16"), "quantize": (quantize, "int8")}
    for name, (value, known) in asked.items():
        if value not in (None, known):
            raise ExportError(f"Expected `{name}` to be None or {known!r}. Received: {value!r}.")
    return tuple(value for value, _ in asked.values() if value)

"""What an export can be asked, described once.

The tuple that :func:`endpoints` returns is the only list there is. SavedModel signatures, ONNX
files, the manifest, the test vectors, the warm-up and the verification are all made from it, so a
new endpoint is one builder and one line in ``_ENDPOINTS``; a family of models whose endpoints take
other inputs has a table of its own.

Every endpoint is a function of a batch, row by row, in plain TensorFlow operations: no TFP
distribution, no Keras object and no random operation is left in its graph.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae.conditions import run
from tfvae.families.semi_supervised import SemiSupervisedVAE
from tfvae.generation import Generative
from tfvae.layers.base import DistributionLayer

from .endpoint import Arrays, Definition, Endpoint, Entry, Values, trace
from .errors import ExportError, did_you_mean
from .manifest import Tensor
from .subject import PARTS, Subject

SERVING_DEFAULT = "serving_default"

# Extremes first, so that batches of 1 and 3 meet them too.
_EDGE_LATENTS = (0.0, 6.0, -6.0)
_EDGE_SEEDS = (0, -1, 2**63 - 1, -(2**63))
_TEMPERATURES = (1.0, 0.7, 0.0)


def endpoints(
    subject: Subject | Generative, names: Iterable[str] | None = None
) -> tuple[Endpoint, ...]:
    """Return the endpoints of a model.

    Args:
        subject: what is exported; or a built VAE or Generator, with all else as it is by default.
        names: which ones; by default all that the model's slots allow.

    Raises:
        ExportError: for an unknown name (the nearest is suggested), or for one that a slot of
            the model does not allow (the slot is named).

    Example:
        >>> vae = tfvae.zoo.vae((8, 8), latent_dim=2, hidden=(16,))
        >>> [endpoint.name for endpoint in endpoints(vae)]
        ['decode', 'generate', 'encode', 'reconstruct', 'score']
    """
    subject = subject if isinstance(subject, Subject) else Subject(subject)
    if names is None:
        wanted = tuple(name for name in _table(subject) if not _obstacle(subject, name))
    else:
        wanted = _named(subject, (names,) if isinstance(names, str) else names)
    return tuple(_built(subject, name) for name in wanted)


def _named(subject: Subject, names: Iterable[str]) -> tuple[str, ...]:
    """Check names that were asked for."""
    known = _table(subject)
    if not isinstance(names, Iterable):
        raise ExportError(
            f"Expected `endpoints` to be a list of names. Received: endpoints={names!r}."
        )
    wanted = tuple(dict.fromkeys(names))
    if not wanted:
        raise ExportError(
            f"Expected `endpoints` to name some of {', '.join(known)}. Received: none."
        )
    for name in wanted:
        if name not in known:
            raise ExportError(
                f"Expected `endpoints` to be among {', '.join(known)}. "
                f"Received: {name!r}.{did_you_mean(name, known)}"
            )
        if obstacle := _obstacle(subject, name):
            others = tuple(each for each in known if not _obstacle(subject, each))
            raise ExportError(f"{obstacle} Export the other endpoints: endpoints={others!r}.")
    return wanted


def _obstacle(subject: Subject, name: str) -> str:
    """Say what does not allow an endpoint, or nothing."""
    return _table(subject)[name].obstacle(subject)


def _portable(subject: Subject) -> str:
    for slot in ("prior", "likelihood"):
        layer = getattr(subject.model, slot)
        if layer.noise is None:
            return (
                f"Expected a {slot} with a portable sampler for the endpoint 'generate'. "
                f"Received: {slot}={type(layer).__name__}, which has no map from base noise "
                "to draws. Write its `transform` and `noise`."
            )
    return ""


def _encoding(subject: Subject) -> str:
    if hasattr(subject.model, "encoder"):
        return ""
    return (
        "Expected a model with an encoder for the endpoints 'encode', 'reconstruct' and 'score'. "
        f"Received: a {type(subject.model).__name__}, which has none."
    )


def _scored(subject: Subject) -> str:
    obstacle = _encoding(subject) or subject.score_obstacle()
    return f"The endpoint 'score' is not defined. {obstacle}" if obstacle else ""


def _decode(subject: Subject) -> Definition:
    model, client = subject.model, subject.processing

    def parameters(params: Any) -> dict[str, Any]:
        mean = client.to_client(model.likelihood.mean(params))
        return {"mean": mean, **model.likelihood.parameters(params)}

    def decode(z: tf.Tensor, *condition: tf.Tensor) -> dict[str, tf.Tensor]:
        return parameters(run(model.decoder, z, subject.given(condition)))

    def reference(z: npt.NDArray[Any], **condition: npt.NDArray[Any]) -> dict[str, Any]:
        given = subject.given(tuple(condition.values()))
        return parameters(model.decoder_params(tf.constant(z), condition=given))

    def examples(count: int) -> Arrays:
        z = np.random.default_rng(0).standard_normal((count, *model.latent_shape), np.float32)
        for row, value in zip(z, _EDGE_LATENTS, strict=False):
            row[...] = value
        return {"z": z, **subject.condition_examples(count, "decoder")}

    return Definition(
        description="Latents z to the mean and the parameters of p(x|z).",
        inputs=(
            Tensor("z", (None, *model.latent_shape), "float32"),
            *subject.condition_inputs("decoder"),
        ),
        function=decode,
        reference=reference,
        examples=examples,
        values={"mean": _data(subject)},
    )


def _generate(subject: Subject) -> Definition:
    model, client = subject.model, subject.processing
    likelihood = model.likelihood

    def outputs(drawn: Any) -> dict[str, Any]:
        data = {name: client.to_client(getattr(drawn, name)) for name in ("mean", "sample")}
        return {"z": drawn.z, **data}

    def generate(seed: tf.Tensor, temperature: tf.Tensor, *condition: tf.Tensor) -> Any:
        given = [subject.to_condition(value) for value in condition]
        return outputs(model.generate_rows(seed, temperature, *given))

    def reference(
        seed: npt.NDArray[Any], temperature: npt.NDArray[Any], **condition: npt.NDArray[Any]
    ) -> dict[str, Any]:
        # The public method takes one temperature: one call for each, rows put back in place.
        parts: dict[str, Any] = {}
        for value in np.unique(temperature):
            rows = temperature == value
            given = {name: subject.to_condition(each[rows]) for name, each in condition.items()}
            drawn = model.generate(seeds=seed[rows], temperature=float(value), **given)
            for name, part in outputs(drawn).items():
                array = np.asarray(part)
                whole = parts.setdefault(name, np.empty((len(seed), *array.shape[1:]), array.dtype))
                whole[rows] = array
        return parts

    def examples(count: int) -> Arrays:
        seeds = {"seed": _seeds(count)}
        return seeds | {
            "temperature": np.resize(np.array(_TEMPERATURES, np.float32), count),
            **subject.condition_examples(count, "prior", "decoder"),
        }

    # Whole numbers stay whole; what is drawn between them is rounded, either way where it is a tie.
    if likelihood.support.discrete:
        compare = "flips"
    elif likelihood.choices:
        compare = "level flips" if client.rounds else "flips"
    else:
        compare = "levels" if client.rounds else "values"
    return Definition(
        description=(
            "Draws: row i is a function of seed[i] and temperature[i] alone. `temperature` "
            "scales the prior's noise; `mean` is that of p(x|z), `sample` a draw from it."
        ),
        inputs=(
            Tensor("seed", (None,), "int64"),
            Tensor("temperature", (None,), "float32", bounds=(0.0, None), default=1.0),
            *subject.condition_inputs("prior", "decoder"),
        ),
        function=generate,
        reference=reference,
        examples=examples,
        values={
            "z": Values(_bounds(model.prior), "rows" if _by_parts(model.prior) else "values"),
            "mean": _data(subject),
            "sample": Values(_data(subject).bounds, compare),
        },
    )


def _encode(subject: Subject) -> Definition:
    model: Any = subject.model
    posterior = model.posterior
    spread = _has_stddev(posterior)

    def encode(x: tf.Tensor, *condition: tf.Tensor) -> dict[str, tf.Tensor]:
        seen, given = subject.processing.to_model(x), subject.given(condition)
        params = model.encoder_params(seen, condition=model.given(seen, given))
        outputs = {"mean": posterior.mean(params)}
        return outputs | ({"stddev": posterior(params).stddev()} if spread else {})

    # The mean of a vector-quantised code is the code itself.
    compare = "rows" if posterior.support.kind == "codes" else "scale"
    return Definition(
        description=(
            "Data x to the mean "
            + ("and standard deviation of q(z|x)." if spread else "of q(z|x).")
        ),
        inputs=(_x(subject), *subject.condition_inputs("encoder")),
        function=encode,
        reference=lambda x, **condition: encode(tf.constant(x), *condition.values()),
        examples=lambda count: {
            "x": subject.data_examples(count),
            **subject.condition_examples(count, "encoder"),
        },
        values={"mean": Values(compare=compare), "stddev": Values((0.0, None))},
    )


def _reconstruct(subject: Subject) -> Definition:
    model: Any = subject.model
    client = subject.processing

    parts = ("encoder", "decoder")

    def reconstruct(x: tf.Tensor, *condition: tf.Tensor) -> dict[str, tf.Tensor]:
        mean = model.reconstruct(client.to_model(x), subject.given(condition))
        return {"mean": client.to_client(mean)}

    if model.posterior.support.kind == "codes":
        compare = "level rows" if client.rounds else "rows"
    else:
        compare = _data(subject).compare
    return Definition(
        description="Data x to the mean of p(x|z) at the mean of q(z|x).",
        inputs=(_x(subject), *subject.condition_inputs(*parts)),
        function=reconstruct,
        reference=lambda x, **condition: reconstruct(tf.constant(x), *condition.values()),
        examples=lambda count: {
            "x": subject.data_examples(count),
            **subject.condition_examples(count, *parts),
        },
        values={"mean": Values(_data(subject).bounds, compare)},
    )


def _score(subject: Subject) -> Definition:
    model: Any = subject.model
    samples, client = subject.samples, subject.processing

    def score(x: tf.Tensor, seed: tf.Tensor, *condition: tf.Tensor) -> dict[str, tf.Tensor]:
        given = [subject.to_condition(value) for value in condition]
        return dict(model.score_rows(client.to_model(x), seed, *given, samples=samples)._asdict())

    def reference(
        x: npt.NDArray[Any], seed: npt.NDArray[Any], **condition: npt.NDArray[Any]
    ) -> dict[str, Any]:
        given = {name: subject.to_condition(each) for name, each in condition.items()}
        data = np.asarray(client.to_model(x))
        return dict(model.score(data, seeds=seed, samples=samples, **given)._asdict())

    def examples(count: int) -> Arrays:
        conditions = subject.condition_examples(count, *PARTS)
        return {"x": subject.data_examples(count), "seed": _seeds(count), **conditions}

    # Networks take any x; of a likelihood's density there is nothing outside its support.
    support = model.likelihood.support
    x = dataclasses.replace(
        _x(subject), step=client.step(support), open=support.open and not client.rounds
    )
    compare = "rows" if _by_parts(model.posterior) else "scale"
    return Definition(
        description=(
            f"Data x to the ELBO and, with {samples} importance samples drawn by seed, to the "
            "bound on log p(x) of each row, in nats."
        ),
        inputs=(x, Tensor("seed", (None,), "int64"), *subject.condition_inputs(*PARTS)),
        function=score,
        reference=reference,
        examples=examples,
        values={name: Values(compare=compare) for name in ("elbo", "log_marginal")},
    )


def _classify(subject: Subject) -> Definition:
    model: Any = subject.model

    def classify(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": model.classify_rows(subject.processing.to_model(x))}

    return Definition(
        description="Data x to the probabilities of their classes, q(y|x).",
        inputs=(_x(subject),),
        function=classify,
        reference=lambda x: classify(tf.constant(x)),
        examples=lambda count: {"x": subject.data_examples(count)},
        values={"probabilities": Values((0.0, 1.0))},
    )


# In the order in which they are listed and run. What is drawn from words needs bitwise operations.
_ENDPOINTS: dict[str, Entry] = {
    "decode": Entry(_decode, signatures=(SERVING_DEFAULT,)),
    "generate": Entry(_generate, _portable, minimum_opset=18),
    "encode": Entry(_encode, _encoding),
    "reconstruct": Entry(_reconstruct, _encoding),
    "score": Entry(_score, _scored, minimum_opset=18),
}

# Families that can be asked other things, each with a table of its own.
_FAMILIES: tuple[tuple[type[Any], dict[str, Entry]], ...] = (
    (SemiSupervisedVAE, {**_ENDPOINTS, "classify": Entry(_classify)}),
)


def _table(subject: Subject) -> dict[str, Entry]:
    tables = (table for family, table in _FAMILIES if isinstance(subject.model, family))
    return next(tables, _ENDPOINTS)


def _built(subject: Subject, name: str) -> Endpoint:
    entry = _table(subject)[name]
    return trace(name, entry.build(subject), (*entry.signatures, name), entry.minimum_opset)


def _x(subject: Subject) -> Tensor:
    shape = (None, *subject.model.data_shape)
    return Tensor("x", shape, subject.processing.dtype, bounds=_data(subject).bounds)


def _seeds(count: int) -> npt.NDArray[np.int64]:
    seed = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, count, endpoint=True)
    seed[: len(_EDGE_SEEDS)] = _EDGE_SEEDS[:count]
    return seed


def _by_parts(layer: DistributionLayer) -> bool:
    """Whether a draw is picked among values, or components, that lie apart."""
    return layer.support.discrete or layer.choices > 0


def _has_stddev(layer: DistributionLayer) -> bool:
    """Whether a layer's standard deviation exists, is finite, and is known in closed form."""
    try:
        stddev = layer(tf.zeros([1, *layer.params_shape])).stddev()
    except NotImplementedError:
        return False
    return bool(tf.reduce_all(tf.math.is_finite(stddev)))


def _bounds(layer: DistributionLayer) -> tuple[float | None, float | None]:
    """Where a layer's draws lie."""
    low, high = (float(bound) if math.isfinite(bound) else None for bound in layer.support.bounds)
    return low, high


def _data(subject: Subject) -> Values:
    """Where data lie in the client's units: a mean lies between its draws."""
    low, high = subject.processing.interval(*subject.model.likelihood.support.bounds)
    ends = (low if math.isfinite(low) else None, high if math.isfinite(high) else None)
    return Values(ends, "levels" if subject.processing.rounds else "scale")

"""The endpoints of models with one group of latents, which most others share."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae.conditions import run

from .endpoint import Arrays, Definition, Entry, Values
from .manifest import Tensor
from .rows import bounds, by_parts, data_values, has_stddev, seeds, temperatures, x_input
from .subject import PARTS, Subject

SERVING_DEFAULT = "serving_default"

# Extremes first, so that batches of 1 and 3 meet them too.
_EDGE_LATENTS = (0.0, 6.0, -6.0)


def portable(subject: Subject) -> str:
    """Say which slot cannot be drawn from in an export, or nothing."""
    model = subject.model
    slots = [("prior", prior) for prior in model.latent_priors]
    for slot, layer in (*slots, ("likelihood", model.likelihood)):
        if layer.noise is None:
            return (
                f"Expected a {slot} with a portable sampler for the endpoint 'generate'. "
                f"Received: {slot}={type(layer).__name__}, which has no map from base noise "
                "to draws. Write its `transform` and `noise`."
            )
    return ""


def encoding(subject: Subject) -> str:
    """Say that there is no encoder, or nothing."""
    if hasattr(subject.model, "encoder"):
        return ""
    return (
        "Expected a model with an encoder for the endpoints 'encode', 'reconstruct' and 'score'. "
        f"Received: a {type(subject.model).__name__}, which has none."
    )


def scored(subject: Subject) -> str:
    """Say what leaves ``score`` undefined, or nothing."""
    obstacle = encoding(subject) or subject.score_obstacle()
    return f"The endpoint 'score' is not defined. {obstacle}" if obstacle else ""


def _decode(subject: Subject) -> Definition:
    model, client = subject.model, subject.processing
    latent = model.latent_names[0]

    def parameters(params: Any) -> dict[str, Any]:
        mean = client.to_client(model.likelihood.mean(params))
        return {"mean": mean, **model.likelihood.parameters(params)}

    def decode(z: tf.Tensor, *condition: tf.Tensor) -> dict[str, tf.Tensor]:
        return parameters(run(model.decoder, z, subject.given(condition)))

    def reference(**arrays: npt.NDArray[Any]) -> dict[str, Any]:
        z, *condition = arrays.values()
        given = subject.given(tuple(condition))
        return parameters(model.decoder_params(tf.constant(z), condition=given))

    def examples(count: int) -> Arrays:
        z = np.random.default_rng(0).standard_normal((count, *model.latent_shape), np.float32)
        for row, value in zip(z, _EDGE_LATENTS, strict=False):
            row[...] = value
        return {latent: z, **subject.condition_examples(count, "decoder")}

    return Definition(
        description=f"Latents {latent} to the mean and the parameters of p(x|{latent}).",
        inputs=(
            Tensor(latent, (None, *model.latent_shape), "float32"),
            *subject.condition_inputs("decoder"),
        ),
        function=decode,
        reference=reference,
        examples=examples,
        values={"mean": data_values(subject)},
    )


def _generate(subject: Subject) -> Definition:
    model, client = subject.model, subject.processing
    likelihood, names = model.likelihood, model.latent_names
    # A hierarchy has a temperature for each level.
    levels = () if names == ("z",) else (len(names),)

    def outputs(drawn: Any) -> dict[str, Any]:
        data = {name: client.to_client(getattr(drawn, name)) for name in ("mean", "sample")}
        return dict(zip(names, drawn.z if levels else [drawn.z], strict=True)) | data

    def generate(seed: tf.Tensor, temperature: tf.Tensor, *condition: tf.Tensor) -> Any:
        given = [subject.to_condition(value) for value in condition]
        return outputs(model.generate_rows(seed, temperature, *given))

    def reference(
        seed: npt.NDArray[Any], temperature: npt.NDArray[Any], **condition: npt.NDArray[Any]
    ) -> dict[str, Any]:
        # The public method takes one temperature: one call for each, rows put back in place.
        parts: dict[str, Any] = {}
        for value in np.unique(temperature, axis=0):
            rows = (temperature == value).reshape(len(seed), -1).all(axis=1)
            given = {name: subject.to_condition(each[rows]) for name, each in condition.items()}
            drawn = model.generate(seeds=seed[rows], temperature=value.tolist(), **given)
            for name, part in outputs(drawn).items():
                array = np.asarray(part)
                whole = parts.setdefault(name, np.empty((len(seed), *array.shape[1:]), array.dtype))
                whole[rows] = array
        return parts

    def examples(count: int) -> Arrays:
        return {
            "seed": seeds(count),
            "temperature": temperatures(count, *levels),
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
            "scales the prior's noise"
            + (f", of each of the {levels[0]} levels" if levels else "")
            + "; `mean` is that of p(x|z), `sample` a draw from it."
        ),
        inputs=(
            Tensor("seed", (None,), "int64"),
            Tensor("temperature", (None, *levels), "float32", bounds=(0.0, None), default=1.0),
            *subject.condition_inputs("prior", "decoder"),
        ),
        function=generate,
        reference=reference,
        examples=examples,
        values={
            **{
                name: Values(bounds(prior), "rows" if by_parts(prior) else "values")
                for name, prior in zip(names, model.latent_priors, strict=True)
            },
            "mean": data_values(subject),
            "sample": Values(data_values(subject).bounds, compare),
        },
    )


def _encode(subject: Subject) -> Definition:
    model: Any = subject.model
    posterior = model.posterior
    spread = has_stddev(posterior)

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
        inputs=(x_input(subject), *subject.condition_inputs("encoder")),
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
        compare = data_values(subject).compare
    return Definition(
        description="Data x to the mean of p(x|z) at the mean of q(z|x).",
        inputs=(x_input(subject), *subject.condition_inputs(*parts)),
        function=reconstruct,
        reference=lambda x, **condition: reconstruct(tf.constant(x), *condition.values()),
        examples=lambda count: {
            "x": subject.data_examples(count),
            **subject.condition_examples(count, *parts),
        },
        values={"mean": Values(data_values(subject).bounds, compare)},
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
        return {"x": subject.data_examples(count), "seed": seeds(count), **conditions}

    # Networks take any x; of a likelihood's density there is nothing outside its support.
    support = model.likelihood.support
    x = dataclasses.replace(
        x_input(subject), step=client.step(support), open=support.open and not client.rounds
    )
    compare = "rows" if by_parts(model.posterior) else "scale"
    return Definition(
        description=(
            f"Data x to the ELBO and, with {samples} importance samples drawn by seed, to the "
            "bound on log p(x) of each row, in nats."
        ),
        inputs=(x, Tensor("seed", (None,), "int64"), *subject.condition_inputs(*PARTS)),
        function=score,
        reference=reference,
        examples=examples,
        values={
            name: Values(compare=compare, terms=math.prod(model.data_shape))
            for name in ("elbo", "log_marginal")
        },
    )


def classified(subject: Subject) -> Definition:
    """Define ``classify``: the probabilities of a model's own classifier."""
    model: Any = subject.model

    def classify(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": model.classify_rows(subject.processing.to_model(x))}

    return Definition(
        description="Data x to the probabilities of their classes, q(y|x).",
        inputs=(x_input(subject),),
        function=classify,
        reference=lambda x: classify(tf.constant(x)),
        examples=lambda count: {"x": subject.data_examples(count)},
        values={"probabilities": Values((0.0, 1.0))},
    )


# In the order in which they are listed and run. What is drawn from words needs bitwise operations.
ENDPOINTS: dict[str, Entry] = {
    "decode": Entry(_decode, signatures=(SERVING_DEFAULT,)),
    "generate": Entry(_generate, portable, minimum_opset=18),
    "encode": Entry(_encode, encoding),
    "reconstruct": Entry(_reconstruct, encoding),
    "score": Entry(_score, scored, minimum_opset=18),
}

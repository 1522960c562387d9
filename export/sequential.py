"""The endpoints of models of sequences, whose rows have lengths."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae.families.sequential import Draws, SequentialVAE

from .endpoint import Arrays, Definition, Entry, Values
from .flat import ENDPOINTS as FLAT
from .flat import portable, scored
from .manifest import Tensor
from .rows import data_values, has_stddev, seeds, temperatures, x_input
from .subject import Subject


def _generate(subject: Subject) -> Definition:
    model, client = _model(subject), subject.processing

    def outputs(drawn: Any) -> dict[str, Any]:
        data = {name: client.to_client(getattr(drawn, name)) for name in ("mean", "sample")}
        return {"z": drawn.z, **data}

    def generate(seed: tf.Tensor, temperature: tf.Tensor, length: tf.Tensor) -> Any:
        return outputs(model.generate_rows(seed, temperature, length=length))

    def reference(
        seed: npt.NDArray[Any], temperature: npt.NDArray[Any], length: npt.NDArray[Any]
    ) -> dict[str, Any]:
        # The public method takes one temperature: a call for each row, put side by side.
        rows = [
            outputs(model.generate(seeds=[one], temperature=float(scale), length=int(steps)))
            for one, scale, steps in zip(seed, temperature, length, strict=True)
        ]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    def examples(count: int) -> Arrays:
        drawn: Arrays = {"seed": seeds(count), "temperature": temperatures(count)}
        return drawn | _lengths(model, count)

    return Definition(
        description=(
            "Draws sequences: row i is a function of seed[i], temperature[i] and length[i] alone, "
            "0 after its length. `temperature` scales the noise of the latents; `mean` is that of "
            "p(x|z), `sample` a draw from it."
        ),
        inputs=(
            Tensor("seed", (None,), "int64"),
            Tensor("temperature", (None,), "float32", bounds=(0.0, None), default=1.0),
            _length(model),
        ),
        function=generate,
        reference=reference,
        examples=examples,
        values={"z": Values(compare="values"), **_drawn(subject)},
    )


def _encode(subject: Subject) -> Definition:
    model, client = _model(subject), subject.processing
    spread = has_stddev(model.posterior.layer)

    def encode(x: tf.Tensor, length: tf.Tensor) -> dict[str, tf.Tensor]:
        moments = model.moments(client.to_model(x), length)
        return dict(zip(("mean", "stddev"), moments, strict=True)) if spread else {
            "mean": moments[0]
        }  # fmt: skip

    return Definition(
        description=(
            "Sequences x to the path of means of q(z|x), each step's given that of the step before"
            + (", and the standard deviations along it." if spread else ".")
        ),
        inputs=(x_input(subject), _length(model)),
        function=encode,
        reference=lambda x, length: encode(tf.constant(x), tf.constant(length)),
        examples=lambda count: _data_examples(subject, count),
        values={"mean": Values(), "stddev": Values((0.0, None))},
    )


def _reconstruct(subject: Subject) -> Definition:
    model, client = _model(subject), subject.processing

    def reconstruct(x: tf.Tensor, length: tf.Tensor) -> dict[str, tf.Tensor]:
        mean = model.reconstruct(client.to_model(x), observed=length)
        return {"mean": client.to_client(mean)}

    return Definition(
        description=(
            "Sequences x to the mean of p(x|z) along the path of means of q(z|x), 0 after `length`."
        ),
        inputs=(x_input(subject), _length(model)),
        function=reconstruct,
        reference=lambda x, length: reconstruct(tf.constant(x), tf.constant(length)),
        examples=lambda count: _data_examples(subject, count),
        values={"mean": data_values(subject)},
    )


def _score(subject: Subject) -> Definition:
    model, client, samples = _model(subject), subject.processing, subject.samples

    def score(x: tf.Tensor, seed: tf.Tensor, length: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = model.score_rows(client.to_model(x), seed, length, samples=samples)
        return dict(rows._asdict())

    def reference(
        x: npt.NDArray[Any], seed: npt.NDArray[Any], length: npt.NDArray[Any]
    ) -> dict[str, Any]:
        data = np.asarray(client.to_model(x))
        return dict(model.score(data, seeds=seed, samples=samples, observed=length)._asdict())

    return Definition(
        description=(
            f"Sequences x to the ELBO and, with {samples} importance samples drawn by seed, to the "
            "bound on log p(x) of the first `length` steps of each row, in nats."
        ),
        inputs=(x_input(subject), Tensor("seed", (None,), "int64"), _length(model)),
        function=score,
        reference=reference,
        examples=lambda count: _data_examples(subject, count, seeded=True),
        values={
            name: Values(terms=math.prod(model.data_shape)) for name in ("elbo", "log_marginal")
        },
    )


def _forecast(subject: Subject) -> Definition:
    model, client = _model(subject), subject.processing
    steps = model.steps

    def outputs(drawn: Draws) -> dict[str, Any]:
        return {name: client.to_client(each) for name, each in drawn._asdict().items()}

    def forecast(x: tf.Tensor, seed: tf.Tensor, length: tf.Tensor) -> dict[str, tf.Tensor]:
        drawn = model.forecast_rows(client.to_model(x), seed, length, steps=steps, samples=1)
        return outputs(Draws(*(each[:, 0] for each in drawn)))

    def reference(
        x: npt.NDArray[Any], seed: npt.NDArray[Any], length: npt.NDArray[Any]
    ) -> dict[str, Any]:
        data = np.asarray(client.to_model(x))
        drawn = model.forecast(data, steps, seeds=seed, observed=length)
        return outputs(Draws(*(each[0] for each in drawn)))

    return Definition(
        description=(
            f"The {steps} steps that follow the first `length` of each row of x, drawn by seed: "
            "the means of p(x|z), and draws from it."
        ),
        inputs=(x_input(subject), Tensor("seed", (None,), "int64"), _length(model)),
        function=forecast,
        reference=reference,
        examples=lambda count: _data_examples(subject, count, seeded=True),
        values=_drawn(subject),
    )


def _impute(subject: Subject) -> Definition:
    model, client = _model(subject), subject.processing
    # Values that hang together within a step are there or missing together.
    shape = model.data_shape if model.likelihood.by_value else (model.steps,)

    def outputs(drawn: Draws) -> dict[str, Any]:
        return {name: client.to_client(each) for name, each in drawn._asdict().items()}

    def impute(x: tf.Tensor, observed: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        drawn = model.impute_rows(client.to_model(x), seed, observed, samples=1)
        return outputs(Draws(*(each[:, 0] for each in drawn)))

    def reference(
        x: npt.NDArray[Any], observed: npt.NDArray[Any], seed: npt.NDArray[Any]
    ) -> dict[str, Any]:
        data = np.asarray(client.to_model(x))
        drawn = model.impute(data, observed, seeds=seed)
        return outputs(Draws(*(each[0] for each in drawn)))

    def examples(count: int) -> Arrays:
        # Of each row something: what is missing ends here, there lies within, or is every other.
        masks = np.ones((3, *shape), np.float32)
        masks[0, (model.steps + 1) // 2 :] = 0
        masks[1, 1:-1] = 0
        masks[2].reshape(-1)[1::2] = 0
        return {
            "x": subject.data_examples(count),
            "observed": np.resize(masks, (count, *shape)),
            "seed": seeds(count),
        }

    return Definition(
        description=(
            "Sequences x with what is missing filled in, given what was `observed` (1, or 0 where "
            "x is not looked at) before and after it: `mean` with the means of p(x|z), z drawn "
            "by seed from q(z|x), and `sample` with draws from it."
        ),
        inputs=(
            x_input(subject),
            Tensor("observed", (None, *shape), "float32", bounds=(0, 1), step=1),
            Tensor("seed", (None,), "int64"),
        ),
        function=impute,
        reference=reference,
        examples=examples,
        values=_drawn(subject),
    )


def _decoding(subject: Subject) -> str:
    return _model(subject).decode_obstacle


def _imputing(subject: Subject) -> str:
    return _model(subject).impute_obstacle or portable(subject)


def _drawn(subject: Subject) -> dict[str, Values]:
    """Say what is known of ``mean`` and ``sample``, as of any model's draws."""
    definition = FLAT["generate"].build(subject)
    return {name: definition.values[name] for name in ("mean", "sample")}


def _model(subject: Subject) -> SequentialVAE:
    assert isinstance(subject.model, SequentialVAE)
    return subject.model


def _length(model: SequentialVAE) -> Tensor:
    return Tensor("length", (None,), "int64", bounds=(1, model.steps), default=model.steps)


def _lengths(model: SequentialVAE, count: int) -> Arrays:
    steps = model.steps
    return {"length": np.resize(np.array([steps, 1, (steps + 1) // 2], np.int64), count)}


def _data_examples(subject: Subject, count: int, *, seeded: bool = False) -> Arrays:
    model = _model(subject)
    seed = {"seed": seeds(count)} if seeded else {}
    return {"x": subject.data_examples(count), **seed, **_lengths(model, count)}


ENDPOINTS: dict[str, Entry] = {
    "decode": dataclasses.replace(FLAT["decode"], obstacle=_decoding),
    "generate": Entry(_generate, portable, minimum_opset=18),
    "encode": Entry(_encode),
    "reconstruct": Entry(_reconstruct),
    "score": Entry(_score, scored, minimum_opset=18),
    "forecast": Entry(_forecast, portable, minimum_opset=18),
    "impute": Entry(_impute, _imputing, minimum_opset=18),
}

"""The endpoints of a sentence VAE: text as tokens, written greedily, by drawing, or by a beam.

Each is laid out step by step for the length of the model's rows, so that every runtime can run it.
``vocabulary.json`` beside the graphs says which words the tokens are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae.families import SentenceVAE, decoding
from tfvae.families.tokens import past_end

from .endpoint import Arrays, Definition, Entry, Values
from .errors import ExportError
from .flat import scored
from .manifest import VOCABULARY, Tensor
from .rows import seeds, temperatures
from .subject import Subject

_EDGE_LATENTS = (0.0, 3.0, -3.0)
_TOKEN_TEMPERATURES = (1.0, 1.0, 0.5, 0.0, 2.0)


def write_vocabulary(model: Any, folder: Path) -> None:
    """Write ``vocabulary.json`` of a model that has one."""
    if isinstance(model, SentenceVAE):
        text = json.dumps(model.tokeniser.get_config(), ensure_ascii=False, indent=1)
        (folder / VOCABULARY).write_text(text + "\n", encoding="utf-8")


def _decode(subject: Subject) -> Definition:
    model = _model(subject)

    def decode(z: tf.Tensor) -> dict[str, tf.Tensor]:
        tokens, logits = decoding.greedy(model.decoder, z, *model.data_shape)
        return {"tokens": tokens, "logits": logits}

    def reference(z: npt.NDArray[Any]) -> dict[str, Any]:
        tokens = model.write(z)
        # All at once, as in training: what is written step by step must agree with it.
        logits = model.decoder_params(tf.constant(z), condition=model.before(tokens))
        return {
            "tokens": tokens,
            "logits": tf.where(past_end(tokens)[..., tf.newaxis], tf.zeros_like(logits), logits),
        }

    return Definition(
        description=(
            "Latents z to sentences: the most probable token at each place, and the logits of "
            "<eos> and the tokens after it."
        ),
        inputs=(_z(model),),
        function=decode,
        reference=reference,
        examples=lambda count: {"z": _latents(model, count)},
        values={"tokens": _tokens(model)},
    )


def _beam(subject: Subject) -> Definition:
    model, width = _model(subject), subject.width
    count = model.likelihood.params_shape[-1]
    if not 1 <= width <= count:
        raise ExportError(
            f"Expected `beam_width` from 1 to {count}, which is how many tokens can begin a "
            f"sentence. Received: beam_width={width}."
        )

    def beam(z: tf.Tensor) -> dict[str, tf.Tensor]:
        tokens, log_prob = decoding.beam(model.decoder, z, model.data_shape[0], width)
        return {"tokens": tokens, "log_prob": log_prob}

    def reference(z: npt.NDArray[Any]) -> dict[str, Any]:
        tokens, _ = decoding.beam(model.decoder, tf.constant(z), model.data_shape[0], width)
        rows = tf.reshape(tokens, [-1, *model.data_shape])
        p = model.decode(tf.repeat(z, width, axis=0), condition=model.before(rows))
        log_prob = p.log_prob(tf.cast(rows, model.likelihood.compute_dtype))
        return {"tokens": tokens, "log_prob": tf.reshape(log_prob, [-1, width])}

    return Definition(
        description=(
            f"Latents z to the {width} most probable sentences that a beam search finds, and "
            "their log p(x|z) in nats."
        ),
        inputs=(_z(model),),
        function=beam,
        reference=reference,
        examples=lambda count: {"z": _latents(model, count)},
        values={"tokens": _tokens(model), "log_prob": Values((None, 0.0))},
    )


def _generate(subject: Subject) -> Definition:
    model = _model(subject)

    def generate(
        seed: tf.Tensor, temperature: tf.Tensor, token_temperature: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        z, tokens = model.sentence_rows(seed, temperature, token_temperature)
        return {"z": z, "tokens": tokens}

    def reference(
        seed: npt.NDArray[Any],
        temperature: npt.NDArray[Any],
        token_temperature: npt.NDArray[Any],
    ) -> dict[str, Any]:
        # The public method takes one of each: a call for each pair, rows put back in place.
        z = np.empty((len(seed), *model.latent_shape), np.float32)
        tokens = np.empty((len(seed), *model.data_shape), np.int64)
        for pair in set(zip(temperature.tolist(), token_temperature.tolist(), strict=True)):
            rows = (temperature == np.float32(pair[0])) & (token_temperature == np.float32(pair[1]))
            drawn = model.generate(seeds=seed[rows], temperature=pair[0], token_temperature=pair[1])
            z[rows], tokens[rows] = drawn.z, drawn.tokens
        return {"z": z, "tokens": tokens}

    def examples(count: int) -> Arrays:
        return {
            "seed": seeds(count),
            "temperature": temperatures(count),
            "token_temperature": np.resize(np.array(_TOKEN_TEMPERATURES, np.float32), count),
        }

    scale: dict[str, Any] = {"dtype": "float32", "bounds": (0.0, None), "default": 1.0}
    return Definition(
        description=(
            "Draws: row i is a function of seed[i] and its temperatures alone. `temperature` "
            "scales the prior's noise; the logits of words are divided by `token_temperature`, "
            "and at 0 the most probable word is taken."
        ),
        inputs=(
            Tensor("seed", (None,), "int64"),
            Tensor("temperature", (None,), **scale),
            Tensor("token_temperature", (None,), **scale),
        ),
        function=generate,
        reference=reference,
        examples=examples,
        values={"z": Values(compare="values"), "tokens": _tokens(model)},
    )


def _encode(subject: Subject) -> Definition:
    model = _model(subject)

    def encode(x: tf.Tensor) -> dict[str, tf.Tensor]:
        params = model.encoder_params(x)
        outputs = {"mean": model.posterior.mean(params)}
        return outputs | {"stddev": model.posterior(params).stddev()}

    return Definition(
        description="Sentences x to the mean and standard deviation of q(z|x).",
        inputs=(_x(model),),
        function=encode,
        reference=lambda x: encode(tf.constant(x)),
        examples=lambda count: {"x": _data(subject, count)},
        values={"stddev": Values((0.0, None))},
    )


def _reconstruct(subject: Subject) -> Definition:
    model = _model(subject)

    def reconstruct(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"tokens": model.reconstruct(x)}

    return Definition(
        description="Sentences x to those that are written greedily at the mean of q(z|x).",
        inputs=(_x(model),),
        function=reconstruct,
        reference=lambda x: reconstruct(tf.constant(x)),
        examples=lambda count: {"x": _data(subject, count)},
        values={"tokens": _tokens(model)},
    )


def _interpolate(subject: Subject) -> Definition:
    model = _model(subject)

    def interpolate(x: tf.Tensor, other: tf.Tensor, weight: tf.Tensor) -> dict[str, tf.Tensor]:
        ends = [model.posterior.mean(model.encoder_params(each)) for each in (x, other)]
        weight = tf.cast(weight, ends[0].dtype)[:, tf.newaxis]
        return {"tokens": model.write_rows((1.0 - weight) * ends[0] + weight * ends[1])}

    def examples(count: int) -> Arrays:
        x = _data(subject, count)
        return {
            "x": x,
            "other": x[::-1].copy(),
            "weight": np.linspace(0.0, 1.0, count, dtype=np.float32),
        }

    return Definition(
        description=(
            "The sentence that is written greedily on the line between two others' means of "
            "q(z|x): at x for a weight of 0, at the other for 1."
        ),
        inputs=(
            _x(model),
            _x(model, "other"),
            Tensor("weight", (None,), "float32", bounds=(0.0, 1.0)),
        ),
        function=interpolate,
        reference=lambda **given: interpolate(**{k: tf.constant(v) for k, v in given.items()}),
        examples=examples,
        values={"tokens": _tokens(model)},
    )


def _score(subject: Subject) -> Definition:
    model, samples = _model(subject), subject.samples

    def score(x: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(model.score_rows(x, seed, samples=samples)._asdict())

    return Definition(
        description=(
            f"Sentences x to the ELBO and, with {samples} importance samples drawn by seed, to "
            "the bound on log p(x) of each row, in nats."
        ),
        inputs=(_x(model), Tensor("seed", (None,), "int64")),
        function=score,
        reference=lambda x, seed: dict(
            model.score(x.astype(np.float32), seeds=seed, samples=samples)._asdict()
        ),
        examples=lambda count: {
            "x": _data(subject, count),
            "seed": seeds(count),
        },
        values={name: Values(terms=model.data_shape[0]) for name in ("elbo", "log_marginal")},
    )


def _drawn(subject: Subject) -> str:
    if subject.model.prior.noise is not None:
        return ""
    return (
        "Expected a prior with a portable sampler for the endpoint 'generate'. Received: "
        f"prior={type(subject.model.prior).__name__}, which has no map from base noise to draws."
    )


def _spread(subject: Subject) -> str:
    """Say whether the posterior's standard deviation is not known in closed form."""
    posterior = _model(subject).posterior
    try:
        posterior(tf.zeros([1, *posterior.params_shape])).stddev()
    except NotImplementedError:
        name = type(posterior).__name__
        return f"Expected a posterior whose stddev is known for 'encode'. Received: {name}."
    return ""


def _model(subject: Subject) -> SentenceVAE:
    model = subject.model
    assert isinstance(model, SentenceVAE)
    if subject.processing.changes_data:
        raise ExportError(
            "Expected no `processing`, for tokens are whole numbers as they are. Received: some."
        )
    return model


def _x(model: SentenceVAE, name: str = "x") -> Tensor:
    return Tensor(name, (None, *model.data_shape), "int64", bounds=(0, len(model.tokeniser) - 1))


def _z(model: SentenceVAE) -> Tensor:
    return Tensor("z", (None, *model.latent_shape), "float32")


def _tokens(model: SentenceVAE) -> Values:
    # One word that is written otherwise changes all that follow it.
    return Values((0.0, float(len(model.tokeniser) - 1)), "rows")


def _latents(model: SentenceVAE, count: int) -> npt.NDArray[np.float32]:
    z = np.random.default_rng(0).standard_normal((count, *model.latent_shape), np.float32)
    for row, value in zip(z, _EDGE_LATENTS, strict=False):
        row[...] = value
    return z


def _data(subject: Subject, count: int) -> npt.NDArray[np.int64]:
    model = _model(subject)
    x = model.generate(count).tokens if subject.data is None else subject.data
    return np.resize(np.asarray(x), (count, *model.data_shape)).astype(np.int64)


ENDPOINTS: dict[str, Entry] = {
    "decode": Entry(_decode, signatures=("serving_default",)),
    "generate": Entry(_generate, _drawn, minimum_opset=18),
    "beam": Entry(_beam),
    "encode": Entry(_encode, _spread),
    "reconstruct": Entry(_reconstruct),
    "interpolate": Entry(_interpolate),
    "score": Entry(_score, scored, minimum_opset=18),
}

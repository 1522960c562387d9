"""SentenceVAE: a latent for a whole sentence, written word by word."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae import intake, random
from tfvae.bayesian.sampling import carried
from tfvae.families import decoding
from tfvae.families.tokens import Tokens
from tfvae.generation import base_noise, check_request, in_batches, row_seeds, sampled
from tfvae.layers.base import DistributionLayer
from tfvae.model import VAE
from tfvae.objectives import Objective
from tfvae.objectives.base import check_choice, check_number, check_samples
from tfvae.priors import Prior
from tfvae.text import BOS, EOS, UNK, Tokeniser
from tfvae.text.tokeniser import lengths
from tfvae.trace import Distribution, Trace

Decoding = Literal["sample", "greedy", "beam"]


class Sentences(NamedTuple):
    """What :meth:`SentenceVAE.generate` makes.

    Attributes:
        z: the latents [n, *latent].
        tokens: int64 [n, T], each row up to its ``<eos>``.
        text: the rows as text.
    """

    z: tf.Tensor
    tokens: tf.Tensor
    text: list[str]


@keras.saving.register_keras_serializable("tfvae")
class SentenceVAE(VAE):
    r"""A VAE of sentences: z is all of one, and the decoder writes it word by word.

    .. math:: p(x, z) = p(z) \prod_{t \le \text{eos}} p(x_t | x_{<t}, z)

    Data are rows of tokens, as :class:`tfvae.text.Tokeniser` makes them. In training the decoder
    is shown each sentence a place behind, with words left out (word dropout), so that it has to
    ask z. A decoder that needs no z leaves it empty (KL 0, "posterior collapse"): a KL weight
    that rises from 0 (``ELBO(beta=LinearWarmup(steps))``) and free bits are against that too.

    Args:
        encoder: tokens [B, T] to the posterior's parameters.
        decoder: z and the tokens before to logits, all at once or step by step; see
            :class:`RecurrentDecoder`.
        prior: p(z).
        posterior: q(z|x).
        likelihood: :class:`Tokens`, over all of the vocabulary.
        tokeniser: words and their tokens; or a vocabulary.
        objective: what is minimised; the negative ELBO by default.
        word_dropout: the probability that the decoder is shown ``<unk>`` for a word, in training.
        seed: of the noise and the data order in training.
        name: the model's name.

    Raises:
        TypeError: if a slot is not of its kind.
        ValueError: if slots, networks and vocabulary do not fit each other.

    Example:
        >>> vae = tfvae.zoo.sentence_vae((8,), 4, units=16, embedding=8)
        >>> x = vae.tokenise(["the cat sleeps", "many dogs sing"])
        >>> history = vae.fit(x, epochs=1)  # doctest: +SKIP
        >>> len(vae.generate(3, seed=0).text)
        3
        >>> len(vae.interpolate("the cat sleeps", "many dogs sing", steps=4))
        4

    References:
        Bowman et al. (2016), Generating sentences from a continuous space, arXiv:1511.06349.
    """

    likelihood: Tokens
    decoder: Any

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        prior: Prior,
        posterior: DistributionLayer,
        likelihood: DistributionLayer,
        tokeniser: Tokeniser | Mapping[str, Any] | Sequence[str],
        objective: Objective | None = None,
        corruption: None = None,
        word_dropout: float = 0.0,
        seed: int = 0,
        name: str = "sentence_vae",
        **kwargs: Any,
    ) -> None:
        if not isinstance(likelihood, Tokens):
            raise TypeError(
                "Expected `likelihood` to be tfvae.families.Tokens. "
                f"Received: a {type(likelihood).__name__}."
            )
        if not (hasattr(decoder, "begin") and hasattr(decoder, "advance")):
            raise TypeError(
                "Expected `decoder` to write a token at a time, with methods `begin` and "
                f"`advance`. Received: a {type(decoder).__name__}; see RecurrentDecoder."
            )
        if corruption is not None:
            raise ValueError(
                "Expected no `corruption`, for tokens are no amounts. Received: one. Words are "
                "left out with word_dropout=0.3."
            )
        tokeniser = Tokeniser.of(tokeniser)
        if len(tokeniser) != likelihood.vocabulary:
            raise ValueError(
                f"Expected a vocabulary of {likelihood.vocabulary} tokens, as the likelihood has. "
                f"Received: {len(tokeniser)}."
            )
        if getattr(prior, "conditional", False) or getattr(encoder, "conditional", False):
            raise ValueError("Expected a prior and an encoder without condition. Received: one.")
        if len(getattr(prior, "event_shape", (0,))) != 1:
            raise ValueError(
                "Expected latents that are a vector. Received: a prior of shape "
                f"{prior.event_shape}."
            )
        check_number("word_dropout", word_dropout, 0, 1)
        super().__init__(
            encoder,
            decoder,
            prior=prior,
            posterior=posterior,
            likelihood=likelihood,
            objective=objective,
            seed=seed,
            name=name,
            **kwargs,
        )
        self.tokeniser = tokeniser
        self.word_dropout = word_dropout
        self._check_decoder()

    def _check_decoder(self) -> None:
        """Run the decoder on an example, all at once and step by step."""
        z, count = tf.zeros([1, *self.latent_shape]), len(self.tokeniser) - EOS
        whole = self.decoder([z, tf.ones([1, *self.data_shape], tf.int32)])
        step, _ = self.decoder.advance(tf.ones([1], tf.int32), z, self.decoder.begin(z))
        for shape, wanted in ((whole.shape, self.likelihood.params_shape), (step.shape, (count,))):
            if tuple(shape[1:]) != wanted:
                raise ValueError(
                    f"Expected `decoder` to return logits of shape {(None, *wanted)}. Received: "
                    f"{(None, *shape[1:])}."
                )

    @property
    def takers(self) -> dict[str, Any]:
        """None: what the decoder is given beside z is the sentence itself."""
        return {}

    @property
    def own_config(self) -> dict[str, Any]:
        """What the constructor takes beyond a VAE's slots."""
        return {"tokeniser": self.tokeniser.get_config(), "word_dropout": self.word_dropout}

    def encoder_params(
        self, x: tf.Tensor, training: bool = False, condition: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Run the encoder on tokens [B, T]."""
        return self.encoder(tf.cast(self.as_data(x), tf.int32), training=training)

    def trace(
        self,
        x: tf.Tensor,
        samples: int = 1,
        seed: tf.Tensor | int = 0,
        *,
        target: tf.Tensor | None = None,
        training: bool = False,
        position: tf.Tensor | None = None,
        **given: Any,
    ) -> Trace:
        """Pass a batch of tokens through the model, as :meth:`VAE.trace` does."""
        trace = super().trace(
            x, samples, seed, target=target, training=training, position=position, **given
        )
        before = self.before(trace.x)
        if training and self.word_dropout:
            before = self._dropped(before, random.fold(seed, random.WORDS), position)

        def decode(draws: tuple[tf.Tensor, ...]) -> Distribution:
            return self.decode(draws[0], training, before)

        return dataclasses.replace(trace, decode=carried(decode), jacobian=None)

    def before(self, x: tf.Tensor) -> tf.Tensor:
        """Return what the decoder is shown of tokens [..., T]: ``<bos>``, and all but the last."""
        tokens = tf.cast(x, tf.int32)
        return tf.concat([tf.fill(tf.shape(tokens[..., :1]), BOS), tokens[..., :-1]], axis=-1)

    def _dropped(self, tokens: tf.Tensor, seed: tf.Tensor, position: tf.Tensor | None) -> tf.Tensor:
        """Put ``<unk>`` for words, each with the same probability."""
        shape = (tf.shape(tokens)[0], self.data_shape)
        uniform = random.noise("uniform", seed, 1, *shape, position=position)[0]
        drop = tf.logical_and(uniform < self.word_dropout, tokens > UNK)
        return tf.where(drop, tf.fill(tf.shape(tokens), UNK), tokens)

    def decode(
        self, z: tf.Tensor, training: bool = False, condition: tf.Tensor | None = None
    ) -> Distribution:
        """Return p(x|z) as it is at one x, batch shape [..., B], for z [..., B, d].

        Args:
            z: latents.
            training: passed to the decoder.
            condition: what the decoder is shown, ``vae.before(x)`` [B, T].
        """
        if condition is None:
            raise ValueError(
                "Expected `condition`, what the decoder is shown of the sentence. Received: None. "
                "Pass vae.before(x); to write sentences, use vae.write(z)."
            )
        return super().decode(z, training, condition)

    def tokenise(self, sentences: Sequence[str], **options: Any) -> npt.NDArray[np.float32]:
        """Return sentences as data [N, T]; see :meth:`tfvae.text.Tokeniser.encode`."""
        tokens = self.tokeniser.encode(sentences, self.data_shape[0], **options)
        return tokens.astype(np.float32)

    def write(
        self,
        z: Any,
        decoding: Literal["greedy", "beam"] = "greedy",
        width: int = 5,
        batch_size: int = 256,
    ) -> tf.Tensor:
        """Write a sentence for each z.

        Args:
            z: latents [n, d].
            decoding: the most probable word at each place, or the most probable sentence that a
                beam search finds.
            width: of the beam.
            batch_size: rows at a time.

        Returns:
            Tokens int64 [n, T].
        """
        check_choice("decoding", decoding, ("greedy", "beam"))
        check_samples(width, argument="width")
        z = tf.convert_to_tensor(z, self.likelihood.compute_dtype)
        if tuple(z.shape[1:]) != self.latent_shape or not z.shape[0]:
            raise ValueError(
                f"Expected `z` of shape [n, {self.latent_shape[0]}]. Received: {tuple(z.shape)}."
            )
        key = (decoding, width if decoding == "beam" else 0)
        if key not in self._writers:
            function = functools.partial(self.write_rows, width=key[1])
            spec = tf.TensorSpec([None, *self.latent_shape], z.dtype)
            self._writers[key] = tf.function(function, input_signature=[spec], autograph=False)
        (tokens,) = in_batches(lambda rows: (self._writers[key](rows),), batch_size, z)
        return tokens

    def write_rows(self, z: tf.Tensor, *, width: int = 0) -> tf.Tensor:
        """Write z [B, d] in portable operations: greedily, or by a beam of some width."""
        if not width:
            return decoding.greedy(self.decoder, z, self.data_shape[0])[0]
        return decoding.beam(self.decoder, z, self.data_shape[0], width)[0][:, 0]

    def generate(  # type: ignore[override]
        self,
        n: int | None = None,
        *,
        seed: int = 0,
        seeds: Any = None,
        temperature: float = 1.0,
        token_temperature: float = 1.0,
        decoding: Decoding = "sample",
        width: int = 5,
        condition: None = None,
        batch_size: int = 256,
    ) -> Sentences:
        """Write sentences of latents drawn from the prior, each a function of its own seed.

        Args:
            n: how many, at least 1; not needed with `seeds`.
            seed: the first row's seed.
            seeds: the rows' seeds, int64 [n], instead of `n` and `seed`.
            temperature: scale of the prior's noise.
            token_temperature: below 1, sampled words are nearer to the most probable ones; at 0
                they are these.
            decoding: ``"sample"`` draws each word, ``"greedy"`` takes the most probable one,
                ``"beam"`` searches for the most probable sentence.
            width: of the beam.
            condition: none; for the sake of other models.
            batch_size: rows at a time.

        Raises:
            ValueError: as :meth:`VAE.generate`, and for an unknown decoding or width < 1.
        """
        check_choice("decoding", decoding, ("sample", "greedy", "beam"))
        check_number("token_temperature", token_temperature, 0)
        rows = row_seeds(n, seed, seeds)
        check_request(self, len(rows), temperature, condition)
        scales = [np.full(len(rows), t, np.float32) for t in (temperature, token_temperature)]
        z, tokens = in_batches(self._sentences, batch_size, rows, *scales)
        if decoding != "sample":
            tokens = self.write(z, decoding, width, batch_size)
        return Sentences(z, tokens, self.tokeniser.decode(tokens))

    def sentence_rows(
        self, seed: tf.Tensor, temperature: tf.Tensor, token_temperature: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Draw latents and tokens from int64 seeds [B] and temperatures [B]."""
        prior, likelihood = self.prior, self.likelihood
        noise, uniform = base_noise(
            seed, ((prior, random.LATENT), (likelihood, random.OBSERVATION))
        )
        if noise is None:
            z = sampled(prior, seed, random.LATENT, None)
        else:
            z = prior.transform(prior.tempered(noise, temperature[:, tf.newaxis]), None)
        assert uniform is not None
        return z, decoding.sampled(self.decoder, z, uniform, token_temperature)

    def reconstruct(self, x: Any, condition: None = None) -> tf.Tensor:
        """Return the sentences that are written at the mean of q(z|x), tokens int64 [B, T]."""
        return self.write_rows(self.posterior.mean(self.encoder_params(x)))

    def call(self, x: tf.Tensor, training: bool = False, condition: None = None) -> tf.Tensor:
        """Return the reconstruction, which is also what ``predict`` returns."""
        return self.reconstruct(x)

    def interpolate(
        self,
        a: Any,
        b: Any,
        steps: int = 7,
        *,
        decoding: Literal["greedy", "beam"] = "greedy",
        width: int = 5,
    ) -> list[str]:
        """Return sentences along the line from one to another, between their means of q(z|x).

        Args:
            a: a sentence, as text or as tokens [T].
            b: another.
            steps: how many, both ends among them, at least 2.
            decoding: as of :meth:`write`.
            width: of the beam.

        Raises:
            ValueError: for steps < 2, and sentences that do not fit the model.
        """
        check_samples(steps, minimum=2, argument="steps")
        rows = [
            self.tokenise([each]) if isinstance(each, str) else np.asarray(each)[np.newaxis]
            for each in (a, b)
        ]
        x = [
            intake.examples(self.likelihood, row, argument=name).values()
            for name, row in zip("ab", rows, strict=True)
        ]
        ends = np.asarray(self.posterior.mean(self.encoder_params(np.concatenate(x))))
        weight = np.linspace(0.0, 1.0, steps, dtype=ends.dtype)[:, np.newaxis]
        tokens = self.write((1 - weight) * ends[0] + weight * ends[1], decoding, width)
        return self.tokeniser.decode(tokens)

    def values_per_example(self, x: npt.NDArray[Any]) -> float:
        """Return the mean number of tokens of sentences, ``<eos>`` included."""
        return float(lengths(x).mean())

    @functools.cached_property
    def _sentences(self) -> Callable[..., Any]:
        specs = [tf.TensorSpec([None], kind) for kind in (tf.int64, tf.float32, tf.float32)]
        function: Callable[..., Any] = tf.function(
            self.sentence_rows, input_signature=specs, autograph=False
        )
        return function

    @functools.cached_property
    def _writers(self) -> dict[tuple[str, int], Callable[..., Any]]:
        """The compiled functions of :meth:`write`, by decoding and width."""
        return {}

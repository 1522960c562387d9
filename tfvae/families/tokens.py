"""p(x|z) of a sentence, where the logits of each token are known: what ends it, and what it is."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfvae.layers.base import DistributionLayer, tfd
from tfvae.layers.mixture import choose_index
from tfvae.layers.support import Support
from tfvae.text import EOS, PAD


@keras.saving.register_keras_serializable("tfvae")
class Tokens(DistributionLayer):
    r"""Rows of tokens, each up to its ``<eos>``, of a decoder that is shown the tokens before.

    .. math:: \log p(x|z) = \sum_{t \le \text{eos}} \log p(x_t|x_{<t}, z)

    The logits of token t are those of p(x_t|x_{<t}, z) at the x of which the density is asked:
    the decoder saw it, a place behind. The sum ends with the ``<eos>``, what fills the row up
    counts for nothing, and a row without one is the first T tokens of a longer sentence. So these
    probabilities sum to 1 over all rows.

    *Inverse CDF*: each token is where the cumulative probabilities pass a uniform. No gradient
    flows through it.

    Args:
        event_shape: the length T of a row. The network emits logits [T, vocabulary - 2], those of
            ``<eos>`` and of all tokens after it: ``<pad>`` and ``<bos>`` are never drawn.
        vocabulary: how many tokens there are, at least 5.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if there are fewer, or the event has more than one axis.

    Example:
        >>> layer = tfvae.families.Tokens((3,), vocabulary=6)
        >>> x = tf.constant([[5.0, 2.0, 0.0]])  # a word, <eos>, <pad>
        >>> logits = tf.zeros([1, 3, 4])
        >>> round(float(tf.exp(layer(logits).log_prob(x)[0])), 6)  # two of four tokens
        0.0625
    """

    noise = "uniform"
    reparameterised = False

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        vocabulary: int,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        if len(self.event_shape) != 1:
            raise ValueError(
                "Expected `event_shape` to be the length of a row of tokens, (T,). Received: "
                f"event_shape={self.event_shape}."
            )
        if isinstance(vocabulary, bool) or not isinstance(vocabulary, int) or vocabulary < 5:
            raise ValueError(
                "Expected `vocabulary` to be at least 5: four special tokens and a word. Received: "
                f"vocabulary={vocabulary!r}."
            )
        self.vocabulary = vocabulary
        self.support = Support.tokens(vocabulary)

    @property
    def params_shape(self) -> tuple[int, ...]:
        """Logits of each token: [T, vocabulary - 2]."""
        return (*self.event_shape, self.vocabulary - EOS)

    @property
    def block_sizes(self) -> tuple[int, ...]:
        """One block."""
        return (self.vocabulary - EOS,)

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the ``logits`` [..., T, vocabulary - 2]."""
        (logits,) = self._split(params)
        return {"logits": logits}

    def call(self, params: tf.Tensor) -> Any:
        """Return the distribution: batch shape ``[...]``, event shape [T]."""
        return TokenRows(**self.parameters(params))

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return the most probable token at each place, up to ``<eos>``: tokens have no mean."""
        (logits,) = self._split(params)
        return tf.cast(ended(tf.argmax(logits, axis=-1, output_type=tf.int32)), logits.dtype)

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the tokens that uniforms [..., T] pick, up to ``<eos>``."""
        (logits,) = self._split(params)
        picked = choose_index(tf.cast(noise, logits.dtype), logits)
        return tf.cast(ended(picked), logits.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "vocabulary": self.vocabulary}


class TokenRows(tfd.Distribution):  # type: ignore[misc, name-defined]
    """Rows of tokens whose logits are known.

    Args:
        logits: of ``<eos>`` and of the tokens after it, [..., T, K].

    Attributes:
        logits: as given.
    """

    def __init__(
        self,
        logits: tf.Tensor,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "TokenRows",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name) as scope:
            self.logits = tf.convert_to_tensor(logits)
            super().__init__(
                dtype=self.logits.dtype,
                reparameterization_type=tfd.NOT_REPARAMETERIZED,
                validate_args=validate_args,
                allow_nan_stats=allow_nan_stats,
                parameters=parameters,
                name=scope,
            )

    def _batch_shape(self) -> tf.TensorShape:
        return self.logits.shape[:-2]

    def _batch_shape_tensor(self) -> tf.Tensor:
        return tf.shape(self.logits)[:-2]

    def _event_shape(self) -> tf.TensorShape:
        return self.logits.shape[-2:-1]

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.shape(self.logits)[-2:-1]

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        tokens = tf.cast(x, tf.int32)
        after = past_end(tokens)
        index = tf.clip_by_value(tokens - EOS, 0, self.logits.shape[-1] - 1)
        # A product with one-hot vectors, for ONNX has no gather of a value from each row.
        each = tf.reduce_sum(
            tf.one_hot(index, self.logits.shape[-1], dtype=self.logits.dtype)
            * tf.nn.log_softmax(self.logits),
            axis=-1,
        )
        possible = tf.where(after, tf.equal(tokens, PAD), tokens >= EOS)
        none = tf.constant(-float("inf"), each.dtype)
        counted = tf.where(after, tf.zeros_like(each), each)
        return tf.reduce_sum(tf.where(possible, counted, none), axis=-1)

    def _sample_n(self, n: int, seed: Any = None) -> tf.Tensor:
        shape = tf.concat([[n], tf.shape(self.logits)[:-1]], axis=0)
        uniform = tf.random.stateless_uniform(shape, seed=tf.cast(seed, tf.int32))
        logits = tf.broadcast_to(self.logits, tf.concat([[n], tf.shape(self.logits)], axis=0))
        picked = ended(choose_index(tf.cast(uniform, self.dtype), logits))
        return tf.cast(picked, self.dtype)


def past_end(tokens: tf.Tensor) -> tf.Tensor:
    """Say of each token [..., T] whether an ``<eos>`` stands before it."""
    ends = tf.cast(tf.equal(tokens, EOS), tf.int32)
    return tf.cumsum(ends, axis=-1, exclusive=True) > 0


def ended(picked: tf.Tensor) -> tf.Tensor:
    """Return picks among ``<eos>`` and the tokens after it [..., T] as tokens, filled up."""
    tokens = picked + EOS
    return tf.where(past_end(tokens), tf.fill(tf.shape(tokens), PAD), tokens)

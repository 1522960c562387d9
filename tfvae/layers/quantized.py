r"""Vector quantisation: a posterior that is a point on one of the rows of a codebook.

As distributions over *which* row, the posterior is a point mass and the prior a categorical, so
the ELBO is a bound like any other: :math:`\log p(x) \ge \log p(x|c_k) + \log p(k)`.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from tfvae.layers.base import DistributionLayer
from tfvae.layers.codes import Quantized, nearest
from tfvae.layers.numerics import FREE, bounded
from tfvae.layers.support import Support


class CodeUsage(keras.metrics.Metric):
    r"""How many codes are in use: the perplexity of their frequencies, and the share ever seen.

    .. math:: \exp\Bigl(-\sum_k f_k \log f_k\Bigr)

    It is K where all codes are as frequent, and 1 where one is all there is.
    """

    def __init__(self, codes: int, name: str = "code_usage") -> None:
        super().__init__(name=name, dtype="float32")
        self.codes = codes
        self.counts = self.add_variable((codes,), "zeros", name="counts")
        self._updated = False

    def update_state(self, codes: tf.Tensor) -> None:
        """Count codes, int32 of any shape."""
        flat = tf.reshape(codes, [-1])
        ones = tf.ones_like(flat, tf.float32)
        self.counts.assign_add(tf.math.unsorted_segment_sum(ones, flat, self.codes))
        self._updated = True

    def reset_state(self) -> None:
        """Forget the counts."""
        super().reset_state()
        self._updated = False

    def result(self) -> dict[str, tf.Tensor]:
        """Return ``perplexity`` and ``codes_used``; nothing where no codes are counted.

        Validation counts none. Keras resets metrics before it traces a step, so a graph without
        an update since then is one of validation.
        """
        counts = tf.convert_to_tensor(self.counts)
        if not (bool(tf.reduce_any(counts > 0)) if tf.executing_eagerly() else self._updated):
            return {}
        frequency = counts / tf.reduce_sum(counts)
        return {
            "perplexity": tf.exp(-tf.reduce_sum(tf.math.xlogy(frequency, frequency))),
            "codes_used": tf.reduce_mean(tf.cast(counts > 0, tf.float32)),
        }


@keras.saving.register_keras_serializable("tfvae")
class VectorQuantizer(DistributionLayer):
    r"""The nearest code of a learned codebook: the posterior of a VQ-VAE.

    .. math:: q(z|x) = 1 \text{ at } z = c_k,\ k = \arg\min_j \|e(x) - c_j\|, \text{ else } 0

    with one code for each last axis of the event. It is a point mass over codes, which are
    counted: with :class:`tfvae.priors.Codebook` the KL is :math:`-\log p(k)`, and the ELBO a
    bound on log p(x). Gradients pass straight through a draw to e(x): biased, and without
    variance. A VQ-VAE is trained on ``ELBO() + 0.25 * Commitment()``.

    With :math:`n_k` the number of vectors of a training batch that are nearest to code k, and
    :math:`s_k` their sum, ``update="ema"`` keeps moving averages and moves the codes before the
    draw:

    .. math:: N_k \gets \gamma N_k + (1 - \gamma) n_k, \quad
        m_k \gets \gamma m_k + (1 - \gamma) s_k, \quad
        c_k = m_k \Big/ \frac{N_k + \epsilon}{N + K \epsilon} N

    where :math:`N = \sum_k N_k`. They start at :math:`N_k = 1` and :math:`m_k = c_k`, so that a
    code without vectors stays, and goes to the origin after some
    :math:`\log \epsilon / \log \gamma` steps without. A frozen layer (``trainable = False``)
    keeps its codes. ``update="gradient"`` trains them by :class:`tfvae.objectives.CodebookLoss`,
    which the objective must have then.

    ``fit`` logs the ``perplexity`` of the training set's codes in the epoch, which is K where all
    are as frequent and 1 where all are the same, and ``codes_used``, the share of the codebook
    among them.

    Args:
        event_shape: the shape of one draw, its last axis the length d of a code. The network
            emits the vectors e(x) of this shape, with no bounds.
        codes: the size K of the codebook, at least 2.
        update: ``"ema"``, moving averages, or ``"gradient"``.
        decay: :math:`\gamma`, in [0, 1).
        epsilon: of the Laplace smoothing, positive.
        seed: of the first codes, which are normal and of mean square length 1.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if `codes`, `update`, `decay` or `epsilon` is not as above.

    Example:
        >>> layer = tfvae.layers.VectorQuantizer((7, 7, 16), codes=64)
        >>> posterior = layer(tf.zeros([5, 7, 7, 16]))
        >>> posterior.codes.shape, posterior.mean().shape
        (TensorShape([5, 7, 7]), TensorShape([5, 7, 7, 16]))

    References:
        Van den Oord, Vinyals and Kavukcuoglu (2017), Neural discrete representation learning,
        arXiv:1711.00937 (moving averages: appendix A.1).
        Razavi, van den Oord and Vinyals (2019), Generating diverse high-fidelity images with
        VQ-VAE-2, arXiv:1906.00446.
    """

    noise = "uniform"
    slow_under_xla = True  # some three times, on CPU: the nearest of many codes, and their counts
    bounds = bounded(encoded=FREE)
    support = Support.CODES

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        codes: int = 512,
        update: Literal["ema", "gradient"] = "ema",
        decay: float = 0.99,
        epsilon: float = 1e-5,
        seed: int = 0,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        _check(codes, update, decay, epsilon)
        self.codes = codes
        self.update = update
        self.decay = decay
        self.epsilon = epsilon
        self.seed = seed
        size = self.event_shape[-1]
        self.codebook = self._weight("codebook", (codes, size), self._first, update == "gradient")
        if update == "ema":
            self.sums = self._weight("sums", (codes, size), self._first)
            self.counts = self._weight("counts", (codes,), "ones")
        self.usage = CodeUsage(codes)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """One number that is not used, since the draw is certain."""
        return ()

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return :class:`Quantized`."""
        return Quantized(**parameters, codebook=self.codebook, event_ndims=len(self.event_shape))

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the nearest codes, for any noise."""
        return self._repeated(noise, self.mean(params))

    def draw(self, noise: tf.Tensor, params: tf.Tensor) -> tuple[tf.Tensor, Any]:
        """Return the nearest codes and the distribution, by one search."""
        distribution = self(params)
        return self._repeated(noise, distribution.mean()), distribution

    def observe(self, params: tf.Tensor) -> None:
        """Count the codes of a training batch, and move them if averages are kept."""
        (encoded,) = self._split(tf.stop_gradient(params))
        vectors = tf.reshape(encoded, [-1, self.event_shape[-1]])
        codes = nearest(vectors, self.codebook)
        self.usage.update_state(codes)
        if self.update == "ema" and self.trainable:
            self._move(vectors, codes)

    def _move(self, vectors: tf.Tensor, codes: tf.Tensor) -> None:
        # Assigned values are averaged over replicas, which makes these the sums over all of them.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        # A product, for sums that are the same on every run: a scatter adds in any order.
        chosen = tf.one_hot(codes, self.codes, dtype=vectors.dtype)
        finite = tf.reduce_all(tf.math.is_finite(vectors))
        for average, batch in (
            (self.counts, tf.reduce_sum(chosen, axis=0)),
            (self.sums, tf.matmul(chosen, vectors, transpose_a=True)),
        ):
            before = tf.convert_to_tensor(average)
            after = self.decay * before + (1.0 - self.decay) * replicas * batch
            # After a step that is not finite, weights are those of the last good one.
            average.assign(tf.where(finite, after, before))
        # Read again, now that replicas agree.
        counts, sums = tf.convert_to_tensor(self.counts), tf.convert_to_tensor(self.sums)
        total = tf.reduce_sum(counts)
        smooth = (counts + self.epsilon) / (total + self.codes * self.epsilon) * total
        self.codebook.assign(sums / smooth[:, tf.newaxis])

    def check_examples(self, count: int) -> None:
        """Refuse a codebook with more codes than `count` examples have vectors."""
        vectors = count * math.prod(self.event_shape[:-1])
        if self.codes > vectors:
            raise ValueError(
                "Expected the posterior to have at most as many codes as the training set has "
                f"vectors to quantise, {count} x {vectors // count} = {vectors}. Received: "
                f"posterior=VectorQuantizer(codes={self.codes}). Use fewer codes, "
                "or more examples."
            )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        names = ("codes", "update", "decay", "epsilon", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _weight(self, name: str, shape: tuple[int, ...], first: Any, train: bool = False) -> Any:
        return self.add_weight(
            name=name, shape=shape, initializer=first, trainable=train, aggregation="mean"
        )

    def _first(self, shape: tuple[int, ...], dtype: Any) -> tf.Tensor:
        # About as long as what a network emits, whatever their dimension: much longer or shorter
        # codes are all but a few nearest to nothing.
        first = np.random.default_rng(self.seed).standard_normal(shape) / math.sqrt(shape[-1])
        return tf.constant(first, dtype)

    def _repeated(self, noise: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
        shape = tf.concat([tf.shape(noise), tf.constant(self.event_shape)], axis=0)
        return tf.broadcast_to(draw, shape)


def _check(codes: int, update: str, decay: float, epsilon: float) -> None:
    if isinstance(codes, bool) or not isinstance(codes, int) or codes < 2:
        raise ValueError(f"Expected `codes` to be an integer above 1. Received: codes={codes!r}.")
    if update not in ("ema", "gradient"):
        raise ValueError(f'Expected `update` to be "ema" or "gradient". Received: {update=}.')
    if not 0 <= decay < 1:
        raise ValueError(f"Expected `decay` to be a number in [0, 1). Received: decay={decay!r}.")
    if not 0 < epsilon < math.inf:
        raise ValueError(
            f"Expected `epsilon` to be a positive number. Received: epsilon={epsilon!r}."
        )

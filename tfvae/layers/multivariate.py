r"""Location-scale with correlations: elliptical distributions over the last axis of an event.

A draw is :math:`\mu + A \varepsilon`. The axes before the last are independent of each other.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfvae.layers.base import DistributionLayer, tfd
from tfvae.layers.numerics import SCALE, Bound

TILT = Bound(high=10.0)


@keras.saving.register_keras_serializable("tfvae")
class MultivariateNormal(DistributionLayer):
    r"""Normal with a full covariance over the last axis, :math:`\mathcal N(\mu, L L^\top)`.

    *Location-scale*: :math:`\mu + L \varepsilon` with standard normal noise.

    Args:
        event_shape: the shape of one draw, its last axis d long. The network emits
            ``[loc | raw diagonal | raw tilts]``, d + d (d + 1) / 2 values: row i of L is
            :math:`s_i (t_{i1}, \dots, t_{i,i-1}, 1)` with the scale ``softplus(raw) + 1e-4`` and
            tilts :math:`\mathrm{raw} / \sqrt d`, so that raw outputs of the order of 1 leave
            variances of the order of :math:`s_i^2` for any d, bounded to (-10, 10), which allows
            correlations of 0.995. Where every output is saturated at once, log-densities stay
            finite up to some 25 dimensions in float32.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> layer = tfvae.layers.MultivariateNormal((3,))
        >>> layer.params_shape
        (9,)
        >>> layer(tf.zeros([5, 9])).covariance().shape
        TensorShape([5, 3, 3])
    """

    noise = "normal"

    @property
    def block_sizes(self) -> tuple[int, ...]:
        """Location, diagonal, and what lies below the diagonal."""
        size = self.event_shape[-1]
        return (size, size, size * (size - 1) // 2)

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return ``loc`` and ``scale_tril``, [..., d, d]."""
        loc, diagonal, tilts = self._split(params)
        size = self.event_shape[-1]
        # Rows of the strict triangle, each padded to d and followed by the unit diagonal: a
        # gather from [0, 1, tilts] by a constant table.
        table = np.zeros((size, size), np.int32)
        table[np.diag_indices(size)] = 1
        table[np.tril_indices(size, -1)] = 2 + np.arange(size * (size - 1) // 2)
        zero = tf.zeros_like(loc[..., :1])
        entries = tf.concat([zero, zero + 1.0, TILT(tilts / math.sqrt(size))], axis=-1)
        unit = tf.gather(entries, table, axis=-1)
        return {"loc": loc, "scale_tril": SCALE(diagonal)[..., tf.newaxis] * unit}

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.MultivariateNormalTriL``."""
        return tfd.MultivariateNormalTriL(**parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return ``loc``."""
        return self._split(params)[0]

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return ``loc + scale_tril @ noise``."""
        named = self.parameters(params)
        return named["loc"] + tf.linalg.matvec(
            named["scale_tril"], tf.cast(noise, named["loc"].dtype)
        )


@keras.saving.register_keras_serializable("tfvae")
class MultivariateStudentT(MultivariateNormal):
    r"""Multivariate Student's t: the elliptical distribution with heavy tails.

    *Location-scale*: :math:`\mu + L \varepsilon / \sqrt{c / \nu}`, where c is the sum of
    :math:`\nu` squared normals. Its noise has d + :math:`\nu` normals for each last axis.

    Args:
        event_shape: the shape of one draw, its last axis d long. The network emits what
            :class:`MultivariateNormal` takes; its bounds hold here too.
        df: the degrees of freedom :math:`\nu`, an integer above 2, so that there is a covariance.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if `df` is not an integer above 2.

    Example:
        >>> layer = tfvae.layers.MultivariateStudentT((3,), df=4)
        >>> layer.noise_shape
        (7,)
    """

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        df: int = 5,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        if not (isinstance(df, int) and df > 2):
            raise ValueError(f"Expected `df` to be an integer above 2. Received: df={df!r}.")
        self.df = df

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """D normals for the direction, df for the length."""
        return (*self.event_shape[:-1], self.event_shape[-1] + self.df)

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.MultivariateStudentTLinearOperator``."""
        return tfd.MultivariateStudentTLinearOperator(
            df=tf.constant(self.df, self.compute_dtype),
            loc=parameters["loc"],
            scale=tf.linalg.LinearOperatorLowerTriangular(
                parameters["scale_tril"], is_non_singular=True
            ),
        )

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the normal draw, longer where the chi-squared one is small."""
        noise = tf.cast(noise, self.compute_dtype)
        direction, rest = noise[..., : -self.df], noise[..., -self.df :]
        length = tf.sqrt(tf.reduce_mean(tf.square(rest), axis=-1, keepdims=True))
        return super().transform(direction / length, params)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "df": self.df}


@keras.saving.register_keras_serializable("tfvae")
class LowRankNormal(DistributionLayer):
    r"""Normal with covariance :math:`S (I + V V^\top) S`: diagonal plus low rank.

    *Location-scale*: :math:`\mu + s \odot (\varepsilon_0 + V \varepsilon_1)`. Its noise has
    d + `rank` normals for each last axis.

    Args:
        event_shape: the shape of one draw, its last axis d long. The network emits
            ``[loc | raw scale | raw factor]``, d (2 + rank) values: the scale s is
            ``softplus(raw) + 1e-4`` and the factor V [d, rank] lies in (-10, 10).
        rank: the number of columns of V, at least 1.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if `rank` is not a positive integer.

    Example:
        >>> layer = tfvae.layers.LowRankNormal((50,), rank=3)
        >>> layer.params_shape, layer.noise_shape
        ((250,), (53,))

    References:
        Rezende, Mohamed and Wierstra (2014), Stochastic backpropagation, arXiv:1401.4082.
    """

    noise = "normal"

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        rank: int = 1,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        if not (isinstance(rank, int) and rank > 0):
            raise ValueError(f"Expected `rank` to be a positive integer. Received: rank={rank!r}.")
        self.rank = rank

    @property
    def block_sizes(self) -> tuple[int, ...]:
        """Location, scale and factor."""
        size = self.event_shape[-1]
        return (size, size, size * self.rank)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """D normals for the diagonal, one for each column of the factor."""
        return (*self.event_shape[:-1], self.event_shape[-1] + self.rank)

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return ``loc``, ``cov_diag_factor`` [..., d], ``cov_perturb_factor`` [..., d, rank]."""
        loc, scale, factor = self._split(params)
        scale = SCALE(scale)
        columns = tf.split(TILT(factor), self.rank, axis=-1)
        return {
            "loc": loc,
            "cov_diag_factor": tf.square(scale),
            "cov_perturb_factor": scale[..., tf.newaxis] * tf.stack(columns, axis=-1),
        }

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return ``tfd.MultivariateNormalDiagPlusLowRankCovariance``."""
        return tfd.MultivariateNormalDiagPlusLowRankCovariance(**parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return ``loc``."""
        return self._split(params)[0]

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the sum of independent noise and what the columns share."""
        loc, variance, factor = self.parameters(params).values()
        own, shared = tf.split(
            tf.cast(noise, loc.dtype), [self.event_shape[-1], self.rank], axis=-1
        )
        return loc + tf.sqrt(variance) * own + tf.linalg.matvec(factor, shared)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "rank": self.rank}

"""The F distribution, which TFP lacks."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions


class FisherF(tfp.distributions.Distribution):
    r"""Fisher's F, the law of :math:`(c_1 / \nu_1) / (c_2 / \nu_2)` for chi-squared draws c.

    .. math:: p(x) = \frac{r^{\nu_1 / 2} x^{\nu_1 / 2 - 1} (1 + r x)^{-(\nu_1 + \nu_2) / 2}}
              {B(\nu_1 / 2, \nu_2 / 2)}, \quad r = \nu_1 / \nu_2.

    Args:
        df1: the degrees of freedom of the numerator, :math:`\nu_1`.
        df2: the degrees of freedom of the denominator, :math:`\nu_2`.
        validate_args: as in every TFP distribution.
        allow_nan_stats: as in every TFP distribution.
        name: the distribution's name.

    Example:
        >>> from tfvae.layers.fisher import FisherF
        >>> round(float(FisherF(2.0, 4.0).prob(1.0)), 4)  # (1 + 1/2)^-3
        0.2963
    """

    def __init__(
        self,
        df1: tf.Tensor | float,
        df2: tf.Tensor | float,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "F",
    ) -> None:
        parameters = dict(locals())
        self.df1 = tf.convert_to_tensor(df1)
        self.df2 = tf.convert_to_tensor(df2)
        super().__init__(
            dtype=self.df1.dtype,
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=validate_args,
            allow_nan_stats=allow_nan_stats,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        del dtype, num_classes
        return {name: tfp.util.ParameterProperties() for name in ("df1", "df2")}

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([], tf.int32)

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        seeds = tfp.random.split_seed(seed, salt="f")
        shape = self._batch_shape_tensor()
        # In logs: one chi-squared may be too small for floats where the ratio is not.
        top, bottom = (
            tfd.ExpGamma(tf.broadcast_to(0.5 * df, shape), 0.5 * tf.ones([], df.dtype)).sample(
                n, seed=one
            )
            - tf.math.log(df)
            for df, one in zip((self.df1, self.df2), tf.unstack(seeds), strict=True)
        )
        return tf.exp(top - bottom)

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        half1, half2 = 0.5 * self.df1, 0.5 * self.df2
        ratio = self.df1 / self.df2
        return (
            half1 * tf.math.log(ratio)
            + (half1 - 1.0) * tf.math.log(x)
            - (half1 + half2) * tf.math.log1p(ratio * x)
            - tfp.math.lbeta(half1, half2)
        )

    def _mean(self) -> tf.Tensor:
        mean = self.df2 / (self.df2 - 2.0)
        mean = tf.where(self.df2 > 2.0, mean, tf.constant(float("inf"), mean.dtype))
        return tf.broadcast_to(mean, self._batch_shape_tensor())

    def _default_event_space_bijector(self) -> Any:
        return tfp.bijectors.Softplus()

r"""Counts by inversion: the quantile of a uniform u, in a fixed number of steps.

Below a rate of 10 the masses are summed up until they pass u: 33 of them, beyond which lies less
than a uniform in steps of :math:`2^{-23}` can tell. From there on, with x one more than the count,
:math:`F(x - 1) = \Phi(w)` where, in powers of :math:`x^{-1/2}`,

.. math:: w = r - \frac1r \log \frac{r \sqrt x}{x - \lambda} - \frac{13}{1620} x^{-3/2},
          \quad r = \operatorname{sign}(x - \lambda) \sqrt{2 (\lambda - x + x \log(x / \lambda))}

to an error in F of at most 8e-6, at a rate of 10; it falls off like :math:`\lambda^{-2}`. Two
steps of Newton's method find the x at which w is the normal quantile of u.

All in float64, for a count of 20,000 is to be the same in every runtime: a float32 rate is known to
6e-8 of itself, which moves a quantile by 0.001.

References:
    Temme (1992), Asymptotic inversion of incomplete gamma functions. Giles (2016), Algorithm 955:
    approximation of the inverse Poisson cumulative distribution function.
"""

from __future__ import annotations

import tensorflow as tf

from tfvae.layers.numerics import normal_quantile, polynomial

# The rate from which the expansion holds, and the largest count that is drawn below it.
_SWITCH, _LAST = 10.0, 32

# Taylor series about 0, from the highest power down. At 0.03 they are right to 1e-12, 1e-8, 1e-7.
_SQUARE = (1 / 28, -1 / 21, 1 / 15, -1 / 10, 1 / 6, -1 / 3, 1.0)  # 2 ((1 + t) log(1 + t) - t) / t^2
_SLOPE = (1 / 5, -1 / 4, 1 / 3, -1 / 2, 1.0)  # log(1 + t) / t
_SHIFT = (-697 / 6480, 56 / 405, -7 / 36, 1 / 3)  # log((1 + t) square) / 2 t


def poisson_quantile(uniform: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
    """Return the least count whose distribution function reaches `uniform`.

    Args:
        uniform: values in (0, 1), float64 [...].
        rate: not negative, float64, broadcastable to `uniform`. One of 0 makes counts of 0.

    Returns:
        Counts, float64 [...].

    Example:
        >>> from tfvae.layers.counting import poisson_quantile
        >>> uniform = tf.constant([0.05, 0.5, 0.95], tf.float64)
        >>> poisson_quantile(uniform, tf.constant(4.0, tf.float64)).numpy()
        array([1., 4., 8.])
    """
    few = _summed(uniform, tf.minimum(rate, _SWITCH))
    many = _expanded(normal_quantile(uniform), tf.maximum(rate, _SWITCH))
    return tf.where(rate < _SWITCH, few, many)


def _summed(uniform: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
    """Count the masses that are summed up before the sum reaches `uniform`."""
    mass = tf.exp(-rate)
    total, count = mass, tf.zeros_like(uniform)
    for k in range(1, _LAST + 1):
        count += tf.cast(uniform > total, uniform.dtype)
        mass *= rate / float(k)
        total += mass
    return count


def _expanded(normal: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
    """Return the count at a quantile of the normal, for large rates."""
    root = tf.sqrt(rate)
    # Powers of 2/3 are nearly normal: off by 0.14 at most.
    power = tf.maximum(1.0 + 2.0 * normal / (3.0 * root), 0.0)
    x = rate * power * tf.sqrt(power) + 1.0 / 3.0
    for _ in range(2):
        x -= _step(x, rate, root, normal)
        x = tf.maximum(x, 0.125)  # within the first count, and in reach of a logarithm
    return tf.floor(x)


def _step(x: tf.Tensor, rate: tf.Tensor, root: tf.Tensor, normal: tf.Tensor) -> tf.Tensor:
    """Return Newton's step, (w - normal) over the derivative of r."""
    t = (x - rate) / rate
    near = tf.abs(t) < 0.03
    far = tf.where(near, tf.ones_like(t), t)
    log = tf.math.log(1.0 + far)
    square = tf.where(near, polynomial(t, _SQUARE), 2.0 * ((1.0 + far) * log - far) / far**2)
    slope = tf.where(near, polynomial(t, _SLOPE), log / far)
    shift = tf.where(near, polynomial(t, _SHIFT), 0.5 * (tf.math.log(square) + log) / far)
    ratio = tf.sqrt(square)
    w = t * root * ratio - shift / (root * ratio) - (13.0 / 1620.0) / (x * tf.sqrt(x))
    return (w - normal) * root * ratio / slope

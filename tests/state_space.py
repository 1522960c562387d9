"""A deep Markov model whose log p(x) and posterior are known exactly.

z_1 ~ N(m, p²), z_t ~ N(a z_{t-1} + c, q²), x_t ~ N(W z_t + b, s² I), of one latent. The exact
posterior follows the chain, q(z_t | z_{t-1}, x_{t:T}): what later data say of z_t is a message
exp(-J_t z_t² / 2 + h_t z_t) that is passed backward in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import tfvae
from tfvae.families import Markov, Repeated, SequentialVAE, Structured

tfd = tfp.distributions


class Messages(keras.layers.Layer):
    """The exact posterior's gain, offset and raw scale at each step, [B, T, 3]."""

    def __init__(self, truth: StateSpace, min_scale: float) -> None:
        super().__init__(dtype="float64")
        self.truth, self.min_scale = truth, min_scale

    def call(self, x: Any, observed: Any) -> Any:
        k, (a, c, q) = self.truth, self.truth.transition
        w = tf.constant(k.w, tf.float64)
        own_j = tf.reduce_sum(observed * w**2, axis=-1) / k.s**2
        own_h = tf.reduce_sum(observed * w * (x - k.b), axis=-1) / k.s**2
        later_j, later_h = tf.zeros_like(own_j[:, 0]), tf.zeros_like(own_h[:, 0])
        features = []
        for t in reversed(range(x.shape[1])):
            j, h = own_j[:, t] + later_j, own_h[:, t] + later_h
            start, spread = (c, q) if t else k.initial
            precision = 1 / spread**2 + j
            gain = (a / spread**2 if t else 0.0) / precision
            offset = (start / spread**2 + h) / precision
            raw = tf.math.log(tf.math.expm1(precision**-0.5 - self.min_scale))
            features.append(tf.stack([gain * tf.ones_like(offset), offset, raw], axis=-1))
            later_j = a**2 * j / (1 + q**2 * j)
            later_h = a * (h - c * j) / (1 + q**2 * j)
        return tf.stack(features[::-1], axis=1)

    def compute_output_shape(self, x_shape: Any, observed_shape: Any) -> Any:
        return (*x_shape[:2], 3)


@dataclass(frozen=True)
class StateSpace:
    steps: int = 7
    initial: tuple[float, float] = (0.5, 1.3)
    transition: tuple[float, float, float] = (0.9, 0.1, 0.6)
    w: tuple[float, ...] = (1.0, -0.7)
    b: tuple[float, ...] = (0.2, 0.4)
    s: float = 0.5

    def lgssm(self, steps: int | None = None) -> Any:
        (m, p), (a, c, q), n = self.initial, self.transition, len(self.w)
        return tfd.LinearGaussianStateSpaceModel(
            num_timesteps=steps or self.steps,
            transition_matrix=tf.constant([[a]], tf.float64),
            transition_noise=tfd.MultivariateNormalDiag(np.array([c]), np.array([q])),
            observation_matrix=tf.constant(self.w, tf.float64)[:, None],
            observation_noise=tfd.MultivariateNormalDiag(np.array(self.b), np.full(n, self.s)),
            initial_state_prior=tfd.MultivariateNormalDiag(np.array([m]), np.array([p])),
        )

    def joint(self) -> tuple[Any, Any]:
        """Return mean and covariance of all values of x, [T n]."""
        (m, p), (a, c, q) = self.initial, self.transition
        mean, variance, means, z = m, p**2, [], np.zeros((self.steps, self.steps))
        for t in range(self.steps):
            if t:
                mean, variance = a * mean + c, a**2 * variance + q**2
            means.append(mean)
            for u in range(t, self.steps):
                z[t, u] = z[u, t] = a ** (u - t) * variance
        n = len(self.w)
        whole = np.kron(z, np.outer(self.w, self.w)) + self.s**2 * np.eye(self.steps * n)
        return (np.outer(means, self.w) + self.b).reshape(-1), whole

    def log_prob_of_observed(self, x: Any, observed: Any) -> Any:
        mean, covariance = self.joint()
        rows = zip(x.reshape(len(x), -1), observed.reshape(len(x), -1) > 0, strict=True)
        return np.array(
            [
                stats.multivariate_normal(mean[there], covariance[np.ix_(there, there)]).logpdf(
                    row[there]
                )
                for row, there in rows
            ]
        )

    def sample(self, count: int, seed: int = 0) -> Any:
        rng, (m, p), (a, c, q) = np.random.default_rng(seed), self.initial, self.transition
        z, x = m + p * rng.normal(size=count), []
        for t in range(self.steps):
            z = a * z + c + q * rng.normal(size=count) if t else z
            x.append(z[:, None] * self.w + self.b + self.s * rng.normal(size=(count, len(self.w))))
        return np.stack(x, axis=1)

    def slots(self) -> dict[str, Any]:
        """Return decoder, prior and likelihood, whose weights are those of the truth."""
        (m, p), (a, c, q), n = self.initial, self.transition, len(self.w)
        layer = tfvae.layers.Normal((1,))
        initial = tfvae.priors.Parametric(layer, values={"loc": m, "scale": p})
        # Beyond the bisection's 1e-4: what is compared with is exact.
        initial.raw.assign([m, self.raw(p)])
        transition = keras.Sequential([keras.Input((1,), dtype="float64"), keras.layers.Dense(2)])
        transition.set_weights([np.array([[a, 0.0]]), np.array([c, self.raw(q)])])
        decoder = keras.Sequential([keras.Input((None, 1), dtype="float64"), keras.layers.Dense(n)])
        decoder.set_weights([np.array([self.w]), np.array(self.b)])
        return {
            "decoder": decoder,
            "prior": Markov(initial, transition, self.steps),
            "likelihood": Repeated(tfvae.layers.Normal((n,), scale=self.s), self.steps),
        }

    @staticmethod
    def raw(scale: float, min_scale: float = 1e-4) -> float:
        return float(np.log(np.expm1(scale - min_scale)))

    def vae(self, **options: Any) -> SequentialVAE:
        """Return the model with its exact posterior; under a float64 policy."""
        layer = tfvae.layers.Normal((1,))
        shape = (self.steps, len(self.w))
        inputs = [keras.Input(shape, dtype="float64"), keras.Input(shape, dtype="float64")]
        encoder = keras.Model(inputs, Messages(self, layer.min_scale)(*inputs))
        before, given = keras.Input((1,), dtype="float64"), keras.Input((3,), dtype="float64")
        loc = given[:, :1] * before + given[:, 1:2]
        combiner = keras.Model([before, given], keras.ops.concatenate([loc, given[:, 2:]], -1))
        posterior = Structured(combiner, layer, self.steps)
        return SequentialVAE(encoder, posterior=posterior, **self.slots(), **options)

"""A VAE whose log p(x) and posterior are known exactly: the outside truth of many tests.

z ~ N(0, I), x|z ~ N(W z + b, s² I) with orthogonal columns of W, so that the exact posterior
N(M⁻¹ Wᵀ (x - b), s² M⁻¹), M = Wᵀ W + s² I, has a diagonal covariance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

import tfvae


@dataclass(frozen=True)
class LinearGaussian:
    w: Any
    b: Any
    s: float

    @classmethod
    def random(cls, data_dim: int = 5, latent_dim: int = 2, s: float = 0.7) -> LinearGaussian:
        rng = np.random.default_rng(0)
        orthogonal = np.linalg.qr(rng.normal(size=(data_dim, latent_dim)))[0]
        scale = np.linspace(2.0, 1.0, latent_dim)
        return cls(orthogonal * scale, rng.normal(size=data_dim), s)

    def sample(self, n: int, seed: int = 1) -> Any:
        rng = np.random.default_rng(seed)
        z = rng.normal(size=(n, self.w.shape[1]))
        return z @ self.w.T + self.b + self.s * rng.normal(size=(n, self.w.shape[0]))

    def log_marginal(self, x: Any) -> Any:
        from scipy import stats

        covariance = self.w @ self.w.T + self.s**2 * np.eye(len(self.b))
        return stats.multivariate_normal(self.b, covariance).logpdf(x)

    def vae(self, objective: Any = None, error: float = 0.0, **kwargs: Any) -> tfvae.VAE:
        """Return the VAE with its exact posterior, or one whose means are off by `error`."""
        data_dim, latent_dim = self.w.shape
        m = np.sum(self.w**2, axis=0) + self.s**2
        vae = tfvae.zoo.vae(
            (data_dim,),
            latent_dim,
            hidden=(),
            likelihood=tfvae.layers.Normal((data_dim,), scale=self.s),
            objective=objective,
            **kwargs,
        )
        to_mean = self.w / m
        stddev = self.s / np.sqrt(m)
        raw = np.log(np.expm1(stddev - vae.posterior.min_scale))
        vae.encoder.set_weights(
            [
                np.concatenate([to_mean, np.zeros_like(to_mean)], axis=1),
                np.concatenate([-self.b @ to_mean + error, raw]),
            ]
        )
        vae.decoder.set_weights([self.w.T, self.b])
        return vae


def compiled(vae: tfvae.VAE, learning_rate: float = 1e-3) -> tfvae.VAE:
    vae.compile(keras.optimizers.Adam(learning_rate))
    return vae

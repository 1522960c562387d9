"""A linear VAE trained to convergence is probabilistic PCA, whose optimum is known exactly.

Tipping and Bishop (1999), Probabilistic principal component analysis. Lucas et al. (2019), Don't
blame the ELBO!, arXiv:1911.02469: the ELBO of a linear VAE has no other stable stationary point.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from outside import shared
from scipy import stats

import tfvae


def ppca_log_likelihood(x: Any, q: int) -> float:
    """Return the mean log-likelihood at the maximum, in nats."""
    d = x.shape[1]
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    noise = eigenvalues[q:].mean()
    log_det = np.sum(np.log(eigenvalues[:q])) + (d - q) * np.log(noise)
    return float(-0.5 * (d * np.log(2 * np.pi) + log_det + d))


def trained(x: Any, q: int, *, steps: int, batch_size: int, rate: float, samples: int) -> tfvae.VAE:
    d = x.shape[1]
    vae = tfvae.zoo.vae(
        (d,), q, hidden=(), likelihood=tfvae.layers.Normal((d,), scale="learned"),
        objective=tfvae.objectives.ELBO(samples=samples),
    )  # fmt: skip
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)))
    epochs = steps * batch_size // len(x)
    vae.fit(x, batch_size=batch_size, epochs=epochs, verbose=0)
    return vae


@pytest.mark.slow
def test_a_small_data_set_to_a_thousandth() -> None:
    rng = np.random.default_rng(0)
    w = rng.normal(size=(2, 6)) * [[2.0], [1.0]]
    x = (rng.normal(size=(500, 2)) @ w + 0.5 * rng.normal(size=(500, 6))).astype("float32")
    exact = ppca_log_likelihood(x.astype("float64"), q=2)
    vae = trained(x, 2, steps=2000, batch_size=500, rate=2e-2, samples=8)
    kernel, bias = (np.array(v.value, "float64") for v in vae.decoder.trainable_weights)
    scale = float(vae.likelihood.parameters(np.zeros((1, 6), "float32"))["scale"][0, 0])
    covariance = kernel.T @ kernel + scale**2 * np.eye(6)
    reached = stats.multivariate_normal(bias, covariance).logpdf(x).mean()
    assert exact - 1e-3 < reached < exact + 1e-5  # float32 weights
    # The bound is tight: its posterior is the exact one. The weights of an exact posterior are
    # constant, so few samples do.
    assert tfvae.evaluate.evaluate(vae, x, samples=200).log_marginal == pytest.approx(
        exact, abs=1e-3
    )


# Compiling takes a twelfth of what it saves over 12,000 steps.
@pytest.mark.usefixtures("xla")
@pytest.mark.slow
@pytest.mark.parametrize(("q", "expected"), [(2, 12.4277), (10, 182.1547)])
def test_mnist_to_half_a_nat(q: int, expected: float) -> None:
    with np.load(shared("mnist/mnist.npz")) as file:
        x = file["x_train"].reshape(-1, 784).astype("float32") / 255
    assert ppca_log_likelihood(x.astype("float64"), q) == pytest.approx(expected, abs=1e-3)
    vae = trained(x, q, steps=12_000, batch_size=200, rate=5e-3, samples=1)
    elbo = vae.evaluate(x, batch_size=1000, return_dict=True, verbose=0)["elbo"]
    # The bound at one sample a piece, averaged over 60,000 images.
    assert elbo == pytest.approx(expected, abs=0.5)

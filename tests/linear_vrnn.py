"""A variational recurrent network of linear maps, whose density is known exactly.

h_t = U'h_{t-1} + X'x_t + Z'z_t + b, z_t ~ N(A'h_{t-1} + a, q²), x_t ~ N(C z_t + D'h_{t-1} + c,
s² I), of one latent: all of x and z together is Gaussian. Where the memory forgets z, the exact
posterior of z_t is a function of x_t and h_{t-1}, and the model has it.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from scipy import stats
from state_space import StateSpace

import tfvae
from tfvae.families import VRNN, Filtered, Memory, Repeated

U = np.array([[0.5, -0.2], [0.3, 0.4]])
X = np.array([[0.4, 0.1], [-0.3, 0.5]])
B = np.array([0.1, -0.2])
A, a, q = np.array([[0.7], [-0.4]]), np.array([0.2]), 0.8
C, D, c, s = np.array([[1.0, -0.6]]), np.array([[0.3, 0.2], [-0.5, 0.4]]), np.array([0.5, 0.1]), 0.6
REMEMBERED = np.array([[0.6, -0.5]])


def joint(steps: int, z_kernel: Any) -> tuple[Any, Any, Any, Any]:
    """Return means and factors of z [T] and x [T, 2], functions of standard normal noise."""
    size = 3 * steps
    h, h_noise = np.zeros(2), np.zeros((2, size))
    zs, xs = [], []
    for t in range(steps):
        own = np.eye(size)[3 * t : 3 * t + 3]
        z, z_noise = h @ A + a, A.T @ h_noise + q * own[:1]
        x, x_noise = z @ C + h @ D + c, C.T @ z_noise + D.T @ h_noise + s * own[1:]
        zs.append((z, z_noise))
        xs.append((x, x_noise))
        h, h_noise = (
            x @ X + z @ z_kernel + h @ U + B,
            X.T @ x_noise + z_kernel.T @ z_noise + U.T @ h_noise,
        )
    means = [np.concatenate([mean for mean, _ in each]) for each in (zs, xs)]
    factors = [np.concatenate([factor for _, factor in each]) for each in (zs, xs)]
    return means[0], factors[0], means[1], factors[1]


def log_prob(x: Any, z_kernel: Any) -> Any:
    """Return log p(x) of sequences [N, T, 2]."""
    _, _, mean, factor = joint(x.shape[1], z_kernel)
    return stats.multivariate_normal(mean, factor @ factor.T).logpdf(x.reshape(len(x), -1))


def sample(count: int, steps: int, z_kernel: Any, seed: int = 0) -> Any:
    _, _, mean, factor = joint(steps, z_kernel)
    noise = np.random.default_rng(seed).normal(size=(count, 3 * steps))
    return (mean + noise @ factor.T).reshape(count, steps, 2)


def dense(inputs: list[Any], kernel: Any, bias: Any) -> keras.Model:
    """Return a network of the inputs side by side, with these weights."""
    h = keras.layers.Concatenate()(inputs) if len(inputs) > 1 else inputs[0]
    network = keras.Model(inputs, keras.layers.Dense(len(bias))(h))
    network.set_weights([np.asarray(kernel), np.asarray(bias)])
    return network


def linear_vrnn(steps: int, z_kernel: Any) -> VRNN:
    """Return the model; under a float64 policy."""

    def inputs(*shapes: tuple[Any, ...]) -> list[Any]:
        return [keras.Input(shape, dtype="float64") for shape in shapes]

    given = inputs((None, 2), (None, 2))
    encoder = keras.Model(given, keras.layers.Multiply()(given))
    zero = np.zeros((2, 1))
    network = dense(inputs((2,)), np.hstack([A, zero]), [a[0], StateSpace.raw(q)])
    # p(z_t | x_t, h_{t-1}), by Bayes's rule of two Gaussians.
    precision = 1 / q**2 + (C @ C.T)[0, 0] / s**2
    of_h = (A / q**2 - D @ C.T / s**2) / precision
    of_x = C.T / s**2 / precision
    rest = (a / q**2 - c @ C.T / s**2) / precision
    combiner = dense(
        inputs((2,), (2,)),
        np.hstack([np.vstack([of_h, of_x]), np.zeros((4, 1))]),
        [rest[0], StateSpace.raw(precision**-0.5)],
    )
    read = inputs((2,), (1,))
    cell = keras.layers.SimpleRNNCell(2, activation=None)
    memory = Memory(
        network,
        keras.Model(read, keras.layers.Concatenate()(read)),
        cell,
        tfvae.layers.Normal((1,)),
        steps,
    )
    for weight, value in zip(cell.weights, (np.vstack([X, z_kernel]), U, B), strict=True):
        weight.assign(value)
    return VRNN(
        encoder,
        dense(inputs((None, 1), (None, 2)), np.vstack([C, D]), c),
        prior=memory,
        posterior=Filtered(combiner, tfvae.layers.Normal((1,)), steps),
        likelihood=Repeated(tfvae.layers.Normal((2,), scale=s), steps),
    )

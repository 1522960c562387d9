"""The same model in JAX: a whole epoch as one compiled `lax.scan`, Adam by hand.

Convolutions within a scan are two orders of magnitude slower on a CPU than outside of it: with
these, a compiled step and a loop in Python.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from contenders import DENSE, FILTERS, HIDDEN, LATENT, RATE, SHAPE, Task

PIXELS = math.prod(SHAPE)
DIMENSIONS = ("NHWC", "HWIO", "NHWC")

Tree = Any


def trainer(task: Task, x: np.ndarray) -> Callable[[], float]:
    images = jnp.asarray(x)
    key, start = jax.random.split(jax.random.key(0))
    weights = initial(task, start)
    first, second = (jax.tree.map(jnp.zeros_like, weights) for _ in range(2))
    state = (weights, first, second, jnp.zeros((), jnp.int32))

    epoch = scanned if task.network == "mlp" else looped

    def run() -> float:
        nonlocal state, key
        for _ in range(task.epochs):
            key, each = jax.random.split(key)
            state, loss = epoch(task, state, images, each)
        return float(loss)

    return run


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def scanned(task: Task, state: Tree, images: jax.Array, key: jax.Array) -> tuple[Tree, jax.Array]:
    """Train on every image once, in a random order; the last batch takes what is left."""
    shuffle, noise, last = jax.random.split(key, 3)
    order = jax.random.permutation(shuffle, len(images))
    full = len(images) // task.batch_size
    rows, rest = jnp.split(order, [full * task.batch_size])

    def step(state: Tree, given: tuple[jax.Array, jax.Array]) -> tuple[Tree, jax.Array]:
        return adam(task, state, images, *given)

    batches = (rows.reshape(full, task.batch_size), jax.random.split(noise, full))
    state, losses = jax.lax.scan(step, state, batches)
    total = losses.sum()
    if len(rest):
        state, loss = step(state, (rest, last))
        total += loss
    return state, total / len(images)


def looped(task: Task, state: Tree, images: jax.Array, key: jax.Array) -> tuple[Tree, jax.Array]:
    order = jax.random.permutation(key, len(images))
    total = jnp.zeros(())
    for start in range(0, len(images), task.batch_size):
        rows = order[start : start + task.batch_size]
        state, loss = one_step(task, state, images, rows, jax.random.fold_in(key, start))
        total += loss
    return state, total / len(images)


def adam(
    task: Task, state: Tree, images: jax.Array, rows: jax.Array, key: jax.Array
) -> tuple[Tree, jax.Array]:
    """Take a step and return the sum of the losses."""
    weights, first, second, count = state
    loss, gradients = jax.value_and_grad(loss_of)(weights, images[rows], key, task.samples)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
    count = count + 1
    rate = RATE * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
    weights = jax.tree.map(
        lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-8), weights, first, second
    )
    return (weights, first, second, count), loss * len(rows)


one_step = functools.partial(jax.jit, static_argnums=0, donate_argnums=1)(adam)


def loss_of(weights: Tree, x: jax.Array, key: jax.Array, samples: int) -> jax.Array:
    mean, log_var = jnp.split(encode(weights["encoder"], x), 2, axis=-1)
    epsilon = jax.random.normal(key, (samples, *mean.shape))
    z = mean + jnp.exp(0.5 * log_var) * epsilon
    logits = decode(weights["decoder"], z.reshape(-1, LATENT)).reshape(samples, len(x), PIXELS)
    target = x.reshape(len(x), PIXELS)
    log_likelihood = (target * logits - jax.nn.softplus(logits)).sum(axis=-1)
    if samples == 1:
        kl = -0.5 * (1 + log_var - mean**2 - jnp.exp(log_var)).sum(axis=-1)
        return (kl - log_likelihood[0]).mean()
    kl = (-0.5 * (log_var + epsilon**2) + 0.5 * z**2).sum(axis=-1)
    bound = jax.nn.logsumexp(log_likelihood - kl, axis=0) - math.log(samples)
    return -bound.mean()


def encode(layers: Tree, x: jax.Array) -> jax.Array:
    *hidden, last = layers
    h = x
    for kernel, bias in hidden:
        if kernel.ndim == 4:
            h = jax.lax.conv_general_dilated(
                h, kernel, (2, 2), "SAME", dimension_numbers=DIMENSIONS
            )
            h = jax.nn.relu(h + bias)
        else:
            h = dense(h.reshape(len(h), -1), kernel, bias)
    return h.reshape(len(h), -1) @ last[0] + last[1]


def decode(layers: Tree, z: jax.Array) -> jax.Array:
    *hidden, (kernel, bias) = layers
    h = z
    for each in hidden:
        h = up(h, *each) if each[0].ndim == 4 else dense(h, *each)
        h = jax.nn.relu(h) if each[0].ndim == 4 else h
    return up(h, kernel, bias) if kernel.ndim == 4 else h @ kernel + bias


def dense(h: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    return jax.nn.relu(h @ kernel + bias)


def up(h: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    if h.ndim == 2:
        h = h.reshape(-1, 7, 7, kernel.shape[2])
    return jax.lax.conv_transpose(h, kernel, (2, 2), "SAME", dimension_numbers=DIMENSIONS) + bias


def initial(task: Task, key: jax.Array) -> Tree:
    """Return kernels and biases, variance 1/n."""
    first, second = FILTERS
    if task.network == "mlp":
        encoder = [(PIXELS, HIDDEN), (HIDDEN, 2 * LATENT)]
        decoder = [(LATENT, HIDDEN), (HIDDEN, PIXELS)]
    else:
        grid = 7 * 7 * second
        encoder = [(4, 4, 1, first), (4, 4, first, second), (grid, DENSE), (DENSE, 2 * LATENT)]
        decoder = [(LATENT, DENSE), (DENSE, grid), (4, 4, second, first), (4, 4, first, 1)]
    draw = jax.nn.initializers.lecun_normal()
    keys = iter(jax.random.split(key, len(encoder) + len(decoder)))
    return {
        name: [(draw(next(keys), shape), jnp.zeros(shape[-1])) for shape in shapes]
        for name, shapes in {"encoder": encoder, "decoder": decoder}.items()
    }

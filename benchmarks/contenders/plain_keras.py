"""A VAE in plain Keras, in the manner of Keras's own documentation.

A sampling layer, a `train_step` with a gradient tape and metrics, and `fit` on an array. Nothing
is set that its users do not set.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from contenders import DENSE, FILTERS, HIDDEN, LATENT, RATE, SHAPE, Task


class Sampling(layers.Layer):
    """Draws z from N(mean, exp(log_var)), a number of times."""

    def __init__(self, samples: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.samples = samples
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs: Any) -> Any:
        """Return z [samples, B, 20]."""
        mean, log_var = inputs
        shape = (self.samples, ops.shape(mean)[0], LATENT)
        epsilon = keras.random.normal(shape, seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_var) * epsilon


class PlainVAE(keras.Model):
    """Encoder, decoder, and a custom training step."""

    def __init__(self, encoder: keras.Model, decoder: keras.Model, samples: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.samples = samples
        self.sampling = Sampling(samples)
        self.total_loss_tracker = keras.metrics.Mean(name="loss")
        self.reconstruction_loss_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_loss_tracker = keras.metrics.Mean(name="kl_loss")

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What Keras resets at the start of an epoch."""
        return [
            self.total_loss_tracker,
            self.reconstruction_loss_tracker,
            self.kl_loss_tracker,
        ]

    def train_step(self, data: Any) -> dict[str, Any]:
        """Take a step on a batch."""
        with tf.GradientTape() as tape:
            mean, log_var = self.encoder(data)
            z = self.sampling([mean, log_var])
            reconstruction = self.decoder(ops.reshape(z, (-1, LATENT)))
            target = ops.tile(data, (self.samples, 1, 1, 1))
            errors = keras.losses.binary_crossentropy(target, reconstruction)
            errors = ops.reshape(ops.sum(errors, axis=(1, 2)), (self.samples, -1))
            if self.samples == 1:
                kl = -0.5 * (1 + log_var - ops.square(mean) - ops.exp(log_var))
                kl = ops.sum(kl, axis=1)
                loss = ops.mean(errors[0] + kl)
            else:
                log_q = -0.5 * (log_var + ops.square(z - mean) / ops.exp(log_var))
                kl = ops.sum(log_q + 0.5 * ops.square(z), axis=-1)
                bound = ops.logsumexp(-errors - kl, axis=0) - math.log(self.samples)
                loss = -ops.mean(bound)
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self.total_loss_tracker.update_state(loss)
        self.reconstruction_loss_tracker.update_state(ops.mean(errors))
        self.kl_loss_tracker.update_state(ops.mean(kl))
        return {metric.name: metric.result() for metric in self.metrics}


def trainer(task: Task, x: np.ndarray) -> Callable[[], float]:
    keras.utils.set_random_seed(0)
    vae = PlainVAE(*networks(task), task.samples)
    vae.compile(optimizer=keras.optimizers.Adam(RATE))

    def run() -> float:
        stop = keras.callbacks.EarlyStopping("loss", patience=task.epochs)
        history = vae.fit(
            x, batch_size=task.batch_size, epochs=task.epochs, callbacks=[stop], verbose=1
        )
        return float(history.history["loss"][-1])

    return run


def networks(task: Task) -> tuple[keras.Model, keras.Model]:
    x, z = keras.Input(SHAPE), keras.Input((LATENT,))
    if task.network == "mlp":
        h = layers.Dense(HIDDEN, activation="relu")(layers.Flatten()(x))
        y = layers.Dense(HIDDEN, activation="relu")(z)
        y = layers.Dense(math.prod(SHAPE), activation="sigmoid")(y)
        y = layers.Reshape(SHAPE)(y)
    else:
        first, second = FILTERS
        options: dict[str, Any] = {"strides": 2, "padding": "same"}
        h = layers.Conv2D(first, 4, activation="relu", **options)(x)
        h = layers.Conv2D(second, 4, activation="relu", **options)(h)
        h = layers.Dense(DENSE, activation="relu")(layers.Flatten()(h))
        y = layers.Dense(DENSE, activation="relu")(z)
        y = layers.Dense(7 * 7 * second, activation="relu")(y)
        y = layers.Reshape((7, 7, second))(y)
        y = layers.Conv2DTranspose(first, 4, activation="relu", **options)(y)
        y = layers.Conv2DTranspose(1, 4, activation="sigmoid", **options)(y)
    mean, log_var = layers.Dense(LATENT)(h), layers.Dense(LATENT)(h)
    return keras.Model(x, [mean, log_var]), keras.Model(z, y)

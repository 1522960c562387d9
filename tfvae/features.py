"""The encoder as features: codes for other methods, and a classifier that starts from it."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae import conditions, intake
from tfvae.bayesian.conversion import mean
from tfvae.generation import in_batches
from tfvae.layers.base import DistributionLayer
from tfvae.model import VAE
from tfvae.step import check_count

__all__ = ["PosteriorMean", "classifier", "codes", "twin"]

_BATCH = 1024


def codes(
    vae: VAE, x: Any, condition: Any = None, *, batch_size: int = _BATCH
) -> npt.NDArray[np.floating[Any]]:
    r"""Return the codes of examples: the means of their posteriors, flattened.

    .. math:: \mathrm E_{q(z|x)}[z]

    Args:
        vae: the model.
        x: examples [N, *data], Examples or Records.
        condition: for a conditional encoder, one for each example; Examples bring theirs as y.
        batch_size: examples at a time.

    Returns:
        [N, d], d being the number of values of one z.

    Raises:
        ValueError: for data or conditions that do not fit the model, or an encoder that makes
            NaN or infinity of them.

    Example:
        >>> vae = tfvae.zoo.vae((8, 8), latent_dim=3, hidden=(16,))
        >>> tfvae.features.codes(vae, np.zeros((5, 8, 8))).shape
        (5, 3)
    """
    check_count("batch_size", batch_size)
    examples = intake.examples(vae.likelihood, *vae.beside(x, condition))
    given = None
    if conditions.takes_condition(vae.encoder):
        vae.check_condition(examples, "codes(vae, x, condition=c)")
        given = examples.y if vae.reads_y else None
    found = means(vae, examples.values(), given, batch_size)
    if not np.all(np.isfinite(found)):
        raise ValueError("Expected finite codes. Received: NaN or infinity from the encoder.")
    return found


def means(
    vae: VAE, values: npt.NDArray[Any], condition: Any = None, batch_size: int = _BATCH
) -> npt.NDArray[Any]:
    """Return the means of q(z|x), [N, d], of values [N, *data] that are not checked again."""

    def of_batch(x: tf.Tensor, given: tf.Tensor | None = None) -> tuple[tf.Tensor]:
        return (vae.code(x, condition=vae.given(x, given)),)

    (found,) = in_batches(of_batch, batch_size, values, condition)
    return np.asarray(found).reshape(len(values), -1)


@keras.saving.register_keras_serializable("tfvae")
class PosteriorMean(keras.layers.Layer):
    """The mean of a posterior as a layer of a Keras model: parameters [B, ...] to codes [B, d].

    The posterior's own weights, if it has any, are not trained here.

    Args:
        posterior: a distribution layer.
    """

    def __init__(self, posterior: DistributionLayer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.posterior = posterior
        posterior.trainable = False

    def call(self, params: tf.Tensor) -> tf.Tensor:
        """Return the means, flattened."""
        mean = self.posterior.mean(tf.cast(params, self.posterior.compute_dtype))
        return tf.reshape(mean, [-1, math.prod(self.posterior.event_shape)])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, int]:
        """Return [B, d]."""
        return input_shape[0], math.prod(self.posterior.event_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        posterior = keras.saving.serialize_keras_object(self.posterior)
        return {**super().get_config(), "posterior": posterior}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PosteriorMean:
        """Rebuild a layer from :meth:`get_config`."""
        posterior = keras.saving.deserialize_keras_object(config["posterior"])
        return cls(**config | {"posterior": posterior})


def classifier(
    vae: VAE,
    classes: int,
    hidden: tuple[int, ...] = (),
    *,
    freeze: bool = False,
    activation: str = "relu",
    seed: int = 0,
) -> keras.Model:
    r"""Return a classifier whose first layers are the encoder, up to the posterior's means.

    .. math:: x \mapsto W\, h(\mathrm E_{q(z|x)}[z]) + b

    The encoder is a copy with the same weights, of Bayesian layers with the means of theirs:
    training the classifier leaves `vae` alone. It is an ordinary Keras model; where the encoder
    takes a condition, so does the classifier.

    Args:
        vae: a trained model.
        classes: how many there are.
        hidden: widths of dense layers h between the means and the logits; none by default.
        freeze: train what follows the encoder only, a linear probe by gradient descent.
        activation: of the hidden layers.
        seed: of the weights that are new.

    Returns:
        A model from x [B, *data] to logits [B, classes], to be compiled with
        ``SparseCategoricalCrossentropy(from_logits=True)``.

    Raises:
        ValueError: for fewer than two classes, or widths below 1.
        TypeError: for a hierarchy.

    Example:
        >>> vae = tfvae.zoo.vae((8, 8), latent_dim=3, hidden=(16,))
        >>> model = tfvae.features.classifier(vae, classes=10)
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> model.compile("adam", loss, metrics=["accuracy"])
        >>> x, y = np.zeros((20, 8, 8)), np.arange(20) % 10
        >>> history = model.fit(x, y, verbose=0)

    References:
        Kingma, Rezende, Mohamed and Welling (2014), Semi-supervised learning with deep
        generative models, arXiv:1406.5298 (M1: a classifier on the codes of a VAE).
    """
    if len(vae.latent_priors) != 1:
        raise TypeError(
            "Expected a model with one group of latents, whose means the classifier sees. "
            f"Received: a {type(vae).__name__} of {len(vae.latent_priors)} levels. Classify its "
            "codes: tfvae.features.codes(vae, x)."
        )
    check_count("classes", classes)
    if classes < 2:
        raise ValueError(f"Expected at least two `classes`. Received: classes={classes}.")
    for width in hidden:
        check_count("hidden", width)
    # An ordinary model, whose `fit` gives no seed to draw weights by.
    encoder, posterior = (mean(part) for part in (vae.encoder, vae.posterior))
    encoder.trainable = not freeze
    x = keras.Input(vae.data_shape, name="x")
    given: Any = x
    if conditions.takes_condition(encoder):
        shape, dtype = conditions.spec_of(encoder)
        given = [x, keras.Input(shape, dtype=dtype, name="condition")]
    features = PosteriorMean(posterior, name="posterior_mean")(encoder(given))
    for number, width in enumerate(hidden):
        features = keras.layers.Dense(
            width,
            activation=activation,
            kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 1 + number),
            name=f"hidden_{number}",
        )(features)
    logits = keras.layers.Dense(
        classes,
        kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
        dtype="float64" if vae.likelihood.compute_dtype == "float64" else "float32",
        name="logits",
    )(features)
    return keras.Model(given, logits, name="classifier")


def twin(part: Any) -> Any:
    """Return a copy of a Keras object, with the same weights."""
    config = keras.saving.serialize_keras_object(part)
    copy = keras.saving.deserialize_keras_object(config)
    copy.set_weights(part.get_weights())
    return copy

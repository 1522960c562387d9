"""Mixtures as priors: of Gaussians, and of posteriors at learned pseudo-inputs."""

from __future__ import annotations

import math
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae import layers
from tfvae.layers.base import DistributionLayer, check_event_shape, tfd
from tfvae.layers.mixture import check_components
from tfvae.layers.multivariate import TILT
from tfvae.layers.numerics import SCALE
from tfvae.priors.base import Prior
from tfvae.priors.parametric import Parametric


@keras.saving.register_keras_serializable("tfvae.priors")
class MixtureOfGaussians(Parametric):
    r"""A mixture of Gaussians over the last axis, :math:`\sum_k \pi_k \mathcal N(\mu_k, \Sigma_k)`.

    Learned with the model, or fitted to the aggregate posterior afterwards
    (:meth:`tfvae.VAE.fit_prior`). It has no closed-form KL: the KL is estimated by Monte Carlo.
    A temperature scales the noise inside the components and not the choice among them.

    Args:
        event_shape: the shape of one latent, its last axis d long. The axes before it are
            independent, each with a mixture of its own.
        components: their number, K. All start with weight 1/K and unit variances.
        covariance: ``"diagonal"`` or ``"full"``.
        learn: train the parameters with the model, or keep them.
        spread: standard deviation of the means at the start.
        seed: of the means at the start.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if components < 1, `covariance` is unknown, or `spread` is not positive
            while there are several components, which would then stay alike.

    Example:
        >>> prior = tfvae.priors.MixtureOfGaussians((2,), components=3)
        >>> prior(None).log_prob(tf.zeros([5, 2])).shape
        TensorShape([5])

    References:
        Dilokthanakul et al. (2016), Deep unsupervised clustering with Gaussian mixture VAEs,
        arXiv:1611.02648.
    """

    parts = ()  # the layer is made of the other arguments

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        components: int = 10,
        covariance: Literal["diagonal", "full"] = "diagonal",
        learn: bool = True,
        spread: float = 1.0,
        seed: int = 0,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        layer = layers.MixtureOfGaussians(
            event_shape, components=components, covariance=covariance, dtype=dtype
        )
        if not (math.isfinite(spread) and (spread > 0 or components == 1)):
            raise ValueError(
                "Expected `spread` to be a positive number, for components that start alike stay "
                f"alike. Received: spread={spread!r}."
            )
        self.components, self.covariance = components, covariance
        self.spread, self.seed = spread, seed
        super().__init__(layer, learn=learn, name=name, dtype=dtype, trainable=trainable)

    def initial(self) -> npt.NDArray[np.float64]:
        """Return raw outputs of even weights, spread means and unit variances."""
        *rows, size = self.event_shape
        shape = (*rows, self.components, size)
        loc = np.random.default_rng(self.seed).normal(0.0, self.spread, shape)
        return self._raw_of(np.ones(shape[:-1]), loc, np.broadcast_to(np.eye(size), (*shape, size)))

    def assign(self, weights: npt.ArrayLike, loc: npt.ArrayLike, covariance: npt.ArrayLike) -> None:
        """Set the mixture.

        Args:
            weights: positive, [..., K]; they need not sum to 1.
            loc: means, [..., K, d].
            covariance: covariances, [..., K, d, d]; of diagonal components the diagonals count.

        Raises:
            ValueError: if a weight is not positive, a value is not finite, or a covariance is not
                positive definite.
        """
        weights, loc, covariance = (np.asarray(v, np.float64) for v in (weights, loc, covariance))
        finite = all(np.all(np.isfinite(v)) for v in (weights, loc, covariance))
        if not finite or np.any(weights <= 0):
            raise ValueError(
                "Expected positive weights, and finite means and covariances. Received: "
                f"weights from {weights.min()}, means from {loc.min()} to {loc.max()}."
            )
        if self.covariance == "diagonal":
            covariance = covariance * np.eye(self.event_shape[-1])
        try:
            tril = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError as error:
            raise ValueError("Expected `covariance` to hold positive definite matrices.") from error
        self.raw.assign(self._raw_of(weights, loc, tril))

    def _raw_of(self, weights: Any, loc: Any, tril: Any) -> npt.NDArray[np.float64]:
        """Return the raw outputs of the layer that make this mixture."""
        scale = np.diagonal(tril, axis1=-2, axis2=-1)
        blocks = [np.log(weights)[..., None], loc, SCALE.inverse(np.maximum(scale, 2e-4))]
        if self.covariance == "full":
            below = np.tril_indices(self.event_shape[-1], -1)
            tilts = TILT.inverse((tril / scale[..., None])[..., *below])
            blocks.append(math.sqrt(self.event_shape[-1]) * tilts)
        flat = [block.reshape((*self.event_shape[:-1], -1)) for block in blocks]
        return np.concatenate(flat, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config = super().get_config()
        del config["values"]
        own = ("components", "covariance", "spread", "seed")
        return {**config, **{name: getattr(self, name) for name in own}}


@keras.saving.register_keras_serializable("tfvae.priors")
class VampPrior(Prior):
    r"""A mixture of the posteriors at learned pseudo-inputs.

    .. math:: p(z) = \frac1K \sum_{k=1}^K q(z|u_k)

    The variational mixture of posteriors: encoder and posterior are those of the VAE, shared,
    and the pseudo-inputs u are trained with them. It has no closed-form KL: the KL is estimated
    by Monte Carlo. The encoder runs on all K pseudo-inputs in every pass, outside of training
    mode (Dropout is off, BatchNormalization uses its moving averages).

    Args:
        encoder: the VAE's encoder, the very same model.
        posterior: the VAE's posterior layer, the very same layer.
        data_shape: the shape of one x.
        components: the number of pseudo-inputs, K.
        low: the least value of a pseudo-input; None where data have no bounds.
        high: the greatest one.
        seed: of the pseudo-inputs at the start, uniform between the bounds or standard normal.
            :meth:`start_from` starts them at examples.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        TypeError: if `encoder` is not a Keras model or `posterior` not a distribution layer.
        ValueError: if components < 1, or the posterior has no density that can be evaluated at
            the draws of another, or no map from base noise to draws.

    Example:
        >>> posterior = tfvae.layers.Normal((2,))
        >>> encoder = tfvae.networks.mlp_encoder((8, 8), posterior.params_shape, hidden=(16,))
        >>> prior = tfvae.priors.VampPrior(encoder, posterior, (8, 8), components=5)
        >>> prior(None).log_prob(tf.zeros([3, 2])).shape
        TensorShape([3])

    References:
        Tomczak and Welling (2018), VAE with a VampPrior, arXiv:1705.07120.
    """

    parts = ("encoder", "posterior")

    def __init__(
        self,
        encoder: keras.Model,
        posterior: DistributionLayer,
        data_shape: tuple[int, ...],
        *,
        components: int = 500,
        low: float | None = None,
        high: float | None = None,
        seed: int = 0,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        if not isinstance(encoder, keras.layers.Layer):
            raise TypeError(f"Expected `encoder` to be a Keras model. Received: {encoder!r}.")
        self._check_layer(posterior, "posterior")
        check_components(components)
        if not (posterior.has_density and posterior.pointwise and posterior.noise):
            raise ValueError(
                "Expected a posterior with a density at any value and a map from noise to draws, "
                f"of which a VampPrior is a mixture. Received: {type(posterior).__name__}."
            )
        if low is not None and high is not None and not low < high:
            raise ValueError(
                f"Expected `low` to be less than `high`. Received: low={low!r}, high={high!r}."
            )
        super().__init__(posterior.event_shape, name=name, dtype=dtype, trainable=trainable)
        self.encoder, self.posterior = encoder, posterior
        self.data_shape = check_event_shape(data_shape)
        self.components, self.low, self.high, self.seed = components, low, high, seed
        self._take_after(posterior)
        self.choices = 1 + posterior.choices
        self.pseudo_inputs = self.add_weight(
            shape=(components, *self.data_shape),
            initializer=lambda shape, dtype: tf.constant(self._initial(shape), dtype),
            name="pseudo_inputs",
        )
        try:
            emitted = tuple(encoder(tf.zeros([1, *self.data_shape])).shape[1:])
        except Exception as error:  # whatever a layer of the user's raises
            raise ValueError(
                f"Expected `encoder` to take examples of shape {self.data_shape}, as data_shape "
                f"says. Received: one that failed on zeros: {str(error).splitlines()[0]}"
            ) from error
        if emitted != posterior.params_shape:
            raise ValueError(
                f"Expected `encoder` to emit the parameters of {type(posterior).__name__}, shape "
                f"{posterior.params_shape}. Received: one that emits shape {emitted}."
            )

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """A uniform that chooses the component, and the noise of its draw."""
        return (1 + math.prod(self.posterior.noise_shape),)

    def start_from(self, x: npt.ArrayLike) -> None:
        """Set the pseudo-inputs to examples [N, *data_shape], N >= components, evenly spaced."""
        x = np.asarray(x)
        if x.shape[1:] != self.data_shape or len(x) < self.components:
            raise ValueError(
                f"Expected `x` to be at least {self.components} examples of shape "
                f"{self.data_shape}, one for each component. Received: x of shape {x.shape}."
            )
        if not np.all(np.isfinite(x)):
            raise ValueError("Expected `x` to be finite. Received: NaN or infinity.")
        self.pseudo_inputs.assign(x[np.linspace(0, len(x) - 1, self.components).astype(int)])

    def call(self, condition: tf.Tensor | None = None) -> Any:
        """Return the mixture, batch shape []."""
        params = self._params()
        weights = tfd.Categorical(logits=tf.zeros([self.components], params.dtype))
        return tfd.MixtureSameFamily(weights, self.posterior(params))

    def transform(self, noise: tf.Tensor, params: tf.Tensor | None = None) -> tf.Tensor:
        """Return the draw of the component that the first uniform chooses."""
        # In (0, 1) in steps of 2^-23: the product stays below the number of components.
        index = tf.cast(noise[..., 0] * self.components, tf.int32)
        chosen = tf.gather(self._params(), index)
        shape = tf.concat([tf.shape(noise)[:-1], self.posterior.noise_shape], axis=0)
        return self.posterior.transform(tf.reshape(noise[..., 1:], shape), chosen)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = ("data_shape", "components", "low", "high", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}

    def _params(self) -> tf.Tensor:
        x = tf.convert_to_tensor(self.pseudo_inputs)
        if self.low is not None or self.high is not None:
            low = -math.inf if self.low is None else self.low
            x = tf.clip_by_value(x, low, math.inf if self.high is None else self.high)
        return tf.cast(self.encoder(x, training=False), self.posterior.compute_dtype)

    def _initial(self, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        rng = np.random.default_rng(self.seed)
        if self.low is None or self.high is None:
            return rng.normal(size=shape)
        return rng.uniform(self.low, self.high, shape)

"""Keras layers whose kernel and bias have a diagonal Normal posterior."""

from __future__ import annotations

import math
from typing import Any, Literal

import keras
import tensorflow as tf

from tfvae import random
from tfvae.bayesian.sampling import Sampling, current
from tfvae.objectives import Schedule, check_choice
from tfvae.objectives.base import check_number
from tfvae.objectives.schedules import check_weight

Estimator = Literal["auto", "local", "flipout"]
ESTIMATORS = ("auto", "local", "flipout")

# Below it a variance counts as 0: the square root's slope stays finite where all inputs are 0.
_TINY = 1e-30


class Bayesian(keras.layers.Layer):
    r"""What makes a layer with a kernel Bayesian; placed before the layer among the bases.

    .. math:: q(w) = \mathcal N(\mu, \operatorname{diag} \sigma^2), \qquad
        p(w) = \mathcal N(0, s^2 I)

    Where weights are drawn (in training, in ``evaluate``, and within
    :func:`tfvae.bayesian.sampling`), every example meets weights of its own. Elsewhere they are
    their means. Two estimators have the same expectation:

    - *local reparameterisation* draws the layer's sums in place of its weights, each from its own
      Normal: the least variance. It is exact where an example meets each weight once, for inputs
      [batch, features]. Where weights are shared by positions or samples, its draws are of
      independent weights, which is an approximation.
    - *Flipout* draws one perturbation of the weights for a batch, and random signs for each
      example, which decorrelate the examples: exact wherever weights are shared.

    Args:
        *args: as the layer takes them.
        estimator: ``"local"``, ``"flipout"``, or ``"auto"``: local where it is exact, Flipout
            elsewhere.
        prior_scale: s, the prior's standard deviation.
        learn_prior: whether to learn s as well, one for the layer, from `prior_scale` on.
        initial_scale: sigma of all weights at first. Means begin as the layer's initialisers say.
        kl_weight: weight of KL(q‖p) in the loss, a number or a schedule; 1 gives the bound, a
            schedule from 0 to 1 a warm-up, less than 1 a cold posterior.
        **kwargs: as the layer takes them.

    Raises:
        ValueError: for an unknown estimator, scales that are not positive, or a negative weight.

    References:
        Kingma and Welling (2014), Auto-encoding variational Bayes, appendix F, arXiv:1312.6114.
        Blundell et al. (2015), Weight uncertainty in neural networks, arXiv:1505.05424.
        Kingma, Salimans and Welling (2015), Variational dropout and the local
        reparameterization trick, arXiv:1506.02557.
        Wen et al. (2018), Flipout, arXiv:1803.04386.
    """

    def __init__(
        self,
        *args: Any,
        estimator: Estimator = "auto",
        prior_scale: float = 1.0,
        learn_prior: bool = False,
        initial_scale: float = 0.01,
        kl_weight: float | Schedule = 1.0,
        **kwargs: Any,
    ) -> None:
        check_choice("estimator", estimator, ESTIMATORS)
        for argument, value in (("prior_scale", prior_scale), ("initial_scale", initial_scale)):
            check_scale(argument, value)
        if isinstance(kl_weight, dict):  # as a configuration has it
            kl_weight = keras.saving.deserialize_keras_object(kl_weight)
        check_weight("kl_weight", kl_weight)
        super().__init__(*args, **kwargs)
        self.estimator = estimator
        self.prior_scale = prior_scale
        self.learn_prior = bool(learn_prior)
        self.initial_scale = initial_scale
        self.kl_weight = kl_weight

    def build(self, input_shape: Any) -> None:
        """Create the means as the layer does, and the scales beside them."""
        super().build(input_shape)
        # softplus(raw) = sigma, kept at full precision under a half-precision policy.
        raw = math.log(math.expm1(self.initial_scale))
        self.raw_scales = [
            self._own(f"{part}_raw_scale", mean.shape, raw)
            for part, mean in zip(("kernel", "bias"), self.means, strict=False)
        ]
        if self.learn_prior:
            self.log_prior_scale = self._own("log_prior_scale", (), math.log(self.prior_scale))

    def _own(self, name: str, shape: Any, value: float) -> keras.Variable:
        half = keras.backend.standardize_dtype(self.variable_dtype) in ("float16", "bfloat16")
        return self.add_weight(
            name=name,
            shape=shape,
            dtype="float32" if half else None,
            initializer=keras.initializers.Constant(value),
            autocast=False,
        )

    @property
    def means(self) -> list[keras.Variable]:
        """The means of q(w): of the kernel, and of the bias if there is one."""
        return [self._kernel] if self.bias is None else [self._kernel, self.bias]

    @property
    def extras(self) -> list[keras.Variable]:
        """The weights that the layer would not have were it not Bayesian."""
        return [*self.raw_scales, *([self.log_prior_scale] if self.learn_prior else [])]

    def scales(self) -> list[tf.Tensor]:
        """Return sigma of the kernel, and of the bias if there is one."""
        return [tf.nn.softplus(tf.convert_to_tensor(raw.value)) for raw in self.raw_scales]

    def kl(self) -> tf.Tensor:
        """Return KL(q(w)‖p(w)) in nats, summed over the weights: a scalar."""
        log_prior = tf.constant(math.log(self.prior_scale), self.raw_scales[0].dtype)
        if self.learn_prior:
            log_prior = tf.convert_to_tensor(self.log_prior_scale.value)
        parts = []
        for mean, scale in zip(self.means, self.scales(), strict=True):
            squares = scale**2 + tf.cast(tf.convert_to_tensor(mean.value), scale.dtype) ** 2
            each = squares * tf.exp(-2 * log_prior) - 1 - 2 * (tf.math.log(scale) - log_prior)
            parts.append(0.5 * tf.reduce_sum(each))
        return tf.add_n(parts)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Apply the layer with the weights' means, or with weights that are drawn.

        Raises:
            RuntimeError: in training where there is no seed to draw by, and where the draws would
                be built into a compiled function.
        """
        drawn = current()
        if drawn is None and training:
            raise RuntimeError(
                f"Expected a seed for the weights of {self.name!r}. Received: training=True "
                "without one. `fit` gives it by itself; around a pass of your own write "
                "`with tfvae.bayesian.sampling(seed):`, or pass training=False for the means."
            )
        if drawn is None:
            return super().call(inputs)
        seed = drawn.of(self)
        inputs = tf.convert_to_tensor(inputs, dtype=self.compute_dtype)
        once = drawn.samples == 1 and inputs.shape.rank == 2
        local = self.estimator == "local" or (self.estimator == "auto" and once)
        sums = (self._local if local else self._flipout)(inputs, drawn, seed)
        return sums if self.activation is None else self.activation(sums)

    def linear(self, inputs: Any, kernel: Any) -> Any:
        """Apply a kernel, without bias or activation."""
        raise NotImplementedError

    def _local(self, inputs: tf.Tensor, drawn: Sampling, seed: tf.Tensor) -> tf.Tensor:
        mean = self.linear(inputs, self.kernel)
        # Squares leave the range of half precision.
        kernel, *bias = (tf.square(scale) for scale in self.scales())
        variance = self.linear(tf.square(tf.cast(inputs, kernel.dtype)), kernel)
        if bias:
            mean = mean + self._spread(tf.convert_to_tensor(self.bias), mean)
            variance = variance + self._spread(bias[0], mean)
        shape = tuple(mean.shape[1:])
        if None in shape:
            raise ValueError(
                f'Expected inputs of known size for estimator="local". Received: {self.name!r} '
                f'with outputs of shape {tuple(mean.shape)}. Use estimator="flipout".'
            )
        noise = tf.cast(drawn.each_row(seed, _rows(inputs), shape), variance.dtype)
        spread = tf.sqrt(tf.maximum(variance, _TINY)) * noise
        return mean + tf.cast(spread, mean.dtype)

    def _flipout(self, inputs: tf.Tensor, drawn: Sampling, seed: tf.Tensor) -> tf.Tensor:
        part, out, shared, own = (random.fold(seed, number) for number in range(4))
        kernel, *bias = self.scales()
        rows, dtype = _rows(inputs), inputs.dtype
        mean = self.linear(inputs, self.kernel)
        # The same for all examples, and on all replicas.
        noise = random.noise("normal", shared, 1, 1, tuple(kernel.shape))[0, 0]
        perturbation = tf.cast(kernel * tf.cast(noise, kernel.dtype), dtype)
        signs = [
            self._spread(tf.cast(drawn.signs(key, rows, each.shape[self._channels]), dtype), each)
            for key, each in ((part, inputs), (out, mean))
        ]
        sums = mean + self.linear(inputs * signs[0], perturbation) * signs[1]
        if bias:
            # So small that each example can have its own.
            noise = tf.cast(drawn.each_example(own, rows, tuple(bias[0].shape)), bias[0].dtype)
            sums = sums + self._spread(tf.convert_to_tensor(self.bias), sums)
            sums = sums + self._spread(tf.cast(bias[0] * noise, dtype), sums)
        return sums

    @property
    def _channels(self) -> int:
        return 1 if getattr(self, "data_format", None) == "channels_first" else -1

    def _spread(self, values: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """Reshape values [C] or [rows, C] so that they meet the channels of another tensor."""
        sizes = [1] * like.shape.rank
        sizes[self._channels] = values.shape[-1]
        if values.shape.rank == 2:
            sizes[0] = -1
        return tf.reshape(values, sizes)

    def save_own_variables(self, store: Any) -> None:
        """Save all variables; Keras's own layers would write kernel and bias alone."""
        for index, variable in enumerate(self._own_variables):
            store[str(index)] = variable

    def load_own_variables(self, store: Any) -> None:
        """Load what :meth:`save_own_variables` wrote.

        Raises:
            ValueError: unless it is as many variables as the layer has.
        """
        variables = self._own_variables
        if len(store.keys()) != len(variables):
            raise ValueError(
                f"Expected {len(variables)} weights of {self.name!r}. Received: a file with "
                f"{len(store.keys())}."
            )
        for index, variable in enumerate(variables):
            variable.assign(store[str(index)])

    @property
    def _own_variables(self) -> list[keras.Variable]:
        return [*self.means, *self.extras] if self.built else []

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments and its own."""
        return {
            **super().get_config(),
            "estimator": self.estimator,
            "prior_scale": self.prior_scale,
            "learn_prior": self.learn_prior,
            "initial_scale": self.initial_scale,
            "kl_weight": keras.saving.serialize_keras_object(self.kl_weight),
        }


@keras.saving.register_keras_serializable("tfvae")
class BayesianDense(Bayesian, keras.layers.Dense):
    """A dense layer with a posterior over its weights; see :class:`Bayesian`.

    Args:
        *args: as of ``keras.layers.Dense``.
        **kwargs: as of ``keras.layers.Dense``, and as of :class:`Bayesian`.

    Example:
        >>> decoder = keras.Sequential(
        ...     [
        ...         keras.Input((2,)),
        ...         tfvae.bayesian.BayesianDense(16, activation="relu"),
        ...         tfvae.bayesian.BayesianDense(9, prior_scale=0.5, estimator="flipout"),
        ...     ]
        ... )
        >>> decoder(tf.zeros([3, 2])).shape
        TensorShape([3, 9])
    """

    def linear(self, inputs: Any, kernel: Any) -> Any:
        """Return the product with a kernel."""
        return keras.ops.matmul(inputs, kernel)


@keras.saving.register_keras_serializable("tfvae")
class BayesianConv2D(Bayesian, keras.layers.Conv2D):
    """A convolution with a posterior over its weights; see :class:`Bayesian`.

    Args:
        *args: as of ``keras.layers.Conv2D``.
        **kwargs: as of ``keras.layers.Conv2D``, and as of :class:`Bayesian`.

    Example:
        >>> layer = tfvae.bayesian.BayesianConv2D(8, 3, padding="same")
        >>> layer(tf.zeros([2, 5, 5, 1])).shape
        TensorShape([2, 5, 5, 8])
    """

    def linear(self, inputs: Any, kernel: Any) -> Any:
        """Return the convolution with a kernel."""
        return self.convolution_op(inputs, kernel)


@keras.saving.register_keras_serializable("tfvae")
class BayesianConv2DTranspose(Bayesian, keras.layers.Conv2DTranspose):
    """A transposed convolution with a posterior over its weights; see :class:`Bayesian`.

    Args:
        *args: as of ``keras.layers.Conv2DTranspose``.
        **kwargs: as of ``keras.layers.Conv2DTranspose``, and as of :class:`Bayesian`.

    Example:
        >>> layer = tfvae.bayesian.BayesianConv2DTranspose(8, 4, strides=2, padding="same")
        >>> layer(tf.zeros([2, 5, 5, 1])).shape
        TensorShape([2, 10, 10, 8])
    """

    @property
    def _kernel(self) -> keras.Variable:
        return self.kernel

    def linear(self, inputs: Any, kernel: Any) -> Any:
        """Return the transposed convolution with a kernel."""
        return keras.ops.conv_transpose(
            inputs,
            kernel,
            strides=list(self.strides),
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )


def _rows(inputs: tf.Tensor) -> Any:
    return tf.shape(inputs, tf.int64)[0] if inputs.shape[0] is None else int(inputs.shape[0])


def layers_of(model: Any) -> list[Bayesian]:
    """Return the Bayesian layers of a model, each once, in the order of its layers."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, Bayesian)]


def check_scale(argument: str, value: float) -> None:
    """Raise a ``ValueError`` unless a value is a positive number."""
    check_number(argument, value, minimum=0)
    if not value:
        raise ValueError(f"Expected `{argument}` to be more than 0. Received: {argument}=0.")

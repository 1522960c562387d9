"""Autoregressive flows: each element's affine map is set by the elements before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfvae.layers.flow_maps import Affine
from tfvae.layers.flow_steps import Autoregressive, Inverse, NetworkFlow


@keras.saving.register_keras_serializable("tfvae")
class IAF(NetworkFlow):
    r"""Inverse autoregressive flow, :math:`y_i = e^{s_i(x_{<i}, c)} x_i + t_i(x_{<i}, c)`.

    Draws, and log-densities of own draws, take one pass of each step's MADE: a posterior for
    training. The log-density of any other value takes d passes, so that gradients at
    ``stop_gradient(z)`` (sticking the landing, DReG) cost d times as much.

    Args:
        event_shape: the shape of one draw, its last axis d long. The network emits
            ``[loc | raw scale | context]``, 2 d + context values.
        steps: how many, at least 1. The order is reversed from one to the next. Log scales s are
            bounded to (-3, 3).
        hidden: units of the hidden layers of each step's network; `()` makes it linear.
        context: how many numbers c of each last axis the network passes to the steps.
        seed: of the initial weights, which make it nearly the Normal.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if `steps` < 1, `context` < 0, `seed` < 0, or `hidden` holds anything but
            positive integers.

    Example:
        >>> layer = tfvae.layers.IAF((8,), context=16)
        >>> layer.params_shape
        (32,)
        >>> z, q = layer.draw(tf.ones([5, 3, 8]), tf.zeros([3, 32]))
        >>> q.log_prob(z).shape
        TensorShape([5, 3])

    References:
        Kingma et al. (2016), Improving variational inference with inverse autoregressive flow,
        arXiv:1606.04934.
        Germain et al. (2015), MADE: masked autoencoder for distribution estimation,
        arXiv:1502.03509.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        steps: int = 2,
        hidden: Sequence[int] = (64,),
        context: int = 16,
        seed: int = 0,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(
            event_shape, _forward, steps=steps, hidden=hidden, context=context, seed=seed,
            name=name, dtype=dtype, trainable=trainable,
        )  # fmt: skip


@keras.saving.register_keras_serializable("tfvae")
class MAF(NetworkFlow):
    r"""Masked autoregressive flow: the density in one pass, a draw in d.

    :math:`x_i = e^{s_i(y_{<i}, c)} y_i + t_i(y_{<i}, c)` leads from a draw y back to the base, so
    that the log-density of any value is cheap: a prior, or a density of data. Sampling goes
    through the elements one by one, in a graph d times as large: it is for some hundred at most.

    Args:
        event_shape: the shape of one draw, its last axis d long. The network emits
            ``[loc | raw scale | context]``, 2 d + context values.
        steps: how many, at least 1. The order is reversed from one to the next. Log scales s are
            bounded to (-3, 3).
        hidden: units of the hidden layers of each step's network; `()` makes it linear.
        context: how many numbers c of each last axis the network passes to the steps.
        seed: of the initial weights, which make it nearly the Normal.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if `steps` < 1, `context` < 0, `seed` < 0, or `hidden` holds anything but
            positive integers.

    Example:
        >>> prior = tfvae.priors.Parametric(tfvae.layers.MAF((2,)))
        >>> prior(None).log_prob(tf.zeros([5, 2])).shape
        TensorShape([5])

    References:
        Papamakarios, Pavlakou and Murray (2017), Masked autoregressive flow for density
        estimation, arXiv:1705.07057.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        steps: int = 2,
        hidden: Sequence[int] = (64,),
        context: int = 0,
        seed: int = 0,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(
            event_shape, _inverse, steps=steps, hidden=hidden, context=context, seed=seed,
            name=name, dtype=dtype, trainable=trainable,
        )  # fmt: skip


def _forward(size: int, **network: Any) -> Autoregressive:
    return Autoregressive(size, Affine(), **network)


def _inverse(size: int, **network: Any) -> Inverse:
    return Inverse(_forward(size, **network))

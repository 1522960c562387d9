"""Coupling flows: one half of the last axis sets the maps of the other, fast both ways."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from tfvae.layers.base import check_event_shape
from tfvae.layers.flow import check_count
from tfvae.layers.flow_maps import Affine, Map, RationalQuadratic
from tfvae.layers.flow_steps import Coupling, NetworkFlow


class CouplingFlow(NetworkFlow):
    """A flow of coupling steps; the halves take turns.

    Args:
        event_shape: the shape of one draw, its last axis at least 2 long.
        maps: what the steps do to each element.
        **options: what :class:`NetworkFlow` takes.

    Raises:
        ValueError: if the last axis has no two halves.
    """

    def __init__(self, event_shape: tuple[int, ...] | int, maps: Map, **options: Any) -> None:
        if check_event_shape(event_shape)[-1] < 2:
            raise ValueError(
                "Expected `event_shape` with a last axis of at least 2, whose halves are coupled. "
                f"Received: event_shape={event_shape!r}. Use MAF, IAF or Planar."
            )

        def make(size: int, **network: Any) -> Coupling:
            return Coupling(size, maps, **network)

        super().__init__(event_shape, make, **options)


@keras.saving.register_keras_serializable("tfvae")
class RealNVP(CouplingFlow):
    r"""Real NVP: affine coupling, :math:`y_b = e^{s(x_a, c)} \odot x_b + t(x_a, c)`.

    Draws and log-densities of any value take one pass of each step: for posteriors, for priors,
    and with every objective.

    Args:
        event_shape: the shape of one draw, its last axis d long, at least 2. The network emits
            ``[loc | raw scale | context]``, 2 d + context values.
        steps: how many, at least 1; the halves take turns. Log scales s are bounded to (-3, 3).
        hidden: units of the hidden layers of each step's network; `()` makes it linear.
        context: how many numbers c of each last axis the network passes to the steps.
        seed: of the initial weights, which make it nearly the Normal.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if the last axis has less than 2 elements, `steps` < 1, `context` < 0,
            `seed` < 0, or `hidden` holds anything but positive integers.

    Example:
        >>> prior = tfvae.priors.Parametric(tfvae.layers.RealNVP((2,)))
        >>> prior(None).sample(5, seed=0).shape
        TensorShape([5, 2])

    References:
        Dinh, Sohl-Dickstein and Bengio (2017), Density estimation using Real NVP,
        arXiv:1605.08803.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        steps: int = 4,
        hidden: Sequence[int] = (64,),
        context: int = 0,
        seed: int = 0,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(
            event_shape, Affine(), steps=steps, hidden=hidden, context=context, seed=seed,
            name=name, dtype=dtype, trainable=trainable,
        )  # fmt: skip


@keras.saving.register_keras_serializable("tfvae")
class NeuralSpline(CouplingFlow):
    r"""Neural spline flow: coupling by monotone rational-quadratic splines.

    Each step bends one half of the elements within [-bound, bound] and leaves what lies outside:
    an element can become multimodal in a single step. Draws and log-densities of any value take
    one pass of each step.

    Args:
        event_shape: the shape of one draw, its last axis d long, at least 2. The network emits
            ``[loc | raw scale | context]``, 2 d + context values.
        steps: how many, at least 1; the halves take turns.
        bins: pieces of each spline, at least 2. A piece is at least a hundredth of an even share
            wide and high, and slopes at the knots lie in (0.01, 20).
        bound: half the length of the interval in which the splines bend, positive.
        hidden: units of the hidden layers of each step's network; `()` makes it linear.
        context: how many numbers c of each last axis the network passes to the steps.
        seed: of the initial weights, which make it nearly the Normal.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if the last axis has less than 2 elements, `steps` < 1, `bins` < 2, `bound`
            is not positive, `context` < 0, `seed` < 0, or `hidden` holds anything but positive
            integers.

    Example:
        >>> layer = tfvae.layers.NeuralSpline((2,), bins=8, bound=3.0)
        >>> z = layer.transform(tf.constant([[20.0, -20.0]]), tf.zeros([1, 4]))
        >>> np.round(z, 2)  # outside the bound: softplus(0) = 0.69 times the noise
        array([[ 13.86, -13.86]], dtype=float32)

    References:
        Durkan, Bekasov, Murray and Papamakarios (2019), Neural spline flows, arXiv:1906.04032.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        steps: int = 2,
        bins: int = 8,
        bound: float = 5.0,
        hidden: Sequence[int] = (64,),
        context: int = 0,
        seed: int = 0,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        check_count("bins", bins, minimum=2)
        if not (math.isfinite(bound) and bound > 0):
            raise ValueError(
                f"Expected `bound` to be a positive number. Received: bound={bound!r}."
            )
        super().__init__(
            event_shape, RationalQuadratic(bins, bound), steps=steps, hidden=hidden,
            context=context, seed=seed, name=name, dtype=dtype, trainable=trainable,
        )  # fmt: skip
        self.bins = bins
        self.bound = bound

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "bins": self.bins, "bound": self.bound}

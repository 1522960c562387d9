"""Penalties on the codes themselves, for autoencoders whose posterior has no density."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from tfvae.layers.support import Support
from tfvae.objectives.base import Capability, Objective, batch_mean, check_number
from tfvae.trace import Trace


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class CodeNorm(Objective):
    r"""Half the squared length of the code, which keeps a regularised autoencoder's codes near 0.

    .. math:: \frac1S \sum_s \tfrac12 \|z_s\|^2

    It is what a standard normal prior asks of a point. Of all groups of latents the sum is taken.

    Example:
        >>> from tfvae import objectives
        >>> regularised = objectives.Reconstruction() + 0.1 * objectives.CodeNorm()

    References:
        Ghosh et al. (2020), From variational to deterministic autoencoders, arXiv:1903.12436.
    """

    @property
    def requires(self) -> frozenset[Capability]:
        """Draws that gradients flow through; no density."""
        return frozenset({"reparameterised"})

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the penalty, [B]."""
        return _summed(trace, lambda z: 0.5 * tf.square(z))


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class L1Code(Objective):
    r"""The sum of the code's absolute values, which sets most of them to 0: a sparse code.

    .. math:: \frac1S \sum_s \|z_s\|_1

    Of all groups of latents the sum is taken.

    Example:
        >>> from tfvae import objectives
        >>> sparse = objectives.Reconstruction() + 0.1 * objectives.L1Code()

    References:
        Olshausen and Field (1996), Emergence of simple-cell receptive field properties by
        learning a sparse code for natural images, Nature 381.
    """

    @property
    def requires(self) -> frozenset[Capability]:
        """Draws that gradients flow through; no density."""
        return frozenset({"reparameterised"})

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the penalty, [B]."""
        return _summed(trace, tf.abs)


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class KLSparsity(Objective):
    r"""How far the mean activation of each value of the code is from a low one.

    .. math:: \beta \sum_j \mathrm{KL}(\rho \| \hat\rho_j)
        = \beta \sum_j \rho \log \frac{\rho}{\hat\rho_j}
        + (1 - \rho) \log \frac{1 - \rho}{1 - \hat\rho_j}

    where :math:`\hat\rho_j` is the mean of value j over the batch, in which examples have their
    weights. Values lie in [0, 1], as those of ``Deterministic(shape, activation="sigmoid")`` do.
    It is a quantity of the batch: its gradient depends on how large that is, and on how many
    replicas share it.

    Args:
        rho: the mean activation that is wanted, in (0, 1).
        beta: the weight of the penalty.

    Raises:
        ValueError: for a `rho` that is not in (0, 1), or a `beta` that is negative.

    Example:
        >>> from tfvae import objectives
        >>> sparse = objectives.Reconstruction() + objectives.KLSparsity(rho=0.05, beta=3.0)

    References:
        Ng (2011), Sparse autoencoder, CS294A lecture notes.
    """

    rho: float = 0.05
    beta: float = 1.0

    def __post_init__(self) -> None:
        check_number("rho", self.rho, 0, 1)
        if self.rho in (0, 1):
            raise ValueError(f"Expected `rho` to be between 0 and 1. Received: rho={self.rho}.")
        check_number("beta", self.beta, 0)

    @property
    def requires(self) -> frozenset[Capability]:
        """Draws that gradients flow through; no density."""
        return frozenset({"reparameterised"})

    @property
    def codes(self) -> frozenset[Support]:
        """Values in [0, 1]."""
        return frozenset({Support.UNIT})

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the penalty, a scalar."""
        return self.beta * tf.add_n(
            [
                tf.reduce_sum(self._divergence(batch_mean(trace, tf.reduce_mean(latent.z, axis=0))))
                for latent in trace.latents
            ]
        )

    def _divergence(self, mean: tf.Tensor) -> tf.Tensor:
        # A sigmoid of float32 reaches 0 and 1.
        mean = tf.clip_by_value(mean, 1e-6, 1 - 1e-6)
        on, off = self.rho, 1 - self.rho
        entropy = on * math.log(on) + off * math.log(off)
        return entropy - on * tf.math.log(mean) - off * tf.math.log1p(-mean)


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class Contraction(Objective):
    r"""The squared derivative of the code by the data, which keeps codes from following noise.

    .. math:: \sum_{j, i} \Bigl(\frac{\partial h_j(x)}{\partial x_i}\Bigr)^2

    of the code h, the posterior's mean, where the encoder is as in inference. It is exact: one
    backward pass for each value of the code.

    Example:
        >>> from tfvae import objectives
        >>> contractive = objectives.Reconstruction() + 0.1 * objectives.Contraction()

    References:
        Rifai et al. (2011), Contractive auto-encoders: explicit invariance during feature
        extraction, ICML.
    """

    @property
    def requires(self) -> frozenset[Capability]:
        """Any posterior with a mean will do."""
        return frozenset()

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the squared Frobenius norm, [B].

        Raises:
            ValueError: for a family of models whose codes have no derivative by the data.
        """
        if trace.jacobian is None:
            raise ValueError(
                "Expected a model whose code is a function of each example, for which "
                "Contraction is defined. Received: one whose trace has no `jacobian`."
            )
        jacobian = trace.jacobian()
        return tf.reduce_sum(tf.square(jacobian), axis=list(range(1, jacobian.shape.rank)))


def _summed(trace: Trace, penalty: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Return a penalty of each value of the codes: the sum over values, the mean over samples."""
    each = [penalty(latent.z) for latent in trace.latents]
    sums = [tf.reduce_sum(value, axis=list(range(2, value.shape.rank))) for value in each]
    return tf.reduce_mean(tf.add_n(sums), axis=0)

"""What every prior is, and the standard normal one."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import keras
import tensorflow as tf

from tfvae import random
from tfvae.layers.base import DistributionLayer, tfd


class Prior(DistributionLayer):
    """A distribution over latents with no parameters from the encoder, learnable or not.

    Called with a condition c where it is conditional, p(z|c), else with None. A prior that is a
    map of base noise draws through ``transform(noise, condition)``.

    Attributes:
        conditional: whether the prior is p(z|c), and c is asked for wherever it is used.
        parts: the constructor's arguments that are layers or networks; where there are some, the
            event's shape comes from one of them.
    """

    blocks = 0
    conditional: bool = False
    parts: ClassVar[tuple[str, ...]] = ()

    @property
    def params_shape(self) -> tuple[int, ...]:
        """The empty tuple: no network feeds a prior."""
        return ()

    def call(self, condition: tf.Tensor | None = None) -> Any:
        """Return the distribution: batch shape [] or [B], event shape ``event_shape``."""
        raise NotImplementedError

    @property
    def condition_spec(self) -> tuple[tuple[int, ...], str]:
        """The shape of one condition and its dtype, where the prior is conditional."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its condition is.")

    def _take_after(self, layer: DistributionLayer) -> None:
        """Be capable of what a distribution layer is, whose family this prior has."""
        drawing = ("support", "noise", "choices", "quantiles", "reparameterised")
        for name in (*drawing, "has_density", "pointwise"):
            setattr(self, name, getattr(layer, name))

    @staticmethod
    def _check_layer(layer: Any, argument: str = "layer") -> None:
        if not isinstance(layer, DistributionLayer) or isinstance(layer, Prior):
            raise TypeError(
                f"Expected `{argument}` to be a distribution layer, such as "
                f"tfvae.layers.Gamma((3,)). Received: {argument}={layer!r}."
            )

    def tempered(self, noise: tf.Tensor, temperature: tf.Tensor) -> tf.Tensor:
        """Scale base noise by temperatures that broadcast to it, as ``generate`` asks."""
        assert self.noise is not None
        kept = self.choices - self.quantiles
        if not self.quantiles:
            return random.tempered(self.noise, noise, temperature, kept)
        choices, rest = noise[..., : self.choices], noise[..., self.choices :]
        drawn_in = random.tempered("uniform", choices, temperature, kept)
        return tf.concat([drawn_in, random.tempered(self.noise, rest, temperature)], axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, its parts serialised by Keras."""
        config = super().get_config()
        if self.parts:
            del config["event_shape"]
        return config | {
            name: keras.saving.serialize_keras_object(getattr(self, name)) for name in self.parts
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Rebuild a prior from :meth:`get_config`; in a model, with the parts that it shares."""
        parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in cls.parts}
        return cls(**config | parts)


@keras.saving.register_keras_serializable("tfvae.priors")
class StandardNormal(Prior):
    r"""The standard normal prior, :math:`\mathcal N(0, I)`.

    Args:
        event_shape: the shape of one latent.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Example:
        >>> prior = tfvae.priors.StandardNormal((2,))
        >>> float(prior(None).log_prob(tf.zeros([2])))  # -log 2 pi
        -1.837877...
    """

    noise = "normal"

    def call(self, condition: tf.Tensor | None = None) -> Any:
        """Return ``tfd.Normal(0, 1)`` over the event."""
        zeros = tf.zeros(self.event_shape, self.compute_dtype)
        return self._independent(tfd.Normal(zeros, tf.ones_like(zeros)))

    def transform(self, noise: tf.Tensor, params: tf.Tensor | None = None) -> tf.Tensor:
        """Return the noise itself."""
        return tf.cast(noise, self.compute_dtype)

"""What every objective is: configuration, sums, and the checks of its arguments."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

import keras
import numpy as np
import tensorflow as tf

from tfvae.layers.support import Support
from tfvae.trace import Latent, Trace

Capability = Literal["reparameterised", "has_density", "pointwise"]


class Serialisable:
    """A frozen dataclass that Keras can save: its fields are its configuration."""

    def get_config(self) -> dict[str, Any]:
        """Return the fields, nested objects serialised by Keras."""
        return {
            field.name: keras.saving.serialize_keras_object(getattr(self, field.name))
            for field in fields(self)  # type: ignore[arg-type]
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Rebuild an object from :meth:`get_config`."""
        values = {
            name: keras.saving.deserialize_keras_object(value) for name, value in config.items()
        }
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@dataclass(frozen=True)
class Objective(Serialisable):
    """What a VAE minimises."""

    @property
    def samples(self) -> int:
        """How many posterior samples of each example a pass should draw."""
        return 1

    @property
    def requires(self) -> frozenset[Capability]:
        """What every posterior must be capable of, checked when a VAE is built."""
        return frozenset({"reparameterised", "has_density"})

    @property
    def codes(self) -> frozenset[Support]:
        """Sets in which the posterior's draws must lie, checked when a VAE is built."""
        return frozenset()

    @property
    def latent_groups(self) -> frozenset[int]:
        """Numbers of groups of latents that it is for, checked when a VAE is built; none: any."""
        return frozenset()

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the loss in nats, [B] or a scalar."""
        raise NotImplementedError

    def __add__(self, other: Objective) -> WeightedSum:
        """Return the objective whose loss is the sum of both losses."""
        if not isinstance(other, Objective):
            return NotImplemented
        return WeightedSum((*_terms(self), *_terms(other)))

    def __mul__(self, weight: float) -> WeightedSum:
        """Return the objective whose loss is `weight` times this one's."""
        if not isinstance(weight, int | float):
            return NotImplemented
        return WeightedSum(tuple((weight * scale, term) for scale, term in _terms(self)))

    __rmul__ = __mul__


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class WeightedSum(Objective):
    """A sum of objectives, each with its weight: what ``a + 0.1 * b`` makes.

    All terms see the same samples: as many as the term that wants most.

    Args:
        terms: pairs of weight and objective.

    Raises:
        ValueError: if there is no term, or a weight is not finite.
        TypeError: if a term is not an objective.
    """

    terms: tuple[tuple[float, Objective], ...]

    def __post_init__(self) -> None:
        # From a configuration the pairs come back as lists.
        object.__setattr__(self, "terms", tuple((w, term) for w, term in self.terms))
        if not self.terms:
            raise ValueError("Expected `terms` to hold at least one objective. Received: ().")
        for weight, term in self.terms:
            check_number("weight", weight)
            if not isinstance(term, Objective):
                raise TypeError(f"Expected `terms` to hold objectives. Received: {term!r}.")

    @property
    def samples(self) -> int:
        """The largest number of samples that a term wants."""
        return max(term.samples for _, term in self.terms)

    @property
    def requires(self) -> frozenset[Capability]:
        """What any of the terms requires."""
        return frozenset().union(*(term.requires for _, term in self.terms))

    @property
    def codes(self) -> frozenset[Support]:
        """The sets of all terms."""
        return frozenset().union(*(term.codes for _, term in self.terms))

    @property
    def latent_groups(self) -> frozenset[int]:
        """What any of the terms is for."""
        return frozenset().union(*(term.latent_groups for _, term in self.terms))

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the weighted sum of the losses, [B] or a scalar."""
        return sum(weight * term(trace) for weight, term in self.terms)


def with_gradient_of(value: tf.Tensor, surrogate: tf.Tensor) -> tf.Tensor:
    """Return `value` exactly, with the gradient of `surrogate`."""
    # In this order: the bracket is an exact zero however large the surrogate is.
    return tf.stop_gradient(value) + (surrogate - tf.stop_gradient(surrogate))


def batch_mean(trace: Trace, value: tf.Tensor) -> tf.Tensor:
    """Return the mean over examples of [B, ...], weighted where examples have weights."""
    if trace.weight is None:
        return tf.reduce_mean(value, axis=0)
    weight = tf.cast(trace.weight, value.dtype)
    total = tf.tensordot(weight, value, axes=1)
    return tf.math.divide_no_nan(total, tf.reduce_sum(weight))


def only_latent(objective: Objective, trace: Trace) -> Latent:
    """Return the trace's one group of latents, or say that the objective is for flat VAEs."""
    if len(trace.latents) != 1:
        raise ValueError(
            f"Expected a model with one group of latents, for which {type(objective).__name__} is "
            f"defined. Received: {len(trace.latents)} groups, "
            f"{', '.join(latent.name for latent in trace.latents)}."
        )
    return trace.latents[0]


def check_samples(samples: int, minimum: int = 1, argument: str = "samples") -> None:
    """Raise a ``ValueError`` unless `samples` is a whole number of at least `minimum`."""
    if isinstance(samples, bool) or not isinstance(samples, int | np.integer) or samples < minimum:
        raise ValueError(
            f"Expected `{argument}` to be a whole number of at least {minimum}. "
            f"Received: {argument}={samples!r}."
        )


def check_number(
    argument: str, value: float, minimum: float = -math.inf, maximum: float = math.inf
) -> None:
    """Raise a ``ValueError`` unless a value is a finite number within bounds."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and math.isfinite(value) and minimum <= value <= maximum:
        return
    kind = "a finite number"
    if (minimum, maximum) == (0, math.inf):
        kind += " that is not negative"
    elif math.isfinite(maximum):
        kind += f" from {minimum} to {maximum}"
    raise ValueError(f"Expected `{argument}` to be {kind}. Received: {argument}={value!r}.")


def check_choice(argument: str, value: str, known: Sequence[str]) -> None:
    """Raise a ``ValueError`` unless a value is one of the known words; suggest the nearest."""
    if value in known:
        return
    near = difflib.get_close_matches(str(value).lower(), known, n=1)
    words = " or ".join(f'"{word}"' for word in known)
    hint = f' Did you mean "{near[0]}"?' if near else ""
    raise ValueError(f"Expected `{argument}` to be {words}. Received: {argument}={value!r}.{hint}")


def _terms(objective: Objective) -> tuple[tuple[float, Objective], ...]:
    return objective.terms if isinstance(objective, WeightedSum) else ((1.0, objective),)

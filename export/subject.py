"""What is exported, and the examples that it is tried with."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae.generation import Generative
from tfvae.model import VAE

from .errors import ExportError
from .manifest import Tensor
from .processing import Processing

PARTS = ("prior", "encoder", "decoder")

SAMPLES = 50
"""Importance samples of the endpoint ``score``, as in Burda et al."""

BEAM_WIDTH = 5
"""Of the endpoint ``beam``."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model, and all that its endpoints are made from beside it.

    Attributes:
        model: a VAE or a Generator.
        processing: what clients see in place of the model's own units.
        samples: importance samples of ``score``.
        width: of the beam of ``beam``, of sentences.
        data: examples [N, *data], in the model's units, or None: the model's own draws.
        condition: their conditions [N, ...], as the model takes them, or None.
    """

    model: Generative
    processing: Processing = dataclasses.field(default_factory=Processing)
    samples: int = SAMPLES
    width: int = BEAM_WIDTH
    data: npt.NDArray[Any] | None = None
    condition: npt.NDArray[Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.processing, Processing):
            raise TypeError(
                "Expected `processing` to be a tfvae.export.Processing, such as "
                f'Processing("uint8"). Received: processing={self.processing!r}.'
            )
        self.processing.check_shape(self.model.data_shape)
        if self.processing.classes and not self.model.conditional:
            raise ExportError(
                "Expected no `classes`, for no slot of this model takes a condition. Received: "
                f"{len(self.processing.classes)} names."
            )
        if named := len(self.processing.classes):
            shape = self._condition_shape or (self.model.classes or named,)
            if shape != (named,):
                raise ExportError(
                    f"Expected `classes` to be as many as the condition is long, {shape}. "
                    f"Received: {named} names."
                )

    def score_obstacle(self) -> str:
        """Say what leaves the endpoint ``score`` undefined, or nothing."""
        if not isinstance(self.model, VAE):
            return f"A {type(self.model).__name__} has no encoder."
        if obstacle := self.model.score_obstacle():
            return obstacle
        likelihood = self.model.likelihood
        if self.processing.keeps(likelihood.support):
            return ""
        return (
            f"Expected bytes that lie in the likelihood's support, {likelihood.support.value}, as "
            f"all that they are rounded from does. Received: dtype={self.processing.dtype!r} with "
            f"the likelihood {type(likelihood).__name__}. Have clients send floats: "
            "Processing(scale=255.0) for values from 0 to 255."
        )

    def condition_inputs(self, *parts: str) -> tuple[Tensor, ...]:
        """Return the condition as clients send it, where the endpoint's parts take one.

        Args:
            parts: which of "prior", "encoder" and "decoder" the endpoint runs.
        """
        if not {taker.partition(" ")[0] for taker in self.model.takers} & set(parts):
            return ()
        shape, dtype = self.model.condition_spec
        known = len(self.processing.classes) or self.model.classes
        if known is None:
            return (Tensor("condition", (None, *shape), dtype),)
        if self.processing.classes:
            dtype = "int64"
        # What is not told is found out where the endpoint sees data.
        missing = self.model.missing_label if "encoder" in parts else None
        low = 0 if missing is None else missing
        return (Tensor("condition", (None,), dtype, bounds=(low, known - 1), default=missing),)

    def to_condition(self, given: Any) -> Any:
        """Map conditions from what clients send to what the model takes."""
        if not self.processing.classes:
            return given
        if not self._takes_indices:
            return tf.one_hot(given, len(self.processing.classes))
        return tf.cast(given, self.model.condition_spec[1])

    def given(self, condition: tuple[Any, ...]) -> Any:
        """Return an endpoint's condition as the model takes it, or None where there is none."""
        return self.to_condition(condition[0]) if condition else None

    def condition_examples(self, count: int, *parts: str) -> dict[str, npt.NDArray[Any]]:
        """Return conditions to try an endpoint of these parts with, as clients send them."""
        if not self.condition_inputs(*parts):
            return {}
        if self.processing.classes:
            values = np.arange(count) % len(self.processing.classes)
            return {"condition": values.astype(np.int64)}
        return {"condition": self._conditions(count)}

    def data_examples(self, count: int) -> npt.NDArray[Any]:
        """Return data to try endpoints with, as clients send them."""
        if self.data is None:
            conditions = self.condition_examples(count, *PARTS)
            given = conditions.get("condition")
            condition = None if given is None else np.asarray(self.to_condition(given))
            x = np.asarray(self.model.generate(count, condition=condition).sample)
        else:
            x = np.resize(self.data, (count, *self.data.shape[1:]))
        return np.asarray(self.processing.to_client(x))

    @property
    def _condition_shape(self) -> tuple[int, ...]:
        return self.model.condition_spec[0]

    @property
    def _takes_indices(self) -> bool:
        return not self._condition_shape

    def _conditions(self, count: int) -> npt.NDArray[Any]:
        """Return conditions as the model takes them."""
        shape, dtype = self.model.condition_spec
        if self.condition is not None:
            rows = np.resize(self.condition, (count, *self.condition.shape[1:]))
            return rows.astype(dtype)
        if np.issubdtype(dtype, np.integer):
            # Any network takes class 0; not all say which others there are.
            labels = np.resize(np.arange(self.model.classes or 1), count * math.prod(shape))
            return labels.reshape(count, *shape).astype(dtype)
        return np.random.default_rng(1).standard_normal((count, *shape)).astype(dtype)

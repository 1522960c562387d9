"""What clients see where it is not what the model sees: bytes for pixels, names for classes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae.layers.support import Support

from .errors import ExportError

_DTYPES = ("float32", "uint8")


@dataclasses.dataclass(frozen=True, eq=False)
class Processing:
    r"""Pre- and post-processing that travels inside the exported graphs.

    .. math:: x_\text{model} = (x - \text{offset}) / \text{scale}, \qquad
        x = \text{scale} \cdot x_\text{model} + \text{offset}

    Inputs x, and the outputs ``mean`` and ``sample``, are in the client's units; what goes out as
    uint8 is rounded and clipped. The likelihood's named parameters, latents and scores stay in
    the model's units.

    Args:
        dtype: ``"float32"`` or ``"uint8"``, of data as clients send and receive it.
        scale: a number, or an array that broadcasts to one x; not zero. 255 by default where
            dtype is uint8, else 1.
        offset: the same.
        classes: names of the classes that a condition picks among. Clients then send the index
            int64 [B]; a network that takes vectors gets it one-hot.

    Raises:
        ExportError: for an unknown dtype, a scale or offset that is not finite or is zero, or
            names that are empty or repeated.

    Example:
        >>> images = tfvae.export.Processing("uint8")  # bytes in, bytes out
        >>> images.scale
        255.0
    """

    dtype: str = "float32"
    scale: Any = None
    offset: Any = 0.0
    classes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES:
            raise ExportError(
                f"Expected `dtype` to be {' or '.join(map(repr, _DTYPES))}. "
                f"Received: dtype={self.dtype!r}."
            )
        if self.scale is None:
            object.__setattr__(self, "scale", 255.0 if self.dtype == "uint8" else 1.0)
        for name in ("scale", "offset"):
            try:
                values = np.asarray(getattr(self, name), np.float64)
            except (TypeError, ValueError):
                values = np.array(np.nan)
            if not np.isfinite(values).all() or (name == "scale" and not values.all()):
                raise ExportError(
                    f"Expected `{name}` to be finite{' and not zero' if name == 'scale' else ''}. "
                    f"Received: {name}={getattr(self, name)!r}."
                )
        if isinstance(self.classes, str) or not isinstance(self.classes, Iterable):
            raise ExportError(
                f"Expected `classes` to be a list of names. Received: classes={self.classes!r}."
            )
        names = tuple(map(str, self.classes))
        if len(set(names)) < len(names) or not all(names):
            raise ExportError(
                f"Expected `classes` to be names that differ. Received: classes={names!r}."
            )
        object.__setattr__(self, "classes", names)

    @property
    def rounds(self) -> bool:
        """Whether data are whole numbers on the wire."""
        return self.dtype != "float32"

    @property
    def changes_data(self) -> bool:
        """Whether data on the wire differ from the model's."""
        return self.rounds or bool(np.any(self._scale != 1) or np.any(self._offset != 0))

    @property
    def _scale(self) -> npt.NDArray[np.float32]:
        return np.asarray(self.scale, np.float32)

    @property
    def _offset(self) -> npt.NDArray[np.float32]:
        return np.asarray(self.offset, np.float32)

    def check_shape(self, data_shape: tuple[int, ...]) -> None:
        """Refuse a scale or an offset that does not broadcast to one x."""
        for name, values in (("scale", self._scale), ("offset", self._offset)):
            try:
                fits = np.broadcast_shapes(values.shape, data_shape) == data_shape
            except ValueError:
                fits = False
            if not fits:
                raise ExportError(
                    f"Expected `{name}` to broadcast to one x, shape {data_shape}. "
                    f"Received: shape {values.shape}."
                )

    def to_model(self, x: tf.Tensor) -> tf.Tensor:
        """Map data [B, *data] from the client's units to the model's, float32."""
        x = tf.cast(x, tf.float32)
        return (x - self._offset) / self._scale if self.changes_data else x

    def to_client(self, x: tf.Tensor) -> tf.Tensor:
        """Map data [B, *data] from the model's units to the client's."""
        x = tf.cast(x, tf.float32)
        if self.changes_data:
            x = x * self._scale + self._offset
        if self.rounds:
            x = tf.cast(tf.clip_by_value(tf.round(x), 0.0, 255.0), tf.uint8)
        return x

    def interval(self, low: float, high: float) -> tuple[float, float]:
        """Map the ends of an interval from the model's units to the client's."""
        ends = np.stack([end * self._scale + self._offset for end in (low, high)])
        low, high = float(ends.min()), float(ends.max())
        return (max(low, 0.0), min(high, 255.0)) if self.rounds else (low, high)

    def step(self, support: Support) -> float | None:
        """Return how far apart values of a support are in the client's units.

        Counted from the lower end of their interval, or from the upper where it has no lower.
        None where values fill an interval, or where one number does not say it.
        """
        if support.kind not in ("integers", "one-hot", "levels"):
            return None
        sizes = np.unique(np.abs(self._scale))
        ends = np.unique(support.low * self._scale + self._offset)
        if sizes.size > 1 or ends.size > 1:
            return None
        step = float(sizes[0]) / (support.points - 1 if support.kind == "levels" else 1)
        low, high = self.interval(*support.bounds)
        # A byte may be cut off between two of them.
        away = ((low if math.isfinite(low) else high) - float(ends[0])) / step
        return step if abs(away - round(away)) < 1e-4 else None

    def keeps(self, support: Support) -> bool:
        """Whether what lies in a support still does once it was rounded for a client."""
        if not self.rounds:
            return True
        if support.kind in ("simplex", "sphere", "codes"):  # rounding breaks what ties values
            return False
        support = Support.BINARY if support.kind == "one-hot" else support
        low, high = support.bounds
        if support.kind == "levels":
            values = np.linspace(low, high, support.points)
        elif support.kind == "integers":
            values = np.arange(low, min(high, 255.0) + 1)
        else:  # the ends, which draws come as near to as they like
            values = np.array([end for end in (low, high) if math.isfinite(end)])
        column = values.reshape(-1, *[1] * max(self._scale.ndim, self._offset.ndim))
        return not support.outside(np.asarray(self.to_model(self.to_client(column))))

"""Linear-Gaussian state-space models: time series whose log-probability is known exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Values are whole multiples of this, so that they are the same on every machine, whose sines and
# logarithms differ in their last bits. Beside noise of 0.3 it moves a density by 1e-6.
_GRID = 2.0**-10


@dataclass(frozen=True)
class StateSpace:
    r"""A linear-Gaussian state-space model.

    .. math:: z_1 \sim N(0, \sigma_1^2 I), \qquad z_t \sim N(A z_{t-1}, q^2 I), \qquad
        x_t \sim N(C z_t, r^2 I)

    Args:
        transition: A, d rows of d numbers.
        observation: C, k rows of d numbers.
        initial_scale: sigma_1.
        transition_scale: q.
        observation_scale: r.

    Raises:
        ValueError: for matrices that do not fit each other, or scales that are not positive.

    Example:
        >>> x, lengths = tfvae.state_space.OSCILLATIONS.generate(3, 20, shortest=10)
        >>> x.shape, tfvae.state_space.OSCILLATIONS.log_prob(x, lengths).shape
        ((3, 20, 3), (3,))

    References:
        Kalman (1960), A new approach to linear filtering and prediction problems.
    """

    transition: tuple[tuple[float, ...], ...]
    observation: tuple[tuple[float, ...], ...]
    initial_scale: float
    transition_scale: float
    observation_scale: float

    def __post_init__(self) -> None:
        d = len(self.transition)
        if not d or any(len(row) != d for row in (*self.transition, *self.observation)):
            raise ValueError(
                "Expected `transition` to be d rows of d numbers, and `observation` rows of d. "
                f"Received: transition={self.transition}, observation={self.observation}."
            )
        for name in ("initial_scale", "transition_scale", "observation_scale"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(
                    f"Expected `{name}` to be a positive number. Received: {name}={value!r}."
                )

    def generate(
        self, n: int, steps: int, *, shortest: int | None = None, seed: int = 0
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Draw sequences; the i-th is a function of the seed and i.

        Args:
            n: how many.
            steps: the longest length, T.
            shortest: the least; lengths are uniform from there to T. T by default.
            seed: of the draws.

        Returns:
            x [n, T, k], 0 after each sequence's end, and the lengths [n].

        Raises:
            ValueError: unless n and steps are at least 1, and 1 <= shortest <= steps.
        """
        shortest = steps if shortest is None else shortest
        if n < 1 or not 1 <= shortest <= steps:
            raise ValueError(
                "Expected `n` to be at least 1 and `shortest` to be from 1 to `steps`. Received: "
                f"n={n}, steps={steps}, shortest={shortest}."
            )
        a, c = np.array(self.transition), np.array(self.observation)
        each = len(a) + len(c)
        words = 2 * ((steps * each + 1) // 2)
        key = np.array([seed, 0], np.uint64)
        raw = np.random.Philox(key=key).random_raw(n * (words + 1)).reshape(n, words + 1)
        uniform = ((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        lengths = shortest + np.floor(uniform[:, -1] * (steps - shortest + 1)).astype(np.int64)
        # Box-Muller, on the two halves.
        radius = np.sqrt(-2.0 * np.log(uniform[:, : words // 2]))
        angle = 2.0 * math.pi * uniform[:, words // 2 : -1]
        normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        noise = normal[:, : steps * each].reshape(n, steps, each)
        z, seen = self.initial_scale * noise[:, 0, : len(a)], []
        for t in range(steps):
            if t:
                z = z @ a.T + self.transition_scale * noise[:, t, : len(a)]
            seen.append(z @ c.T + self.observation_scale * noise[:, t, len(a) :])
        x = np.round(np.stack(seen, axis=1) / _GRID) * _GRID
        there = np.arange(steps) < lengths[:, None]
        return np.where(there[..., None], x, 0.0).astype(np.float32), lengths

    def log_prob(
        self, x: npt.ArrayLike, observed: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.float64]:
        """Return log p of what was observed, in nats, [N], by Kalman's filter.

        Args:
            x: sequences [N, T, k].
            observed: lengths [N], steps [N, T] or values [N, T, k]; all by default.

        Raises:
            ValueError: for other shapes.
        """
        values, mask = self._read(x, observed)
        a, c = np.array(self.transition), np.array(self.observation)
        count, d = len(values), len(a)
        mean = np.zeros((count, d))
        covariance = np.tile(np.eye(d) * self.initial_scale**2, (count, 1, 1))
        total = np.zeros(count)
        for t in range(values.shape[1]):
            if t:
                mean = mean @ a.T
                covariance = a @ covariance @ a.T + np.eye(d) * self.transition_scale**2
            # A value at a time: their noise is independent, and any of them may be missing.
            for j, row in enumerate(c):
                along = covariance @ row
                spread = along @ row + self.observation_scale**2
                there, error = mask[:, t, j], values[:, t, j] - mean @ row
                each = -0.5 * (np.log(2 * math.pi * spread) + error**2 / spread)
                total += np.where(there, each, 0.0)
                gain = np.where(there[:, None], along / spread[:, None], 0.0)
                mean = mean + gain * error[:, None]
                covariance = covariance - gain[:, :, None] * along[:, None, :]
        return total

    def _read(
        self, x: npt.ArrayLike, observed: npt.ArrayLike | None
    ) -> tuple[Array, npt.NDArray[np.bool_]]:
        values = np.asarray(x, np.float64)
        if values.ndim != 3 or values.shape[-1] != len(self.observation):
            raise ValueError(
                f"Expected `x` of shape [N, T, {len(self.observation)}]. "
                f"Received: shape {list(values.shape)}."
            )
        count, steps, _ = values.shape
        mask = np.full(count, steps) if observed is None else np.asarray(observed)
        if mask.ndim == 1:
            mask = np.arange(steps) < mask[:, None]
        if mask.ndim == 2:
            mask = mask[..., None]
        if mask.shape not in ((count, steps, 1), values.shape):
            raise ValueError(
                "Expected `observed` to be lengths [N], steps [N, T] or values, as of `x`. "
                f"Received: a mask {list(mask.shape)} for x {list(values.shape)}."
            )
        seen = np.broadcast_to(mask != 0, values.shape)
        # What was not observed is often NaN, which no weight of 0 removes.
        return np.where(seen, values, 0.0), seen


OSCILLATIONS = StateSpace(
    # A turn in ten steps, of which each keeps 0.95.
    transition=((0.76856614, -0.55839599), (0.55839599, 0.76856614)),
    observation=((1.0, 0.0), (0.6, 0.8), (-0.8, 0.6)),
    initial_scale=1.0,
    transition_scale=0.2,
    observation_scale=0.3,
)
"""Noisy damped oscillations, seen as three values: what the data set ``oscillations`` is of."""

"""Outlines: signed distances from shapes of area 1 whose centroid is the origin.

All are of elements u [...] and v [...], v upwards, and only of what every machine computes alike:
sums, products, quotients and square roots.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_MINOR = math.sqrt(1 / (2 * math.pi))
_AXES = 2 * _MINOR, _MINOR
_INRADIUS = math.sqrt(1 / (3 * math.sqrt(3)))
# A heart is a square on its corner with half a disc on either upper side, both 2 HALF wide. The
# discs draw the centroid from the square's middle by SHIFT along each of these sides' normals.
_HALF = math.sqrt(1 / (4 + math.pi))
_SHIFT = _HALF * (math.pi / 2 + 2 / 3) / (4 + math.pi)
_SQRT_HALF = np.float32(math.sqrt(0.5))
_SIN_60 = np.float32(math.sqrt(0.75))


def square(u: Floats, v: Floats) -> Floats:
    """Return the distance from the nearest side's line."""
    return np.maximum(np.abs(u), np.abs(v)) - np.float32(0.5)


def ellipse(u: Floats, v: Floats) -> Floats:
    """Return (f(u, v) - 1) / |grad f|, f being 1 on the ellipse: the distance, close to it.

    The axis along u is twice as long as the other.
    """
    u, v = u / np.float32(_AXES[0]), v / np.float32(_AXES[1])
    f = np.sqrt(u * u + v * v)
    u, v = u / np.float32(_AXES[0]), v / np.float32(_AXES[1])
    slope = np.sqrt(u * u + v * v) / np.maximum(f, np.float32(1e-6))
    return np.asarray((f - 1) / np.maximum(slope, np.float32(1e-3)), np.float32)


def heart(u: Floats, v: Floats) -> Floats:
    """Return the least of the distances from a square on its corner and from two discs."""
    half = np.float32(_HALF)
    right = (v + u) * _SQRT_HALF + np.float32(_SHIFT)
    left = (v - u) * _SQRT_HALF + np.float32(_SHIFT)
    corner = np.maximum(np.abs(right), np.abs(left)) - half
    discs = [
        np.sqrt((a - half) * (a - half) + b * b) - half for a, b in ((right, left), (left, right))
    ]
    return np.asarray(np.minimum(corner, np.minimum(*discs)), np.float32)


def triangle(u: Floats, v: Floats) -> Floats:
    """Return the distance from the nearest side's line; one side is below."""
    return np.maximum(np.abs(u) * _SIN_60 + v * np.float32(0.5), -v) - np.float32(_INRADIUS)


OUTLINES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "square": square,
    "ellipse": ellipse,
    "heart": heart,
    "triangle": triangle,
}
SHAPES = tuple(OUTLINES)

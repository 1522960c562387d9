"""Factors of variation, and codes that stand to them as is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from tfvae import disentanglement as d

FACTORS = (4, 5, 3)


def grid(*sizes: int, copies: int = 1) -> Any:
    """Return all combinations of factors: in a full grid they are independent to the last bit."""
    return np.array(list(itertools.product(*map(range, sizes))) * copies)


def turned(factors: Any, degrees: float) -> Any:
    """Return codes that are two factors of one variance, rotated."""
    angle = np.deg2rad(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (factors - factors.mean(0)) @ rotation.T


class Identity:
    """Fresh codes that are the factors, or what a function makes of them."""

    def __new__(cls, sizes: tuple[int, ...], code: Callable[[Any], Any] = lambda f: f) -> Any:
        return d.Fresh(lambda factors: factors, code, sizes)

"""Fixtures that several test modules share."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest


def pytest_collection_finish() -> None:
    """Leave half a million objects of imported libraries out of every garbage collection."""
    gc.freeze()


@pytest.fixture
def float64() -> Iterator[None]:
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(before)


@pytest.fixture(params=["mixed_float16", "mixed_bfloat16"])
def mixed_policy(request: pytest.FixtureRequest) -> Iterator[str]:
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.fixture
def binary_images() -> Any:
    """64 binary images of 6 by 5 pixels with structure: each row is a bar of one width."""
    rng = np.random.default_rng(0)
    width = rng.integers(0, 6, (64, 6, 1))
    return (np.arange(5) < width).astype("float32")

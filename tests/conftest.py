"""Fixtures that several test modules share."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def pytest_collection_finish() -> None:
    """Leave half a million objects of imported libraries out of every garbage collection."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def without_xla() -> Iterator[pytest.MonkeyPatch]:
    """Have ``jit_compile="auto"`` mean no: XLA takes seconds for each shape of a batch.

    What XLA computes is tested where it is asked for, and by tests that use the fixture `xla`.
    """
    from tfvae import step
    from tfvae.evaluate import annealing, bound

    with pytest.MonkeyPatch.context() as patch:
        for module in (annealing, bound, step):
            patch.setattr(module, "xla_pays", lambda *networks: False)
        yield patch


@pytest.fixture
def xla(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``jit_compile="auto"`` decide as it does for users."""
    from tfvae import loop, step
    from tfvae.evaluate import annealing, bound

    for module in (annealing, bound, step):
        monkeypatch.setattr(module, "xla_pays", loop.xla_pays)


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


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Return a function from named arrays to an npz file of them."""

    def save(**arrays: Any) -> Path:
        np.savez(tmp_path / "file.npz", **arrays)
        return tmp_path / "file.npz"

    return save

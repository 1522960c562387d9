"""Pictures of models: what is in them, against what the models say; not only that they are there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tfvae
from tfvae import pictures


def drawn(figure: Any) -> Any:
    """Return the canvas of a picture of images."""
    return np.asarray(figure.axes[0].images[0].get_array())


def cells(figure: Any, rows: int, columns: int, size: int) -> Any:
    """Return the images of a picture, [rows, columns, size, size], by their top left pixels."""
    canvas = drawn(figure)[..., 0]
    scale = max(1, min(16, round(1000 / (columns * size))))
    gap = max(2, round(scale * size / 32))
    steps = scale * size + gap
    assert canvas.shape == (gap + rows * steps, gap + columns * steps)
    places = [(gap + i * steps, gap + j * steps) for i in range(rows) for j in range(columns)]
    found = [canvas[y : y + scale * size : scale, x : x + scale * size : scale] for y, x in places]
    return np.reshape(found, (rows, columns, size, size))


def digits_vae(latent_dim: int = 2, **options: Any) -> Any:
    return tfvae.zoo.vae(
        (8, 8, 1), latent_dim, hidden=(16,), likelihood="ContinuousBernoulli", **options
    )


@pytest.fixture(scope="module")
def digits() -> Any:
    return tfvae.data.load("digits").test


@pytest.fixture(scope="module")
def plane() -> Any:
    """A model of two latents. What it draws is compared with what it says: it needs no training."""
    return digits_vae()


def test_samples_are_the_means_of_the_same_seeds(plane: Any) -> None:
    found = cells(pictures.draw("samples", plane, n=9, seed=5), 3, 3, 8)
    wanted = np.asarray(plane.generate(9, seed=5).mean)[..., 0]
    np.testing.assert_allclose(found.reshape(9, 8, 8), wanted, rtol=0, atol=1e-6)


def test_reconstructions_are_those_of_the_first_examples(plane: Any, digits: Any) -> None:
    canvas = drawn(pictures.draw("reconstructions", plane, digits, n=3))
    scale, gap = 16, 4
    for i in range(3):
        left = gap + i * (8 * scale + gap)
        wanted = np.asarray(plane.reconstruct(digits.x[i : i + 1]))[0, ..., 0]
        for top, image in ((gap, digits.x[i, ..., 0]), (gap + 8 * scale + gap, wanted)):
            tile = canvas[top : top + 8 * scale : scale, left : left + 8 * scale : scale, 0]
            np.testing.assert_allclose(tile, image, rtol=0, atol=1e-6)


def test_an_unknown_kind_or_option_is_named(plane: Any) -> None:
    with pytest.raises(ValueError, match="Did you mean 'samples'"):
        pictures.draw("sample", plane)
    with pytest.raises(ValueError, match=r"options of 'samples'.*Did you mean 'columns'"):
        pictures.draw("samples", plane, colums=3)

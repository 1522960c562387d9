"""What a page is told of an export, and which exports are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import handmade
import numpy as np
import pytest
from handmade import Tensor

import tfvae
from tfvae.explorer.description import describe
from tfvae.export import ExportError


def described(folder: Path, **options: Any) -> dict[str, Any]:
    return describe(tfvae.export.load(folder), **options)


def test_what_a_page_is_told(painter: Path) -> None:
    found = described(painter.parent)
    assert (found["model"]["name"], found["model"]["version"]) == ("painter", "3")
    assert found["image"] == {"height": 3, "width": 4, "channels": 3, "low": 0.0, "high": 1.0}
    assert found["levels"] == 2
    assert found["condition"] == {
        "kind": "class", "names": list(handmade.CLASSES), "first": 0, "initial": 0
    }  # fmt: skip
    assert set(found["endpoints"]) == {"decode", "generate"}
    assert list(found["absent"]) == ["encode", "move"]
    assert "cannot be moved" in found["absent"]["move"]
    latents = found["latents"]
    assert [each["name"] for each in latents["groups"]] == ["z_0"]
    # z_0 of 256 seeds is (i + 1) / 40 sin(seed) + 0.1, and sliders reach three deviations.
    waves = np.sin(np.arange(256))
    ramp = np.arange(1, 41) / 40
    np.testing.assert_allclose(latents["centre"], ramp * waves.mean() + 0.1, atol=1e-5)
    width = np.subtract(latents["high"], latents["low"])
    np.testing.assert_allclose(width, 6 * ramp * waves.std(), rtol=1e-4)
    # Without an encoder, activity is what a latent moves: each of the first 36 one of 36 values,
    # by a tenth of a third of its slider's way up and down; the last four move none.
    moved = (0.1 * width / 3) ** 2 / 36
    np.testing.assert_allclose(
        latents["activity"], np.where(np.arange(40) < 36, moved, 0), rtol=1e-3
    )
    assert latents["order"][:36] == list(range(35, -1, -1))


def test_each_level_has_its_latents(tmp_path: Path) -> None:
    """Of a hierarchy that can be moved: against its draws, and moves in closed form."""
    folder = handmade.hierarchy(tmp_path / "h" / "1")
    found = described(folder)
    assert set(found["endpoints"]) == {"decode", "generate", "encode", "move"}
    assert found["absent"] == {}
    latents = found["latents"]
    assert latents["groups"] == [
        {"name": "z_0", "shape": [3], "start": 0, "size": 3},
        {"name": "z_1", "shape": [2], "start": 3, "size": 2},
    ]
    noise = np.sin(np.outer(np.arange(256), [1.0, 2.0, 3.0, 0.7, 1.3]))
    z_1 = noise[:, 3:]
    z_0 = noise[:, :3] * np.exp(z_1 @ handmade.LEVEL_SPREAD) + z_1 @ handmade.LEVEL_MEAN
    z = np.concatenate([z_0, z_1], axis=1)
    np.testing.assert_allclose(latents["centre"], z.mean(axis=0), atol=1e-5)
    width = np.subtract(latents["high"], latents["low"])
    np.testing.assert_allclose(width, 6 * z.std(axis=0), rtol=1e-5)
    # Without test vectors, activity is how far the picture moves when one latent does.
    centre = np.array(latents["centre"])

    def moved(i: int, step: float) -> Any:
        above, shift = centre[3:].copy(), np.zeros(3)
        if i < 3:
            shift[i] = step
        else:
            above[i - 3] += step
        place = (centre[:3] - centre[3:] @ handmade.LEVEL_MEAN) / np.exp(
            centre[3:] @ handmade.LEVEL_SPREAD
        )
        below = place * np.exp(above @ handmade.LEVEL_SPREAD) + above @ handmade.LEVEL_MEAN
        return (below + shift) @ handmade.LEVEL_IMAGE

    expected = [np.mean((moved(i, width[i] / 6) - moved(i, -width[i] / 6)) ** 2) for i in range(5)]
    np.testing.assert_allclose(latents["activity"], expected, rtol=1e-4)
    order = latents["order"]
    assert sorted(order[:3]) == [0, 1, 2]  # level by level
    for level in (order[:3], order[3:]):
        assert (np.diff(np.array(expected)[level]) <= 0).all()
    # With them it is what each carries.
    rng = np.random.default_rng(0)
    vectors = {
        f"encode/{moment}_{level}": rng.uniform(0.5, 2, (8, size)).astype(np.float32)
        for level, size in ((0, 3), (1, 2))
        for moment in ("mean", "stddev")
    }
    latents = described(handmade.hierarchy(tmp_path / "v" / "1", vectors))["latents"]
    carried = np.concatenate([
        np.log1p(
            vectors[f"encode/mean_{level}"].var(axis=0)
            / (vectors[f"encode/stddev_{level}"] ** 2).mean(axis=0)
        ) / 2
        for level in (0, 1)
    ])  # fmt: skip
    np.testing.assert_allclose(latents["activity"], carried, rtol=1e-4)


def test_activity_is_what_a_gaussian_channel_carries(tmp_path: Path) -> None:
    """Against the mutual information of z = signal + noise, both Gaussian; 0 of a dead latent."""
    signal, noise = np.array([2.0, 0.0, 0.1, 1.0]), np.array([0.5, 1.0, 1.0, 1.0])
    # A grid of two points has exactly the variance of the signal.
    mean = np.stack([signal, -signal]).astype(np.float32)
    vectors = {"encode/mean": mean, "encode/stddev": np.tile(noise, (2, 1)).astype(np.float32)}
    slots = {"prior": {"class": "StandardNormal"}}
    found = described(handmade.encoder(tmp_path / "m" / "1", vectors=vectors, slots=slots))[
        "latents"
    ]
    covariance = [[[s**2, s**2], [s**2, s**2 + n**2]] for s, n in zip(signal, noise, strict=True)]
    total = [np.log(s**2 + n**2) for s, n in zip(signal, noise, strict=True)]
    # I(signal; z) = (log var z - log var(z | signal)) / 2, the latter by the Schur complement.
    given = [np.log(c[1][1] - (c[0][1] ** 2 / c[0][0] if c[0][0] else 0.0)) for c in covariance]
    np.testing.assert_allclose(found["activity"], np.subtract(total, given) / 2, atol=1e-5)
    assert found["order"] == [0, 3, 2, 1]
    assert found["low"] == [-3.0] * 4
    assert found["high"] == [3.0] * 4


def test_activity_of_points_is_their_variance(tmp_path: Path) -> None:
    """An autoencoder's codes have no noise, against which nothing could be held."""
    mean = np.float32([[3, 0.1, 0, 1], [-3, -0.1, 0, -1]])
    vectors = {"encode/mean": mean, "encode/stddev": np.zeros_like(mean)}
    found = described(handmade.encoder(tmp_path / "m" / "1", vectors=vectors))["latents"]
    np.testing.assert_allclose(found["activity"], [9, 0.01, 0, 1], rtol=1e-6)
    assert found["order"] == [0, 3, 1, 2]


def test_ranges_without_generate_are_those_of_the_aggregate_posterior(tmp_path: Path) -> None:
    vectors = {"encode/mean": np.float32([[1, 5, 0, 0], [3, 5, 0, 0]])}
    found = described(handmade.encoder(tmp_path / "m" / "1", vectors=vectors))["latents"]
    assert found["centre"] == [2.0, 5.0, 0.0, 0.0]
    # Three deviations; where there are none, as far as a standard normal's.
    assert found["high"] == [5.0, 8.0, 3.0, 3.0]
    assert found["order"][0] == 0


def test_values_without_bounds_are_clipped_as_pictures_are(tmp_path: Path) -> None:
    for bounds, low, high in (
        ((-1.0, 1.0), -1.0, 1.0), ((None, None), 0.0, 1.0), ((0.0, None), 0.0, 1.0)
    ):  # fmt: skip
        folder = handmade.encoder(tmp_path / f"{low}{bounds}" / "1", bounds=bounds)
        image = described(folder)["image"]
        assert (image["low"], image["high"]) == (low, high)


def test_flat_images_become_pictures_by_their_shape(tmp_path: Path) -> None:
    folder = handmade.encoder(tmp_path / "flat" / "1", (16,))
    with pytest.raises(ExportError, match=r"Received: data of shape \[16\].*--image-shape 4,4"):
        described(folder)
    image = described(folder, image_shape=(2, 8))["image"]
    assert (image["height"], image["width"], image["channels"]) == (2, 8, 1)
    with pytest.raises(ExportError, match="as many values as the model's"):
        described(folder, image_shape=(4, 3))
    with pytest.raises(ExportError, match=r"Received: data of shape \[2, 2, 4\]"):
        described(folder, image_shape=(2, 2, 4))


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"data of shape \[5\]. Only images"):
        described(handmade.encoder(tmp_path / "vector" / "1", (5,)))
    with pytest.raises(ExportError, match=r"'decode' or 'generate'.*with encode"):
        described(handmade.encoder(tmp_path / "blind" / "1", decodes=False))
    z, x = Tensor("z", (None, 2), "float32"), Tensor("mean", (None, 3, 2), "float32")
    steps = Tensor("length", (None,), "int64")
    folder = tmp_path / "series" / "1"
    nodes = [
        handmade.node("Reshape", "z shape", "pair"),
        handmade.node("Expand", "pair whole", "mean"),
    ]
    record = handmade.endpoint(
        folder, "decode", [z, steps], [x], nodes,
        shape=np.array([-1, 1, 2]), whole=np.array([1, 3, 1]),
    )  # fmt: skip
    with pytest.raises(ExportError, match=r"draws sequences\. See them with `tfvae generate`"):
        described(handmade.publish(folder, record))


def test_latents_on_a_sphere_stay_there(tmp_path: Path) -> None:
    slots = {"prior": {"class": "HypersphericalUniform"}}
    assert described(handmade.encoder(tmp_path / "s" / "1", slots=slots))["latents"]["sphere"]
    assert not described(handmade.encoder(tmp_path / "n" / "1"))["latents"]["sphere"]


def test_the_names_of_what_lies_on_spheres_are_those_of_layers() -> None:
    from tfvae.explorer.description import _SPHERES

    known = {*dir(tfvae.layers), *dir(tfvae.priors)}
    assert known >= _SPHERES
    for name in _SPHERES & set(dir(tfvae.layers)):
        assert getattr(tfvae.layers, name)((3,)).support.kind == "sphere"

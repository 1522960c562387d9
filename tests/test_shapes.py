"""Shapes: areas, centroids and outlines to geometry; draws to their distribution."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import tfvae
from tfvae import convert, shapes
from tfvae.data import DataError, load
from tfvae.shapes import SHAPES, Shapes

SIZE = 64


def every(found: Shapes) -> Any:
    return np.array(list(itertools.product(*map(range, found.sizes))))


@pytest.fixture(scope="module")
def white() -> tuple[Any, Any, Any]:
    """Every shape, scale and rotation at two places: factors, meanings and coverages."""
    found = Shapes(SIZE, colour=False, values={"x": 2, "y": 2})
    factors = every(found)
    return factors, found.meanings(factors), found.images(factors)[..., 0] / 255


def middles() -> Any:
    return (np.arange(SIZE) + 0.5) / SIZE


def test_areas_are_the_same_whatever_the_shape(white: Any) -> None:
    _, meaning, coverage = white
    side = meaning["scale"] * SIZE
    assert np.all(np.abs(coverage.sum((1, 2)) - side**2) < area_error(side))


def area_error(side: Any) -> Any:
    """Return by how much a sum of coverages may miss the area, in pixels.

    A ramp across a straight edge keeps the area. Its sum over pixels, whose distances from the edge
    are h apart where they repeat at all, misses the integral by h^2 / 8 at most, 1 / 16 at 45
    degrees, for each pixel of the edge, of which there are at most 4.56 times the side. At a corner
    level sets at distance t have c t^2 more or less, c = 4 of the square and 3 sqrt(3) of the
    triangle, whose mean over the ramp is c / 12. Rounding to bytes leaves 1 / 510 in each pixel of
    an edge.
    """
    return 4.56 * side / 16 + 0.44 + 3 * 4.56 * side / 510


def test_x_and_y_are_those_of_the_centroid(white: Any) -> None:
    _, meaning, coverage = white
    total = coverage.sum((1, 2))
    x = (coverage.sum(1) * middles()).sum(1) / total
    y = 1 - (coverage.sum(2) * middles()).sum(1) / total
    # What the area misses, at the edge, at most 0.878 sides away.
    side = meaning["scale"] * SIZE
    bound = (area_error(side) * 0.878 * side / (side**2 - area_error(side)) / SIZE).max()
    assert bound < 0.4 / 15 / 4  # a quarter of a step of x
    np.testing.assert_allclose(x, meaning["x"], atol=bound)
    np.testing.assert_allclose(y, meaning["y"], atol=bound)


def inside(shape: str, u: Any, v: Any) -> Any:
    """Return which points, in roots of the area and from the centroid, are inside: by corners."""

    def polygon(corners: Any) -> Any:
        turned = np.roll(corners, -1, axis=0)
        return np.all(
            [
                (b[0] - a[0]) * (v - a[1]) - (b[1] - a[1]) * (u - a[0]) >= 0
                for a, b in zip(corners, turned, strict=True)
            ],
            axis=0,
        )

    if shape == "ellipse":
        major = np.sqrt(2 / np.pi)
        return (u / major) ** 2 + (v / (major / 2)) ** 2 <= 1
    if shape == "square":
        return polygon(np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2)
    if shape == "triangle":
        angles = np.deg2rad([90, 210, 330])
        side = np.sqrt(4 / np.sqrt(3))
        return polygon(side / np.sqrt(3) * np.stack([np.cos(angles), np.sin(angles)], -1))
    # A square on its corner, of diagonal d, and discs around the middles of its upper sides.
    d = np.sqrt(8 / (4 + np.pi))
    # The centroid, by parts: the square's is 0; of half a disc, 4 r / 3 pi from its flat side.
    r = d / np.sqrt(8)
    half_discs = np.pi * r**2  # two of them
    high = half_discs / (d**2 / 2 + half_discs) * (r + 4 * r / (3 * np.pi)) / np.sqrt(2)
    v = v + high
    corners = np.array([[0, -1], [1, 0], [0, 1], [-1, 0]]) * d / 2
    discs = [(u - s * d / 4) ** 2 + (v - d / 4) ** 2 <= r**2 for s in (1, -1)]
    return polygon(corners) | discs[0] | discs[1]


@pytest.mark.parametrize("shape", SHAPES)
def test_outlines_are_those_of_the_shapes(white: Any, shape: str) -> None:
    factors, meaning, coverage = white
    # At one place, of the largest scale, all rotations.
    rows = np.flatnonzero(
        (meaning["shape"] == shape) & (factors[:, 1] == 5) & (factors[:, 3:] == [0, 1]).all(1)
    )
    fine = (np.arange(SIZE * 8) + 0.5) / (SIZE * 8)
    for row in rows:
        angle = np.deg2rad(meaning["rotation"][row])
        u = (fine - meaning["x"][row])[None, :] / meaning["scale"][row]
        v = (1 - fine - meaning["y"][row])[:, None] / meaning["scale"][row]
        turned = u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle)
        exact = inside(shape, *turned).reshape(SIZE, 8, SIZE, 8).mean((1, 3))
        # A ramp differs from the share of a square pixel by 0.043 at most, at 45 degrees, in fewer
        # than 3 pixels for each two that an edge is long (at most 4.56 scales, here 88 pixels);
        # at three or four corners, by a pixel at most; 64 samples are off by 1/16 in a pixel.
        assert np.abs(coverage[row] - exact).sum() < 1.5 * 88 * (0.043 + 1 / 16) / 2 + 4
        assert np.all(coverage[row][exact == 1] > 0.95)


def test_nothing_is_cut_off(white: Any) -> None:
    _, _, coverage = white
    for edge in (coverage[:, 0], coverage[:, -1], coverage[..., 0], coverage[..., -1]):
        assert not edge.any()


def test_all_images_are_different() -> None:
    # The smallest, where a step of a factor shows least.
    found = Shapes(16, colour=False, values={"x": 8, "y": 8})
    images = found.images(every(found))
    assert len({image.tobytes() for image in images}) == len(found) == 4 * 6 * 10 * 8 * 8


def test_colours_are_hues_at_full_value() -> None:
    import colorsys

    found = Shapes(16, values={"colour": 12})
    factors = np.tile([0, 5, 0, 8, 8, 0], (12, 1))
    factors[:, 5] = np.arange(12)
    peaks = found.images(factors).max((1, 2)) / 255
    theirs = [colorsys.hsv_to_rgb(hue / 12, 0.75, 1.0) for hue in range(12)]
    np.testing.assert_allclose(peaks, theirs, atol=0.5 / 255 + 1e-6)
    # In a pixel of an edge all channels have the same share.
    grey = Shapes(16, colour=False).images(factors[:, :5]) / 255
    np.testing.assert_allclose(
        found.images(factors) / 255, grey * np.array(theirs)[:, None, None], atol=1.01 / 255
    )


def test_a_row_is_a_function_of_the_seed_and_its_number() -> None:
    found = Shapes(seed=3)
    rows = found.factors(50)
    np.testing.assert_array_equal(found.factors(7, start=20), rows[20:27])
    np.testing.assert_array_equal(Shapes(16, seed=3).factors(50), rows)
    assert not np.array_equal(Shapes(seed=4).factors(50), rows)
    assert not np.array_equal(found.factors(50, test=True), rows)
    images = found.images(rows)
    np.testing.assert_array_equal(found.images(rows[20:27]), images[20:27])


def test_factors_are_uniform_and_independent() -> None:
    found = Shapes()
    rows = found.factors(40_000)
    for k, size in enumerate(found.sizes):
        assert stats.chisquare(np.bincount(rows[:, k], minlength=size)).pvalue > 1e-6
    for a, b in itertools.combinations(range(6), 2):
        table = np.zeros((found.sizes[a], found.sizes[b]))
        np.add.at(table, (rows[:, a], rows[:, b]), 1)
        # 21 tests in all: false alarms once in 50,000.
        assert stats.chi2_contingency(table, correction=False).pvalue > 1e-6


def test_factors_may_have_one_value() -> None:
    found = Shapes(colour=False, values={"scale": 1, "rotation": 1, "x": 1, "y": 1})
    assert len(found) == 4
    meaning = found.meanings([[0, 0, 0, 0, 0]])
    assert [float(meaning[name][0]) for name in ("scale", "x", "y")] == pytest.approx(
        [0.24, 0.5, 0.5]
    )


# As a source of data


def test_load_draws_images_with_their_factors() -> None:
    data = load("shapes:train=60,test=20,size=16", validation=10)
    assert (data.name, len(data.train), len(data.validation or ()), len(data.test)) == (
        "shapes", 50, 10, 20,
    )  # fmt: skip
    assert data.factors == ("shape", "scale", "rotation", "x", "y", "colour")
    assert data.train.x.max() <= 1
    found = Shapes(16)
    np.testing.assert_array_equal(data.test.y, found.factors(20, test=True))
    for part in (data.train, data.test):
        np.testing.assert_array_equal(np.round(part.x * 255), found.images(part.y))
    again = load("shapes:size=16,test=20,train=60", seed=5)
    assert again.fingerprint == data.fingerprint
    assert load("shapes:size=16,test=20,train=60,seed=1").fingerprint != data.fingerprint


def test_default_shapes_need_no_tensorflow() -> None:
    code = (
        "import sys, tfvae.data; d = tfvae.data.load('shapes');"
        "print(len(d.train), len(d.test), d.test.shape, 'tensorflow' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "10000 2000 (32, 32, 3) False"


def test_an_archive_may_name_its_factors(tmp_path: Path) -> None:
    x, y = np.zeros((20, 3), "float32"), np.arange(40).reshape(20, 2)
    np.savez(tmp_path / "a.npz", x=x, y=y, factors=np.array(["width", "height"]))
    assert load(tmp_path / "a.npz").factors == ("width", "height")
    # What else is called so is its owner's own affair, and none of the fingerprint's.
    for other in (np.zeros(3), np.array([{}])):
        np.savez(tmp_path / "b.npz", x=x, y=y, factors=other)
        np.savez(tmp_path / "c.npz", x=x, y=y)
        found = load(tmp_path / "b.npz")
        assert found.factors == ()
        assert found.fingerprint == load(tmp_path / "c.npz").fingerprint


def test_shapes_are_converted_as_they_are_drawn(tmp_path: Path) -> None:
    name = "shapes:train=70,test=30,size=16,colour=no"
    converted = convert.convert(name, tmp_path / "s", validation=10)
    assert converted.layout.factors == ("shape", "scale", "rotation", "x", "y")
    streamed, whole = load(tmp_path / "s"), load(name)
    assert streamed.factors == whole.factors
    test = streamed.test.examples()  # type: ignore[union-attr]
    np.testing.assert_array_equal(test.x, whole.test.x)
    np.testing.assert_array_equal(test.y, whole.test.y)
    both = [part.examples() for part in (streamed.train, streamed.validation)]  # type: ignore[union-attr]
    mine = {
        (x.tobytes(), y.tobytes()) for each in both for x, y in zip(each.x, each.y, strict=True)
    }
    theirs = {(x.tobytes(), y.tobytes()) for x, y in zip(whole.train.x, whole.train.y, strict=True)}
    assert mine == theirs


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"size": 15}, "from 16 to 4096. Received: size=15"),
        ({"size": 32.0}, "size=32.0"),
        ({"seed": -1}, "seed=-1"),
        ({"values": {"hue": 3}}, "'hue'"),
        ({"colour": False, "values": {"colour": 3}}, "white shapes do not have"),
        ({"values": {"shape": 5}}, "from 1 to 4 values of shape"),
        ({"values": {"x": 0}}, "x=0"),
    ],
)
def test_shapes_that_there_are_not(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Shapes(**arguments)


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ([0, 0, 0, 0, 0], "of shape"),
        ([[0, 0, 0, 0, 0, 0]], r"\[N, 5\], of shape, scale"),
        ([[0.0] * 5], "float64"),
        ([[0] * 5, [0, 6, 0, 0, 0]], "scale from 0 to 5. Received: 6, in row 1"),
        ([[-1, 0, 0, 0, 0]], "Received: -1"),
    ],
)
def test_factors_that_there_are_not(factors: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Shapes(colour=False).images(factors)
    with pytest.raises(ValueError, match="`n`"):
        Shapes().factors(-1)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shapes:64", "as in shapes:size=64"),
        ("shapes:sise=64", "Did you mean 'size'"),
        ("shapes:size=big", "a whole number. Received: size=big"),
        ("shapes:size=8", "from 16"),
        ("shapes:size=32,size=64", "twice"),
        ("shapes:colour=perhaps", "yes, no or a number of hues"),
        ("shapes:test=0", "at least one example"),
        ("shape", "did you mean 'shapes'"),
    ],
)
def test_names_that_are_not_understood(name: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        load(name)
    assert shapes.parse("shapes:color=no, size = 16").shapes == Shapes(16, colour=False)


@pytest.mark.parametrize("model", ["cvae", "semi_supervised_vae"])
def test_models_of_classes_say_that_factors_are_several(model: str) -> None:
    data = load("shapes:train=20,test=10,size=16,colour=no")
    vae = getattr(tfvae.zoo, model)(
        (16, 16, 1), 2, classes=16, hidden=(4,), likelihood="ContinuousBernoulli"
    )
    vae.compile("adam")
    with pytest.raises(ValueError, match=r"shape \(20, 5\). Of ground-truth factors pass one"):
        vae.fit(data.train, verbose=0)

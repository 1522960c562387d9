"""Plots: what is in the pictures, pixel by pixel and line by line; not only that there are any."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tfvae import plots

HISTORY = {
    "loss": [210.0, 150.0, 130.0],
    "elbo": [-210.0, -150.0, -130.0],
    "log_likelihood": [-205.0, -130.0, -106.0],
    "kl": [5.0, 20.0, 24.0],
    "val_elbo": [-170.0, -140.0, -133.0],
    "val_log_likelihood": [-160.0, -119.0, -109.0],
    "val_kl": [10.0, 21.0, 24.0],
}


def images(n, *shape):
    return np.random.default_rng(0).random((n, *shape)).astype(np.float32)


def drawn(figure):
    return np.asarray(figure.axes[0].images[0].get_array())


def tiles(canvas, columns, count, size, gap):
    """Each image's block in the canvas."""
    height, width = size
    for i in range(count):
        top, left = (
            gap + place * (side + gap) for place, side in zip(divmod(i, columns), size, strict=True)
        )
        yield canvas[top : top + height, left : left + width]


def test_import_needs_no_matplotlib():
    code = (
        "import sys, tfvae.plots;"
        "print([m for m in ('tensorflow', 'keras', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 3)])
@pytest.mark.parametrize(("count", "columns"), [(1, None), (6, 3), (7, 3), (2, 9)])
def test_grid_shows_each_pixel(shape, count, columns):
    x, scale, gap = images(count, *shape), 3, 2
    canvas = drawn(plots.grid(x, columns, scale=scale))
    columns = min(columns or 1, count)
    rows = -(-count // columns)
    assert canvas.shape == (gap + rows * (15 + gap), gap + columns * (12 + gap), 3)
    colour = np.broadcast_to(x.reshape(count, 5, 4, -1), (count, 5, 4, 3))
    for image, tile in zip(colour, tiles(canvas, columns, count, (15, 12), gap), strict=True):
        for i in range(scale):
            for j in range(scale):
                np.testing.assert_array_equal(tile[i::scale, j::scale], image)
    if count == 7:  # places without an image are blank paper
        assert (canvas[-15 - gap :, gap + 12 + gap :] == 1).all()


def test_grid_is_about_square_by_default():
    figure = plots.grid(images(64, 8, 8))
    width, height = figure.get_size_inches() * figure.dpi
    assert drawn(figure).shape[0] == drawn(figure).shape[1]
    assert width == pytest.approx(height)
    assert 900 < width < 1200
    for wide in (plots.grid(images(10, 4, 40)), plots.grid(images(100, 28, 28))):
        width, height = wide.get_size_inches()
        assert 0.4 < width / height < 2.5


@pytest.mark.parametrize("title", [None, "Samples", "A title much longer than its picture is wide"])
def test_saved_pixels_are_the_images(tmp_path, title):
    x = images(6, 9, 7)
    figure = plots.grid(x, 3, tmp_path / "deep" / "grid.png", title=title, scale=4)
    picture = np.asarray(Image.open(tmp_path / "deep" / "grid.png").convert("RGB")) / 255
    canvas = drawn(figure)
    height, width, _ = canvas.shape
    axes = figure.axes[0].get_window_extent()
    left, bottom = round(axes.x0), round(axes.y0)
    top = picture.shape[0] - bottom - height
    shown = picture[top : top + height, left : left + width]
    # One pixel of the canvas is one of the file: no blur, nothing cut off, 8 bits apart.
    np.testing.assert_allclose(shown, canvas, atol=1 / 255)
    border = picture.copy()
    border[top : top + height, left : left + width] = 1
    ink = np.argwhere((border < 0.9).any(axis=-1))
    if title is None:
        assert not len(ink)
    else:
        assert figure.axes[0].get_title() == title
        assert (ink[:, 0] < top).all()
        assert ink[:, 1].min() > 4
        assert ink[:, 1].max() < picture.shape[1] - 4


@pytest.mark.parametrize(("shape", "columns"), [((7, 9, 7), 3), ((2, 4, 4, 3), None)])
def test_the_quick_grid_is_the_grid(tmp_path, shape, columns):
    x = images(*shape)
    plots.grid(x, columns, tmp_path / "slow.png")
    plots.save_grid(x, tmp_path / "quick.png", columns)
    slow, quick = (Image.open(tmp_path / f"{name}.png") for name in ("slow", "quick"))
    assert slow.info["dpi"] == pytest.approx(quick.info["dpi"])
    pixels = [np.asarray(each.convert("RGB"), int) for each in (slow, quick)]
    np.testing.assert_allclose(*pixels, rtol=0, atol=1)  # each rounds to 8 bits its own way
    plots.save_grid(x, tmp_path / "vector.svg", columns)
    assert (tmp_path / "vector.svg").read_text().lstrip().startswith("<?xml")


def test_the_quick_grid_takes_bytes(tmp_path):
    x = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    plots.save_grid(x, tmp_path / "bytes.png", scale=1)
    picture = np.asarray(Image.open(tmp_path / "bytes.png"))[20:-20, 20:-20]
    np.testing.assert_array_equal(picture, np.repeat(x[0][..., None], 3, axis=-1))


def test_values_are_clipped():
    canvas = drawn(plots.grid(np.array([[[-3.0, 0.5], [1.0, 7.0]]]), scale=1))
    assert canvas[2:-2, 2:-2, 0].tolist() == [[0.0, 0.5], [1.0, 1.0]]


@pytest.mark.parametrize("columns", [4, 12])
def test_reconstructions_stand_below_their_originals(columns):
    x, scale, gap = images(6, 8, 8), 4, 2
    mean = 1 - x
    figure = plots.reconstructions(x, mean[..., None], columns=columns, scale=scale, title="Test")
    canvas, step = drawn(figure)[..., 0], 8 * scale + gap
    columns = min(columns, 6)
    for i in range(6):
        pair, column = divmod(i, columns)
        top, left = gap + pair * (2 * step + 5 * gap), gap + column * step
        for below, image in ((0, x[i]), (1, mean[i])):
            tile = canvas[top + below * step :, left:][: 8 * scale, : 8 * scale]
            np.testing.assert_array_equal(tile[::scale, ::scale], image)
    labels = figure.axes[0].texts
    pairs = -(-6 // columns)
    assert [t.get_text() for t in labels] == ["original", "reconstruction"] * pairs
    heights = [t.xy[1] for t in labels]
    assert heights == sorted(heights)
    assert heights[0] == gap + 4 * scale
    # The labels lie within the picture, beside the images.
    figure.draw_without_rendering()
    for text in labels:
        box = text.get_window_extent()
        assert 0 < box.x0 < box.x1 < figure.axes[0].get_window_extent().x0


def test_training_draws_the_terms():
    figure = plots.training(HISTORY)
    assert [a.get_title(loc="left").split()[0] for a in figure.axes] == [
        "ELBO",
        "log-likelihood",
        "KL",
    ]
    for axes, term in zip(figure.axes, ("elbo", "log_likelihood", "kl"), strict=True):
        train, validation = axes.lines
        for line, key in ((train, term), (validation, f"val_{term}")):
            assert line.get_xdata().tolist() == [1, 2, 3]
            assert line.get_ydata().tolist() == HISTORY[key]
        assert (train.get_linestyle(), validation.get_linestyle()) == ("-", "--")
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "nats per example")
        legend = [t.get_text().split(" (")[0] for t in axes.get_legend().get_texts()]
        assert legend == ["training", "validation"]
    assert figure.axes[0].get_legend().get_texts()[1].get_text() == "validation (last −133.0)"


@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 37, 1000])
def test_epochs_are_whole_numbers_from_1(epochs):
    figure = plots.training({"elbo": np.linspace(-200, -100, epochs)})
    low, high = figure.axes[0].get_xlim()
    ticks = [t for t in figure.axes[0].get_xticks() if low <= t <= high]
    assert ticks
    assert all(t == int(t) and 1 <= t <= epochs for t in ticks)


def test_training_without_validation_or_some_terms(tmp_path):
    figure = plots.training({"kl": [1.0, float("nan")], "val_kl": []}, tmp_path / "a.svg")
    assert [len(a.lines) for a in figure.axes] == [1]
    assert (tmp_path / "a.svg").read_text().lstrip().startswith("<?xml")


def test_training_is_legible_in_grey():
    figure = plots.training(HISTORY)
    for axes in figure.axes:
        colour = axes.lines[0].get_color()
        r, g, b = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        assert 0.299 * r + 0.587 * g + 0.114 * b < 0.45


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.grid(images(4, 784)), r"images of shape \(4, 784\); only images"),
        (lambda: plots.grid(images(4, 8, 8, 2)), r"shape \(4, 8, 8, 2\)"),
        (lambda: plots.grid(np.zeros((0, 8, 8))), r"shape \(0, 8, 8\)"),
        (lambda: plots.grid(np.full((1, 8, 8), np.nan)), "NaN or infinite"),
        (lambda: plots.grid(np.zeros((1, 8, 8), np.uint8)), "dtype uint8; scale integers"),
        (lambda: plots.grid(images(4, 8, 8), 0), "columns=0"),
        (lambda: plots.grid(images(4, 8, 8), scale=1.5), "scale=1.5"),
        (lambda: plots.reconstructions(images(4, 9), images(4, 9)), r"x of shape \(4, 9\)"),
        (
            lambda: plots.reconstructions(images(4, 8, 8), images(3, 8, 8)),
            r"x \(4, 8, 8\), mean \(3, 8, 8\); pass one",
        ),
        (lambda: plots.training({"loss": [1.0]}), "Received keys: loss; pass fit"),
        (lambda: plots.training({}), "Received keys: none"),
        (lambda: plots.training({"elbo": []}), "Expected history to hold values"),
        (lambda: plots.grid(images(1, 8, 8), path="a.gifx"), "png.*Received: path=a.gifx"),
        (lambda: plots.grid(images(1, 8, 8), path="picture"), "end it in .png"),
        (lambda: plots.save_grid(images(1, 8, 8), "a.gifx"), "png.*Received: path=a.gifx"),
        (lambda: plots.save_grid(images(4, 784), "a.png"), r"images of shape \(4, 784\)"),
    ],
)
def test_errors_say_what_to_do(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


def test_a_failed_save_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "grid.png"
    plots.grid(images(1, 8, 8), path=path)
    before = path.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["grid.png"]

    def full(figure, target, **_):
        target.write_bytes(b"half a pict")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(OSError, match=r"Could not write the picture .No space left.*grid\.png"):
        plots.grid(images(2, 8, 8), path=path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["grid.png"]


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Could not write the picture"):
        plots.save_grid(images(1, 8, 8), tmp_path / "file" / "grid.png")
    with pytest.raises(OSError, match="Could not write the picture"):
        plots.grid(images(1, 8, 8), path=tmp_path / "file" / "grid.png")


def test_pyplot_is_not_touched(tmp_path):
    code = (
        "import sys, numpy as np; from tfvae import plots;"
        f"plots.save_grid(np.zeros((2, 4, 4)), {str(tmp_path / 'a.png')!r});"
        "assert 'matplotlib' not in sys.modules;"
        "plots.grid(np.zeros((2, 4, 4))); plots.training({'kl': [1.0]});"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_sequences_are_lines_up_to_their_lengths():
    values = np.arange(24.0).reshape(3, 4, 2)
    figure = plots.series(values, lengths=[4, 2, 3], columns=2)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [len(axes.lines) for axes in panels] == [2, 2, 2]
    for place, (axes, length) in enumerate(zip(panels, [4, 2, 3], strict=True)):
        for k, line in enumerate(axes.lines):
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, length + 1))
            np.testing.assert_array_equal(line.get_ydata(), values[place, :length, k])
    # Two lines differ without colours.
    assert len({line.get_linestyle() for line in panels[0].lines}) == 2
    assert len(plots.series(np.zeros((1, 5))).axes) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(3), "to be sequences"),
        (np.zeros((2, 3, 1, 1)), "to be sequences"),
        (np.zeros((0, 3)), "to be sequences"),
        (np.full((2, 3), np.nan), "NaN only"),
        (np.array([[0.0, np.inf]]), "infinity among them"),
        (np.array([["a"]]), "to be sequences"),
    ],
)
def test_what_is_no_sequence_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        plots.series(values)


def test_levels_of_a_hierarchy_stand_in_the_panel_of_the_kl():
    figure = plots.training({"elbo": [-9.0], "kl": [3.0], "kl_0": [2.0], "kl_1": [1.0]})
    labels = [line.get_label() for line in figure.axes[1].lines]
    assert labels[1:] == ["z_0, training (last 2.00)", "z_1, training (last 1.00)"]
    assert len(figure.axes[0].lines) == 1


@pytest.mark.parametrize("shape", [(3, 4, 5, 5), (3, 4, 5, 5, 1), (3, 4, 5, 5, 3)])
def test_rows_are_labelled_and_headed(shape):
    x = images(*shape)
    labels, headings = ["a", "b", "c"], list("wxyz")
    figure = plots.rows(x, labels, headings=headings, scale=6, note="A note", title="A title")
    canvas = drawn(figure)
    colour = np.broadcast_to(x.reshape(12, 5, 5, -1), (12, 5, 5, 3))
    for image, tile in zip(colour, tiles(canvas, 4, 12, (30, 30), 2), strict=True):
        np.testing.assert_array_equal(tile[::6, ::6], image)
    assert [t.get_text() for t in figure.axes[0].texts] == [*labels, *headings]
    figure.draw_without_rendering()
    box, edge = figure.axes[0].get_window_extent(), figure.bbox
    for text in (*figure.axes[0].texts, *figure.texts, figure.axes[0].title):
        extent = text.get_window_extent()
        inside = box.x0 < extent.x1 and extent.x0 < box.x1 and box.y0 < extent.y1 - 1
        assert not (inside and extent.y0 + 1 < box.y1)  # beside the images
        assert min(extent.x0, extent.y0) >= 0
        assert (extent.x1 <= edge.x1, extent.y1 <= edge.y1) == (True, True)


def test_headings_that_would_meet_are_left_out():
    figure = plots.rows(images(1, 30, 4, 4), headings=["−10.5"] * 30, scale=8)
    shown = figure.axes[0].texts
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in shown]
    assert 3 < len(shown) < 30
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


def test_a_manifold_grows_to_the_right_and_upwards():
    x = images(3, 2, 6, 6)
    figure = plots.manifold(x, [-1.5, 2.0], [0.0, 0.5, 1.0], names=("a", "b"), note="note")
    canvas = drawn(figure)
    for image, tile in zip(x[::-1].reshape(6, 6, 6), tiles(canvas, 2, 6, (96, 96), 4), strict=True):
        np.testing.assert_array_equal(tile[::16, ::16, 0], image)
    figure.draw_without_rendering()
    texts = {text.get_text(): text.get_window_extent() for text in figure.axes[0].texts}
    assert set(texts) == {"0.00", "0.50", "1.00", "−1.50", "2.00", "a", "b"}
    assert texts["0.00"].y0 < texts["1.00"].y0
    assert texts["−1.50"].x0 < texts["2.00"].x0
    box = figure.axes[0].get_window_extent()
    assert texts["a"].y1 < texts["2.00"].y0 < box.y0
    assert texts["b"].x1 < texts["0.00"].x0 < box.x0
    assert figure.texts[0].get_window_extent().y1 < texts["a"].y0


def test_labels_are_classes_names_or_amounts():
    points = np.random.default_rng(0).normal(size=(60, 2))
    named = plots.scatter(points, np.arange(60) % 2, names={0: "cat", 1: "dog"}).axes[0]
    assert [text.get_text() for text in named.texts] == ["cat", "dog"]
    assert len({str(group.get_paths()[0].vertices.tolist()) for group in named.collections}) == 2
    texts = plots.scatter(points, np.array(["b", "a", "a"] * 20)).axes[0]
    assert [group.get_label() for group in texts.collections] == ["a", "b"]
    np.testing.assert_array_equal(texts.collections[1].get_offsets(), points[::3])
    figure = plots.scatter(points, np.linspace(0, 1, 60))
    assert len(figure.axes) == 2  # one is the scale of colours
    np.testing.assert_array_equal(figure.axes[0].collections[0].get_offsets(), points)


@pytest.mark.parametrize("labels", [None, [0, 1, 1]])
def test_points_that_are_all_in_one_place_have_room(tmp_path, labels):
    # Rounding of collapsed codes: without limits of its own matplotlib warns that there are none.
    points = [[8.4e-8, -7.6e-25]] * 3
    axes = plots.scatter(points, labels, tmp_path / "a.png").axes[0]
    for limits in (axes.get_xlim(), axes.get_ylim()):
        np.testing.assert_allclose(limits, (-0.5, 0.5), atol=1e-6)
    assert plots.scatter([[0, 0], [0, 1e-6]]).axes[0].get_ylim()[1] < 1e-5  # small is not nothing


def test_colours_of_labels_are_dark_enough_for_paper():
    figure = plots.scatter(np.zeros((10, 2)), np.arange(10))
    for group in figure.axes[0].collections:
        r, g, b, _ = group.get_facecolor()[0]
        assert 0.299 * r + 0.587 * g + 0.114 * b < 0.5


def test_bars_of_latents_that_say_nothing_are_empty():
    figure = plots.kl([[0.0, 2.0, 0.5]], names=["top"])
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "top:  2 of 3 in use, 2.50 nats"
    assert axes.get_xlabel() == "latent; in use above 0.01"
    assert [bar.get_facecolor()[:3] == (1, 1, 1) for bar in axes.patches] == [False, False, True]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "0"]
    assert plots.kl([np.arange(500.0)]).get_size_inches()[0] < 12


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.rows(images(2, 3, 4)), r"rows, \[R, C, H, W\].*\(2, 3, 4\)"),
        (lambda: plots.rows(images(2, 3, 4, 4), ["a"]), "2 labels, or none. Received: 1"),
        (lambda: plots.manifold(images(2, 3, 4, 4), x=[1.0]), "3 values of x, or none"),
        (lambda: plots.manifold(images(4, 4, 4)), "on a grid"),
        (lambda: plots.scatter(np.zeros((3, 3))), r"\[N, 2\] or \[N, 1\].*\(3, 3\)"),
        (lambda: plots.scatter(np.zeros((3, 2)), [1]), r"label for each point.*\(1,\) for 3"),
        (lambda: plots.scatter(np.full((3, 2), np.nan)), "NaN"),
        (lambda: plots.kl([[np.nan]]), "finite"),
        (lambda: plots.kl([]), "Expected finite numbers"),
        (lambda: plots.kl([[1.0]], names=["a", "b"]), "1 names, or none. Received: 2"),
        (lambda: plots.codebook([0, 0]), "some of them at all"),
        (lambda: plots.forecast(np.zeros((2, 3)), np.zeros((4, 1, 2))), r"draws \[S, N, H, k\]"),
        (lambda: plots.sentences([]), "Received: 0 rows"),
        (lambda: plots.sentences([("a",), ("a", "b")]), "of 1, 2 sentences"),
        (lambda: plots.series(np.zeros((2, 3)), means=np.zeros((2, 4))), "means of the shape"),
        (lambda: plots.grid(images(1, 40_000, 1)), "at most 30,000 pixels a side"),
    ],
)
def test_pictures_of_arrays_say_what_is_wrong_with_them(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()

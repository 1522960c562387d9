"""Pictures of models: what is in them against what the models say; not only that they exist."""

from __future__ import annotations

import re
import sys
import types
from typing import Any

import numpy as np
import pytest
from outside import ROOT

import tfvae
from tfvae import generation, pictures, random
from tfvae.pictures import interpolation, levels
from tfvae.pictures.latents import in_plane


def drawn(figure: Any) -> Any:
    """Return the canvas of a picture of images."""
    return np.asarray(figure.axes[0].images[0].get_array())


def cells(figure: Any, rows: int, columns: int, size: int, least: int = 2) -> Any:
    """Return the images of a picture, [rows, columns, size, size], by their top left pixels."""
    canvas = drawn(figure)[..., 0]
    scale = max(1, min(16, round(1000 / (columns * size))))
    gap = max(least, round(scale * size / 32))
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


def test_the_manifold_is_at_quantiles_of_the_prior(plane: Any) -> None:
    from scipy.stats import norm

    found = cells(pictures.draw("manifold", plane, n=5), 5, 5, 8, least=4)
    low, high = norm.ppf(0.1), norm.ppf(0.9)
    corners = {
        (-1, 0): (low, low),
        (-1, -1): (high, low),
        (0, 0): (low, high),
        (0, -1): (high, high),
    }
    for (row, column), z in corners.items():
        wanted = plane.likelihood.mean(plane.decoder_params(np.array([z], "float32")))
        # float32: the map of z and the drawing each round.
        np.testing.assert_allclose(found[row, column], wanted[0, ..., 0], rtol=0, atol=1e-5)


def test_a_plane_of_chosen_latents_leaves_the_others_in_the_middle() -> None:
    vae = digits_vae(4)
    found = cells(pictures.draw("manifold", vae, n=3, dims=(3, 1)), 3, 3, 8, least=4)
    from scipy.stats import norm

    z = np.zeros((1, 4), "float32")
    z[0, 3], z[0, 1] = norm.ppf(5 / 6), norm.ppf(1 / 6)
    wanted = np.asarray(vae.likelihood.mean(vae.decoder_params(z)))[0, ..., 0]
    np.testing.assert_allclose(found[2, 2], wanted, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=r"two latents, from 0 to 3\. Received: dims=\(0, 4\)"):
        pictures.draw("manifold", vae, dims=(0, 4))


def test_a_uniform_prior_has_quantiles_of_its_own_and_a_mixture_none(digits: Any) -> None:
    prior = tfvae.priors.Uniform((2,))
    subject = pictures.Subject.of(digits_vae(posterior="Kumaraswamy", prior=prior))
    found = pictures.positions.positions(subject, [0.25, 0.5])
    np.testing.assert_allclose(found.z, [[0.25, 0.25], [0.5, 0.5]], rtol=1e-6)
    vamp = tfvae.zoo.mixture_prior_vae((8, 8, 1), 2, hidden=(16,), likelihood="ContinuousBernoulli")
    assert "pass examples" in (pictures.available(vamp)["manifold"] or "")
    subject = pictures.Subject.of(vamp, digits)
    found = pictures.positions.positions(subject, [0.1, 0.9])
    codes = tfvae.features.codes(vamp, digits)
    np.testing.assert_allclose(found.z, np.quantile(codes, [0.01, 0.99], axis=0), rtol=1e-5)
    assert "range of the examples' codes" in found.source
    figure = pictures.draw("manifold", vamp, digits, n=3)
    assert figure.texts[-1].get_text().startswith("over the range of the examples' codes")


def test_a_traversal_of_a_dead_latent_is_constant_and_says_so(digits: Any) -> None:
    vae = digits_vae(3)
    # Latent 1 is dead: the decoder does not see it, and its posterior is its prior.
    weights = vae.decoder.weights[0]
    weights.assign(np.array(weights) * np.array([[1.0], [0.0], [1.0]], "float32"))
    kernel, bias = (w for w in vae.encoder.weights if w.shape[-1] == 6)
    mask = np.array([1, 0, 1, 1, 0, 1], "float32")
    kernel.assign(np.array(kernel) * mask)
    scale = float(np.log(np.expm1(1 - 1e-4)))  # at which the scale, softplus(raw) + 1e-4, is 1
    bias.assign([3.0, 0.0, 0.0, 0.0, scale, 0.0])
    figure = pictures.draw("traversals", vae, digits, n=5)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[0].startswith("z₀  KL ")
    assert texts[2] == "z₁  unused"
    canvas = drawn(figure)[..., 0]
    scale_, gap = 16, 4
    rows = [
        [
            canvas[top : top + 8 * scale_ : scale_, left : left + 8 * scale_ : scale_]
            for left in (gap + column * (8 * scale_ + gap) for column in range(5))
        ]
        for top in (gap + row * (8 * scale_ + gap) for row in range(3))
    ]
    moved = [np.ptp(np.stack(row), axis=0).max() for row in rows]
    assert moved[2] == 0
    assert min(moved[:2]) > 0


def test_an_interpolation_ends_at_the_reconstructions(plane: Any, digits: Any) -> None:
    figure = pictures.draw("interpolation", plane, digits, n=4, pairs=[(7, 3)])
    canvas, scale, gap = drawn(figure)[..., 0], 16, 4
    ends = np.asarray(plane.reconstruct(digits.x[[7, 3]]))[..., 0]
    for row in range(2):  # along the line, and along the arc
        top = gap + row * (8 * scale + gap)
        for column, wanted in ((0, ends[0]), (3, ends[1])):
            left = gap + column * (8 * scale + gap)
            found = canvas[top : top + 8 * scale : scale, left : left + 8 * scale : scale]
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_the_condition_of_an_interpolation_is_that_of_the_nearer_end(digits: Any) -> None:
    vae = tfvae.zoo.cvae(
        (8, 8, 1), classes=10, latent_dim=2, hidden=(16,), likelihood="ContinuousBernoulli"
    )
    figure = pictures.draw("interpolation", vae, digits, n=3, pairs=[(0, 1)])
    canvas, scale, gap = drawn(figure)[..., 0], 16, 4
    ends = np.asarray(vae.reconstruct(digits.x[:2], digits.y[:2]))[..., 0]
    for column, wanted in ((0, ends[0]), (2, ends[1])):
        left = gap + column * (8 * scale + gap)
        found = canvas[gap : gap + 8 * scale : scale, left : left + 8 * scale : scale]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_an_arc_keeps_the_length_and_a_line_does_not() -> None:
    rng, t = np.random.default_rng(0), np.linspace(0, 1, 7)
    a, b = rng.normal(size=(2, 5))
    a, b = 2 * a / np.linalg.norm(a), 2 * b / np.linalg.norm(b)
    arc, line = interpolation.slerp(a, b, t), interpolation.lerp(a, b, t)
    np.testing.assert_allclose(np.linalg.norm(arc, axis=1), 2, rtol=1e-12)
    assert np.linalg.norm(line, axis=1)[3] < 1.99
    for points in (arc, line):
        np.testing.assert_allclose(points[[0, -1]], [a, b], rtol=1e-12, atol=1e-12)
    # At equal angles from each other.
    steps = np.sum(arc[1:] * arc[:-1], axis=1) / 4
    np.testing.assert_allclose(steps, steps[0], rtol=1e-12)
    # Where there is no arc it is the line.
    for end in (3 * a, -a, 0 * a):
        np.testing.assert_allclose(interpolation.slerp(a, end, t), interpolation.lerp(a, end, t))


def test_points_of_a_scatter_are_the_codes(plane: Any, digits: Any) -> None:
    figure = pictures.draw("scatter", plane, digits)
    mean = np.asarray(plane.encode(digits.x).mean())
    for label, group in enumerate(figure.axes[0].collections):
        wanted = mean[digits.y == label]
        np.testing.assert_allclose(group.get_offsets(), wanted, rtol=0, atol=1e-6)
    # The labels can be read without colours.
    assert [group.get_label() for group in figure.axes[0].collections] == list("0123456789")


def test_principal_components_are_scikit_learns(digits: Any) -> None:
    from sklearn.decomposition import PCA

    vae = digits_vae(5)
    figure = pictures.draw("scatter", vae, digits.x)
    (group,) = figure.axes[0].collections
    pca = PCA(2).fit(codes := tfvae.features.codes(vae, digits.x))
    wanted = pca.transform(codes)
    signs = np.sign(np.sum(wanted * group.get_offsets(), axis=0))
    np.testing.assert_allclose(group.get_offsets(), wanted * signs, rtol=0, atol=1e-4)
    share = f"({100 * pca.explained_variance_ratio_[0]:.0f}%)"
    assert share in figure.axes[0].get_xlabel()
    assert "no labels" in figure.get_supxlabel()


def test_codes_that_are_all_one_are_in_one_place() -> None:
    codes = np.tile(np.random.default_rng(3).normal(size=(1, 16)).astype("float32"), (3, 1))
    points, _ = in_plane(codes, "auto", 0)
    assert not points.any()


def test_bars_are_the_kl_of_the_trace(digits: Any) -> None:
    vae = digits_vae(5)
    figure = pictures.draw("kl", vae, digits)
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    names = [int(text.get_text()) for text in figure.axes[0].get_xticklabels()]
    (latent,) = vae.trace(digits.x).latents  # in closed form, whatever the draw
    wanted = np.mean(np.asarray(latent.kl_per_dimension), axis=0)
    np.testing.assert_allclose(heights, wanted[names], rtol=1e-4)
    assert heights == sorted(heights, reverse=True)
    total = np.mean(np.asarray(vae.trace(digits.x).kl_per_latent))
    assert sum(heights) == pytest.approx(total, rel=1e-4)


def test_levels_of_a_hierarchy_have_panels_whose_bars_sum_to_its_kl(digits: Any) -> None:
    vae = tfvae.zoo.hierarchical_vae(
        (8, 8, 1), latent_dim=(4, 2), hidden=(16,), between=(8,), likelihood="ContinuousBernoulli"
    )
    figure = pictures.draw("kl", vae, digits.take(50), samples=64)
    sums = [sum(bar.get_height() for bar in axes.patches) for axes in figure.axes]
    kl = np.mean(np.asarray(vae.trace(digits.x[:50], 512, 1).kl_per_latent), axis=0)
    # Of the lower level the KL is a mean over draws above: 64 and 512 of 50 examples.
    np.testing.assert_allclose(sums, kl, rtol=0.05)


def test_the_usage_of_codes_is_counted(digits: Any) -> None:
    vae = tfvae.zoo.vq_vae(
        (8, 8, 1), 3, codes=8, positions=2, hidden=(16,), likelihood="ContinuousBernoulli"
    )
    figure = pictures.draw("codebook", vae, digits)
    codes = np.ravel(vae.encode(vae.as_data(digits.x)).codes)
    counts = np.sort(np.bincount(codes, minlength=8))[::-1] / codes.size
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    np.testing.assert_allclose(heights, counts, rtol=1e-9)
    used = counts[counts > 0]
    perplexity = np.exp(-np.sum(used * np.log(used)))
    assert f"perplexity {perplexity:.2f}" in figure.axes[0].get_title(loc="left")


@pytest.mark.slow
def test_spaces_are_pulled_where_their_terms_pull(digits: Any) -> None:
    figure = pictures.draw("spaces", digits_vae(), digits, epochs=60)
    spread = {}
    for axes in figure.axes:
        points = np.concatenate([group.get_offsets() for group in axes.collections])
        spread[axes.get_title(loc="left")] = points.std()
    # The KL alone is least where all codes are 0; alone, reconstruction spreads them without end.
    assert spread["KL only"] < 0.1 < spread["both: the ELBO"] < spread["reconstruction only"]


@pytest.fixture(scope="module")
def hierarchy() -> Any:
    return tfvae.zoo.hierarchical_vae(
        (8, 8, 1), latent_dim=(4, 2), hidden=(16,), between=(8,), likelihood="ContinuousBernoulli"
    )


def test_levels_above_are_kept_and_those_below_drawn(hierarchy: Any) -> None:
    figure = pictures.draw("levels", hierarchy, n=4, rows=1, seed=3)
    canvas, scale, gap = drawn(figure)[..., 0], 16, 4
    found = [
        [
            canvas[top : top + 8 * scale : scale, left : left + 8 * scale : scale]
            for left in (gap + j * (8 * scale + gap) for j in range(4))
        ]
        for top in (gap + i * (8 * scale + gap) for i in range(2))
    ]
    # Where all levels are drawn, it is what the model generates; so is the image whose lower level
    # has the seed of the level that is kept.
    wanted = np.asarray(hierarchy.generate(4, seed=3).mean)[..., 0]
    np.testing.assert_allclose(found[0], wanted, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[1][0], wanted[0], rtol=0, atol=1e-5)
    assert not np.allclose(found[1][1], wanted[1], atol=1e-5)
    # Drawn at the top alone, with the lower level's prior at that level's mean, they would agree.
    kept = levels.drawn(hierarchy, 0, 3, np.arange(3, 7))
    prior = hierarchy.priors[0]
    top = np.repeat(np.asarray(hierarchy.generate(1, seed=3).z[1]), 4, axis=0)
    noise = generation.base_noise(np.arange(3, 7), [(prior, random.LATENT)])[0]
    np.testing.assert_allclose(kept, prior.transform(noise, top), rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def walks() -> Any:
    """Sequences and how long each of them is."""
    x = np.random.default_rng(0).normal(size=(5, 9, 2)).cumsum(axis=1).astype("float32")
    return x, np.array([9, 9, 4, 9, 7])


@pytest.fixture(scope="module")
def markov() -> Any:
    return tfvae.zoo.deep_markov_model((9, 2), 2, likelihood="Normal", hidden=(8,), units=8)


@pytest.mark.slow
def test_bands_are_quantiles_of_the_forecast_from_the_last_step_seen(
    markov: Any, walks: Any
) -> None:
    x, lengths = walks
    figure = pictures.draw("forecast", markov, walks, n=3, context=6, samples=50, seed=4)
    seen = np.minimum(lengths, 6)
    sample = np.asarray(markov.forecast(x[:3], 3, observed=seen[:3], samples=50, seed=4).sample)
    for place, axes in enumerate(figure.axes):
        i, k = divmod(place, 2)
        lines = {line.get_label(): line for line in axes.lines}
        median = lines["median"]
        steps = np.arange(seen[i] + 1, seen[i] + 4)
        np.testing.assert_array_equal(median.get_xdata(), steps)
        np.testing.assert_allclose(median.get_ydata(), np.median(sample[:, i, :, k], 0), rtol=1e-5)
        outer = axes.collections[0].get_paths()[0].vertices
        for end in np.quantile(sample[:, i, :, k], (0.05, 0.95), axis=0):
            for at in zip(steps, end, strict=True):
                assert np.abs(outer - at).sum(axis=1).min() < 1e-4
        came = lines["what came"].get_ydata()
        wanted = x[i, seen[i] - 1 : min(seen[i] + 3, lengths[i]), k]
        np.testing.assert_array_equal(came[: len(wanted)], wanted)
        assert np.isnan(came[len(wanted) :]).all()


@pytest.mark.slow
def test_sequences_are_drawn_up_to_their_lengths_with_what_is_made_of_them(
    markov: Any, walks: Any
) -> None:
    x, lengths = walks
    figure = pictures.draw("reconstructions", markov, walks, columns=5)
    mean = np.asarray(markov.reconstruct(x, observed=lengths))
    for i, axes in enumerate(figure.axes):
        found = [line.get_ydata() for line in axes.lines]
        wanted = [each[i, : lengths[i], k] for k in range(2) for each in (mean, x)]
        for line, values in zip(found, wanted, strict=True):
            np.testing.assert_allclose(line, values, rtol=0, atol=1e-6)
    assert len(pictures.draw("samples", markov, n=4).axes) == 4


@pytest.mark.slow
def test_sentences_are_written_side_by_side() -> None:
    vae = tfvae.zoo.sentence_vae((6,), 2, units=8, embedding=4)
    x = vae.tokenise(["the cat sleeps", "many dogs sing", "the dog sees a cat"])
    texts = [t.get_text() for t in pictures.draw("reconstructions", vae, x).texts]
    assert texts[:3] == ["original", "reconstruction", "the cat sleeps"]
    assert len(texts) == 8
    between = pictures.draw("interpolation", vae, x, n=4, pairs=[(0, 1)]).texts
    assert [t.get_text() for t in between[:4]] == [
        each or "" for each in vae.interpolate("the cat sleeps", "many dogs sing", 4)
    ]
    assert len(pictures.draw("samples", vae, n=7).texts) == 7
    assert "model of text" in (pictures.available(vae, x)["manifold"] or "")


def test_what_cannot_be_drawn_says_why(plane: Any, digits: Any, markov: Any) -> None:
    reasons = pictures.available(plane)
    assert "pass some" in (reasons["reconstructions"] or "")
    assert "no history" in (reasons["training"] or "")
    assert "codebook" in (reasons["codebook"] or "")
    assert "hierarchy" in (reasons["levels"] or "")
    assert "no model of sequences" in (reasons["forecast"] or "")
    assert "model of sequences" in (pictures.available(markov)["manifold"] or "")
    assert "has 4; choose two" in (pictures.available(digits_vae(4))["manifold"] or "")
    flat = tfvae.zoo.vae((64,), 2, hidden=(8,))
    assert "image_shape=(height, width)" in (pictures.available(flat)["samples"] or "")
    with pytest.raises(ValueError, match=r"Could not draw 'training': there is no history"):
        pictures.draw("training", plane, digits, history={"loss": [1.0]})
    with pytest.raises(ValueError, match=r"labels, \[N\], to colour them by"):
        pictures.draw("scatter", plane, digits.x, labels=True)
    with pytest.raises(ValueError, match="values, as an example of shape"):
        pictures.draw("samples", plane, image_shape=(3, 3))
    with pytest.raises(ValueError, match="at least two"):
        pictures.draw("interpolation", plane, digits.x[:1])
    with pytest.raises(ValueError, match="at least two"):
        pictures.draw("kl", plane, digits.x[:1])
    with pytest.raises(ValueError, match="two examples each, of the 360"):
        pictures.draw("interpolation", plane, digits, pairs=[(0, 360)])


def test_labels_that_a_conditional_model_lacks_are_asked_for(digits: Any) -> None:
    vae = tfvae.zoo.cvae(
        (8, 8, 1), classes=10, latent_dim=2, hidden=(8,), likelihood="ContinuousBernoulli"
    )
    reasons = pictures.available(vae, digits.x)
    assert {kind for kind, reason in reasons.items() if "(x, y)" in (reason or "")} >= {
        "reconstructions", "scatter", "kl", "interpolation"
    }  # fmt: skip
    # Classes are rows, and columns of one seed.
    figure = pictures.draw("samples", vae, n=3, seed=2, classes=["nought"])
    assert figure.axes[0].texts[0].get_text() == "nought"
    assert figure.axes[0].texts[9].get_text() == "9"
    top, left = 3 * (8 * 16 + 4) + 4, 2 * (8 * 16 + 4) + 4
    found = drawn(figure)[top : top + 128 : 16, left : left + 128 : 16, 0]
    wanted = vae.generate(1, seed=4, condition=np.array([3])).mean
    np.testing.assert_allclose(found, wanted[0, ..., 0], rtol=0, atol=1e-6)


def test_one_image_and_three_thousand(plane: Any, digits: Any) -> None:
    assert pictures.draw("reconstructions", plane, digits.x[:1])
    assert pictures.draw("samples", plane, n=1)
    assert pictures.draw("scatter", plane, digits.x[:1])
    many = np.resize(digits.x, (3000, 8, 8, 1))
    for kind, n in (("samples", 3000), ("reconstructions", 3000)):
        width, height = pictures.draw(kind, plane, many, n=n).get_size_inches()
        assert 0.3 < width / height < 3
    figure = pictures.draw("scatter", plane, many, limit=1000)
    assert "the first 1,000 of 3,000 examples" in figure.get_supxlabel()


def test_one_latent_is_a_line(digits: Any) -> None:
    vae = digits_vae(1)
    assert drawn(pictures.draw("manifold", vae, n=5)).shape[0] < 200
    (*groups,) = pictures.draw("scatter", vae, digits).axes[0].collections
    codes = tfvae.features.codes(vae, digits)[:, 0]
    for label, group in enumerate(groups):  # by value; in a row for each label
        offsets = np.asarray(group.get_offsets())
        np.testing.assert_allclose(offsets[:, 0], codes[digits.y == label], atol=1e-6)
        assert np.abs(offsets[:, 1] - label).max() < 0.5
    labels = [
        t.get_text() for t in pictures.draw("interpolation", vae, digits, pairs=1).axes[0].texts
    ]
    assert labels == ["linear"]


def test_counts_are_drawn_by_the_largest_and_flat_images_in_their_shape() -> None:
    vae = tfvae.zoo.count_vae((16,), 2, hidden=(8,))
    x = np.random.default_rng(0).poisson(3.0, (6, 16)).astype("float32")
    assert "(height, width)" in (pictures.available(vae, x)["samples"] or "")
    canvas = drawn(pictures.draw("reconstructions", vae, x, n=2, image_shape=(4, 4)))
    scale, gap = 16, 2
    tile = canvas[gap : gap + 4 * scale : scale, gap : gap + 4 * scale : scale, 0]
    np.testing.assert_allclose(tile, x[0].reshape(4, 4) / x.max(), rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["hyperspherical_vae", "gumbel_softmax_vae", "bernoulli_vae"])
def test_latents_that_are_no_line_have_other_pictures(model: str, digits: Any) -> None:
    x = (digits.x > 0.5).astype("float32")
    sizes = {"latent_dim": 3} if model != "gumbel_softmax_vae" else {"latent_dim": 2, "classes": 3}
    vae = getattr(tfvae.zoo, model)((8, 8, 1), hidden=(8,), **sizes)
    reasons = pictures.available(vae, (x, digits.y))
    assert "one latent at a time" in (reasons["traversals"] or "")
    for kind, reason in reasons.items():
        if reason is None and not pictures.KINDS[kind].trains:
            assert pictures.draw(kind, vae, (x, digits.y))


def test_an_autoencoder_shows_how_its_codes_vary(digits: Any) -> None:
    vae = tfvae.zoo.autoencoder((8, 8, 1), 3, hidden=(8,), likelihood="ContinuousBernoulli")
    figure = pictures.draw("kl", vae, digits)
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    variances = tfvae.features.codes(vae, digits).var(axis=0, ddof=1)
    np.testing.assert_allclose(heights, np.sort(variances)[::-1], rtol=1e-4)
    assert figure.axes[0].get_ylabel() == "variance of E[z|x]"


def test_umap_is_asked_for_by_name(plane: Any, digits: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match=r"pip install 'tfvae\[umap\]'"):
        pictures.draw("scatter", plane, digits, method="umap")
    with pytest.raises(ValueError, match=r"Received: method='tsne'"):
        pictures.draw("scatter", plane, digits, method="tsne")

    class Upside:
        def __init__(self, **options: Any) -> None:
            assert options == {"random_state": 3, "n_jobs": 1}

        def fit_transform(self, codes: Any) -> Any:
            return -codes

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Upside))
    figure = pictures.draw("scatter", plane, digits.x, method="umap", seed=3)
    (group,) = figure.axes[0].collections
    wanted = -tfvae.features.codes(plane, digits.x)
    np.testing.assert_allclose(group.get_offsets(), wanted, rtol=0, atol=1e-6)
    assert figure.axes[0].get_xlabel() == "UMAP 1"


def test_codes_that_no_kl_holds_to_the_prior_are_looked_for_where_they_are(digits: Any) -> None:
    vae = tfvae.zoo.autoencoder((8, 8, 1), 2, hidden=(8,), likelihood="ContinuousBernoulli")
    found = pictures.positions.positions(pictures.Subject.of(vae, digits), [0.1, 0.9])
    codes = tfvae.features.codes(vae, digits)
    np.testing.assert_allclose(found.z, np.quantile(codes, [0.01, 0.99], axis=0), rtol=1e-5)
    assert "no KL holds them" in found.source


def test_the_page_has_every_kind_and_the_command_too() -> None:
    from tfvae.commands.plot import plot

    page = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8")
    for kind in pictures.KINDS:
        assert f"| `{kind}` |" in page
        assert re.search(rf"\b{kind}\b", plot.help or "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    ["full_covariance_vae", "flow_prior_vae", "vamp_vae", "semi_supervised_vae", "vq_vae", "rae"],
)
def test_what_is_offered_can_be_drawn(model: str, digits: Any) -> None:
    x, y = (digits.x[:60] > 0.5).astype("float32"), digits.y[:60]
    sizes = {"classes": 10} if model == "semi_supervised_vae" else {}
    vae = getattr(tfvae.zoo, model)((8, 8, 1), 3, hidden=(8,), **sizes)
    for given in ((x, y), x, None):
        for kind, reason in pictures.available(vae, given).items():
            if reason is None and not pictures.KINDS[kind].trains:
                assert pictures.draw(kind, vae, given)

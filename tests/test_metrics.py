"""Metrics of arrays against scikit-image, closed forms and definitions written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import linalg, stats

from tfvae import metrics


@pytest.fixture
def skimage() -> Any:
    return pytest.importorskip("skimage.metrics", reason="needs scikit-image, of the extra `test`")


def pictures(*shape: int, seed: int = 0) -> tuple[Any, Any]:
    """Return smooth pictures and noisy copies."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=shape).cumsum(axis=1).cumsum(axis=2)
    x = x / x.max()
    return x, np.clip(x + 0.1 * rng.normal(size=shape), 0, 1)


@pytest.mark.parametrize("shape", [(5, 28, 28), (4, 13, 17), (3, 32, 20, 3), (2, 16, 16, 1)])
def test_pictures_against_scikit_image(shape: tuple[int, ...], skimage: Any) -> None:
    x, y = pictures(*shape)
    axis = -1 if len(shape) == 4 else None
    for place, (a, b) in enumerate(zip(x, y, strict=True)):
        reference = skimage.structural_similarity(
            a, b, data_range=1.0, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, channel_axis=axis,
        )  # fmt: skip
        assert metrics.ssim(x, y)[place] == pytest.approx(reference, abs=1e-12)
        ratio = skimage.peak_signal_noise_ratio(a, b, data_range=1.0)
        assert metrics.psnr(x, y)[place] == pytest.approx(ratio, rel=1e-12)
        assert metrics.mse(x, y)[place] == pytest.approx(skimage.mean_squared_error(a, b))


def test_the_range_of_the_data_and_the_window_are_those_of_scikit_image(skimage: Any) -> None:
    x, y = pictures(2, 8, 8)
    x, y = (np.round(255 * each).astype(np.uint8) for each in (x, y))
    reference = skimage.structural_similarity(
        x[0], y[0], data_range=255, gaussian_weights=True, sigma=0.8, use_sample_covariance=False
    )
    assert metrics.ssim(x, y, 255, sigma=0.8)[0] == pytest.approx(reference, abs=1e-12)
    ratio = skimage.peak_signal_noise_ratio(x[0], y[0], data_range=255)
    assert metrics.psnr(x, y, 255)[0] == pytest.approx(ratio, rel=1e-12)


def test_of_small_pictures_the_window_is_cut() -> None:
    x, y = pictures(1, 3, 3)
    weights = np.exp(-0.5 * (np.arange(-1, 2) / 1.5) ** 2)
    weights = np.outer(weights, weights) / weights.sum() ** 2
    mean_x, mean_y = np.sum(weights * x[0]), np.sum(weights * y[0])
    var_x, var_y, covariance = (
        np.sum(weights * a * b) - np.sum(weights * a) * np.sum(weights * b)
        for a, b in ((x[0], x[0]), (y[0], y[0]), (x[0], y[0]))
    )
    top = (2 * mean_x * mean_y + 1e-4) * (2 * covariance + 9e-4)
    expected = top / ((mean_x**2 + mean_y**2 + 1e-4) * (var_x + var_y + 9e-4))
    assert metrics.ssim(x, y)[0] == pytest.approx(expected, rel=1e-9)


def test_equal_pictures_are_as_alike_as_can_be() -> None:
    x, _ = pictures(3, 12, 12)
    np.testing.assert_allclose(metrics.ssim(x, x), 1.0)
    assert np.all(np.isposinf(metrics.psnr(x, x)))


def gaussian(seed: int, size: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(size, size))
    return rng.normal(size=size), root @ root.T + 0.1 * np.eye(size)


def test_frechet_against_the_closed_form_of_gaussians() -> None:
    (mean_x, cov_x), (mean_y, cov_y) = gaussian(0, 4), gaussian(1, 4)
    cross = np.real(np.trace(linalg.sqrtm(cov_x @ cov_y)))
    exact = np.sum((mean_x - mean_y) ** 2) + np.trace(cov_x) + np.trace(cov_y) - 2 * cross
    assert metrics.frechet_of_moments(mean_x, cov_x, mean_y, cov_y) == pytest.approx(exact)
    # Of sets with exactly these moments it is the same, whatever they look like beyond them.
    rng, sets = np.random.default_rng(2), []
    for mean, covariance in ((mean_x, cov_x), (mean_y, cov_y)):
        raw = rng.exponential(size=(50, 4))
        raw = (raw - raw.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(raw.T))).T
        sets.append(raw @ np.linalg.cholesky(covariance).T + mean)
    assert metrics.frechet_distance(*sets) == pytest.approx(exact, rel=1e-9)
    # Of one feature: (μ - μ')² + (σ - σ')².
    one = metrics.frechet_of_moments([1.0], [[4.0]], [3.0], [[9.0]])
    assert one == pytest.approx(4 + 1)


def test_frechet_of_singular_covariances() -> None:
    # Three examples of five features, and themselves moved by one vector.
    x, shift = np.random.default_rng(0).normal(size=(3, 5)), np.arange(5.0)
    assert metrics.frechet_distance(x, x) == pytest.approx(0, abs=1e-7)
    assert metrics.frechet_distance(x, x + shift) == pytest.approx(30, rel=1e-6)


def test_kernel_distance_is_its_definition() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(5, 3)) + 0.5

    def kernel(a: Any, b: Any) -> float:
        return float((a @ b / 3 + 1) ** 3)

    within = [
        np.mean([kernel(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j])
        for s in (x, y)
    ]
    between = np.mean([kernel(a, b) for a in x for b in y])
    found = metrics.kernel_distance(x, y, blocks=1)
    assert found.distance == pytest.approx(sum(within) - 2 * between)
    assert np.isnan(found.error)


def test_kernel_distance_is_unbiased_with_an_honest_error() -> None:
    # Degree 1: the distance is ‖E x - E y‖² / d, here 0.25.
    scores = []
    for seed in range(40):
        x, y = np.random.default_rng(seed).normal(size=(2, 100, 4))
        same = metrics.kernel_distance(x, y, degree=3)
        apart = metrics.kernel_distance(x, y + 0.5, degree=1)
        scores.append([same.distance / same.error, (apart.distance - 0.25) / apart.error])
    # Student's t of 9 degrees has variance 9/7, so that means of 40 have standard error 0.18;
    # 4 of them: a false alarm once in 8,000 seeds for each.
    assert np.all(np.abs(np.mean(scores, axis=0)) < 4 * 0.18)
    # Its mean square is 9/7, and its standard error over 40, from the kurtosis, 0.4.
    assert np.all(np.abs(np.mean(np.square(scores), axis=0) - 9 / 7) < 4 * 0.4)


def test_precision_recall_is_its_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, k = np.random.default_rng(0), 3
    real, fake = rng.normal(size=(30, 2)), rng.normal(size=(25, 2)) * 1.5 + 0.5
    distance = np.linalg.norm(real[:, None] - fake, axis=-1)
    radii = [np.sort(np.linalg.norm(s[:, None] - s, axis=-1), axis=1)[:, k] for s in (real, fake)]
    inside = distance <= radii[0][:, None]
    monkeypatch.setattr("tfvae.metrics.manifold._VALUES", 100)
    found = metrics.precision_recall(real, fake, k)
    assert found.precision == np.mean(inside.any(axis=0))
    assert found.recall == np.mean((distance <= radii[1]).any(axis=1))
    assert found.density == pytest.approx(inside.sum() / (k * 25))
    assert found.coverage == np.mean(inside.any(axis=1))


def test_precision_recall_sees_what_is_missing_and_what_is_made_up() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, 200, 2)) * 0.1 + [[[-3.0, 0.0]], [[3.0, 0.0]]]
    both = np.concatenate([left, right])
    same = metrics.precision_recall(both, both)
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    dropped = metrics.precision_recall(both, left[::-1])
    assert (dropped.precision, dropped.recall, dropped.coverage) == (1, 0.5, 0.5)
    made_up = metrics.precision_recall(left, both)
    assert (made_up.precision, made_up.recall) == (0.5, 1)
    far = metrics.precision_recall(left, right)
    assert far[:4] == (0, 0, 0, 0)


def test_ranks_against_scipy() -> None:
    ranks = np.random.default_rng(0).integers(0, 100, (500, 3))
    found = metrics.rank_histogram(ranks, draws=99, bins=10)
    for column in range(3):
        counts = np.bincount(ranks[:, column] // 10, minlength=10)
        np.testing.assert_array_equal(found.counts[column], counts)
        reference = stats.chisquare(counts)
        assert found.statistic[column] == pytest.approx(reference.statistic)
        assert found.p_value[column] == pytest.approx(reference.pvalue)


def test_bins_of_unequal_width_expect_unequal_counts() -> None:
    # 5 ranks in 2 bins: 0, 1, 2 and 3, 4. As many of each rank are as even as can be.
    found = metrics.rank_histogram(np.tile(np.arange(5), 20), draws=4, bins=2)
    np.testing.assert_allclose(found.expected, [60, 40])
    np.testing.assert_array_equal(found.counts, [[60, 40]])
    assert (found.statistic[0], found.p_value[0], found.bias[0]) == (0, 1, 0)
    assert found.spread[0] == pytest.approx(0, abs=1e-12)


def test_bias_and_spread_are_scores() -> None:
    # Over 400 sets of 200 uniform ranks each has mean 0 and variance 1; 4 standard errors, 0.05 and
    # 0.07 (of a variance, sqrt(2 / 400)): a false alarm once in 8,000 seeds for each of four.
    ranks = np.random.default_rng(0).integers(0, 11, (200, 400))
    found = metrics.rank_histogram(ranks, draws=10)
    for scores in (found.bias, found.spread):
        assert abs(scores.mean()) < 4 * 0.05
        assert abs(scores.var() - 1) < 4 * 0.0708
    # A value above all draws; values at both ends; values in the middle.
    ends = np.where(np.arange(200) % 2, 0, 10)
    high, narrow, wide = (
        metrics.rank_histogram(each, draws=10) for each in (np.full(200, 10), ends, ends * 0 + 5)
    )
    assert high.bias[0] > 20
    assert narrow.spread[0] > 15
    assert wide.spread[0] < -10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.mse([[1.0]], [[1.0, 2.0]]), "one shape"),
        (lambda: metrics.psnr([[1.0]], [[np.nan]]), "`y` to be finite"),
        (lambda: metrics.psnr([[1.0]], [[1.0]], 0.0), "`data_range`"),
        (lambda: metrics.ssim(np.zeros((2, 9)), np.zeros((2, 9))), "pictures"),
        (lambda: metrics.ssim(np.zeros((2, 2, 9)), np.zeros((2, 2, 9))), "3 pixels"),
        (lambda: metrics.ssim(np.zeros((2, 9, 9)), np.zeros((2, 9, 9)), sigma=0), "`sigma`"),
        (lambda: metrics.frechet_distance(np.zeros((1, 2)), np.zeros((3, 2))), "at least 2"),
        (lambda: metrics.frechet_distance(np.zeros((3, 4)), np.zeros((3, 2))), "4 and 2"),
        (lambda: metrics.frechet_distance(np.zeros((3, 4, 1)), np.zeros((3, 4))), "Flatten"),
        (lambda: metrics.frechet_of_moments([0.0], np.eye(2), [0.0], np.eye(1)), "of one d"),
        (
            lambda: metrics.frechet_of_moments([0, 0], [[1, 2], [0, 1]], [0, 0], np.eye(2)),
            "symmetric",
        ),
        (lambda: metrics.kernel_distance([[1.0], [np.inf]], [[1.0], [1.0]]), "`x` to be finite"),
        (lambda: metrics.kernel_distance(np.eye(2), np.eye(2), degree=0), "`degree`"),
        (lambda: metrics.precision_recall(np.eye(5), np.eye(6)[:, :5]), "at least 6"),
        (lambda: metrics.precision_recall(np.eye(5), np.eye(5), 0), "`neighbours`"),
        (lambda: metrics.rank_histogram([0.5], 3), "whole numbers"),
        (lambda: metrics.rank_histogram([5], 3), "from 0 to 3"),
        (lambda: metrics.rank_histogram([1], 3, bins=5), "`bins`"),
        (lambda: metrics.rank_histogram([1], 0), "`draws`"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()

"""Disentanglement: scores to closed forms, to scikit-learn, and to what chance gives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from factors import Identity, grid, turned
from scipy import stats

from tfvae import disentanglement as d
from tfvae.disentanglement import importances, mutual

# Mutual information


def test_mutual_information_is_scikit_learn_s() -> None:
    from sklearn.metrics import mutual_info_score

    rng = np.random.default_rng(0)
    codes = rng.integers(-3, 4, (500, 3))
    factors = np.stack([codes[:, 0] // 2, rng.integers(0, 5, 500)], 1)
    found = d.mutual_information(codes, factors)
    theirs = [[mutual_info_score(c, f) for f in factors.T] for c in codes.T]
    # Sums of fewer than 100 terms below 1, each off by less than 1e-15.
    np.testing.assert_allclose(found, theirs, atol=1e-13)
    np.testing.assert_allclose(
        d.entropy(factors), [stats.entropy(np.unique(f, return_counts=True)[1]) for f in factors.T]
    )


def test_bins_are_those_of_a_histogram() -> None:
    codes = np.random.default_rng(0).normal(size=(400, 2)) * [1e-3, 1e6]
    for column, places in zip(codes.T, d.discretised(codes, 20).T, strict=True):
        counts, _ = np.histogram(column, 20)
        np.testing.assert_array_equal(np.bincount(places, minlength=20), counts)
    assert not d.discretised(np.full((5, 1), 0.1)).any()
    huge = np.array([[-1e308], [0.0], [1e308]])
    assert d.discretised(huge, 2).ravel().tolist() == [0, 1, 1]


def test_mig_of_codes_that_are_the_factors_is_1() -> None:
    factors = grid(4, 5, 3)
    for codes in (
        factors,
        factors[:, [2, 0, 1]],  # in another order
        -3.5 * factors + 1e-3,  # on another scale
        np.hstack([factors, np.zeros((60, 2))]),  # beside dead ones
    ):
        found = d.mig(codes, factors)
        assert found.score == pytest.approx(1, abs=1e-12)
        assert found.per_factor.shape == (3,)
    assert d.mig(factors[:, [2, 0, 1]], factors).latents == (1, 2, 0)
    # Values may be names or any whole numbers.
    names = np.array([["a", "b", "c", "d"][v] for v in factors[:, 0]])
    assert d.mig(factors, names).score == pytest.approx(1, abs=1e-12)
    assert d.mig(factors, factors * 7.0 - 2).score == pytest.approx(1, abs=1e-12)


def test_mig_in_closed_form() -> None:
    factors = grid(4, 4)
    zeros = np.zeros(16)
    first = factors[:, 0]
    for codes, expected in (
        (np.hstack([factors, factors]), 0.0),  # duplicated
        (np.zeros((16, 3)), 0.0),  # constant
        (np.stack([factors.sum(1) % 4, zeros], 1), 0.0),  # of both together, of neither alone
        (np.stack([first, zeros], 1), 0.5),  # one factor told, and the other not
        (np.stack([first, first // 2], 1), 0.25),  # log 4 nats beside log 2, of the first alone
        (first[:, None], 0.5),  # of one latent, to none
    ):
        assert d.mig(codes, factors).score == pytest.approx(expected, abs=1e-12)


def test_of_independent_codes_mig_is_the_bias_of_the_estimate() -> None:
    rng = np.random.default_rng(0)
    factors, codes = rng.integers(0, 4, (20_000, 2)), rng.random((20_000, 2))
    found = d.mig(codes, factors)
    # 2 N I is chi-squared with 19 * 3 degrees of freedom: 57 +- 10.7, below 57 + 6 * 10.7 in all
    # four, and the gap is less than the larger.
    assert found.matrix.max() * math.log(4) * 2 * 20_000 < 57 + 6 * 10.7
    assert found.score < (57 + 6 * 10.7) / 40_000 / math.log(4)


# Modularity and explicitness


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (np.diag(5 * np.ones(5)), 1),
        (np.array([[1.0, 0], [0, 1], [0, 0]]), 2 / 3),  # a dead latent counts as 0
        (np.zeros((10, 10)), 0),
        (np.vstack([np.diag(5 * np.ones(5))] * 2), 1),  # duplicated latents cost nothing
        (np.diag(5 * np.ones(5))[:2], 1),  # nor do factors that are missed
        (np.hstack([np.diag(5 * np.ones(5))] * 2), 1 - 1 / 9),  # each of two of ten factors
        (np.array([[2.0, 1, 0]]), 1 - 1 / 8),
    ],
)
def test_modularity_of_matrices_as_the_reference_tests_it(matrix: Any, expected: float) -> None:
    assert mutual.of_information(matrix).score == pytest.approx(expected, abs=1e-12)


def test_modularity_of_codes() -> None:
    factors = grid(3, 3)
    assert d.modularity(factors, factors).score == pytest.approx(1, abs=1e-12)
    assert d.modularity(np.zeros((9, 2)), factors).score == 0
    # A code that numbers both tells as much of either.
    both = (3 * factors[:, 0] + factors[:, 1])[:, None]
    assert d.modularity(both, factors).score == pytest.approx(0, abs=1e-12)


def test_explicitness_is_the_area_under_the_curve() -> None:
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 2, (12_000, 2))
    codes = factors * [1.5, 0.0] + rng.normal(size=(12_000, 2))
    found = d.explicitness(codes, factors)
    # Of normals at distance s, Phi(s / sqrt 2). On 4,000 tests the standard error is below
    # (4 * 2,000)^-1/2 < 0.012; five of them: false alarms once in 800,000.
    expected = [stats.norm.cdf(1.5 / math.sqrt(2)), 0.5]
    np.testing.assert_allclose(found.per_factor, expected, atol=5 * 0.0112)
    assert found.score == pytest.approx(found.per_factor.mean())
    ideal = grid(3, 4, copies=5)
    assert d.explicitness(ideal, ideal, (ideal, ideal)).score > 0.99


# SAP


def test_sap_of_binary_factors_is_the_gap_to_chance() -> None:
    factors = grid(2, 2, 2)
    # One latent tells a factor; any rule on another is right in half of a full grid.
    found = d.sap(5.0 * factors, factors, (5.0 * factors, factors))
    assert found.score == pytest.approx(0.5)
    np.testing.assert_allclose(found.matrix, 0.5 + 0.5 * np.eye(3))
    for codes in (np.hstack([factors] * 2), np.zeros((8, 2))):
        assert d.sap(codes, factors, (codes, factors)).score == pytest.approx(0, abs=1e-12)


def test_values_that_were_never_seen_are_mistakes() -> None:
    seen, tested = np.arange(60)[:, None] % 2, np.arange(60)[:, None] % 3
    # As in disentanglement_lib: a third of the test set is a value that no machine can predict.
    assert d.sap(1.0 * seen, seen, (1.0 * tested, tested)).matrix.item() == 2 / 3


@pytest.mark.parametrize("degrees", [0, 20, 45, 70])
def test_sap_of_correlations_of_rotated_codes(degrees: float) -> None:
    factors = grid(5, 5)
    found = d.sap(turned(factors, degrees), factors, continuous=True)
    c, s = np.cos(np.deg2rad(degrees)) ** 2, np.sin(np.deg2rad(degrees)) ** 2
    np.testing.assert_allclose(found.matrix, [[c, s], [s, c]], atol=1e-12)
    assert found.score == pytest.approx(abs(c - s), abs=1e-12)


def test_sap_of_continuous_factors_and_dead_codes() -> None:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(1000, 2))
    found = d.sap(np.hstack([factors, np.full((1000, 1), 3.0)]), factors, continuous=True)
    r = np.corrcoef(factors.T)[0, 1] ** 2
    np.testing.assert_allclose(found.matrix, [[1, r], [r, 1], [0, 0]], atol=1e-12)
    with pytest.raises(ValueError, match="no `test`"):
        d.sap(factors, factors, (factors, factors), continuous=True)


# DCI

TEN = 1 - math.log(2) / math.log(10)


@pytest.mark.parametrize(
    ("matrix", "disentanglement", "completeness"),
    [
        (np.diag(5 * np.ones(5)), 1, 1),
        (np.array([[1.0, 0], [0, 1], [0, 0]]), 1, 1),
        (np.zeros((10, 10)), 0, 0),
        (np.vstack([np.diag(5 * np.ones(5))] * 2), 1, TEN),
        (np.diag(5 * np.ones(5))[:2], 1, 1),
        (np.hstack([np.diag(5 * np.ones(5))] * 2), TEN, 1),
        (np.ones((4, 3)), 0, 0),
        # Weighed by importance: a latent that matters 9 times as much.
        (np.array([[9.0, 0], [0.5, 0.5]]), 0.9, 1 - stats.entropy([18, 1], base=2) * 0.95),
    ],
)
def test_dci_of_matrices_as_the_reference_tests_it(
    matrix: Any, disentanglement: float, completeness: float
) -> None:
    found = importances.of_importance(matrix)
    assert found.disentanglement == pytest.approx(disentanglement, abs=1e-12)
    assert found.completeness == pytest.approx(completeness, abs=1e-12)


@pytest.mark.parametrize("degrees", [0, 20, 45])
def test_the_lasso_of_rotated_codes_weighs_cosine_and_sine(degrees: float) -> None:
    factors = grid(5, 5, copies=4)
    codes = turned(factors, degrees)
    found = d.dci(codes, factors, (codes, factors), importance="lasso")
    # Without noise the least penalty is chosen, a thousandth of that which leaves no weight: it is
    # what weights are less by, and the share of a small one by a few thousandths.
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    expected = 1 - stats.entropy([c, s], base=2)
    assert found.disentanglement == pytest.approx(expected, abs=0.01)
    assert found.completeness == pytest.approx(expected, abs=0.01)
    assert found.informativeness == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "importance", ["boosted_trees", pytest.param("random_forest", marks=pytest.mark.slow)]
)
def test_trees_of_codes_that_are_the_factors(importance: Any) -> None:
    factors = grid(3, 2, copies=12)
    codes = np.hstack([2.0 * factors, np.zeros((72, 1))])
    found = d.dci(codes, factors, (codes, factors), importance=importance)
    # A split on another latent gains nothing in a full grid, but for the draws of a forest: with
    # replacement, so that shares of values stray by some 72^-1/2, and gains by its square.
    least = 1 - 1e-6 if importance == "boosted_trees" else 0.9
    assert found.disentanglement > least
    assert found.completeness > least
    assert found.informativeness == found.informativeness_train == 1
    np.testing.assert_allclose(found.importance.sum(0), 1)
    dead = d.dci(np.zeros((72, 2)), factors, importance=importance)
    assert dead.disentanglement == dead.completeness == 0


def test_a_single_latent_is_held_against_one_that_tells_nothing() -> None:
    factors = grid(2, 4)
    codes = factors[:, :1] * 2.0
    assert d.mig(codes, factors).per_factor == pytest.approx([1, 0], abs=1e-12)
    # Nothing: the commonest of two values, each of which is half of the grid.
    assert d.sap(codes, factors, (codes, factors)).per_factor[0] == pytest.approx(0.5)
    one = d.dci(np.tile(codes, (5, 1)), np.tile(factors, (5, 1)), importance="lasso")
    # Of one latent and two factors, told wholly and not at all.
    assert one.completeness == pytest.approx(1)
    assert d.factor_vae_score(d.Pool(codes, factors), train=50, tests=50).active == (0,)


# What is refused


@pytest.mark.parametrize(
    ("codes", "factors", "said"),
    [
        (np.zeros((9, 2, 2)), np.arange(9) % 2, "Flatten them"),
        (np.full((9, 2), np.nan), np.arange(9) % 2, "NaN or infinity in 9 of 9 rows"),
        (np.zeros((8, 2)), np.arange(9) % 2, "Received: 9 for 8"),
        (np.zeros((9, 2)), np.zeros(9), "factor 0, which is 0.0 in all 9"),
        (np.zeros((9, 2)), np.linspace(0, 1, 9), "0.125 in factor 0. Divide it into bins"),
        (np.zeros((9, 2)), np.arange(9), "factor 0 with 9 values in 9 examples"),
        (np.zeros((9, 2)), np.full(9, np.nan), "that are known"),
        (np.zeros((9, 2)), np.zeros((9, 2, 2)), r"whole numbers \[N, K\]"),
        (np.zeros((0, 2)), np.zeros(0), r"shape \(0, 2\)"),
    ],
)
def test_what_cannot_be_scored_is_refused(codes: Any, factors: Any, said: str) -> None:
    for metric in (d.mig, d.modularity, d.sap, d.explicitness, d.Pool):
        with pytest.raises(ValueError, match=said):
            metric(codes, factors)


def test_metrics_that_tell_factors_apart_need_two() -> None:
    codes, factor = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 3
    for metric in (d.modularity, d.dci, d.Pool):
        with pytest.raises(ValueError, match="at least two factors"):
            metric(codes, factor)
    for alone in (d.mig, d.sap, d.explicitness):
        assert 0 <= alone(codes, factor).score <= 1


def test_arguments_that_are_refused() -> None:
    factors = grid(2, 2, copies=5)
    pool = d.Pool(factors, factors)
    for call, said in (
        (lambda: d.mig(factors, factors, bins=1), "`bins`"),
        (lambda: d.binned(np.zeros(3), bins=1), "`bins`"),
        (lambda: d.binned(["a"]), "finite numbers"),
        (lambda: d.dci(factors, factors, importance="svm"), "one of boosted_trees"),
        (lambda: d.sap(factors, factors, (factors[:, :1], factors)), r"codes \(20, 1\)"),
        (lambda: d.sap(factors, factors, seed=-1), "seed=-1"),
        (lambda: d.sap(factors, factors, (factors, factors * 0)), "tested with"),
        (lambda: d.factor_vae_score(pool, batch_size=1), "`batch_size`"),
        (lambda: d.factor_vae_score(pool, threshold=-1), "`threshold`"),
        (lambda: d.beta_vae_score(pool, tests=0), "`tests`"),
        (lambda: Identity((3,)), "at least two factors"),
        (lambda: Identity((3, 1)), "at least two values"),
    ):
        with pytest.raises(ValueError, match=said):
            call()


def test_bins_of_continuous_factors_are_even() -> None:
    values = np.random.default_rng(0).gamma(2, size=(1000, 2))
    found = d.binned(values, 10)
    for column in found.T:
        np.testing.assert_array_equal(np.bincount(column), 100)
    assert d.mig(values, found).score > 0.3

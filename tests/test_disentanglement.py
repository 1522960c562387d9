"""Disentanglement: scores to closed forms, to scikit-learn, and to what chance gives."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

import tfvae
from tfvae import disentanglement as d
from tfvae import runs
from tfvae.cli import cli
from tfvae.commands import disentangle as cli_disentangle
from tfvae.data import Examples
from tfvae.disentanglement import importances, mutual, votes
from tfvae.shapes import Shapes


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


# The scores of samplers


def test_batches_of_a_pool_share_a_value() -> None:
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 3, (40, 2))
    pool = d.Pool(np.arange(40.0), factors)
    asked = np.array([0, 1, 1, 0, 1])
    rows = pool.fixed(asked, 200, rng)[..., 0].astype(int)
    for k, batch in zip(asked, rows, strict=True):
        values = factors[batch, k]
        assert np.all(values == values[0])
        # All that have the value are drawn: one is missed with a probability below 40 e^-5 * 5.
        assert set(batch) == set(np.flatnonzero(factors[:, k] == values[0]))
    one, other = (each[..., 0].astype(int) for each in pool.pairs(asked, 200, rng))
    for k, a, b in zip(asked, one, other, strict=True):
        np.testing.assert_array_equal(factors[a, k], factors[b, k])
        assert np.all(a != b)
        assert len(np.unique(factors[a, k])) > 1  # each pair has its own value
        assert len(set(zip(a, b, strict=True))) > 100
    assert pool.codes(40, rng).shape == (40, 1)
    assert len(np.unique(pool.codes(7, rng))) == 7


def test_the_other_of_a_pair_is_any_other() -> None:
    pool = d.Pool(np.arange(6.0), [[0, 0], [0, 1], [0, 0], [0, 1], [1, 0], [1, 1]])
    one, other = pool.pairs(np.zeros(1, int), 30_000, np.random.default_rng(0))
    table = np.zeros((6, 6))
    np.add.at(table, (one.astype(int).ravel(), other.astype(int).ravel()), 1)
    # Of each row uniform over its value's others; rows 4 and 5 have one.
    for row in range(4):
        others = np.delete(table[row, :4], row)
        assert stats.chisquare(others).pvalue > 1e-6
    assert table[4, 5] + table[5, 4] == table[4:].sum()


def test_fresh_batches_share_a_value_and_nothing_else() -> None:
    sampler, rng = Identity((3, 4)), np.random.default_rng(0)
    asked = np.array([0, 1])
    batches = sampler.fixed(asked, 500, rng)
    for k, batch in zip(asked, batches, strict=True):
        assert len(np.unique(batch[:, k])) == 1
        assert len(np.unique(batch[:, 1 - k])) == (4, 3)[k]
    one, other = sampler.pairs(asked, 500, rng)
    for k, (a, b) in enumerate(zip(one, other, strict=True)):
        np.testing.assert_array_equal(a[:, k], b[:, k])
        assert len(np.unique(a[:, k])) == (3, 4)[k]
        assert np.any(a[:, 1 - k] != b[:, 1 - k])


FACTORS = (4, 5, 3)


def samplers() -> dict[str, Any]:
    factors = grid(*FACTORS, copies=2)
    return {"pool": d.Pool(factors, factors), "fresh": Identity(FACTORS)}


@pytest.mark.parametrize("kind", ["pool", "fresh"])
def test_codes_that_are_the_factors_score_1(kind: str) -> None:
    sampler = samplers()[kind]
    votes = d.factor_vae_score(sampler, train=600, tests=500)
    assert votes.score == votes.train_score == 1
    assert votes.active == (0, 1, 2)
    assert np.all(votes.votes == np.diag(votes.votes.diagonal()))
    assert votes.votes.sum() == 600
    assert d.beta_vae_score(sampler, train=600, tests=500).score == 1
    again = d.factor_vae_score(sampler, train=600, tests=500, seed=0)
    np.testing.assert_array_equal(again.votes, votes.votes)
    other = d.factor_vae_score(sampler, train=600, tests=500, seed=1)
    assert not np.array_equal(other.votes, votes.votes)


def test_codes_of_noise_score_as_chance_does() -> None:
    rng = np.random.default_rng(0)
    noise = Identity(FACTORS, lambda factors: rng.normal(size=(len(factors), 2)))
    # Votes and points know nothing of the factor: right ones are binomial, one in three of 3,000,
    # of which five deviations are 0.043: false alarms once in a million and a half.
    bound = 5 * math.sqrt(1 / 3 * 2 / 3 / 3000)
    votes = d.factor_vae_score(noise, batch_size=4, train=300, tests=3000)
    assert votes.score == pytest.approx(1 / 3, abs=bound)
    classifier = d.beta_vae_score(noise, batch_size=4, train=300, tests=3000)
    assert classifier.score == pytest.approx(1 / 3, abs=bound)


def test_rotated_codes_are_no_worse_than_others_but_by_votes() -> None:
    # Of two factors of one variance turned by 45 degrees, both latents vary alike whichever is
    # fixed: votes are chance. By 30 degrees, variances are cos^2 and sin^2: 3 to 1.
    sampler = {t: Identity((9, 9), lambda f, t=t: turned(f, t)) for t in (30, 45)}
    votes = {t: d.factor_vae_score(each, train=500, tests=2000) for t, each in sampler.items()}
    assert votes[45].score == pytest.approx(0.5, abs=5 * math.sqrt(0.25 / 2000))
    assert votes[30].score > 0.99


def test_dead_latents_do_not_vote() -> None:
    rng = np.random.default_rng(0)

    def code(factors: Any) -> Any:
        return np.hstack([factors, 0.01 * rng.normal(size=(len(factors), 1)), factors[:, :1] * 0])

    found = d.factor_vae_score(Identity(FACTORS, code), train=100, tests=100)
    assert found.active == (0, 1, 2)
    all_of_them = d.factor_vae_score(Identity(FACTORS, code), train=100, tests=100, threshold=0)
    assert all_of_them.active == (0, 1, 2, 3)
    none = d.factor_vae_score(Identity(FACTORS, lambda f: 0.0 * f), train=100, tests=100)
    assert (none.score, none.active) == (0, ())


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


# Of a model


def reading(scale: float = 1.0) -> tfvae.VAE:
    """Return a model whose codes are its three values."""
    encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(6)])
    encoder.set_weights([scale * np.eye(3, 6), np.zeros(6)])
    return tfvae.zoo.vae((3,), 3, encoder=encoder, hidden=(), likelihood="Normal")


@pytest.fixture(scope="module")
def examples() -> Examples:
    rng = np.random.default_rng(0)
    factors = rng.integers(0, FACTORS, (900, 3))
    return Examples(factors.astype("float32"), factors)


def test_a_model_that_reads_the_factors(examples: Examples) -> None:
    said: list[tuple[str, int, int]] = []
    found = d.evaluate(
        reading(),
        examples,
        importance="lasso",
        names=["a", "b", "c"],
        progress=lambda *each: said.append(each),
    )
    assert (found.factors, found.sizes, found.latents) == (("a", "b", "c"), FACTORS, 3)
    assert (found.train, found.test) == (600, 300)
    scores = found.scores
    assert scores["factor_vae"] == scores["beta_vae"] == 1
    # Factors drawn at random are correlated by 600^-1/2, and tell (4 * 3 / 2 / 600) / log 3 of each
    # other.
    assert scores["mig"] > 0.97
    assert scores["modularity"] > 0.99
    assert scores["dci_disentanglement"] > 0.95
    assert scores["dci_informativeness"] > 0.99
    assert found.mig is not None
    assert found.mig.latents == (0, 1, 2)
    document = json.loads(json.dumps(found.to_dict()))
    assert document["scores"] == scores
    assert np.array(document["factor_vae"]["votes"]).shape == (3, 3)
    for title in {each[0] for each in said}:
        steps = [each[1:] for each in said if each[0] == title]
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)
        assert steps[-1][0] == steps[-1][1]


def test_sets_are_given_or_held_out(examples: Examples) -> None:
    whole = (examples.x, examples.y)
    asked: dict[str, Any] = {"metrics": ["sap", "mig"], "seed": 3}
    first = d.evaluate(reading(), whole, **asked)
    assert first.dci is None
    again = d.evaluate(reading(), examples, **asked)
    assert first.scores == again.scores
    assert d.evaluate(reading(), whole, metrics=["sap"], seed=4).scores != first.scores
    both = d.evaluate(reading(), examples[:500], examples[500:], examples=300, **asked)
    assert (both.train, both.test) == (300, 150)
    one = d.evaluate(reading(), (examples.x, examples.y[:, 0]), metrics=["mig"])  # type: ignore[index]
    assert one.factors == ("factor 0",)


def test_a_model_of_shapes_is_evaluated_on_new_ones() -> None:
    fixed = {"shape": 1, "scale": 1, "rotation": 1}
    shapes = Shapes(16, colour=False, values={**fixed, "x": 4, "y": 4})
    # A linear map tells where the centroid of a shape of one area is.
    encoder = keras.Sequential([keras.Input(shapes.shape), keras.layers.Flatten()])
    encoder.add(keras.layers.Dense(4))
    down, across = np.meshgrid(np.arange(16.0), np.arange(16.0), indexing="ij")
    kernel = np.zeros((256, 4))
    kernel[:, 0], kernel[:, 1] = across.ravel() - 7.5, down.ravel() - 7.5
    encoder.layers[-1].set_weights([kernel, np.zeros(4)])
    vae = tfvae.zoo.vae(
        shapes.shape, 2, encoder=encoder, hidden=(), likelihood="ContinuousBernoulli"
    )
    metrics = ["mig", "factor_vae"]
    found = d.evaluate(vae, shapes, metrics=metrics, examples=800)
    assert (found.factors, found.sizes) == (("x", "y"), (4, 4))
    assert (found.train, found.test) == (800, 400)
    assert found.mig is not None
    assert found.mig.latents == (0, 1)
    # Four places are in four of 20 bins; of the other factor, 19 * 3 degrees of freedom and six
    # deviations of them (above) tell less than (57 + 6 * 10.7) / 1600 / log 4.
    assert found.mig.score > 1 - (57 + 6 * 10.7) / 1600 / math.log(4)
    assert found.scores["factor_vae"] == 1
    metrics = ["factor_vae", "beta_vae"]
    fresh = d.evaluate(vae, shapes, metrics=metrics, examples=800, fresh=True, votes=100, seed=1)
    assert fresh.scores == {"factor_vae": 1, "beta_vae": 1}
    assert fresh.factor_vae is not None
    assert fresh.factor_vae.votes.sum() == 100


def test_a_model_that_cannot_be_judged_so(examples: Examples) -> None:
    cvae = tfvae.zoo.cvae((3,), 1, classes=2, hidden=(4,), likelihood="Normal")
    for call, said in (
        (lambda: d.evaluate(cvae, examples), "may tell it the factors"),
        (lambda: d.evaluate(reading(), examples.x), "Expected factors in `data`"),
        (lambda: d.evaluate(reading(), examples, metrics=[]), "to be a list"),
        (lambda: d.evaluate(reading(), examples, metrics="mig"), "to be a list"),
        (lambda: d.evaluate(reading(), examples, metrics=["mi"]), "Did you mean 'mig'"),
        (lambda: d.evaluate(reading(), examples, names=["a"]), "`names` of 3 factors"),
        (lambda: d.evaluate(reading(), examples, examples=1), "`examples`"),
        (lambda: d.evaluate(reading(), examples, votes=0), "`votes`"),
        (lambda: d.evaluate(reading(), examples, importance="x"), "`importance`"),  # type: ignore[arg-type]
        (lambda: d.evaluate(reading(), (examples.x, examples.x[:, 0])), "at least two factors"),
        (lambda: d.evaluate(reading(), Shapes(16)), "shape"),
        (lambda: d.evaluate(reading(), Shapes(16), examples), "no `test`"),
        (lambda: d.evaluate(reading(np.nan), examples), "finite codes"),
    ):
        with pytest.raises(ValueError, match=said):
            call()
    with pytest.raises(TypeError, match="`fresh`"):
        d.evaluate(reading(), examples, fresh=True)


# The command

SHAPES = "shapes:size=16,colour=no,train=100,test=20"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    folder = tmp_path_factory.mktemp("disentangle")
    line = ["train", "--data", SHAPES, "--epochs", "1", "--hidden", "8", "--latent-dim", "2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = CliRunner().invoke(cli, [*line, "--likelihood", "ContinuousBernoulli"])
    assert result.exit_code == 0, result.output
    (path,) = (folder / "runs").iterdir()
    return runs.Run.load(path)


def test_a_run_is_trained_on_shapes(run: runs.Run) -> None:
    assert re.fullmatch(r"vae-shapes-\d+-\d+", run.path.name)
    assert run.config.data == SHAPES  # and no path
    assert len(run.data().test) == 20


def test_the_command_scores_a_run(run: runs.Run) -> None:
    line = ["disentangle", str(run.path), "--metrics", "mig,factor_vae", "--examples", "300"]
    result = CliRunner().invoke(cli, [*line, "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document == json.loads((run.path / "disentanglement.json").read_text())
    shapes = Shapes(16, colour=False)
    metrics = ["mig", "factor_vae"]
    direct = d.evaluate(run.model(), shapes, metrics=metrics, examples=300)
    assert document["scores"] == direct.scores
    assert document["factors"] == list(shapes.names)
    # Above the spread of all codes no latent has a vote.
    line = [*line, "--metrics", "factor_vae", "--threshold", "1e3", "--json"]
    silent = json.loads(CliRunner().invoke(cli, line).stdout)
    assert (silent["threshold"], silent["factor_vae"]["active"]) == (1e3, [])
    table = CliRunner().invoke(cli, [*line[:2], "--metrics", "mig", "--examples", "300"]).output
    assert "one latent alone tells a factor" in table
    assert "rotation" in table


def test_the_command_knows_all_metrics() -> None:
    assert cli_disentangle.METRICS == d.METRICS
    assert cli_disentangle.IMPORTANCES == d.IMPORTANCES
    assert cli_disentangle.DEAD == votes.DEAD


def test_records_bring_their_factors(run: runs.Run, tmp_path: Path) -> None:
    tfvae.convert.convert(SHAPES, tmp_path / "s")
    streamed, whole = tfvae.data.load(tmp_path / "s"), tfvae.data.load(SHAPES)
    asked: dict[str, Any] = {"metrics": ["mig"], "names": streamed.factors}
    found = d.evaluate(run.model(), streamed.train, streamed.test, **asked)
    assert (found.factors, found.train, found.test) == (whole.factors, 100, 20)
    # The order of examples does not matter: sums over counts.
    same = d.evaluate(run.model(), whole.train, whole.test, **asked)
    assert found.scores["mig"] == pytest.approx(same.scores["mig"], abs=1e-12)


def test_the_command_says_what_it_needs(run: runs.Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "bare.npz", x=np.zeros((20, 16, 16, 1), "float32"))
    bare = tmp_path / "run"
    shutil.copytree(run.path, bare)
    config = dataclasses.replace(run.config, data=str(tmp_path / "bare.npz"), fingerprint=None)
    (bare / "config.json").write_text(config.to_json())
    for line, said in (
        ([str(bare)], "Expected data with ground-truth factors"),
        ([str(bare), "--fresh"], "Expected shapes where --fresh"),
        ([str(run.path), "--metrics", "mog"], "'mog' is not one of mig"),
        ([str(run.path), "--data", "shapes:sise=3"], "Did you mean 'size'"),
        ([str(run.path), "--data", "shapes:size=32", "--metrics", "mig"], "32"),
    ):
        result = CliRunner().invoke(cli, ["disentangle", *line])
        assert result.exit_code != 0
        assert said in result.output
        assert "Traceback" not in result.output


@pytest.mark.slow
def test_training_disentangles() -> None:
    """A beta-VAE that has learnt where shapes are beats itself before."""
    shapes = Shapes(16, colour=False, values={"shape": 1, "scale": 3, "rotation": 1})
    factors = shapes.factors(4000)
    x = shapes.images(factors).astype("float32") / 255
    vae = tfvae.zoo.beta_vae(
        shapes.shape, 5, beta=4.0, likelihood="ContinuousBernoulli", hidden=(128,)
    )
    metrics = ["mig", "factor_vae", "beta_vae", "dci", "sap", "explicitness", "modularity"]
    asked: dict[str, Any] = {"metrics": metrics, "examples": 3000, "importance": "lasso"}
    before = d.evaluate(vae, shapes, **asked).scores
    vae.compile(keras.optimizers.Adam(2e-3))
    vae.fit(x, batch_size=100, epochs=40, verbose=0)
    after = d.evaluate(vae, shapes, **asked).scores
    for name in ("mig", "factor_vae", "dci_informativeness"):
        # Of six seeds and two models the least gain was 0.06, of MIG.
        assert after[name] > before[name] + 0.05, (name, before, after)

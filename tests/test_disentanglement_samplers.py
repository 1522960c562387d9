"""Scores of batches that share a factor: what samplers draw, and what chance gives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from factors import FACTORS, Identity, grid, turned
from scipy import stats

from tfvae import disentanglement as d


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

"""What an earlier tfvae published is loaded, run and verified; and a browser's runtime agrees."""

from __future__ import annotations

import itertools
import tarfile
from pathlib import Path
from typing import Any

import node
import numpy as np
import pytest
import tensorflow as tf
from here import strangers_here

import tfvae
from tfvae import random
from tfvae.export import stranger, verification

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module", params=["format-1.tar.gz"])
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    with tarfile.open(GOLDEN / request.param) as archive:
        archive.extractall(folder, filter="data")
    return folder / "golden" / "1"


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in GOLDEN.iterdir()) < 300 * 1024


def test_it_verifies(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "strangers", strangers_here)
    report = tfvae.export.verify(golden)
    assert report.ok, str(report)
    assert {row.endpoint for row in report.rows} == {
        *("decode", "generate", "encode", "reconstruct", "score", "warm-up")
    }
    assert {row.runtime for row in report.rows} == {
        *stranger.RUNTIMES, "onnxruntime (float16)", "onnxruntime (int8)"
    }  # fmt: skip


@pytest.mark.parametrize("runtime", ["onnx", "tensorflow"])
def test_it_runs(golden: Path, runtime: str) -> None:
    loaded = tfvae.export.load(golden, runtime=runtime)
    x = np.array([[0, 1, 1], [1, 1, 1]], np.float32)
    assert loaded.encode(x)["stddev"].shape == (2, 2)
    assert loaded.reconstruct(x)["mean"].shape == (2, 3)
    assert np.all(np.isfinite(loaded.score(x)["log_marginal"]))
    assert loaded.is_anomaly(x, 0.05).shape == (2,)
    drawn = loaded.generate(seeds=np.arange(50))
    # The draws are those of TensorFlow's own words: half a word for each value, from seed 0 on.
    for seed, (mean, sample) in enumerate(zip(drawn["mean"], drawn["sample"], strict=True)):
        words = tf.random.stateless_uniform(
            [3], [seed, random.OBSERVATION], None, None, tf.uint32, alg="philox"
        ).numpy()
        unit = np.array([words[0] >> 16, words[1] >> 16, words[0] & 0xFFFF]) / 2**16
        certain = np.abs(unit - mean) > 2**-15
        np.testing.assert_array_equal(sample[certain], (unit < mean)[certain])


def test_its_scores_are_the_bounds_of_its_networks(golden: Path) -> None:
    """Against quadrature over the two latents, of what `encode` and `decode` return."""
    loaded = tfvae.export.load(golden)
    x = np.array(list(itertools.product([0, 1], repeat=3)), np.float32)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    grid = np.array(list(itertools.product(nodes, repeat=2)))
    mass = np.outer(weights, weights).ravel() / (2 * np.pi)

    def log_likelihood(z: Any) -> Any:
        logits = loaded.decode(z.reshape(-1, 2))["logits"].reshape(8, -1, 3).astype(np.float64)
        return np.sum(x[:, None] * logits - np.logaddexp(0, logits), axis=-1)

    mean, stddev = (loaded.encode(x)[key][:, None] for key in ("mean", "stddev"))
    kl = 0.5 * np.sum(mean**2 + stddev**2 - 1 - 2 * np.log(stddev), axis=(1, 2))
    elbo = log_likelihood(mean + stddev * grid) @ mass - kl
    log_marginal = np.log(np.exp(log_likelihood(np.tile(grid, (8, 1)))) @ mass)
    np.testing.assert_allclose(np.sum(np.exp(log_marginal)), 1, atol=1e-6)

    count = 2000
    scores = loaded.score(np.repeat(x, count, axis=0))
    found, bound = (scores[key].reshape(8, count) for key in ("elbo", "log_marginal"))
    error = np.std(found, axis=1) / np.sqrt(count)
    assert np.all(np.abs(np.mean(found, axis=1) - elbo) < 5 * error)  # 8: once in 200,000
    # Two importance samples lie between the ELBO and what all of them would give.
    slack = 5 * np.std(bound, axis=1) / np.sqrt(count)
    assert np.all(np.mean(bound, axis=1) > elbo + slack)
    assert np.all(np.mean(bound, axis=1) < log_marginal + slack)


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ["generate", "score"])
def test_a_browser_agrees(golden: Path, endpoint: str, tmp_path: Path) -> None:
    vectors = np.load(golden / "test_vectors.npz")
    inputs = {"generate": ["seed", "temperature"], "score": ["x", "seed"]}[endpoint]
    given = {name: vectors[f"{endpoint}/{name}"] for name in inputs}
    found = node.run(golden / "onnx" / f"{endpoint}.onnx", given, tmp_path)
    for name, values in found.items():
        expected = vectors[f"{endpoint}/{name}"]
        np.testing.assert_allclose(values.reshape(expected.shape), expected, rtol=0, atol=1e-5)

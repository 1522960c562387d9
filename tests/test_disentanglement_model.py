"""Disentanglement of a model: one that reads the factors, one that is trained, a run."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from factors import FACTORS

import tfvae
from tfvae import disentanglement as d
from tfvae import runs
from tfvae.cli import cli
from tfvae.commands import disentangle as cli_disentangle
from tfvae.data import Examples
from tfvae.disentanglement import votes
from tfvae.shapes import Shapes


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

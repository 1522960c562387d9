"""Studies: what they write is what was measured, and their words follow from their numbers."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import tfvae
from tfvae import charts, estimator_study, gradients, latent_study, runs
from tfvae.cli import cli
from tfvae.estimator_study import EstimatorStudy, Measurement, study_estimators
from tfvae.gradients import GradientNoise, Noise
from tfvae.latent_study import LatentDim, LatentStudy, study_latent_dim
from tfvae.run_config import RunConfig, RunError


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Of 80 binary images of 4 by 4 pixels."""
    rng = np.random.default_rng(0)
    bars = (np.arange(4) < rng.integers(0, 5, (80, 4, 1))).astype("uint8")
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    np.savez(path, x_train=bars[:60], x_test=bars[60:])
    options = {"hidden": (4,)}
    return RunConfig(
        data=str(path), validation=12, batch_size=16, optimizer="adagrad", options=options
    )


# Latent dimensions


def dim(latents: int, train: Any, test: Any, active: int | None = None) -> LatentDim:
    """Return one whose differences to the best are given with their errors."""
    bounds = (-10.0 + train[0], 0.3, -12.0 + test[0], 0.4)
    curves = ((48, 96), (-15.0, -11.0), (-14.0, -13.0))
    return LatentDim(latents, f"latent-dim={latents}", *curves, *bounds, train, test, 5.0, active)


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        ((0.5, 0.1), (-0.1, 0.1), "Superfluous latents do not overfit"),
        ((0.5, 0.1), (-0.5, 0.1), "They overfit"),
        ((-0.5, 0.1), (-0.5, 0.1), "not overfitting, for the training bound is clearly lower"),
        ((0.1, 0.1), (-0.5, 0.1), "gain nothing clear in training"),
    ],
)
def test_the_conclusion_follows_from_the_numbers(train: Any, test: Any, said: str) -> None:
    dims = (
        dim(2, (-3.0, 0.1), (-3.0, 0.1)),
        dim(5, (0.0, 0.0), (0.0, 0.0)),
        dim(9, train, test, 4),
    )
    study = LatentStudy(Path("x"), RunConfig(), dims)
    assert study.best.latent_dim == 5
    assert said in study.conclusion
    assert "-12.00 ± 0.40 nats" in study.conclusion
    assert f"{test[0]:+.2f} ± 0.10" in study.conclusion
    assert "uses 4 of its 9" in study.conclusion
    # Training and test sets are of different examples: errors add as squares.
    assert dims[1].gap == pytest.approx(2)
    assert dims[1].gap_error == pytest.approx(0.5)
    assert "2.00 ± 0.50" in study.conclusion
    last = LatentStudy(Path("x"), RunConfig(), dims[:2])
    assert "the most there are" in last.conclusion


@pytest.fixture(scope="module")
def latents(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> LatentStudy:
    out = tmp_path_factory.mktemp("latents") / "study"
    return study_latent_dim(config, [3, 1], out, samples=100, draws=8, verbose=False)


def test_curves_are_those_of_the_runs(latents: LatentStudy, config: RunConfig) -> None:
    assert [each.latent_dim for each in latents.dims] == [1, 3]
    for each in latents.dims:
        run = runs.Run.load(latents.path / each.run)
        assert run.config.options["latent_dim"] == each.latent_dim
        assert run.config.optimizer == "adagrad"
        # 100 samples of 48 examples a pass, rounded: two.
        assert each.samples == (48, 96)
        assert list(each.train) == run.history["elbo"]
        assert list(each.held_out) == run.history["val_elbo"]
    with (latents.path / "bounds.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["latent_dim"]) for row in rows] == [1, 1, 3, 3]
    assert float(rows[3]["held_out_bound"]) == latents.dims[1].held_out[1]


@pytest.mark.slow
def test_final_bounds_are_the_models_own(latents: LatentStudy) -> None:
    best = latents.best
    for each in latents.dims:
        run = runs.Run.load(latents.path / each.run)
        data, model = run.data(), run.model()
        # Other draws of z, of the same examples: 8 of each here, 400 there.
        elbo = tfvae.evaluate.evaluate(model, data.test, samples=400)
        assert each.kl == pytest.approx(elbo.kl, rel=1e-5)  # in closed form
        row = model.score(data.test.values(), samples=8, seed=0).elbo.numpy()
        noise = np.std([model.score(data.test.values()[:1], samples=1, seed=s).elbo.numpy()[0]
                        for s in range(20)])  # fmt: skip
        assert each.test_bound == pytest.approx(row.mean(), rel=1e-6)
        assert each.test_bound == pytest.approx(elbo.elbo, abs=5 * noise / np.sqrt(8 * 20) * 1.5)
        assert each.test_error == pytest.approx(row.std(ddof=1) / np.sqrt(20), rel=1e-5)
        assert each.test_difference[0] == pytest.approx(each.test_bound - best.test_bound, abs=1e-5)
        means = model.trace(data.test.values()).latents[0].kl_per_dimension.numpy().mean(0)
        assert each.active == np.sum(means > 0.01)
    assert best.test_difference == (0, 0)


def test_a_study_goes_on_where_it_stopped(
    latents: LatentStudy, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_training(*_: Any, **__: Any) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr("tfvae.sweep.train", no_training)
    again = study_latent_dim(config, [1, 3], latents.path, samples=100, draws=8, verbose=False)
    assert again == latents == LatentStudy.load(latents.path)
    with pytest.raises(FileExistsError, match="with epochs=2"):
        study_latent_dim(config, [1, 3], latents.path, samples=200, verbose=False)


def test_the_picture_shows_the_curves(latents: LatentStudy, tmp_path: Path) -> None:
    curves = {each.latent_dim: (each.samples, each.train, each.held_out) for each in latents.dims}
    figure = charts.bounds(curves, tmp_path / "b.png")
    for axes, each in zip(figure.axes, latents.dims, strict=True):
        training, held_out, best = axes.lines
        np.testing.assert_array_equal(training.get_ydata(), each.train)
        # The mean over an epoch belongs to its middle.
        np.testing.assert_array_equal(training.get_xdata(), [24, 72])
        np.testing.assert_array_equal(held_out.get_xydata(), np.c_[each.samples, each.held_out])
        assert best.get_ydata()[0] == max(max(d.held_out) for d in latents.dims)
        assert training.get_linestyle() != held_out.get_linestyle()
        assert axes.get_xscale() == "log"
        assert "samples" in axes.get_xlabel()
    assert "nats" in figure.axes[0].get_ylabel()
    with Image.open(latents.path / "bounds.png") as picture:
        assert min(picture.size) > 300


@pytest.mark.slow
def test_final_bounds_are_given_conditions(config: RunConfig, tmp_path: Path) -> None:
    with np.load(config.data) as data:
        x_train, x_test = data["x_train"], data["x_test"]
    labels = {"y_train": np.arange(60) % 2, "y_test": np.arange(20) % 2}
    np.savez(tmp_path / "two.npz", x_train=x_train, x_test=x_test, **labels)
    options = {"hidden": (4,), "classes": 2}
    ours = dataclasses.replace(
        config, model="cvae", data=str(tmp_path / "two.npz"), options=options, epochs=1
    )
    study = study_latent_dim(ours, [2], tmp_path / "s", draws=2, verbose=False)
    run, best = runs.Run.load(tmp_path / "s" / study.best.run), study.best
    test, model = run.data().test, run.model()
    elbo = model.score(test.values(), condition=test.y, samples=2).elbo.numpy()
    assert best.test_bound == pytest.approx(elbo.mean(), rel=1e-6)
    kl = model.trace(test.values(), condition=test.y).latents[0].kl_per_dimension.numpy().mean(0)
    assert best.kl == pytest.approx(kl.sum(), rel=1e-5)
    assert best.active == np.sum(kl > 0.01)


def test_no_bound_is_said_before_training(config: RunConfig, tmp_path: Path) -> None:
    ours = dataclasses.replace(config, model="rae")
    with pytest.raises(RunError, match=r"with a density.*The study compares bounds"):
        study_latent_dim(ours, [2], tmp_path / "s", verbose=False)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": []}, "at least one value"),
        ({"values": [2, 0]}, "`values` to be whole numbers of at least 1"),
        ({"values": [2.0]}, "2.0"),
        ({"values": [2, 2]}, "twice"),
        ({"samples": 0}, "`samples`"),
        ({"draws": 0}, "`draws`"),
        ({"limit": -1}, "`limit`"),
        ({"config": RunConfig()}, "`validation`"),
    ],
)
def test_what_does_not_fit_is_refused(
    config: RunConfig, change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"config": config, "values": [2], "out": tmp_path / "s", **change}
    with pytest.raises(RunError, match=said):
        study_latent_dim(**arguments)
    assert not (tmp_path / "s").exists()


# Estimators


@pytest.fixture(scope="module")
def estimators(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> EstimatorStudy:
    out = tmp_path_factory.mktemp("estimators") / "study"
    return study_estimators(config, out, steps=4, points=3, draws=4, verbose=False)


@pytest.mark.slow
def test_moments_are_powers_of_two(estimators: EstimatorStudy) -> None:
    assert [each.step for each in estimators.measurements] == [0, 2, 4]
    assert estimators.names == tuple(gradients.estimators())
    assert EstimatorStudy.load(estimators.path) == estimators
    with (estimators.path / "gradient-variance.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 4 * 2
    noise = estimators.measurements[2].noise["A: Monte-Carlo KL"].generative
    (row,) = (
        row
        for row in rows
        if (row["step"], row["estimator"][0], row["parameters"]) == ("4", "A", "generative")
    )
    assert float(row["variance"]) == noise.variance
    with Image.open(estimators.path / "gradient-variance.png") as picture:
        assert min(picture.size) > 300


@pytest.mark.slow
def test_measurements_are_at_the_parameters_of_plain_training(
    estimators: EstimatorStudy, config: RunConfig
) -> None:
    dataset = tfvae.data.load(config.data, validation=12)
    model = runs.build(estimators.config, dataset)
    batch = dataset.train.take(16)
    for each in estimators.measurements:
        if each.step:
            model = runs.build(estimators.config, dataset)
            model.fit(dataset.train, batch_size=16, steps_per_epoch=each.step, verbose=0)
        for name, objective in gradients.estimators().items():
            found = gradients.gradient_noise(model, batch, objective, 4, each.step)
            np.testing.assert_allclose(found.variational, each.noise[name].variational, rtol=1e-3)


def measured(step: int, *variances: float) -> Measurement:
    none = Noise(1.0, 0.1, 1.0, 0.1)
    names = gradients.estimators()
    noise = {
        name: GradientNoise(Noise(value, value / 10, 1.0, 0.1), none, 5.0, 0.1)
        for name, value in zip(names, variances, strict=True)
    }
    return Measurement(step, noise)


def test_ratios_and_words_follow_from_the_numbers() -> None:
    found = (measured(0, 500, 30, 1, 2), measured(8, 90, 20, 2.1, 2), measured(16, 80, 9, 8, 2))
    study = EstimatorStudy(Path("x"), RunConfig(), 1, 4, found)
    ratio, error = found[0].ratio("A: Monte-Carlo KL", "B: closed-form KL")
    # Relative errors of a tenth each add as squares.
    assert (ratio, error) == (0.5, pytest.approx(0.5 * np.hypot(0.1, 0.1)))
    score, _, a = study.conclusions
    assert "40 to 250 times that of B: closed-form KL" in score
    assert "clearly larger at 3 of 3 steps, clearly smaller at 0" in score
    assert "0.5 to 4 times" in a
    assert "clearly larger at 1 of 3 steps, clearly smaller at 1" in a


def test_the_picture_shows_variances_and_ratios(tmp_path: Path) -> None:
    found = (measured(0, 500, 30, 1, 2), measured(8, 90, 20, 2.1, 2))
    study = dataclasses.replace(
        EstimatorStudy(tmp_path, RunConfig(), 1, 4, found), measurements=found
    )
    names = study.names
    figure = charts.gradient_variance(
        [0, 8],
        {name: [each.noise[name].variational for each in found] for name in names},
        {name: [each.ratio(name, names[-1]) for each in found] for name in names[:-1]},
    )
    left, right = figure.axes
    for axes, expected in (
        (left, [[500, 90], [30, 20], [1, 2.1], [2, 2]]),
        (right, [[250, 45], [15, 10], [0.5, 1.05]]),
    ):
        drawn = [np.asarray(each.lines[0].get_ydata(), float) for each in axes.containers]
        np.testing.assert_allclose(drawn, expected)
        assert axes.get_yscale() == "log"
        assert axes.get_xlabel() == "training step"
    assert "nats²" in left.get_ylabel()
    styles = {str(each.lines[0].get_linestyle()) for each in left.containers}
    assert len(styles) == 4  # told apart without colours


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": 0}, "`steps`"),
        ({"points": 1}, "`points`"),
        ({"draws": 5}, "`draws`"),
        ({"samples": 0}, "`samples`"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    config: RunConfig, change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=said):
        study_estimators(config, tmp_path / "s", **change)
    assert not (tmp_path / "s").exists()


def test_a_folder_is_not_written_over(config: RunConfig, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "study.json").write_text("{}")
    with pytest.raises(FileExistsError, match="holds a study"):
        study_estimators(config, there)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(FileExistsError, match=r"holds notes\.txt"):
        study_estimators(config, tmp_path, overwrite=True)


# Damage, and the commands


@pytest.mark.parametrize("kind", [LatentStudy, EstimatorStudy])
@pytest.mark.parametrize("text", ["{", "[]", '{"dims": [{}], "measurements": [{}], "config": {}}'])
def test_damage_is_named(kind: Any, text: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        kind.load(tmp_path)
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(RunError, match="damaged"):
        kind.load(tmp_path)


def invoke(line: Sequence[str]) -> str:
    result = CliRunner().invoke(cli, list(line))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_commands_print_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    dims = (dim(2, (0.0, 0.0), (0.0, 0.0), 2), dim(9, (0.1, 0.1), (-0.5, 0.1)))
    latents = LatentStudy(Path("there"), RunConfig(), dims)
    moments = (measured(0, 500, 30, 1, 2), measured(8, 90, 20, 2.1, 2))
    estimators = EstimatorStudy(Path("there"), RunConfig(), 1, 4, moments)

    def stand_in(found: Any) -> Any:
        def study(*arguments: Any, **options: Any) -> Any:
            seen.append((arguments, options))
            return found

        return study

    monkeypatch.setattr(latent_study, "study_latent_dim", stand_in(latents))
    monkeypatch.setattr(estimator_study, "study_estimators", stand_in(estimators))
    line = ["study", "latent-dim", "--values", "1,3", "--hidden", "8,4", "--data", "digits"]
    assert json.loads(invoke([*line, "--json"])) == json.loads(json.dumps(latents.to_dict()))
    (config, values, out), options = seen[0]
    assert (values, out, options["samples"]) == ((1, 3), "studies/latent-dim", 200_000)
    # As in the paper, as far as there are options for it.
    assert config == RunConfig(
        binarize="threshold", batch_size=100, optimizer="adagrad", learning_rate=0.02,
        validation=0.1,
        options={"hidden": (8, 4), "activation": "tanh", "likelihood": "Bernoulli"},
    )  # fmt: skip
    text = invoke(line)
    assert latents.conclusion in text
    assert "bounds.png" in text
    line = ["study", "estimators", "--latent-dim", "3"]
    assert json.loads(invoke([*line, "--json"]))["conclusions"] == list(estimators.conclusions)
    assert seen[-1][0][0].options["latent_dim"] == 3
    text = invoke(line)
    for sentence in estimators.conclusions:
        assert sentence in text


def test_adagrad_takes_its_step() -> None:
    import keras

    optimizer = tfvae.optimizers.adagrad(0.1, steps=10)
    assert isinstance(optimizer, keras.optimizers.Adagrad)
    weight = keras.Variable(np.array([1.0, 1.0], "float32"))
    gradient = np.array([0.5, -2.0])
    optimizer.apply([gradient.astype("float32")], [weight])
    # Keras starts the sum of squares at 0.1.
    expected = 1 - 0.1 * gradient / np.sqrt(0.1 + gradient**2)
    np.testing.assert_allclose(np.array(weight), expected, rtol=1e-5)

"""Probes: to scikit-learn's own classifiers, and to accuracies that are known by theory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy import stats

import tfvae
from tfvae import charts, probe_fits, probes, runs
from tfvae.cli import cli
from tfvae.data import Examples

# Two classes at distance 2 along the first axis; along another the spread is five times as wide.
DISTANCE, WIDE = 2.0, 5.0
BAYES = stats.norm.cdf(DISTANCE / 2)


def classes(n: int, seed: int) -> Examples:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    x = rng.normal(size=(n, 4)) * [1, WIDE, 1, 1]
    x[:, 0] += DISTANCE * (y - 0.5)
    return Examples(x.astype("float32"), y)


def looking_at(axis: int) -> tfvae.VAE:
    """Return a model whose code is one of the values."""
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    kernel = np.zeros((4, 2))
    kernel[axis, 0] = 3.0
    encoder.set_weights([kernel, np.array([7.0, 0.0])])
    return tfvae.zoo.vae((4,), 1, encoder=encoder, hidden=(), likelihood="Normal")


@pytest.fixture(scope="module")
def data() -> tuple[Examples, Examples]:
    return classes(2000, seed=1), classes(10_000, seed=2)


@pytest.fixture(scope="module")
def found(data: tuple[Examples, Examples]) -> probes.Probing:
    return probes.probe(looking_at(0), *data, [20, 2000], repeats=3)


# 10,000 tests: a share has a standard deviation of 0.5 % at most, here 0.0037. Five of them have a
# false-alarm rate of 6e-7. A threshold fitted to n examples misses the best by about n^-1/2, which
# costs phi(1) / 2n: nothing at n = 2,000.
NOISE = 5 * np.sqrt(BAYES * (1 - BAYES) / 10_000)


def test_a_linear_probe_of_informative_codes_is_as_good_as_can_be(found: probes.Probing) -> None:
    assert found.of("codes").accuracy == pytest.approx(BAYES, abs=NOISE)
    # With 4 values, 2,000 labels: the normal of the plane is off by some 3 %.
    assert found.of("raw").accuracy == pytest.approx(BAYES, abs=NOISE + 0.002)


def test_one_principal_component_is_the_widest_axis_which_tells_nothing(
    found: probes.Probing,
) -> None:
    assert found.dimensions == {"codes": 1, "pca": 1, "raw": 4}
    # The component leans to the first axis by at most sqrt(2) * 5 / (24 * sqrt(2000)) < 0.01 in
    # the square root of its variance, which shifts the classes by 0.02 / 5 of a deviation.
    assert found.of("pca").accuracy == pytest.approx(0.5, abs=5 * 0.5 / 100 + 0.002)


def test_codes_that_tell_nothing_are_worth_nothing(data: tuple[Examples, Examples]) -> None:
    blind = probes.probe(looking_at(2), *data, [2000], probes=["linear"])
    assert blind.of("codes").accuracy == pytest.approx(0.5, abs=5 * 0.5 / 100)
    assert blind.of("raw").accuracy == pytest.approx(BAYES, abs=NOISE + 0.002)


def test_neighbours_of_one_informative_value_are_as_good_as_cover_and_hart_say(
    data: tuple[Examples, Examples],
) -> None:
    train, test = (each.x[:, :1] for each in data)
    votes = probe_fits._nearest(train, data[0].y, test, (1,), 2)[1.0]
    share = np.mean(votes.argmax(1) == data[1].y)
    # One neighbour is right where both labels are drawn alike: E[p^2 + (1 - p)^2].
    grid = np.linspace(-8, 8, 4001)
    one, other = (stats.norm.pdf(grid, s * DISTANCE / 2) / 2 for s in (1, -1))
    limit = np.trapezoid((one**2 + other**2) / (one + other), grid)
    # Shares of the tests, of which neighbours in 2,000 are common to some: five deviations of
    # 2,000 independent ones.
    assert share == pytest.approx(limit, abs=5 * np.sqrt(limit * (1 - limit) / 2000))


def test_errors_are_those_of_repeats_or_of_a_share(found: probes.Probing) -> None:
    once = found.of("codes")
    assert (once.labels, len(once.accuracies)) == (2000, 1)
    p = once.accuracy
    assert once.error == pytest.approx(np.sqrt(p * (1 - p) / 10_000))
    often = found.of("codes", "knn", 20)
    assert len(often.accuracies) == len(often.settings) == 3
    assert often.error == pytest.approx(stats.sem(often.accuracies))
    with pytest.raises(KeyError, match="21 labels"):
        found.of("codes", labels=21)
    assert found.majority == pytest.approx(0.5, abs=0.03)


# The fits


@pytest.fixture(scope="module")
def digits() -> tuple[Any, ...]:
    data = tfvae.data.load("digits")
    flat = [each.x.reshape(len(each), -1) for each in (data.train, data.test)]
    return (*flat, data.train.y, data.test.y)


def test_fits_are_scikit_learn_s(digits: tuple[Any, ...]) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    x, tests, y, _ = digits
    x, y = x[:300], y[:300]
    longest = np.linalg.norm(tests, axis=1).max()
    for strength, scores in probe_fits._linear(x, y, tests, (0.001, 0.01), 10).items():
        model = LogisticRegression(C=strength, tol=1e-7, max_iter=5000).fit(x, y)
        # The loss, a mean over 300 with a penalty of curvature 1 / 300 C, is minimised until no
        # slope of the 650 is above 1e-4: weights are 300 C sqrt(650) 1e-4 from the best at most.
        # A log-probability moves by sqrt(2) times that and the length of x at most.
        bound = 300 * strength * np.sqrt(650) * 1e-4 * np.sqrt(2) * max(longest, 1)
        np.testing.assert_allclose(scores, model.predict_log_proba(tests), atol=bound)
    for k, votes in probe_fits._nearest(x, y, tests, (1, 3, 20), 10).items():
        model = KNeighborsClassifier(int(k), algorithm="brute").fit(x, y)
        np.testing.assert_array_equal(votes.argmax(1), model.predict(tests))
        np.testing.assert_allclose(votes / k, model.predict_proba(tests))


def test_more_neighbours_than_examples_are_all_of_them() -> None:
    x, y = np.zeros((2, 1), "float32"), np.array([0, 1])
    assert list(probe_fits._nearest(x, y, x, (5,), 2)) == [2.0]


def test_pca_is_the_best_linear_map(digits: tuple[Any, ...]) -> None:
    x, tests, y, truth = digits
    vae = tfvae.zoo.vae((64,), 5, hidden=(4,), likelihood="ContinuousBernoulli")
    both = [Examples(*each) for each in ((x, y), (tests, truth))]
    pca = probes._kinds(vae, *both, 0)["pca"]
    centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    values, vectors = np.linalg.eigh(np.cov(x.T.astype(np.float64), bias=True))
    ours = pca.deviation**2
    # To one factor, variances are the largest eigenvalues.
    np.testing.assert_allclose(ours, values[:-6:-1] / values[:-6:-1].mean(), rtol=1e-4)
    theirs = (tests - x.mean(0, dtype=np.float64)) @ vectors[:, :-6:-1]
    theirs /= np.sqrt(values[:-6:-1].mean())
    np.testing.assert_allclose(np.abs(pca.test), np.abs(theirs), atol=1e-3)
    assert np.abs(centred.mean()) < 1e-6


def test_settings_are_chosen_without_the_test_set(digits: tuple[Any, ...]) -> None:
    x, tests, y, truth = digits
    seen = probe_fits.centred(x, tests)
    rows = probe_fits.balanced(y, 100, seed=0)
    for name in probe_fits.PROBES:
        accuracy, setting = probe_fits.fitted(name, seen, rows, y, truth, 10)
        wrong, same = probe_fits.fitted(name, seen, rows, y, (truth + 1) % 10, 10)
        assert setting == same
        assert accuracy > 0.8
        assert wrong < 0.2


def test_noise_is_not_blown_up_where_that_hurts() -> None:
    # One value tells the class, thirty are noise a thousandth as wide: to scale each to unit
    # variance drowns it, as it would the dead dimensions of a code.
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    x = np.concatenate(
        [(y + 0.1 * rng.normal(size=400))[:, None], 1e-3 * rng.normal(size=(400, 30))], 1
    )
    seen = probe_fits.centred(x[:200], x[200:])
    accuracy, _ = probe_fits.fitted("knn", seen, np.arange(200), y[:200], y[200:], 2)
    assert accuracy == 1  # the classes are ten deviations apart


@pytest.mark.parametrize("count", [3, 30, 47, 150])
def test_labelled_examples_are_as_even_as_they_can_be(count: int) -> None:
    y = np.repeat([0, 1, 2], [100, 40, 10])
    rows = probe_fits.balanced(y, count, seed=1)
    assert len(set(rows.tolist())) == count
    sizes = np.bincount(y[rows], minlength=3)
    # Water that is poured evenly: those that are not full differ by one at most.
    open_ones = sizes[sizes < [100, 40, 10]]
    assert sizes.max() == sizes[0]
    assert open_ones.size == 0 or np.ptp(open_ones) <= 1
    np.testing.assert_array_equal(rows, probe_fits.balanced(y, 150, seed=1)[:count])
    for other in ({"seed": 2}, {"seed": 1, "draw": 1}):
        assert not np.array_equal(rows, probe_fits.balanced(y, count, **other))


def test_a_class_of_few_is_held_out_in_part() -> None:
    # 5 of 305: a fifth of all would take all of them.
    y = np.repeat([0, 1], [300, 5])
    x = np.random.default_rng(0).normal(size=(305, 2)) + 8.0 * y[:, None]
    accuracy, _ = probe_fits.fitted("linear", probe_fits.centred(x, x), np.arange(305), y, y, 2)
    assert accuracy > 0.99


# What is refused


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train": np.zeros((9, 4))}, "Expected labels in `train`"),
        ({"train": (np.zeros((9, 4)), np.zeros(9))}, "at least two classes"),
        ({"train": (np.zeros((9, 4)), np.linspace(0, 1, 9))}, "no whole numbers"),
        ({"train": (np.zeros((9, 4)), np.eye(9))}, r"shape \(9, 9\)"),
        ({"train": (np.zeros((9, 3)), np.zeros(9))}, "shape"),
        ({"test": (np.zeros((2, 4)), np.array([1, 7]))}, "7, which is not"),
        ({"labels": []}, "at least one number"),
        ({"labels": [1]}, "`labels` from 2, one for each class, to 40"),
        ({"labels": [41]}, "labels=41"),
        ({"labels": [2.5]}, "whole number"),
        ({"repeats": 0}, "`repeats`"),
        ({"probes": []}, "at least one"),
        ({"probes": ["tree"]}, "'tree'"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], said: str) -> None:
    arguments: dict[str, Any] = {"train": classes(40, 1), "test": classes(20, 2), **change}
    with pytest.raises(ValueError, match=said):
        probes.probe(looking_at(0), **arguments)


def test_an_encoder_that_is_told_the_labels_is_refused() -> None:
    cvae = tfvae.zoo.cvae((4,), 1, classes=2, hidden=(4,), likelihood="Normal")
    with pytest.raises(ValueError, match="may tell it the labels"):
        probes.probe(cvae, classes(40, 1), classes(20, 2))


@pytest.mark.parametrize("make", [tfvae.zoo.deep_markov_model, tfvae.zoo.vrnn])
def test_sequences_are_probed_for_labels_that_are_no_lengths(make: Any) -> None:
    vae = make((4, 1), 2, hidden=(4,), units=4, likelihood="Normal", ragged=False)
    y = np.arange(40) % 2
    x = np.random.default_rng(0).normal(size=(40, 4, 1)) + 9 * y[:, None, None]
    found = probes.probe(vae, (x, y), (x, y), [40], probes=["linear"])
    assert found.dimensions["codes"] == 8
    assert found.of("raw").accuracy == 1
    with pytest.raises(ValueError, match="ragged=False"):
        probes.probe(make((4, 1), 2, hidden=(4,), units=4), (x, y + 1), (x, y + 1))


def test_classes_may_be_names() -> None:
    train, test = classes(40, 1), classes(20, 2)
    names = np.array(["cat", "dog"])
    numbers = probes.probe(looking_at(0), train, test, [40])
    named = [(each.x, names[each.y]) for each in (train, test)]
    result = probes.probe(looking_at(0), *named, [40])
    assert result.classes == ("cat", "dog")
    assert result.probes == numbers.probes


# The command and the picture


def test_the_picture_shows_each_accuracy(found: probes.Probing, tmp_path: Path) -> None:
    figure = charts.label_efficiency(found, tmp_path / "probe.png")
    linear, knn = figure.axes
    for axes, name in ((linear, "linear"), (knn, "knn")):
        for container, kind in zip(axes.containers, probes.FEATURES, strict=True):
            x, y = (np.asarray(v, float) for v in container.lines[0].get_data())
            np.testing.assert_allclose(x, found.labels, rtol=0.07)
            expected = [100 * found.of(kind, name, n).accuracy for n in found.labels]
            np.testing.assert_allclose(y, expected)
            low, high = axes.get_ylim()
            assert low < min(y)
            assert max(y) < high
    assert linear.get_xscale() == "log"
    assert "%" in linear.get_ylabel()
    styles = {line.get_linestyle() for line in linear.lines if len(line.get_xdata()) == 2}
    assert len(styles - {"None"}) == 3  # told apart without colours
    with Image.open(tmp_path / "probe.png") as picture:
        assert min(picture.size) > 400


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, 80)
    bars = np.broadcast_to((np.arange(4) < y[:, None, None]), (80, 4, 4)).astype("uint8")
    folder = tmp_path_factory.mktemp("probe")
    np.savez(
        folder / "bars.npz", x_train=bars[:60], x_test=bars[60:], y_train=y[:60], y_test=y[60:]
    )
    np.savez(folder / "bare.npz", x_train=bars[:60], x_test=bars[60:])
    options = {"network": "conv", "filters": (2,), "latent_dim": 2}
    for name in ("bars", "bare"):
        config = runs.RunConfig(data=str(folder / f"{name}.npz"), epochs=1, options=options)
        trained = runs.train(config, folder / name, verbose=False)
    return runs.Run.load(trained.path.with_name("bars"))


def test_the_command_probes_a_run(run: runs.Run, tmp_path: Path) -> None:
    picture = tmp_path / "p.png"
    line = ["probe", str(run.path), "--labels", "5,all", "--repeats", "2", "--plot", str(picture)]
    result = CliRunner().invoke(cli, [*line, "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document == json.loads((run.path / "probe.json").read_text())
    assert picture.stat().st_size > 1000
    data = run.data()
    direct = probes.probe(run.model(), data.train, data.test, [5, 60], repeats=2)
    assert document["probes"] == direct.to_dict()["probes"]
    # Bars of five widths, noiseless: raw values tell all.
    assert direct.of("raw", "knn").accuracy == 1
    table = CliRunner().invoke(cli, [*line[:2], "--labels", "5", "--limit", "50"]).output
    assert "codes" in table
    assert "commonest" in table


def test_data_without_labels_are_refused_by_the_command(run: runs.Run) -> None:
    result = CliRunner().invoke(cli, ["probe", str(run.path.with_name("bare"))])
    assert result.exit_code == 1
    assert "Expected data with labels" in result.output
    assert "Traceback" not in result.output

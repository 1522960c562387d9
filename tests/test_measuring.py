"""All measurements in one call: what is in the table, what is left out and why, and as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console
from test_zoo import small

import tfvae
from tfvae import markup, zoo
from tfvae.data import Examples
from tfvae.evaluate import AIS, MEASUREMENTS, Measures, measure, measuring, table
from tfvae.evaluate.batches import UndefinedError

IMAGES = np.random.default_rng(0).integers(0, 2, (24, 6, 5)).astype("float32")
QUICK = {"samples": 3, "examples": 2}


@pytest.fixture(autouse=True)
def few_temperatures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have annealing, which has tests of its own, take seconds."""
    monkeypatch.setattr(table, "_TEMPERATURES", 5)


def shown(found: Measures) -> str:
    console = Console(width=200, record=True)
    with console.capture() as capture:
        console.print(found.table("a model"))
    return capture.get()


@pytest.mark.parametrize("markup", [True, False])
def test_a_table_shows_text_as_it_is(markup: bool) -> None:
    console = Console(width=200, markup=markup)
    found = Measures({}, {"codes": "of [height, width], or [/v2]"}, 1, 0)
    with console.capture() as capture:
        console.print(found.table("runs/a[b]"))
    said = capture.get()
    assert said.splitlines()[0].strip() == "runs/a[b]"
    assert "of [height, width], or [/v2]" in said


def test_names_are_checked() -> None:
    every = tuple(each.name for each in MEASUREMENTS)
    assert measuring.check_names("all") == every
    assert measuring.check_names(["bound", " surgery "]) == ("bound", "surgery")
    with pytest.raises(ValueError, match="Did you mean 'surgery'"):
        measuring.check_names("bound,surgry")
    with pytest.raises(ValueError, match="at least one"):
        measuring.check_names([])


def test_results_are_those_of_their_functions() -> None:
    vae = zoo.vae((6, 5), 2, hidden=(8,))
    names = ["bound", "active_units", "reconstruction"]
    found = measure(vae, IMAGES, names, samples=5, seed=2)
    assert found["bound"] == tfvae.evaluate.evaluate(vae, IMAGES, 5, 2)
    assert found["reconstruction"] == tfvae.evaluate.reconstruction(vae, IMAGES)
    assert list(found.results) == ["bound", "active_units", "reconstruction"]
    with pytest.raises(KeyError, match="not asked for"):
        found["codes"]
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["measures"]["bound"]["elbo"] == found["bound"].elbo
    assert document["measures"]["reconstruction"]["mse"]["mean"] == found["reconstruction"].mse.mean
    assert len(document["measures"]["active_units"]["variances"][0]) == 2
    assert (document["examples"], document["seed"]) == (24, 2)
    text = shown(found)
    for number, digits in (
        (found["bound"].elbo, 2),
        (found["bound"].log_marginal_error, 2),
        (found["reconstruction"].mse.mean, 4),
        (found["reconstruction"].ssim.error, 3),
    ):
        assert f"{number:.{digits}f}" in text


# What each leaves out of "all", of images of so few pixels; the sentences have tests of their own.
LEFT_OUT = {
    "autoencoder": {"bound", "kl_per_dimension", "codes", "diagnosis", "surgery", "calibration"},
    "vq_vae": {"active_units", "kl_per_dimension", "diagnosis", "ais", "calibration"},
    "hierarchical_vae": {"codes"},
    "semi_supervised_vae": {"codes", "surgery", "ais"},
}
UNTOLD = {"probes", "disentanglement"}  # for there are no labels


@pytest.mark.slow
@pytest.mark.parametrize("name", LEFT_OUT)
def test_all_is_what_has_a_meaning(name: str) -> None:
    vae = small(name, (6, 5))
    found = measure(vae, IMAGES, **QUICK)
    assert found.left_out.keys() == LEFT_OUT[name] | UNTOLD
    assert found.results.keys() | found.left_out.keys() == set(measuring.check_names("all"))
    json.dumps(found.to_dict(), allow_nan=False)
    text = shown(found)
    for missing, why in found.left_out.items():
        assert len(why) > 20
        assert missing in text
    # By name it is an error, which says the same.
    missing, why = next(iter(found.left_out.items()))
    with pytest.raises(UndefinedError) as raised:
        measure(vae, IMAGES, missing, **QUICK)
    assert str(raised.value) == why


@pytest.mark.slow
def test_of_sentences_and_sequences_what_has_no_meaning_is_said() -> None:
    sentences = small("sentence_vae", (8,))
    x = np.asarray(sentences.generate(12, seed=0).tokens, np.float32)
    found = measure(sentences, x, **QUICK)
    assert found.left_out.keys() >= {"codes", "samples"}
    assert found["reconstruction"].accuracy is not None
    walks = np.random.default_rng(0).normal(size=(12, 5, 2)).astype("float32")
    model = zoo.deep_markov_model((5, 2), 2, units=4, hidden=(4,), likelihood="Normal")
    found = measure(model, walks, **QUICK)
    assert found.left_out.keys() >= {"codes", "surgery"}
    assert "paths" in found.left_out["surgery"]
    assert found["bound"].examples == 12


def test_where_nothing_is_asked_for_an_autoencoder_is_judged_by_what_it_reconstructs() -> None:
    found = measure(small("autoencoder", (6, 5)), IMAGES, None, **QUICK)
    assert found.results.keys() == {"reconstruction", "active_units"}
    assert "density" in found.left_out["bound"]
    found = measure(small("vae", (6, 5)), IMAGES, None, **QUICK)
    assert (found.results.keys(), found.left_out) == ({"bound", "active_units"}, {})


@pytest.mark.slow
def test_of_one_example_what_needs_two_is_left_out() -> None:
    found = measure(zoo.vae((6, 5), 2, hidden=(8,)), IMAGES[:1], **QUICK)
    assert found.left_out.keys() >= {"active_units", "diagnosis", "samples"}
    assert "at least 2 examples" in found.left_out["diagnosis"]
    assert found["bound"].examples == 1


@pytest.mark.slow
def test_labels_and_factors_are_told() -> None:
    # Two latents are the factors, and the third tells nothing.
    factors = np.stack(np.meshgrid(range(4), range(5)), -1).reshape(-1, 2).repeat(12, axis=0)
    noise = np.random.default_rng(0).normal(size=(len(factors), 1))
    x = np.concatenate([factors - [1.5, 2.0], noise], axis=1).astype("float32")
    vae = zoo.vae((3,), 3, likelihood="Normal", hidden=())
    vae.encoder.set_weights([np.eye(3, 6), np.r_[np.zeros(3), np.full(3, -3.0)]])
    data = Examples(x, factors)
    found = measure(vae, data, ["disentanglement"], train=data)["disentanglement"]
    assert found.mig.score == tfvae.disentanglement.mig(x, factors).score
    assert found.scores["factor_vae"] == found.scores["explicitness"] == pytest.approx(1)
    assert found.dci is None
    labelled = Examples(x, factors[:, 0])
    probed = measure(vae, labelled, "all", train=labelled, **QUICK)
    assert probed["probes"].of("codes").accuracy == 1
    assert probed["probes"].majority == 1 / 4
    assert "at least two factors" in probed.left_out["disentanglement"]
    assert "linear probe, codes" in shown(probed)
    json.dumps(probed.to_dict(), allow_nan=False)
    # What is beside x of other models is no label.
    other = zoo.cvae((3,), 2, classes=4, likelihood="Normal", hidden=(4,))
    with pytest.raises(UndefinedError, match="y is what this model is given"):
        measure(other, labelled, "probes", train=labelled)


def test_errors_of_fits_are_no_want_of_labels() -> None:
    vae, y = zoo.vae((6, 5), 2, hidden=(4,)), np.arange(24) % 3
    good, bad = Examples(IMAGES, y), Examples(np.zeros((24, 7), "float32"), y)
    for name in ("probes", "disentanglement"):
        # Data that do not fit are an error, and no reason to leave it out.
        with pytest.raises(ValueError, match="shape") as raised:
            measure(vae, good, name, train=bad)
        assert not isinstance(raised.value, UndefinedError)
    for train, why in (
        (IMAGES, "Expected labels in `train`"),
        (Examples(IMAGES, y / 3), "no whole numbers"),
        (Examples(IMAGES, 0 * y), "at least two classes"),
        (Examples(IMAGES[1:], 1 + y[1:]), "among those of `train`"),
        (None, "pass train="),
    ):
        with pytest.raises(UndefinedError, match=why):
            measure(vae, good, "probes", train=train)
    with pytest.raises(UndefinedError, match="at least two factors"):
        measure(vae, good, "disentanglement", train=good)
    sequences = zoo.deep_markov_model((5, 2), 2, units=2, hidden=(2,), ragged=False)
    walks = Examples(IMAGES.reshape(-1, 5, 2)[:24], y)
    with pytest.raises(UndefinedError, match="sees more than x"):
        measure(sequences, walks, "probes", train=walks)


@pytest.fixture
def annealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have annealing, which has tests of its own, find 0 nats at once."""
    found = AIS(np.zeros(2), np.ones(2), np.ones(2), 8, 5)
    monkeypatch.setattr(tfvae.evaluate, "annealed", lambda *_, **__: found)


def test_the_gain_is_over_the_bound_of_the_same_weights(annealed: None) -> None:
    vae = zoo.bayesian_vae((6, 5), 2, hidden=(4,))
    of_means = tfvae.evaluate.log_marginal(vae, IMAGES[:2], 3)
    found = measure(vae, IMAGES, "ais", weight_draws=7, **QUICK)
    assert found["ais"].gain.mean == pytest.approx(-of_means.mean())
    assert "of the means of the weights, not of 7 draws of them" in shown(found)
    assert "weights" not in shown(measure(vae, IMAGES, "ais", **QUICK))


def test_errors_of_the_bound_are_no_want_of_one(
    annealed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(tfvae.evaluate, "log_marginal", broken)
    with pytest.raises(ValueError, match="broken"):
        measure(zoo.vae((6, 5), 2, hidden=(4,)), IMAGES, **QUICK, metrics="ais")
    without = measure(zoo.autoencoder((6, 5), 2, hidden=(4,)), IMAGES, "ais", **QUICK)
    assert without["ais"].gain is None


def test_what_is_not_finite_is_null() -> None:
    plain: Any = markup.plain({"a": np.float32(np.nan), "b": (np.inf, 1), "c": np.arange(2)})
    assert plain == {"a": None, "b": [None, 1], "c": [0, 1]}


@pytest.mark.slow
def test_progress_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    vae = zoo.vae((6, 5), 2, hidden=(8,))
    measure(vae, IMAGES, "samples", progress=True)
    assert "samples" in capsys.readouterr().err


def test_importing_the_table_imports_no_tensorflow() -> None:
    code = (
        "import sys, tfvae.commands.evaluate; "
        "print({'tensorflow', 'numpy', 'rich'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tfvae import runs

    options = {"likelihood": "ContinuousBernoulli", "hidden": (8,), "latent_dim": 2}
    config = runs.RunConfig(data="digits", epochs=1, options=options)
    return runs.train(config, tmp_path_factory.mktemp("runs") / "m", verbose=False)


def invoke(line: str) -> Any:
    from tfvae.cli import cli

    return CliRunner().invoke(cli, line.split())


@pytest.mark.slow
def test_the_command_measures_all(run: Any) -> None:
    result = invoke(f"evaluate {run.path} --metrics all --samples 3 --limit 12 --json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document == json.loads((run.path / "evaluation.json").read_text())
    assert document.keys() >= {"run", "epochs", "log_marginal", "active_units", "latent_units"}
    assert document["measures"]["samples"]["features"].endswith("classifier of 10 classes")
    assert document["left_out"].keys() == {"codes", "disentanglement"}
    assert document["measures"]["bound"]["elbo"] == document["elbo"]
    table = invoke(f"evaluate {run.path} --metrics samples --features pca --limit 12")
    assert "50 principal components" in table.stdout


@pytest.mark.slow
def test_the_command_says_why_what_is_asked_for_has_no_meaning(run: Any) -> None:
    result = invoke(f"evaluate {run.path} --metrics codes")
    assert result.exit_code == 1
    assert "posterior over codes" in result.output


def test_the_command_checks_names_before_any_work() -> None:
    result = invoke("evaluate nowhere --metrics bond")
    assert result.exit_code == 2
    assert "Did you mean 'bound'" in result.output

"""What pictures say of themselves: greys, seeds, labels and priors; and models with conditions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tfvae
from tfvae import pictures

X = np.random.default_rng(0).random((12, 8, 8, 1)).astype("float32")


def model(likelihood: str = "ContinuousBernoulli", **options: Any) -> Any:
    return tfvae.zoo.vae((8, 8, 1), 2, hidden=(8,), likelihood=likelihood, **options)


def note(figure: Any) -> str:
    return " ".join(text.get_text() for text in figure.texts)


@pytest.fixture(scope="module")
def normal() -> Any:
    return model("Normal")


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 255.0), (0.0, 0.9)])
def test_greys_reach_as_far_as_the_examples(normal: Any, low: float, high: float) -> None:
    x = low + (high - low) * X
    subject = pictures.Subject.of(normal, x)
    ends = min(0.0, x.min()), max(1.0, x.max())
    assert subject.span == pytest.approx(ends)
    shown = subject.images(x)
    np.testing.assert_allclose(shown, (x - ends[0]) / (ends[1] - ends[0]), rtol=0, atol=1e-6)
    assert 0 <= shown.min() < shown.max() <= 1
    least, greatest = (f"{end:.3g}".replace("-", "−") for end in ends)
    wide = "" if high < 1 else f"; black to white: {least} to {greatest}"
    assert subject.noted("first") == f"first{wide}"


def test_greys_are_said_where_there_is_nothing_to_tell_them_by(normal: Any) -> None:
    assert note(pictures.draw("samples", normal, n=2)) == "black to white: 0 to 1"
    assert "−1 to 1" in note(pictures.draw("reconstructions", normal, np.sign(X - 0.5), n=2))
    assert not pictures.draw("samples", model(), n=2).texts


@pytest.mark.slow
def test_counts_under_a_condition_are_scaled_by_what_is_drawn_of_every_class() -> None:
    vae = tfvae.zoo.cvae((8, 8, 1), 2, classes=3, hidden=(8,), likelihood="Poisson")
    assert pictures.available(vae)["samples"] is None
    figure = pictures.draw("samples", vae, n=2)
    mean = vae.generate(64, seed=0, condition=np.arange(64) % 3).mean
    top = max(1.0, float(np.max(mean)))
    assert note(figure) == f"black to white: 0 to {top:.3g}"


def test_spaces_are_trained_under_conditions_that_are_no_labels() -> None:
    vae = tfvae.zoo.cvae((8, 8, 1), 2, vector=4, hidden=(8,), likelihood="ContinuousBernoulli")
    given = np.random.default_rng(1).random((12, 4)).astype("float32")
    assert pictures.available(vae, (X, given))["spaces"] is None
    figure = pictures.draw("spaces", vae, (X, given), models={"one": vae})
    codes = tfvae.features.means(vae, X, given)
    (group,) = figure.axes[0].collections
    np.testing.assert_allclose(group.get_offsets(), codes, rtol=0, atol=1e-6)


def test_seeds_are_those_that_were_drawn() -> None:
    figure = pictures.draw("interpolation", model(), seed=40, pairs=2, n=3)
    assert note(figure) == "between seeds 40 and 41, 42 and 43"
    figure = pictures.draw("interpolation", model(), X, seed=40, pairs=[(0, 3)], n=3)
    assert note(figure) == "between examples 0 and 3"


def test_examples_without_a_label_are_called_so() -> None:
    vae = tfvae.zoo.semi_supervised_vae((8, 8, 1), 2, classes=3, hidden=(8,))
    subject = pictures.Subject.of(vae, ((X > 0.5).astype("float32"), np.array([0, 1, 2, -1] * 3)))
    assert subject.names == {-1: "no label"}
    assert pictures.Subject.of(model(), classes=["a"]).names == {0: "a"}
    figure = pictures.draw("scatter", vae, ((X > 0.5).astype("float32"), [0, 1, 2, -1] * 3))
    names = [str(group.get_label()) for group in figure.axes[0].collections]
    assert names == ["no label", "0", "1", "2"]


@pytest.mark.slow
def test_a_prior_that_nothing_holds_codes_to_is_said() -> None:
    said = "the prior was not fitted to the codes"
    plain = tfvae.zoo.autoencoder((8, 8, 1), 2, hidden=(8,), likelihood="ContinuousBernoulli")
    assert note(pictures.draw("samples", plain, n=2)) == said
    assert said in note(pictures.draw("interpolation", plain, n=2))
    assert said not in note(pictures.draw("interpolation", plain, X, n=2))
    # A distance of codes and prior, a KL, and a prior with parameters hold them together.
    drawn_to = tfvae.zoo.wae_mmd(
        (8, 8, 1), 2, hidden=(8,), likelihood="ContinuousBernoulli", posterior="Deterministic"
    )
    fitted = plain.fit_prior(X, tfvae.priors.MixtureOfGaussians((2,), components=2))
    for vae in (drawn_to, model(), fitted):
        assert not pictures.draw("samples", vae, n=2).texts

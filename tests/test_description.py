"""What objects say of themselves: a line, and tables in a notebook."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from pages import Page

import tfvae
from tfvae import description, markup
from tfvae.evaluate import Evaluation
from tfvae.export.shown import Published
from tfvae.runs import Run, RunConfig

MODELS = ("vae", "hierarchical_vae", "cvae", "semi_supervised_vae", "vq_vae", "autoencoder")


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    given = {"classes": 10} if name in ("cvae", "semi_supervised_vae") else {}
    vae = tfvae.zoo.models()[name]((8, 8), **given)
    table = Page(vae._repr_html_())
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["likelihood"][0] == "Bernoulli"
    assert rows["likelihood"][1].startswith("event_shape=(8, 8)")
    assert rows["encoder"][-1] == f"{vae.encoder.count_params():,}"
    assert rows["decoder"][-2:] == ["[B, 8, 8]", f"{vae.decoder.count_params():,}"]
    assert f"{description.parameters(vae):,} parameters" in repr(vae)
    assert "never trained" in table.text
    # Each weight once, and no counter or moment.
    parts = {id(w): w for part in vae.networks() for w in part.weights}
    extra = vae.classifier.weights if name == "semi_supervised_vae" else ()
    parts |= {id(weight): weight for weight in extra}
    assert description.parameters(vae) == sum(int(np.prod(w.shape)) for w in parts.values())
    levels = [row for row in rows if row.startswith("priors ")]
    assert len(levels) == (2 if name == "hierarchical_vae" else 0)


def test_a_generator_and_a_network_that_is_not_built() -> None:
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(9)], name="sequential")
    generator = tfvae.Generator(decoder, "Bernoulli")
    assert repr(generator) == (
        "<Generator 'sequential': z [2], x [9], StandardNormal → Bernoulli, 27 parameters>"
    )
    assert "trained" not in generator._repr_html_()
    assert "object" in repr(tfvae.Generator.__new__(tfvae.Generator))


def test_names_are_escaped() -> None:
    name = "<script>alert('x')</script>"
    run = Run(Path(name), RunConfig(), {}, {"elbo": [-3.0, -2.0], "kl": []}, "failed", name)
    for text in (run._repr_html_(), markup.notebook(name, [markup.Table([[name]], [name], name)])):
        assert name in Page(text).text
        assert "<script" not in text


def test_runs() -> None:
    run = Run(Path("runs/m"), RunConfig(seed=7), {}, {"elbo": [-3.0, -2.0], "kl": []}, "failed")
    rows = Page(run._repr_html_()).rows
    assert ["seed", "7"] in rows
    assert ["elbo", "−2.000"] in rows
    assert repr(run) == "<run runs/m: vae on digits, failed, 2 of 20 epochs>"


def test_evaluations() -> None:
    found = Evaluation(-104.567, 0.25, -110.0, -90.0, 20.0, 0.1924, 360, 100, (12.0, 8.0))
    rows = {row[0]: row[1] for row in Page(found._repr_html_()).rows}
    assert rows["log_marginal"] == "−104.57"
    assert rows["kl_per_latent"] == "12.00, 8.000"


def test_an_export_that_is_gone(tmp_path: Path) -> None:
    published = Published(tmp_path)
    assert published == tmp_path
    assert isinstance(published, Path)
    assert published._repr_html_() is None


def test_numbers() -> None:
    assert markup.number(0.0) == "0"
    assert markup.number(-1.2e-7) == "−1.2e-07"
    assert markup.number(1234567.891) == "1,234,567.89"
    assert markup.number(float("nan")) == "nan"
    assert markup.number(float("-inf")) == "−inf"
    assert markup.number(-3) == "−3"
    assert markup.settings({"a": 0.1234567, "b": list(range(9)), "c": {"d": 1}, "e": None}) == (
        "a=0.123457, b=(0, 1, 2, 3, 4, 5, …), c={d=1}"
    )

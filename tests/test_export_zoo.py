"""Every named model leaves with every endpoint that its slots define, and is verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from here import strangers_here
from test_zoo import OTHER_DATA, small

import tfvae
from tfvae import zoo
from tfvae.export import comparisons, verification
from tfvae.export.manifest import Manifest

ALL = ["decode", "generate", "encode", "reconstruct", "score"]
# A point has no density.
UNSCORED = {"rae", "sparse_autoencoder"}
# The others are among the slow tests: an export of five endpoints takes some ten seconds.
BY_DEFAULT = {"vae"}
# Those that are another model but for what they are trained with, which no export has.
OF_THE_VAE = (
    "beta_vae", "annealed_vae", "beta_tcvae", "dip_vae", "info_vae", "iwae", "miwae", "ciwae",
    "piwae", "wae_mmd",
)  # fmt: skip
OF_THE_RAE = ("autoencoder", "denoising_autoencoder", "contractive_autoencoder")
# Families whose exports are tested with what they can do beyond these.
OWN_TESTS = {
    "cvae", "supervised_vae", "semi_supervised_vae", "hierarchical_vae", "deep_markov_model",
    "vrnn",
}  # fmt: skip
SAME = dict.fromkeys(OF_THE_VAE, "vae") | dict.fromkeys(OF_THE_RAE, "rae")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in BY_DEFAULT else pytest.mark.slow)
        for name in zoo.models()
        if name not in OTHER_DATA | OWN_TESTS | set(SAME)
    ],
)
def test_exports(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "strangers", strangers_here)
    shape = (4, 4, 3) if name == "discretized_logistic_vae" else (6, 5)
    vae = small(name, shape)
    vae.step.assign(1)
    path = tfvae.export.export(vae, tmp_path / name, samples=5)
    manifest = Manifest.read(path)
    expected = [each for each in ALL if each != "score" or name not in UNSCORED]
    assert [record.name for record in manifest.endpoints] == expected
    assert all(check.ok for check in manifest.verification)
    mean = np.asarray(vae.generate(seeds=[3, 4]).mean)
    # Float32 rounding, as derived at `comparisons.TOLERANCE`, of the output's scale.
    scale = max(1.0, np.abs(mean).max())
    drawn = tfvae.export.load(path).generate(seeds=[3, 4])["mean"]
    np.testing.assert_allclose(drawn, mean, rtol=0, atol=comparisons.TOLERANCE * scale)


def exported(vae: tfvae.VAE) -> list[Any]:
    """Return all that an export is made from, but for the values of weights."""
    slots = [
        (type(slot), slot.get_config() | {"name": ""}, [tuple(w.shape) for w in slot.weights])
        for slot in (vae.prior, vae.posterior, vae.likelihood)
    ]
    layers = [
        (type(layer), getattr(layer, "activation", None), [tuple(w.shape) for w in layer.weights])
        for network in (vae.encoder, vae.decoder)
        for layer in network.layers
    ]
    return slots + layers


@pytest.mark.parametrize("name", sorted(SAME))
def test_what_differs_in_its_training_alone(name: str) -> None:
    vae, other = small(SAME[name], (6, 5)), small(name, (6, 5))
    assert exported(other) == exported(vae)
    assert (other.objective, other.corruption) != (vae.objective, vae.corruption)

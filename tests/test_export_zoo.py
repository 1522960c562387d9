"""Every named model leaves with every endpoint that its slots define, and is verified."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from here import strangers_here
from test_zoo import small

import tfvae
from tfvae import zoo
from tfvae.export import verification
from tfvae.export.manifest import Manifest

ALL = ["decode", "generate", "encode", "reconstruct", "score"]
# A point has no density.
UNSCORED = {"rae"}
# The others are among the slow tests: an export of five endpoints takes some ten seconds.
BY_DEFAULT = {"vae"}
# Those that are the plain VAE but for their objective, which no export has.
SAME = {
    "beta_vae", "annealed_vae", "beta_tcvae", "dip_vae", "info_vae", "iwae", "miwae", "ciwae",
    "piwae", "wae_mmd",
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in BY_DEFAULT else pytest.mark.slow)
        for name in zoo.models()
        if name not in SAME
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
    loaded = tfvae.export.load(path)
    drawn = loaded.generate(seeds=[3, 4])
    again = vae.generate(seeds=[3, 4])
    assert np.mean(np.abs(drawn["mean"] - np.asarray(again.mean)) < 1e-5) > 0.99


@pytest.mark.parametrize("name", sorted(SAME))
def test_what_differs_in_its_objective_alone(name: str) -> None:
    vae, other = small("vae", (6, 5)), small(name, (6, 5))
    for slot in ("prior", "posterior", "likelihood"):
        assert type(getattr(other, slot)) is type(getattr(vae, slot))
    assert type(other.objective) is not type(vae.objective) or other.objective != vae.objective

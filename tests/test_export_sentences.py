"""Sentences leave with every way of writing them, and are the same in every runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from here import strangers_here
from test_sentence import WORDS, small, some_rows

import tfvae
from tfvae.export import Processing, verification
from tfvae.export.endpoints import endpoints
from tfvae.export.manifest import Manifest
from tfvae.export.subject import Subject
from tfvae.families import SentenceVAE

ALL = ["decode", "generate", "beam", "encode", "reconstruct", "interpolate", "score"]


def lively(length: int, cell: Any = "gru", **options: Any) -> SentenceVAE:
    """Return a model whose sentences differ, which those of first weights hardly do."""
    vae = small(length, cell, **options)
    vae.set_weights([3 * w for w in vae.get_weights()])
    vae.step.assign(1)
    return vae


def test_graphs_are_what_the_methods_are() -> None:
    vae = lively(3)
    exported = endpoints(Subject(vae, samples=3, width=2), ["decode", "generate", "beam"])
    for endpoint in exported:
        given = endpoint.examples(12)
        expected = endpoint.reference(**given)
        outputs = endpoint.concrete(**{name: tf.constant(value) for name, value in given.items()})
        for name, value in expected.items():
            # Float32 rounding of at most 3 log-softmaxes; tokens are equal.
            np.testing.assert_allclose(outputs[name], value, rtol=1e-5, atol=2e-5, err_msg=name)


def test_what_cannot_be_exported() -> None:
    vae = lively(4)
    with pytest.raises(tfvae.export.ExportError, match=r"`beam_width` from 1 to 14.*15"):
        endpoints(Subject(vae, width=15), ["beam"])
    with pytest.raises(tfvae.export.ExportError, match="no `processing`"):
        endpoints(Subject(vae, Processing(scale=2.0)))
    with pytest.raises(tfvae.export.ExportError, match=r"among decode.*Received: 'beem'"):
        endpoints(vae, ["beem"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("length", "cell", "names"),
    [(4, "gru", ALL), (4, "lstm", ALL), (18, "gru", ["encode", "reconstruct"])],
)
def test_exports(
    length: int, cell: Any, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "strangers", strangers_here)
    vae = lively(length, cell)
    path = tfvae.export.export(vae, tmp_path / "m", samples=3, beam_width=3, endpoints=names)
    manifest = Manifest.read(path)
    assert [record.name for record in manifest.endpoints] == names
    assert all(check.ok for check in manifest.verification)
    for runtime in ("onnx", "tensorflow"):
        loaded = tfvae.export.load(path, runtime=runtime)  # type: ignore[arg-type]
        assert loaded.tokeniser == WORDS
        x = some_rows(5, length).astype(np.int64)
        written = loaded.reconstruct(x)["tokens"]
        np.testing.assert_array_equal(written, vae.reconstruct(x.astype(np.float32)))
        if names != ALL:
            continue
        drawn = vae.generate(seeds=[3, -4], temperature=0.8, token_temperature=0.7)
        out = loaded.generate([3, -4], 0.8, token_temperature=0.7)
        assert loaded.tokeniser.decode(out["tokens"]) == drawn.text
        beams = loaded.beam(np.asarray(drawn.z))
        np.testing.assert_array_equal(beams["tokens"][:, 0], vae.write(drawn.z, "beam", width=3))
        line = loaded.interpolate(x[0], x[1], np.linspace(0, 1, 4))
        texts = vae.interpolate(*x[:2].astype(np.float32), steps=4)
        assert loaded.tokeniser.decode(line["tokens"]) == texts
        with pytest.raises(ValueError, match="`x` in"):
            loaded.encode(x + 99)
    if names == ALL:
        prints_sentences(path)


def prints_sentences(path: Path) -> None:
    from tfvae.cli import cli

    loaded = tfvae.export.load(path)
    result = CliRunner().invoke(cli, ["generate", str(path), "--num", "3"])
    assert result.output.splitlines() == loaded.tokeniser.decode(
        loaded.generate(range(3))["tokens"]
    )
    result = CliRunner().invoke(cli, ["generate", str(path), "--out", "a.png"])
    assert "--out is for pictures" in result.output

"""Exports of models of sequences: lengths, forecasts, and graphs that do not grow with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import node
import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from here import strangers_here

import tfvae
from tfvae import zoo
from tfvae.cli import cli
from tfvae.export import comparisons, verification
from tfvae.export.endpoints import endpoints
from tfvae.export.manifest import Manifest
from tfvae.export.onnx import conversion

T = 3


def model(**options: Any) -> Any:
    vae = zoo.deep_markov_model((T, 3), 2, hidden=(4,), units=4, direction="backward", **options)
    vae.step.assign(1)
    return vae


def test_endpoints_are_keras_s_methods() -> None:
    vae = model(likelihood="Normal")
    # The others are exported among the slow tests.
    traced = {
        each.name: each for each in endpoints(vae, ["generate", "encode", "forecast", "impute"])
    }
    for name, endpoint in traced.items():
        given = endpoint.examples(3)
        expected = endpoint.reference(**given)
        for output, values in endpoint.function(**given).items():
            scale = max(1.0, float(np.abs(expected[output]).max()))
            # Float32 rounding, as derived at `comparisons.TOLERANCE`, of the output's scale.
            atol = comparisons.TOLERANCE * scale
            np.testing.assert_allclose(values, expected[output], rtol=0, atol=atol, err_msg=name)
    lengths = traced["generate"].examples(3)["length"]
    assert lengths.tolist() == [3, 1, 2]
    drawn = traced["generate"].function(**traced["generate"].examples(3))
    for row, length in enumerate(lengths):
        np.testing.assert_array_equal(drawn["sample"][row, length:], 0.0)


def test_a_graph_is_as_large_for_any_number_of_steps() -> None:
    traced = [
        endpoints(zoo.deep_markov_model((steps, 3), 2, hidden=(4,), units=4), ["encode"])[0]
        for steps in (4, 9)
    ]
    few, many = (len(each.concrete.graph.get_operations()) for each in traced)
    assert few == many
    endpoint = traced[-1]
    converted = conversion.convert(endpoint)
    # Both directions of inference, and the path: each with its state and the number of its step;
    # weights are read where they are.
    loops = [node for node in converted.graph.node if node.op_type == "Loop"]
    assert [len(node.input) for node in loops] == [4, 4, 4]
    session = onnxruntime.InferenceSession(converted.SerializeToString())
    given = endpoint.examples(6)
    found = session.run(["mean", "stddev"], given)
    expected = endpoint.reference(**given)
    for ours, output in zip(found, ("mean", "stddev"), strict=True):
        np.testing.assert_allclose(ours, expected[output], rtol=0, atol=comparisons.TOLERANCE)
    # A row alone is what it is in a batch, to the last bits of values of order 1.
    alone = session.run(["mean", "stddev"], {k: v[4:5] for k, v in given.items()})
    for ours, whole in zip(alone, found, strict=True):
        np.testing.assert_allclose(ours[0], whole[4], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_browser_runs_loops(tmp_path: Path) -> None:
    vae = zoo.deep_markov_model((9, 3), 2, hidden=(4,), units=4)
    (endpoint,) = endpoints(vae, ["generate"])
    graph = tmp_path / "generate.onnx"
    graph.write_bytes(conversion.convert(endpoint).SerializeToString())
    given = endpoint.examples(3)
    expected = endpoint.reference(**given)
    for output, values in node.run(graph, given, tmp_path).items():
        whole = np.asarray(expected[output])
        scale = max(1.0, float(np.abs(whole).max()))
        np.testing.assert_allclose(
            values.reshape(whole.shape), whole, rtol=0, atol=comparisons.TOLERANCE * scale
        )


@pytest.mark.slow
def test_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "strangers", strangers_here)
    vae = model(cell="lstm")
    names = ["decode", "generate", "encode", "reconstruct", "score", "forecast", "impute"]
    path = tfvae.export.export(vae, tmp_path / "m", samples=3)
    manifest = Manifest.read(path)
    assert all(check.ok for check in manifest.verification)
    assert [record.name for record in manifest.endpoints] == names
    exported = tfvae.export.load(path)
    x = np.asarray(vae.generate(2, seed=9).sample)
    ours = vae.forecast(x, T, seeds=[5, 6], observed=np.array([T, 2]))
    theirs = exported.forecast(x, seeds=[5, 6], length=[T, 2])
    np.testing.assert_allclose(theirs["mean"], ours.mean[0], atol=comparisons.TOLERANCE)
    steps = np.array([[1, 0, 1], [1, 1, 0]], bool)
    imputed = vae.impute(x, steps, seeds=[5, 6])
    for observed in (steps, np.repeat(steps[..., None], 3, axis=-1).astype(int)):
        filled = exported.impute(x, observed, seeds=[5, 6])
        np.testing.assert_allclose(
            filled["mean"], imputed.mean[0], rtol=0, atol=comparisons.TOLERANCE
        )
        np.testing.assert_array_equal(filled["sample"][steps], x[steps])
    encoded = exported.encode(x, length=[T, 2])
    for found, moment in zip(encoded.values(), vae.moments(x, np.array([T, 2])), strict=True):
        np.testing.assert_allclose(found, moment, rtol=0, atol=comparisons.TOLERANCE)
    one = exported.impute(x, [2, 1], seeds=[5, 6])["mean"]
    np.testing.assert_array_equal(one[0, :2], x[0, :2])
    with pytest.raises(ValueError, match=r"`observed` of shape \[B, 3, 3\]"):
        exported.impute(x, np.ones((2, 4)))
    picture = tmp_path / "lines.png"
    asked = ["generate", str(path), "--num", "2", "--length", "2", "--out", str(picture)]
    assert CliRunner().invoke(cli, asked).exit_code == 0
    assert picture.stat().st_size > 0
    short = exported.generate(seeds=[1, 2], length=2)
    np.testing.assert_array_equal(short["sample"][:, 2:], 0.0)
    ours = vae.score(x, samples=3, observed=np.array([2, 2]))
    theirs = exported.score(x, length=2)
    np.testing.assert_allclose(theirs["elbo"], ours.elbo, rtol=1e-5, atol=1e-4)
    with pytest.raises(ValueError, match=r"`length` in \[1"):
        exported.score(x, length=0)

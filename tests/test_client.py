"""The client, against a stand-in for TensorFlow Serving; and against the server where there is one.

`stand_in.py` says what the stand-in is and is not. Every request that the README shows runs here.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import tensorflow as tf
from outside import ROOT
from stand_in import StandIn, Version, exported

import tfvae
from tfvae.export import saved_model
from tfvae.export.client import Client
from tfvae.export.endpoints import endpoints
from tfvae.export.manifest import Manifest, Tensor
from tfvae.export.transports import ServingError

# Of float32 in [-7, 7], over a network of two layers; see `stranger.TOLERANCE`.
TOLERANCE = 1e-5
EXTREMES = [0, -1, 2**63 - 1, -(2**63), 2**53, 2**53 + 1]
WAYS = [("rest", "columns"), ("rest", "rows"), ("grpc", "columns")]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of a model: an export, and beside it another model's SavedModel."""
    first = exported(tmp_path_factory.getbasetemp())
    folder = tmp_path_factory.mktemp("two") / "digits"
    shutil.copytree(first, folder / "1")
    second = tfvae.zoo.vae((8, 8, 1), 4, hidden=(16,), seed=2)
    saved_model.write(endpoints(second, ["decode"]), folder / "2")
    return folder


@pytest.fixture(scope="module")
def server(published: Path) -> Iterator[StandIn]:
    stand_in = StandIn(
        {"digits": {1: published / "1"}, "two versions": {1: published / "1", 2: published / "2"}},
        {"two versions": {"stable": 1, "canary": 2}},
    )
    yield stand_in
    stand_in.close()


@contextlib.contextmanager
def client_of(
    server: Any, transport: str, layout: str = "columns", model: str = "digits", **arguments: Any
) -> Iterator[Client]:
    address = server.rest if transport == "rest" else server.grpc
    with Client(address, model, transport=transport, layout=layout, **arguments) as client:
        yield client


@pytest.fixture(params=WAYS, ids="-".join)
def client(server: StandIn, request: pytest.FixtureRequest) -> Iterator[Client]:
    with client_of(server, *request.param) as client:
        yield client


# ---------------------------------------------------------------------------- answers


def test_every_endpoint_answers_as_keras_does(client: Client, published: Path) -> None:
    manifest = Manifest.read(published / "1")
    with np.load(published / "1" / manifest.test_vectors) as vectors:
        for record in manifest.endpoints:
            name = record.name
            rows = {spec.name: vectors[f"{name}/{spec.name}"][:5] for spec in record.inputs}
            for endpoint in (name, *record.signatures):
                outputs = client.run(endpoint, rows)
                assert set(outputs) == {spec.name for spec in record.outputs}
                for spec in record.outputs:
                    truth = vectors[f"{name}/{spec.name}"][:5]
                    assert outputs[spec.name].dtype == spec.dtype
                    assert outputs[spec.name].shape == truth.shape
                    if name == "generate" and spec.name == "sample":
                        continue  # a Bernoulli draw may flip where its mean differs in a last bit
                    scale = max(1.0, np.abs(truth).max())
                    np.testing.assert_allclose(
                        outputs[spec.name], truth, rtol=0, atol=TOLERANCE * scale
                    )


def test_methods(client: Client) -> None:
    drawn = client.generate(seeds=range(3))
    means = client.decode(drawn["z"])["mean"]
    np.testing.assert_allclose(means, drawn["mean"], rtol=0, atol=TOLERANCE)
    cold = client.generate(seeds=[0, 1], temperature=[1.0, 0.0])
    np.testing.assert_allclose(cold["z"][0], drawn["z"][0], rtol=0, atol=TOLERANCE)
    assert not cold["z"][1].any()
    known = client.endpoints
    assert set(known) >= {"decode", "generate", "serving_default"}
    x = np.zeros((2, 8, 8, 1), np.float32)
    if "encode" in known:
        assert client.encode(x)["mean"].shape == (2, 4)
    if "reconstruct" in known:
        assert client.reconstruct(x)["mean"].shape == (2, 8, 8, 1)
    if "score" in known:
        scores = client.score(x, seeds=[5, 5])
        assert scores["elbo"].shape == scores["log_marginal"].shape == (2,)
        np.testing.assert_array_equal(client.score(x, 5)["elbo"], scores["elbo"])


def test_ways_agree_to_the_last_bit(server: StandIn) -> None:
    # A seed through a float64 would be 2**53 for 2**53 + 1; decimals must name one float32 each.
    answers = []
    for way in WAYS:
        with client_of(server, *way) as client:
            answers.append(client.generate(seeds=EXTREMES))
    for name, values in answers[0].items():
        for other in answers[1:]:
            np.testing.assert_array_equal(other[name], values)
    z = answers[0]["z"]
    assert len(np.unique(z, axis=0)) == len(EXTREMES)


def test_seeds_are_those_of_the_light_runtime(client: Client, published: Path) -> None:
    truth = tfvae.export.load(published, 1).generate(EXTREMES)
    drawn = client.generate(EXTREMES)
    # Normals reach 7: some units in the last place, between TensorFlow's and onnxruntime's log.
    atol = 16 * np.finfo(np.float32).eps
    np.testing.assert_allclose(drawn["z"], truth["z"], rtol=0, atol=atol)
    np.testing.assert_allclose(drawn["mean"], truth["mean"], rtol=0, atol=TOLERANCE)


def test_an_input_with_a_default_may_be_left_out(client: Client) -> None:
    given = client.run("generate", {"seed": [3, 4], "temperature": [1.0, 1.0]})
    omitted = client.run("generate", {"seed": [3, 4]})
    for name, values in given.items():
        np.testing.assert_array_equal(omitted[name], values)


def test_versions_and_labels(server: StandIn) -> None:
    z = np.ones((1, 4), np.float32)

    def mean(**which: Any) -> Any:
        with client_of(server, model="two versions", **which) as client:
            return client.decode(z)["mean"]

    for transport in ("rest", "grpc"):
        first, second = (mean(transport=transport, version=number) for number in (1, 2))
        assert not np.array_equal(first, second)
        for expected, which in (
            (second, {}),
            (first, {"label": "stable"}),
            (second, {"label": "canary"}),
        ):
            np.testing.assert_array_equal(mean(transport=transport, **which), expected)
    with pytest.raises(ValueError, match="`version` or `label`"):
        mean(transport="rest", version=1, label="stable")


def test_descriptions_are_asked_for_once(server: StandIn) -> None:
    for transport, question in (("rest", "GET /v1/models/digits/metadata"), ("grpc", "GetModel")):
        with client_of(server, transport) as client:
            server.requests.clear()
            client.generate([1])
            client.generate([2])
        assert len(server.requests) == 3
        assert server.requests[0].startswith(question)


def test_a_new_version_of_another_shape(server: StandIn, tmp_path: Path) -> None:
    module = tf.Module()
    spec = tf.TensorSpec((None, 5), tf.float32, "z")
    decode = tf.function(lambda z: {"mean": 2 * z}, input_signature=[spec], autograph=False)
    tf.saved_model.save(module, str(tmp_path), signatures={"decode": decode})
    with client_of(server, "rest", model="two versions") as client:
        assert client.decode(np.ones((1, 4)))["mean"].shape == (1, 8, 8, 1)
        added = server.models["two versions"][3] = Version(tmp_path)
        try:
            # One input and one output, which the server leaves without their names.
            np.testing.assert_array_equal(
                client.decode(np.ones((1, 5)))["mean"], 2 * np.ones((1, 5))
            )
        finally:
            del server.models["two versions"][3]
            added.session.close()


# ---------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.decode(np.ones((2, 3))), r"`z` of shape \[B, 4\]. Received: shape \[2, 3\]"),
        (lambda c: c.decode(np.ones(4)), "Add a batch dimension"),
        (lambda c: c.decode(np.full((1, 4), np.nan)), "NaN or infinity"),
        (lambda c: c.generate([0.5]), "`seed` of dtype int64. Received: dtype float64"),
        (lambda c: c.generate([2**63]), "seed"),
        (lambda c: c.generate([1, 2], [1.0, 1.0, 1.0]), "one batch size"),
        (lambda c: c.run("generate", {"sed": [1]}), "the inputs seed, temperature"),
        (lambda c: c.run("generat", {"seed": [1]}), "Did you mean 'generate'"),
    ],
)
def test_mistakes_do_not_travel(server: StandIn, call: Any, message: str) -> None:
    for transport in ("rest", "grpc"):
        with client_of(server, transport) as client:
            server.requests.clear()
            with pytest.raises(ValueError, match=message):
                call(client)
        assert not [each for each in server.requests if "redict" in each]


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_what_a_server_refuses_is_passed_on(server: StandIn, transport: str) -> None:
    for arguments, said in (
        ({"model": "digts"}, r"Servable not found for request: Latest\(digts\)"),
        ({"version": 7}, r"Servable not found for request: Specific\(digits, 7\)"),
        ({"label": "stabel"}, "Unrecognized servable version label: stabel"),
    ):
        with (
            client_of(server, transport, **arguments) as client,
            pytest.raises(ServingError, match=said),
        ):
            client.generate([1])
    with client_of(server, transport) as client:
        record = client.endpoints["decode"]
        wrong = {"z": np.ones((1, 9), np.float32)}  # past the client's own check
        with pytest.raises(ServingError, match=r"(HTTP 400|INVALID_ARGUMENT): .*shape"):
            client._transport.predict(record, wrong)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_no_server(transport: str) -> None:
    address = f"localhost:{free_port()}"
    with (
        Client(address, "digits", transport=transport, timeout=5) as client,
        pytest.raises(ConnectionError, match=rf"{address}.*8500 and for REST on 8501"),
    ):
        client.generate([1])


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_a_server_that_does_not_answer(transport: str) -> None:
    with socket.socket() as silent:
        silent.bind(("localhost", 0))
        silent.listen()
        address = f"localhost:{silent.getsockname()[1]}"
        with (
            Client(address, "digits", transport=transport, timeout=0.3) as client,
            pytest.raises(TimeoutError, match=r"within 0\.3 s"),
        ):
            client.generate([1])


def test_something_that_is_no_model_server() -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>welcome</html>")

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("localhost", 0), Page) as page:
        thread = threading.Thread(target=page.handle_request)
        thread.start()
        with (
            Client(f"http://localhost:{page.server_address[1]}/", "digits") as client,
            pytest.raises(ServingError, match=r"welcome.*Is it a model server"),
        ):
            client.generate([1])
        thread.join()


def test_arguments_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="Did you mean 'rest'"):
        Client("localhost:8501", "digits", transport="rst")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'columns' or 'rows'"):
        Client("localhost:8501", "digits", layout="row")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    with pytest.raises(ImportError, match=r"pip install 'tfvae\[serving\]'"):
        Client("localhost:8500", "digits", transport="grpc")


def test_a_default_in_every_form_of_a_tensor() -> None:
    from google.protobuf import json_format

    from tfvae.export import client as module

    for value in (np.full((1, 3), 0.5, np.float32), np.array([2**40]), np.array([True])):
        document = json_format.MessageToDict(
            tf.make_tensor_proto(value), preserving_proto_field_name=True
        )
        assert module._default(document) == value.ravel()[0]
    spec = {"dtype": "DT_INT64", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "3"}]}}
    assert module._tensors({"a": spec}, {}) == (Tensor("a", (None, 3), "int64"),)


# ---------------------------------------------------------------------------- the README


def section() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^## Serving\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", section(), re.MULTILINE | re.DOTALL)


def test_rest_requests_of_the_readme(server: StandIn, published: Path) -> None:
    loaded = tfvae.export.load(published, 1)
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    asked = [shlex.split(line) for line in lines if line.startswith("curl")]
    formats = set()
    for _, url, flag, body in asked:
        assert flag == "-d"
        answer = requests.post(url.replace("localhost:8501", server.rest), data=body, timeout=60)
        assert answer.status_code == 200, answer.text
        question, document = requests.models.complexjson.loads(body), answer.json()
        formats |= {*question, *document}
        if "predictions" in document and question.get("signature_name") == "generate":
            rows = question["instances"]
            truth = loaded.generate([r["seed"] for r in rows], [r["temperature"] for r in rows])
            drawn = [row["mean"] for row in document["predictions"]]
            np.testing.assert_allclose(drawn, truth["mean"], rtol=0, atol=TOLERANCE)
        elif "outputs" in document:
            columns = question["inputs"]
            truth = loaded.generate(columns["seed"], columns["temperature"])
            drawn = document["outputs"]["mean"]
            np.testing.assert_allclose(drawn, truth["mean"], rtol=0, atol=TOLERANCE)
        else:
            truth = loaded.decode(question["instances"])
            drawn = [row["mean"] for row in document["predictions"]]
            np.testing.assert_allclose(drawn, truth["mean"], rtol=0, atol=TOLERANCE)
    assert formats >= {"inputs", "outputs", "instances", "predictions"}


def test_python_of_the_readme(server: StandIn, published: Path) -> None:
    names: dict[str, Any] = {}
    text = "\n".join(blocks("python"))
    assert {"localhost:8500", "localhost:8501"} <= set(re.findall(r"localhost:\d+", text))
    local = text.replace("localhost:8501", server.rest).replace("localhost:8500", server.grpc)
    exec(compile(local, "README.md", "exec"), names)
    drawn = tfvae.export.load(published, 1).generate(range(64))
    np.testing.assert_allclose(names["means"], drawn["mean"][7:8], rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(names["same"], names["images"])
    assert names["images"].shape == (64, 8, 8, 1)
    assert names["sample"].shape == (1, 8, 8, 1)
    np.testing.assert_array_equal(names["sample"][0], names["images"][7])


# ---------------------------------------------------------------------------- the server itself


def binary() -> str:
    path = os.environ.get("TFVAE_TF_SERVING") or shutil.which("tensorflow_model_server")
    if path is None:
        pytest.skip("needs tensorflow_model_server, on PATH or named by TFVAE_TF_SERVING")
    return path


def test_the_real_server(published: Path, server: StandIn, tmp_path: Path) -> None:
    path = binary()
    folder = published.parent
    tfvae.export.serve_config(
        folder,
        tmp_path,
        root=str(folder.resolve()),
        labels={"digits": {"stable": 1, "canary": 2}},
    )
    grpc_port, rest_port = free_port(), free_port()
    flags = (
        f"--port={grpc_port}",
        f"--rest_api_port={rest_port}",
        f"--model_config_file={tmp_path}/models.config",
        f"--batching_parameters_file={tmp_path}/batching.config",
        f"--monitoring_config_file={tmp_path}/monitoring.config",
        "--enable_batching=true",
        "--allow_version_labels_for_unavailable_models=true",
    )
    process = subprocess.Popen([path, *flags])
    try:
        status = f"http://localhost:{rest_port}/v1/models/digits/versions/1"
        for _ in range(120):
            assert process.poll() is None
            with contextlib.suppress(requests.ConnectionError):
                if "AVAILABLE" in requests.get(status, timeout=5).text:
                    break
            time.sleep(0.5)
        with client_of(server, "grpc") as stand_in:
            truth = stand_in.generate(EXTREMES)
        for transport, port in (("rest", rest_port), ("grpc", grpc_port)):
            with Client(
                f"localhost:{port}", "digits", transport=transport, label="stable"
            ) as client:
                drawn = client.generate(EXTREMES)
                for name in ("z", "mean"):
                    np.testing.assert_allclose(drawn[name], truth[name], rtol=0, atol=TOLERANCE)
                if transport == "grpc":  # in a request of one row, the server has the default
                    inputs = {"seed": np.array(EXTREMES[:1])}
                    one = client._transport.predict(client.endpoints["generate"], inputs)
                    np.testing.assert_allclose(one["z"][0], truth["z"][0], rtol=0, atol=TOLERANCE)
        metrics = requests.get(
            f"http://localhost:{rest_port}/monitoring/prometheus/metrics", timeout=5
        )
        assert metrics.status_code == 200
    finally:
        process.terminate()
        process.wait(30)

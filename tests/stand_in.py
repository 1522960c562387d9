"""A stand-in for TensorFlow Serving, whose binary is on few machines that run tests.

Not the server: its `PredictionService`, on the real stubs, over the C++ loader through a Session,
and a REST front of the same, with the rules and the words of the server's source (predict_util.cc,
json_tensor.cc, http_rest_api_handler.cc). What it cannot show is the server's own code: how it
batches, how it loads and unloads versions, how fast it is.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

import tfvae
from tfvae.export import verification

CODES = grpc.StatusCode
HTTP = {CODES.INVALID_ARGUMENT: 400, CODES.FAILED_PRECONDITION: 400, CODES.NOT_FOUND: 404}
ROUTE = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(?:(:predict)|(/metadata))"
)


@functools.cache
def exported(folder: Path) -> Path:
    """Export a model as "digits", once for all modules; all but the fresh process runs."""
    vae = tfvae.zoo.vae((8, 8, 1), 4, hidden=(16,), seed=1)
    vae.step.assign(1)
    with pytest.MonkeyPatch.context() as patch:
        unexamined = contextlib.nullcontext(lambda folders: [() for _ in folders])
        patch.setattr(verification, "strangers", lambda: unexamined)
        return tfvae.export.export(vae, folder / "exported" / "digits")


class RefusedError(Exception):
    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Version:
    """A SavedModel in a Session of its own."""

    def __init__(self, folder: Path) -> None:
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            meta = tf.compat.v1.saved_model.load(self.session, ["serve"], str(folder))
        self.signatures = dict(meta.signature_def)

    def run(self, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run a signature on TensorProtos, omitted ones by their defaults."""
        if name not in self.signatures:
            text = f'Serving signature key "{name}" not found.'
            raise RefusedError(CODES.FAILED_PRECONDITION, text)
        signature = self.signatures[name]
        known, sent = set(signature.inputs), set(inputs)
        if not known - set(signature.defaults) <= sent <= known:
            raise RefusedError(
                CODES.INVALID_ARGUMENT,
                f"input size does not match signature: Sent extra: {{{','.join(sent - known)}}}. "
                f"Missing but required: {{{','.join(known - sent)}}}.",
            )
        feeds = {}
        for alias, info in signature.inputs.items():
            value = inputs[alias] if alias in inputs else signature.defaults[alias]
            if value.dtype != info.dtype:
                raise RefusedError(CODES.INVALID_ARGUMENT, f"{alias} has an unexpected dtype")
            feeds[info.name] = tf.make_ndarray(value)
        try:
            fetches = {alias: info.name for alias, info in signature.outputs.items()}
            outputs: dict[str, Any] = self.session.run(fetches, feeds)
        except (tf.errors.OpError, ValueError) as error:  # ValueError: a shape, in Python's Session
            raise RefusedError(CODES.INVALID_ARGUMENT, str(error)) from error
        return outputs


class StandIn:
    """Both fronts, on ports of this machine that are free."""

    def __init__(
        self,
        models: Mapping[str, Mapping[int, Path]],
        labels: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        self.models = {
            name: {number: Version(folder) for number, folder in versions.items()}
            for name, versions in models.items()
        }
        self.labels = labels or {}
        self.requests: list[str] = []
        self._grpc = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            Service(self), self._grpc
        )
        self.grpc = f"localhost:{self._grpc.add_insecure_port('localhost:0')}"
        self._grpc.start()
        handler = type("Handler", (RestHandler,), {"stand_in": self})
        self._rest = http.server.ThreadingHTTPServer(("localhost", 0), handler)
        self.rest = f"localhost:{self._rest.server_address[1]}"
        threading.Thread(target=self._rest.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._rest.shutdown()
        self._rest.server_close()
        self._grpc.stop(0).wait()
        for versions in self.models.values():
            for version in versions.values():
                version.session.close()

    def find(self, model: str, version: int | None, label: str | None) -> tuple[int, Version]:
        versions = self.models.get(model, {})
        if label:
            if label not in self.labels.get(model, {}):
                text = f"Unrecognized servable version label: {label}"
                raise RefusedError(CODES.INVALID_ARGUMENT, text)
            version = self.labels[model][label]
        number = version if version is not None else max(versions, default=0)
        if number not in versions:
            which = f"Latest({model})" if version is None else f"Specific({model}, {version})"
            raise RefusedError(CODES.NOT_FOUND, f"Servable not found for request: {which}")
        return number, versions[number]

    def signature_map(self, version: Version) -> Any:
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in version.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        return signatures


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in

    def _find(self, spec: Any) -> tuple[int, Version]:
        version = spec.version.value if spec.HasField("version") else None
        return self.stand_in.find(spec.name, version, spec.version_label)

    def Predict(self, request: Any, context: Any) -> Any:
        self.stand_in.requests.append("Predict")
        try:
            number, version = self._find(request.model_spec)
            name = request.model_spec.signature_name or "serving_default"
            outputs = version.run(name, request.inputs)
        except RefusedError as error:
            context.abort(error.code, str(error))
        response = predict_pb2.PredictResponse()
        response.model_spec.CopyFrom(request.model_spec)
        response.model_spec.version.value = number
        for alias, value in outputs.items():
            response.outputs[alias].CopyFrom(tf.make_tensor_proto(value))
        return response

    def GetModelMetadata(self, request: Any, context: Any) -> Any:
        self.stand_in.requests.append("GetModelMetadata")
        try:
            number, version = self._find(request.model_spec)
        except RefusedError as error:
            context.abort(error.code, str(error))
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = number
        response.metadata["signature_def"].Pack(self.stand_in.signature_map(version))
        return response


class RestHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stand_in: StandIn

    def do_GET(self) -> None:
        self._answer(self._metadata)

    def do_POST(self) -> None:
        self._answer(self._predict)

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, method: Any) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.stand_in.requests.append(f"{self.command} {self.path}")
        status = 200
        try:
            route = ROUTE.fullmatch(self.path)
            if route is None or bool(route[4]) != (self.command == "POST"):
                text = f"Malformed request: {self.command} {self.path}"
                raise RefusedError(CODES.INVALID_ARGUMENT, text)
            model, label = (part and urllib.parse.unquote(part) for part in (route[1], route[3]))
            found = self.stand_in.find(model, int(route[2]) if route[2] else None, label)
            document = method(model, *found, body)
        except RefusedError as error:
            status, document = HTTP[error.code], {"error": str(error)}
        text = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _metadata(self, model: str, number: int, version: Version, _: bytes) -> Any:
        signatures = json_format.MessageToDict(
            self.stand_in.signature_map(version),
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
        spec = {"name": model, "signature_name": "", "version": str(number)}
        return {"model_spec": spec, "metadata": {"signature_def": signatures}}

    def _predict(self, model: str, number: int, version: Version, body: bytes) -> Any:
        question = json.loads(body)
        name = question.get("signature_name", "serving_default")
        if name not in version.signatures:
            text = f'Serving signature name: "{name}" not found in signature def'
            raise RefusedError(CODES.INVALID_ARGUMENT, text)
        specs = version.signatures[name].inputs
        rows = "instances" in question
        columns = _columns(question["instances"], specs) if rows else question["inputs"]
        if not isinstance(columns, dict):
            columns = {next(iter(specs)): columns}
        for alias in specs:
            if alias not in columns:
                text = f"Missing named input: {alias} in 'inputs' object."
                raise RefusedError(CODES.INVALID_ARGUMENT, text)
        inputs = {alias: _tensor(columns[alias], info.dtype) for alias, info in specs.items()}
        outputs = {key: _numbers(value) for key, value in version.run(name, inputs).items()}
        if not rows:
            return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}
        listed = [
            dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)
        ]
        if len(outputs) == 1:
            listed = [value for row in listed for value in row.values()]
        return {"predictions": listed}


def _columns(instances: list[Any], specs: Mapping[str, Any]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {alias: [] for alias in specs}
    for number, row in enumerate(instances):
        if not isinstance(row, dict):
            if len(specs) > 1:
                text = "instances is a plain list, but expecting list of objects"
                raise RefusedError(CODES.INVALID_ARGUMENT, text)
            row = {next(iter(specs)): row}  # noqa: PLW2901
        if set(row) != set(specs):
            text = f"Failed to process element: {number} keys must be equal to: {','.join(specs)}"
            raise RefusedError(CODES.INVALID_ARGUMENT, text)
        for alias, value in row.items():
            columns[alias].append(value)
    return columns


def _tensor(value: Any, dtype: int) -> Any:
    """Make a TensorProto of JSON: an integer is one in JSON too, and rows are of one length."""
    kind = tf.dtypes.as_dtype(dtype).as_numpy_dtype
    whole = np.issubdtype(kind, np.integer)
    array = np.array(value, object)
    for item in array.ravel().tolist():
        if isinstance(item, bool) or not isinstance(item, int if whole else (int, float)):
            text = f"JSON Value: {item} is not of expected type: {types_pb2.DataType.Name(dtype)}"
            raise RefusedError(CODES.INVALID_ARGUMENT, text)
    return tf.make_tensor_proto(array.astype(kind))


def _numbers(array: Any) -> Any:
    """Write floats with the fewest digits that read back as the same float32."""
    return (
        array.astype(str).astype(np.float64).tolist() if array.dtype.kind == "f" else array.tolist()
    )

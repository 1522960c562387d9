"""How a client's requests travel: as JSON over HTTP, or as protocol buffers over gRPC."""

from __future__ import annotations

import json
import re
import urllib.parse
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .manifest import EndpointRecord

Arrays = dict[str, npt.NDArray[Any]]

_PORTS = "TF Serving listens for gRPC on port 8500 and for REST on 8501"


class ServingError(RuntimeError):
    """A server answered that it cannot do what was asked; the message holds its own words."""


class Transport(Protocol):
    """How requests travel."""

    def metadata(self) -> dict[str, Any]:
        """Return the model's signatures: SignatureDefs in protobuf's JSON form, by name."""

    def predict(self, record: EndpointRecord, inputs: Arrays) -> Arrays:
        """Run a signature."""

    def close(self) -> None:
        """Close the connection."""


class Rest:
    """TF Serving's REST interface."""

    def __init__(
        self,
        address: str,
        model: str,
        version: int | None,
        label: str | None,
        layout: str,
        timeout: float,
    ) -> None:
        import requests

        root = address if re.match("https?://", address) else f"http://{address}"
        model, label = _quoted(model), None if label is None else _quoted(label)
        which = "" if version is None else f"/versions/{version}"
        which = which if label is None else f"/labels/{label}"
        self._url = f"{root.rstrip('/')}/v1/models/{model}{which}"
        self._layout = layout
        self._timeout = timeout
        self._session = requests.Session()

    def metadata(self) -> dict[str, Any]:
        """Ask for the signatures."""
        answer = self._ask("GET", f"{self._url}/metadata")
        signatures: dict[str, Any] = answer["metadata"]["signature_def"]["signature_def"]
        return signatures

    def predict(self, record: EndpointRecord, inputs: Arrays) -> Arrays:
        """Run a signature."""
        # Python's integers, not floats: a seed may need all of its 64 bits.
        columns = {name: array.tolist() for name, array in inputs.items()}
        question: dict[str, Any] = {"signature_name": record.name}
        if self._layout == "columns":
            question["inputs"] = columns
        else:
            rows = zip(*columns.values(), strict=True)
            question["instances"] = [dict(zip(columns, row, strict=True)) for row in rows]
        answer = self._ask("POST", f"{self._url}:predict", json.dumps(question))
        found = answer["outputs" if self._layout == "columns" else "predictions"]
        if len(record.outputs) == 1:  # which the server then leaves without its name
            found = {record.outputs[0].name: found}
        elif self._layout == "rows":
            found = {spec.name: [row[spec.name] for row in found] for spec in record.outputs}
        return {spec.name: np.asarray(found[spec.name], spec.dtype) for spec in record.outputs}

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _ask(self, method: str, url: str, body: str | None = None) -> Any:
        import requests

        try:
            answer = self._session.request(method, url, data=body, timeout=self._timeout)
        except requests.Timeout as error:
            raise TimeoutError(f"No answer from {url} within {self._timeout} s.") from error
        except requests.RequestException as error:
            raise ConnectionError(
                f"Could not reach a REST server at {url}: {error}. {_PORTS}."
            ) from error
        try:
            document = json.loads(answer.text)
        except json.JSONDecodeError as error:
            raise ServingError(
                f"Expected JSON from {url}. Received: HTTP {answer.status_code}, "
                f"{answer.text[:200]!r}. Is it a model server?"
            ) from error
        if not answer.ok:
            said = document.get("error", document) if isinstance(document, dict) else document
            raise ServingError(f"{url} answered HTTP {answer.status_code}: {said}")
        return document


class Grpc:
    """TF Serving's gRPC interface, by its own stubs."""

    def __init__(
        self,
        address: str,
        model: str,
        version: int | None,
        label: str | None,
        timeout: float,
        credentials: Any,
    ) -> None:
        try:
            import grpc
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ImportError as error:
            raise ImportError(
                "Expected grpcio and tensorflow-serving-api for transport='grpc'. Install them: "
                "pip install 'tfvae[serving]', or use transport='rest'."
            ) from error
        self._address = address
        self._model, self._version, self._label = model, version, label
        self._timeout = timeout
        # By default gRPC refuses answers above 4 MB: 1,700 images of 28 x 28 by 3 outputs.
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._channel = (
            grpc.insecure_channel(address, options)
            if credentials is None
            else grpc.secure_channel(address, credentials, options)
        )
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def metadata(self) -> dict[str, Any]:
        """Ask for the signatures."""
        from google.protobuf import json_format
        from tensorflow_serving.apis import get_model_metadata_pb2 as messages

        request = messages.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._address_to(request.model_spec)
        answer = self._ask(self._stub.GetModelMetadata, request)
        signatures = messages.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        document = json_format.MessageToDict(signatures, preserving_proto_field_name=True)
        found: dict[str, Any] = document["signature_def"]
        return found

    def predict(self, record: EndpointRecord, inputs: Arrays) -> Arrays:
        """Run a signature."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        self._address_to(request.model_spec)
        request.model_spec.signature_name = record.name
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        answer = self._ask(self._stub.Predict, request)
        return {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _address_to(self, spec: Any) -> None:
        spec.name = self._model
        if self._version is not None:
            spec.version.value = self._version
        if self._label is not None:
            spec.version_label = self._label

    def _ask(self, call: Any, request: Any) -> Any:
        import grpc

        try:
            return call(request, timeout=self._timeout)
        except grpc.RpcError as error:
            code, said = error.code(), error.details()
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                text = f"No answer from {self._address} within {self._timeout} s."
                raise TimeoutError(text) from error
            if code == grpc.StatusCode.UNAVAILABLE:
                raise ConnectionError(
                    f"Could not reach a gRPC server at {self._address}: {said}. {_PORTS}."
                ) from error
            raise ServingError(f"{self._address} answered {code.name}: {said}") from error


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")

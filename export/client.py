"""A client of a model server: what :class:`LoadedExport` does in this process, done by a server.

REST needs nothing more than tfvae does. gRPC, which carries the same numbers in a third of the
bytes, needs the extra ``serving``: ``pip install 'tfvae[serving]'``.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .calls import Calls
from .errors import did_you_mean
from .inputs import checked
from .manifest import EndpointRecord, Tensor
from .transports import Grpc, Rest, Transport

Arrays = dict[str, npt.NDArray[Any]]

_DTYPES = {
    "DT_BOOL": "bool",
    "DT_DOUBLE": "float64",
    "DT_FLOAT": "float32",
    "DT_HALF": "float16",
    "DT_INT32": "int32",
    "DT_INT64": "int64",
    "DT_UINT8": "uint8",
}


class Client(Calls):
    """An export on a server, with the endpoints as methods.

    The server's own description of the model is read once: inputs are checked against it before
    they are sent, and outputs come back in its dtypes.

    Args:
        address: host and port, ``"localhost:8501"``; for REST it may be the start of a URL,
            ``"https://models.example.org/vae"``.
        model: the name under which the server has the model.
        transport: ``"rest"`` or ``"grpc"``.
        version: which version; by default the newest that the server has loaded.
        label: the version's label instead, such as ``"stable"``.
        layout: of REST requests: ``"columns"``, one array for each input, or ``"rows"``, a list
            of examples.
        timeout: seconds to wait for an answer.
        credentials: of gRPC, ``grpc.ChannelCredentials`` for an encrypted connection.

    Raises:
        ValueError: for an unknown transport or layout, or both a version and a label.
        ImportError: if gRPC is asked for and the extra ``serving`` is not installed.

    Example:
        >>> from tfvae.export.client import Client
        >>> client = Client("localhost:8501", "digits")
        >>> client.generate(seeds=range(64))["sample"].shape  # doctest: +SKIP
        (64, 8, 8)
    """

    def __init__(
        self,
        address: str,
        model: str,
        *,
        transport: Literal["rest", "grpc"] = "rest",
        version: int | None = None,
        label: str | None = None,
        layout: Literal["columns", "rows"] = "columns",
        timeout: float = 30.0,
        credentials: Any = None,
    ) -> None:
        if version is not None and label is not None:
            raise ValueError(
                f"Expected `version` or `label`. Received: version={version}, label={label!r}."
            )
        if layout not in ("columns", "rows"):
            raise ValueError(f"Expected `layout` to be 'columns' or 'rows'. Received: {layout!r}.")
        self.address = address
        self.model = model
        self._transport: Transport
        if transport == "rest":
            self._transport = Rest(address, model, version, label, layout, timeout)
        elif transport == "grpc":
            self._transport = Grpc(address, model, version, label, timeout, credentials)
        else:
            raise ValueError(
                f"Expected `transport` to be 'rest' or 'grpc'. "
                f"Received: {transport!r}.{did_you_mean(transport, ('rest', 'grpc'))}"
            )
        self._records: dict[str, EndpointRecord] | None = None

    @property
    def endpoints(self) -> dict[str, EndpointRecord]:
        """The signatures that the server has, with shapes and dtypes of inputs and outputs."""
        if self._records is None:
            self._records = _records(self._transport.metadata())
        return self._records

    def run(self, endpoint: str, inputs: Mapping[str, npt.ArrayLike]) -> Arrays:
        """Run an endpoint by name.

        Args:
            endpoint: its name, or any signature's of the server's model.
            inputs: arrays by name; a single number stands for one in every row, and an input for
                which the server has a default may be left out.

        Returns:
            The outputs by name.

        Raises:
            ConnectionError: if there is no server, or it went away.
            TimeoutError: if it does not answer in time.
            ServingError: if it has no such model or version, or refuses the request.
            ValueError: for an unknown endpoint, missing or unknown inputs, a wrong shape or dtype,
                or values that are not finite.
        """
        try:
            record, arrays = self._checked(endpoint, inputs)
        except ValueError:
            # Perhaps the server has loaded another version since it was asked.
            self._records = None
            record, arrays = self._checked(endpoint, inputs)
        outputs = self._transport.predict(record, arrays)
        return {spec.name: outputs[spec.name] for spec in record.outputs}

    def close(self) -> None:
        """Close the connection; a ``with`` block does."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<tfvae client of {self.model!r} at {self.address}>"

    def _checked(
        self, endpoint: str, inputs: Mapping[str, npt.ArrayLike]
    ) -> tuple[EndpointRecord, Arrays]:
        record = self.endpoints.get(endpoint)
        if record is None:
            raise ValueError(
                f"Expected an endpoint of {self.model!r}: {', '.join(self.endpoints)}. "
                f"Received: {endpoint!r}.{did_you_mean(endpoint, self.endpoints)}"
            )
        arrays = {name: np.asarray(value) for name, value in inputs.items()}
        shapes = {spec.name: spec.shape[1:] for spec in record.inputs}
        batch = max((len(array) for array in arrays.values() if array.ndim), default=1)
        for name, array in arrays.items():
            if not array.ndim and name in shapes:
                arrays[name] = np.broadcast_to(array, (batch, *(n or 1 for n in shapes[name])))
        return record, checked(record, arrays)


def _records(signatures: Mapping[str, Any]) -> dict[str, EndpointRecord]:
    """Describe signatures as an export's manifest does."""
    return {
        name: EndpointRecord(
            name=name,
            description="",
            inputs=_tensors(signature["inputs"], signature.get("defaults", {})),
            outputs=_tensors(signature["outputs"], {}),
            signatures=(name,),
            onnx="",
        )
        for name, signature in sorted(signatures.items())
        if signature.get("method_name") == "tensorflow/serving/predict"
    }


def _tensors(tensors: Mapping[str, Any], defaults: Mapping[str, Any]) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(
            name,
            (None, *(int(dim["size"]) for dim in spec["tensor_shape"].get("dim", ())[1:])),
            _DTYPES[spec["dtype"]],
            default=_default(defaults[name]) if name in defaults else None,
        )
        for name, spec in sorted(tensors.items())
    )


def _default(tensor: Mapping[str, Any]) -> float:
    """Read the first value of a TensorProto in JSON; of a default, all are one value."""
    listed = [values for key, values in tensor.items() if key.endswith("_val") and values]
    if listed:
        return float(listed[0][0])
    content = base64.b64decode(tensor["tensor_content"])
    return float(np.frombuffer(content, _DTYPES[tensor["dtype"]])[0])

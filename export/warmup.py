"""Warm-up: requests that TF Serving runs through a version before it answers any other.

The first call of a signature plans its execution, which can take a second; TF Serving makes it
while it loads, from the requests in ``assets.extra/tf_serving_warmup_requests``. If one of them
fails, the version is not loaded, so each is replayed before it is published.

A record is a ``tensorflow.serving.PredictionLog``. Four of its messages, with the fields that are
used, are declared below under their numbers: what they write is what TF Serving reads, and its own
package, which needs TensorFlow's whole release, is not needed. TensorFlow is imported only inside
functions, and nothing of tfvae before something is wrong, so that a process without tfvae can run
this file.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

if TYPE_CHECKING:
    import numpy.typing as npt

    from .manifest import EndpointRecord

FILE = Path("assets.extra", "tf_serving_warmup_requests")

# Also the largest batch that `serving.py` has a server run: what is planned is what is used.
LARGEST_BATCH = 64

# Of a record. Warm-up is for planning, which a few rows of a large image do as well.
_MAXIMUM_BYTES = 2**16

# Message: {field: (number, type)}. A map is a repeated message of a key and a value, and the bytes
# of a message are those of a string, so a TensorProto is carried as it was serialised.
_MESSAGES = {
    "PredictionLog": {"predict_log": (6, "PredictLog")},
    "PredictLog": {"request": (1, "PredictRequest")},
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "Input")},
    "ModelSpec": {"name": (1, "string"), "signature_name": (3, "string")},
    "Input": {"key": (1, "string"), "value": (2, "bytes")},
}


def write(
    folder: Path,
    records: Sequence[EndpointRecord],
    vectors: Mapping[str, npt.NDArray[Any]],
) -> Path:
    """Write warm-up requests for every signature: one of a single row, and one of many.

    Args:
        folder: the version folder.
        records: its endpoints.
        vectors: the test vectors: ``"<endpoint>/<input>"`` to rows [N, ...].

    Returns:
        The path of the file.

    Example:
        >>> from tfvae.export import warmup
        >>> with np.load(folder / "test_vectors.npz") as vectors:  # doctest: +SKIP
        ...     warmup.write(folder, manifest.endpoints, vectors)
    """
    import tensorflow as tf

    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as file:
        for record in records:
            inputs = {spec.name: vectors[f"{record.name}/{spec.name}"] for spec in record.inputs}
            for signature in record.signatures:
                for batch in _batches(inputs):
                    rows = {name: values[:batch] for name, values in inputs.items()}
                    file.write(_encode(signature, rows))
    return path


def requests(folder: Path) -> Iterator[tuple[str, dict[str, npt.NDArray[Any]]]]:
    """Yield the warm-up requests of a version folder: a signature, and its inputs."""
    import tensorflow as tf

    for record in tf.data.TFRecordDataset(str(folder / FILE)).as_numpy_iterator():
        request = _prediction_log().FromString(record).predict_log.request
        yield (
            request.model_spec.signature_name,
            {
                entry.key: tf.make_ndarray(_tensor_proto().FromString(entry.value))
                for entry in request.inputs
            },
        )


def failures(folder: Path) -> list[str]:
    """Replay every warm-up request as TF Serving does, and say which fail.

    Returns:
        A line for each request that fails, or for a file that cannot be read; empty if all is
        well.
    """
    import tensorflow as tf

    try:
        read = list(requests(folder))
    except Exception as error:  # a damaged file: TensorFlow's errors and protobuf's
        return [f"{FILE} cannot be read: {_first_line(error)}"]
    if not read:
        return [f"{FILE} holds no request"]
    failed = []
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        for number, (name, inputs) in enumerate(read, start=1):
            try:
                signature = meta.signature_def[name]
                feeds = {signature.inputs[key].name: value for key, value in inputs.items()}
                session.run({k: v.name for k, v in signature.outputs.items()}, feeds)
            except Exception as error:  # what a graph raises has no common class
                failed.append(f"request {number}, {name!r}: {_first_line(error)}")
    return failed


def replay(folder: Path) -> None:
    """Replay every warm-up request through the C++ loader.

    Raises:
        ExportError: if one fails: TF Serving would not load this version.
    """
    from .errors import ExportError
    from .quiet import quiet

    with quiet("tensorflow"):
        failed = failures(folder)
    if failed:
        raise ExportError(
            f"Expected the warm-up requests of {folder} to run, or TF Serving loads no such "
            "version. Received:\n" + "\n".join(failed)
        )


def _batches(inputs: Mapping[str, npt.NDArray[Any]]) -> list[int]:
    """Return the batch sizes to warm up: 1, and the largest that the vectors and a record hold."""
    available = min(len(values) for values in inputs.values())
    row = sum(values[0].nbytes for values in inputs.values())
    return sorted({1, max(1, min(available, LARGEST_BATCH, _MAXIMUM_BYTES // row))})


def _encode(signature: str, inputs: Mapping[str, npt.NDArray[Any]]) -> bytes:
    import tensorflow as tf

    log = _prediction_log()()
    log.predict_log.request.model_spec.signature_name = signature
    for name, values in inputs.items():
        proto = tf.make_tensor_proto(values)
        log.predict_log.request.inputs.add(key=name, value=proto.SerializeToString())
    encoded: bytes = log.SerializeToString(deterministic=True)
    return encoded


def _tensor_proto() -> Any:
    import tensorflow as tf

    return type(tf.make_tensor_proto(0.0))


@functools.cache
def _prediction_log() -> Any:
    """Return the message's class, of a pool of its own: TF Serving's package may be loaded too."""
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="tfvae/warmup.proto", package="tfvae.warmup")
    file.syntax = "proto3"
    for message, fields in _MESSAGES.items():
        declared = file.message_type.add(name=message)
        for field, (number, kind) in fields.items():
            one = declared.field.add(name=field, number=number, label=field_type.LABEL_OPTIONAL)
            if kind in _MESSAGES:
                one.type, one.type_name = field_type.TYPE_MESSAGE, f".tfvae.warmup.{kind}"
            else:
                one.type = field_type.TYPE_STRING if kind == "string" else field_type.TYPE_BYTES
            if kind == "Input":
                one.label = field_type.LABEL_REPEATED
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    found = pool.FindMessageTypeByName("tfvae.warmup.PredictionLog")
    return message_factory.GetMessageClass(found)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]

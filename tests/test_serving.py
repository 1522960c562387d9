"""What TensorFlow Serving, Triton and KServe are given: signatures, warm-up, configuration.

The server's own protocol buffers read what is written, where its Python package has them. Those it
lacks (batching, monitoring, Triton's) are transcribed here, names and types.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import yaml
from click.testing import CliRunner
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from stand_in import exported
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from tfvae.commands import serving as cli_serving
from tfvae.export import ExportError, layouts, saved_model, serving, warmup
from tfvae.export.manifest import EndpointRecord, Manifest, Tensor

SEED = Tensor("seed", (None,), "int64")
TEMPERATURE = Tensor("temperature", (None,), "float32", default=1.0)
Z = Tensor("z", (None, 4), "float32")
MEAN = Tensor("mean", (None, 8, 8, 1), "float32")
RECORDS = (
    EndpointRecord("decode", "", (Z,), (MEAN,), ("serving_default", "decode"), "onnx/decode.onnx"),
    EndpointRecord(
        "generate", "", (SEED, TEMPERATURE), (Z, MEAN), ("generate",), "onnx/generate.onnx"
    ),
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.getbasetemp())


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "1"))


def model_folder(folder: Path, *versions: int, name: str = "digits") -> Path:
    """Make version folders as the configuration is made from, with nothing to serve in them."""
    for version in versions:
        place = folder / name / str(version)
        (place / "onnx").mkdir(parents=True)
        (place / "saved_model.pb").write_bytes(b"")
        for record in RECORDS:
            (place / record.onnx).write_bytes(f"{record.name} {version}".encode())
        Manifest(name, "", 18, RECORDS, {}, {}, "test_vectors.npz").write(place)
    return folder


# ---------------------------------------------------------------------------- signatures


@contextlib.contextmanager
def loaded(folder: Path) -> Iterator[tuple[Any, Any]]:
    """Load through the C++ loader: a function that runs a signature, and the signatures."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], str(folder)).signature_def

        def run(name: str, **inputs: Any) -> Any:
            feeds = {signatures[name].inputs[key].name: value for key, value in inputs.items()}
            fetches = {key: value.name for key, value in signatures[name].outputs.items()}
            return session.run(fetches, feeds)

        yield run, signatures


def test_temperature_may_be_omitted(published: Path) -> None:
    with loaded(published) as (run, _):
        for seeds in ([7], [0, -1, 2**63 - 1]):
            ones = np.ones(len(seeds), np.float32)
            omitted = run("generate", seed=np.array(seeds))
            given = run("generate", seed=np.array(seeds), temperature=ones)
            cold = run("generate", seed=np.array(seeds), temperature=0 * ones)
            for name, values in given.items():
                np.testing.assert_array_equal(omitted[name], values)
            assert not np.array_equal(cold["z"], given["z"])


def test_defaults_are_of_one_row_and_their_arguments_may_stand_anywhere(tmp_path: Path) -> None:
    inputs = (
        Tensor("temperature", (None, 2), "float32", default=0.5),
        SEED,
        Tensor("condition", (None, 3), "float32"),
    )

    @tf.function(input_signature=[tf.TensorSpec(s.shape, s.dtype, s.name) for s in inputs])
    def function(temperature: Any, seed: Any, condition: Any) -> dict[str, Any]:
        return {"sum": tf.cast(seed, tf.float32) + temperature[:, 1] + condition[:, 2]}

    concrete = function.get_concrete_function()
    double = SimpleNamespace(
        name="f", inputs=inputs, concrete=concrete, variables=(), signatures=("f",)
    )
    saved_model.write([double], tmp_path)  # type: ignore[list-item]
    rows = {"seed": np.array([1, 2, 3]), "condition": np.ones((3, 3), np.float32)}
    with loaded(tmp_path) as (run, signatures):
        defaults = signatures["f"].defaults
        assert list(defaults) == ["temperature"]
        half = tf.make_ndarray(defaults["temperature"])
        np.testing.assert_array_equal(half, np.array([[0.5, 0.5]], np.float32))
        np.testing.assert_array_equal(run("f", **rows)["sum"], [2.5, 3.5, 4.5])
        rows["temperature"] = np.array([[0, 1], [0, 2], [0, 3]], np.float32)
        np.testing.assert_array_equal(run("f", **rows)["sum"], [3, 5, 7])


# ---------------------------------------------------------------------------- warm-up


def test_the_server_reads_every_warm_up_request(published: Path) -> None:
    manifest = Manifest.read(published)
    assert "assets.extra/tf_serving_warmup_requests" in manifest.files
    dataset = tf.data.TFRecordDataset(str(published / warmup.FILE))
    logs = [prediction_log_pb2.PredictionLog.FromString(r) for r in dataset.as_numpy_iterator()]
    assert 0 < len(logs) <= 1000  # the server refuses more
    assert all(log.WhichOneof("log_type") == "predict_log" for log in logs)
    asked = [log.predict_log.request for log in logs]
    assert {(request.model_spec.signature_name) for request in asked} == {
        name for record in manifest.endpoints for name in record.signatures
    }
    ours = list(warmup.requests(published))
    with np.load(published / manifest.test_vectors) as vectors:
        for request, (signature, inputs) in zip(asked, ours, strict=True):
            assert signature == request.model_spec.signature_name
            assert not request.DiscardUnknownFields()  # type: ignore[func-returns-value]
            (record,) = (r for r in manifest.endpoints if signature in r.signatures)
            assert set(request.inputs) == set(inputs) == {spec.name for spec in record.inputs}
            for spec in record.inputs:
                theirs = tf.make_ndarray(request.inputs[spec.name])
                rows = vectors[f"{record.name}/{spec.name}"][: len(theirs)]
                assert theirs.dtype == spec.dtype
                np.testing.assert_array_equal(theirs, rows)
                np.testing.assert_array_equal(inputs[spec.name], rows)


def test_batches_are_one_row_and_what_a_record_holds(tmp_path: Path) -> None:
    seeds = np.arange(100)
    vectors = {
        "generate/seed": seeds,
        "generate/temperature": np.ones(100, np.float32),
        "decode/z": np.ones((100, 4), np.float32),
    }

    def sizes() -> list[tuple[str, int]]:
        warmup.write(tmp_path, RECORDS, vectors)
        return [(name, len(next(iter(x.values())))) for name, x in warmup.requests(tmp_path)]

    assert sizes() == [
        (name, size) for name in ("serving_default", "decode", "generate") for size in (1, 64)
    ]
    # A row of 3 KB: 21 of them fit into 64 KiB. A row that does not fit at all is sent alone.
    vectors["decode/z"] = np.ones((100, 768), np.float32)
    assert sizes()[:2] == [("serving_default", 1), ("serving_default", 21)]
    vectors["decode/z"] = np.ones((4, 2**16), np.float32)
    assert sizes()[:2] == [("serving_default", 1), ("decode", 1)]


def test_replay_names_what_fails(copy: Path) -> None:
    warmup.replay(copy)
    whole = (copy / warmup.FILE).read_bytes()
    records = Manifest.read(copy).endpoints
    with np.load(copy / "test_vectors.npz") as file:
        vectors = dict(file)

    def says(pattern: str) -> None:
        with pytest.raises(ExportError, match=pattern):
            warmup.replay(copy)

    warmup.write(copy, records, vectors | {"decode/z": np.ones((5, 3), np.float32)})
    says(r"request 1, 'serving_default': (?s:.)*request 4, 'decode'")
    renamed = [dataclasses.replace(r, signatures=(r.name.upper(),)) for r in records]
    warmup.write(copy, renamed, vectors)
    says("request 1, 'DECODE'")
    warmup.write(copy, [], {})
    says("holds no request")
    damaged = bytearray(whole)
    damaged[40] ^= 1
    (copy / warmup.FILE).write_bytes(damaged)
    says("cannot be read: DataLossError")
    (copy / warmup.FILE).write_bytes(whole[:-5])
    says("cannot be read: DataLossError")
    (copy / warmup.FILE).unlink()
    says("cannot be read")


def test_replay_needs_nothing_of_tfvae(published: Path) -> None:
    # As the verifying process has it: a file by its path, which belongs to no package.
    spec = importlib.util.spec_from_file_location("stranger_warmup", warmup.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.failures(published) == []


# ---------------------------------------------------------------------------- TF Serving

WRAPPED = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
# tensorflow_serving/servables/tensorflow/session_bundle_config.proto, .../monitoring_config.proto
# and Triton's model_config.proto.
PROTOS: dict[str, dict[str, str]] = {
    "Int64Value": {"value": "int64"},
    "BoolValue": {"value": "bool"},
    "BatchingParameters": {
        **dict.fromkeys((*WRAPPED, "max_execution_batch_size"), "Int64Value"),
        "enable_large_batch_splitting": "BoolValue",
        "allowed_batch_sizes": "repeated int64",
    },
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
    "Reshape": {"shape": "repeated int64"},
    "TritonTensor": {
        "name": "string",
        "data_type": "enum",
        "dims": "repeated int64",
        "reshape": "Reshape",
    },
    "Latest": {"num_versions": "int64"},
    "VersionPolicy": {"latest": "Latest"},
    "DynamicBatching": {},
    "TritonModel": {
        "name": "string",
        "platform": "string",
        "max_batch_size": "int64",
        "input": "repeated TritonTensor",
        "output": "repeated TritonTensor",
        "dynamic_batching": "DynamicBatching",
        "version_policy": "VersionPolicy",
    },
}
TRITON_TYPES = ("TYPE_INVALID", "TYPE_BOOL", "TYPE_UINT8", "TYPE_INT32", "TYPE_INT64", "TYPE_FP32")


def parse(path: Path, name: str) -> Any:
    """Read a file in protobuf's text format as a message of PROTOS."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    enum = file.enum_type.add(name="DataType")
    for number, value in enumerate(TRITON_TYPES):
        enum.value.add(name=value, number=number)
    for message, fields in PROTOS.items():
        declared = file.message_type.add(name=message)
        for number, (field, kind) in enumerate(fields.items(), start=1):
            repeated, _, kind = kind.rpartition(" ")  # noqa: PLW2901
            one = declared.field.add(name=field, number=number)
            one.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            scalar = {"int64": 3, "bool": 8, "string": 9, "enum": 14}.get(kind, 11)
            one.type = scalar
            if scalar in (11, 14):
                one.type_name = ".t.DataType" if scalar == 14 else f".t.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{name}"))()
    return text_format.Parse(path.read_text(encoding="utf-8"), message)


def models_config(path: Path) -> dict[str, Any]:
    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse(path.read_text(encoding="utf-8"), config)
    return {model.name: model for model in config.model_config_list.config}


def test_files_for_tf_serving(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "saved", 1, 3)
    model_folder(folder, 1, name='fa"ces')
    (folder / "no_versions").mkdir()
    (folder / "notes.txt").write_text("")
    (folder / "digits" / ".tfvae-host-1-00000000.tmp").mkdir()
    names = ("models.config", "batching.config", "monitoring.config", "compose.yaml")
    assert serving.serve_config(folder) == tuple(folder / name for name in names)

    models = models_config(folder / "models.config")
    assert {name: model.base_path for name, model in models.items()} == {
        "digits": "/models/digits",
        'fa"ces': '/models/fa"ces',
    }
    assert all(model.model_platform == "tensorflow" for model in models.values())
    assert models["digits"].model_version_policy.latest.num_versions == 1
    batching = parse(folder / "batching.config", "BatchingParameters")
    # Warm-up runs through the batches too: a version with larger ones would not load.
    assert batching.max_execution_batch_size.value == warmup.LARGEST_BATCH
    assert batching.max_batch_size.value >= batching.max_execution_batch_size.value
    assert batching.enable_large_batch_splitting.value
    monitoring = parse(folder / "monitoring.config", "MonitoringConfig")
    assert monitoring.prometheus_config.enable
    assert monitoring.prometheus_config.path == "/monitoring/prometheus/metrics"


# Of tensorflow_serving/model_servers/main.cc.
FLAGS = {
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "allow_version_labels_for_unavailable_models",
    "enable_batching",
    "batching_parameters_file",
    "monitoring_config_file",
}


@pytest.mark.parametrize("out", [None, "deploy/ser$ving"])
def test_compose_file(tmp_path: Path, out: str | None) -> None:
    folder = model_folder(tmp_path / "saved", 1)
    where = folder if out is None else tmp_path / out
    serving.serve_config(folder, None if out is None else where)
    service = yaml.safe_load((where / "compose.yaml").read_text("utf-8"))["services"]["serving"]
    assert service["ports"] == ["8500:8500", "8501:8501"]
    mounts = {mount["target"]: mount for mount in service["volumes"]}
    assert all(mount["type"] == "bind" and mount["read_only"] for mount in mounts.values())
    source = where / mounts["/models"]["source"].replace("$$", "$")
    assert source.resolve() == folder.resolve()
    flags = dict(flag.removeprefix("--").split("=") for flag in service["command"])
    assert set(flags) <= FLAGS
    files = [Path(value) for name, value in flags.items() if name.endswith("file")]
    assert len(files) == 3
    for file in files:
        assert (where / mounts[str(file.parent)]["source"] / file.name).is_file()


def test_versions_and_labels(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, 1, 2, 5, 6)

    def written(**arguments: Any) -> Any:
        serving.serve_config(folder, **arguments)
        return models_config(folder / "models.config")["digits"]

    assert written(versions=2).model_version_policy.latest.num_versions == 2
    assert written(versions="all").model_version_policy.HasField("all")
    model = written(labels={"digits": {"stable": 1, "canary": 5}})
    # The newest stays served beside those with labels, which no later export pushes out.
    assert list(model.model_version_policy.specific.versions) == [1, 5, 6]
    assert dict(model.version_labels) == {"stable": 1, "canary": 5}
    model = written(labels={"digits": {"stable": 1}}, versions="all")
    assert model.model_version_policy.HasField("all")
    assert written(root="/srv/models/").base_path == "/srv/models/digits"


# ---------------------------------------------------------------------------- Triton, KServe


def test_model_repository_for_triton(tmp_path: Path) -> None:
    # What can be checked without the server: the grammar, and names and types of the fields.
    folder = model_folder(tmp_path / "saved", 1, 2)
    (folder / "digits" / "2" / "onnx" / "decode.onnx.data").write_bytes(b"weights")
    (folder / "digits" / "2" / "onnx" / "decode.float16.onnx").write_bytes(b"half")
    paths = serving.serve_config(folder, target="triton")
    out = folder / "triton"
    assert {path.relative_to(out).as_posix() for path in paths} == {
        "digits_decode/config.pbtxt",
        "digits_decode/2/model.onnx",
        "digits_decode/2/decode.onnx.data",
        "digits_generate/config.pbtxt",
        "digits_generate/2/model.onnx",
    }
    assert (out / "digits_generate" / "2" / "model.onnx").read_bytes() == b"generate 2"
    assert (out / "digits_decode" / "2" / "decode.onnx.data").read_bytes() == b"weights"
    config = parse(out / "digits_generate" / "config.pbtxt", "TritonModel")
    assert (config.name, config.platform) == ("digits_generate", "onnxruntime_onnx")
    assert config.max_batch_size == 64
    assert config.HasField("dynamic_batching")
    described = [
        (t.name, TRITON_TYPES[t.data_type], list(t.dims), t.HasField("reshape"))
        for t in (*config.input, *config.output)
    ]
    # No dimension but the batch: a list of one, which Triton reshapes.
    assert described == [
        ("seed", "TYPE_INT64", [1], True),
        ("temperature", "TYPE_FP32", [1], True),
        ("z", "TYPE_FP32", [4], False),
        ("mean", "TYPE_FP32", [8, 8, 1], False),
    ]
    # The repository is no model folder, and the next version goes beside the last.
    model_folder(folder, 3)
    assert serving.serve_config(folder, target="triton")
    assert (out / "digits_decode" / "3" / "model.onnx").read_bytes() == b"decode 3"
    assert len(models_config(serving.serve_config(folder)[0])) == 1


def test_resources_for_kserve(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, 1)
    model_folder(folder, 1, name="2D_Faces (v2)")
    (path,) = serving.serve_config(folder, target="kserve", storage="s3://bucket/models/")
    resources = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    assert {r["kind"] for r in resources} == {"InferenceService"}
    assert {r["apiVersion"] for r in resources} == {"serving.kserve.io/v1beta1"}
    models = {r["metadata"]["name"]: r["spec"]["predictor"]["model"] for r in resources}
    assert models == {
        "digits": {
            "modelFormat": {"name": "tensorflow"},
            "storageUri": "s3://bucket/models/digits",
        },
        "model-2d-faces-v2": {
            "modelFormat": {"name": "tensorflow"},
            "storageUri": "s3://bucket/models/2D_Faces (v2)",
        },
    }
    # RFC 1035, which Kubernetes asks of names.
    assert all(re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in models)


# ---------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "tritn"}, "Did you mean 'triton'"),
        ({"versions": 0}, "`versions` to be at least 1"),
        ({"versions": "al"}, "a number or 'all'"),
        ({"labels": {"digts": {"stable": 1}}}, "Did you mean 'digits'"),
        ({"labels": {"digits": {"stable": 7}}}, "one of the versions 1, 2. Received: 7"),
        ({"labels": {"digits": {"a/b": 1}}}, "without '/' and ':'"),
        ({"labels": {"digits": {"stable": 1}}, "target": "kserve"}, "target='tf-serving'"),
    ],
)
def test_arguments_that_are_refused(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    folder = model_folder(tmp_path, 1, 2)
    with pytest.raises(ExportError, match=message):
        serving.serve_config(folder, **arguments)
    assert [path.name for path in folder.iterdir()] == ["digits"]


def test_folders_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere, which does not exist"):
        serving.serve_config(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="a file"):
        serving.serve_config(tmp_path / "file")
    (tmp_path / "empty" / "1").mkdir(parents=True)
    with pytest.raises(ExportError, match="holds none"):
        serving.serve_config(tmp_path)
    folder = model_folder(tmp_path / "saved", 1)
    with pytest.raises(ExportError, match=r"which is one model's\. Pass .*saved"):
        serving.serve_config(folder / "digits")
    model_folder(folder, 1, name="Digits!")
    with pytest.raises(ExportError, match="would both be 'digits'"):
        serving.serve_config(folder, target="kserve")
    model_folder(folder, 1, name="a:b")
    with pytest.raises(ExportError, match="without a colon"):
        serving.serve_config(folder)


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, 1)
    (folder / "compose.yaml").write_text("services: {}\n")
    with pytest.raises(ExportError, match=r"Received: .*compose\.yaml\. .*overwrite=True"):
        serving.serve_config(folder)
    assert (folder / "compose.yaml").read_text() == "services: {}\n"
    assert not (folder / "models.config").exists()
    serving.serve_config(folder, overwrite=True)
    assert (folder / "compose.yaml").read_text().startswith(layouts.HEADER)
    serving.serve_config(folder)  # its own are replaced
    other = folder / "triton" / "digits_decode" / "1" / "model.onnx"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"another graph")
    with pytest.raises(ExportError, match=r"model\.onnx"):
        serving.serve_config(folder, target="triton")
    assert other.read_bytes() == b"another graph"


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_folder(tmp_path, 1)
    serving.serve_config(folder)
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(serving.os, "replace", full)
    model_folder(folder, 1, name="faces")
    with pytest.raises(OSError, match="No space left"):
        serving.serve_config(folder)
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


# ---------------------------------------------------------------------------- the command


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli_serving.serve_config, arguments)


def test_command(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, 1, 2, 3)
    result = invoke(str(folder), "--label", "digits:stable=1", "--label", "digits:canary=3")
    assert result.exit_code == 0, result.output
    assert result.output.split() == [
        str(folder / name)
        for name in ("models.config", "batching.config", "monitoring.config", "compose.yaml")
    ]
    model = models_config(folder / "models.config")["digits"]
    assert dict(model.version_labels) == {"stable": 1, "canary": 3}
    assert invoke(str(folder), "--versions", "all").exit_code == 0
    assert models_config(folder / "models.config")["digits"].model_version_policy.HasField("all")
    for arguments, message in {
        ("--versions", "0"): "neither a number",
        ("--versions", "some"): "neither a number",
        ("--label", "stable=1"): "MODEL:LABEL=VERSION",
        ("--label", "digits:stable=new"): "MODEL:LABEL=VERSION",
        ("--target", "tritn"): "triton",
        ("--label", "digits:a=1", "--label", "digits:a=2"): "twice",
    }.items():
        refused = invoke(str(folder), *arguments)
        assert refused.exit_code == 2
        assert message in refused.output
    (target,) = (each for each in cli_serving.serve_config.params if each.name == "target")
    assert list(target.type.choices) == list(layouts.TARGETS)  # type: ignore[attr-defined]

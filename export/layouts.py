"""The files of each server: what models are served, as TF Serving, Triton and KServe read it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from google.protobuf import text_encoding

from .errors import ExportError
from .manifest import Manifest, Tensor
from .warmup import LARGEST_BATCH

# The first line of every text file, by which the next run knows its own.
HEADER = "# Written by tfvae serve-config, which replaces it when it is run again.\n"

# Of one request; larger ones are refused, and those above LARGEST_BATCH run in parts.
LARGEST_REQUEST = 1024

_TRITON_TYPES = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
}


@dataclasses.dataclass(frozen=True)
class Model:
    """A model folder.

    Attributes:
        name: its name, which clients ask for.
        versions: its version folders by number, in rising order.
        labels: names of versions.
    """

    name: str
    versions: dict[int, Path]
    labels: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Request:
    """What is to be served, and how; see :func:`tfvae.export.serve_config`.

    Attributes:
        folder: what holds the model folders.
        out: where the files go.
        models: the models in it.
        versions: how many of a model's newest versions are served, or all.
        root: where TF Serving sees `folder`.
        storage: where KServe finds `folder`.
    """

    folder: Path
    out: Path
    models: tuple[Model, ...]
    versions: int | Literal["all"]
    root: str
    storage: str


def _tf_serving(request: Request) -> dict[str, str]:
    models = "".join(
        f"  config {{\n"
        f"    name: {_text(model.name)}\n"
        f"    base_path: {_text(f'{request.root}/{model.name}')}\n"
        f'    model_platform: "tensorflow"\n'
        f"    model_version_policy {{ {_policy(model, request.versions)} }}\n"
        + "".join(
            f"    version_labels {{ key: {_text(label)} value: {version} }}\n"
            for label, version in model.labels.items()
        )
        + "  }\n"
        for model in request.models
    )
    batching = (
        f"max_batch_size {{ value: {LARGEST_REQUEST} }}\n"
        "enable_large_batch_splitting { value: true }\n"
        f"max_execution_batch_size {{ value: {LARGEST_BATCH} }}\n"
        "# How long a request waits for others to share its batch.\n"
        "batch_timeout_micros { value: 1000 }\n"
        "# A request that finds the queue full is told so at once.\n"
        "max_enqueued_batches { value: 100 }\n"
    )
    monitoring = 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }\n'
    return {
        "models.config": f"{HEADER}model_config_list {{\n{models}}}\n",
        "batching.config": HEADER + batching,
        "monitoring.config": HEADER + monitoring,
        "compose.yaml": HEADER + _compose(request),
    }


def _policy(model: Model, versions: int | Literal["all"]) -> str:
    if versions == "all":
        return "all {}"
    if not model.labels:
        return f"latest {{ num_versions: {versions} }}"
    # Not "latest": the next export would push a version out that a label points to.
    kept = sorted({*model.labels.values(), *list(model.versions)[-versions:]})
    return "specific { " + " ".join(f"versions: {version}" for version in kept) + " }"


def _compose(request: Request) -> str:
    folder, out = request.folder.resolve(), request.out.resolve()
    source = os.path.relpath(folder, out).replace(os.sep, "/")
    flags = (
        "--model_config_file=/config/models.config",
        "--model_config_file_poll_wait_seconds=60",
        # At the start no version is loaded yet, and a label of one would be refused.
        "--allow_version_labels_for_unavailable_models=true",
        "--enable_batching=true",
        "--batching_parameters_file=/config/batching.config",
        "--monitoring_config_file=/config/monitoring.config",
    )
    return (
        "services:\n"
        "  serving:\n"
        '    image: "${TFVAE_SERVING_IMAGE:-tensorflow/serving:latest}"\n'
        "    command:\n" + "".join(f"      - {_yaml(flag)}\n" for flag in flags) + "    ports:\n"
        '      - "8500:8500"  # gRPC\n'
        '      - "8501:8501"  # REST, and metrics for Prometheus\n'
        "    volumes:\n"
        + "".join(
            f"      - {{ type: bind, source: {_yaml(_dollars(source))}, "
            f"target: {_yaml(_dollars(target))}, read_only: true }}\n"
            for source, target in ((source, request.root), (".", "/config"))
        )
        + "    restart: unless-stopped\n"
    )


def _triton(request: Request) -> dict[str, str | Path]:
    files: dict[str, str | Path] = {}
    owners: dict[str, str] = {}
    for model in request.models:
        number, folder = max(model.versions.items())
        for endpoint in Manifest.read(folder).endpoints:
            name = f"{model.name}_{endpoint.name}"
            _claim(owners, name.lower(), f"{model.name}: {endpoint.name}")
            files[f"{name}/config.pbtxt"] = (
                HEADER + f"name: {_text(name)}\n"
                'platform: "onnxruntime_onnx"\n'
                f"max_batch_size: {LARGEST_BATCH}\n"
                + "".join(f"input {_triton_tensor(spec)}\n" for spec in endpoint.inputs)
                + "".join(f"output {_triton_tensor(spec)}\n" for spec in endpoint.outputs)
                + "dynamic_batching {}\nversion_policy { latest { num_versions: 1 } }\n"
            )
            onnx = folder / endpoint.onnx
            files[f"{name}/{number}/model.onnx"] = onnx
            # Weights of more than 2 GB lie beside, under a name that the graph holds.
            for path in sorted(onnx.parent.glob(f"{endpoint.name}.onnx?*")):
                files[f"{name}/{number}/{path.name}"] = path
    return files


def _triton_tensor(spec: Tensor) -> str:
    """Describe a tensor without its batch; one number a row is written as a list of one."""
    if spec.dtype not in _TRITON_TYPES:
        raise ExportError(f"Triton has no name for dtype {spec.dtype} of {spec.name!r}.")
    dims = ", ".join(map(str, spec.shape[1:])) or "1"
    scalar = "" if spec.shape[1:] else " reshape { shape: [] }"
    kind = _TRITON_TYPES[spec.dtype]
    return f"{{ name: {_text(spec.name)} data_type: {kind} dims: [{dims}]{scalar} }}"


def _kserve(request: Request) -> dict[str, str]:
    owners: dict[str, str] = {}
    documents = []
    for model in request.models:
        # A name in Kubernetes: small letters, digits and hyphens, from a letter on, at most 63.
        name = re.sub(r"[^a-z0-9]+", "-", model.name.lower()).strip("-")
        name = name if name[:1].isalpha() else f"model-{name}".strip("-")
        name = name[:63].rstrip("-")
        _claim(owners, name, model.name)
        documents.append(
            'apiVersion: "serving.kserve.io/v1beta1"\n'
            'kind: "InferenceService"\n'
            "metadata:\n"
            f"  name: {_yaml(name)}\n"
            "spec:\n"
            "  predictor:\n"
            "    model:\n"
            "      modelFormat:\n"
            '        name: "tensorflow"\n'
            f"      storageUri: {_yaml(f'{request.storage}/{model.name}')}\n"
        )
    return {"kserve.yaml": HEADER + "---\n".join(documents)}


def _claim(owners: dict[str, str], name: str, owner: str) -> None:
    if (other := owners.setdefault(name, owner)) != owner:
        raise ExportError(
            f"Expected models whose names differ for the server. Received: {other!r} and "
            f"{owner!r}, which would both be {name!r}. Rename one of the folders."
        )


def _text(value: str) -> str:
    """Quote a string for protobuf's text format."""
    return f'"{text_encoding.CEscape(value, as_utf8=True)}"'


def _yaml(value: str) -> str:
    """Quote a string for YAML, in which JSON is written."""
    return json.dumps(value, ensure_ascii=False)


def _dollars(value: str) -> str:
    """Keep Compose from reading a variable."""
    return value.replace("$", "$$")


# By target: the files' contents by their path below `out`, or what they are copies of.
TARGETS: dict[str, Callable[[Request], Mapping[str, str | Path]]] = {
    "tf-serving": _tf_serving,
    "triton": _triton,
    "kserve": _kserve,
}

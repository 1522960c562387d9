"""Endpoints to ONNX: one file each, which every conforming runtime can run.

tf2onnx only *logs* an operation that it cannot convert and then writes a file that no runtime
loads. Here every node is held against ONNX's own schemas, the whole graph against its checker and
against onnxruntime, before a byte is written.

A batch norm that follows a transposed convolution stays two nodes, a product and a sum. Folded by
hand into the kernel it saved 2% at batch 64 and 1% at batch 1 (7 x 7 x 64 to 28 x 28 in two steps,
one thread of onnxruntime 1.31): less than runs differ by. After other convolutions runtimes fold
it when they load.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnx.checker
import onnx.defs
import onnx.helper
import onnx.version_converter
import onnxruntime
import tensorflow as tf
from tf2onnx import convert as tf2onnx_convert

from ..endpoint import Endpoint
from ..errors import ExportError
from ..manifest import Tensor
from ..quiet import quiet
from .converters import HANDLERS
from .rewriters import REWRITERS
from .simplify import nodes, simplify
from .weights import MAXIMUM_BYTES, attach, detach, save_beside

_log = logging.getLogger(__name__)

OPSETS = range(15, 24)

# The newest that tf2onnx writes; newer ones are made of it.
_NEWEST_CONVERTED = 18


def write(endpoint: Endpoint, folder: Path, opset: int = 18) -> Path:
    """Convert an endpoint and write ``onnx/<endpoint>.onnx`` into a version folder.

    Weights of more than 2 GB go into ``onnx/<endpoint>.onnx.data`` beside it.

    Args:
        endpoint: what to convert.
        folder: the version folder.
        opset: the ONNX operator set, 15 to 23.

    Returns:
        The path of the file. Nothing is left behind on failure.

    Raises:
        ExportError: if an operation has no ONNX counterpart (it is named, with the layer it
            comes from), or the result is not valid ONNX.
    """
    path = folder / endpoint.record.onnx
    path.parent.mkdir(exist_ok=True)
    size = sum(v.shape.num_elements() * v.dtype.size for v in endpoint.variables)
    if size <= MAXIMUM_BYTES:
        model = convert(endpoint, opset)
        path.write_bytes(model.SerializeToString())
    else:
        model, weights = _converted(endpoint, opset)
        save_beside(model, weights, path)
    _log.info("wrote %s: %d nodes", endpoint.record.onnx, len(model.graph.node))
    return path


def convert(endpoint: Endpoint, opset: int = 18) -> onnx.ModelProto:
    """Convert an endpoint to a checked ONNX model; see :func:`write`."""
    model, weights = _converted(endpoint, opset)
    attach(model, weights)
    return model


def _converted(endpoint: Endpoint, opset: int) -> tuple[onnx.ModelProto, dict[str, tf.Variable]]:
    """Return a checked graph, and the weights that it has as inputs, by their names.

    It is checked without them, for a checker and a runtime hold copies of what they load.
    """
    function, weights = detach(endpoint)
    with quiet("tf2onnx"):
        try:
            model = run_tf2onnx(function, min(opset, _NEWEST_CONVERTED))
        except Exception as error:  # tf2onnx raises whatever a handler met
            raise ExportError(
                f"Could not convert endpoint {endpoint.name!r} to ONNX: "
                f"{type(error).__name__}: {error}"
            ) from error
    _refuse_unknown_ops(endpoint, model)
    _name_dimensions(endpoint, model)
    simplify(model)
    if opset > _NEWEST_CONVERTED:
        model = _raised(endpoint.name, model, opset)
    _check(endpoint.name, model)
    return model, weights


def run_tf2onnx(function: Any, opset: int) -> onnx.ModelProto:
    """Convert a function, and again with a net where an optimisation of the graph fails."""

    def run() -> onnx.ModelProto:
        model, _ = tf2onnx_convert.from_function(
            function,
            input_signature=function.input_signature,
            opset=opset,
            custom_op_handlers=dict(HANDLERS),
            custom_rewriter=list(REWRITERS),
        )
        return model

    try:
        with _without_copies():
            return run()
    except Exception:
        return run()


@contextlib.contextmanager
def _without_copies() -> Iterator[None]:
    """Have tf2onnx optimise a graph in place, and raise what fails.

    It copies the graph before each of some forty passes, to go back to where one fails: a third of
    the time that a conversion takes.
    """
    name = "TF2ONNX_CATCH_ERRORS"
    before = os.environ.get(name)
    os.environ[name] = "FALSE"
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def _raised(endpoint: str, model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Return a graph in a newer operator set than tf2onnx writes."""
    try:
        model = onnx.version_converter.convert_version(model, opset)
    except Exception as error:  # of C++
        raise ExportError(
            f"Could not bring endpoint {endpoint!r} to operator set {opset} with onnx "
            f"{onnx.__version__}: {error}. Try opset={_NEWEST_CONVERTED}, or a newer onnx."
        ) from error
    model.ir_version = onnx.helper.find_min_ir_version_for(list(model.opset_import))
    return model


def _check(endpoint: str, model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise ExportError(
            f"The ONNX graph of endpoint {endpoint!r} is not valid: {error}"
        ) from error


def _refuse_unknown_ops(endpoint: Endpoint, model: onnx.ModelProto) -> None:
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    unknown: dict[str, list[str]] = {}
    for node in nodes(model.graph):
        domain = node.domain or "ai.onnx"
        name = "" if domain == "ai.onnx" else domain
        if not onnx.defs.has(node.op_type, opsets.get(domain, 0), name):
            unknown.setdefault(node.op_type, []).append(_layer(endpoint.name, node.name))
    if unknown:
        found = "; ".join(
            f"{op} (in {', '.join(list(dict.fromkeys(layers))[:3])})"
            for op, layers in unknown.items()
        )
        raise ExportError(
            f"Endpoint {endpoint.name!r} has operations without an ONNX counterpart in operator "
            f"set {opsets.get('ai.onnx')}: {found}. Use another layer in their place, or export "
            "endpoints that do not need it."
        )


def _layer(endpoint: str, node: str) -> str:
    """Return the path of the Keras layer that a node comes from, as its name carries it."""
    layers, _, operation = node.removeprefix(f"{endpoint}/").rpartition("/")
    return f"layer {layers!r}" if layers else f"node {operation!r}"


def _name_dimensions(endpoint: Endpoint, model: onnx.ModelProto) -> None:
    """Give inputs and outputs their order, their full shapes and one named batch dimension."""
    weights = [v for v in model.graph.input if v.name not in {s.name for s in endpoint.inputs}]
    _restate(model.graph.input, endpoint.inputs)
    model.graph.input.extend(weights)
    _restate(model.graph.output, endpoint.outputs)
    # Inner shapes were inferred with other names for the same dimension: runtimes infer anew.
    del model.graph.value_info[:]
    model.graph.name = endpoint.name
    model.graph.doc_string = endpoint.description


def _restate(values: Any, specs: tuple[Tensor, ...]) -> None:
    found = {value.name: value for value in values}
    restated = [
        onnx.helper.make_tensor_value_info(
            spec.name,
            found[spec.name].type.tensor_type.elem_type,
            ["batch" if size is None else size for size in spec.shape],
        )
        for spec in specs
    ]
    del values[:]
    values.extend(restated)

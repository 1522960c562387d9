"""Endpoints to ONNX: one file each, which every conforming runtime can run.

tf2onnx only *logs* an operation that it cannot convert and then writes a file that no runtime
loads. Here every node is held against ONNX's own schemas, the whole graph against its checker and
against onnxruntime, before a byte is written.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnx.defs
import onnx.helper
import onnxruntime
import tf2onnx

from .endpoints import Endpoint
from .errors import ExportError
from .manifest import Tensor
from .quiet import quiet

_log = logging.getLogger(__name__)

OPSETS = range(15, 19)

# Protocol buffers end at 2 GB; a graph is small beside its weights.
_MAXIMUM_BYTES = 2**31 - 2**24


def write(endpoint: Endpoint, folder: Path, opset: int = 18) -> Path:
    """Convert an endpoint and write ``onnx/<endpoint>.onnx`` into a version folder.

    Args:
        endpoint: what to convert.
        folder: the version folder.
        opset: the ONNX operator set, 15 to 18.

    Returns:
        The path of the file. Nothing is left behind on failure.

    Raises:
        ExportError: if an operation has no ONNX counterpart (it is named, with the layer it
            comes from), or the result is not valid ONNX.
    """
    model = convert(endpoint, opset)
    path = folder / endpoint.record.onnx
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(model.SerializeToString())
    _log.info("wrote %s: %d nodes", endpoint.record.onnx, len(model.graph.node))
    return path


def convert(endpoint: Endpoint, opset: int = 18) -> onnx.ModelProto:
    """Convert an endpoint to a checked ONNX model; see :func:`write`."""
    size = sum(v.shape.num_elements() * v.dtype.size for v in endpoint.variables)
    if size > _MAXIMUM_BYTES:
        raise ExportError(
            f"Expected at most {_MAXIMUM_BYTES / 2**30:.2f} GiB of weights in endpoint "
            f"{endpoint.name!r}. Received: {size / 2**30:.2f} GiB, more than one ONNX file holds."
        )
    with quiet("tf2onnx"):
        try:
            model, _ = tf2onnx.convert.from_function(
                endpoint.function,
                input_signature=endpoint.function.input_signature,
                opset=opset,
                custom_op_handlers=dict(_HANDLERS),
            )
        except Exception as error:  # tf2onnx raises whatever a handler met
            raise ExportError(
                f"Could not convert endpoint {endpoint.name!r} to ONNX: "
                f"{type(error).__name__}: {error}"
            ) from error
    _refuse_unknown_ops(endpoint.name, model)
    _name_dimensions(endpoint, model)
    try:
        onnx.checker.check_model(model, full_check=True)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise ExportError(
            f"The ONNX graph of endpoint {endpoint.name!r} is not valid: {error}"
        ) from error
    return model


def _refuse_unknown_ops(endpoint: str, model: onnx.ModelProto) -> None:
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    unknown: dict[str, list[str]] = {}
    for node in _nodes(model.graph):
        domain = node.domain or "ai.onnx"
        name = "" if domain == "ai.onnx" else domain
        if not onnx.defs.has(node.op_type, opsets.get(domain, 0), name):
            unknown.setdefault(node.op_type, []).append(node.name)
    if unknown:
        found = "; ".join(f"{op} ({', '.join(names[:3])})" for op, names in unknown.items())
        raise ExportError(
            f"Endpoint {endpoint!r} has operations without an ONNX counterpart in operator set "
            f"{opsets.get('ai.onnx')}: {found}. Use another layer in their place, or export "
            "endpoints that do not need it."
        )


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield every node, those inside loops and branches too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _name_dimensions(endpoint: Endpoint, model: onnx.ModelProto) -> None:
    """Give inputs and outputs their order, their full shapes and one named batch dimension."""
    _restate(model.graph.input, endpoint.inputs)
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


def _bitcast(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Reinterpret integers of one width: ONNX defines an overflowing Cast as just that."""
    del name, args
    source, target = ctx.get_dtype(node.input[0]), ctx.get_dtype(node.output[0])
    widths = {
        onnx.TensorProto.INT32: 32,
        onnx.TensorProto.UINT32: 32,
        onnx.TensorProto.INT64: 64,
        onnx.TensorProto.UINT64: 64,
    }
    if source not in widths or widths[source] != widths.get(target):
        return  # left as it is, and refused by name
    node.type = "Cast"
    for attribute in list(node.attr):
        del node.attr[attribute]
    node.set_attr("to", target)


def _erfc(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Write erfc(x) as 1 - erf(x): exact to rounding of 1, which is what an exact gelu needs."""
    del args
    dtype = tf2onnx.utils.map_onnx_to_numpy_type(ctx.get_dtype(node.input[0]))
    one = ctx.make_const(f"{name}/one", np.ones((), dtype))
    erf = ctx.make_node("Erf", [node.input[0]], name=f"{name}/Erf")
    node.type = "Sub"
    ctx.replace_inputs(node, [one.output[0], erf.output[0]])


# TensorFlow operations that tf2onnx lacks, each with its handler and the handler's arguments.
_HANDLERS: dict[str, tuple[Any, list[Any]]] = {"Bitcast": (_bitcast, []), "Erfc": (_erfc, [])}

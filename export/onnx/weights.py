"""Weights that stay outside while a graph is converted, and go into its file afterwards.

tf2onnx copies every constant at every step: 0.4 GB of weights took 17 GB of memory and three
minutes. So the large weights of matrix products and convolutions are inputs during conversion, and
become constants of the finished graph; beyond 2 GB, where Protocol buffers end, in a second file.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.helper
import onnx.numpy_helper
import tensorflow as tf

from ..endpoint import Endpoint
from .simplify import evaluate, only_mover, remove_unused

# Half a megabyte of weights in 64 kB pieces is still fast to convert; recurrent layers and whatever
# else tf2onnx recognises by its constants stay whole.
_LARGE_BYTES = 2**16
_READERS = frozenset({
    "BatchMatMulV2", "Conv2D", "Conv2DBackpropInput", "Conv3D", "Conv3DBackpropInputV2", "MatMul",
})  # fmt: skip

MAXIMUM_BYTES = 2**31 - 2**24
"""What one file holds: Protocol buffers end at 2 GB, and the graph needs some of them."""

# Runtimes map the second file into memory, page by page.
_PAGE = 4096


def detach(endpoint: Endpoint) -> tuple[Any, dict[str, tf.Variable]]:
    """Return an endpoint's function with its large weights as further inputs.

    Tensors that a layer made outside of the function become constants, for tf2onnx would make
    inputs of them.

    Args:
        endpoint: a traced endpoint.

    Returns:
        The ``tf.function``, which takes the endpoint's inputs and then the weights, and the
        weights by the names of these inputs.
    """
    graph = endpoint.concrete.graph
    by_handle = {id(variable.handle): variable for variable in endpoint.variables}
    captured = {internal.name: external for external, internal in graph.captures}
    large = [
        (internal, variable)
        for external, internal in graph.captures
        if (variable := by_handle.get(id(external))) is not None
        and _is_large(variable)
        and _only_multiplied(internal)
    ]
    constants = {
        internal.name: external.numpy()
        for external, internal in graph.captures
        if external.dtype not in (tf.resource, tf.variant)
    }
    if not large and not constants:
        return endpoint.function, {}
    weights = {f"weight_{i}": variable for i, (_, variable) in enumerate(large)}
    definition = graph.as_graph_def()
    _read_by_value(definition, {handle.op.name: variable.dtype for handle, variable in large})

    inputs = [tensor.name for tensor in graph.inputs if tensor.name not in captured]
    inputs += [handle.name for handle, _ in large]
    outputs = endpoint.concrete.structured_outputs
    names = [tensor.name for tensor in outputs.values()]
    signature = [
        *endpoint.function.input_signature,
        *(tf.TensorSpec(v.shape, v.dtype, name) for name, v in weights.items()),
    ]

    def opened(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        fed = dict(zip(inputs, tensors, strict=True))
        fed |= {name: tf.constant(value) for name, value in constants.items()}
        for name, external in captured.items():
            if name not in fed:
                if (variable := by_handle.get(id(external))) is not None:
                    variable.read_value()  # lets this graph know of the variable
                fed[name] = tf.compat.v1.get_default_graph().capture(external)
        found = tf.graph_util.import_graph_def(definition, fed, names, name=endpoint.name)
        return dict(zip(outputs, found, strict=True))

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    opened.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(spec.name, kind) for spec in signature]
    )
    return tf.function(opened, input_signature=signature, autograph=False), weights


def attach(model: onnx.ModelProto, weights: dict[str, tf.Variable]) -> None:
    """Make constants of the inputs that :func:`detach` made of weights.

    Args:
        model: a converted graph; changed in place.
        weights: by the names of inputs.
    """
    for name, values in _placed(model.graph, weights):
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    remove_unused(model.graph)


def save_beside(model: onnx.ModelProto, weights: dict[str, tf.Variable], path: Path) -> None:
    """Write a graph and, in a second file, the weights that it has as inputs, one at a time.

    Args:
        model: a converted graph; changed in place.
        weights: by the names of inputs.
        path: ``<name>.onnx``; the weights go into ``<name>.onnx.data`` in the same folder.
    """
    beside = path.with_name(f"{path.name}.data")
    try:
        with beside.open("wb") as file:
            for name, values in _placed(model.graph, weights):
                file.seek(-(-file.tell() // _PAGE) * _PAGE)
                tensor = model.graph.initializer.add(
                    name=name,
                    dims=values.shape,
                    data_type=onnx.helper.np_dtype_to_tensor_dtype(values.dtype),
                    data_location=onnx.TensorProto.EXTERNAL,
                )
                place = {"location": beside.name, "offset": file.tell(), "length": values.nbytes}
                for key, value in place.items():
                    tensor.external_data.add(key=key, value=str(value))
                file.write(np.ascontiguousarray(values).data)
        remove_unused(model.graph)
        path.write_bytes(model.SerializeToString())
    except BaseException:
        for partial in (path, beside):
            partial.unlink(missing_ok=True)
        raise


def _placed(
    graph: onnx.GraphProto, weights: dict[str, tf.Variable]
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield the name and the values of each constant that takes the place of an input.

    What only moves it, such as the order of a kernel's axes, is done now.
    """
    kept = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(kept)
    for weight, variable in weights.items():
        name, values = weight, variable.numpy()
        while (node := only_mover(graph, name)) is not None:
            values = evaluate(node, graph, {name: values})
            name = node.output[0]
            graph.node.remove(node)
        yield name, values


def _read_by_value(definition: Any, dtypes: dict[str, tf.DType]) -> None:
    """Let a graph take the values of variables, by placeholder, where it took the variables."""
    for node in definition.node:
        source = node.input[0] if node.op == "ReadVariableOp" else node.name
        if source in dtypes and node.op in ("Placeholder", "ReadVariableOp"):
            read = node.op == "ReadVariableOp"
            node.op = "Identity" if read else "Placeholder"
            node.attr.clear()
            node.attr["T" if read else "dtype"].type = dtypes[source].as_datatype_enum


def _is_large(variable: tf.Variable) -> bool:
    return bool(math.prod(variable.shape) * variable.dtype.size >= _LARGE_BYTES)


def _only_multiplied(handle: tf.Tensor) -> bool:
    """Say whether matrix products and convolutions alone read a variable."""
    reads = handle.consumers()
    return all(op.type == "ReadVariableOp" for op in reads) and all(
        op.type in _READERS for read in reads for op in _readers(read.outputs[0])
    )


def _readers(tensor: tf.Tensor) -> Iterator[Any]:
    for op in tensor.consumers():
        if op.type in ("Cast", "Identity"):
            yield from _readers(op.outputs[0])
        else:
            yield op

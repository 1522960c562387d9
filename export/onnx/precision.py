"""Smaller variants of an ONNX file: half precision, and quantised matrix products.

Both change the networks alone. Noise, the maps from a network's outputs to parameters, and
log-densities stay as they are: a seed gives the same words, and a small scale stays a small scale.
(The converters that runtimes bring cast every tensor between two operations, noise included.)
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnx.shape_inference
from onnx import TensorProto
from onnxruntime.quantization import QuantType, quantize_dynamic

from ..errors import ExportError
from ..manifest import EndpointRecord, Variant
from .simplify import remove_unused
from .weights import MAXIMUM_BYTES

TOLERANCES = {"float16": 1e-2, "int8": 1e-1}
"""How far a variant may be from Keras, of an output's scale.

*float16*: 11 binary digits, so that weights and activations are rounded by up to 2⁻¹¹ = 5e-4 each:
1e-2 for ten layers. *int8*: 255 levels of a weight's and of an activation's range. Half a step of
each is 4e-3 of the range, which is some three standard deviations: 1e-2 of the outputs' scale for
a product, and four times that after a sigmoid, whose logits reach ±16 where its scale is 1. Twice
that for several layers.
"""

# Matrix products and convolutions; their weights are what makes a file large.
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# What may stand between two of them and is harmless in half precision: no sums of squares, no
# exponentials.
_BETWEEN = frozenset({
    "Add", "AveragePool", "Clip", "Concat", "Elu", "Erf", "Flatten", "GlobalAveragePool",
    "Identity", "LeakyRelu", "MaxPool", "Mul", "Neg", "Pad", "PRelu", "Relu", "Reshape", "Resize",
    "Selu", "Sigmoid", "Slice", "Softplus", "Softsign", "Squeeze", "Sub", "Tanh", "Transpose",
    "Unsqueeze",
})  # fmt: skip
# Of smaller matrices there is nothing to gain, and first and last layers suffer most.
_QUANTISED_VALUES = 1024


def write(record: EndpointRecord, folder: Path, names: Iterable[str]) -> tuple[Variant, ...]:
    """Write variants of an endpoint's ONNX file into a version folder, beside it.

    Args:
        record: an endpoint whose ONNX file is in the folder.
        folder: the version folder.
        names: ``"float16"``, ``"int8"``.

    Returns:
        What was written; ``onnx/<endpoint>.<name>.onnx``.

    Raises:
        ExportError: if a variant cannot be made; see :func:`half` and :func:`int8`.
    """
    source = folder / record.onnx
    variants = []
    for name in names:
        if source.with_name(f"{source.name}.data").exists():
            raise ExportError(
                f"Expected an endpoint of at most {MAXIMUM_BYTES / 2**30:.2f} GiB for the variant "
                f"{name!r}. Received: {record.name!r}, which is larger. Export it without."
            )
        try:
            model = _MAKERS[name](onnx.load(source))
        except ExportError as error:
            raise ExportError(f"Endpoint {record.name!r} has no {name} variant: {error}") from error
        file = Path(record.onnx).with_suffix(f".{name}.onnx")
        (folder / file).write_bytes(model.SerializeToString())
        variants.append(Variant(name, file.as_posix(), TOLERANCES[name]))
    return tuple(variants)


def half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose networks compute in float16, with weights of half the size.

    Inputs and outputs stay float32, and so does what is not between two layers of a network.

    Args:
        model: a float32 model; unchanged.

    Raises:
        ExportError: if it has no matrix product or convolution, or a weight beyond 65504.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    floats = _float_tensors(result)
    network = _network(graph, floats)
    if not network:
        raise ExportError(
            "expected a matrix product or convolution with constant weights. "
            f"Received: {_operations(model)}."
        )
    constants = {tensor.name: tensor for tensor in graph.initializer}
    made = {name for node in graph.node if node.output[0] in network for name in node.output}
    there = set(made)
    nodes = []
    for node in list(graph.node):
        if node.output[0] not in network:
            nodes.append(node)
            continue
        for position, name in enumerate(node.input):
            if name not in floats or (node.op_type == "Resize" and position):
                continue
            if name not in there:
                there.add(name)
                if name in constants:
                    graph.initializer.append(_rounded(constants[name]))
                else:
                    nodes.append(_cast(name, _halved(name), TensorProto.FLOAT16))
            node.input[position] = _halved(name)
        outputs = list(node.output)
        node.output[:] = [_halved(name) for name in outputs]
        # Under its own name it is float32 again, for whoever reads it there.
        nodes += [node, *(_cast(_halved(name), name, TensorProto.FLOAT) for name in outputs)]
    del graph.node[:]
    graph.node.extend(nodes)
    remove_unused(graph)
    return result


def int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose large matrix products are of 8-bit integers.

    Weights are rounded once, activations by the range that they have in a batch: what a row gives
    depends on its batch, by as much as the rounding. Convolutions stay as they are, for they would
    be slower.

    Args:
        model: a float32 model; unchanged.

    Raises:
        ExportError: if it has no such product.

    References:
        Jacob et al. (2018), Quantization and training of neural networks for efficient
        integer-arithmetic-only inference.
    """
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    large = [
        node.name
        for node in model.graph.node
        if node.op_type in ("Gemm", "MatMul") and sizes.get(node.input[1], 0) >= _QUANTISED_VALUES
    ]
    if not large:
        raise ExportError(
            f"expected a matrix product with at least {_QUANTISED_VALUES} constant weights. "
            f"Received: {_operations(model)}."
        )
    prepared = onnx.ModelProto()
    prepared.CopyFrom(model)
    # Says that the graph needs no tidying, of which the quantiser would warn.
    prepared.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.onnx"
        # Unsigned weights: products of signed with unsigned bytes saturate on older processors.
        quantize_dynamic(
            prepared,
            file,
            op_types_to_quantize=["Gemm", "MatMul"],
            nodes_to_quantize=large,
            weight_type=QuantType.QUInt8,
        )
        result = onnx.load(file)
    del result.metadata_props[:]
    result.metadata_props.extend(model.metadata_props)
    return result


def _network(graph: onnx.GraphProto, floats: set[str]) -> set[str]:
    """Return the first outputs of the nodes that may compute in half precision.

    They are weighted layers, and what lies between two of them and reads nothing else: not noise
    on its way from an encoder to a decoder.
    """
    constants = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    weighted = {
        node.output[0]
        for node in graph.node
        if node.op_type in _WEIGHTED and constants.get(node.input[1], 0) > 1
    }
    between = {
        node.output[0]: {name for name in node.input if name in floats and name not in constants}
        for node in graph.node
        if node.op_type in _BETWEEN and node.output[0] in floats
    }
    while True:
        network = weighted | between.keys()
        read = {name for node in graph.node if node.output[0] in network for name in node.input}
        kept = {name: of for name, of in between.items() if name in read and of and of <= network}
        if len(kept) == len(between):
            return network if weighted else set()
        between = kept


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    found = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found | {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT}


def _halved(name: str) -> str:
    return f"{name}/float16"


def _rounded(tensor: onnx.TensorProto) -> onnx.TensorProto:
    values = onnx.numpy_helper.to_array(tensor)
    if np.abs(values).max(initial=0.0) > np.finfo(np.float16).max:
        raise ExportError(
            f"expected weights of at most 65504. Received: {np.abs(values).max():g} in "
            f"{tensor.name!r}."
        )
    return onnx.numpy_helper.from_array(values.astype(np.float16), _halved(tensor.name))


def _cast(source: str, target: str, dtype: int) -> onnx.NodeProto:
    return onnx.helper.make_node("Cast", [source], [target], name=f"{target}/Cast", to=dtype)


def _operations(model: onnx.ModelProto) -> str:
    return f"{', '.join(sorted({node.op_type for node in model.graph.node}))} alone"


_MAKERS: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {"float16": half, "int8": int8}

"""ONNX nodes written as arithmetic, so that a converter reads like the formula that it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from tf2onnx import utils


class Value:
    """A tensor of a graph under construction.

    Operators and methods add nodes to the graph and return their outputs. Numbers become
    constants of the other operand's type.

    Attributes:
        graph: the tf2onnx graph.
        name: the tensor's name.
        scope: what names of new nodes begin with, so that they still name their Keras layer.
    """

    def __init__(self, graph: Any, name: str, scope: str) -> None:
        self.graph = graph
        self.name = name
        self.scope = scope

    @property
    def dtype(self) -> int:
        """The ONNX element type."""
        return int(self.graph.get_dtype(self.name))

    @property
    def shape(self) -> list[int] | None:
        """The static shape, with -1 for what is unknown; None for an unknown rank."""
        shape: list[int] | None = self.graph.get_shape(self.name)
        return shape

    def constant(self, value: Any, dtype: int | None = None) -> Value:
        """Return a constant, of this tensor's type unless told otherwise."""
        array = np.asarray(value, onnx.helper.tensor_dtype_to_np_dtype(dtype or self.dtype))
        name = utils.make_name(f"{self.scope}/Const")
        return Value(self.graph, self.graph.make_const(name, array).output[0], self.scope)

    def apply(
        self, op: str, *others: Value | float, dtype: int | None = None, **attributes: Any
    ) -> Value:
        """Return the output of an ONNX operation on this tensor and others.

        Args:
            op: the operation.
            *others: what follows as its inputs.
            dtype: the element type of its output, by default this tensor's.
            **attributes: of the operation.
        """
        inputs = [other if isinstance(other, Value) else self.constant(other) for other in others]
        node = self.graph.make_node(
            op,
            [self.name, *(value.name for value in inputs)],
            attr=attributes,
            name=utils.make_name(f"{self.scope}/{op}"),
        )
        self.graph.set_dtype(node.output[0], dtype or self.dtype)
        return Value(self.graph, node.output[0], self.scope)

    def cast(self, dtype: int) -> Value:
        """Return it in another element type."""
        return self if dtype == self.dtype else self.apply("Cast", dtype=dtype, to=dtype)

    def where(self, yes: Value, no: Value | float) -> Value:
        """Return `yes` where this tensor of truth values holds, and `no` elsewhere."""
        other = no if isinstance(no, Value) else yes.constant(no)
        return self.apply("Where", yes, other, dtype=yes.dtype)

    def __add__(self, other: Value | float) -> Value:
        return self.apply("Add", other)

    def __sub__(self, other: Value | float) -> Value:
        return self.apply("Sub", other)

    def __mul__(self, other: Value | float) -> Value:
        return self.apply("Mul", other)

    def __truediv__(self, other: Value | float) -> Value:
        return self.apply("Div", other)

    def __matmul__(self, other: Value) -> Value:
        return self.apply("MatMul", other)

    def __radd__(self, other: float) -> Value:
        return self.constant(other) + self

    def __rsub__(self, other: float) -> Value:
        return self.constant(other) - self

    def __rmul__(self, other: float) -> Value:
        return self.constant(other) * self

    def __rtruediv__(self, other: float) -> Value:
        return self.constant(other) / self

    def __neg__(self) -> Value:
        return self.apply("Neg")

    def __lt__(self, other: Value | float) -> Value:
        return self.apply("Less", other, dtype=onnx.TensorProto.BOOL)

    def equals(self, other: Value | float) -> Value:
        """Return where it equals another."""
        return self.apply("Equal", other, dtype=onnx.TensorProto.BOOL)

    def polynomial(self, coefficients: tuple[float, ...]) -> Value:
        """Return a polynomial of it, by Horner's rule; the constant coefficient comes first."""
        *lower, highest = coefficients
        value = self * highest + lower[-1]
        for coefficient in reversed(lower[:-1]):
            value = value * self + coefficient
        return value


def become(node: Any, value: Value) -> None:
    """Let a node pass on a value that was computed beside it; its output keeps its name."""
    node.type = "Identity"
    for attribute in list(node.attr):
        del node.attr[attribute]
    value.graph.replace_inputs(node, [value.name])

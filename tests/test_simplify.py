"""Which states of a loop are read from without: small graphs, as text, run before and after."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from tfvae.export.onnx.simplify import simplify


def graph(
    body: str = "s_out = Add(s, w)  w_out = Identity(w)",
    *,
    loop: str = "y, kept",
    emitted: str = "",
    after: str = "",
    outputs: tuple[str, ...] = ("float[n] y",),
) -> onnx.ModelProto:
    """Return three rounds of a loop with states s and w, which begin as x and v."""
    return onnx.parser.parse_model(
        f"""
        <ir_version: 8, opset_import: ["" : 18]>
        g (float[n] x, float[n] v) => ({", ".join(outputs)})
        <int64 rounds = {{3}}, bool begin = {{1}}>
        {{
            {loop} = Loop <body = b (int64 i, bool c, float[n] s, float[n] w)
                => (bool c_out, float[n] s_out, float[n] w_out{emitted}) {{
                    c_out = Identity(c)  {body}
            }}> (rounds, begin, x, v)
            {after}
        }}
        """
    )


def run(model: onnx.ModelProto) -> Any:
    onnx.checker.check_model(model)
    given = {"x": np.float32([1, 2]), "v": np.float32([10, 20])}
    return ReferenceEvaluator(model).run(None, given)


def left(model: onnx.ModelProto) -> list[str]:
    """Simplify a graph; return what states begin as, once it is found to compute the same."""
    before = run(model)
    simplify(model)
    for ours, theirs in zip(run(model), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    (loop,) = (node for node in model.graph.node if node.op_type == "Loop")
    body = loop.attribute[0].g
    assert len(body.input) == len(loop.input)
    assert len(body.output) - 1 == len(loop.output)
    return list(loop.input[2:])


@pytest.mark.parametrize(
    "body",
    [
        "s_out = Add(s, w)  w_out = Identity(w)",
        "s_out = Add(s, w)  first = Identity(w)  w_out = Identity(first)",
        # What else is made of it in a round reads it from without too.
        "copy = Identity(w)  part = Mul(copy, w)  s_out = Add(s, part)  w_out = Identity(copy)",
    ],
)
def test_what_is_handed_on_as_it_came_is_read_from_without(body: str) -> None:
    assert left(graph(body)) == ["x"]


def test_what_the_loop_ends_with_is_what_it_began_with() -> None:
    model = graph(after="z = Add(kept, v)", outputs=("float[n] y", "float[n] z"))
    assert left(model) == ["x"]
    assert list(model.graph.node[-1].input) == ["v", "v"]


def test_loops_within_loops() -> None:
    model = graph(
        """
        twice = Constant <value_int = 2> ()
        s_out, kept_inside = Loop <body = d (int64 j, bool e, float[n] t, float[n] u)
            => (bool e_out, float[n] t_out, float[n] u_out) {
                e_out = Identity(e)  t_out = Add(t, u)  u_out = Identity(u)
        }> (twice, c, s, w)
        w_out = Identity(kept_inside)
        """
    )
    assert left(model) == ["x"]
    (outer,) = (node for node in model.graph.node if node.op_type == "Loop")
    (inner,) = (node for node in outer.attribute[0].g.node if node.op_type == "Loop")
    assert list(inner.input)[2:] == ["s"]
    assert list(inner.attribute[0].g.node[1].input) == ["t", "v"]


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(graph("s_out = Add(s, w)  w_out = Add(w, s)"), id="it changes"),
        pytest.param(graph("s_out = Identity(w)  w_out = Identity(s)"), id="two change places"),
        pytest.param(
            graph(outputs=("float[n] y", "float[n] kept")), id="it is an output of the graph"
        ),
        pytest.param(
            graph(
                emitted=", float[n] w",
                loop="y, kept, all",
                outputs=("float[n] y", "float[k, n] all"),
            ),
            id="each round puts it out",
        ),
    ],
)
def test_what_stays_a_state(model: onnx.ModelProto) -> None:
    assert left(model) == ["x", "v"]


def test_an_output_without_a_name_is_not_taken_for_an_input_that_is_left_out() -> None:
    # Both are written "": the bounds of a Clip, and what nobody reads of a loop.
    model = graph(loop='y_raw, ""', after='y = Clip(y_raw, "", limit)')
    limit = onnx.numpy_helper.from_array(np.float32(35), "limit")
    model.graph.initializer.append(limit)
    simplify(model)
    assert list(model.graph.node[-1].input) == ["y_raw", "", "limit"]

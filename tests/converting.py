"""A function of tensors to ONNX, and run there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf

from tfvae.export.onnx import conversion
from tfvae.export.onnx.simplify import simplify

Arrays = dict[str, Any]


def converted(function: Callable[..., Any], arrays: list[Any]) -> onnx.ModelProto:
    """Convert a function of tensors to a dictionary, its first axis free."""
    signature = [
        tf.TensorSpec([None, *array.shape[1:]], array.dtype, f"input_{index}")
        for index, array in enumerate(arrays)
    ]
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    traced = tf.function(function, input_signature=signature, autograph=False)
    model = conversion.run_tf2onnx(traced, 18)
    simplify(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: onnx.ModelProto, arrays: list[Any]) -> Arrays:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = {f"input_{index}": np.asarray(array) for index, array in enumerate(arrays)}
    inputs = {value.name for value in session.get_inputs()}
    outputs = session.run(None, {name: feed[name] for name in feed if name in inputs})
    return dict(zip((value.name for value in session.get_outputs()), outputs, strict=True))


def in_onnx(function: Callable[..., Any], *arrays: Any) -> Arrays:
    return run(converted(function, list(arrays)), list(arrays))

"""Endpoints to a TensorFlow SavedModel, as TF Serving loads it."""

from __future__ import annotations

import errno
import inspect
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from .endpoint import Endpoint
from .errors import ExportError
from .quiet import quiet

_log = logging.getLogger(__name__)


def write(endpoints: Sequence[Endpoint], folder: Path) -> None:
    """Write a SavedModel with one signature for each name the endpoints answer to.

    Inputs with a default may be omitted by clients of TF Serving's gRPC interface.

    Args:
        endpoints: what to write; variables that they share are stored once.
        folder: where ``saved_model.pb`` and ``variables/`` go.

    Raises:
        ExportError: if TensorFlow cannot save them.
        OSError: if the disk is full.
    """
    module = tf.Module(name="tfvae")
    # The raw tf.Variables. A SavedModel of Keras's wrappers works in Python and fails in the C++
    # loader, "Could not find variable".
    unique = {id(variable): variable for e in endpoints for variable in e.variables}
    module.weights = list(unique.values())
    signatures = {name: _signature(e) for e in endpoints for name in e.signatures}
    try:
        with quiet("tensorflow", "absl"):
            # Without the gradients of our own, which no server takes: their operations would be
            # part of the graph.
            options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
            tf.saved_model.save(module, str(folder), signatures=signatures, options=options)
    except tf.errors.ResourceExhaustedError as error:  # a full disk, in TensorFlow's words
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
    except (tf.errors.OpError, AssertionError) as error:
        # An AssertionError is how TensorFlow reports a resource that is no variable.
        raise ExportError(
            f"Could not write the SavedModel of {', '.join(e.name for e in endpoints)}: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error
    _log.info("wrote saved_model.pb: %s", ", ".join(signatures))


def _signature(endpoint: Endpoint) -> Any:
    """Return the function to save: the endpoint's own, or one whose inputs have defaults.

    TensorFlow makes tensors that are default arguments into the defaults of a SignatureDef. How
    many rows a request has is not known then, so a default is one row, repeated here.
    """
    if all(spec.default is None for spec in endpoint.inputs):
        return endpoint.concrete
    # Arguments with defaults come last, in Python and so in TensorFlow.
    inputs = sorted(endpoint.inputs, key=lambda spec: spec.default is not None)
    required, defaults = inputs[0], {s.name: s.default for s in inputs if s.default is not None}

    def served(*tensors: tf.Tensor) -> Any:
        given = {spec.name: tensor for spec, tensor in zip(inputs, tensors, strict=True)}
        batch = tf.shape(given[required.name])[:1]
        for name in defaults:
            row = tf.shape(given[name])[1:]
            given[name] = tf.broadcast_to(given[name], tf.concat([batch, row], axis=0))
        return endpoint.concrete(**given)

    parameters = [
        inspect.Parameter(
            spec.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=inspect.Parameter.empty
            if spec.default is None
            else tf.fill([1, *spec.shape[1:]], tf.constant(spec.default, spec.dtype)),
        )
        for spec in inputs
    ]
    served.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    signature = [tf.TensorSpec(spec.shape, spec.dtype, spec.name) for spec in inputs]
    return tf.function(served, input_signature=signature, autograph=False)

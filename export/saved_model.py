"""Endpoints to a TensorFlow SavedModel, as TF Serving loads it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from .endpoints import Endpoint
from .errors import ExportError
from .quiet import quiet

_log = logging.getLogger(__name__)


def write(endpoints: Sequence[Endpoint], folder: Path) -> None:
    """Write a SavedModel with one signature for each name the endpoints answer to.

    Args:
        endpoints: what to write; variables that they share are stored once.
        folder: where ``saved_model.pb`` and ``variables/`` go.

    Raises:
        ExportError: if TensorFlow cannot save them.
    """
    module = tf.Module(name="tfvae")
    # The raw tf.Variables. A SavedModel of Keras's wrappers works in Python and fails in the C++
    # loader, "Could not find variable".
    unique = {id(variable): variable for e in endpoints for variable in e.variables}
    module.weights = list(unique.values())
    signatures = {name: e.concrete for e in endpoints for name in e.signatures}
    try:
        with quiet("tensorflow", "absl"):
            tf.saved_model.save(module, str(folder), signatures=signatures)
    except (tf.errors.OpError, AssertionError) as error:
        # An AssertionError is how TensorFlow reports a resource that is no variable.
        raise ExportError(
            f"Could not write the SavedModel of {', '.join(e.name for e in endpoints)}: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error
    _log.info("wrote saved_model.pb: %s", ", ".join(signatures))

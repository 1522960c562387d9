"""Importing TensorFlow, in silence where silence was asked for."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator


def import_tensorflow() -> None:
    """Import TensorFlow, and honour ``TF_CPP_MIN_LOG_LEVEL=3`` from its first line on.

    The lines that TensorFlow writes before its log is set up ignore that setting.
    """
    if "tensorflow" in sys.modules:
        return
    silent = os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "3"
    with _stderr_held_back() if silent else contextlib.nullcontext():
        import tensorflow  # noqa: F401

        import tfvae.model  # noqa: F401  # brings in TensorFlow Probability, which chatters too
    if silent:
        logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextlib.contextmanager
def _stderr_held_back() -> Iterator[None]:
    """Hold back what is written to standard error, from C++ too; say it if the block fails."""
    sys.stderr.flush()
    try:
        original = os.dup(2)
    except OSError:  # a process without standard error has nothing to hold back
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)

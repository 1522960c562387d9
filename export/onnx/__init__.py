"""Endpoints to ONNX: one file each, checked, which every conforming runtime can run."""

from __future__ import annotations

from .conversion import OPSETS, convert, write
from .converters import HANDLERS
from .precision import TOLERANCES
from .precision import write as write_variants

__all__ = ["HANDLERS", "OPSETS", "TOLERANCES", "convert", "write", "write_variants"]

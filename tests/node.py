"""ONNX files run as a browser runs them, by onnxruntime-web in Node, where both are there."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfvae.explorer import runtime
from tfvae.export import ExportError

SCRIPT = Path(__file__).parent / "web.mjs"


def installed() -> dict[str, Path]:
    """Return the runtime's files, or skip the test."""
    try:
        return runtime.find()
    except (FileNotFoundError, ExportError) as error:
        pytest.skip(f"needs onnxruntime-web {runtime.VERSION}: {error}")


def run(graph: Path, inputs: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return what a graph computes from inputs, flat; the folder holds them on their way."""
    files = installed()
    if shutil.which("node") is None:
        pytest.skip("needs Node")
    arrays = {name: np.asarray(values) for name, values in inputs.items()}
    given = {
        name: {
            "type": str(array.dtype),
            "dims": array.shape,
            "data": [str(value) for value in array.ravel()],  # no 64-bit integers in JSON
        }
        for name, array in arrays.items()
    }
    (folder / "inputs.json").write_text(json.dumps(given))
    result = subprocess.run(
        ["node", SCRIPT, *files.values(), graph, folder / "inputs.json"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name: np.array(values) for name, values in json.loads(result.stdout).items()}

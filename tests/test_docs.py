"""Every example in a docstring and in the README runs as written."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from typing import Any

import numpy as np
import pytest
from outside import ROOT

import tfvae

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# Runs alone in a fresh process, and is no module to import.
MODULES = [
    module.name
    for package in ("tfvae", "tfvae.layers", "tfvae.export")
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}.")
    if not module.name.endswith((".stranger", "__main__"))
]


def names() -> dict[str, Any]:
    import keras
    import tensorflow as tf

    return {"np": np, "tf": tf, "keras": keras, "tfvae": tfvae}


@pytest.mark.parametrize("name", sorted(set(MODULES)))
def test_examples_in_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs=names(), optionflags=FLAGS)
    assert result.failed == 0


def test_examples_in_the_readme(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(
        str(ROOT / "README.md"), module_relative=False, optionflags=FLAGS, globs=names()
    )
    assert result.attempted > 0
    assert result.failed == 0

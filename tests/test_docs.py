"""Every example in a docstring and in the README runs as written."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from here import strangers_here
from outside import ROOT

import tfvae

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# A checkout has the export stage elsewhere than an installation.
PACKAGES = {
    "tfvae", "tfvae.export", "tfvae.export.onnx",
    *(f"tfvae.{path.parent.name}" for path in Path(tfvae.__file__).parent.glob("*/__init__.py")),
}  # fmt: skip
# Those left out run alone in a fresh process, and are no modules to import.
MODULES = [
    module.name
    for package in sorted(PACKAGES)
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


@pytest.mark.slow
def test_examples_in_the_readme(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfvae.export import verification

    monkeypatch.setattr(verification, "strangers", strangers_here)
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(
        str(ROOT / "README.md"), module_relative=False, optionflags=FLAGS, globs=names()
    )
    assert result.attempted > 0
    assert result.failed == 0


def test_the_readme_has_the_endpoints_that_there_are() -> None:
    from tfvae.export.endpoints import endpoints

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", text, re.MULTILINE)
    listed = {name: (inputs, outputs) for name, inputs, outputs in rows}
    there = endpoints(tfvae.zoo.vae((3,), 2, hidden=(4,)))
    assert list(listed) == [endpoint.name for endpoint in there]
    for endpoint in there:
        inputs, outputs = listed[endpoint.name]
        assert re.findall(r"`(\w+)`", inputs) == [spec.name for spec in endpoint.inputs]
        named = re.findall(r"`(\w+)`", outputs)
        # Of p(x|z) the parameters are those of its family.
        extra = {"logits"} if endpoint.name == "decode" else set()
        assert set(named) == {spec.name for spec in endpoint.outputs} - extra


def commands() -> list[str]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("tfvae")]


def test_the_readme_has_one_command_for_each_of_two_things() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for mark in ("quickstart", "tests"):
        block = re.search(rf"<!-- ci: {mark} -->\n```bash\n(.*?)\n```", text, re.DOTALL)
        assert block is not None
        assert "\n" not in block[1]


@pytest.mark.parametrize("line", commands())
def test_commands_in_the_pages_have_the_options_they_name(line: str) -> None:
    from tfvae.cli import cli

    # Options are parsed before --help is acted on: one that does not exist is an error.
    result = CliRunner().invoke(cli, [*shlex.split(line, comments=True)[1:], "--help"])
    assert result.exit_code == 0, result.output

"""The runtime of pages: found, fetched, and refused where it is another."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

import tfvae
from tfvae.explorer import runtime
from tfvae.export import ExportError


def test_where_the_runtime_is_found(modules: Path, tmp_path: Path) -> None:
    dist = modules / runtime.PACKAGE / "dist"
    for place in (None, modules, modules.parent, modules / runtime.PACKAGE, dist):
        assert {path.parent for path in runtime.find(place).values()} == {dist}
    with pytest.raises(FileNotFoundError, match=r"has no ort\..*`tfvae explore --fetch-runtime`"):
        runtime.find(tmp_path / "elsewhere")


def test_another_runtime_is_refused(modules: Path) -> None:
    package = modules / runtime.PACKAGE
    name = next(iter(runtime.FILES))
    (package / "dist" / name).write_bytes(b"changed")
    with pytest.raises(ExportError, match="differs from it"):
        runtime.find()
    (package / "package.json").write_text(json.dumps({"version": "1.2.3"}))
    with pytest.raises(ExportError, match=rf"{re.escape(runtime.VERSION)}. Received: 1.2.3"):
        runtime.find()
    for text in ("{", "[]", "{}", "\udc80"):
        (package / "package.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(ExportError, match=r"Received: a damaged package\.json in"):
            runtime.find()


def test_the_runtime_is_fetched_once(
    modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(runtime.ENVIRONMENT)
    with pytest.raises(FileNotFoundError, match="--fetch-runtime"):
        runtime.find()
    packed = tmp_path / "package.tgz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(modules / runtime.PACKAGE, "package")
    with pytest.raises(ExportError, match="with the integrity sha512-"):
        tfvae.explorer.fetch(packed)
    assert not runtime.cache().exists()
    # What `npm` would say of this package.
    said = subprocess.run(
        ["openssl", "dgst", "-sha512", "-binary", packed], capture_output=True, check=True
    ).stdout  # fmt: skip
    encoded = subprocess.run(
        ["openssl", "base64", "-A"], input=said, capture_output=True, check=True
    ).stdout  # fmt: skip
    monkeypatch.setattr(runtime, "INTEGRITY", f"sha512-{encoded.decode()}")
    for wrong, kind in ((modules, "a folder"), (tmp_path / "none.tgz", "not there")):
        with pytest.raises(FileNotFoundError, match=f"Expected the package's file.*is {kind}"):
            tfvae.explorer.fetch(wrong)
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(packed))
        with pytest.raises(OSError, match=r"Cannot keep .*set XDG_CACHE_HOME"):
            tfvae.explorer.fetch(packed)
    assert tfvae.explorer.fetch(packed) == runtime.cache()
    assert {path.name for path in runtime.cache().iterdir()} == set(runtime.FILES)
    assert set(runtime.find()) == set(runtime.FILES)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert tfvae.explorer.fetch() == runtime.cache()  # it is there: nothing is asked for
    damaged = runtime.cache() / next(iter(runtime.FILES))
    damaged.write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="Expected npm"):
        tfvae.explorer.fetch()
    tfvae.explorer.fetch(packed)
    assert damaged.read_bytes()


def test_what_npm_says_is_passed_on(
    modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = tmp_path / "npm"
    npm.write_text('#!/bin/sh\necho "npm error 404 Not Found" >&2\nexit 1\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(OSError, match="404 Not Found"):
        tfvae.explorer.fetch()
    # What it has started may go on for longer than it.
    npm.write_text("#!/bin/sh\nsleep 3\n")
    monkeypatch.setattr(runtime, "_PATIENCE", 0.1)
    began = time.monotonic()
    with pytest.raises(OSError, match=r"nothing in 0\.1 seconds, after which it was ended"):
        tfvae.explorer.fetch()
    assert time.monotonic() - began < 2.5
    npm.write_text("#!/no/such/shell\n")
    with pytest.raises(OSError, match="npm does not run: "):
        tfvae.explorer.fetch()
    assert not runtime.cache().exists()


def test_a_user_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in (runtime.ENVIRONMENT, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(OSError, match=r"none for this user\. Set XDG_CACHE_HOME"):
        runtime.find()

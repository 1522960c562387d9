"""What a page consists of, and how it is written."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tfvae
from tfvae.explorer import page as pages
from tfvae.explorer import runtime
from tfvae.export import ExportError

ASSETS = importlib.resources.files("tfvae.explorer") / "assets"


def test_a_page_is_all_that_a_browser_asks_for(painter: Path, modules: Path) -> None:
    page = tfvae.explorer.build(painter)
    own = {asset.name for asset in ASSETS.iterdir()} - {"LICENSE.txt"}
    assert set(page.files) == own | {
        "explorer.json", "model/decode.onnx", "model/generate.onnx",
        "runtime/LICENSE.txt", "runtime/ort.wasm.bundle.min.js",
        "runtime/ort-wasm-simd-threaded.wasm",
    }  # fmt: skip
    text = page.files["index.html"].content
    assert isinstance(text, bytes)
    html = text.decode()
    assert f'content="{pages.POLICY}"' in html
    # Whatever is asked for is there, and no other origin is named.
    asked = set(re.findall(r'(?:src|href)="([^"]+)"', html))
    for name in own:
        if name.endswith(".js"):
            script = (ASSETS / name).read_text(encoding="utf-8")
            asked |= set(re.findall(r'from "\./([^"]+)"', script))
            assert not re.search(r"https?://", script)
    assert asked <= set(page.files)
    for asset in page.files.values():
        content = asset.content if isinstance(asset.content, bytes) else asset.content.read_bytes()
        assert hashlib.sha256(content).hexdigest() == asset.sha256
    assert page.size == sum(asset.size for asset in page.files.values())


def test_elements_that_scripts_name_are_in_the_page() -> None:
    html = (ASSETS / "index.html").read_text(encoding="utf-8")
    there = re.findall(r'\bid="([^"]+)"', html)
    assert len(there) == len(set(there))
    for asset in ASSETS.iterdir():
        if asset.name.endswith(".js"):
            named = re.findall(r'\$\("([\w-]+)"\)', asset.read_text(encoding="utf-8"))
            assert set(named) <= set(there), asset.name


def test_an_export_that_was_changed_is_refused(painter: Path, modules: Path) -> None:
    graph = painter / "onnx" / "decode.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    with pytest.raises(ExportError, match="as it was published"):
        tfvae.explorer.build(painter)
    graph.unlink()
    with pytest.raises(FileNotFoundError, match="the manifest lists"):
        tfvae.explorer.build(painter)


def test_what_a_browser_cannot_hold_is_refused(painter: Path, modules: Path) -> None:
    (painter / "onnx" / "decode.onnx.data").write_bytes(b"weights")
    document = json.loads((painter / "manifest.json").read_text())
    document["files"]["onnx/decode.onnx.data"] = {"sha256": "", "size": 7}
    (painter / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(ExportError, match="less than 2 GB"):
        tfvae.explorer.build(painter)


def test_it_is_written_whole_and_replaced_whole(
    painter: Path, modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "site" / "page"
    assert tfvae.explorer.write(painter, out) == out
    page = tfvae.explorer.build(painter)
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert written == set(page.files)
    (out / "stale.js").write_text("old")
    before = (out / "index.html").stat().st_ino

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(OSError, match="No space left"):
            tfvae.explorer.write(painter, out)
        with pytest.raises(OSError, match="No space left"):
            tfvae.explorer.write(painter, tmp_path / "new" / "page")
    assert not (tmp_path / "new").exists()
    assert (out / "index.html").stat().st_ino == before
    assert (out / "stale.js").exists()
    tfvae.explorer.write(painter, out)
    assert not (out / "stale.js").exists()
    assert [path.name for path in out.parent.iterdir()] == ["page"]


def test_other_files_are_left_alone(painter: Path, modules: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(ExportError, match="which holds other files"):
        tfvae.explorer.write(painter, tmp_path / "mine")
    with pytest.raises(ExportError, match="which is a file"):
        tfvae.explorer.write(painter, tmp_path / "mine" / "thesis.tex")
    (tmp_path / "empty").mkdir()
    tfvae.explorer.write(painter, tmp_path / "empty")


def test_what_a_link_leads_to_is_replaced(painter: Path, modules: Path, tmp_path: Path) -> None:
    """Links to what is served are common: `current` stays one, and nothing lies beside it."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "current").symlink_to(tmp_path / "store" / "page")
    for _ in range(2):  # to where there is nothing yet, and to a page
        assert tfvae.explorer.write(painter, site / "current") == site / "current"
        assert (site / "current").is_symlink()
        assert (site / "current" / "index.html").is_file()
        assert [path.name for path in site.iterdir()] == ["current"]
        assert [path.name for path in (tmp_path / "store").iterdir()] == ["page"]
        (tmp_path / "store" / "page" / "stale.js").write_text("")
    (site / "loop").symlink_to(site / "loop")
    with pytest.raises(OSError, match="a link that leads to itself"):
        tfvae.explorer.write(painter, site / "loop")
    (site / "mine").symlink_to(tmp_path)
    with pytest.raises(ExportError, match="which holds other files"):
        tfvae.explorer.write(painter, site / "mine")


def test_no_tensorflow_is_imported(painter: Path, modules: Path) -> None:
    code = (
        "import sys, tfvae; tfvae.explorer.build(sys.argv[1]); "
        "assert not {'tensorflow', 'keras'} & sys.modules.keys()"
    )
    # The runtime's digests are those of the fixture, which another process does not see.
    patch = f"from tfvae.explorer import runtime; runtime.FILES = {runtime.FILES!r}; "
    subprocess.run([sys.executable, "-c", patch + code, str(painter)], check=True)

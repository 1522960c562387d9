"""Fixtures of the tests of the explorer.

Where there is no browser, the same files are run by the same runtime in Node, and the browser's
tests say that they were skipped.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import handmade
import node
import pytest
from browsing import Browser, served

import tfvae
from tfvae.explorer import runtime
from tfvae.export import LoadedExport, verification


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node_modules with a runtime that is small, pinned as the real one is."""
    package = tmp_path / "node_modules" / runtime.PACKAGE
    (package / "dist").mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"version": runtime.VERSION}))
    digests = {}
    for name in runtime.FILES:
        (package / "dist" / name).write_bytes(name.encode())
        digests[name] = hashlib.sha256(name.encode()).hexdigest()
    monkeypatch.setattr(runtime, "FILES", digests)
    monkeypatch.setenv(runtime.ENVIRONMENT, str(tmp_path / "node_modules"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "node_modules"


@pytest.fixture
def painter(tmp_path: Path) -> Path:
    return handmade.painter(tmp_path / "painter" / "3")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> LoadedExport:
    """A model of 8 by 8 digits, trained for a moment, and its export."""
    data = tfvae.data.load("digits")
    vae = tfvae.zoo.vae(
        (8, 8, 1), 6, hidden=(64,), likelihood="ContinuousBernoulli", activation="tanh", seed=0
    )
    vae.compile(optimizer="adam")
    vae.fit(data.train, epochs=12, batch_size=32, verbose=0)
    with pytest.MonkeyPatch.context() as patch:
        unexamined = contextlib.nullcontext(lambda folders: [() for _ in folders])
        patch.setattr(verification, "strangers", lambda: unexamined)
        path = tfvae.export.export(
            vae,
            tmp_path_factory.mktemp("explorer") / "digits",
            endpoints=("decode", "generate", "encode"),
        )
    return tfvae.export.load(path)


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> LoadedExport:
    """Colour, a class, two levels, 40 latents, no encoder."""
    return tfvae.export.load(
        handmade.painter(tmp_path_factory.mktemp("explorer") / "painter" / "1")
    )


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver")
    pytest.importorskip("selenium")
    node.installed()
    started = Browser(tmp_path_factory.mktemp("browser"))
    yield started
    started.driver.quit()


@pytest.fixture(scope="session")
def opened(browser: Browser, digits: LoadedExport) -> Iterator[str]:
    """The page of the digits: loading its runtime takes longest."""
    with served(digits) as url:
        yield url


@pytest.fixture
def page(browser: Browser, opened: str) -> Iterator[Browser]:
    """The page of the digits at seed 0; afterwards the console must have been silent."""
    if not browser.driver.current_url.startswith(opened):
        browser.open(opened)
    browser.run("document.activeElement.blur(); window.scrollTo(0, 0)")
    browser.run("document.getElementById('invert').checked = false")
    for name, value in {"seed-a": 0, "seed-b": 1, "traversed": "", "at": 0}.items():
        browser.run("document.getElementById(arguments[0]).value = arguments[1]", name, value)
    browser.changed(lambda: browser.find("#reset").click())
    browser.problems()
    yield browser
    assert browser.problems() == []
    assert browser.run("return document.getElementById('problem').hidden")

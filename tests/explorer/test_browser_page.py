"""The page as a page: its names, links and size, and where it is served from."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import node
import numpy as np
import pytest
from browsing import Browser, assert_shows, served

import tfvae
from tfvae.export import LoadedExport

pytestmark = pytest.mark.slow


def test_every_control_has_a_name(page: Browser) -> None:
    roles = {
        "button", "slider", "textbox", "combobox", "MenuListPopup", "radio", "checkbox", "image",
        "spinbutton", "group", "region",
    }  # fmt: skip
    nodes = page.ask("Accessibility.getFullAXTree")["nodes"]
    seen = [node for node in nodes if not node["ignored"] and node["role"]["value"] in roles]
    assert len(seen) > 50
    unnamed = [
        node["role"]["value"]
        for node in seen
        if not node.get("name", {}).get("value") and node["role"]["value"] != "MenuListPopup"
    ]
    assert unnamed == []


def test_a_link_shows_the_same_picture(page: Browser, digits: LoadedExport) -> None:
    page.changed(lambda: page.value("t0", 0.7))
    page.changed(lambda: page.value("seed", -12, "change"))
    page.changed(lambda: page.value("z1", 1.125))
    # The address follows a moment later, and had another state of the latents before.
    page.until("/seed=-12&.*from=edited/.test(location.hash)")
    link, shown, z = page.driver.current_url, page.pixels(), page.z(6)
    page.open(link)
    np.testing.assert_array_equal(page.pixels(), shown)
    np.testing.assert_allclose(page.z(6), z, atol=1e-7)
    page.changed(lambda: page.value("at", 0.5))
    page.until("location.hash.includes('from=between')")
    link, shown = page.driver.current_url, page.pixels()
    page.open(link)
    np.testing.assert_array_equal(page.pixels(), shown)
    assert page.text("status") == "Between two seeds"
    # What a link leaves out is as on a page that was just opened.
    page.changed(lambda: page.run("location.hash = '#seed=4&t=0.7&show=sample&axes=1,2'"))
    assert_shows(page, digits.generate([4], 0.7)["sample"][0])
    assert page.run("return document.getElementById('axis-x').value") == "1"
    page.changed(lambda: page.run("location.hash = '#seed=5'"))
    assert_shows(page, digits.generate([5])["mean"][0])
    order = tfvae.explorer.build(digits.path).description["latents"]["order"]
    for axis, index in zip("xy", order, strict=False):
        assert page.run(f"return document.getElementById('axis-{axis}').value") == str(index)
    page.changed(lambda: page.run("location.hash = '#c=3'"))
    assert page.text("status") == "Seed 0"
    page.changed(lambda: page.run("location.hash = '#seed=6&z=broken&axes=1&t=-1'"))
    assert page.text("status") == "Seed 6"


def test_nothing_is_asked_of_others(page: Browser) -> None:
    script = "return performance.getEntriesByType('resource').map(e => new URL(e.name).origin)"
    assert set(page.run(script)) == {page.run("return location.origin")}
    # What somebody slips into the page does not run.
    script = (
        "const s = document.createElement('script'); s.textContent = 'window.slipped = 1';"
        "document.head.append(s); return window.slipped ?? null"
    )
    assert page.run(script) is None
    assert any("Content Security Policy" in each for each in page.problems())


@pytest.mark.parametrize("export", ["digits", "painted"])
def test_it_fits_a_phone(browser: Browser, export: str, request: pytest.FixtureRequest) -> None:
    with served(request.getfixturevalue(export)) as url:
        browser.open(url, phone=True)
        for width, height in ((390, 844), (320, 640), (844, 390)):
            browser.size(width, height, phone=True)
            assert browser.run("return document.documentElement.scrollWidth") <= width
            browser.run("window.scrollTo(0, 700)")
            time.sleep(0.1)
            if width < 720:  # the picture stays in sight
                top, bottom = browser.run(
                    "const b = document.getElementById('picture').getBoundingClientRect();"
                    "return [b.top, b.bottom]"
                )
                assert 0 <= top < bottom <= height / 2
                covered = browser.run(
                    "const stage = document.getElementById('stage');"
                    "const all = '.panel :is(button, select, input, #pad)';"
                    "return [...document.querySelectorAll(all)]"
                    ".filter(e => e.offsetParent && !e.matches('[type=file], [type=radio]'))"
                    ".filter(e => { e.focus(); return e.getBoundingClientRect().top <"
                    " stage.getBoundingClientRect().bottom - 1; }).map(e => e.outerHTML)"
                )
                assert covered == []
            small = browser.run(
                "return [...document.querySelectorAll('button, select, input, label.check, #drop')]"
                ".filter(e => e.offsetParent && !e.matches('[type=radio], [type=file], "
                "[type=checkbox], #sliders [type=number]'))"
                ".filter(e => e.getBoundingClientRect().height < 44).map(e => e.outerHTML)"
            )
            assert small == []
        assert browser.problems() == []


def test_ctrl_c_ends_it(digits: LoadedExport) -> None:
    node.installed()
    process = subprocess.Popen(
        [sys.executable, "-m", "tfvae", "explore", str(digits.path), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        url = re.search(r"http://\S+/", process.stdout.readline())
        assert url is not None
        with urllib.request.urlopen(f"{url[0]}explorer.json", timeout=10) as response:
            assert json.load(response)["model"]["name"] == "digits"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_any_web_server_can_serve_it(
    browser: Browser, digits: LoadedExport, tmp_path: Path
) -> None:
    import functools
    import http.server

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    # Below a folder of the site, not at its root.
    tfvae.explorer.write(digits.path, tmp_path / "site" / "deep" / "page")
    handler = functools.partial(Quiet, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        browser.open(f"http://127.0.0.1:{server.server_port}/deep/page/")
        assert_shows(browser, digits.generate([0])["mean"][0])
        server.shutdown()
        thread.join()
    assert browser.problems() == []


def test_a_file_that_is_missing_is_named(browser: Browser, digits: LoadedExport) -> None:
    page = tfvae.explorer.build(digits.path)
    del page.files["model/decode.onnx"]
    with tfvae.explorer.serve(page, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        browser.driver.get("about:blank")
        browser.driver.get(server.url)
        browser.until("document.body.dataset.state === 'failed'", 60)
        assert "model/decode.onnx: 404" in browser.text("problem")
        server.shutdown()
        thread.join()
    browser.problems()  # the browser's own word on it


def test_the_same_files_agree_in_node(digits: LoadedExport, tmp_path: Path) -> None:
    """What stands in for the browser where there is none."""
    seeds, temperatures = np.array([0, -1, 2**63 - 1]), np.float32([1, 1, 0.5])
    given = {"seed": seeds, "temperature": temperatures}
    found = node.run(digits.path / digits.endpoints["generate"].onnx, given, tmp_path)
    for name, expected in digits.generate(seeds, temperatures).items():
        np.testing.assert_allclose(found[name].reshape(expected.shape), expected, atol=1e-5)

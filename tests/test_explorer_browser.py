"""The explorer in a real browser, without a screen: what it shows is what Python computes.

Where there is no browser, the same files are run by the same runtime in Node, and the browser's
tests say that they were skipped.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import handmade
import node
import numpy as np
import pytest
from PIL import Image

import tfvae
from tfvae.export import LoadedExport, verification

pytestmark = pytest.mark.slow

# Outputs of the two runtimes differ by no more than 1e-5 (test_golden.py): by 0.003 of a level, so
# that rounding to whole levels can move a pixel by one and no more.
LEVEL = 1
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> LoadedExport:
    """Colour, a class, two levels, 40 latents, no encoder."""
    return tfvae.export.load(
        handmade.painter(tmp_path_factory.mktemp("explorer") / "painter" / "1")
    )


class Browser:
    """Chromium, and what the tests ask of the page."""

    def __init__(self, folder: Path) -> None:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
            options.add_argument(flag)
        options.binary_location = shutil.which("chromium") or ""
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options=options, service=service)
        self.downloads = folder / "downloads"
        self.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

    def ask(self, command: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)

    def run(self, script: str, *given: Any) -> Any:
        return self.driver.execute_script(script, *given)

    def size(self, width: int, height: int, *, phone: bool) -> None:
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=phone,
        )  # fmt: skip
        self.ask("Emulation.setTouchEmulationEnabled", enabled=phone)

    def open(self, url: str, *, phone: bool = False) -> None:
        self.size(*((390, 844) if phone else (1280, 800)), phone=phone)
        self.driver.get("about:blank")
        self.driver.get(url)
        self.until("document.body.dataset.state !== 'loading'", 60)
        assert self.run("return document.body.dataset.state") == "ready", self.text("problem")
        self.idle()

    def until(self, condition: str, seconds: float = 10) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, seconds, 0.02).until(lambda _: self.run(f"return {condition}"))

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def text(self, name: str) -> str:
        return str(self.run("return document.getElementById(arguments[0]).textContent", name))

    def value(self, name: str, value: object, event: str = "input") -> None:
        """Give a control a value, as a finger does."""
        self.run(
            "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event(arguments[2], {bubbles: true}))",
            name, str(value), event,
        )  # fmt: skip

    def z(self, size: int) -> Any:
        """Return the latents that the sliders stand at."""
        script = (
            "return [...Array(arguments[0]).keys()].map("
            "i => Number(document.getElementById(`z${i}`).value))"
        )
        return np.array(self.run(script, size), np.float32)

    def pixels(self, selector: str = "#picture") -> Any:
        """Return the RGB bytes of a canvas, [H, W, 3]."""
        script = (
            "const c = document.querySelector(arguments[0]); return [c.width, c.height, "
            "...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
        )
        width, height, *values = self.run(script, selector)
        return np.array(values).reshape(height, width, 4)[..., :3]

    def changed(self, act: Callable[[], object]) -> None:
        """Act, and wait until another picture is shown and all that follows it is done."""
        before = int(self.run("return Number(document.body.dataset.drawn ?? 0)"))
        act()
        self.until(f"Number(document.body.dataset.drawn) > {before}")
        self.idle()

    def idle(self) -> None:
        self.until("document.body.dataset.busy === 'false'")

    def problems(self) -> list[str]:
        """Return what the console says, but of the tests' own reading of pixels."""
        said = [each["message"] for each in self.driver.get_log("browser")]
        return [message for message in said if "willReadFrequently" not in message]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver")
    pytest.importorskip("selenium")
    node.installed()
    started = Browser(tmp_path_factory.mktemp("browser"))
    yield started
    started.driver.quit()


@contextlib.contextmanager
def served(export: LoadedExport) -> Iterator[str]:
    page = tfvae.explorer.build(export.path)
    with tfvae.explorer.serve(page, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
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


def levels(values: Any) -> Any:
    """Return images as the library's pictures round them, RGB."""
    image = np.asarray(values, np.float32)
    image = (255 * np.clip(image, 0, 1) + 0.5).astype(np.uint8).astype(int)
    return np.broadcast_to(image, (*image.shape[:-1], 3))


def assert_shows(page: Browser, values: Any, selector: str = "#picture") -> None:
    shown, expected = page.pixels(selector), levels(values)
    assert shown.shape == expected.shape
    assert np.max(np.abs(shown - expected)) <= LEVEL


def test_seeds_show_what_python_draws(page: Browser, digits: LoadedExport) -> None:
    seeds = [0, 1, -1, 2**63 - 1, -(2**63)]
    drawn = digits.generate(np.array(seeds))
    assert np.ptp(levels(drawn["mean"])) > 100  # not a picture of nothing
    for i, seed in enumerate(seeds):
        if seed:
            page.changed(lambda seed=seed: page.value("seed", seed, "change"))
        assert page.text("status") == f"Seed {seed}"
        assert_shows(page, drawn["mean"][i])
        np.testing.assert_allclose(page.z(6), drawn["z"][i], atol=1e-5)
    page.changed(lambda: page.find("input[value=sample] + span").click())
    assert_shows(page, drawn["sample"][-1])
    page.changed(lambda: page.value("t0", 0.5))
    assert_shows(page, digits.generate([seeds[-1]], 0.5)["sample"][0])
    page.changed(lambda: page.find("#next").click())  # int64 wraps around no earlier than this
    assert page.run("return document.getElementById('seed').value") == str(-(2**63) + 1)
    page.changed(lambda: page.value("seed", " \u22125 ", "change"))  # a minus as it is typeset
    assert page.text("status") == "Seed -5, sampled"
    page.value("seed", 2**63, "input")
    assert not page.run("return document.getElementById('seed-error').hidden")


def test_the_next_seeds_are_shown_too(page: Browser, digits: LoadedExport) -> None:
    means = digits.generate(np.arange(1, 9))["mean"]
    for i in range(8):
        assert_shows(page, means[i], f"#gallery button:nth-child({i + 1}) canvas")
    page.changed(lambda: page.find("#gallery button:nth-child(3)").click())
    assert page.text("status") == "Seed 3"


def test_sliders_change_the_picture(page: Browser, digits: LoadedExport) -> None:
    z = digits.generate([0])["z"]
    before = page.pixels()
    order = tfvae.explorer.build(digits.path).description["latents"]["order"]
    assert page.find("#sliders li input").get_attribute("id") == f"z{order[0]}"
    z[0, order[0]] = 2.25
    page.changed(lambda: page.value(f"z{order[0]}", 2.25))
    assert_shows(page, digits.decode(z)["mean"][0])
    assert np.max(np.abs(page.pixels() - before)) > 10
    assert page.text("status") == "Edited latents"
    # A sample is a function of a seed.
    assert page.run("return document.querySelector('input[value=sample]').disabled")
    page.changed(lambda: page.find("#reset").click())
    np.testing.assert_array_equal(page.pixels(), before)


def test_the_keyboard_does_what_a_finger_does(page: Browser, digits: LoadedExport) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    z = digits.generate([0])["z"]
    page.changed(lambda: page.find("#z2").send_keys(Keys.ARROW_RIGHT))
    z[0, 2] += 6 / 200  # of a slider from -3 to 3, a step
    np.testing.assert_allclose(page.z(6), z[0], atol=1e-5)
    page.changed(lambda: page.find("#z2").send_keys(Keys.PAGE_DOWN))
    z[0, 2] -= 10 * 6 / 200
    np.testing.assert_allclose(page.z(6), z[0], atol=1e-5)
    # The plane, whose axes are the two most active latents, moves by a fortieth; Shift, five times.
    x, y = tfvae.explorer.build(digits.path).description["latents"]["order"][:2]
    page.changed(lambda: page.find("#pad").send_keys(Keys.ARROW_LEFT))
    page.changed(lambda: page.find("#pad").send_keys(Keys.SHIFT, Keys.ARROW_UP))
    z[0, x] -= 6 / 40
    z[0, y] += 5 * 6 / 40
    np.testing.assert_allclose(page.z(6), z[0], atol=1e-5)
    assert_shows(page, digits.decode(page.z(6)[None])["mean"][0])
    said = page.find("#pad").get_attribute("aria-valuetext")
    assert said == f"z[{x}] {z[0, x]:.2f}, z[{y}] {z[0, y]:.2f}"
    # Every control is reached by Tab, and has a name to be read out.
    reached = set()
    page.run("document.activeElement.blur()")
    for _ in range(60):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        reached.add(page.run("return document.activeElement.id"))
    controls = {
        "random", "reset", "download", "copy", "previous", "seed", "next", "t0", "z0", "z5",
        "traversed", "seed-a", "seed-b", "play", "at", "axis-x", "axis-y", "pad", "file",
    }  # fmt: skip
    assert controls <= reached


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


def test_a_traversal_goes_through_one_latent(page: Browser, digits: LoadedExport) -> None:
    page.value("traversed", 4, "change")
    page.idle()
    rows = np.repeat(digits.generate([0])["z"], 9, axis=0)
    rows[:, 4] = np.linspace(-3, 3, 9)
    means = digits.decode(rows)["mean"]
    for i in range(9):
        assert_shows(page, means[i], f"#strip button:nth-child({i + 1}) canvas")
    page.changed(lambda: page.find("#strip button:nth-child(9)").click())
    assert_shows(page, means[8])


def test_the_plane_is_a_map_of_the_decoder(page: Browser, digits: LoadedExport) -> None:
    """Its cells are what their middles decode to, and where one presses is what one gets."""
    from selenium.webdriver import ActionChains

    x, y = tfvae.explorer.build(digits.path).description["latents"]["order"][:2]
    drawn = page.pixels("#pad-map")
    count = round((drawn.shape[0] + 1) / 9)  # of 8 pixels, and one between them
    rows = np.repeat(digits.generate([0])["z"], count**2, axis=0)
    middles = -3 + 6 * (np.arange(count) + 0.5) / count
    rows[:, x], rows[:, y] = np.tile(middles, count), np.repeat(middles[::-1], count)
    means = levels(digits.decode(rows)["mean"])
    for i in range(count**2):
        top, left = 9 * (i // count), 9 * (i % count)
        shown = drawn[top : top + 8, left : left + 8]
        assert np.max(np.abs(shown - means[i])) <= LEVEL
    pad = page.find("#pad")
    box = pad.rect
    page.changed(ActionChains(page.driver).move_to_element(pad).click().perform)
    z = page.z(6)
    # The middle, to within a pixel of the pad.
    np.testing.assert_allclose(z[[x, y]], 0, atol=6 / box["width"])
    assert_shows(page, digits.decode(z[None])["mean"][0])
    drag = ActionChains(page.driver).move_to_element(pad).click_and_hold()
    page.changed(drag.move_by_offset(round(box["width"] / 4), 0).release().perform)
    np.testing.assert_allclose(page.z(6)[x], 1.5, atol=12 / box["width"])


def test_between_two_seeds(page: Browser, digits: LoadedExport) -> None:
    page.value("seed-b", -7, "change")
    a, b = digits.generate(np.array([0, -7]))["z"].astype(float)
    angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    page.idle()
    page.changed(lambda: page.value("at", 0.25))
    z = (np.sin(0.75 * angle) * a + np.sin(0.25 * angle) * b) / np.sin(angle)
    np.testing.assert_allclose(page.z(6), z, atol=1e-5)
    assert_shows(page, digits.decode(z[None].astype(np.float32))["mean"][0])
    page.changed(lambda: page.find("input[value=lerp] + span").click())
    np.testing.assert_allclose(page.z(6), 0.75 * a + 0.25 * b, atol=1e-5)
    page.find("#play").click()
    page.until("Number(document.getElementById('at').value) > 0.4")
    page.find("#play").click()
    page.idle()
    assert page.find("#play").get_attribute("aria-pressed") == "false"


def picture(values: Any, scale: int = 1, border: int = 0) -> str:
    """Return the data of a PNG of an image, each pixel a block, bordered left and right."""
    grey = (
        (255 * np.asarray(values)[..., 0] + 0.5).astype(np.uint8).repeat(scale, 0).repeat(scale, 1)
    )
    grey = np.pad(grey, ((0, 0), (border, border)), constant_values=128)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "png")
    return base64.b64encode(file.getvalue()).decode("ascii")


@pytest.mark.parametrize(("scale", "border"), [(1, 0), (16, 40)])
def test_a_picture_is_encoded(
    page: Browser, digits: LoadedExport, tmp_path: Path, scale: int, border: int
) -> None:
    x = tfvae.data.load("digits").test.values()[:1].reshape(1, 8, 8, 1)
    x = np.float32(np.round(255 * x) / 255)
    file = tmp_path / "three.png"
    file.write_bytes(base64.b64decode(picture(x[0], scale, border)))
    page.changed(lambda: page.find("#file").send_keys(str(file)))
    mean = digits.encode(x)["mean"]
    np.testing.assert_allclose(page.z(6), mean[0], atol=1e-4)
    assert_shows(page, x[0], "#given")
    assert_shows(page, digits.decode(mean)["mean"][0])
    assert page.text("status") == "Encoded from three.png"
    page.changed(lambda: page.find("#invert").click())
    np.testing.assert_allclose(page.z(6), digits.encode(1 - x)["mean"][0], atol=1e-4)


def test_a_picture_is_dropped(page: Browser, digits: LoadedExport) -> None:
    x = np.float32(tfvae.data.load("digits").test.values()[1:2].reshape(1, 8, 8, 1) > 0.5)
    script = """
        const bytes = Uint8Array.from(atob(arguments[0]), c => c.charCodeAt(0));
        const files = new DataTransfer();
        files.items.add(new File([bytes], "drop.png", {type: arguments[1]}));
        document.body.dispatchEvent(new DragEvent("drop",
          {dataTransfer: files, bubbles: true, cancelable: true}));
    """
    page.changed(lambda: page.run(script, picture(x[0]), "image/png"))
    np.testing.assert_allclose(page.z(6), digits.encode(x)["mean"][0], atol=1e-4)
    page.run(script, base64.b64encode(b"no picture").decode(), "image/png")
    page.until("!document.getElementById('problem').hidden")
    assert "drop.png is no picture" in page.text("problem")
    page.changed(lambda: page.run(script, picture(x[0]), "image/png"))  # which hides it again


def test_a_picture_is_saved(page: Browser, digits: LoadedExport) -> None:
    page.find("#download").click()
    saved = page.downloads / "digits-seed-0.png"
    for _ in range(200):
        if saved.exists():
            break
        time.sleep(0.05)
    with Image.open(saved) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.shape == (512, 512, 3)
    expected = levels(digits.generate([0])["mean"][0]).repeat(64, axis=0).repeat(64, axis=1)
    assert np.max(np.abs(pixels - expected)) <= LEVEL


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


def test_decoding_is_fast(page: Browser) -> None:
    """20 ms are asked for, of the median: it takes less than one on a laptop."""
    times = []
    for i in range(15):
        page.changed(lambda i=i: page.value("z0", i / 10))
        times.append(float(page.text("time").split()[-2]))
    assert np.median(times) < 20, times


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


@pytest.mark.parametrize("export", ["digits", "painter"])
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


def test_classes_levels_and_many_latents(browser: Browser, painter: LoadedExport) -> None:
    with served(painter) as url:
        browser.open(url)
        assert_shows(browser, painter.generate([0], condition=0)["mean"][0])
        browser.changed(lambda: browser.value("seed", 3, "change"))
        browser.changed(lambda: browser.value("class", 2, "change"))
        assert_shows(browser, painter.generate([3], condition="blue")["mean"][0])
        browser.changed(lambda: browser.value("t1", 2))
        browser.changed(lambda: browser.value("t0", 0.5))
        drawn = painter.generate([3], (0.5, 2.0), "blue")
        assert_shows(browser, drawn["mean"][0])
        browser.changed(lambda: browser.find("input[value=sample] + span").click())
        assert_shows(browser, drawn["sample"][0])
        # Sixteen at first, the others when asked for.
        assert browser.run("return document.querySelectorAll('#sliders li').length") == 16
        browser.find("#sliders button").click()
        assert browser.run("return document.querySelectorAll('#sliders li').length") == 40
        z = drawn["z_0"]
        np.testing.assert_allclose(browser.z(40), z[0], atol=1e-5)
        z[0, 30] = -1.5  # beyond the slider's end, which gives way
        browser.changed(lambda: browser.run(
            "const e = document.querySelector('[aria-label=\"Value of z_0[30]\"]');"
            "e.value = '-1.5'; e.dispatchEvent(new Event('change'))"
        ))  # fmt: skip
        assert_shows(browser, painter.decode(z, "blue")["mean"][0])
        # Another class of the same latents.
        browser.changed(lambda: browser.value("class", 1, "change"))
        assert_shows(browser, painter.decode(z, "green")["mean"][0])
        assert "no endpoint “encode”" in browser.find("#take .absent").text
        assert "cannot be moved" in browser.find("#latents .absent[data-absent=move]").text
        assert not browser.find("#drop").is_displayed()
        browser.until("location.hash.includes('c=1')")
        browser.open(browser.driver.current_url)
        assert_shows(browser, painter.decode(z, "green")["mean"][0])
        assert browser.problems() == []


def follow(z: Any, shift: Any) -> Any:
    """Return what becomes of latents of the hierarchy made by hand, in closed form."""
    (low, above), (low_shift, above_shift) = np.split(z, [3]), np.split(np.asarray(shift), [3])
    moved = above + above_shift
    place = (low - above @ handmade.LEVEL_MEAN) / np.exp(above @ handmade.LEVEL_SPREAD)
    below = place * np.exp(moved @ handmade.LEVEL_SPREAD) + moved @ handmade.LEVEL_MEAN
    return np.concatenate([below + low_shift, moved])


def test_each_level_of_a_hierarchy_is_moved(browser: Browser, tmp_path: Path) -> None:
    export = tfvae.export.load(handmade.hierarchy(tmp_path / "chain" / "1"))

    def assert_at(z: Any) -> None:
        np.testing.assert_allclose(browser.z(5), z, atol=2e-5)
        assert_shows(browser, (0.5 + z[:3] @ handmade.LEVEL_IMAGE).reshape(2, 3, 1))

    def drawn(seed: int) -> Any:
        rows = export.generate([seed])
        return np.concatenate([rows["z_0"][0], rows["z_1"][0]]).astype(float)

    with served(export) as url:
        browser.open(url)
        z = start = drawn(0)
        assert_at(z)
        headings = "return [...document.querySelectorAll('#sliders h3')].map(e => e.textContent)"
        assert browser.run(headings) == ["Level 0", "Level 1"]
        assert not browser.run(
            "return [...document.querySelectorAll('.absent')].some(e => !e.hidden)"
        )
        # What is below follows, in as many steps as one likes, and finds its way back.
        browser.changed(lambda: browser.value("z3", 0.5))
        browser.changed(lambda: browser.value("z3", 1.25))
        z = follow(z, [0, 0, 0, 1.25 - z[3], 0])
        assert np.max(np.abs(z - start)[:3]) > 0.1
        assert_at(z)
        browser.changed(lambda: browser.value("z1", -0.5))
        z[1] = -0.5
        assert_at(z)
        browser.changed(lambda: browser.value("seed", 7, "change"))
        z = drawn(7)
        assert_at(z)
        # The plane is of one level.
        browser.changed(lambda: browser.value("z4", 1.0))
        z = follow(z, [0, 0, 0, 0, 1.0 - z[4]])
        browser.value("axis-x", 4, "change")
        assert browser.run("return document.getElementById('axis-y').value") == "3"
        browser.idle()
        low, high = (
            tfvae.explorer.build(export.path).description["latents"][end][3]
            for end in ("low", "high")
        )
        from selenium.webdriver.common.keys import Keys

        browser.changed(lambda: browser.find("#pad").send_keys(Keys.ARROW_DOWN))
        z = follow(z, [0, 0, 0, (min(low, z[3]) - max(high, z[3])) / 40, 0])
        assert_at(z)
        browser.value("traversed", 3, "change")
        browser.idle()
        ends = min(low, z[3]), max(high, z[3])
        for i, value in enumerate(np.linspace(*ends, 9), 1):
            row = follow(z, [0, 0, 0, value - z[3], 0])
            image = (0.5 + row[:3] @ handmade.LEVEL_IMAGE).reshape(2, 3, 1)
            assert_shows(browser, image, f"#strip button:nth-child({i}) canvas")
        browser.changed(lambda: browser.find("#strip button:nth-child(9)").click())
        z = follow(z, [0, 0, 0, ends[1] - z[3], 0])
        assert_at(z)
        browser.find("#copy").click()
        link, shown = browser.driver.current_url, browser.z(5)
        # From one seed to another every level goes its own way.
        browser.changed(lambda: browser.find("input[value=lerp] + span").click())
        browser.changed(lambda: browser.value("at", 0.25))
        assert_at(0.75 * drawn(0) + 0.25 * drawn(1))
        browser.until("location.hash.includes('from=between')")
        # A link has all levels, and so has a picture.
        browser.changed(lambda: browser.run("location.href = arguments[0]", link))
        np.testing.assert_array_equal(browser.z(5), shown)
        x = np.round(255 * (0.5 + drawn(3)[:3] @ handmade.LEVEL_IMAGE)).reshape(2, 3, 1) / 255
        file = tmp_path / "x.png"
        file.write_bytes(base64.b64decode(picture(x)))
        browser.changed(lambda: browser.find("#file").send_keys(str(file)))
        means = export.encode(x[None, ..., 0])
        z = np.concatenate([means["mean_0"][0], means["mean_1"][0]]).astype(float)
        np.testing.assert_allclose(browser.z(5), z, atol=2e-5)
        browser.changed(lambda: browser.value("z4", -1.0))
        assert_at(follow(z, [0, 0, 0, 0, -1.0 - z[4]]))
        assert browser.problems() == []


def test_without_seeds_the_reason_is_there(browser: Browser, tmp_path: Path) -> None:
    """And latents that are the image itself: an encoded picture comes back unchanged."""
    folder = handmade.encoder(tmp_path / "identity" / "1", (4, 6))
    with served(tfvae.export.load(folder)) as url:
        browser.open(url)
        assert "no endpoint “generate”" in browser.find("#draw .absent").text
        assert not browser.find("#random").is_displayed()
        assert not browser.find("#between").is_displayed()
        x = np.linspace(0, 1, 24).reshape(4, 6, 1)
        x = np.round(255 * x) / 255
        file = tmp_path / "x.png"
        file.write_bytes(base64.b64decode(picture(x)))
        browser.changed(lambda: browser.find("#file").send_keys(str(file)))
        np.testing.assert_array_equal(browser.pixels(), levels(x))
        assert browser.problems() == []


def test_without_decode_there_are_seeds_alone(
    browser: Browser, painter: LoadedExport, tmp_path: Path
) -> None:
    folder = tmp_path / "seeds" / "1"
    shutil.copytree(painter.path, folder)
    document = json.loads((folder / "manifest.json").read_text())
    document["endpoints"] = [row for row in document["endpoints"] if row["name"] == "generate"]
    (folder / "manifest.json").write_text(json.dumps(document))
    with served(tfvae.export.load(folder)) as url:
        browser.open(f"{url}#seed=2&c=1")
        assert "no endpoint “decode”" in browser.find("#latents .absent").text
        for name in ("traverse", "plane", "between", "drop"):
            assert not browser.find(f"#{name}").is_displayed()
        assert_shows(browser, painter.generate([2], condition=1)["mean"][0])
        assert browser.problems() == []


def test_one_latent_has_no_plane(browser: Browser, tmp_path: Path) -> None:
    with served(tfvae.export.load(handmade.encoder(tmp_path / "one" / "1", (1, 1)))) as url:
        browser.open(url)
        assert not browser.find("#plane").is_displayed()
        browser.changed(lambda: browser.value("z0", 0.4))
        assert browser.pixels().ravel().tolist() == [102] * 3
        browser.until("location.hash.includes('from=edited')")
        assert browser.problems() == []


def test_fingers_move_the_plane(browser: Browser, digits: LoadedExport) -> None:
    with served(digits) as url:
        browser.open(url, phone=True)
        x, y = tfvae.explorer.build(digits.path).description["latents"]["order"][:2]
        left, top, width, height = browser.run(
            "const p = document.getElementById('pad'); p.scrollIntoView({block: 'end'});"
            "const b = p.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]"
        )

        def touch(kind: str, *at: float) -> None:
            points = [{"x": left + at[0] * width, "y": top + at[1] * height}] if at else []
            browser.ask("Input.dispatchTouchEvent", type=kind, touchPoints=points)

        browser.changed(lambda: touch("touchStart", 0.25, 0.5))
        browser.changed(lambda: touch("touchMove", 0.75, 0.25))
        touch("touchEnd")
        z = browser.z(6)
        np.testing.assert_allclose(z[[x, y]], [1.5, 1.5], atol=12 / width)
        assert_shows(browser, digits.decode(z[None])["mean"][0])
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

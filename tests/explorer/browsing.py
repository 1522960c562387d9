"""Chromium without a screen, and what tests ask of a page in it."""

from __future__ import annotations

import base64
import contextlib
import io
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import tfvae
from tfvae.export import LoadedExport

# Outputs of the two runtimes differ by no more than 1e-5 (test_golden.py): by 0.003 of a level, so
# that rounding to whole levels can move a pixel by one and no more.
LEVEL = 1
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip


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


@contextlib.contextmanager
def served(export: LoadedExport) -> Iterator[str]:
    page = tfvae.explorer.build(export.path)
    with tfvae.explorer.serve(page, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


def levels(values: Any) -> Any:
    """Return images as the library's pictures round them, RGB."""
    image = np.asarray(values, np.float32)
    image = (255 * np.clip(image, 0, 1) + 0.5).astype(np.uint8).astype(int)
    return np.broadcast_to(image, (*image.shape[:-1], 3))


def assert_shows(page: Browser, values: Any, selector: str = "#picture") -> None:
    shown, expected = page.pixels(selector), levels(values)
    assert shown.shape == expected.shape
    assert np.max(np.abs(shown - expected)) <= LEVEL


def picture(values: Any, scale: int = 1, border: int = 0) -> str:
    """Return the data of a PNG of an image, each pixel a block, bordered left and right."""
    grey = (
        (255 * np.asarray(values)[..., 0] + 0.5).astype(np.uint8).repeat(scale, 0).repeat(scale, 1)
    )
    grey = np.pad(grey, ((0, 0), (border, border)), constant_values=128)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "png")
    return base64.b64encode(file.getvalue()).decode("ascii")

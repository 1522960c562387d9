"""Pictures that a page takes in, and those that it gives."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import numpy as np
import pytest
from browsing import LEVEL, Browser, assert_shows, levels, picture
from PIL import Image

import tfvae
from tfvae.export import LoadedExport

pytestmark = pytest.mark.slow


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

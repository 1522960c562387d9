"""Pages of other models than the plain one: classes, levels, and endpoints that are missing."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import handmade
import numpy as np
import pytest
from browsing import Browser, assert_shows, levels, picture, served

import tfvae
from tfvae.export import LoadedExport

pytestmark = pytest.mark.slow


def test_classes_levels_and_many_latents(browser: Browser, painted: LoadedExport) -> None:
    with served(painted) as url:
        browser.open(url)
        assert_shows(browser, painted.generate([0], condition=0)["mean"][0])
        browser.changed(lambda: browser.value("seed", 3, "change"))
        browser.changed(lambda: browser.value("class", 2, "change"))
        assert_shows(browser, painted.generate([3], condition="blue")["mean"][0])
        browser.changed(lambda: browser.value("t1", 2))
        browser.changed(lambda: browser.value("t0", 0.5))
        drawn = painted.generate([3], (0.5, 2.0), "blue")
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
        assert_shows(browser, painted.decode(z, "blue")["mean"][0])
        # Another class of the same latents.
        browser.changed(lambda: browser.value("class", 1, "change"))
        assert_shows(browser, painted.decode(z, "green")["mean"][0])
        assert "no endpoint “encode”" in browser.find("#take .absent").text
        assert "cannot be moved" in browser.find("#latents .absent[data-absent=move]").text
        assert not browser.find("#drop").is_displayed()
        browser.until("location.hash.includes('c=1')")
        browser.open(browser.driver.current_url)
        assert_shows(browser, painted.decode(z, "green")["mean"][0])
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
    browser: Browser, painted: LoadedExport, tmp_path: Path
) -> None:
    folder = tmp_path / "seeds" / "1"
    shutil.copytree(painted.path, folder)
    document = json.loads((folder / "manifest.json").read_text())
    document["endpoints"] = [row for row in document["endpoints"] if row["name"] == "generate"]
    (folder / "manifest.json").write_text(json.dumps(document))
    with served(tfvae.export.load(folder)) as url:
        browser.open(f"{url}#seed=2&c=1")
        assert "no endpoint “decode”" in browser.find("#latents .absent").text
        for name in ("traverse", "plane", "between", "drop"):
            assert not browser.find(f"#{name}").is_displayed()
        assert_shows(browser, painted.generate([2], condition=1)["mean"][0])
        assert browser.problems() == []


def test_one_latent_has_no_plane(browser: Browser, tmp_path: Path) -> None:
    with served(tfvae.export.load(handmade.encoder(tmp_path / "one" / "1", (1, 1)))) as url:
        browser.open(url)
        assert not browser.find("#plane").is_displayed()
        browser.changed(lambda: browser.value("z0", 0.4))
        assert browser.pixels().ravel().tolist() == [102] * 3
        browser.until("location.hash.includes('from=edited')")
        assert browser.problems() == []

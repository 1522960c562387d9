"""What moves the latents of a page: the picture is what Python computes."""

from __future__ import annotations

import numpy as np
import pytest
from browsing import LEVEL, Browser, assert_shows, levels, served

import tfvae
from tfvae.export import LoadedExport

pytestmark = pytest.mark.slow


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


def test_decoding_is_fast(page: Browser) -> None:
    """20 ms are asked for, of the median: it takes less than one on a laptop."""
    times = []
    for i in range(15):
        page.changed(lambda i=i: page.value("z0", i / 10))
        times.append(float(page.text("time").split()[-2]))
    assert np.median(times) < 20, times


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

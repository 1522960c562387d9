"""The page's own arithmetic, run in Node."""

from __future__ import annotations

import importlib.resources
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

ASSETS = importlib.resources.files("tfvae.explorer") / "assets"


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node, for the page's scripts")
def test_what_scripts_compute(tmp_path: Path) -> None:
    """The page's own arithmetic, in Node, against NumPy."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 5))
    picture = rng.integers(0, 256, (6, 12, 4), np.uint8)
    grey = rng.random((4, 6)).astype(np.float32) * 1.4 - 0.2
    given = {
        "a": a.tolist(),
        "b": b.tolist(),
        "picture": picture.ravel().tolist(),
        "grey": grey.ravel().tolist(),
    }
    (tmp_path / "given.json").write_text(json.dumps(given))
    script = tmp_path / "run.mjs"
    for name in ("maths.js", "link.js"):
        text = (ASSETS / name).read_text(encoding="utf-8").replace('"./maths.js"', '"./maths.mjs"')
        (tmp_path / name.replace(".js", ".mjs")).write_text(text, encoding="utf-8")
    script.write_text(
        """
        import { readFileSync } from "node:fs";
        import * as maths from "./maths.mjs";
        import * as link from "./link.mjs";
        const { a, b, picture, grey } = JSON.parse(readFileSync("given.json"));
        const image = { height: 4, width: 6, channels: 1, low: 0, high: 1 };
        const small = { height: 2, width: 3, channels: 1, low: -1, high: 1 };
        const part = maths.middle(12, 6, 3, 2);
        const seeds = ["0", " -1 ", "+7", "9223372036854775807", "-9223372036854775808",
          "9223372036854775808", "-9223372036854775809", "1.5", "", "0x10", "1e3",
          "\u22125", "\u00a0\u20137 ", "--5", "+\u22125", "5-"];
        const state = { seed: -5n, temperatures: [0.5, 1], shown: "sample", condition: 2,
          axes: [3, 0], source: "edited", z: Float32Array.from(a) };
        const groups = [{ start: 0, size: 2 }, { start: 2, size: 3 }];
        const whole = [{ start: 0, size: 5 }];
        const condition = { kind: "class", first: 0, names: "abc" };
        const told = { size: 5, groups: whole, levels: 2, condition };
        const back = link.read(link.write(state), told);
        console.log(JSON.stringify({
          slerp: [0, 0.25, 1].map((t) => [...maths.slerp(a, b, t)]),
          same: [...maths.slerp(a, a, 0.5)],
          zero: [...maths.slerp([0, 0], [1, 1], 0.5)],
          lerp: [...maths.lerp(a, b, 0.25)],
          sphere: [...maths.onSphere(Float32Array.of(3, 4, 0, 2, 0, 0), 2)],
          pixels: [...maths.toPixels(grey, image)],
          wide: part,
          resampled: [...maths.resample(picture, 12, { x: 0, y: 0, width: 12, height: 6 }, 3, 2)],
          odd: [...maths.resample(picture, 12, part, 3, 2)],
          values: [...maths.fromPixels([0, 0, 0, 255, 255, 255, 51, 51, 51, 255, 0, 0, 0, 255, 0,
            0, 0, 255], small)],
          inverted: [...maths.fromPixels(Array(18).fill(0), small, true)],
          seeds: seeds.map((text) => String(maths.parseSeed(text))),
          next: [String(maths.nextSeed(2n ** 63n - 1n, 1)), String(maths.nextSeed(0n, -1))],
          link: { ...back, seed: String(back.seed), z: [...back.z] },
          apart: Object.keys(link.read("#axes=1,2", { ...told, groups })),
          nonsense: Object.keys(link.read("#seed=x&t=9,9&show=all&c=7&axes=1,99&z=AAAA", told)),
        }));
        """
    )
    result = subprocess.run(
        ["node", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    found = json.loads(result.stdout)
    angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    for t, z in zip((0, 0.25, 1), found["slerp"], strict=True):
        expected = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
        np.testing.assert_allclose(z, expected, atol=1e-6)
    np.testing.assert_allclose(found["same"], a, rtol=1e-6)
    assert found["zero"] == [0.5, 0.5]  # no angle to the origin: the line
    np.testing.assert_allclose(found["lerp"], 0.75 * a + 0.25 * b, rtol=1e-6)
    np.testing.assert_allclose(found["sphere"], [0.6, 0.8, 0, 1, 0, 0], rtol=1e-6)
    # As `plots.save_grid` rounds them.
    grey_bytes = (255 * np.clip(grey, 0, 1) + 0.5).astype(np.uint8)
    pixels = np.array(found["pixels"]).reshape(4, 6, 4)
    np.testing.assert_array_equal(pixels[..., :3], np.repeat(grey_bytes[..., None], 3, axis=-1))
    assert (pixels[..., 3] == 255).all()
    assert found["wide"] == {"x": 1.5, "y": 0, "width": 9, "height": 6}
    means = picture[..., :3].reshape(2, 3, 3, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(np.reshape(found["resampled"], (2, 3, 3)), means, atol=1e-9)
    # Cells three pixels wide from 1.5 on: half of the first and the last pixel.
    shares = np.array([0.5, 1, 1, 0.5])
    down = picture[..., :3].reshape(2, 3, 12, 3).mean(axis=1)
    cells = [down[:, start : start + 4] for start in (1, 4, 7)]
    exact = np.stack([np.average(cell, axis=1, weights=shares) for cell in cells], axis=1)
    np.testing.assert_allclose(np.reshape(found["odd"], (2, 3, 3)), exact, atol=1e-9)
    np.testing.assert_allclose(
        found["values"], 2 * np.array([0, 1, 0.2, 0.299, 0.587, 0.114]) - 1, atol=1e-6
    )
    assert found["inverted"] == [1.0] * 6
    assert found["seeds"] == [
        "0", "-1", "7", str(2**63 - 1), str(-(2**63)), *["null"] * 6, "-5", "-7", *["null"] * 3
    ]  # fmt: skip
    assert found["next"] == [str(-(2**63)), "-1"]
    assert found["link"] == {
        "seed": "-5", "temperatures": [0.5, 1], "shown": "sample", "condition": 2,
        "axes": [3, 0], "source": "edited", "z": [float(np.float32(each)) for each in a],
    }  # fmt: skip
    assert found["apart"] == []  # axes of two levels
    assert found["nonsense"] == []

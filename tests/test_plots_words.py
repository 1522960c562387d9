"""Names and notes are drawn as they are written, whatever they hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfvae import plots

PRICE = "it costs $5 and then $6"
ODD = ("C#", "a_", "%", "^", "$", "\\", "{")
X = np.linspace(0, 1, 2 * 2 * 8 * 8, dtype="float32").reshape(2, 2, 8, 8)


def texts(figure: Any) -> list[Any]:
    """Return every text of a figure that holds a dollar."""
    from matplotlib.text import Text

    return [text for text in figure.findobj(Text) if "$" in text.get_text()]


@pytest.mark.parametrize("name", ODD)
def test_any_name_of_a_class_is_drawn(name: str) -> None:
    figure = plots.scatter(np.eye(2), np.array([0, 1]), names={0: name, 1: "b"})
    figure.draw_without_rendering()  # a mark or a text that is no formula fails here
    assert [text.get_text() for text in figure.axes[0].texts] == [name, "b"]
    plots.rows(X, [name, "b"]).draw_without_rendering()


def test_short_names_are_marks() -> None:
    figure = plots.scatter(np.eye(3)[:, :2], np.array([-1, 7, 12]))
    figure.draw_without_rendering()
    assert not figure.axes[0].texts
    assert [group.get_label() for group in figure.axes[0].collections] == ["-1", "7", "12"]


@pytest.mark.parametrize(
    ("draw", "count"),
    [
        (lambda: plots.sentences([(PRICE, "b")], headings=(PRICE, "b"), note=PRICE), 3),
        (lambda: plots.rows(X, [PRICE, "b"], headings=["b", PRICE], title=PRICE, note=PRICE), 4),
        (lambda: plots.grid(X[0], title=PRICE), 1),
        (lambda: plots.reconstructions(X[0], X[0], title=PRICE), 1),
        (lambda: plots.manifold(X, [0, 1], [0, 1], names=(PRICE, PRICE), note=PRICE), 3),
        (
            lambda: plots.scatter(
                np.eye(2), [0, 1], names={0: PRICE, 1: "b"}, axes=(PRICE, PRICE), title=PRICE,
                note=PRICE,
            ),
            5,
        ),
        (lambda: plots.kl([[1.0]], names=[PRICE], measure=PRICE, note=PRICE), 3),
        (lambda: plots.codebook([1, 2], note=PRICE), 1),
        (lambda: plots.series(np.zeros((1, 3)), note=PRICE), 1),
        (
            lambda: plots.forecast(
                np.zeros((1, 3, 2)), np.zeros((4, 1, 2, 2)), names=(PRICE, "b"), note=PRICE
            ),
            2,
        ),
    ],
)  # fmt: skip
def test_dollars_are_no_formula(draw: Any, count: int) -> None:
    found = texts(draw())
    assert len(found) == count
    assert not any(text.get_parse_math() for text in found)


def test_twenty_classes_are_told_apart() -> None:
    names = {label: f"class {label}" for label in range(20)}
    figure = plots.scatter(np.zeros((20, 2)), np.arange(20), names=names)
    seen = {
        (tuple(group.get_facecolor()[0]), str(group.get_paths()[0].vertices.tolist()))
        for group in figure.axes[0].collections
    }
    assert len(seen) == 20


def test_levels_stand_in_the_order_of_their_numbers() -> None:
    history = {f"kl_{level}": [1.0] for level in (10, 2, 0, 1)}
    lines = plots.training({"kl": [4.0], **history}).axes[0].lines[1:]
    assert [str(line.get_label()).split(",")[0] for line in lines] == ["z_0", "z_1", "z_2", "z_10"]

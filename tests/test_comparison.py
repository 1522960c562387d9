"""Comparisons: what is best, what cannot be compared, and the page that says so."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pytest
from pages import Page
from untold import UNTOLD, judged

from tfvae import markup, reporting
from tfvae.evaluate import PerExample
from tfvae.reporting import comparison
from tfvae.reporting.blocks import Finding
from tfvae.reporting.request import Request
from tfvae.reporting.scoring import Scored


def test_what_is_best() -> None:
    def of(*each: comparison.Judged) -> comparison.Comparison:
        return comparison.Comparison(each, Request(), "d", "f" * 64, ())

    low = judged("a", {}, UNTOLD, each=[1.0, 2.0, 3.0])
    high = judged("b", {}, UNTOLD, each=[2.0, 3.5, 3.0])
    without = judged("c", {"log_likelihood": 90.0, "loss": -90.0}, UNTOLD)
    found = of(low, high, without)
    # An autoencoder's likelihood, however high, does not make it the best of models with a bound.
    assert (found.criterion, found.reference) == ("log_marginal", high)
    assert found.best("log_marginal") == 1
    assert found.best("bits_per_dim") == 1  # the smallest
    assert found.best("log_likelihood") is None
    assert found.best("kl") is None
    assert found.best("loss") is None
    (difference, *others) = found.differences()["log_marginal"]
    assert others == [None, None]
    # Of −1, −1.5 and 0 the mean is −5/6, the sample variance 7/12, the standard error √(7/36).
    assert difference is not None
    assert difference.mean == pytest.approx(-5 / 6)
    assert difference.error == pytest.approx((7 / 36) ** 0.5)
    assert of(without, judged("d", {"log_likelihood": 91.0}, UNTOLD)).best("log_likelihood") == 1
    assert of(low, low).best("log_marginal") is None  # a tie
    # Nor is it compared with the likelihood of one that has.
    assert of(low, without).criterion is None
    assert of(low, without).reference is low
    for each in (found, of(low, without), of(without, without)):
        page = reporting.comparison_page.page_of(each, "")
        Page(markup.render("page.html", page=page))


def test_a_run_that_diverged() -> None:
    one = judged("a", {}, UNTOLD, each=[1.0, 2.0, 3.0])
    other = judged("b", {}, UNTOLD, each=[1.0, 2.5, 3.0])
    lost = judged("c", {}, UNTOLD, each=[1.0, np.nan, -np.inf])
    for each in ((one, other, lost), (one, lost)):
        found = comparison.Comparison(each, Request(), "d", "f" * 64, ())
        page = reporting.comparison_page.page_of(found, "")
        (finding,) = [each for each in page.findings if each.text.startswith("c ")]
        text = "c has no finite log_marginal: it cannot be compared."
        assert finding == Finding("warning", text)
        document = found.to_dict()
        assert json.loads(json.dumps(document, allow_nan=False)) == document
        assert document["runs"][-1]["metrics"]["log_marginal"] is None


def test_one_example_has_no_standard_error() -> None:
    each = [PerExample(np.array([v]), np.array([v]), np.zeros((1, 1)), 1.0, 2) for v in (1.0, 2.0)]
    assert np.isnan(each[0].means().log_marginal_error)
    runs = [
        dataclasses.replace(judged(name, {}, UNTOLD), scored=Scored(1, found))
        for name, found in zip("ab", each, strict=True)
    ]
    found = comparison.Comparison(tuple(runs), Request(), "d", "f" * 64, ())
    (finding,) = reporting.comparison_page.page_of(found, "").findings
    assert finding.tone == "note"
    assert finding.text.endswith("of one example there is no standard error.")


def test_curves_are_told_apart_in_grey_too() -> None:
    curves = {f"_run {place} $x_$": [-9.0, -8.0 - place] for place in range(13)}
    figure = reporting.comparison_page._lines(curves, "nats")
    (axes,) = figure.axes
    lines = axes.get_lines()
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}
    grey = {(line.get_linestyle(), line.get_marker()) for line in lines}
    assert len(looks) == len(grey) == 13
    figure.savefig(io.BytesIO())  # "$x_$" is a name, and no formula
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(curves)
    ticks = [tick for tick in axes.get_xticks() if 1 <= tick <= 2]
    assert ticks == [1, 2]


def test_what_stands_for_a_picture() -> None:
    figure = reporting.comparison_page._lines({"a": [-9.0], "b": [-8.0]}, "ELBO, nats")
    picture = reporting.blocks.Picture.of(figure, "The ELBO.")
    assert picture.words == "In the picture: epoch; ELBO, nats; a; b"
    shown = dataclasses.replace(
        judged("r", {}, UNTOLD, each=[1.0, 2.0, 3.0], history={"elbo": [-9.0, -8.0]}),
        pictures={"training": picture},
    )
    request = Request(kinds=("training", "training"))
    found = comparison.Comparison((shown, shown), request, "d", "f" * 64, ())
    page = reporting.comparison_page.page_of(found, "")
    read = Page(markup.render("page.html", page=page))  # which refuses two of one id
    assert {"Training", "Training of each run"} <= set(read.headings)
    assert "r: The ELBO." in read.captions
    assert (picture.words, picture.source) in read.images

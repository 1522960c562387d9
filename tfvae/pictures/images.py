"""What a model draws: samples, and reconstructions beside their originals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfvae import plots
from tfvae.drawing import positive
from tfvae.pictures import sequences
from tfvae.pictures.subject import Array, Subject, no_images

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def samples(
    subject: Subject,
    *,
    n: int | None = None,
    columns: int | None = None,
    temperature: Any = 1.0,
    drawn: bool = False,
    condition: Any = None,
) -> Figure:
    """Draws from the prior, decoded.

    Args:
        subject: of which they are drawn.
        n: how many; 64 images by default, or 10 of each class; 12 sequences; 20 sentences.
        columns: in a row.
        temperature: scale of the prior's noise.
        drawn: show draws from p(x|z), not its means.
        condition: of a conditional model, one for each; by default every class by the same seeds,
            or the conditions of the first examples.
    """
    vae, note = subject.vae, subject.prior_note or None
    if sequences.is_text(subject):
        found = vae.generate(20 if n is None else n, seed=subject.seed, temperature=temperature)
        return plots.sentences(found.text, note=note)  # type: ignore[attr-defined]
    if sequences.is_sequences(subject):
        found = vae.generate(12 if n is None else n, seed=subject.seed, temperature=temperature)
        shown = np.asarray(found.mean if _binary(subject) or not drawn else found.sample)
        said = "; ".join(each for each in (sequences.cut(subject), note) if each)
        return plots.series(sequences.shown_series(shown), columns=columns or 4, note=said or None)
    by_class = condition is None and vae.conditional and vae.classes is not None
    count = positive("n", n) if n is not None else (10 if by_class else 64)
    if by_class:
        return _by_class(subject, count, temperature, drawn)
    if condition is None and vae.conditional:
        condition = subject.examples.y[:count]  # type: ignore[index, union-attr]
        count = len(condition)
    found = vae.generate(count, seed=subject.seed, temperature=temperature, condition=condition)
    pixels = subject.images(found.sample if drawn else found.mean)
    return plots.grid(pixels, columns, note=subject.noted(subject.prior_note))


def _by_class(subject: Subject, count: int, temperature: Any, drawn: bool) -> Figure:
    """Draw a row for each class; the columns are of one seed, and so of one z."""
    vae, classes = subject.vae, subject.vae.classes
    assert classes is not None
    seeds = np.tile(np.arange(count) + subject.seed, classes)
    condition = np.repeat(np.arange(classes), count)
    found = vae.generate(seeds=seeds, temperature=temperature, condition=condition)
    pixels = subject.images(found.sample if drawn else found.mean)
    rows = pixels.reshape(classes, count, *pixels.shape[1:])
    names = [subject.named(label) for label in range(classes)]
    return plots.rows(rows, names, note=subject.noted(subject.prior_note))


def no_samples(subject: Subject) -> str | None:
    """Say why samples cannot be drawn."""
    if reason := no_pairs(subject):
        return reason
    vae = subject.vae
    known = subject.examples is not None and subject.examples.y is not None
    if vae.conditional and vae.classes is None and not known:
        return "the model is given a condition with each example; pass some, (x, y)"
    return None


def reconstructions(
    subject: Subject, *, n: int | None = None, columns: int | None = None
) -> Figure:
    """Examples, and what the model makes of each, directly below it.

    Args:
        subject: of whose examples the first are shown.
        n: how many; 36 by default, of sequences and sentences 12.
        columns: pairs in a row.
    """
    text, series = sequences.is_text(subject), sequences.is_sequences(subject)
    most = 12 if text or series else 36
    count = min(len(subject.x), most if n is None else positive("n", n))
    if text:
        pairs = (subject.x[:count], subject.reconstructed(slice(count)))
        rows = zip(*(sequences.written(subject, each) for each in pairs), strict=True)
        return plots.sentences(list(rows), headings=("original", "reconstruction"))
    if series:
        return _series(subject, count, columns or 4)
    x = subject.images(subject.x[:count])
    mean = subject.images(subject.reconstructed(slice(count)))
    return plots.reconstructions(x, mean, columns=columns, note=subject.noted())


def no_pairs(subject: Subject) -> str | None:
    """Say why data are nothing that can be drawn."""
    if sequences.is_text(subject) or sequences.is_sequences(subject):
        return None
    return no_images(subject)


def _series(subject: Subject, count: int, columns: int) -> Figure:
    """Draw sequences with the means that a model makes of them."""
    there: Array = sequences.observed(subject, count)
    x = np.where(there, subject.x[:count], np.nan)
    mean = np.asarray(subject.vae.reconstruct(subject.x[:count], observed=there))  # type: ignore[call-arg]
    steps = np.any(there.reshape(count, there.shape[1], -1), axis=2)
    last = there.shape[1] - np.argmax(np.flip(steps, axis=1), axis=1)
    values, means = (sequences.shown_series(each) for each in (x, mean))
    gaps = np.arange(there.shape[1]) < last[:, None]
    broken = not there[gaps].all()
    notes = (
        "pale and wide: reconstructions",
        "lines break where nothing was observed" if broken else "",
        sequences.cut(subject),
    )
    note = "; ".join(each for each in notes if each)
    return plots.series(values, means=means, lengths=last, columns=columns, note=note)


def _binary(subject: Subject) -> bool:
    support = subject.vae.likelihood.support
    return support.kind == "integers" and support.bounds == (0.0, 1.0)

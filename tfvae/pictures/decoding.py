"""Latents to images, under the conditions that a model asks for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tfvae.pictures.subject import Array, Subject


def condition_of(subject: Subject, condition: Any) -> tuple[Any, str]:
    """Return what a conditional model is given for all images, and a word on it."""
    vae = subject.vae
    if not vae.conditional:
        if condition is not None:
            raise ValueError("Expected no `condition`: this model takes none. Received: one.")
        return None, ""
    if condition is None and vae.classes is not None:
        condition = 0
    if condition is None:
        assert subject.examples is not None
        assert subject.examples.y is not None
        return subject.examples.y[0], "given the condition of the first example"
    given = np.asarray(condition)
    label = given.ndim == 0
    vae.check_labels(given)
    return given, f"of class {subject.named(given.item())}" if label else "given the condition"


def decoded(subject: Subject, z: Array, condition: Any) -> Array:
    """Return images of latents [..., d] under one condition, or one for each: [..., *image]."""
    count = math.prod(z.shape[:-1])
    given = None
    if condition is not None:
        given = np.asarray(condition)
        shape = subject.vae.condition_spec[0]
        if given.shape == tuple(shape):
            given = np.broadcast_to(given, (count, *given.shape))
    pixels = subject.images(subject.decoded(z, given))
    return pixels.reshape(*z.shape[:-1], *pixels.shape[1:])


def code_of(subject: Subject, place: int) -> tuple[Array, Any]:
    """Return the code of an example [d], and the condition it is decoded with, or None."""
    vae, count = subject.vae, 0 if subject.examples is None else len(subject.examples)
    if not isinstance(place, int | np.integer) or not 0 <= place < count:
        raise ValueError(f"Expected one of {count} examples, from 0 on. Received: {place!r}.")
    rows = slice(place, place + 1)
    x, y = vae.as_data(subject.x[rows]), subject.beside(rows)
    given = vae.given(x, y)
    code = np.asarray(vae.code(x, condition=given)).ravel()
    return code, None if given is None or not vae.conditional else np.asarray(given)[0]

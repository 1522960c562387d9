"""What is encoded: shapes, made for it, or examples that bring their factors as y."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfvae import features, intake
from tfvae.data import Binarize, Examples
from tfvae.disentanglement.checking import Array, FactorsError, as_columns, numbered, several
from tfvae.disentanglement.fits import HELD_OUT, generator
from tfvae.disentanglement.sampling import ROWS
from tfvae.layers.base import DistributionLayer
from tfvae.model import VAE
from tfvae.records import Records
from tfvae.shapes import Shapes

Tell = Callable[[str, int, int], object]
"""Called with what is being done, how many steps of it are done, and of how many."""


class Coded(NamedTuple):
    """Codes and the factors of what they are codes of."""

    codes: Array
    factors: Array


class Encoder:
    """Bytes of images, or values, to codes: the means of posteriors."""

    def __init__(self, vae: VAE, binarize: Binarize, seed: int) -> None:
        self._vae, self._binarize, self._seed = vae, binarize, seed
        self._calls = 0

    def __call__(self, images: Array) -> Array:
        """Return codes [N, D] of bytes."""
        values = images.astype(np.float32) / np.float32(255)
        # Each call's binarisation is drawn anew.
        seed = (self._seed + self._calls) % 2**63
        self._calls += 1
        return self.of_examples(Examples(values, binarize=self._binarize, seed=seed))

    def of_examples(self, examples: Examples) -> Array:
        """Return codes [N, D] of examples, whose y is not looked at."""
        return features.codes(self._vae, dataclasses.replace(examples, y=None))


class Varied:
    """Shapes without the factors that were given one value; others than a model is trained on."""

    def __init__(self, shapes: Shapes, seed: int) -> None:
        other = int(generator(seed, 7).integers(2**62))
        self._shapes = dataclasses.replace(shapes, seed=other)
        self._columns = [k for k, size in enumerate(shapes.sizes) if size > 1]
        self.names = tuple(shapes.names[k] for k in self._columns)
        self.sizes = tuple(shapes.sizes[k] for k in self._columns)
        if not self._columns:
            raise ValueError("Expected shapes with factors that vary. Received: one image.")

    def factors(self, n: int, test: bool) -> Array:
        """Draw those that vary, [n, K]."""
        return self._shapes.factors(n, test=test)[:, self._columns]

    def images(self, factors: Array) -> Array:
        """Draw the images of factors that vary, [N, K]."""
        rows = np.zeros((len(factors), len(self._shapes.sizes)), np.int64)
        rows[:, self._columns] = factors
        return self._shapes.images(rows)


def made(shapes: Varied, examples: int, encode: Encoder, tell: Tell) -> tuple[Coded, Coded]:
    """Make and encode shapes: some to fit to, half as many to test with."""
    counts = (examples, max(2, examples // 2))
    done, coded = 0, []
    for count, test in zip(counts, (False, True), strict=True):
        factors = shapes.factors(count, test)
        codes = []
        for start in range(0, count, ROWS):
            part = factors[start : start + ROWS]
            codes.append(encode(shapes.images(part)))
            done += len(part)
            tell("Encoding", done, sum(counts))
        coded.append(Coded(np.concatenate(codes), factors))
    return coded[0], coded[1]


def divided(
    likelihood: DistributionLayer, data: Any, test: Any, limit: int, seed: int
) -> tuple[Examples, Examples]:
    """Return examples to fit to, at most so many, and half as many or a third to test with."""
    half = max(2, limit // 2)
    if test is not None:
        return (
            _factored(likelihood, data, "data", limit, seed),
            _factored(likelihood, test, "test", half, seed),
        )
    whole = _factored(likelihood, data, "data", limit + half, seed)
    cut = min(limit, len(whole) - len(whole) // HELD_OUT)
    if not 0 < cut < len(whole):
        raise FactorsError(
            f"Expected `data` to be divided in two. Received: {len(whole)} examples."
        )
    return whole[:cut], whole[cut:]


def _factored(
    likelihood: DistributionLayer, given: Any, argument: str, limit: int, seed: int
) -> Examples:
    """Return at most so many examples, with factors as y, in an order of the seed's."""
    x, y = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    if isinstance(x, Records):
        x = x.examples(limit)  # they lie in no order
    examples = intake.examples(likelihood, x, y, argument=argument)
    if examples.y is None:
        raise FactorsError(
            f"Expected factors in `{argument}`, of each example. Received: x alone. Pass "
            "(x, factors), save them with the data, as y_train and y_test of an .npz file, or "
            "use tfvae.shapes.Shapes()."
        )
    if len(examples) > limit or not isinstance(x, Records):
        order = generator(seed, 6).permutation(len(examples))[:limit]
        examples = examples[np.asarray(order)]
    return examples


def check_factors(factors: Any, names: Sequence[str], alone: bool) -> None:
    """Refuse factors that cannot be told apart, before anything is encoded.

    Raises:
        FactorsError: for factors that are continuous or constant, and one of them where it is not
            to be `alone`.
        ValueError: for names of others.
    """
    count = as_columns(factors).shape[1]
    if names and len(names) != count:
        raise ValueError(
            f"Expected `names` of {count} factors. Received: {len(names)}, {', '.join(names)}."
        )
    values = numbered(factors, names)
    if not alone:
        several(values, "one of the metrics")

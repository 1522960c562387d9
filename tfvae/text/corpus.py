"""Sentences of files and of the grammar, as tokens."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from tfvae.text.grammar import ENGLISH
from tfvae.text.tokeniser import SPECIAL, UNK, Tokeniser, split

LONGEST = 60
"""Words of a sentence in a file, at most: every row of tokens is as long as the longest."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Sentences as tokens, in two parts.

    Attributes:
        train: int32 [N, T].
        test: int32 [M, T].
        tokeniser: whose words they are.
    """

    train: npt.NDArray[np.int32]
    test: npt.NDArray[np.int32]
    tokeniser: Tokeniser


def generated(train: int = 9000, test: int = 1000, seed: int = 2016) -> Corpus:
    """Return draws from the grammar of ``tfvae.text.ENGLISH``.

    Example:
        >>> generated(90, 10).train.shape
        (90, 8)
    """
    words, count = tokeniser(), train + test
    tokens = words.encode(ENGLISH.generate(count, seed), ENGLISH.longest + 1)
    return Corpus(tokens[:train], tokens[train:], words)


def tokeniser() -> Tokeniser:
    """Return the words of ``tfvae.text.ENGLISH``.

    Example:
        >>> len(tokeniser())
        38
    """
    return Tokeniser((*SPECIAL, *ENGLISH.words))


def read(
    path: str | os.PathLike[str],
    *,
    held_out: float = 0.1,
    size: int = 10_000,
    minimum: int = 2,
    longest: int = LONGEST,
    on_long: Literal["raise", "skip"] = "raise",
    lower: bool = True,
    seed: int = 20131220,
) -> Corpus:
    """Read a text file, one sentence a line; empty lines are left out.

    The vocabulary is that of the training part.

    Args:
        path: the file, in UTF-8.
        held_out: the part of the sentences that is the test set.
        size: words of the vocabulary, at most.
        minimum: how often a word must occur to be one of them; others become ``<unk>``.
        longest: words of a sentence, at most.
        on_long: whether longer ones ``"raise"`` or are left out with a warning that counts them.
        lower: whether text is lower-cased.
        seed: of the choice of the test set.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not UTF-8, has fewer than two sentences or no words that recur, or a
            sentence is too long.

    Warns:
        UserWarning: if sentences were left out, or more than a third of the words are ``<unk>``.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"Expected a text file. Received: {path}, which is none.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected {path} to be text in UTF-8. Received: {error.reason} at byte {error.start}."
        ) from error
    sentences = _fitting(path, lines, longest, on_long, lower)
    if len(sentences) < 2:
        raise ValueError(
            f"Expected at least 2 sentences in {path}, one a line. Received: {len(sentences)}."
        )
    count = min(len(sentences) - 1, max(1, round(held_out * len(sentences))))
    order = np.random.Philox(key=np.array([seed, 1], np.uint64)).random_raw(len(sentences))
    chosen = set(np.argsort(order, kind="stable")[-count:].tolist())
    train = [text for number, text in enumerate(sentences) if number not in chosen]
    test = [sentences[number] for number in sorted(chosen)]
    words = Tokeniser.fit(train, size=size, minimum=minimum, lower=lower)
    length = 1 + max(len(split(text, lower=lower)) for text in sentences)
    corpus = Corpus(
        words.encode(train, length, unknown="unk"),
        words.encode(test, length, unknown="unk"),
        words,
    )
    unknown = np.count_nonzero(corpus.train == UNK) / np.count_nonzero(corpus.train > UNK - 1)
    if unknown > 1 / 3:
        warnings.warn(
            f"{unknown:.0%} of the words of {path} become <unk>, for they occur less than "
            f"{minimum} times: there is too little text to learn from.",
            stacklevel=2,
        )
    return corpus


def _fitting(
    path: Path, lines: Sequence[str], longest: int, on_long: str, lower: bool
) -> list[str]:
    """Return the lines that have words, but not too many."""
    kept, left_out = [], 0
    for number, line in enumerate(lines, 1):
        words = len(split(line, lower=lower))
        if words > longest and on_long == "raise":
            raise ValueError(
                f"Expected sentences of at most {longest} words. Received: {words} in line "
                f"{number} of {path}. Split it, allow more (longest={words}), or leave such lines "
                'out (on_long="skip", --skip-corrupt).'
            )
        left_out += words > longest
        if 0 < words <= longest:
            kept.append(line)
    if left_out:
        warnings.warn(
            f"Left out {left_out} of {len(lines)} lines of {path}, of more than {longest} words.",
            stacklevel=3,
        )
    return kept

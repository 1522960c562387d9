"""Words to tokens and back."""

from __future__ import annotations

import collections
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
PAD, BOS, EOS, UNK = range(4)
"""The first tokens of every vocabulary: filling, beginning, end, and any word it does not have."""

_WORD = re.compile(r"<unk>|\w+(?:['’-]\w+)*|[^\w\s]")
_SPACE_BEFORE = re.compile(r" ([.,;:!?%)\]}…])")


@dataclass(frozen=True)
class Tokeniser:
    """Words as tokens: rows of numbers that end in ``<eos>`` and are filled up by ``<pad>``.

    A word is letters and digits, hyphens and apostrophes among them; a punctuation mark is a word
    of its own.

    Args:
        vocabulary: the words by their tokens, the four special ones first.
        lower: whether text is lower-cased.

    Raises:
        ValueError: for a vocabulary that does not begin with the special tokens, has no word
            beside them, or has one twice.

    Example:
        >>> tokeniser = Tokeniser.fit(["The cat sleeps.", "A dog sleeps."])
        >>> tokens = tokeniser.encode(["A cat sleeps."], length=6)
        >>> tokens.shape, tokeniser.decode(tokens)
        ((1, 6), ['a cat sleeps.'])
    """

    vocabulary: tuple[str, ...]
    lower: bool = True
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        words = tuple(map(str, self.vocabulary))
        object.__setattr__(self, "vocabulary", words)
        object.__setattr__(self, "_index", {word: token for token, word in enumerate(words)})
        if words[:4] != SPECIAL or len(words) < 5:
            raise ValueError(
                f"Expected `vocabulary` to be {', '.join(SPECIAL)} and at least one word. "
                f"Received: {', '.join(words[:5]) or 'nothing'}. Make one of text: "
                "Tokeniser.fit(sentences)."
            )
        if len(self._index) < len(words):
            twice = collections.Counter(words).most_common(1)[0][0]
            raise ValueError(
                f"Expected `vocabulary` to have each word once. Received: {twice!r} twice."
            )

    @classmethod
    def fit(
        cls, sentences: Iterable[str], *, size: int = 10_000, minimum: int = 1, lower: bool = True
    ) -> Tokeniser:
        """Make a vocabulary of the words of sentences, the most frequent first.

        Args:
            sentences: the text.
            size: how many words at most, beside the special tokens.
            minimum: how often a word must occur; what is rarer becomes ``<unk>``.
            lower: whether text is lower-cased.

        Raises:
            ValueError: if there is no such word, or a number is below 1.
        """
        for name, value in (("size", size), ("minimum", minimum)):
            _check_count(name, value, 1)
        counts = collections.Counter(
            word for text in sentences for word in split(text, lower=lower)
        )
        del counts[SPECIAL[UNK]]
        ordered = sorted(counts, key=lambda word: (-counts[word], word))
        kept = [word for word in ordered if counts[word] >= minimum][:size]
        if not kept:
            raise ValueError(
                f"Expected sentences with words that occur at least {minimum} times. Received: "
                f"{len(counts)} words that do not. Pass more text, or a smaller `minimum`."
            )
        return cls((*SPECIAL, *kept), lower)

    @classmethod
    def of(cls, given: Tokeniser | Mapping[str, Any] | Sequence[str]) -> Tokeniser:
        """Return a tokeniser from itself, from :meth:`get_config`, or from a vocabulary."""
        if isinstance(given, Tokeniser):
            return given
        if isinstance(given, Mapping):
            return cls(tuple(given["vocabulary"]), bool(given["lower"]))
        return cls(tuple(given))

    def get_config(self) -> dict[str, Any]:
        """Return what :meth:`of` makes the same tokeniser of; it can be written as JSON."""
        return {"vocabulary": list(self.vocabulary), "lower": self.lower}

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(
        self,
        sentences: Sequence[str],
        length: int | None = None,
        *,
        unknown: Literal["error", "unk"] = "error",
    ) -> npt.NDArray[np.int32]:
        """Return sentences as tokens [N, length].

        Args:
            sentences: one or more, each with at least one word.
            length: of a row, ``<eos>`` included; that of the longest sentence by default.
            unknown: whether a word that is not in the vocabulary is an ``"error"`` or becomes
                ``"unk"``.

        Raises:
            TypeError: for anything but a list of text.
            ValueError: for no sentence, one without words or with more than length - 1, words that
                are not known, or length < 2.
        """
        if isinstance(sentences, str) or not all(isinstance(each, str) for each in sentences):
            raise TypeError(
                f"Expected `sentences` to be a list of text. Received: {type(sentences).__name__}. "
                "Of one sentence make a list: [sentence]."
            )
        if unknown not in ("error", "unk"):
            raise ValueError(f'Expected `unknown` to be "error" or "unk". Received: {unknown!r}.')
        rows = [split(each, lower=self.lower) for each in sentences]
        if not rows:
            raise ValueError("Expected `sentences` to hold at least one. Received: none.")
        for number, words in enumerate(rows):
            if not words:
                raise ValueError(
                    "Expected sentences with at least one word. Received: none in sentence "
                    f"{number}, {sentences[number]!r}. Leave it out."
                )
        longest = max(range(len(rows)), key=lambda number: len(rows[number]))
        length = len(rows[longest]) + 1 if length is None else length
        _check_count("length", length, 2)
        if len(rows[longest]) >= length:
            raise ValueError(
                f"Expected sentences of at most {length - 1} words. Received: "
                f"{len(rows[longest])} in sentence {longest}, {_shown(sentences[longest])}. Split "
                "or shorten it."
            )
        tokens = np.full((len(rows), length), PAD, np.int32)
        for row, words in zip(tokens, rows, strict=True):
            row[: len(words)] = [self._token(word, unknown) for word in words]
            row[len(words)] = EOS
        return tokens

    def decode(self, tokens: npt.ArrayLike) -> list[str]:
        """Return tokens [..., T] as sentences: each up to its ``<eos>``.

        Raises:
            ValueError: for numbers that are no tokens of the vocabulary.
        """
        array = np.asarray(tokens)
        rows = array.reshape(-1, array.shape[-1] if array.ndim else 1)
        whole = np.rint(rows) == rows
        wrong = rows[~(whole & (rows >= 0) & (rows < len(self)))]
        if wrong.size:
            raise ValueError(
                f"Expected `tokens` from 0 to {len(self) - 1}. Received: {wrong.size} others, such "
                f"as {wrong.flat[0]:g}."
            )
        return [self._text(row) for row in rows.astype(int).tolist()]

    def _text(self, row: list[int]) -> str:
        ended = row.index(EOS) if EOS in row else len(row)
        words = [self.vocabulary[token] for token in row[:ended] if token not in (PAD, BOS)]
        return _SPACE_BEFORE.sub(r"\1", " ".join(words))

    def _token(self, word: str, unknown: str) -> int:
        token = self._index.get(word)
        if token is not None:
            return token
        if unknown == "unk":
            return UNK
        near = difflib.get_close_matches(word, self.vocabulary[4:], n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"Expected words of the vocabulary. Received: {word!r}, which is not among its "
            f'{len(self) - 4}. {hint}Or have unknown words be <unk>: unknown="unk".'
        )


def split(text: str, *, lower: bool = True) -> list[str]:
    """Split text into words.

    Example:
        >>> split("Don't stop, Ada.")
        ["don't", 'stop', ',', 'ada', '.']
    """
    return _WORD.findall(text.lower() if lower else text)


def lengths(tokens: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return how many tokens each row [..., T] has, ``<eos>`` included.

    Example:
        >>> lengths([[7, 5, EOS, PAD], [7, 5, 7, 5]]).tolist()
        [3, 4]
    """
    array = np.asarray(tokens)
    ends = array == EOS
    found = np.where(ends.any(-1), ends.argmax(-1) + 1, array.shape[-1])
    return np.asarray(found, np.int64)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _check_count(argument: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(
            f"Expected `{argument}` to be a whole number of at least {least}. "
            f"Received: {argument}={value!r}."
        )

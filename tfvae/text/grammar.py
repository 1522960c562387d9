"""A probabilistic grammar: sentences whose probability and entropy are known exactly."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

Expansion = tuple[float, tuple[str, ...]]
"""A probability, and what a symbol becomes with it."""

_ALTERNATIVE = re.compile(r"^(.+?)\s*\[([0-9.eE+-]+)\]$")


@dataclass(frozen=True)
class Grammar:
    r"""A probabilistic context-free grammar without recursion, so that its language is finite.

    Every sentence has an exact probability, the sum over its derivations of the product of their
    rules' probabilities. The entropy of derivations follows from the rules,

    .. math:: H(A) = \sum_r p_r \Bigl(-\log p_r + \sum_{B \in r} H(B)\Bigr)

    and is that of the sentences where none has two derivations.

    Args:
        rules: each symbol's expansions. What has no rule is a word.
        start: the symbol that sentences are made of.

    Raises:
        ValueError: for a symbol that recurs in its own expansion, has none, or whose
            probabilities are not positive and do not sum to 1; or if `start` has no rule.

    Example:
        >>> coin = Grammar.parse("S -> the coin SHOWS\n SHOWS -> heads [0.5] | tails [0.5]")
        >>> coin.generate(2, seed=0), round(coin.entropy / math.log(2), 12)
        (['the coin heads', 'the coin tails'], 1.0)

    References:
        Booth and Thompson (1973), Applying probability measures to abstract languages.
    """

    rules: Mapping[str, tuple[Expansion, ...]]
    start: str = "S"

    def __post_init__(self) -> None:
        if self.start not in self.rules:
            raise ValueError(f"Expected a rule for the start {self.start!r}. Received: none.")
        for symbol, expansions in self.rules.items():
            total = math.fsum(probability for probability, _ in expansions)
            if not expansions or min(p for p, _ in expansions) <= 0 or abs(total - 1) > 1e-9:
                raise ValueError(
                    f"Expected the probabilities of {symbol!r} to be positive and to sum to 1. "
                    f"Received: a sum of {total:g}."
                )
            if not all(words for _, words in expansions):
                raise ValueError(f"Expected {symbol!r} to become something. Received: nothing.")
        self._refuse_recursion(self.start, ())

    @classmethod
    def parse(cls, text: str, start: str = "S") -> Grammar:
        """Read rules, one a line: ``A -> B c [0.7] | d [0.3]``; a single one needs no probability.

        Raises:
            ValueError: for a line that is no rule, a symbol with two of them, and as the class.
        """
        rules: dict[str, tuple[Expansion, ...]] = {}
        for line in filter(str.strip, text.splitlines()):
            symbol, arrow, right = (part.strip() for part in line.partition("->"))
            parts = [part.strip() for part in right.split("|")]
            found = [_ALTERNATIVE.match(part) for part in parts]
            if len(parts) == 1 and not found[0]:
                expansions: list[Expansion] = [(1.0, tuple(parts[0].split()))]
            else:
                expansions = [(float(each[2]), tuple(each[1].split())) for each in found if each]
            if not arrow or not symbol or symbol in rules or len(expansions) < len(parts):
                raise ValueError(
                    "Expected a rule a line, one for each symbol, such as 'A -> B c [0.7] | d "
                    f"[0.3]'. Received: {line.strip()!r}."
                )
            rules[symbol] = tuple(expansions)
        return cls(rules, start)

    def generate(self, n: int, seed: int = 0) -> list[str]:
        """Return n sentences; the i-th is a function of the seed and i."""
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"Expected `n` to be a whole number of at least 1. Received: n={n!r}.")
        width = self._choices(self.start)
        words = np.random.Philox(key=np.array([seed, 0], np.uint64)).random_raw(n * width)
        uniform = (words >> np.uint64(11)).reshape(n, width) * 2.0**-53
        return [" ".join(self._expand(self.start, iter(row))) for row in uniform.tolist()]

    def log_prob(self, sentence: str) -> float:
        """Return the log-probability of a sentence, in nats; -inf of one that it does not make."""
        words = tuple(sentence.split())
        # The inside algorithm: the probability that a symbol becomes words i to j.
        memory: dict[tuple[tuple[str, ...], int, int], float] = {}

        def inside(symbols: tuple[str, ...], i: int, j: int) -> float:
            if not symbols:
                return float(i == j)
            if j - i < len(symbols):
                return 0.0
            key = (symbols, i, j)
            if key not in memory:
                first, rest = symbols[0], symbols[1:]
                memory[key] = math.fsum(
                    one(first, i, k) * inside(rest, k, j) for k in range(i + 1, j + 1)
                )
            return memory[key]

        def one(symbol: str, i: int, j: int) -> float:
            if symbol not in self.rules:
                return float(words[i:j] == (symbol,))
            return math.fsum(p * inside(right, i, j) for p, right in self.rules[symbol])

        probability = one(self.start, 0, len(words))
        return math.log(probability) if probability else -math.inf

    def sentences(self) -> dict[str, float]:
        """Return every sentence with its probability, by enumeration."""
        found: dict[str, float] = {}
        for probability, words in self._derivations(self.start):
            text = " ".join(words)
            found[text] = found.get(text, 0.0) + probability
        return found

    @functools.cached_property
    def entropy(self) -> float:
        """The entropy of a sentence's derivation, in nats."""
        return self._mean(self.start, lambda probability, _: -math.log(probability))

    @functools.cached_property
    def words_per_sentence(self) -> float:
        """The mean number of words."""
        return self._mean(
            self.start, lambda _, right: float(sum(each not in self.rules for each in right))
        )

    @property
    def bits_per_token(self) -> float:
        """The entropy in bits for each word and each end of a sentence."""
        return self.entropy / math.log(2) / (self.words_per_sentence + 1)

    @property
    def words(self) -> list[str]:
        """The words, in alphabetical order."""
        right = {each for expansions in self.rules.values() for _, each in expansions}
        return sorted({word for each in right for word in each} - set(self.rules))

    @functools.cached_property
    def longest(self) -> int:
        """The number of words of the longest sentence."""

        def size(symbol: str) -> int:
            if symbol not in self.rules:
                return 1
            return max(sum(map(size, right)) for _, right in self.rules[symbol])

        return size(self.start)

    def _mean(self, symbol: str, value: Callable[[float, tuple[str, ...]], float]) -> float:
        """Return the mean of the sum of a value over the rules of a derivation."""
        return math.fsum(
            probability
            * (
                value(probability, right)
                + sum(self._mean(b, value) for b in right if b in self.rules)
            )
            for probability, right in self.rules[symbol]
        )

    def _choices(self, symbol: str) -> int:
        """Return how many rules a derivation takes, at most."""
        if symbol not in self.rules:
            return 0
        return 1 + max(sum(map(self._choices, right)) for _, right in self.rules[symbol])

    def _expand(self, symbol: str, uniform: Iterator[float]) -> Iterator[str]:
        if symbol not in self.rules:
            yield symbol
            return
        expansions, left = self.rules[symbol], next(uniform)
        chosen = 0
        # Of a sum that rounds to less than 1, what is left falls to the last.
        while left >= expansions[chosen][0] and chosen < len(expansions) - 1:
            left -= expansions[chosen][0]
            chosen += 1
        for each in expansions[chosen][1]:
            yield from self._expand(each, uniform)

    def _derivations(self, symbol: str) -> Iterator[tuple[float, tuple[str, ...]]]:
        if symbol not in self.rules:
            yield 1.0, (symbol,)
            return
        for probability, right in self.rules[symbol]:
            for parts in itertools.product(*(list(self._derivations(each)) for each in right)):
                words = tuple(word for _, part in parts for word in part)
                yield math.prod((probability, *(p for p, _ in parts))), words

    def _refuse_recursion(self, symbol: str, above: tuple[str, ...]) -> None:
        if symbol in above:
            raise ValueError(
                "Expected a grammar without recursion, whose language is finite. Received: "
                f"{' -> '.join((*above, symbol))}."
            )
        for _, right in self.rules.get(symbol, ()):
            for each in right:
                self._refuse_recursion(each, (*above, symbol))


ENGLISH = Grammar.parse(
    """
    S -> ONE IS [0.5] | MORE ARE [0.5]
    ONE -> A CAT [0.6] | A OLD CAT [0.4]
    MORE -> SOME CATS [0.6] | SOME OLD CATS [0.4]
    IS -> SLEEPS [0.3] | SLEEPS TODAY [0.2] | SEES WHOM [0.5]
    ARE -> SLEEP [0.3] | SLEEP TODAY [0.2] | SEE WHOM [0.5]
    WHOM -> ONE [0.5] | MORE [0.5]
    A -> the [0.5] | a [0.3] | every [0.2]
    SOME -> the [0.5] | some [0.3] | many [0.2]
    OLD -> old [0.4] | small [0.3] | quiet [0.2] | red [0.1]
    CAT -> cat [0.3] | dog [0.3] | bird [0.2] | child [0.1] | fox [0.1]
    CATS -> cats [0.3] | dogs [0.3] | birds [0.2] | children [0.1] | foxes [0.1]
    SLEEPS -> sleeps [0.5] | sings [0.3] | waits [0.2]
    SLEEP -> sleep [0.5] | sing [0.3] | wait [0.2]
    SEES -> sees [0.4] | likes [0.4] | follows [0.2]
    SEE -> see [0.4] | like [0.4] | follow [0.2]
    TODAY -> today [0.4] | again [0.4] | outside [0.2]
    """
)
"""69,300 sentences of at most 7 words, whose verbs agree with their subjects."""

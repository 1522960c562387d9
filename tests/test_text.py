"""Text: tokens and back, and a grammar whose probabilities are checked by enumeration."""

from __future__ import annotations

import collections
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import tfvae
from tfvae.text import EOS, SPECIAL, UNK, Grammar, Tokeniser, corpus
from tfvae.text.tokeniser import lengths, split

ENGLISH = tfvae.text.ENGLISH
COIN = "S -> the coin SHOWS\nSHOWS -> heads [0.25] | tails TWICE [0.75]\nTWICE -> again"


@pytest.fixture(scope="module")
def language() -> dict[str, float]:
    return ENGLISH.sentences()


def test_the_rules_give_what_enumeration_gives(language: dict[str, float]) -> None:
    p = np.array(list(language.values()))
    # Sums of 69,300 terms, each rounded to 1e-16 of it.
    assert len(language) == 69_300
    assert math.isclose(p.sum(), 1.0, rel_tol=1e-11)
    assert math.isclose(-(p * np.log(p)).sum(), ENGLISH.entropy, rel_tol=1e-11)
    words = np.array([len(text.split()) for text in language])
    assert math.isclose((p * words).sum(), ENGLISH.words_per_sentence, rel_tol=1e-11)
    assert words.max() == ENGLISH.longest
    bits = -(p * np.log2(p)).sum() / (p * (words + 1)).sum()
    assert math.isclose(bits, ENGLISH.bits_per_token, rel_tol=1e-11)


def test_log_prob_is_that_of_the_enumeration(language: dict[str, float]) -> None:
    for text in ENGLISH.generate(50, seed=3):
        assert math.isclose(ENGLISH.log_prob(text), math.log(language[text]), rel_tol=1e-12)
    assert ENGLISH.log_prob("the cats sleeps") == -math.inf
    assert ENGLISH.log_prob("") == -math.inf


def test_a_sentence_of_two_derivations_has_the_sum_of_both() -> None:
    grammar = Grammar.parse(
        "S -> A b [0.5] | a B [0.5]\nA -> a [0.4] | c [0.6]\nB -> b [0.9] | d [0.1]"
    )
    assert math.isclose(grammar.log_prob("a b"), math.log(0.5 * 0.4 + 0.5 * 0.9), rel_tol=1e-12)
    assert math.isclose(grammar.sentences()["a b"], 0.65, rel_tol=1e-12)


def test_sentences_are_drawn_with_their_probabilities() -> None:
    grammar, n = Grammar.parse(COIN), 4000
    counts = collections.Counter(grammar.generate(n, seed=1))
    expected = {text: n * p for text, p in grammar.sentences().items()}
    assert set(counts) == set(expected)
    statistic = sum((counts[text] - mean) ** 2 / mean for text, mean in expected.items())
    # False alarms: one seed in a million.
    assert statistic < stats.chi2.isf(1e-6, len(expected) - 1)


def test_a_sentence_is_a_function_of_seed_and_place() -> None:
    assert ENGLISH.generate(20, seed=4)[:5] == ENGLISH.generate(5, seed=4)
    assert ENGLISH.generate(20, seed=4) != ENGLISH.generate(20, seed=5)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("S -> a S [0.5] | b [0.5]", "without recursion.*S -> S"),
        ("S -> A\nA -> B\nB -> a A", "without recursion.*A -> B -> A"),
        ("S -> a [0.5] | b [0.6]", "sum to 1.*1.1"),
        ("S -> a [1.5] | b [-0.5]", "to be positive"),
        ("S -> a | b", "a rule a line"),
        ("S -> a\nS -> b", "a rule a line.*S -> b"),
        ("A -> a", "start 'S'"),
    ],
)
def test_what_is_no_grammar(rules: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Grammar.parse(rules)


def test_words_and_punctuation() -> None:
    assert split("It's “fine”, isn’t it? 3-4!") == [
        "it's", "“", "fine", "”", ",", "isn’t", "it", "?", "3-4", "!",
    ]  # fmt: skip


def test_tokens_and_back() -> None:
    sentences = ["The cat, she sleeps.", "She: a cat?"]
    tokeniser = Tokeniser.fit(sentences)
    tokens = tokeniser.encode(sentences, length=9)
    assert tokens.dtype == np.int32
    assert lengths(tokens).tolist() == [7, 6]
    assert tokens[1, 5:].tolist() == [EOS, 0, 0, 0]
    assert tokeniser.decode(tokens) == ["the cat, she sleeps.", "she: a cat?"]
    again = Tokeniser.of(tokeniser.get_config())
    assert again == tokeniser
    assert Tokeniser.fit(sentences, lower=False).decode(
        Tokeniser.fit(sentences, lower=False).encode(["She: a cat?"])
    ) == ["She: a cat?"]


def test_the_vocabulary_is_the_frequent_words() -> None:
    tokeniser = Tokeniser.fit(["b b b a a c", "a d"], size=2, minimum=2)
    assert tokeniser.vocabulary == (*SPECIAL, "a", "b")
    tokens = tokeniser.encode(["a d c"], unknown="unk")
    assert tokens.tolist() == [[4, UNK, UNK, EOS]]
    assert tokeniser.decode(tokens) == ["a <unk> <unk>"]
    assert tokeniser.encode(["a <unk>"]).tolist() == [[4, UNK, EOS]]


TOKENISER = Tokeniser((*SPECIAL, "cat", "dog"))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: TOKENISER.encode(["cat", "a cta"]), ValueError, "'a', which is not among its 2"),
        (lambda: TOKENISER.encode(["cta"]), ValueError, "Did you mean 'cat'"),
        (lambda: TOKENISER.encode(["cat", " "]), ValueError, "at least one word.*sentence 1"),
        (lambda: TOKENISER.encode([]), ValueError, "at least one"),
        (lambda: TOKENISER.encode("cat"), TypeError, r"list of text.*\[sentence\]"),
        (lambda: TOKENISER.encode(["cat cat"], 2), ValueError, "at most 1 words.*2 in sentence 0"),
        (lambda: TOKENISER.encode(["cat"], 0), ValueError, "`length`.*at least 2"),
        (lambda: TOKENISER.encode(["cat"], unknown="x"), ValueError, "`unknown`"),
        (lambda: TOKENISER.decode([[4, 6]]), ValueError, "from 0 to 5.*such as 6"),
        (lambda: TOKENISER.decode([[4.5]]), ValueError, "such as 4.5"),
        (lambda: Tokeniser(("cat", "dog")), ValueError, "<pad>"),
        (lambda: Tokeniser(SPECIAL), ValueError, "at least one word"),
        (lambda: Tokeniser((*SPECIAL, "a", "a")), ValueError, "'a' twice"),
        (lambda: Tokeniser.fit(["a b"], minimum=2), ValueError, "at least 2 times"),
        (lambda: Tokeniser.fit(["a b"], size=0), ValueError, "`size`"),
        (lambda: ENGLISH.generate(0), ValueError, "`n`"),
    ],
)
def test_bad_text(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_the_embedded_sentences() -> None:
    data = tfvae.data.load("grammar", validation=500)
    assert (len(data.train), len(data.validation), len(data.test)) == (8500, 500, 1000)
    assert data.vocabulary == corpus.tokeniser().vocabulary
    assert tfvae.layers.Support.tokens(len(data.vocabulary)).outside(data.train.x) == 0
    for text in TOKENISER.of(data.vocabulary).decode(data.test.x[:20]):
        assert ENGLISH.log_prob(text) > -math.inf


LINES = ["The cat sat.", "", "A dog sat.", "The dog ran.", "A cat ran."] * 6


def test_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n".join(LINES), encoding="utf-8")
    data = tfvae.data.load(path)
    assert data.train.shape == (5,)  # three words, a full stop, an end
    assert (len(data.train), len(data.test)) == (22, 2)
    words = Tokeniser.of(data.vocabulary)
    assert set(words.decode(data.train.x)) == {line.lower() for line in LINES if line}
    path.write_text("\n".join([*LINES, "a " * 70]), encoding="utf-8")
    with pytest.raises(tfvae.data.DataError, match=r"at most 60 words.*70 in line 31"):
        tfvae.data.load(path)
    with pytest.warns(UserWarning, match="Left out 1 of 31 lines"):
        assert len(tfvae.data.load(path, on_corrupt="skip").train) == 22


def test_bad_text_files(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for text, message in (("", "at least 2 sentences"), ("a b\nc d", "at least 2 times")):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(tfvae.data.DataError, match=message):
            tfvae.data.load(path)
    path.write_bytes(b"caf\xe9 is\nno text")
    with pytest.raises(tfvae.data.DataError, match=r"UTF-8.*byte 3"):
        tfvae.data.load(path)
    with pytest.raises(tfvae.data.DataError, match="which is none"):
        tfvae.data.load(tmp_path / "b.txt")
    path.write_text("\n".join([f"the {n}x {n}y {n}z" for n in range(9)]), encoding="utf-8")
    with pytest.warns(UserWarning, match="75% of the words"):
        tfvae.data.load(path)

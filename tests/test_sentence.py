"""The sentence VAE: enumeration, loops written by hand, and a grammar's exact entropy."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from scipy import stats

import tfvae
from tfvae import objectives, random
from tfvae.families import RecurrentDecoder, SentenceVAE, Tokens, decoding, recurrent_encoder
from tfvae.text import BOS, EOS, PAD, SPECIAL, UNK, Tokeniser, corpus
from tfvae.text.tokeniser import lengths

T, K = 3, 3  # places; <eos>, <unk> and one word
VOCABULARY = K + EOS
WORDS = Tokeniser((*SPECIAL, *(f"w{i}" for i in range(12))))


def small(length: int = 6, cell: Any = "gru", **options: Any) -> SentenceVAE:
    sizes: dict[str, Any] = {"units": 12, "embedding": 6, "annealing": 0, "seed": 3}
    return tfvae.zoo.sentence_vae((length,), 3, vocabulary=WORDS, cell=cell, **sizes | options)


def some_rows(count: int, length: int = 6, seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.integers(UNK, len(WORDS), (count, length)).astype(np.float32)
    for row, end in zip(x, rng.integers(1, length + 1, count), strict=True):
        row[end:] = PAD
        row[end : end + 1] = EOS  # a row without one is the beginning of a longer sentence
    return x


def all_rows() -> list[list[int]]:
    """Return every row of T tokens that there can be."""
    found = []
    for row in itertools.product(range(VOCABULARY), repeat=T):
        end = row.index(EOS) if EOS in row else T
        if min(row[:end], default=EOS) >= EOS and set(row[end + 1 :]) <= {PAD}:
            found.append(list(row))
    return found


def log_softmax(logits: Any) -> np.ndarray[Any, Any]:
    values = np.asarray(logits, np.float64)
    return values - np.logaddexp.reduce(values, axis=-1, keepdims=True)


def by_hand(vae: SentenceVAE, z: tf.Tensor, row: np.ndarray[Any, Any]) -> float:
    """Return log p(x|z) of one row, a step at a time."""
    states, last, total = vae.decoder.begin(z), BOS, 0.0
    for token in row.astype(int):
        logits, states = vae.decoder.advance(tf.constant([last]), z, states)
        total += log_softmax(logits)[0, token - EOS]
        if token == EOS:
            break
        last = token
    return total


def test_probabilities_of_all_rows_sum_to_one() -> None:
    layer = Tokens((T,), vocabulary=VOCABULARY)
    logits = tf.constant(np.random.default_rng(0).normal(0, 1.5, (1, T, K)), tf.float32)
    rows = np.array(list(itertools.product(range(VOCABULARY), repeat=T)), np.float32)
    log_prob = layer(logits).log_prob(rows).numpy()
    possible = np.isfinite(log_prob)
    assert rows[possible].astype(int).tolist() == all_rows()
    # 15 terms, each of three float32 log-softmaxes, which err by some 1e-7.
    assert math.isclose(np.exp(log_prob[possible].astype(float)).sum(), 1.0, abs_tol=1e-5)
    assert layer.support.outside(rows[possible]) == 0
    assert all(layer.support.outside(row[None]) for row in rows[~possible])


def test_draws_have_these_probabilities() -> None:
    layer, n = Tokens((T,), vocabulary=VOCABULARY), 6000
    logits = tf.constant(np.random.default_rng(0).normal(0, 1.0, (1, T, K)), tf.float32)
    uniform = random.noise("uniform", 5, n, 1, layer.noise_shape)
    sampled = layer(logits).sample(n, seed=(1, 2))
    rows = np.array(all_rows(), np.float32)
    expected = n * np.exp(layer(logits).log_prob(rows).numpy())
    for drawn in (layer.transform(uniform, logits), sampled):
        counts = np.array([(drawn.numpy()[:, 0] == row).all(-1).sum() for row in rows])
        assert counts.sum() == n
        statistic = ((counts - expected) ** 2 / expected).sum()
        # False alarms: one in a million, for each of the two.
        assert statistic < stats.chi2.isf(1e-6, len(rows) - 1)


@pytest.mark.parametrize(("cell", "depth"), [("gru", 1), ("lstm", 2)])
def test_log_likelihood_is_that_of_a_loop(cell: Any, depth: int) -> None:
    vae, x = small(cell=cell, depth=depth), some_rows(5)
    trace = vae.trace(tf.constant(x), 2, seed=1)
    assert trace.log_likelihood.shape == (2, 5)
    for sample, row in itertools.product(range(2), range(5)):
        z = trace.latents[0].z[sample, row][tf.newaxis]
        # Float32 sums of at most 6 terms of some 3 nats.
        assert math.isclose(
            trace.log_likelihood[sample, row], by_hand(vae, z, x[row]), abs_tol=2e-5
        )


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_filling_up_changes_nothing(cell: Any) -> None:
    vae, longer = small(6, cell), small(9, cell)
    longer.set_weights(vae.get_weights())
    x = some_rows(7)
    x = x[(x == EOS).any(axis=1)]
    assert len(x) > 3
    filled = np.pad(x, [(0, 0), (0, 3)])
    one, other = vae.trace(tf.constant(x), seed=2), longer.trace(tf.constant(filled), seed=2)
    for name in ("log_likelihood", "kl", "log_weight"):
        # The same operations on the same values, in matrix products of other sizes.
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=1e-5)


def tiny() -> SentenceVAE:
    words = Tokeniser((*SPECIAL, "w"))
    vae = tfvae.zoo.sentence_vae((T,), 2, vocabulary=words, units=5, embedding=3, seed=8)
    rng = np.random.default_rng(2)
    vae.set_weights([rng.normal(0, 1.0, w.shape).astype(w.dtype) for w in vae.get_weights()])
    return vae


def test_a_beam_that_is_wide_enough_finds_the_most_probable_of_all() -> None:
    vae, rows = tiny(), np.array(all_rows())
    z = tf.constant(np.random.default_rng(4).normal(0, 2.0, (6, 2)), tf.float32)
    tokens, log_prob = decoding.beam(vae.decoder, z, T, width=len(rows) + 1)
    for i in range(len(z)):
        truth = np.array([by_hand(vae, z[i : i + 1], row) for row in rows])
        order = np.argsort(-truth)
        np.testing.assert_array_equal(tokens[i, : len(rows)], rows[order])
        np.testing.assert_allclose(log_prob[i, : len(rows)], truth[order], rtol=0, atol=2e-5)
        assert log_prob[i, -1] == -np.inf  # there is no other row


def test_a_beam_of_one_is_greedy() -> None:
    vae = small()
    vae.set_weights([3 * w for w in vae.get_weights()])
    z = random.noise("normal", 3, 1, 40, (3,))[0]
    tokens = decoding.beam(vae.decoder, z, 6, width=1)[0][:, 0]
    np.testing.assert_array_equal(tokens, vae.write(z))
    np.testing.assert_array_equal(tokens, vae.write(z, "beam", width=1))
    assert len({tuple(row) for row in tokens.numpy().tolist()}) > 1


def test_a_wider_beam_is_no_worse_than_greedy_here_and_its_scores_are_true() -> None:
    vae = small()
    vae.set_weights([3 * w for w in vae.get_weights()])
    z = random.noise("normal", 3, 1, 40, (3,))[0]
    tokens, log_prob = decoding.beam(vae.decoder, z, 6, width=4)
    assert np.all(np.diff(log_prob.numpy(), axis=1) <= 0)
    for rank in range(4):
        rows = tokens[:, rank]
        truth = vae.decode(z, condition=vae.before(rows)).log_prob(tf.cast(rows, tf.float32))
        np.testing.assert_allclose(log_prob[:, rank], truth, rtol=0, atol=2e-5)
    greedy = vae.write(z)
    of_greedy = vae.decode(z, condition=vae.before(greedy)).log_prob(tf.cast(greedy, tf.float32))
    assert float(tf.reduce_mean(log_prob[:, 0] - of_greedy)) >= 0


def test_sampled_sentences_have_their_probabilities() -> None:
    vae, n = tiny(), 4000
    z = tf.repeat(tf.constant([[0.3, -0.8]]), n, axis=0)
    (uniform,) = random.row_noise(tf.range(n, dtype=tf.int64), random.Request("uniform", (T,), 1))
    drawn = decoding.sampled(vae.decoder, z, uniform, tf.ones([n])).numpy()
    rows = np.array(all_rows())
    expected = n * np.exp([by_hand(vae, z[:1], row) for row in rows])
    counts = np.array([(drawn == row).all(-1).sum() for row in rows])
    assert counts.sum() == n
    # False alarms: one in a million. Rare rows together, for the sake of the chi-square.
    rare = expected < 5
    seen, mean = (np.append(each[~rare], each[rare].sum()) for each in (counts, expected))
    assert ((seen - mean) ** 2 / mean).sum() < stats.chi2.isf(1e-6, len(seen) - 1)


def test_word_dropout_hides_words_from_the_decoder_in_training_alone() -> None:
    x, seen = tf.constant(some_rows(400)), small(word_dropout=0.0)
    hidden, half = small(word_dropout=1.0), small(word_dropout=0.3)
    before = hidden.before(x).numpy()
    np.testing.assert_array_equal(before[:, 0], BOS)
    np.testing.assert_array_equal(before[:, 1:], x[:, :-1])
    everything = hidden._dropped(tf.constant(before), random.as_seed(0), None).numpy()
    np.testing.assert_array_equal(everything, np.where(before > UNK, UNK, before))
    drawn = half._dropped(tf.constant(before), random.as_seed(0), None).numpy()
    words, dropped = np.count_nonzero(before > UNK), np.count_nonzero(drawn != before)
    # A binomial count; false alarms: one in a million.
    assert stats.binomtest(dropped, words, 0.3).pvalue > 1e-6
    part = half._dropped(tf.constant(before[7:9]), random.as_seed(0), tf.constant(7, tf.int64))
    np.testing.assert_array_equal(part, drawn[7:9])
    traces = [vae.trace(x, seed=1, training=True).log_likelihood for vae in (seen, hidden)]
    assert not np.allclose(*traces)
    quiet = [vae.trace(x, seed=1).log_likelihood for vae in (seen, hidden)]
    np.testing.assert_array_equal(*quiet)


def test_every_objective_takes_its_trace() -> None:
    vae, x = small(), tf.constant(some_rows(4))
    o = objectives
    for objective in (o.ELBO(free_bits=2.0), o.IWAE(samples=3), o.ELBO() + o.TotalCorrelation()):
        trace = vae.trace(x, objective.samples, seed=0, training=True)
        assert np.all(np.isfinite(objective(trace)))
        assert trace.detached.log_likelihood.shape == (objective.samples, 4)


@pytest.mark.parametrize("cell", ["gru", pytest.param("lstm", marks=pytest.mark.slow)])
def test_save_and_load(cell: Any, tmp_path: Path) -> None:
    vae = small(4, cell, depth=1 if cell == "gru" else 2, word_dropout=0.4)
    x = some_rows(16, 4)
    vae.fit(x, epochs=1, batch_size=8, verbose=0)
    vae.save(tmp_path / "m.keras")
    loaded = tfvae.load_model(tmp_path / "m.keras")
    assert isinstance(loaded, SentenceVAE)
    assert (loaded.tokeniser, loaded.word_dropout) == (WORDS, 0.4)
    assert loaded.generate(4, seed=1).text == vae.generate(4, seed=1).text
    np.testing.assert_array_equal(loaded.trace(x).log_weight, vae.trace(x).log_weight)
    if cell == "gru":
        return  # to train on takes seconds, and is the slow tests' to look at
    for model in (vae, loaded):
        model.fit(x, epochs=1, batch_size=8, verbose=0)
    for one, other in zip(vae.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_rows_are_functions_of_their_seeds() -> None:
    vae = small()
    whole = vae.generate(9, seed=5)
    part = vae.generate(seeds=[8, 6], batch_size=1)
    np.testing.assert_array_equal(part.tokens, whole.tokens.numpy()[[3, 1]])
    assert part.text == [whole.text[3], whole.text[1]]
    assert vae.likelihood.support.outside(whole.tokens) == 0
    cold = vae.generate(9, seed=5, token_temperature=0.0)
    greedy = vae.generate(9, seed=5, decoding="greedy")
    np.testing.assert_array_equal(cold.tokens, greedy.tokens)
    np.testing.assert_array_equal(cold.z, whole.z)
    np.testing.assert_array_equal(greedy.tokens, vae.write(whole.z))
    narrow = vae.generate(3, seed=5, temperature=0.0, decoding="beam", width=3)
    assert len(set(narrow.text)) == 1


def test_along_a_spectrum_from_one_sentence_to_another() -> None:
    vae = small()
    vae.set_weights([3 * w for w in vae.get_weights()])
    texts = ["w1 w2", "w3 w4 w5 w6"]
    line = vae.interpolate(*texts, steps=5)
    ends = WORDS.decode(vae.reconstruct(vae.tokenise(texts)))
    assert (len(line), line[0], line[-1]) == (5, *ends)
    assert vae.interpolate(*vae.tokenise(texts), steps=5) == line
    assert len(vae.interpolate(*texts, steps=2, decoding="beam", width=2)) == 2
    predicted = vae.predict(vae.tokenise(texts), verbose=0)
    assert WORDS.decode(predicted) == ends


def test_bits_are_counted_by_tokens() -> None:
    vae, x = small(), some_rows(20)
    found = tfvae.evaluate.evaluate(vae, x, samples=4)
    bits = -found.log_marginal / math.log(2) / lengths(x).mean()
    assert math.isclose(found.bits_per_dim, bits, rel_tol=1e-12)


@pytest.mark.slow
def test_scores_are_bounds_on_the_same_probabilities() -> None:
    vae, x = small(), some_rows(20)
    score = vae.score(x, samples=400).log_marginal.numpy().mean()
    exact = tfvae.evaluate.log_marginal(vae, x, samples=400).mean()
    # Both estimate log p(x) by the same weights, at other draws: of a mean of S weights the log
    # has variance Var[w] / (S E[w]²), of 20 rows' mean a 400th of their sum. False alarms: one in
    # a million, and as much again for what is not normal.
    log_weight = vae.trace(tf.constant(x), 400, seed=9).log_weight.numpy()
    weight = np.exp(log_weight - log_weight.max(axis=0))
    variance = (weight.var(axis=0) / weight.mean(axis=0) ** 2 / 400).sum() / 20**2
    assert abs(score - exact) < 2 * 4.9 * math.sqrt(2 * variance)


def test_a_prior_is_fitted_and_all_else_stays() -> None:
    vae = small(word_dropout=0.4)
    fitted = vae.fit_prior(some_rows(40), "normal")
    assert isinstance(fitted, SentenceVAE)
    assert (fitted.tokeniser, fitted.word_dropout) == (WORDS, 0.4)
    assert type(fitted.prior).__name__ == "MixtureOfGaussians"


@pytest.mark.slow
def test_half_precision(mixed_policy: str) -> None:
    vae = small()
    vae.compile(keras.optimizers.Adam(1e-3))
    history = vae.fit(some_rows(16), epochs=1, batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"][0])
    assert len(vae.generate(2).text) == 2


@pytest.mark.slow
def test_double_precision(float64: None) -> None:
    vae, x = small(), some_rows(4)
    assert vae.trace(tf.constant(x)).log_likelihood.dtype == tf.float64
    for decoding_ in ("sample", "greedy", "beam"):
        assert len(vae.generate(2, decoding=decoding_, width=2).text) == 2


def test_what_keeps_the_latents_in_use() -> None:
    o = objectives
    assert small(annealing=0).objective == o.ELBO()
    annealed = small(annealing=50, free_bits=3.0).objective
    assert annealed == o.ELBO(beta=o.LinearWarmup(50), free_bits=3.0)
    # At step 25 half of the KL counts, and at least the free bits: log p(x|z) alone is the rest.
    vae, x = small(annealing=50, free_bits=3.0), tf.constant(some_rows(9))
    vae.step.assign(25)
    trace = vae.trace(x, seed=1, training=True)
    rate = max(float(tf.reduce_mean(trace.kl)), 3.0)
    expected = 0.5 * rate - float(tf.reduce_mean(trace.log_likelihood))
    assert math.isclose(float(tf.reduce_mean(vae.objective(trace))), expected, rel_tol=1e-5)


def unigram_and_bigram() -> tuple[float, float]:
    """Return the nats a sentence that the best models of words, and of pairs, take."""
    language = tfvae.text.ENGLISH.sentences()
    single: dict[str, float] = {}
    pairs: dict[tuple[str, str], float] = {}
    for text, p in language.items():
        words = ["<bos>", *text.split(), "<eos>"]
        for pair in itertools.pairwise(words):
            pairs[pair] = pairs.get(pair, 0.0) + p
            single[pair[1]] = single.get(pair[1], 0.0) + p
    total = math.fsum(single.values())
    first: dict[str, float] = {}
    for (word, _), mass in pairs.items():
        first[word] = first.get(word, 0.0) + mass
    return (
        -math.fsum(mass * math.log(mass / total) for mass in single.values()),
        -math.fsum(mass * math.log(mass / first[pair[0]]) for pair, mass in pairs.items()),
    )


def excess(vae: SentenceVAE, samples: int, count: int = 1000) -> np.ndarray[Any, Any]:
    """Return log p(x) of the grammar less the model's bound on it, of each sentence."""
    x = corpus.generated().test[:count].astype(np.float32)
    exact = [tfvae.text.ENGLISH.log_prob(text) for text in vae.tokeniser.decode(x)]
    return np.array(exact) - tfvae.evaluate.log_marginal(vae, x, samples=samples)


def test_it_learns_which_words_follow_which() -> None:
    data = tfvae.data.load("grammar")
    vae = tfvae.zoo.sentence_vae((8,), 2, units=32, embedding=16, annealing=0, word_dropout=0.0)
    vae.compile(keras.optimizers.Adam(1e-2))
    vae.fit(data.train.take(2048), batch_size=64, epochs=3, verbose=0)
    unigram, bigram = unigram_and_bigram()
    assert tfvae.text.ENGLISH.entropy < bigram < unigram
    # Better than the best model that knows only which word follows which. The mean is over 300
    # sentences, with a standard error of some hundredths of a nat.
    assert excess(vae, samples=5, count=300).mean() < bigram - tfvae.text.ENGLISH.entropy


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_bits_per_token_come_close_to_the_entropy_of_the_grammar(cell: Any) -> None:
    data = tfvae.data.load("grammar")
    vae = tfvae.zoo.sentence_vae(
        (8,), 8, cell=cell, units=96, embedding=32, annealing=300, word_dropout=0.1
    )
    vae.compile(keras.optimizers.Adam(3e-3))
    vae.fit(data.train, epochs=12, verbose=0)
    gap = excess(vae, samples=50)
    error = gap.std() / math.sqrt(len(gap))
    # E[log p(x) - bound] is KL(grammar‖model) and more, hence not negative: five standard errors
    # of the mean below zero come once in 3 million.
    assert gap.mean() > -5 * error
    # A model that knows only which word follows which errs by this much, for number agrees across
    # adjectives and objects end sentences: to do with a fifth of it takes the grammar.
    assert gap.mean() + 5 * error < (unigram_and_bigram()[1] - tfvae.text.ENGLISH.entropy) / 5
    texts = vae.generate(500, seed=0).text
    grammatical = sum(tfvae.text.ENGLISH.log_prob(text) > -math.inf for text in texts)
    assert grammatical > 450


LIKELIHOOD = Tokens((6,), vocabulary=16)


def parts(**changed: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "encoder": recurrent_encoder(6, 16, (6,), units=4, embedding=3),
        "decoder": RecurrentDecoder(3, length=6, vocabulary=16, units=4, embedding=3),
        "prior": tfvae.priors.StandardNormal((3,)),
        "posterior": tfvae.layers.Normal((3,)),
        "likelihood": LIKELIHOOD,
        "tokeniser": WORDS,
    }
    return given | changed


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"likelihood": tfvae.layers.Normal((6,))}, TypeError, "Tokens.*Normal"),
        ({"decoder": keras.Sequential([keras.layers.Dense(4)])}, TypeError, "begin"),
        ({"tokeniser": Tokeniser((*SPECIAL, "w"))}, ValueError, "16 tokens.*Received: 5"),
        ({"word_dropout": 1.5}, ValueError, "`word_dropout`"),
        ({"corruption": tfvae.corruptions.Masking()}, ValueError, "word_dropout=0.3"),
        ({"decoder": RecurrentDecoder(3, length=5, vocabulary=16)}, ValueError, r"\[B, 5\]"),
        ({"decoder": RecurrentDecoder(3, length=6, vocabulary=17)}, ValueError, "6, 14"),
        ({"encoder": recurrent_encoder(6, 16, (5,))}, ValueError, "`encoder`"),
        ({"prior": tfvae.priors.StandardNormal((3, 1)),
          "posterior": tfvae.layers.Normal((3, 1))}, ValueError, "a vector"),
    ],
)  # fmt: skip
def test_slots_that_do_not_fit(
    changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        SentenceVAE(**parts(**changed))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda vae: vae.fit([[4.0, 3.0, 5.0, 0.0, 2.0, 0.0]]), "rows of tokens.*1 of 6"),
        (lambda vae: vae.fit(np.zeros((2, 6))), "rows of tokens.*12 of 12"),
        (lambda vae: vae.fit([[99.0] * 6]), "from 2 to 15.*to 99"),
        (lambda vae: vae.fit([[4.0, 2.0]]), r"shape \[batch, 6\]"),
        (lambda vae: vae.tokenise(["w1 " * 6]), "at most 5 words"),
        (lambda vae: vae.tokenise(["w1 w99"]), "'w99'"),
        (lambda vae: vae.decode(tf.zeros([1, 3])), "vae.before"),
        (lambda vae: vae.write(np.zeros((2, 4))), r"\[n, 3\]"),
        (lambda vae: vae.write(np.zeros((2, 3)), "beem"), '"beam"'),
        (lambda vae: vae.write(np.zeros((2, 3)), "beam", 0), "`width`"),
        (lambda vae: vae.generate(0), "`n`"),
        (lambda vae: vae.generate(1, decoding="greedily"), 'Did you mean "greedy"'),
        (lambda vae: vae.generate(1, token_temperature=-1.0), "`token_temperature`"),
        (lambda vae: vae.interpolate("w1", "w2", steps=1), "`steps`"),
        (lambda vae: vae.interpolate("w1", "", steps=2), "at least one word"),
        (lambda vae: vae.interpolate("w1", [5.0, 2.0], steps=2), r"`b` of shape \[batch, 6\]"),
        (lambda vae: tfvae.zoo.sentence_vae((6, 2)), "Tokeniser"),
        (lambda vae: tfvae.zoo.sentence_vae((6,), units=0), "`units`"),
        (lambda vae: tfvae.zoo.sentence_vae((6,), cell="rnn"), "`cell`"),
        (lambda vae: Tokens((2, 3), vocabulary=9), r"\(T,\)"),
        (lambda vae: Tokens((2,), vocabulary=4), "at least 5"),
    ],
)
def test_bad_input(call: Any, message: str, model: SentenceVAE) -> None:
    with pytest.raises(ValueError, match=message):
        call(model)


@pytest.fixture(scope="module")
def model() -> SentenceVAE:
    return small()


@pytest.mark.slow
def test_a_text_file_from_the_command_line(tmp_path: Path) -> None:
    from tfvae.cli import cli

    text = tmp_path / "a.txt"
    text.write_text("the cat sat.\na dog sat.\nthe dog ran.\na cat ran.\n" * 5, encoding="utf-8")
    small_ones = ["--units", "8", "--embedding", "4", "--latent-dim", "2", "--cell", "lstm"]
    out = ["--out", str(tmp_path / "m"), "--epochs", "1", "--data", str(text)]
    result = CliRunner().invoke(cli, ["train", "--model", "sentence_vae", *out, *small_ones])
    assert result.exit_code == 0, result.output
    vae = tfvae.runs.Run.load(tmp_path / "m").model()
    assert isinstance(vae, SentenceVAE)
    assert set(vae.tokeniser.vocabulary[4:]) == {"the", "a", "cat", "dog", "sat", "ran", "."}
    digits = ["--data", "digits", "--epochs", "1", "--out", str(tmp_path / "d")]
    result = CliRunner().invoke(cli, ["train", "--model", "sentence_vae", *digits])
    assert "data that are text" in result.output

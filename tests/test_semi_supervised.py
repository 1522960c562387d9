"""M2: its bounds against sums over classes by hand, and that few labels are enough."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from here import strangers_here
from scipy.special import logsumexp

import tfvae
from tfvae import objectives as o
from tfvae.convert import convert
from tfvae.data import Examples
from tfvae.export import verification
from tfvae.loop import NonFiniteError
from tfvae.records import Records

K, D = 3, 12


def clusters(n: int, seed: int = 0) -> tuple[Any, Any]:
    """Bits of each class's pattern, one in 20 of them flipped."""
    random = np.random.default_rng(seed)
    y = random.integers(0, K, n)
    patterns = np.eye(K)[:, np.arange(D) % K]
    return np.abs(patterns[y] - (random.random((n, D)) < 0.05)).astype("float32"), y


def made(**options: Any) -> Any:
    return tfvae.zoo.semi_supervised_vae((D,), 2, **{"classes": K, "hidden": (16,), **options})


@pytest.fixture(scope="session")
def trained() -> Any:
    vae = made(alpha=10.0)
    x, y = clusters(300)
    # Of each class the first three keep their labels.
    kept = np.concatenate([np.flatnonzero(y == k)[:3] for k in range(K)])
    labels = np.full(len(y), -1)
    labels[kept] = y[kept]
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    vae.fit(x, labels, epochs=20, batch_size=50, verbose=0, validation_data=clusters(100, 2))
    return vae


def plain(vae: Any) -> tfvae.VAE:
    """The same networks as a conditional VAE."""
    slots = ("prior", "posterior", "likelihood")
    return tfvae.VAE(vae.encoder, vae.decoder, **{slot: getattr(vae, slot) for slot in slots})


def test_the_bounds_are_sums_over_classes(trained: Any) -> None:
    x, y = clusters(6, seed=5)
    labels = np.where(np.arange(6) < 3, y, -1)
    samples = 4
    noise = np.random.default_rng(0).normal(size=(samples, 6, 2)).astype("float32")
    trace = trained.trace(x, condition=labels, noise=noise)
    each = [plain(trained).trace(x, condition=np.full(6, k), noise=noise) for k in range(K)]
    log_q = np.log(trained.classify(x))
    elbo = np.stack([t.log_likelihood.numpy().mean(0) - t.kl.numpy() for t in each], axis=1)
    weights = np.stack([t.log_weight.numpy() for t in each], axis=2)
    for i in range(6):
        ours = trace.log_likelihood.numpy()[:, i].mean() - trace.kl.numpy()[i]
        bound = logsumexp(trace.log_weight.numpy()[:, i]) - np.log(samples)
        if labels[i] >= 0:
            theirs = elbo[i, y[i]] - np.log(K)
            weighted = logsumexp(weights[:, i, y[i]]) - np.log(K * samples)
        else:
            theirs = np.sum(np.exp(log_q[i]) * (elbo[i] - np.log(K) - log_q[i]))
            weighted = logsumexp(weights[:, i]) - np.log(K * samples)
        # Float32 rounding of sums of some ten nats.
        np.testing.assert_allclose([ours, bound], [theirs, weighted], atol=1e-4)
    cross_entropy = o.Classification(2.0)(trace).numpy()
    share = float(trained.labelled.numpy())
    expected = np.where(labels >= 0, -2 * log_q[np.arange(6), labels] / share, 0)
    np.testing.assert_allclose(cross_entropy, expected, rtol=1e-4, atol=1e-4)


def test_the_bound_of_a_model_that_can_be_summed() -> None:
    """Where the decoder ignores z, and q(z|x, y) is the prior, log p(x) is a sum of K terms."""
    vae = made(hidden=())
    kernel = np.zeros((2 + K, D))
    kernel[2:] = np.random.default_rng(0).normal(size=(K, D))
    vae.decoder.set_weights([np.eye(K), kernel, np.zeros(D)])
    raw = np.log(np.expm1(1.0 - vae.posterior.min_scale))
    vae.encoder.set_weights([np.eye(K), np.zeros((D + K, 4)), np.array([0, 0, raw, raw])])
    x, y = clusters(20)
    logits = kernel[2:]
    each = x @ logits.T - np.log1p(np.exp(logits)).sum(-1) - np.log(K)
    result = tfvae.evaluate.log_marginal(vae, x, samples=2)
    np.testing.assert_allclose(result, logsumexp(each, axis=1), atol=1e-4)
    labelled = tfvae.evaluate.log_marginal(vae, Examples(x, y), samples=2)
    np.testing.assert_allclose(labelled, each[np.arange(20), y], atol=1e-4)
    scores = vae.score(x, samples=2)
    np.testing.assert_allclose(scores.log_marginal, logsumexp(each, axis=1), atol=1e-4)
    assert np.all(scores.elbo < scores.log_marginal)


def test_few_labels_are_enough(trained: Any) -> None:
    x, y = clusters(500, seed=1)
    # The best rule errs where more bits are flipped than not of those that tell two classes
    # apart: 4 or more of 8, with a probability of some 4e-4. Labels at random are right in 1/3.
    accuracy = np.mean(trained.classify(x).argmax(-1) == y)
    assert accuracy > 0.95
    logs = trained.evaluate(x, y, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["accuracy"], accuracy, atol=1e-6)
    assert "accuracy" not in trained.evaluate(x, verbose=0, return_dict=True), "of none"
    assert {"accuracy", "val_accuracy"} <= set(trained.history.history)


def test_what_is_not_told_is_found_out(trained: Any) -> None:
    x, _ = clusters(9, seed=3)
    found = trained.classify(x).argmax(-1)
    for condition in (None, np.full(9, -1)):
        mean = trained.reconstruct(x, condition)
        np.testing.assert_array_equal(mean, trained.reconstruct(x, found))
        np.testing.assert_array_equal(
            trained.encode(x, condition=condition).mean(), trained.encode(x, condition=found).mean()
        )
    np.testing.assert_allclose(trained.predict(x, verbose=0), trained.reconstruct(x), atol=1e-6)
    other = (found + 1) % K
    assert np.abs(trained.reconstruct(x, other) - trained.reconstruct(x)).max() > 0.5
    # To decode takes a class: -1 would be read as the last one.
    with pytest.raises(ValueError, match=r"whole numbers from 0 to 2.*such as -1"):
        trained.decode(np.zeros((9, trained.latent_shape[0])), condition=np.full(9, -1))
    for wrong in (K, 1.5, -2):
        with pytest.raises(ValueError, match="whole numbers from 0 to 2"):
            trained.encode(x, condition=np.full(9, wrong))
    shares = trained.classify(Examples(x), batch_size=4)
    np.testing.assert_allclose(shares, trained.classify(x), atol=1e-6)
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-6)


def test_active_units_are_of_the_likeliest_class(trained: Any) -> None:
    x, _ = clusters(40, seed=4)
    means = trained.encode(x).mean().numpy().astype(np.float64)
    found = tfvae.evaluate.active_units(trained, x)
    np.testing.assert_allclose(found.variances[0], means.var(axis=0, ddof=1), rtol=1e-4)


def test_saved_and_loaded(trained: Any, tmp_path: Path) -> None:
    x, _ = clusters(5)
    trained.save(tmp_path / "m.keras")
    twin = tfvae.load_model(tmp_path / "m.keras")
    assert type(twin) is tfvae.families.SemiSupervisedVAE
    np.testing.assert_array_equal(twin.classify(x), trained.classify(x))
    np.testing.assert_array_equal(twin.labelled, trained.labelled)


@pytest.mark.parametrize(
    "objective",
    [o.IWAE(3) + o.Classification(), o.ELBO(beta=0.5, free_bits=0.1)],
)
def test_other_objectives_train(objective: Any) -> None:
    vae = made()
    vae = tfvae.families.SemiSupervisedVAE(
        vae.encoder, vae.decoder, vae.classifier, prior=vae.prior, posterior=vae.posterior,
        likelihood=vae.likelihood, objective=objective,
    )  # fmt: skip
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    x, y = clusters(60)
    losses = vae.fit(x, y - (np.arange(60) % 2) * (y + 1), epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda v, x, y: v.fit(x), ValueError, "labels of some examples.*x alone"),
        (lambda v, x, y: v.fit(x, np.full(len(x), -1)), ValueError, "Received: labels of -1 alone"),
        (lambda v, x, y: v.fit(x, y + 1), ValueError, "from 0 to 2.*such as 3"),
        (lambda v, x, y: v.fit(x, y - 2), ValueError, "from 0 to 2.*such as -2"),
        (lambda v, x, y: v.evaluate(x, y + 1), ValueError, "from 0 to 2"),
        (lambda v, x, y: v.fit(batched(x)), ValueError, r"batches \(x, y\).*x alone"),
        (
            lambda v, x, y: v.fit(x, np.where(np.arange(30) < 15, -1, y), validation_split=0.5),
            ValueError,
            "labels of some examples to train on.*`validation_split` takes the last rows",
        ),
        (lambda v, x, y: v.generate(2), ValueError, "one for each row"),
        (lambda v, x, y: v.generate(2, condition=[-1, 0]), ValueError, "from 0 to 2.*such as -1"),
        (lambda v, x, y: v.score(x, condition=y + 1), ValueError, "from 0 to 2"),
        (lambda v, x, y: v.fit_prior(x), TypeError, "whose prior can be fitted"),
    ],
)
def test_refused(call: Any, error: Any, message: str, trained: Any) -> None:
    with pytest.raises(error, match=message):
        call(trained, *clusters(30))


@pytest.mark.parametrize(
    "objective",
    [o.ELBO(kl="monte_carlo"), o.IWAE(gradient="dreg"), o.ELBO() + o.MMD(), o.ScoreFunction()],
)
def test_objectives_of_single_draws_are_refused(objective: Any) -> None:
    vae = made()
    with pytest.raises(ValueError, match="summed over the classes"):
        tfvae.families.SemiSupervisedVAE(
            vae.encoder, vae.decoder, vae.classifier, prior=vae.prior, posterior=vae.posterior,
            likelihood=vae.likelihood, objective=objective,
        )  # fmt: skip


def test_networks_that_do_not_fit_are_refused() -> None:
    vae, other = made(), tfvae.zoo.vae((D,), 2, hidden=(4,))
    slots: Any = {slot: getattr(vae, slot) for slot in ("prior", "posterior", "likelihood")}
    family = tfvae.families.SemiSupervisedVAE
    with pytest.raises(ValueError, match="a logit for each class"):
        family(vae.encoder, vae.decoder, other.encoder, **slots)
    with pytest.raises(ValueError, match="encoder and decoder to take a label"):
        family(other.encoder, vae.decoder, vae.classifier, **slots)
    with pytest.raises(TypeError, match="`classifier` to be a Keras model"):
        family(vae.encoder, vae.decoder, None, **slots)
    with pytest.raises(TypeError, match=r"a classifier q\(y\|x\)"):
        o.Classification()(other.trace(np.zeros((2, D), "f")))


def test_of_arrays_the_labels_are_counted_and_of_a_pipeline_not(trained: Any) -> None:
    assert float(trained.labelled.numpy()) == pytest.approx(9 / 300)
    vae = made()
    vae.compile(run_eagerly=True)
    vae.labelled.assign(0.5)  # as of arrays before
    vae.fit(batched(*clusters(4)), verbose=0)
    assert float(vae.labelled.numpy()) == 1.0


def batched(*arrays: Any) -> Any:
    return tf.data.Dataset.from_tensor_slices(arrays if arrays[1:] else arrays[0]).batch(4)


def test_labels_of_a_stream_that_cannot_be() -> None:
    vae, (x, y) = made(), clusters(8)
    vae.compile(run_eagerly=True)
    for wrong in (-5, K, 99):
        with pytest.raises(ValueError, match=f"from 0 to 2.*such as {wrong}"):
            vae.fit(batched(x, np.full(8, wrong)), verbose=0)
    # Those of the first batch are looked at before training, and later ones stop it.
    y[4] = K
    with pytest.raises(NonFiniteError, match=r"step 2: .*labels for classes that there are not"):
        vae.fit(batched(x, y), verbose=0)
    assert np.isnan(vae.evaluate(batched(x, y), verbose=0, return_dict=True)["elbo"])
    trace = vae.trace(x, samples=2, condition=y)
    broken = np.arange(8) == 4
    np.testing.assert_array_equal(np.isnan(trace.log_likelihood), np.tile(broken, (2, 1)))
    np.testing.assert_array_equal(np.isfinite(trace.log_weight), np.tile(~broken, (2, 1)))


def test_a_column_of_labels_is_the_labels(trained: Any) -> None:
    x, y = clusters(6)
    y[:2] = -1
    flat, column = (trained.trace(x, samples=2, condition=c) for c in (y, y[:, None]))
    for name in ("log_likelihood", "kl", "log_weight", "log_label"):
        np.testing.assert_array_equal(getattr(column, name), getattr(flat, name))
    scores = (trained.score(x, condition=c, samples=2).elbo for c in (y, y[:, None]))
    np.testing.assert_array_equal(*scores)
    np.testing.assert_array_equal(
        trained.encode(x, condition=y[:, None]).mean(), trained.encode(x, condition=y).mean()
    )


def test_records_are_learned_from(tmp_path: Path) -> None:
    x, y = clusters(120)
    y = np.where(np.arange(120) % 4, -1, y)
    np.savez(tmp_path / "few.npz", x_train=x, y_train=y, x_test=x)
    few = Records.open(convert(tmp_path / "few.npz", tmp_path / "few").path)
    vae = made()
    vae.compile(run_eagerly=True)
    history = vae.fit(few, batch_size=120, verbose=0).history
    assert float(vae.labelled.numpy()) == 1 / 4
    arrays = made()
    arrays.compile(run_eagerly=True)
    again = arrays.fit(few.examples(), batch_size=120, verbose=0).history
    # One step of all examples: in another order, and so with other noise.
    assert history["accuracy"] == pytest.approx(again["accuracy"])
    # Far behind the first examples, whatever the order of the files.
    y[-1] = K
    np.savez(tmp_path / "wrong.npz", x_train=np.tile(x, (9, 1)), y_train=np.tile(y, 9), x_test=x)
    wrong = Records.open(convert(tmp_path / "wrong.npz", tmp_path / "wrong").path)
    for model in (vae, tfvae.zoo.cvae((D,), 2, classes=K, hidden=(4,))):
        with pytest.raises(ValueError, match=f"whole numbers from 0 to {K - 1}"):
            model.fit(wrong, verbose=0)
    none = Records.open(few.folder, "test")
    with pytest.raises(ValueError, match=r"labels of some examples.*x alone"):
        vae.fit(none, verbose=0)
    layout = few.layout
    uncounted = replace(
        few,
        layout=replace(
            layout,
            parts={name: replace(part, label_counts=None) for name, part in layout.parts.items()},
        ),
    )
    with pytest.raises(ValueError, match="labels were counted as they were written"):
        vae.fit(uncounted, verbose=0)


@pytest.mark.slow
def test_exported(trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "strangers", strangers_here)
    path = tfvae.export.export(trained, tmp_path / "m2", samples=3)
    export = tfvae.export.load(path)
    x, y = clusters(4)
    np.testing.assert_allclose(export.classify(x)["probabilities"], trained.classify(x), atol=1e-5)
    np.testing.assert_allclose(
        export.encode(x)["mean"], trained.encode(x).mean(), rtol=1e-4, atol=1e-5
    )
    for given in ({}, {"condition": y}):
        theirs = export.score(x, **given)["log_marginal"]
        ours = trained.score(x, samples=3, **given).log_marginal
        np.testing.assert_allclose(theirs, ours, atol=1e-3)
    with pytest.raises(ValueError, match="Pass `condition` too"):
        export.generate([1])


@pytest.mark.parametrize(
    ("model", "options", "error"),
    [
        ("semi_supervised_vae", {}, ValueError),
        ("hierarchical_vae", {"fit_prior": "normal"}, TypeError),
    ],
)
def test_refused_before_a_run_is_written(
    model: str, options: Any, error: Any, tmp_path: Path
) -> None:
    x, y = clusters(40)
    np.savez(tmp_path / "none.npz", x_train=x, y_train=np.full_like(y, -1), x_test=x, y_test=y)
    config = tfvae.runs.RunConfig(
        model, str(tmp_path / "none.npz"), options={"hidden": (4,)}, **options
    )
    with pytest.raises(error):
        tfvae.runs.train(config, tmp_path / "run", verbose=False)
    assert not (tmp_path / "run").exists()

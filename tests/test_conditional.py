"""Models of x given a condition: what goes in where, what is refused, and that it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from here import strangers_here

import tfvae
from tfvae import conditions
from tfvae.data import Examples
from tfvae.export import ExportError, verification
from tfvae.export.endpoints import endpoints
from tfvae.loop import NonFiniteError

CLASSES = 3


def labelled(n: int = 96) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Bits that follow from their label but for one, which of each label is on in half."""
    y = np.arange(n) % CLASSES
    x = np.eye(CLASSES)[y].repeat(2, axis=1)
    return np.column_stack([x, np.arange(n) // CLASSES % 2]).astype(np.float32), y


def made(**options: Any) -> tfvae.VAE:
    return tfvae.zoo.cvae((7,), 2, **{"classes": CLASSES, "hidden": (16,), **options})


def by_hand(shape: tuple[int, ...] = (), dtype: str = "float32") -> tfvae.VAE:
    """A model whose encoder alone takes a condition, concatenated."""
    posterior = tfvae.layers.Normal((2,))
    x, c = keras.Input((7,)), keras.Input(shape or (2,), dtype=dtype)
    joined = keras.layers.Concatenate()([x, c])
    encoder = keras.Model([x, c], keras.layers.Dense(posterior.params_shape[0])(joined))
    return tfvae.VAE(
        encoder,
        tfvae.networks.mlp_decoder((2,), (7,), hidden=(8,)),
        prior=tfvae.priors.StandardNormal((2,)),
        posterior=posterior,
        likelihood=tfvae.layers.Bernoulli((7,)),
    )


@pytest.fixture(scope="session")
def trained() -> tfvae.VAE:
    x, y = labelled()
    vae = made()
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    vae.fit(x, y, epochs=60, batch_size=32, verbose=0, validation_data=(x, y))
    return vae


def test_it_learns_what_the_label_says(trained: tfvae.VAE) -> None:
    x, y = labelled()
    # Given the label one bit is left: no model's mean of log p(x|c) is above -log 2, and one that
    # ignores the label reaches no more than -log 2 - log 3, halfway to which is the bar. The bound
    # is below by Jensen's inequality but for the error of 50 samples, whose weights hardly vary.
    result = tfvae.evaluate.evaluate(trained, Examples(x, y), samples=50)
    assert -np.log(2) - np.log(3) / 2 < result.log_marginal < -np.log(2) + 1e-3
    drawn = trained.generate(60, condition=np.arange(60) % CLASSES).mean.numpy()
    # Of each label its own bits are on, and the others off.
    np.testing.assert_array_equal(drawn[:, :6] > 0.5, x[:60, :6] > 0.5)


def test_the_endpoints_take_what_their_networks_take(trained: tfvae.VAE) -> None:
    x, y = labelled(12)
    mean = trained.reconstruct(x, y)
    np.testing.assert_allclose(trained.predict(x, condition=y, verbose=0), mean, atol=1e-6)
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(5)
    np.testing.assert_allclose(trained.predict(batches, verbose=0), mean, atol=1e-6)
    z = trained.encode(x, condition=y).mean()
    np.testing.assert_allclose(trained.decode(z, condition=y).mean(), mean, atol=1e-6)
    assert np.abs(trained.reconstruct(x, (y + 1) % CLASSES) - mean).max() > 0.5
    # S draws of each of B rows: every row keeps its own condition.
    several = trained.decode(tf.stack([z, z + 1.0]), condition=y).mean()
    np.testing.assert_allclose(several[0], mean, atol=1e-6)
    np.testing.assert_allclose(several[1], trained.decode(z + 1.0, condition=y).mean(), atol=1e-6)
    scores = trained.score(x, condition=y, samples=5)
    alone = trained.score(x[3:4], condition=y[3:4], seeds=[3], samples=5)
    np.testing.assert_allclose(scores.log_marginal[3:4], alone.log_marginal, atol=1e-5)


def test_the_jacobian_is_that_of_the_row_with_its_condition(trained: tfvae.VAE) -> None:
    x, y = labelled(4)
    jacobian = trained.jacobian(x, tf.constant(y)).numpy()
    step = 1e-3
    for i in range(7):
        moved = [
            trained.encode(x + sign * step * np.eye(7, dtype="f")[i], condition=y).mean()
            for sign in (1, -1)
        ]
        # Central differences in float32: rounding of 1e-7 over 2e-3, and relu's kinks, of which
        # these rows meet none.
        np.testing.assert_allclose(jacobian[:, :, i], (moved[0] - moved[1]) / (2 * step), atol=2e-3)


def test_saved_and_loaded(trained: tfvae.VAE, tmp_path: Path) -> None:
    x, y = labelled(6)
    trained.save(tmp_path / "m.keras")
    twin = tfvae.load_model(tmp_path / "m.keras")
    assert twin.classes == CLASSES
    np.testing.assert_array_equal(twin.reconstruct(x, y), trained.reconstruct(x, y))


@pytest.mark.parametrize(("network", "vector"), [("mlp", 3), ("conv", 0)])
def test_labels_and_vectors_in_both_networks(network: Any, vector: int) -> None:
    options = {"filters": (4,)} if network == "conv" else {}
    vae = tfvae.zoo.cvae((6, 5), 2, vector=vector, network=network, hidden=(8,), **options)
    assert vae.condition_spec == (((3,), "float32") if vector else ((), "int32"))
    assert set(vae.takers) == {"encoder", "decoder"}
    x = np.zeros((4, 6, 5), "float32")
    given = np.random.default_rng(0).normal(size=(4, 3)) if vector else np.arange(4)
    vae.compile(jit_compile=False)
    assert np.isfinite(vae.fit(x, given, verbose=0).history["loss"]).all()
    assert vae.generate(4, condition=given).sample.shape == (4, 6, 5)


def test_any_part_may_take_it_alone() -> None:
    vae = by_hand()
    assert list(vae.takers) == ["encoder"]
    c = np.ones((5, 2), "float32")
    vae.compile(jit_compile=False)
    vae.fit(np.ones((5, 7), "float32"), c, verbose=0)
    # The decoder does not take it: to draw needs none of it, but the model is conditional.
    names = {e.name: [i.name for i in e.inputs] for e in endpoints(vae)}
    assert names["decode"] == ["z"]
    assert names["generate"] == ["seed", "temperature"]
    assert names["encode"] == ["x", "condition"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v, x, y: v.fit(x), r"conditions for the encoder.*vae.fit\(x, c\)"),
        (lambda v, x, y: v.fit(x, y + 1), "from 0 to 2.*such as 3"),
        (lambda v, x, y: v.fit(x, y, validation_data=(x,)), "conditions for the encoder"),
        (lambda v, x, y: v.fit(x, np.full(len(x), -1)), "whole numbers from 0 to 2.*such as -1"),
        (lambda v, x, y: v.fit(x, np.full(len(x), np.nan)), "finite conditions"),
        (lambda v, x, y: v.fit(x, [0, 1, 2, 0, 1, 3], validation_split=0.2), "such as 3"),
        (lambda v, x, y: v.evaluate(x), "conditions for the encoder"),
        (lambda v, x, y: v.predict(x), r"vae.predict\(x, condition=c\)"),
        (lambda v, x, y: v.encode(x, condition=np.full(len(x), -1)), "0 to 2.*such as -1"),
        (lambda v, x, y: v.reconstruct(x, y + 1), "0 to 2.*such as 3"),
        (lambda v, x, y: v.decode(np.zeros((1, 2)), condition=[1.5]), "0 to 2.*such as 1.5"),
        (lambda v, x, y: v.fit(x, np.full(len(x), "cat")), r"np.unique\(y, return_inverse"),
        (lambda v, x, y: v.generate(2, condition=1), r"1 for all 2 rows.*np.full\(2, 1\)"),
        (lambda v, x, y: v.generate(2), "one for each row.*none for 2 rows"),
        (lambda v, x, y: v.generate(2, condition=[0]), "1 for 2 rows"),
        (lambda v, x, y: v.generate(1, condition=[3]), "from 0 to 2"),
        (lambda v, x, y: v.generate(1, condition=[0.5]), "whole numbers"),
        (lambda v, x, y: v.generate(1, condition=["cat"]), "finite numbers"),
        (lambda v, x, y: v.score(x), r"vae.score\(x, condition=c\)"),
        (lambda v, x, y: v.encode(x), "`condition`, which is the second input"),
        (lambda v, x, y: tfvae.evaluate.evaluate(v, x), "conditions for the encoder"),
    ],
)
def test_refused(call: Any, message: str, trained: tfvae.VAE) -> None:
    with pytest.raises(ValueError, match=message):
        call(trained, *labelled(6))


@pytest.mark.parametrize("jit", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_labels_of_a_stream_that_cannot_be(jit: bool) -> None:
    x, y = labelled(8)
    vae = made(hidden=())
    vae.compile(jit_compile=jit)
    with pytest.raises(ValueError, match=r"whole numbers from 0 to 2.*such as -1"):
        vae.fit(tf.data.Dataset.from_tensor_slices((x, y - 1)).batch(4), verbose=0)
    # Of later batches, an embedding would read another class.
    y[6] = -1
    with pytest.raises(NonFiniteError, match=r"step 2: .*labels for classes that there are not"):
        vae.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(4), verbose=0)
    assert all(np.isfinite(each).all() for each in vae.get_weights())


def test_a_condition_that_nothing_takes_is_refused() -> None:
    vae = tfvae.zoo.vae((7,), 2, hidden=(4,))
    x, y = labelled(3)
    with pytest.raises(ValueError, match="Expected no `condition`"):
        vae.generate(3, condition=y)
    with pytest.raises(ValueError, match="Expected no `condition`"):
        vae.predict(x, condition=y)


def test_parts_that_disagree_are_refused() -> None:
    vae = by_hand()
    z, c = keras.Input((2,)), keras.Input((5,))
    decoder = keras.Model([z, c], keras.layers.Dense(7)(keras.layers.Concatenate()([z, c])))
    with pytest.raises(ValueError, match=r"one condition for all parts.*\[2\].*\[5\]"):
        tfvae.VAE(
            vae.encoder, decoder, prior=vae.prior, posterior=vae.posterior,
            likelihood=vae.likelihood,
        )  # fmt: skip


def test_classes_below_two_are_refused() -> None:
    for options in ({"classes": 0}, {"vector": -1}):
        with pytest.raises(ValueError, match="condition"):
            made(**options)


class Subclassed(keras.Model):
    """An encoder that does not list its inputs, nor say what it does with its labels."""

    conditional = True

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.dense = keras.layers.Embedding(5, 2), keras.layers.Dense(4)

    def call(self, given: Any, training: bool = False) -> Any:
        x, label = given
        return self.dense(tf.concat([x, self.embedding(label)], axis=-1))


def test_a_network_that_lists_no_inputs_has_no_known_classes() -> None:
    network = Subclassed()
    assert conditions.takes_condition(network)
    out = conditions.run(network, tf.zeros([2, 3]), tf.constant([0, 4]))
    assert out.shape == (2, 4)
    assert conditions.classes_of(network) is None


def test_what_a_network_takes() -> None:
    vae = made()
    assert conditions.takes_condition(vae.encoder)
    assert conditions.classes_of(vae.decoder) == CLASSES
    assert not conditions.takes_condition(tfvae.networks.mlp_encoder((3,), (4,)))
    repeated = conditions.for_samples(tf.constant([1, 2]), tf.constant([3, 2]))
    np.testing.assert_array_equal(repeated, [1, 2, 1, 2, 1, 2])
    assert conditions.for_samples(None, tf.constant([3, 2])) is None


@pytest.mark.slow
def test_exported_with_every_endpoint(
    trained: tfvae.VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "strangers", strangers_here)
    names = tfvae.export.Processing(classes=("a", "b", "c"))
    path = tfvae.export.export(trained, tmp_path / "c", processing=names, samples=3)
    export = tfvae.export.load(path)
    x, y = labelled(4)
    drawn = export.generate([5, 6], condition=["c", "a"])["sample"]
    np.testing.assert_array_equal(drawn, trained.generate(2, seed=5, condition=[2, 0]).sample)
    mean = trained.reconstruct(x, y)
    np.testing.assert_allclose(export.reconstruct(x, y)["mean"], mean, atol=1e-5)
    scores = trained.score(x, condition=y, samples=3)
    np.testing.assert_allclose(export.score(x, condition=y)["elbo"], scores.elbo, atol=1e-4)
    with pytest.raises(ValueError, match="Pass `condition` too"):
        export.generate([1])
    with pytest.raises(ValueError, match="class"):
        export.generate([1], condition="d")
    with pytest.raises(ExportError, match=r"as many as the condition is long, \(3,\)"):
        tfvae.export.export(
            trained, tmp_path / "d", processing=tfvae.export.Processing(classes=("a", "b"))
        )


def test_labels_out_of_range_do_not_reach_a_runtime(trained: tfvae.VAE) -> None:
    (generate,) = endpoints(trained, ["generate"])
    assert generate.inputs[-1].bounds == (0, CLASSES - 1)

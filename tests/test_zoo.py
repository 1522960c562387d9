"""One contract for every named model: a new function in the zoo is tested without an edit."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
from outside import shared

import tfvae
from tfvae import zoo
from tfvae.objectives import ELBO, IWAE
from tfvae.options import SLOTS
from tfvae.options import slots as options_slots

# Those that are given more than data, and the data that they are of.
CONDITIONAL = {"cvae", "supervised_vae", "semi_supervised_vae"}

every_model = pytest.mark.parametrize("name", zoo.models())


# Those whose slots no other test trains together; the others train among the slow tests.
TRAINED = {
    "vae", "iwae", "vamp_vae", "vq_vae", "gamma_vae", "count_vae", "rae",
}  # fmt: skip
# Of other data than images: each has tests of its own.
OTHER_DATA = {"sentence_vae"}
every_network = [(name, "mlp") for name in zoo.models() if name not in OTHER_DATA] + [
    (name, "conv") for name in ("vae", "vq_vae", "semi_supervised_vae")
]


def small(name: str, data_shape: tuple[int, ...], **options: Any) -> tfvae.VAE:
    """Return a model of few latents and weights."""
    if name == "sentence_vae":
        return zoo.sentence_vae((8,), 2, units=16, embedding=8, **options)
    # Small ones where the default is for data of some size.
    options |= {"codes": 8} if name == "vq_vae" else {}
    options |= {"components": 10} if name == "vamp_vae" else {}
    options |= {"units": 8} if name in ("deep_markov_model", "vrnn") else {}
    latent_dim = (3, 2) if name == "hierarchical_vae" else 2
    return zoo.models()[name](data_shape, latent_dim, hidden=(16,), **options)


def condition_of(vae: tfvae.VAE, rows: int) -> Any:
    """Return labels or inputs for a model that takes them."""
    if not vae.conditional:
        return None
    if vae.classes:
        return np.arange(rows) % vae.classes
    shape, dtype = vae.condition_spec
    return np.random.default_rng(0).integers(0, 2, (rows, *shape)).astype(dtype)


def pairs_of(vae: tfvae.VAE, images: Any) -> tuple[Any, Any]:
    """Return what a model of images is fitted to: x and y."""
    if isinstance(vae, tfvae.families.SupervisedVAE):
        return images, images.mean(axis=(1, 2))
    return images, condition_of(vae, len(images))


@every_model
def test_the_table_says_what_it_is(name: str) -> None:
    vae = small(name, (6, 5))
    described = {slot: described_as(getattr(vae, slot)) for slot in SLOTS}
    assert options_slots(zoo.models()[name]) == described


@pytest.mark.parametrize(
    ("name", "network"),
    [
        pytest.param(name, network, marks=[] if name in TRAINED else [pytest.mark.slow])
        for name, network in every_network
    ],
)
def test_trains_evaluates_and_generates(name: str, network: Any, binary_images: Any) -> None:
    options = {"filters": (8,), "network": "conv"} if network == "conv" else {}
    vae = small(name, binary_images.shape[1:], **options)
    vae.compile(keras.optimizers.Adam(3e-3), jit_compile=False)
    x, y = pairs_of(vae, binary_images)
    assert vae.conditional == (name in CONDITIONAL)
    history = vae.fit(x, y, epochs=4, batch_size=16, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    logs = vae.evaluate(x, y, return_dict=True, verbose=0)
    assert np.all(np.isfinite(list(logs.values())))
    assert ("elbo" in logs) == vae.posterior.has_density
    drawn = vae.generate(3, condition=condition_of(vae, 3))
    assert drawn.sample.shape == (3, *vae.data_shape)


def described_as(slot: Any) -> str:
    if isinstance(slot, tfvae.objectives.WeightedSum):
        return " + ".join(type(term).__name__ for _, term in slot.terms)
    wrapped = type(slot) in (tfvae.priors.Parametric, tfvae.families.Repeated)
    return type(slot.layer if wrapped else slot).__name__


@every_model
def test_says_what_it_is_and_where_it_comes_from(name: str) -> None:
    doc = inspect.getdoc(zoo.models()[name]) or ""
    title, reference = doc.splitlines()[0], doc[doc.index("Reference:") :]
    assert title.endswith(".")
    assert any(character.isdigit() for character in reference), "a year"
    for argument in zoo.parameters(zoo.models()[name]):
        assert f"{argument}:" in doc or "of :func:`vae`" in doc, argument


def test_the_objectives_that_make_them() -> None:
    assert zoo.vae((4,), 2).objective == ELBO()
    assert zoo.beta_vae((4,), 2, beta=6.0).objective == ELBO(beta=6.0)
    assert zoo.iwae((4,), 2, samples=9).objective == IWAE(samples=9)


def test_compositions_of_the_objectives() -> None:
    o = tfvae.objectives
    assert zoo.beta_tcvae((4,), 2, beta=3.0).objective == o.ELBO() + 2.0 * o.TotalCorrelation()
    # At lambda = 1 and alpha = 0 the InfoVAE is the VAE: its other weight vanishes.
    info = zoo.info_vae((4,), 2, weight=1.0).objective
    terms = {type(term): weight for weight, term in info.terms}
    assert terms == {o.ELBO: 1.0, o.MMD: 0.0}
    assert zoo.wae_mmd((4,), 2, weight=3.0).objective == o.Reconstruction() + 3.0 * o.MMD("imq")
    annealed = zoo.annealed_vae((4,), 2, capacity=9.0, steps=50).objective
    assert annealed.terms[1] == (1000.0, o.Capacity(o.LinearWarmup(50, start=0.0, end=9.0)))


def test_options_pass_through_to_vae() -> None:
    assert list(zoo.parameters(zoo.beta_vae))[:3] == ["latent_dim", "beta", "samples"]
    assert {"network", "hidden", "likelihood", "seed"} < set(zoo.parameters(zoo.iwae))
    assert "objective" not in zoo.parameters(zoo.iwae)


def test_importing_the_zoo_imports_no_tensorflow() -> None:
    code = (
        "import sys, tfvae; names = list(tfvae.zoo.models());"
        "assert {'vae', 'beta_vae', 'iwae'} <= set(names), names;"
        "heavy = {'tensorflow', 'keras', 'tensorflow_probability'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("shape", [(7, 5), (28, 28), (33, 17, 3)])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_any_image_shape(shape: tuple[int, ...], network: Any) -> None:
    layer = tfvae.layers.Normal(shape)
    vae = zoo.vae(shape, 3, network=network, likelihood=layer)
    assert vae.decode(np.zeros((2, 3), "float32")).event_shape == shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "transformer"}, '"mlp" or "conv"'),
        ({"filters": (8,)}, '`filters` only with network="conv"'),
        ({"network": "conv", "hidden": (8, 8)}, "`hidden`.*one width"),
        ({"likelihood": "Benoulli"}, "Did you mean 'Bernoulli'"),
        ({"latent_dim": 0}, "positive integers"),
        ({"data_shape": (0, 3)}, "positive integers"),
        ({"activation": "rellu"}, "relu"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        zoo.vae(**{"data_shape": (6, 5), **options})


@pytest.mark.slow
def test_real_images_in_a_few_epochs() -> None:
    data = tfvae.data.load(shared("mnist/mnist.npz"), binarize="dynamic")
    train = data.train.take(20_000)
    vae = zoo.vae(train.shape, 20, hidden=(256,))
    vae.fit(train, epochs=5, verbose=0)
    result = tfvae.evaluate.evaluate(vae, data.test.take(500), samples=100)
    # Independent pixels at the best constant probabilities reach -206 nats; anything that has
    # learned digits passes -130 by far.
    assert result.log_marginal > -130
    assert result.elbo < result.log_marginal

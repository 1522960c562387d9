"""What clients see: bytes, scales and classes inside the graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from endpoint_calls import call, conditional_model, image_model

import tfvae
from tfvae.export import ExportError, Processing
from tfvae.export.endpoints import endpoints
from tfvae.export.preparation import prepared
from tfvae.export.subject import Subject


@pytest.fixture(scope="module")
def images() -> tfvae.VAE:
    return image_model()


@pytest.fixture(scope="module")
def conditional() -> tfvae.VAE:
    return conditional_model()


def test_bytes_in_and_bytes_out(images: tfvae.VAE) -> None:
    served = Subject(images, Processing("uint8"), samples=2)
    x = np.random.default_rng(0).integers(0, 256, (6, 4, 3, 1), np.uint8)
    units = (x / 255).astype("float32")
    mean = np.asarray(images.reconstruct(units))
    outputs = call(served, "reconstruct", x=x)["mean"]
    assert outputs.dtype == np.uint8
    np.testing.assert_array_equal(outputs, np.round(255 * mean))
    np.testing.assert_allclose(
        call(served, "encode", x=x)["mean"], images.encode(units).mean(), atol=1e-6
    )
    seeds = np.arange(6)
    np.testing.assert_allclose(
        call(served, "score", x=x, seed=seeds)["elbo"],
        images.score(units, seeds=seeds, samples=2).elbo,
        atol=1e-5,
    )
    drawn = call(served, "generate", seed=seeds, temperature=np.ones(6))
    np.testing.assert_array_equal(drawn["sample"], np.round(255 * images.generate(6).sample))
    records = {endpoint.name: endpoint.record for endpoint in endpoints(served)}
    assert records["encode"].inputs[0].bounds == (0.0, 255.0)
    assert records["generate"].outputs[2].compare == "levels"
    for endpoint in endpoints(served):
        for name, values in endpoint.reference(**endpoint.examples(8)).items():
            spec = next(spec for spec in endpoint.outputs if spec.name == name)
            assert (values.dtype.name, values.shape[1:]) == (spec.dtype, spec.shape[1:])


def test_a_scale_for_each_value() -> None:
    vae = tfvae.zoo.vae((3,), 2, hidden=(4,), likelihood="Normal")
    scale, offset = np.array([1.0, 10.0, 100.0]), np.array([0.0, 5.0, -5.0])
    served = Subject(vae, Processing(scale=scale, offset=offset))
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    mean = call(served, "reconstruct", x=x * scale + offset)["mean"]
    np.testing.assert_allclose(mean, np.asarray(vae.reconstruct(x)) * scale + offset, rtol=2e-5)
    with pytest.raises(ExportError, match=r"`scale` to broadcast to one x, shape \(3,\).*\(2,\)"):
        Subject(vae, Processing(scale=[1.0, 2.0]))


def test_classes_by_their_index(conditional: tfvae.VAE) -> None:
    served = Subject(conditional, Processing(classes=("low", "middle", "high")))
    drawn = call(served, "generate", seed=[5, 5], temperature=[1, 1], condition=[0, 2])
    one_hot = np.eye(3, dtype="float32")[[0, 2]]
    np.testing.assert_array_equal(
        drawn["z"], conditional.generate(seeds=[5, 5], condition=one_hot).z
    )
    (generate,) = endpoints(served, "generate")
    assert (generate.inputs[2].dtype, generate.inputs[2].bounds) == ("int64", (0, 2))
    assert set(generate.examples(4)["condition"]) == {0, 1, 2}
    with pytest.raises(ExportError, match=r"as many as the condition is long, \(3,\).*2 names"):
        Subject(conditional, Processing(classes=("a", "b")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "int8"}, "`dtype` to be 'float32' or 'uint8'"),
        ({"scale": 0.0}, "`scale` to be finite and not zero"),
        ({"scale": "big"}, "`scale` to be finite and not zero"),
        ({"offset": np.nan}, "`offset` to be finite"),
        ({"classes": "cats"}, "`classes` to be a list"),
        ({"classes": 3}, "`classes` to be a list"),
        ({"classes": ("a", "a")}, "`classes` to be names that differ"),
    ],
)
def test_bad_processing(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        Processing(**arguments)


def test_classes_without_a_condition(images: tfvae.VAE) -> None:
    with pytest.raises(ExportError, match="Expected no `classes`"):
        Subject(images, Processing(classes=("a", "b")))


BYTES = Processing("uint8")
BINARY, COUNTS = tfvae.layers.Bernoulli((3,)), tfvae.layers.Poisson((3,))
GREYS = tfvae.layers.DiscretizedLogistic((3,))
FEW = tfvae.layers.DiscretizedLogistic((3,), levels=32)
BETA, REALS = tfvae.layers.Beta((3,)), tfvae.layers.Normal((3,))


@pytest.mark.parametrize(
    ("likelihood", "processing", "step"),
    [
        (BINARY, Processing(), 1.0),
        (BINARY, BYTES, 255.0),
        (BINARY, Processing(scale=-2.0, offset=2.0), 2.0),
        (COUNTS, Processing("uint8", scale=1.0), 1.0),
        (COUNTS, Processing(scale=0.5, offset=3.0), 0.5),
        # Bytes end at 255 below: they are odd, counted from 0 they are not.
        (COUNTS, Processing("uint8", scale=-2.0, offset=255.0), None),
        (COUNTS, Processing(scale=[1.0, 2.0, 1.0]), None),
        (COUNTS, Processing(offset=[0.0, 0.5, 0.0]), None),
        (GREYS, Processing(), 1 / 255),
        (GREYS, BYTES, 1.0),
        (BETA, Processing(), None),
        (REALS, Processing(), None),
    ],
)
def test_steps_in_units_of_the_client(likelihood: Any, processing: Any, step: Any) -> None:
    assert processing.step(likelihood.support) == pytest.approx(step)


@pytest.mark.parametrize(
    ("likelihood", "processing", "kept"),
    [
        (BINARY, BYTES, True),
        (COUNTS, Processing("uint8", scale=1.0), True),
        (COUNTS, Processing("uint8", scale=0.4), False),  # 1 is sent as 0, 2 as 1 that is 2.5
        (GREYS, BYTES, True),
        (FEW, BYTES, False),  # 1 / 31 is sent as 8
        (FEW, Processing("uint8", scale=31.0), True),
        (REALS, BYTES, True),
        (BETA, Processing(), True),
        (BETA, BYTES, False),  # 1e-3 is sent as 0
        (BETA, Processing("uint8", scale=300.0, offset=-20.0), True),
        (tfvae.layers.Gamma((3,)), Processing("uint8", scale=1.0), False),
        (tfvae.layers.Dirichlet((3,)), BYTES, False),
        (tfvae.layers.OneHotCategorical((3,)), BYTES, True),
    ],
)
def test_what_bytes_keep(likelihood: Any, processing: Any, kept: bool) -> None:
    assert processing.keeps(likelihood.support) is kept


def test_bytes_at_the_ends_of_an_open_support() -> None:
    vae = tfvae.zoo.vae((3,), 2, hidden=(4,), likelihood="Beta")
    served = Subject(vae, BYTES)
    records = {endpoint.name: endpoint.record for endpoint in endpoints(served)}
    assert list(records) == ["decode", "generate", "encode", "reconstruct"]
    assert records["generate"].outputs[2].compare == "level flips"
    with pytest.raises(ExportError, match=r"bytes that lie in .*\(0, 1\).*Beta.*endpoints=\('dec"):
        endpoints(served, "score")
    with pytest.raises(ExportError, match=r"Expected no `calibration`.*bytes that lie in"):
        prepared(vae, BYTES, 2, np.full((40, 3), 0.5), None)
    (score,) = endpoints(Subject(vae, Processing(scale=255.0), samples=2), "score")
    assert (score.inputs[0].bounds, score.inputs[0].open) == ((0.0, 255.0), True)


def test_only_scores_ask_for_values_of_the_support() -> None:
    vae = tfvae.zoo.vae((3,), 2, hidden=(4,), likelihood="Poisson")
    inputs = {endpoint.name: endpoint.inputs[0] for endpoint in endpoints(Subject(vae))}
    assert (inputs["score"].bounds, inputs["score"].step) == ((0.0, None), 1.0)
    assert inputs["encode"].step is inputs["reconstruct"].step is None

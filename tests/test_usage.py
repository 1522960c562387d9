"""The use of codes and categories against counts that are set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfvae
from tfvae.evaluate import code_usage
from tfvae.layers.codes import nearest


def test_codes_are_those_that_are_nearest() -> None:
    vae = tfvae.zoo.vq_vae((6,), 2, codes=8, positions=3, hidden=(4,))
    x = np.random.default_rng(0).integers(0, 2, (20, 6)).astype("float32")
    params = vae.encoder_params(x)
    counts = np.bincount(np.ravel(nearest(params, vae.posterior.codebook)), minlength=8)
    found = code_usage(vae, x, batch_size=7)
    np.testing.assert_allclose(found.frequencies, counts / 60)
    share = counts[counts > 0] / 60
    assert found.perplexity == pytest.approx(np.exp(-np.sum(share * np.log(share))))
    assert (found.used, found.codes) == (np.count_nonzero(counts), 8)


@pytest.mark.parametrize("layer", ["Concrete", "OneHotCategorical"])
def test_categories_are_the_most_probable_ones(layer: str) -> None:
    shape = (2, 3)
    posterior = getattr(tfvae.layers, layer)(shape)
    options: dict[str, Any] = {"prior": tfvae.priors.Parametric(posterior, learn=False)}
    if layer == "OneHotCategorical":
        options["objective"] = tfvae.objectives.VIMCO(samples=2)
    vae = tfvae.zoo.vae((3,), shape, posterior=posterior, hidden=(), **options)
    # One latent follows x, which is one-hot, and the other is always of its second category.
    kernel = np.zeros((3, 6), "float32")
    kernel[:, :3] = 10 * np.eye(3)
    vae.encoder.set_weights([kernel, np.array([0, 0, 0, 0, 5, 0], "float32")])
    found = code_usage(vae, tf.eye(3).numpy()[[0, 1, 2, 0, 1, 2]])
    np.testing.assert_allclose(found.frequencies, [[1 / 3, 1 / 3, 1 / 3], [0, 1, 0]])
    # The geometric mean of 3 and 1.
    assert found.perplexity == pytest.approx(np.sqrt(3))
    assert (found.used, found.codes) == (4, 6)


def test_other_posteriors_have_no_codes() -> None:
    vae = tfvae.zoo.vae((6,), 2, hidden=(4,))
    with pytest.raises(tfvae.evaluate.UndefinedError, match="VectorQuantizer"):
        code_usage(vae, np.zeros((3, 6)))

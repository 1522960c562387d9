"""Supervised models with latent variables: p(y|x) of any shape, not only a bell."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae.data import Examples
from tfvae.model import VAE
from tfvae.objectives import check_samples
from tfvae.records import Records


@keras.saving.register_keras_serializable("tfvae")
class SupervisedVAE(VAE):
    r"""A conditional density p(y|x) with latent variables, trained by ``fit(x, y)``.

    .. math:: p(y|x) = \int p(y|x, z)\, p(z|x)\, dz, \qquad q(z|x, y)

    What is modelled is y, and x is its condition: a VAE of y whose prior, encoder and decoder may
    each take x. Whatever the likelihood's family, noise that bends, splits or widens with x is
    the integral's to follow.

    ``fit``, ``evaluate`` and ``predict`` take inputs and targets as any Keras model does, and pairs
    (x, y) and Examples are inputs and targets wherever they are given. A condition is x everywhere,
    and what it is the condition of is y: ``generate(condition=x)`` draws y, and ``score(y,
    condition=x)``, ``encode(y, condition=x)``, ``tfvae.evaluate.evaluate(vae, y, condition=x)`` and
    the endpoints of an export take y.

    Args:
        encoder: [y, x] to the posterior's parameters: the recognition network.
        decoder: [z, x] to the likelihood's parameters.
        **slots: as of :class:`tfvae.VAE`; the prior may be
            :class:`tfvae.priors.Conditional`, p(z|x).

    Raises:
        ValueError: as :class:`tfvae.VAE`; and if no part takes a condition.

    Example:
        >>> vae = tfvae.zoo.supervised_vae((1,), latent_dim=1, hidden=(8,))
        >>> x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
        >>> history = vae.fit(x, np.sin(3 * x), verbose=0)
        >>> vae.predict(x[:5], samples=10).shape
        (5, 1)
        >>> vae.generate(5, condition=x[:5]).sample.shape
        TensorShape([5, 1])

    References:
        Kingma and Welling (2014), Auto-encoding variational Bayes, arXiv:1312.6114, section 7:
        supervised models with latent variables. Sohn, Lee and Yan (2015), Learning structured
        output representation using deep conditional generative models, NeurIPS.
    """

    takes_another_prior = False

    def __init__(
        self, encoder: keras.Model, decoder: keras.Model, *, name: str = "supervised", **slots: Any
    ) -> None:
        super().__init__(encoder, decoder, name=name, **slots)
        if not self.conditional:
            raise ValueError(
                "Expected a model of y given x: a prior, an encoder or a decoder that takes x as "
                "its condition. Received: none that does. Give the networks a second input."
            )

    def arrange(
        self, x: Any, y: Any = None, weight: Any = None, argument: str = "x"
    ) -> tuple[Any, Any, Any]:
        """Return targets as what is modelled, and inputs as what they are modelled given."""
        if isinstance(x, tf.data.Dataset):
            return x.map(lambda x, y, *weight: (y, x, *weight)), y, weight
        if isinstance(x, Records):
            x = x.examples()
        if isinstance(x, Examples):
            x, y, weight = x.values(), x.y if y is None else y, x.weight
        if y is None:
            raise ValueError(
                f"Expected targets, one for each row of `{argument}`. Received: {argument} alone. "
                "Pass them too: vae.fit(x, y). Batches come as a tf.data.Dataset of pairs. Where "
                "there is a `condition`, pass x as that: tfvae.evaluate.evaluate(vae, y, "
                "condition=x)."
            )
        y = np.asarray(y)
        if y.ndim == 1 and self.data_shape == (1,):
            y = y[:, None]
        return y, np.asarray(x), weight

    def predict(  # type: ignore[override]
        self, x: Any, *, samples: int = 100, seed: int = 0, batch_size: int = 1024
    ) -> npt.NDArray[np.floating[Any]]:
        r"""Return the mean of p(y|x), over draws of z.

        .. math:: \mathbb{E}[y|x] \approx \frac1S \sum_s \mathbb{E}[y|x, z_s],
            \quad z_s \sim p(z|x)

        Where p(y|x) has several modes it may lie between them: draw from it with
        ``generate(condition=x)`` to see them.

        Args:
            x: inputs [N, ...].
            samples: draws of z for each of them, S.
            seed: row i draws by the seeds from ``seed + i * samples`` on.
            batch_size: rows decoded at a time.

        Returns:
            [N, *y].

        Raises:
            ValueError: for samples < 1, and inputs that do not fit the model.
        """
        check_samples(samples)
        x = np.asarray(x.values() if isinstance(x, Examples) else x)
        drawn = self.generate(
            len(x) * samples,
            seed=seed,
            condition=np.repeat(x, samples, axis=0),
            batch_size=batch_size,
        )
        each = np.asarray(drawn.mean).reshape(len(x), samples, *self.data_shape)
        mean: npt.NDArray[np.floating[Any]] = each.mean(axis=1)
        return mean

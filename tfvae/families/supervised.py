"""Supervised models with latent variables: p(y|x) of any shape, not only a bell."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae import intake
from tfvae.data import Examples
from tfvae.model import VAE
from tfvae.objectives import check_samples
from tfvae.records import Records
from tfvae.step import check_count


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
            spec = x.element_spec
            if not isinstance(spec, tuple) or len(spec) < 2:
                raise ValueError(
                    f"Expected a dataset of pairs of inputs and targets. Received: `{argument}` of "
                    "inputs alone. Zip them: tf.data.Dataset.zip(inputs, targets)."
                )
            return x.map(lambda x, y, *weight: (y, x, *weight)), y, weight
        if isinstance(x, Records):
            x = x.examples()
        if isinstance(x, Examples):
            y, weight = x.y if y is None else y, x.weight if weight is None else weight
            x = x.values()
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
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = 0,
        steps: int | None = None,
        callbacks: Any = None,
        *,
        samples: int = 100,
        seed: int = 0,
    ) -> npt.NDArray[np.floating[Any]]:
        r"""Return the mean of p(y|x), over draws of z.

        .. math:: \mathbb{E}[y|x] \approx \frac1S \sum_s \mathbb{E}[y|x, z_s],
            \quad z_s \sim p(z|x)

        Where p(y|x) has several modes it may lie between them: draw from it with
        ``generate(condition=x)`` to see them.

        Args:
            x: inputs [N, ...], Examples or Records of them, or batches: a dataset, generator or
                ``PyDataset``, of which targets are not looked at.
            batch_size: rows decoded at a time, and inputs of an array: 1024 by default.
            verbose: 1 shows a progress bar.
            steps: batches to look at; all by default.
            callbacks: as in Keras.
            samples: draws of z for each of them, S.
            seed: row i draws by the seeds from ``seed + i * samples`` on.

        Returns:
            [N, *y].

        Raises:
            ValueError: for sizes below 1, and inputs that do not fit the model.
        """
        check_samples(samples)
        batch_size = 1024 if batch_size is None else batch_size
        check_count("batch_size", batch_size)
        if steps is not None:
            check_count("steps", steps)
        callbacks = keras.callbacks.CallbackList(
            callbacks,
            add_progbar=verbose != 0,
            verbose=1 if verbose == "auto" else verbose,
            epochs=1,
            steps=steps,
            model=self,
        )
        means: list[npt.NDArray[np.floating[Any]]] = []
        callbacks.on_predict_begin()
        for step, inputs in enumerate(itertools.islice(_batches(x, batch_size), steps)):
            self._check_inputs(inputs)
            callbacks.on_predict_batch_begin(step)
            drawn = self.generate(
                len(inputs) * samples,
                seed=seed,
                condition=np.repeat(inputs, samples, axis=0),
                batch_size=batch_size,
            )
            each = np.asarray(drawn.mean).reshape(len(inputs), samples, *self.data_shape)
            means.append(each.mean(axis=1))
            seed += len(inputs) * samples
            callbacks.on_predict_batch_end(step, {"outputs": means[-1]})
        callbacks.on_predict_end()
        if not means:
            raise ValueError("Expected batches of inputs. Received: none.")
        return np.concatenate(means)

    def _check_inputs(self, x: npt.NDArray[Any]) -> None:
        """Refuse inputs that the networks do not take, by the name that `predict` has for them."""
        if not x.size:
            raise ValueError(
                f"Expected `x` to hold at least one row of inputs. Received: x of shape {x.shape}."
            )
        with contextlib.suppress(NotImplementedError):
            shape, _ = self.condition_spec
            if not tf.TensorShape(x.shape[1:]).is_compatible_with(shape):
                raise ValueError(
                    f"Expected `x` of shape {['N', *shape]}, as the {next(iter(self.takers))} "
                    f"asks. Received: x of shape {list(x.shape)}."
                )


def _batches(x: Any, batch_size: int) -> Iterator[npt.NDArray[Any]]:
    """Yield inputs: of arrays some at a time, of batches as they come, without targets."""
    if intake.is_indexed(x):
        x = x.examples() if isinstance(x, Records) else x
        inputs = np.atleast_1d(x.values() if isinstance(x, Examples) else x)
        # Of none there is one batch, which is refused.
        for start in range(0, max(len(inputs), 1), batch_size):
            yield inputs[start : start + batch_size]
        return
    if isinstance(x, keras.utils.PyDataset):
        x = (x[index] for index in range(len(x)))
    for batch in x:
        yield np.asarray(keras.utils.unpack_x_y_sample_weight(batch)[0])

"""One pass of sequences through a model whose latents follow each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfvae import conditions, intake, random, sequences
from tfvae.bayesian.layers import layers_of
from tfvae.bayesian.sampling import carried
from tfvae.data import Examples
from tfvae.families.markov import Markov
from tfvae.families.repeated import Repeated
from tfvae.families.structured import Structured
from tfvae.intake import shape_message
from tfvae.model import VAE
from tfvae.objectives import Objective
from tfvae.records import Records
from tfvae.trace import Latent, Trace
from tfvae.training import Unpacked


class Paths(NamedTuple):
    """What one pass says of paths of latents z [S, B, T, d], once the encoder has run.

    Attributes:
        prior: p(z), where it depends on x given what of x lies before each step.
        posterior: q(z|x).
        draw: from base noise to paths that q(z|x) draws, 0 at steps that there are not.
        mean: the path of means [B, T, d], each step's given that of the step before.
        emit: paths, and whether it is part of training, to the likelihood's parameters.
    """

    prior: Any
    posterior: Any
    draw: Callable[[tf.Tensor], tf.Tensor]
    mean: Callable[[], tf.Tensor]
    emit: Callable[[tf.Tensor, bool], tf.Tensor]


class SequencePass(VAE):
    """What :class:`tfvae.families.SequentialVAE` is trained by; it documents the arguments."""

    prior: Any
    posterior: Any
    likelihood: Repeated
    takes_another_prior = False
    kinds: ClassVar[dict[str, type[Any]]] = {"prior": Markov, "posterior": Structured}

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        prior: Any,
        posterior: Any,
        likelihood: Repeated,
        objective: Objective | None = None,
        ragged: bool = True,
        seed: int = 0,
        name: str = "sequential_vae",
        **kwargs: Any,
    ) -> None:
        slots: dict[str, Any] = {"prior": prior, "posterior": posterior, "likelihood": likelihood}
        for argument, kind in (self.kinds | {"likelihood": Repeated}).items():
            value = slots[argument]
            if not isinstance(value, kind):
                raise TypeError(
                    f"Expected `{argument}` to be a tfvae.families.{kind.__name__}. "
                    f"Received: {argument}={value!r}."
                )
        if drawn := layers_of(posterior):
            # Their draws belong to rows, and the rows of one step are not those of all steps.
            raise ValueError(
                "Expected a `posterior` without Bayesian layers, for it draws a path step by step, "
                "and its density at all steps at once would be that of other weights. Received: "
                f"one with {drawn[0].name!r}. Make the encoder or the decoder Bayesian."
            )
        if prior.steps != likelihood.steps:
            raise ValueError(
                "Expected slots of one number of steps. Received: "
                f"prior {prior.steps}, likelihood {likelihood.steps}."
            )
        super().__init__(
            encoder,
            decoder,
            prior=prior,
            posterior=posterior,
            likelihood=likelihood,
            objective=objective,
            seed=seed,
            name=name,
            **kwargs,
        )
        self.ragged = ragged

    @property
    def steps(self) -> int:
        """The length of the longest sequences, T."""
        return self.likelihood.steps

    @property
    def takers(self) -> dict[str, Any]:
        """None takes a condition: the encoder's second input is what was observed."""
        return {}

    @property
    def reads_y(self) -> bool:
        """Whether y says what was observed."""
        return self.ragged

    @property
    def rows_per_draw(self) -> int:
        """How many rows of the decoder's layers a path takes."""
        return self.steps

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        r"""Train, as :meth:`VAE.fit` does.

        Args:
            x: sequences [N, T, \*step].
            y: what was observed of them: lengths [N], steps [N, T] or values [N, T, \*step].
            *args: as of :meth:`VAE.fit`.
            **kwargs: as of :meth:`VAE.fit`.
        """
        sequences.check(x)
        return super().fit(x, y, *args, **kwargs)

    def check_condition(self, examples: Examples | Records, call: str) -> None:
        """Refuse y that do not say what was observed, if they are read."""
        examples = intake.first(examples)
        if self.ragged and examples.y is not None:
            self.check_observed(examples.x, examples.y, "y")

    def stand_in(self, x: Any) -> Any:
        """Return lengths that say that all of x was observed, if y is read."""
        return np.full(len(x), self.steps, np.int32) if self.ragged else x

    def unpack(self, data: Any) -> Unpacked:
        """Read a batch; y is what was observed."""
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        mask = None if y is None or not self.ragged else self.mask(y)
        return Unpacked(seen=x, target=x, mask=mask, weight=weight)

    def mask(self, observed: tf.Tensor) -> tf.Tensor:
        r"""Return lengths [B], steps [B, T] or values as a mask that broadcasts to x, booleans."""
        observed = tf.convert_to_tensor(observed)
        one_a_step = (self.steps, *[1] * (len(self.data_shape) - 1))
        if observed.shape.rank == 1:
            observed = tf.sequence_mask(tf.cast(observed, tf.int32), self.steps)
        elif observed.dtype != tf.bool:
            observed = observed != 0
        if observed.shape.rank == 2:
            observed = tf.reshape(observed, [-1, *one_a_step])
        if tuple(observed.shape[1:]) not in (one_a_step, self.data_shape):
            raise ValueError(shape_message(self.data_shape, tuple(observed.shape), "observed"))
        return observed

    def features(
        self, x: tf.Tensor, mask: tf.Tensor | None, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Run the encoder on what was observed: the features, and which steps there are [B, T]."""
        if mask is None:
            observed, valid = tf.ones_like(x), None
        else:
            axes = list(range(2, len(self.data_shape) + 1))
            read = tf.reduce_any(mask, axis=axes)
            place = tf.where(read, tf.range(1, self.steps + 1), 0)
            valid = tf.sequence_mask(tf.reduce_max(place, axis=-1), self.steps)
            observed = tf.cast(mask, x.dtype) * tf.ones_like(x)
            x = tf.where(mask, x, tf.zeros_like(x))
        params = conditions.run(self.encoder, x, observed, training)
        return tf.cast(params, self.posterior.compute_dtype), valid

    def paths(self, params: tf.Tensor, valid: tf.Tensor | None) -> Paths:
        """Return what features [B, T, k] say, and which steps there are [B, T], of paths."""
        layer = self.posterior
        return Paths(
            prior=self.prior(None, valid=valid),
            posterior=layer(params, valid=valid),
            draw=lambda noise: cut(layer.transform(noise, params), valid),
            mean=lambda: layer.mean(params),
            emit=self.decoder_params,
        )

    def encode(
        self,
        x: tf.Tensor,
        training: bool = False,
        condition: tf.Tensor | None = None,
        *,
        observed: tf.Tensor | None = None,
    ) -> Any:
        """Return the posterior q(z|x), batch shape [B], event shape [T, d]."""
        mask = None if observed is None else self.mask(observed)
        return self.paths(*self.features(self.as_data(x), mask, training)).posterior

    def trace(
        self,
        x: tf.Tensor,
        samples: int = 1,
        seed: tf.Tensor | int = 0,
        *,
        target: tf.Tensor | None = None,
        condition: tf.Tensor | None = None,
        mask: tf.Tensor | None = None,
        weight: tf.Tensor | None = None,
        training: bool = False,
        position: tf.Tensor | None = None,
        noise: tf.Tensor | None = None,
    ) -> Trace:
        """Pass a batch through the model, as :meth:`VAE.trace` does.

        Args:
            x: what the encoder sees, [B, T, *step].
            samples: posterior draws of each sequence, S.
            seed: an integer or a seed of shape [2].
            target: what the likelihood is evaluated at; x by default.
            condition: not used.
            mask: what was observed: lengths [B], steps [B, T] or values [B, T, *step].
            weight: weights of the sequences, [B].
            training: passed to the networks.
            position: index of the first sequence in a larger batch, of which this is a part.
            noise: the posterior's base noise, [S, B, T, d], in place of `samples` and `seed`.

        Returns:
            A :class:`tfvae.Trace` with one group of latents, [S, B, T, d].
        """
        x = self.as_data(x)
        mask = None if mask is None else self.mask(mask)
        paths = self.paths(*self.features(x, mask, training))
        if noise is None:
            batch = x.shape[0] if x.shape[0] is not None else tf.shape(x)[0]
            shape = self.posterior.noise_shape
            noise = random.noise("normal", seed, samples, batch, shape, 0, position)
        latent = Latent(paths.draw(noise), paths.prior, paths.posterior)
        return Trace(
            x=x if target is None else self.as_data(target),
            latents=(latent,),
            decode=carried(lambda draws: self.likelihood(paths.emit(draws[0], training))),
            mask=mask,
            weight=weight,
            training=training,
            step=tf.convert_to_tensor(self.step),
            dataset_size=self.dataset_size,
        )

    def moments(
        self, x: tf.Tensor, observed: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the path of means of q(z|x), and the standard deviations along it, [B, T, d]."""
        mask = None if observed is None else self.mask(observed)
        params, valid = self.features(self.as_data(x), mask)
        paths = self.paths(params, None)
        mean = paths.mean()
        stddev = paths.posterior.conditionals(mean).stddev()
        return cut(mean, valid), cut(stddev, valid)

    def code(
        self, x: tf.Tensor, training: bool = False, condition: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Return the path of means of q(z|x); the condition is what was observed."""
        return self.moments(x, condition)[0]

    def kl_per_step(self, trace: Trace) -> tf.Tensor:
        """Return the KL of each step, [B, T]; 0 after the last that was observed."""
        (latent,) = trace.latents
        each = tf.reshape(latent.kl_per_dimension, [-1, *self.latent_shape])
        return tf.reduce_sum(each, axis=-1)

    def reconstruct(
        self,
        x: tf.Tensor,
        condition: tf.Tensor | None = None,
        *,
        observed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Return the means of p(x|z) along the path of means of q(z|x), [B, T, *step]."""
        return self(x, observed=observed)

    def call(
        self,
        x: tf.Tensor,
        training: bool = False,
        condition: tf.Tensor | None = None,
        observed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Return the reconstruction; 0 after the last step that was observed."""
        mask = None if observed is None else self.mask(observed)
        params, valid = self.features(self.as_data(x), mask, training)
        paths = self.paths(params, None)
        mean = self.likelihood.mean(paths.emit(paths.mean(), training))
        return cut(mean, valid, len(self.data_shape) - 1)

    def predict_step(self, data: Any) -> Any:
        """Reconstruct a batch."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        if isinstance(x, tuple):  # as `predict` puts them, whatever a y would be
            return self(x[0], observed=x[1])
        batch = self.unpack((x, y))
        return self(batch.seen, observed=batch.mask)

    def predict(self, x: Any, *args: Any, observed: Any = None, **kwargs: Any) -> Any:
        """Return reconstructions, as ``keras.Model.predict`` does; see :meth:`reconstruct`."""
        if intake.is_indexed(x):
            values, given = self.read(x, observed)
            x = values if given is None else (values, given)
        return keras.Model.predict(self, x, *args, **kwargs)

    def read(self, x: Any, observed: Any) -> tuple[Any, Any]:
        """Check sequences and what was observed of them; return both, the latter or None."""
        sequences.check(x)
        examples = intake.examples(self.likelihood, x, observed)
        if examples.y is None or not (self.ragged or observed is not None):
            return examples.values(), None
        values = examples.values()
        return values, self.check_observed(values, examples.y, "observed")

    def check_observed(self, x: Any, observed: Any, argument: str) -> Any:
        """Return what was observed of sequences as an array, checked."""
        return sequences.check_observed(x, observed, self.data_shape, argument)

    @property
    def own_config(self) -> dict[str, Any]:
        """What the constructor takes beyond a VAE's slots, as it can be saved."""
        return {"ragged": self.ragged}


def cut(values: tf.Tensor, valid: tf.Tensor | None, axes: int = 1) -> tf.Tensor:
    """Return values with 0 at steps that there are not.

    Args:
        values: [..., B, T, *rest].
        valid: which steps there are, booleans [B, T]; None for all.
        axes: how many the rest has.
    """
    if valid is None:
        return values
    for _ in range(axes):
        valid = valid[..., None]
    return tf.where(valid, values, tf.zeros_like(values))

"""The VAE: two Keras networks, and the four slots around them."""

from __future__ import annotations

import functools
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfvae import adapters, conditions, intake, layers, random  # noqa: F401, Keras finds what is imported
from tfvae.bayesian.sampling import carried
from tfvae.checks import check_conditions_agree, check_groups, check_network, check_slots
from tfvae.corruptions import Corruption
from tfvae.data import Examples
from tfvae.generation import Generative, check_conditions, compiled, in_batches, row_seeds
from tfvae.intake import shape_message
from tfvae.layers.base import DistributionLayer
from tfvae.objectives import ELBO, Objective, check_samples
from tfvae.priors import Prior
from tfvae.records import Records
from tfvae.trace import Distribution, Latent, Trace
from tfvae.training import TraceModel, Unpacked


class Scores(NamedTuple):
    """What :meth:`VAE.score` makes of each row, in nats: the ELBO and the bound on log p(x)."""

    elbo: tf.Tensor
    log_marginal: tf.Tensor

    @classmethod
    def of(cls, trace: Trace) -> Scores:
        """Return the scores of a pass, [B] each."""
        elbo = tf.reduce_mean(trace.log_likelihood, axis=0) - trace.kl
        bound = tf.reduce_logsumexp(trace.log_weight, axis=0) - math.log(trace.samples)
        return cls(elbo, bound)


@keras.saving.register_keras_serializable("tfvae")
class VAE(Generative, TraceModel):
    r"""A variational autoencoder, trained by ``fit`` to minimise its objective.

    .. math:: p(x, z) = p(z)\, p(x|z), \qquad q(z|x)

    The encoder and the decoder are ordinary Keras models that map tensors to *parameter
    tensors*; the distribution layers turn these into q(z|x) and p(x|z).

    Args:
        encoder: x [B, *data] to the posterior's parameters [B, *posterior.params_shape].
        decoder: z [B, *latent] to the likelihood's parameters [B, *likelihood.params_shape].
        prior: p(z).
        posterior: q(z|x); its event shape is the prior's.
        likelihood: p(x|z); its event shape is that of x.
        objective: what is minimised; the negative ELBO by default.
        corruption: of what the encoder sees in training, where the target stays clean: a
            denoising model. See :mod:`tfvae.corruptions`.
        seed: of the noise and the data order in training. Everything random is a function of
            it and of the number of steps taken.
        name: the model's name.

    Raises:
        TypeError: if a slot is not of its kind.
        ValueError: if shapes do not fit, the prior does not cover the posterior, or a slot
            lacks what the objective needs.

    Example:
        >>> vae = tfvae.zoo.vae((8, 8), latent_dim=2, hidden=(16,))
        >>> x = np.random.default_rng(0).integers(0, 2, (64, 8, 8)).astype("float32")
        >>> history = vae.fit(x, epochs=1, verbose=0)
        >>> sorted(history.history)
        ['elbo', 'kl', 'log_likelihood', 'loss']
        >>> vae.generate(3, seed=0).sample.shape
        TensorShape([3, 8, 8])

    References:
        Kingma and Welling (2014), Auto-encoding variational Bayes, arXiv:1312.6114.
        Rezende, Mohamed and Wierstra (2014), Stochastic backpropagation, arXiv:1401.4082.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        prior: Prior,
        posterior: DistributionLayer,
        likelihood: DistributionLayer,
        objective: Objective | None = None,
        corruption: Corruption | None = None,
        seed: int = 0,
        name: str = "vae",
        **kwargs: Any,
    ) -> None:
        bounds = all(getattr(slot, "has_density", True) for slot in (prior, posterior))
        super().__init__(seed=seed, name=name, bounds=bounds, **kwargs)
        objective = ELBO() if objective is None else objective
        check_slots(prior, posterior, likelihood, objective, corruption)
        check_groups(objective, 1)
        check_network(encoder, "encoder", likelihood.event_shape, posterior, "posterior")
        check_network(decoder, "decoder", prior.event_shape, likelihood, "likelihood")
        self.encoder = encoder
        self.decoder = decoder
        self.prior = prior
        self.posterior = posterior
        self.likelihood = likelihood
        self.objective = objective
        self.corruption = corruption
        check_conditions_agree(self.takers)
        # A custom train_step never builds a model, and Keras restores the optimizer's state
        # only into one that is built.
        self.built = True

    @property
    def reads_y(self) -> bool:
        """Whether the y of ``fit(x, y)`` is read: as a condition."""
        return self.conditional

    def networks(self) -> tuple[keras.layers.Layer, ...]:
        """Return encoder and decoder, and slots that may hold networks of their own."""
        return self.encoder, self.decoder, self.posterior, self.prior

    @property
    def group_count(self) -> int:
        """How many groups of latents a pass has, each with a KL of its own."""
        return len(self.latent_priors)

    @property
    def rows_per_draw(self) -> int:
        """How many rows the decoder runs for one draw of an example's latents."""
        return 1

    def check_examples(self, examples: Examples | Records) -> None:
        """Refuse a training set without conditions, or too small for the posterior."""
        self.posterior.check_examples(len(examples))
        self.check_condition(examples, "vae.fit(x, c)")

    def check_condition(self, examples: Examples | Records, call: str) -> None:
        """Refuse examples without finite conditions where the model asks for them."""
        if not self.conditional:
            return
        taker = next(iter(self.takers))
        y = intake.labels(examples)
        if y is None:
            raise ValueError(
                f"Expected conditions for the {taker}, one for each example. Received: x alone. "
                f"Pass them too: {call}."
            )
        if y.dtype.kind == "f" and not np.all(np.isfinite(y)):
            raise ValueError(
                f"Expected finite conditions for the {taker}. Received: NaN or infinity among "
                f"those of {call}."
            )
        self.check_labels(y)

    @property
    def check_stream(self) -> Callable[[Examples], None] | None:
        """What looks at the first batch of a stream."""
        if not self.reads_y:
            return None
        return functools.partial(self.check_condition, call="vae.fit(a dataset of pairs (x, c))")

    def possible(self, batch: Unpacked) -> Unpacked:
        """Return a batch whose x is NaN where its label is of no class, which stops training.

        An embedding would read another class in its place. Examples in memory were checked; of a
        stream, no more than the first batch.
        """
        if self.classes is None or batch.condition is None:
            return batch
        x = tf.cast(batch.seen, self.likelihood.compute_dtype)
        label = tf.cast(batch.condition, tf.float32)
        fits = (label >= 0) & (label < self.classes) & (label == tf.floor(label))
        fits = tf.reduce_all(tf.reshape(fits, [tf.shape(x)[0], -1]), axis=-1)
        fits = tf.reshape(fits, [-1, *[1] * len(self.data_shape)])
        return batch._replace(seen=tf.where(fits, x, tf.constant(math.nan, x.dtype)))

    def unpack(self, data: Any) -> Unpacked:
        """Read a batch; where the model is conditional, y is the condition."""
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        condition = y if self.conditional else None
        return Unpacked(seen=x, target=x, condition=condition, weight=weight)

    def encode(
        self, x: tf.Tensor, training: bool = False, condition: tf.Tensor | None = None
    ) -> Distribution:
        """Return the posterior q(z|x), batch shape [B]; of a conditional encoder, q(z|x, c)."""
        return self.posterior(self.encoder_params(x, training, self.given(x, condition)))

    def given(self, x: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor | None:
        """Return what the networks are given beside x: the condition, as it comes."""
        return condition

    def encoder_params(
        self, x: tf.Tensor, training: bool = False, condition: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Run the encoder on x [B, *data]: [B, *posterior.params_shape]."""
        return conditions.run(self.encoder, self.as_data(x), condition, training)

    def code(
        self, x: tf.Tensor, training: bool = False, condition: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Return the mean of q(z|x), [B, *latent]: what a reconstruction is decoded from."""
        return self.posterior.mean(self.encoder_params(x, training, condition))

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
        """Pass a batch through the model.

        Args:
            x: what the encoder sees, [B, *data].
            samples: posterior draws of each example, S.
            seed: an integer or a seed of shape [2]; the draws are a function of it.
            target: what the likelihood is evaluated at; x by default.
            condition: for a conditional model, [B, ...].
            mask: 1 where a value of the target was observed, broadcastable to it.
            weight: weights of the examples, [B].
            training: passed to the networks (Dropout, BatchNormalization).
            position: index of the first example in a larger batch, of which this is a part and
                whose noise it is to have.
            noise: the posterior's base noise, [S, B, *noise_shape], in place of `samples` and
                `seed`.

        Returns:
            A :class:`tfvae.Trace`, terms of shape [S, B].
        """
        x = self.as_data(x)
        # Before the encoder sees x: a prior may share it, and Keras keeps the penalties
        # (`encoder.losses`) of a network's last call only.
        prior = self.prior(condition if self.prior.conditional else None)
        params = self.encoder_params(x, training, condition)
        params = tf.cast(params, self.posterior.compute_dtype)
        if training:
            self.posterior.observe(params)
        layer = self.posterior
        if noise is None and layer.noise is not None:
            batch = x.shape[0] if x.shape[0] is not None else tf.shape(x)[0]
            noise = random.noise(
                layer.noise, seed, samples, batch, layer.noise_shape, layer.choices, position
            )
        if noise is None:
            seed = seed if position is None else random.fold(seed, position)
            posterior = layer(params)
            z = posterior.sample(samples, seed=tf.cast(random.as_seed(seed), tf.int32))
        else:
            z, posterior = layer.draw(noise, params)
        return Trace(
            x=x if target is None else self.as_data(target),
            latents=(Latent(z, prior, posterior),),
            decode=carried(lambda draws: self.decode(draws[0], training, condition)),
            condition=condition,
            mask=mask,
            weight=weight,
            training=training,
            step=tf.convert_to_tensor(self.step),
            dataset_size=self.dataset_size,
            jacobian=lambda: self.jacobian(x, condition),
        )

    def latents(self, x: tf.Tensor, samples: int = 1, seed: Any = 0, **given: Any) -> Any:
        """Return the groups of latents of a pass, of each example one; see :meth:`trace`."""
        return self.trace(x, samples, seed, **given).latents

    def jacobian(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Return the derivative of the codes, the posterior's means, by x: [B, d, *data]."""
        x, size = self.as_data(x), math.prod(self.posterior.event_shape)
        condition = self.given(x, condition)
        # A row for each value of the code: one backward pass of a larger batch, which compiles
        # to matrix products where TensorFlow's vectorised map does not.
        rows = tf.repeat(x, size, axis=0)
        given = None if condition is None else tf.repeat(condition, size, axis=0)
        with tf.GradientTape() as tape:
            tape.watch(rows)
            code = self.code(rows, condition=given)
            each = tf.linalg.diag_part(tf.reshape(code, [-1, size, size]))
        return tf.reshape(tape.gradient(each, rows), [-1, size, *self.data_shape])

    def reconstruct(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Return the mean of p(x|z) at the mean of q(z|x), [B, *data]."""
        return self.call(x, condition=condition)

    def call(
        self, x: tf.Tensor, training: bool = False, condition: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Return the reconstruction, which is also what ``predict`` returns."""
        condition = self.given(x, condition)
        z = self.code(x, training, condition)
        return self.likelihood.mean(self.decoder_params(z, training, condition))

    def score(
        self,
        x: Any,
        *,
        samples: int = 50,
        seed: int = 0,
        seeds: Any = None,
        condition: Any = None,
        batch_size: int = 64,
    ) -> Scores:
        r"""Return the ELBO and the importance weighted bound on log p(x) of each row, in nats.

        .. math:: \log \frac1S \sum_{s=1}^S \frac{p(x|z_s)\, p(z_s)}{q(z_s|x)}

        Row i draws from the posterior by its own seed, ``seed + i`` or ``seeds[i]``: the same
        scores whatever the batch, and in every export of this model.

        Args:
            x: [N, *data].
            samples: importance samples of each row, S.
            seed: the first row's seed.
            seeds: the rows' seeds, int64 [N], instead of `seed`.
            condition: for a conditional prior, one for each row.
            batch_size: rows at a time; `samples` times as many are decoded.

        Returns:
            ``Scores(elbo [N], log_marginal [N])``.

        Raises:
            ValueError: for data or conditions that do not fit the model, samples < 1, or a
                prior or posterior without a density or without a map from base noise.

        References:
            Burda, Grosse and Salakhutdinov (2016), arXiv:1509.00519.
        """
        check_samples(samples)
        if obstacle := self.score_obstacle():
            raise ValueError(obstacle)
        examples = intake.examples(self.likelihood, x, condition)
        self.check_condition(examples, "vae.score(x, condition=c)")
        values, given = examples.values(), examples.y if self.conditional else None
        if given is not None:
            check_conditions(self, len(values), given)
        rows = row_seeds(len(values) if seeds is None else None, seed, seeds)
        if len(rows) != len(values):
            raise ValueError(
                f"Expected `seeds` to be one for each row. Received: {len(rows)} for "
                f"{len(values)} rows."
            )
        if samples not in self._scorers:
            self._scorers[samples] = compiled(
                functools.partial(self.score_rows, samples=samples),
                self,
                tf.TensorSpec([None, *self.data_shape], self.likelihood.compute_dtype),
                tf.TensorSpec([None], tf.int64),
            )
        return Scores(*in_batches(self._scorers[samples], batch_size, values, rows, given))

    def score_rows(
        self, x: tf.Tensor, seed: tf.Tensor, condition: tf.Tensor | None = None, *, samples: int
    ) -> Scores:
        """Score rows x [B, *data] by int64 seeds [B], in portable operations."""
        layer = self.posterior
        assert layer.noise is not None
        (noise,) = random.row_noise(
            seed,
            random.Request(
                layer.noise, layer.noise_shape, random.POSTERIOR, layer.choices, samples
            ),
        )
        return Scores.of(self.trace(x, condition=condition, noise=noise))

    def score_obstacle(self) -> str:
        """Say which slot leaves :meth:`score` undefined, or nothing."""
        for slot in ("posterior", "prior"):
            layer = getattr(self, slot)
            if not layer.has_density:
                return (
                    f"Expected a {slot} with a density, without which there is no bound on "
                    f"log p(x). Received: {slot}={type(layer).__name__}."
                )
        if self.posterior.noise is None:
            return (
                "Expected a posterior that is a map of base noise, to draw row by row. Received: "
                f"posterior={type(self.posterior).__name__}. Score a data set with "
                "tfvae.evaluate.log_marginal."
            )
        return ""

    @functools.cached_property
    def _scorers(self) -> dict[int, Callable[..., Scores]]:
        """The compiled functions of :meth:`score`, by their number of samples."""
        return {}

    def export(self, path: str | Path, **kwargs: Any) -> Path:
        """Export a verified generator for TF Serving and ONNX Runtime.

        Short for :func:`tfvae.export.export`, which documents the arguments.
        """
        from tfvae import export

        published: Path = export.export(self, path, **kwargs)
        return published

    def fit_prior(self, x: Any, prior: Any = "mixture", **options: Any) -> VAE:
        """Return a new VAE whose prior is fitted to the aggregate posterior of x.

        Short for :func:`tfvae.expost.fit_prior`, which documents the arguments.
        """
        from tfvae import expost

        fitted: VAE = expost.fit_prior(self, x, prior, **options)
        return fitted

    def summary(self, *args: Any, print_fn: Any = None, **kwargs: Any) -> None:
        """Print Keras's summary, the slots, and how their KL is computed."""
        super().summary(*args, print_fn=print_fn, **kwargs)
        (print_fn or print)("\n".join([*self.described(), f" objective  {self.objective}"]))

    def described(self) -> list[str]:
        """Describe the slots, a line each, and how their KL is computed."""
        lines = [
            f" {slot:<11}{type(layer).__name__}, event shape {layer.event_shape}"
            for slot, layer in (
                ("prior", self.prior),
                ("posterior", self.posterior),
                ("likelihood", self.likelihood),
            )
        ]
        if self.posterior.has_density and self.prior.has_density and not self.conditional:
            (latent,) = self.trace(tf.zeros([1, *self.data_shape])).latents
            exact = latent.has_closed_form_kl
            lines.append(f" {'KL':<11}{'in closed form' if exact else 'by Monte Carlo'}")
        return lines

    takes_another_prior = True
    """Whether :func:`tfvae.expost.fit_prior` can put another prior in its place."""

    @property
    def own_config(self) -> dict[str, Any]:
        """What the constructor of a family takes beyond these slots, as it can be saved."""
        return {}

    def values_per_example(self, x: Any) -> float:
        """Return how many values an example has on average: what bits are counted by."""
        return math.prod(self.data_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, serialised by Keras."""
        # The prior last: Keras marks an object as shared only in what it wrote of it at this level
        # or later, and a prior may share the encoder and the posterior.
        slots = ("encoder", "decoder", "posterior", "likelihood", "objective", "prior")
        return {
            **{slot: keras.saving.serialize_keras_object(getattr(self, slot)) for slot in slots},
            "corruption": keras.saving.serialize_keras_object(self.corruption),
            "seed": self.seed,
            "name": self.name,
            # Under mixed_float16 the policy decides what the optimizer's state looks like.
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            **self.own_config,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> VAE:
        """Rebuild a model from :meth:`get_config`."""
        return cls(
            **{
                key: keras.saving.deserialize_keras_object(value, custom_objects=custom_objects)
                if isinstance(value, dict | list)
                else value
                for key, value in config.items()
            }
        )

    def as_data(self, x: tf.Tensor) -> tf.Tensor:
        """Cast x to the precision of the slots, or say that its shape is not the model's."""
        x = tf.cast(x, self.likelihood.compute_dtype)
        if x.shape.rank is not None and not x.shape[1:].is_compatible_with(self.data_shape):
            raise ValueError(shape_message(self.data_shape, tuple(x.shape), "x"))
        return x


def load_model(path: str | Path, **kwargs: Any) -> VAE:
    """Load a VAE from a ``.keras`` file, optimizer state included.

    Args:
        path: what ``vae.save`` wrote.
        **kwargs: passed to ``keras.models.load_model``.

    Returns:
        The model.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a whole ``.keras`` file or holds another kind of model.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a .keras file. Received: {path}, which does not exist.")
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"Expected a whole .keras file, as `vae.save` writes it. Received: {path}, which is "
            "truncated or something else."
        )
    from tfvae import families

    for package in (layers, families):
        for name in dir(package):
            getattr(package, name)  # Keras finds classes once they are imported; these are lazy.
    try:
        model = keras.models.load_model(path, **kwargs)
    except (KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        # Keras puts the whole configuration between its first line and the cause.
        cause = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise ValueError(f"Could not load {path} as a tfvae model: {cause[0][:500]}") from error
    if not isinstance(model, VAE):
        raise ValueError(
            f"Expected a model that tfvae saved. Received: {path}, which holds a "
            f"{type(model).__name__}. Load it with keras.models.load_model."
        )
    return model

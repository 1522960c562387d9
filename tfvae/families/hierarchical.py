"""Hierarchies of latents: each level is drawn given the one above it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfvae import conditions, random
from tfvae.bayesian.sampling import carried
from tfvae.checks import check_groups, check_network, check_slots
from tfvae.corruptions import Corruption
from tfvae.families.chain import Chain
from tfvae.families.levels import (
    Given,
    Part,
    check_encoder,
    check_levels,
    emitted_levels,
    merged,
    of_layer,
)
from tfvae.layers.base import DistributionLayer
from tfvae.layers.kl import has_closed_form
from tfvae.model import VAE, Scores
from tfvae.objectives import ELBO, Objective
from tfvae.priors import Prior
from tfvae.trace import Distribution, Latent, Trace
from tfvae.training import TraceModel

Choice = Callable[[int, Part], tuple[tf.Tensor, Distribution]]
"""Of a level and its posterior, returns the value to go on with and the posterior."""


@keras.saving.register_keras_serializable("tfvae")
class HierarchicalVAE(Chain, VAE):
    r"""A VAE whose latents are a chain of levels, z_0 nearest to the data and z_{L-1} the top.

    .. math:: p(x, z) = p(z_{L-1}) \prod_{l < L-1} p(z_l|z_{l+1})\; p(x|z_0)

    *Ladder* inference goes down the same chain: each level's posterior is the product of what
    the encoder says of it, bottom-up, and its prior given the level above, both Gaussian:

    .. math:: q(z_l|z_{l+1}, x) \propto \mathcal N(z_l; \hat\mu_l(x), \hat\sigma_l^2(x))\,
        p(z_l|z_{l+1})

    *Bottom-up* inference goes up a chain of its own, q(z_0|x) q(z_1|z_0) ... The KL of a level is
    then known in closed form at the top alone: below, the prior is given a draw that was itself
    drawn given z_l, and the mean of log q - log p over the draws stands for it.

    Args:
        encoder: a Keras model. For ladder inference, x [B, *data] to a list of parameters
            [B, *posterior.params_shape], level 0's first (:func:`ladder_encoder` makes one); for
            bottom-up inference, x to the parameters of level 0's posterior.
        decoder: z_0 [B, *latent] to the likelihood's parameters.
        bottom_up: for bottom-up inference, a network for each level from 1 on: the draw below to
            the parameters of its posterior. None for ladder inference.
        priors: of each level, level 0's first: a :class:`tfvae.priors.Conditional`, whose
            condition is the draw above; of the top any unconditional prior.
        posteriors: of each level, level 0's first, each a map of base noise; in ladder inference,
            below the top, Normals, as are the priors' layers.
        likelihood: p(x|z_0); its event shape is that of x.
        objective: what is minimised; the negative ELBO by default. Its weight and its free bits
            may be tuples, of one for each level.
        corruption: as of :class:`tfvae.VAE`.
        seed: as of :class:`tfvae.VAE`.
        name: the model's name.

    Attributes:
        prior: of the top level.
        posterior: of the top level.
        levels: how many there are.

    Raises:
        TypeError: if a slot is not of its kind.
        ValueError: if there is no level, their numbers or shapes do not fit, or a slot lacks what
            its place needs.

    Example:
        >>> vae = tfvae.zoo.hierarchical_vae((8, 8), latent_dim=(4, 2), hidden=(16,))
        >>> x = np.random.default_rng(0).integers(0, 2, (64, 8, 8)).astype("float32")
        >>> history = vae.fit(x, epochs=1, verbose=0)
        >>> sorted(history.history)
        ['elbo', 'kl', 'kl_0', 'kl_1', 'log_likelihood', 'loss']
        >>> drawn = vae.generate(3, seed=0, temperature=(1.0, 0.5))
        >>> [tuple(z.shape) for z in drawn.z], tuple(drawn.sample.shape)
        ([(3, 4), (3, 2)], (3, 8, 8))

    References:
        Rezende, Mohamed and Wierstra (2014), Stochastic backpropagation, arXiv:1401.4082.
        Soenderby, Raiko, Maaloee, Soenderby and Winther (2016), Ladder variational autoencoders,
        arXiv:1602.02282.
    """

    takes_another_prior = False

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        bottom_up: Sequence[keras.Model] | None = None,
        *,
        priors: Sequence[Prior],
        posteriors: Sequence[DistributionLayer],
        likelihood: DistributionLayer,
        objective: Objective | None = None,
        corruption: Corruption | None = None,
        seed: int = 0,
        name: str = "hierarchical_vae",
        **kwargs: Any,
    ) -> None:
        objective = ELBO() if objective is None else objective
        check_levels(priors, posteriors, bottom_up)
        for prior, posterior in zip(priors, posteriors, strict=True):
            check_slots(prior, posterior, likelihood, objective, corruption)
        check_groups(objective, len(priors))
        # Not by way of VAE, whose slots have one level.
        terms = [f"kl_{level}" for level in range(len(priors))]
        TraceModel.__init__(self, seed=seed, name=name, terms=terms, **kwargs)
        if bottom_up is None:
            check_encoder(encoder, likelihood.event_shape, posteriors)
        else:
            check_network(encoder, "encoder", likelihood.event_shape, posteriors[0], "posterior")
        check_network(decoder, "decoder", priors[0].event_shape, likelihood, "likelihood")
        self.encoder = encoder
        self.decoder = decoder
        self.bottom_up = None if bottom_up is None else list(bottom_up)
        self.priors = list(priors)
        self.posteriors = list(posteriors)
        self.prior = self.priors[-1]
        self.posterior = self.posteriors[-1]
        self.likelihood = likelihood
        self.objective = objective
        self.corruption = corruption
        if self.takers:
            raise ValueError(
                "Expected networks and a top prior that take no condition, which hierarchies do "
                f"not have. Received: one for the {next(iter(self.takers))}."
            )
        self.built = True

    def networks(self) -> tuple[keras.layers.Layer, ...]:
        """Return all networks, and slots that may hold networks of their own."""
        between = () if self.bottom_up is None else tuple(self.bottom_up)
        return self.encoder, self.decoder, *between, *self.posteriors, *self.priors

    def slot_layers(self, slot: str) -> tuple[keras.layers.Layer, ...]:
        """Return the layers of a slot, of all levels."""
        if slot in ("prior", "posterior"):
            return tuple(getattr(self, f"{slot}s"))
        between = self.bottom_up if slot == "encoder" and self.bottom_up is not None else []
        return (*super().slot_layers(slot), *between)

    def check_examples(self, examples: Any) -> None:
        """Refuse a training set too small for a posterior."""
        for posterior in self.posteriors:
            posterior.check_examples(len(examples))

    def encoder_params(
        self, x: tf.Tensor, training: bool = False, condition: tf.Tensor | None = None
    ) -> list[tf.Tensor]:
        """Run the encoder on x [B, *data]: what it emits for each level, or for level 0."""
        return emitted_levels(conditions.run(self.encoder, self.as_data(x), condition, training))

    def encode(
        self, x: tf.Tensor, training: bool = False, condition: tf.Tensor | None = None
    ) -> tuple[Distribution, ...]:
        """Return each level's posterior given the means of what it depends on, batch shape [B]."""
        return tuple(group.posterior for group in self.means(x, training))

    def code(
        self, x: tf.Tensor, training: bool = False, condition: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Return the mean of z_0, given the means of what it depends on, [B, *latent]."""
        return self.means(x, training)[0].z

    def means(self, x: tf.Tensor, training: bool = False) -> tuple[Latent, ...]:
        """Return the levels at their means, each given those of what it depends on: z [B, ...]."""
        return self.groups(self.encoder_params(x, training), _mean, training)

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
        noise: Sequence[tf.Tensor] | None = None,
    ) -> Trace:
        """Pass a batch through the model; its latents are the levels, z_0 first.

        Args and result are those of :meth:`tfvae.VAE.trace`; `noise` is a tuple, [S, B,
        *noise_shape] for each level.
        """
        x = self.as_data(x)
        emitted = self.encoder_params(x, training, condition)
        if noise is None:
            batch = x.shape[0] if x.shape[0] is not None else tf.shape(x)[0]
            noise = [
                random.noise(
                    layer.noise,
                    random.fold(seed, random.level(random.POSTERIOR, level)),
                    samples,
                    batch,
                    layer.noise_shape,
                    layer.choices,
                    position,
                )
                for level, layer in enumerate(self.posteriors)
                if layer.noise is not None
            ]
        drawn = tuple(noise)

        def draw(level: int, part: Part) -> tuple[tf.Tensor, Distribution]:
            return part.draw(drawn[level])

        def relate(draws: tuple[tf.Tensor, ...]) -> tuple[Latent, ...]:
            def given(level: int, part: Part) -> tuple[tf.Tensor, Distribution]:
                return draws[level], part.distribution()

            return self.groups(emitted, given, training)

        return Trace(
            x=x if target is None else self.as_data(target),
            latents=self.groups(emitted, draw, training),
            decode=carried(lambda draws: self.decode(draws[0], training, condition)),
            condition=condition,
            mask=mask,
            weight=weight,
            training=training,
            step=tf.convert_to_tensor(self.step),
            dataset_size=self.dataset_size,
            relate=relate,
        )

    def groups(
        self, emitted: Sequence[tf.Tensor], choose: Choice, training: bool = False
    ) -> tuple[Latent, ...]:
        """Go through the chain, choosing a value at each level, and return the levels.

        Args:
            emitted: what :meth:`encoder_params` returned.
            choose: of a level and its posterior, the value to go on with.
            training: passed to the networks.
        """
        top = self.levels - 1
        values: list[Any] = [None] * self.levels
        posteriors: list[Any] = [None] * self.levels
        above: list[Given] = []

        def prior_of(level: int) -> Given:
            """Level's prior given the value chosen above."""
            return Given(self.priors[level], values[level + 1], training)

        if self.bottom_up is None:
            for level in reversed(range(self.levels)):
                part = of_layer(self.posteriors[level], emitted[level])
                if level < top:
                    above.insert(0, prior_of(level))
                    part = merged(self.posteriors[level], emitted[level], above[0])
                values[level], posteriors[level] = choose(level, part)
        else:
            (params,) = emitted
            for level, layer in enumerate(self.posteriors):
                if level:
                    params = conditions.run_samples(
                        self.bottom_up[level - 1],
                        values[level - 1],
                        self.latent_shapes[level - 1],
                        layer.params_shape,
                        training=training,
                    )
                values[level], posteriors[level] = choose(level, of_layer(layer, params))
            above = [prior_of(level) for level in range(top)]
        priors = [*(given.distribution for given in above), self.prior(None)]
        return tuple(
            Latent(
                values[level],
                priors[level],
                posteriors[level],
                name=self.latent_names[level],
                closed_form=self.bottom_up is None or level == top,
            )
            for level in range(self.levels)
        )

    def measured(self, trace: Trace) -> dict[str, tf.Tensor]:
        """Return what is reported of a pass: the KL of each level too."""
        each = tf.unstack(trace.kl_per_latent, axis=-1)
        return super().measured(trace) | {f"kl_{level}": kl for level, kl in enumerate(each)}

    def score_rows(
        self, x: tf.Tensor, seed: tf.Tensor, condition: tf.Tensor | None = None, *, samples: int
    ) -> Scores:
        """Score rows x [B, *data] by int64 seeds [B], in portable operations."""
        requests = [
            random.Request(
                layer.noise,
                layer.noise_shape,
                random.level(random.POSTERIOR, level),
                layer.choices,
                samples,
            )
            for level, layer in enumerate(self.posteriors)
            if layer.noise is not None
        ]
        trace = self.trace(x, noise=random.row_noise(seed, *requests))
        elbo = tf.reduce_mean(trace.log_likelihood, axis=0) - trace.kl
        bound = tf.reduce_logsumexp(trace.log_weight, axis=0) - math.log(samples)
        return Scores(elbo, bound)

    def described(self) -> list[str]:
        """Describe each level's slots, and how its KL is computed."""
        lines = []
        zeros = tf.zeros([1, *self.data_shape], self.likelihood.compute_dtype)
        for level, group in enumerate(self.means(zeros)):
            exact = group.closed_form and has_closed_form(group.posterior, group.prior)
            prior, posterior = self.priors[level], self.posteriors[level]
            lines.append(
                f" level {level:<5}prior {type(getattr(prior, 'layer', prior)).__name__}, "
                f"posterior {type(posterior).__name__}, event shape {posterior.event_shape}, KL "
                f"{'in closed form' if exact else 'by Monte Carlo'}"
            )
        likelihood = f"{type(self.likelihood).__name__}, event shape {self.likelihood.event_shape}"
        return [*lines, f" likelihood {likelihood}"]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, serialised by Keras."""
        config = super().get_config()
        del config["prior"], config["posterior"]
        # The priors last, as in a flat VAE: one may share the encoder.
        return config | {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in ("bottom_up", "posteriors", "priors")
        }


def _mean(level: int, part: Part) -> tuple[tf.Tensor, Distribution]:
    return part.mean(), part.distribution()

"""Variational recurrent networks: sequences whose every step depends on all that was before."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import tensorflow as tf

from tfvae import conditions, random, sequences
from tfvae.families.memory import Memory
from tfvae.families.passes import Paths, cut
from tfvae.families.paths import Chain, as_before, as_rows, under_every
from tfvae.families.repeated import Repeated, over_steps
from tfvae.families.scan import scan
from tfvae.families.sequential import Draws, SequentialVAE
from tfvae.families.structured import Filtered
from tfvae.generation import Generated, base_noise

State = tuple[tf.Tensor, ...]


@keras.saving.register_keras_serializable("tfvae")
class VRNN(SequentialVAE):
    r"""A VAE of sequences at every step of a recurrent network.

    .. math:: p(x, z) = \prod_{t=1}^T p(z_t | h_{t-1})\, p(x_t | z_t, h_{t-1}), \qquad
        h_t = f(h_{t-1}, x_t, z_t), \qquad q(z|x) = \prod_{t=1}^T q(z_t | x_t, h_{t-1})

    All that is said of :class:`SequentialVAE` holds but that it imputes, and that values may be
    missing: h_t is a function of the whole of x_t, and q(z|x) knows what was before a step, not
    what comes after. So sequences may end at any step, and up to there all must have been observed.
    Gaps are refused in arrays and eager tensors. In streams they go unseen: a recurrence that reads
    0 in them bounds the density of another model than the one that ``generate`` draws from.

    Args:
        encoder: two inputs, x [B, H, \*step], 0 after the last step, and what was observed of it,
            of the same shape, to features of each step alone [B, H, k], for any H.
        decoder: two inputs, latents [B, H, d] and the states before them [B, H, n], to the
            likelihood's parameters at each step, for any H.
        prior: p(z_t|h_{t-1}), and what is remembered.
        posterior: q(z_t|x_t, h_{t-1}), a function of the features and the state.
        likelihood: p(x_t|z_t, h_{t-1}) at each step.
        objective: as of :class:`SequentialVAE`.
        ragged: as of :class:`SequentialVAE`.
        seed: as of :class:`SequentialVAE`.
        name: the model's name.

    Raises:
        TypeError: if a slot is not of its kind.
        ValueError: if shapes do not fit, or a slot lacks what the objective needs.

    Example:
        >>> vae = tfvae.zoo.vrnn((8, 3), 2, likelihood="Normal", hidden=(8,), units=8)
        >>> vae.generate(2, seed=0).sample.shape
        TensorShape([2, 8, 3])

    References:
        Chung, Kastner, Dinh, Goel, Courville and Bengio (2015), A recurrent latent variable model
        for sequential data, arXiv:1506.02216.
    """

    kinds: ClassVar[dict[str, type[Any]]] = {"prior": Memory, "posterior": Filtered}
    impute_obstacle = (
        "Expected a model whose posterior knows what comes after a step, to impute. Received: a "
        "VRNN, which knows what was before. Use a deep_markov_model; to go on after the last step "
        "use forecast."
    )
    decode_obstacle = (
        "Expected a model whose x_t depends on the latents alone, to decode these. Received: a "
        "VRNN, in which it depends on all x before it too. Use generate, or reconstruct."
    )

    def decode(
        self, z: tf.Tensor, training: bool = False, condition: tf.Tensor | None = None
    ) -> Any:
        """Refuse to decode latents alone: p(x_t|z_t, h_{t-1}) depends on x before t."""
        raise ValueError(self.decode_obstacle)

    def check_observed(self, x: Any, observed: Any, argument: str) -> Any:
        """Return what was observed of sequences as an array, checked; refuse gaps."""
        given = super().check_observed(x, observed, argument)
        sequences.check_without_gaps(given, argument)
        return given

    def mask(self, observed: tf.Tensor) -> tf.Tensor:
        """Return what was observed as a mask that broadcasts to x; refuse gaps, if they show."""
        mask = super().mask(observed)
        if tf.executing_eagerly():
            sequences.check_without_gaps(mask.numpy(), "observed")
        return mask

    def paths(self, params: tf.Tensor, valid: tf.Tensor | None) -> Paths:
        """Return what features [B, T, k] say, and which steps there are [B, T], of paths."""
        # The states are found once for each tensor of draws: prior, posterior and decoder ask.
        found: list[tuple[tf.Tensor, tf.Tensor]] = []

        def before(z: tf.Tensor) -> tf.Tensor:
            for known, states in found:
                if known is z:
                    return states
            paths = under_every(z, params)
            _, leading = as_rows(paths)
            states = self.prior.states(paths, self.posterior.features(params, leading))
            found.append((z, states))
            return states

        def drawn(noise: tf.Tensor | None, *, prior: bool = False) -> tf.Tensor:
            z, memory = self._walk(noise, params, prior=prior)
            leading = as_rows(z)[1]
            z = cut(z, valid)
            found.append((z, as_before(self.prior.before(memory), leading)))
            return z

        def conditionals(z: tf.Tensor, *, prior: bool) -> Any:
            states = before(z)
            if prior:
                return over_steps(self.prior.layer(self.prior.params(states)), valid)
            rows, leading = as_rows(states)
            features = self.posterior.features(params, leading)
            out = as_before(self.posterior.combined(rows, features), leading)
            return over_steps(self.posterior.layer(out), valid)

        def chain(prior: bool) -> Chain:
            return Chain(
                lambda z: conditionals(z, prior=prior),
                lambda noise: drawn(noise, prior=prior),
                self.latent_shape,
                params.shape[:-2],
                self.posterior.compute_dtype,
            )

        def emit(z: tf.Tensor, training: bool) -> tf.Tensor:
            rows, leading = as_rows(under_every(z, params))
            states, _ = as_rows(before(z))
            return as_before(conditions.run(self.decoder, rows, states, training), leading)

        return Paths(chain(True), chain(False), drawn, lambda: drawn(None), emit)

    def _walk(
        self, noise: tf.Tensor | None, params: tf.Tensor, *, prior: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Draw paths [..., T, d], or their means, by features [B, T, k]; what is remembered too.

        Returns:
            z [..., T, d], and as rows [R, T, m] what is remembered after each step.
        """
        if noise is None:
            features, leading = as_rows(params)
            given = [features]
        else:
            rows, leading = as_rows(tf.cast(noise, self.posterior.compute_dtype))
            features = self.posterior.features(params, leading)
            given = [features, rows]
        layer = self.prior.layer if prior else self.posterior.layer

        def step(state: State, now: State) -> State:
            states = self.prior.seen(state[1])
            if prior:
                out = self.prior.params(states)
            else:
                out = self.posterior.combined(states[:, None], now[0][:, None])[:, 0]
            z = layer.mean(out) if noise is None else layer.transform(now[1], out)
            memory = self.prior.follow(state[1], now[0], z)
            return tf.concat([z, memory], axis=-1), memory

        memory, size = self.prior.start(tf.shape(features)[0]), self.latent_shape[-1]
        first = tf.zeros([tf.shape(features)[0], size], memory.dtype)
        path = scan(step, (tf.concat([first, memory], axis=-1), memory), given)
        return as_before(path[..., :size], leading), path[..., size:]

    def whole_rows(self, seed: tf.Tensor, temperature: tf.Tensor) -> Generated:
        """Draw rows of T steps from int64 seeds [B] and float32 temperatures [B]."""
        self._check_portable("generate")
        slots = ((self.prior, random.LATENT), (self.likelihood, random.OBSERVATION))
        noise, other = base_noise(seed, slots)
        noise = self.prior.tempered(noise, temperature[:, None, None])
        return self._go_on(self.prior.start(tf.shape(seed)[0]), noise, other, self.likelihood)

    def remembered(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return what the future depends on after each step, [S, B, T, m]: the cell's states."""
        z, memory = self._walk(noise, params)
        return as_before(memory, as_rows(z)[1])

    def onward(self, last: tf.Tensor, noise: tf.Tensor, seed: tf.Tensor) -> Draws:
        """Go on from what is remembered [S, B, m] with noise of latents [S, B, H, d]."""
        samples, _, steps, size = noise.shape
        layer = Repeated(self.likelihood.layer, steps)
        other = self._observation_noise(seed, layer, samples)
        drawn = self._go_on(
            tf.reshape(last, [-1, last.shape[-1]]),
            tf.reshape(noise, [-1, steps, size]),
            tf.reshape(other, [-1, *other.shape[2:]]),
            layer,
        )
        order = [1, 0, *range(2, 2 + len(layer.event_shape))]
        return Draws(
            *(
                tf.transpose(tf.reshape(each, [samples, -1, *layer.event_shape]), order)
                for each in (drawn.mean, drawn.sample)
            )
        )

    def _go_on(
        self, memory: tf.Tensor, noise: tf.Tensor, other: tf.Tensor, layer: Repeated
    ) -> Generated:
        """Draw z_t, x_t and what is remembered, one after the other.

        Args:
            memory: what is remembered before, [R, m].
            noise: of the latents, [R, H, d].
            other: of what is observed, [R, *layer.noise_shape].
            layer: the likelihood of H steps.
        """
        each, event = layer.layer, layer.layer.event_shape
        other = layer.of_steps(other)
        flat = tf.reshape(other, [-1, layer.steps, other.shape[2:].num_elements()])

        def step(state: State, now: State) -> State:
            states = self.prior.seen(state[1])
            z = self.prior.layer.transform(now[0], self.prior.params(states))
            out = conditions.run(self.decoder, z[:, None], states[:, None])[:, 0]
            x = each.transform(tf.reshape(now[1], [-1, *each.noise_shape]), out)
            features = conditions.run(self.encoder, x[:, None], tf.ones_like(x[:, None]))[:, 0]
            features = tf.cast(features, memory.dtype)
            seen = tf.concat([z, states, tf.reshape(x, [-1, size])], axis=-1)
            return seen, self.prior.follow(state[1], features, z)

        size = tf.TensorShape(event).num_elements()
        sizes = [self.latent_shape[-1], self.prior.cell.output_size, size]
        first = tf.zeros([tf.shape(memory)[0], sum(sizes)], memory.dtype)
        whole = scan(step, (first, memory), [tf.cast(noise, memory.dtype), flat])
        z, states, x = tf.split(whole, sizes, axis=-1)
        mean = layer.mean(conditions.run(self.decoder, z, states))
        return Generated(z, mean, tf.reshape(x, [-1, layer.steps, *event]))

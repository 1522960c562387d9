"""Deep Markov models: sequences whose latents follow each other, drawn row by row."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfvae import conditions, random
from tfvae.families.passes import SequencePass, cut
from tfvae.families.repeated import Repeated, check_steps
from tfvae.generation import Generated, check_request, in_batches, row_seeds
from tfvae.model import Scores
from tfvae.objectives import check_samples


class Draws(NamedTuple):
    """Draws of what was not seen: the means of p(x_t|z_t), and draws from it, [S, N, T, *step]."""

    mean: tf.Tensor
    sample: tf.Tensor


@keras.saving.register_keras_serializable("tfvae")
class SequentialVAE(SequencePass):
    r"""A VAE of sequences, whose latents follow each other in time.

    .. math:: p(x, z) = p(z_1) \prod_{t=2}^T p(z_t | z_{t-1}) \prod_{t=1}^T p(x_t | z_t), \qquad
        q(z|x) = \prod_{t=1}^T q(z_t | z_{t-1}, h_t(x))

    A VAE whose slots are sequences: all objectives and evaluations are a VAE's. Its KL is, step
    by step, in closed form where the layers' is, given the draw of the step before.

    Beside x [N, T, \*step], ``fit`` and its like take what was *observed* of it: lengths [N],
    steps [N, T], or values [N, T, \*step]; all of it by default. What was not observed counts for
    nothing: neither in the likelihood, nor, after the last step that was, in the KL. The bound of
    a padded batch is that of each sequence alone.

    Args:
        encoder: two inputs, x [B, T, \*step], 0 where it was not observed, and what was observed,
            [B, T, \*step], to the features of each step [B, T, k]. One of one input is shown x.
        decoder: paths z [B, T, d] to the likelihood's parameters at each step, for any T.
        prior: p(z).
        posterior: q(z|x), a function of the features.
        likelihood: p(x_t|z_t) at each step.
        objective: what is minimised; the negative ELBO by default.
        ragged: whether the y of ``fit(x, y)`` says what was observed. False where y are labels,
            which are not used.
        seed: of the noise and the data order in training.
        name: the model's name.

    Raises:
        TypeError: if a slot is not of its kind.
        ValueError: if shapes do not fit, or a slot lacks what the objective needs.

    Example:
        >>> vae = tfvae.zoo.deep_markov_model((20, 3), 2, likelihood="Normal", hidden=(8,))
        >>> walks = np.random.default_rng(0).normal(size=(32, 20, 3)).cumsum(axis=1)
        >>> history = vae.fit(walks, epochs=1, verbose=0)
        >>> vae.forecast(walks[:4], steps=5, samples=10).sample.shape
        TensorShape([10, 4, 5, 3])

    References:
        Krishnan, Shalit and Sontag (2017), Structured inference networks for nonlinear state
        space models, arXiv:1609.09869.
    """

    def generate(
        self,
        n: int | None = None,
        *,
        seed: int = 0,
        seeds: Any = None,
        temperature: float = 1.0,
        length: Any = None,
        batch_size: int = 1024,
        **kwargs: Any,
    ) -> Generated:
        """Draw sequences, each a function of its own seed; see :meth:`VAE.generate`.

        Args:
            n: how many, at least 1; not needed with `seeds`.
            seed: the first row's seed.
            seeds: the rows' seeds, int64 [n], instead of `n` and `seed`.
            temperature: scale of the noise of the latents.
            length: steps, from 1 to T, of all rows or of each; T by default. A shorter sequence is
                the beginning of the longer one, and 0 from there on. To go on after T steps, see
                :meth:`forecast`.
            batch_size: rows at a time.
            **kwargs: none; a `condition` is refused.

        Returns:
            ``Generated(z [n, T, d], mean [n, T, *step], sample [n, T, *step])``.

        Raises:
            ValueError: as of :meth:`VAE.generate`, and for lengths that are not 1 to T.
        """
        rows = row_seeds(n, seed, seeds)
        check_request(self, len(rows), temperature, kwargs.pop("condition", None))
        if kwargs:
            raise TypeError(f"Expected no arguments {', '.join(kwargs)}. Received: some.")
        lengths = self._lengths(length, len(rows))
        scale = np.full(len(rows), temperature, np.float32)
        return Generated(*in_batches(self._generate, batch_size, rows, scale, lengths))

    def generate_rows(
        self,
        seed: tf.Tensor,
        temperature: tf.Tensor,
        condition: tf.Tensor | None = None,
        length: tf.Tensor | None = None,
    ) -> Generated:
        """Draw rows from int64 seeds [B], float32 temperatures [B] and lengths [B]."""
        whole = self.whole_rows(seed, temperature)
        valid = None if length is None else tf.sequence_mask(tf.cast(length, tf.int32), self.steps)
        return Generated(*(cut(each, valid, each.shape.rank - 2) for each in whole))

    def whole_rows(self, seed: tf.Tensor, temperature: tf.Tensor) -> Generated:
        """Draw rows of T steps from int64 seeds [B] and float32 temperatures [B]."""
        return super().generate_rows(seed, temperature)

    def score(
        self,
        x: Any,
        *,
        samples: int = 50,
        seed: int = 0,
        seeds: Any = None,
        condition: Any = None,
        observed: Any = None,
        batch_size: int = 64,
    ) -> Scores:
        """Return the ELBO and the bound on log p(x) of what was observed; see :meth:`VAE.score`."""
        check_samples(samples)
        if obstacle := self.score_obstacle():
            raise ValueError(obstacle)
        values, mask = self.read(x, observed if observed is not None else condition)
        run = self._compiled(
            functools.partial(self.score_rows, samples=samples), "score", samples, np.ndim(mask)
        )
        rows = self._seeds_of(values, seed, seeds)
        return Scores(*in_batches(run, batch_size, values, rows, self._full(values, mask)))

    def score_rows(
        self, x: tf.Tensor, seed: tf.Tensor, observed: tf.Tensor | None = None, *, samples: int
    ) -> Scores:
        """Score rows x [B, T, *step] by int64 seeds [B], in portable operations."""
        trace = self.trace(x, mask=observed, noise=self._row_noise(seed, samples))
        return Scores.of(trace)

    def forecast(
        self,
        x: Any,
        steps: int,
        *,
        observed: Any = None,
        samples: int = 1,
        seed: int = 0,
        seeds: Any = None,
        batch_size: int = 64,
    ) -> Draws:
        r"""Go on after the last step of each sequence that was observed.

        .. math:: z_T \sim q(z|x), \qquad z_{T+h} \sim p(z_{T+h} | z_{T+h-1}), \qquad
            x_{T+h} \sim p(x_{T+h} | z_{T+h})

        Row i draws by its own seed: the same forecast whatever the batch. The mean over the draws
        of ``mean`` is the mean of the forecast.

        Args:
            x: [N, T, \*step].
            steps: how many steps to go on for, H; any number.
            observed: lengths [N], steps [N, T] or values [N, T, \*step]; all by default.
            samples: draws of each sequence, S.
            seed: the first row's seed.
            seeds: the rows' seeds, int64 [N].
            batch_size: sequences at a time.

        Returns:
            ``Draws(mean, sample)``, each [S, N, H, \*step].

        Raises:
            ValueError: for steps or samples < 1, and sequences that do not fit the model.
        """
        steps = check_steps(steps)
        check_samples(samples)
        self._check_portable("forecast")
        values, mask = self.read(x, observed)
        rows = self._seeds_of(values, seed, seeds)
        run = self._compiled(
            functools.partial(self.forecast_rows, steps=steps, samples=samples),
            *("forecast", steps, samples, np.ndim(mask)),
        )
        return _draws(run, batch_size, values, rows, self._full(values, mask))

    def forecast_rows(
        self,
        x: tf.Tensor,
        seed: tf.Tensor,
        observed: tf.Tensor | None = None,
        *,
        steps: int,
        samples: int,
    ) -> Draws:
        """Forecast rows x [B, T, *step] by int64 seeds [B]: [B, S, H, *step]."""
        x = self.as_data(x)
        params, valid = self.features(x, None if observed is None else self.mask(observed))
        path = self.remembered(self._row_noise(seed, samples), params)
        if valid is None:
            last = path[:, :, -1]
        else:
            count = tf.reduce_sum(tf.cast(valid, tf.int32), axis=-1)
            place = tf.cast(tf.one_hot(count - 1, self.steps), path.dtype)
            last = tf.reduce_sum(path * place[..., None], axis=-2)
        size = self.latent_shape[-1]
        request = random.Request("normal", (steps, size), random.LATENT, samples=samples)
        return self.onward(last, random.row_noise(seed, request)[0], seed)

    def remembered(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return what the future depends on after each step, [S, B, T, n]: here the latent."""
        return self.posterior.transform(noise, params)

    def onward(self, last: tf.Tensor, noise: tf.Tensor, seed: tf.Tensor) -> Draws:
        """Go on from what is remembered [S, B, n] with noise of latents [S, B, H, d]."""
        samples, _, steps, size = noise.shape
        path = self.prior.advance(
            tf.reshape(last, [-1, size]), tf.reshape(noise, [-1, steps, size])
        )
        # Rows by draws, draws by rows: what comes of a row stays together.
        path = tf.transpose(tf.reshape(path, [samples, -1, steps, size]), [1, 0, 2, 3])
        return self._observations(path, seed)

    def impute(
        self,
        x: Any,
        observed: Any,
        *,
        samples: int = 1,
        seed: int = 0,
        seeds: Any = None,
        batch_size: int = 64,
    ) -> Draws:
        r"""Draw what was not observed, given what was.

        Args:
            x: [N, T, \*step]; what it holds where nothing was observed is not looked at.
            observed: lengths [N], steps [N, T] or values [N, T, \*step].
            samples: draws of each sequence, S.
            seed: the first row's seed; row i draws by its own.
            seeds: the rows' seeds, int64 [N].
            batch_size: sequences at a time.

        Returns:
            ``Draws(mean, sample)``, each [S, N, T, \*step]: x where it was observed, and the means
            of p(x_t|z_t), or draws from it, elsewhere.

        Raises:
            ValueError: for samples < 1, sequences that do not fit the model, and values that are
                missing of a step whose values are not independent given its latents.
        """
        check_samples(samples)
        if obstacle := self.impute_obstacle:
            raise ValueError(obstacle)
        self._check_portable("impute")
        values, mask = self.read(x, observed)
        if np.ndim(mask) > 2 and not self.likelihood.by_value:
            raise ValueError(
                "Expected `observed` to be lengths [N] or steps [N, T], for the values of a step "
                f"are not independent in the likelihood {type(self.likelihood.layer).__name__}. "
                f"Received: a mask of values, of shape {list(np.shape(mask))}."
            )
        rows = self._seeds_of(values, seed, seeds)
        run = self._compiled(
            functools.partial(self.impute_rows, samples=samples), "impute", samples, np.ndim(mask)
        )
        return _draws(run, batch_size, values, rows, self._full(values, mask))

    impute_obstacle = ""
    """What leaves :meth:`impute` undefined, if anything does."""
    decode_obstacle = ""
    """What leaves :meth:`decode` undefined, if anything does."""

    def impute_rows(
        self, x: tf.Tensor, seed: tf.Tensor, observed: tf.Tensor, *, samples: int
    ) -> Draws:
        """Impute rows x [B, T, *step] by int64 seeds [B]: [B, S, T, *step]."""
        x = self.as_data(x)
        mask = self.mask(observed)
        params, valid = self.features(x, mask)
        noise = self._row_noise(seed, samples)
        z = self.posterior.transform(noise, params)
        assert valid is not None
        # What comes after the last step that was observed, the data say nothing of.
        z = self.prior.continued(z, valid, noise)
        drawn = self._observations(tf.transpose(z, [1, 0, 2, 3]), seed)
        return Draws(*(tf.where(mask[:, None], x[:, None], each) for each in drawn))

    def _full(self, values: Any, observed: Any) -> Any:
        return np.full(len(values), self.steps, np.int32) if observed is None else observed

    def _lengths(self, length: Any, rows: int) -> Any:
        array = np.asarray(self.steps if length is None else length)
        if (
            array.dtype.kind not in "iu"
            or array.shape not in ((), (rows,))
            or array.min() < 1
            or array.max() > self.steps
        ):
            raise ValueError(
                f"Expected `length` to be a whole number from 1 to {self.steps}, or one for each "
                f"of {rows} rows. Received: length={length!r}. To go on after {self.steps} steps, "
                "use vae.forecast(x, steps)."
            )
        return np.broadcast_to(array, [rows]).astype(np.int64)

    def _seeds_of(self, values: Any, seed: int, seeds: Any) -> Any:
        rows = row_seeds(len(values) if seeds is None else None, seed, seeds)
        if len(rows) != len(values):
            raise ValueError(
                f"Expected `seeds` to be one for each row. Received: {len(rows)} for "
                f"{len(values)} rows."
            )
        return rows

    def _check_portable(self, method: str) -> None:
        if self.likelihood.noise is None:
            raise ValueError(
                f"Expected a likelihood that is a map of base noise, to {method} row by row. "
                f"Received: likelihood={type(self.likelihood.layer).__name__}."
            )

    def _row_noise(self, seed: tf.Tensor, samples: int) -> tf.Tensor:
        """Draw the posterior's noise [S, B, T, d] of rows by their seeds."""
        shape = self.posterior.noise_shape
        request = random.Request("normal", shape, random.POSTERIOR, samples=samples)
        return random.row_noise(seed, request)[0]

    def _observation_noise(self, seed: tf.Tensor, layer: Repeated, samples: int) -> tf.Tensor:
        """Draw the noise [S, B, *noise_shape] of what is observed of rows, by their seeds."""
        assert layer.noise is not None
        stream = random.OBSERVATION
        request = random.Request(layer.noise, layer.noise_shape, stream, layer.choices, samples)
        return random.row_noise(seed, request)[0]

    def _observations(self, path: tf.Tensor, seed: tf.Tensor) -> Draws:
        """Draw what is observed along paths [B, S, H, d] of rows, by their seeds."""
        samples, steps, size = path.shape[1:]
        rows = conditions.run(self.decoder, tf.reshape(path, [-1, steps, size]), None)
        layer = Repeated(self.likelihood.layer, steps)
        params = tf.reshape(rows, [-1, samples, *layer.params_shape])
        noise = self._observation_noise(seed, layer, samples)
        order = [1, 0, *range(2, noise.shape.rank)]
        sample = layer.transform(tf.transpose(noise, order), params)
        return Draws(layer.mean(params), sample)

    def _compiled(self, function: Callable[..., Any], *key: Any) -> Callable[..., Any]:
        """Compile a function of rows, seeds and what was observed; once for each key."""
        if key not in self._row_functions:
            self._row_functions[key] = tf.function(function, reduce_retracing=True, autograph=False)
        return self._row_functions[key]

    @functools.cached_property
    def _row_functions(self) -> dict[Any, Callable[..., Any]]:
        """The compiled functions of rows, by what they do."""
        return {}

    @functools.cached_property
    def _generate(self) -> Callable[..., Generated]:
        rows: Callable[..., Generated] = tf.function(
            lambda seed, temperature, length: self.generate_rows(seed, temperature, length=length),
            input_signature=[
                tf.TensorSpec([None], tf.int64),
                tf.TensorSpec([None], tf.float32),
                tf.TensorSpec([None], tf.int64),
            ],
            autograph=False,
        )
        return rows


def _draws(run: Callable[..., Draws], batch_size: int, *arrays: Any) -> Draws:
    """Run a function of rows in batches, and put the draws first: [S, N, ...]."""
    parts = in_batches(run, batch_size, *arrays)
    return Draws(*(tf.transpose(each, [1, 0, *range(2, each.shape.rank)]) for each in parts))

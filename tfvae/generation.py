"""Rows drawn from a model, each a function of its own seed."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import keras
import numpy as np
import tensorflow as tf

from tfvae import conditions, description, random
from tfvae.layers.base import DistributionLayer
from tfvae.priors import Prior


class Generated(NamedTuple):
    """What :meth:`tfvae.VAE.generate` makes: latents, the means of p(x|z), and draws from it.

    Of a hierarchy the latents are a tuple, those of level 0, nearest to the data, first.
    """

    z: Any
    mean: tf.Tensor
    sample: tf.Tensor


Rows = TypeVar("Rows")


class Generative:
    """What a prior, a decoder and a likelihood make together: latents to data, seeds to rows.

    Attributes:
        prior: p(z).
        decoder: z [B, *latent] to the likelihood's parameters [B, *likelihood.params_shape].
        likelihood: p(x|z).
    """

    prior: Prior
    decoder: keras.Model
    likelihood: DistributionLayer
    missing_label: int | None = None
    """What stands for a label that is not known, where a family finds it out itself."""

    @property
    def takers(self) -> dict[str, Any]:
        """The slots and networks that take a condition, by what they are called."""
        named = {"encoder": getattr(self, "encoder", None), "decoder": self.decoder}
        takers = {name: each for name, each in named.items() if conditions.takes_condition(each)}
        prior = {f"prior {type(self.prior).__name__}": self.prior}
        return prior | takers if self.prior.conditional else takers

    @property
    def conditional(self) -> bool:
        """Whether a condition is asked for: by the prior, or as a second input of a network."""
        return bool(self.takers)

    @property
    def condition_spec(self) -> conditions.Spec:
        """The shape of one condition and its dtype, where the model is conditional."""
        for taker in self.takers.values():
            with contextlib.suppress(NotImplementedError):
                return (
                    taker.condition_spec if isinstance(taker, Prior) else conditions.spec_of(taker)
                )
        raise NotImplementedError(f"{type(self).__name__} does not say what its condition is.")

    @property
    def classes(self) -> int | None:
        """How many classes the networks know where a condition is a label; None otherwise."""
        known = [
            conditions.classes_of(getattr(taker, "network", taker))
            for taker in self.takers.values()
        ]
        return min((number for number in known if number is not None), default=None)

    def check_labels(self, condition: Any) -> None:
        """Refuse labels of classes that no network of this model knows."""
        if self.classes is not None:
            taker, labels = next(iter(self.takers)), np.asarray(condition)
            if self.condition_spec[0] == () and math.prod(labels.shape[1:]) != 1:
                raise ValueError(
                    f"Expected one label for each row, as the {taker} asks. Received: labels of "
                    f"shape {labels.shape}. Of ground-truth factors pass one column, as in y[:, 0]."
                )
            conditions.check_labels(labels, self.classes, taker)

    @property
    def data_shape(self) -> tuple[int, ...]:
        """The shape of one x."""
        return self.likelihood.event_shape

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """The shape of one z."""
        return self.prior.event_shape

    @property
    def latent_priors(self) -> tuple[Prior, ...]:
        """The prior of each group of latents."""
        return (self.prior,)

    @property
    def latent_names(self) -> tuple[str, ...]:
        """What the groups of latents are called, in exports and reports."""
        return ("z",)

    def __repr__(self) -> str:
        try:
            return description.line(self)
        except AttributeError:  # asked while it is being made
            return super().__repr__()

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the slots and the networks."""
        return description.html(self)

    def decode(
        self, z: tf.Tensor, training: bool = False, condition: tf.Tensor | None = None
    ) -> Any:
        """Return p(x|z), batch shape [..., B], for z of shape [..., B, *latent].

        Args:
            z: latents.
            training: passed to the decoder.
            condition: [B, ...], for a decoder that takes one.
        """
        return self.likelihood(self.decoder_params(z, training, condition))

    def decoder_params(
        self, z: tf.Tensor, training: bool = False, condition: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Run the decoder on z of shape [..., *latent]: [..., *likelihood.params_shape]."""
        z = tf.convert_to_tensor(z, dtype_hint=self.likelihood.compute_dtype)
        rank = len(self.latent_shape)
        if z.shape.rank is not None and tuple(z.shape[-rank:]) != self.latent_shape:
            raise ValueError(
                f"Expected `z` of shape [..., {', '.join(map(str, self.latent_shape))}]. "
                f"Received: z of shape {tuple(z.shape)}."
            )
        return conditions.run_samples(
            self.decoder,
            z,
            self.latent_shape,
            self.likelihood.params_shape,
            condition,
            training,
        )

    def generate(
        self,
        n: int | None = None,
        *,
        seed: int = 0,
        seeds: Any = None,
        temperature: float = 1.0,
        condition: Any = None,
        batch_size: int = 1024,
    ) -> Generated:
        """Draw from the model, each row a function of its own seed.

        Row i has seed ``seed + i``, or ``seeds[i]``: the same row whatever the batch, and the
        same in every export of this model.

        Args:
            n: how many, at least 1; not needed with `seeds`.
            seed: the first row's seed.
            seeds: the rows' seeds, int64 [n], instead of `n` and `seed`.
            temperature: scale of the prior's noise; below 1 draws nearer to its middle.
            condition: for a conditional model, one for each row, [n, ...].
            batch_size: rows decoded at a time.

        Returns:
            ``Generated(z [n, *latent], mean [n, *data], sample [n, *data])``.

        Raises:
            ValueError: for n < 1, a negative temperature, one other than 1 where the prior is no
                map of base noise, or conditions that are missing, not asked for, not n, of
                another shape than the prior's network takes, or not finite.
        """
        rows = row_seeds(n, seed, seeds)
        check_request(self, len(rows), temperature, condition)
        scale = np.full(len(rows), temperature, np.float32)
        return Generated(*in_batches(self._generate, batch_size, rows, scale, condition))

    def generate_rows(
        self, seed: tf.Tensor, temperature: tf.Tensor, condition: tf.Tensor | None = None
    ) -> Generated:
        """Draw rows from int64 seeds [B] and float32 temperatures [B].

        In portable operations where prior and likelihood are maps of base noise; by TFP's
        samplers, row by row, where they are not.
        """
        prior, likelihood = self.prior, self.likelihood
        streams = ((prior, random.LATENT), (likelihood, random.OBSERVATION))
        noise, other = base_noise(seed, streams)
        given = condition if prior.conditional else None
        if noise is None:
            z = sampled(prior, seed, random.LATENT, given)
        else:
            scale = tf.reshape(temperature, [-1] + [1] * len(prior.noise_shape))
            z = prior.transform(prior.tempered(noise, scale), given)
        params = conditions.run(self.decoder, z, condition)
        if other is None:
            sample = sampled(likelihood, seed, random.OBSERVATION, params)
        else:
            sample = likelihood.transform(other, params)
        return Generated(z, likelihood.mean(params), sample)

    @functools.cached_property
    def _generate(self) -> Callable[..., Generated]:
        """Rows, compiled: a function of this model's own, which goes when it goes."""
        rows = (tf.TensorSpec([None], tf.int64), tf.TensorSpec([None], tf.float32))
        return compiled(self.generate_rows, self, *rows)


def compiled(
    function: Callable[..., Rows], model: Generative, *specs: tf.TensorSpec
) -> Callable[..., Rows]:
    """Compile a function of rows, and of their condition if there is one, for any batch size.

    Traced once, where what a condition is is known.
    """
    traced: Callable[..., Rows]
    if not model.conditional:
        traced = tf.function(function, input_signature=specs, autograph=False)
        return traced
    try:
        shape, dtype = model.condition_spec
    except NotImplementedError:
        traced = tf.function(function, reduce_retracing=True, autograph=False)
        return traced
    condition = tf.TensorSpec([None, *shape], dtype)
    traced = tf.function(function, input_signature=(*specs, condition), autograph=False)
    return lambda *rows: traced(*rows[:-1], tf.cast(rows[-1], dtype))


def in_batches(function: Callable[..., Any], size: int, *arrays: Any) -> Iterator[tf.Tensor]:
    """Call a function on `size` rows of the arrays at a time; yield its outputs, whole.

    Arrays that are None are left out.
    """
    given = [array for array in arrays if array is not None]
    parts = [
        function(*(tf.constant(array[i : i + size]) for array in given))
        for i in range(0, len(given[0]), size)
    ]
    return (tf.concat(values, axis=0) for values in zip(*parts, strict=True))


def row_seeds(n: int | None, seed: int, seeds: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the rows' seeds, int64 [n]: those given, or n from `seed` on.

    Raises:
        ValueError: unless it is one or the other, with at least one row and 64-bit integers.
    """
    if seeds is not None:
        rows = np.asarray(seeds)
        if n is not None or rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iu":
            raise ValueError(
                "Expected `seeds` to be a list of at least one integer, given without `n`. "
                f"Received: n={n}, seeds of shape {rows.shape} and dtype {rows.dtype}."
            )
        return rows.astype(np.int64)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"Expected `n` to be a whole number of at least 1. Received: n={n!r}.")
    if not -(2**63) <= seed < 2**63:
        raise ValueError(f"Expected `seed` to be a 64-bit integer. Received: seed={seed}.")
    # From the last of them on, rows wrap around.
    return np.arange(n, dtype=np.uint64).__add__(np.uint64(seed % 2**64)).view(np.int64)


def check_request(model: Generative, rows: int, temperature: float, condition: Any) -> None:
    """Refuse temperatures and conditions that a model cannot follow.

    Raises:
        ValueError: for a temperature that is negative, or other than 1 where the prior is no map
            of base noise, and for conditions that are not asked for, or that
            :func:`check_conditions` refuses.
    """
    number = isinstance(temperature, int | float | np.number)
    if not (number and np.isfinite(temperature) and temperature >= 0):
        raise ValueError(
            "Expected `temperature` to be a number that is not negative. "
            f"Received: temperature={temperature!r}."
        )
    prior = model.prior
    if temperature != 1 and prior.noise is None:
        raise ValueError(
            f"Expected temperature=1, for the draws of the prior {type(prior).__name__} are no map "
            f"of base noise that it could scale. Received: temperature={temperature}."
        )
    if model.conditional:
        check_conditions(model, rows, condition)
        model.check_labels(condition)
    elif condition is not None:
        raise ValueError(
            f"Expected no `condition`: neither the prior {type(prior).__name__} nor a network of "
            "this model takes one. Received: one."
        )


def check_conditions(model: Generative, rows: int, condition: Any) -> None:
    """Refuse conditions that are not one a row, as a model's networks take them.

    Raises:
        ValueError: unless they are finite numbers [rows, ...], of the shape that the model says.
    """
    kind = f"the {next(iter(model.takers))}"
    try:
        array = np.asarray(condition)
    except ValueError as error:
        raise ValueError(
            f"Expected `condition` to be an array, as {kind} asks. Received: rows of several "
            "lengths. Pass them all of one length."
        ) from error
    if condition is not None and not array.ndim:
        raise ValueError(
            f"Expected `condition` to be one for each row, as {kind} asks. Received: {condition!r} "
            f"for all {rows} rows. Repeat it: np.full({rows}, {condition!r})."
        )
    given = 0 if condition is None else len(array)
    if given != rows:
        raise ValueError(
            f"Expected `condition` to be one for each row, as {kind} asks. "
            f"Received: {given or 'none'} for {rows} rows."
        )
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        received = "NaN or infinity" if array.dtype.kind == "f" else f"dtype {array.dtype}"
        raise ValueError(
            f"Expected `condition` to be finite numbers, as {kind} asks. Received: {received}. "
            "Mend or drop those rows."
        )
    try:
        shape, _ = model.condition_spec
    except NotImplementedError:
        return
    if not tf.TensorShape(array.shape[1:]).is_compatible_with(shape):
        fix = (
            f"Classes go in one-hot: np.eye({shape[0]})[condition]."
            if len(shape) == 1 and array.ndim == 1
            else "Pass for each row what its network takes."
        )
        raise ValueError(
            f"Expected `condition` of shape {[rows, *shape]}, as {kind} asks. "
            f"Received: shape {list(array.shape)}. {fix}"
        )


def base_noise(
    seed: tf.Tensor, layers: Sequence[tuple[DistributionLayer, int]]
) -> list[tf.Tensor | None]:
    """Draw each layer's base noise from its stream, None for a layer that is no map of any."""
    mapped = [(layer, stream) for layer, stream in layers if layer.noise is not None]
    requests = [
        random.Request(layer.noise, layer.noise_shape, stream, layer.choices)
        for layer, stream in mapped
        if layer.noise is not None
    ]
    drawn = iter(random.row_noise(seed, *requests) if requests else ())
    return [None if layer.noise is None else next(drawn) for layer, _ in layers]


def sampled(
    layer: DistributionLayer, seed: tf.Tensor, stream: int, params: tf.Tensor | None
) -> tf.Tensor:
    """Draw [B, *event] by TFP's sampler, row by row, from int64 seeds [B].

    Args:
        layer: a layer that is no map of base noise.
        seed: int64 [B].
        stream: which of the row's streams.
        params: what the layer is called with, [B, ...], or None.
    """

    def one(row: tuple[tf.Tensor, ...]) -> tf.Tensor:
        key = tf.cast(random.fold(row[0], stream), tf.int32)
        return layer(row[1][None] if len(row) > 1 else None).sample(seed=key)

    rows = (seed,) if params is None else (seed, params)
    shape = tf.TensorSpec([None, *layer.event_shape][int(params is None) :], layer.compute_dtype)
    drawn = tf.map_fn(one, rows, fn_output_signature=shape)
    return tf.reshape(drawn, [-1, *layer.event_shape])

"""One step of training: a Keras model that yields a Trace and minimises an objective."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfvae import random, replicas
from tfvae.bayesian.layers import layers_of
from tfvae.bayesian.sampling import sampling
from tfvae.corruptions import Corruption
from tfvae.description import SLOTS
from tfvae.layers.base import DistributionLayer
from tfvae.loop import Position, xla_pays
from tfvae.objectives import Objective
from tfvae.objectives.schedules import at
from tfvae.replicas import Share
from tfvae.trace import Trace


class Unpacked(NamedTuple):
    """What :meth:`StepModel.unpack` reads from a batch."""

    seen: tf.Tensor
    target: tf.Tensor
    condition: tf.Tensor | None = None
    mask: tf.Tensor | None = None
    weight: tf.Tensor | None = None


class StepModel(keras.Model):
    """Takes single steps of training and of evaluation, on one device or as one of several.

    Attributes:
        objective: what is minimised.
        likelihood: p(x|z), against which data is checked.
        corruption: of what the encoder sees in training, or None.
        seed: of the noise and the data order.
        step: int64, the number of training steps taken.
        position: where in its epochs training is.
        course: what a training is resumed with only: batch size, number of examples and so on.
        dataset_size: examples that ``fit`` is training on, or None where that is not known.
    """

    objective: Objective
    likelihood: DistributionLayer
    corruption: Corruption | None = None
    position = Position()
    course: dict[str, int] = {}  # noqa: RUF012, replaced and never changed
    dataset_size: int | None = None

    def __init__(
        self,
        *,
        seed: int,
        name: str,
        bounds: bool = True,
        terms: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.seed = seed
        # Our own counter: Keras's stands still on a step that loss scaling skips.
        self.step = self._counter("step")
        self._test_step = self._counter("test_step")
        # Without densities there is a reconstruction to report, and no bound. What a family
        # reports beside them, `terms`, it measures in :meth:`measured`.
        names = ("elbo", "log_likelihood", "kl") if bounds else ("log_likelihood",)
        self._terms = [keras.metrics.Mean(name) for name in (*names, *terms)]
        self._skipped: keras.metrics.Sum | None = None

    def _counter(self, name: str) -> Any:
        return self.add_weight(
            name=name,
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )

    @property
    def judged(self) -> tuple[str, ...]:
        """What is measured in evaluation as it is in training, beside the loss."""
        return tuple(term.name for term in self._terms)

    def slot_layers(self, slot: str) -> tuple[keras.layers.Layer, ...]:
        """Return what a slot is made of."""
        layer = getattr(self, slot, None)
        return () if layer is None else (layer,)

    def networks(self) -> tuple[keras.layers.Layer, ...]:
        """Return the networks, which decide whether XLA pays."""
        raise NotImplementedError

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
    ) -> Trace:
        """Pass a batch through the model."""
        raise NotImplementedError

    def unpack(self, data: Any) -> Unpacked:
        """Read a batch of what ``fit`` was given: the one place that knows its layout.

        A plain VAE models x alone: a `y` is not used.
        """
        x, _, weight = keras.utils.unpack_x_y_sample_weight(data)
        return Unpacked(seen=x, target=x, weight=weight)

    def possible(self, batch: Unpacked) -> Unpacked:
        """Return a batch that leaves nothing finite of examples that there cannot be."""
        return batch

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "adam",
        *,
        steps_per_execution: int | str = "auto",
        jit_compile: bool | str = "auto",
        run_eagerly: bool = False,
        nonfinite: Literal["stop", "skip"] = "stop",
        slot_rates: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Configure training. The loss is the objective slot.

        Gradient clipping, weight averages, accumulation and schedules are the optimizer's:
        ``keras.optimizers.Adam(schedule, clipnorm=1.0, use_ema=True,
        gradient_accumulation_steps=4)``. A slot is frozen as in Keras: ``vae.encoder.trainable =
        False`` before `compile`.

        Args:
            optimizer: a Keras optimizer.
            steps_per_execution: steps between callbacks. ``"auto"``: 32 for arrays, which stay
                on the device, and 1 for pipelines and where a callback class of yours hears of
                batches.
            jit_compile: use XLA. ``"auto"``: for steps of `batch_size` examples of dense networks
                on one device; not for convolutions or recurrent cells on CPU, which it would slow
                down, nor for what runs once in an epoch, which would take longer to compile.
            run_eagerly: run step by step in Python, for debugging.
            nonfinite: what to do with a step whose loss or gradient is NaN or infinite:
                ``"stop"`` training with the weights of the step before; or ``"skip"`` the step,
                which the logs count as ``skipped``.
            slot_rates: factors on the learning rate of the slots ``encoder``, ``decoder``,
                ``prior``, ``posterior`` and ``likelihood``, as in ``{"prior": 0.1}``. Decoupled
                weight decay keeps the optimizer's rate.
            **kwargs: none; a `loss` or `metrics` is refused with advice.

        Raises:
            TypeError: for an argument that a VAE does not take.
            ValueError: for steps_per_execution < 1, an unknown `nonfinite` or slot, and a factor
                that is not a positive number.
        """
        refused = [name for name, value in kwargs.items() if value is not None]
        if refused:
            raise TypeError(
                "Expected no `loss`, `metrics` or other arguments: a VAE's loss is its objective, "
                "as in tfvae.VAE(..., objective=ELBO(beta=4.0)). "
                f"Received: {', '.join(refused)}."
            )
        if steps_per_execution != "auto":
            check_count("steps_per_execution", steps_per_execution)
        if nonfinite not in ("stop", "skip"):
            raise ValueError(
                f'Expected `nonfinite` to be "stop" or "skip". Received: nonfinite={nonfinite!r}.'
            )
        check_rates(slot_rates or {})
        alone = self.distribute_strategy is tf.distribute.get_strategy() and (
            not tf.distribute.has_strategy()
        )
        self.jit = jit_compile
        if jit_compile == "auto":
            jit_compile = not run_eagerly and alone and xla_pays(*self.networks())
        self._chunk = steps_per_execution
        self.nonfinite = nonfinite
        self.slot_rates = dict(slot_rates or {})
        if layers_of(self) and all(metric.name != "weight_kl" for metric in self._terms):
            self._terms.append(keras.metrics.Mean("weight_kl"))
        if nonfinite == "skip" and self._skipped is None:
            self._skipped = keras.metrics.Sum("skipped")
        super().compile(
            optimizer=optimizer,
            steps_per_execution=1 if steps_per_execution == "auto" else steps_per_execution,
            jit_compile=jit_compile,
            run_eagerly=run_eagerly,
        )
        # Keras would replace the weights by their averages at the end of some trainings.
        self.optimizer.finalize_variable_values = lambda variables: None
        if not alone:
            replicas.leave_sums_alone(self.optimizer)
        _scale_rates(self.optimizer, self, self.slot_rates)
        self._functions: dict[Any, Any] = {}

    def get_compile_config(self) -> dict[str, Any]:
        """Return what :meth:`compile` was called with, for a saved model."""
        config: dict[str, Any] = super().get_compile_config() or {}
        kept = {name: config[name] for name in ("optimizer", "run_eagerly") if name in config}
        if not kept:
            return {}
        ours = {
            "jit_compile": self.jit,
            "steps_per_execution": self._chunk,
            "nonfinite": self.nonfinite,
            "slot_rates": self.slot_rates,
        }
        return kept | ours

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile a loaded model as it was when it was saved, optimizer state included."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save as ``keras.Model.save`` does; of several workers one alone may."""
        if not tf.distribute.has_strategy():
            super().save(*args, **kwargs)
            return
        # Keras makes an optimizer to compare with, whose variables would wait for the other
        # workers. Another thread is outside the strategy's scope.
        with ThreadPoolExecutor(1) as outside:
            outside.submit(super().save, *args, **kwargs).result()

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Have the weights be their moving averages within a block.

        Evaluate, save or export there; training goes on with the weights themselves.

        Raises:
            ValueError: if the optimizer keeps none.

        Example:
            >>> vae = tfvae.zoo.vae((4,), 2, likelihood="Normal")
            >>> vae.compile(keras.optimizers.Adam(1e-3, use_ema=True, ema_momentum=0.99))
            >>> _ = vae.fit(np.zeros((8, 4), "float32"), verbose=0)
            >>> with vae.averaged():
            ...     samples = vae.generate(2).sample
        """
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        if optimizer is None or not optimizer.use_ema:
            raise ValueError(
                "Expected an optimizer that keeps moving averages of the weights. Received: "
                f"{type(optimizer).__name__} without `use_ema=True`. Compile with "
                "keras.optimizers.Adam(1e-3, use_ema=True, ema_momentum=0.999) before training."
            )
        optimizer.build(self.trainable_variables)
        averages = [variable.numpy() for variable in optimizer._model_variables_moving_average]
        before = [variable.numpy() for variable in self.trainable_variables]
        try:
            if int(optimizer.iterations.numpy()):
                _assign(self.trainable_variables, averages)
            yield
        finally:
            _assign(self.trainable_variables, before)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Take one step on a batch and return the logs."""
        self.train_batch(data)
        logs: dict[str, tf.Tensor] = self.get_metrics_result()
        return logs

    def train_batch(self, data: Any, share: Share | None = None) -> tf.Tensor:
        """Take one step, unless loss or gradient is not finite; return whether to go on.

        Args:
            data: what :meth:`unpack` reads.
            share: which part of the batch of all replicas it is; of data that Keras
                distributes, the replicas are asked.
        """
        if share is None and tf.distribute.has_strategy():
            data, share = replicas.never_empty(data)
        seed = random.fold(self.seed, tf.convert_to_tensor(self.step))
        batch = self._corrupted(self.possible(self.unpack(data)), seed, share)
        with self._weights(batch, seed, share):
            return self._step_on(batch, seed, share)

    def _step_on(self, batch: Unpacked, seed: tf.Tensor, share: Share | None) -> tf.Tensor:
        variables = self.trainable_variables
        with tf.GradientTape() as tape:
            trace, loss = self._loss(batch, seed, share, training=True)
            part = loss if share is None else loss * tf.cast(share.fraction, loss.dtype)
            scaled = self.optimizer.scale_loss(part)
        gradients = tape.gradient(scaled, variables)
        whole = part
        if share is not None:
            whole, *gradients = replicas.summed([part, *gradients])
        good = tf.math.is_finite(whole)
        if not isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            # With loss scaling, a gradient that overflows is the optimizer's to skip.
            finite = [_rows_finite(each) for each in gradients if each is not None]
            good = tf.reduce_all(tf.concat([good[None], *finite], axis=0))

        def apply(gradients: Sequence[tf.Tensor | None]) -> None:
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True))

        replicas.apply_if(good, apply, gradients)
        skip = self.nonfinite == "skip"
        # A step that is skipped is over: the next one has other noise and other examples.
        self.step.assign_add(1 if skip else tf.cast(good, tf.int64))
        if skip:
            assert self._skipped is not None
            fraction = 1.0 if share is None else share.fraction
            self._skipped.update_state(tf.where(good, 0.0, fraction))
        else:
            loss = tf.where(good, loss, tf.cast(np.nan, loss.dtype))
        self._update_metrics(trace, loss, share, good if skip else None)
        return tf.constant(True) if skip else good

    def _corrupted(self, batch: Unpacked, seed: tf.Tensor, share: Share | None) -> Unpacked:
        if self.corruption is None:
            return batch
        seen = tf.cast(batch.seen, self.likelihood.compute_dtype)
        position = None if share is None else share.position
        seed = random.fold(seed, random.CORRUPTION)
        return batch._replace(seen=self.corruption(seen, seed, position))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Evaluate a batch and return the logs; the noise is a function of seed and batch."""
        self.test_batch(data)
        logs: dict[str, tf.Tensor] = self.get_metrics_result()
        return logs

    def test_batch(self, data: Any, share: Share | None = None) -> tf.Tensor:
        """Evaluate a batch, or a replica's share of it."""
        if share is None and tf.distribute.has_strategy():
            data, share = replicas.never_empty(data)
        batch = self.possible(self.unpack(data))
        seed = random.fold(self.seed, random.TEST, tf.convert_to_tensor(self._test_step))
        self._test_step.assign_add(1)
        with self._weights(batch, seed, share):
            trace, loss = self._loss(batch, seed, share, training=False)
            self._update_metrics(trace, loss, share)
        return tf.constant(True)

    def _weights(
        self, batch: Unpacked, seed: tf.Tensor, share: Share | None
    ) -> contextlib.AbstractContextManager[None]:
        """Have Bayesian layers draw weights, where there are such layers."""
        if not layers_of(self):
            return contextlib.nullcontext()
        first = tf.nest.flatten(batch.seen)[0]
        count = first.shape[0] if first.shape[0] is not None else tf.shape(first)[0]
        position = None if share is None else share.position
        return sampling(seed, batch=count, samples=self.objective.samples, position=position)

    def _loss(
        self, batch: Unpacked, seed: tf.Tensor, share: Share | None, *, training: bool
    ) -> tuple[Trace, tf.Tensor]:
        trace = self.trace(
            batch.seen,
            self.objective.samples,
            seed,
            target=batch.target,
            condition=batch.condition,
            mask=batch.mask,
            weight=batch.weight,
            training=training,
            position=None if share is None else share.position,
        )
        layers = layers_of(self)
        divergences = [tf.cast(layer.kl(), self.likelihood.compute_dtype) for layer in layers]
        if layers:
            trace = replace(trace, weight_kl=tf.add_n(divergences))
        loss = self.objective(trace)
        if batch.weight is not None:
            loss = loss * tf.cast(batch.weight, loss.dtype)
        terms = [tf.reduce_mean(loss), *(tf.cast(v, loss.dtype) for v in self.losses)]
        if training:
            # What is known of the weights is learned of all training data, and paid for once; on
            # other data it is given.
            for layer, kl in zip(layers, divergences, strict=True):
                terms.append(at(layer.kl_weight, trace.step, kl) * kl / self._examples())
        return trace, tf.add_n(terms)

    def _examples(self) -> int:
        if self.dataset_size is None:
            raise ValueError(
                "Expected a number of training examples, among which the KL of the weights of "
                "Bayesian layers is shared out. Received: a stream, which does not say it. Give "
                "it: fit(..., dataset_size=60_000)."
            )
        return self.dataset_size

    def _update_metrics(
        self, trace: Trace, loss: tf.Tensor, share: Share | None, good: tf.Tensor | None = None
    ) -> None:
        count = tf.cast(tf.shape(trace.x)[0], tf.float32)
        weight = trace.weight
        if share is not None:
            # A replica without examples computes with one that counts for nothing.
            some = tf.cast(share.fraction > 0, tf.float32)
            count = count * some
            weight = some * (tf.ones_like(trace.kl) if weight is None else weight)
        values = {"loss": loss} | self.measured(trace)
        if good is not None:
            # Of a step that was skipped nothing is reported but that.
            used = tf.cast(good, tf.float32)
            count = count * used
            each = tf.ones_like(trace.kl) if weight is None else tf.cast(weight, trace.kl.dtype)
            weight = each * tf.cast(used, each.dtype)
            values = {
                name: tf.where(tf.math.is_finite(value), value, tf.zeros_like(value))
                for name, value in values.items()
            }
        self._loss_tracker.update_state(values["loss"], sample_weight=count)
        for metric in self._terms:
            metric.update_state(values[metric.name], sample_weight=weight)

    def measured(self, trace: Trace) -> dict[str, tf.Tensor]:
        """Return what is reported of a pass, [B] each, by the names of the metrics."""
        log_likelihood = tf.reduce_mean(trace.log_likelihood, axis=0)
        found = {"log_likelihood": log_likelihood}
        if any(metric.name == "kl" for metric in self._terms):
            found |= {"elbo": log_likelihood - trace.kl, "kl": trace.kl}
        if trace.weight_kl is not None:
            found["weight_kl"] = tf.fill(tf.shape(log_likelihood), trace.weight_kl)
            if trace.training and "elbo" in found:
                found["elbo"] -= trace.weight_kl / self._examples()
        return found

    def logs(self, *, training: bool = True) -> dict[str, float]:
        """Return the metrics as numbers, summed over all replicas."""
        # Some metrics have a result only once they were updated, which evaluation does not do.
        key = ("logs", training)
        if tf.distribute.has_strategy() or self.run_eagerly:
            results: dict[str, tf.Tensor] = self.get_metrics_result()
        else:
            if key not in self._functions:
                self._functions[key] = tf.function(self.get_metrics_result, autograph=False)
            results = self._functions[key]()
        return {name: float(value) for name, value in results.items()}


def _rows_finite(gradient: tf.Tensor) -> tf.Tensor:
    """Say of the rows of a matrix, or of the values of a vector, whether all are finite.

    NaN and infinity pass through a product with numbers so small that nothing overflows; a
    product with a vector takes a fraction of the time of looking at each.
    """
    gradient = tf.convert_to_tensor(gradient)
    if gradient.shape.rank < 2:
        return tf.math.is_finite(tf.reshape(gradient, [-1]))
    # Of an embedding's gradient, summed over replicas, no shape is known before it is there.
    width = gradient.shape[-1] or tf.shape(gradient)[-1]
    rows = tf.reshape(gradient, [-1, width])
    return tf.math.is_finite(tf.linalg.matvec(rows, tf.fill([width], tf.cast(_TINY, rows.dtype))))


_TINY = 2.0**-64


def _assign(variables: Sequence[keras.Variable], values: Sequence[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _scale_rates(
    optimizer: keras.optimizers.Optimizer, model: StepModel, rates: Mapping[str, float]
) -> None:
    """Have an optimizer multiply the learning rate of each slot's variables by its factor."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    # Not of the instance, which may have been compiled before with other factors.
    update, key = functools.partial(type(optimizer).update_step, optimizer), optimizer._var_key
    factors: dict[Any, float] = {}
    for slot, factor in rates.items():
        for layer in model.slot_layers(slot):
            for variable in layer.trainable_variables:
                # A variable that two slots share has the first one's rate.
                factors.setdefault(key(variable), factor)

    def update_step(gradient: Any, variable: Any, learning_rate: Any) -> Any:
        factor = factors.get(key(variable), 1.0)
        return update(gradient, variable, learning_rate * factor)

    optimizer.update_step = update_step


def check_rates(rates: Mapping[str, float]) -> None:
    """Refuse factors of slots that do not exist, or that are not positive numbers."""
    for slot, factor in rates.items():
        if slot not in SLOTS:
            raise ValueError(
                f"Expected `slot_rates` of the slots {', '.join(SLOTS)}. "
                f"Received: slot_rates[{slot!r}]."
            )
        number = isinstance(factor, int | float) and not isinstance(factor, bool)
        if not (number and np.isfinite(factor) and factor > 0):
            raise ValueError(
                "Expected `slot_rates` to be positive factors. Received: "
                f"slot_rates[{slot!r}]={factor!r}. To freeze a slot, set "
                f"vae.{slot}.trainable = False before `compile`."
            )


def check_count(argument: str, value: Any) -> None:
    """Raise a ``ValueError`` unless a value is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(
            f"Expected `{argument}` to be a whole number of at least 1. "
            f"Received: {argument}={value!r}."
        )

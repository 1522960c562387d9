"""Training with ``fit``: a Keras model that yields a Trace and minimises an objective."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfvae import feeds, random
from tfvae.data import Examples
from tfvae.layers.base import DistributionLayer
from tfvae.loop import BoundedCallbacks, compiled_loop, guarded, hears_batches, xla_pays
from tfvae.objectives import Objective
from tfvae.trace import Trace

CHUNK = 32
"""Steps between callbacks where ``compile(steps_per_execution="auto")`` leaves it to us."""


class Unpacked(NamedTuple):
    """What :meth:`TraceModel.unpack` reads from a batch."""

    seen: tf.Tensor
    target: tf.Tensor
    condition: tf.Tensor | None = None
    mask: tf.Tensor | None = None
    weight: tf.Tensor | None = None


class TraceModel(keras.Model):
    """What all model families share: training and evaluation of whatever yields a Trace.

    A family implements :meth:`trace` and sets ``likelihood`` and ``objective``.

    Attributes:
        objective: what is minimised.
        likelihood: p(x|z), against which data is checked.
        seed: of the noise and the data order.
        step: int64, the number of optimizer steps taken.
        feed: the arrays that ``fit`` is training on, or None.
    """

    objective: Objective
    likelihood: DistributionLayer

    def __init__(self, *, seed: int, name: str, bounds: bool = True, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.seed = seed
        # Our own counter: Keras's stands still on a step that loss scaling skips.
        self.step = self._counter("step")
        self._test_step = self._counter("test_step")
        # Without densities there is a reconstruction to report, and no bound.
        names = ("elbo", "log_likelihood", "kl") if bounds else ("log_likelihood",)
        self._terms = [keras.metrics.Mean(name) for name in names]
        self.feed: feeds.ArrayFeed | None = None
        self.feed_tensors: tuple[tf.Tensor, ...] = ()

    def _counter(self, name: str) -> Any:
        return self.add_weight(
            name=name, shape=(), dtype="int64", initializer="zeros", trainable=False
        )

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
    ) -> Trace:
        """Pass a batch through the model."""
        raise NotImplementedError

    def unpack(self, data: Any) -> Unpacked:
        """Read a batch of what ``fit`` was given: the one place that knows its layout.

        A plain VAE models x alone: a `y` is not used.
        """
        x, _, weight = keras.utils.unpack_x_y_sample_weight(data)
        return Unpacked(seen=x, target=x, weight=weight)

    def check_condition(self, examples: Examples, call: str) -> None:
        """Refuse examples without conditions where the model asks for them; `call` has them."""

    def check_examples(self, examples: Examples) -> None:
        """Refuse a training set in memory that a slot cannot be fitted to."""

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "adam",
        *,
        steps_per_execution: int | str = "auto",
        jit_compile: bool | str = "auto",
        run_eagerly: bool = False,
        **kwargs: Any,
    ) -> None:
        """Configure training. The loss is the objective slot.

        Args:
            optimizer: a Keras optimizer.
            steps_per_execution: steps between callbacks. ``"auto"``: 32 for arrays, which stay
                on the device, and 1 for pipelines and where a callback class of yours hears of
                batches.
            jit_compile: use XLA. ``"auto"``: for dense networks, and not for convolutions or
                recurrent cells on CPU, which it would slow down.
            run_eagerly: run step by step in Python, for debugging.
            **kwargs: none; a `loss` or `metrics` is refused with advice.

        Raises:
            TypeError: for an argument that a VAE does not take.
            ValueError: for steps_per_execution < 1.
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
        if jit_compile == "auto":
            jit_compile = not run_eagerly and xla_pays(*self.networks())
        self._chunk = steps_per_execution
        super().compile(
            optimizer=optimizer,
            steps_per_execution=1 if steps_per_execution == "auto" else steps_per_execution,
            jit_compile=jit_compile,
            run_eagerly=run_eagerly,
        )
        self._function_key: tuple[Any, ...] = ()

    def get_compile_config(self) -> dict[str, Any]:
        """Return what :meth:`compile` was called with, for a saved model."""
        config: dict[str, Any] = super().get_compile_config() or {}
        names = ("optimizer", "jit_compile", "run_eagerly")
        kept = {name: config[name] for name in names if name in config}
        return {**kept, "steps_per_execution": self._chunk} if kept else {}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile a loaded model as it was when it was saved, optimizer state included."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def make_train_function(self, force: bool = False) -> None:
        """Build the compiled loop for arrays on the device, or Keras's function for pipelines."""
        self.steps_per_execution = 1 if self._chunk == "auto" else self._chunk
        # A traced loop has these built in.
        key = None if self.feed is None else self.feed.key
        if force or self._function_key != (key,):
            if self.feed is None:
                super().make_train_function(force=True)
            else:
                self.train_function = compiled_loop(self)
            self.train_function = guarded(self, self.train_function)
            self._function_key = (key,)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Take one optimizer step on a batch and return the logs."""
        self.train_batch(data)
        logs: dict[str, tf.Tensor] = self.get_metrics_result()
        return logs

    def train_batch(self, data: Any) -> tf.Tensor:
        """Take one optimizer step, unless loss or gradient is not finite; return whether."""
        step = tf.convert_to_tensor(self.step)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        with tf.GradientTape() as tape:
            trace, loss = self._loss(data, random.fold(self.seed, step), training=True)
            # Keras sums gradients over replicas; ours are of means over each replica's examples.
            scaled = self.optimizer.scale_loss(loss) / replicas
        variables = self.trainable_variables
        gradients = tape.gradient(scaled, variables)
        good = tf.math.is_finite(loss)
        if not isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            # With loss scaling, a gradient that overflows is the optimizer's to skip.
            finite = [tf.reduce_all(tf.math.is_finite(g)) for g in gradients if g is not None]
            good = tf.reduce_all(tf.stack([good, *finite]))
        if tf.distribute.has_strategy():
            self._apply(gradients, variables)  # Replicas cannot merge inside a branch.
        else:
            tf.cond(good, lambda: self._apply(gradients, variables), lambda: False)
        self._update_metrics(trace, tf.where(good, loss, tf.cast(np.nan, loss.dtype)))
        return good

    def _apply(self, gradients: list[tf.Tensor], variables: list[keras.Variable]) -> bool:
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.step.assign_add(1)
        return True

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Evaluate a batch and return the logs; the noise is a function of seed and batch."""
        seed = random.fold(self.seed, random.TEST, tf.convert_to_tensor(self._test_step))
        self._test_step.assign_add(1)
        trace, loss = self._loss(data, seed, training=False)
        self._update_metrics(trace, loss)
        logs: dict[str, tf.Tensor] = self.get_metrics_result()
        return logs

    def _loss(self, data: Any, seed: tf.Tensor, *, training: bool) -> tuple[Trace, tf.Tensor]:
        batch = self.unpack(data)
        trace = self.trace(
            batch.seen,
            self.objective.samples,
            seed,
            target=batch.target,
            condition=batch.condition,
            mask=batch.mask,
            weight=batch.weight,
            training=training,
        )
        loss = self.objective(trace)
        if batch.weight is not None:
            loss = loss * tf.cast(batch.weight, loss.dtype)
        return trace, tf.add_n(
            [tf.reduce_mean(loss), *(tf.cast(v, loss.dtype) for v in self.losses)]
        )

    def _update_metrics(self, trace: Trace, loss: tf.Tensor) -> None:
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(trace.x)[0])
        log_likelihood = tf.reduce_mean(trace.log_likelihood, axis=0)
        for metric in self._terms:
            value = log_likelihood
            if metric.name != "log_likelihood":
                value = trace.kl if metric.name == "kl" else log_likelihood - trace.kl
            metric.update_state(value, sample_weight=trace.weight)

    @functools.cached_property
    def importance_terms(self) -> Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        """From (x, seed, samples, condition), compiled: what evaluation sums over chunks.

        Returns log Σ_s w_s, Σ_s log p(x|z_s) and the KL, [B] each.
        """

        def terms(
            x: tf.Tensor, seed: tf.Tensor, samples: int, condition: tf.Tensor | None = None
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            trace = self.trace(x, samples, seed, condition=condition)
            return (
                tf.reduce_logsumexp(trace.log_weight, axis=0),
                tf.reduce_sum(trace.log_likelihood, axis=0),
                trace.kl,
            )

        compiled: Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]] = tf.function(
            terms, jit_compile=xla_pays(*self.networks()), autograph=False
        )
        return compiled

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Train, as ``keras.Model.fit`` does.

        NumPy arrays and :class:`tfvae.data.Examples` stay on the device and are trained on in
        chunks of steps; ``tf.data`` datasets, generators and ``PyDataset`` stream through
        Keras's pipeline. Logged for each epoch, in nats, summed over the event, mean over the
        examples: ``loss``, ``elbo``, ``log_likelihood`` (of x given z) and ``kl``. A model that
        was not compiled is compiled with Adam at a learning rate of 1e-3.

        Args:
            x: examples [N, *data], or anything else that Keras's `fit` takes.
            y: not used by a plain VAE, the condition of a conditional one.
            batch_size: examples in a step; 128 by default for arrays.
            epochs: passes over the data.
            verbose: as in Keras.
            callbacks: as in Keras.
            validation_split: the last fraction of the arrays, kept for validation.
            validation_data: arrays, a tuple as in Keras, Examples, or a dataset.
            shuffle: a new order every epoch.
            **kwargs: Keras's other arguments.

        Returns:
            Keras's History.

        Raises:
            ValueError: for data of another shape, outside the likelihood's support, or empty,
                and for sizes below 1.
            NonFiniteError: where the loss becomes NaN; the last good weights are kept.

        With sample weights w, `loss` is Σ w·loss / N as in Keras, and the other terms are
        weighted means.
        """
        if not self.compiled:
            self.compile()
        # Built before any loop is traced: a compiled loop cannot create variables.
        self.optimizer.build(self.trainable_variables)
        check_count("epochs", epochs)
        if kwargs.get("class_weight") is not None:
            raise TypeError(
                "Expected no `class_weight`: a VAE has no classes. "
                "Weigh the examples themselves with `sample_weight`."
            )
        options = {"epochs": epochs, "verbose": verbose, **kwargs}
        if not feeds.is_arrays(x):
            return super().fit(
                feeds.checked_stream(self.likelihood, x),
                y,
                batch_size=batch_size,
                callbacks=callbacks,
                validation_split=validation_split,
                validation_data=self._arrays(validation_data),
                # Keras warns of the default where it cannot shuffle.
                shuffle=shuffle and isinstance(x, keras.utils.PyDataset),
                **options,
            )
        examples = feeds.examples(self.likelihood, x, y, options.pop("sample_weight", None))
        self.check_examples(examples)
        if validation_split and validation_data is None:
            examples, validation_data = feeds.split_last(examples, validation_split)
        batch_size = feeds.BATCH_SIZE if batch_size is None else batch_size
        feed = feeds.ArrayFeed(examples, batch_size, seed=self.seed, shuffle=shuffle)
        start = int(self.step.numpy())
        chunked = feeds.stays_on_device(examples) and not kwargs.get("steps_per_epoch")
        options = {
            "validation_data": self._arrays(validation_data),
            "validation_batch_size": batch_size,
            "shuffle": False,  # The feed has its own order.
            **options,
            "steps_per_epoch": kwargs.get("steps_per_epoch") or feed.steps,
        }
        if not chunked:
            return super().fit(feed.batches(start), callbacks=callbacks, **options)
        longest = 1 if hears_batches(callbacks) else CHUNK
        chunk = min(longest if self._chunk == "auto" else int(self._chunk), feed.steps)
        self.feed, self.feed_tensors = feed, feed.tensors()
        # For Keras's training iterator only; `make_train_function` puts it back.
        self.steps_per_execution = chunk
        callbacks = BoundedCallbacks(
            callbacks,
            add_history=True,
            add_progbar=verbose != 0,
            verbose=verbose,
            epochs=epochs,
            steps=options["steps_per_epoch"],
            model=self,
        )
        try:
            return super().fit(feed.chunks(start, chunk), callbacks=callbacks, **options)
        finally:
            self.feed, self.feed_tensors = None, ()

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Return the loss and the ELBO's terms, as ``keras.Model.evaluate`` does.

        Dynamically binarised examples are drawn once, so that evaluation repeats.
        """
        if not self.compiled:
            self.compile()
        # Inside `fit`, Keras evaluates on a data set that was checked and made once.
        if feeds.is_arrays(x) and not kwargs.get("_use_cached_eval_dataset"):
            examples = feeds.examples(self.likelihood, x, y, sample_weight)
            x, y, sample_weight = feeds.keras_arguments(examples)
            batch_size = feeds.BATCH_SIZE if batch_size is None else batch_size
        self._test_step.assign(0)
        return super().evaluate(x, y, batch_size, verbose, sample_weight, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Return reconstructions, as ``keras.Model.predict`` does."""
        if feeds.is_arrays(x):
            x = feeds.examples(self.likelihood, x).values()
        return super().predict(x, *args, **kwargs)

    def _arrays(self, data: Any) -> Any:
        """Check validation data that is in memory and return it as Keras takes it."""
        head, *rest = data if isinstance(data, tuple) else (data,)
        if not feeds.is_arrays(head):
            return data
        y, weight = (*rest, None, None)[:2]
        examples = feeds.examples(self.likelihood, head, y, weight, argument="validation_data")
        self.check_condition(examples, "validation_data=(x, c)")
        return feeds.keras_arguments(examples)


def check_count(argument: str, value: Any) -> None:
    """Raise a ``ValueError`` unless a value is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(
            f"Expected `{argument}` to be a whole number of at least 1. "
            f"Received: {argument}={value!r}."
        )

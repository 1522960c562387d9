"""Training with ``fit``: many steps, on whatever data there is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tfvae import engine, feeds, intake
from tfvae.data import Examples
from tfvae.engine import Steps
from tfvae.feeds import Block, Feed
from tfvae.loop import CHUNK, LocalSteps, Position, compiled_steps, guarded, longest_chunk
from tfvae.records import Records
from tfvae.replicas import ReplicaSteps, replicated_steps
from tfvae.step import StepModel, Unpacked, check_count

__all__ = ["TraceModel", "Unpacked"]


class _Counted(keras.callbacks.Callback):
    """Keeps a model's position where Keras's own loop trains: before other callbacks hear."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.model.position = Position()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.model.position = Position(epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.position = Position(epoch + 1)


class _Resumed(keras.callbacks.Callback):
    """Has Keras's own loop begin where a checkpoint was restored: after other callbacks."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.model._initial_epoch = self.model.position.epoch or self.model._initial_epoch

    def on_train_end(self, logs: Any = None) -> None:
        self.model._initial_epoch = None


class TraceModel(StepModel):
    """What all model families share: training and evaluation of whatever yields a Trace.

    A family implements :meth:`trace` and sets ``likelihood`` and ``objective``.
    """

    train_function: Any

    def check_condition(self, examples: Any, call: str) -> None:
        """Refuse examples without conditions where the model asks for them; `call` has them."""

    def check_examples(self, examples: Any) -> None:
        """Refuse a training set in memory that a slot cannot be fitted to."""

    @property
    def check_stream(self) -> Callable[[Any], None] | None:
        """What looks at the first batch of a training set that streams; None where y is not read.

        Of a stream no more is seen before it is trained on: :meth:`possible` judges the rest.
        """
        return None

    def stand_in(self, x: Any) -> Any:
        """Return what stands for y where Keras asks for one and there is none: x itself."""
        return x

    def arrange(
        self, x: Any, y: Any = None, weight: Any = None, argument: str = "x"
    ) -> tuple[Any, Any, Any]:
        """Return what is modelled, what it is modelled given, and weights: as `fit` took them.

        A family whose `fit` takes them in another order puts them in this one.
        """
        return x, y, weight

    def beside(self, x: Any, condition: Any = None) -> tuple[Any, Any, Any]:
        """Return what :meth:`arrange` does of data and of what is called their condition.

        A condition is what x is modelled given. Without one, data that bring something are
        arranged as `fit` takes them.
        """
        return self.arrange(x) if condition is None else (x, condition, None)

    def make_train_function(self, force: bool = False) -> None:
        """Build what Keras calls for each step of a pipeline."""
        if tf.distribute.has_strategy():
            self.train_function = self._distributed(self.train_batch)
        else:
            super().make_train_function(force=force)
            if "guarded" in self._functions and not force:
                return
            self._functions["guarded"] = True
        self.train_function = guarded(self, self.train_function)

    def _forget_train_function(self) -> None:
        """Have what Keras calls for each step traced anew: the data's size is built into it."""
        self.train_function = None
        for key in ("guarded", self.train_batch):
            self._functions.pop(key, None)

    def make_test_function(self, force: bool = False) -> Any:
        """Build what Keras calls for each step of an evaluation on a pipeline."""
        if not tf.distribute.has_strategy():
            return super().make_test_function(force=force)
        self.test_function = self._distributed(self.test_batch)
        return self.test_function

    def _distributed(self, take: Callable[[Any], tf.Tensor]) -> Callable[[Iterator[Any]], Any]:
        """Run a step on all replicas; Keras's own reduction of logs fails on several machines."""
        if take not in self._functions:
            strategy = tf.distribute.get_strategy()

            def step(data: Any) -> None:
                strategy.run(take, args=(data,))

            self._functions[take] = step if self.run_eagerly else tf.function(step, autograph=False)
        step = self._functions[take]

        def function(iterator: Iterator[Any]) -> dict[str, float]:
            for _ in range(self.steps_per_execution):
                step(next(iterator))
            return self.logs()

        return function

    def _steps(self, feed: Feed, chunk: int, start: int, done: int, *, training: bool) -> Steps:
        """Return what takes steps on a feed, on one device or on all replicas."""
        take = self.train_batch if training else self.test_batch
        counter = self.step if training else self._test_step
        eager = self.run_eagerly
        # A traced loop has these built in.
        key = (training, feed.preparation, feed.batch_size, self.dataset_size)
        if tf.distribute.has_strategy():
            if key not in self._functions:
                self._functions[key] = replicated_steps(
                    take, counter, feed.preparation, eager=eager
                )
            return ReplicaSteps(feed, self._functions[key], start=start, done=done)
        if key not in self._functions:
            jit, always, size = self.jit_compile, self.jit != "auto", feed.batch_size

            def xla(block: Block) -> bool:
                # To compile takes seconds: too long for what runs once in a pass.
                return jit and (always or (training and block.size == size))

            self._functions[key] = compiled_steps(
                take, counter, feed.preparation, xla=xla, eager=eager
            )
        return LocalSteps(feed, self._functions[key], start=start, done=done, chunk=chunk)

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
        chunks of steps; larger ones and :class:`tfvae.records.Records` stream, in the same
        chunks. ``tf.data`` datasets, generators and ``PyDataset`` go through Keras's own
        pipeline, a step at a time. Logged for each epoch, in nats, summed over the event, mean
        over the examples: ``loss``, ``elbo``, ``log_likelihood`` (of x given z) and ``kl``. A
        model that was not compiled is compiled with Adam at a learning rate of 1e-3.

        Under a distribution strategy, in whose scope the model was built, `batch_size` is that
        of all replicas together, and their number changes nothing but statistics of a batch.

        Args:
            x: examples [N, *data], or anything else that Keras's `fit` takes.
            y: not used by a plain VAE, the condition of a conditional one.
            batch_size: examples in a step; 128 by default for arrays.
            epochs: passes over the data.
            verbose: as in Keras.
            callbacks: as in Keras.
            validation_split: the last fraction of the arrays, kept for validation.
            validation_data: arrays, a tuple as in Keras, Examples, Records, or a dataset.
            shuffle: a new order every epoch.
            **kwargs: Keras's other arguments; and `dataset_size`, the number of examples of a
                stream, which Bayesian layers and the total correlation need.

        Returns:
            Keras's History.

        Raises:
            ValueError: for data of another shape, outside the likelihood's support, or empty,
                and for sizes below 1.
            NonFiniteError: where the loss becomes NaN; the last good weights are kept.

        With sample weights w, `loss` is Σ w·loss / N as in Keras, and the other terms are
        weighted means.
        """
        with self.distribute_strategy.scope():
            return self._fit(
                *(x, y, batch_size, epochs, verbose, callbacks),
                *(validation_split, validation_data, shuffle, kwargs),
            )

    def _fit(
        self,
        x: Any,
        y: Any,
        batch_size: int | None,
        epochs: int,
        verbose: str | int,
        callbacks: Any,
        validation_split: float,
        validation_data: Any,
        shuffle: bool,
        options: dict[str, Any],
    ) -> keras.callbacks.History:
        if not self.compiled:
            self.compile()
        # Built before any loop is traced: a compiled loop cannot create variables.
        self.optimizer.build(self.trainable_variables)
        check_count("epochs", epochs)
        if options.pop("class_weight", None) is not None:
            raise TypeError(
                "Expected no `class_weight`: a VAE has no classes. "
                "Weigh the examples themselves with `sample_weight`."
            )
        x, y, weight = self.arrange(x, y, options.pop("sample_weight", None))
        if not intake.is_indexed(x):
            size = options.pop("dataset_size", None)
            if size is not None:
                check_count("dataset_size", size)
            if self._functions.setdefault("dataset_size", size) != size:
                self._forget_train_function()
                self._functions["dataset_size"] = size
            self.dataset_size, self.course = size, {}
            callbacks = tf.nest.flatten(callbacks) if callbacks is not None else []
            return super().fit(
                intake.checked_stream(self.likelihood, x, self.check_stream),
                y,
                batch_size=batch_size,
                epochs=epochs,
                verbose=verbose,
                callbacks=[_Counted(), *callbacks, _Resumed()],
                validation_split=validation_split,
                validation_data=self._arrays(validation_data),
                # Keras warns of the default where it cannot shuffle.
                shuffle=shuffle and isinstance(x, keras.utils.PyDataset),
                sample_weight=weight,
                **options,
            )
        data = intake.accepted(self.likelihood, x, y, weight)
        held_out = None
        if validation_split and validation_data is None:
            data, held_out = intake.split_last(data, validation_split, self.seed)
            self.check_condition(held_out, "vae.fit(x, c)")
        elif validation_data is not None:
            held_out = self._held_out(validation_data)
        self.check_examples(data)
        batch_size = feeds.BATCH_SIZE if batch_size is None else batch_size
        feed = Feed(data, batch_size, seed=self.seed, shuffle=shuffle)
        self.dataset_size = len(data)
        steps = options.pop("steps_per_epoch", None) or feed.steps
        check_count("steps_per_epoch", steps)
        self.course = {
            "batch_size": int(batch_size),
            "examples": len(data),
            "steps_per_epoch": int(steps),
            "shuffle": int(shuffle),
        }
        longest = longest_chunk(callbacks) if self._chunk == "auto" else int(self._chunk)
        chunk = min(longest, steps)
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = keras.callbacks.CallbackList(
                callbacks,
                add_history=True,
                add_progbar=verbose != 0,
                verbose=verbose if verbose != "auto" else 1,
                epochs=epochs,
                steps=steps,
                model=self,
            )
        validate = self._validation(
            validation_data if held_out is None else held_out,
            options.pop("validation_batch_size", None) or batch_size,
            options.pop("validation_freq", 1),
            options.pop("validation_steps", None),
            callbacks,
        )
        initial_epoch = options.pop("initial_epoch", 0)
        if options:
            raise TypeError(f"Expected Keras's arguments of `fit`. Received: {', '.join(options)}.")
        engine.fit(
            self,
            lambda start, done: self._steps(feed, chunk, start, done, training=True),
            callbacks=callbacks,
            epochs=epochs,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps,
            steps_per_pass=feed.steps,
            chunk=chunk,
            validate=validate,
        )
        return self.history

    def _validation(
        self, data: Any, batch_size: int, frequency: Any, steps: int | None, callbacks: Any
    ) -> Callable[[int], dict[str, float]]:
        """Return what evaluates after an epoch, if it is one of those after which to."""
        due = frequency if isinstance(frequency, list | tuple | set) else None
        if data is not None and due is None:
            check_count("validation_freq", frequency)
        if data is None:
            evaluate: Callable[[], dict[str, float]] = dict
        elif isinstance(data, Examples | Records):
            if steps is not None:
                data = data.take(min(len(data), steps * batch_size))
            evaluate = functools.partial(
                self._evaluate, self._test_feed(data, batch_size), callbacks
            )
        else:
            x, y, weight = keras.utils.unpack_x_y_sample_weight(data)

            def evaluate() -> dict[str, float]:
                logs: dict[str, float] = self.evaluate(
                    x, y, None, 0, weight, steps=steps, return_dict=True
                )
                return logs

        def validate(epoch: int) -> dict[str, float]:
            if epoch + 1 in due if due is not None else (epoch + 1) % frequency == 0:
                return {f"val_{name}": value for name, value in evaluate().items()}
            return {}

        return validate

    def _test_feed(self, data: Any, batch_size: int) -> Feed:
        if isinstance(data, Examples):
            # Drawn once, so that evaluation repeats.
            data = intake.fixed(data)
        return Feed(data, batch_size, seed=self.seed, shuffle=False)

    def _evaluate(self, feed: Feed, callbacks: Any) -> dict[str, float]:
        """Evaluate on all of a feed. Training metrics start afresh after it."""
        # What else is measured, such as the use of a codebook, is measured in training.
        judged = {"loss", *self.judged}
        self.reset_metrics()
        self._test_step.assign(0)
        callbacks.on_test_begin()
        take = self._steps(feed, feed.steps, 0, 0, training=False)
        logs: dict[str, float] = {}
        done = 0
        while done < feed.steps:
            count = min(CHUNK, feed.steps - done)
            callbacks.on_test_batch_begin(done)
            take(count, done)
            done += count
            logs = self.logs(training=False)
            logs = {name: value for name, value in logs.items() if name in judged}
            callbacks.on_test_batch_end(done - 1, logs)
        callbacks.on_test_end(logs)
        return logs

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return the loss and the ELBO's terms, as ``keras.Model.evaluate`` does.

        Dynamically binarised examples are drawn once, so that evaluation repeats.
        """
        if not self.compiled:
            self.compile()
        cached = kwargs.get("_use_cached_eval_dataset")
        with self.distribute_strategy.scope():
            if cached or not intake.is_indexed(x) or steps is not None:
                self._test_step.assign(0)
                if not cached:
                    x, y, sample_weight = self._arrays((x, y, sample_weight))
                return super().evaluate(
                    *(x, y, batch_size, verbose, sample_weight, steps, callbacks, return_dict),
                    **kwargs,
                )
            data = intake.accepted(self.likelihood, *self.arrange(x, y, sample_weight))
            self.check_condition(data, "vae.evaluate(x, c)")
            feed = self._test_feed(data, batch_size or feeds.BATCH_SIZE)
            if not isinstance(callbacks, keras.callbacks.CallbackList):
                callbacks = keras.callbacks.CallbackList(
                    callbacks,
                    add_progbar=verbose != 0,
                    verbose=verbose if verbose != "auto" else 1,
                    epochs=1,
                    steps=feed.steps,
                    model=self,
                )
            logs = self._evaluate(feed, callbacks)
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    def predict(self, x: Any, *args: Any, condition: Any = None, **kwargs: Any) -> Any:
        """Return reconstructions, as ``keras.Model.predict`` does.

        Args:
            x: examples, or batches of them: ``(x, condition)`` for a conditional model.
            *args: as Keras takes them.
            condition: for a conditional model, one for each example of an array.
            **kwargs: as Keras takes them.

        Raises:
            ValueError: for examples that do not fit the model, and for conditions that are
                missing or not asked for.
        """
        if intake.is_indexed(x):
            examples = intake.examples(self.likelihood, x, condition)
            self.check_condition(examples, "vae.predict(x, condition=c)")
            given = self.unpack((examples.values(), examples.y)).condition
            if condition is not None and given is None:
                raise ValueError(
                    "Expected no `condition`, for no part of this model takes one. Received: one. "
                    "Pass x alone."
                )
            x = examples.values() if given is None else (examples.values(), given)
        return super().predict(x, *args, **kwargs)

    def predict_step(self, data: Any) -> Any:
        """Reconstruct a batch."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        batch = self.unpack(x if isinstance(x, tuple) else (x, y))
        given = {} if batch.condition is None else {"condition": batch.condition}
        return self(batch.seen, training=False, **given)

    def _held_out(self, data: Any) -> Examples | Records | None:
        """Return validation data that is checked and whose size is known; None of any other."""
        given = data if isinstance(data, tuple) else (data,)
        if not intake.is_indexed(given[0]):
            return None
        held_out = intake.accepted(
            self.likelihood, *self.arrange(*given), argument="validation_data"
        )
        self.check_condition(held_out, "validation_data=(x, c)")
        return held_out

    def _arrays(self, data: Any) -> Any:
        """Return data as Keras takes it, checked where it is in memory."""
        if data is None:
            return None
        held_out = self._held_out(data)
        if held_out is not None:
            examples = intake.examples(self.likelihood, held_out)
            return intake.keras_arguments(examples, self.stand_in)
        return self.arrange(*data) if isinstance(data, tuple) else self.arrange(data)[0]

"""Training on several devices and machines, such that their number changes nothing.

A batch is global: each replica gets a part of it, the noise of an example is that of its index in
the whole, and losses and gradients are sums over replicas, each of which counts by its share of
the examples. What is left to depend on their number are statistics of a batch: those of
``BatchNormalization``, and objectives of the aggregate posterior (TC, DIP, MMD).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfvae.feeds import Feed, Preparation


class Share(NamedTuple):
    """What part of a batch a replica has.

    Attributes:
        position: index in the batch of the first of its examples, int64.
        fraction: its share of the examples.
    """

    position: tf.Tensor
    fraction: tf.Tensor


def _share_of(count: tf.Tensor) -> Share:
    """Return the share of a replica that was given `count` examples, by asking all of them."""
    context = tf.distribute.get_replica_context()
    counts = context.all_gather(tf.cast(count, tf.int64)[tf.newaxis], axis=0)
    before = tf.range(tf.shape(counts)[0]) < context.replica_id_in_sync_group
    position = tf.reduce_sum(tf.where(before, counts, 0))
    return Share(position, tf.cast(count, tf.float32) / tf.cast(tf.reduce_sum(counts), tf.float32))


def summed(tensors: Sequence[tf.Tensor | None]) -> list[tf.Tensor | None]:
    """Return the sums of tensors over all replicas, in a replica."""
    present = [each for each in tensors if each is not None]
    sums = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, present))
    return [None if each is None else next(sums) for each in tensors]


def apply_if(
    good: tf.Tensor,
    apply: Callable[[Sequence[tf.Tensor | None]], None],
    gradients: Sequence[tf.Tensor | None],
) -> None:
    """Apply gradients where `good`; both are the same in all replicas."""

    def branch(update: Callable[[], Any]) -> Callable[[], tf.Tensor]:
        def run() -> tf.Tensor:
            update()
            return tf.constant(True)

        return run

    def across(strategy: tf.distribute.Strategy, good: Any, gradients: Any) -> None:
        update = branch(lambda: strategy.extended.call_for_each_replica(apply, args=(gradients,)))
        tf.cond(_first(strategy, good), update, lambda: tf.constant(False))

    if not tf.distribute.has_strategy() or (
        tf.__internal__.distribute.strategy_supports_no_merge_call()
    ):
        tf.cond(good, branch(lambda: apply(gradients)), lambda: tf.constant(False))
    else:
        # Replicas cannot meet inside a branch: it is taken where they meet.
        tf.distribute.get_replica_context().merge_call(across, args=(good, list(gradients)))


def _first(strategy: tf.distribute.Strategy, value: Any) -> Any:
    """Return what the first replica has of a value that is the same in all of them."""
    return strategy.experimental_local_results(value)[0]


def never_empty(data: Any) -> tuple[Any, Share]:
    """Return a replica's part of a batch that Keras divided, and its share.

    Where there are fewer examples than replicas one gets none; it computes with zeros, which
    count for nothing.
    """
    count = tf.shape(tf.nest.flatten(data)[0])[0]
    missing = tf.cast(count == 0, tf.int32)

    def padded(tensor: tf.Tensor) -> tf.Tensor:
        rest = [[0, 0]] * (tensor.shape.rank - 1)
        return tf.pad(tensor, [[0, missing], *rest])

    return tf.nest.map_structure(padded, data), _share_of(count)


def leave_sums_alone(optimizer: keras.optimizers.Optimizer) -> None:
    """Have an optimizer take gradients that are summed over replicas already.

    Keras sums those that it is given after it has clipped them; clipped one by one they would
    depend on the number of replicas.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    inner._all_reduce_sum_gradients = lambda pairs: pairs
    if inner.gradient_accumulation_steps:
        raise ValueError(
            "Expected no gradient accumulation under a distribution strategy, where Keras's "
            "optimizers cannot branch. Received: an optimizer with gradient_accumulation_steps="
            f"{inner.gradient_accumulation_steps}. Use more replicas, or a smaller batch."
        )


class ReplicaSteps:
    """The steps of a feed on all replicas, pass after pass, as many at a time as are asked for.

    Args:
        feed: the data, of which every machine has the whole and reads its part.
        run: what :func:`replicated_steps` returned.
        start: the model's step counter when the running pass began.
        done: steps of that pass that were taken before.
    """

    def __init__(
        self, feed: Feed, run: Callable[[Any, tf.Tensor], tf.Tensor], *, start: int, done: int
    ) -> None:
        self.start = start
        self._passed = done
        self._feed = feed
        self._run = run
        dataset = tf.distribute.get_strategy().distribute_datasets_from_function(
            lambda context: _dataset(feed, start, done, context)
        )
        self._iterator = iter(dataset)

    def __call__(self, count: int, step: int) -> bool:
        """Take `count` steps from the model's step counter on; say whether all were good."""
        good = bool(self._run(self._iterator, tf.constant(count)))
        self._passed += count
        whole, self._passed = divmod(self._passed, self._feed.steps)
        self.start += whole * self._feed.steps
        return good


def replicated_steps(
    take: Callable[[Any, Share], tf.Tensor],
    counter: keras.Variable,
    prepare: Preparation,
    *,
    eager: bool = False,
) -> Callable[[Any, tf.Tensor], tf.Tensor]:
    """Return a function that takes n steps on what an iterator yields, as one loop.

    Args:
        take: from (x, y, weight) and a share, takes a replica's part of a step.
        counter: the model's step counter, of which binarisation is a function.
        prepare: makes what the model sees of what is stored.
        eager: run it in Python, for debugging.
    """
    strategy = tf.distribute.get_strategy()

    def replica_step(tensors: tuple[tf.Tensor, ...], position: Any, fraction: Any) -> tf.Tensor:
        data = prepare(tensors, tf.convert_to_tensor(counter), position)
        return take(data, Share(position, fraction))

    def run(iterator: Any, count: tf.Tensor) -> tf.Tensor:
        def one_step(index: tf.Tensor, good: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            tensors, position, fraction = iterator.get_next()
            goods = strategy.run(replica_step, args=(tensors, position, fraction))
            return index + 1, _first(strategy, goods)

        _, good = tf.while_loop(
            lambda index, good: tf.logical_and(index < count, good),
            one_step,
            [tf.constant(0), tf.constant(True)],
            parallel_iterations=1,
        )
        return good

    return run if eager else tf.function(run, autograph=False)


def _dataset(
    feed: Feed, start: int, done: int, context: tf.distribute.InputContext
) -> tf.data.Dataset:
    """Return the endless parts of one machine: an element for each of its replicas in turn."""
    replicas = context.num_replicas_in_sync
    local = replicas // context.num_input_pipelines
    mine = range(context.input_pipeline_id * local, (context.input_pipeline_id + 1) * local)

    def parts() -> Iterator[Any]:
        for batch in _batches(feed, start, done):
            total = len(batch[0])
            bounds = [replica * total // replicas for replica in range(replicas + 1)]
            for first, last in ((bounds[replica], bounds[replica + 1]) for replica in mine):
                # A replica without examples computes with one, which counts for nothing.
                rows = slice(first, last) if last > first else slice(0, 1)
                part = tuple(each[rows] for each in batch)
                yield part, np.int64(first), np.float32((last - first) / total)

    arrays = next(_batches(feed, start, 0))
    signature = (
        tuple(tf.TensorSpec([None, *each.shape[1:]], each.dtype) for each in arrays),
        tf.TensorSpec([], tf.int64),
        tf.TensorSpec([], tf.float32),
    )
    dataset = tf.data.Dataset.from_generator(parts, output_signature=signature)
    # Of data that could end, TensorFlow would ask all machines before every step.
    infinite = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    return dataset.apply(infinite).prefetch(2 * local)


def _batches(feed: Feed, start: int, done: int) -> Iterator[tuple[Any, ...]]:
    """Yield the batches of one pass after another, as they are stored."""
    while True:
        yield from feed.stream(start, done, feed.batch_size)
        start, done = start + feed.steps, 0


def agree(value: int) -> bool:
    """Say whether all workers have the same number."""
    strategy = tf.distribute.get_strategy()

    def gathered() -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        return context.all_gather(tf.constant([value], tf.int64), axis=0)

    values = strategy.experimental_local_results(strategy.run(gathered))[0]
    return bool(tf.reduce_all(values == value))


def is_chief() -> bool:
    """Say whether this process writes files: the only one there is, or the first worker."""
    strategy = tf.distribute.get_strategy()
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    cluster = resolver.cluster_spec().as_dict()
    if "chief" in cluster:
        return bool(resolver.task_type == "chief")
    return bool(resolver.task_type == "worker" and resolver.task_id == 0)

"""Runs of records as a stream of tensors: read ahead, in order, or shuffled in pools.

An epoch is shuffled in two steps. All runs are permuted, and read in that order; of what is read,
as much as the buffer holds, a *pool*, is permuted again. What fits into one pool is thereby
shuffled whole. What does not was shuffled as it was written, so a pool is a sample of all of it.
Counts are known, so an epoch can be entered anywhere: pools that are skipped are not read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tfvae.records.blocks import after
from tfvae.sources import Array, philox

if TYPE_CHECKING:
    import tensorflow as tf

Read = Callable[[Array], tuple[Array, ...]]
"""From a run to its arrays."""

_READERS = 2
_STREAM = 2  # of the Philox keys of a seed: 0 is binarisation, 1 is splits, from here on epochs


def in_order(runs: Array, read: Read, signature: tuple[tf.TensorSpec, ...]) -> tf.data.Dataset:
    """Return the tensors of each run.

    Args:
        runs: As of `tfvae.records.blocks.runs`.
        read: Called from threads of the pipeline.
        signature: Of what it returns.
    """
    import tensorflow as tf

    def tensors(run: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # No operation of TensorFlow reads from the middle of a file without reading up to there.
        types = [spec.dtype for spec in signature]
        values = tf.numpy_function(read, [run], types, stateful=False)
        pairs = zip(values, signature, strict=True)
        return tuple(tf.ensure_shape(value, spec.shape) for value, spec in pairs)

    dataset = tf.data.Dataset.from_tensor_slices(runs)
    return dataset.map(tensors, num_parallel_calls=_READERS, deterministic=True)


def shuffled(
    runs: Array,
    read: Read,
    signature: tuple[tf.TensorSpec, ...],
    *,
    seed: int,
    epoch: int,
    pool: int,
    total: int,
    skipped: int,
) -> tf.data.Dataset:
    """Return the tensors of each pool, in an order that is a function of (seed, epoch, pool).

    Args:
        runs: As for :func:`in_order`.
        read: As for :func:`in_order`.
        signature: As for :func:`in_order`.
        seed: Of the order.
        epoch: Of the order.
        pool: Records in a pool.
        total: Records in the runs.
        skipped: Records to leave out at the beginning.
    """
    import tensorflow as tf

    pools = -(-total // pool)
    words = philox(seed, _STREAM + epoch, len(runs) + 2 * pools)
    order = words[: len(runs)].argsort(kind="stable")
    seeds = words[len(runs) :].view(np.int64).reshape(-1, 2)
    first, within = divmod(skipped, pool)
    drops = np.zeros(pools - first, np.int64)
    drops[:1] = within

    def permuted(how: tuple[tf.Tensor, tf.Tensor], arrays: tuple[tf.Tensor, ...]) -> Any:
        key, drop = how
        rows = tf.range(tf.shape(arrays[0])[0])
        rows = tf.random.experimental.stateless_shuffle(rows, key)[drop:]
        return tuple(tf.gather(array, rows) for array in arrays)

    filled = in_order(after(runs[order], first * pool), read, signature).rebatch(pool)
    how = tf.data.Dataset.from_tensor_slices((seeds[first:], drops))
    return tf.data.Dataset.zip((how, filled)).map(permuted).prefetch(1)

"""The machine's limit: products of square matrices in TensorFlow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from contenders import Task

SIZE, PRODUCTS = 2048, 16


def multiplier(task: Task, x: np.ndarray) -> Callable[[], float]:
    del task, x
    matrix = tf.random.stateless_uniform([SIZE, SIZE], seed=[0, 0])

    def run() -> float:
        """Multiply; what is returned are the operations of a block."""
        for _ in range(PRODUCTS):
            product = matrix @ matrix
        product.numpy()
        return 2.0 * PRODUCTS * SIZE**3

    return run

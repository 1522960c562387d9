"""Examples of which each holds its own number."""

import numpy as np


def numbered(n, shape=(2, 2)):
    """Examples of which each holds its own number, so that leaks show."""
    return np.broadcast_to(np.arange(n).reshape(-1, *(1,) * len(shape)), (n, *shape))


def numbers(examples):
    return examples.x.reshape(len(examples), -1)[:, 0].tolist()

"""Which devices to compute on and in which precision, settled before TensorFlow starts them."""

from __future__ import annotations

import re
from typing import Any

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "float64")
"""Keras's dtype policies that a VAE trains in; distributions are never below float32."""

_GPUS = re.compile(r"gpu(?::(\d+(?:,\d+)*))?")


def check(device: str | None = None, precision: str = "float32") -> None:
    """Check what :func:`prepare` takes, without importing TensorFlow.

    Args:
        device: as in :func:`prepare`.
        precision: as in :func:`prepare`.

    Raises:
        ValueError: if one of them is not written as it should be.

    Example:
        >>> from tfvae import devices
        >>> devices.check("gpu:0,1", "mixed_bfloat16")
    """
    if device is not None:
        _requested(device)
    if precision not in PRECISIONS:
        raise ValueError(
            f"Expected `precision` to be one of {', '.join(PRECISIONS)}. "
            f"Received: precision={precision!r}."
        )


def prepare(device: str | None = None, precision: str = "float32") -> None:
    """Choose the devices that TensorFlow sees and Keras's dtype policy.

    To be called before TensorFlow has computed anything. GPUs are given memory as it is needed,
    not all of it at once.

    Args:
        device: ``"cpu"``; ``"gpu"`` for all GPUs; ``"gpu:1"`` or ``"gpu:0,1"`` for some of them;
            or None for whatever there is.
        precision: ``"float32"``, ``"mixed_bfloat16"`` (recent GPUs and CPUs), ``"mixed_float16"``
            (GPUs; Keras scales the loss) or ``"float64"``.

    Raises:
        ValueError: if there is no such device or precision.
        RuntimeError: if TensorFlow has started its devices already.

    Example:
        >>> from tfvae import devices
        >>> devices.prepare(precision="float32")
    """
    check(device, precision)
    import keras
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    chosen = gpus if device is None else _chosen(device, gpus)
    try:
        # What is so already may be asked for at any time.
        if chosen != tf.config.get_visible_devices("GPU"):
            tf.config.set_visible_devices(chosen, "GPU")
        for gpu in chosen:
            if not tf.config.experimental.get_memory_growth(gpu):
                tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:
        if device is not None:
            raise RuntimeError(
                "Expected devices to be chosen before TensorFlow starts them. Received: "
                f"device={device!r} after something was computed. Call devices.prepare first in "
                "a new process."
            ) from error
    keras.config.set_dtype_policy(precision)


def _requested(device: str) -> list[int] | None:
    """Return the numbers of the GPUs that are asked for; None for all of them."""
    if device == "cpu":
        return []
    match = _GPUS.fullmatch(device)
    numbers = [int(number) for number in match[1].split(",")] if match and match[1] else []
    if match is None or len(set(numbers)) < len(numbers):
        raise ValueError(
            'Expected `device` to be "cpu", "gpu", or GPUs by number, each once, as in "gpu:1" '
            f'or "gpu:0,1". Received: device={device!r}.'
        )
    return numbers or None


def _chosen(device: str, gpus: list[Any]) -> list[Any]:
    numbers = _requested(device)
    if numbers is None:
        numbers = list(range(max(len(gpus), 1)))
    if any(number >= len(gpus) for number in numbers):
        there = ["cpu", *(f"gpu:{number}" for number in range(len(gpus)))]
        advice = (
            f"Use one of {', '.join(there)}."
            if gpus
            else "TensorFlow finds no GPU: check that nvidia-smi lists one, install "
            'pip install "tfvae[gpu]" for CUDA, or use device="cpu".'
        )
        raise ValueError(
            f"Expected `device` to be there. Received: device={device!r}; there are: "
            f"{', '.join(there)}. {advice}"
        )
    return [gpus[number] for number in numbers]

"""Several GPUs, several machines: TensorFlow's strategies, with errors in place of hangs."""

from __future__ import annotations

import contextlib
import re
import socket
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from tfvae.tf_config import EXAMPLE, Cluster, ClusterError, check, host_and_port, read

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["HEARTBEAT", "TIMEOUT", "Cluster", "ClusterError", "check", "strategy", "translated"]

Strategy = Literal["none", "mirrored", "multiworker"]

TIMEOUT = 300.0
"""Seconds that workers wait for each other at the start."""

HEARTBEAT = 30.0
"""Seconds without a sign of life after which a worker counts as dead."""

_TASK = re.compile(r"/job:(\w+)/replica:\d+/task:(\d+)")


def strategy(
    name: Strategy, timeout: float = TIMEOUT, heartbeat: float = HEARTBEAT
) -> tf.distribute.Strategy:
    """Return a distribution strategy, in whose scope a model is to be built and trained.

    Args:
        name: ``"none"``; ``"mirrored"``, over all GPUs of this machine, or over its logical CPUs
            where there is no GPU; or ``"multiworker"``, over all machines in ``TF_CONFIG``, each
            with as many GPUs. Gradients are summed with NCCL on GPUs and in a ring on CPUs.
        timeout: seconds to wait for the other workers.
        heartbeat: seconds without a sign of life after which a worker counts as dead, and the
            others end with an error.

    Raises:
        ValueError: for another name, and for a wrong ``TF_CONFIG``.
        ClusterError: if the other workers do not come in time.
        RuntimeError: for ``"multiworker"`` after TensorFlow has computed something.

    Example:
        >>> from tfvae import cluster
        >>> with cluster.strategy("none").scope():
        ...     vae = tfvae.zoo.vae((4,), 2, likelihood="Normal")
    """
    import tensorflow as tf

    if name == "mirrored":
        return _mirrored()
    if name == "multiworker":
        return _multiworker(timeout, heartbeat)
    if name == "none":
        return tf.distribute.get_strategy()
    raise ValueError(
        'Expected `strategy` to be "none", "mirrored" or "multiworker". '
        f"Received: strategy={name!r}."
    )


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Say what to do when a worker is lost in the block, in which TensorFlow trains.

    Raises:
        ClusterError: in place of TensorFlow's error.
    """
    import tensorflow as tf

    lost = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
    try:
        yield
    except tf.errors.OpError as error:
        aborted = "Collective ops is aborted" in error.message
        cluster = read()
        if cluster is None or not (aborted or isinstance(error, lost)):
            raise
        named = _named(error.message, cluster)
        who = ", ".join(named) or "another worker"
        raise ClusterError(
            f"Training stopped: {who} is gone, as TensorFlow says: {_reason(error.message)} See "
            "that worker's own output for why. One that is lost cannot come back alone: start all "
            "workers again, and training resumes from the last checkpoint where there is one."
        ) from error


def _mirrored() -> tf.distribute.Strategy:
    import tensorflow as tf

    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(found) == 1:
        warnings.warn(
            f"The mirrored strategy changes nothing on one device, {found[0].name}: training on "
            "that alone. Several machines take the multiworker strategy.",
            UserWarning,
            stacklevel=3,
        )
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in found])


def _multiworker(timeout: float, heartbeat: float) -> tf.distribute.Strategy:
    for argument, seconds in (("timeout", timeout), ("heartbeat", heartbeat)):
        if not 1 <= seconds < float("inf"):
            raise ValueError(
                f"Expected `{argument}` to be at least 1 second. Received: {argument}={seconds!r}."
            )
    cluster = check()
    if cluster is None:
        raise ValueError(
            "Expected TF_CONFIG in the environment for the multiworker strategy. Received: none. "
            f"Set it on every machine, each with its own index, as in TF_CONFIG='{EXAMPLE}'."
        )
    import tensorflow as tf

    _configure(cluster, timeout, heartbeat)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        raise ClusterError(
            f"Expected all {len(cluster.others) + 1} workers of TF_CONFIG within {timeout:g} "
            f"seconds. Received no sign of {_missing(error.message, cluster)}. Start all of them "
            f"within `timeout`; check their addresses and that no firewall is between them. After "
            "a worker was restarted all have to be: they resume from the last checkpoint."
        ) from error


def _configure(cluster: Cluster, timeout: float, heartbeat: float) -> None:
    """Set how long workers wait for each other: left alone, the first one waits an hour."""
    from tensorflow.python.eager import context

    runtime: Any = context.context()
    if runtime._initialized:
        raise RuntimeError(
            "Expected the multiworker strategy before TensorFlow has computed anything. Received: "
            "one after. Call cluster.strategy first, before models and tensors are made."
        )
    runtime.configure_coordination_service(
        service_type="standalone",
        service_leader=f"/job:{cluster.leader}/replica:0/task:0",
        cluster_register_timeout_in_ms=round(timeout * 1000),
        heartbeat_timeout_in_ms=round(heartbeat * 1000),
        coordinated_jobs=[
            context.coordination_config_pb2.CoordinatedJob(name=kind, num_tasks=len(addresses))
            for kind, addresses in cluster.jobs.items()
        ],
    )
    # Without it, only the workers that wait for the first one would give up.
    runtime.coordination_service.cluster_register_with_barrier = True


def _missing(message: str, cluster: Cluster) -> str:
    """Say which workers did not come: those that TensorFlow names, or that do not answer."""
    named = _named(message.partition("timed out task names")[2], cluster)
    return ", ".join(named or _silent(cluster)) or "some of them"


def _named(message: str, cluster: Cluster) -> list[str]:
    tasks = sorted({(kind, int(index)) for kind, index in _TASK.findall(message)})
    return [_described(*task, cluster.others[task]) for task in tasks if task in cluster.others]


def _silent(cluster: Cluster) -> list[str]:
    silent = []
    for (kind, index), address in cluster.others.items():
        try:
            socket.create_connection(host_and_port(address), timeout=2.0).close()
        except OSError:
            silent.append(_described(kind, index, address))
    return silent


def _described(kind: str, index: int, address: str) -> str:
    return f"{kind} {index} at {address}"


def _reason(message: str) -> str:
    """Return the line of TensorFlow's long message that says what happened."""
    found = re.search(r"Collective ops is aborted by: (.*)", message)
    return (found[1] if found else message.strip().partition("\n")[0]).rstrip(". ") + "."

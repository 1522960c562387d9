"""What ``TF_CONFIG`` says of the machines that train together, read before TensorFlow does."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


class ClusterError(ConnectionError):
    """A worker cannot be reached, did not come, or is gone."""


@dataclass(frozen=True)
class Cluster:
    """The workers that train together.

    Attributes:
        jobs: their addresses by kind, ``"worker"`` and perhaps ``"chief"``.
        kind: which of these this process is.
        index: its number among them.
    """

    jobs: dict[str, list[str]]
    kind: str
    index: int

    @property
    def leader(self) -> str:
        """The kind of which number 0 is the one that writes files."""
        return "chief" if "chief" in self.jobs else "worker"

    @property
    def others(self) -> dict[tuple[str, int], str]:
        """The addresses of all workers but this one."""
        tasks = {
            (kind, index): address
            for kind, addresses in self.jobs.items()
            for index, address in enumerate(addresses)
        }
        del tasks[self.kind, self.index]
        return tasks


def read(environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """Read ``TF_CONFIG``; None where there is none.

    Raises:
        ValueError: if it does not describe workers, of which this process is one.

    Example:
        >>> from tfvae import tf_config
        >>> tf_config.read({"TF_CONFIG": tf_config.EXAMPLE}).others
        {('worker', 1): '10.0.0.2:2222'}
    """
    text = environment.get("TF_CONFIG", "")
    if not text.strip():
        return None
    try:
        config = json.loads(text)
        for key in ("cluster", "task"):
            if not isinstance(config, dict) or not isinstance(config.get(key), dict):
                raise ValueError(f'there is no "{key}"')
        jobs = _jobs(config["cluster"])
        return Cluster(jobs, *_task(config["task"], jobs))
    except ValueError as error:
        json_error = isinstance(error, json.JSONDecodeError)
        problem = f"it is not JSON: {error}" if json_error else str(error)
        raise ValueError(
            f"Expected TF_CONFIG to describe the workers, as in '{EXAMPLE}'. "
            f"Received one in which {problem}: TF_CONFIG='{text}'."
        ) from None


def check(environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """Read ``TF_CONFIG``, and try to listen where it says; without importing TensorFlow.

    To be called before TensorFlow itself listens there.

    Raises:
        ValueError: if it does not describe workers, of which this process is one.
        ClusterError: if this process cannot listen on its own port.
    """
    cluster = read(environment)
    if cluster is not None:
        address = cluster.jobs[cluster.kind][cluster.index]
        _, port = host_and_port(address)
        try:
            socket.create_server(("", port)).close()
        except OSError as error:
            raise ClusterError(
                f"Expected to listen on port {port}, this worker's own in TF_CONFIG. Received: "
                f"{error.strerror} for {cluster.kind} {cluster.index} at {address}. Is another "
                "process using the port, such as a worker that did not end? Choose another one."
            ) from error
    return cluster


def host_and_port(address: Any) -> tuple[str, int]:
    """Split an address, as in ``10.0.0.1:2222`` or ``[::1]:2222``.

    Raises:
        ValueError: if it is none.
    """
    host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError(f"{address!r} is not host:port")
    return host.strip("[]"), int(port)


def _jobs(jobs: dict[str, Any]) -> dict[str, list[str]]:
    addresses: list[Any] = []
    for job, its in jobs.items():
        _check_kind(job)
        if not isinstance(its, list) or not its:
            raise ValueError(f'"{job}" is not a list of addresses')
        addresses += its
    if not addresses:
        raise ValueError("there are no workers")
    if len(jobs.get("chief", [])) > 1:
        raise ValueError("there is more than one chief")
    for address in addresses:
        host_and_port(address)
        if addresses.count(address) > 1:
            raise ValueError(f"{address} is there twice")
    return jobs


def _task(task: dict[str, Any], jobs: dict[str, list[str]]) -> tuple[str, int]:
    kind, index = task.get("type"), task.get("index")
    _check_kind(kind)
    if kind not in jobs:
        raise ValueError(f'the task is a "{kind}", of which the cluster has none')
    if isinstance(index, str) and index.isdecimal():
        index = int(index)  # as TensorFlow takes it
    if isinstance(index, bool) or not isinstance(index, int):
        raise ValueError(f"the task's index {index!r} is not a whole number")
    if not 0 <= index < len(jobs[kind]):
        raise ValueError(f"there is no {kind} {index}, counted from 0")
    return str(kind), index


def _check_kind(kind: Any) -> None:
    if kind not in ("worker", "chief"):
        raise ValueError(f"a task's type is {kind!r}, not worker or chief")

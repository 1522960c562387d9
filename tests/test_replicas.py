"""Several devices and machines: their number changes nothing; none is waited for without end."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import replica_process
import tensorflow as tf
from replica_process import BATCH, CASES, WORKERS_CASES

from tfvae import cluster, random, replicas, runs, tf_config
from tfvae.data import Examples
from tfvae.feeds import Feed

# --- parts of a batch ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7, 3), (2, 5, 4), (1,)])
def test_the_words_of_a_part_are_those_of_the_whole(shape: tuple[int, ...]) -> None:
    whole = random.words(3, [64, *shape[1:]]).numpy()
    row = int(np.prod(shape[1:]))
    for first in (0, 1, 2, 5, 50):
        part = random.words(3, shape, start=first * row)
        np.testing.assert_array_equal(part, whole[first : first + shape[0]])


def parts(feed: Feed, start: int, done: int, *, workers: int, local: int) -> Iterator[Any]:
    """Yield for each step what the replicas of all machines have, in their order."""
    machines = [
        iter(
            replicas._dataset(
                feed,
                start,
                done,
                tf.distribute.InputContext(
                    num_input_pipelines=workers,
                    input_pipeline_id=worker,
                    num_replicas_in_sync=workers * local,
                ),
            )
        )
        for worker in range(workers)
    ]
    while True:
        yield [next(machine) for machine in machines for _ in range(local)]


@pytest.mark.parametrize(("workers", "local"), [(1, 1), (1, 3), (2, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize(("count", "done"), [(65, 0), (67, 2), (64, 0), (5, 0)])
def test_replicas_share_each_batch_without_overlap_or_loss(
    workers: int, local: int, count: int, done: int
) -> None:
    feed = Feed(Examples(np.arange(float(count))[:, None]), BATCH, seed=1)
    shared = parts(feed, 10, done, workers=workers, local=local)
    # The rest of a pass that began at step 10, and one that begins where it ends.
    for start, skipped in ((10, done), (10 + feed.steps, 0)):
        order = feed.order(start).numpy()
        for first in range(skipped * BATCH, count, BATCH):
            batch = order[first : first + BATCH]
            seen = 0
            for (x,), position, fraction in next(shared):
                assert len(x) > 0  # a replica always has something to compute with
                rows = x.numpy()[:, 0] if fraction > 0 else np.zeros(0)
                assert float(fraction) == pytest.approx(len(rows) / len(batch), rel=1e-6)
                assert int(position) == seen
                np.testing.assert_array_equal(rows, batch[seen : seen + len(rows)])
                seen += len(rows)
            assert seen == len(batch)


@pytest.mark.parametrize(
    ("jobs", "kind", "index", "chief"),
    [
        ({"worker": ["a:1", "b:1"]}, "worker", 0, True),
        ({"worker": ["a:1", "b:1"]}, "worker", 1, False),
        ({"chief": ["a:1"], "worker": ["b:1"]}, "chief", 0, True),
        ({"chief": ["a:1"], "worker": ["b:1"]}, "worker", 0, False),
    ],
)
def test_one_worker_writes(
    monkeypatch: pytest.MonkeyPatch, jobs: Any, kind: str, index: int, chief: bool
) -> None:
    assert replicas.is_chief()
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(jobs), task_type=kind, task_id=index
    )
    strategy = SimpleNamespace(cluster_resolver=resolver)
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: strategy)
    assert replicas.is_chief() is chief


def same(one: dict[str, Any], many: dict[str, Any], case: str) -> None:
    assert one.keys() == many.keys()
    for what, expected in one.items():
        if what == "types":
            np.testing.assert_array_equal(many[what], ["float"], err_msg=case)
        else:
            # Sums in another order: 1e-5 of a log, and of weights of about 1.
            absolute = 0.0 if what.startswith("log ") else 1e-5
            np.testing.assert_allclose(
                many[what], expected, rtol=1e-5, atol=absolute, err_msg=f"{case}: {what}"
            )


def test_one_replica_trains_as_no_strategy_does() -> None:
    case = replica_process.Case(optimizer=lambda: keras.optimizers.SGD(1e-2, clipnorm=0.5))
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    same(replica_process.train(case), replica_process.train(case, strategy), "one")


def test_accumulated_gradients_are_refused_under_a_strategy() -> None:
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        vae = replica_process.vae()
        with pytest.raises(ValueError, match="gradient_accumulation_steps=2"):
            vae.compile(keras.optimizers.SGD(1e-2, gradient_accumulation_steps=2))


# --- TF_CONFIG ----------------------------------------------------------------------------------


def configured(jobs: Any, kind: Any = "worker", index: Any = 0) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})}


TWO = ["10.0.0.1:2222", "10.0.0.2:2222"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{cluster", "not JSON"),
        ("[]", 'there is no "cluster"'),
        ('{"task": {"type": "worker", "index": 0}}', 'there is no "cluster"'),
        ('{"cluster": {"worker": ["a:1"]}}', 'there is no "task"'),
        (configured({}), "no workers"),
        (configured({"worker": []}), "not a list of addresses"),
        (configured({"worker": "a:1"}), "not a list of addresses"),
        (configured({"worker": TWO}, index=2), "no worker 2, counted from 0"),
        (configured({"worker": TWO}, index=-1), "no worker -1"),
        (configured({"worker": TWO}, index=None), "index None is not a whole number"),
        (configured({"worker": TWO}, index=True), "index True is not a whole number"),
        (configured({"worker": TWO}, "chief"), 'the task is a "chief"'),
        (configured({"worker": TWO}, None), "type is None"),
        (configured({"worker": TWO}, ["worker"]), r"type is \['worker'\]"),
        (configured({"worker": TWO, "ps": ["a:1"]}), "type is 'ps'"),
        (configured({"worker": TWO}, "evaluator"), "type is 'evaluator'"),
        (configured({"worker": TWO, "chief": ["a:1", "b:1"]}), "more than one chief"),
        (configured({"worker": ["10.0.0.1"]}), "'10.0.0.1' is not host:port"),
        (configured({"worker": ["10.0.0.1:http"]}), "not host:port"),
        (configured({"worker": ["10.0.0.1:99999"]}), "not host:port"),
        (configured({"worker": [2222]}), "2222 is not host:port"),
        (configured({"worker": [TWO[0], TWO[0]]}), "10.0.0.1:2222 is there twice"),
        (configured({"worker": TWO, "chief": TWO[:1]}), "is there twice"),
    ],
)
def test_a_wrong_tf_config_is_refused_with_a_right_one(text: Any, said: str) -> None:
    environment = text if isinstance(text, dict) else {"TF_CONFIG": text}
    with pytest.raises(ValueError, match=said) as error:
        tf_config.check(environment)
    assert f"as in '{tf_config.EXAMPLE}'" in str(error.value)
    assert tf_config.read({"TF_CONFIG": tf_config.EXAMPLE}) is not None


def test_a_right_tf_config_is_understood() -> None:
    assert cluster.check({}) is None
    assert cluster.check({"TF_CONFIG": " "}) is None
    jobs = {"chief": ["host-0.example:2222"], "worker": ["[::1]:2222", "host-2:1"]}
    read = tf_config.read(configured(jobs, index="1"))
    assert read == cluster.Cluster(jobs, "worker", 1)
    assert read.leader == "chief"
    assert read.others == {("chief", 0): "host-0.example:2222", ("worker", 0): "[::1]:2222"}
    assert tf_config.host_and_port("[::1]:2222") == ("::1", 2222)


def test_a_port_that_is_taken_is_found_before_tensorflow_hangs_on_it() -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        environment = configured({"worker": [f"127.0.0.1:{port}", "127.0.0.1:1"]})
        with pytest.raises(cluster.ClusterError, match=f"listen on port {port}.*worker 0"):
            cluster.check(environment)
        # That another one's is taken is as it should be.
        others = configured({"worker": [f"127.0.0.1:{port}", f"127.0.0.1:{free_ports(1)[0]}"]})
        cluster.check({"TF_CONFIG": others["TF_CONFIG"].replace('"index": 0', '"index": 1')})
    cluster.check(environment)


# --- strategies ---------------------------------------------------------------------------------


def test_no_strategy_and_wrong_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with cluster.strategy("none").scope():
        assert not tf.distribute.has_strategy()
    with pytest.raises(ValueError, match=r"strategy='parameter'"):
        cluster.strategy("parameter")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Received: none\. Set it on every machine"):
        cluster.strategy("multiworker")
    for options in ({"timeout": 0.0}, {"heartbeat": float("nan")}):
        with pytest.raises(ValueError, match="at least 1 second"):
            cluster.strategy("multiworker", **options)
    monkeypatch.setenv("TF_CONFIG", configured({"worker": [f"a:{free_ports(1)[0]}"]})["TF_CONFIG"])
    tf.constant(0.0)
    with pytest.raises(RuntimeError, match="before TensorFlow has computed anything"):
        cluster.strategy("multiworker")


def test_one_device_needs_no_mirrors() -> None:
    if len(tf.config.list_logical_devices()) > 1:
        pytest.skip("for a machine with one device")
    with pytest.warns(UserWarning, match="changes nothing on one device"):
        strategy = cluster.strategy("mirrored")
    with strategy.scope():
        assert not tf.distribute.has_strategy()


ABORTED = (
    "Graph execution error:\nDetected at node while/CollectiveReduceV2\nCollective ops is aborted "
    "by: The following tasks are unhealthy:\n/job:worker/replica:0/task:1\nRestart."
)


@pytest.mark.parametrize("kind", [tf.errors.UnavailableError, tf.errors.InternalError])
def test_a_lost_worker_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, kind: type[tf.errors.OpError]
) -> None:
    error = kind(None, None, ABORTED)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(kind), cluster.translated():
        raise error  # in a training on one machine it means something else
    monkeypatch.setenv("TF_CONFIG", configured({"worker": TWO})["TF_CONFIG"])
    said = "worker 1 at 10.0.0.2:2222 is gone.*tasks are unhealthy.*start all workers again"
    with pytest.raises(cluster.ClusterError, match=said), cluster.translated():
        raise error
    mine = tf.errors.InvalidArgumentError(None, None, "shapes differ")
    with pytest.raises(tf.errors.InvalidArgumentError), cluster.translated():
        raise mine


# --- in processes of their own ------------------------------------------------------------------


def free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


def loopback() -> list[str]:
    return [f"127.0.0.1:{port}" for port in free_ports(2)]


def start(
    *arguments: str | Path,
    workers: list[str],
    index: int,
    program: tuple[str, ...] = (replica_process.__file__,),
) -> subprocess.Popen[str]:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    environment.pop("TF_CONFIG", None)
    if workers:
        environment |= configured({"worker": workers}, index=index)
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(process: subprocess.Popen[str], timeout: float = 480.0) -> tuple[int, str, str]:
    try:
        output, errors = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return process.returncode, output, errors


def stored(path: Path, prefix: str) -> dict[str, Any]:
    with np.load(path) as arrays:
        return {
            name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)
        }


@pytest.mark.slow
def test_two_replicas_train_as_one_device_does(tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    code, _, errors = ended(start("mirrored", out, workers=[], index=0))
    assert code == 0, errors
    for name in CASES:
        one, many = (stored(out, f"{name}/{kind}/") for kind in ("one", "many"))
        assert np.all(np.isfinite(one["log loss"]))
        if name == "batch norm":
            # Each replica normalises with the statistics of its own part, which is documented.
            assert np.all(np.abs(many["log loss"] / one["log loss"] - 1) > 1e-3)
        else:
            same(one, many, name)


@pytest.mark.slow
def test_two_workers_train_as_one_process_does_and_none_outlives_the_other(tmp_path: Path) -> None:
    workers = loopback()
    outs = [tmp_path / f"{index}.npz" for index in range(2)]
    running = [start("worker", out, workers=workers, index=index) for index, out in enumerate(outs)]
    ends = [ended(process) for process in running]
    assert outs[0].exists(), ends[0][2]
    assert [bool(stored(out, "chief")[""]) for out in outs] == [True, False]
    rows = [stored(out, "rows")[""] for out in outs]
    assert sorted(np.concatenate(rows)) == list(range(65))
    for name in WORKERS_CASES:
        expected = replica_process.train(CASES[name])
        found = [stored(out, f"{name}/") for out in outs]
        for each in found:
            same(expected, each, name)
        np.testing.assert_array_equal(found[0]["weights"], found[1]["weights"])
    # After that, the second one was killed while they trained.
    (code, _, errors), (killed, _, _) = ends
    assert killed < 0
    assert code == 1, errors
    message = rf"ClusterError: .*worker 1 at {workers[1]} is gone.*start all workers again"
    assert re.search(message, errors), errors


@pytest.mark.slow
def test_a_worker_that_does_not_come_is_waited_for_no_longer_than_said() -> None:
    for_each = [loopback(), loopback()]
    alone = [
        start("waiting", "3", workers=workers, index=index)
        for index, workers in enumerate(for_each)
    ]
    for index, process in enumerate(alone):
        code, waited, errors = ended(process, 90.0)
        assert code == 1
        missing = f"worker {1 - index} at {for_each[index][1 - index]}"
        assert re.search(f"ClusterError: .*2 workers.*within 3 seconds.*{missing}", errors), errors
        assert float(waited) < 3 + 15


@pytest.mark.slow
def test_workers_that_are_killed_resume_as_one_process_trains(tmp_path: Path) -> None:
    options = [
        *("--binarize", "dynamic", "--validation", "100", "--latent-dim", "2"),
        *("--hidden", "16", "--batch-size", "64", "--epochs", "5"),
    ]

    def workers(*arguments: str) -> list[subprocess.Popen[str]]:
        addresses = loopback()
        return [
            start(
                *("train", "--strategy", "multiworker", "--checkpoint-every", "5", *arguments),
                workers=addresses,
                index=index,
                program=("-m", "tfvae"),
            )
            for index in range(2)
        ]

    folder = tmp_path / "run"
    running = workers("--out", str(folder), *options)
    deadline = time.monotonic() + 120
    while len(list(folder.glob("checkpoints/step-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in running:
        process.kill()
        ended(process)
    assert runs.Run.load(folder).status == "running"
    for process in workers("--resume", str(folder)):
        code, _, errors = ended(process)
        assert code == 0, errors
    config = runs.Run.load(folder).config
    alone = runs.train(config, tmp_path / "alone", verbose=False)
    together = runs.Run.load(folder)
    assert together.status == "complete"
    for name in ("loss", "val_elbo"):
        np.testing.assert_allclose(together.history[name], alone.history[name], rtol=1e-5)
    for ours, theirs in zip(
        together.model().get_weights(), alone.model().get_weights(), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)

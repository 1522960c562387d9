"""Devices and precision: what is asked for is what TensorFlow and Keras are told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import keras
import pytest
import tensorflow as tf

from tfvae import devices

GPUS = ["GPU 0", "GPU 1", "GPU 2"]


class Machine:
    """Stands in for TensorFlow's settings of a machine; it takes them until it is started."""

    def __init__(self, gpus: list[str], *, started: bool = False) -> None:
        self.gpus = gpus
        self.started = started
        self.visible = list(gpus)
        self.growing: set[str] = set()

    def list_physical_devices(self, kind: str) -> list[str]:
        assert kind == "GPU"
        return self.gpus

    def get_visible_devices(self, kind: str) -> list[str]:
        assert kind == "GPU"
        return self.visible

    def set_visible_devices(self, chosen: list[str], kind: str) -> None:
        assert kind == "GPU"
        if self.started:
            raise RuntimeError("Visible devices cannot be modified after being initialized")
        self.visible = list(chosen)

    def get_memory_growth(self, gpu: str) -> bool:
        return gpu in self.growing

    def set_memory_growth(self, gpu: str, enable: bool) -> None:
        assert enable
        if self.started:
            raise RuntimeError("Physical devices cannot be modified after being initialized")
        self.growing.add(gpu)


@pytest.fixture(autouse=True)
def policy() -> Iterator[None]:
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    def build(gpus: list[str] = GPUS, *, started: bool = False) -> Machine:
        stand_in = Machine(gpus, started=started)
        for name in ("list_physical_devices", "get_visible_devices", "set_visible_devices"):
            monkeypatch.setattr(tf.config, name, getattr(stand_in, name))
        for name in ("get_memory_growth", "set_memory_growth"):
            monkeypatch.setattr(tf.config.experimental, name, getattr(stand_in, name))
        return stand_in

    return build


@pytest.mark.parametrize(
    ("device", "visible"),
    [
        (None, GPUS),
        ("cpu", []),
        ("gpu", GPUS),
        ("gpu:1", ["GPU 1"]),
        ("gpu:0,2", ["GPU 0", "GPU 2"]),
    ],
)
def test_the_devices_that_are_asked_for_are_seen_and_given_memory_as_needed(
    machine: Any, device: str | None, visible: list[str]
) -> None:
    there = machine()
    devices.prepare(device)
    assert there.visible == visible
    assert there.growing == set(visible)
    there.started = True
    devices.prepare(device)  # nothing is left to change


@pytest.mark.parametrize("device", ["gpu", "gpu:0"])
def test_without_a_gpu_the_extra_is_named(machine: Any, device: str) -> None:
    machine([])
    with pytest.raises(ValueError, match=r"there are: cpu\. .*tfvae\[gpu\]"):
        devices.prepare(device)
    devices.prepare("cpu")


def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(machine: Any) -> None:
    there = machine()
    with pytest.raises(ValueError, match="device='gpu:1,3'; there are: cpu, gpu:0, gpu:1, gpu:2"):
        devices.prepare("gpu:1,3")
    assert there.visible == GPUS
    assert not there.growing


def test_after_tensorflow_has_started_devices_cannot_be_chosen(machine: Any) -> None:
    there = machine(started=True)
    before = keras.config.dtype_policy()
    with pytest.raises(RuntimeError, match="before TensorFlow starts them"):
        devices.prepare("gpu:1", "float64")
    assert keras.config.dtype_policy() == before
    devices.prepare()  # asks for none
    assert there.visible == GPUS


def test_this_machine_takes_what_it_is() -> None:
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("for a machine without a GPU")
    devices.prepare("cpu")
    with pytest.raises(ValueError, match=r"tfvae\[gpu\]"):
        devices.prepare("gpu")


@pytest.mark.parametrize("precision", devices.PRECISIONS)
def test_precision_is_kerass_policy(precision: str) -> None:
    devices.prepare(precision=precision)
    assert keras.config.dtype_policy().name == precision


@pytest.mark.parametrize(
    ("device", "precision", "said"),
    [
        ("tpu", "float32", "device='tpu'"),
        ("gpu:", "float32", "device='gpu:'"),
        ("gpu:-1", "float32", "device='gpu:-1'"),
        ("gpu:1,1", "float32", "each once"),
        ("GPU", "float32", "device='GPU'"),
        ("", "float32", "device=''"),
        ("cpu:0", "float32", "device='cpu:0'"),
        (None, "float16", "precision='float16'"),
        ("cpu", "half", "mixed_bfloat16"),
    ],
)
def test_what_is_not_understood_is_refused(device: str | None, precision: str, said: str) -> None:
    for function in (devices.check, devices.prepare):
        with pytest.raises(ValueError, match=said):
            function(device, precision)


def test_the_checks_need_no_tensorflow() -> None:
    code = """
import sys
from tfvae import cluster, devices
devices.check("gpu:0,1", "mixed_float16")
assert cluster.check() is None
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
"""
    environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)

"""Devices are tried with the model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from liif_cli.doctor import devices as module
from liif_cli.doctor.devices import device, devices, overlooked_gpu
from liif_cli.nn.model import Model


def test_the_cpu_is_always_there_and_first() -> None:
    (cpu, *_) = devices(None)
    assert cpu.name == "cpu"
    assert cpu.fault == ""
    assert 0 < cpu.budget_bytes < cpu.free_bytes * 1.1
    assert cpu.threads == torch.get_num_threads()
    assert cpu.precision == cpu.because == ""  # there was nothing to try it with


def test_with_a_model_the_self_check_says_precision_and_why(tiny_model: Model) -> None:
    cpu = device("cpu", tiny_model)
    assert cpu.precision in ("fp32", "bf16")
    assert "dB from float32" in cpu.because
    assert "times as fast" in cpu.because
    assert cpu.fault == ""


def test_a_device_that_is_not_there_is_a_fault_and_no_crash(tiny_model: Model) -> None:
    found = device("cuda:77", tiny_model)
    assert found.fault
    assert found.free_bytes == 0


def test_a_driver_that_fails_is_a_fault_in_one_line(
    tiny_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: no kernel image\nCompile with TORCH_USE_CUDA_DSA")

    monkeypatch.setattr(module, "place", failing)
    assert device("cpu", tiny_model).fault == "RuntimeError: CUDA error: no kernel image"


@pytest.mark.parametrize(
    ("wrong", "said"), [(0.3, "away from those of the CPU"), (float("nan"), "no numbers")]
)
def test_wrong_values_are_found(
    tiny_model: Model, monkeypatch: pytest.MonkeyPatch, wrong: float, said: str
) -> None:
    from liif_cli.engine.device import moved

    calls = []

    def bent(model: Model, where: str, dtype: str) -> Model:
        there = moved(model, where, dtype)
        calls.append(where)
        if len(calls) == 2:  # the first is the CPU that is compared with
            there.decoder.linears[-1].bias.add_(wrong * 2)
        return there

    monkeypatch.setattr(module, "moved", bent)
    assert said in device("cpu", tiny_model).fault


@pytest.mark.parametrize(
    ("built", "there", "overlooked"), [(None, True, True), ("12.8", True, False), (None, False, False)]
)
def test_a_gpu_that_this_torch_cannot_use_is_noticed(
    monkeypatch: pytest.MonkeyPatch, built: str | None, there: bool, overlooked: bool
) -> None:
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.version, "hip", None, raising=False)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/nvidia-smi" if there else None)
    monkeypatch.setattr(module, "_DRIVER", Path("/no/such/driver"))
    assert overlooked_gpu() == overlooked

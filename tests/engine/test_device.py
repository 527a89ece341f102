"""Where the network runs: devices, precisions, budgets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from liif_cli.engine import device
from liif_cli.engine.device import Placement, budget_bytes, free_bytes, moved, place, self_check
from liif_cli.errors import DeviceError, UsageError
from liif_cli.nn.model import Model, build
from tests.conftest import TINY

HERE = Placement(device="cpu", dtype="float32", budget_bytes=1, because="")


@pytest.fixture(autouse=True)
def _a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIIF_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize(
    ("memory", "wanted"),
    [
        (None, 500), (77, 77), ("50%", 500), ("12.5%", 125), ("100%", 1000),
        ("800M", 800 << 20), ("4G", 4 << 30), ("1.5g", 3 << 29), ("512MiB", 512 << 20), ("2 GB", 2 << 30),
        ("4096", 4096),
    ],
)  # fmt: skip
def test_memory_is_bytes_units_or_a_share_of_what_is_free(memory: int | str | None, wanted: int) -> None:
    assert budget_bytes(memory, 1000) == wanted


@pytest.mark.parametrize("memory", ["", "0", "-1M", "lots", "4X", "101%", "0%", "1e9", "nan"])
def test_what_is_no_memory_is_refused(memory: str) -> None:
    with pytest.raises(UsageError, match="not a size"):
        budget_bytes(memory, 1000)


def test_free_memory_is_what_this_machine_could_have() -> None:
    assert 1 << 20 < free_bytes() < 1 << 50


def test_words_that_are_none_are_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        place("cdua")
    assert "'cuda'" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        place("cpu", "bf61")
    assert "'bf16'" in caught.value.hint


@pytest.mark.parametrize("name", ["cuda:77", "cuda:123"])
def test_a_device_that_is_not_there_says_what_is(name: str) -> None:
    with pytest.raises(DeviceError, match=f"--device {name}: not on this machine") as caught:
        place(name)
    assert caught.value.hint.endswith("cpu")


def test_fp16_never_runs_on_a_cpu() -> None:
    with pytest.raises(UsageError, match="a hundred times slower"):
        place("cpu", "fp16")


@pytest.mark.parametrize(
    "missing", ["torch.backends.mkldnn.is_available", "torch.ops.mkldnn._is_mkldnn_bf16_supported"]
)
def test_bf16_is_refused_where_the_processor_would_take_five_times_as_long(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing, lambda: False)
    with pytest.raises(DeviceError, match="no fast way to compute in it on this processor") as caught:
        place("cpu", "bf16")
    assert caught.value.status == 3 and "auto" in caught.value.hint
    assert place("cpu", "auto").dtype == "float32"


def test_what_is_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_bf16_pays", lambda: True)
    assert place("cpu", "bf16", "1G") == Placement(
        device="cpu", dtype="bfloat16", budget_bytes=1 << 30, because="bf16 as asked"
    )
    assert place("cpu", "auto").dtype == "float32"


def _speeds(monkeypatch: pytest.MonkeyPatch, error: float, gain: float, made: list[str]) -> None:
    def probe(model: Model, where: str, dtype: str) -> tuple[float, torch.Tensor]:
        made.append(dtype)
        exact = dtype == "float32"
        return (gain if exact else 1.0), torch.full((9,), 0.5 if exact else 0.5 + error)

    monkeypatch.setattr(device, "_probe", probe)


@pytest.mark.parametrize(
    ("error", "gain", "dtype"),
    [
        (0.001, 2.0, "bfloat16"),  # 60 dB, twice as fast
        (0.002, 2.0, "float32"),  # 54 dB: it could show
        (0.001, 1.05, "float32"),  # not worth it
        (float("nan"), 2.0, "float32"),
        (float("inf"), 2.0, "float32"),
        (0.0, 2.0, "bfloat16"),
    ],
)
def test_a_lower_precision_must_be_good_and_faster(
    monkeypatch: pytest.MonkeyPatch, error: float, gain: float, dtype: str
) -> None:
    _speeds(monkeypatch, error, gain, [])
    found = self_check(build(TINY["edsr"], seed=1), HERE)
    assert found.dtype == dtype and "dB from float32" in found.because


@pytest.mark.parametrize(
    ("half", "brain", "dtype"),
    [
        ((0.0005, 3.0), (0.001, 3.2), "bfloat16"),
        ((0.0005, 3.3), (0.001, 3.2), "float16"),
        ((0.0005, 3.0), (0.1, 9.0), "float16"),
        ((float("inf"), 3.0), (0.001, 2.0), "bfloat16"),
        ((0.1, 3.0), (0.1, 3.0), "float32"),
    ],
)
def test_of_two_lower_precisions_the_faster_good_one_is_taken(
    monkeypatch: pytest.MonkeyPatch, half: tuple[float, float], brain: tuple[float, float], dtype: str
) -> None:
    def probe(model: Model, where: str, name: str) -> tuple[float, torch.Tensor]:
        error, gain = {"float32": (0.0, 1.0), "float16": half, "bfloat16": brain}[name]
        return 1 / gain, torch.full((9,), 0.5 + error)

    monkeypatch.setattr(device, "_probe", probe)
    found = device._tried(build(TINY["edsr"], seed=1), "cuda:1")
    assert found[0] == dtype and found[1].startswith(dtype)


def test_a_finding_is_remembered_for_these_weights_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    _speeds(monkeypatch, 0.001, 2.0, made)
    first = self_check(build(TINY["edsr"], seed=1), HERE)
    assert self_check(build(TINY["edsr"], seed=1), HERE) == first and len(made) == 2
    self_check(build(TINY["edsr"], seed=2), HERE)
    assert len(made) == 4


def test_a_broken_memory_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    _speeds(monkeypatch, 0.001, 2.0, made)
    self_check(build(TINY["edsr"], seed=1), HERE)
    for text in ("", "[1, 2]", '{"a": 3}', "{"):
        device._memory().write_text(text, "utf-8")
        assert self_check(build(TINY["edsr"], seed=1), HERE).dtype == "bfloat16"


def test_an_operation_that_is_missing_means_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(model: Model, where: str, dtype: str) -> tuple[float, torch.Tensor]:
        if dtype == "float32":
            return 1.0, torch.zeros(9)
        raise RuntimeError("not implemented for 'BFloat16'")

    monkeypatch.setattr(device, "_probe", probe)
    found = self_check(build(TINY["edsr"], seed=1), HERE)
    assert found.dtype == "float32" and "does not run here" in found.because


def test_the_check_runs_for_real_on_this_machine(tiny_model: Model) -> None:
    found = self_check(tiny_model, HERE)
    assert found.dtype in ("float32", "bfloat16") and "dB from float32" in found.because


def test_moving_a_model_leaves_it_alone(tiny_model: Model) -> None:
    there = moved(tiny_model, "cpu", "bfloat16")
    assert {parameter.dtype for parameter in there.parameters()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in tiny_model.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in there.parameters())
    four = [parameter for parameter in there.parameters() if parameter.dim() == 4]
    assert four and all(parameter.is_contiguous(memory_format=torch.channels_last) for parameter in four)

"""Metrics of pyiqa: asked for by name, absent with a message."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from liif_cli.errors import UsageError
from liif_cli.evaluate import perceptual
from liif_cli.evaluate.metrics import METRICS, Comparison, Floats


def comparison() -> Comparison:
    result, truth = (np.zeros((6, 8, 3), np.float32) for _ in range(2))
    result[1:-1, 2:-2] = 0.25
    result[..., 2] *= 2

    def ask(width: int, height: int) -> Floats:
        raise AssertionError

    return Comparison(result=result, truth=truth, given=truth, border=(1, 2), channel="y", ask=ask)


@pytest.fixture
def pyiqa(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """A stand-in with the interface of the package: one metric with truth, one without."""
    seen: list[tuple[Any, ...]] = []

    class Network:
        def __init__(self, mode: str, lower_better: bool) -> None:
            self.metric_mode, self.lower_better = mode, lower_better

        def __call__(self, *pictures: Any) -> Any:
            seen.append(pictures)
            return pictures[0].mean()

    networks = {"lpips": Network("FR", True), "musiq": Network("NR", False)}
    module = ModuleType("pyiqa")
    module.list_models = lambda: list(networks)  # type: ignore[attr-defined]
    module.create_metric = lambda name, device: networks[name]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    monkeypatch.setattr(perceptual, "find_spec", lambda _: SimpleNamespace())
    return seen


@pytest.fixture
def no_pyiqa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual, "find_spec", lambda _: None)


def test_our_own_metrics_need_no_package(no_pyiqa: None) -> None:
    assert perceptual.find(["ssim", "psnr", "ssim"]) == (METRICS["ssim"], METRICS["psnr"])


def test_without_the_package_the_message_says_how_to_get_it(no_pyiqa: None) -> None:
    with pytest.raises(UsageError) as caught:
        perceptual.find(["psnr", "lpips"])
    assert "'lpips' is measured by the package pyiqa" in str(caught.value)
    assert caught.value.hint == 'pip install "liif-cli[metrics]"' and caught.value.status == 2


def test_a_typing_error_is_answered_with_the_nearest_metric(no_pyiqa: None) -> None:
    with pytest.raises(UsageError) as caught:
        perceptual.find(["psrn"])
    assert caught.value.hint == "did you mean 'psnr'?"
    with pytest.raises(UsageError) as caught:
        perceptual.find(["qqqq"])
    assert "psnr, ssim" in caught.value.hint


def test_a_metric_with_truth_sees_both_pictures_inside_the_border(pyiqa: list[tuple[Any, ...]]) -> None:
    (metric,) = perceptual.find(["lpips"])
    assert metric.better == "lower" and "against the truth" in metric.says
    assert metric.value(comparison()) == pytest.approx((0.25 + 0.25 + 0.5) / 3)
    ((result, truth),) = pyiqa
    assert tuple(result.shape) == tuple(truth.shape) == (1, 3, 4, 4)


def test_a_metric_without_truth_sees_the_result_alone(pyiqa: list[tuple[Any, ...]]) -> None:
    (metric,) = perceptual.find(["musiq"])
    metric.value(comparison())
    assert metric.better == "higher" and [len(pictures) for pictures in pyiqa] == [1]


def test_a_metric_the_package_lacks_is_answered_with_the_nearest(pyiqa: list[tuple[Any, ...]]) -> None:
    with pytest.raises(UsageError) as caught:
        perceptual.find(["lpipss"])
    assert caught.value.hint == "did you mean 'lpips'?"

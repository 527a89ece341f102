"""The published arithmetic, and ours beside it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch

from liif_cli.bench import plain as module
from liif_cli.bench.picture import picture
from liif_cli.bench.plain import beside, plain
from liif_cli.bench.results import Case
from liif_cli.bench.subject import Subject
from liif_cli.evaluate.protocol import Scale
from liif_cli.nn.model import Model

GIVEN = picture(14, 9)


def case(scale: str) -> Case:
    return Case(scale=Scale.parse(scale), in_size=(14, 9))


@pytest.mark.parametrize("scale", ["1", "2", "3", "7.5", "2x3.5"])
def test_the_published_way_and_ours_give_the_same_values(subject: Subject, scale: str) -> None:
    published = plain(subject.model, GIVEN, case(scale))
    bands = subject.upscaler.prepare(GIVEN, case(scale).target, bits=None).bands()
    ours = np.concatenate([band.pixels.copy() for band in bands])
    assert published.shape == ours.shape
    assert np.abs(published - ours).max() < 1e-5


def test_points_are_asked_so_many_at_a_time(tiny_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = plain(tiny_model, GIVEN, case("3"))
    asked = []
    query = tiny_model.query

    def counted(codes: Any, points: Any, cell: Any) -> Any:
        asked.append(points.shape[1])
        return query(codes, points, cell)

    monkeypatch.setattr(tiny_model, "query", counted)
    plain(tiny_model, GIVEN, case("3"))
    monkeypatch.setattr(module, "PLAIN_POINTS", 500)
    assert np.abs(plain(tiny_model, GIVEN, case("3")) - at_once).max() < 1e-6
    assert asked == [14 * 9 * 9, 500, 500, 134]


def test_both_run_in_turns_on_as_many_threads_and_both_are_timed(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[tuple[str, int]] = []
    ours, published = subject.upscaler.upscale, plain

    def fast(*args: Any, **kwargs: Any) -> Any:
        order.append(("ours", torch.get_num_threads()))
        time.sleep(0.05)
        return ours(*args, **kwargs)

    def slow(*args: Any, **kwargs: Any) -> Any:
        order.append(("published", torch.get_num_threads()))
        time.sleep(0.5)
        return published(*args, **kwargs)

    monkeypatch.setattr(subject.upscaler, "upscale", fast)
    monkeypatch.setattr(module, "plain", slow)
    before = torch.get_num_threads()
    told: list[float] = []
    found = beside(subject, GIVEN, case("2"), told.append)
    assert order == [("published", 2), *[("ours", 2), ("published", 2)] * subject.setup.runs]
    assert torch.get_num_threads() == before
    assert found.median_s >= 0.5
    assert 1 < found.ratio <= found.median_s / 0.05
    assert sum(told) == pytest.approx(case("2").megapixels * (2 + 2 * subject.setup.runs))


def test_the_largest_difference_is_found(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def off(*args: Any, **kwargs: Any) -> Any:
        found = plain(*args, **kwargs)
        found[-1, 3, 1] += 0.25
        return found

    monkeypatch.setattr(module, "plain", off)
    found = beside(subject, GIVEN, case("2"), lambda _: None)
    assert found.max_difference == pytest.approx(0.25, abs=1e-4)

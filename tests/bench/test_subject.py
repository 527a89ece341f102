"""One run from file to file, and what it waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liif_cli.bench.picture import picture
from liif_cli.bench.results import Case, Split
from liif_cli.bench.subject import Setup, Subject, overlap
from liif_cli.engine.options import Options
from liif_cli.errors import DeviceError, WeightsError
from liif_cli.evaluate.protocol import Scale
from liif_cli.image.formats import writing
from liif_cli.image.read import read
from liif_cli.image.write import write

CASE = Case(scale=Scale(x=2, y=3), in_size=(20, 12))
SLOW_S = 0.3

moments = st.integers(0, 50)
spans = st.lists(st.tuples(moments, moments).map(lambda s: (float(min(s)), float(max(s)))), max_size=6)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    write(picture(*CASE.in_size), tmp_path / "a.png")
    return tmp_path / "a.png", tmp_path / "b.png"


def test_a_run_writes_the_picture_that_upscale_makes(subject: Subject, files: tuple[Path, Path]) -> None:
    subject.run(*files, CASE)
    asked = subject.upscaler.upscale(picture(*CASE.in_size), CASE.target)
    assert np.array_equal(read(files[1]).pixels, asked.pixels)


def test_the_picture_and_its_writer_count_into_the_budget(
    subject: Subject, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, held = subject.upscaler.prepare, []

    def kept(*args: Any, held_bytes: int, **kwargs: Any) -> Any:
        held.append(held_bytes)
        return prepare(*args, held_bytes=held_bytes, **kwargs)

    monkeypatch.setattr(subject.upscaler, "prepare", kept)
    subject.run(*files, CASE)
    width, height = CASE.in_size
    assert held == [width * height * 3 + writing("png", width=1, height=1, channels=3).held_bytes]


def test_the_parts_of_a_run_are_the_run(subject: Subject, files: tuple[Path, Path]) -> None:
    start = time.perf_counter()
    split = subject.run(*files, CASE)
    took = time.perf_counter() - start
    assert min(split.read, split.encode, split.decode, split.write) > 0
    assert took / 2 < split.total <= took


def _slow(what: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a call take `SLOW_S` more."""
    real: Callable[..., Any] = getattr(what, name)

    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(SLOW_S)
        return real(*args, **kwargs)

    monkeypatch.setattr(what, name, slow)


def slow_reader(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    _slow(subject.reader, "read", monkeypatch)


def slow_encoder(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    _slow(subject.upscaler.prepare(picture(4, 4), CASE.target).model.encoder, "forward", monkeypatch)


def slow_decoder(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    from liif_cli.engine import render

    _slow(render, "render_block", monkeypatch)


def slow_writer(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    from liif_cli.image.bands import Bands

    _slow(Bands, "write", monkeypatch)


@pytest.mark.parametrize(
    ("part", "slow_down"),
    [("read", slow_reader), ("encode", slow_encoder), ("decode", slow_decoder), ("write", slow_writer)],
)
def test_a_run_knows_what_it_waited_for(
    subject: Subject,
    files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    slow_down: Callable[[Subject, pytest.MonkeyPatch], None],
) -> None:
    subject.run(*files, CASE)  # the reading process has started
    slow_down(subject, monkeypatch)
    split = subject.run(*files, CASE)
    assert getattr(split, part) >= SLOW_S
    others = {name: getattr(split, name) for name in Split.__dataclass_fields__ if name != part}
    assert max(others.values()) < getattr(split, part), others


def test_what_two_workers_encode_at_the_same_time_is_waited_for_once(
    subject: Subject, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    subject.upscaler.options = Options(tile_px=10)  # 4 tiles: two times two
    subject.run(*files, CASE)
    slow_encoder(subject, monkeypatch)
    split = subject.run(*files, CASE)
    assert split.encode == pytest.approx(2 * SLOW_S, rel=0.5)
    assert split.decode >= 0


@given(spans, spans, moments)
def test_an_overlap_can_be_taken_in_parts(some: list[Any], others: list[Any], cut: int) -> None:
    left = [(min(a, cut), min(b, cut)) for a, b in others]
    right = [(max(a, cut), max(b, cut)) for a, b in others]
    assert overlap(some, left) + overlap(some, right) == overlap(some, others) == overlap(others, some)


@given(spans)
def test_all_of_a_span_is_within_all_time(some: list[tuple[float, float]]) -> None:
    assert overlap(some, [(-1.0, 100.0)]) == sum(b - a for a, b in some)
    assert overlap(some, []) == overlap(some, [(60.0, 70.0)]) == 0


def test_the_encoder_is_left_as_it_was(subject: Subject, files: tuple[Path, Path]) -> None:
    subject.run(*files, CASE)
    encoder = subject.upscaler.prepare(picture(4, 4), CASE.target).model.encoder
    assert not encoder._forward_hooks and not encoder._forward_pre_hooks


def test_auto_is_decided_once_and_has_a_name(weights: Path) -> None:
    with Subject(str(weights), Setup(device="auto", precision="auto", threads=1)) as subject:
        assert subject.precision in ("fp32", "bf16")
        assert subject.threads == 1
        way = subject.way(CASE)
        assert (way.model, way.precision, way.device) == (str(weights), subject.precision, subject.device)
        floats = subject.upscaler.prepare(picture(4, 4), CASE.target, bits=None)
        bytes_ = subject.upscaler.prepare(picture(4, 4), CASE.target, bits=8)
        assert floats.dtype == bytes_.dtype


def test_a_device_that_is_not_there_is_said_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fetched(*_: object, **__: object) -> Iterator[None]:
        raise AssertionError

    monkeypatch.setattr("liif_cli.weights.fetch.local", fetched)
    with pytest.raises(DeviceError):
        Subject("standard", Setup(device="cuda:77"))


def test_weights_that_are_not_there_are_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        Subject(str(tmp_path / "none.safetensors"), Setup())

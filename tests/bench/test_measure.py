"""Measuring a case: time, memory, the published way."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from liif_cli import machine
from liif_cli.bench import measure as module
from liif_cli.bench.measure import amount, measure
from liif_cli.bench.memory import Watch
from liif_cli.bench.results import Case, Split
from liif_cli.bench.subject import Setup, Subject
from liif_cli.errors import LiifError
from liif_cli.evaluate.protocol import Scale

CASE = Case(scale=Scale(x=2, y=2), in_size=(16, 12))
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the mark is Linux's")


@pytest.mark.parametrize(
    ("took", "middle"), [([3.0, 1.0, 2.0], 2.0), ([4.0, 1.0, 3.0, 2.0], 2.0), ([5.0], 5.0)]
)
def test_the_median_is_that_of_the_runs_after_the_one_that_warms_up(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, took: list[float], middle: float
) -> None:
    subject.setup = Setup(device="cpu", precision="fp32", threads=2, runs=len(took))
    splits = [Split(read=0.0, encode=0.0, decode=seconds, write=0.1) for seconds in [0.01, *took]]
    left = iter(splits)
    monkeypatch.setattr(module, "_load_the_rest", lambda *_: None)
    monkeypatch.setattr(subject, "run", lambda *_: next(left))
    row = measure(subject, CASE)
    assert next(left, None) is None
    found = (row.min_s, row.median_s, row.max_s)
    assert found == pytest.approx((min(took) + 0.1, middle + 0.1, max(took) + 0.1))
    assert row.split.decode == middle


@pytest.mark.parametrize("plain", [False, True])
def test_a_case_has_a_row_and_its_work_is_told(subject: Subject, plain: bool) -> None:
    setup = Setup(device="cpu", precision="fp32", threads=2, runs=3, plain=plain)
    subject.setup = setup
    told: list[float] = []
    row = measure(subject, CASE, advance=told.append)
    assert row.min_s <= row.median_s <= row.max_s
    assert row.split.total == pytest.approx(row.median_s)
    assert row.way == subject.way(CASE)
    assert (row.plain is not None) == plain
    assert {"liif", "python", "torch", "libvips", "cpu"} <= row.versions.keys()
    assert sum(told) == pytest.approx(amount([CASE], setup))


def test_nothing_is_left_in_the_folder_for_temporary_files(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    measure(subject, CASE)
    assert not list(folder.iterdir())


@linux
def test_the_peak_is_counted_from_where_watching_began() -> None:
    earlier = np.ones(40_000_000)
    del earlier
    watch = Watch.start("cpu")
    assert watch is not None
    quiet = watch.peak_bytes()
    block = np.ones(10_000_000)
    del block
    # The system counts in steps of some pages for each processor.
    assert quiet < 20_000_000
    assert 75_000_000 < watch.peak_bytes() - quiet < 100_000_000


@linux
def test_the_peak_of_a_run_is_in_the_row(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    run = subject.run

    def hungry(*args: object) -> object:
        block = np.ones(16_000_000)
        del block
        return run(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(subject, "run", hungry)
    monkeypatch.setattr(module, "_load_the_rest", lambda *_: None)
    row = measure(subject, CASE)
    assert row.peak_bytes is not None
    assert row.peak_bytes > 120_000_000


def test_a_system_that_does_not_forget_peaks_is_asked_in_a_child(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "forget_peak", lambda: False)
    monkeypatch.setattr(module, "_peak_of_a_child", lambda asked, case: 12345)
    assert measure(subject, CASE).peak_bytes == 12345


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no peak is told there")
def test_the_child_runs_the_case_and_tells_its_peak(subject: Subject) -> None:
    peak = module._peak_of_a_child(subject, CASE)
    assert peak is not None
    assert 0 <= peak < 1 << 30


@pytest.mark.slow
def test_a_child_that_fails_is_said(subject: Subject) -> None:
    subject.name = "no/such/file.safetensors"
    with pytest.raises(LiifError, match=r"whose memory is watched failed: .*no such file"):
        module._peak_of_a_child(subject, CASE)

"""Running jobs: files appear whole or not at all, and every input ends as something."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liif_cli.api import Enlargement, Upscaler
from liif_cli.engine.options import Options
from liif_cli.engine.target import Target
from liif_cli.errors import DeviceError
from liif_cli.folder import local
from liif_cli.folder.jobs import Job, Result, Rules, Saving, plan_jobs
from liif_cli.folder.local import at_once, run
from liif_cli.folder.names import Naming, find
from liif_cli.image.picture import Picture
from liif_cli.image.read import read
from liif_cli.image.write import write
from liif_cli.nn.model import build
from tests.conftest import TINY, ReaderHere

# One entry: the camera's maker is "abc".
EXIF = b"MM\0*\0\0\0\x08\0\x01\x01\x0f\0\x02\0\0\0\x04abc\0\0\0\0\0"


@pytest.fixture(scope="module")
def upscaler() -> Iterator[Upscaler]:
    with Upscaler(build(TINY["light"], seed=1), precision="fp32", threads=2) as made:
        yield made


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Picture) -> Path:
    """A folder with three pictures, which names are relative to."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png", "c.webp"):
        write(photo, Path(name))
    return tmp_path


@pytest.fixture(autouse=True)
def _read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a child process for each test; `image.isolate` has its own tests."""
    monkeypatch.setattr(local, "Reader", ReaderHere)


def jobs_of(*names: str, target: Target | None = None, output: str = "out/", **rules: Any) -> list[Job]:
    target = target or Target(scale=(1.5, 2))
    found = find(names, recursive=True, stdin=bytes)
    naming = Naming.of(
        output=output, template=None, format=None, model="tiny", target=target, many=found.many
    )
    made = plan_jobs(found.sources, target, naming, Rules(**rules))
    assert all(isinstance(one, Job) for one in made)
    return [one for one in made if isinstance(one, Job)]


def ended(jobs: Sequence[Job], upscaler: Upscaler, saving: Saving | None = None, **more: Any) -> list[Result]:
    return list(run(jobs, [upscaler], saving or Saving(), **more))


@pytest.mark.parametrize("parallel", [1, 2, 5])
def test_files_are_what_the_upscaler_says(upscaler: Upscaler, photo: Picture, parallel: int) -> None:
    target = Target(scale=(1.5, 2))
    told: list[int] = []
    results = ended(
        jobs_of("a.png", "b.png", "c.webp", lossless=True),
        upscaler,
        parallel=parallel,
        advance=lambda _, n: told.append(n),
    )
    assert sorted(result.input for result in results) == ["a.png", "b.png", "c.webp"]
    wanted = upscaler.upscale(photo, target)
    for name in ("a.png", "b.png"):
        assert np.array_equal(read(Path("out") / name).pixels, wanted.pixels)
    assert {result.status for result in results} == {"done"}
    assert sum(told) == 3 * wanted.width * wanted.height
    first = results[0]
    assert (first.width, first.height, first.in_width, first.in_height) == (66, 60, 44, 30)
    assert first.precision == "float32" and first.tiles >= 1 and first.peak_bytes > 0 and first.seconds > 0


def test_one_that_fails_does_not_stop_the_others(upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = jobs_of("a.png", "b.png", "c.webp")
    Path("b.png").write_bytes(Path("b.png").read_bytes()[:200])
    results = {result.input: result for result in ended(jobs, upscaler)}
    assert [results[name].status for name in ("a.png", "b.png", "c.webp")] == ["done", "failed", "done"]
    assert "damaged" in results["b.png"].error and not Path("out/b.png").exists()


def test_a_picture_that_changed_meanwhile_is_not_done(upscaler: Upscaler, photo: Picture) -> None:
    (job,) = jobs_of("a.png")
    write(upscaler.upscale(photo, Target(scale=(2, 2))), Path("a.png"), overwrite=True)
    (result,) = ended([job], upscaler)
    assert result.status == "failed" and "changed while" in result.error


def test_fail_fast_leaves_the_rest_and_says_so(upscaler: Upscaler) -> None:
    jobs = jobs_of("a.png", "b.png", "c.webp")
    Path("a.png").unlink()
    results = ended(jobs, upscaler, fail_fast=True)
    assert [result.status for result in results] == ["failed", "skipped", "skipped"]
    assert "stopped" in results[1].warnings[0]
    assert not Path("out").exists() or not list(Path("out").iterdir())


def test_a_bug_is_a_failure_of_its_picture_with_its_traceback(
    upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Upscaler, "prepare", lambda *_, **__: dict[str, int]()["no such key"])
    (result,) = ended(jobs_of("a.png"), upscaler)
    assert (result.status, result.exit_status) == ("failed", 70) and "KeyError" in result.traceback


def test_an_error_in_the_middle_leaves_no_file(upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Enlargement.bands

    def broken(self: Any, **more: Any) -> Iterator[Any]:
        yield next(iter(whole(self, **more)))
        raise DeviceError("memory is short")

    monkeypatch.setattr(Enlargement, "bands", broken)
    (result,) = ended(jobs_of("a.png", target=Target(scale=(3, 9))), upscaler)
    assert result.status == "failed" and result.exit_status == 3
    assert list(Path("out").iterdir()) == []


def test_a_run_that_nobody_asks_on_ends_and_leaves_no_partial_file(upscaler: Upscaler) -> None:
    running = run(jobs_of("a.png", "b.png", "c.webp", target=Target(scale=(6, 6))), [upscaler], Saving())
    first = next(running)
    running.close()
    assert first.status == "done"
    assert not [path for path in Path("out").iterdir() if path.name.startswith(".")]


def test_what_was_done_and_not_asked_for_is_told_late(upscaler: Upscaler) -> None:
    jobs, late = jobs_of("a.png", "b.png"), list[Result]()
    running = run(jobs, [upscaler], Saving(), parallel=2, late=late.append)
    first = next(running)
    deadline = time.monotonic() + 60
    while not all(job.output and job.output.exists() for job in jobs):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.close()
    names = {result.input for result in late if result.status == "done"}
    assert names | {first.input} == {"a.png", "b.png"}


@pytest.mark.parametrize(("memory", "beside"), [("100M", 1), ("3G", 3)])
def test_as_many_at_once_as_memory_has_room_to_pack(memory: str, beside: int) -> None:
    found = jobs_of("a.png", "b.png", "c.webp", target=Target(scale=(30, 30)))
    jobs = [replace(job, format="avif") for job in found]
    with Upscaler(build(TINY["light"], seed=1), precision="fp32", memory=memory, threads=1) as upscaler:
        assert jobs[0].writing.packing_bytes > 60e6
        assert at_once(jobs, upscaler, 3, asked=True) == beside


def test_an_estimate_has_writing_in_it(upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upscaler, "_speeds", {8: (0.01, 0.001)})
    found: dict[tuple[str, float], float] = {}
    for format in ("png", "webp"):
        (job,) = (replace(one, format=format) for one in jobs_of("a.png"))
        for pace in (0.0, 0.001, 10.0):
            monkeypatch.setattr(local, "seconds_per_pixel", lambda *_, pace=pace, **__: pace)
            found[format, pace] = local.estimated(job, upscaler, Saving(), 1).seconds
    pixels = 66 * 60
    alone = found["png", 0.0]
    assert alone == found["webp", 0.0] > 0
    # A stream is packed beside the computation, by one of two cores; the other when all is there.
    assert found["png", 0.001] == pytest.approx(alone + 0.001 * pixels / 2, abs=0.11)
    assert found["png", 10.0] == pytest.approx(10 * pixels, rel=1e-3)
    assert found["webp", 0.001] == pytest.approx(alone + 0.001 * pixels, abs=0.11)


def test_what_a_killed_run_left_is_swept_away(upscaler: Upscaler) -> None:
    Path("out").mkdir()
    left = Path("out/.liif-99999-0123456789ab.part")
    left.write_bytes(b"half a picture")
    ended(jobs_of("a.png"), upscaler)
    assert not left.exists() and Path("out/a.png").exists()


def test_a_picture_large_enough_is_copied_byte_by_byte(upscaler: Upscaler) -> None:
    (job,) = jobs_of("c.webp", target=Target(longer=10), only_enlarge=True)
    (result,) = ended([job], upscaler)
    assert Path("out/c.webp").read_bytes() == Path("c.webp").read_bytes()
    assert result.status == "done" and result.width == 44 and "already as large" in result.notes[0]


def test_a_picture_large_enough_is_converted_where_a_copy_would_not_do(upscaler: Upscaler) -> None:
    given = replace(read(Path("a.png")), exif=EXIF)
    write(given, Path("a.png"), overwrite=True)
    job, other = jobs_of("a.png", "c.webp", target=Target(longer=10), only_enlarge=True, bare=True)
    ended([job], upscaler, Saving(metadata="strip"))  # a copy would keep what shall go
    assert np.array_equal(read(Path("out/a.png")).pixels, given.pixels)
    assert read(Path("out/a.png")).exif is None
    (result,) = ended([replace(other, output=Path("out/c.jpg"), format="jpeg")], upscaler)
    assert read(Path("out/c.jpg")).format == "jpeg" and "only converted" in result.notes[0]


def test_windows_computed_again_show_no_seam(photo: Picture) -> None:
    with Upscaler(
        build(TINY["edsr"], seed=1), precision="fp32", options=Options(tile_px=7), threads=2
    ) as small_tiles:
        (result,) = ended(jobs_of("a.png", target=Target(scale=(4, 4))), small_tiles, Saving(verify=6))
    assert result.verified is not None and result.verified <= 1 and result.tiles > 20


def test_a_seam_would_be_found(upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = local._Samples.keep
    monkeypatch.setattr(
        local._Samples, "keep", lambda self, band: (whole(self, band), self.windows[0][1].fill(9))
    )
    (result,) = ended(jobs_of("a.png"), upscaler, Saving(verify=1))
    assert result.verified is not None and result.verified > 20


def test_metadata_and_profile_go_where_they_are_asked_to(upscaler: Upscaler, photo: Picture) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    write(replace(photo, icc=profile, exif=EXIF), Path("a.png"), overwrite=True)
    ended(jobs_of("a.png", output="kept/"), upscaler)
    ended(jobs_of("a.png", output="bare/"), upscaler, Saving(icc="strip", metadata="strip"))
    kept, bare = read(Path("kept/a.png")), read(Path("bare/a.png"))
    assert kept.icc == profile and kept.exif and b"abc" in kept.exif
    assert bare.icc is None and bare.exif is None


def test_stdout_gets_the_picture_and_nothing_else(
    upscaler: Upscaler, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    ended(jobs_of("a.png", output="-"), upscaler)
    sys.stdout.flush()
    assert read(capsysbinary.readouterr().out).width == 66


def test_too_little_memory_is_said_with_status_3(photo: Picture) -> None:
    with Upscaler(build(TINY["light"], seed=1), precision="fp32", memory="1M", threads=1) as short:
        (result,) = ended(jobs_of("a.png"), short)
    assert result.exit_status == 3 and "memory is short" in result.error

"""Runs jobs on this machine: reading, computing and writing of different pictures overlap."""

from __future__ import annotations

import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from liif_cli.api import Upscaler
from liif_cli.engine.render import Stopped
from liif_cli.errors import LiifError, PictureError
from liif_cli.folder.jobs import Header, Job, Result
from liif_cli.folder.names import Source
from liif_cli.image.read import read
from liif_cli.image.write import write


@dataclass(frozen=True, kw_only=True)
class Saving:
    """How results are written; see CLI.md."""

    quality: int = 95
    lossless: bool = False
    max_input_pixels: int | None = None


def probe(source: Source, max_pixels: int | None = None) -> Header:
    """What is known of an input before its pixels are read. Raises PictureError."""
    picture = read(source.data if source.data is not None else _path(source), max_pixels=max_pixels)
    return Header(
        width=picture.width,
        height=picture.height,
        channels=picture.channels,
        alpha=picture.alpha is not None,
        bits=picture.bits,
        format=picture.format,
    )


def run(
    jobs: Sequence[Job],
    upscaler: Upscaler,
    saving: Saving,
    *,
    parallel: int = 1,
    fail_fast: bool = False,
    advance: Callable[[Job, int], None] = lambda job, pixels: None,
) -> Iterator[Result]:
    """Do the jobs, `parallel` at a time; a result for each, as it ends.

    advance: is told of finished output pixels, from any thread. When the caller stops asking (or is
    interrupted), what runs ends soon and leaves no partial file.
    """
    stop = threading.Event()
    pool = ThreadPoolExecutor(max(1, parallel), "liif-job")
    running = {pool.submit(_ended, job, upscaler, saving, stop, advance): job for job in jobs}
    try:
        for future in as_completed(running):
            result = future.result()
            if fail_fast and result.status == "failed":
                stop.set()
            yield result
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _ended(
    job: Job,
    upscaler: Upscaler,
    saving: Saving,
    stop: threading.Event,
    advance: Callable[[Job, int], None],
) -> Result:
    """Do one job, whatever happens."""
    start = perf_counter()
    try:
        if stop.is_set():
            raise Stopped
        done = _copied(job) if job.through else _upscaled(job, upscaler, saving, stop, advance)
    except Stopped:
        return job.result("skipped", warnings=("the run was stopped",))
    except LiifError as error:
        return job.failed(error)
    except MemoryError:
        return job.failed(PictureError(f"{job.source.name}: memory ran out", hint="give less to --jobs"))
    except Exception as error:
        bug = LiifError(f"{job.source.name}: this is a bug of liif: {type(error).__name__}: {error}")
        return replace(job.failed(bug), exit_status=70, traceback=traceback.format_exc())
    seconds = perf_counter() - start
    pixels = done.width * done.height / 1e6
    return replace(done, seconds=round(seconds, 3), megapixels_per_second=round(pixels / seconds, 3))


def _upscaled(
    job: Job,
    upscaler: Upscaler,
    saving: Saving,
    stop: threading.Event,
    advance: Callable[[Job, int], None],
) -> Result:
    source = job.source.data if job.source.data is not None else _path(job.source)
    picture = read(source, max_pixels=saving.max_input_pixels)
    plan = upscaler.plan(picture, job.target, bits=job.bits)
    large = upscaler.upscale(picture, job.target)
    assert job.output is not None
    notes = write(
        large,
        job.output,
        format=job.format,
        quality=saving.quality,
        lossless=saving.lossless,
        overwrite=job.overwrite,
    )
    advance(job, large.width * large.height)
    facts: dict[str, Any] = {"model": upscaler.name, "precision": upscaler.placement.dtype}
    if plan:
        facts |= {"tiles": plan.tiles, "peak_bytes": plan.peak_bytes}
    return job.result("done", warnings=(*picture.notes, *notes), **facts)


def _copied(job: Job) -> Result:
    """The file as it is."""
    from liif_cli.image.whole import whole

    if job.output is None:
        data = job.source.data if job.source.data is not None else _path(job.source).read_bytes()
        sys.stdout.buffer.write(data)
    else:
        job.output.parent.mkdir(parents=True, exist_ok=True)
        with whole(job.output, overwrite=job.overwrite) as file:
            if job.source.data is not None:
                file.write(job.source.data)
            else:
                with _path(job.source).open("rb") as given:
                    shutil.copyfileobj(given, file)
    return job.result("done", warnings=("already as large: copied as it is",))


def _path(source: Source) -> Any:
    assert source.path is not None
    return source.path

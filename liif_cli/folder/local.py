"""Runs jobs on this machine: reading, computing and writing of different pictures overlap."""

from __future__ import annotations

import io
import random
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from liif_cli.api import Enlargement, Upscaler
from liif_cli.engine.plan import Band
from liif_cli.engine.render import Stopped
from liif_cli.engine.target import Box
from liif_cli.errors import DeviceError, GateError, LiifError, PictureError
from liif_cli.folder.jobs import Job, Result, Saving
from liif_cli.image import colour
from liif_cli.image.alpha import flatten
from liif_cli.image.bands import Canvas, Encoding, Tags, open_bands
from liif_cli.image.isolate import Reader
from liif_cli.image.pace import seconds_per_pixel
from liif_cli.image.whole import pour, sweep, whole
from liif_cli.image.write import write

Array = npt.NDArray[Any]

# So many of the largest pictures decide how many are done at once, and so much more work is worth it.
_LOOKED_AT, _WORTH_IT = 8, 1.2
# Side of a window that `--verify` computes again.
_VERIFIED_PX = 96


def at_once(jobs: Sequence[Job], upscaler: Upscaler, most: int, *, asked: bool = False) -> int:
    """How many of the jobs are best done at the same time: `most`, or fewer if memory is short.

    Each has its share of the memory. If the largest do not fit into it, or must be cut into so many
    pieces that the halos cost more than waiting would, fewer are done at once. asked: the user wants
    `most`; then only what does not fit makes it fewer.
    """
    largest = sorted(jobs, key=lambda job: job.layout.width * job.layout.height)[-_LOOKED_AT:]

    def work(beside: int) -> float:
        plans = (
            upscaler.outlook(job.header, job.target, bits=job.bits, writing=job.writing, beside=beside)[0]
            for job in largest
            if not job.through
        )
        return sum(plan.multiply_adds for plan in plans if plan)

    packing = max(job.writing.packing_bytes for job in largest)
    for beside in range(min(most, len(jobs)), 1, -1):
        if packing > upscaler.share(beside)[0]:
            continue
        try:
            if work(beside) <= _WORTH_IT * work(1) or asked:
                return beside
        except LiifError:  # too little for so many; for one alone it will be said by its own run
            continue
    return 1


def estimated(job: Job, upscaler: Upscaler, saving: Saving, beside: int) -> Result:
    """What a job would take, where so many are done at the same time; nothing is read or written."""
    if job.through:
        return job.result("planned")
    try:
        found = upscaler.estimate(job.header, job.target, bits=job.bits, writing=job.writing, beside=beside)
        pace = seconds_per_pixel(
            _encoding(job, saving), channels=job.header.channels, alpha=job.header.alpha, bits=job.bits
        )
    except LiifError as error:
        return job.failed(error)
    writing, seconds = pace * job.layout.width * job.layout.height, found.seconds
    if job.writing.packing_bytes:  # when all is computed
        seconds += writing
    else:  # meanwhile, on one core
        seconds = max(writing, seconds + writing / upscaler.threads)
    return job.result(
        "planned",
        model=upscaler.name,
        tiles=found.tiles,
        seconds=round(seconds, 1),
        peak_bytes=found.peak_bytes,
    )


def run(
    jobs: Sequence[Job],
    upscalers: Sequence[Upscaler],
    saving: Saving,
    *,
    parallel: int = 1,
    fail_fast: bool = False,
    readers: Sequence[Reader] = (),
    advance: Callable[[Job, int], None] = lambda job, pixels: None,
    late: Callable[[Result], None] = lambda result: None,
) -> Generator[Result]:
    """Do the jobs, `parallel` at a time for each upscaler; a result for each, as it ends.

    upscalers: one a device; files are shared out. readers: child processes that are already starting.
    advance: is told of finished output pixels, from any thread. When the caller stops asking (or is
    interrupted), what runs ends soon and leaves no partial file. late: is told then how those ended that
    had begun and were not asked for.
    """
    for folder in {job.output.parent for job in jobs if job.output is not None}:
        if folder.is_dir():
            sweep(folder)  # what a killed run left
    count = min(max(1, parallel) * len(upscalers), max(1, len(jobs)))
    beside = -(-count // len(upscalers))  # pictures at once on one device
    everyone = []
    for n in range(count):
        upscaler = upscalers[n % len(upscalers)]
        budget, workers = upscaler.share(beside)
        reader = readers[n] if n < len(readers) else Reader()
        everyone.append(_Seat(reader=reader, upscaler=upscaler, budget_bytes=budget, workers=workers))
    seats: SimpleQueue[_Seat] = SimpleQueue()
    for seat in everyone:
        seats.put(seat)
    stop = threading.Event()
    pool = ThreadPoolExecutor(count, "liif-job")
    running = [pool.submit(_ended, job, seats, saving, stop, advance) for job in jobs]
    left = set(running)
    try:
        for future in as_completed(running):
            result = future.result()
            if fail_fast and result.status == "failed":
                stop.set()
            yield result
            left.remove(future)
    finally:
        ended = all(future.done() for future in running)
        stop.set()
        if not ended:  # a picture may take minutes to read: that is not waited for
            for seat in everyone:
                seat.reader.interrupt()
        pool.shutdown(wait=True, cancel_futures=True)
        for seat in everyone:
            seat.reader.close()
        for future in left:
            if not future.cancelled() and future.exception() is None:
                late(future.result())


@dataclass(frozen=True, kw_only=True)
class _Seat:
    """What one job needs to itself while it runs."""

    reader: Reader
    upscaler: Upscaler
    budget_bytes: int
    workers: int


def _ended(
    job: Job,
    seats: SimpleQueue[_Seat],
    saving: Saving,
    stop: threading.Event,
    advance: Callable[[Job, int], None],
) -> Result:
    """Do one job, whatever happens."""
    start = perf_counter()
    seat = seats.get()
    try:
        if stop.is_set():
            raise Stopped
        if not job.through:
            done = _enlarged(job, seat, saving, stop, advance)
        elif job.copied:
            done = _copied(job)
        else:
            done = _converted(job, seat, saving)
    except Stopped:
        return job.stopped()
    except LiifError as error:
        return job.failed(error)
    except BrokenPipeError:  # who reads stdout has had enough: not about this picture
        raise
    except MemoryError:
        return job.failed(DeviceError(f"{job.source.name}: memory ran out", hint="give less to --jobs"))
    except Exception as error:
        bug = LiifError(f"{job.source.name}: this is a bug of liif: {type(error).__name__}: {error}")
        return replace(job.failed(bug), exit_status=70, traceback=traceback.format_exc())
    finally:
        seats.put(seat)
    seconds = perf_counter() - start
    rate = done.width * done.height / 1e6 / seconds
    return replace(done, seconds=round(seconds, 3), megapixels_per_second=round(rate, 3))


def _enlarged(
    job: Job, seat: _Seat, saving: Saving, stop: threading.Event, advance: Callable[[Job, int], None]
) -> Result:
    picture = seat.reader.read(job.source.given, max_pixels=saving.max_input_pixels, name=job.source.name)
    if (picture.width, picture.height) != (job.header.width, job.header.height):
        raise PictureError(f"{job.source.name}: changed while it was worked on")
    notes = list(picture.notes)
    if saving.icc == "srgb":
        picture = colour.to_srgb(picture)
    elif saving.icc == "keep":
        picture, said = colour.for_format(picture, job.format)
        notes += said
    given = picture.pixels.nbytes + (0 if picture.alpha is None else picture.alpha.nbytes)
    writing = job.writing
    enlargement = seat.upscaler.prepare(
        picture,
        job.target,
        bits=job.bits,
        budget_bytes=seat.budget_bytes,
        held_bytes=given + writing.held_bytes,
        workers=seat.workers,
    )
    samples = _Samples.of(enlargement, saving.verify)
    tags = Tags.of(enlargement.work, icc=saving.icc != "strip", metadata=saving.metadata == "keep")
    notes += _write(job, enlargement, tags, saving, stop, samples, advance)
    planned = enlargement.plan
    facts: dict[str, Any] = {
        "warnings": tuple(notes),
        "notes": _shrinking(enlargement),
        "model": seat.upscaler.name,
        "precision": enlargement.dtype,
        "tiles": planned.tiles if planned else 0,
        "peak_bytes": writing.peak_bytes(given, planned.peak_bytes if planned else 0),
    }
    if saving.verify:
        levels = samples.compared(enlargement)
        windows = "1 window differs" if saving.verify == 1 else f"{saving.verify} windows differ"
        told = f"computed again in one piece, {windows} by {levels} levels at most"
        facts |= {"verified": levels, "notes": (*facts["notes"], told)}
        if levels > 1:
            return job.failed(GateError(f"{job.source.name}: {told}", hint="please report this"), **facts)
    return job.result("done", **facts)


def _write(
    job: Job,
    enlargement: Enlargement,
    tags: Tags,
    saving: Saving,
    stop: threading.Event,
    samples: _Samples,
    advance: Callable[[Job, int], None],
) -> tuple[str, ...]:
    layout = enlargement.layout
    canvas = Canvas(
        width=layout.width,
        height=layout.height,
        channels=enlargement.channels,
        alpha=enlargement.alpha,
        bits=job.bits,
    )
    target: Path | BinaryIO = job.output or sys.stdout.buffer
    if job.output is not None:
        _make_folder(job.output.parent)
    with open_bands(target, canvas, _encoding(job, saving), tags, overwrite=job.overwrite) as opened:
        for band in enlargement.bands(stop=stop):
            opened.write(band.pixels)
            samples.keep(band)
            advance(job, len(band.pixels) * layout.width)
        return opened.notes


def _encoding(job: Job, saving: Saving) -> Encoding:
    return Encoding(format=job.format, quality=saving.quality, lossless=job.lossless, pyramid=saving.pyramid)


def _shrinking(enlargement: Enlargement) -> tuple[str, ...]:
    layout = enlargement.layout
    axes = [
        name
        for name, before, after in (
            ("width", layout.in_width, layout.out_width),
            ("height", layout.in_height, layout.out_height),
        )
        if after < before
    ]
    return (f"{' and '.join(axes)}: antialiased bicubic, not the model, because it shrinks",) if axes else ()


def _converted(job: Job, seat: _Seat, saving: Saving) -> Result:
    """The same pixels, written as asked."""
    picture = seat.reader.read(job.source.given, max_pixels=saving.max_input_pixels, name=job.source.name)
    if seat.upscaler.options.alpha == "drop":
        picture = flatten(picture, seat.upscaler.options.background)
    if job.output is not None:
        _make_folder(job.output.parent)
    notes = write(
        picture,
        job.output or sys.stdout.buffer,
        format=job.format,
        bits=job.bits,
        quality=saving.quality,
        lossless=job.lossless,
        pyramid=saving.pyramid,
        icc=saving.icc,
        metadata=saving.metadata,
        overwrite=job.overwrite,
    )
    return job.result("done", warnings=(*picture.notes, *notes), notes=("already as large: only converted",))


def _copied(job: Job) -> Result:
    """The file as it is."""
    given = job.source.given
    with ExitStack() as stack:
        source = io.BytesIO(given) if isinstance(given, bytes) else stack.enter_context(given.open("rb"))
        if job.output is None:
            pour(source, sys.stdout.buffer)
        else:
            _make_folder(job.output.parent)
            shutil.copyfileobj(source, stack.enter_context(whole(job.output, overwrite=job.overwrite)))
    return job.result("done", notes=("already as large: copied as it is",))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PictureError(f"{folder}: cannot be made: {reason}") from error


@dataclass(frozen=True, kw_only=True)
class _Samples:
    """Windows of the result, kept as its bands go by, to be computed again."""

    windows: tuple[tuple[Box, Array], ...]

    @classmethod
    def of(cls, enlargement: Enlargement, count: int) -> _Samples:
        """`count` windows at random places, half of them on seams between tiles, if there are any."""
        layout, planned = enlargement.layout, enlargement.plan
        samples = enlargement.channels + enlargement.alpha
        dtype = np.uint8 if enlargement.how.depth == 8 else np.uint16
        chance = random.Random()
        windows = []
        for n in range(count):
            x, y = chance.randrange(layout.width), chance.randrange(layout.height)
            if planned and n % 2 == 0:
                x = layout.left + _on_a_seam(layout.window.width, planned.tile_columns, chance)
                y = layout.top + _on_a_seam(layout.window.height, planned.strip_rows, chance)
            width, height = min(_VERIFIED_PX, layout.width), min(_VERIFIED_PX, layout.height)
            left = min(max(0, x - width // 2), layout.width - width)
            top = min(max(0, y - height // 2), layout.height - height)
            box = Box(left=left, top=top, width=width, height=height)
            windows.append((box, np.zeros((height, width, samples), dtype)))
        return cls(windows=tuple(windows))

    def keep(self, band: Band) -> None:
        """Copy what the windows see of a band."""
        stop = band.top + len(band.pixels)
        for box, kept in self.windows:
            first, last = max(box.top, band.top), min(box.top + box.height, stop)
            if first < last:
                columns = slice(box.left, box.left + box.width)
                kept[first - box.top : last - box.top] = band.pixels[
                    first - band.top : last - band.top, columns
                ]

    def compared(self, enlargement: Enlargement) -> int:
        """Compute the windows again in one piece; the largest difference in levels of the result."""
        worst = 0
        for box, kept in self.windows:
            again = enlargement.part(enlargement.layout.part(box))
            pixels = np.concatenate([band.pixels.copy() for band in again.bands()])
            worst = max(worst, int(np.abs(pixels.astype(np.int64) - kept).max()))
        return worst


def _on_a_seam(size: int, step: int, chance: random.Random) -> int:
    """A place where one tile ends and the next begins, anywhere if there is only one."""
    seams = range(step, size, step)
    return chance.choice(seams) if seams else chance.randrange(size)

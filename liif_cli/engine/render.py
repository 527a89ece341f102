"""Runs a plan: encodes tiles, makes their pixels, hands on finished bands from top to bottom.

Work is shared out over threads of our own, each of which runs torch single-threaded: no operation
waits for another core, so a busy neighbour costs little, a block of rows stays in one core's cache,
and the result does not depend on the number of threads. torch lets go of the interpreter lock
inside its operations.

When memory runs out, what is not handed on yet is planned again in tiles of half the side.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from liif_cli import machine
from liif_cli.engine.landing import Landing
from liif_cli.engine.plan import Band, Load, Plan, Strip, Tile, halved, plan
from liif_cli.engine.turns import ALL, UPRIGHT, Turn
from liif_cli.errors import DeviceError, LiifError
from liif_cli.image.picture import Picture, to_unit
from liif_cli.nn.coords import Floats, Grid
from liif_cli.nn.decoders import Codes
from liif_cli.nn.grid import Prepared, block_pixels, blocks, prepare, render_block
from liif_cli.nn.model import Model

Array = npt.NDArray[Any]

# How memory is watched (`_keep_within`): the room below which what is free goes back, bytes a second that
# the kernel hands out at most, and seconds between two looks.
_LITTLE_ROOM = 16 << 20
_GROWTH = 2 << 30
_LEAST_S, _AFTER_TRIM_S, _MOST_S = 0.005, 0.02, 0.25


class Stopped(Exception):
    """`stop` was set: whoever set it knows why."""


class Crew:
    """Worker threads that run torch single-threaded, and a driver whose operations use all cores.

    Made once, used by any number of renders, also at the same time. Use it as a context manager.
    budget_bytes: what the process may hold above what it holds now.
    """

    def __init__(self, threads: int | None = None, budget_bytes: int | None = None) -> None:
        machine.keep_freed_memory()
        self.closed = threading.Event()
        weakref.finalize(self, self.closed.set)  # who forgets to close it leaves no watcher behind
        if budget_bytes and (held := machine.resident_bytes()):
            most = held + budget_bytes
            threading.Thread(
                target=_keep_within, args=(most, self.closed), name="liif-memory", daemon=True
            ).start()
        before = torch.get_num_threads()
        self.threads = threads or min(before, machine.cores())
        self.workers = ThreadPoolExecutor(self.threads, "liif-worker", _use_threads, (1,))
        self.driver = ThreadPoolExecutor(1, "liif-driver", _use_threads, (self.threads,))
        # torch's setting is a thread's own, but also what later threads begin with: start ours, put it back.
        gate = threading.Barrier(self.threads + 1)
        started = [self.workers.submit(gate.wait) for _ in range(self.threads)]
        gate.wait()
        wait([*started, self.driver.submit(int)])
        torch.set_num_threads(before)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads: renders that are not done raise `Stopped` at their next block."""
        self.closed.set()
        self.workers.shutdown(wait=False, cancel_futures=True)
        self.driver.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """What one picture is rendered with.

    depth: 8 or 16: rounded to integers of so many bits; None: float32 as the model answers.
    tta:   the mean over eight flips and turns (self-ensemble, as EDSR's "+").
    exact: the same model in float32: a tile in which a lower precision overflows is done with it.
    notify: is told, in a line, what a user may want to know; called from any thread.
    stop:  set it, and the render ends with `Stopped` at once; tiles begun are given up where they can be.
    """

    depth: int | None = None
    tta: bool = False
    exact: Model | None = None
    notify: Callable[[str], None] = lambda _: None
    stop: threading.Event | None = None


def load_of(picture: Picture, model: Model, how: Rendering) -> Load:
    """What a pixel of `picture` costs beside the model, for the plan."""
    channels = picture.channels + (picture.alpha is not None)
    parameter = _parameter(model)
    return Load(
        planes=1 if picture.alpha is None else 2,
        block_px=block_pixels(model),
        item_bytes=parameter.element_size(),
        out_bytes=channels * (how.depth or 32) // 8,
        times=8 if how.tta else 1,
        paged=parameter.device.type == "cpu",
    )


def render(
    model: Model,
    picture: Picture,
    grid: Grid,
    crew: Crew,
    *,
    budget_bytes: int,
    held_bytes: int = 0,
    workers: int | None = None,
    tile_px: int | None = None,
    how: Rendering | None = None,
) -> Iterator[Band]:
    """Bands of the window of `grid`, top to bottom; together they are its rows, each once.

    model:   on its device, in its precision (`engine.device.moved`).
    picture: its colour and its alpha (as grey) go through the model.
    held_bytes: what of the budget is already taken.
    workers: how many of the crew the plan counts on; default all. Fewer where renders share a crew.
    Bands:   pixels (rows, width, c): grey or RGB, then alpha if there is one; `top` counts from 0.
             float32 values are not clamped. An array is the receiver's until the next band.
    Raises DeviceError if memory is short for the smallest tile, Stopped.
    """
    how = how or Rendering()
    run = _Run(model=model, picture=picture, crew=crew, how=how)
    load = load_of(picture, model, how)
    todo = plan(
        model.spec,
        grid,
        budget_bytes=budget_bytes,
        held_bytes=held_bytes,
        workers=workers or crew.threads,
        load=load,
        tile_px=tile_px,
    )
    done = 0  # rows of the window handed on
    while done < grid.height:
        try:
            for band in run.bands(todo, done):
                yield band
                done = band.top + len(band.pixels)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            smaller = halved(todo, load)
            if smaller is None:
                raise DeviceError(
                    "memory ran out even with the smallest tiles",
                    hint="close other programs, or take a smaller model",
                ) from error
            todo = smaller
            how.notify(
                f"memory ran out; going on at row {done} with tiles of "
                f"{todo.tile_columns}x{todo.strip_rows} pixels"
            )
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def sample(
    model: Model, codes: Codes, points: Floats, cell: tuple[float, float], *, budget_bytes: int
) -> Tensor:
    """`Model.query` for any number of points (B, N, 2), in batches that fit the budget. (B, N, 3)."""
    spec = model.spec
    code = spec.encoder.width * (9 if spec.decoder.unfold else 1)
    unfolded = 2 * codes.feat.numel() // codes.feat.shape[1] * code * codes.feat.element_size()
    point = len(points) * spec.decoder.taps * (2 * (code + 4) + 3 * max((0, *spec.decoder.hidden))) * 4
    step = max(1, (budget_bytes - unfolded) // point)
    with torch.inference_mode():
        answers = [model.query(codes, points[:, n : n + step], cell) for n in range(0, points.shape[1], step)]
    return torch.cat(answers, 1)


def out_of_memory(error: BaseException) -> bool:
    """Whether the device or the machine had no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # torch has no class of its own for this on a CPU (DefaultCPUAllocator) and on MPS.
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        words in text for words in ("not enough memory", "can't allocate memory", "out of memory")
    )


@dataclass(frozen=True, kw_only=True)
class _Started:
    """A strip that is being worked on: its pixels fill up while `tasks` run."""

    strip: Strip
    pixels: Array  # (rows, width, channels)
    tasks: list[Future[None]]


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One render, whatever its plan. again: one tile at a time is done again in float32: it takes twice the
    memory that was planned for it."""

    model: Model
    picture: Picture
    crew: Crew
    how: Rendering
    again: threading.Lock = field(default_factory=threading.Lock)

    def bands(self, todo: Plan, start: int) -> Iterator[Band]:
        """Rows `start` to the end of the plan's window."""
        halt = threading.Event()
        started: deque[_Started] = deque()
        try:
            for strip in todo.strips(start):
                # The next strip is under way while one is handed on: no worker waits for the receiver.
                started.append(self._start(todo, strip, halt))
                if len(started) == 2:
                    yield from self._hand_on(todo, started[0])
                    started.popleft()
            while started:
                yield from self._hand_on(todo, started[0])
                started.popleft()
        finally:
            halt.set()
            running = _cancelled([task for one in started for task in one.tasks])
            if not (self.how.stop and self.how.stop.is_set()):  # who stops waits for no tile
                wait(running)

    def _start(self, todo: Plan, strip: Strip, halt: threading.Event) -> _Started:
        channels = self.picture.channels + (self.picture.alpha is not None)
        dtype = np.float32 if self.how.depth is None else np.uint8 if self.how.depth == 8 else np.uint16
        pixels = np.empty((strip.height, todo.grid.width, channels), dtype)
        pool = self.crew.workers if todo.shared == "tiles" else self.crew.driver
        tasks = []
        for tile in strip.tiles:
            left = tile.left - todo.grid.left
            place = pixels[:, left : left + tile.width]
            tasks.append(pool.submit(self._tile, todo, tile, place, halt))
        return _Started(strip=strip, pixels=pixels, tasks=tasks)

    def _hand_on(self, todo: Plan, one: _Started) -> Iterator[Band]:
        for task in one.tasks:
            while not task.done():
                self._check_stop()
                wait([task], timeout=0.2)
            self._check_stop()  # who closed the crew may have cancelled the task
            task.result()
        step = todo.band_rows(one.pixels[0].nbytes)
        for row in range(0, one.strip.height, step):
            yield Band(top=one.strip.top - todo.grid.top + row, pixels=one.pixels[row : row + step])

    def _tile(self, todo: Plan, tile: Tile, place: Array, halt: threading.Event) -> None:
        """Fill `place` (rows, columns, channels) with the pixels of `tile`. Runs in a thread of the crew."""
        with torch.inference_mode():
            try:
                self._answer(self.model, todo, tile, place, halt)
                return
            except FloatingPointError:
                rows = f"rows {tile.top} to {tile.top + tile.height}"
            try:
                if self.how.exact is None or self.how.exact is self.model:
                    raise FloatingPointError
                self.how.notify(f"{rows}: the numbers overflowed; done again in float32")
                with self.again:
                    self._answer(self.how.exact, todo, tile, place, halt)
            except FloatingPointError:
                raise LiifError(
                    f"{rows}: the model's answer is not a number",
                    hint="its weights are damaged: try another model",
                ) from None

    def _answer(self, model: Model, todo: Plan, tile: Tile, place: Array, halt: threading.Event) -> None:
        planes = _planes(self.picture, tile)
        if not self.how.tta:
            prepared = self._prepare(model, todo, tile, planes, UPRIGHT)

            def finish(rows: Tensor) -> Tensor:
                return _stored(rows, place.shape[-1], self.how.depth)

            def put(rows: slice, columns: slice, block: Array) -> None:
                place[rows, columns] = block

            self._blocks(todo, prepared, halt, finish, put)
            return
        mean = np.zeros((len(planes), tile.height, tile.width, 3), np.float32)
        for turn in ALL:
            there = turn.view(mean)

            def add(rows: slice, columns: slice, block: Array, there: Array = there) -> None:
                there[:, rows, columns] += block / len(ALL)

            # Never two turns at once: what one has prepared is gone before the next is encoded.
            self._blocks(todo, self._prepare(model, todo, tile, planes, turn), halt, lambda rows: rows, add)
        step = todo.band_rows(mean[:, 0].nbytes)
        for row in range(0, tile.height, step):
            some = torch.from_numpy(mean[:, row : row + step])
            place[row : row + step] = _stored(some, place.shape[-1], self.how.depth).numpy()

    def _prepare(self, model: Model, todo: Plan, tile: Tile, planes: Array, turn: Turn) -> Prepared:
        """Encode one tile, turned, and do all that is done per input pixel."""
        # As it lies in memory this is channels_last, in which convolutions run fastest. A copy, because
        # a flipped axis of length 1 counts as contiguous and torch takes no negative strides.
        turned = torch.from_numpy(turn.view(planes).copy())
        given = turned.to(_parameter(model).device).permute(0, 3, 1, 2)
        grid = todo.grid
        top, left = turn.corner(tile, grid)
        window = turn.grid(replace(grid, top=tile.top, left=tile.left, height=tile.height, width=tile.width))
        codes = model.encode(given, top=top, left=left, full=(window.in_height, window.in_width))
        return prepare(model, codes, window)

    def _blocks(
        self,
        todo: Plan,
        prepared: Prepared,
        halt: threading.Event,
        finish: Callable[[Tensor], Tensor],
        put: Callable[[slice, slice, Array], None],
    ) -> None:
        """All of the prepared window, in blocks; on all workers if the plan says so.

        finish: what is done with them where they are made; put: takes them on the host.
        """
        places = list(blocks(prepared.grid, todo.block_px // len(prepared.first)))

        def block(place: tuple[slice, slice], landing: Landing) -> None:
            self._check_stop()
            if halt.is_set():
                raise Stopped
            with torch.inference_mode():
                pixels = render_block(prepared, *place)
                landing.bring(finish(pixels), _finite(pixels), partial(put, *place))

        def alone(place: tuple[slice, slice]) -> None:
            landing = Landing(prepared.first.device)
            block(place, landing)
            landing.finish()

        if todo.shared == "tiles":
            landing = Landing(prepared.first.device)
            for place in places:
                block(place, landing)
            landing.finish()
            return
        tasks = [self.crew.workers.submit(alone, place) for place in places]
        try:
            for task in tasks:
                task.result()
        finally:
            wait(_cancelled(tasks))

    def _check_stop(self) -> None:
        if self.crew.closed.is_set() or (self.how.stop and self.how.stop.is_set()):
            raise Stopped


def _cancelled(tasks: list[Future[None]]) -> list[Future[None]]:
    """Cancel what has not begun; the rest, which is to be waited for. Never for a cancelled one: who waits
    is woken by the thread that finds it in its queue, and a pool that is shut down has emptied that."""
    return [task for task in tasks if not task.cancel()]


def _planes(picture: Picture, tile: Tile) -> Array:
    """The input of a tile, (B, h, w, 3) float32 in [0, 1]: colour, then alpha as grey."""
    there = (
        slice(tile.in_top, tile.in_top + tile.in_height),
        slice(tile.in_left, tile.in_left + tile.in_width),
    )
    parts = [picture.pixels[there]] + ([] if picture.alpha is None else [picture.alpha[there][..., None]])
    planes = np.empty((len(parts), tile.in_height, tile.in_width, 3), np.float32)
    for plane, part in zip(planes, parts, strict=True):
        plane[:] = to_unit(part)
    return planes


def _stored(planes: Tensor, channels: int, depth: int | None) -> Tensor:
    """Finite answers (B, rows, columns, 3) as pixels (rows, columns, channels): alpha last, and rounded
    as `image.picture.quantize` does it, here where they were made: what has to travel is smaller then.
    16 bits come as int32."""
    colours = channels - (len(planes) - 1)
    # A grey value is the mean of the three answers that it got.
    parts = [planes[0] if colours == 3 else planes[0].mean(-1, keepdim=True)]
    parts += [alpha.mean(-1, keepdim=True) for alpha in planes[1:]]
    values = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
    if depth is None:
        return values
    top = 2**depth - 1
    # float32 holds 65535.5 exactly, so cutting off the fraction rounds half up in both depths.
    levels: Tensor = (values * top).add_(0.5).clamp_(0, top)
    return levels.to(torch.uint8 if depth == 8 else torch.int32)


def _finite(values: Tensor) -> Tensor:
    """Whether all of them are, as a tensor beside them. One pass: the least and the greatest tell, and a
    value that is not a number is both."""
    least, greatest = torch.aminmax(values)
    return torch.isfinite(least) & torch.isfinite(greatest)


def _parameter(model: Model) -> Tensor:
    return next(iter(model.parameters()))


def _keep_within(most_bytes: int, over: threading.Event) -> None:
    """Give freed memory back whenever the process is about to hold too much: it is kept in pieces, and not
    all that is asked for fits into one."""
    pause = 0.0
    while not over.wait(pause):
        room = most_bytes - (machine.resident_bytes() or 0)
        if room < _LITTLE_ROOM:
            machine.trim()
            pause = _AFTER_TRIM_S  # not sooner: what is in use cannot be given back
        else:
            pause = min(max(room / _GROWTH, _LEAST_S), _MOST_S)


def _use_threads(count: int) -> None:
    torch.set_num_threads(count)
    torch.get_num_threads()  # a new thread takes the process's setting at its first question: ask now

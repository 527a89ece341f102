"""`Upscaler`: weights, device and options, made once and used for any number of pictures.

with Upscaler("standard", device="cpu") as upscaler:
    large = upscaler.upscale(read("photo.jpg"), Target(scale=(7.5, 7.5)))
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from liif_cli import machine
from liif_cli.engine.device import Placement, moved, place
from liif_cli.engine.options import Options as Options
from liif_cli.engine.plan import Band, Load, Plan, plan
from liif_cli.engine.render import Crew, Rendering, load_of, render
from liif_cli.engine.target import Layout, Target
from liif_cli.image.alpha import around, bleed, flatten
from liif_cli.image.formats import Writing
from liif_cli.image.picture import Picture, quantize, to_bits, to_unit
from liif_cli.image.read import Header
from liif_cli.image.resample import Window, resample
from liif_cli.nn.coords import Grid, taps
from liif_cli.nn.model import Model, restore
from liif_cli.weights import catalog, fetch, store

Array = npt.NDArray[Any]

# Rows that are resampled, or are background, made at once; and rows whose alpha is bounded at once.
_ROWS, _FEW_ROWS = 64, 8
# A model's speed is found with squares from this side on, at factors 1 and this, until one so large takes
# so much longer than the last.
_PROBE_PX, _PROBE_FACTOR, _PROBE_S = 64, 6, 0.04
# From this on it is said that memory is tight: times as long as with more.
_TIGHT = 2.0
_NO_FILE = Writing()


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one picture will take. seconds: computing alone."""

    tiles: int
    peak_bytes: int
    seconds: float


class Upscaler:
    """Enlarges pictures with one model on one device. Safe to use from several threads at once."""

    def __init__(
        self,
        model: str | Path | Model | None = None,
        *,
        device: str = "auto",
        precision: str = "auto",
        memory: int | str | None = None,
        threads: int | None = None,
        options: Options | None = None,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        """model: a name, `hf://...`, a file, or a Model; None: `catalog.default()`.

        device: `auto`, `cpu`, `cuda:1`, `mps`. precision: `auto`, `fp32`, `bf16`, `fp16`. memory: bytes,
        "800M", "4G", "50%" of what is free; default half of what is free. threads: default, and at
        most, all cores.
        `notify` gets a line for what a user may want to know, such as a download.
        Raises WeightsError, DeviceError, UsageError.
        """
        self.options = options or Options()
        self.notify = notify
        place(device, precision, memory)  # what is not there is said before anything is fetched
        self.name = "model" if isinstance(model, Model) else str(model or catalog.default())
        if isinstance(model, Model):
            loaded = model
        else:
            loaded = restore(*store.read(fetch.local(self.name, notify=notify)))
        self.spec = loaded.spec
        self.placement: Placement = place(device, precision, memory, model=loaded)
        self._fast = moved(loaded, self.placement.device, self.placement.dtype)
        lower = self.placement.dtype != "float32"
        self._exact = moved(loaded, self.placement.device, "float32") if lower else self._fast
        self._chosen = precision == "auto"
        self._told_tight = False
        self._speeds: dict[int, tuple[float, float]] = {}
        on_cpu = self.placement.device == "cpu"
        if on_cpu and threads and threads > (cores := machine.cores()):
            notify(f"{threads} threads are no faster than one a core: here {cores}")
            threads = cores
        self._crew = Crew(threads if on_cpu else 1, self.placement.budget_bytes if on_cpu else None)

    def __enter__(self) -> Upscaler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def threads(self) -> int:
        """How many threads compute."""
        return self._crew.threads

    def close(self) -> None:
        """End the worker threads. They also end with the program."""
        self._crew.close()

    def upscale(self, picture: Picture, target: Target, *, as_float: bool = False) -> Picture:
        """The enlarged picture, in its own depth; with `as_float` float32 in [0, 1], not rounded.

        Grey stays grey, transparency stays. Raises LiifError if the target does not fit the picture,
        DeviceError if memory is short.
        """
        job = self.prepare(picture, target, bits=None if as_float else picture.bits)
        samples = job.channels + job.alpha
        dtype = np.float32 if as_float else np.uint8 if picture.bits == 8 else np.uint16
        out = np.empty((job.layout.height, job.layout.width, samples), dtype)
        for band in job.bands():
            out[band.top : band.top + len(band.pixels)] = band.pixels
        if as_float:
            np.clip(out, 0.0, 1.0, out=out)
        alpha = out[..., job.channels] if job.alpha else None
        return replace(picture, pixels=out[..., : job.channels], alpha=alpha, icc=job.work.icc)

    def prepare(
        self,
        picture: Picture,
        target: Target,
        *,
        bits: int | None = 8,
        budget_bytes: int | None = None,
        held_bytes: int = 0,
        workers: int | None = None,
    ) -> Enlargement:
        """Everything before the first pixel: layout, plan, what goes through the model.

        bits: of the result, 8 or 16; None: float32. budget_bytes: what computing may hold, default the
        placement's; held_bytes: what of it is taken by others. workers: threads it may count on, default
        all; fewer where pictures are done side by side. Raises as `upscale`.
        """
        layout = target.layout(picture.width, picture.height)
        picture, aside = _ready(picture, layout, self.options)
        budget = self.placement.budget_bytes if budget_bytes is None else budget_bytes
        model, how = self._way(bits)
        found = self.plan(layout, load_of(picture, model, how), budget, held_bytes, workers)
        self._tell_if_tight(found)
        return Enlargement(
            layout=layout,
            work=picture,
            aside=aside,
            plan=found,
            budget_bytes=budget,
            held_bytes=held_bytes,
            workers=workers,
            model=model,
            crew=self._crew,
            how=how,
            options=self.options,
        )

    def plan(
        self,
        layout: Layout,
        load: Load,
        budget_bytes: int,
        held_bytes: int = 0,
        workers: int | None = None,
    ) -> Plan | None:
        """How a picture is cut that costs `load`; None if no pixel comes from the model."""
        grid = model_grid(layout, self.options.cell)
        if grid is None:
            return None
        return plan(
            self.spec,
            grid,
            budget_bytes=budget_bytes,
            held_bytes=held_bytes,
            workers=workers or self._crew.threads,
            load=load,
            tile_px=self.options.tile_px,
        )

    def share(self, beside: int) -> tuple[int, int]:
        """(bytes, threads) that each of so many pictures may count on which are done at the same time."""
        # Side by side, a small picture is best left to one thread: no halo, nobody waits.
        return self.placement.budget_bytes // beside, max(1, self.threads // beside)

    def estimate(
        self,
        header: Header,
        target: Target,
        *,
        bits: int = 8,
        writing: Writing = _NO_FILE,
        beside: int = 1,
    ) -> Estimate:
        """What enlarging such a picture takes, before any of it is read.

        writing: what is held by who takes the result, see `image.formats.writing`.
        beside: how many pictures are done at the same time. Raises DeviceError as `upscale`.
        """
        found, given = self.outlook(header, target, bits=bits, writing=writing, beside=beside)
        if found is None:
            return Estimate(tiles=0, peak_bytes=writing.peak_bytes(given, 0), seconds=0.0)
        self._tell_if_tight(found)
        encode_s, render_s = self._speed(bits)
        seconds = found.encoded_px * encode_s + found.rendered_px * render_s
        peak = writing.peak_bytes(given, found.peak_bytes)
        return Estimate(tiles=found.tiles, peak_bytes=peak, seconds=seconds)

    def outlook(
        self, header: Header, target: Target, *, bits: int, writing: Writing, beside: int
    ) -> tuple[Plan | None, int]:
        """The plan for such a picture (None if no pixel comes from the model), and its own bytes."""
        layout = target.layout(header.width, header.height)
        alpha = header.alpha and self.options.alpha == "model"
        blank = np.zeros((1, 1, header.channels), np.uint8)
        like = Picture(pixels=blank, alpha=blank[..., 0] if alpha else None)
        model, how = self._way(bits)
        given = header.width * header.height * (header.channels + header.alpha) * header.bits // 8
        held, (budget, workers) = given + writing.held_bytes, self.share(beside)
        return self.plan(layout, load_of(like, model, how), budget, held, workers), given

    def _tell_if_tight(self, found: Plan | None) -> None:
        """Say, once, that more memory or larger tiles would save much time."""
        if found is not None and found.slower >= _TIGHT and not self._told_tight:
            self._told_tight = True
            slower = f"about {found.slower:.1f} times as slow as"
            self.notify(
                f"small tiles: {slower} without --tile"
                if self.options.tile_px
                else f"memory is tight: {slower} with plenty (more --memory, or fewer --jobs)"
            )

    def _way(self, bits: int | None) -> tuple[Model, Rendering]:
        # Beyond 8 bits float32 is worth its time, unless the user has said otherwise.
        model = self._exact if self._chosen and bits != 8 else self._fast
        return model, Rendering(depth=bits, tta=self.options.tta, exact=self._exact, notify=self.notify)

    def _speed(self, bits: int) -> tuple[float, float]:
        """Seconds for a pixel of the encoder, and of the decoder: measured with small pictures, once."""
        if bits not in self._speeds:
            once, many = self._input_pixel(bits, 1), self._input_pixel(bits, _PROBE_FACTOR)
            render_s = max(many - once, 0.0) / (_PROBE_FACTOR**2 - 1)
            self._speeds[bits] = max(once - render_s, 0.0), render_s
        return self._speeds[bits]

    def _input_pixel(self, bits: int, factor: int) -> float:
        """Seconds for an input pixel and those made of it: what pictures twice as large take longer.

        Every worker does one by itself, as it does its tiles: no operation waits for a busy core.
        """
        model, how = self._way(bits)
        how, noise = replace(how, tta=False), np.random.default_rng(0)
        workers = self._crew.threads
        side, before = _PROBE_PX // factor, 0.0

        def enlarge(pixels: Array) -> None:
            grid, picture = Grid.whole(side, side, side * factor, side * factor), Picture(pixels=pixels)
            for _ in render(model, picture, grid, self._crew, budget_bytes=1 << 40, workers=1, how=how):
                pass

        with ThreadPoolExecutor(workers) as pool:
            while True:
                given, times = noise.integers(0, 256, (workers, side, side, 3), dtype=np.uint8), []
                for _ in range(3):  # the first has to find its memory, and others are busy at times
                    start = perf_counter()
                    list(pool.map(enlarge, given))
                    times.append(perf_counter() - start)
                longer = min(times) - before
                if before and longer > _PROBE_S:
                    return longer / (workers * side**2 * 3 / 4)
                side, before = 2 * side, min(times)


@dataclass(frozen=True, kw_only=True)
class Enlargement:
    """One picture about to be enlarged. `bands` may be asked for more than once.

    work:  what goes through the model: colour spread under transparency, shrunk where an axis shrinks.
    aside: (h, w) alpha that does not go through the model, or None.
    plan:  None if no pixel comes from the model.
    """

    layout: Layout
    work: Picture
    aside: Array | None
    plan: Plan | None
    budget_bytes: int
    held_bytes: int
    workers: int | None
    model: Model
    crew: Crew
    how: Rendering
    options: Options

    @property
    def channels(self) -> int:
        """Of the result's colour: 1 or 3."""
        return self.work.channels

    @property
    def alpha(self) -> bool:
        """Whether the result has transparency."""
        return self.aside is not None or self.work.alpha is not None

    @property
    def dtype(self) -> str:
        """What the network computes in."""
        return str(next(self.model.parameters()).dtype).removeprefix("torch.")

    def bands(self, *, stop: threading.Event | None = None) -> Iterator[Band]:
        """The result from top to bottom: (rows, width, channels), alpha last.

        Set `stop` from another thread to end it soon, with `engine.render.Stopped`.
        """
        layout, depth = self.layout, self.how.depth
        grid = model_grid(layout, self.options.cell)
        if 0 in (layout.window.width, layout.window.height):
            bands: Iterator[Band] = iter(())
        elif grid is None:
            bands = _resampled(self.work, layout, depth)
        else:
            bands = render(
                self.model,
                self.work,
                grid,
                self.crew,
                budget_bytes=self.budget_bytes,
                held_bytes=self.held_bytes,
                workers=self.workers,
                tile_px=self.options.tile_px,
                how=replace(self.how, stop=stop),
            )
            if self.work.alpha is not None:
                bands = _bounded(bands, self.work.alpha, layout, depth)
        if self.aside is not None:
            bands = _with_alpha(bands, self.aside, layout, depth)
        return _framed(bands, self) if layout.framed else bands

    def part(self, layout: Layout) -> Enlargement:
        """The same with another window (`layout.part`), in one piece: no tiles, whatever the memory."""
        return replace(self, layout=layout, options=replace(self.options, tile_px=1 << 30))


def model_grid(layout: Layout, cell: float = 1.0) -> Grid | None:
    """The grid that the model is asked for; None if no pixel comes from the model.

    Where an axis shrinks the input is shrunk before (antialiased), so the model keeps its size there.
    """
    window = layout.window
    if (layout.shrinks and not layout.enlarges) or 0 in (window.width, window.height):
        return None
    return Grid(
        in_height=min(layout.in_height, layout.out_height),
        in_width=min(layout.in_width, layout.out_width),
        out_height=layout.out_height,
        out_width=layout.out_width,
        top=window.top,
        left=window.left,
        height=window.height,
        width=window.width,
        cell_factor=cell,
    )


def _ready(picture: Picture, layout: Layout, options: Options) -> tuple[Picture, Array | None]:
    """What goes through the model, and the alpha that does not."""
    if options.alpha == "drop":
        picture = flatten(picture, options.background)
    if picture.channels == 1 and layout.framed and len(set(options.background)) > 1:
        # A grey picture in a coloured frame is no grey picture; its grey profile fits no more.
        three: Array = np.repeat(picture.pixels, 3, axis=2)
        picture = replace(picture, pixels=three, icc=None)
    picture, aside = bleed(picture), None
    if picture.alpha is not None and (options.alpha == "resample" or np.ptp(picture.alpha) == 0):
        picture, aside = replace(picture, alpha=None), picture.alpha
    if layout.shrinks and layout.enlarges:
        # One axis shrinks: antialiased first, so that the model has nothing to alias.
        size = (min(layout.in_height, layout.out_height), min(layout.in_width, layout.out_width))
        alpha = None if picture.alpha is None else _shrunk(picture.alpha, size)
        picture = replace(picture, pixels=_shrunk(picture.pixels, size), alpha=alpha)
    return picture, aside


def _shrunk(samples: Array, size: tuple[int, int]) -> Array:
    return np.clip(resample(samples, size), 0.0, 1.0)


def _resampled(picture: Picture, layout: Layout, depth: int | None) -> Iterator[Band]:
    """Bands of a picture that only shrinks: bicubic, antialiased."""
    size = (layout.out_height, layout.out_width)
    for row in range(0, layout.window.height, _ROWS):
        window = _window(layout, row, min(_ROWS, layout.window.height - row))
        parts = [resample(picture.pixels, size, window=window)]
        if picture.alpha is not None:
            parts.append(resample(picture.alpha, size, window=window)[..., None])
        yield Band(top=row, pixels=_stored(np.concatenate(parts, axis=2), depth))


def _bounded(bands: Iterator[Band], alpha: Array, layout: Layout, depth: int | None) -> Iterator[Band]:
    """Bands whose alpha, the last of their samples, stays near that of the input (`image.alpha.around`)."""
    (height, width), inner = alpha.shape, layout.window
    columns = _sides(width, layout.out_width, inner.left, inner.width)
    for band in bands:
        for row in range(0, len(band.pixels), _FEW_ROWS):  # their bounds take much more memory than they
            there = band.pixels[row : row + _FEW_ROWS, :, -1]
            rows = _sides(height, layout.out_height, inner.top + band.top + row, len(there))
            least, most = (_stored(bound, depth) for bound in around(alpha, rows, columns))
            np.clip(there, least, most, out=there)
        yield band


def _sides(size_in: int, size_out: int, start: int, count: int) -> Array:
    """(count, 2) input lines on either side of output lines; twice the same where one lies on it."""
    found = taps(size_in, size_out, start, start + count)
    sides: Array = np.where(found.weight > 0, found.index, found.index[:, ::-1])
    return sides


def _with_alpha(bands: Iterator[Band], alpha: Array, layout: Layout, depth: int | None) -> Iterator[Band]:
    """Join bands of colour with an alpha that is resampled, or is the same everywhere and stays so."""
    constant = to_unit(alpha[:1, :1]) if np.ptp(alpha) == 0 else None
    for band in bands:
        if constant is not None:
            part = np.broadcast_to(constant, band.pixels.shape[:2])
        else:
            window = _window(layout, band.top, len(band.pixels))
            part = resample(alpha, (layout.out_height, layout.out_width), window=window)
        yield replace(band, pixels=np.concatenate([band.pixels, _stored(part, depth)[..., None]], axis=2))


def _window(layout: Layout, row: int, rows: int) -> Window:
    """Rows of the layout's window, for the resampler."""
    inner = layout.window
    return Window(top=inner.top + row, left=inner.left, height=rows, width=inner.width)


def _framed(bands: Iterator[Band], job: Enlargement) -> Iterator[Band]:
    """Bands with background around the window."""
    layout = job.layout
    pixel = np.array([*job.options.background[: job.channels], *([255] if job.alpha else [])], np.uint8)
    depth = job.how.depth
    blank = np.broadcast_to(
        to_unit(pixel) if depth is None else to_bits(pixel, depth), (_ROWS, layout.width, len(pixel))
    )

    def blanks(start: int, stop: int) -> Iterator[Band]:
        for row in range(start, stop, _ROWS):
            yield Band(top=row, pixels=blank[: stop - row])

    yield from blanks(0, layout.top)
    for band in bands:
        pixels = np.empty((len(band.pixels), *blank.shape[1:]), blank.dtype)
        pixels[:] = blank[0]
        pixels[:, layout.left : layout.left + layout.window.width] = band.pixels
        yield Band(top=layout.top + band.top, pixels=pixels)
    yield from blanks(layout.top + layout.window.height, layout.height)


def _stored(values: Array, depth: int | None) -> Array:
    return values if depth is None else quantize(values, depth)

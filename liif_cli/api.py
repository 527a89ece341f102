"""`Upscaler`: weights, device and options, made once and used for any number of pictures.

with Upscaler("standard", device="cpu") as upscaler:
    large = upscaler.upscale(read("photo.jpg"), Target(scale=(7.5, 7.5)))
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from liif_cli.engine.device import Placement, moved, place
from liif_cli.engine.plan import Band, Plan, plan
from liif_cli.engine.render import Crew, Rendering, load_of, render
from liif_cli.engine.target import Layout, Target
from liif_cli.image.picture import Picture, quantize, to_unit
from liif_cli.image.resample import Window, resample
from liif_cli.nn.coords import Grid
from liif_cli.nn.model import Model, build
from liif_cli.weights import catalog, fetch, store

if TYPE_CHECKING:
    import numpy.typing as npt

Alpha = Literal["model", "resample", "drop"]

# Rows of a result that is only resampled, made at once.
_RESAMPLED_ROWS = 64
WHITE = (1.0, 1.0, 1.0)


def default_model() -> str:
    """The name of the weights that are used when nobody says which."""
    cards = catalog.load()
    return "standard" if "standard" in cards else next(iter(cards))


@dataclass(frozen=True, kw_only=True)
class Options:
    """How pictures are enlarged, beside model and target.

    alpha:  `model`: transparency as a grey picture through the model; `resample`: bicubic; `drop`:
            flattened on `background`.
    background: RGB in [0, 1], shown under dropped transparency and around padded pictures.
    tta:    mean over eight flips and turns: about +0.1 dB, eight times the time.
    cell:   ask for pixels of so many times the natural size: sharper below 1, softer above.
    tile_px: input pixels a side of a tile; None: the plan chooses.
    """

    alpha: Alpha = "model"
    background: tuple[float, float, float] = WHITE
    tta: bool = False
    cell: float = 1.0
    tile_px: int | None = None


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
        """model: a name, `hf://...`, a file, or a Model; None: `default_model()`.

        device: `auto`, `cpu`, `cuda:1`, `mps`. precision: `auto`, `fp32`, `bf16`, `fp16`. memory: bytes,
        "800M", "4G", "50%" of what is free; default half of what is free. threads: default all cores.
        `notify` gets a line for what a user may want to know, such as a download.
        Raises WeightsError, DeviceError, UsageError.
        """
        self.options = options or Options()
        self._notify = notify
        place(device, precision, memory)  # what is not there is said before anything is fetched
        if isinstance(model, Model):
            self.name, self._model = "model", model
        else:
            self.name = str(model or default_model())
            self._model = _load(self.name, notify)
        self.spec = self._model.spec
        self.placement: Placement = place(device, precision, memory, model=self._model)
        self._there = moved(self._model, self.placement.device, self.placement.dtype)
        exact = self.placement.dtype == "float32"
        self._exact = self._there if exact else moved(self._model, self.placement.device, "float32")
        self._chosen = precision == "auto"
        self._crew = Crew(threads if self.placement.device == "cpu" else 1)

    def __enter__(self) -> Upscaler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker threads. They also end with the program."""
        self._crew.__exit__()

    def upscale(self, picture: Picture, target: Target, *, as_float: bool = False) -> Picture:
        """The enlarged picture, in its own depth; with `as_float` float32 in [0, 1], not rounded.

        Grey stays grey, transparency stays. Raises LiifError if the target does not fit the picture,
        DeviceError if memory is short.
        """
        layout = target.layout(picture.width, picture.height)
        work = self._prepare(picture, layout)
        channels = work.channels + (work.alpha is not None)
        depth = None if as_float else picture.bits
        dtype = np.float32 if depth is None else np.uint8 if depth == 8 else np.uint16
        out = np.empty((layout.height, layout.width, channels), dtype)
        for band in self._bands(work, layout, depth, None):
            out[band.top : band.top + len(band.pixels)] = band.pixels
        if as_float:
            np.clip(out, 0.0, 1.0, out=out)
        alpha = out[..., work.channels] if work.alpha is not None else None
        return replace(picture, pixels=out[..., : work.channels], alpha=alpha)

    def bands(
        self,
        picture: Picture,
        target: Target,
        *,
        bits: int | None = None,
        stop: threading.Event | None = None,
    ) -> Iterator[Band]:
        """The same from top to bottom in integers of `bits` (default: the picture's), so that a result
        need not fit in memory. Set `stop` from elsewhere to end it with `engine.render.Stopped`."""
        layout = target.layout(picture.width, picture.height)
        return self._bands(self._prepare(picture, layout), layout, bits or picture.bits, stop)

    def plan(self, picture: Picture, target: Target, *, bits: int | None = None) -> Plan | None:
        """How `bands` would do it; None if no pixel comes from the model."""
        layout = target.layout(picture.width, picture.height)
        grid = model_grid(layout, self.options.cell)
        if grid is None:
            return None
        model, how = self._way(bits or picture.bits, None)
        work = self._prepare(picture, layout)
        return plan(
            self.spec,
            grid,
            budget_bytes=self.placement.budget_bytes,
            workers=self._crew.threads,
            load=load_of(work.through_model, model, how),
            tile_px=self.options.tile_px,
        )

    def _way(self, depth: int | None, stop: threading.Event | None) -> tuple[Model, Rendering]:
        """Model and manner for a result of this depth: beyond 8 bits float32, unless asked otherwise."""
        model = self._exact if self._chosen and depth != 8 else self._there
        how = Rendering(depth=depth, tta=self.options.tta, exact=self._exact, notify=self._notify, stop=stop)
        return model, how

    def _prepare(self, picture: Picture, layout: Layout) -> _Work:
        """What goes through the model, and what does not."""
        picture = _flattened(picture, self.options) if self.options.alpha == "drop" else picture
        pixels, alpha = picture.pixels, picture.alpha
        aside = None
        if alpha is not None and (self.options.alpha == "resample" or alpha.min() == alpha.max()):
            alpha, aside = None, alpha
        size = (min(layout.in_height, layout.out_height), min(layout.in_width, layout.out_width))
        if layout.shrinks and layout.enlarges:
            # One axis shrinks: antialiased first, so that the model has nothing to alias.
            pixels = np.clip(resample(pixels, size), 0.0, 1.0)
            alpha = None if alpha is None else np.clip(resample(alpha, size), 0.0, 1.0)
        return _Work(through_model=replace(picture, pixels=pixels, alpha=alpha), aside=aside)

    def _bands(
        self, work: _Work, layout: Layout, depth: int | None, stop: threading.Event | None
    ) -> Iterator[Band]:
        grid = model_grid(layout, self.options.cell)
        if layout.window.width == 0 or layout.window.height == 0:
            bands: Iterator[Band] = iter(())
        elif grid is None:
            bands = _resampled(work.through_model, layout, depth)
        else:
            model, how = self._way(depth, stop)
            bands = render(
                model,
                work.through_model,
                grid,
                self._crew,
                budget_bytes=self.placement.budget_bytes,
                tile_px=self.options.tile_px,
                how=how,
            )
        if work.aside is not None:
            bands = _with_alpha(bands, work.aside, layout, depth)
        return _framed(bands, work, layout, depth, self.options) if layout.framed else bands


@dataclass(frozen=True, kw_only=True)
class _Work:
    """A picture ready to be enlarged. aside: (h, w) alpha that does not go through the model, or None."""

    through_model: Picture
    aside: npt.NDArray[Any] | None

    @property
    def channels(self) -> int:
        """Of the result's colour."""
        return self.through_model.channels

    @property
    def alpha(self) -> npt.NDArray[Any] | None:
        return self.aside if self.aside is not None else self.through_model.alpha


def model_grid(layout: Layout, cell: float = 1.0) -> Grid | None:
    """The grid that the model is asked for; None if every axis only shrinks or nothing is asked."""
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


def _load(name: str, notify: Callable[[str], None]) -> Model:
    spec, tensors = store.read(fetch.local(name, notify=notify))
    model = build(spec)
    model.load_state_dict(tensors)
    return model.eval()


def _resampled(picture: Picture, layout: Layout, depth: int | None) -> Iterator[Band]:
    """Bands of a picture that only shrinks: bicubic, antialiased."""
    for window in _row_windows(layout):
        size = (layout.out_height, layout.out_width)
        parts = [resample(picture.pixels, size, window=window)]
        if picture.alpha is not None:
            parts.append(resample(picture.alpha, size, window=window)[..., None])
        pixels = np.concatenate(parts, axis=2)
        yield Band(top=window.top - layout.window.top, pixels=_stored(pixels, depth))


def _row_windows(layout: Layout) -> Iterator[Window]:
    inner = layout.window
    for row in range(0, inner.height, _RESAMPLED_ROWS):
        rows = min(_RESAMPLED_ROWS, inner.height - row)
        yield Window(top=inner.top + row, left=inner.left, height=rows, width=inner.width)


def _with_alpha(
    bands: Iterator[Band], alpha: npt.NDArray[Any], layout: Layout, depth: int | None
) -> Iterator[Band]:
    """Join bands of colour with an alpha that is resampled, or constant and stays so."""
    inner = layout.window
    for band in bands:
        height, width = band.pixels.shape[:2]
        if alpha.min() == alpha.max():
            part = np.broadcast_to(to_unit(alpha[:1, :1]), (height, width))
        else:
            window = Window(top=inner.top + band.top, left=inner.left, height=height, width=width)
            part = resample(alpha, (layout.out_height, layout.out_width), window=window)
        yield replace(band, pixels=np.concatenate([band.pixels, _stored(part, depth)[..., None]], axis=2))


def _framed(
    bands: Iterator[Band], work: _Work, layout: Layout, depth: int | None, options: Options
) -> Iterator[Band]:
    """Bands with background around the window. Grey pictures get the grey of the background."""
    colour = options.background if work.channels == 3 else (_grey(options.background),)
    line = np.array([*colour, *([] if work.alpha is None else [1.0])], np.float32)
    blank = np.broadcast_to(_stored(line, depth), (_RESAMPLED_ROWS, layout.width, len(line)))

    def blanks(start: int, stop: int) -> Iterator[Band]:
        for row in range(start, stop, _RESAMPLED_ROWS):
            yield Band(top=row, pixels=blank[: stop - row])

    yield from blanks(0, layout.top)
    for band in bands:
        pixels = np.empty((len(band.pixels), *blank.shape[1:]), blank.dtype)
        pixels[:] = blank[0]
        pixels[:, layout.left : layout.left + layout.window.width] = band.pixels
        yield Band(top=layout.top + band.top, pixels=pixels)
    yield from blanks(layout.top + layout.window.height, layout.height)


def _flattened(picture: Picture, options: Options) -> Picture:
    """Without transparency: on the background."""
    if picture.alpha is None:
        return picture
    colour = options.background if picture.channels == 3 else (_grey(options.background),)
    alpha = to_unit(picture.alpha)[..., None]
    flat = to_unit(picture.pixels) * alpha + np.array(colour, np.float32) * (1 - alpha)
    stored = flat if picture.pixels.dtype == np.float32 else quantize(flat, 8 * picture.pixels.dtype.itemsize)
    return replace(picture, pixels=stored, alpha=None)


def _grey(colour: tuple[float, float, float]) -> float:
    """Rec. 601 luma, as Pillow and libvips turn colour into grey."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def _stored(values: npt.NDArray[np.floating[Any]], depth: int | None) -> npt.NDArray[Any]:
    return values if depth is None else quantize(values, depth)

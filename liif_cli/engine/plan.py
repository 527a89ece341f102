"""`Plan`: how one picture is done in pieces that fit the memory. Whole numbers only, no torch.

What is partitioned are the rows and columns of the *output*: strips from top to bottom, each of
tiles from left to right. The input a tile needs follows from the taps of its first and last pixel
and the reach of the model, clipped at the border of the picture, where the model sees the zeros it
always sees there. So no pixel is made twice, and no seam can show.

There are two ways to keep all cores busy (`Plan.shared`). `tiles`: every worker does whole tiles; no
worker ever waits for another, but each tile pays for its own halo. `rows`: one tile at a time, its
encoder runs on all cores inside the operation, its rows are shared out; one halo, one large tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from liif_cli.engine.target import Target as Target
from liif_cli.errors import DeviceError
from liif_cli.machine import KEPT_BYTES, mib
from liif_cli.nn.spec import EncoderSpec, ModelSpec

if TYPE_CHECKING:  # numpy is not loaded for `liif --help`
    import numpy.typing as npt

    from liif_cli.nn.coords import Grid

Shared = Literal["tiles", "rows"]

# Share of all cores' speed that the encoder reaches inside its operations: 0.95 of two idle cores,
# far less beside busy processes, where each operation waits for the slowest core.
_INSIDE = 0.8
# Plans within this factor of the fastest are as good; the one that needs the least memory is taken.
_AS_GOOD = 1.04
# What starting a tile costs beside its arithmetic, in multiply-adds: about 3 ms.
_TILE_WORK = 300_000_000
# ... and for each number of a layer too large to be kept when it is freed (KEPT_BYTES): the kernel hands out
# the next one page by page, zeroed. Half of what was found, as other kernels may be faster.
_FRESH_WORK = 40
# The most that is handed on at once: rows, and bytes.
_BAND_ROWS = 64
_BAND_BYTES = 8 << 20
# Per worker beside the arrays: scratch space of the libraries, and freed memory in pieces that are too small.
_SCRATCH_BYTES = 8 << 20
# What more a worker must be allowed: without it memory that will soon be used again would have to be given
# back all the time (`engine/render._keep_within`), which costs more than the smaller tiles do.
_ROOM_BYTES = 16 << 20
# Per worker that has nothing to do: its stack, and small blocks that its thread keeps to itself.
_IDLE_BYTES = 128 << 10


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One piece of work. top, left, height, width: its output pixels, counted in the whole output;
    in_*: the input pixels it needs, halo included."""

    top: int
    left: int
    height: int
    width: int
    in_top: int
    in_left: int
    in_height: int
    in_width: int


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Output rows `top` to `top + height`, over the whole width of the window."""

    top: int
    height: int
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, kw_only=True)
class Band:
    """Finished output rows. top: counted in the result. pixels: (rows, width, channels)."""

    top: int
    pixels: npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one pixel costs, apart from the model: planes of three channels that run through the model
    (colour, alpha), pixels a worker renders at a time,
    bytes of a number on the way, bytes of a finished pixel, times it is done (TTA), whether memory
    comes page by page from the kernel (on a GPU torch keeps all of it)."""

    planes: int = 1
    block_px: int = 4096
    item_bytes: int = 4
    out_bytes: int = 12
    times: int = 1
    paged: bool = True


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A partition of a window. strip_rows x tile_columns: output pixels of a full tile; block_px: pixels
    of it that are rendered at a time.

    peak_bytes: what computing holds at once: all arrays, and what libraries take beside them. More is
    kept for later where the budget has room for it. A tile in which a lower precision overflows takes
    twice its share while it is done again in float32.
    encoded_px, rendered_px: input pixels through the encoder, output pixels through the decoder, with
    halos, planes and repetitions: what it costs.
    slower: how many times as long it takes as with all the memory it could use, and no `tile_px`.
    """

    spec: ModelSpec
    grid: Grid
    strip_rows: int
    tile_columns: int
    shared: Shared
    workers: int
    block_px: int
    peak_bytes: int
    encoded_px: int
    rendered_px: int
    slower: float

    @property
    def multiply_adds(self) -> int:
        """What all of it takes."""
        encoding = self.encoded_px * self.spec.multiply_adds_per_input_pixel
        return encoding + self.rendered_px * _decoding(self.spec)

    @property
    def tiles(self) -> int:
        """How many there are."""
        return -(-self.grid.height // self.strip_rows) * -(-self.grid.width // self.tile_columns)

    def strips(self, start: int = 0) -> Iterator[Strip]:
        """From row `start` of the window to its end."""
        grid, reach = self.grid, self.spec.halo_px - 1  # the second tap is in what _input says
        columns = []
        for a, b in _pieces(grid.left, grid.left + grid.width, self.tile_columns):
            columns.append((a, b, *_input(grid.in_width, grid.out_width, a, b, reach)))
        for top, bottom in _pieces(grid.top + start, grid.top + grid.height, self.strip_rows):
            in_top, in_bottom = _input(grid.in_height, grid.out_height, top, bottom, reach)
            yield Strip(
                top=top,
                height=bottom - top,
                tiles=tuple(
                    Tile(
                        top=top,
                        left=left,
                        height=bottom - top,
                        width=right - left,
                        in_top=in_top,
                        in_left=in_left,
                        in_height=in_bottom - in_top,
                        in_width=in_right - in_left,
                    )
                    for left, right, in_left, in_right in columns
                ),
            )

    def band_rows(self, row_bytes: int) -> int:
        """How many output rows of this size are handed on at once."""
        return max(1, min(_BAND_ROWS, _BAND_BYTES // row_bytes))


@lru_cache(maxsize=256)
def plan(
    spec: ModelSpec,
    grid: Grid,
    *,
    budget_bytes: int,
    held_bytes: int = 0,
    workers: int = 1,
    load: Load | None = None,
    tile_px: int | None = None,
) -> Plan:
    """The fastest way to do the window of `grid` within `budget_bytes`.

    held_bytes: what of the budget is taken by other things, such as the picture itself.
    tile_px: side of a tile in input pixels, halo not counted; the budget is then not asked.
    Raises DeviceError if not even the smallest tile fits.
    """
    load = load or Load()
    found = list(_choices(spec, grid, load, workers))
    if tile_px:
        rows = max(1, tile_px * grid.out_height // grid.in_height)
        columns = max(1, tile_px * grid.out_width // grid.in_width)
        fitting = [
            _Choice.of(spec, grid, load, workers, min(rows, grid.height), min(columns, grid.width), "tiles")
        ]
    else:
        fitting = [choice for choice in found if held_bytes + choice.needed_bytes <= budget_bytes]
        if not fitting:
            least = min(choice.needed_bytes for choice in found)
            beside = f" beside {mib(held_bytes)} for the picture and its file" if held_bytes else ""
            raise DeviceError(
                f"memory is short: the smallest tile needs {mib(least)}{beside}, {budget_bytes >> 20} MiB "
                "are allowed",
                hint="more --memory, fewer threads or pictures at once, or a smaller model",
            )
    fastest = min(choice.work for choice in fitting)
    best = min((c for c in fitting if c.work <= fastest * _AS_GOOD), key=lambda c: c.peak_bytes)
    return best.plan(spec, grid, workers, load, slower=fastest / min(choice.work for choice in found))


def halved(too_large: Plan, load: Load) -> Plan | None:
    """The same window in tiles of half the side; None if they are single pixels."""
    rows, columns = -(-too_large.strip_rows // 2), -(-too_large.tile_columns // 2)
    if (rows, columns) == (too_large.strip_rows, too_large.tile_columns):
        return None
    spec, grid, workers = too_large.spec, too_large.grid, too_large.workers
    choice = _Choice.of(spec, grid, load, workers, rows, columns, too_large.shared)
    return choice.plan(spec, grid, workers, load, slower=too_large.slower)


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """One way to cut. needed_bytes: what must be allowed; work: multiply-adds until the last worker is done;
    the rest as in `Plan`."""

    rows: int
    columns: int
    shared: Shared
    peak_bytes: int
    needed_bytes: int
    work: float
    encoded_px: int
    rendered_px: int

    @classmethod
    def of(
        cls, spec: ModelSpec, grid: Grid, load: Load, workers: int, rows: int, columns: int, shared: Shared
    ) -> _Choice:
        tiles_down, tiles_across = -(-grid.height // rows), -(-grid.width // columns)
        tiles = tiles_down * tiles_across
        in_rows = _most_input(grid.in_height, grid.out_height, rows, 2 * spec.halo_px)
        in_columns = _most_input(grid.in_width, grid.out_width, columns, 2 * spec.halo_px)
        in_px, out_px = in_rows * in_columns * load.planes, rows * columns * load.planes
        encoding = in_px * spec.multiply_adds_per_input_pixel * load.times
        layer = in_px * spec.encoder.width
        if load.paged and layer * load.item_bytes > KEPT_BYTES:
            encoding += _layers_made(spec.encoder) * layer * _FRESH_WORK * load.times
        decoding = out_px * _decoding(spec) * load.times
        if shared == "tiles":
            work: float = -(-tiles // workers) * (encoding + decoding + _TILE_WORK)
        else:
            work = tiles * (encoding / (workers * _INSIDE) + decoding / workers + _TILE_WORK)
        peak, busy = _peak(spec, grid, load, workers, rows, columns, in_px, shared)
        return cls(
            rows=rows,
            columns=columns,
            shared=shared,
            peak_bytes=peak,
            needed_bytes=peak + busy * _ROOM_BYTES,
            work=work,
            encoded_px=tiles * in_px * load.times,
            rendered_px=grid.height * grid.width * load.planes * load.times,
        )

    def plan(self, spec: ModelSpec, grid: Grid, workers: int, load: Load, *, slower: float) -> Plan:
        return Plan(
            spec=spec,
            grid=grid,
            strip_rows=self.rows,
            tile_columns=self.columns,
            shared=self.shared,
            workers=workers,
            block_px=_block_px(load, grid, self.rows, self.columns),
            peak_bytes=self.peak_bytes,
            encoded_px=self.encoded_px,
            rendered_px=self.rendered_px,
            slower=slower,
        )


def _choices(spec: ModelSpec, grid: Grid, load: Load, workers: int) -> Iterator[_Choice]:
    down = sorted({-(-grid.height // n) for n in _counts(grid.height)})
    across = sorted({-(-grid.width // n) for n in _counts(grid.width)})
    ways: tuple[Shared, ...] = ("tiles", "rows") if workers > 1 else ("tiles",)
    for rows in down:
        for columns in across:
            for shared in ways:
                yield _Choice.of(spec, grid, load, workers, rows, columns, shared)


def _counts(size: int) -> Iterator[int]:
    """1, 2, 3 ... and from 8 on in steps of about a quarter, up to `size`."""
    n = 1
    while n < size:
        yield n
        n += max(1, n // 4)
    yield size


def _decoding(spec: ModelSpec) -> int:
    """Multiply-adds per output pixel, and what gathering and blending takes in their place."""
    return spec.multiply_adds_per_output_pixel + 40 * spec.decoder.taps * spec.first_layer


def _peak(
    spec: ModelSpec,
    grid: Grid,
    load: Load,
    workers: int,
    rows: int,
    columns: int,
    in_px: int,
    shared: Shared,
) -> tuple[int, int]:
    """Bytes at once: tiles being worked on, and up to two strips: one fills, one is handed on. And how many
    workers are busy."""
    item, first = load.item_bytes, spec.first_layer
    # As it was cut, as it was turned, and as the encoder takes it.
    picture = in_px * 3 * (4 + 4 + item)
    layer = in_px * spec.encoder.width * item
    # What one layer frees and the process keeps has not always room for the next.
    encode = _layers_held(spec.encoder) * layer + min(layer, KEPT_BYTES)
    prepared = in_px * first * item + _lines(spec) * columns * first * item
    block = _block_bytes(spec, grid, load, rows, columns)
    averaged = rows * columns * load.planes * 12 if load.times > 1 else 0
    strips = min(2 * rows, grid.height) * grid.width * load.out_bytes
    if shared == "tiles":
        # Of one strip, or of two: more workers than they have tiles find nothing to do.
        across = -(-grid.width // columns)
        tiles, blocks = min(workers, across if rows >= grid.height else 2 * across), 1
    else:
        pixels = _block_px(load, grid, rows, columns)
        tiles, blocks = 1, min(workers, -(-rows * columns * load.planes // pixels))
    # The codes go when the decoder's first layer is done.
    tile = picture + max(encode, layer + prepared, prepared + blocks * block) + averaged
    busy = tiles * blocks
    return tiles * tile + busy * _SCRATCH_BYTES + (workers - busy) * _IDLE_BYTES + strips, busy


def _block_bytes(spec: ModelSpec, grid: Grid, load: Load, rows: int, columns: int) -> int:
    """Bytes at once while a block of a tile is rendered, in the order of `nn/grid.render_block`."""
    pixels = max(1, _block_px(load, grid, rows, columns) // load.planes)
    # The last tiles may be lower: their blocks are wider, and each column is picked from two input rows.
    ways = [(grid.in_height, grid.out_height, {rows, grid.height % rows or rows}, columns)]
    if load.times > 1:
        ways.append((grid.in_width, grid.out_width, {columns, grid.width % columns or columns}, rows))
    return load.planes * max(
        _rendering_bytes(spec, in_size, out_size, height, width, pixels, load.item_bytes)
        for in_size, out_size, heights, width in ways
        for height in heights
    )


def _rendering_bytes(
    spec: ModelSpec, in_height: int, out_height: int, height: int, width: int, pixels: int, item: int
) -> int:
    """Of one plane of a window `height` x `width`, in blocks of about so many pixels."""
    from liif_cli.nn.coords import block_shape

    down, across = block_shape(height, width, pixels)
    in_rows = _most_input(in_height, out_height, down, _lines(spec))
    block, taps, first = down * across, spec.decoder.taps, spec.first_layer
    widths = (first, *spec.decoder.hidden[1:])
    last = widths[-1]
    each = taps if spec.decoder.kind == "liif" else 1  # for how many the hidden layers run
    picked = in_rows * _lines(spec) * across * first + block * taps * first
    # Blended along one axis, then along the other: half as much beside it.
    blended = block * taps * (last if each == taps else first)
    blended += blended // 2 if taps > 1 else 0
    hidden = max((block * each * (a + b) for a, b in pairwise(widths)), default=0)
    in_float32 = block * last * (4 if item < 4 else 0)
    return max(max(picked, blended, hidden) * item, block * last * item + in_float32) + 64 * block


def _block_px(load: Load, grid: Grid, rows: int, columns: int) -> int:
    """Pixels of a tile that are rendered at a time. A quarter at most, lest a small tile need much memory
    beside itself, and some worker get nothing of it; fewer where each takes more than one input row."""
    rowwise = load.block_px * grid.out_height // max(grid.in_height, grid.out_height)
    return max(1, min(rowwise, -(-rows * columns * load.planes // 4)))


def _lines(spec: ModelSpec) -> int:
    """Taps along one axis."""
    return 2 if spec.decoder.taps > 1 else 1


def _layers_held(encoder: EncoderSpec) -> int:
    """How many layers' outputs (of `width` channels) lie in memory at once while encoding."""
    if encoder.kind == "rdn":
        # While joining: outputs of the dense blocks twice, apart and joined, the head and what is made; or,
        # in the last of them, its layers twice, what went before (a block's input at least) and the head.
        return max(2 * encoder.depth, max(encoder.depth, 2) + 2 * encoder.layers) + 2
    return 4 if encoder.kind == "edsr" else 3


def _layers_made(encoder: EncoderSpec) -> int:
    """How many outputs of a layer (of `width` channels) encoding allocates, one after the other."""
    if encoder.kind == "rdn":
        # In a block: a layer's own, the ReLU of it, all before joined to that; in the end the blocks joined.
        return encoder.depth * (encoder.layers * (encoder.layers + 7) // 2 + 3) + 5
    return 2 * encoder.depth + (2 if encoder.kind == "edsr" else 1)


def _pieces(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    for a in range(start, stop, step):
        yield a, min(a + step, stop)


def _input(size_in: int, size_out: int, start: int, stop: int, reach: int) -> tuple[int, int]:
    """Input pixels (from, to) that the output pixels `start` to `stop` need, border clipped."""
    from liif_cli.nn.coords import taps

    first = int(taps(size_in, size_out, start, start + 1).index[0, 0])
    last = int(taps(size_in, size_out, stop - 1, stop).index[0, 1])
    return max(0, first - reach), min(size_in, last + 1 + reach)


def _most_input(size_in: int, size_out: int, pieces: int, beside: int) -> int:
    """Upper bound of the input pixels that any `pieces` output pixels in a row need, of which `beside` come
    once for all of them: the taps of one, or twice the halo."""
    return min(size_in, -(-(pieces - 1) * size_in // size_out) + beside)

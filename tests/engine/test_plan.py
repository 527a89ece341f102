"""Plans: every output pixel once, every input pixel that is needed, within the budget."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liif_cli.engine.plan import (
    _IDLE_BYTES,
    _ROOM_BYTES,
    _SCRATCH_BYTES,
    Load,
    Plan,
    _layers_made,
    _most_input,
    halved,
    plan,
)
from liif_cli.errors import DeviceError
from liif_cli.machine import KEPT_BYTES
from liif_cli.nn.coords import Grid, taps
from liif_cli.nn.spec import DecoderSpec, EncoderKind, EncoderSpec, ModelSpec

EDSR = ModelSpec(
    encoder=EncoderSpec(kind="edsr", width=64, depth=16), decoder=DecoderSpec(kind="liif", hidden=(256,) * 4)
)
SMALL = ModelSpec(
    encoder=EncoderSpec(kind="compact", width=8, depth=3), decoder=DecoderSpec(kind="light", hidden=(16, 16))
)
RDN = replace(EDSR, encoder=EncoderSpec(kind="rdn", width=64, depth=16, layers=8))
PLENTY = 1 << 40


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    def axis() -> tuple[int, int, int, int]:
        size_in, size_out = draw(st.integers(1, 90)), draw(st.integers(1, 400))
        start = draw(st.integers(0, size_out - 1))
        return size_in, size_out, start, draw(st.integers(1, size_out - start))

    (in_h, out_h, top, height), (in_w, out_w, left, width) = axis(), axis()
    return Grid(
        in_height=in_h, in_width=in_w, out_height=out_h, out_width=out_w,
        top=top, left=left, height=height, width=width,
    )  # fmt: skip


@given(grid=grids(), tile_px=st.integers(1, 40), start=st.integers(0, 100))
def test_every_output_pixel_is_made_once(grid: Grid, tile_px: int, start: int) -> None:
    start = min(start, grid.height - 1)
    count = np.zeros((grid.out_height, grid.out_width), int)
    below = grid.top + start
    for strip in plan(SMALL, grid, budget_bytes=PLENTY, tile_px=tile_px).strips(start):
        assert strip.top == below
        below += strip.height
        for tile in strip.tiles:
            assert (tile.top, tile.height) == (strip.top, strip.height)
            count[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] += 1
    wanted = np.zeros_like(count)
    wanted[grid.top + start : grid.top + grid.height, grid.left : grid.left + grid.width] = 1
    assert np.array_equal(count, wanted)


@given(grid=grids(), tile_px=st.integers(1, 40), spec=st.sampled_from([SMALL, EDSR]))
def test_a_tile_reaches_a_halo_beyond_its_taps_or_to_the_border(
    grid: Grid, tile_px: int, spec: ModelSpec
) -> None:
    for strip in plan(spec, grid, budget_bytes=PLENTY, tile_px=tile_px).strips():
        for tile in strip.tiles:
            y = taps(grid.in_height, grid.out_height, tile.top, tile.top + tile.height).index
            x = taps(grid.in_width, grid.out_width, tile.left, tile.left + tile.width).index
            reach = spec.encoder.radius_px + spec.decoder.radius_px
            assert tile.in_top == max(0, y.min() - reach)
            assert tile.in_top + tile.in_height == min(grid.in_height, y.max() + 1 + reach)
            assert tile.in_left == max(0, x.min() - reach)
            assert tile.in_left + tile.in_width == min(grid.in_width, x.max() + 1 + reach)
            halo = 2 * spec.halo_px
            assert tile.in_height <= _most_input(grid.in_height, grid.out_height, tile.height, halo)
            assert tile.in_width <= _most_input(grid.in_width, grid.out_width, tile.width, halo)


@settings(max_examples=40)
@given(
    grid=grids(),
    budget=st.integers(1 << 20, 1 << 28),
    workers=st.integers(1, 4),
    planes=st.integers(1, 2),
    spec=st.sampled_from([SMALL, EDSR, RDN]),
)
def test_a_plan_keeps_to_its_budget_or_says_that_it_cannot(
    grid: Grid, budget: int, workers: int, planes: int, spec: ModelSpec
) -> None:
    load = Load(planes=planes)
    try:
        found = plan(spec, grid, budget_bytes=budget, workers=workers, load=load)
    except DeviceError as error:
        assert error.status == 3
        with pytest.raises(DeviceError):
            plan(spec, grid, budget_bytes=budget // 2, workers=workers, load=load)
    else:
        assert found.peak_bytes <= budget


def _large(spec: ModelSpec = EDSR, budget: int = PLENTY, workers: int = 2) -> Plan:
    return plan(spec, Grid.whole(768, 1024, 5760, 7680), budget_bytes=budget, workers=workers)


def test_less_memory_is_paid_with_more_work() -> None:
    plenty, short = _large(), _large(budget=100 << 20)
    assert short.encoded_px > 1.2 * plenty.encoded_px and short.rendered_px == plenty.rendered_px
    assert short.peak_bytes < plenty.peak_bytes / 2
    assert plenty.slower == 1 < 1.2 < short.slower
    smaller = halved(short, Load())
    assert smaller is not None and smaller.slower == short.slower


def test_plenty_of_memory_is_not_wasted() -> None:
    assert _large().peak_bytes < 1 << 30


def test_a_layer_is_no_larger_than_what_is_kept_where_that_costs_less_than_fresh_pages() -> None:
    """In one piece `compact` of a megapixel is the least arithmetic, but 25 layers are zeroed anew."""
    spec = replace(SMALL, encoder=EncoderSpec(kind="compact", width=48, depth=12))
    grid = Grid.whole(900, 1100, 3600, 4400)

    def largest(*, paged: bool) -> int:
        found = plan(spec, grid, budget_bytes=PLENTY, workers=2, load=Load(paged=paged))
        tiles = [tile for strip in found.strips() for tile in strip.tiles]
        return max(tile.in_height * tile.in_width for tile in tiles) * 48 * 4

    assert largest(paged=True) <= KEPT_BYTES < largest(paged=False)


def test_a_small_picture_is_not_cut_where_the_halo_would_cost_more() -> None:
    # 128 pixels, a halo of 133: two tiles would both encode all of it.
    grid = Grid.whole(128, 128, 256, 256)
    found = plan(RDN, grid, budget_bytes=PLENTY, workers=2)
    assert (found.tiles, found.shared) == (1, "rows")


def test_a_large_picture_gives_each_worker_tiles_of_its_own() -> None:
    assert _large().shared == "tiles"
    assert _large().tiles >= 8


def test_a_block_is_at_most_a_quarter_of_a_tile_and_smaller_where_the_output_is() -> None:
    def block(size_in: int, size_out: int, tile_px: int | None = None) -> int:
        grid = Grid.whole(size_in, size_in, size_out, size_out)
        return plan(SMALL, grid, budget_bytes=PLENTY, load=Load(block_px=5000), tile_px=tile_px).block_px

    assert block(100, 400) == 5000
    assert block(100, 400, tile_px=10) == 400
    assert block(4000, 400) == 500  # ten input rows are picked for each output row
    assert block(90, 1) == 1


def test_the_memory_does_not_grow_with_the_output() -> None:
    budget = 400 << 20
    for factor in (1, 10, 40):
        grid = Grid.whole(1000, 1000, 1000 * factor, 1000 * factor)
        assert plan(SMALL, grid, budget_bytes=budget, workers=2).peak_bytes <= budget


@pytest.mark.parametrize(
    ("workers", "strips", "busy"), [(1, 1, 1), (2, 1, 2), (4, 1, 2), (4, 2, 4), (9, 3, 4)]
)
def test_each_busy_worker_has_a_tile_and_scratch_space(workers: int, strips: int, busy: int) -> None:
    """Of one strip of two tiles, or of two of them, if there are as many."""
    grid = Grid.whole(30 * strips, 60, 120 * strips, 240)
    peaks = [plan(SMALL, grid, budget_bytes=PLENTY, workers=n, tile_px=30).peak_bytes for n in (1, workers)]
    pixels = min(2, strips) * 120 * 240 * 12
    idle = (workers - busy) * _IDLE_BYTES
    assert peaks[1] - pixels == busy * (peaks[0] - pixels) + idle
    assert peaks[0] - pixels > _SCRATCH_BYTES


def test_a_budget_leaves_room_for_what_is_freed_and_soon_used_again() -> None:
    grid = Grid.whole(8, 8, 16, 16)
    found = plan(SMALL, grid, budget_bytes=PLENTY)
    least = found.peak_bytes + _ROOM_BYTES
    assert plan(SMALL, grid, budget_bytes=least).peak_bytes == found.peak_bytes
    assert plan(SMALL, grid, budget_bytes=least - 1).peak_bytes < found.peak_bytes


@pytest.mark.parametrize("kind", ["compact", "edsr", "rdn"])
def test_it_knows_how_many_layers_encoding_makes(kind: EncoderKind) -> None:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    from liif_cli.nn.model import build

    layers = 3 if kind == "rdn" else 0
    spec = replace(SMALL, encoder=EncoderSpec(kind=kind, width=8, depth=4, layers=layers))
    x = torch.rand(1, 3, 10, 10)

    class Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
        made = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            found = func(*args, **(kwargs or {}))
            if not func._schema.name.endswith("_"):  # in place: nothing is made
                self.made += found.numel()
            return found

    model = build(spec)
    with torch.inference_mode(), Counted() as counted:  # type: ignore[no-untyped-call]
        model.encoder(x)
    assert counted.made == _layers_made(spec.encoder) * 8 * 10 * 10


@pytest.mark.parametrize(("tile_px", "rows"), [(100, 400), (60, 400), (40, 320)])
def test_two_strips_of_the_result_are_held_or_the_whole_if_it_is_less(tile_px: int, rows: int) -> None:
    def peak(out_bytes: int) -> int:
        load = Load(out_bytes=out_bytes)
        grid = Grid.whole(100, 50, 400, 200)
        return plan(SMALL, grid, budget_bytes=PLENTY, load=load, tile_px=tile_px).peak_bytes

    assert peak(12) - peak(3) == 9 * 200 * rows


def test_too_little_memory_is_said_with_what_is_needed() -> None:
    with pytest.raises(DeviceError, match=r"the smallest tile needs \d+ MiB, 1 MiB are allowed"):
        _large(budget=1 << 20)


def test_planning_loads_neither_torch_nor_numpy_before_it_plans() -> None:
    code = (
        "import sys, liif_cli.engine.plan; print([m for m in ('torch', 'numpy', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_halving_ends_at_single_pixels() -> None:
    found: Plan | None = plan(SMALL, Grid.whole(9, 9, 100, 37), budget_bytes=PLENTY)
    sizes = []
    while found:
        sizes.append((found.strip_rows, found.tile_columns))
        found = halved(found, Load())
    assert sizes[1] == tuple(-(-side // 2) for side in sizes[0])
    assert sizes[-1] == (1, 1) and len(sizes) == len(set(sizes))

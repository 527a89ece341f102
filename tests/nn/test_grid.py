"""Law 3: the fast way = the plain way = the formulas in float64 = what the official code gives."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from liif_cli.nn.coords import Floats, Grid
from liif_cli.nn.grid import block_pixels, blocks, prepare, render_block, render_grid
from liif_cli.nn.model import Model, build, restore
from liif_cli.nn.spec import DecoderKind, DecoderSpec, EncoderSpec, ModelSpec
from liif_cli.weights import store
from tests import reference

DATA = Path(__file__).parents[1] / "data" / "official_parity.npz"
ATOL = 1e-5  # float32 against other orders of sums, for values 0 to 1 (DESIGN.md, law 3)
SCALES = [(s, s) for s in (1, 1.5, 2, 3, math.pi, 7.5, 30)] + [(2, 3.5), (30, 1), (1, 7.5)]


def points_of(grid: Grid) -> Floats:
    """Centres of the window's pixels, in input pixels, (1, N, 2)."""
    y = (np.arange(grid.top, grid.top + grid.height) + 0.5) * grid.in_height / grid.out_height - 0.5
    x = (np.arange(grid.left, grid.left + grid.width) + 0.5) * grid.in_width / grid.out_width - 0.5
    return np.stack(np.meshgrid(y, x, indexing="ij"), -1).reshape(1, -1, 2)


def model_of(kind: DecoderKind, *, hidden: tuple[int, ...] = (8, 6), **switches: bool) -> Model:
    spec = ModelSpec(
        encoder=EncoderSpec(kind="compact", width=5, depth=2),
        decoder=DecoderSpec(kind=kind, hidden=hidden, **switches),
    )
    return build(spec, seed=7)


def all_three(model: Model, size: tuple[int, int], out: tuple[int, int]) -> list[np.ndarray]:
    picture = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(5))
    grid = Grid.whole(*size, *out)
    with torch.no_grad():
        codes = model.encode(picture)
        fast = render_grid(model, codes, grid)[0]
        plain = model.query(codes, points_of(grid), grid.cell).view(*out, 3)
    spec = model.spec.decoder
    slow = reference.render(
        codes.feat[0].double().numpy(),
        picture[0].double().numpy(),
        {name: t.double().numpy() for name, t in model.state_dict().items()},
        out,
        kind=spec.kind,
        unfold=spec.unfold,
        ensemble=spec.ensemble,
        cell=spec.cell,
    )
    return [fast.numpy(), plain.numpy(), slow]


def enlarged(size: tuple[int, int], scale: tuple[float, float]) -> tuple[int, int]:
    return math.floor(size[0] * scale[0] + 0.5), math.floor(size[1] * scale[1] + 0.5)


@pytest.mark.parametrize("kind", ["liif", "light"])
@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 1), (4, 3)], ids=str)
def test_fast_plain_and_reference_agree(
    kind: DecoderKind, scale: tuple[float, float], size: tuple[int, int]
) -> None:
    fast, plain, slow = all_three(model_of(kind), size, enlarged(size, scale))
    np.testing.assert_allclose(fast, slow, atol=ATOL)
    np.testing.assert_allclose(plain, slow, atol=ATOL)


@pytest.mark.parametrize("kind", ["liif", "light"])
@pytest.mark.parametrize("unfold", [True, False])
@pytest.mark.parametrize("ensemble", [True, False])
@pytest.mark.parametrize("cell", [True, False])
def test_they_agree_with_every_switch_of_the_paper(
    kind: DecoderKind, unfold: bool, ensemble: bool, cell: bool
) -> None:
    # 2.2 and 4.5 have no pixel centre half-way between two codes, where "the nearest" is a matter of rounding
    model = model_of(kind, unfold=unfold, ensemble=ensemble, cell=cell)
    fast, plain, slow = all_three(model, (5, 4), (11, 18))
    np.testing.assert_allclose(fast, slow, atol=ATOL)
    np.testing.assert_allclose(plain, slow, atol=ATOL)


@pytest.mark.parametrize(
    ("kind", "hidden"),
    [("liif", ()), ("liif", (8,)), ("liif", (8, 7, 6, 5)), ("light", (8,)), ("light", (8, 7, 6))],
)
def test_they_agree_for_any_number_of_hidden_layers(kind: DecoderKind, hidden: tuple[int, ...]) -> None:
    fast, plain, slow = all_three(model_of(kind, hidden=hidden), (4, 3), (9, 7))
    np.testing.assert_allclose(fast, slow, atol=ATOL)
    np.testing.assert_allclose(plain, slow, atol=ATOL)


@given(st.sampled_from(["liif", "light"]), st.integers(1, 5), st.integers(1, 5), st.data())
def test_a_window_from_a_tile_of_codes_is_a_crop_of_the_whole(
    kind: DecoderKind, height: int, width: int, data: st.DataObject
) -> None:
    model = model_of(kind)
    out_h, out_w = data.draw(st.integers(height, 40)), data.draw(st.integers(width, 40))
    top, left = data.draw(st.integers(0, out_h - 1)), data.draw(st.integers(0, out_w - 1))
    rows, columns = data.draw(st.integers(1, out_h - top)), data.draw(st.integers(1, out_w - left))
    grid = Grid(
        in_height=height,
        in_width=width,
        out_height=out_h,
        out_width=out_w,
        top=top,
        left=left,
        height=rows,
        width=columns,
    )
    picture = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))
    halo = model.spec.halo_px
    y, x = grid.rows().index, grid.columns().index
    y0, y1 = max(0, int(y.min()) - halo), min(height, int(y.max()) + 1 + halo)
    x0, x1 = max(0, int(x.min()) - halo), min(width, int(x.max()) + 1 + halo)
    with torch.no_grad():
        whole = render_grid(model, model.encode(picture), Grid.whole(height, width, out_h, out_w))
        tile = model.encode(picture[:, :, y0:y1, x0:x1], top=y0, left=x0, full=(height, width))
        window = render_grid(model, tile, grid)
        points = model.query(tile, points_of(grid), grid.cell).view(1, rows, columns, 3)
    expected = whole[:, top : top + rows, left : left + columns]
    torch.testing.assert_close(window, expected, atol=2e-6, rtol=0)
    torch.testing.assert_close(points, expected, atol=ATOL, rtol=0)


@pytest.mark.parametrize("kind", ["liif", "light"])
def test_a_batch_is_its_pictures_one_by_one(kind: DecoderKind) -> None:
    model = model_of(kind)
    pictures = torch.rand(3, 3, 4, 5)
    grid = Grid.whole(4, 5, 9, 12)
    with torch.no_grad():
        together = render_grid(model, model.encode(pictures), grid)
        alone = torch.cat([render_grid(model, model.encode(p[None]), grid) for p in pictures])
    torch.testing.assert_close(together, alone, atol=2e-6, rtol=0)


@pytest.mark.parametrize("kind", ["liif", "light"])
def test_law_4_query_in_pieces_gives_the_same_values(kind: DecoderKind) -> None:
    model = model_of(kind)
    points = np.random.default_rng(2).uniform(-2, 7, (1, 50, 2))
    with torch.no_grad():
        codes = model.encode(torch.rand(1, 3, 5, 6))
        whole = model.query(codes, points, (0.3, 0.4))
        pieces = [model.query(codes, points[:, i : i + 7], (0.3, 0.4)) for i in range(0, 50, 7)]
    torch.testing.assert_close(whole, torch.cat(pieces, 1), atol=1e-6, rtol=0)


def test_the_cell_may_differ_from_picture_to_picture() -> None:
    model = model_of("light")
    points = np.random.default_rng(2).uniform(0, 4, (2, 9, 2))
    cells = np.array([[0.5, 0.25], [0.1, 0.9]])
    with torch.no_grad():
        codes = model.encode(torch.rand(2, 3, 5, 5))
        both = model.query(codes, points, cells)
        second = model.query(codes, points, (0.1, 0.9))
    torch.testing.assert_close(both[1], second[1])
    assert not torch.allclose(both[0], second[0])


@pytest.mark.parametrize("kind", ["liif", "light"])
def test_the_result_is_continuous_across_the_borders_of_codes(kind: DecoderKind) -> None:
    """A walk over three codes in tiny steps: no step may jump where the taps change."""
    model = model_of(kind).double()
    at = np.linspace(0.4, 3.6, 3201)
    points = np.stack([np.full_like(at, 1.3), at], -1)[None]
    with torch.no_grad():
        codes = model.encode(
            torch.rand(1, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        )
        colours = model.query(codes, points, (0.25, 0.25))[0]
    steps = (colours[1:] - colours[:-1]).abs().amax(1)
    # Between borders a step of 1/1000 pixel changes little; a jump would stand out by orders of magnitude.
    assert steps.max() < 10 * steps.median()


def test_without_the_ensemble_it_jumps_where_the_nearest_code_changes() -> None:
    """What the test above would see if it were broken (the paper's Figure 3)."""
    model = model_of("liif", ensemble=False).double()
    points = np.stack([np.full(3201, 1.3), np.linspace(0.4, 3.6, 3201)], -1)[None]
    with torch.no_grad():
        codes = model.encode(torch.rand(1, 3, 4, 5, dtype=torch.float64))
        colours = model.query(codes, points, (0.25, 0.25))[0]
    steps = (colours[1:] - colours[:-1]).abs().amax(1)
    assert steps.max() > 10 * steps.median()


@pytest.mark.parametrize(
    ("kind", "dtype", "pixels"),
    [
        ("light", torch.float32, 12_288),  # 3 MiB of 64 numbers each
        ("light", torch.bfloat16, 16_384),  # rows of a product
        ("liif", torch.float32, 4_096),  # rows of a product, of four taps
    ],
)
def test_blocks_suit_cache_and_products(kind: DecoderKind, dtype: torch.dtype, pixels: int) -> None:
    assert block_pixels(model_of(kind, hidden=(64, 8)).to(dtype)) == pixels


@pytest.mark.parametrize("kind", ["liif", "light"])
def test_a_window_in_any_blocks_is_the_same_window(kind: DecoderKind) -> None:
    model = model_of(kind)
    grid = Grid.whole(4, 5, 13, 11)
    with torch.no_grad():
        prepared = prepare(model, model.encode(torch.rand(1, 3, 4, 5)), grid)
        whole = render_block(prepared, slice(0, 13), slice(0, 11))
        for down, across in ((1, 11), (13, 1), (2, 3), (5, 4)):
            out = torch.empty_like(whole)
            for a in range(0, 13, down):
                for b in range(0, 11, across):
                    rows, columns = slice(a, min(a + down, 13)), slice(b, min(b + across, 11))
                    out[:, rows, columns] = render_block(prepared, rows, columns)
            torch.testing.assert_close(out, whole, atol=2e-6, rtol=0)


@pytest.mark.parametrize("kind", ["liif", "light"])
def test_any_rows_and_columns_are_those_of_the_window(kind: DecoderKind) -> None:
    model = model_of(kind)
    rows, columns = np.array([0, 3, 4, 12]), np.array([1, 2, 7, 9, 10])
    prepared = prepare(model, model.encode(torch.rand(2, 3, 4, 5)), Grid.whole(4, 5, 13, 11))
    whole = render_block(prepared, slice(0, 13), slice(0, 11))[:, rows][:, :, columns]
    some = render_block(prepared, rows, columns)
    torch.testing.assert_close(some, whole, atol=2e-6, rtol=0)
    # Training asks in this way, so the gradients count as well.
    parameters = list(model.parameters())
    ways = [torch.autograd.grad(out.sin().sum(), parameters, retain_graph=True) for out in (some, whole)]
    for by_lines, by_window in zip(*ways, strict=True):
        torch.testing.assert_close(by_lines, by_window, atol=1e-5, rtol=1e-5)


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 9000))
def test_blocks_cover_every_pixel_once_and_are_not_larger_than_they_may(
    height: int, width: int, pixels: int
) -> None:
    seen = np.zeros((height, width), np.int8)
    for rows, columns in blocks(Grid.whole(height, width, height, width), pixels):
        seen[rows, columns] += 1
        size = (rows.stop - rows.start) * (columns.stop - columns.start)
        assert size <= max(pixels, min(width, 256))  # a piece of a row is the least there is
    assert (seen == 1).all()


def test_the_fast_way_has_the_gradients_of_the_plain_one() -> None:
    model = model_of("light").double()
    grid = Grid.whole(4, 5, 9, 8)
    picture = torch.rand(1, 3, 4, 5, dtype=torch.float64)
    parameters = list(model.parameters())

    def gradients(fast: bool) -> tuple[torch.Tensor, ...]:
        codes = model.encode(picture)
        out = render_grid(model, codes, grid) if fast else model.query(codes, points_of(grid), grid.cell)
        return torch.autograd.grad(out.reshape(-1).sin().sum(), parameters)

    for fast, plain in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
    reason="no oneDNN in this torch",
)
def test_the_layers_of_a_worker_run_on_onednn() -> None:
    """torch takes another library for small batches where it has one thread, as in our workers."""
    model = model_of("light", hidden=(32, 32))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            prepared = prepare(model, model.encode(torch.rand(1, 3, 8, 8)), Grid.whole(8, 8, 32, 32))
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
                render_block(prepared, slice(0, 32), slice(0, 32))
    finally:
        torch.set_num_threads(threads)
    assert "aten::mkldnn_convolution" in {event.key for event in profile.key_averages()}


def test_codes_that_do_not_cover_the_window_are_refused() -> None:
    model = model_of("light")
    tile = model.encode(torch.rand(1, 3, 4, 4), top=0, left=0, full=(9, 9))
    with pytest.raises(ValueError, match="does not cover"):
        prepare(model, tile, Grid.whole(9, 9, 18, 18))
    with pytest.raises(ValueError, match="does not cover"):
        model.query(tile, np.full((1, 1, 2), 8.0), (0.5, 0.5))


@pytest.mark.parametrize("size", ["24x20", "48x40", "79x66", "96x80", "61x97"])
def test_the_official_outputs_are_matched(size: str, published: Path) -> None:
    """Float outputs of the official code with the official file; their origin is in data/README.md."""
    model = restore(*store.read(published))
    with np.load(DATA) as official:
        low, feat, raw = official["lr_uint8"], official["feat"], official[f"raw_{size}"]
    height, width = raw.shape[:2]
    grid = Grid.whole(24, 20, height, width)
    with torch.no_grad():
        codes = model.encode(torch.from_numpy(low).permute(2, 0, 1)[None].float() / 255)
        fast = render_grid(model, codes, grid)[0]
        plain = model.query(codes, points_of(grid), grid.cell).view(height, width, 3)
    np.testing.assert_allclose(codes.feat[0], feat, atol=1e-5)
    # At scale 1 the official weights of the last row and column are rounding noise (LIIF.md 2).
    stable = np.s_[:-1, :-1] if size == "24x20" else np.s_[:, :]
    for ours in (fast, plain):
        np.testing.assert_allclose(2 * ours.numpy()[stable] - 1, raw[stable], atol=2e-5)

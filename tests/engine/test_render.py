"""Rendering: tiles nobody sees, regions that are crops, memory that runs out, threads put back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from liif_cli.engine import render as rendering
from liif_cli.engine.device import moved
from liif_cli.engine.landing import Landing
from liif_cli.engine.plan import plan
from liif_cli.engine.render import Crew, Rendering, Stopped, load_of, render, sample
from liif_cli.errors import DeviceError, LiifError
from liif_cli.image.picture import Picture, quantize
from liif_cli.nn.coords import Grid
from liif_cli.nn.grid import block_pixels, render_block, render_grid
from liif_cli.nn.model import Model, build
from tests.conftest import TINY

Array = npt.NDArray[Any]
PLENTY = 1 << 40
# Law 1, with its tolerance: sums may be added in another order, a rounding may tip over.
FLOAT_TOLERANCE = 2e-6
several = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with Crew(2) as made:
        yield made


def whole(
    model: Model,
    picture: Picture,
    grid: Grid,
    crew: Crew,
    *,
    budget: int = PLENTY,
    tile_px: int | None = None,
    **how: object,
) -> Array:
    """All bands as one array, after a look at their order."""
    out = []
    row = 0
    how_ = Rendering(**how)  # type: ignore[arg-type]
    for band in render(model, picture, grid, crew, budget_bytes=budget, tile_px=tile_px, how=how_):
        assert band.top == row
        row += len(band.pixels)
        out.append(band.pixels.copy())
    assert row == grid.height
    return np.concatenate(out)


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    h, w = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    channels = draw(st.sampled_from([1, 3]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    alpha = rng.integers(0, 256, (h, w), dtype=np.uint8) if draw(st.booleans()) else None
    return Picture(pixels=rng.integers(0, 256, (h, w, channels), dtype=np.uint8), alpha=alpha)


@st.composite
def grids_of(draw: st.DrawFn, picture: Picture) -> Grid:
    out_h = draw(st.integers(1, 80).filter(lambda n: n >= picture.height // 3))
    out_w = draw(st.integers(1, 80).filter(lambda n: n >= picture.width // 3))
    return Grid.whole(picture.height, picture.width, out_h, out_w)


@several
@given(
    data=st.data(), kind=st.sampled_from(list(TINY)), tile_px=st.integers(1, 24), threads=st.integers(1, 3)
)
def test_a_picture_in_tiles_equals_the_picture_in_one_piece(
    data: st.DataObject, kind: str, tile_px: int, threads: int
) -> None:
    model = build(TINY[kind], seed=1).eval()
    picture = data.draw(pictures())
    grid = data.draw(grids_of(picture))
    with Crew(threads) as crew:
        pieces = whole(model, picture, grid, crew, tile_px=tile_px)
        rounded = whole(model, picture, grid, crew, tile_px=tile_px, depth=8)
    planes = [picture.pixels] + ([] if picture.alpha is None else [picture.alpha[..., None]])
    with torch.inference_mode():
        for plane, part in zip(planes, _apart(pieces, picture), strict=True):
            rgb = np.broadcast_to(plane.astype(np.float32) / 255, (*plane.shape[:2], 3)).copy()
            x = torch.from_numpy(rgb).permute(2, 0, 1)[None]
            one = render_grid(model, model.encode(x), grid)[0].numpy()
            one = one if part.shape[-1] == 3 else one.mean(-1, keepdims=True)
            assert np.abs(one - part).max() <= FLOAT_TOLERANCE
    levels = np.floor(np.clip(pieces, 0, 1) * 255 + 0.5)
    assert np.abs(levels - rounded).max() <= 1


def _apart(pixels: Array, picture: Picture) -> list[Array]:
    colour, alpha = pixels[..., : picture.channels], pixels[..., picture.channels :]
    return [colour] if picture.alpha is None else [colour, alpha]


@several
@given(data=st.data(), kind=st.sampled_from(list(TINY)))
def test_a_region_is_a_crop_of_the_whole(data: st.DataObject, kind: str, crew: Crew) -> None:
    model = build(TINY[kind], seed=2).eval()
    picture = data.draw(pictures())
    grid = data.draw(grids_of(picture))
    top, left = data.draw(st.integers(0, grid.height - 1)), data.draw(st.integers(0, grid.width - 1))
    height = data.draw(st.integers(1, grid.height - top))
    width = data.draw(st.integers(1, grid.width - left))
    window = replace(grid, top=top, left=left, height=height, width=width)
    region = whole(model, picture, window, crew)
    cropped = whole(model, picture, grid, crew)[top : top + height, left : left + width]
    assert np.abs(region - cropped).max() <= FLOAT_TOLERANCE


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), tile_px=st.integers(8, 24))
def test_turning_the_input_turns_a_self_ensemble(data: st.DataObject, tile_px: int, crew: Crew) -> None:
    # The mean over all eight turns cannot tell which of them it was given, per-axis scales included.
    model = build(TINY["edsr"], seed=3).eval()
    picture = replace(data.draw(pictures()), alpha=None)
    grid = data.draw(grids_of(picture))
    upright = whole(model, picture, grid, crew, tta=True)
    turned = replace(picture, pixels=picture.pixels.transpose(1, 0, 2)[::-1].copy())
    there = Grid.whole(grid.in_width, grid.in_height, grid.out_width, grid.out_height)
    back = whole(model, turned, there, crew, tta=True, tile_px=tile_px)[::-1].transpose(1, 0, 2)
    assert np.abs(upright - back).max() <= FLOAT_TOLERANCE
    plain = whole(model, picture, grid, crew)
    assert upright.shape == plain.shape


def test_a_region_of_a_self_ensemble_is_a_crop_of_it(tiny_model: Model, photo: Picture, crew: Crew) -> None:
    grid = Grid.whole(photo.height, photo.width, 61, 97)
    window = replace(grid, top=11, left=7, height=23, width=80)
    cropped = whole(tiny_model, photo, grid, crew, tta=True, tile_px=20)[11:34, 7:87]
    assert np.abs(whole(tiny_model, photo, window, crew, tta=True) - cropped).max() <= FLOAT_TOLERANCE


def test_a_self_ensemble_is_not_the_plain_answer(tiny_model: Model, photo: Picture, crew: Crew) -> None:
    grid = Grid.whole(photo.height, photo.width, 61, 97)
    difference = whole(tiny_model, photo, grid, crew, tta=True) - whole(tiny_model, photo, grid, crew)
    assert np.abs(difference).max() > 1e-4


@pytest.mark.parametrize("depth", [None, 8, 16])
def test_rows_that_arrive_later_make_the_same_picture(
    tiny_model: Model, photo: Picture, crew: Crew, monkeypatch: pytest.MonkeyPatch, depth: int | None
) -> None:
    # As on a GPU, but for where the rows are: in larger blocks, copied behind the work.
    veiled = replace(photo, alpha=photo.pixels[..., 1])
    grid = Grid.whole(photo.height, photo.width, 150, 131)
    wanted = whole(tiny_model, veiled, grid, crew, tile_px=16, depth=depth)
    monkeypatch.setattr(rendering, "Landing", partial(Landing, behind=True))
    for block_px in (1, 1000, 1 << 17):
        monkeypatch.setattr(rendering, "block_pixels", lambda _, px=block_px: px)
        got = whole(tiny_model, veiled, grid, crew, tile_px=16, depth=depth)
        tolerance = FLOAT_TOLERANCE if depth is None else 1
        assert np.abs(got.astype(np.float64) - wanted).max() <= tolerance


@pytest.mark.parametrize("depth", [8, 16])
def test_levels_are_those_of_quantize(depth: int) -> None:
    top = 2**depth - 1
    exact = np.arange(0, top + 1, max(1, top // 5000), dtype=np.float32) / top
    near = [exact, np.nextafter(exact, 2), exact + np.float32(0.5 / top), exact - 2, exact + 2]
    values = np.concatenate(near).astype(np.float32)
    planes = torch.from_numpy(np.repeat(values, 3).reshape(1, 1, -1, 3))
    assert np.array_equal(
        rendering._stored(planes, 3, depth).numpy(), quantize(planes[0].numpy(), depth).astype(int)
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_number_of_threads_does_not_show(tiny_model: Model, photo: Picture, dtype: str) -> None:
    model = moved(tiny_model, "cpu", dtype)
    grid = Grid.whole(photo.height, photo.width, 150, 131)
    results = []
    for threads in (1, 2, 3):
        with Crew(threads) as crew:
            results.append(whole(model, photo, grid, crew, tile_px=64))
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


def test_rows_shared_out_give_the_same_as_tiles_shared_out(
    tiny_model: Model, photo: Picture, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid.whole(photo.height, photo.width, 150, 131)
    tiles = whole(tiny_model, photo, grid, crew, tile_px=16)
    monkeypatch.setattr(rendering, "plan", lambda *a, **k: replace(plan(*a, **k), shared="rows"))
    assert np.abs(whole(tiny_model, photo, grid, crew, tile_px=16) - tiles).max() <= FLOAT_TOLERANCE


def test_torch_keeps_the_number_of_threads_it_had(tiny_model: Model, photo: Picture) -> None:
    before = torch.get_num_threads()
    with Crew(3) as crew:
        whole(tiny_model, photo, Grid.whole(photo.height, photo.width, 40, 50), crew)
        seen = (
            crew.workers.submit(torch.get_num_threads).result(),
            crew.driver.submit(torch.get_num_threads).result(),
        )
        assert seen == (1, 3)
        assert torch.get_num_threads() == before
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [before] and torch.get_num_threads() == before


class _Scarce:
    """Memory that runs out at the k-th call of a step of the work, once or for good."""

    def __init__(
        self, step: Callable[..., Any], k: int, error: type[BaseException], *, for_good: bool = False
    ) -> None:
        self.step, self.k, self.error, self.for_good, self.asked = step, k, error, for_good, 0
        self.lock = threading.Lock()

    def __call__(self, *arguments: object) -> Any:
        with self.lock:
            self.asked += 1
            short = self.asked == self.k or (self.for_good and self.asked >= self.k)
        if short:
            raise self.error("not enough memory: you tried to allocate 1 bytes")
        return self.step(*arguments)


# Where memory is taken: the input of a tile, what is made of it per input pixel, a block of its rows.
STEPS = {name: getattr(rendering, name) for name in ("_planes", "prepare", "render_block")}


@pytest.mark.parametrize("step", list(STEPS))
@pytest.mark.parametrize(
    ("error", "tta"),
    [(MemoryError, False), (RuntimeError, False), (torch.OutOfMemoryError, False), (MemoryError, True)],
)
def test_running_out_of_memory_redoes_only_the_unfinished_rows(
    photo: Picture,
    crew: Crew,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: type[BaseException],
    tta: bool,
) -> None:
    model = build(TINY["light"], seed=1).eval()
    grid = Grid.whole(photo.height, photo.width, 70, 90)
    wanted = whole(model, photo, grid, crew, tta=tta)
    count = plan(model.spec, grid, budget_bytes=PLENTY, tile_px=15).tiles
    assert count == 6
    calm = _Scarce(STEPS[step], 0, error)
    monkeypatch.setattr(rendering, step, calm)
    whole(model, photo, grid, crew, tile_px=15, tta=tta)
    assert calm.asked >= count
    for k in range(1, calm.asked + 1):
        monkeypatch.setattr(rendering, step, _Scarce(STEPS[step], k, error))
        said: list[str] = []
        got = whole(model, photo, grid, crew, tile_px=15, tta=tta, notify=said.append)
        assert np.abs(got - wanted).max() <= FLOAT_TOLERANCE
        assert len(said) == 1 and "memory ran out" in said[0]


def test_running_out_of_memory_for_good_is_a_clear_error(
    tiny_model: Model, photo: Picture, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "_planes", _Scarce(STEPS["_planes"], 3, MemoryError, for_good=True))
    with pytest.raises(DeviceError, match="memory ran out even with the smallest tiles") as caught:
        whole(tiny_model, photo, Grid.whole(photo.height, photo.width, 70, 90), crew, tile_px=8)
    assert caught.value.status == 3


def test_an_error_of_ours_is_not_taken_for_a_lack_of_memory(
    tiny_model: Model, photo: Picture, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(rendering, "_planes", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        whole(tiny_model, photo, Grid.whole(photo.height, photo.width, 60, 60), crew)


def test_numbers_that_overflow_are_done_again_in_float32(photo: Picture, crew: Crew) -> None:
    exact = build(TINY["edsr"], seed=4).eval()
    broken = moved(exact, "cpu", "bfloat16")
    with torch.no_grad():
        broken.decoder.layers[1].get_parameter("bias").fill_(float("inf"))
    grid = Grid.whole(photo.height, photo.width, 60, 70)
    said: list[str] = []
    got = whole(broken, photo, grid, crew, exact=exact, notify=said.append)
    assert np.abs(got - whole(exact, photo, grid, crew)).max() <= FLOAT_TOLERANCE
    assert said and "float32" in said[0]
    for hopeless in (None, broken):
        with pytest.raises(LiifError, match="not a number"):
            whole(broken, photo, grid, crew, exact=hopeless)


def test_one_tile_at_a_time_is_done_again_for_it_takes_twice_the_memory(
    photo: Picture, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = build(TINY["edsr"], seed=4).eval()
    broken = moved(exact, "cpu", "bfloat16")
    with torch.no_grad():
        broken.decoder.layers[1].get_parameter("bias").fill_(float("inf"))
    answer = rendering._Run._answer
    running: list[Model] = []
    most: list[int] = []

    def watched(run: rendering._Run, model: Model, *more: Any) -> None:
        if model is exact:
            running.append(model)
            most.append(len(running))
            time.sleep(0.01)
        try:
            answer(run, model, *more)
        finally:
            if model is exact:
                running.pop()

    monkeypatch.setattr(rendering._Run, "_answer", watched)
    grid = Grid.whole(photo.height, photo.width, 60, 70)
    whole(broken, photo, grid, crew, tile_px=8, exact=exact)
    assert len(most) > 4 and max(most) == 1 < crew.threads


@pytest.mark.parametrize("one", [float("nan"), float("inf"), float("-inf")])
def test_one_number_is_enough(one: float) -> None:
    values = torch.rand(1, 9, 30, 3)
    assert rendering._finite(values)
    values[0, 4, 17, 1] = one
    assert not rendering._finite(values)


def test_a_render_that_is_stopped_ends_soon_and_leaves_no_work_behind(
    tiny_model: Model, photo: Picture, crew: Crew
) -> None:
    stop = threading.Event()
    bands = render(
        tiny_model, photo, Grid.whole(photo.height, photo.width, 300, 300), crew,
        budget_bytes=PLENTY, tile_px=4, how=Rendering(stop=stop),
    )  # fmt: skip
    next(bands)
    stop.set()
    with pytest.raises(Stopped):
        for _ in bands:
            pass
    assert crew.workers.submit(int).result(timeout=5) == 0


@pytest.mark.parametrize("shared", ["tiles", "rows"])
def test_who_stops_does_not_wait_for_a_tile(
    tiny_model: Model, photo: Picture, crew: Crew, monkeypatch: pytest.MonkeyPatch, shared: str
) -> None:
    stop, begun, go = threading.Event(), threading.Event(), threading.Event()
    encode = tiny_model.encode

    def slow(*args: Any, **more: Any) -> object:
        begun.set()
        go.wait(60)
        return encode(*args, **more)

    monkeypatch.setattr(tiny_model, "encode", slow)
    bands = render(
        tiny_model, photo, Grid.whole(photo.height, photo.width, 300, 300), crew,
        budget_bytes=PLENTY, tile_px=4 if shared == "tiles" else None, how=Rendering(stop=stop),
    )  # fmt: skip

    def stop_it() -> None:
        begun.wait(60)
        stop.set()

    threading.Thread(target=stop_it).start()
    with pytest.raises(Stopped):
        next(bands)
    assert not go.is_set()
    go.set()
    assert crew.workers.submit(int).result(timeout=5) == 0


@pytest.mark.parametrize("tile_px", [8, None], ids=["tiles", "rows"])
def test_a_crew_that_is_closed_ends_its_renders(
    tiny_model: Model, photo: Picture, monkeypatch: pytest.MonkeyPatch, tile_px: int | None
) -> None:
    begun, go = threading.Event(), threading.Event()
    block = render_block

    def slow(*args: Any) -> Tensor:
        begun.set()
        go.wait(60)
        return block(*args)

    monkeypatch.setattr(rendering, "render_block", slow)
    ended: list[bool] = []

    def ask() -> None:
        grid = Grid.whole(photo.height, photo.width, 300, 300)
        try:
            next(render(tiny_model, photo, grid, one, budget_bytes=PLENTY, tile_px=tile_px))
        except Stopped:
            ended.append(True)

    with Crew(1) as one:
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        begun.wait(60)
    go.set()
    asking.join(20)
    assert ended == [True]


def test_a_render_that_nobody_asks_on_leaves_no_work_behind(
    tiny_model: Model, photo: Picture, crew: Crew
) -> None:
    grid = Grid.whole(photo.height, photo.width, 300, 300)
    bands = render(tiny_model, photo, grid, crew, budget_bytes=PLENTY, tile_px=4)
    next(bands)
    bands.close()  # type: ignore[attr-defined]
    assert crew.workers.submit(int).result(timeout=5) == 0


def test_grey_stays_grey_and_is_the_mean_of_the_three_answers(
    tiny_model: Model, photo: Picture, crew: Crew
) -> None:
    grey = replace(photo, pixels=photo.pixels[..., :1])
    grid = Grid.whole(photo.height, photo.width, 41, 60)
    three_times: Array = np.repeat(grey.pixels, 3, axis=2)
    colour = replace(photo, pixels=three_times)
    three = whole(tiny_model, colour, grid, crew)
    assert np.allclose(whole(tiny_model, grey, grid, crew), three.mean(-1, keepdims=True), atol=1e-6)


def test_sixteen_bits_are_not_rounded_to_eight(tiny_model: Model, photo: Picture, crew: Crew) -> None:
    grid = Grid.whole(photo.height, photo.width, 41, 60)
    deep = whole(tiny_model, photo, grid, crew, depth=16)
    exact = whole(tiny_model, photo, grid, crew)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 65535 - np.clip(exact, 0, 1)).max() <= 0.51 / 65535
    assert len(np.unique(deep % 257)) > 100


@several
@given(data=st.data(), kind=st.sampled_from(list(TINY)), budget=st.integers(0, 1 << 21))
def test_scattered_points_do_not_depend_on_the_batch(data: st.DataObject, kind: str, budget: int) -> None:
    model = build(TINY[kind], seed=5).eval()
    picture = torch.from_numpy(np.random.default_rng(1).random((2, 3, 13, 17), np.float32))
    points = np.random.default_rng(data.draw(st.integers(0, 9))).uniform(-4, 21, (2, 57, 2))
    with torch.inference_mode():
        codes = model.encode(picture)
        once = model.query(codes, points, (0.3, 0.4))
    assert torch.allclose(sample(model, codes, points, (0.3, 0.4), budget_bytes=budget), once, atol=1e-6)
    inside = np.clip(points, (-0.5, -0.5), (12.5, 16.5))
    assert torch.equal(sample(model, codes, inside, (0.3, 0.4), budget_bytes=PLENTY), once)


def test_what_a_picture_costs_follows_from_what_it_holds(tiny_model: Model, photo: Picture) -> None:
    clear = load_of(photo, tiny_model, Rendering(depth=8))
    assert (clear.planes, clear.out_bytes, clear.item_bytes, clear.times) == (1, 3, 4, 1)
    veiled = replace(photo, pixels=photo.pixels[..., :1], alpha=photo.pixels[..., 0])
    half = moved(tiny_model, "cpu", "bfloat16")
    assert load_of(veiled, half, Rendering(depth=16, tta=True)) == replace(
        clear, planes=2, out_bytes=4, item_bytes=2, times=8, block_px=block_pixels(half)
    )

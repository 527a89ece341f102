"""`Upscaler`: sizes, depths, transparency, frames, regions; the same picture whatever the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liif_cli.api import Options, Upscaler, model_grid
from liif_cli.engine.render import render
from liif_cli.engine.target import FITS, GRAVITIES, Region, Target
from liif_cli.errors import DeviceError, LiifError, UnknownWeights, UsageError
from liif_cli.image.alpha import around
from liif_cli.image.picture import Picture, quantize
from liif_cli.image.read import Header
from liif_cli.image.resample import resample
from liif_cli.nn.model import build
from liif_cli.weights import store
from tests.conftest import TINY

Array = npt.NDArray[Any]
DOUBLE = Target(scale=(2, 2))


@pytest.fixture(scope="module")
def upscaler() -> Iterator[Upscaler]:
    with Upscaler(build(TINY["light"], seed=1), precision="fp32", threads=2) as made:
        yield made


def with_options(upscaler: Upscaler, **options: Any) -> Upscaler:
    import copy

    other = copy.copy(upscaler)
    other.options = Options(**options)
    return other


def samples(picture: Picture) -> Array:
    parts = [picture.pixels] + ([] if picture.alpha is None else [picture.alpha[..., None]])
    return np.concatenate(parts, axis=2)


def banded(upscaler: Upscaler, picture: Picture, target: Target) -> Array:
    return np.concatenate([band.pixels.copy() for band in upscaler.prepare(picture, target).bands()])


def test_the_result_has_the_size_and_depth_that_were_asked_for(upscaler: Upscaler, photo: Picture) -> None:
    assert upscaler.upscale(photo, Target(scale=(1.5, 3))).pixels.shape == (90, 66, 3)
    deep = replace(photo, pixels=photo.pixels.astype(np.uint16) * np.uint16(257), bits=16)
    result = upscaler.upscale(deep, DOUBLE)
    assert result.pixels.dtype == np.uint16 and result.bits == 16
    eight = upscaler.upscale(photo, DOUBLE)
    assert np.abs(result.pixels / 257 - eight.pixels).max() <= 0.51


def test_floats_are_the_same_before_rounding(upscaler: Upscaler, photo: Picture) -> None:
    exact: Array = upscaler.upscale(photo, DOUBLE, as_float=True).pixels
    assert exact.dtype == np.float32 and exact.min() >= 0 and exact.max() <= 1
    assert np.array_equal(quantize(exact, 8), upscaler.upscale(photo, DOUBLE).pixels)


def test_a_picture_keeps_what_it_says_of_itself(upscaler: Upscaler, photo: Picture) -> None:
    said = replace(photo, icc=b"profile", exif=b"exif", dpi=(300.0, 300.0), format="jpeg", notes=("odd",))
    result = upscaler.upscale(said, DOUBLE)
    assert (result.icc, result.exif, result.dpi, result.notes) == (
        b"profile",
        b"exif",
        (300.0, 300.0),
        ("odd",),
    )


def test_grey_stays_grey(upscaler: Upscaler, photo: Picture) -> None:
    grey = replace(photo, pixels=photo.pixels[..., :1])
    assert upscaler.upscale(grey, DOUBLE).pixels.shape == (60, 88, 1)


several = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@several
@given(data=st.data())
def test_a_region_is_a_crop_of_the_result_with_any_fit_and_alpha(
    data: st.DataObject, upscaler: Upscaler, photo: Picture
) -> None:
    alpha = np.linspace(0, 255, photo.pixels[..., 0].size).reshape(photo.pixels.shape[:2]).astype(np.uint8)
    picture = replace(photo, alpha=alpha) if data.draw(st.booleans()) else photo
    target = Target(
        size=(data.draw(st.integers(1, 90)), data.draw(st.integers(1, 90))),
        fit=data.draw(st.sampled_from(FITS)),
        gravity=data.draw(st.sampled_from(GRAVITIES)),
    )
    width, height = target.output_size(picture.width, picture.height)
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    wide, high = data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top))
    way = with_options(upscaler, alpha=data.draw(st.sampled_from(["model", "resample", "drop"])))
    region = replace(target, region=Region.parse(f"{left},{top},{wide},{high}"))
    whole = samples(way.upscale(picture, target, as_float=True))
    part = samples(way.upscale(picture, region, as_float=True))
    assert np.abs(whole[top : top + high, left : left + wide] - part).max() <= 2e-6


@pytest.mark.parametrize("region", ["0,0,1,1", "0,0,90,16", "0,95,100,5", "3,0,9,100"])
def test_a_region_of_nothing_but_background_is_background(
    upscaler: Upscaler, photo: Picture, region: str
) -> None:
    way = with_options(upscaler, background=(255, 128, 0))
    target = Target(size=(100, 100), fit="pad", region=Region.parse(region))
    result = way.upscale(photo, target).pixels
    whole = way.upscale(photo, replace(target, region=None)).pixels
    left, top, width, height = (int(n) for n in region.split(","))
    assert np.array_equal(result, whole[top : top + height, left : left + width])


def test_a_padded_picture_lies_on_its_background(upscaler: Upscaler, photo: Picture) -> None:
    way = with_options(upscaler, background=(255, 128, 0))
    target = Target(size=(100, 100), fit="pad", gravity="south")
    result = way.upscale(photo, target).pixels
    inside = way.upscale(photo, Target(size=(100, 100), fit="inside")).pixels
    assert result.shape == (100, 100, 3)
    assert np.array_equal(result[100 - len(inside) :], inside)
    assert (result[: 100 - len(inside)] == (255, 128, 0)).all()


def test_a_grey_picture_in_a_coloured_frame_is_no_grey_picture(upscaler: Upscaler, photo: Picture) -> None:
    grey = replace(photo, pixels=photo.pixels[..., :1], icc=b"grey profile")
    target = Target(size=(100, 100), fit="pad")
    coloured = with_options(upscaler, background=(255, 0, 0)).upscale(grey, target)
    assert coloured.pixels.shape[2] == 3 and coloured.icc is None
    plain = with_options(upscaler, background=(9, 9, 9)).upscale(grey, target)
    assert plain.pixels.shape[2] == 1 and plain.icc == b"grey profile" and plain.pixels[0, 0, 0] == 9


def test_an_axis_that_shrinks_is_antialiased_and_the_other_goes_through_the_model(
    upscaler: Upscaler, photo: Picture
) -> None:
    target = Target(scale=(0.5, 2))
    result = upscaler.upscale(photo, target, as_float=True)
    narrow = np.clip(resample(photo.pixels, (30, 22)), 0, 1)
    by_hand = upscaler.upscale(replace(photo, pixels=narrow), Target(scale=(1, 2)), as_float=True)
    assert np.array_equal(result.pixels, by_hand.pixels)


def test_a_picture_that_only_shrinks_is_resampled(upscaler: Upscaler, photo: Picture) -> None:
    result = upscaler.upscale(photo, Target(size=(20, 30)))
    assert np.array_equal(result.pixels, quantize(resample(photo.pixels, (30, 20)), 8))
    assert model_grid(Target(size=(20, 30)).layout(44, 30)) is None


def test_at_its_own_size_a_picture_goes_through_the_model(upscaler: Upscaler, photo: Picture) -> None:
    assert upscaler.prepare(photo, Target(scale=(1, 1))).plan is not None


def veiled(photo: Picture, alpha: Array) -> Picture:
    return replace(photo, alpha=np.broadcast_to(alpha, photo.pixels.shape[:2]).astype(np.uint8))


@pytest.mark.parametrize("value", [0, 1, 137, 255])
def test_constant_transparency_stays_constant(upscaler: Upscaler, photo: Picture, value: int) -> None:
    result = upscaler.upscale(veiled(photo, np.array(value)), DOUBLE)
    assert result.alpha is not None and (result.alpha == value).all()


def sides(size: int, factor: float) -> Array:
    """(N, 2) input pixels on either side of the output's, found without `taps`."""
    at = (np.arange(round(size * factor)) + 0.5) / factor - 0.5
    lines: Array = np.clip([np.floor(at + 1e-9), np.ceil(at - 1e-9)], 0, size - 1).T.astype(np.int64)
    return lines


def test_transparency_goes_through_the_model_as_grey(upscaler: Upscaler, photo: Picture) -> None:
    alpha = np.random.default_rng(3).integers(1, 256, (30, 44))
    result = upscaler.upscale(veiled(photo, alpha), DOUBLE, as_float=True)
    grey = replace(photo, pixels=alpha.astype(np.uint8)[..., None])
    enlarged = upscaler.upscale(grey, DOUBLE, as_float=True).pixels[..., 0]
    rows, columns = (sides(size, 2) for size in alpha.shape)
    bounded = np.clip(enlarged, *around(alpha.astype(np.uint8), rows, columns))
    assert result.alpha is not None
    assert np.abs(np.clip(bounded, 0, 1) - result.alpha).max() < 2e-6
    assert (np.abs(enlarged - result.alpha) < 2e-6).mean() > 0.6  # most edges are not touched


@pytest.mark.parametrize("depth", [8, 16, None])
@pytest.mark.parametrize("scale", [(2.5, 3.0), (3.0, 2.0), (1.0, 5.0)])
def test_hard_edges_of_transparency_leave_no_specks(
    upscaler: Upscaler, photo: Picture, depth: int | None, scale: tuple[float, float]
) -> None:
    y, x = np.mgrid[:30, :44]
    alpha = np.where(np.hypot(y - 15, x - 20) < 11, 255, 0)
    picture = veiled(photo, alpha)
    if depth == 16:
        wide = picture.pixels.astype(np.uint16) * 257
        picture = replace(picture, pixels=wide, alpha=(alpha * 257).astype(np.uint16), bits=16)
    result = upscaler.upscale(picture, Target(scale=scale), as_float=depth is None).alpha
    assert result is not None
    near = alpha[sides(30, scale[1])][:, :, sides(44, scale[0])]  # (rows, 2, columns, 2)
    least, most = near.min(axis=(1, 3)), near.max(axis=(1, 3))
    flat, top = least == most, {8: 1, 16: 257, None: 1 / 255}[depth]
    assert flat.mean() > 0.7 and np.array_equal(result[flat], (least[flat] * top).astype(result.dtype))
    assert len(np.unique(result[~flat])) > 30  # the edge itself is the model's


@pytest.mark.parametrize("factor", [1.5, 2, 3])
def test_mirrored_transparency_is_enlarged_to_the_mirror_image(
    upscaler: Upscaler, photo: Picture, factor: float
) -> None:
    alpha = np.random.default_rng(1).integers(0, 2, (30, 44)) * 255
    way, target = with_options(upscaler, tta=True), Target(scale=(factor, factor))
    ways = [way.upscale(veiled(photo, a), target, as_float=True).alpha for a in (alpha, alpha[:, ::-1])]
    assert ways[0] is not None and ways[1] is not None
    assert np.abs(ways[0] - ways[1][:, ::-1]).max() < 1e-5


def test_colour_under_full_transparency_does_not_show(upscaler: Upscaler, photo: Picture) -> None:
    alpha = np.full((30, 44), 255, np.uint8)
    alpha[:, 22:] = 0
    results = []
    for junk in (0, 255):
        pixels = photo.pixels.copy()
        pixels[:, 22:] = junk
        results.append(upscaler.upscale(replace(photo, pixels=pixels, alpha=alpha), DOUBLE))
    assert np.array_equal(results[0].pixels, results[1].pixels)


def test_transparency_can_be_resampled_or_dropped(upscaler: Upscaler, photo: Picture) -> None:
    picture = veiled(photo, np.linspace(0, 255, photo.width))
    resampled = with_options(upscaler, alpha="resample").upscale(picture, DOUBLE)
    assert picture.alpha is not None and resampled.alpha is not None
    assert np.array_equal(resampled.alpha, quantize(resample(picture.alpha, (60, 88)), 8))
    dropped = with_options(upscaler, alpha="drop", background=(0, 0, 0)).upscale(picture, DOUBLE)
    assert dropped.alpha is None and dropped.pixels[:, :2].max() < 40


def test_bands_are_the_picture_and_may_be_asked_for_twice(upscaler: Upscaler, photo: Picture) -> None:
    job = upscaler.prepare(photo, Target(scale=(3, 9)))
    once = np.concatenate([band.pixels.copy() for band in job.bands()])
    twice = np.concatenate([band.pixels.copy() for band in job.bands()])
    assert np.array_equal(once, twice)
    assert np.array_equal(once, upscaler.upscale(photo, Target(scale=(3, 9))).pixels)


def test_the_size_of_the_asked_for_pixel_matters(upscaler: Upscaler, photo: Picture) -> None:
    sharper = with_options(upscaler, cell=0.5).upscale(photo, DOUBLE, as_float=True).pixels
    assert np.abs(sharper - upscaler.upscale(photo, DOUBLE, as_float=True).pixels).max() > 1e-4


def test_a_model_comes_from_a_file_and_gives_what_it_gave_before(tmp_path: Path, photo: Picture) -> None:
    model = build(TINY["edsr"], seed=6)
    store.write(tmp_path / "w.safetensors", TINY["edsr"], model.state_dict())
    with (
        Upscaler(tmp_path / "w.safetensors", precision="fp32") as loaded,
        Upscaler(model, precision="fp32") as given,
    ):
        assert loaded.name.endswith("w.safetensors")
        target = Target(scale=(1.3, 1.3))
        assert np.array_equal(loaded.upscale(photo, target).pixels, given.upscale(photo, target).pixels)


def test_automatic_precision_says_why_and_spares_deep_pictures(
    photo: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liif_cli.engine.device._bf16_pays", lambda: True)
    with Upscaler(build(TINY["edsr"], seed=6)) as upscaler:
        assert "dB from float32" in upscaler.placement.because
        assert upscaler.prepare(photo, DOUBLE, bits=16).dtype == "float32"
    with Upscaler(build(TINY["edsr"], seed=6), precision="bf16") as rough:
        assert rough.prepare(photo, DOUBLE, bits=16).dtype == "bfloat16"


def test_what_cannot_be_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(UnknownWeights):
        Upscaler("standart")
    with pytest.raises(UsageError, match="--precision fp13"):
        Upscaler("nobody", precision="fp13")
    with pytest.raises(UsageError, match="--device gpu"):
        Upscaler("nobody", device="gpu")
    with pytest.raises(DeviceError, match="--device cuda:99"):
        Upscaler("nobody", device="cuda:99")
    with pytest.raises(UsageError, match="--memory much"):
        Upscaler("nobody", memory="much")


def test_a_region_outside_is_an_error(upscaler: Upscaler, photo: Picture) -> None:
    with pytest.raises(LiifError, match="not inside"):
        upscaler.upscale(photo, replace(DOUBLE, region=Region.parse("0,0,89,1")))


def test_an_estimate_knows_tiles_memory_and_time(upscaler: Upscaler, photo: Picture) -> None:
    header = Header(width=44, height=30, channels=3, alpha=False, bits=8, format="png")
    found = with_options(upscaler, tile_px=8).estimate(header, DOUBLE)
    planned = with_options(upscaler, tile_px=8).prepare(photo, DOUBLE).plan
    assert planned is not None and found.tiles == planned.tiles
    assert found.peak_bytes == planned.peak_bytes + photo.pixels.nbytes
    larger = upscaler.estimate(header, Target(scale=(20, 20)))
    assert larger.seconds > found.seconds > 0
    assert upscaler.estimate(header, Target(longer=9)).seconds == 0


def test_speed_is_found_as_the_workers_work_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations on all cores wait for the busiest one: beside a busy process 15 times too long was told."""
    both = threading.Barrier(2, timeout=60)
    ways = []

    def watched(*picture: Any, **how: Any) -> Iterator[Any]:
        both.wait()  # they run at the same time, as tiles do
        ways.append(how["workers"])
        return render(*picture, **how)

    monkeypatch.setattr("liif_cli.api.render", watched)
    monkeypatch.setattr("liif_cli.machine.cores", lambda: 2)
    header = Header(width=44, height=30, channels=3, alpha=False, bits=8, format="png")
    told: list[str] = []
    with Upscaler(build(TINY["edsr"], seed=6), threads=5, notify=told.append) as made:
        assert made.threads == 2 and told == ["5 threads are no faster than one a core: here 2"]
        assert made.estimate(header, DOUBLE).seconds > 0
    assert set(ways) == {1}
    assert both.n_waiting == 0 and len(ways) % 6 == 0  # two at a time, as there are two cores, three times


def test_that_memory_is_tight_is_told_once() -> None:
    header = Header(width=440, height=300, channels=3, alpha=False, bits=8, format="png")
    told: list[str] = []
    for memory in (100 << 20, 25 << 20):
        assert not told
        how: dict[str, Any] = {"precision": "fp32", "threads": 1, "memory": memory}
        with Upscaler(build(TINY["edsr"], seed=6), **how, notify=told.append) as made:
            made.estimate(header, DOUBLE)
            made.estimate(header, DOUBLE)
    assert len(told) == 1 and told[0].startswith("memory is tight: about 2")


def test_that_tiles_are_small_is_told() -> None:
    told: list[str] = []
    given = Picture(pixels=np.zeros((64, 64, 3), np.uint8))
    for tile_px in (64, 1):
        with Upscaler(
            build(TINY["light"], seed=1), options=Options(tile_px=tile_px), notify=told.append
        ) as made:
            made.prepare(given, DOUBLE)
    assert len(told) == 1 and told[0].startswith("small tiles: about ")

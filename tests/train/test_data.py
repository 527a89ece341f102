"""What a step sees: three samplers, repeatable, with inputs that are the targets reduced."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from liif_cli.nn.coords import taps
from liif_cli.nn.model import build
from liif_cli.nn.spec import DecoderSpec, EncoderSpec, ModelSpec
from liif_cli.train.data import (
    Batch,
    Crossings,
    Photo,
    Photos,
    Points,
    batch,
    reduced,
    round_bytes,
    smallest_side,
    to_bytes,
    weighed,
)
from liif_cli.train.degrade import photo as degraded
from liif_cli.train.recipe import Recipe, Samples, Schedule

CROSSINGS = Samples(batch=6, patch_px=12, lines=16, scale_max=5, detail=2)
POINTS = replace(CROSSINGS, queries=40, scale_max=4)
MODEL = ModelSpec(
    encoder=EncoderSpec(kind="compact", width=16, depth=1), decoder=DecoderSpec(kind="light", hidden=(16, 16))
)
SIZES = replace(CROSSINGS, pairs="sizes", queries=30, patch_px=8, size_min=8, size_max=40)


def noise(side: int, seed: int) -> Photo:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 7, 3), np.uint8)
    return Photo(name=f"{seed}.png", pixels=pixels)


@pytest.fixture(scope="module")
def photos() -> Photos:
    return weighed([noise(80, seed) for seed in range(3)], {})


def crossings(one: Batch) -> Crossings:
    assert isinstance(one.asked, Crossings)
    return one.asked


def same_lines(a: Batch, b: Batch) -> bool:
    """Whether the same rows and columns of the same grid are asked for, or points, and no lines."""
    if isinstance(a.asked, Points) or isinstance(b.asked, Points):
        return type(a.asked) is type(b.asked)
    alike = np.array_equal(a.asked.rows, b.asked.rows) and np.array_equal(a.asked.columns, b.asked.columns)
    return alike and a.asked.grid == b.asked.grid


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.low, b.low) and torch.equal(a.target, b.target) and same_lines(a, b)


@pytest.mark.parametrize("samples", [CROSSINGS, POINTS, SIZES], ids=["crossings", "points", "sizes"])
def test_a_sample_follows_from_seed_step_and_index_alone(photos: Photos, samples: Samples) -> None:
    whole = batch(photos, samples, seed=1, step=5, first=0, count=6)
    halves = [batch(photos, samples, seed=1, step=5, first=a, count=3) for a in (0, 3)]
    assert torch.equal(whole.low, torch.cat([h.low for h in halves]))
    assert torch.equal(whole.target, torch.cat([h.target for h in halves]))
    assert all(same_lines(whole, half) for half in halves)
    assert not same(whole, batch(photos, samples, seed=1, step=6, first=0, count=6))
    assert not same(whole, batch(photos, samples, seed=2, step=5, first=0, count=6))


def ramp(side: int) -> Photo:
    """A picture that says where it is: red = row, green = column, in 255ths of its side."""
    y, x = np.mgrid[0:side, 0:side]
    return Photo(name="ramp", pixels=np.stack([y, x, np.zeros_like(x)], -1).astype(np.uint8))


@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("samples", [CROSSINGS, POINTS], ids=["crossings", "points"])
def test_targets_lie_where_their_coordinates_say(samples: Samples, step: int) -> None:
    """On a ramp, the input's codes around a point, interpolated, give the target's colour."""
    photos = weighed([ramp(100)], {})
    one = batch(photos, replace(samples, flips=False, detail=1), seed=3, step=step, first=0, count=2)
    for i in range(2):
        low = one.low[i].numpy()
        if isinstance(one.asked, Crossings):
            t_y, t_x = one.asked.grid.rows(), one.asked.grid.columns()
            rows = (t_y.index + t_y.offset)[one.asked.rows, 0]
            columns = (t_x.index + t_x.offset)[one.asked.columns, 0]
            points = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
        else:
            points = one.asked.points[i]
        target = one.target[i].reshape(-1, 3).numpy()
        # Away from the border the reduced ramp is straight; half a level of rounding, and the slope.
        inner = ((points > 2) & (points < low.shape[1] - 3)).all(1)
        for axis in (0, 1):
            line = low[axis].mean(1 - axis)
            along = points[inner, axis]
            below = np.floor(along).astype(int)
            expected = line[below] + (along - below) * (line[below + 1] - line[below])
            np.testing.assert_allclose(target[inner, axis] * 255, expected * 255, atol=1.0)


def test_the_input_is_reduced_as_pillow_does() -> None:
    y, x = np.mgrid[0:75, 0:75]
    waves = [127 + 100 * np.sin(y / a) * np.cos(x / b) for a, b in ((3, 5), (2, 9), (7, 2))]
    pixels = np.stack(waves, -1).astype(np.uint8)
    for side in (75, 40, 21, 10):
        pillow = np.array(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))
        ours = to_bytes(reduced(pixels, side, side)).permute(1, 2, 0).numpy()
        difference = np.abs(pillow.astype(int) - ours.astype(int))
        assert difference.max() <= 1
        # Pillow rounds to 8 bits after each axis: one level off here and there, but no drift
        assert (difference > 0).mean() < 0.25
        assert abs((pillow.astype(int) - ours).mean()) < 0.02


def test_training_at_one_factor_asks_only_for_it(photos: Photos) -> None:
    fixed = replace(CROSSINGS, scale_min=2, scale_max=2)
    for step in range(5):
        grid = crossings(batch(photos, fixed, seed=1, step=step, first=0, count=1)).grid
        assert grid.out_height == 2 * grid.in_height


def test_each_sample_of_the_papers_sampler_has_its_own_factor(photos: Photos) -> None:
    asked = batch(photos, POINTS, seed=1, step=0, first=0, count=6).asked
    assert isinstance(asked, Points)
    assert len(np.unique(asked.cells)) == 6


def test_paired_crops_show_the_same_place() -> None:
    low = ramp(40).pixels
    high = low.repeat(3, 0).repeat(3, 1)
    photos = weighed([Photo(name="pair", pixels=high, low=low)], {})
    one = batch(photos, replace(CROSSINGS, pairs="paired"), seed=1, step=2, first=0, count=4)
    asked = crossings(one)
    assert (asked.grid.out_height, asked.grid.in_height) == (36, 12)
    nearest = [taps(12, 36).nearest().index[lines, 0] for lines in (asked.rows, asked.columns)]
    expected = one.low[:, :, nearest[0]][:, :, :, nearest[1]].permute(0, 2, 3, 1)
    assert torch.equal(one.target, expected)


def test_detail_prefers_the_patch_that_has_some() -> None:
    half = np.zeros((64, 64, 3), np.uint8)
    half[:, 32:] = noise(64, 1).pixels[:, :32]
    photos = weighed([Photo(name="half", pixels=half)], {})

    def busy(detail: int) -> float:
        samples = Samples(batch=1, patch_px=8, lines=8, scale_max=1, detail=detail)
        lows = [batch(photos, samples, seed=1, step=s, first=0, count=1).low.std().item() for s in range(60)]
        return float(np.mean(np.array(lows) > 0.1))

    assert busy(4) > busy(1) + 0.1


def test_shares_weigh_pictures_by_their_name() -> None:
    photos = weighed([noise(20, 0), noise(20, 1), noise(20, 2)], {"1.*": 3.0, "2.png": 0.0})
    np.testing.assert_allclose(photos.share, [0.25, 0.75, 0.0])
    drawn = [photos.draw(np.random.default_rng(i)).name for i in range(300)]
    assert drawn.count("2.png") == 0
    assert 180 < drawn.count("1.png") < 270


def test_the_smallest_picture_gives_samples_of_the_largest_factor() -> None:
    side = smallest_side(CROSSINGS)
    photos = weighed([Photo(name="a", pixels=noise(side, 1).pixels[:, :side])], {})
    for step in range(20):
        assert batch(photos, CROSSINGS, seed=1, step=step, first=0, count=1).low.shape == (1, 3, 12, 12)


def test_a_degraded_picture_keeps_its_size_and_mean_and_is_often_another() -> None:
    rng = np.random.default_rng(0)
    low = torch.linspace(0.2, 0.8, 3 * 24 * 24).view(3, 24, 24)
    results = [degraded(low, 4.0, rng) for _ in range(30)]
    for result in results:
        assert result.shape == low.shape
        assert result.min() >= 0 and result.max() <= 1
        assert abs(result.mean() - low.mean()) < 0.02
    changed = sum(not torch.equal(result, low) for result in results)
    assert 20 < changed < 30  # clean pictures must stay among them


def test_rows_and_columns_are_asked_for_once_and_all_over_the_patch(photos: Photos) -> None:
    fixed = replace(CROSSINGS, scale_min=3, scale_max=3)
    asked = np.zeros(36)
    for step in range(300):
        one = crossings(batch(photos, fixed, seed=1, step=step, first=0, count=1))
        assert len(one.rows) == len(one.columns) == 16
        for lines in (one.rows, one.columns):
            assert (np.diff(lines) > 0).all()
            asked[lines] += 1
    # Each of 36 with the same chance, those at the border too: 16 / 36 of 600, spread about 12.
    assert abs(asked - 600 * 16 / 36).max() < 50


def test_a_patch_with_few_pixels_is_asked_for_whole(photos: Photos) -> None:
    one = crossings(batch(photos, replace(CROSSINGS, scale_max=1), seed=1, step=0, first=0, count=1))
    assert np.array_equal(one.rows, np.arange(12)) and np.array_equal(one.columns, np.arange(12))


def test_what_samples_have_in_common_does_not_decide_which_pictures_they_show() -> None:
    dark, light = (Photo(name=n, pixels=np.full((80, 80, 3), v, np.uint8)) for n, v in (("d", 0), ("l", 255)))
    photos = weighed([dark, light], {})
    steps = [batch(photos, CROSSINGS, seed=1, step=step, first=0, count=6) for step in range(200)]
    factor = [crossings(one).grid.out_height for one in steps]
    for sample in range(6):
        is_light = [float(one.low[sample].mean()) > 0.5 for one in steps]
        # of 200 pairs that have nothing to do with each other, one in a thousand is above 0.23
        assert abs(np.corrcoef(factor, is_light)[0, 1]) < 0.23


@pytest.mark.parametrize("samples", [CROSSINGS, POINTS, SIZES], ids=["crossings", "points", "sizes"])
def test_a_round_takes_no_more_memory_than_is_said(photos: Photos, samples: Samples) -> None:
    taken = 0
    for step in range(9):
        one = batch(photos, samples, seed=1, step=step, first=0, count=samples.batch)
        points = one.asked.points.nbytes if isinstance(one.asked, Points) else 0
        taken += one.low.nbytes + one.target.nbytes + points
    recipe = Recipe(name="any", model=MODEL, samples=replace(samples, repeat=9))
    said = round_bytes(recipe)
    assert 0.8 * said < taken <= said
    assert round_bytes(replace(recipe, samples=samples)) == 0
    frozen = replace(recipe, schedule=Schedule(frozen_steps=1))
    codes = build(MODEL).encode(one.low)
    assert round_bytes(frozen) - said == 9 * (codes.feat.nbytes + codes.picture.nbytes)

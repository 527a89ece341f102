"""The loop: law 7, the schedule, the guard against what is not finite, several processes."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from liif_cli.engine.render import Crew, Rendering, render
from liif_cli.errors import TrainingError
from liif_cli.image.picture import Picture
from liif_cli.nn.coords import Grid
from liif_cli.nn.decoders import Codes
from liif_cli.nn.grid import render_grid
from liif_cli.nn.model import Model, build
from liif_cli.nn.spec import DecoderSpec, EncoderSpec, ModelSpec
from liif_cli.train import checkpoint
from liif_cli.train.data import Batch, Crossings, Photo, Photos, Points, batch, to_bytes, weighed
from liif_cli.train.loop import Training, asked, l1, progress, rate_factor
from liif_cli.train.recipe import Recipe, Samples, Schedule

HEAD = "encoder.head.weight"
SMALL = Recipe(
    name="small",
    model=ModelSpec(
        encoder=EncoderSpec(kind="compact", width=16, depth=2),
        decoder=DecoderSpec(kind="light", hidden=(16, 16)),
    ),
    samples=Samples(batch=4, patch_px=8, lines=8, scale_max=3),
    schedule=Schedule(steps=12, warmup_steps=3, ema=0.9, precision="fp32"),
)


@pytest.fixture(scope="module")
def photos() -> Photos:
    return small_photos()


def small_photos() -> Photos:
    y, x = np.mgrid[0:60, 0:60]
    waves = [127 + 120 * np.sin(y / a + x / b) for a, b in ((5, 9), (8, 3), (4, -6))]
    return weighed([Photo(name="waves", pixels=np.stack(waves, -1).astype(np.uint8))], {})


def run(training: Training, steps: int | None = None) -> list[float]:
    losses = []
    for step in training.steps():
        losses.append(step.loss)
        if steps is not None and len(losses) == steps:
            break
    return losses


def equal(a: Training, b: Training) -> bool:
    ours, theirs = a.state()[0], b.state()[0]
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("at", [1, 7])
def test_law_7_stopped_and_resumed_is_not_stopped(
    photos: Photos, tmp_path: Path, precision: str, shards: int, at: int
) -> None:
    recipe = replace(SMALL, schedule=replace(SMALL.schedule, precision=precision))  # type: ignore[arg-type]
    unstopped = Training(recipe, photos, shards=shards)
    losses = run(unstopped)

    first = Training(recipe, photos, shards=shards)
    begun = run(first, at)
    checkpoint.save(tmp_path / "state.safetensors", *first.state())
    second = Training(recipe, photos, shards=shards)
    second.load(*checkpoint.load(tmp_path / "state.safetensors"))
    assert second.step == at
    assert begun + run(second) == losses
    assert equal(second, unstopped)


def test_a_slim_state_goes_on_with_its_weights_and_warms_up_anew(photos: Photos, tmp_path: Path) -> None:
    first = Training(SMALL, photos)
    run(first, 7)
    checkpoint.save(tmp_path / "checkpoint.safetensors", *first.state())
    checkpoint.slim(tmp_path, tmp_path / "slim.safetensors")
    assert not checkpoint.is_state(tmp_path / "missing")
    assert checkpoint.is_state(tmp_path / "slim.safetensors")
    second = Training(SMALL, photos)
    second.go_on_from(*checkpoint.load(tmp_path / "slim.safetensors"))
    assert second.step == 7
    torch.testing.assert_close(second.model.state_dict(), first.model.state_dict(), atol=1e-3, rtol=1e-3)
    rates = [step.rate for step in second.steps()]
    assert rates[0] == pytest.approx(SMALL.schedule.rate / 3)
    assert len(rates) == 5


def test_shards_give_the_gradient_of_the_whole_within_rounding(photos: Photos) -> None:
    one, four = (Training(SMALL, photos, shards=n) for n in (1, 4))
    np.testing.assert_allclose(run(one), run(four), rtol=1e-3)


def test_the_loss_falls(photos: Photos) -> None:
    longer = replace(SMALL, schedule=replace(SMALL.schedule, steps=150, rate=3e-3))
    losses = run(Training(longer, photos))
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])


@pytest.mark.parametrize("pairs", ["reduce", "sizes"])
def test_the_papers_way_of_random_points_trains_too(photos: Photos, pairs: str) -> None:
    samples = replace(SMALL.samples, queries=50, pairs=pairs, size_min=8, size_max=20)  # type: ignore[arg-type]
    longer = replace(SMALL, samples=samples, schedule=replace(SMALL.schedule, steps=60))
    losses = run(Training(longer, photos))
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_a_frozen_encoder_stays_and_then_moves(photos: Photos) -> None:
    recipe = replace(SMALL, schedule=replace(SMALL.schedule, frozen_steps=2))
    training = Training(recipe, photos)
    before = {n: p.detach().clone() for n, p in training.model.encoder.named_parameters()}
    moved = []
    for _ in training.steps():
        moved.append(any(not torch.equal(p, before[n]) for n, p in training.model.encoder.named_parameters()))
    assert moved == [False, False] + [True] * 10


@pytest.mark.parametrize("queries", [0, 40], ids=["window", "points"])
def test_a_teachers_answers_are_the_targets(photos: Photos, queries: int) -> None:
    recipe = replace(SMALL, samples=replace(SMALL.samples, queries=queries))
    itself = Training(recipe, photos, teacher=build(SMALL.model, seed=recipe.schedule.seed))
    assert next(itself.steps()).loss == 0
    longer = replace(recipe, schedule=replace(SMALL.schedule, steps=150, rate=3e-3, decay=0.5))
    losses = run(Training(longer, photos, teacher=build(SMALL.model, seed=7)))
    assert np.mean(losses[-20:]) < 0.3 * np.mean(losses[:20])


@pytest.mark.parametrize("queries", [0, 40], ids=["crossings", "points"])
def test_a_teacher_may_answer_with_its_self_ensemble(
    photos: Photos, monkeypatch: pytest.MonkeyPatch, queries: int
) -> None:
    recipe = replace(SMALL, teacher="t", teacher_tta=True, samples=replace(SMALL.samples, queries=queries))
    teacher = build(SMALL.model, seed=7)
    (given,) = given_to(Training(recipe, photos, teacher=teacher), 1, monkeypatch)
    answered_by_its_ensemble(teacher, given)


@pytest.mark.parametrize("queries", [0, 40], ids=["crossings", "points"])
def test_samples_come_again_in_another_position(
    photos: Photos, monkeypatch: pytest.MonkeyPatch, queries: int
) -> None:
    samples = replace(SMALL.samples, queries=queries, repeat=1)
    recipe = replace(SMALL, teacher="t", teacher_tta=True, samples=samples)
    teacher = build(SMALL.model, seed=7)
    seen = given_to(Training(recipe, photos, teacher=teacher), 9, monkeypatch)
    for given in seen[:8]:
        answered_by_its_ensemble(teacher, given)  # targets lie where the turned questions ask for them
    assert len({given.low.numpy().tobytes() for given in seen}) == 8
    assert torch.equal(seen[0].low, seen[8].low) and torch.equal(seen[0].target, seen[8].target)


def test_a_plain_teacher_is_not_asked_anew_and_sees_no_other_position(
    photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(SMALL, teacher="t", samples=replace(SMALL.samples, repeat=1))
    seen = given_to(Training(recipe, photos, teacher=build(SMALL.model, seed=7)), 3, monkeypatch)
    assert all(torch.equal(given.low, seen[0].low) for given in seen)
    assert all(torch.equal(given.target, seen[0].target) for given in seen)


def given_to(training: Training, steps: int, monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """What the model is asked in its first steps."""
    seen = []

    def kept(model: Model, codes: Codes, given: Batch) -> torch.Tensor:
        if model is training.model:
            seen.append(given)
        return asked(model, codes, given)

    monkeypatch.setattr("liif_cli.train.loop.asked", kept)
    run(training, steps)
    return seen


def answered_by_its_ensemble(teacher: Model, given: Batch) -> None:
    """The targets are what `upscale --tta` makes of the inputs."""
    for low, target, sample in zip(given.low, given.target, range(len(given.low)), strict=True):
        pixels = to_bytes(low).permute(1, 2, 0).numpy()
        if isinstance(given.asked, Points):
            cell = given.asked.cells[sample]
            height, width = (round(side / share) for side, share in zip(pixels.shape, cell, strict=False))
        else:
            height, width = given.asked.grid.out_height, given.asked.grid.out_width
        grid = Grid.whole(pixels.shape[0], pixels.shape[1], height, width)
        picture, how = Picture(pixels=pixels), Rendering(tta=True)
        with Crew(1) as crew:
            bands = render(teacher, picture, grid, crew, budget_bytes=1 << 30, how=how)
            whole = torch.from_numpy(np.concatenate([band.pixels.copy() for band in bands]))
        if isinstance(given.asked, Points):
            y, x = ((given.asked.points[sample] + 0.5) / cell - 0.5).round().astype(int).T
            wanted = whole[y, x]
        else:
            wanted = whole[given.asked.rows][:, given.asked.columns]
        torch.testing.assert_close(target, wanted, atol=2e-6, rtol=0)


def test_a_teacher_shares_the_codes_of_a_frozen_encoder_that_is_its_own(
    photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(SMALL, schedule=replace(SMALL.schedule, frozen_steps=2, steps=4))
    teacher = build(SMALL.model, seed=7)
    training = Training(recipe, photos, teacher=teacher)
    training.start_from({n: t for n, t in teacher.state_dict().items() if n.startswith("encoder.")})
    encode, encoded = teacher.encode, []

    def counted(low: torch.Tensor) -> Codes:
        encoded.append(len(low))
        return encode(low)

    monkeypatch.setattr(teacher, "encode", counted)
    together = run(training)
    assert encoded == [4, 4]  # once the encoder moves, the teacher needs codes of its own

    apart = Training(recipe, photos, teacher=teacher)
    apart.start_from({n: t for n, t in teacher.state_dict().items() if n.startswith("encoder.")})
    monkeypatch.setattr("liif_cli.train.loop._same_weights", lambda one, other: False)
    assert run(apart) == together


@pytest.mark.parametrize("teacher", [None, build(SMALL.model, seed=7)], ids=["pictures", "taught"])
def test_samples_come_again_and_nothing_of_them_is_made_twice(
    photos: Photos, monkeypatch: pytest.MonkeyPatch, teacher: Model | None
) -> None:
    still = replace(SMALL.schedule, steps=7, rate=0.0)
    recipe = replace(SMALL, samples=replace(SMALL.samples, repeat=3, flips=False), schedule=still)
    made = []

    def counted(*args: object, **kwargs: object) -> Batch:
        made.append((kwargs["step"], kwargs["first"]))
        return batch(*args, **kwargs)  # type: ignore[arg-type]

    answered = []

    def answering(*args: object) -> torch.Tensor:
        answered.append(args[0] is teacher)
        return asked(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("liif_cli.train.loop.batch", counted)
    monkeypatch.setattr("liif_cli.train.loop.asked", answering)
    losses = run(Training(recipe, photos, shards=2, teacher=teacher))
    assert losses[:3] == losses[3:6] and losses[0] == losses[6]
    assert len(set(losses)) == 3
    assert sorted(made) == [(step, first) for step in range(3) for first in (0, 2)]
    assert answered.count(True) == (6 if teacher else 0)
    assert answered.count(False) == 14


def test_codes_of_a_frozen_encoder_are_kept_while_it_is(photos: Photos) -> None:
    samples, schedule = replace(SMALL.samples, repeat=2), replace(SMALL.schedule, steps=8, frozen_steps=5)
    recipe = replace(SMALL, samples=samples, schedule=schedule)
    training = Training(recipe, photos)
    encoded = []
    hook = training.model.encoder.register_forward_pre_hook(lambda *_: encoded.append(training.step))
    losses = run(training)
    hook.remove()
    assert encoded == [0, 1, 5, 6, 7]
    anew = Training(recipe, photos)
    for step, loss in zip(anew.steps(), losses, strict=True):
        assert step.loss == loss
        anew._kept.clear()
    assert all(kept.codes is None for kept in training._kept.values())


@pytest.mark.parametrize("at", [2, 7])
@pytest.mark.parametrize("frozen_steps", [0, 8])
def test_law_7_holds_where_samples_come_again(photos: Photos, at: int, frozen_steps: int) -> None:
    schedule = replace(SMALL.schedule, frozen_steps=frozen_steps)
    recipe = replace(SMALL, samples=replace(SMALL.samples, repeat=5), schedule=schedule)
    whole, first, second = (
        Training(recipe, photos, shards=2, teacher=build(SMALL.model, seed=7)) for _ in range(3)
    )
    losses = run(whole)
    begun = run(first, at)
    second.load(*first.state())
    assert begun + run(second) == losses
    assert equal(second, whole)


def test_more_than_memory_holds_is_not_begun(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("liif_cli.train.loop.free_bytes", lambda: 100_000)
    with pytest.raises(TrainingError, match="what 9 steps see takes"):
        run(Training(replace(SMALL, samples=replace(SMALL.samples, repeat=9)), photos))
    run(Training(replace(SMALL, samples=replace(SMALL.samples, repeat=3)), photos))


def test_weights_that_fit_are_taken_over_and_the_rest_named(photos: Photos) -> None:
    other = replace(SMALL.model, decoder=DecoderSpec(kind="light", hidden=(16, 24)))
    giver = Training(replace(SMALL, model=other), photos)
    taker = Training(replace(SMALL, schedule=replace(SMALL.schedule, seed=9)), photos)
    fresh = taker.start_from(giver.model.state_dict())
    assert fresh == ["decoder.layers.1.bias", "decoder.layers.1.weight", "decoder.layers.2.weight"]
    assert torch.equal(taker.mean.state_dict()[HEAD], giver.model.state_dict()[HEAD])


class Poisoned(Training):
    """A run whose gradients are NaN at some steps, unless it has stepped back since."""

    bad: range = range(0)

    def _shard(self, *args: object) -> object:  # type: ignore[override]
        loss, gradients = super()._shard(*args)  # type: ignore[arg-type]
        if self.step in self.bad and not self.salt:
            gradients = [g * math.nan for g in gradients]
        return loss, gradients


def test_a_step_that_is_not_finite_is_left_out(photos: Photos) -> None:
    training = Poisoned(SMALL, photos)
    training.bad = range(4, 6)
    skipped = [step.number for step in training.steps() if step.skipped]
    assert skipped == [5, 6]
    assert all(bool(p.isfinite().all()) for p in training.model.parameters())


def test_a_row_of_bad_steps_goes_back_to_the_last_good_state(photos: Photos) -> None:
    recipe = replace(SMALL, schedule=replace(SMALL.schedule, steps=25))
    training = Poisoned(recipe, photos)
    training.bad = range(3, 100)
    back, good = [], None
    for step in training.steps():
        if step.number == 3:
            good = {n: t.clone() for n, t in training.state()[0].items()}
        if step.stepped_back:
            back.append(step.number)
            assert good is not None
            assert torch.equal(training.model.state_dict()[HEAD], good[f"model.{HEAD}"])
    assert back == [13]  # ten bad ones after the third
    assert training.salt == 1


def test_without_a_good_state_a_row_of_bad_steps_ends_the_run(photos: Photos) -> None:
    training = Poisoned(replace(SMALL, schedule=replace(SMALL.schedule, steps=25)), photos)
    training.bad = range(100)
    with pytest.raises(TrainingError, match="not finite"):
        run(training)


def test_the_rate_warms_up_stays_and_falls_to_zero() -> None:
    schedule = Schedule(warmup_steps=10, decay=0.2, steps=100)
    factors = [rate_factor(schedule, n, progress(schedule, n, 0)) for n in range(100)]
    np.testing.assert_allclose(factors[:10], np.arange(1, 11) / 10)
    assert set(factors[10:80]) == {1.0}
    np.testing.assert_allclose(factors[80:], (100 - np.arange(80, 100)) / 20)


def test_the_papers_rate_halves() -> None:
    schedule = Schedule(warmup_steps=0, decay=0, halve_steps=200_000, steps=1_000_000)
    steps = (0, 199_999, 200_000, 999_999)
    assert [rate_factor(schedule, n, 0.5) for n in steps] == [1, 1, 0.5, 0.0625]


def test_the_end_is_whichever_of_steps_and_minutes_comes_first() -> None:
    schedule = Schedule(steps=100, minutes=2)
    assert progress(schedule, 50, 30) == 0.5
    assert progress(schedule, 50, 90) == 0.75
    assert progress(Schedule(), 10**6, 1e6) == 0


def test_a_batch_that_cannot_be_shared_is_refused(photos: Photos) -> None:
    with pytest.raises(TrainingError, match="batch of 4") as caught:
        Training(SMALL, photos, shards=3)
    assert caught.value.hint == "--batch 6"


def test_a_checkpoint_of_another_model_is_refused(photos: Photos) -> None:
    other = replace(SMALL.model, decoder=DecoderSpec(kind="light", hidden=(16, 24)))
    tensors, facts = Training(replace(SMALL, model=other), photos).state()
    with pytest.raises(TrainingError, match="another model"):
        Training(SMALL, photos).load(tensors, facts)


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    for content in (b"", b"\x00" * 40, b"\xff" * 40):
        path.write_bytes(content)
        with pytest.raises(TrainingError, match=r"state\.safetensors"):
            checkpoint.load(path)


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.safetensors"
    checkpoint.save(path, {"a": torch.ones(3)}, {"step": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match="No space left") as caught:
        checkpoint.save(path, {"a": torch.zeros(3)}, {"step": 2})
    assert "is intact" in caught.value.hint
    assert checkpoint.load(path)[1] == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


PROCESS = """
import json, sys, torch
from torch import distributed as dist
from tests.train.test_loop import SMALL, small_photos, run
from liif_cli.train.loop import Training
torch.set_num_threads(1)
dist.init_process_group("gloo")
training = Training(SMALL, small_photos())
losses = run(training)
norm = sum(float(p.detach().double().sum()) for p in training.model.parameters())
if dist.get_rank() == 0:
    print(json.dumps([losses, norm]))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_give_what_one_gives_with_twice_the_batch_each(photos: Photos, tmp_path: Path) -> None:
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
    )
    losses, norm = json.loads(done.stdout)
    alone = Training(SMALL, photos)
    np.testing.assert_allclose(losses, run(alone), rtol=1e-4)
    expected = sum(float(p.detach().double().sum()) for p in alone.model.parameters())
    assert norm == pytest.approx(expected, rel=1e-4)


def test_the_loss_is_the_papers_in_normalised_values(photos: Photos) -> None:
    training = Training(SMALL, photos)
    samples = batch(photos, SMALL.samples, seed=1, step=0, first=0, count=2)
    crossings = samples.asked
    assert isinstance(crossings, Crossings)
    target = samples.target * 2 - 1
    with torch.no_grad():
        codes = training.model.encode(samples.low)
        whole = render_grid(training.model, codes, crossings.grid)
        answer = whole[:, crossings.rows][:, :, crossings.columns]
        expected = ((answer * 2 - 1) - target).abs().mean()
        assert float(l1(training.model, codes, samples)) == pytest.approx(float(expected))

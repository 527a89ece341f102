"""A run and its folder: it starts or resumes, goes on step by step, and tells what happens as events.

RUN/recipe.toml           the resolved recipe; of earlier legs, if they had another: recipe-to-step-N.toml
RUN/run.json              where the pictures lie, which are held out
RUN/checkpoint.safetensors  everything resuming needs
RUN/weights.safetensors   the mean weights, usable at any time
RUN/log.csv, loss.png, samples/, tensorboard/
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from liif_cli import machine
from liif_cli.engine.device import free_bytes
from liif_cli.errors import TrainingError, no_folder
from liif_cli.image.picture import Picture
from liif_cli.image.write import write
from liif_cli.nn.model import restore
from liif_cli.train import checkpoint, recipe
from liif_cli.train.data import round_bytes, smallest_side, weighed
from liif_cli.train.folder import Kept, Source, find, load, split
from liif_cli.train.judge import HeldOut, held_out, judge, sheet
from liif_cli.train.loop import Step, Training
from liif_cli.train.recipe import Recipe
from liif_cli.weights import fetch, store

_CHECKPOINT_S = 300.0
_JUDGING_SHARE = 0.1  # of the time may go into judging
_HONEST_AFTER = 50  # steps, before anything is said of the time left


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """One step was made. left_s: seconds to the end of the run, None while it cannot be told."""

    step: Step
    samples_per_s: float
    left_s: float | None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The mean weights were judged and written. psnr, bicubic: {scale: dB} on the held-out pictures."""

    number: int
    psnr: Mapping[int, float]
    bicubic: Mapping[int, float]
    weights: Path


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A checkpoint was written."""

    number: int
    path: Path


@dataclass(frozen=True, kw_only=True)
class Noted:
    """Something worth a line: where the run goes on from."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Warned:
    """Something went wrong, and the run went on: a bad step."""

    text: str


Event = Stepped | Judged | Saved | Noted | Warned


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is decided before a run begins.

    data, val: folders of pictures; val None: some of `data` are held out. folder: of the run.
    device: "cpu", "cuda:0"; shards: worker threads a step is shared out over.
    """

    recipe: Recipe
    data: Path
    val: Path | None
    folder: Path
    device: str
    shards: int


def begin(plan: Plan) -> None:
    """Make the folder of a new run. Raises TrainingError if there is one: a run is never overwritten.

    Raises WeightsError if what it begins from, or its teacher, is not there: no folder is left behind then.
    """
    for name in (plan.recipe.init, plan.recipe.teacher):
        if name and not checkpoint.is_state(Path(name)):
            store.read(fetch.local(name))
    try:
        plan.folder.mkdir(parents=True)
        (plan.folder / "recipe.toml").write_text(recipe.resolved(plan.recipe), encoding="utf-8")
        facts = {"data": str(plan.data.resolve()), "val": str(plan.val.resolve()) if plan.val else None}
        (plan.folder / "run.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    except FileExistsError as error:
        raise TrainingError(
            f"{plan.folder}: this run exists",
            hint=f"go on with it by --resume {plan.folder}, or choose another -o",
        ) from error
    except OSError as error:
        raise TrainingError(f"{plan.folder}: {error.strerror or error}") from error


def resume(folder: Path, settings: Sequence[str], *, device: str, shards: int) -> Plan:
    """The plan of a run that was begun, with `key=value` settings put over its recipe."""
    if not folder.is_dir():
        raise TrainingError(no_folder(folder))
    try:
        facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        data, val = Path(facts["data"]), facts["val"]
    except OSError as error:
        raise TrainingError(
            f"{folder}: no run in this folder: run.json: {error.strerror or error}"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{folder}: no run in this folder: run.json: {error}") from error
    return Plan(
        recipe=recipe.read(folder / "recipe.toml", settings),
        data=data,
        val=Path(val) if val else None,
        folder=folder,
        device=device,
        shards=shards,
    )


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What a run trains on and is judged by. left_out: a line for each picture that cannot be used."""

    train: Kept
    judged_by: HeldOut
    left_out: Sequence[str]


def sources(plan: Plan) -> tuple[list[Source], list[Source]]:
    """(training, validation) pictures of a plan, found but not read. None is in both."""
    found = find(plan.data, plan.recipe.samples)
    if plan.val is None:
        return split(found, plan.recipe.schedule.seed)
    inside = plan.val.resolve()
    train = [source for source in found if not source.path.resolve().is_relative_to(inside)]
    if not train:
        raise TrainingError(
            f"no picture to train on is left: all of {plan.data} lie in {plan.val}",
            hint="leave out --val, and some are held out",
        )
    return train, [Source(name=s.name, path=s.path) for s in find(plan.val, recipe.Samples())]


def pictures(plan: Plan, tell: Callable[[int], None] = lambda done: None) -> Pictures:
    """Read all pictures of a plan. Raises TrainingError if none is left, or memory is short."""
    samples = plan.recipe.samples
    train, val = sources(plan)
    held = _held(val)
    while plan.val is None and len(held.photos) < len(val) and len(train) > 1:
        # A file that cannot be read must not be what a run is judged by: another takes its place.
        more = _held([train.pop()])
        held = Kept(photos=held.photos + more.photos, left_out=held.left_out + more.left_out)
    kept = load(
        train,
        samples,
        smallest_px=smallest_side(samples),
        seed=plan.recipe.schedule.seed,
        limit_bytes=free_bytes() * 3 // 4,
        tell=tell,
    )
    _check_usable(kept, held)
    left_out = [*kept.left_out, *held.left_out]
    judged_by = held_out(
        [(photo.name, photo.pixels) for photo in held.photos], degrade=samples.degrade == "photo"
    )
    return Pictures(train=kept, judged_by=judged_by, left_out=left_out)


def _check_usable(train: Kept, val: Kept) -> None:
    for kept, what in ((train, "to train on"), (val, "to judge by")):
        if not kept.photos:
            raise TrainingError(f"no picture {what} can be used; the first: {kept.left_out[0]}")


def _held(val: Sequence[Source]) -> Kept:
    return load(val, recipe.Samples(), smallest_px=16, seed=0, limit_bytes=free_bytes() // 2)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run will take: memory with its pictures, one step, all of it."""

    memory_bytes: int
    step_s: float
    run_s: float


def estimate(plan: Plan, train: Sequence[Source], val: Sequence[Source]) -> Estimate:
    """Read a few of the pictures, make a few steps, and reckon the rest from them.

    Raises what the run itself would: TrainingError if none of them can be used, WeightsError.
    """
    samples = plan.recipe.samples
    some = load(
        train[:: max(1, len(train) // 8)][:8],
        samples,
        smallest_px=smallest_side(samples),
        seed=plan.recipe.schedule.seed,
        limit_bytes=free_bytes() * 3 // 4,
    )
    _check_usable(some, _held(val))
    own = replace(plan.recipe, schedule=replace(plan.recipe.schedule, steps=6, minutes=0.0))
    training = _training(replace(plan, recipe=own), some)
    times = []
    before = time.monotonic()
    for _ in training.steps():
        times.append(time.monotonic() - before)
        before = time.monotonic()
    for _ in _start(training, plan):  # only for what it raises
        pass
    step_s = median(times[1:])
    schedule = plan.recipe.schedule
    lengths = [schedule.steps * step_s] * bool(schedule.steps) + [schedule.minutes * 60] * bool(
        schedule.minutes
    )
    pixels = sum(photo.pixels.nbytes for photo in some.photos) / min(8, len(train)) * len(train)
    return Estimate(
        memory_bytes=int(pixels) + (machine.peak_bytes() or 0) + round_bytes(plan.recipe),
        step_s=step_s,
        run_s=min(lengths) * (1 + _JUDGING_SHARE),
    )


def go(plan: Plan, given: Pictures, *, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
    """Train until the recipe's end, or until `stop()` says so; either way a checkpoint is written last.

    Raises TrainingError if another process is at this run: they would write over each other's work.
    """
    training = _training(plan, given.train)
    with _alone(plan.folder) if training.first_process else nullcontext():
        yield from _go(training, plan, given, stop)


def _go(training: Training, plan: Plan, given: Pictures, stop: Callable[[], bool]) -> Iterator[Event]:
    yield from _start(training, plan)
    if training.progress >= 1:
        had = f"{training.step} steps in {training.elapsed_s / 60:.1f} minutes"
        yield Noted(
            text=f"its schedule is over after {had}; more --steps or --minutes, of the whole run, extend it"
        )
    first = training.first_process
    if first:
        _record(plan, training.step)
    log = _Log(plan.folder, given.judged_by) if first else None
    times: deque[float] = deque(maxlen=200)
    clock = time.monotonic
    began = saved_at = judged_at = clock()
    judging_s, before = 0.0, clock()
    judged = -1  # the step of which that was
    for step in training.steps():
        now = clock()
        times.append(now - before)
        if step.stepped_back:
            yield Warned(
                text=f"step {step.number}: ten steps without a finite gradient; back to the last checkpoint"
            )
        elif step.skipped:
            yield Warned(text=f"step {step.number}: the gradient is not finite; the step is left out")
        yield Stepped(
            step=step,
            samples_per_s=plan.recipe.samples.batch / median(times),
            left_s=_left_s(training, median(times)) if len(times) >= _HONEST_AFTER else None,
        )
        if log:
            log.step(step, training.elapsed_s)
        if training.agree(stop()):
            break
        if log and now - saved_at > _CHECKPOINT_S:
            yield _save(training, plan.folder)
            saved_at = clock()
        due = judging_s / _JUDGING_SHARE if judging_s else min(60.0, (now - began) + 30)
        if log and clock() - judged_at > max(due, 20.0):
            at = clock()
            yield _judge(training, plan, given.judged_by, log)
            judged_at, judged = clock(), training.step
            judging_s = judged_at - at
        before = clock()
    if log:
        if judged != training.step:
            yield _judge(training, plan, given.judged_by, log)
        yield _save(training, plan.folder)
        log.close()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a run's folder, until the block ends or the process dies, however it dies."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(
                f"{folder}: another process is at this run", hint="stop it first, or begin another run"
            ) from error
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(descriptor)


def _training(plan: Plan, kept: Kept) -> Training:
    teacher = None
    if plan.recipe.teacher:
        teacher = restore(*store.read(fetch.local(plan.recipe.teacher)))
    return Training(
        plan.recipe,
        weighed(kept.photos, plan.recipe.samples),
        device=plan.device,
        shards=plan.shards,
        teacher=teacher,
    )


def _start(training: Training, plan: Plan) -> Iterator[Event]:
    """Weights to begin with: the run's checkpoint, else the recipe's `init`, else random ones."""
    at = plan.folder / "checkpoint.safetensors"
    if at.exists():
        tensors, facts = checkpoint.load(at)
        training.load(tensors, facts)
        yield Noted(text=f"going on from step {training.step}")
    elif (plan.folder / "weights.safetensors").exists():
        raise TrainingError(
            f"{at}: is missing, and without it this run cannot go on",
            hint=f"a new one begins where it was: --init {plan.folder / 'weights.safetensors'}",
        )
    elif checkpoint.is_state(Path(plan.recipe.init)):
        training.go_on_from(*checkpoint.load(Path(plan.recipe.init)))
        yield Noted(text=f"going on from step {training.step} of {plan.recipe.init}")
    elif plan.recipe.init:
        _, tensors = store.read(fetch.local(plan.recipe.init))
        fresh = training.start_from(tensors)
        if len(fresh) == len(training.model.state_dict()):
            raise TrainingError(f"nothing of {plan.recipe.init} fits the model of this recipe")
        if fresh:
            parts = sorted({name.split(".")[0] for name in fresh})
            yield Noted(text=f"started from {plan.recipe.init}, {' and '.join(parts)} partly at random")


def _record(plan: Plan, step: int) -> None:
    """Put the recipe that is followed from `step` on into the folder; one that it replaces stays beside it.

    Without this, a run resumed with `--set` would fall back to its first recipe when resumed again.
    """
    path, now = plan.folder / "recipe.toml", recipe.resolved(plan.recipe)
    try:
        if path.read_text(encoding="utf-8") == now:
            return
        part = plan.folder / ".recipe.toml.part"
        part.write_text(now, encoding="utf-8")
        earlier = plan.folder / f"recipe-to-step-{step}.toml"
        if not earlier.exists():  # else no step was made since with the one that is replaced
            shutil.copyfile(path, earlier)
        part.replace(path)
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror or error}") from error


def _left_s(training: Training, step_s: float) -> float | None:
    schedule = training.recipe.schedule
    by_steps = (schedule.steps - training.step) * step_s if schedule.steps else None
    by_time = schedule.minutes * 60 - training.elapsed_s if schedule.minutes else None
    known = [s for s in (by_steps, by_time) if s is not None]
    return max(0.0, min(known)) * (1 + _JUDGING_SHARE) if known else None


def _save(training: Training, folder: Path) -> Saved:
    path = folder / "checkpoint.safetensors"
    checkpoint.save(path, *training.state())
    return Saved(number=training.step, path=path)


def _judge(training: Training, plan: Plan, by: HeldOut, log: _Log) -> Judged:
    psnr = judge(training.mean, by, workers=plan.shards)
    weights = plan.folder / "weights.safetensors"
    facts = {"recipe": recipe.resolved(plan.recipe), "steps": str(training.step)}
    store.write(weights, training.mean.spec, dict(training.mean.state_dict()), facts)
    log.judged(training.step, psnr, sheet(training.mean, by))
    return Judged(number=training.step, psnr=psnr, bicubic=by.bicubic, weights=weights)


class _Log:
    """What a run leaves to look at: a table, curves, sample pictures. TensorBoard where it is installed."""

    _FIELDS = ("step", "seconds", "loss", "rate", "psnr_x2", "psnr_x3", "psnr_x4")
    _EVERY = 20  # steps that share a row of the table

    def __init__(self, folder: Path, by: HeldOut) -> None:
        self._folder = folder
        self._by = by
        path = folder / "log.csv"
        fresh = not path.exists()
        self._file = path.open("a", encoding="utf-8", newline="")
        self._table = csv.DictWriter(self._file, self._FIELDS)
        if fresh:
            self._table.writeheader()
        self._board = _tensorboard(folder / "tensorboard")
        self._losses: list[float] = []
        self._seconds = 0.0

    def step(self, step: Step, elapsed_s: float) -> None:
        self._seconds = elapsed_s
        if not step.skipped:
            self._losses.append(step.loss)
        if step.number % self._EVERY == 0 and self._losses:
            loss = sum(self._losses) / len(self._losses)
            self._losses.clear()
            self._row({"step": step.number, "loss": f"{loss:.6f}", "rate": f"{step.rate:.3e}"})
            if self._board:
                self._board.add_scalar("loss", loss, step.number)
                self._board.add_scalar("rate", step.rate, step.number)

    def judged(self, number: int, psnr: Mapping[int, float], samples: Any) -> None:
        self._row({"step": number, **{f"psnr_x{s}": f"{value:.4f}" for s, value in psnr.items()}})
        if self._board:
            for scale, value in psnr.items():
                self._board.add_scalar(f"psnr/x{scale}", value, number)
        folder = self._folder / "samples"
        folder.mkdir(exist_ok=True)
        write(Picture(pixels=samples), folder / f"step-{number:07d}.png", overwrite=True)
        self._curve()

    def close(self) -> None:
        self._file.close()
        if self._board:
            self._board.close()

    def _row(self, row: Mapping[str, object]) -> None:
        try:
            self._table.writerow({"seconds": f"{self._seconds:.1f}", **row})
            self._file.flush()
        except OSError as error:
            kept = self._folder / "checkpoint.safetensors"
            raise TrainingError(
                f"{self._folder}: {error.strerror or error}",
                hint=f"the last checkpoint, {kept}, is intact" if kept.exists() else "",
            ) from error

    def _curve(self) -> None:
        """`loss.png`: loss, and PSNR above bicubic, over steps; nothing without matplotlib."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return
        with (self._folder / "log.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        figure = Figure(figsize=(8, 6), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        losses = [(int(r["step"]), float(r["loss"])) for r in rows if r["loss"]]
        above.plot([s for s, _ in losses], [loss for _, loss in losses], linewidth=0.8)
        above.set_ylabel("loss (L1)")
        for scale, base in self._by.bicubic.items():
            points = [
                (int(r["step"]), float(r[f"psnr_x{scale}"]) - base) for r in rows if r[f"psnr_x{scale}"]
            ]
            below.plot([s for s, _ in points], [p for _, p in points], marker=".", label=f"x{scale}")
        below.set_ylabel("dB above bicubic, held out")
        below.set_xlabel("step")
        below.grid(alpha=0.3)
        below.legend()
        part = self._folder / ".loss.png.part"
        figure.savefig(part, format="png", dpi=120)
        part.replace(self._folder / "loss.png")


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))

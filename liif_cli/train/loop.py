"""The steps of a training run: gradients, guard, schedule, mean weights. It draws and prints nothing.

On a CPU a step's samples are shared out over worker threads, each running torch single-threaded:
there are no barriers inside operations, so a busy neighbour costs little, and each half stays in its
own core's cache. A process on a GPU has one shard. Processes under torchrun share a step in the
same way; their gradients are averaged.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch import distributed as dist

from liif_cli import machine
from liif_cli.engine.device import free_bytes
from liif_cli.engine.turns import ALL
from liif_cli.errors import TrainingError
from liif_cli.nn.decoders import Codes
from liif_cli.nn.grid import prepare, render_block
from liif_cli.nn.model import Model, build
from liif_cli.train import checkpoint
from liif_cli.train.data import Batch, Photos, Points, batch, round_bytes, turned
from liif_cli.train.optimiser import Optimiser
from liif_cli.train.recipe import Recipe, Schedule
from liif_cli.train.shelf import Shelf

_BAD_STEPS = 10  # so many steps without a finite gradient, and the run goes back to its last good state


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """What comes again. codes: only while the encoder is frozen, and they stay the same."""

    given: Batch
    codes: Codes | None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step that was made: its number (from 1), mean loss, rate, and whether it was skipped."""

    number: int
    loss: float
    rate: float
    skipped: bool
    stepped_back: bool = False


class Training:
    """A run in progress: model, mean weights, optimiser, and where it stands.

    `steps()` goes on until the schedule ends; between two steps the run may be saved, judged or left.
    teacher: its answers are the targets, in place of the pictures.
    """

    def __init__(
        self,
        recipe: Recipe,
        photos: Photos,
        *,
        device: str = "cpu",
        shards: int = 1,
        teacher: Model | None = None,
    ) -> None:
        self.recipe = recipe
        self.step = 0
        self.elapsed_s = 0.0
        self.salt = 0  # changes the samples after a step back, lest the same fault come again
        self.warm_from = 0  # the step at which the optimiser began, for the warm-up
        self._photos = photos
        self._device = torch.device(device)
        self._ranks, self._rank = (
            (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
        )
        workers = shards * self._ranks
        if recipe.samples.batch % workers:
            raise TrainingError(
                f"a batch of {recipe.samples.batch} cannot be shared by {workers} workers",
                hint=f"--batch {math.ceil(recipe.samples.batch / workers) * workers}",
            )
        needed = round_bytes(recipe)
        if needed > free_bytes() // 2:
            raise TrainingError(
                f"what {recipe.samples.repeat} steps see takes {needed / 1e9:.1f} GB, "
                "more than half of what is free",
                hint="lower samples.repeat",
            )
        self._shards = shards
        machine.keep_freed_memory()
        model = build(recipe.model, seed=recipe.schedule.seed)
        self.model = model.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.mean = build(recipe.model).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.mean.requires_grad_(False)
        self.mean.load_state_dict(self.model.state_dict())
        self._teacher = teacher
        if teacher is not None:
            teacher.requires_grad_(False).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._optimiser = Optimiser(self.model, recipe.schedule)
        self._good: dict[str, Tensor] | None = None
        self._kept: dict[tuple[int, int], _Kept] = {}  # by step and first sample
        self._shelf, self._codes_shelf = Shelf(), Shelf()  # codes go sooner than the rest

    def start_from(self, tensors: dict[str, Tensor]) -> list[str]:
        """Take over the tensors that fit (`init`); returns the names of those that start at random."""
        own = self.model.state_dict()
        fitting = {n: t for n, t in tensors.items() if n in own and t.shape == own[n].shape}
        self.model.load_state_dict(fitting, strict=False)
        self.mean.load_state_dict(self.model.state_dict())
        return sorted(own.keys() - fitting.keys())

    def go_on_from(self, tensors: dict[str, Tensor], facts: dict[str, float]) -> None:
        """Go on from a state without an optimiser: its moments are built anew in a warm-up.

        Raises TrainingError if the state is of another model.
        """
        try:
            self.model.load_state_dict(checkpoint.part(tensors, "model."))
            self.mean.load_state_dict(checkpoint.part(tensors, "mean."))
        except RuntimeError as error:
            raise TrainingError("the state to go on from is of another model than the recipe's") from error
        self.step, self.elapsed_s = int(facts["step"]), float(facts["elapsed_s"])
        self.salt = int(facts["salt"])
        self.warm_from = self.step

    @property
    def first_process(self) -> bool:
        """Whether this process writes and prints: of several under torchrun, one does."""
        return self._rank == 0

    def agree(self, stop: bool) -> bool:
        """Whether to stop now: one process that wants to is enough, and all must do it at once."""
        if self._ranks == 1:
            return stop
        wish = torch.tensor(float(stop), device=self._device)
        dist.all_reduce(wish, dist.ReduceOp.MAX)
        return bool(wish)

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0 to 1."""
        return progress(self.recipe.schedule, self.step, self.elapsed_s)

    def steps(self) -> Iterator[Step]:
        """Make steps until the schedule ends."""
        with ThreadPoolExecutor(self._shards, "shard", initializer=_one_thread) as pool:
            bad = 0
            while self.progress < 1:
                began = time.monotonic()
                schedule = self.recipe.schedule
                factor = rate_factor(schedule, self.step, self.progress, self.warm_from)
                loss, gradients = self._gradients(pool)
                self.step += 1
                finite = math.isfinite(loss) and _finite(gradients.values())
                bad = 0 if finite else bad + 1
                back = bad >= _BAD_STEPS
                if finite:
                    self._optimiser.step(gradients, factor)
                    self._average()
                elif back:
                    self._step_back()
                    bad = 0
                self.elapsed_s += self._common(time.monotonic() - began)
                yield Step(
                    number=self.step,
                    loss=loss,
                    rate=schedule.rate * factor,
                    skipped=not finite,
                    stepped_back=back,
                )

    def state(self) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Everything resuming needs. It also is what a run goes back to after a row of bad steps."""
        tensors = {f"model.{n}": t for n, t in self.model.state_dict().items()}
        tensors |= {f"mean.{n}": t for n, t in self.mean.state_dict().items()}
        tensors |= {f"optimiser.{n}": t for n, t in self._optimiser.state().items()}
        self._good = {n: t.detach().clone() for n, t in tensors.items()}
        facts = {"step": self.step, "elapsed_s": self.elapsed_s, "salt": self.salt}
        return self._good, {**facts, "warm_from": self.warm_from}

    def load(self, tensors: dict[str, Tensor], facts: dict[str, float]) -> None:
        """Go on where `state()` was taken. Raises TrainingError if it is of another model."""
        try:
            self._restore(tensors)
        except (KeyError, RuntimeError) as error:
            raise TrainingError("the checkpoint is of another model than its recipe says") from error
        self._good = {n: t.clone() for n, t in tensors.items()}
        self.step, self.elapsed_s = int(facts["step"]), float(facts["elapsed_s"])
        self.salt, self.warm_from = int(facts["salt"]), int(facts["warm_from"])

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        self.model.load_state_dict(checkpoint.part(tensors, "model."))
        self.mean.load_state_dict(checkpoint.part(tensors, "mean."))
        self._optimiser.load(checkpoint.part(tensors, "optimiser."))

    def _step_back(self) -> None:
        if self._good is None:
            raise TrainingError(
                f"the loss is not finite for {_BAD_STEPS} steps, and there is no good state to go back to",
                hint="lower schedule.rate",
            )
        self._restore(self._good)
        self.salt += 1
        self._kept.clear()

    def _gradients(self, pool: ThreadPoolExecutor) -> tuple[float, dict[str, Tensor]]:
        """Mean loss and mean gradient over the samples of this step, of all shards and processes."""
        frozen = self.step < self.recipe.schedule.frozen_steps
        names = [n for n, _ in self.model.named_parameters() if not (frozen and n.startswith("encoder."))]
        size = self.recipe.samples.batch // (self._shards * self._ranks)
        first = self._rank * self._shards
        starts = [size * (first + shard) for shard in range(self._shards)]
        parts = list(pool.map(lambda start: self._shard(start, size, names, frozen), starts))
        loss = torch.stack([p[0] for p in parts]).mean()
        gradients = list(parts[0][1])
        for _, more in parts[1:]:
            gradients = list(torch._foreach_add(gradients, list(more)))
        if len(parts) > 1:
            torch._foreach_div_(gradients, len(parts))
        if self._ranks > 1:
            loss, gradients = _mean_over_processes(loss, gradients)
        return float(loss), dict(zip(names, gradients, strict=True))

    def _shard(
        self, start: int, size: int, names: Sequence[str], frozen: bool
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Loss and gradients of `size` samples of this step."""
        parameters = dict(self.model.named_parameters())
        with self._autocast():
            kept = self._kept_or_made(start, size, frozen)
            given, codes = kept.given, kept.codes
            if codes is None:
                given = self._turned_anew(given)
                codes = self.model.encode(self._low(given))
            loss = l1(self.model, _moved(codes, self._device), given)
        return loss.detach(), torch.autograd.grad(loss, [parameters[n] for n in names])

    def _kept_or_made(self, start: int, size: int, frozen: bool) -> _Kept:
        """What `size` samples of this step are, with their targets: kept, where it comes again."""
        samples = self.recipe.samples
        step = self.step % samples.repeat if samples.repeat else self.step
        known = self._kept.get((step, start))
        if known and not frozen:
            known = self._kept[step, start] = replace(known, codes=None)
        if known:
            return known
        seed = self.recipe.schedule.seed + (self.salt << 32)
        given = batch(self._photos, samples, seed=seed, step=step, first=start, count=size)
        with torch.no_grad():
            codes = self.model.encode(self._low(given)) if frozen else None
        if self._teacher is not None:
            given = self._taught(given, codes)
        made = _Kept(given=given, codes=codes)
        if samples.repeat:
            self._kept[step, start] = self._put_away(made)
        return made

    def _put_away(self, made: _Kept) -> _Kept:
        given, codes, shelf = made.given, made.codes, self._codes_shelf
        given = replace(given, low=self._shelf.copy(given.low), target=self._shelf.copy(given.target))
        if codes is not None:
            codes = replace(codes, feat=shelf.copy(codes.feat), picture=shelf.copy(codes.picture))
        return _Kept(given=given, codes=codes)

    def _turned_anew(self, given: Batch) -> Batch:
        """What comes again comes in another of its eight positions, until it has had them all.

        Not so under a plain teacher, whose answer to a turned input is another one: the difference is as
        large as what there is to learn from it (`standard`: losses of 0.008 in place of 0.005).
        """
        samples = self.recipe.samples
        turns = self._teacher is None or self.recipe.teacher_tta
        if not (samples.repeat and samples.flips and turns):
            return given
        return turned(given, ALL[self.step // samples.repeat % len(ALL)])

    def _low(self, given: Batch) -> Tensor:
        return given.low.to(self._device, memory_format=torch.channels_last)

    def _taught(self, given: Batch, codes: Codes | None) -> Batch:
        """The same with the teacher's answers as targets. codes: those of a model whose encoder is frozen."""
        assert self._teacher is not None
        with torch.no_grad():
            if self.recipe.teacher_tta:
                return replace(given, target=_ensemble(self._teacher, replace(given, low=self._low(given))))
            # A decoder that is fitted to its teacher's encoder: the codes are there already.
            if codes is None or not _same_weights(self.model.encoder, self._teacher.encoder):
                codes = self._teacher.encode(self._low(given))
            return replace(given, target=asked(self._teacher, codes, given).float())

    def _common(self, seconds: float) -> float:
        """The first process's clock counts for all: their schedules must not drift apart."""
        if self._ranks == 1:
            return seconds
        clock = torch.tensor(seconds, dtype=torch.float32, device=self._device)
        dist.broadcast(clock, 0)
        return float(clock)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.recipe.schedule.precision != "bf16":
            return nullcontext()
        return torch.autocast(self._device.type, torch.bfloat16)

    @torch.no_grad()
    def _average(self) -> None:
        # The mean forgets its random beginning faster than its decay alone would.
        decay = min(self.recipe.schedule.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.mean.parameters()), list(self.model.parameters()), 1 - decay)


def _finite(gradients: Iterable[Tensor]) -> bool:
    """Whether all of them are: a sum over what is not is not either, and costs one pass."""
    return bool(torch.stack([gradient.sum() for gradient in gradients]).isfinite().all())


def l1(model: Model, codes: Codes, given: Batch) -> Tensor:
    """Mean absolute error over a batch, in the paper's normalised values (twice that of 0 to 1)."""
    target = given.target.to(codes.feat.device)
    return 2 * (asked(model, codes, given).float() - target).abs().mean()


def asked(model: Model, codes: Codes, given: Batch) -> Tensor:
    """The model's answer to what a batch asks for."""
    what = given.asked
    if isinstance(what, Points):
        return model.query(codes, what.points, what.cells)
    return render_block(prepare(model, codes, what.grid), what.rows, what.columns)


def _ensemble(model: Model, given: Batch) -> Tensor:
    """The mean of the model's answers to a batch in its eight flips and turns (EDSR's self-ensemble)."""
    answers = []
    for turn in ALL:
        there = turned(given, turn)
        low = there.low.contiguous(memory_format=torch.channels_last)
        answer = asked(model, model.encode(low), there).float()
        answers.append(answer.transpose(1, 2) if turn.transpose and answer.ndim == 4 else answer)
    return torch.stack(answers).mean(0)


def _moved(codes: Codes, device: torch.device) -> Codes:
    return replace(codes, feat=codes.feat.to(device), picture=codes.picture.to(device))


def _same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(t, theirs[name]) for name, t in ours.items())


def progress(schedule: Schedule, step: int, elapsed_s: float) -> float:
    """Share of a run that is done, by whichever of steps and minutes is further. 0 without either."""
    by_steps = step / schedule.steps if schedule.steps else 0.0
    by_time = elapsed_s / (60 * schedule.minutes) if schedule.minutes else 0.0
    return min(1.0, max(by_steps, by_time))


def rate_factor(schedule: Schedule, step: int, done: float, warm_from: int = 0) -> float:
    """What the learning rate is multiplied by before step `step` (from 0), `done` of the run done."""
    warm = min(1.0, (step - warm_from + 1) / schedule.warmup_steps) if schedule.warmup_steps else 1.0
    if schedule.halve_steps:
        return warm * 0.5 ** (step // schedule.halve_steps)
    left = (1 - done) / schedule.decay if schedule.decay else 1.0
    return warm * min(1.0, left)


def _mean_over_processes(loss: Tensor, gradients: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """One message for all gradients; every process then makes the same step."""
    flat = torch.cat([loss.reshape(1), *(g.reshape(-1) for g in gradients)])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    sizes = [1, *(g.numel() for g in gradients)]
    mean, *parts = torch.split(flat, sizes)
    return mean[0], [p.view_as(g) for p, g in zip(parts, gradients, strict=True)]


def _one_thread() -> None:
    torch.set_num_threads(1)

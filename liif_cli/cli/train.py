"""`liif train`: parse, train, show."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from liif_cli.cli import console
from liif_cli.errors import Terminated, UsageError

if TYPE_CHECKING:
    from liif_cli.train.recipe import Recipe
    from liif_cli.train.run import Event, Judged, Plan, Stepped

_RUN = "The run"
_RECIPE = "Recipe"
_SPEED = "Speed"


def train(
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA", help="Folder of pictures, with all folders in it.", show_default=False
        ),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            rich_help_panel=_RECIPE, help="Name (standard, compact, edsr-baseline-liif ...) or FILE.toml."
        ),
    ] = "standard",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", rich_help_panel=_RECIPE, help="key=value over the recipe: schedule.rate=1e-4."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, rich_help_panel=_RECIPE, help="Length of the run in steps.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, rich_help_panel=_RECIPE, help="Length of the run in minutes.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, rich_help_panel=_RECIPE, help="Samples a step.")] = None,
    init: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_RECIPE, help="Weights to start from: name, file, hf://owner/repo, or none."
        ),
    ] = None,
    degrade: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_RECIPE, help="none, or photo: mild blur, noise and JPEG in the inputs."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, rich_help_panel=_RECIPE, help="Of all randomness.")
    ] = None,
    val: Annotated[
        Path | None,
        typer.Option(rich_help_panel=_RUN, help="Pictures to judge by.  [default: 5 % of DATA, held out]"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", rich_help_panel=_RUN, help="Folder.  [default: runs/RECIPE-DATE-TIME]"
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(rich_help_panel=_RUN, help="Go on with this run (without DATA).")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", rich_help_panel=_RUN, help="Count pictures, parameters, memory, time."),
    ] = False,
    device: Annotated[
        str, typer.Option(rich_help_panel=_SPEED, help="auto, cpu, cuda, cuda:1, mps.")
    ] = "auto",
    precision: Annotated[
        str | None, typer.Option(rich_help_panel=_SPEED, help="auto (bf16 where it is faster), fp32, bf16.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=_SPEED, help="Threads on a CPU.  [default: one a core]"),
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress, no notes.")] = False,
) -> None:
    """Train or fine-tune a model on a folder of pictures.

    Example: liif train data/ --minutes 30
    """
    if (data is None) == (resume is None):
        raise UsageError(
            "give DATA, or --resume RUN" if data is None else "DATA and --resume exclude each other",
            hint="liif train data/ --minutes 30",
        )
    changes = [
        *(settings or []),
        *_given("schedule.steps", steps),
        *_given("schedule.minutes", minutes),
        *_given("samples.batch", batch),
        *_given("schedule.seed", seed),
        *_given("schedule.precision", precision),
        *_given("samples.degrade", degrade),
        *_given("init", "" if init == "none" else init),
    ]
    if steps and not minutes:
        changes.append("schedule.minutes=0.0")
    if minutes and not steps:
        changes.append("schedule.steps=0")

    from liif_cli.train import parallel
    from liif_cli.train.run import begin, go, pictures

    with parallel.processes(device) as place:
        shards = place.shards(threads)
        plan = (
            _resumed(resume, changes, place.device, shards)
            if resume
            else _new(data, val, output, recipe, changes, place.device, shards)
        )
        if dry_run:
            _show_plan(plan)
            return
        show = _Show(quiet=quiet or not place.first)
        with show.reading() as tell:
            given = pictures(plan, tell)
        for line in given.left_out:
            show.warn(line)
        if not resume and place.first:
            begin(plan)
        kept, held = len(given.train.photos), len(given.judged_by.pairs) // 3
        show.note(f"{kept} pictures in memory, smaller copies included; {held} held out")
        show.note(f"run: {plan.folder}")
        with _stopping() as asked, show:
            for event in go(plan, given, stop=lambda: bool(asked)):
                show(event)
    if not place.first:
        return
    if asked:
        console.note(f"stopped; go on with: liif train --resume {plan.folder}")
        if asked[0] == signal.SIGINT:
            raise KeyboardInterrupt
        raise Terminated(asked[0])
    print(plan.folder / "weights.safetensors")


def _given(key: str, value: object) -> Iterator[str]:
    if value is not None:
        yield f"{key}={value}"


def find_recipe(name: str) -> Path:
    """The file of a recipe given by name, or as a path. Raises UsageError with the nearest name."""
    from liif_cli.errors import nearest
    from liif_cli.weights import catalog

    if name.endswith(".toml") or os.sep in name:
        return Path(name)
    known = {path.stem: path for path in (catalog.folder() / "recipes").glob("*.toml")}
    if name not in known:
        names = ", ".join(sorted(known))
        raise UsageError(
            f"no recipe is called {name!r}", hint=nearest(name, known, otherwise=f"there are: {names}")
        )
    return known[name]


def _new(
    data: Path | None,
    val: Path | None,
    output: Path | None,
    name: str,
    changes: list[str],
    device: str,
    shards: int,
) -> Plan:
    from datetime import datetime

    from liif_cli.train import recipe as recipes
    from liif_cli.train.run import Plan

    assert data is not None
    recipe = _settled(recipes.read(find_recipe(name), changes), device)
    folder = output or Path("runs") / f"{recipe.name}-{datetime.now():%Y%m%d-%H%M%S}"
    if folder.exists():
        raise UsageError(
            f"{folder}: is there already", hint=f"go on with a run by --resume {folder}, or choose another -o"
        )
    return Plan(recipe=recipe, data=data, val=val, folder=folder, device=device, shards=shards)


def _resumed(folder: Path, changes: list[str], device: str, shards: int) -> Plan:
    from dataclasses import replace

    from liif_cli.train.run import resume

    plan = resume(folder, changes, device=device, shards=shards)
    return replace(plan, recipe=_settled(plan.recipe, device))


def _settled(recipe: Recipe, device: str) -> Recipe:
    """The recipe with its precision decided, and with an end."""
    from dataclasses import replace

    from liif_cli.train.parallel import faster_precision

    schedule = recipe.schedule
    if not (schedule.steps or schedule.minutes):
        raise UsageError(f"recipe {recipe.name}: has no end", hint="--minutes 30, or --steps 10000")
    if schedule.precision == "auto":
        schedule = replace(schedule, precision=faster_precision(device))
    return replace(recipe, schedule=schedule)


def _show_plan(plan: Plan) -> None:
    from liif_cli.nn.model import build
    from liif_cli.train.run import estimate, sources

    train_on, held = sources(plan)
    model = build(plan.recipe.model)
    cost = estimate(plan, train_on, held)
    how = f"{plan.recipe.schedule.precision}, {plan.shards} threads, {plan.device}"
    for line in (
        f"recipe      {plan.recipe.name} ({how})",
        f"pictures    {len(train_on)} to train on, {len(held)} held out (found, not yet read)",
        f"parameters  {sum(p.numel() for p in model.parameters()):,}",
        f"memory      {cost.memory_bytes / 1e9:.1f} GB, pictures included",
        f"step        {cost.step_s:.2f} s",
        f"time        {_duration(cost.run_s)}",
    ):
        console.out().print(line)


class _Show:
    """Progress and notes on stderr."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn

        self._quiet = quiet
        self._judged = ""
        self._seen = 0
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            console=console.err(),
            transient=True,
            disable=quiet or not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("starting")

    def __enter__(self) -> _Show:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    @contextmanager
    def reading(self) -> Iterator[Callable[[int], None]]:
        with self._bar:
            yield lambda done: self._bar.update(self._task, description=f"reading pictures: {done}")

    def note(self, text: str) -> None:
        if not self._quiet:
            console.note(text)

    def warn(self, text: str) -> None:
        if not self._quiet:
            console.warn(text)

    def __call__(self, event: Event) -> None:
        from liif_cli.train import run

        match event:
            case run.Stepped():
                self._bar.update(self._task, description=self._line(event))
                self._milestone(event)
            case run.Judged():
                self._judged = _psnr(event)
                self.note(f"step {event.number}: {self._judged}")
            case run.Saved():
                pass
            case run.Noted():
                self.note(event.text)
            case run.Warned():
                self.warn(event.text)

    def _milestone(self, event: Stepped) -> None:
        """Where there is no bar, the time left is said once, as soon as it is honest."""
        if event.left_s is not None and not self._seen:
            self._seen = event.step.number
            if not sys.stderr.isatty():
                self.note(
                    f"step {event.step.number}: {event.samples_per_s:.0f} samples/s, "
                    f"about {_duration(event.left_s)} left"
                )

    def _line(self, event: Stepped) -> str:
        left = f"{_duration(event.left_s)} left" if event.left_s is not None else "timing"
        step = event.step
        return (
            f"step {step.number}  loss {step.loss:.4f}  rate {step.rate:.1e}  "
            f"{event.samples_per_s:.0f} samples/s  {left}  {self._judged}"
        )


def _psnr(event: Judged) -> str:
    pairs = (f"x{s} {value:.2f} ({value - event.bicubic[s]:+.2f})" for s, value in event.psnr.items())
    return "PSNR dB (against bicubic): " + "  ".join(pairs)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes >= 120:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """While the block runs, Ctrl-C and what else ends a program are only noted; a Ctrl-C after one ends it.

    Only a person is impatient: `timeout`, for one, sends its signal twice at once, which cost the checkpoint.
    """
    asked: list[int] = []

    def note(number: int, _: object) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    hangup = [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []  # not on Windows
    numbers = [
        n for n in (signal.SIGINT, signal.SIGTERM, *hangup) if signal.getsignal(n) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

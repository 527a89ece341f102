"""A whole run: data sets x pictures x scales x contestants -> rows, as they are finished.

One upscaling at a time. A picture that the journal of an earlier run already holds is taken from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from liif_cli.errors import LiifError, UsageError, nearest
from liif_cli.evaluate import baselines
from liif_cli.evaluate.baselines import SHORTCUT, Upscale
from liif_cli.evaluate.dataset import DataSet, Sample
from liif_cli.evaluate.metrics import Comparison, Metric
from liif_cli.evaluate.protocol import Pair, Protocol, Scale, compare
from liif_cli.evaluate.results import Journal, Row, Way, shortcut_name
from liif_cli.image.picture import Picture, quantize

BASELINES = ("bicubic", "lanczos", "x4-lanczos")


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """Somebody who enlarges pictures.

    sha256:    first 16 digits for the weights file, empty if there is none.
    precision: what the network runs in, empty without one.
    cost:      (input pixels, output pixels) -> multiply-adds; for the time left.
    derived:   made of a model that is there itself: nobody asks what its shortcut is worth.
    """

    name: str
    upscale: Upscale
    sha256: str = ""
    precision: str = ""
    cost: Callable[[int, int], float] = lambda _, output: output
    derived: bool = False


@dataclass(frozen=True, kw_only=True)
class Task:
    """One upscaling."""

    data: DataSet
    sample: Sample
    scale: Scale
    contestant: Contestant

    @property
    def cost(self) -> float:
        """Multiply-adds, about."""
        lr = self.scale.lr_size(*self.sample.size)
        hr = self.scale.hr_size(*lr)
        return self.contestant.cost(lr[0] * lr[1], hr[0] * hr[1])

    def __str__(self) -> str:
        return f"{self.data.name}/{self.sample.image} x{self.scale} {self.contestant.name}"

    def picture(self, folder: Path) -> Path:
        """Where the result is saved: FOLDER/Set5/standard/x2.5/baby.png."""
        who = re.sub(r"[^\w.+-]+", "_", self.contestant.name)
        return folder / self.data.name / who / f"x{self.scale}" / f"{self.sample.image}.png"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is to be measured, and how.

    border:   (rows, columns) in place of the protocol's.
    pictures: a folder the results are saved to, as PNG of 8 bits; `Task.picture` names them.
    """

    contestants: tuple[Contestant, ...]
    datasets: tuple[DataSet, ...]
    scales: tuple[Scale, ...]
    protocol: Protocol
    metrics: tuple[Metric, ...]
    border: tuple[int, int] | None = None
    pictures: Path | None = None

    def tasks(self) -> Iterator[Task]:
        """All upscalings: picture by picture, scale by scale."""
        for data in self.datasets:
            for sample in data.samples:
                yield from self.tasks_of(data, sample)

    def tasks_of(self, data: DataSet, sample: Sample) -> list[Task]:
        return [
            Task(data=data, sample=sample, scale=scale, contestant=contestant)
            for scale in self.scales
            for contestant in self.contestants
        ]

    def kept(self, task: Task, journal: Journal) -> tuple[Row, ...]:
        """All rows of a task that an earlier run finished; empty if any is missing, or its picture."""
        if self.pictures and not task.picture(self.pictures).exists():
            return ()
        sha256 = task.sample.sha256[task.scale]
        ways = [self._way(task, metric) for metric in self.metrics]
        found = [(way, journal.value(way, task.sample.image, sha256)) for way in ways]
        rows = tuple(self._row(task, way, value) for way, value in found if value is not None)
        return rows if len(rows) == len(self.metrics) else ()

    def measured(self, task: Task, comparison: Comparison) -> tuple[Row, ...]:
        """The rows of a task that has just been done."""
        return tuple(
            self._row(task, self._way(task, metric), metric.value(comparison)) for metric in self.metrics
        )

    def _row(self, task: Task, way: Way, value: float) -> Row:
        sha256 = task.sample.sha256[task.scale]
        return Row(way=way, image=task.sample.image, image_sha256=sha256, value=value)

    def _way(self, task: Task, metric: Metric) -> Way:
        return Way(
            model=task.contestant.name,
            dataset=task.data.name,
            protocol=self.protocol.name,
            scale=task.scale,
            metric=metric.name,
            lr="files" if task.scale in task.sample.lr else "bicubic",
            border=self.protocol.border(task.scale) if self.border is None else self.border,
            precision=task.contestant.precision,
            model_sha256=task.contestant.sha256,
        )


@dataclass(frozen=True, kw_only=True)
class Step:
    """A task that is finished. kept: by an earlier run."""

    task: Task
    rows: tuple[Row, ...]
    kept: bool = False


def with_baselines(models: Sequence[Contestant], names: Sequence[str]) -> tuple[Contestant, ...]:
    """Baselines of these names and models, in the order of a table: what is to be beaten first.

    Raises UsageError for an unknown baseline.
    """
    for name in names:
        if name not in BASELINES:
            hint = nearest(name, BASELINES, otherwise=f"choose from {', '.join(BASELINES)}")
            raise UsageError(f"no baseline is called {name!r}", hint=hint)
    filters = {"bicubic": baselines.bicubic, "lanczos": baselines.lanczos}
    # Beside a network a filter takes no time, so the rate that is seen is the network's.
    found = [
        Contestant(name=name, upscale=filters[name], cost=lambda _, __: 0.0)
        for name in filters
        if name in names
    ]
    for model in models:
        found += [_shortcut(model), model] if "x4-lanczos" in names and not model.derived else [model]
    return tuple(found)


def remaining(run: Run, journal: Journal | None = None) -> list[Task]:
    """What `measure` will have to do: all that the journal does not hold."""
    return [task for task in run.tasks() if journal is None or not run.kept(task, journal)]


def measure(run: Run, journal: Journal | None = None) -> Iterator[Step]:
    """Do every task that the journal does not hold; rows go into it before they are yielded.

    Raises LiifError if a result holds values that are no numbers, and whatever a contestant raises.
    """
    for data in run.datasets:
        for sample in data.samples:
            tasks = run.tasks_of(data, sample)
            kept = [run.kept(task, journal) if journal else () for task in tasks]
            missing = dict.fromkeys(task.scale for task, rows in zip(tasks, kept, strict=True) if not rows)
            pairs = iter(sample.pairs(missing))
            pair: Pair | None = None
            for task, rows in zip(tasks, kept, strict=True):
                if rows:
                    yield Step(task=task, rows=rows, kept=True)
                    continue
                if pair is None or pair.scale != task.scale:
                    pair = next(pairs)
                yield _done(run, task, pair, journal)


def _done(run: Run, task: Task, pair: Pair, journal: Journal | None) -> Step:
    try:
        comparison = compare(task.contestant.upscale, pair, run.protocol, border=run.border)
    except FloatingPointError as error:
        hint = "its weights are damaged, or its training diverged"
        raise LiifError(f"{task.contestant.name}: {error}", hint=hint) from error
    rows = run.measured(task, comparison)
    if journal:
        journal.add(rows)
    # Behind the rows: a picture that is there without its rows would be in the way of the next run.
    if run.pictures:
        _save(comparison, task.picture(run.pictures))
    return Step(task=task, rows=rows)


def _shortcut(model: Contestant) -> Contestant:
    return Contestant(
        name=shortcut_name(model.name),
        upscale=baselines.x4_lanczos(model.upscale),
        sha256=model.sha256,
        precision=model.precision,
        cost=lambda given, _: model.cost(given, SHORTCUT**2 * given),
    )


def _save(comparison: Comparison, path: Path) -> None:
    from liif_cli.image.write import write

    path.parent.mkdir(parents=True, exist_ok=True)
    write(Picture(pixels=quantize(comparison.result, 8)), path, overwrite=True)

"""`liif eval`: parse, measure, show."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from liif_cli.cli import console, document
from liif_cli.errors import UsageError, nearest

if TYPE_CHECKING:
    from rich.progress import Progress

    from liif_cli.evaluate.results import Journal, Mean, Row
    from liif_cli.evaluate.run import Contestant, Run

STDOUT = Path("-")
BLOCK = "scores"

_IN_OUT = "Input and output"
_MODEL = "Model"
_MEASURE = "What is measured"
_SPEED = "Speed and memory"
_SCALES = "2,3,4"
_METRIC = "psnr"


def eval_(
    data: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DATA...", help="Folders: of pictures, or of HR/ and LR_bicubic/X2 ..."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--model",
            rich_help_panel=_MODEL,
            show_default="standard",
            help="Name, file or hf://owner/repo; several allowed.",
        ),
    ] = None,
    baseline: Annotated[
        str,
        typer.Option(
            rich_help_panel=_MODEL,
            help="Also measured: bicubic, lanczos, x4-lanczos (each model's own x4, resampled), or none.",
        ),
    ] = "bicubic,lanczos,x4-lanczos",
    tta: Annotated[
        bool,
        typer.Option(
            "--tta",
            "-x",
            rich_help_panel=_MODEL,
            help="Each model also as the mean of eight flips and turns, and what it gains.",
        ),
    ] = False,
    scales: Annotated[
        str | None,
        typer.Option(
            "-s",
            "--scales",
            rich_help_panel=_MEASURE,
            show_default=_SCALES,
            help="2,3,4 or 2.5,30,2x3.5 (width x height).",
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            rich_help_panel=_MEASURE,
            help="benchmark (Y), div2k (RGB, border scale + 6), rgb, file (Y, as saved in 8 bits).",
        ),
    ] = "benchmark",
    metric: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_MEASURE,
            show_default=_METRIC,
            help="psnr, ssim, lr-consistency, scale-consistency, border-band; with pyiqa also lpips ...",
        ),
    ] = None,
    border: Annotated[
        int | None,
        typer.Option(
            min=0,
            rich_help_panel=_MEASURE,
            show_default="the protocol's",
            help="Pixels left out at each side.",
        ),
    ] = None,
    lr_dir: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_IN_OUT, help="Other LR files: a folder with X2, X3 ... for every scale."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=_IN_OUT, help="Only the first N pictures of each folder."),
    ] = None,
    against: Annotated[
        str | None, typer.Option(rich_help_panel=_MEASURE, help="paper: the published row beside ours.")
    ] = None,
    min_psnr: Annotated[
        float | None,
        typer.Option(rich_help_panel=_MEASURE, help="Status 5 if a model's mean is below, in dB."),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from",
            rich_help_panel=_IN_OUT,
            help="Show what --json kept (all, or by -m, -s, --metric); measure nothing.",
        ),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_IN_OUT, help="JSON Lines, a row per picture; an unfinished file is continued."
        ),
    ] = None,
    csv: Annotated[Path | None, typer.Option(rich_help_panel=_IN_OUT, help="The same rows as CSV.")] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_IN_OUT,
            help=f"The tables as Markdown; into the block `<!-- begin {BLOCK}: ...` of a file that has one.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(rich_help_panel=_IN_OUT, help="The first metric over the scale: a .png, .svg or .pdf."),
    ] = None,
    save_images: Annotated[
        Path | None,
        typer.Option(rich_help_panel=_IN_OUT, help="Save the results below this folder, as 8-bit PNG."),
    ] = None,
    by_picture: Annotated[
        bool,
        typer.Option("--by-picture", rich_help_panel=_IN_OUT, help="Also a table with a row per picture."),
    ] = False,
    if_exists: Annotated[
        str, typer.Option(rich_help_panel=_IN_OUT, help="error or overwrite, for all files but --json.")
    ] = "error",
    yes: Annotated[
        bool, typer.Option("-y", rich_help_panel=_IN_OUT, help="Same as --if-exists overwrite.")
    ] = False,
    device: Annotated[
        str, typer.Option(rich_help_panel=_SPEED, help="auto, cpu, cuda, cuda:1, mps.")
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option(rich_help_panel=_SPEED, help="fp32, bf16, fp16 or auto; published numbers are fp32."),
    ] = "fp32",
    memory: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_SPEED,
            show_default="half of what is free",
            help="What computing may use: 800M, 4G, 50%.",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress, no notes.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="A line per finished picture.")] = False,
) -> None:
    """Measure models on test pictures, by protocols that others can repeat.

    Example: liif eval benchmarks/Set5 -m standard --scales 2,3,4,6,8 --against paper
    """
    outputs = _Outputs(
        json=json,
        csv=csv,
        markdown=markdown,
        plot=plot,
        overwrite=yes or _chosen("--if-exists", if_exists, ("error", "overwrite")) == "overwrite",
        against_paper=against is not None and _chosen("--against", against, ("paper",)) == "paper",
        by_picture=by_picture,
    )
    outputs.check()
    rows: list[Row] = []
    if min_psnr is not None and math.isnan(min_psnr):
        raise UsageError("--min-psnr nan: not a number")
    if from_:
        if data or json or save_images or by_picture:
            raise UsageError("--from goes without DATA, --json, --save-images and --by-picture")
        means = _kept(from_, model or [], _words(scales), _words(metric))
    else:
        if not data:
            raise UsageError("no DATA to measure", hint="liif eval benchmarks/Set5 --scales 2,3,4,6,8")
        metrics = _words(_METRIC if metric is None else metric)
        if min_psnr is not None and "psnr" not in metrics:
            hint = f"--metric {','.join(['psnr', *metrics])}"
            raise UsageError("--min-psnr needs psnr among the metrics", hint=hint)
        say = _Say(quiet=quiet, verbose=verbose)
        with ExitStack() as stack:
            journal = outputs.journal(stack)
            run = _run(
                folders=data,
                limit=limit,
                lr_dir=lr_dir,
                models=_Models(
                    names=tuple(model or ()),
                    device=device,
                    precision=precision,
                    memory=memory,
                    saved=protocol == "file",
                    tta=tta,
                    stack=stack,
                ),
                baselines=_words(baseline),
                scales=_words(_SCALES if scales is None else scales),
                protocol=protocol,
                metrics=metrics,
                border=None if border is None else (border, border),
                pictures=save_images,
                say=say,
            )
            rows, means = _measured(run, journal, outputs, say)
    outputs.write(rows, means)
    if min_psnr is not None:
        from liif_cli.evaluate.tables import gate

        gate(means, min_psnr)


@dataclass(frozen=True, kw_only=True)
class _Say:
    """What is said on stderr while measuring."""

    quiet: bool
    verbose: bool

    def note(self, line: str) -> None:
        if not self.quiet:
            console.note(line)

    def detail(self, line: str) -> None:
        if self.verbose:
            console.note(line)

    def progress(self) -> Progress:
        """A bar with the time left; nothing where nobody looks."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        return Progress(
            TextColumn("{task.percentage:>3.0f}%"),
            BarColumn(24),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=console.err(),
            transient=True,
            disable=self.quiet or not sys.stderr.isatty(),
            # Pictures differ in size: the rate of the whole run, not of the last half minute.
            speed_estimate_period=86_400,
        )


@dataclass(frozen=True, kw_only=True)
class _Models:
    """The models asked for, before they are loaded. saved: results are wanted as a file has them. tta: each
    also as the mean of eight flips and turns."""

    names: tuple[str, ...]
    device: str
    precision: str
    memory: str | None
    saved: bool
    tta: bool
    stack: ExitStack

    def load(self, say: _Say) -> list[Contestant]:
        """All of them; they end with the stack."""
        from liif_cli.weights import catalog

        names = dict.fromkeys(self.names or (catalog.default(),))
        ways = (False, True) if self.tta else (False,)
        return [self._load(name, say, tta=tta) for name in names for tta in ways]

    def _load(self, name: str, say: _Say, *, tta: bool) -> Contestant:
        import hashlib

        from liif_cli.api import Options, Upscaler
        from liif_cli.evaluate.results import ensemble_name
        from liif_cli.evaluate.run import Contestant
        from liif_cli.weights import fetch

        with fetch.local(name, notify=say.note).open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        upscaler = self.stack.enter_context(
            Upscaler(
                name,
                device=self.device,
                precision=self.precision,
                memory=self.memory,
                options=Options(tta=tta),
            )
        )
        say.detail(f"{name}: {upscaler.placement.because}")
        # Floats are always computed in float32 unless told otherwise; `auto` is for 8-bit results.
        exact = self.precision == "auto" and not self.saved
        dtype = "float32" if exact else upscaler.placement.dtype
        spec = upscaler.spec
        times = 8 if tta else 1
        given, asked = spec.multiply_adds_per_input_pixel, spec.multiply_adds_per_output_pixel
        return Contestant(
            name=ensemble_name(name) if tta else name,
            upscale=partial(upscaler.upscale, as_float=not self.saved),
            sha256=sha256,
            precision=_PRECISIONS.get(dtype, dtype),
            cost=lambda input_px, output_px: times * (given * input_px + asked * output_px),
            derived=tta,
        )


_PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


@dataclass(frozen=True, kw_only=True)
class _Outputs:
    """Where results go. `-` is stdout, which then holds nothing else."""

    json: Path | None
    csv: Path | None
    markdown: Path | None
    plot: Path | None
    overwrite: bool
    against_paper: bool
    by_picture: bool

    def check(self) -> None:
        """Raise UsageError now for what cannot be written later."""
        if [self.json, self.csv, self.markdown].count(STDOUT) > 1:
            raise UsageError("only one of --json, --csv and --markdown can go to stdout")
        if self.plot:
            from liif_cli.evaluate.plot import check

            check(self.plot)
        for path in (self.json, self.csv, self.markdown, self.plot):
            if path is None or path == STDOUT:
                continue
            if not path.parent.is_dir():
                raise UsageError(f"{path.parent}: no such folder")
            if path == self.json:
                continue  # is continued
            kept = path == self.markdown and document.has_block(path, BLOCK)
            if path.exists() and not self.overwrite and not kept:
                raise UsageError(f"{path}: is there already", hint="-y overwrites it")

    def journal(self, stack: ExitStack) -> Journal | None:
        """The file that rows are kept in as they come."""
        from liif_cli.evaluate.results import Journal

        if self.json is None or self.json == STDOUT:
            return None
        return stack.enter_context(Journal(self.json))

    def write(self, rows: Sequence[Row], means: Sequence[Mean]) -> None:
        """Everything that was asked for, and the tables on a stdout that is free."""
        from liif_cli import report
        from liif_cli.evaluate.tables import picture_tables, tables

        found = tables(means, against_paper=self.against_paper)
        if self.by_picture:
            found += picture_tables(rows)
        if STDOUT not in (self.json, self.csv, self.markdown):
            console.show(found)
        everything = [row.to_json() for row in rows] + [mean.to_json() for mean in means]
        if self.json == STDOUT:
            _print(report.json_line(row) for row in everything)
        if self.csv == STDOUT:
            _print([report.csv_text(everything).rstrip("\r\n")])
        elif self.csv:
            document.replace(self.csv, report.csv_text(everything))
        if self.markdown == STDOUT:
            _print([document.markdown(found).rstrip("\r\n")])
        elif self.markdown:
            document.write_tables(self.markdown, BLOCK, found)
        if self.plot:
            from liif_cli.evaluate.plot import plot

            plot(means, self.plot, against_paper=self.against_paper, overwrite=self.overwrite)


def _run(
    *,
    folders: Sequence[Path],
    limit: int | None,
    lr_dir: Path | None,
    models: _Models,
    baselines: Sequence[str],
    scales: Sequence[str],
    protocol: str,
    metrics: Sequence[str],
    border: tuple[int, int] | None,
    pictures: Path | None,
    say: _Say,
) -> Run:
    """The run, with everything checked that can be before anything is computed: cheap things first."""
    from liif_cli.evaluate import dataset, perceptual
    from liif_cli.evaluate.protocol import PROTOCOLS, Scale
    from liif_cli.evaluate.run import BASELINES, Run, with_baselines

    how = PROTOCOLS[_chosen("--protocol", protocol, tuple(PROTOCOLS))]
    asked = tuple(dict.fromkeys(Scale.parse(text) for text in scales))
    wanted = [] if baselines == ["none"] else [_chosen("--baseline", b, BASELINES) for b in baselines]
    measures = perceptual.find(metrics, device="cpu" if models.device == "auto" else models.device)
    if not asked or not measures:
        raise UsageError("nothing to measure: --scales or --metric is empty")
    if lr_dir and len(folders) > 1:
        raise UsageError("--lr-dir goes with one DATA folder")
    found = [dataset.find(folder, asked, how, lr_dir=lr_dir, limit=limit) for folder in folders]
    names = [data.name for data in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"two data sets are called {twice[0]!r}", hint="measure them one by one")
    contestants = with_baselines(models.load(say), wanted)
    with say.progress() as progress:
        bar = progress.add_task("reading", total=sum(len(data.samples) for data in found))
        checked = [
            dataset.check(data, asked, how, measures, border=border, checked=lambda _: progress.advance(bar))
            for data in found
        ]
    return Run(
        contestants=contestants,
        datasets=tuple(checked),
        scales=asked,
        protocol=how,
        metrics=measures,
        border=border,
        pictures=pictures,
    )


def _measured(
    run: Run, journal: Journal | None, outputs: _Outputs, say: _Say
) -> tuple[list[Row], list[Mean]]:
    """All rows and means of the run. What is finished is in the journal, whatever happens then."""
    from liif_cli.evaluate.results import mean_rows
    from liif_cli.evaluate.run import measure, remaining

    rows: list[Row] = []
    with say.progress() as progress:
        left = remaining(run, journal)
        if run.pictures and not outputs.overwrite:
            _refuse_existing(task.picture(run.pictures) for task in left)
        if journal and (kept := sum(1 for _ in run.tasks()) - len(left)):
            say.note(f"{journal.path}: {kept} results of an earlier run are taken over, {len(left)} to go")
        bar = progress.add_task("", total=sum(task.cost for task in left))
        if left:
            progress.update(bar, description=str(left[0]))
        done = 0
        for step in measure(run, journal):
            rows += step.rows
            if not step.kept:
                done += 1
                upcoming = str(left[done]) if done < len(left) else ""
                progress.update(bar, advance=step.task.cost, description=upcoming)
                say.detail(f"{step.task}: " + ", ".join(f"{r.way.metric} {r.value:.4f}" for r in step.rows))
        means = mean_rows(rows)
        if journal:
            journal.add(means)
    return rows, means


def _kept(path: Path, models: Sequence[str], scales: Sequence[str], metrics: Sequence[str]) -> list[Mean]:
    """What an earlier run kept: all of it, or the models (with every baseline), scales and metrics named."""
    from liif_cli.evaluate.protocol import Scale
    from liif_cli.evaluate.results import read_means

    asked = [Scale.parse(text) for text in scales]
    everything = read_means(path)
    known = [mean.way.own_model for mean in everything if mean.way.model_sha256]
    for name in models:
        if name not in known:
            raise UsageError(f"{path}: holds no model {name!r}", hint=nearest(name, known))
    means = [
        mean
        for mean in everything
        if not models or not mean.way.model_sha256 or {mean.way.model, mean.way.own_model} & set(models)
        if not asked or mean.way.scale in asked
        if not metrics or mean.way.metric in metrics
    ]
    if not means:
        raise UsageError(f"{path}: holds none of what is asked for", hint=f"liif eval --from {path}")
    return means


def _refuse_existing(paths: Iterable[Path]) -> None:
    there = next((path for path in paths if path.exists()), None)
    if there:
        raise UsageError(f"{there}: is there already", hint="-y overwrites, or name another folder")


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _words(text: str | None) -> list[str]:
    """`a,b` -> ["a", "b"]."""
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def _chosen(option: str, word: str, choice: tuple[str, ...]) -> str:
    if word not in choice:
        hint = nearest(word, choice, otherwise=f"choose from {', '.join(choice)}")
        raise UsageError(f"{option} {word}: unknown", hint=hint)
    return word

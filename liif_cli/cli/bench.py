"""`liif bench`: parse, measure, show."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from liif_cli.cli import console, document
from liif_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from liif_cli.bench.results import Case, Change, Row, Way
    from liif_cli.bench.subject import Setup

STDOUT = Path("-")
BLOCK = "speed"
# Parameters that say what is measured, or where that is kept.
_MEASURING = ["model", "scales", "sizes", "runs", "plain", "device", "precision", "threads", "memory", "json"]

_MODEL = "Model"
_MEASURE = "What is measured"
_SPEED = "Speed and memory"
_OUTPUT = "Results"


def bench(
    ctx: typer.Context,
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
    scales: Annotated[
        str,
        typer.Option(
            "-s", "--scales", rich_help_panel=_MEASURE, help="2,4,7.5 or 2x3.5 (width x height); 1 or more."
        ),
    ] = "2,4,7.5",
    sizes: Annotated[
        str,
        typer.Option(rich_help_panel=_MEASURE, help="Of the input, in pixels: 128,256 (squares) or 640x480."),
    ] = "256",
    runs: Annotated[
        int,
        typer.Option(min=1, rich_help_panel=_MEASURE, help="Timed runs of each, after one for warming up."),
    ] = 5,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain",
            rich_help_panel=_MEASURE,
            help="Also the published arithmetic, in turns with ours: ratio and largest difference.",
        ),
    ] = False,
    device: Annotated[
        str, typer.Option(rich_help_panel=_SPEED, help="auto, cpu, cuda, cuda:1, mps.")
    ] = "auto",
    precision: Annotated[
        str, typer.Option(rich_help_panel=_SPEED, help="auto (the fastest that passes), fp32, bf16, fp16.")
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=1024, rich_help_panel=_SPEED, show_default="all cores", help="On a CPU."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_SPEED,
            show_default="half of what is free",
            help="What computing may use: 800M, 4G, 50%.",
        ),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_OUTPUT, metavar="FILE", help="JSON Lines, a row for each case; - for stdout."
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_OUTPUT,
            metavar="FILE",
            help="Time and peak memory over the size of the result: a .png, .svg or .pdf.",
        ),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_OUTPUT,
            metavar="FILE",
            help=f"The tables as Markdown; into the block `<!-- begin {BLOCK}: ...` of a file that has one.",
        ),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from",
            rich_help_panel=_OUTPUT,
            metavar="FILE",
            help="Show what --json kept; measure nothing.",
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_OUTPUT,
            metavar="OLD.json",
            help="Compare with what --json kept: the same model, scale, size, precision and device.",
        ),
    ] = None,
    max_regression: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_OUTPUT, metavar="20%", help="Status 5 if a median grew by more than this."
        ),
    ] = None,
    if_exists: Annotated[
        Literal["error", "overwrite"],
        typer.Option(rich_help_panel=_OUTPUT, help="What to do with a FILE that is there."),
    ] = "error",
    yes: Annotated[
        bool, typer.Option("-y", rich_help_panel=_OUTPUT, help="Same as --if-exists overwrite.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress, no notes.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="A line for each finished case.")] = False,
) -> None:
    """Measure speed and memory on this machine, from file to file, with a made-up photo.

    Example: liif bench -m compact -m standard --scales 2,4 --json today.json
    """
    overwrite = yes or if_exists == "overwrite"
    outputs = _Outputs(json=json, plot=plot, markdown=markdown, overwrite=overwrite)
    outputs.check()
    from liif_cli.bench import results
    from liif_cli.evaluate.protocol import Scale
    from liif_cli.folder.jobs import Rules

    if max_regression is not None and against is None:
        raise UsageError("--max-regression is about --against", hint="--against OLD.json")
    most = None if max_regression is None else results.parse_share(max_regression)
    old = results.read_rows(against) if against else []
    if from_:
        for option in _MEASURING:
            source = ctx.get_parameter_source(option)
            if source is not None and source.name != "DEFAULT":
                raise UsageError(f"--from goes without --{option}: nothing is measured")
        rows = results.read_rows(from_)
        if against:
            _check_likeness([row.way for row in rows], old, _Say(quiet=quiet, verbose=verbose))
        outputs.end(rows, results.changes(rows, old), most)
        return
    cases = results.cases(
        (Scale.parse(text) for text in _words(scales)), (results.parse_size(text) for text in _words(sizes))
    )
    if not cases:
        raise UsageError("nothing to measure: --scales or --sizes is empty")
    most_pixels = Rules().max_pixels  # as many as `liif upscale` makes unless told otherwise
    for case in cases:
        if case.megapixels * 1e6 > most_pixels:
            raise UsageError(f"{case}: the result would have more than {most_pixels:,} pixels")
    say = _Say(quiet=quiet, verbose=verbose)
    if runs < 5:
        say.note("a median of fewer than 5 runs, the default, says little")

    from liif_cli.bench.subject import Setup

    setup = Setup(device=device, precision=precision, memory=memory, threads=threads, runs=runs, plain=plain)
    rows = _measured(model or [], cases, setup, old if against else None, outputs, say)
    outputs.end(rows, results.changes(rows, old), most)


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


@dataclass(frozen=True, kw_only=True)
class _Outputs:
    """Where results go beside the table."""

    json: Path | None
    plot: Path | None
    markdown: Path | None
    overwrite: bool

    def check(self) -> None:
        """Raise UsageError now for what cannot be written later."""
        if self.json == self.markdown == STDOUT:
            raise UsageError("only one of --json and --markdown can go to stdout")
        if self.plot:
            from liif_cli.evaluate.plot import check

            check(self.plot)
        for path in (self.json, self.plot, self.markdown):
            if path is None or path == STDOUT:
                continue
            if not path.parent.is_dir():
                raise UsageError(f"{path.parent}: no such folder")
            if not os.access(path.parent, os.W_OK | os.X_OK):
                raise UsageError(f"{path}: nothing may be written in {path.parent}")
            kept = path == self.markdown and document.has_block(path, BLOCK)
            if path.exists() and not self.overwrite and not kept:
                raise UsageError(f"{path}: is there already", hint="-y overwrites it")

    def row(self, row: Row) -> None:
        """A case is done."""
        if self.json == STDOUT:
            from liif_cli.report import json_line

            print(json_line(row.to_json()), flush=True)

    def end(self, rows: Sequence[Row], found: Sequence[Change], most: float | None) -> None:
        """When all is done: files, tables, and the gate if there is one."""
        from liif_cli.bench.results import gate
        from liif_cli.bench.tables import tables

        self._write(rows)
        shown = tables(rows, found)
        if self.markdown == STDOUT:
            print(document.markdown(shown).rstrip())
        elif self.markdown:
            document.write_tables(self.markdown, BLOCK, shown)
        if STDOUT not in (self.json, self.markdown):
            console.show(shown)
        if most is not None:
            gate(found, most)

    def _write(self, rows: Sequence[Row]) -> None:
        if self.json and self.json != STDOUT:
            from liif_cli.image.whole import whole
            from liif_cli.report import json_line

            with whole(self.json, overwrite=self.overwrite) as file:
                file.write("".join(f"{json_line(row.to_json())}\n" for row in rows).encode())
        if self.plot:
            from liif_cli.bench.tables import plot

            plot(rows, self.plot, overwrite=self.overwrite)


def _measured(
    names: Sequence[str],
    cases: Sequence[Case],
    setup: Setup,
    old: Sequence[Row] | None,
    outputs: _Outputs,
    say: _Say,
) -> list[Row]:
    """A row for every model and case. old: what is compared with later."""
    from liif_cli.bench.measure import amount, measure
    from liif_cli.bench.results import seconds
    from liif_cli.bench.subject import Subject
    from liif_cli.weights import catalog

    rows: list[Row] = []
    with ExitStack() as stack:
        asked = dict.fromkeys(names or (catalog.default(),))
        subjects = [stack.enter_context(Subject(name, setup, notify=say.note)) for name in asked]
        for subject in subjects:
            say.detail(f"{subject.name} on {subject.device}: {subject.because}")
        if old is not None:
            _check_likeness([subject.way(case) for subject in subjects for case in cases], old, say)
        total = len(subjects) * amount(cases, setup)
        with console.progress(total, "MP", shown=not say.quiet) as advance:
            for subject in subjects:
                for case in cases:
                    row = measure(subject, case, advance=advance)
                    rows.append(row)
                    outputs.row(row)
                    say.detail(f"{row.way}: {seconds(row.median_s)}")
    return rows


def _check_likeness(ways: Sequence[Way], old: Sequence[Row], say: _Say) -> None:
    """Say what cannot be compared. Raises UsageError if nothing can: a gate would pass unseen."""
    from liif_cli.bench.results import unlike

    missing = unlike(ways, old)
    if len(missing) == len(ways):
        there = "; ".join(dict.fromkeys(str(row.way) for row in old)) or "nothing"
        raise UsageError(f"--against holds nothing like {ways[0]}", hint=f"it holds: {there}")
    for way in missing:
        say.note(f"not compared, because it was not measured before: {way}")


def _words(text: str) -> list[str]:
    """`a,b` -> ["a", "b"]."""
    return [word.strip() for word in text.split(",") if word.strip()]

"""`liif doctor`: look, show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from liif_cli.cli import console

if TYPE_CHECKING:
    from liif_cli.doctor.report import Report
    from liif_cli.report import Table


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
) -> None:
    """Look whether all is here and works: libraries, devices, formats, weights, folders, room.

    Uses no network. Ends with status 1 if something needs doing, and says what.

    Example: liif doctor
    """
    from liif_cli.doctor.report import examine

    report = examine(Path.cwd())
    if as_json:
        from liif_cli.report import json_line

        print(json_line(report.to_json()))
    else:
        console.show(_tables(report))
        _problems(report)
    if report.problems:
        raise typer.Exit(1)


def _problems(report: Report) -> None:
    print()
    for problem in report.problems:
        print(_printable(f"problem: {problem.what}"))
        print(_printable(f"     do: {problem.todo}"))
    if not report.problems:
        print("all is well")


def _tables(report: Report) -> list[Table]:
    made = [_versions(report), _weights(report), _devices(report), _formats(report), _places(report)]
    return [table for table in made if table.rows]


def _versions(report: Report) -> Table:
    from liif_cli.report import Table

    missing = [name for name, version in report.optional.items() if version is None]
    there = {name: version for name, version in report.optional.items() if version is not None}
    return Table(
        title="",
        columns=("", "version"),
        rows=tuple({**report.versions, **there}.items()),
        notes=(f"optional, not installed: {', '.join(missing)}",) if missing else (),
    )


def _weights(report: Report) -> Table:
    from liif_cli.report import Table

    return Table(
        title="",
        columns=("weights", ""),
        rows=tuple(
            (one.name + (" (default)" if one.default else ""), _state(one.path is not None, one.fault))
            for one in report.weights
        ),
    )


def _devices(report: Report) -> Table:
    from liif_cli import machine
    from liif_cli.report import Table

    return Table(
        title="",
        columns=("device", "", "threads", "free", "computing may use"),
        rows=tuple(
            (
                one.name,
                one.what,
                f"{one.threads} of {machine.cores()}" if one.name == "cpu" else "",
                _gigabytes(one.free_bytes),
                _gigabytes(one.budget_bytes),
            )
            for one in report.devices
        ),
        notes=tuple(f"{one.name}: {one.because}" for one in report.devices if one.because),
    )


def _formats(report: Report) -> Table:
    from liif_cli.report import Table

    only_read = [one.name for one in report.formats if one.reads and not one.writes]
    return Table(
        title="",
        columns=("format", "read", "written", "bits", "transparency"),
        rows=tuple(
            (one.name, _yes(one.reads), _yes(one.writes), ", ".join(map(str, one.bits)), _yes(one.alpha))
            for one in report.formats
            if one.writes or one.fault
        ),
        notes=(f"only read: {', '.join(only_read)}",) if only_read else (),
    )


def _places(report: Report) -> Table:
    from liif_cli.report import Table

    return Table(
        title="",
        columns=("folder", "", "holds", "free"),
        rows=tuple(
            (
                _printable(str(one.path)),
                one.what,
                "" if one.holds_bytes is None else f"{one.holds_bytes / 1e6:,.1f} MB",
                _gigabytes(one.free_bytes),
            )
            for one in report.places
        ),
    )


def _state(there: bool, fault: str) -> str:
    return (fault or "sound") if there else "not here"


def _yes(yes: bool) -> str:
    return "yes" if yes else "no"


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count else ""


def _printable(text: str) -> str:
    """Names of files, and what is said of them, may not speak to the terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)

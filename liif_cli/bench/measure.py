"""A case measured: its time, what it waited for, its memory, and the published way beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from liif_cli import machine
from liif_cli.bench.memory import Watch
from liif_cli.bench.picture import picture
from liif_cli.bench.plain import beside
from liif_cli.bench.results import Case, Row
from liif_cli.bench.subject import Setup, Subject
from liif_cli.errors import LiifError
from liif_cli.evaluate.protocol import Scale
from liif_cli.image.write import write

Advance = Callable[[float], None]

_CHILD = """\
import sys
sys.path[:] = sys.argv[2:]
from liif_cli.bench.measure import peak_alone
peak_alone(sys.argv[1])
"""


def measure(subject: Subject, case: Case, *, advance: Advance = lambda megapixels: None) -> Row:
    """Time a case and watch its memory. `advance` is told of finished output megapixels (`amount`)."""
    setup = subject.setup
    given = picture(*case.in_size)
    with TemporaryDirectory(prefix="liif-bench-", ignore_cleanup_errors=True) as name:
        source, result = Path(name) / "given.png", Path(name) / "result.png"
        write(given, source)
        _load_the_rest(subject, Path(name))
        watch = Watch.start(subject.device)
        runs = []
        for _ in range(setup.runs + 1):  # the first is for warming up
            runs.append(subject.run(source, result, case))
            advance(case.megapixels)
        peak_bytes = watch.peak_bytes() if watch else _peak_of_a_child(subject, case)
    timed = sorted(runs[1:], key=lambda run: run.total)
    middle = timed[(len(timed) - 1) // 2]
    return Row(
        way=subject.way(case),
        threads=subject.threads,
        median_s=middle.total,
        min_s=timed[0].total,
        max_s=timed[-1].total,
        split=middle,
        peak_bytes=peak_bytes,
        versions=machine.versions(),
        plain=beside(subject, given, case, advance) if setup.plain else None,
    )


def amount(cases: Iterable[Case], setup: Setup) -> float:
    """What `advance` is told in all, for one subject."""
    times = setup.runs + 1
    return (3 * times if setup.plain else times) * sum(case.megapixels for case in cases)


def _load_the_rest(subject: Subject, folder: Path) -> None:
    """A run so small that what it needs is code that is loaded at the first use."""
    source = folder / "small.png"
    write(picture(32, 32), source)
    subject.run(source, folder / "large.png", Case(scale=Scale(x=2, y=2), in_size=(32, 32)))


def _peak_of_a_child(subject: Subject, case: Case) -> int | None:
    """One run in a process of its own: for systems that tell the peak of a whole process only."""
    asked = {
        "name": subject.name,
        "setup": asdict(subject.setup) | {"device": subject.device, "precision": subject.precision},
        "scale": str(case.scale),
        "in_size": case.in_size,
    }
    command = [sys.executable, "-P", "-c", _CHILD, json.dumps(asked), *sys.path]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        last = (run.stderr.strip().splitlines() or [f"it ended with {run.returncode}"])[-1]
        raise LiifError(f"the process whose memory is watched failed: {last}")
    found: int | None = json.loads(run.stdout.splitlines()[-1])
    return found


def peak_alone(text: str) -> None:
    """What that process does: print its peak above the loaded program in bytes, or null."""
    asked = json.loads(text)
    case = Case(scale=Scale.parse(asked["scale"]), in_size=tuple(asked["in_size"]))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="liif-bench-")))
        subject = stack.enter_context(Subject(asked["name"], Setup(**asked["setup"])))
        write(picture(*case.in_size), folder / "given.png")
        _load_the_rest(subject, folder)
        machine.give_back()
        before = machine.resident_bytes() or machine.peak_bytes()
        subject.run(folder / "given.png", folder / "result.png", case)
        after = machine.peak_bytes()
    sys.stdout.write(json.dumps(None if before is None or after is None else max(0, after - before)) + "\n")

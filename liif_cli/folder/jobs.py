"""Inputs → jobs. Whatever can be known to be wrong is known here, before anything is computed.

An input ends as a `Result` (done, skipped or failed); what is left to do is a `Job`. Nothing here
loads torch, decodes pixels or talks to a terminal.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from liif_cli.engine.target import Layout, Target
from liif_cli.errors import LiifError, PictureError
from liif_cli.folder.names import IfExists, Naming, Source
from liif_cli.image import formats, read
from liif_cli.image.read import Header
from liif_cli.image.whole import megabytes, refuse_special

# `planned`: what a dry run says of a job.
Status = Literal["planned", "done", "skipped", "failed"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """How one input ended, with the fields of `--json` (CLI.md).

    verified: largest difference that `--verify` found, in levels. peak_bytes: as planned.
    Not in `--json` are notes (for -v), the exit status that goes with the error, and the traceback of a bug.
    """

    input: str
    output: str | None = None
    status: Status
    error: str = ""
    hint: str = ""
    warnings: tuple[str, ...] = ()
    in_width: int = 0
    in_height: int = 0
    width: int = 0
    height: int = 0
    scale: tuple[float, float] | None = None
    model: str = ""
    precision: str = ""
    tiles: int = 0
    seconds: float = 0.0
    megapixels_per_second: float = 0.0
    peak_bytes: int = 0
    verified: int | None = None
    notes: tuple[str, ...] = ()
    exit_status: int = 0
    traceback: str = ""

    def row(self) -> dict[str, Any]:
        """For JSON Lines."""
        fields = asdict(self)
        for name in ("notes", "exit_status", "traceback"):
            del fields[name]
        return fields

    @classmethod
    def failed(cls, name: str, error: LiifError) -> Result:
        """An input that could not be done."""
        return cls(input=name, status="failed", error=str(error), hint=error.hint, exit_status=error.status)


def exit_status(results: Sequence[Result]) -> int:
    """0; 1 if something failed; the status of the reason if all failed for the same one; 70 for a bug."""
    statuses = [result.exit_status for result in results if result.status == "failed"]
    if not statuses or 70 in statuses:
        return 70 if statuses else 0
    return statuses[0] if len(statuses) == len(results) and len(set(statuses)) == 1 else 1


def summary(results: Sequence[Result], seconds: float, *, dry: bool = False) -> dict[str, Any]:
    """The last object of `--json`. A dry run has `planned`, and tells what these would take."""
    done = [result for result in results if result.status == "done"]
    planned = [result for result in results if result.status == "planned"]
    return {
        **({"planned": len(planned)} if dry else {}),
        "done": len(done),
        "skipped": sum(result.status == "skipped" for result in results),
        "failed": sum(result.status == "failed" for result in results),
        "output_megapixels": round(sum(result.width * result.height for result in done + planned) / 1e6, 3),
        "seconds": round(seconds, 3),
    }


@dataclass(frozen=True, kw_only=True)
class Job:
    """One picture to do. output: None = stdout. through: nothing to enlarge, the picture keeps its size;
    copied: it is also otherwise what the result shall be, and the file is taken as it is."""

    source: Source
    output: Path | None
    target: Target
    layout: Layout
    header: Header
    format: str
    bits: int
    overwrite: bool
    lossless: bool = False
    through: bool = False
    copied: bool = False
    notes: tuple[str, ...] = ()

    @property
    def writing(self) -> formats.Writing:
        """What writing its result holds."""
        return formats.writing(
            self.format,
            width=self.layout.width,
            height=self.layout.height,
            channels=self.header.channels + self.header.alpha,
            lossless=self.lossless,
        )

    def result(self, status: Status, **more: Any) -> Result:
        """How it ended, with what is known beforehand."""
        layout = self.layout
        return Result(
            input=self.source.name,
            output="-" if self.output is None else str(self.output),
            status=status,
            in_width=layout.in_width,
            in_height=layout.in_height,
            width=layout.in_width if self.through else layout.width,
            height=layout.in_height if self.through else layout.height,
            scale=(1.0, 1.0) if self.through else layout.scale,
            warnings=(*self.notes, *more.pop("warnings", ())),
            **more,
        )

    def stopped(self) -> Result:
        """It was not begun, because the run ended before."""
        return self.result("skipped", warnings=("the run was stopped before",))

    def failed(self, error: LiifError, **more: Any) -> Result:
        """It could not be done."""
        return self.result("failed", error=str(error), hint=error.hint, exit_status=error.status, **more)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a job must keep to. bits: 8, 16 or None = the input's. flat: transparency is dropped.
    bare: profile or metadata are changed or left out.
    lossless: None = as an input of the same format; True and pyramid: only where the format can.
    budget_bytes: what a writer that cannot stream may hold."""

    if_exists: IfExists = "error"
    only_enlarge: bool = False
    max_pixels: int = 2_000_000_000
    max_input_pixels: int | None = None
    budget_bytes: int | None = None
    bits: int | None = None
    flat: bool = False
    bare: bool = False
    lossless: bool | None = None
    pyramid: bool = False


@dataclass(frozen=True, kw_only=True)
class Saving:
    """How pictures are read and results written; CLI.md has the meanings.

    verify: so many windows of each result are computed again in one piece and compared.
    """

    quality: int | None = None
    pyramid: bool = False
    icc: Literal["keep", "srgb", "strip"] = "keep"
    metadata: Literal["keep", "strip"] = "keep"
    max_input_pixels: int | None = None
    verify: int = 0


def plan_jobs(
    sources: Iterable[Source],
    target: Target,
    naming: Naming,
    rules: Rules,
) -> list[Job | Result]:
    """A job for every input, or at once how it ended, in the order of the inputs."""
    sources = list(sources)
    planned = [_planned(source, n, target, naming, rules) for n, source in enumerate(sources, 1)]
    planned = _without_collisions(planned)
    planned = _without_own_results(planned)
    planned = _without_inputs_as_outputs(planned, sources)
    return _within_the_disk(
        [_existing(one, naming, rules) if isinstance(one, Job) else one for one in planned]
    )


def _planned(
    source: Source,
    index: int,
    target: Target,
    naming: Naming,
    rules: Rules,
) -> Job | Result:
    """One input by itself."""
    try:
        header = read.probe(source.given, max_pixels=rules.max_input_pixels, name=source.name)
        layout = target.layout(header.width, header.height)
        output, format = naming.place(source, layout, index, header.format)
        through = rules.only_enlarge and not layout.enlarges
        if through and naming.output is None and output is not None:
            return Result(
                input=source.name,
                status="skipped",
                warnings=("already as large",),
                in_width=header.width,
                in_height=header.height,
                width=header.width,
                height=header.height,
            )
        if not through and layout.width * layout.height > rules.max_pixels:
            raise PictureError(
                f"{source.name}: the result would have {layout.width}x{layout.height} pixels, more than "
                f"{rules.max_pixels:,}",
                hint="allow more with --max-pixels",
            )
        alpha = header.alpha and not rules.flat
        bits, notes = _depth(header, format, rules)
        kept = format == header.format and header.lossless
        lossless = kept if rules.lossless is None else rules.lossless
        copied = through and (format, bits) == (header.format, header.bits) and alpha == header.alpha
        copied = copied and (lossless or not header.lossless) and not (rules.bare or rules.pyramid)
        if not copied or rules.lossless:  # who asks for lossless wants no copy of what cannot be
            formats.check(
                format,
                width=header.width if through else layout.width,
                height=header.height if through else layout.height,
                bits=bits,
                alpha=alpha,
                lossless=lossless,
                pyramid=rules.pyramid,
                budget_bytes=rules.budget_bytes,
            )
    except LiifError as error:
        return Result.failed(source.name, _named(source, error))
    return Job(
        source=source,
        output=output,
        target=target,
        layout=layout,
        header=header,
        format=format,
        bits=bits,
        overwrite=rules.if_exists == "overwrite",
        lossless=lossless,
        through=through,
        copied=copied,
        notes=notes,
    )


def _named(source: Source, error: LiifError) -> LiifError:
    """The error with the input's name in front, if it is not there."""
    if str(error).startswith(source.name):
        return error
    named = type(error)(f"{source.name}: {error}", hint=error.hint)
    return named


def _depth(header: Header, format: str, rules: Rules) -> tuple[int, tuple[str, ...]]:
    """Bits of the result, and what is to be said of them."""
    if rules.bits:
        return rules.bits, ()
    able = formats.named(format).bits
    if header.bits in able:
        return header.bits, ()
    return able[-1], (f"{header.bits} bits a sample became {able[-1]}: {format} is written with no more",)


def _without_collisions(planned: list[Job | Result]) -> list[Job | Result]:
    """Two inputs, one name for their results: the first may have it."""
    taken: dict[str, str] = {}
    kept: list[Job | Result] = []
    for one in planned:
        if isinstance(one, Job) and one.output is not None:
            first = taken.setdefault(_key(one.output), one.source.name)
            if first != one.source.name:
                error = PictureError(
                    f"{one.source.name}: its result would be {one.output}, as that of {first}",
                    hint="tell them apart with --name, for example '{stem}_{index}.{ext}'",
                )
                one = one.failed(error)
        kept.append(one)
    return kept


def _without_own_results(planned: list[Job | Result]) -> list[Job | Result]:
    """A result of an earlier run, found in a folder beside its input, is not enlarged once more."""
    made = {_key(one.output): one.source.name for one in planned if isinstance(one, Job) and one.output}
    kept: list[Job | Result] = []
    for one in planned:
        if isinstance(one, Job) and one.source.path and one.source.below:
            of = made.get(_key(one.source.path), one.source.name)
            if of != one.source.name:
                one = Result(input=one.source.name, status="skipped", warnings=(f"it is the result of {of}",))
        kept.append(one)
    return kept


def _without_inputs_as_outputs(planned: list[Job | Result], sources: list[Source]) -> list[Job | Result]:
    """No input is ever written over, by whatever name it goes."""
    inputs = [
        source
        for source, one in zip(sources, planned, strict=True)
        if source.path and not (isinstance(one, Result) and one.status == "skipped")
    ]
    names = {_key(source.path): source.name for source in inputs if source.path}
    files = {found: source.name for source in inputs if source.path and (found := _identity(source.path))}
    kept: list[Job | Result] = []
    for one in planned:
        if isinstance(one, Job) and one.output is not None:
            hit = names.get(_key(one.output)) or files.get(_identity(one.output) or (-1, -1))
            if hit:
                error = PictureError(
                    f"{one.source.name}: its result would be written over the input {hit}",
                    hint="write to another folder with -o, or choose another --name",
                )
                one = one.failed(error)
        kept.append(one)
    return kept


def _existing(job: Job, naming: Naming, rules: Rules) -> Job | Result:
    """What stands where the result shall go, and whether it may."""
    try:
        return job if job.output is None else _placed(job, job.output, naming, rules)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return job.failed(PictureError(f"{job.source.name}: its result cannot be written: {reason}"))


def _placed(job: Job, output: Path, naming: Naming, rules: Rules) -> Job | Result:
    if output.is_dir():
        return job.failed(PictureError(f"{output}: there is a folder of this name"))
    try:
        refuse_special(output)
    except PictureError as special:
        return job.failed(special)
    if output.exists() or output.is_symlink():
        if rules.if_exists == "skip":
            return job.result("skipped", warnings=(f"{output} exists",))
        if rules.if_exists == "error":
            error = PictureError(
                f"{output}: exists", hint="-y writes over it, --if-exists skip leaves it as it is"
            )
            return job.failed(error)
    folder = output.parent
    if output == naming.output and not folder.exists():
        hint = f"make it, or name a folder for the result: -o {folder}{os.sep}"
        return job.failed(PictureError(f"{output}: there is no folder {folder}", hint=hint))
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        return job.failed(PictureError(f"{output}: {folder} is no folder"))
    if not os.access(folder, os.W_OK | os.X_OK):
        return job.failed(PictureError(f"{output}: nothing may be written in {folder}"))
    return job


def _within_the_disk(planned: list[Job | Result]) -> list[Job | Result]:
    """Refuse what does not fit beside the jobs before it, not even at half its likely size."""
    free: dict[int, int] = {}
    kept: list[Job | Result] = []
    for one in planned:
        if isinstance(one, Job) and one.output is not None:
            folder = next(parent for parent in one.output.absolute().parents if parent.exists())
            disk = folder.stat().st_dev
            usage = shutil.disk_usage(folder)
            free.setdefault(disk, usage.free if usage.total else sys.maxsize)  # /proc tells nothing
            likely = formats.likely_bytes(
                one.format,
                width=one.layout.width,
                height=one.layout.height,
                channels=one.header.channels + one.header.alpha,
                bits=one.bits,
                lossless=one.lossless,
            )
            if likely // 2 > free[disk]:
                error = PictureError(
                    f"{one.output}: about {megabytes(likely)} are needed, "
                    f"{megabytes(max(free[disk], 0))} are free",
                    hint="make room or write to another disk with -o",
                )
                one = one.failed(error)
            else:
                free[disk] -= likely // 2
        kept.append(one)
    return kept


def _key(path: Path) -> str:
    """The same for all ways to write a path."""
    return os.path.normcase(path.parent.resolve() / path.name)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino

"""`liif upscale`: parse, call, show."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TextIO

import typer

from liif_cli import machine
from liif_cli.cli import console
from liif_cli.cli import upscale_options as opt
from liif_cli.errors import Terminated, UsageError

if TYPE_CHECKING:
    from liif_cli.api import Upscaler
    from liif_cli.engine.options import Options
    from liif_cli.engine.target import Fit, Gravity, Target
    from liif_cli.folder.jobs import Job, Result, Rules, Saving
    from liif_cli.folder.names import Found, Naming

# So many files that were passed over are named.
_NAMED = 3

EXAMPLES = """
Examples:

    liif upscale photo.jpg --scale 7.5
    liif upscale photo.jpg --size 1920x1080 --fit crop -o wallpaper.png
    liif upscale *.jpg --size 4k -o large/
    liif upscale -r holiday/ --scale 2 -o big/ --if-exists skip
    cat photo.jpg | liif upscale --scale 3 > large.jpg
"""


def upscale(
    inputs: opt.Inputs = None,
    recursive: opt.Recursive = False,
    files_from: opt.FilesFrom = None,
    null: opt.Null = False,
    output: opt.Output = None,
    name: opt.Name = None,
    if_exists: opt.IfExists = "error",
    yes: opt.Yes = False,
    scale: opt.Scale = None,
    size: opt.Size = None,
    fit: opt.Fit = None,
    gravity: opt.Gravity = None,
    background: opt.Background = None,
    only_enlarge: opt.OnlyEnlarge = False,
    region: opt.Region = None,
    format: opt.Format = None,
    quality: opt.Quality = None,
    lossless: opt.Lossless = False,
    pyramid: opt.Pyramid = False,
    bits: opt.Bits = None,
    icc: opt.Icc = "keep",
    metadata: opt.Metadata = "keep",
    alpha: opt.Alpha = "model",
    model: opt.Model = None,
    tta: opt.Tta = False,
    cell: opt.Cell = 1.0,
    device: opt.Device = "auto",
    precision: opt.Precision = "auto",
    memory: opt.Memory = None,
    threads: opt.Threads = None,
    jobs: opt.Jobs = None,
    tile: opt.Tile = None,
    max_pixels: opt.MaxPixels = "2G",
    max_input_pixels: opt.MaxInputPixels = None,
    dry_run: opt.DryRun = False,
    verify: opt.Verify = 0,
    fail_fast: opt.FailFast = False,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
) -> None:
    """Enlarge pictures to any size, by any factor."""
    from liif_cli.engine import target as sizes
    from liif_cli.engine.options import Options
    from liif_cli.folder.jobs import Rules, Saving

    say = _Say(quiet=quiet, verbose=verbose, as_json=as_json)
    if not 0.05 <= cell <= 20:
        raise UsageError(f"--cell {cell}: not from 0.05 to 20")
    if bits not in (None, 8, 16):
        raise UsageError(f"--bits {bits}: 8 or 16")
    if yes and if_exists == "skip":
        raise UsageError("-y and --if-exists skip contradict each other")
    colour = sizes.parse_colour("white" if background is None else background)
    if background is not None and fit != "pad" and alpha != "drop":
        raise UsageError("--background is about --fit pad and --alpha drop")
    if lossless and quality is not None:
        raise UsageError("--lossless and --quality contradict each other")
    if only_enlarge and region is not None:
        raise UsageError(
            "--only-enlarge and --region exclude each other: what is left as it is has no window"
        )
    if model == "":
        raise UsageError("-m '': no name of a model", hint="`liif weights list` shows them")
    target = _target(scale, size, fit, gravity, region)
    rules = Rules(
        if_exists="overwrite" if yes else if_exists,
        only_enlarge=only_enlarge,
        max_pixels=sizes.parse_pixels(max_pixels, option="--max-pixels"),
        max_input_pixels=None
        if max_input_pixels is None
        else sizes.parse_pixels(max_input_pixels, option="--max-input-pixels"),
        bits=bits,
        flat=alpha == "drop",
        bare=(icc, metadata) != ("keep", "keep"),
        lossless=lossless or (None if quality is None else False),
        pyramid=pyramid,
    )
    how = _How(
        model=model,
        device=device,
        precision=precision,
        memory=memory,
        threads=threads,
        parallel=jobs,
        options=Options(
            alpha=alpha,
            background=colour,
            tta=tta,
            cell=cell,
            tile_px=tile,
        ),
        saving=Saving(
            quality=quality,
            pyramid=pyramid,
            icc=icc,
            metadata=metadata,
            max_input_pixels=rules.max_input_pixels,
            verify=verify,
        ),
        fail_fast=fail_fast,
    )
    where = _Where(
        inputs=inputs or [],
        recursive=recursive,
        files_from=files_from,
        null=null,
        output=output,
        name=name,
        format=format,
    )
    if scale is None and size is None:
        say.note("neither --scale nor --size is given: enlarging by 2")
    raise typer.Exit(_run(where, target, rules, how, say, dry=dry_run))


@dataclass(frozen=True, kw_only=True)
class _How:
    """What was said about computing and saving."""

    model: str | None
    device: str
    precision: str
    memory: str | None
    threads: int | None
    parallel: int | None
    options: Options
    saving: Saving
    fail_fast: bool

    def upscalers(self, stack: ExitStack, say: _Say) -> list[Upscaler]:
        """One for each device; they end with the stack."""
        from liif_cli.api import Upscaler

        made = []
        for device in self.device.split(","):
            upscaler = Upscaler(
                self.model,
                device=device,
                precision=self.precision,
                memory=self.memory,
                threads=self.threads,
                options=self.options,
                notify=say.note,
            )
            say.detail(f"{upscaler.name} on {upscaler.placement.device}: {upscaler.placement.because}")
            made.append(stack.enter_context(upscaler))
        return made

    def most_at_once(self, jobs: Sequence[Job]) -> int:
        """The most pictures done at the same time on a device."""
        # One more than compute, so that the next picture is read and the last one written meanwhile.
        usual = min(self.threads or 3, machine.cores(), 3) + 1
        return min(self.parallel or usual, len(jobs))

    def at_once(self, jobs: Sequence[Job], upscaler: Upscaler, say: _Say) -> int:
        """How many are, by the memory there is; fewer than were asked for is told."""
        from liif_cli.folder import local

        most = self.most_at_once(jobs)
        found = local.at_once(jobs, upscaler, most, asked=self.parallel is not None)
        if self.parallel and found < most:
            say.note(f"memory is short for {most} pictures at once: {found} will be done (more --memory)")
        return found


@dataclass(frozen=True, kw_only=True)
class _Where:
    """What was said about inputs and results."""

    inputs: Sequence[str]
    recursive: bool
    files_from: str | None
    null: bool
    output: str | None
    name: str | None
    format: str | None

    def find(self) -> Found:
        """The inputs. Raises UsageError if there are none."""
        from liif_cli.folder import names

        inputs = list(self.inputs)
        if self.files_from is not None:
            inputs += names.listed(self._list(self.files_from), null=self.null)
        elif self.null:
            raise UsageError(
                "--null is about --files-from", hint="find . -print0 | liif upscale --files-from - -0"
            )
        elif not inputs:
            if sys.stdin is None or sys.stdin.isatty() or _is_no_stream(sys.stdin):
                raise UsageError("no INPUT", hint="for example: liif upscale photo.jpg --scale 2")
            inputs = ["-"]
        leave_out = Path(self.output) if self.output not in (None, "-") else None
        return names.find(inputs, recursive=self.recursive, stdin=_bytes_of_stdin, leave_out=leave_out)

    def naming(self, found: Found, target: Target, model: str | None) -> Naming:
        """How results are called."""
        from liif_cli.folder.names import Naming
        from liif_cli.weights import catalog

        return Naming.of(
            output=self.output,
            template=self.name,
            format=self.format,
            model=model or catalog.default(),
            target=target,
            many=found.many,
        )

    def _list(self, name: str) -> bytes:
        if name == "-":
            if "-" in self.inputs:
                raise UsageError("stdin cannot be both a picture and the list of --files-from")
            return _bytes_of_stdin()
        try:
            return Path(name).read_bytes()
        except OSError as error:
            raise UsageError(f"--files-from {name}: {(error.strerror or str(error)).lower()}") from error


@dataclass(frozen=True, kw_only=True)
class _Say:
    """What is told, and how much of it."""

    quiet: bool
    verbose: bool
    as_json: bool

    def note(self, text: str) -> None:
        if not self.quiet:
            console.note(text)

    def detail(self, text: str) -> None:
        if self.verbose and not self.quiet:
            console.note(text)

    def json(self, row: dict[str, Any]) -> None:
        if self.as_json:
            from liif_cli.report import json_line

            print(json_line(row), flush=True)

    def result(self, result: Result, *, alone: bool) -> None:
        """An input has ended."""
        self.json(result.row())
        for text in result.warnings:
            if result.status == "skipped":
                if alone or self.verbose:
                    self.note(f"{result.input}: skipped, {text}")
            elif not self.quiet:
                console.warn(_about(result.input, text))
        for text in result.notes:
            # What was asked for by --verify is told in any case.
            (self.detail if result.verified is None else self.note)(f"{result.input}: {text}")
        if result.status == "failed":
            console.fail(result.error, result.hint)
        elif result.status == "planned" and not self.as_json:
            size = f"{result.width}x{result.height}" if result.model else "as it is"
            text = (
                f"{result.input} -> {result.output}: {result.in_width}x{result.in_height} -> {size}, "
                f"{_count(result.tiles, 'tile')}, {result.peak_bytes / 2**20:.0f} MiB, "
                f"about {result.seconds} s"
            )
            print(console.printable(text))
        elif result.status == "done" and (alone or self.verbose):
            self.note(
                f"{result.input} -> {result.output}: {result.in_width}x{result.in_height} -> "
                f"{result.width}x{result.height}, {result.seconds:.1f} s"
            )

    def end(self, results: Sequence[Result], seconds: float, *, dry: bool) -> None:
        """Counts, of a dry run what there is to do, and what failed."""
        from liif_cli.folder.jobs import summary

        counts = summary(results, sum(result.seconds for result in results) if dry else seconds, dry=dry)
        self.json({"summary": counts})
        self._failures(results)
        done, pixels = counts["planned" if dry else "done"], counts["output_megapixels"]
        told = f"{counts['skipped']} skipped, {counts['failed']} failed; {pixels:,.1f} megapixels"
        if dry:
            self.note(f"{done} to do, {told}, about {counts['seconds']:.0f} s; nothing was written")
        elif len(results) != 1:
            speed = f" ({pixels / seconds:.2f} a second)" if pixels else ""
            self.note(f"{done} done, {told} in {seconds:.1f} s{speed}")

    def _failures(self, results: Sequence[Result]) -> None:
        failed = [result for result in results if result.status == "failed"]
        if len(results) > 1 and failed:
            console.note("")
            console.note(f"{len(failed)} of {len(results)} failed:")
            wide = min(40, max(len(result.input) for result in failed))
            for result in failed:
                console.note(f"  {result.input:{wide}}  {result.error.removeprefix(result.input + ': ')}")


def _run(where: _Where, target: Target, rules: Rules, how: _How, say: _Say, *, dry: bool) -> int:
    from liif_cli.engine.device import budget_bytes, check_words, free_bytes
    from liif_cli.folder.jobs import Job, Result, exit_status, plan_jobs
    from liif_cli.image import formats

    start = perf_counter()
    for device in how.device.split(","):
        check_words(device, how.precision, how.memory)
    rules = replace(rules, budget_bytes=budget_bytes(how.memory, free_bytes()))
    with ExitStack() as stack:
        found = where.find()
        naming = where.naming(found, target, how.model)
        planned = plan_jobs(found.sources, target, naming, rules)
        results = [Result.failed(name, error) for name, error in found.errors]
        results += [one for one in planned if isinstance(one, Result)]
        jobs = [one for one in planned if isinstance(one, Job)]
        _check_stdout(jobs, say)
        if over := found.passed_over:
            more = f" and {len(over) - _NAMED} more" if len(over) > _NAMED else ""
            say.note(f"passed over, as no pictures that are read: {', '.join(map(str, over[:_NAMED]))}{more}")
        packed = {formats.named(job.format) for job in jobs}
        if how.saving.quality is not None and packed and not any(format.quality for format in packed):
            say.note("--quality does nothing: what is written is packed without loss")
        alone = len(results) + len(jobs) == 1
        for result in results:
            say.result(result, alone=alone)
        late: list[Result] = []
        if not jobs or (how.fail_fast and exit_status(results)):
            ended = (job.stopped() for job in jobs)
        elif dry:
            ended = _estimated(jobs, how, say, stack)
        else:
            ended = _results(jobs, how, say, stack, late.append)
        try:
            for result in ended:
                say.result(result, alone=alone)
                results.append(result)
        except (KeyboardInterrupt, Terminated):
            ended.close()  # what was interrupted outside of it has not ended yet
            told = {(result.input, result.output) for result in results}
            for result in (*late, *(job.stopped() for job in jobs)):
                if (result.input, result.output) not in told:
                    told.add((result.input, result.output))
                    say.json(result.row())
                    results.append(result)
            say.end(results, perf_counter() - start, dry=dry)
            raise
    say.end(results, perf_counter() - start, dry=dry)
    for result in results:
        if result.traceback:
            console.bug(result.traceback)
    return exit_status(results)


def _results(
    jobs: Sequence[Job], how: _How, say: _Say, stack: ExitStack, late: Callable[[Result], None]
) -> Generator[Result]:
    """Do the jobs, with a bar."""
    from liif_cli.image.isolate import Reader

    readers = [stack.enter_context(Reader()) for _ in range(how.most_at_once(jobs))]
    for reader in readers:
        reader.start()  # it loads its libraries while torch is loaded here
    from liif_cli.folder.local import run

    upscalers = how.upscalers(stack, say)
    total = sum(job.layout.width * job.layout.height for job in jobs) / 1e6
    with console.progress(total, "MP", shown=not say.quiet) as advance:
        yield from run(
            jobs,
            upscalers,
            how.saving,
            parallel=how.at_once(jobs, upscalers[0], say),
            fail_fast=how.fail_fast,
            readers=readers,
            advance=lambda _, pixels: advance(pixels / 1e6),
            late=late,
        )


def _estimated(jobs: Sequence[Job], how: _How, say: _Say, stack: ExitStack) -> Generator[Result]:
    """What the jobs would take."""
    from liif_cli.folder.local import estimated

    upscaler = how.upscalers(stack, say)[0]
    beside = how.at_once(jobs, upscaler, say)
    for job in jobs:
        yield estimated(job, upscaler, how.saving, beside)


def _check_stdout(jobs: Sequence[Job], say: _Say) -> None:
    """A picture and a terminal, or a picture and JSON, do not go together on stdout."""
    through = [job for job in jobs if job.output is None]
    if through and console.stdout_is_closed():
        raise UsageError("a picture cannot go to stdout: it is closed", hint="name a file with -o")
    if through and say.as_json:
        raise UsageError("--json and a picture cannot both go to stdout", hint="name a file with -o")
    if through and sys.stdout.isatty():
        raise UsageError(
            "a picture cannot be shown by a terminal", hint="redirect stdout, or name a file with -o"
        )
    if len(through) > 1:
        raise UsageError("several pictures cannot go to one stdout", hint="name a folder with -o FOLDER/")


def _target(
    scale: str | None,
    size: str | None,
    fit: Fit | None,
    gravity: Gravity | None,
    region: str | None,
) -> Target:
    from liif_cli.engine.target import Region, Target, parse_scale, parse_size

    if scale is not None and size is not None:
        raise UsageError("--scale and --size both say how large", hint="give one of them")
    if size is not None:
        target = parse_size(size, fit=fit or "inside", gravity=gravity or "center")
    else:
        target = Target(scale=parse_scale("2" if scale is None else scale))
    if fit and not (target.size and None not in target.size):
        raise UsageError("--fit is about --size WIDTHxHEIGHT", hint="for example --size 1920x1080 --fit crop")
    if gravity and fit not in ("crop", "pad"):
        raise UsageError("--gravity is about --fit crop and --fit pad")
    return target if region is None else replace(target, region=Region.parse(region))


def _bytes_of_stdin() -> bytes:
    if sys.stdin is None:
        raise UsageError("stdin is closed", hint="pipe something in, or name a file")
    return sys.stdin.buffer.read()


def _is_no_stream(stdin: TextIO) -> bool:
    """Whether stdin is a device such as /dev/null, as where cron starts a program: nothing is piped in."""
    try:
        return stat.S_ISCHR(os.fstat(stdin.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _about(name: str, text: str) -> str:
    return text if text.startswith(name) else f"{name}: {text}"

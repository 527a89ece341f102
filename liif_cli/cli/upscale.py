"""`liif upscale`: parse, call, show."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from liif_cli.cli import console
from liif_cli.errors import UsageError

if TYPE_CHECKING:
    from liif_cli.engine.target import Target
    from liif_cli.folder.jobs import Result

EXAMPLES = """\
Examples:

  liif upscale photo.jpg --scale 7.5

  liif upscale photo.jpg --size 1920x1080 -o large.png

  liif upscale a.png b.png --scale 2 -o large/
"""

_SIZE = "Size"
_FILES = "Input and output"
_MODEL = "Model"
_SPEED = "Speed and memory"


def upscale(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[INPUT]...", help="Pictures.", show_default=False),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            "--scale", "-s", metavar="S", rich_help_panel=_SIZE,
            help="Factor: 7.5, 150%, or 2x3.5 for width x height. Default 2.", show_default=False,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", rich_help_panel=_SIZE, show_default=False,
            help="1920x1080 (inside, proportions kept), 1920x, x1080, 1920 (longer side), 12MP, fhd, 4k, 8k.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="PATH", rich_help_panel=_FILES, show_default=False,
            help="A file for one input, or a folder (ends in / or exists). Default: beside the input, "
            "as NAME_x7.5.EXT or NAME_1920x1080.EXT.",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("-y", rich_help_panel=_FILES, help="Write over existing results.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="MODEL", rich_help_panel=_MODEL, show_default=False,
            help="A name that `liif weights list` shows, a file, or hf://owner/repo.",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", rich_help_panel=_SPEED, help="auto, cpu, cuda, cuda:1 or mps.")
    ] = "auto",
    precision: Annotated[
        str, typer.Option(metavar="P", rich_help_panel=_SPEED, help="auto, fp32, bf16 or fp16.")
    ] = "auto",
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", rich_help_panel=_SPEED, show_default=False,
            help="What computing may use: 800M, 4G, or 50% of what is free. Default: half of what is free.",
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            metavar="PX", min=1, rich_help_panel=_SPEED, show_default=False,
            help="Input pixels a side of a tile; for experts. Default: as the memory allows.",
        ),
    ] = None,
) -> None:  # fmt: skip
    """Enlarge pictures to any size, by any factor."""
    from liif_cli.folder import names
    from liif_cli.folder.jobs import Job, Rules, plan_jobs

    target = _target(scale, size)
    if not inputs:
        raise UsageError("no INPUT", hint="for example: liif upscale photo.jpg --scale 2")
    found = names.find(inputs, recursive=False, stdin=sys.stdin.buffer)
    from liif_cli.api import Options, Upscaler, default_model

    naming = names.Naming.of(
        output=output,
        template=None,
        format=None,
        model=model or default_model(),
        target=target,
        many=len(found.sources) + len(found.errors) > 1,
    )
    from liif_cli.folder.jobs import Result
    from liif_cli.folder.local import Saving, probe, run

    rules = Rules(if_exists="overwrite" if yes else "error")
    planned = plan_jobs(found.sources, target, naming, rules, probe)
    results = [Result.failed(name, error) for name, error in found.errors]
    results += [one for one in planned if isinstance(one, Result)]
    jobs = [one for one in planned if isinstance(one, Job)]
    if jobs:
        with Upscaler(
            model,
            device=device,
            precision=precision,
            memory=memory,
            options=Options(tile_px=tile),
            notify=console.note,
        ) as upscaler:
            for result in run(jobs, upscaler, Saving()):
                results.append(result)
    raise typer.Exit(_show(results))


def _target(scale: str | None, size: str | None) -> Target:
    from liif_cli.engine import target

    if scale and size:
        raise UsageError("--scale and --size both say how large", hint="give one of them")
    if size:
        return target.parse_size(size)
    if not scale:
        console.note("neither --scale nor --size: scale 2")
    return target.Target(scale=target.parse_scale(scale or "2"))


def _show(results: Sequence[Result]) -> int:
    """Tell what failed; the exit status."""
    failed = [result for result in results if result.status == "failed"]
    for result in failed:
        console.fail(result.error, result.hint)
    statuses = {result.exit_status for result in failed}
    if not failed:
        return 0
    return statuses.pop() if len(failed) == len(results) and len(statuses) == 1 else 1

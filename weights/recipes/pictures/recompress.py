"""Pairs to judge models for camera and web JPEGs by: `python recompress.py PICTURES OUT`.

OUT/HR holds the middle 480x480 of each picture (smaller ones whole, cut to a multiple of 12), OUT/q60/X2
and so on what Pillow's bicubic makes of it, saved as JPEG of quality 60, 80 and 95 with halved colour.
`liif eval OUT/HR --lr-dir OUT/q60 -m standard -m standard-photo --scales 2,3,4` compares.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

SIDE_PX = 480
QUALITIES = (60, 80, 95)
SCALES = (2, 3, 4)


def recompress(pictures: Path, out: Path) -> int:
    """Write the pairs of all pictures in a folder; returns how many pictures there were."""
    sources = sorted(path for path in pictures.iterdir() if path.is_file())
    (out / "HR").mkdir(parents=True)
    for source in sources:
        with Image.open(source) as opened:
            high = _middle(opened.convert("RGB"))
        high.save(out / "HR" / f"{source.stem}.png")
        for scale in SCALES:
            low = high.resize((high.width // scale, high.height // scale), Image.Resampling.BICUBIC)
            for quality in QUALITIES:
                folder = out / f"q{quality}" / f"X{scale}"
                folder.mkdir(parents=True, exist_ok=True)
                low.save(folder / f"{source.stem}x{scale}.jpg", quality=quality, subsampling=2)
    return len(sources)


def _middle(picture: Image.Image) -> Image.Image:
    width, height = (min(side // 12 * 12, SIDE_PX) for side in picture.size)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python recompress.py PICTURES OUT")
    if Path(sys.argv[2]).exists():
        sys.exit(f"{sys.argv[2]}: is there already")
    print(f"{recompress(Path(sys.argv[1]), Path(sys.argv[2]))} pictures")

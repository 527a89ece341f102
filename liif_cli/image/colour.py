"""Profiles: which fit, and the few conversions that are made. Numbers are otherwise left alone.

Pictures are enlarged in their own encoded colour space and keep their profile. A conversion happens
where the output has no such mode (CMYK) and where the user asks for sRGB.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from liif_cli.image import formats
from liif_cli.image.by_vips import library
from liif_cli.image.picture import Picture, to_bits

_LARGEST_PROFILE = 16 << 20
_SPACES = {1: "GRAY", 3: "RGB ", 4: "CMYK"}
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}


def fitting(icc: bytes | None, channels: int) -> tuple[bytes | None, tuple[str, ...]]:
    """The profile if it is sound and describes so many channels, and a note if it is not."""
    if icc is None:
        return None, ()
    space = _space(icc)
    if not space or (space == _SPACES[channels] and not _is_of_use(icc, channels)):
        return None, ("its colour profile is broken: taken for sRGB",)
    if space != _SPACES[channels]:
        wanted = {1: "grey", 3: "RGB", 4: "CMYK"}[channels]
        return None, (f"its colour profile is for {space.strip()}, not for {wanted}: taken for sRGB",)
    return icc, ()


def _space(icc: bytes) -> str:
    """The colour space a profile describes, "" if it is broken."""
    from PIL import ImageCms

    if not 128 <= len(icc) <= _LARGEST_PROFILE:
        return ""
    try:
        return str(ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.xcolor_space)
    except Exception:
        return ""


def _is_of_use(icc: bytes, channels: int) -> bool:
    """Whether colours can be converted by a profile: some open, and are scrambled inside."""
    from PIL import ImageCms

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), _MODES[channels], "RGB")
    except Exception:
        return False
    return True


def rgb_of_cmyk(inks: npt.NDArray[Any], icc: bytes | None, *, kind: str) -> tuple[npt.NDArray[Any], str]:
    """(h, w, 4) inks, 0 = none, as sRGB (h, w, 3) of the same type, and a note on how; kind: of file.

    With a profile in 8 bits; without, by the plain product of what each ink lets through.
    """
    icc, _ = fitting(icc, 4)
    if icc:
        try:
            return _through_profile(inks, icc), "CMYK was converted to sRGB through its profile (8 bits)"
        except Exception:
            pass
    top = np.iinfo(inks.dtype).max
    through = top - inks.astype(np.float32)
    rgb = np.floor(through[..., :3] * through[..., 3:] / top + 0.5).astype(inks.dtype)
    note = "CMYK without a usable profile was converted to RGB by plain arithmetic: colours are approximate"
    if kind == "jpeg":  # Adobe's inks are stored inverted, others' not, and a decoder takes all for Adobe's
        note += ", and a negative if its inks are not stored as Adobe does it"
    return rgb, note


def _through_profile(inks: npt.NDArray[Any], icc: bytes) -> npt.NDArray[Any]:
    from PIL import Image, ImageCms

    height, width = inks.shape[:2]
    image = Image.frombytes("CMYK", (width, height), np.ascontiguousarray(to_bits(inks, 8)).tobytes())
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    rgb = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return to_bits(np.asarray(rgb), 16 if inks.dtype == np.uint16 else 8)


def for_format(picture: Picture, format: str) -> tuple[Picture, tuple[str, ...]]:
    """The picture with colours that mean the same in a file of that format: where grey is written as RGB
    a grey profile cannot go along, so its numbers become those of sRGB. And a note if that was done."""
    grey = picture.channels == 1 and picture.icc is not None
    if not grey or formats.keeps_grey(format, alpha=picture.alpha is not None):
        return picture, ()
    note = f"its grey profile cannot lie in a {format}: the numbers were converted to sRGB"
    return to_srgb(picture), (note,)


def to_srgb(picture: Picture) -> Picture:
    """The same colours with sRGB numbers and no profile; as it is if it has none. 16 bits inside."""
    if picture.icc is None:
        return picture
    pyvips = library()
    pixels = np.ascontiguousarray(to_bits(picture.pixels, 16))
    grey = picture.channels == 1
    image = pyvips.Image.new_from_memory(
        pixels.data, picture.width, picture.height, picture.channels, "ushort"
    ).copy(interpretation="grey16" if grey else "rgb16")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", picture.icc)
    out = image.icc_transform("srgb", embedded=True, intent="relative", depth=16)
    samples: npt.NDArray[np.uint16] = np.ndarray(
        (picture.height, picture.width, out.bands), np.uint16, buffer=out.write_to_memory()
    )
    return replace(
        picture,
        pixels=samples[..., :1] if grey else samples[..., :3],
        alpha=None if picture.alpha is None else to_bits(picture.alpha, 16),
        icc=None,
    )

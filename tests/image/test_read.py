"""Reading: every mode, depth, profile and orientation, and what is not read."""

from __future__ import annotations

import io
import itertools
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from liif_cli.errors import PictureError
from liif_cli.image import metadata, tiff
from liif_cli.image.by_vips import library
from liif_cli.image.formats import FORMATS
from liif_cli.image.picture import Picture, as_float
from liif_cli.image.read import Header, probe, read
from liif_cli.image.write import write
from tests.image.pictures import card, exif, noise, profile, samples
from tests.image.test_metadata import BACK
from tests.image.test_tiff import classic

LOSSLESS = {"png", "tiff"}
ICC = {1: profile("GRAY"), 3: profile()}


def stored(picture: Picture, format: str, orientation: int, icc: str) -> bytes:
    """A file of `format` that holds `picture` turned, and an orientation that turns it back."""
    lie = BACK[orientation]
    fitting, other = ICC[picture.channels], ICC[4 - picture.channels]
    lying = Picture(
        pixels=np.ascontiguousarray(metadata.turned(picture.pixels, lie)),
        alpha=None if picture.alpha is None else np.ascontiguousarray(metadata.turned(picture.alpha, lie)),
        bits=picture.bits,
        icc={"none": None, "sound": fitting, "broken": b"garbage" * 40, "other": other}[icc],
        exif=exif(orientation) if orientation > 1 else None,
    )
    if format == "tiff":
        return tiff_of(lying, orientation)
    out = io.BytesIO()
    write(lying, out, format=format)
    return out.getvalue()


def tiff_of(picture: Picture, orientation: int) -> bytes:
    import pyvips

    numbers = np.ascontiguousarray(samples(picture))
    height, width, count = numbers.shape
    kind = "uchar" if picture.bits == 8 else "ushort"
    image = pyvips.Image.new_from_memory(numbers.tobytes(), width, height, count, kind)
    names = {1: ("b-w", "grey16"), 3: ("srgb", "rgb16")}
    image = image.copy(interpretation=names[picture.channels][picture.bits == 16])
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    if picture.icc:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", picture.icc)
    data: bytes = image.tiffsave_buffer(compression="lzw")
    return data


MATRIX = [
    pytest.param(
        format, channels, alpha, bits, id=f"{format}-{'grey' if channels == 1 else 'rgb'}{'a' * alpha}{bits}"
    )
    for format, channels, alpha, bits in itertools.product(FORMATS, (1, 3), (False, True), (8, 16))
    if bits in FORMATS[format].bits and (FORMATS[format].alpha or not alpha)
]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("format", "channels", "alpha", "bits"), MATRIX)
def test_every_mode_depth_and_orientation_comes_out_upright(
    format: str, channels: int, alpha: bool, bits: int, orientation: int
) -> None:
    original = card(channels=channels, alpha=alpha, bits=bits)
    data = stored(original, format, orientation, "none")
    picture = read(data)
    grey_is_lost = format == "webp" or (format == "avif" and alpha)
    assert picture.channels == (3 if grey_is_lost else channels)
    assert (picture.width, picture.height, picture.bits) == (original.width, original.height, bits)
    assert (picture.alpha is not None) == alpha
    assert picture.format == format
    assert metadata.orientation(picture.exif) == 1
    assert picture.notes == ()
    if format in LOSSLESS:
        assert np.array_equal(samples(picture), samples(original))
    else:
        assert np.abs(as_float(picture) - as_float(original)).mean() < 0.02
    assert probe(data) == Header(
        width=31, height=24, channels=picture.channels, alpha=alpha, bits=bits, format=format
    )


@pytest.mark.parametrize("icc", ["sound", "broken", "other"])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("format", "channels", "alpha", "bits"), MATRIX)
def test_every_profile_is_kept_if_it_fits_and_named_if_not(
    format: str, channels: int, alpha: bool, bits: int, icc: str, orientation: int
) -> None:
    original = card(channels=channels, alpha=alpha, bits=bits)
    picture = read(put_profile(stored(original, format, orientation, "none"), format, channels, icc))
    if picture.channels != channels:
        return  # grey in a format that has none: nothing fits
    assert (picture.width, picture.height) == (original.width, original.height)
    assert picture.icc == (ICC[channels] if icc == "sound" else None)
    assert len(picture.notes) == (icc != "sound")
    assert icc == "sound" or "profile" in picture.notes[0]


def put_profile(file: bytes, format: str, channels: int, icc: str) -> bytes:
    """`file` with a profile in it that our own writer would not write."""
    block = {"sound": ICC[channels], "broken": b"garbage" * 40, "other": ICC[4 - channels]}[icc]
    if format == "png":
        content = b"icc\0\0" + zlib.compress(block)
        chunk = struct.pack(">I", len(content)) + b"iCCP" + content
        return file[:33] + chunk + struct.pack(">I", zlib.crc32(b"iCCP" + content)) + file[33:]
    if format == "jpeg":
        content = b"ICC_PROFILE\0\1\1" + block
        return file[:2] + b"\xff\xe2" + struct.pack(">H", len(content) + 2) + content + file[2:]
    if format == "tiff":
        return with_tag(file, 34675, 7, block)
    image = Image.open(io.BytesIO(file))
    out = io.BytesIO()
    more = {"exif": image.info["exif"]} if "exif" in image.info else {}
    image.save(out, format, icc_profile=block, lossless=True, **more)
    return out.getvalue()


def with_tag(file: bytes, tag: int, kind: int, content: bytes) -> bytes:
    """A little-endian TIFF with one more tag in a new directory at its end."""
    first = struct.unpack("<I", file[4:8])[0]
    count = struct.unpack("<H", file[first : first + 2])[0]
    table = file[first + 2 : first + 2 + 12 * count]
    rows = [table[i : i + 12] for i in range(0, len(table), 12) if table[i : i + 2] != struct.pack("<H", tag)]
    file += bytes(len(file) % 2)
    count = len(content) // {3: 2, 4: 4}.get(kind, 1)
    if len(content) <= 4:
        rows.append(struct.pack("<HHI", tag, kind, count) + content.ljust(4, b"\0"))
    else:
        rows.append(struct.pack("<HHII", tag, kind, count, len(file)))
        file += content + bytes(len(content) % 2)
    place = len(file)
    file += struct.pack("<H", len(rows)) + b"".join(sorted(rows)) + bytes(4)
    return file[:4] + struct.pack("<I", place) + file[8:]


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


GREY = Image.fromarray(card(channels=1).pixels[..., 0])
RGB = Image.fromarray(card().pixels)


def difference(picture: Picture, image: Image.Image) -> float:
    theirs: npt.NDArray[Any] = np.asarray(image).reshape(picture.pixels.shape)
    return float(np.abs(picture.pixels.astype(int) - theirs).mean())


@pytest.mark.parametrize(
    ("format", "image", "colour"),
    [
        ("PNG", GREY.convert("1"), "L"),
        ("PNG", RGB.quantize(40), "RGB"),
        ("GIF", RGB.quantize(40), "RGB"),
        ("BMP", RGB.quantize(40), "RGB"),
        ("BMP", GREY.convert("1"), "L"),
        ("BMP", GREY, "L"),
        ("TIFF", RGB.quantize(40), "RGB"),
        ("TIFF", GREY.convert("1"), "L"),
        ("TIFF", RGB.convert("YCbCr"), "RGB"),
        ("TIFF", RGB, "RGB"),
        ("TGA", RGB, "RGB"),
        ("PCX", RGB, "RGB"),
        ("SGI", RGB, "RGB"),
        ("DDS", RGB, "RGB"),
        ("QOI", RGB, "RGB"),
        ("JPEG2000", GREY, "L"),
        ("XBM", GREY.convert("1"), "L"),
        ("MSP", GREY.convert("1"), "L"),
        ("PPM", GREY.convert("1"), "L"),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else value,
)
def test_modes_of_eight_bits_and_less_are_read_as_pillow_shows_them(
    format: str, image: Image.Image, colour: str
) -> None:
    data = saved(image, format)
    with Image.open(io.BytesIO(data)) as again:
        theirs = again.convert(colour)
    picture = read(data)
    assert picture.channels == len(colour)
    assert picture.bits == 8
    assert picture.alpha is None
    assert picture.notes == ()
    assert difference(picture, theirs) < 0.5


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "TGA", "QOI", "JPEG2000", "ICO"])
def test_alpha_is_kept(format: str) -> None:
    image = Image.fromarray(samples(card(alpha=True, height=32, width=32)))
    every: dict[str, dict[str, Any]] = {
        "WEBP": {"lossless": True, "exact": True},
        "ICO": {"sizes": [(32, 32)]},
    }
    options = every.get(format, {})
    picture = read(saved(image, format, **options))
    assert np.array_equal(samples(picture), np.asarray(image))


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_transparent_index_becomes_alpha_and_no_colour(format: str) -> None:
    image = Image.new("P", (3, 1))
    image.putdata([0, 1, 2])
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture = read(saved(image, format, transparency=1))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[255, 0, 255]]
    assert picture.pixels[0, 0].tolist() == [255, 0, 0]
    assert picture.pixels[0, 2].tolist() == [0, 0, 255]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colour", [0, 2])
def test_a_transparent_colour_of_a_png_becomes_alpha(bits: int, colour: int) -> None:
    from tests.image.test_png import packed, with_chunk

    pixels = noise(4, 5, 1 if colour == 0 else 3, bits)
    key = struct.pack(f">{pixels.shape[2]}H", *pixels[1, 2].tolist())
    picture = read(with_chunk(packed(pixels), b"tRNS", key))
    assert picture.alpha is not None
    assert picture.bits == bits
    assert (picture.alpha == 0).sum() == (pixels == pixels[1, 2]).all(axis=2).sum() >= 1
    assert np.array_equal(picture.pixels, pixels)


def test_a_grey_jpeg_stays_grey_and_cmyk_becomes_rgb_with_a_note() -> None:
    assert read(saved(GREY, "JPEG")).channels == 1
    cmyk = read(saved(RGB.convert("CMYK"), "JPEG", quality=100))
    assert cmyk.channels == 3
    assert "CMYK" in cmyk.notes[0]
    assert difference(cmyk, RGB) < 3
    tiff = read(saved(RGB.convert("CMYK"), "TIFF"))
    assert difference(tiff, RGB) < 1
    assert "CMYK" in tiff.notes[0]


def test_inks_without_adobes_mark_are_not_inverted() -> None:
    inks = 255 - np.asarray(RGB.convert("CMYK"))  # Pillow inverts what it saves, and leaves the mark
    data = saved(Image.frombytes("CMYK", RGB.size, inks.tobytes()), "JPEG", quality=100)
    at = data.index(b"\xff\xee")
    length = struct.unpack(">H", data[at + 2 : at + 4])[0]
    assert difference(read(data[:at] + data[at + 2 + length :]), RGB) < 3


@pytest.mark.parametrize("space", ["lab", "labs", "xyz"])
def test_scientific_colours_become_rgb_with_a_note(space: str) -> None:
    import pyvips

    image = pyvips.Image.new_from_array(card().pixels).copy(interpretation="srgb").colourspace(space)
    picture = read(image.tiffsave_buffer())
    assert len(picture.notes) == 1
    assert "converted to sRGB" in picture.notes[0]
    assert np.abs(picture.pixels / 257 - card().pixels).mean() < 1.5


def test_lab_of_eight_bits_becomes_rgb_with_a_note() -> None:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    image = ImageCms.profileToProfile(RGB, srgb, lab, outputMode="LAB")
    assert image is not None
    picture = read(saved(image, "TIFF"))
    assert "Lab" in picture.notes[0]
    assert difference(picture, RGB) < 3


@pytest.mark.parametrize(
    ("values", "means"),
    [
        (np.array([[0, 0.5, 1]], np.float32), [0, 32768, 65535]),
        (np.array([[0, np.nan, 1, np.inf, -np.inf]], np.float32), [0, 0, 65535, 65535, 0]),
        (np.array([[0, 300, 65535]], np.int32), [0, 300, 65535]),
    ],
)
def test_wide_numbers_that_keep_to_a_range_are_read_with_a_note(
    values: npt.NDArray[Any], means: list[int]
) -> None:
    picture = read(saved(Image.fromarray(values), "TIFF"))
    assert picture.pixels[0, :, 0].tolist() == means
    assert picture.bits == 16
    assert picture.notes


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0, 255.0]], np.float32),
        np.array([[-1, 0.5]], np.float32),
        np.array([[np.nan, np.nan]], np.float32),
        np.array([[0, 70_000]], np.int32),
        np.array([[-1, 5]], np.int32),
    ],
)
def test_wide_numbers_without_a_range_are_refused(values: npt.NDArray[Any]) -> None:
    with pytest.raises(PictureError, match=r"its pixels are .*values.*: which of them is white") as refused:
        read(saved(Image.fromarray(values), "TIFF"))
    assert "no agreed" not in str(refused.value)
    assert refused.value.hint


def test_ten_bits_of_an_avif_reach_white() -> None:
    import pyvips

    white = (pyvips.Image.black(16, 16, bands=3) + 65535).cast("ushort").copy(interpretation="rgb16")
    picture = read(white.heifsave_buffer(compression="av1", bitdepth=10, lossless=True))
    assert picture.bits == 16
    assert picture.pixels.min() == 65535  # libvips hands over 65472


@pytest.mark.parametrize(("meaning", "alpha"), [(0, False), (2, True)])
def test_a_band_that_means_nothing_is_no_alpha(meaning: int, alpha: bool) -> None:
    numbers = samples(card(alpha=True))
    data = saved(Image.fromarray(np.ascontiguousarray(numbers)), "TIFF")
    picture = read(with_tag(data, 338, 3, struct.pack("<H", meaning)))
    assert (picture.alpha is not None) == alpha
    assert bool(picture.notes) == (not alpha)
    assert np.array_equal(picture.pixels, numbers[..., :3])


@pytest.mark.parametrize(
    "tags",
    [
        [(50706, 1, b"\1\4\0\0")],  # DNGVersion
        [(254, 4, b"\1\0\0\0"), (330, 4, b"\x08\0\0\0")],  # a small copy first, the rest elsewhere
    ],
)
def test_the_small_preview_of_a_raw_file_is_not_taken_for_the_picture(
    tags: list[tuple[int, int, bytes]],
) -> None:
    data = saved(RGB, "TIFF")
    for tag, kind, content in tags:
        data = with_tag(data, tag, kind, content)
    with pytest.raises(PictureError, match="RAW"):
        read(data)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_several_frames_the_first_is_taken_and_said_so(format: str) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    picture = read(saved(frames[0], format, save_all=True, append_images=frames[1:]))
    assert picture.pixels[5, 5, 0] > 250
    assert picture.pixels[5, 5, 1] < 5
    assert len(picture.notes) == 1
    assert "of 3" in picture.notes[0]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_broken_exif_costs_itself_and_not_the_pixels(format: str) -> None:
    data = (
        saved(RGB, format, exif=b"Exif\0\0" + exif()) if format != "AVIF" else saved(RGB, format, exif=exif())
    )
    at = data.index(b"II*\0")
    picture = read(data[:at] + b"XX*\0" + data[at + 4 :] if format != "PNG" else png_with_broken_exif())
    assert (picture.width, picture.height) == (31, 24)
    assert picture.exif is None
    assert any("EXIF" in note for note in picture.notes)


def png_with_broken_exif() -> bytes:
    from tests.image.test_png import with_chunk

    return with_chunk(saved(RGB, "PNG"), b"eXIf", b"nonsense")


@pytest.mark.parametrize("tag", [296, 282, 305, 306, 315])
def test_an_odd_tag_of_a_tiff_costs_itself_and_not_the_pixels(tag: int) -> None:
    for content in (b"\x4d\0", b"\xff" * 9):
        data = with_tag(saved(RGB, "TIFF"), tag, 3, content)
        assert difference(read(data), RGB) == 0


def test_an_odd_tag_does_not_cover_up_for_missing_pixels() -> None:
    data = saved(Image.fromarray(noise(60, 80, 3)), "TIFF")
    odd = with_tag(data, 296, 3, b"\x4d\0")
    assert read(odd).width == 80
    # the strip now lies beyond the end
    with pytest.raises(PictureError, match="damaged tiff"):
        read(with_tag(odd, 273, 4, struct.pack("<I", len(data) + 10_000)))


def test_xmp_can_turn_a_picture_and_then_stands_upright() -> None:
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>"
    picture = read(saved(RGB, "JPEG", xmp=packet))
    assert (picture.width, picture.height) == (24, 31)
    assert metadata.orientation(None, picture.xmp) == 1


@pytest.mark.parametrize(
    "unit", [(1, 300, 150, (300, 150)), (2, 118, 59, (300, 150)), (0, 1, 1, None), (0, 2, 1, (144, 72))]
)
def test_the_density_of_a_jpeg(unit: tuple[int, int, int, tuple[int, int] | None]) -> None:
    kind, x, y, dpi = unit
    data = bytearray(saved(RGB, "JPEG"))
    data[13:18] = struct.pack(">BHH", kind, x, y)
    found = read(bytes(data)).dpi
    assert (found and (round(found[0]), round(found[1]))) == dpi


@pytest.mark.parametrize(
    "format",
    [
        "PNG",
        "TIFF",
        "GIF",
        "BMP",
        "WEBP",
        "AVIF",
        "JPEG",
        "JPEG2000",
        "QOI",
        "TGA",
        "PCX",
        "SGI",
        "DDS",
        "PPM",
    ],
)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_file_that_ends_early_is_refused(format: str, part: float) -> None:
    image = Image.fromarray(noise(60, 80, 3))
    data = saved(image, format)
    with pytest.raises(PictureError):
        read(data[: int(part * len(data))])


@pytest.mark.parametrize("compression", ["none", "lzw", "deflate", "jpeg"])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_in_tiles_that_ends_early_is_refused(compression: str, bits: int) -> None:
    if (compression, bits) == ("jpeg", 16):
        pytest.skip("there is no such TIFF")
    pixels = noise(150, 130, 3, bits)
    image = library().Image.new_from_memory(pixels.tobytes(), 130, 150, 3, "uchar" if bits == 8 else "ushort")
    image = image.copy(interpretation="rgb" if bits == 8 else "rgb16")
    data: bytes = image.tiffsave_buffer(
        compression=compression, tile=True, tile_width=32, tile_height=32, Q=90
    )
    assert read(data).bits == bits
    offsets = tiff.of_bytes(data)
    first = offsets.directory(offsets.first)
    tiles = [int(n) for n in offsets.numbers(first, 324, most=99)]
    lengths = [int(n) for n in offsets.numbers(first, 325, most=99)]
    # Without packing all bytes are pixels: only what is missing shows.
    for spoilt in () if compression == "none" else (tiles[-1], tiles[7]):
        broken = bytearray(data)
        length = lengths[tiles.index(spoilt)]
        broken[spoilt : spoilt + length] = bytes(length)
        with pytest.raises(PictureError, match="damaged tiff"):
            read(bytes(broken))
    if max(tiles) > first.next_at:  # else the directory would be lost, too
        with pytest.raises(PictureError, match="damaged tiff"):
            read(data[: max(tiles) + 5])
    moved = bytearray(data)
    entry = first.entries[324]
    moved[entry.at : entry.at + 4] = (len(data) + 1000).to_bytes(4, "little")
    with pytest.raises(PictureError, match="damaged tiff"):
        read(bytes(moved))


def test_grey_and_transparency_in_planes_of_their_own_are_refused() -> None:
    # libvips takes the planes for pixels side by side, so that everything would be there, and nothing right.
    tags = [(256, 4, 1, 6), (257, 4, 1, 4), (258, 3, 2, 8 | 8 << 16), (262, 3, 1, 1), (277, 3, 1, 2)]
    tags += [(284, 3, 1, 2), (338, 3, 1, 2)]
    with pytest.raises(PictureError, match="planes of their own"):
        read(classic(*tags) + bytes(100))


def test_alpha_is_kept_beside_a_channel_that_is_none() -> None:
    pixels = noise(9, 11, 5)
    image = library().Image.new_from_memory(pixels.tobytes(), 11, 9, 5, "uchar").copy(interpretation="rgb")
    data = bytearray(image.tiffsave_buffer())
    structure = tiff.of_bytes(bytes(data))
    entry = structure.directory(structure.first).entries[338]
    data[entry.at : entry.at + 4] = struct.pack("<HH", 2, 0)
    picture = read(bytes(data))
    assert picture.alpha is not None and np.array_equal(picture.alpha, pixels[..., 3])
    assert any("1 of its channels" in note for note in picture.notes)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd"])
def test_a_tiff_of_any_packing_that_ends_early_is_refused(compression: str | None) -> None:
    image = Image.fromarray(noise(60, 80, 3))
    data = saved(image, "TIFF", compression=compression)
    assert read(data).width == 80
    first = struct.unpack("<I", data[4:8])[0]
    # the directory comes first or last; cut the pixels out of the middle and keep it
    middle = len(data) // 2
    cut = data[: middle - 2000] if first < middle else data[:2000]
    with pytest.raises(PictureError):
        read(cut)


def test_damage_in_the_middle_of_a_jpeg_is_noticed() -> None:
    data = saved(Image.fromarray(noise(64, 64, 3)), "JPEG", quality=90)
    scan = data.index(b"\xff\xda")
    with pytest.raises(PictureError, match="damaged jpeg"):
        read(data[: scan + 500] + b"\xff\xd9" + data[scan + 500 :])


def test_what_is_odd_about_a_jpeg_and_costs_no_pixels_is_forgiven_and_said() -> None:
    data = saved(RGB, "JPEG", restart_marker_blocks=2)
    plain = read(data)
    stray = data.index(b"\xff\xd0")
    for odd in (data[:11] + b"\x09" + data[12:], data[:stray] + b"\0\0" + data[stray:]):
        picture = read(odd)
        assert np.array_equal(picture.pixels, plain.pixels)
        assert len(picture.notes) == 1
        assert "odd JPEG data" in picture.notes[0]
    assert plain.notes == read(data + b"trailer" * 99).notes == ()


def test_bits_that_pillow_drops_are_said() -> None:
    pixels = noise(24, 31, 3, 16)
    head = struct.pack(">HBBHHHHII", 474, 0, 2, 3, 31, 24, 3, 0, 65535).ljust(512, b"\0")
    sgi = read(head + pixels.transpose(2, 0, 1)[:, ::-1].astype(">u2").tobytes())
    assert np.abs(sgi.pixels.astype(int) - pixels // 257).max() <= 1
    assert sgi.notes == ("16 bits a sample were reduced to 8",)
    stream = bytearray(saved(RGB, "JPEG2000", no_jp2=True))
    size = stream.index(b"\xff\x51")
    for band in range(3):
        stream[size + 40 + 3 * band] = 15
    assert read(bytes(stream)).notes == sgi.notes
    assert read(saved(RGB, "JPEG2000")).notes == read(saved(RGB, "SGI")).notes == ()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (bytes(4096), "nothing but zeros"),
        (b"Dear Sir or Madam,\n", "not a picture"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='99999' height='99999'/>", "SVG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b"PK\x03\x04" + bytes(60), "ZIP"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(60), "HEIC"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp41" + bytes(60), "video"),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(60), "RAW"),
        (b"\xff\x0a" + bytes(60), "JPEG XL"),
        (b"\0\x05\x16\x07" + bytes(60), "AppleDouble"),
    ],
)
def test_what_is_no_picture_is_called_what_it_is(data: bytes, says: str) -> None:
    for look in (read, probe):
        with pytest.raises(PictureError, match=says) as refused:
            look(data, name="holiday/a.png")
        assert str(refused.value).startswith("holiday/a.png: ")
        assert refused.value.hint


def bomb(width: int, height: int) -> bytes:
    """A sound 1-bit PNG of so many black pixels in next to no bytes."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    content = b"".join(packer.compress(row * 100) for _ in range(height // 100)) + packer.flush()
    data = b"\x89PNG\r\n\x1a\n"
    for kind, part in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
        (b"IDAT", content),
        (b"IEND", b""),
    ):
        data += struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
    return data


def test_limits_count_pixels_before_any_is_read() -> None:
    data = bomb(1000, 1000)
    assert read(data).width == 1000
    assert read(data, max_pixels=1_000_000).width == 1000
    with pytest.raises(PictureError, match=r"1000x1000 pixels, where 999,999 in all are allowed") as refused:
        read(data, max_pixels=999_999)
    assert "--max-input-pixels" in refused.value.hint


def test_a_hollow_giant_is_a_bomb_unless_it_was_asked_for() -> None:
    data = bomb(16_000, 12_000)
    with pytest.raises(PictureError, match="too large"):
        read(data)
    assert probe(data, max_pixels=200_000_000).width == 16_000


@pytest.mark.parametrize("format", ["BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG", "QOI", "JPEG2000", "AVIF"])
def test_the_limit_holds_for_every_decoder(format: str) -> None:
    data = saved(RGB, format)
    assert read(data, max_pixels=31 * 24).width == 31
    with pytest.raises(PictureError, match="too large"):
        read(data, max_pixels=31 * 24 - 1)


@pytest.mark.skipif(os.name == "nt", reason="has no named pipes")
def test_pipes_folders_and_missing_files_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "itself.png").symlink_to(tmp_path / "itself.png")
    for name in ("pipe.jpg", "folder.png"):
        with pytest.raises(PictureError, match="not a regular file"):
            read(tmp_path / name)
    for name in ("dangling.png", "itself.png", "missing.png", "nul\0.png", "x" * 300):
        with pytest.raises(PictureError, match="cannot be opened"):
            read(tmp_path / name)
    with pytest.raises(PictureError, match="not a regular file"):
        read(Path("/dev/zero"))


@pytest.mark.parametrize(
    "name", ["a[page=1]", "-a.png", "a\nb.png", "ü雪😀.png", "x" * 251 + ".png", "a.jpg"]
)
def test_the_name_does_not_matter(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(saved(RGB, "PNG"))
    assert read(path).format == "png"


def test_a_file_that_was_rewritten_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for value in (10, 200):
        path.write_bytes(saved(Image.new("L", (5, 5), value), "PNG"))
        assert (read(path).pixels == value).all()


def test_a_stream_that_cannot_seek_is_read() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self._data = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return self._data.readinto(buffer)

    pipe = io.BufferedReader(Pipe(saved(RGB, "PNG")))
    assert np.array_equal(read(pipe).pixels, card().pixels)


def test_postscript_never_reaches_pillow() -> None:
    from liif_cli.image import by_pillow
    from liif_cli.image.decoded import Limit, Unsupported

    limit = Limit(max_pixels=1000, file_bytes=1000, trusted=True)
    drawing = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    with pytest.raises(Unsupported):
        by_pillow.decode(io.BytesIO(drawing), limit)


def test_our_limit_takes_the_place_of_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read(saved(RGB, "BMP")).width == 31


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not tell")
def test_reading_leaves_no_file_open(tmp_path: Path) -> None:
    for format in ("PNG", "TIFF", "JPEG", "AVIF", "WEBP"):
        path = tmp_path / format
        path.write_bytes(saved(RGB, format))
        read(path)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(5):
            read(path)
            probe(path)
        assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_reading_leaves_no_trace_in_pillow_and_the_warnings(recwarn: pytest.WarningsRecorder) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    read(saved(RGB, "GIF"), max_pixels=10_000)
    with pytest.raises(PictureError):
        read(saved(RGB, "GIF"), max_pixels=10)
    assert limit == Image.MAX_IMAGE_PIXELS
    assert len(recwarn) == 0

"""The training photographs: the list, and how a picture is developed."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import fetch_photos
import numpy as np
import pytest
from fetch_photos import LIST, Photo, develop, main, photos, reduced, srgb, tables
from hypothesis import given
from hypothesis import strategies as st
from packages import PackageError
from PIL import Image, ImageCms

HEADER = "split\tpackage\tversion\tpath\tsha256\twidth\theight\tlicence\tauthor\treduce\tnote"


def encoded(image: Image.Image, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG", **options)
    return data.getvalue()


def plain(width: int = 40, height: int = 30) -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def row(path: str, data: bytes, split: str = "train", package: str = "birds", reduce: str = "1") -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    return "\t".join([split, package, "1", path, sha256, "40", "30", "CC0-1.0", "Ann", reduce, ""])


# --- the list


def test_the_list_names_every_picture_once_with_its_licence_and_author() -> None:
    listed = photos()
    assert len({photo.sha256 for photo in listed}) == len(listed) > 500
    assert len({(photo.package, photo.path) for photo in listed}) == len(listed)
    assert len({photo.stem for photo in listed}) == len(listed)
    assert all(photo.licence and photo.author and photo.version for photo in listed)
    assert len({photo.package for photo in listed}) == len({(p.package, p.version) for p in listed})


def test_the_validation_pictures_are_those_of_the_shared_set(shared: Path) -> None:
    ours = {photo.stem for photo in photos() if photo.split == "val"}
    assert ours == {path.stem for path in (shared / "photos" / "val").glob("*.webp")}


def test_no_picture_is_reduced_to_less_than_the_largest_training_crop() -> None:
    # 8 x 32 pixels: the largest scale that is trained, times a patch
    assert all(min(int(p.width / p.reduce), int(p.height / p.reduce)) >= 256 for p in photos())


@pytest.mark.parametrize("changed", ["reduce=0.5", "reduce=x", "split=test", "sha256=12", "width=?"])
def test_a_row_that_makes_no_sense_is_named(changed: str, tmp_path: Path) -> None:
    names = HEADER.split("\t")
    values = dict(zip(names, row("a.png", b"").split("\t"), strict=True))
    name, _, value = changed.partition("=")
    listing = tmp_path / "list.tsv"
    listing.write_text("\n".join([HEADER, row("a.png", b""), "\t".join((values | {name: value}).values())]))
    with pytest.raises(ValueError, match=r"list\.tsv: line 3"):
        photos(listing)


def test_the_readme_says_what_is_in_the_list() -> None:
    assert tables(photos()) in LIST.with_name("README.md").read_text(encoding="utf-8")


# --- developing


@given(
    width=st.integers(1, 60), height=st.integers(1, 60), factor=st.sampled_from(["1", "1.5", "2", "3", "4"])
)
def test_a_reduced_picture_has_the_whole_number_of_pixels_that_fit(
    width: int, height: int, factor: str
) -> None:
    divisor = Fraction(factor)
    if width >= divisor and height >= divisor:
        assert reduced(plain(width, height), divisor).size == (int(width / divisor), int(height / divisor))


def test_reducing_leaves_out_what_does_not_divide_instead_of_squeezing_it() -> None:
    odd = plain(41, 31)
    even = odd.crop((0, 0, 40, 30))
    # The filter of the last pixels reaches into the rest, that of the others does not.
    inner = (0, 0, 17, 12)
    assert reduced(odd, Fraction(2)).crop(inner).tobytes() == reduced(even, Fraction(2)).crop(inner).tobytes()


def test_a_flat_picture_stays_flat_at_a_broken_factor() -> None:
    assert (
        np.ptp(np.asarray(reduced(Image.new("RGB", (50, 33), (9, 200, 40)), Fraction("1.5"))), (0, 1)).max()
        == 0
    )


def test_a_picture_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the upper left corner is stored lower left
    with Image.open(io.BytesIO(encoded(plain(), exif=exif))) as image:
        assert srgb(image).tobytes() == plain().transpose(Image.Transpose.ROTATE_270).tobytes()


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK", "LA"])
def test_every_kind_of_picture_becomes_rgb(mode: str) -> None:
    assert srgb(plain().convert(mode)).mode == "RGB"


def test_a_colour_profile_is_applied_and_a_broken_one_ignored() -> None:
    standard = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = standard.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    image = Image.new("RGB", (4, 4), (200, 50, 10))
    for profile, seen in ((swapped, (50, 200, 10)), (b"not a profile", (200, 50, 10))):
        image.info["icc_profile"] = profile
        assert np.allclose(np.asarray(srgb(image))[1, 1], seen, atol=2)


def test_another_picture_than_the_listed_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.tsv").write_text(f"{HEADER}\n{row('a.png', b'another')}\n")
    (tmp_path / "a.png").write_bytes(encoded(plain()))
    (photo,) = photos(tmp_path / "list.tsv")
    with pytest.raises(PackageError, match="sha256 differs"):
        develop(photo, tmp_path)


# --- the command


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tree of the one package there is, birds."""
    tree = tmp_path / "tree"
    tree.mkdir()

    @contextmanager
    def unpack(name: str, version: str) -> Iterator[Path]:
        if name != "birds":
            raise PackageError(f"{name} cannot be downloaded")
        yield tree

    monkeypatch.setattr(fetch_photos, "unpacked", unpack)
    return tree


def listing(package: Path, *rows: str) -> str:
    path = package.parent / "list.tsv"
    path.write_text("\n".join([HEADER, *rows, ""]))
    return str(path)


def test_the_pictures_are_made_once_and_hold_the_pixels_alone(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = encoded(plain(), icc_profile=b"not a profile", dpi=(300, 300))
    (package / "a.png").write_bytes(data)
    listed = listing(package, row("a.png", data))
    out = package.parent / "out"
    for new in (1, 0):
        assert main([str(out), "--list", listed]) == 0
        assert f"1 of 1 pictures are there, {new} of them new" in capsys.readouterr().out
    (made,) = (out / "train").iterdir()
    with Image.open(made) as image:
        assert image.info == {}
        assert image.tobytes() == plain().tobytes()


def test_the_same_pixels_come_out_as_png_and_as_webp(package: Path) -> None:
    data = encoded(plain())
    (package / "a.png").write_bytes(data)
    listed = listing(package, row("a.png", data, split="val", reduce="1.5"))
    for suffix in ("png", "webp"):
        assert main([str(package.parent), "--list", listed, "--format", suffix]) == 0
    pixels = {Image.open(path).convert("RGB").tobytes() for path in (package.parent / "val").iterdir()}
    assert len(pixels) == 1


def test_what_is_missing_is_said_and_too_much_of_it_fails(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = encoded(plain())
    (package / "a.png").write_bytes(data)
    (package / "b.png").write_bytes(b"no picture")
    rows = [
        row("a.png", data),
        row("b.png", b"no picture"),
        row("c.png", b"c"),
        row("d.png", b"d", package="fish"),
    ]
    assert main([str(package.parent / "out"), "--list", listing(package, *rows)]) == 1
    said = capsys.readouterr()
    assert "1 of 4 pictures are there" in said.out
    assert "birds: b.png: it cannot be decoded" in said.err
    assert "birds: c.png: c.png is not in the package" in said.err
    assert "fish: d.png: fish cannot be downloaded" in said.err


def test_a_package_or_a_split_can_be_asked_for(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = encoded(plain())
    (package / "a.png").write_bytes(data)
    rows = [row("a.png", data), row("b.png", b"b", split="val"), row("c.png", b"c", package="fish")]
    asked = ["--list", listing(package, *rows), "--package", "birds", "--split", "train"]
    assert main([str(package.parent / "out"), *asked]) == 0
    assert "1 of 1 pictures are there" in capsys.readouterr().out


@pytest.mark.network
def test_the_validation_pictures_of_a_small_package_are_the_shared_ones(shared: Path, tmp_path: Path) -> None:
    assert main([str(tmp_path), "--package", "mate-screensaver-common", "--split", "val"]) == 0
    (made,) = (tmp_path / "val").iterdir()
    with Image.open(made) as image, Image.open(shared / "photos" / "val" / f"{made.stem}.webp") as wanted:
        left, top = ((mine - theirs) // 2 for mine, theirs in zip(image.size, wanted.size, strict=True))
        crop = image.crop((left, top, left + wanted.width, top + wanted.height))
        assert crop.tobytes() == wanted.convert("RGB").tobytes()


def test_what_a_picture_is_called_and_how_large_it_gets() -> None:
    photo = Photo(
        split="train", package="birds", version="1", path="a", sha256="0123456789abcdef" * 4,
        width=1025, height=769, licence="CC0-1.0", author="Ann", reduce=Fraction("1.5"), note="",
    )  # fmt: skip
    assert photo.stem == "birds_0123456789ab"
    assert photo.megapixels == pytest.approx(683 * 512 / 1e6)

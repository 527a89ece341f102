"""Formats are found out by trying."""

from __future__ import annotations

from dataclasses import replace

import pytest

from liif_cli.doctor.codecs import PROMISED, codecs, others, written
from liif_cli.errors import PictureError
from liif_cli.image.formats import FORMATS
from liif_cli.image.picture import Picture, quantize, to_bits, to_unit
from liif_cli.image.read import read


def test_here_every_format_does_what_it_promises() -> None:
    found = {codec.name: codec for codec in codecs()}
    for form in FORMATS.values():
        codec = found[form.name]
        assert codec.fault == ""
        assert codec.reads and codec.writes
        assert (codec.bits, codec.alpha) == (form.bits, form.alpha)
    for name in PROMISED:
        assert found[name.lower()].reads and not found[name.lower()].fault
        assert not found[name.lower()].writes


def refuse(data: bytes) -> Picture:
    raise PictureError("picture: cannot be read today")


def test_a_format_that_cannot_be_read_back_has_a_fault() -> None:
    codec = written(FORMATS["jpeg"], refuse)
    assert not codec.reads and not codec.writes and codec.bits == ()
    assert "8 bits: picture: cannot be read today" in codec.fault
    assert {one.name for one in others(refuse)} == {name.lower() for name in PROMISED}
    assert all(one.fault and not one.reads for one in others(refuse))


def test_a_lost_depth_is_found_and_the_other_depth_stays() -> None:
    def eight_bits(data: bytes) -> Picture:
        back = read(data)
        alpha = None if back.alpha is None else to_bits(back.alpha, 8)
        return replace(back, pixels=to_bits(back.pixels, 8), alpha=alpha, bits=8)

    codec = written(FORMATS["png"], eight_bits)
    assert codec.bits == (8,)
    assert codec.alpha
    assert "16 bits: came back with 8 bits" in codec.fault
    assert "16 bits with alpha: " in codec.fault


def test_lost_transparency_is_found() -> None:
    codec = written(FORMATS["webp"], lambda data: replace(read(data), alpha=None))
    assert codec.reads and not codec.alpha
    assert codec.fault == "8 bits with alpha: came back with 8 bits and no alpha"


@pytest.mark.parametrize(
    ("name", "levels", "sound"), [("png", 1, False), ("jpeg", 1, True), ("jpeg", 20, False)]
)
def test_lossless_is_exact_and_lossy_is_near(name: str, levels: int, sound: bool) -> None:
    def off(data: bytes) -> Picture:
        back = read(data)
        return replace(back, pixels=quantize(to_unit(back.pixels) + levels / 255, back.bits))

    codec = written(FORMATS[name], off)
    assert (codec.fault == "") == sound


def test_another_size_is_found() -> None:
    codec = written(FORMATS["jpeg"], lambda data: replace(read(data), pixels=read(data).pixels[1:]))
    assert "came back with 32x31 pixels" in codec.fault


def test_a_library_that_breaks_in_its_own_way_is_a_fault_and_no_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("libvips.so.42: cannot open shared object file")

    monkeypatch.setattr("liif_cli.doctor.codecs.write", broken)
    assert "OSError: libvips.so.42" in written(FORMATS["tiff"], read).fault

"""What each format can hold, and who can hold what it cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liif_cli.errors import DeviceError, PictureError, UsageError
from liif_cli.image.formats import FORMATS, LEFT_BYTES, check, likely_bytes, named, of_suffix, writing


@pytest.mark.parametrize("format", list(FORMATS))
def test_every_format_goes_by_its_name_and_its_suffixes(format: str) -> None:
    assert named(format).name == named(format.upper()).name == format
    for suffix in FORMATS[format].suffixes:
        assert of_suffix(Path("a" + suffix.upper())) is FORMATS[format]


def test_other_names_are_understood_and_unknown_ones_answered_with_the_nearest() -> None:
    assert named("jpg").name == "jpeg"
    assert named(".tif").name == "tiff"
    with pytest.raises(UsageError) as refused:
        named("webm")
    assert refused.value.hint == "did you mean 'webp'?"
    with pytest.raises(UsageError) as refused:
        named("xyz")
    assert "png" in refused.value.hint
    assert of_suffix(Path("a.gif")) is None


@pytest.mark.parametrize(
    ("format", "wants", "why", "who"),
    [
        ("jpeg", {"width": 65_501}, "65,500", "png and tiff"),
        ("jpeg", {"alpha": True}, "transparency", "png and tiff and webp and avif"),
        ("jpeg", {"bits": 16}, "16 bits", "png and tiff"),
        ("webp", {"height": 16_384}, "16,383", "png and tiff and jpeg and avif"),
        ("avif", {"width": 20_000, "alpha": True}, "16,384", "png and tiff"),
        (
            "webp",
            {"width": 16_000, "height": 16_000, "budget_bytes": 10**9},
            "are allowed",
            "png and tiff and jpeg",
        ),
        ("jpeg", {"lossless": True}, "--lossless", "png and tiff and webp"),
        ("png", {"pyramid": True}, "a pyramid", "tiff"),
        ("png", {"width": 2**31}, "2,147,483,647", "no format"),
    ],
)
def test_what_does_not_fit_is_refused_naming_who_can(
    format: str, wants: dict[str, int], why: str, who: str
) -> None:
    kind = DeviceError if "budget_bytes" in wants else PictureError
    with pytest.raises(kind, match=why) as refused:
        check(format, **{"width": 100, "height": 100} | wants)  # type: ignore[arg-type]
    assert who in refused.value.hint


@given(
    st.sampled_from(list(FORMATS)),
    st.integers(1, 10**5),
    st.integers(1, 10**5),
    st.sampled_from([8, 16]),
    st.booleans(),
)
def test_who_is_named_can_indeed(format: str, width: int, height: int, bits: int, alpha: bool) -> None:
    try:
        check(format, width=width, height=height, bits=bits, alpha=alpha)
    except PictureError as error:
        for able in error.hint.split(" can:")[0].split(" and "):
            check(able, width=width, height=height, bits=bits, alpha=alpha)


def test_a_budget_binds_only_what_does_not_stream() -> None:
    for format in ("png", "tiff", "jpeg"):
        check(format, width=60_000, height=60_000, budget_bytes=1)
    check("webp", width=1000, height=1000, budget_bytes=100_000_000)
    with pytest.raises(DeviceError, match="packing 1000x1000 pixels as webp takes 54 MiB, 47 MiB") as refused:
        check("webp", width=1000, height=1000, budget_bytes=50_000_000)
    assert refused.value.status == 3 and refused.value.hint.startswith(
        "more --memory; png and tiff and jpeg can"
    )
    assert "-Q" not in refused.value.hint
    with pytest.raises(DeviceError, match="as lossless webp takes") as refused:
        check("webp", width=1000, height=1000, lossless=True, budget_bytes=50_000_000)
    assert refused.value.hint == (
        "more --memory; png and tiff can: choose one with --format; -Q 95 packs with losses, in less"
    )


def test_the_most_that_is_held_is_while_computing_or_while_packing() -> None:
    stream = writing("png", width=2000, height=1000, channels=3)
    assert stream.peak_bytes(6, 10**9) == 6 + stream.held_bytes + 10**9 and not stream.packing_bytes
    whole = writing("avif", width=2000, height=1000, channels=3)
    assert whole.held_bytes == 6_000_000 < whole.packing_bytes
    assert whole.peak_bytes(6, 10**9) == 6 + 6_000_000 + 10**9
    assert whole.peak_bytes(6, 10**6) == 6 + whole.told_bytes
    assert whole.told_bytes == whole.packing_bytes
    lossy = writing("webp", width=2000, height=1000, channels=3)
    assert lossy.packing_bytes / 1.5 < lossy.told_bytes < lossy.packing_bytes  # that is of noise


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="who tells the peak")
@pytest.mark.parametrize(
    ("format", "channels", "lossless"),
    [("avif", 1, 0), ("avif", 3, 0), ("avif", 4, 0), ("webp", 3, 0), ("webp", 4, 0), ("webp", 3, 1)],
)
def test_packing_takes_no_more_than_is_said(format: str, channels: int, lossless: int) -> None:
    width, height = 1800, 1200
    told = writing(format, width=width, height=height, channels=channels, lossless=bool(lossless))
    code = f"""if True:
        import io, numpy as np
        from liif_cli import machine
        from liif_cli.image.encoders import Canvas, Encoding, Tags, encoder_of
        def pack(width, height):
            shape = (height, width, {channels})
            alpha = {channels} == 4
            canvas = Canvas(width=width, height=height, channels={channels} - alpha, alpha=alpha)
            encoding = Encoding(format={format!r}, lossless={bool(lossless)})
            encoder = encoder_of(io.BytesIO(), canvas, encoding, Tags())
            encoder.rows(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
            encoder.end()
        pack(64, 64)
        machine.forget_peak()
        before = machine.resident_bytes()
        pack({width}, {height})
        print(machine.peak_bytes() - before)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # the rows are made in one piece here, the file is kept in memory
    beside = 2 * width * height * channels
    packing = told.packing_bytes - LEFT_BYTES  # nothing was computed
    assert packing / 3 < int(done.stdout) < packing + beside


def test_the_estimate_grows_with_the_samples() -> None:
    small = likely_bytes("png", width=100, height=100, channels=1)
    assert small < likely_bytes("png", width=100, height=100, channels=3)
    assert small < likely_bytes("png", width=100, height=100, channels=1, bits=16)
    lossy = likely_bytes("webp", width=100, height=100, channels=1)
    assert lossy < likely_bytes("webp", width=100, height=100, channels=1, lossless=True) < small

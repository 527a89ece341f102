"""What each format can hold, and who can hold what it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liif_cli.errors import PictureError, UsageError
from liif_cli.image.formats import FORMATS, check, likely_bytes, named, of_suffix


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
            "at once",
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
    with pytest.raises(PictureError, match=why) as refused:
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


def test_the_estimate_grows_with_the_samples() -> None:
    small = likely_bytes("png", width=100, height=100, channels=1)
    assert small < likely_bytes("png", width=100, height=100, channels=3)
    assert small < likely_bytes("png", width=100, height=100, channels=1, bits=16)

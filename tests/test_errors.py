"""Errors: statuses, hints, and the nearest known word."""

from __future__ import annotations

import pytest

from liif_cli import errors
from liif_cli.errors import LiifError, UnknownWeights, nearest

KNOWN = ["standard", "standard-photo", "compact", "edsr-baseline-liif"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("standart", "standard"),
        ("compct", "compact"),
        ("edsr", "edsr-baseline-liif"),
        ("standard_photo", "standard-photo"),
    ],
)
def test_the_nearest_known_word_is_offered(typed: str, meant: str) -> None:
    assert nearest(typed, KNOWN) == f"did you mean {meant!r}?"


@pytest.mark.parametrize("typed", ["", "zebra"])
def test_far_from_all_of_them_there_is_the_other_hint(typed: str) -> None:
    assert nearest(typed, KNOWN, otherwise="see the list") == "see the list"


def test_unknown_weights_say_so_in_both_lines() -> None:
    error = UnknownWeights("compct", KNOWN)
    assert (str(error), error.hint) == ("no weights are called 'compct'", "did you mean 'compact'?")


def test_every_class_has_the_exit_status_that_its_page_says() -> None:
    tree = (line.lstrip(" ├─└").split() for line in (errors.__doc__ or "").splitlines())
    drawn = {words[0]: int(words[1]) for words in tree if len(words) > 1 and words[0].endswith("Error")}
    classes = {
        name: c.status for name, c in vars(errors).items() if isinstance(c, type) and issubclass(c, LiifError)
    }
    assert drawn == {name: status for name, status in classes.items() if name in drawn}
    assert classes.keys() - drawn.keys() == {"UnknownWeights"}

"""Jobs: all that is wrong is known before anything is computed, and nothing is silent."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liif_cli.engine.target import Region, Target
from liif_cli.errors import PictureError
from liif_cli.folder.jobs import Job, Result, Rules, exit_status, plan_jobs, summary
from liif_cli.folder.names import Naming, find
from liif_cli.image.picture import Picture
from liif_cli.image.write import write

DOUBLE = Target(scale=(2, 2))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, which the names in these tests are relative to."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def picture(name: str, width: int = 12, height: int = 8, *, alpha: bool = False, bits: int = 8) -> Path:
    pixels: Any = np.arange(width * height * 3).reshape(height, width, 3)
    pixels = pixels.astype(np.uint8 if bits == 8 else np.uint16)
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(Picture(pixels=pixels, alpha=pixels[..., 0] if alpha else None, bits=bits), path)
    return path


def planned(
    *names: str | Path,
    target: Target = DOUBLE,
    output: str | None = None,
    template: str | None = None,
    format: str | None = None,
    recursive: bool = True,
    rules: Rules | None = None,
) -> list[Job | Result]:

    found = find(map(str, names), recursive=recursive, stdin=bytes)
    naming = Naming.of(
        output=output, template=template, format=format, model="tiny", target=target, many=found.many
    )
    return plan_jobs(found.sources, target, naming, rules or Rules())


def only(made: list[Job | Result]) -> Job | Result:
    assert len(made) == 1
    return made[0]


def error_of(one: Job | Result) -> str:
    assert isinstance(one, Result) and one.status == "failed" and one.exit_status == 1
    return one.error


def test_a_good_input_is_a_job() -> None:
    job = only(planned(picture("a.png")))
    assert isinstance(job, Job)
    assert (job.output, job.format, job.bits) == (Path("a_x2.png"), "png", 8)
    assert (job.layout.width, job.layout.height, job.overwrite, job.through) == (24, 16, False, False)


def test_bad_inputs_fail_by_themselves_in_the_order_of_the_inputs() -> None:
    picture("d/b.png")
    Path("d/a.png").write_text("no picture", "utf-8")
    made = planned("missing.png", "d", "d/b.png")
    assert [type(one) for one in made] == [Result, Result, Job]
    assert "no such file" in error_of(made[0]) and "not a picture" in error_of(made[1])


def test_two_inputs_with_one_name_for_their_results_are_found() -> None:
    picture("a.png")
    shutil.copy("a.png", "a.jpg")
    first, second = planned("a.png", "a.jpg", output="out/", format="png")
    assert isinstance(first, Job)
    assert error_of(second) == f"a.jpg: its result would be {Path('out/a.png')}, as that of a.png"


def test_folders_with_the_same_names_in_them_collide_too() -> None:
    for name in ("x/a.png", "y/a.png", "y/b.png"):
        picture(name)
    made = planned("x", "y", output="out/")
    assert [isinstance(one, Job) for one in made] == [True, False, True]


def test_no_input_is_ever_written_over() -> None:
    picture("a.png")
    picture("b.png")
    made = planned("a.png", "b.png", template="b.png", rules=Rules(if_exists="overwrite"))
    assert "written over the input b.png" in error_of(made[0])
    assert "as that of a.png" in error_of(made[1])
    alone = only(planned("a.png", output="./x/../a.png", rules=Rules(if_exists="overwrite")))
    assert "written over the input a.png" in error_of(alone)


def test_an_input_under_another_name_is_not_written_over() -> None:
    picture("a.png")
    os.link("a.png", "same.png")
    one = only(planned("a.png", output="same.png", rules=Rules(if_exists="overwrite")))
    assert "written over the input a.png" in error_of(one)


@pytest.mark.parametrize(("rule", "kind"), [("error", "failed"), ("skip", "skipped"), ("overwrite", None)])
def test_a_result_that_exists_is_an_error_skipped_or_written_over(rule: str, kind: str | None) -> None:
    picture("a.png")
    picture("a_x2.png")
    one = only(planned("a.png", rules=Rules(if_exists=rule)))  # type: ignore[arg-type]
    assert (one.status if isinstance(one, Result) else None) == kind
    assert isinstance(one, Result) or one.overwrite


def test_a_folder_done_twice_does_not_enlarge_its_own_results() -> None:
    picture("d/a.png")
    picture("d/a_x2.png", 24, 16)
    made = planned("d", rules=Rules(if_exists="skip"))
    assert [(one.status, one.warnings) for one in made if isinstance(one, Result)] == [
        ("skipped", (f"{Path('d/a_x2.png')} exists",)),
        ("skipped", (f"it is the result of {Path('d/a.png')}",)),
    ]
    again = planned("d", rules=Rules(if_exists="overwrite"))
    assert [isinstance(one, Job) for one in again] == [True, False]


def test_a_result_named_by_hand_is_enlarged_as_asked() -> None:
    picture("a.png")
    picture("a_x2.png")
    made = planned("a_x2.png", rules=Rules(if_exists="skip"))
    assert isinstance(only(made), Job)


def test_what_the_format_cannot_hold_is_refused_with_one_that_can() -> None:
    picture("veiled.png", alpha=True)
    picture("wide.png", 9000, 1)
    one = only(planned("veiled.png", format="jpeg"))
    assert "transparency" in error_of(one) and isinstance(one, Result) and "png" in one.hint
    assert isinstance(only(planned("veiled.png", format="jpeg", rules=Rules(flat=True))), Job)
    assert "it ends at 16,383 a side" in error_of(only(planned("wide.png", format="webp")))
    assert "16 bits" in error_of(only(planned("wide.png", format="jpeg", rules=Rules(bits=16))))


def test_more_bits_than_the_format_holds_are_said_to_be_lost() -> None:
    job = only(planned(picture("deep.png", bits=16), format="jpeg"))
    assert isinstance(job, Job) and job.bits == 8 and "16 bits a sample became 8" in job.notes[0]
    kept = only(planned("deep.png"))
    assert isinstance(kept, Job) and kept.bits == 16 and not kept.notes


def test_too_many_pixels_are_refused_on_both_sides() -> None:
    picture("a.png")
    assert "24x16 pixels, more than 300" in error_of(only(planned("a.png", rules=Rules(max_pixels=300))))
    assert "--max-input-pixels" in str(only(planned("a.png", rules=Rules(max_input_pixels=90))))


def test_a_region_outside_names_the_input() -> None:
    picture("a.png")
    target = Target(scale=(2, 2), region=Region.parse("20,0,9,9"))
    assert error_of(only(planned("a.png", target=target))).startswith("a.png: the region 9x9 at 20,0")


def test_only_enlarge_copies_or_leaves_what_is_large_enough() -> None:
    picture("a.png")
    target, rules = Target(longer=12), Rules(only_enlarge=True)
    beside = only(planned("a.png", target=target, rules=rules))
    assert isinstance(beside, Result) and beside.status == "skipped"
    elsewhere = only(planned("a.png", target=target, rules=rules, output="out/"))
    assert isinstance(elsewhere, Job) and elsewhere.through
    assert (elsewhere.result("done").width, elsewhere.result("done").scale) == (12, (1.0, 1.0))
    larger = only(planned("a.png", target=Target(longer=13), rules=rules))
    assert isinstance(larger, Job) and not larger.through


@pytest.mark.parametrize(
    ("rules", "copied"),
    [({}, True), ({"bare": True}, False), ({"lossless": False}, False), ({"lossless": True}, True)],
)
def test_what_is_packed_anew_has_to_fit(rules: dict[str, Any], copied: bool) -> None:
    numbers = np.arange(60 * 60 * 3, dtype=np.uint8).reshape(60, 60, 3)
    write(Picture(pixels=numbers), Path("a.webp"), lossless=True)
    how: Any = {"target": Target(longer=60), "output": "out/"}
    job = only(planned("a.webp", rules=Rules(only_enlarge=True, **rules), **how))
    assert isinstance(job, Job) and job.through and job.copied == copied
    if not rules.get("lossless"):  # asked for, it is asked of the file as well
        one = only(planned("a.webp", rules=Rules(only_enlarge=True, budget_bytes=1, **rules), **how))
        assert isinstance(one, Job) if copied else isinstance(one, Result) and "packing 60x60" in one.error


def test_places_where_nothing_can_be_written_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    picture("a.png")
    Path("file").write_text("", "utf-8")
    assert "is no folder" in error_of(only(planned("a.png", output="file/b.png")))
    assert "no folder" in error_of(only(planned("a.png", output="missing/b.png")))
    Path("b.png").mkdir()
    assert "there is a folder of this name" in error_of(only(planned("a.png", template="b.png")))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "nothing may be written in" in error_of(only(planned("a.png")))


def test_a_disk_that_is_too_small_is_found_before_computing(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    for name in ("a.png", "b.png", "c.png"):
        picture(name, 100, 100)
    # Two results of 1.4 MB may fit; a third does not, even at half its likely size.
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9, 9, 1_500_000))
    made = planned("a.png", "b.png", "c.png", target=Target(scale=(9, 9)))
    assert [isinstance(one, Job) for one in made] == [True, True, False]
    assert "MB are needed" in error_of(made[2])


def test_planning_writes_nothing(here: Path) -> None:
    picture("d/a.png")
    before = sorted(here.rglob("*"))
    planned("d", output="out/new/")
    assert sorted(here.rglob("*")) == before


statuses = st.lists(st.sampled_from([None, "skipped", 1, 3, 4, 70]), min_size=1)


@given(statuses)
def test_the_exit_status_says_what_happened(ends: list[object]) -> None:
    results = [
        Result(input="a", status="done" if end is None else "skipped")
        if not isinstance(end, int)
        else Result(input="a", status="failed", exit_status=end)
        for end in ends
    ]
    failed = [end for end in ends if isinstance(end, int)]
    status = exit_status(results)
    assert (status == 0) == (not failed) and (status == 70) == (70 in failed)
    if failed and 70 not in failed:
        assert status == (failed[0] if len(set(ends)) == 1 else 1)
    counts = summary(results, 1.0)
    assert counts["done"] + counts["skipped"] + counts["failed"] == len(ends)


def test_a_row_of_json_has_the_documented_fields() -> None:
    fields = [
        "input",
        "output",
        "status",
        "error",
        "hint",
        "warnings",
        "in_width",
        "in_height",
        "width",
        "height",
        "scale",
        "model",
        "precision",
        "tiles",
        "seconds",
        "megapixels_per_second",
        "peak_bytes",
        "verified",
    ]
    assert list(Result(input="a", status="done").row()) == fields


def test_a_failure_keeps_what_was_known() -> None:
    job = only(planned(picture("a.png")))
    assert isinstance(job, Job)
    result = replace(job, notes=("said before",)).failed(PictureError("a.png: gone", hint="look"))
    assert (result.width, result.error, result.hint, result.warnings) == (
        24,
        "a.png: gone",
        "look",
        ("said before",),
    )

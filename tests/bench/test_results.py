"""Rows as they are kept, and the comparison with an earlier run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liif_cli.bench.results import (
    Case,
    Plainly,
    Row,
    cases,
    changes,
    gate,
    parse_share,
    parse_size,
    read_rows,
    seconds,
    unlike,
)
from liif_cli.errors import GateError, UsageError
from liif_cli.evaluate.protocol import Scale
from liif_cli.report import json_line
from tests.bench.conftest import MakeRow

PLAIN = Plainly(median_s=24.0, ratio=12.5, max_difference=3e-7)
FIELDS = [
    *("model", "scale", "in_size", "precision", "device", "threads", "median_s", "min_s", "max_s"),
    *("output_megapixels_per_second", "split", "peak_bytes", "versions"),
]
PLAIN_FIELDS = ["plain_median_s", "ratio", "max_difference"]


def test_a_row_has_the_documented_fields_and_those_of_plain_only_if_it_was_asked_for(row: MakeRow) -> None:
    assert list(row().to_json()) == FIELDS
    assert list(row(plain=PLAIN).to_json()) == FIELDS + PLAIN_FIELDS


@pytest.mark.parametrize(("scale", "number"), [("4", 4), ("7.5", 7.5), ("2x3.5", "2x3.5")])
def test_a_scale_is_a_number_or_width_by_height(row: MakeRow, scale: str, number: object) -> None:
    assert row(scale=scale).to_json()["scale"] == number


@pytest.mark.parametrize("plain", [None, PLAIN])
@pytest.mark.parametrize("scale", ["2", "7.5", "2x3.5"])
def test_reading_gives_back_what_was_written(row: MakeRow, scale: str, plain: Plainly | None) -> None:
    written = row(scale=scale, in_size=(640, 480), plain=plain)
    back = Row.from_json(json.loads(json_line(written.to_json())))
    assert back.way == written.way
    assert back.plain == written.plain
    assert back.to_json() == written.to_json()


def test_speed_is_output_megapixels_over_the_median(row: MakeRow) -> None:
    assert row(2.0, in_size=(250, 250), scale="4").to_json()["output_megapixels_per_second"] == 0.5


def test_cases_are_all_sizes_at_all_scales_each_once() -> None:
    two, four = Scale(x=2, y=2), Scale(x=4, y=4)
    found = cases([two, four, two], [(8, 8), (9, 5), (8, 8)])
    assert [str(case) for case in found] == ["x2 of 8x8", "x4 of 8x8", "x2 of 9x5", "x4 of 9x5"]
    assert found[3].out_size == (36, 20)


@pytest.mark.parametrize(("text", "size"), [("256", (256, 256)), ("640x480", (640, 480))])
def test_a_size_is_a_square_or_width_by_height(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["0", "-3", "4k", "10x0", "x5", "", "1e3", "٣"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a size"):
        parse_size(text)


@given(st.integers(0, 999), st.integers(0, 99))
def test_a_share_is_written_in_percent(whole: int, part: int) -> None:
    assert parse_share(f"{whole}.{part:02}%") == pytest.approx((whole + part / 100) / 100)


@pytest.mark.parametrize("text", ["20", "0.2", "-5%", "nan%", "%", "1e9%"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a share"):
        parse_share(text)


def test_the_gate_lets_pass_what_is_as_slow_as_allowed_and_stops_what_is_slower(row: MakeRow) -> None:
    gate(changes([row(2.3)], [row(2.0)]), 0.2)
    gate(changes([row(0.1)], [row(2.0)]), 0.0)
    with pytest.raises(
        GateError, match=r"slower by more than 20%: standard x4 of 250x250.* 2 s .*2\.5 s .*25%"
    ):
        gate(changes([row(2.5), row(2.0, model="compact")], [row(2.0), row(2.0, model="compact")]), 0.2)


@pytest.mark.parametrize(
    "other",
    [
        {"model": "compact"},
        {"scale": "4x4.5"},
        {"in_size": (250, 251)},
        {"precision": "fp32"},
        {"device": "cuda:0"},
    ],
)
def test_only_like_is_compared_with_like(row: MakeRow, other: dict[str, object]) -> None:
    now, then = row(9.0), row(1.0, **other)
    assert changes([now], [then]) == []
    assert unlike([now.way], [then]) == [now.way]
    assert unlike([now.way], [then, row(1.0)]) == []


def test_of_several_earlier_rows_the_last_counts(row: MakeRow) -> None:
    (change,) = changes([row(3.0)], [row(1.0), row(2.0)])
    assert change.share == pytest.approx(0.5)


def test_other_circumstances_are_told(row: MakeRow) -> None:
    then = row(threads=4, versions={"torch": "1", "cpu": "fast"})
    (change,) = changes([row()], [then])
    assert change.circumstances == ("threads: 4 then, 2 now", "torch: 1 then, 2 now")


def test_rows_are_read_from_a_file(row: MakeRow, tmp_path: Path) -> None:
    rows = [row(1.0), row(2.0, plain=PLAIN)]
    path = tmp_path / "old.json"
    path.write_text("".join(json_line(one.to_json()) + "\n" for one in rows))
    assert [one.way for one in read_rows(path)] == [one.way for one in rows]
    assert [one.median_s for one in read_rows(path)] == [1.0, 2.0]


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "[]",
        "7",
        "null",
        '{"model": ',
        "[" * 100_000,
        "\0",
        '{"scale": 0.5, "in_size": [1, 1]}',
        '{"in_size": 5}',
    ],
)
def test_a_line_that_is_no_row_is_named(row: MakeRow, tmp_path: Path, line: str) -> None:
    path = tmp_path / "old.json"
    path.write_text(json_line(row().to_json()) + "\n" + line + "\n")
    with pytest.raises(UsageError, match=r"old\.json: line 2 is no row of a bench"):
        read_rows(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("median_s", value) for value in (True, "2", -1, 0, None, 10**400, 9e99, [1.0])),
        *(("in_size", value) for value in (["64", "64"], [0, 64], [-1, 64], [64.5, 64], [64], 64)),
        *(("peak_bytes", value) for value in (-1, 0.5, "1", True)),
        *(("min_s", 1e6), ("max_s", 1e-6), ("threads", 0), ("versions", 1)),
        ("split", {"read": -1, "encode": 0, "decode": 0, "write": 0}),
    ],
)
def test_a_row_with_a_field_that_cannot_be_is_none(
    row: MakeRow, tmp_path: Path, field: str, value: object
) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps({**row().to_json(), field: value}))
    with pytest.raises(UsageError, match="line 1"):
        read_rows(path)


def test_empty_lines_and_the_mark_of_an_editor_do_not_matter(row: MakeRow, tmp_path: Path) -> None:
    path, line = tmp_path / "old.json", json_line(row().to_json())
    path.write_text(f"\ufeff\n{line}\n\n{line}\n", "utf-8")
    assert len(read_rows(path)) == 2
    path.write_text(f"\n{line}\n\n7\n", "utf-8")
    with pytest.raises(UsageError, match="line 4"):
        read_rows(path)


@pytest.mark.parametrize("field", FIELDS)
def test_a_row_without_one_of_its_fields_is_none(row: MakeRow, tmp_path: Path, field: str) -> None:
    found = row().to_json()
    del found[field]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(found))
    if field == "output_megapixels_per_second":  # follows from the others
        assert read_rows(path)
    else:
        with pytest.raises(UsageError, match="line 1"):
            read_rows(path)


def test_a_file_that_is_not_there_or_not_text_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_rows(tmp_path / "none.json")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\xff")
    with pytest.raises(UsageError, match="line 1"):
        read_rows(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0123, "12.3 ms"),
        (0.9994, "999 ms"),
        (0.99999, "1 s"),
        (12.345, "12.3 s"),
        (99.96, "100 s"),
        (1234, "1234 s"),
    ],
)
def test_seconds_are_said_with_three_digits(value: float, said: str) -> None:
    assert seconds(value) == said


def test_megapixels_are_those_of_the_result() -> None:
    assert Case(scale=Scale(x=2, y=5), in_size=(1000, 100)).megapixels == 1.0

"""Results in a file: read back, continued after a kill, and never somebody else's file."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liif_cli.errors import LiifError, UsageError
from liif_cli.evaluate.protocol import PROTOCOLS, Scale
from liif_cli.evaluate.results import (
    Journal,
    Mean,
    Row,
    Way,
    ensemble_name,
    from_json,
    mean_rows,
    read_means,
    shortcut_name,
)
from liif_cli.report import json_line

WAY = Way(
    model="standard",
    dataset="Set5",
    protocol="benchmark",
    scale=Scale(x=2, y=2),
    metric="psnr",
    lr="files",
    border=(2, 2),
    precision="fp32",
    model_sha256="0123456789abcdef",
)
ROW = Row(way=WAY, image="baby", image_sha256="feed", value=37.5)

factors = st.floats(1, 40)
words = st.text(min_size=1, max_size=12)
ways = st.builds(
    Way,
    model=words,
    dataset=words,
    protocol=st.sampled_from(sorted(PROTOCOLS)),
    scale=st.builds(Scale, x=factors, y=factors) | factors.map(lambda s: Scale(x=s, y=s)),
    metric=words,
    lr=st.sampled_from(["files", "bicubic"]),
    border=st.tuples(st.integers(0, 99), st.integers(0, 99)),
    precision=words,
    model_sha256=words,
)
numbers = st.floats(allow_nan=False)


@given(st.builds(Row, way=ways, image=words, image_sha256=words, value=numbers))
def test_a_row_is_read_back_from_its_line(row: Row) -> None:
    line = json_line(row.to_json())
    assert "\n" not in line and from_json(json.loads(line)) == row


@given(st.builds(Mean, way=ways, count=st.integers(1, 999), mean=numbers))
def test_a_mean_is_read_back_from_its_line(mean: Mean) -> None:
    assert from_json(json.loads(json_line(mean.to_json()))) == mean


def test_the_documented_fields_come_first_and_by_their_names() -> None:
    assert list(ROW.to_json())[:7] == ["model", "dataset", "protocol", "scale", "metric", "image", "value"]
    mean = Mean(way=WAY, count=5, mean=37.5)
    assert list(mean.to_json())[:7] == ["model", "dataset", "protocol", "scale", "metric", "count", "mean"]
    assert ROW.to_json()["scale"] == 2
    half = replace(ROW, way=replace(WAY, scale=Scale(x=2.5, y=2.5)))
    wide = replace(ROW, way=replace(WAY, scale=Scale(x=2, y=3.5), border=(4, 2)))
    assert half.to_json()["scale"] == 2.5
    assert (wide.to_json()["scale"], wide.to_json()["border"]) == ("2x3.5", [2, 4])


def test_means_are_over_the_pictures_of_one_way() -> None:
    other = replace(WAY, metric="ssim")
    rows = [
        ROW,
        replace(ROW, image="bird", value=38.5),
        Row(way=other, image="baby", image_sha256="feed", value=0.9),
    ]
    assert mean_rows(rows) == [Mean(way=WAY, count=2, mean=38.0), Mean(way=other, count=1, mean=0.9)]


def test_an_infinite_value_stays_valid_json() -> None:
    line = json_line(replace(ROW, value=math.inf).to_json())
    assert "Infinity" not in line and json.loads(line)["value"] == math.inf


def test_a_journal_gives_back_what_an_earlier_one_kept(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    with Journal(path) as first:
        first.add([ROW])
    with Journal(path) as second:
        assert second.value(WAY, "baby", "feed") == 37.5
        assert second.value(WAY, "bird", "feed") is None


@pytest.mark.parametrize(
    "changed",
    [
        {"model_sha256": "ffff"},
        {"precision": "bf16"},
        {"lr": "bicubic"},
        {"border": (3, 3)},
        {"protocol": "file"},
        {"scale": Scale(x=2, y=2.5)},
        {"metric": "ssim"},
        {"dataset": "Set14"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_row_measured_another_way_is_not_taken_over(tmp_path: Path, changed: dict[str, object]) -> None:
    with Journal(tmp_path / "scores.jsonl") as journal:
        journal.add([ROW])
        assert journal.value(replace(WAY, **changed), "baby", "feed") is None  # type: ignore[arg-type]
        assert journal.value(WAY, "baby", "another picture") is None


def test_rows_are_on_the_disk_as_soon_as_they_are_added(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    with Journal(path) as journal:
        journal.add([ROW])
        assert json.loads(path.read_text())["value"] == 37.5


def test_nothing_is_kept_twice(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    for _ in range(2):
        with Journal(path) as journal:
            journal.add([ROW, Mean(way=WAY, count=1, mean=37.5)])
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize("lost", [1, 20, 200])
def test_a_line_torn_by_a_kill_is_cut_off_and_measured_again(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "scores.jsonl"
    with Journal(path) as journal:
        journal.add([ROW, replace(ROW, image="bird")])
    path.write_bytes(path.read_bytes()[:-lost])
    with Journal(path) as journal:
        assert journal.value(WAY, "baby", "feed") == 37.5
        assert journal.value(WAY, "bird", "feed") is None
        journal.add([replace(ROW, image="bird")])
    assert [json.loads(line)["image"] for line in path.read_text().splitlines()] == ["baby", "bird"]


@pytest.mark.parametrize(
    "text",
    ["hello\n", "hello", "{}\n", '{"model": 1}\n', '{"a": 1}', "[1]\n", '{"model": "x", "scale": []}\n'],
)
def test_a_file_of_another_kind_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text(text)
    with pytest.raises(UsageError, match="line 1 is no result"):
        Journal(path)
    assert path.read_text() == text


def test_a_folder_that_is_not_there_is_a_message(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "gone" / "scores.jsonl") as journal,
        pytest.raises(LiifError, match=r"gone.scores\.jsonl: No such file or directory"),
    ):
        journal.add([ROW])


def test_a_run_that_measured_nothing_leaves_no_file(tmp_path: Path) -> None:
    with Journal(tmp_path / "scores.jsonl"):
        pass
    assert not (tmp_path / "scores.jsonl").exists()


def test_the_last_mean_of_a_cell_counts(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    old, new = replace(WAY, model_sha256="old"), replace(WAY, model_sha256="new")
    with Journal(path) as journal:
        journal.add([ROW, Mean(way=old, count=3, mean=30.0), Mean(way=new, count=5, mean=31.0)])
    assert read_means(path) == [Mean(way=new, count=5, mean=31.0)]


def test_a_file_without_means_is_no_finished_run(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    with Journal(path) as journal:
        journal.add([ROW])
    with pytest.raises(UsageError, match="no means in it"):
        read_means(path)


def test_the_shortcut_knows_its_model() -> None:
    assert replace(WAY, model=shortcut_name("standard")).shortcut_of == "standard"
    assert WAY.shortcut_of == ""


def test_what_is_made_of_a_model_knows_it() -> None:
    assert replace(WAY, model=ensemble_name("standard")).ensemble_of == "standard"
    for made in (ensemble_name, shortcut_name):
        assert replace(WAY, model=made("standard")).own_model == "standard"
    assert replace(WAY, model="standard").own_model == "standard" and WAY.ensemble_of == ""

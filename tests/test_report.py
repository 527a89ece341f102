"""Rows as tables, Markdown, JSON Lines and CSV; marked blocks of a document."""

from __future__ import annotations

import csv
import io
import json
import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from liif_cli.report import Table, block, blocks, csv_text, json_line, markdown, rich_table, update_block

TABLE = Table(
    title="Set5, PSNR in dB",
    columns=("", "x2", "x4"),
    rows=(("bicubic", "33.674", "28.430"), ("  more", "+4.318", "")),
    faint=frozenset({1}),
    notes=("5 pictures", "LR: files"),
)

values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
rows = st.dictionaries(st.text(), values | st.lists(st.integers(), max_size=3), max_size=6)
bodies = st.text().filter(lambda text: "<!--" not in text).map(lambda text: text.replace("\r", "") + "\n")


def drawn(table: Table, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(rich_table(table))
    return out.getvalue()


def test_a_table_shows_title_numbers_and_notes() -> None:
    text = drawn(TABLE)
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[0] == "Set5, PSNR in dB"
    assert any(line.split() == ["bicubic", "33.674", "28.430"] for line in lines)
    assert lines[-2:] == ["5 pictures", "LR: files"]


def test_names_that_look_like_markup_are_shown_as_they_are() -> None:
    table = Table(title="[bold]", columns=("[a]", "b"), rows=(("[red]x[/red]", "[1]"),))
    assert all(text in drawn(table) for text in ("[bold]", "[a]", "[red]x[/red]", "[1]"))


def test_a_row_of_another_length_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        Table(title="", columns=("a", "b"), rows=(("x",),))


def test_markdown_is_a_pipe_table_with_numbers_to_the_right() -> None:
    assert markdown(TABLE).splitlines() == [
        "**Set5, PSNR in dB**",
        "",
        "|  | x2 | x4 |",
        "| :-- | --: | --: |",
        "| bicubic | 33.674 | 28.430 |",
        "| *more* | +4.318 |  |",
        "",
        "- 5 pictures",
        "- LR: files",
    ]


def test_markdown_escapes_what_would_break_the_table() -> None:
    table = Table(title="", columns=("a",), rows=(("runs|my_model*",),))
    assert r"| runs\|my\_model\* |" in markdown(table)


@given(rows)
def test_a_row_is_one_line_of_json(row: dict[str, object]) -> None:
    line = json_line(row)
    assert "\n" not in line and json.loads(line) == row


@given(st.sampled_from([math.inf, -math.inf]))
def test_infinity_is_valid_json(value: float) -> None:
    def refuse(text: str) -> float:
        raise AssertionError(text)

    assert json.loads(json_line({"Infinity": value}), parse_constant=refuse) == {"Infinity": value}


def test_a_name_that_is_no_utf_8_comes_back() -> None:
    name = os.fsdecode(b"caf\xe9")
    line = json_line({"input": name})
    assert json.loads(line.encode("utf-8")) == {"input": name}


def test_nan_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        json_line({"value": math.nan})


def test_csv_has_a_header_and_leaves_out_what_a_row_lacks() -> None:
    text = csv_text([{"model": 'a "b", c', "border": [2, 3], "value": 1.5}, {"model": "d", "mean": 2}])
    assert list(csv.reader(io.StringIO(text))) == [
        ["model", "border", "value", "mean"],
        ['a "b", c', "2x3", "1.5", ""],
        ["d", "", "", "2"],
    ]


@given(before=bodies, body=bodies, after=bodies, new=bodies)
def test_only_the_block_changes(before: str, body: str, after: str, new: str) -> None:
    document = before + block("scores", "liif eval --from a.jsonl", body) + after
    changed = update_block(document, "scores", new)
    assert changed == before + block("scores", "liif eval --from a.jsonl", new) + after
    (found,) = blocks(changed)
    assert (found.name, found.command, found.body) == ("scores", "liif eval --from a.jsonl", new)


def test_blocks_are_told_apart_by_name() -> None:
    document = block("one", "a", "1\n") + "text\n" + block("two", "b", "2\n")
    assert [b.name for b in blocks(document)] == ["one", "two"]
    assert [b.body for b in blocks(update_block(document, "two", "3\n"))] == ["1\n", "3\n"]
    with pytest.raises(KeyError):
        update_block(document, "three", "")


@pytest.mark.parametrize(("name", "command"), [("a b", "x"), ("a", "x --> y"), ("a", "x\ny")])
def test_a_block_that_could_not_be_found_again_is_a_mistake(name: str, command: str) -> None:
    with pytest.raises(ValueError, match="not a name and a command"):
        block(name, command, "")

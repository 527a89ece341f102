"""Rows of results as people and programs read them: tables, Markdown, JSON Lines, CSV.

Also the marked blocks of a document that a command wrote, so that a test can see them drift:

    <!-- begin scores: liif eval --from weights/scores.jsonl --markdown README.md -->
    ...
    <!-- end scores -->
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table as RichTable

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of texts. The first column names the row, the others are right-aligned.

    faint: numbers of rows that only serve to read the others.
    notes: lines below the table: what was measured, and what to know of it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    faint: frozenset[int] = field(default_factory=frozenset)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{len(row)} cells for {len(self.columns)} columns: {row}")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A marked block of a document: its name, the command that writes it, what is in it."""

    name: str
    command: str
    body: str


def rich_table(table: Table) -> RichTable:
    """For a terminal; plain where colours are off."""
    from rich import box
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn(
        title=Text(table.title),
        title_justify="left",
        title_style="bold",
        caption=Text("\n".join(table.notes)) if table.notes else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for number, column in enumerate(table.columns):
        drawn.add_column(Text(column), justify="right" if number else "left", no_wrap=number > 0)
    for number, row in enumerate(table.rows):
        drawn.add_row(*(Text(cell) for cell in row), style="dim" if number in table.faint else None)
    return drawn


def markdown(table: Table) -> str:
    """A heading line, a pipe table and its notes as a list; names of faint rows in italics."""
    lines = [f"**{_escaped(table.title)}**", ""] if table.title else []
    lines.append(_piped(table.columns))
    lines.append(_piped([":--", *("--:" for _ in table.columns[1:])]))
    for number, row in enumerate(table.rows):
        name, *cells = (_escaped(cell.strip()) for cell in row)
        lines.append(_piped([f"*{name}*" if number in table.faint else name, *cells]))
    if table.notes:
        lines += ["", *(f"- {_escaped(note)}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def json_line(row: Row) -> str:
    """One JSON object on one line, without a newline.

    Infinity, which JSON lacks, is written 1e999: valid JSON that every reader of doubles takes for it.
    Bytes of a name that are no UTF-8 are written as Python has them, \\udc80 to \\udcff.
    """
    line = "{" + ", ".join(f"{json.dumps(str(key))}: {_json(value)}" for key, value in row.items()) + "}"
    return re.sub("[\ud800-\udfff]", lambda lone: f"\\u{ord(lone[0]):04x}", line)


def csv_text(rows: Sequence[Row]) -> str:
    """CSV with a header (RFC 4180, lines end with CR LF); columns in the order they first appear."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _flat(value) for key, value in row.items()})
    return out.getvalue()


def blocks(text: str) -> list[Block]:
    """The marked blocks of a document, in order."""
    return [
        Block(name=found["name"], command=found["command"], body=found["body"])
        for found in _BLOCK.finditer(text)
    ]


def block(name: str, command: str, body: str) -> str:
    """A marked block on its own; `blocks` reads it back."""
    if not re.fullmatch(r"[\w-]+", name) or "-->" in command or "\n" in command:
        raise ValueError(f"not a name and a command for a comment: {name!r}, {command!r}")
    return f"<!-- begin {name}: {command} -->\n{body}<!-- end {name} -->\n"


def update_block(text: str, name: str, body: str) -> str:
    """The document with `body` in its block `name`, all else as it was. Raises KeyError if it has none."""
    found = next((found for found in _BLOCK.finditer(text) if found["name"] == name), None)
    if found is None:
        raise KeyError(name)
    return text[: found.start("body")] + body + text[found.end("body") :]


_BLOCK = re.compile(
    r"^<!-- begin (?P<name>[\w-]+): (?P<command>[^\n]+?) -->\n(?P<body>.*?)^<!-- end (?P=name) -->$",
    re.MULTILINE | re.DOTALL,
)


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Text that Markdown takes as it is, also within a table."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", text)


def _json(value: Any) -> str:
    if isinstance(value, float) and math.isinf(value):
        return "1e999" if value > 0 else "-1e999"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _flat(value: Any) -> Any:
    """A cell of CSV: lists as `2x3`."""
    return "x".join(str(part) for part in value) if isinstance(value, list | tuple) else value

"""Markdown files that hold the tables of a command: a whole file, or a marked block of a document."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from liif_cli.errors import UsageError

if TYPE_CHECKING:
    from liif_cli.report import Table


def has_block(path: Path, name: str) -> bool:
    """Whether `path` is a document with a block of this name. Raises UsageError if the block's end is not
    found: the document would be taken for no document, and replaced."""
    from liif_cli.report import blocks

    if not path.is_file():
        return False
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        return False
    found = any(block.name == name for block in blocks(text))
    if not found and f"<!-- begin {name}:" in text:
        raise UsageError(
            f"{path}: its block {name} is not as it should be",
            hint=f"it begins with a line `<!-- begin {name}: ... -->` and ends with `<!-- end {name} -->`",
        )
    return found


def write_tables(path: Path, name: str, tables: Sequence[Table]) -> None:
    """The tables into the block of a document that has one; else they are all there is in the file."""
    from liif_cli import report

    text = markdown(tables)
    if has_block(path, name):
        text = report.update_block(path.read_text("utf-8"), name, text)
    replace(path, text)


def markdown(tables: Sequence[Table]) -> str:
    """The tables, one after the other."""
    from liif_cli import report

    return "\n".join(report.markdown(table) for table in tables)


def replace(path: Path, text: str) -> None:
    """Write a text file, whole or not at all, whatever stood there."""
    from liif_cli.image.whole import whole

    with whole(path, overwrite=True) as file:
        file.write(text.encode())

"""The README's tables of scores and of speed are what their commands make of kept results, to the letter."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from liif_cli.cli import bench, eval
from liif_cli.cli.app import main
from liif_cli.report import block, blocks

ROOT = Path(__file__).parents[1]


COMMANDS = {eval.BLOCK: "eval", bench.BLOCK: "bench"}


def made_again(document: Path, name: str, work: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The document after the command of its block `name` was run on a copy of it."""
    (found,) = [found for found in blocks(document.read_text("utf-8")) if found.name == name]
    arguments = shlex.split(found.command)
    assert arguments[:3] == ["liif", COMMANDS[name], "--from"], found.command
    assert arguments[-2:] == ["--markdown", document.name], found.command
    kept = Path(arguments[3])
    (work / kept).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(document.parent / kept, work / kept)
    shutil.copy(document, work / document.name)
    monkeypatch.chdir(work)
    assert main(arguments[1:]) == 0
    return (work / document.name).read_text("utf-8")


@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_table_of_the_readme_is_what_its_command_writes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = ROOT / "README.md"
    assert made_again(readme, name, tmp_path, monkeypatch) == readme.read_text("utf-8")


@pytest.mark.parametrize("drift", ["a digit by hand", "another result"])
def test_a_table_that_drifted_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drift: str) -> None:
    from liif_cli.evaluate.results import Journal
    from tests.evaluate.test_tables import mean

    here, there, again = tmp_path / "here", tmp_path / "there", tmp_path / "again"
    for folder in (here, there, again):
        folder.mkdir()
    with Journal(here / "scores.jsonl") as journal:
        journal.add([mean("standard", 2, 37.75)])
    command = "liif eval --from scores.jsonl --markdown README.md"
    readme = here / "README.md"
    readme.write_text(f"# liif\n\n{block(eval.BLOCK, command, '')}", "utf-8")
    readme.write_text(made_again(readme, eval.BLOCK, there, monkeypatch), "utf-8")
    assert "| standard | 37.750 |" in readme.read_text("utf-8")
    assert made_again(readme, eval.BLOCK, again, monkeypatch) == readme.read_text("utf-8")
    if drift == "a digit by hand":
        readme.write_text(readme.read_text("utf-8").replace("37.750", "37.950"), "utf-8")
    else:
        with Journal(here / "scores.jsonl") as journal:
            journal.add([mean("standard", 2, 37.8)])
    assert made_again(readme, eval.BLOCK, again, monkeypatch) != readme.read_text("utf-8")

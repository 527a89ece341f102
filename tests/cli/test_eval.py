"""`liif eval` as a user runs it, with a small model of random weights."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from liif_cli.cli.app import main
from liif_cli.evaluate.protocol import compare
from liif_cli.nn.model import build
from liif_cli.report import block, blocks
from liif_cli.weights import store
from tests.conftest import TINY
from tests.evaluate.pictures import benchmark_folder

Liif = Callable[..., int]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A weights file of a tiny model."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    spec = TINY["light"]
    store.write(path, spec, build(spec, seed=1).state_dict())
    return str(path)


@pytest.fixture
def data(tmp_path: Path) -> str:
    return str(benchmark_folder(tmp_path / "Set2", "ant", "bee"))


@pytest.fixture
def liif(model: str, data: str) -> Liif:
    """`liif eval Set2 -m tiny -s 2,2.5` with more options."""

    def run(*options: str) -> int:
        return main(["eval", data, "-m", model, "-s", "2,2.5", *options])

    return run


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_table_goes_to_stdout_with_count_protocol_and_baselines(
    liif: Liif, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert liif() == 0
    shown = capsys.readouterr()
    names = [line.strip().rsplit(maxsplit=2)[0].strip() for line in shown.out.splitlines() if line.strip()]
    assert {"bicubic", "lanczos", f"{model} x4-lanczos", model, "more than through x4"} <= set(names)
    assert "2 pictures, protocol benchmark: Y, border = scale, float32" in shown.out
    assert "LR of x2: the data set's files\nLR of x2.5: made by Pillow's bicubic" in shown.out
    assert shown.err == ""


def test_a_self_ensemble_stands_below_its_model_with_what_it_gains(
    liif: Liif, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scores.jsonl"
    assert liif("--tta", "--json", str(path)) == 0
    assert "more than once alone" in capsys.readouterr().out
    values: dict[str, list[float]] = {}
    for line in lines(path):
        values.setdefault(line["model"], []).append(line.get("value", 0.0))
    assert f"{model} +tta x4-lanczos" not in values
    assert values[f"{model} +tta"] != values[model]
    assert main(["eval", "--from", str(path), "-m", model, "--plot", str(tmp_path / "curve.png")]) == 0
    assert f"{model} +tta" in capsys.readouterr().out


def test_json_holds_the_documented_rows_and_means(liif: Liif, tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    assert liif("--metric", "psnr,ssim", "--json", str(path)) == 0
    rows, means = [r for r in lines(path) if "image" in r], [r for r in lines(path) if "mean" in r]
    assert len(rows) == 4 * 2 * 2 * 2 and len(means) == 4 * 2 * 2
    for mean in means:
        own = [r["value"] for r in rows if all(r[k] == mean[k] for k in ("model", "scale", "metric"))]
        assert mean["count"] == 2 and mean["mean"] == pytest.approx(sum(own) / 2)


def test_json_to_stdout_is_all_there_is_on_stdout(liif: Liif, capsys: pytest.CaptureFixture[str]) -> None:
    assert liif("--baseline", "none", "--json", "-") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [("mean" in row) for row in rows] == [False] * 4 + [True] * 2


def test_a_second_run_continues_the_first_and_says_so(
    liif: Liif, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scores.jsonl"
    assert liif("--limit", "1", "--json", str(path)) == 0
    before = path.read_text()
    capsys.readouterr()
    assert liif("--json", str(path)) == 0
    assert "8 results of an earlier run are taken over, 8 to go" in capsys.readouterr().err
    assert path.read_text().startswith(before)
    last = lines(path)[-8:]
    assert all(row["count"] == 2 for row in last)


def test_csv_and_markdown_hold_the_same_numbers(liif: Liif, tmp_path: Path) -> None:
    assert liif("--csv", str(tmp_path / "s.csv"), "--markdown", str(tmp_path / "s.md")) == 0
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    mean = next(r for r in rows if r["mean"] and r["model"] == "lanczos" and r["scale"] == "2.5")
    assert f"{float(mean['mean']):.3f} |" in (tmp_path / "s.md").read_text()


def test_existing_files_stay_without_y(
    liif: Liif, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.csv"
    path.write_text("mine")
    assert liif("--csv", str(path)) == 2
    assert "is there already" in capsys.readouterr().err and path.read_text() == "mine"
    assert liif("--csv", str(path), "-y") == 0
    assert path.read_text() != "mine"


def test_saved_pictures_stay_without_y(
    liif: Liif, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--baseline", "bicubic", "--save-images", str(tmp_path / "out"))
    assert liif(*options) == 0
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2 * 2 * 2
    assert liif(*options) == 2
    assert "is there already" in capsys.readouterr().err
    assert liif(*options, "-y") == 0


def test_the_tables_of_a_document_are_written_into_its_block(
    liif: Liif, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the README does: measure once, keep the file, write the block from it by one command."""
    assert liif("--json", str(tmp_path / "scores.jsonl")) == 0
    command = "liif eval --from scores.jsonl --markdown README.md"
    (tmp_path / "README.md").write_text("# Title\n\n" + block("scores", command, "old\n") + "\nmore\n")
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)[1:]) == 0
    text = (tmp_path / "README.md").read_text()
    (found,) = blocks(text)
    assert found.command == command and "| bicubic |" in found.body
    assert text.startswith("# Title\n\n<!-- begin") and text.endswith("<!-- end scores -->\n\nmore\n")


def test_tables_can_be_made_again_from_the_file_alone(
    liif: Liif, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scores.jsonl"
    assert liif("--json", str(path)) == 0
    first = capsys.readouterr().out
    assert main(["eval", "--from", str(path)]) == 0
    assert capsys.readouterr().out == first


def test_part_of_what_was_kept_can_be_shown(
    liif: Liif, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "scores.jsonl")
    assert liif("--metric", "psnr,ssim", "--baseline", "bicubic", "--json", path) == 0
    capsys.readouterr()
    assert main(["eval", "--from", path, "-s", "2.5", "--metric", "psnr", "-m", model]) == 0
    shown = capsys.readouterr().out
    assert "x2.5" in shown and "x2 " not in shown and "SSIM" not in shown and "bicubic" in shown
    assert main(["eval", "--from", path, "-m", "nobody"]) == 2
    assert "holds no model 'nobody'" in capsys.readouterr().err
    assert main(["eval", "--from", path, "-s", "7"]) == 2
    assert "holds none of what is asked for" in capsys.readouterr().err


def test_a_gate_that_is_not_met_is_status_5(liif: Liif, capsys: pytest.CaptureFixture[str]) -> None:
    assert liif("--min-psnr", "0", "-q") == 0
    assert liif("--min-psnr", "99", "-q") == 5
    shown = capsys.readouterr()
    assert "below the 99 dB asked for" in shown.err and "bicubic has" not in shown.err
    assert "bicubic" in shown.out, "the table is shown all the same"


def test_against_paper_says_when_nothing_was_published(
    liif: Liif, capsys: pytest.CaptureFixture[str]
) -> None:
    assert liif("--against", "paper") == 0
    assert "nothing published for bicubic on Set2 by protocol benchmark" in capsys.readouterr().out


def test_a_plot_is_drawn(liif: Liif, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert liif("--plot", str(tmp_path / "p.svg")) == 0
    assert (tmp_path / "p.svg").read_text().lstrip().startswith("<?xml")


def test_by_picture_adds_a_table(liif: Liif, capsys: pytest.CaptureFixture[str]) -> None:
    assert liif("--by-picture", "--baseline", "none") == 0
    assert "bee x2.5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--protocol", "bench"], 2, "did you mean 'benchmark'?"),
        (["--baseline", "lancsos"], 2, "did you mean 'lanczos'?"),
        (["--metric", "psrn"], 2, "did you mean 'psnr'?"),
        (["--against", "papers"], 2, "did you mean 'paper'?"),
        (["--if-exists", "skip"], 2, "choose from error, overwrite"),
        (["--scales", "0.5"], 2, "scales to be measured are 1 or more"),
        (["--scales", ""], 2, "an argument is empty"),
        (["--metric", "ssim", "--min-psnr", "30"], 2, "--metric psnr,ssim"),
        (["--min-psnr", "nan"], 2, "not a number"),
        (["--json", "-", "--csv", "-"], 2, "only one of"),
        (["--csv", "gone/s.csv"], 2, "gone: no such folder"),
        (["--json", "gone/s.jsonl"], 2, "gone: no such folder"),
        (["--from", "gone.jsonl"], 2, "--from goes without DATA"),
        (["--plot", "p.txt"], 2, "not a name for a plot"),
        (["--border", "24"], 2, "too few for a border of 24x24"),
        (["--lr-dir", "gone"], 2, "gone/X2: no such folder"),
        (["-m", "standart-of-nobody"], 4, "no weights are called"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused_before_anything_is_measured(
    liif: Liif,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    status: int,
    words: str,
) -> None:
    monkeypatch.setattr("liif_cli.evaluate.run.compare", lambda *_, **__: pytest.fail("measured"))
    assert liif(*options) == status
    assert words in capsys.readouterr().err


def test_nothing_to_measure_is_answered_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval"]) == 2
    assert "hint: liif eval benchmarks/Set5" in capsys.readouterr().err


def test_two_data_sets_of_one_name_are_refused(
    liif: Liif, data: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = benchmark_folder(tmp_path / "other" / "Set2", "cow")
    assert main(["eval", data, str(other), "-m", model, "-s", "2"]) == 2
    assert "two data sets are called 'Set2'" in capsys.readouterr().err


def test_an_interruption_leaves_what_is_finished(
    liif: Liif, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, calls = tmp_path / "scores.jsonl", 0

    def interrupted(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return compare(*args, **options)

    monkeypatch.setattr("liif_cli.evaluate.run.compare", interrupted)
    assert liif("--json", str(path)) == 130
    assert len(lines(path)) == 5
    assert liif("--json", str(path)) == 0
    assert calls == 6 + 16 - 5


def test_protocol_file_measures_what_is_in_the_saved_files(
    liif: Liif, model: str, data: str, tmp_path: Path
) -> None:
    import numpy as np
    from PIL import Image

    from liif_cli.evaluate.metrics import cropped, luma, psnr

    out, path = tmp_path / "out", tmp_path / "scores.jsonl"
    options = ("--protocol", "file", "--save-images", str(out), "--json", str(path))
    assert liif(*options, "--baseline", "none") == 0
    assert {row["precision"] for row in lines(path)} == {"fp32"}
    row = next(row for row in lines(path) if row.get("image") == "bee" and row["scale"] == 2)
    (saved,) = out.glob("Set2/*/x2/bee.png")
    result = np.asarray(Image.open(saved)) / 255
    truth = np.asarray(Image.open(Path(data) / "HR" / "bee.png"))[: result.shape[0], : result.shape[1]] / 255
    assert row["value"] == pytest.approx(psnr(*(cropped(luma(x), (2, 2)) for x in (result, truth))), abs=1e-4)


@pytest.mark.parametrize(("protocol", "as_float"), [("benchmark", True), ("file", False)])
def test_a_model_is_asked_for_floats_or_for_what_a_file_holds(
    liif: Liif, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str, as_float: bool
) -> None:
    from liif_cli.api import Upscaler

    asked, upscale, path = set(), Upscaler.upscale, tmp_path / "scores.jsonl"

    def watched(self: Upscaler, *args: Any, **options: Any) -> Any:
        asked.add(options["as_float"])
        return upscale(self, *args, **options)

    monkeypatch.setattr(Upscaler, "upscale", watched)
    assert liif("--precision", "auto", "--protocol", protocol, "--json", str(path)) == 0
    assert asked == {as_float}
    if as_float:  # floats are computed in float32, whatever is fastest for 8 bits
        assert {row["precision"] for row in lines(path)} == {"", "fp32"}

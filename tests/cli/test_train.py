"""`liif train` as it is typed: runs, resuming, stopping, and what is refused."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liif_cli.cli.app import main
from liif_cli.cli.train import _stopping
from liif_cli.train import checkpoint
from liif_cli.train.recipe import read
from liif_cli.train.run import Plan, Stepped, begin, go, pictures
from liif_cli.weights import store

RECIPE = """
name = "tiny"
[model.encoder]
kind = "compact"
width = 16
depth = 2
[model.decoder]
kind = "light"
hidden = [16, 16]
[samples]
batch = 4
patch_px = 8
lines = 8
[schedule]
steps = 6
precision = "fp32"
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    y, x = np.mgrid[0:64, 0:72]
    for i in range(4):
        waves = [127 + 120 * np.sin(y / (3 + i) + x / b) for b in (9, 3, -6)]
        Image.fromarray(np.stack(waves, -1).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


def command(*words: object) -> list[str]:
    return ["train", *(str(w) for w in words), "--threads", "2"]


def test_a_run_leaves_weights_log_curve_samples_and_its_recipe(
    data: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    (data / "broken.png").write_text("no picture")
    assert main(command(data, "--recipe", recipe, "-o", run, "--set", "schedule.rate=2e-3")) == 0
    out, err = capsys.readouterr()
    assert out == f"{run / 'weights.safetensors'}\n"
    assert err.count("broken.png") == 1
    assert "step 6: PSNR dB (against bicubic): x2" in err
    assert store.read_spec(run / "weights.safetensors").encoder.width == 16
    assert "rate = 0.002" in (run / "recipe.toml").read_text()
    rows = list(csv.DictReader((run / "log.csv").read_text().splitlines()))
    assert float(rows[-1]["psnr_x2"]) > 5
    with Image.open(run / "samples" / "step-0000006.png") as sheet:
        assert sheet.size == (4 * (72 + 4), 64 + 4)  # LR | bicubic | ours | HR, a margin after each
    with Image.open(run / "loss.png") as curve:
        assert curve.format == "PNG"


def test_a_broken_file_is_never_what_a_run_is_judged_by(data: Path, recipe: Path, tmp_path: Path) -> None:
    for seed in range(5):
        for name in ("broken.png", "worse.png"):
            (data / name).write_text("no picture")
        words = command(data, "--recipe", recipe, "-o", tmp_path / f"run{seed}", "-q", "--seed", seed)
        assert main([*words, "--steps", "1"]) == 0


def test_only_broken_files_are_an_error_that_names_one(
    data: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in data.iterdir():
        path.write_text("no picture")
    assert main(command(data, "--recipe", recipe, "-o", tmp_path / "run")) == 1
    assert "no picture to train on can be used; the first:" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_stopped_in_the_middle_and_resumed_is_the_same_as_not_stopped(
    data: Path, recipe: Path, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(command(data, "--recipe", recipe, "-o", whole, "-q")) == 0

    plan = Plan(recipe=read(recipe), data=data, val=None, folder=parts, device="cpu", shards=2)
    begin(plan)
    steps = (event for event in go(plan, pictures(plan), stop=lambda: True) if isinstance(event, Stepped))
    assert [event.step.number for event in steps] == [1]
    assert main(command("--resume", parts, "-q")) == 0
    assert [path.name for path in parts.glob("recipe*")] == ["recipe.toml"]

    ends = [checkpoint.load(run / "checkpoint.safetensors") for run in (whole, parts)]
    assert ends[0][1]["step"] == ends[1][1]["step"] == 6
    assert ends[0][0].keys() == ends[1][0].keys()
    assert all(np.array_equal(ends[1][0][n], t) for n, t in ends[0][0].items())


@pytest.mark.skipif(os.name == "nt", reason="no locks on folders there")
def test_two_processes_do_not_go_on_with_one_run(
    data: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    plan = Plan(recipe=read(recipe), data=data, val=None, folder=run, device="cpu", shards=2)
    begin(plan)
    first = go(plan, pictures(plan))
    next(first)
    assert main(command("--resume", run)) == 1
    assert f"{run}: another process is at this run" in capsys.readouterr().err
    list(first)
    assert main(command("--resume", run, "--steps", 7)) == 0


def test_a_finished_run_goes_on_when_it_is_given_more_steps(
    data: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(command(data, "--recipe", recipe, "-o", run)) == 0
    assert "schedule is over" not in capsys.readouterr().err
    assert main(command("--resume", run)) == 0
    told = capsys.readouterr().err
    assert "\nits schedule is over after 6 steps in 0." in told and "more --steps or --minutes" in told
    assert main(command("--resume", run, "--steps", 9)) == 0
    assert "\ngoing on from step 6\n" in capsys.readouterr().err
    assert checkpoint.load(run / "checkpoint.safetensors")[1]["step"] == 9


def test_a_run_remembers_the_recipe_it_was_resumed_with_and_keeps_the_one_before(
    data: Path, recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert main(command(data, "--recipe", recipe, "-o", run, "-q")) == 0
    before = (run / "recipe.toml").read_text()
    assert main(command("--resume", run, "-q", "--steps", 8, "--set", "schedule.rate=5e-4")) == 0
    assert (run / "recipe-to-step-6.toml").read_text() == before
    assert main(command("--resume", run, "-q", "--steps", 9)) == 0
    now = read(run / "recipe.toml").schedule
    assert (now.rate, now.steps) == (5e-4, 9)
    assert len(list(run.glob("recipe*"))) == 3


def test_a_run_without_its_checkpoint_keeps_its_weights(
    data: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(command(data, "--recipe", recipe, "-o", run, "-q")) == 0
    (run / "checkpoint.safetensors").unlink()
    before = (run / "weights.safetensors").read_bytes()
    assert main(command("--resume", run, "--steps", 8)) == 1
    assert f"--init {run / 'weights.safetensors'}" in capsys.readouterr().err
    assert (run / "weights.safetensors").read_bytes() == before


def test_the_recipe_of_a_leg_is_not_lost_to_one_that_made_no_step(
    data: Path, recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert main(command(data, "--recipe", recipe, "-o", run, "-q")) == 0
    before = (run / "recipe.toml").read_text()
    for rate in ("5e-4", "6e-4"):  # its six steps are made: nothing is left to do
        assert main(command("--resume", run, "-q", "--set", f"schedule.rate={rate}")) == 0
    assert (run / "recipe-to-step-6.toml").read_text() == before
    assert read(run / "recipe.toml").schedule.rate == 6e-4


def test_dry_run_counts_and_writes_nothing(
    data: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert main(command(data, "--recipe", recipe, "--dry-run")) == 0
    out = capsys.readouterr().out
    assert "3 to train on, 1 held out" in out
    assert sorted(tmp_path.rglob("*")) == before


def test_pictures_to_judge_by_are_not_trained_on_though_they_lie_inside(
    data: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "val").mkdir()
    (data / "0.png").rename(data / "val" / "0.png")
    assert main(command(data, "--recipe", recipe, "--dry-run", "--val", data / "val")) == 0
    assert "3 to train on, 1 held out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--init", "nix"), "no weights are called 'nix'"),
        (("--val", "broken"), "no picture to judge by can be used"),
        (("--val", "data"), "no picture to train on is left"),
        (("--set", "samples.patch_px=64"), "no picture to train on can be used"),
    ],
)
def test_what_cannot_be_begun_is_said_by_the_dry_run_too_and_leaves_no_folder(
    data: Path,
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(data.parent)
    Path("broken").mkdir()
    Path("broken/a.png").write_text("no picture")
    for dry in (("--dry-run",), ()):
        assert main(command("data", "--recipe", recipe, "-o", "run", *options, *dry)) not in (0, 70)
        assert said in capsys.readouterr().err
        assert not Path("run").exists()


def test_a_run_that_exists_is_never_overwritten(
    data: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert main(command(data, "--recipe", recipe, "-o", run)) == 2
    assert "is there already" in capsys.readouterr().err
    assert list(run.iterdir()) == []


def test_weights_to_start_from_are_taken_by_path(data: Path, recipe: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(command(data, "--recipe", recipe, "-o", first, "-q")) == 0
    init = first / "weights.safetensors"
    still = ["--set", "schedule.rate=0.0", "--set", "schedule.ema=0.0", "--steps", "1"]
    assert main(command(data, "--recipe", recipe, "-o", second, "-q", "--init", init, *still)) == 0
    (_, ours), (_, theirs) = store.read(second / "weights.safetensors"), store.read(init)
    assert all(np.array_equal(ours[n], theirs[n]) for n in theirs)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ([], 2, "give DATA, or --resume RUN"),
        (["DATA", "--resume", "RUN"], 2, "exclude each other"),
        (["DATA", "--recipe", "standart"], 2, "did you mean 'standard'"),
        (["DATA", "--recipe", "missing.toml"], 2, "missing.toml"),
        (["DATA", "--recipe", "RECIPE", "--set", "schedule.rat=1"], 2, "did you mean 'rate'"),
        (["DATA", "--recipe", "RECIPE", "--steps", "0"], 2, "--steps"),
        (["DATA", "--recipe", "RECIPE", "--device", "cuda:7"], 3, "cuda:7"),
        (["EMPTY", "--recipe", "RECIPE"], 1, "no files in this folder"),
        (["MISSING", "--recipe", "RECIPE"], 1, "no such folder"),
        (["RECIPE", "--recipe", "RECIPE"], 1, "is a file, not a folder"),
        (["--resume", "MISSING"], 1, "no such folder"),
        (["DATA", "--recipe", "RECIPE", "--init", "standerd"], 4, "no weights are called"),
        (["DATA", "--recipe", "RECIPE", "--batch", "3"], 1, "batch of 3"),
        (["--resume", "EMPTY"], 1, "no run in this folder: run.json: No such file"),
        (["DATA", "--recipe", "BARE"], 2, "without name and model"),
    ],
)
def test_what_cannot_be_is_refused(
    data: Path,
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    status: int,
    says: str,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare.toml").touch()
    places = {"DATA": data, "RECIPE": recipe, "BARE": tmp_path / "bare.toml"}
    places |= {name: tmp_path / name.lower() for name in ("EMPTY", "MISSING")}
    run = [] if "--resume" in words else ["-o", str(tmp_path / "run")]
    assert main(["train", *(str(places.get(w, w)) for w in words), "--threads", "2", *run]) == status
    assert says in capsys.readouterr().err


@pytest.fixture
def _heeds_ctrl_c() -> Iterator[None]:
    """Whoever runs the tests in the background of a script has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_heeds_ctrl_c")
def test_a_signal_sent_twice_is_one_wish_but_a_second_ctrl_c_is_another() -> None:
    with _stopping() as asked:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert asked[0] == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with _stopping() as asked:
        signal.raise_signal(signal.SIGINT)
        assert asked == [signal.SIGINT]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_writes_a_checkpoint_and_says_how_to_go_on(
    data: Path, recipe: Path, tmp_path: Path, number: int, status: int
) -> None:
    run = tmp_path / "run"
    words = command(data, "--recipe", recipe, "-o", run, "--steps", 10**6)
    process = subprocess.Popen(
        [sys.executable, "-m", "liif_cli", *words],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    until = time.monotonic() + 120
    while not (run / "log.csv").exists() and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(2)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert f"go on with: liif train --resume {run}" in err
    assert checkpoint.load(run / "checkpoint.safetensors")[1]["step"] > 0

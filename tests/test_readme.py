"""Every command of the README is run, and what it says of options and files is so."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liif_cli.cli.app import main
from liif_cli.weights import catalog, fetch

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("   #")[0].removeprefix("$ ").strip()
    for block in re.findall(r"```console\n(.*?)```", README, re.S)
    for line in block.splitlines()
    if line.startswith("$ ")
]
# What these do is done by `.ci/run` (install and test), or needs what a test has not.
INSTALL = [c for c in COMMANDS if c.startswith(("git ", "python ", "pip "))]
LIIF = [c for c in COMMANDS if c.startswith("liif ")]
PIPES = [c for c in COMMANDS if c.startswith("cat ")]
TORCHRUN = [c for c in COMMANDS if c.startswith("torchrun ")]


def test_every_command_is_of_a_kind_that_is_tested() -> None:
    assert sorted(INSTALL + LIIF + PIPES + TORCHRUN) == sorted(COMMANDS)
    assert len(LIIF) > 8


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the README speaks of."""
    if fetch.have(catalog.card(catalog.default())) is None:
        pytest.skip("the default model is not here")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "weights" / "examples", tmp_path / "weights" / "examples")
    y, x = np.mgrid[0:20, 0:26]
    pixels = np.stack([9 * x, 9 * y, 99 + 0 * x], -1).astype(np.uint8)
    for name in ("photo.jpg", "a.png", "holiday/b.jpg", "holiday/beach/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "photos").mkdir()
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 256, (280, 280, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path


def smaller(command: str) -> list[str]:
    """The command with its largest sizes made small: what is tested is that it works."""
    words = shlex.split(command)[1:]
    return [{"8k": "800x600", "4k": "400x300", "1920x1080": "192x108"}.get(word, word) for word in words]


def test_its_commands_work_in_their_order(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in LIIF:
        words = smaller(command)
        if words[0] == "train":  # a run of minutes; a dry run goes the same way up to its first step
            words = (
                [*words, "--dry-run", "--threads", "1"] if "--resume" not in words else ["train", "--help"]
            )
        elif any(w.startswith("tests/") for w in words):
            continue
        elif "-o" not in words and words[0] == "upscale":
            words += ["-y"]
        assert main(words) == 0, (command, capsys.readouterr().err)
    with Image.open(place / "blossom-large.png") as large:
        assert large.size == (2400, 1800)
    assert (place / "big" / "beach" / "c.png").exists() or any((place / "big" / "beach").iterdir())


@pytest.mark.parametrize("command", PIPES)
def test_its_pipes_work(command: str, place: Path) -> None:
    with_us = command.replace("liif ", f"{shlex.quote(sys.executable)} -m liif_cli ").replace("4k", "400x300")
    subprocess.run(with_us, shell=True, check=True, cwd=place, capture_output=True)
    with Image.open(place / "b.png") as result:
        assert max(result.size) in (400, 390)


def test_its_python_works(place: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(code.replace("7.5, 7.5", "1.5, 2.5"), "README.md", "exec"), {})
    with Image.open(place / "large.png") as large:
        assert large.size == (39, 50)


def test_the_files_it_links_to_are_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []

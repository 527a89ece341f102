"""What is installed: the wheel and what it finds, the names it offers, what `liif --help` loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import liif_cli

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "PIL", "pyvips", "huggingface_hub", "safetensors", "matplotlib")


@pytest.fixture(scope="module")
def unpacked_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("wheel")
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(built) as wheel:
        wheel.extractall(folder / "unpacked")
    return folder / "unpacked"


def run(code: str, *, path: Path, cwd: Path) -> str:
    """What a fresh Python prints that has the package from `path` alone."""
    # -P: not from the folder it is started in; the checkout itself is last on the path, if at all.
    environment = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(
        command, cwd=cwd, env=environment, check=True, capture_output=True, text=True
    ).stdout


def test_the_wheel_carries_the_weights_but_no_states_of_training_and_no_examples(
    unpacked_wheel: Path,
) -> None:
    carried = {path.name for path in (unpacked_wheel / "liif_cli" / "_weights").iterdir()}
    here = {path.name for path in (ROOT / "weights").iterdir()} - {"__pycache__"}
    assert "catalog.toml" in carried
    assert carried == here - {"resume", "examples"}


def test_the_wheel_carries_the_licence_and_the_notice(unpacked_wheel: Path) -> None:
    (folder,) = unpacked_wheel.glob("*.dist-info/licenses")
    assert {path.name for path in folder.iterdir()} == {"LICENSE", "NOTICE"}


def test_an_installed_wheel_finds_its_own_weights(unpacked_wheel: Path, tmp_path: Path) -> None:
    code = "from liif_cli.weights import catalog; print(catalog.folder()); print(len(catalog.load()))"
    where, count = run(code, path=unpacked_wheel, cwd=tmp_path).split("\n")[:2]
    assert Path(where) == unpacked_wheel / "liif_cli" / "_weights"
    assert int(count) >= 2


def test_a_checkout_finds_its_own_weights(tmp_path: Path) -> None:
    code = "from liif_cli.weights import catalog; print(catalog.folder())"
    assert Path(run(code, path=ROOT, cwd=tmp_path).strip()) == ROOT / "weights"


@pytest.mark.parametrize("arguments", [["--help"], ["weights", "--help"], ["weights", "list"], ["--version"]])
def test_help_and_lists_load_neither_torch_nor_pillow_nor_the_hub(
    arguments: list[str], tmp_path: Path
) -> None:
    code = f"""
import json, sys
from liif_cli.cli.app import main
status = main({arguments!r})
print(json.dumps([status, sorted(set({HEAVY!r}) & set(sys.modules))]))
"""
    status, loaded = json.loads(run(code, path=ROOT, cwd=tmp_path).splitlines()[-1])
    assert status == 0
    assert loaded == []


def test_python_m_liif_cli_is_liif(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "liif_cli", "--version"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert liif_cli.__version__ in ran.stdout


def test_the_package_offers_what_it_lists() -> None:
    for name in liif_cli.__all__:
        assert getattr(liif_cli, name) is not None
        assert name in dir(liif_cli)


def test_the_package_refuses_other_names_like_any_module() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Upscale'"):
        liif_cli.Upscale  # noqa: B018

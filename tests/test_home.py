from __future__ import annotations

import sys
from pathlib import Path

import pytest

from liif_cli.home import home


def test_the_users_word_counts_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIIF_HOME", str(tmp_path / "mine"))
    assert home() == tmp_path / "mine"
    monkeypatch.setenv("LIIF_HOME", "relative")
    assert home() == Path.cwd() / "relative"


def test_else_it_is_the_platforms_folder_for_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIIF_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/somebody")
    assert home() == Path("/var/cache/somebody/liif")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert home() == Path("/home/somebody/.cache/liif")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert home() == Path("/home/somebody/Library/Caches/liif")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert home() == Path("/local/liif/Cache")

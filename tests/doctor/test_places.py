"""Folders, caches, and what dead processes left in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from liif_cli.doctor.places import all_leftovers, places, size
from liif_cli.image.whole import whole


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$LIIF_HOME, with something in it."""
    folder = tmp_path / "cache"
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "a").write_bytes(bytes(1000))
    (folder / "b").write_bytes(bytes(24))
    monkeypatch.setenv("LIIF_HOME", str(folder))
    return folder


def leave_behind(folder: Path) -> Path:
    path = folder / ".liif-4711-0123456789ab.part"
    path.write_bytes(b"half")
    return path


def test_a_cache_is_counted_without_following_links(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(100_000))
    if os.name != "nt":
        (cache / "link").symlink_to(tmp_path / "large")
        (cache / "loop").symlink_to(cache)
    assert 1024 <= size(cache) < 10_000
    assert size(tmp_path / "none") == 0


def test_every_place_has_its_room_and_the_caches_what_they_hold(cache: Path, tmp_path: Path) -> None:
    found = {place.what: place for place in places(tmp_path)}
    assert list(found) == ["this folder", "temporary files", "cache", "cache of the hub"]
    assert (found["this folder"].path, found["cache"].path) == (tmp_path, cache)
    assert found["cache"].holds_bytes == 1024
    assert found["this folder"].holds_bytes is None
    assert all(place.free_bytes > 0 and place.writable for place in found.values())


def test_a_cache_that_is_not_there_yet_could_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIIF_HOME", str(tmp_path / "a" / "b"))
    cache = places(tmp_path)[2]
    assert cache.writable and cache.free_bytes > 0 and cache.holds_bytes == 0
    assert not (tmp_path / "a").exists()


def test_a_cache_that_cannot_be_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LIIF_HOME", str(tmp_path / "file" / "cache"))
    assert not places(tmp_path)[2].writable


def test_leftovers_of_the_dead_are_found_here_and_anywhere_in_the_cache(cache: Path, tmp_path: Path) -> None:
    left = {leave_behind(tmp_path), leave_behind(cache), leave_behind(cache / "weights")}
    with whole(tmp_path / "living.png") as file:
        file.write(b"x")
        assert set(all_leftovers(tmp_path)) == left
    assert all(path.exists() for path in left)  # a doctor looks, and takes nothing away


def test_leftovers_are_told_once_if_the_cache_is_where_the_user_is(cache: Path) -> None:
    left = leave_behind(cache)
    assert all_leftovers(cache) == [left]


@pytest.mark.usefixtures("no_room")
def test_where_nothing_can_be_written_is_a_place_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    assert [place.path for place in places(tmp_path) if place.variable == "TMPDIR"] == [tmp_path / "none"]

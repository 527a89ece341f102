"""Files that are whole or absent: at errors, at kills, on full disks."""

from __future__ import annotations

import errno
import io
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from liif_cli.errors import PictureError
from liif_cli.image.whole import leftovers, pour, sweep, whole

posix = pytest.mark.skipif(os.name == "nt", reason="signals and small file systems")

WRITER = """
import sys, time
from pathlib import Path
from liif_cli.image.whole import whole
with whole(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("written", flush=True)
    time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with whole(path) as file:
        file.write(b"one")
        assert not path.exists()
        assert names(tmp_path) == [Path(file.name).name]
        file.write(b"two")
    assert path.read_bytes() == b"onetwo"
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_whatever_goes_wrong_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), whole(tmp_path / "a.bin") as file:
        file.write(b"half")
        raise error
    assert names(tmp_path) == []


def test_an_error_of_the_block_is_not_taken_for_one_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), whole(tmp_path / "a.bin"):
        raise ConnectionResetError(errno.ECONNRESET, "somewhere else")


def test_what_is_there_stays_and_is_not_even_begun(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"mine")
    begun = False
    with pytest.raises(PictureError, match="exists already") as refused, whole(path):
        begun = True
    assert "-y" in refused.value.hint
    assert not begun
    assert path.read_bytes() == b"mine"


def test_what_comes_in_between_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with pytest.raises(PictureError, match="exists already"), whole(path) as file:
        file.write(b"ours")
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    assert names(tmp_path) == ["a.bin"]


def test_overwriting_replaces_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with whole(path, overwrite=True) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_a_file_system_without_links_is_served_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with whole(tmp_path / "a.bin") as file:
        file.write(b"ours")
    assert (tmp_path / "a.bin").read_bytes() == b"ours"
    with pytest.raises(PictureError, match="exists"), whole(tmp_path / "b.bin") as file:
        (tmp_path / "b.bin").write_bytes(b"theirs")
    assert (tmp_path / "b.bin").read_bytes() == b"theirs"


@posix
def test_the_rights_are_those_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with whole(tmp_path / "a.bin") as file:
            file.write(b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == 0o640


def test_a_name_as_long_as_names_can_be_is_served(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".png")
    with whole(path) as file:
        file.write(b"x")
    assert path.exists()


def test_a_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="cannot be written: no such file"), whole(tmp_path / "no" / "a"):
        pass


@posix
@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_rights_is_one_clear_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PictureError, match="cannot be written: permission denied"), whole(tmp_path / "a"):
        pass


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, r"no space left on the disk: about 12\.3 MB are needed, .* free"),
        (errno.EFBIG, "larger than a file may be here"),
    ],
)
def test_a_full_disk_says_how_much_was_needed(tmp_path: Path, number: int, says: str) -> None:
    with (
        pytest.raises(PictureError, match=says),
        whole(tmp_path / "a.bin", needed=lambda: 12_345_678) as file,
    ):
        file.write(b"half")
        raise OSError(number, os.strerror(number))
    assert names(tmp_path) == []


@posix
def test_a_disk_that_fills_while_the_last_bytes_are_flushed_is_noticed(tmp_path: Path) -> None:
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from pathlib import Path; import sys\n"
        "from liif_cli.errors import PictureError\n"
        "from liif_cli.image.whole import whole\n"
        "try:\n"
        "    with whole(Path(sys.argv[1]), needed=lambda: 12_000) as file: file.write(bytes(12_000))\n"
        "except PictureError as error: print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", limited, str(tmp_path / "a.bin")], capture_output=True, text=True, check=True
    )
    assert "larger than a file may be" in said.stdout
    assert names(tmp_path) == []


@posix
def test_leftovers_of_the_dead_are_swept_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "a.bin")], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        assert len(names(tmp_path)) == 1
        assert leftovers(tmp_path) == sweep(tmp_path) == []
        assert len(names(tmp_path)) == 1
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    (tmp_path / "a.bin.part").write_bytes(b"someone else's")
    (tmp_path / ".liif-notes").write_bytes(b"someone else's")
    dead = leftovers(tmp_path)
    assert len(dead) == 1
    assert sweep(tmp_path) == dead
    assert names(tmp_path) == [".liif-notes", "a.bin.part"]


@posix
def test_a_file_of_this_very_process_is_not_swept(tmp_path: Path) -> None:
    with whole(tmp_path / "a.bin") as file:
        file.write(b"x")
        assert sweep(tmp_path) == []
    assert (tmp_path / "a.bin").exists()


@posix
def test_sweeping_never_hits_a_file_that_is_just_being_opened(tmp_path: Path) -> None:
    """Between a file's creation and its lock there is a moment; whoever is swept in it begins anew."""
    stop = threading.Event()

    def keep_sweeping() -> None:
        while not stop.is_set():
            sweep(tmp_path)

    sweeper = threading.Thread(target=keep_sweeping)
    sweeper.start()
    try:
        end = time.monotonic() + 0.5
        count = 0
        while time.monotonic() < end:
            with whole(tmp_path / f"{count}") as file:
                file.write(b"x")
            count += 1
    finally:
        stop.set()
        sweeper.join()
    assert count > 5
    assert len(names(tmp_path)) == count


def test_links_and_folders_that_look_like_leftovers_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"x")
    (tmp_path / ".liif-1-0123456789ab.part").symlink_to(tmp_path / "precious")
    (tmp_path / ".liif-2-0123456789ab.part").mkdir()
    assert sweep(tmp_path) == []
    assert leftovers(tmp_path / "missing") == []


class Sip(io.RawIOBase):
    """An unbuffered stream: takes a little at a time, and nothing once it holds `room` bytes."""

    def __init__(self, room: int) -> None:
        self.room, self.held = room, bytearray()

    def write(self, data: Any) -> int | None:
        taken = bytes(data)[: min(1000, self.room - len(self.held))]
        self.held += taken
        return len(taken) or None


def test_all_goes_into_a_stream_that_takes_little_at_a_time() -> None:
    content = os.urandom(1_500_000)
    sip = Sip(room=3_000_000)
    pour(io.BytesIO(content), cast("BinaryIO", sip))
    assert sip.held == content


def test_a_stream_that_takes_no_more_is_an_error_not_a_shorter_picture() -> None:
    with pytest.raises(PictureError, match="stdout cannot be written"):
        pour(io.BytesIO(bytes(20_000)), cast("BinaryIO", Sip(room=12_345)))

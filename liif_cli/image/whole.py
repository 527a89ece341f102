"""Files that are whole or absent, at any kill and on any full disk.

A file is written under a name of its own in the folder it will live in, flushed to the disk, and
renamed. While it is written its owner holds a lock on it. The system drops the lock when the owner
dies, however it dies, so what can be locked is a leftover and may be removed; a number such as a
process id could not tell, because it means nothing on another machine that shares the folder.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from liif_cli.errors import PictureError

_NAME = re.compile(r"\.liif-\d+-[0-9a-f]{12}\.part")
_TRIES = 8  # to find a free temporary name
_COPIED_BYTES = 1 << 20
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) if os.name != "nt" else (errno.ENOSPC, errno.EFBIG)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)


@contextmanager
def whole(
    path: Path, *, overwrite: bool = False, needed: Callable[[], int] | None = None
) -> Iterator[BinaryIO]:
    """A file to write that appears at `path` when the block ends well, and never otherwise.

    The file can be read back and has its temporary path as `name`. Unless `overwrite`, what is at
    `path` by the end is left alone; what is no regular file (a device,
    a named pipe) always is. `needed` tells, when the disk is full, how many bytes it would have taken.
    Raises PictureError for whatever the file system refuses.
    """
    try:
        refuse_special(path)
        if not overwrite and os.path.lexists(path):  # before the work; `_publish` asks again after it
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        file = _create(path.parent)
    except OSError as error:
        raise refusal(path, error) from error
    try:
        try:
            yield file
        except OSError as error:
            # other errors of the block are not about this file and stay what they are
            if error.errno in _NO_SPACE:
                raise _Failed from error
            raise
        try:
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":  # an open file cannot be renamed there
                file.close()
            _publish(Path(file.name), path, overwrite)
            _sync_folder(path.parent)
        except OSError as error:
            raise _Failed from error
    except _Failed as failed:
        count = needed() if needed else 0
        _discard(file)  # first, so that its space counts as free in the message
        assert isinstance(failed.__cause__, OSError)
        raise refusal(path, failed.__cause__, count) from failed.__cause__
    finally:
        _discard(file)


def pour(source: BinaryIO, stdout: BinaryIO) -> None:
    """Copy what is left of a file into stdout, all of it.

    An unbuffered stream (PYTHONUNBUFFERED, or `python -u`) may take less than it is given, and a number
    that it returns is all that says so. Raises PictureError where no more is taken, BrokenPipeError where
    the reader left.
    """
    try:
        while chunk := memoryview(source.read(_COPIED_BYTES)):
            while chunk:
                taken = stdout.write(chunk)
                if not taken:  # None: a pipe that does not wait for its reader
                    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
                chunk = chunk[taken:]
        stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PictureError(f"stdout cannot be written: {reason}") from error


def refuse_special(path: Path) -> None:
    """Raise PictureError if `path` is there and no regular file: writing over a device would end it."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise PictureError(f"{path}: is {what}, and is not written over", hint="name a file, or - for stdout")


def leftovers(folder: Path) -> list[Path]:
    """Temporary files in `folder` (not below it) whose owner is dead."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                path = folder / entry.name
                if _owner_is_dead(path):
                    found.append(path)
    return sorted(found)


def sweep(folder: Path) -> list[Path]:
    """Remove the leftovers of dead processes from `folder`; returns what was removed."""
    return [path for path in leftovers(folder) if _owner_is_dead(path, then_remove=True)]


def refusal(path: Path, error: OSError, needed: int = 0) -> PictureError:
    """What to tell the user when the file system refuses to write `path` of `needed` bytes."""
    if error.errno == errno.EEXIST:
        return PictureError(f"{path}: exists already", hint="overwrite it with -y, or name another output")
    if error.errno not in _NO_SPACE:
        return PictureError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}")
    if error.errno == errno.EFBIG:
        said = f"{path}: larger than a file may be here"
        return PictureError(
            said, hint="`ulimit -f` or the file system bounds it; nothing half-written is left"
        )
    said = f"{path}: no space left on the disk"
    if needed:
        said += f": about {megabytes(needed)} are needed"
    with suppress(OSError):
        said += f", {megabytes(shutil.disk_usage(path.parent).free)} are free"
    return PictureError(said, hint="make room or write to another disk; nothing half-written is left")


def megabytes(count: int) -> str:
    """A number of bytes for people."""
    return f"{count / 1e6:,.1f} MB" if count < 1e9 else f"{count / 1e9:,.1f} GB"


def _create(folder: Path) -> BinaryIO:
    for _ in range(_TRIES):
        # short, whatever the name of the result: that may already be as long as a name can be
        path = folder / f".liif-{os.getpid()}-{secrets.token_hex(6)}.part"
        try:
            file = path.open("x+b")
        except FileExistsError:
            continue
        # A sweeper may hold the lock for a moment: without waiting for it, it could still remove the file.
        _lock(file.fileno(), wait=True)
        if path.exists():
            return file
        file.close()  # a sweep came between the opening and the lock
    raise OSError(errno.EEXIST, "no temporary name is free", str(folder))


def _lock(descriptor: int, *, wait: bool = False) -> bool:
    """Try to lock an open file; False when another holds it or the file system has no locks."""
    if os.name == "nt":
        return True  # an open file cannot be removed there: opening is the lock
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _owner_is_dead(path: Path, *, then_remove: bool = False) -> bool:
    try:
        if os.name == "nt":
            path.unlink() if then_remove else path.rename(path)  # both are refused while it is open
            return True
        with path.open("r+b") as file:
            dead = _lock(file.fileno())
            if dead and then_remove:
                path.unlink()
            return dead
    except OSError:
        return False


def _publish(temporary: Path, path: Path, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(path)
    elif os.name == "nt":
        temporary.rename(path)  # refuses to replace there
    else:
        try:
            path.hardlink_to(temporary)  # refuses to replace, and no one can come in between
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
            temporary.rename(path)


def _sync_folder(folder: Path) -> None:
    """Make the rename last through a power cut, where the system knows such a thing."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _Failed(Exception):
    """Carries the OSError that ended the writing."""


def _discard(file: BinaryIO | None) -> None:
    if file is None:
        return
    with suppress(OSError):  # a full disk is said once, not again by the last flush
        file.close()
    with suppress(OSError):
        Path(file.name).unlink(missing_ok=True)

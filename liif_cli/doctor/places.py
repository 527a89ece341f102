"""Folders this program reads and writes: what they hold, what is free, what dead processes left."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from liif_cli.home import home
from liif_cli.image.whole import leftovers


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder that need not be there yet.

    writable:    or could be made. variable: moves it, in the environment; empty if we do not need it.
    holds_bytes: of a cache; None for what is not ours to count.
    """

    what: str
    path: Path
    free_bytes: int
    writable: bool
    variable: str = ""
    holds_bytes: int | None = None


def places(folder: Path) -> list[Place]:
    """`folder` (where the user is), temporary files, and the caches."""
    found = [
        _place("this folder", folder),
        _place("temporary files", _temporary(), "TMPDIR"),
        _place("cache", home(), "LIIF_HOME"),
    ]
    with suppress(ImportError):
        from huggingface_hub.constants import HF_HUB_CACHE

        found.append(_place("cache of the hub", Path(HF_HUB_CACHE), "HF_HUB_CACHE"))
    return found


def _temporary() -> Path:
    """Where temporary files go, or would if anything could be written there."""
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return Path(os.environ.get("TMPDIR") or "/tmp")


def all_leftovers(folder: Path) -> list[Path]:
    """Temporary files of dead processes in `folder` and anywhere in our cache."""
    within = [folder, *(Path(name) for name, _, _ in os.walk(home()))]
    return [path for one in dict.fromkeys(within) for path in leftovers(one)]


def size(folder: Path) -> int:
    """Bytes of all files below `folder`; links are not followed."""
    return sum(_sizes(folder))


def _sizes(folder: Path) -> Iterator[int]:
    for name, _, files in os.walk(folder):
        for file in files:
            with suppress(OSError):
                yield (Path(name) / file).lstat().st_size


def _place(what: str, path: Path, variable: str = "") -> Place:
    there = next((one for one in (path, *path.parents) if one.exists()), path)
    free = 0
    with suppress(OSError):
        free = shutil.disk_usage(there).free
    return Place(
        what=what,
        path=path,
        free_bytes=free,
        writable=there.is_dir() and os.access(there, os.W_OK | os.X_OK),
        variable=variable,
        holds_bytes=size(path) if "cache" in what else None,
    )

"""Where this program keeps what it can make or fetch again."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def home() -> Path:
    """`$LIIF_HOME`, else `liif` in the platform's folder for caches. It need not exist yet."""
    if named := os.environ.get("LIIF_HOME"):
        return Path(named).expanduser().absolute()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "liif" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "liif"
    # XDG base directories: a path that is not absolute is to be ignored.
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if named.startswith("/") else Path.home() / ".cache") / "liif"

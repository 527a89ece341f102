"""Enlarge pictures to any size with LIIF. The command is `liif`; this is the same from Python.

from liif_cli import Target, Upscaler, read, write

with Upscaler() as upscaler:
    large = upscaler.upscale(read("photo.jpg"), Target(scale=(7.5, 7.5)))
write(large, "large.png")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from liif_cli.api import Upscaler as Upscaler
    from liif_cli.engine.target import Target as Target
    from liif_cli.errors import LiifError as LiifError
    from liif_cli.image.picture import Picture as Picture
    from liif_cli.image.read import read as read
    from liif_cli.image.write import write as write

__version__ = "0.1.0.dev0"

_WHERE = {
    "LiifError": "liif_cli.errors",
    "Picture": "liif_cli.image.picture",
    "Target": "liif_cli.engine.target",
    "Upscaler": "liif_cli.api",
    "read": "liif_cli.image.read",
    "write": "liif_cli.image.write",
}

__all__ = [*_WHERE, "__version__"]


def __getattr__(name: str) -> Any:
    # Loaded when asked for, so that `liif --help` waits neither for torch nor for Pillow.
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})

"""`liif upscale`: parse, call, show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def upscale(inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...")]) -> None:
    """Enlarge pictures."""

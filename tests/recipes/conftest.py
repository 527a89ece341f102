"""The renderer draws SVG, which the program's reader refuses for the whole process: here it may."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import pyvips


@pytest.fixture(scope="module", autouse=True)
def _svg_may_be_drawn() -> Iterator[None]:
    pyvips.operation_block_set("VipsForeignLoadSvg", False)
    yield
    pyvips.operation_block_set("VipsForeignLoadSvg", True)

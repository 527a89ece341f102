"""Rows that arrive later: in order, none lost, and a block that overflowed does not pass. The order of things
is that of CUDA; here the copies are made at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from liif_cli.engine.landing import Landing

CPU = torch.device("cpu")
FINE, BROKEN = torch.tensor(True), torch.tensor(False)


def keeper(kept: list[int]) -> Callable[[npt.NDArray[np.int64]], None]:
    return lambda rows: kept.append(int(rows[0]))


def test_on_a_cpu_rows_are_handed_on_at_once() -> None:
    kept: list[int] = []
    Landing(CPU).bring(torch.tensor([7]), FINE, keeper(kept))
    assert kept == [7]


def test_behind_the_work_rows_are_handed_on_in_order_and_one_block_late() -> None:
    kept: list[int] = []
    landing = Landing(CPU, behind=True)
    for n in range(4):
        landing.bring(torch.tensor([n]), FINE, keeper(kept))
        assert kept == list(range(n))
    landing.finish()
    assert kept == [0, 1, 2, 3]


def test_what_is_on_its_way_is_a_copy() -> None:
    # The next block may be made where this one was.
    kept: list[int] = []
    landing = Landing(CPU, behind=True)
    rows = torch.tensor([1])
    landing.bring(rows, FINE, keeper(kept))
    rows.zero_()
    landing.finish()
    assert kept == [1]


@pytest.mark.parametrize("behind", [False, True])
def test_numbers_that_overflowed_are_never_handed_on(behind: bool) -> None:
    kept: list[int] = []
    landing = Landing(CPU, behind=behind)
    with pytest.raises(FloatingPointError):
        landing.bring(torch.tensor([1]), BROKEN, keeper(kept))
        landing.finish()
    assert kept == []


@pytest.mark.gpu
def test_rows_of_a_gpu_arrive_as_they_were_made() -> None:
    there = torch.device("cuda")
    landing = Landing(there)
    out = np.zeros((64, 1000), np.float32)
    made = [torch.full((1, 1000), float(n), device=there) for n in range(64)]

    def put_at(n: int) -> Callable[[npt.NDArray[np.float32]], None]:
        def put(rows: npt.NDArray[np.float32]) -> None:
            out[n] = rows[0]

        return put

    for n, rows in enumerate(made):
        landing.bring(rows * 2, torch.isfinite(rows).all(), put_at(n))
    landing.finish()
    assert np.array_equal(out, np.repeat(2 * np.arange(64, dtype=np.float32)[:, None], 1000, 1))

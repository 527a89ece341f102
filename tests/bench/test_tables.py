"""What people see of a bench."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from liif_cli.bench.results import Plainly, changes
from liif_cli.bench.tables import plot, tables
from liif_cli.image.read import read
from tests.bench.conftest import MakeRow


def test_each_model_has_its_times_and_what_it_waited_for(row: MakeRow) -> None:
    found = tables([row(2.0), row(0.5, scale="2"), row(1.0, model="compact", threads=1)])
    assert [table.title for table in found] == [
        "standard, bf16 on cpu, 2 threads",
        "what the median run waited for",
        "compact, bf16 on cpu, 1 thread",
        "what the median run waited for",
    ]
    assert found[0].rows == (
        ("x4 of 250x250", "1000x1000", "2 s", "1.8 s", "2.4 s", "0.50", "300 MiB"),
        ("x2 of 250x250", "500x500", "500 ms", "450 ms", "600 ms", "0.50", "300 MiB"),
    )
    assert found[1].columns == ("", "read", "encode", "decode", "write")
    assert found[1].rows[0] == ("x4 of 250x250", "10 ms", "40 ms", "1.9 s", "50 ms")


def test_the_published_way_stands_beside_ours(row: MakeRow) -> None:
    plain = Plainly(median_s=24.0, ratio=12.0, max_difference=3e-7)
    (_, _, beside) = tables([row(plain=plain)])
    assert beside.rows == (("x4 of 250x250", "24 s", "2 s", "12.0", "3.0e-07"),)


def test_an_earlier_run_stands_beside_this_one(row: MakeRow) -> None:
    rows = [row(2.5)]
    (*_, compared) = tables(rows, changes(rows, [row(2.0, threads=1)]))
    assert compared.rows == (("standard x4 of 250x250, bf16 on cpu", "2 s", "2.5 s", "+25%"),)
    assert compared.notes == ("threads: 1 then, 2 now",)


def test_a_peak_that_is_not_known_is_left_empty(row: MakeRow) -> None:
    assert tables([replace(row(), peak_bytes=None)])[0].rows[0][-1] == ""


@pytest.mark.parametrize("known", [True, False])
def test_a_plot_is_a_picture_and_is_not_written_over(row: MakeRow, tmp_path: Path, known: bool) -> None:
    pytest.importorskip("matplotlib")
    rows = [row(1.0), row(4.0, in_size=(500, 500)), row(2.0, model="compact")]
    if not known:
        rows = [replace(one, peak_bytes=None) for one in rows]
    plot(rows, tmp_path / "a.png")
    assert read(tmp_path / "a.png").pixels.std() > 5
    with pytest.raises(Exception, match="exists"):
        plot(rows, tmp_path / "a.png")

"""Means as tables: what is beside what, and that the table says where a model is not better."""

from __future__ import annotations

import pytest

from liif_cli.errors import GateError
from liif_cli.evaluate.protocol import Scale
from liif_cli.evaluate.published import beside, published
from liif_cli.evaluate.results import Mean, Row, Way, ensemble_name, shortcut_name
from liif_cli.evaluate.tables import gate, picture_tables, tables
from liif_cli.report import Table

OFFICIAL = "  official code: EDSR-baseline-LIIF"


def mean(model: str, scale: float, value: float, **changed: object) -> Mean:
    way = {
        "model": model,
        "dataset": "Set5",
        "protocol": "benchmark",
        "scale": Scale(x=scale, y=scale),
        "metric": "psnr",
        "lr": "files" if scale in (2, 3, 4) else "bicubic",
        "border": (int(scale), int(scale)),
        "precision": "" if model in ("bicubic", "lanczos") else "fp32",
        "model_sha256": "" if model in ("bicubic", "lanczos") else "feed",
    }
    return Mean(way=Way(**{**way, **changed}), count=5, mean=value)  # type: ignore[arg-type]


def only(table: list[Table]) -> Table:
    assert len(table) == 1
    return table[0]


def row(table: Table, name: str) -> list[str]:
    return next(list(cells[1:]) for cells in table.rows if cells[0] == name)


def test_a_table_has_a_row_for_each_contestant_and_a_column_for_each_scale() -> None:
    table = only(
        tables([mean("standard", 4, 32.1), mean("bicubic", 2, 33.6744), mean("standard", 2, 37.9916)])
    )
    assert table.title == "Set5, PSNR in dB"
    assert table.columns == ("", "x2", "x4")
    assert table.rows == (("bicubic", "33.674", ""), ("standard", "37.992", "32.100"))


def test_what_is_to_be_beaten_stands_above_whatever_was_measured_first() -> None:
    names = ["b", ensemble_name("a"), "a", shortcut_name("a"), "lanczos", shortcut_name("b"), "bicubic"]
    table = only(tables([mean(name, 2, 30) for name in names]))
    shown = [cells[0] for cells in table.rows if not cells[0].startswith(" ")]
    own = [shortcut_name("b"), "b", shortcut_name("a"), "a", ensemble_name("a")]
    assert shown == ["lanczos", "bicubic", *own]


def test_data_sets_protocols_and_metrics_have_tables_of_their_own() -> None:
    found = tables(
        [
            mean("standard", 2, 30),
            mean("standard", 2, 0.91, metric="ssim"),
            mean("standard", 2, 29, dataset="Set14"),
            mean("standard", 2, 28, protocol="rgb"),
        ]
    )
    assert [table.title for table in found] == [
        "Set5, PSNR in dB",
        "Set5, SSIM",
        "Set14, PSNR in dB",
        "Set5, PSNR in dB",
    ]
    assert found[1].rows == (("standard", "0.9100"),)


def test_the_notes_say_how_it_was_measured() -> None:
    notes = only(tables([mean("standard", 2, 38), mean("standard", 6, 29)])).notes
    assert notes == (
        "5 pictures, protocol benchmark: Y, border = scale, float32",
        "LR of x2: the data set's files",
        "LR of x6: made by Pillow's bicubic",
    )


def test_what_departs_from_the_protocol_is_said() -> None:
    notes = only(tables([mean("standard", 2, 38, lr="bicubic", border=(8, 9), precision="bf16")])).notes
    assert "with a border of 9x8 pixels instead" in notes
    assert "networks ran in bf16" in notes
    assert "published numbers at x2 rest on LR files; about 0.1 dB apart" in notes


def test_counts_that_differ_are_shown() -> None:
    few = Mean(way=mean("standard", 3, 0).way, count=2, mean=30)
    assert only(tables([mean("standard", 2, 38), few])).notes[0].startswith("pictures: x2 5, x3 2, protocol")


def test_a_model_is_told_where_it_beats_its_own_x4_and_where_not() -> None:
    values = {2: (38.0, 37.9), 3: (34.0, 34.1), 4: (32.2, 32.2), 6: (28.95, 28.955), 8: (27.0, 26.9996)}
    means = [
        one
        for scale, (through, direct) in values.items()
        for one in (mean(shortcut_name("standard"), scale, through), mean("standard", scale, direct))
    ]
    table = only(tables(means))
    gain = row(table, "  more than through x4")
    assert gain == ["-0.100", "+0.100", "0.000", "+0.005", "0.000"]
    assert "standard beats its own x4 resampled by Lanczos at x3 x6, not at x2 x8" in table.notes
    assert table.faint == {2}


def test_a_self_ensemble_is_told_what_it_gains() -> None:
    table = only(
        tables([mean(ensemble_name("m"), 2, 30.1), mean("m", 2, 30.0), mean(ensemble_name("m"), 3, 28)])
    )
    assert row(table, "  more than once alone") == ["+0.100", ""]
    # Nothing was published for it: the row of the model itself is no measure.
    table = only(tables([mean(ensemble_name("edsr-baseline-liif"), 2, 38.0)], against_paper=True))
    assert table.rows == (("edsr-baseline-liif +tta", "38.000"),)


def test_a_model_that_never_beats_its_own_x4_is_told_so() -> None:
    table = only(tables([mean(shortcut_name("m"), 6, 30.0), mean("m", 6, 29.0)]))
    assert "m does not beat its own x4 resampled at x6" in table.notes


def test_the_published_row_stands_beside_ours_with_the_difference_and_its_source() -> None:
    found = tables(
        [
            mean("bicubic", 2, 33.7),
            mean(shortcut_name("edsr-baseline-liif"), 2, 37.9),
            mean("edsr-baseline-liif", 2, 37.993),
            mean("edsr-baseline-liif", 2.5, 36),
        ],
        against_paper=True,
    )
    table = only(found)
    assert row(table, OFFICIAL) == ["37.992", ""]
    assert [cells[1:] for cells in table.rows if cells[0] == "  ours minus that"] == [
        ("+0.026", ""),
        ("+0.001", ""),
    ]
    assert (
        "official code: EDSR-baseline-LIIF: measured with the official code and the published weights"
        in table.notes
    )
    assert not any(note.startswith("published numbers are") for note in table.notes)


def test_a_published_mean_over_other_pictures_is_called_so() -> None:
    one = mean("edsr-baseline-liif", 2, 40)
    few = Mean(way=one.way, count=2, mean=40.0)
    assert (
        "published numbers are over 5 pictures, not over 2" in only(tables([few], against_paper=True)).notes
    )


def test_a_model_without_a_published_row_is_laid_beside_the_methods_own() -> None:
    assert row(only(tables([mean("compact", 2, 37.5)], against_paper=True)), OFFICIAL) == ["37.992"]


def test_it_is_said_when_nothing_was_published() -> None:
    table = only(tables([mean("standard", 2, 30, dataset="holiday")], against_paper=True))
    assert "nothing published for standard on holiday by protocol benchmark" in table.notes
    assert len(table.rows) == 1


def test_published_rows_are_those_of_data_set_and_protocol() -> None:
    div2k = beside("rdn-liif", "DIV2K_valid_HR", "div2k")
    assert div2k is not None and div2k.psnr[Scale(x=30, y=30)] == 20.59
    assert beside("rdn-liif", "Set5", "file") is None
    assert beside("lanczos", "DIV2K", "div2k", weights=False) is None
    urban = beside("rdn-liif", "urban100", "benchmark")
    assert urban is not None and urban.psnr[Scale(x=4, y=4)] == 26.68


def test_published_numbers_fall_with_the_scale_and_have_a_source() -> None:
    for one in published():
        values = [one.psnr[scale] for scale in sorted(one.psnr)]
        assert values == sorted(values, reverse=True) and one.source, one.name
    assert len(published()) == 13


def test_a_table_by_picture_has_a_row_per_picture_and_scale() -> None:
    rows = [
        Row(way=mean(model, scale, 0).way, image=image, image_sha256="", value=30 + scale)
        for image in ("baby", "bird")
        for scale in (2, 3)
        for model in ("bicubic", "standard")
        if (image, model) != ("bird", "bicubic")
    ]
    table = only(picture_tables(rows))
    assert table.columns == ("picture", "bicubic", "standard")
    assert table.rows == (
        ("baby x2", "32.000", "32.000"),
        ("baby x3", "33.000", "33.000"),
        ("bird x2", "", "32.000"),
        ("bird x3", "", "33.000"),
    )


def test_the_gate_names_every_model_below_it_and_no_baseline() -> None:
    means = [mean("bicubic", 2, 20), mean(shortcut_name("a"), 2, 20), mean("a", 2, 0.9, metric="ssim")]
    means += [mean("a", 2, 38), mean("a", 3, 34.1)]
    gate(means, 34.1)
    with pytest.raises(GateError) as caught:
        gate(means, 34.5)
    assert str(caught.value) == "below the 34.5 dB asked for: a has 34.100 dB on Set5 at x3"
    assert caught.value.status == 5
    with pytest.raises(GateError, match="no PSNR of a model"):
        gate([mean("bicubic", 2, 20)], 10)

"""Rows as tables and as a plot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from liif_cli.bench.results import Change, Row, Split, seconds
from liif_cli.image.whole import whole
from liif_cli.report import Table

_SHOWN = ("liif", "torch", "libvips", "cpu")


def tables(rows: Sequence[Row], found: Sequence[Change] = ()) -> list[Table]:
    """Time and memory of the models, what they waited for, the published way; then and now, if known.

    Models that ran alike share their tables.
    """
    alike: dict[str, list[Row]] = {}
    for row in rows:
        alike.setdefault(_circumstances(row), []).append(row)
    made = []
    for circumstances, there in alike.items():
        models = list(dict.fromkeys(row.way.model for row in there))
        made += [_times(f"{', '.join(models)}, {circumstances}", there), _waits(there)]
        if any(row.plain for row in there):
            made.append(_plainly(there))
    return [*made, _compared(found)] if found else made


def plot(rows: Sequence[Row], path: Path, *, overwrite: bool = False) -> None:
    """Time (median, fastest, slowest) and peak memory over the size of the result; whole or absent."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(6.4, 6.4), dpi=150, layout="constrained")
    time, memory = figure.subplots(2, 1, sharex=True)
    for title, there in _grouped(rows).items():
        ordered = sorted(there, key=lambda row: row.way.case.megapixels)
        sizes = [row.way.case.megapixels for row in ordered]
        medians = [row.median_s for row in ordered]
        below = [row.median_s - row.min_s for row in ordered]
        above = [row.max_s - row.median_s for row in ordered]
        peaks = [float("nan") if row.peak_bytes is None else row.peak_bytes / 2**20 for row in ordered]
        time.errorbar(sizes, medians, [below, above], marker="o", markersize=4, capsize=2, label=title)
        memory.plot(sizes, peaks, marker="o", markersize=4)
    time.set(xscale="log", yscale="log", ylabel="seconds, PNG to PNG")
    time.legend(frameon=False, fontsize="small")
    memory.set(xlabel="megapixels of the result", ylabel="peak memory, MiB")
    known = [row.peak_bytes for row in rows if row.peak_bytes]
    memory.set_ylim(0, 1.15 * max(known, default=1 << 20) / 2**20)
    for axis in (time.xaxis, time.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    for axes in (time, memory):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    with whole(path, overwrite=overwrite) as file:
        figure.savefig(file, format=path.suffix[1:].lower())


def _grouped(rows: Iterable[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(f"{row.way.model}, {_circumstances(row)}", []).append(row)
    return groups


def _circumstances(row: Row) -> str:
    threads = f"{row.threads} thread{'' if row.threads == 1 else 's'}"
    return f"{row.way.precision} on {row.way.device}, {threads}"


def _name(row: Row, rows: Sequence[Row]) -> str:
    """What a line of a table is about: the case, and the model where there are several."""
    several = len({one.way.model for one in rows}) > 1
    return f"{row.way.model} {row.way.case}" if several else str(row.way.case)


def _times(title: str, rows: Sequence[Row]) -> Table:
    said = rows[0].versions
    return Table(
        title=title,
        columns=("", "result", "median", "fastest", "slowest", "MP/s", "peak"),
        rows=tuple(
            (
                _name(row, rows),
                "{}x{}".format(*row.way.case.out_size),
                *(seconds(value) for value in (row.median_s, row.min_s, row.max_s)),
                f"{row.megapixels_per_second:.2f}",
                "" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:.0f} MiB",
            )
            for row in rows
        ),
        notes=(
            "PNG to PNG; MP/s: megapixels of the result; peak: memory above the loaded program",
            ", ".join(f"{name} {said[name]}" for name in _SHOWN if name in said),
        ),
    )


def _waits(rows: Sequence[Row]) -> Table:
    return Table(
        title="what the median run waited for",
        columns=("", *(part.name for part in fields(Split))),
        rows=tuple(
            (_name(row, rows), *(seconds(part) for part in asdict(row.split).values())) for row in rows
        ),
    )


def _plainly(rows: Sequence[Row]) -> Table:
    return Table(
        title="beside the published arithmetic",
        columns=("", "published", "ours", "times as fast", "largest difference"),
        rows=tuple(
            (
                _name(row, rows),
                seconds(row.plain.median_s),
                seconds(row.plain.median_s / row.plain.ratio),
                f"{row.plain.ratio:.1f}",
                f"{row.plain.max_difference:.1e}",
            )
            for row in rows
            if row.plain
        ),
        notes=("encoding and decoding alone, in turns; differences: white is 1",),
    )


def _compared(found: Sequence[Change]) -> Table:
    return Table(
        title="then and now",
        columns=("", "then", "now", "change"),
        rows=tuple(
            (
                str(change.now.way),
                seconds(change.before.median_s),
                seconds(change.now.median_s),
                f"{change.share:+.0%}",
            )
            for change in found
        ),
        notes=tuple(dict.fromkeys(note for change in found for note in change.circumstances)),
    )

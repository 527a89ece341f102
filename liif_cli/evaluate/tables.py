"""Means -> tables: a table per data set, protocol and metric, a row per contestant, a column per scale.

Made from what `--json` keeps and nothing else, so a table can be made again from the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from liif_cli.errors import GateError
from liif_cli.evaluate.metrics import METRICS
from liif_cli.evaluate.protocol import PROTOCOLS, Scale
from liif_cli.evaluate.published import Published, beside
from liif_cli.evaluate.results import Mean, Row, Way, shortcut_name
from liif_cli.report import Table

T = TypeVar("T")
Cells = Mapping[Scale, Mean]


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One row of a table in the making. faint: it only serves to read another."""

    name: str
    cells: Mapping[Scale, str]
    faint: bool = False


def tables(means: Iterable[Mean], *, against_paper: bool = False) -> list[Table]:
    """The tables of a run; models and data sets in the order in which they first appear.

    Behind a model that was also run at x4 and resampled: the difference of the two, and in a note
    where the model is the better of them and where not. against_paper: the published row beside ours.
    """
    return [
        _table(list(group), against_paper)
        for group in _grouped(means, lambda mean: (mean.way.dataset, mean.way.protocol, mean.way.metric))
    ]


def picture_tables(rows: Iterable[Row]) -> list[Table]:
    """A row per picture and scale, a column per contestant, for each data set and metric."""
    found = []
    for group in _grouped(rows, lambda row: (row.way.dataset, row.way.protocol, row.way.metric)):
        models = list(dict.fromkeys(row.way.model for row in group))
        lines = {
            (row.image, row.way.scale): {
                one.way.model: one.value
                for one in group
                if (one.image, one.way.scale) == (row.image, row.way.scale)
            }
            for row in group
        }
        found.append(
            Table(
                title=f"{_title(group[0].way)}, by picture",
                columns=("picture", *models),
                rows=tuple(
                    (f"{image} x{scale}", *(_number(values.get(m), group[0].way.metric) for m in models))
                    for (image, scale), values in lines.items()
                ),
            )
        )
    return found


def gate(means: Iterable[Mean], minimum: float) -> None:
    """Raise GateError, naming every mean PSNR of a model (not of a baseline) below `minimum` dB."""
    judged = [
        mean
        for mean in means
        if mean.way.metric == "psnr" and mean.way.model_sha256 and not mean.way.shortcut_of
    ]
    if not judged:
        raise GateError("there is no PSNR of a model to hold against a minimum")
    short = [
        f"{mean.way.model} has {mean.mean:.3f} dB on {mean.way.dataset} at x{mean.way.scale}"
        for mean in judged
        if not mean.mean >= minimum
    ]
    if short:
        raise GateError(f"below the {minimum:g} dB asked for: {'; '.join(short)}")


def _table(means: list[Mean], against_paper: bool) -> Table:
    way = means[0].way
    scales = sorted({mean.way.scale for mean in means})
    rows: dict[str, dict[Scale, Mean]] = {}
    for mean in _in_order(means):
        rows.setdefault(mean.way.model, {})[mean.way.scale] = mean
    lines: list[_Line] = []
    verdicts: list[str] = []
    sources: list[str] = []
    for model, cells in rows.items():
        lines.append(_Line(name=model, cells=_texts(cells, way.metric)))
        if shortcut := rows.get(shortcut_name(model)):
            gain = _gain(cells, shortcut)
            lines.append(_difference("  more than through x4", gain, way.metric))
            verdicts += _verdict(model, gain, way.metric)
        if (alone := rows.get(cells[min(cells)].way.ensemble_of)) is not None:
            lines.append(_difference("  more than once alone", _gain(cells, alone), way.metric))
        one = cells[min(cells)].way
        if against_paper and way.metric == "psnr" and one.own_model == model:
            row = beside(model, way.dataset, way.protocol, weights=bool(one.model_sha256))
            if row is None:
                sources.append(f"nothing published for {model} on {way.dataset} by protocol {way.protocol}")
            else:
                lines += _against(row, cells)
                sources.append(f"{row.name}: {row.source}")
                if odd := {mean.count for mean in cells.values()} - {row.pictures}:
                    sources.append(f"published numbers are over {row.pictures} pictures, not over {max(odd)}")
    return Table(
        title=_title(way),
        columns=("", *(f"x{scale}" for scale in scales)),
        rows=tuple((line.name, *(line.cells.get(scale, "") for scale in scales)) for line in lines),
        faint=frozenset(number for number, line in enumerate(lines) if line.faint),
        notes=tuple(dict.fromkeys((*_how(means, scales), *verdicts, *sources))),
    )


def _in_order(means: Sequence[Mean]) -> list[Mean]:
    """Filters first, then each model behind its own shortcut: what is to be beaten stands above."""
    seen = list(dict.fromkeys(mean.way.own_model for mean in means))

    def place(mean: Mean) -> tuple[bool, int, bool, bool]:
        way = mean.way
        rank = not way.shortcut_of, bool(way.ensemble_of)
        return bool(way.model_sha256), seen.index(way.own_model), *rank

    return sorted(means, key=place)


def _gain(cells: Cells, others: Cells) -> dict[Scale, float]:
    """How much more the first have, where both have a number."""
    return {s: cells[s].mean - others[s].mean for s in sorted(cells) if s in others}


def _against(row: Published, cells: Cells) -> list[_Line]:
    """The published row, and ours minus it, where both have a number."""
    both = {scale: value for scale, value in row.psnr.items() if scale in cells}
    gain = {scale: cells[scale].mean - value for scale, value in both.items()}
    texts = {scale: _number(value, "psnr") for scale, value in both.items()}
    return [
        _Line(name=f"  {row.name}", cells=texts, faint=True),
        _difference("  ours minus that", gain, "psnr"),
    ]


def _difference(name: str, gain: Mapping[Scale, float], metric: str) -> _Line:
    digits = _digits(metric)
    rounded = {scale: round(value, digits) for scale, value in gain.items()}
    cells = {s: f"{value:+.{digits}f}" if value else f"{0:.{digits}f}" for s, value in rounded.items()}
    return _Line(name=name, cells=cells, faint=True)


def _verdict(model: str, gain: Mapping[Scale, float], metric: str) -> list[str]:
    """Where the model is better than its own x4 result made to fit, and where it is not."""
    if metric not in METRICS:
        return []
    shown = {scale: round(value, _digits(metric)) for scale, value in gain.items()}
    sign = 1 if METRICS[metric].better == "higher" else -1
    # At x4 both are the same picture, which says nothing.
    other = {scale: sign * value for scale, value in shown.items() if (scale.x, scale.y) != (4, 4)}
    better = " ".join(f"x{scale}" for scale, value in other.items() if value > 0)
    not_better = " ".join(f"x{scale}" for scale, value in other.items() if value <= 0)
    if not other:
        return []
    says = f"beats its own x4 resampled by Lanczos at {better}" if better else ""
    if not_better:
        says += f", not at {not_better}" if says else f"does not beat its own x4 resampled at {not_better}"
    return [f"{model} {says}"]


def _how(means: Sequence[Mean], scales: Sequence[Scale]) -> list[str]:
    """How many pictures, by which protocol, from which LR."""
    way = means[0].way
    protocol = PROTOCOLS[way.protocol]
    counts = {mean.way.scale: mean.count for mean in means}
    if len(set(counts.values())) == 1:
        count = f"{means[0].count} pictures" if means[0].count != 1 else "1 picture"
    else:
        count = "pictures: " + ", ".join(f"x{scale} {counts[scale]}" for scale in scales)
    notes = [f"{count}, protocol {protocol.name}: {protocol.says}"]
    odd = {mean.way.border for mean in means if mean.way.border != protocol.border(mean.way.scale)}
    notes += [f"with a border of {columns}x{rows} pixels instead" for rows, columns in sorted(odd)]
    if precisions := {mean.way.precision for mean in means} - {"", "fp32"}:
        notes.append(f"networks ran in {', '.join(sorted(precisions))}")
    if way.metric in METRICS and way.metric != "psnr":
        notes.append(f"{way.metric}: {METRICS[way.metric].says}")
    by_source = {mean.way.scale: mean.way.lr for mean in means}
    for source, says in (("files", "the data set's files"), ("bicubic", "made by Pillow's bicubic")):
        if found := [f"x{scale}" for scale in scales if by_source[scale] == source]:
            notes.append(f"LR of {' '.join(found)}: {says}")
    missed = [
        f"x{s}" for s in scales if by_source[s] == "bicubic" and s.x == s.y and s.x in protocol.file_scales
    ]
    if missed:
        notes.append(f"published numbers at {' '.join(missed)} rest on LR files; about 0.1 dB apart")
    return notes


def _title(way: Way) -> str:
    unit = METRICS[way.metric].unit if way.metric in METRICS else ""
    name = way.metric.upper() if way.metric in ("psnr", "ssim") else way.metric
    return f"{way.dataset}, {name} in {unit}" if unit else f"{way.dataset}, {name}"


def _texts(cells: Cells, metric: str) -> dict[Scale, str]:
    return {scale: _number(mean.mean, metric) for scale, mean in cells.items()}


def _number(value: float | None, metric: str) -> str:
    return "" if value is None else f"{value:.{_digits(metric)}f}"


def _digits(metric: str) -> int:
    """Decimals worth showing: a thousandth of a dB; a ten-thousandth of what has no unit."""
    return 3 if metric in METRICS and METRICS[metric].unit == "dB" else 4


def _grouped(items: Iterable[T], key: Callable[[T], object]) -> list[list[T]]:
    found: dict[object, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return list(found.values())

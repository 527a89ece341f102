"""Means -> a picture: the metric over the scale, a line per contestant, a panel per data set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liif_cli.errors import UsageError
from liif_cli.evaluate.metrics import METRICS
from liif_cli.evaluate.protocol import Scale
from liif_cli.evaluate.published import beside
from liif_cli.evaluate.results import Mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INSTALL = 'pip install "liif-cli[plot]"'

# Okabe and Ito, "Color universal design", 2008: told apart with any colour vision. Grey for what is
# to be beaten.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_GREYS = ("#777777", "#aaaaaa")
_FLOOR = "bicubic"
_MARKERS = "osD^vP"


def check(path: Path) -> None:
    """Raise UsageError now if `plot` cannot be done later."""
    if find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib, which is not installed", hint=INSTALL)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--plot {path}: not a name for a plot", hint="name a .png, .svg or .pdf")


def plot(means: Sequence[Mean], path: Path, *, against_paper: bool = False, overwrite: bool = False) -> None:
    """Draw the first metric among `means` into `path`, whole or absent.

    Below each panel the same less bicubic, where that was measured: models differ by less than the
    scales do. Scales of unequal axes stand at the geometric mean of both. against_paper: rings for
    the published numbers.
    """
    from matplotlib.figure import Figure

    from liif_cli.image.whole import whole

    metric = means[0].way.metric
    shown = [mean for mean in means if mean.way.metric == metric]
    panels = list(dict.fromkeys((mean.way.dataset, mean.way.protocol) for mean in shown))
    rows = 2 if any(mean.way.model == _FLOOR for mean in shown) else 1
    figure = Figure(figsize=(5.2 * len(panels) + 0.6, 3.9 * rows), dpi=150, layout="constrained")
    grid = figure.subplots(rows, len(panels), squeeze=False)
    for column, panel in enumerate(panels):
        there = [mean for mean in shown if (mean.way.dataset, mean.way.protocol) == panel]
        curves = _curves(there, against_paper)
        _draw(grid[0][column], curves, there)
        grid[0][column].set_title(f"{panel[0]}, protocol {panel[1]}", loc="left")
        grid[0][column].legend(frameon=False, fontsize="small")
        if rows == 2:
            floor = {mean.way.scale: mean.mean for mean in there if mean.way.model == _FLOOR}
            _draw(grid[1][column], [curve.above(floor) for curve in curves], there)
            grid[1][column].set_ylabel(f"above {_FLOOR}{_unit(metric)}")
        grid[-1][column].set_xlabel("scale")
    with whole(path, overwrite=overwrite) as file:
        figure.savefig(file, format=path.suffix[1:].lower())


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """One line of a panel. style: what matplotlib's `plot` takes."""

    name: str
    values: Mapping[Scale, float]
    style: Mapping[str, Any]

    def above(self, floor: Mapping[Scale, float]) -> _Curve:
        """The same less `floor`, where that is known."""
        values = {scale: value - floor[scale] for scale, value in self.values.items() if scale in floor}
        return _Curve(name=self.name, values=values, style=self.style)


def _curves(means: Sequence[Mean], against_paper: bool) -> list[_Curve]:
    lines: dict[str, list[Mean]] = {}
    for mean in means:
        lines.setdefault(mean.way.model, []).append(mean)
    filters = [name for name, line in lines.items() if not line[0].way.model_sha256]
    networks = list(dict.fromkeys(line[0].way.own_model for line in lines.values()))
    networks = [name for name in networks if name not in filters]
    curves = []
    for name, line in lines.items():
        way = line[0].way
        style: dict[str, Any]
        if name in filters:
            style = {"color": _GREYS[filters.index(name) % len(_GREYS)], "marker": ".", "zorder": 1}
        else:
            number = networks.index(way.own_model) % len(_COLOURS)
            look = {"ls": ":", "marker": "x"} if way.shortcut_of else {"marker": _MARKERS[number], "ms": 5}
            look |= {"ls": "--"} if way.ensemble_of else {}
            style = {"color": _COLOURS[number], **look, "zorder": 2 if way.shortcut_of else 3}
        curves.append(_Curve(name=name, values={mean.way.scale: mean.mean for mean in line}, style=style))
        if against_paper and way.metric == "psnr" and way.model_sha256 and way.own_model == name:
            curves += _rings(line, style["color"])
    return list({curve.name: curve for curve in curves}.values())


def _rings(line: Sequence[Mean], colour: str) -> list[_Curve]:
    """The published numbers beside a model's, where they are over as many pictures."""
    row = beside(line[0].way.model, line[0].way.dataset, line[0].way.protocol)
    if row is None:
        return []
    scales = [mean.way.scale for mean in line if mean.count == row.pictures]
    both = {scale: row.psnr[scale] for scale in scales if scale in row.psnr}
    ring = {"color": colour, "ls": "", "marker": "o", "ms": 11, "mfc": "none"}
    return [_Curve(name=row.name, values=both, style=ring)] if both else []


def _draw(axes: Axes, curves: Sequence[_Curve], means: Sequence[Mean]) -> None:
    for curve in curves:
        scales = sorted(curve.values, key=_place)
        places = [_place(scale) for scale in scales]
        axes.plot(places, [curve.values[scale] for scale in scales], label=curve.name, **curve.style)
    ticks = sorted({mean.way.scale for mean in means}, key=_place)
    axes.set_xscale("log")
    axes.set_xticks([_place(scale) for scale in ticks], [f"x{scale}" for scale in ticks])
    axes.minorticks_off()
    metric = means[0].way.metric
    axes.set_ylabel(f"{metric.upper() if len(metric) < 5 else metric}{_unit(metric)}")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _unit(metric: str) -> str:
    unit = METRICS[metric].unit if metric in METRICS else ""
    return f" ({unit})" if unit else ""


def _place(scale: Scale) -> float:
    return math.sqrt(scale.x * scale.y)

"""Means -> a picture: the metric over the scale, a line per contestant, a panel per data set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

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
_MARKERS = "osD^vP"


def check(path: Path) -> None:
    """Raise UsageError now if `plot` cannot be done later."""
    if find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib, which is not installed", hint=INSTALL)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--plot {path}: not a name for a plot", hint="name a .png, .svg or .pdf")


def plot(means: Sequence[Mean], path: Path, *, against_paper: bool = False, overwrite: bool = False) -> None:
    """Draw the first metric among `means` into `path`, whole or absent.

    Scales of unequal axes stand at the geometric mean of both. against_paper: hollow marks for the
    published numbers.
    """
    from matplotlib.figure import Figure

    from liif_cli.image.whole import whole

    metric = means[0].way.metric
    shown = [mean for mean in means if mean.way.metric == metric]
    panels = list(dict.fromkeys((mean.way.dataset, mean.way.protocol) for mean in shown))
    figure = Figure(figsize=(5.2 * len(panels) + 0.6, 4.4), dpi=150, layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        there = [mean for mean in shown if (mean.way.dataset, mean.way.protocol) == panel]
        _panel(axes, there, against_paper)
    with whole(path, overwrite=overwrite) as file:
        figure.savefig(file, format=path.suffix[1:].lower())


def _panel(axes: Axes, means: Sequence[Mean], against_paper: bool) -> None:
    way = means[0].way
    lines: dict[str, list[Mean]] = {}
    for mean in means:
        lines.setdefault(mean.way.model, []).append(mean)
    networks = list(dict.fromkeys(mean.way.shortcut_of or mean.way.model for mean in means if _learned(mean)))
    filters = [name for name in lines if not _learned(lines[name][0])]
    for name, cells in lines.items():
        cells.sort(key=lambda mean: _place(mean.way.scale))
        places = [_place(mean.way.scale) for mean in cells]
        values = [mean.mean for mean in cells]
        if name in filters:
            colour = _GREYS[filters.index(name) % len(_GREYS)]
            axes.plot(places, values, color=colour, marker=".", label=name, zorder=1)
            continue
        shortcut_of = cells[0].way.shortcut_of
        number = networks.index(shortcut_of or name) % len(_COLOURS)
        if shortcut_of:
            axes.plot(places, values, color=_COLOURS[number], ls=":", marker="x", label=name, zorder=2)
        else:
            axes.plot(
                places, values, color=_COLOURS[number], marker=_MARKERS[number], ms=5, label=name, zorder=3
            )
            if against_paper and way.metric == "psnr":
                _published(axes, name, cells, _COLOURS[number])
    scales = sorted({mean.way.scale for mean in means}, key=_place)
    axes.set_xscale("log")
    axes.set_xticks([_place(scale) for scale in scales], [f"x{scale}" for scale in scales])
    axes.minorticks_off()
    axes.set_xlabel("scale")
    unit = METRICS[way.metric].unit if way.metric in METRICS else ""
    axes.set_ylabel(f"{way.metric} ({unit})" if unit else way.metric)
    axes.set_title(f"{way.dataset}, protocol {way.protocol}", loc="left")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _published(axes: Axes, model: str, cells: Sequence[Mean], colour: str) -> None:
    row = beside(model, cells[0].way.dataset, cells[0].way.protocol)
    both = [mean.way.scale for mean in cells if row and mean.way.scale in row.psnr]
    if row and both:
        places, values = [_place(scale) for scale in both], [row.psnr[scale] for scale in both]
        axes.plot(places, values, ls="", marker="o", ms=11, mfc="none", color=colour, label=row.name)


def _learned(mean: Mean) -> bool:
    return bool(mean.way.model_sha256)


def _place(scale: Scale) -> float:
    return math.sqrt(scale.x * scale.y)

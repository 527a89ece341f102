"""Scores that others published, to lay beside ours: `published.toml`, read."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from liif_cli.evaluate.protocol import Scale

# What a model without a row of its own is laid beside: the method's own small model.
YARDSTICK = "edsr-baseline-liif"


@dataclass(frozen=True, kw_only=True)
class Published:
    """One row of a published table.

    name:   what to call it beside ours. model: whose row it is, as our tables name it.
    source: where it was published. psnr: mean over the data set's `pictures`, in dB.
    """

    name: str
    model: str
    dataset: str
    pictures: int
    protocol: str
    source: str
    psnr: Mapping[Scale, float]


@cache
def published() -> tuple[Published, ...]:
    """All rows."""
    text = files("liif_cli.evaluate").joinpath("published.toml").read_text("utf-8")
    return tuple(
        Published(
            **{
                **row,
                "psnr": {Scale(x=float(s), y=float(s)): float(value) for s, value in row["psnr"].items()},
            }
        )
        for row in tomllib.loads(text)["row"]
    )


def beside(model: str, dataset: str, protocol: str, *, weights: bool = True) -> Published | None:
    """The published row to lay beside ours: the model's own, else the yardstick's for a network.

    dataset: by our name; `DIV2K_valid_HR` is DIV2K. weights: whether ours is a network.
    """
    there = [
        row
        for row in published()
        if row.protocol == protocol and dataset.lower().split("_")[0] == row.dataset.lower()
    ]
    own = [row for row in there if row.model == model]
    yardstick = [row for row in there if weights and row.model == YARDSTICK]
    return next(iter(own + yardstick), None)

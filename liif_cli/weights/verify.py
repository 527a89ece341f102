"""Is a weights file what it should be, and does this machine read it rightly?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from liif_cli.errors import WeightsError
from liif_cli.weights import fetch, store
from liif_cli.weights.catalog import Card
from liif_cli.weights.probe import TOLERANCE, difference, probe


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`fault` is None if all is well; `probe` is empty if the model could not be run."""

    name: str
    path: Path
    fault: str | None
    probe: tuple[float, ...] = ()


def verify(card: Card, path: Path) -> Verdict:
    """Compare the file at `path` with its card: size, hash, spec, and the values it computes here."""
    fault = fetch.find_fault(card, path)
    if fault is not None:
        return Verdict(name=card.name, path=path, fault=fault)
    found = verify_file(path, name=card.name)
    if found.fault is not None or not card.probe:
        return found
    apart = difference(found.probe, card.probe)
    wrong = f"computes values {apart:.1e} from those in the catalogue" if apart > TOLERANCE else None
    return Verdict(name=card.name, path=path, fault=wrong, probe=found.probe)


def verify_file(path: Path, *, name: str = "") -> Verdict:
    """What can be said without a card: the file is sound, its tensors fit its spec, and it runs."""
    name = name or str(path)
    try:
        return Verdict(name=name, path=path, fault=None, probe=probe(*store.read(path)))
    except WeightsError as error:
        return Verdict(name=name, path=path, fault=str(error).removeprefix(f"{path}: "))

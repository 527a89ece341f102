"""The default weights, and others that are here."""

from __future__ import annotations

from pathlib import Path

import pytest

from liif_cli.doctor.weights import weights
from liif_cli.home import home
from liif_cli.nn.model import build
from liif_cli.weights import catalog, fetch, store
from liif_cli.weights.catalog import Card
from tests.conftest import TINY


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Card]:
    """A catalogue of two, an empty cache, and no way to fetch anything."""
    monkeypatch.setenv("LIIF_HOME", str(tmp_path / "home"))
    made = {
        name: Card(name=name, what="", spec=TINY["light"], licence="", credits="", scores={})
        for name in ("other", "standard")
    }
    monkeypatch.setattr(catalog, "load", lambda: made)

    def fetched(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(fetch, "pull", fetched)
    return made


def bring(card: Card, kind: str = "light") -> Path:
    path = fetch.cached(card)
    path.parent.mkdir(parents=True, exist_ok=True)
    store.write(path, TINY[kind], build(TINY[kind], seed=1).state_dict())
    assert home() in path.parents
    return path


def test_default_weights_that_are_not_here_are_told_and_others_are_not(cards: dict[str, Card]) -> None:
    (one,) = weights()
    assert (one.name, one.default, one.path, one.fault) == ("standard", True, None, "")


def test_what_is_here_is_sound(cards: dict[str, Card]) -> None:
    paths = [bring(cards["standard"]), bring(cards["other"])]
    found = weights()
    assert [one.path for one in found] == paths
    assert [one.default for one in found] == [True, False]
    assert [one.fault for one in found] == ["", ""]


def test_damage_is_found_in_the_default_ones_and_in_others(cards: dict[str, Card]) -> None:
    bring(cards["standard"]).write_bytes(b"nothing")
    bring(cards["other"], kind="edsr")
    first, second = weights()
    assert first.fault
    assert second.fault == "holds another model than other"

"""The catalogue: what it says of shipped files is so, and it refuses what it does not understand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from liif_cli.errors import UnknownWeights, WeightsError
from liif_cli.weights import catalog, fetch
from liif_cli.weights.verify import verify

CARD = """
[a]
what = "for tests"
licence = "BSD-3-Clause"
credits = "nobody"
scores = { Set5 = { x2 = 30.0 } }
[a.spec]
encoder = { kind = "edsr", width = 8, depth = 2 }
decoder = { kind = "liif", hidden = [16] }
"""


@pytest.mark.parametrize("name", list(catalog.load()))
def test_every_card_says_what_a_user_needs_to_know(name: str) -> None:
    card = catalog.load()[name]
    assert card.what and card.licence and card.credits
    assert bool(card.file) + bool(card.source) + bool(card.by_hand) == 1
    if not card.by_hand:
        assert len(card.sha256) == 64 and card.bytes > 0
        assert len(card.probe) == 12
    for scores in card.scores.values():
        assert all(scale.startswith("x") and 15 < value < 50 for scale, value in scores.items())


@pytest.mark.parametrize("name", [name for name, card in catalog.load().items() if card.file])
def test_every_shipped_file_is_the_one_its_card_describes(name: str) -> None:
    card = catalog.load()[name]
    assert verify(card, catalog.folder() / str(card.file)).fault is None


def test_the_published_weights_in_the_cache_are_those_of_their_card(published: Path) -> None:
    assert verify(catalog.card("edsr-baseline-liif"), published).fault is None


def test_a_card_is_read_from_toml() -> None:
    card = catalog.parse(CARD)["a"]
    assert card.name == "a"
    assert card.spec.encoder.depth == 2
    assert card.scores["Set5"]["x2"] == 30.0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[a]", "[a"),
        ("[a.spec]", "[a.spac]"),
        ('what = "for tests"', ""),
        ("width = 8", 'width = "8"'),
        ("[a]", '[a]\ncolour = "red"'),
        ("[a]", '[a]\nsource = { package = "x" }'),
        ("[a]", '[a]\nfile = "../a.safetensors"'),
        ("[a]", '[a]\nfile = "/etc/a.safetensors"'),
    ],
)
def test_what_is_no_card_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    (tmp_path / "catalog.toml").write_text(CARD.replace(old, new))
    monkeypatch.setattr(catalog, "folder", lambda: tmp_path)
    with pytest.raises(WeightsError, match="catalogue of weights cannot be read"):
        catalog.load()


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownWeights) as caught:
        catalog.card("edsr-baseline-lif")
    assert caught.value.status == 4
    assert "'edsr-baseline-liif'" in caught.value.hint


def test_a_converted_file_says_whose_it_is() -> None:
    told = catalog.card("edsr-baseline-liif").metadata
    assert told["liif.licence"] == "BSD-3-Clause"
    assert "Yinbo Chen" in told["liif.credits"]


def test_a_fault_of_a_file_is_found_against_its_card(published: Path) -> None:
    card = catalog.card("edsr-baseline-liif")
    assert fetch.find_fault(card, published) is None
    assert "bytes, not the" in str(fetch.find_fault(replace(card, bytes=1), published))
    assert "SHA-256" in str(fetch.find_fault(replace(card, sha256="0" * 64), published))
    other = catalog.card("rdn-liif").spec
    assert "another model" in str(fetch.find_fault(replace(card, spec=other), published))

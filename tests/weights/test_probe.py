"""The probe: the same for the same weights, another for others."""

from __future__ import annotations

from pathlib import Path

import pytest

from liif_cli.nn.model import Model, build
from liif_cli.weights import catalog, store
from liif_cli.weights.probe import POINTS, TOLERANCE, difference, probe


def test_the_probe_is_one_colour_for_each_point_and_repeats_itself(tiny_model: Model) -> None:
    once = probe(tiny_model.spec, tiny_model.state_dict())
    assert len(once) == 3 * len(POINTS)
    assert once == probe(tiny_model.spec, tiny_model.state_dict())


@pytest.mark.parametrize("seed", [2, 3])
def test_other_weights_give_another_probe(tiny_model: Model, seed: int) -> None:
    other = build(tiny_model.spec, seed=seed)
    ours, theirs = (probe(tiny_model.spec, model.state_dict()) for model in (tiny_model, other))
    assert difference(ours, theirs) > 10 * TOLERANCE


def test_every_layer_is_seen_by_the_probe(tiny_model: Model) -> None:
    whole = probe(tiny_model.spec, tiny_model.state_dict())
    for name in tiny_model.state_dict():
        changed = {key: value.clone() for key, value in tiny_model.state_dict().items()}
        changed[name] += 0.3
        assert difference(whole, probe(tiny_model.spec, changed)) > TOLERANCE, name


def test_probes_of_different_length_differ() -> None:
    assert difference((1.0,), (1.0, 2.0)) == float("inf")
    assert difference((1.0, 2.0), (1.0, 2.5)) == 0.5


def test_the_published_weights_have_the_probe_of_the_catalogue(published: Path) -> None:
    found = probe(*store.read(published))
    assert difference(found, catalog.card("edsr-baseline-liif").probe) < TOLERANCE / 4

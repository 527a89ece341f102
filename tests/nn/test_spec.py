"""`ModelSpec`: what follows from it, and its way through JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liif_cli.nn.model import build
from liif_cli.nn.spec import DecoderSpec, EncoderSpec, ModelSpec

whole = st.integers(1, 64)
encoders = st.one_of(
    st.builds(EncoderSpec, kind=st.sampled_from(["edsr", "compact"]), width=whole, depth=whole),
    st.builds(EncoderSpec, kind=st.just("rdn"), width=whole, depth=whole, layers=whole),
)
decoders = st.builds(
    DecoderSpec,
    kind=st.sampled_from(["liif", "light"]),
    hidden=st.lists(whole, min_size=1, max_size=5).map(tuple),
    unfold=st.booleans(),
    ensemble=st.booleans(),
    cell=st.booleans(),
)
specs = st.builds(ModelSpec, encoder=encoders, decoder=decoders)

PUBLISHED = ModelSpec(
    encoder=EncoderSpec(kind="edsr", width=64, depth=16), decoder=DecoderSpec(kind="liif", hidden=(256,) * 4)
)


@given(specs)
def test_a_spec_comes_back_from_json(spec: ModelSpec) -> None:
    assert ModelSpec.from_json(spec.to_json()) == spec


@given(
    st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(json.dumps)
)
def test_anything_else_is_refused_as_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        ModelSpec.from_json(text)


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("encoder", "kind", "vgg"),
        ("encoder", "width", 0),
        ("encoder", "width", 10**9),
        ("encoder", "depth", True),
        ("encoder", "layers", -1),
        ("decoder", "kind", ["liif"]),
        ("decoder", "hidden", "256"),
        ("decoder", "hidden", [1.5]),
        ("decoder", "hidden", [256] * 1000),
        ("decoder", "cell", 1),
        ("decoder", "more", 1),
    ],
)
def test_a_wrong_field_is_refused(part: str, field: str, value: Any) -> None:
    table = json.loads(PUBLISHED.to_json())
    table[part][field] = value
    with pytest.raises(ValueError):
        ModelSpec.from_json(json.dumps(table))


def test_the_published_model_has_the_published_size() -> None:
    # LIIF.md 4: 1.22 M and 0.35 M parameters, receptive radius 34
    model = build(PUBLISHED)
    assert sum(p.numel() for p in model.encoder.parameters()) == pytest.approx(1.22e6, rel=0.005)
    assert sum(p.numel() for p in model.decoder.parameters()) == pytest.approx(0.35e6, rel=0.01)
    assert PUBLISHED.encoder.radius_px == 34
    assert PUBLISHED.halo_px == 36


def test_rdn_has_the_published_size() -> None:
    spec = ModelSpec(encoder=EncoderSpec(kind="rdn", width=64, depth=16, layers=8), decoder=PUBLISHED.decoder)
    assert sum(p.numel() for p in build(spec).encoder.parameters()) == pytest.approx(22.0e6, rel=0.005)
    assert spec.encoder.radius_px == 131


@given(st.sampled_from(["edsr", "rdn", "compact"]), st.integers(1, 8), st.integers(1, 3))
def test_an_encoder_costs_a_multiply_add_per_kernel_weight(kind: Any, width: int, depth: int) -> None:
    spec = EncoderSpec(kind=kind, width=width, depth=depth, layers=2 if kind == "rdn" else 0)
    model = build(ModelSpec(encoder=spec, decoder=PUBLISHED.decoder))
    assert spec.multiply_adds == sum(p.numel() for p in model.encoder.parameters() if p.ndim == 4)


def test_the_costs_of_the_published_model_are_those_of_the_page() -> None:
    # LIIF.md 3: three hidden layers for four taps, and the last layer once
    assert PUBLISHED.multiply_adds_per_output_pixel == 4 * 3 * 65_536 + 256 * 3
    assert PUBLISHED.multiply_adds_per_input_pixel == PUBLISHED.encoder.multiply_adds + 9 * 64 * 256

"""Encoders: their arithmetic against float64, and how far they see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from liif_cli.nn.model import Model, build
from liif_cli.nn.spec import DecoderSpec, EncoderSpec, ModelSpec
from tests import reference

LIGHT = DecoderSpec(kind="light", hidden=(8,))
SPECS = [
    EncoderSpec(kind="edsr", width=8, depth=3),
    EncoderSpec(kind="rdn", width=4, depth=3, layers=3),
    EncoderSpec(kind="compact", width=8, depth=5),
]


def model_of(spec: EncoderSpec, *, linear: bool = False) -> Model:
    model = build(ModelSpec(encoder=spec, decoder=LIGHT), seed=3)
    if linear:
        # Positive weights on a positive picture: no ReLU cuts anything off, so every pixel that can be
        # seen is seen.
        for parameter in model.parameters():
            parameter.data.abs_()
    return model.double()


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.kind)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (12, 10)])
def test_codes_agree_with_the_formulas_in_float64(spec: EncoderSpec, size: tuple[int, int]) -> None:
    model = model_of(spec)
    weights = {name: t.numpy() for name, t in model.state_dict().items()}
    picture = np.random.default_rng(1).random((3, *size))
    x = 2 * picture - 1
    match spec.kind:
        case "edsr":
            expected = reference.edsr(x, weights, spec.depth)
        case "rdn":
            expected = reference.rdn(x, weights, spec.depth, spec.layers)
        case "compact":
            expected = reference.compact(x, weights, spec.depth)
    with torch.no_grad():
        feat = model.encode(torch.from_numpy(picture)[None]).feat[0].numpy()
    np.testing.assert_allclose(feat, expected, atol=1e-12)


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.kind)
def test_a_code_sees_exactly_as_far_as_the_spec_says(spec: EncoderSpec) -> None:
    radius = spec.radius_px
    side = 2 * radius + 9
    picture = torch.full((1, 3, side, side), 0.75, dtype=torch.float64, requires_grad=True)
    feat = model_of(spec, linear=True).encode(picture).feat
    # Poke: which input pixels move the code in the middle? Its gradient knows all of them at once.
    middle = side // 2
    (poked,) = torch.autograd.grad(feat[0, :, middle, middle].sum(), picture)
    seen = poked[0].abs().sum(0).nonzero()
    assert (seen - middle).abs().max() == radius


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.kind)
def test_poking_a_pixel_just_beyond_the_radius_changes_nothing(spec: EncoderSpec) -> None:
    model, radius = model_of(spec), spec.radius_px
    side = 2 * radius + 9
    picture = torch.rand(1, 3, side, side, dtype=torch.float64)
    poked = picture.clone()
    middle = side // 2
    poked[0, :, middle, middle + radius + 1] = 1 - poked[0, :, middle, middle + radius + 1]
    with torch.no_grad():
        before, after = (model.encode(p).feat[0, :, middle, middle] for p in (picture, poked))
    torch.testing.assert_close(before, after, rtol=0, atol=0)


def test_the_published_encoder_sees_34_pixels_far() -> None:
    spec = EncoderSpec(kind="edsr", width=4, depth=16)
    picture = torch.full((1, 3, 80, 80), 0.75, dtype=torch.float64, requires_grad=True)
    feat = model_of(spec, linear=True).encode(picture).feat
    (poked,) = torch.autograd.grad(feat[0, :, 40, 40].sum(), picture)
    assert (poked[0].abs().sum(0).nonzero() - 40).abs().max() == 34

"""Muon and Adam: what a step is, and that a state goes through `state` and `load`."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from liif_cli.train.optimiser import Optimiser, orthogonal
from liif_cli.train.recipe import Schedule


@pytest.mark.parametrize("shape", [(3, 16, 40), (2, 40, 16), (1, 20, 20)])
def test_orthogonal_matrices_have_singular_values_near_one(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonal(matrices))
    assert values.min() > 0.4 and values.max() < 1.3
    assert orthogonal(matrices).shape == shape


def test_orthogonal_keeps_the_directions() -> None:
    u, s, v = torch.linalg.svd(torch.randn(24, 24, generator=torch.Generator().manual_seed(2)))
    moved = u.T @ orthogonal((u * s @ v)[None])[0] @ v.T
    off = moved - moved.diag().diag()
    assert off.abs().max() < 1e-3


def test_adam_is_torchs_adam() -> None:
    ours, theirs = nn.Linear(5, 4), nn.Linear(5, 4)
    theirs.load_state_dict(ours.state_dict())
    schedule = Schedule(optimiser="adam", rate=0.01, weight_decay=0.1)
    optimiser = Optimiser(ours, schedule)
    reference = torch.optim.AdamW(theirs.parameters(), lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    for step in range(20):
        x = torch.randn(8, 5, generator=torch.Generator().manual_seed(step))
        loss = ours(x).square().sum()
        names = [n for n, _ in ours.named_parameters()]
        gradients = torch.autograd.grad(loss, list(ours.parameters()))
        optimiser.step(dict(zip(names, gradients, strict=True)), 1.0)
        reference.zero_grad()
        theirs(x).square().sum().backward()
        reference.step()
    torch.testing.assert_close(list(ours.parameters()), list(theirs.parameters()), atol=1e-6, rtol=1e-5)


def test_muon_learns_a_matrix_and_leaves_the_bias_to_adam() -> None:
    torch.manual_seed(0)
    wanted = nn.Linear(32, 24)
    model = nn.Linear(32, 24)
    optimiser = Optimiser(model, Schedule(optimiser="muon", rate=0.02))
    x = torch.randn(256, 32)
    first = last = 0.0
    for step in range(150):
        loss = (model(x) - wanted(x)).square().mean()
        names = [n for n, _ in model.named_parameters()]
        gradients = dict(zip(names, torch.autograd.grad(loss, list(model.parameters())), strict=True))
        optimiser.step(gradients, 1 - step / 150)
        last = loss.item()
        first = first or last
    assert last < first / 100
    assert {n for n in optimiser.state() if n.startswith("second.")} == {"second.bias"}


def test_parameters_without_a_gradient_stay() -> None:
    model = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    gradients = {n: torch.ones_like(p) for n, p in model.named_parameters() if n.startswith("1.")}
    Optimiser(model, Schedule()).step(gradients, 1.0)
    stayed = {n for n, p in model.named_parameters() if torch.equal(p, before[n])}
    assert stayed == {"0.weight", "0.bias"}


def test_the_encoder_may_move_slower() -> None:
    model = nn.ModuleDict({"encoder": nn.Linear(20, 20), "decoder": nn.Linear(20, 20)})
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    gradient = torch.randn(20, 20)
    gradients = {f"{part}.weight": gradient for part in ("encoder", "decoder")}
    Optimiser(model, Schedule(encoder_rate=0.1)).step(gradients, 1.0)
    moved = {n: (p - before[n]).norm().item() for n, p in model.named_parameters()}
    assert moved["encoder.weight"] == pytest.approx(0.1 * moved["decoder.weight"], rel=1e-3)

"""The two ways weights move: Adam, and Muon for matrices and convolutions.

Muon (Jordan 2024; Liu et al., arXiv 2502.16982): the momentum of a matrix is replaced by the nearest
orthogonal matrix, so that all directions move alike. The step is scaled to the size of Adam's
(0.2 sqrt(larger side)), so both share one learning rate.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from liif_cli.train.recipe import Schedule

_BETA1, _BETA2, _EPS = 0.9, 0.99, 1e-8
_MOMENTUM = 0.95
_SMALLEST_MATRIX = 16  # below, orthogonal directions mean little: input, output and bias go by Adam


class Optimiser:
    """Moves the parameters of a model in place. Its state is a flat dict of tensors."""

    def __init__(self, model: nn.Module, schedule: Schedule) -> None:
        self._params = dict(model.named_parameters())
        self._schedule = schedule
        self._first = {name: torch.zeros_like(p) for name, p in self._params.items()}
        muon = {name for name, p in self._params.items() if schedule.optimiser == "muon" and _is_matrix(p)}
        self._second = {n: torch.zeros_like(p) for n, p in self._params.items() if n not in muon}
        self._counts = dict.fromkeys(self._params, 0)
        # Same shapes are orthogonalised in one batched product.
        self._groups: dict[tuple[int, ...], list[str]] = {}
        for name in muon:
            self._groups.setdefault(tuple(_matrix(self._params[name]).shape), []).append(name)

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor], factor: float) -> None:
        """One step along `gradients`; parameters without one stay. `factor` scales the learning rate."""
        for name, gradient in gradients.items():
            self._counts[name] += 1
            if name in self._second:
                self._adam(name, gradient, factor)
        for names in self._groups.values():
            self._muon([name for name in names if name in gradients], gradients, factor)

    def state(self) -> dict[str, Tensor]:
        """Everything a resumed run needs, by name."""
        state = {f"first.{n}": t for n, t in self._first.items()}
        state |= {f"second.{n}": t for n, t in self._second.items()}
        return state | {f"count.{n}": torch.tensor(c) for n, c in self._counts.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave. Raises KeyError if it is of another model."""
        with torch.no_grad():
            for name in self._params:
                self._first[name].copy_(state[f"first.{name}"])
                self._counts[name] = int(state[f"count.{name}"])
                if name in self._second:
                    self._second[name].copy_(state[f"second.{name}"])

    def _rate(self, name: str, factor: float) -> float:
        own = self._schedule.encoder_rate if name.startswith("encoder.") else 1.0
        return self._schedule.rate * own * factor

    def _adam(self, name: str, gradient: Tensor, factor: float) -> None:
        parameter, first, second = self._params[name], self._first[name], self._second[name]
        rate, count = self._rate(name, factor), self._counts[name]
        first.lerp_(gradient, 1 - _BETA1)
        second.lerp_(gradient.square(), 1 - _BETA2)
        root = (second / (1 - _BETA2**count)).sqrt_().add_(_EPS)
        _decay(parameter, rate * self._schedule.weight_decay)
        parameter.addcdiv_(first, root, value=-rate / (1 - _BETA1**count))

    def _muon(self, names: list[str], gradients: Mapping[str, Tensor], factor: float) -> None:
        if not names:
            return
        for name in names:
            self._first[name].lerp_(gradients[name], 1 - _MOMENTUM)
        # Nesterov: look ahead along the gradient that has just come in.
        ahead = [torch.lerp(gradients[n], self._first[n], _MOMENTUM) for n in names]
        moved = orthogonal(torch.stack([_matrix(a) for a in ahead]))
        size = 0.2 * max(moved.shape[1:]) ** 0.5
        for name, update in zip(names, moved, strict=True):
            parameter, rate = self._params[name], self._rate(name, factor)
            _decay(parameter, rate * self._schedule.weight_decay)
            parameter.add_(_like(update, parameter), alpha=-rate * size)


def _decay(parameter: Tensor, share: float) -> None:
    if share:
        parameter.mul_(1 - share)


def orthogonal(matrices: Tensor, rounds: int = 5) -> Tensor:
    """(N, a, b) -> roughly the nearest matrices with singular values 1, by a quintic Newton-Schulz
    iteration (coefficients of Jordan 2024: steep at zero; singular values end between 0.7 and 1.2)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrices.shape[1] <= matrices.shape[2]
    x: Tensor = matrices if wide else matrices.transpose(1, 2)
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(1e-12)
    for _ in range(rounds):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide else x.transpose(1, 2)


def _matrix(parameter: Tensor) -> Tensor:
    """A convolution's kernel as the matrix it is: (out, rows * columns * in), as it lies in channels_last."""
    return parameter.movedim(1, -1).flatten(1)


def _like(matrix: Tensor, parameter: Tensor) -> Tensor:
    """`_matrix` undone."""
    lying: Tensor = matrix.unflatten(1, (*parameter.shape[2:], -1))  # type: ignore[no-untyped-call]
    return lying.movedim(-1, 1)


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.ndim >= 2 and min(parameter.shape[:2]) >= _SMALLEST_MATRIX

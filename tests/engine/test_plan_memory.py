"""What a plan says a tile takes is what torch holds while the tile is done, number by number."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from liif_cli.engine.device import moved
from liif_cli.engine.plan import _SCRATCH_BYTES, _layers_held, plan
from liif_cli.engine.render import Crew, Rendering, _Run, load_of
from liif_cli.image.picture import Picture
from liif_cli.nn.coords import Grid
from liif_cli.nn.model import build
from liif_cli.nn.spec import DecoderSpec, EncoderKind, EncoderSpec, ModelSpec

ENCODERS: dict[EncoderKind, EncoderSpec] = {
    "compact": EncoderSpec(kind="compact", width=48, depth=3),
    "edsr": EncoderSpec(kind="edsr", width=64, depth=2),
    "rdn": EncoderSpec(kind="rdn", width=32, depth=3, layers=3),
}
DECODERS = {
    "light": DecoderSpec(kind="light", hidden=(96, 64, 64), unfold=False),
    "liif": DecoderSpec(kind="liif", hidden=(64, 96, 64)),
    "nearest": DecoderSpec(kind="liif", hidden=(64, 64), ensemble=False),
    "linear": DecoderSpec(kind="liif", hidden=()),
}
GRIDS = {
    "x4": (64, 64, 256, 256),
    "x1": (96, 80, 96, 80),
    "half": (128, 128, 64, 64),
    "low and wide": (40, 100, 6, 1500),
    "one row": (40, 100, 1, 1500),
    "high and narrow": (100, 40, 1500, 6),
}


class Held(TorchDispatchMode):
    """The most bytes of tensors alive at once that were made under it; what came from numpy counts."""

    def __init__(self, known: list[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = 0
        self.known = {tensor.untyped_storage()._cdata for tensor in known}
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.alive = {key: one for key, one in self.alive.items() if not one[0].expired()}  # type: ignore[no-untyped-call]
        for tensor in tree_leaves((args, out)):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.known:
                    reference = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                    self.alive[storage._cdata] = reference, storage.nbytes()
        self.most = max(self.most, sum(size for _, size in self.alive.values()))
        return out


def _taken(spec: ModelSpec, grid: Grid, dtype: str, *, alpha: bool, tta: bool) -> tuple[int, int]:
    """Bytes: what the plan says of a tile that is all of the picture, and what torch held for it."""
    model = moved(build(spec, seed=1), "cpu", dtype)
    pixels = np.zeros((grid.in_height, grid.in_width, 3), np.uint8)
    picture = Picture(pixels=pixels, alpha=pixels[..., 0] if alpha else None)
    how = Rendering(tta=tta, depth=8)
    load = load_of(picture, model, how)
    todo = plan(spec, grid, budget_bytes=1 << 40, load=load, tile_px=1000)
    (strip,) = todo.strips()
    (tile,) = strip.tiles
    place = np.empty((grid.height, grid.width, 3 + alpha), np.uint8)
    with Crew(1) as crew, Held(list(model.parameters())) as held:
        run = _Run(model=model, picture=picture, crew=crew, how=how)
        with torch.inference_mode():
            run._answer(model, todo, tile, place, threading.Event())
    return todo.peak_bytes - place.nbytes - _SCRATCH_BYTES, held.most


def _agree(said: int, found: int) -> None:
    # Tables of a few rows and columns are not counted; what the process keeps of a layer is.
    assert 0.98 * found <= said <= 1.4 * found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", GRIDS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_tile_takes_what_the_plan_says(decoder: str, size: str, dtype: str) -> None:
    spec = ModelSpec(encoder=ENCODERS["compact"], decoder=DECODERS[decoder])
    _agree(*_taken(spec, Grid.whole(*GRIDS[size]), dtype, alpha=False, tta=False))


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(("alpha", "tta"), [(False, False), (True, False), (False, True)])
def test_so_it_does_with_each_encoder_with_alpha_and_in_turns(
    encoder: EncoderKind, alpha: bool, tta: bool
) -> None:
    spec = ModelSpec(encoder=ENCODERS[encoder], decoder=DECODERS["light"])
    _agree(*_taken(spec, Grid.whole(96, 80, 96, 80), "float32", alpha=alpha, tta=tta))


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize(("depth", "layers"), [(2, 2), (2, 3), (9, 2), (4, 6)])
def test_it_knows_how_many_layers_encoding_holds(kind: EncoderKind, depth: int, layers: int) -> None:
    spec = EncoderSpec(kind=kind, width=8, depth=depth, layers=layers if kind == "rdn" else 0)
    model = build(ModelSpec(encoder=spec, decoder=DECODERS["light"]))
    x = torch.rand(1, 3, 10, 10)
    with torch.inference_mode(), Held([x, *model.parameters()]) as held:
        model.encoder(x)
    assert held.most == _layers_held(spec) * 8 * 10 * 10 * 4

"""What a plan says a tile takes is what torch and numpy hold while the tile is done."""

from __future__ import annotations

import threading
from collections.abc import Iterator
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


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the process keeps of a layer is not counted here, so it is not planned either."""
    plan.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr("liif_cli.engine.plan.KEPT_BYTES", 0)
        yield
    plan.cache_clear()


def _taken(
    spec: ModelSpec,
    grid: Grid,
    dtype: str = "float32",
    *,
    alpha: bool = False,
    tta: bool = False,
    depth: int = 8,
    tile_px: int = 100_000,
) -> float:
    """What was held for the most expensive tile, as a share of what the plan says of one."""
    model = moved(build(spec, seed=1), "cpu", dtype)
    pixels = np.zeros((grid.in_height, grid.in_width, 3), np.uint8)
    picture = Picture(pixels=pixels, alpha=pixels[..., 0] if alpha else None)
    how = Rendering(tta=tta, depth=depth)
    load = load_of(picture, model, how)
    todo = plan(spec, grid, budget_bytes=1 << 40, load=load, tile_px=tile_px)
    found = 0
    with Crew(1) as crew:
        run = _Run(model=model, picture=picture, crew=crew, how=how)
        for tile in [tile for strip in todo.strips() for tile in strip.tiles]:
            place = np.empty((tile.height, tile.width, 3 + alpha), np.uint16)
            with Held(list(model.parameters())) as held, torch.inference_mode():
                run._answer(model, todo, tile, place, threading.Event())
            cut = tile.in_height * tile.in_width * 12 * (1 + alpha)
            mean = tile.height * tile.width * 12 * (1 + alpha) if tta else 0
            found = max(found, held.most + cut + mean)
    strips = min(2 * todo.strip_rows, grid.height) * grid.width * load.out_bytes
    return found / (todo.peak_bytes - strips - _SCRATCH_BYTES)


def _agree(share: float, most: float = 1.03) -> None:
    """Tables of a few numbers a row and a column are not planned."""
    assert 0.88 < share < most


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", GRIDS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_tile_takes_what_the_plan_says(decoder: str, size: str, dtype: str) -> None:
    spec = ModelSpec(encoder=ENCODERS["compact"], decoder=DECODERS[decoder])
    _agree(_taken(spec, Grid.whole(*GRIDS[size]), dtype))


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(("alpha", "tta"), [(False, False), (True, False), (False, True)])
def test_so_it_does_with_each_encoder_with_alpha_and_in_turns(
    encoder: EncoderKind, alpha: bool, tta: bool
) -> None:
    spec = ModelSpec(encoder=ENCODERS[encoder], decoder=DECODERS["light"])
    _agree(_taken(spec, Grid.whole(96, 80, 96, 80), alpha=alpha, tta=tta))


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("size", [(32, 64, 320, 40), (64, 32, 40, 320), (40, 40, 480, 480)])
def test_so_it_does_in_turns_whatever_the_factors(size: tuple[int, ...], alpha: bool, depth: int) -> None:
    spec = ModelSpec(encoder=ENCODERS["compact"], decoder=DECODERS["light"])
    _agree(_taken(spec, Grid.whole(*size), alpha=alpha, tta=True, depth=depth))


def test_so_it_does_where_the_decoder_begins_wide() -> None:
    spec = ModelSpec(encoder=ENCODERS["compact"], decoder=DecoderSpec(kind="light", hidden=(512, 8)))
    _agree(_taken(spec, Grid.whole(64, 64, 8, 8)))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("tile_px", [23, 30])
def test_so_do_the_last_tiles_which_are_smaller(decoder: str, tile_px: int) -> None:
    spec = ModelSpec(encoder=ENCODERS["compact"], decoder=DECODERS[decoder])
    _agree(_taken(spec, Grid.whole(70, 62, 300, 90), tile_px=tile_px))


@pytest.mark.parametrize("size", [(1, 16000, 1, 16000), (2, 16000, 1, 8000)])
def test_so_does_a_single_row_however_long(size: tuple[int, ...]) -> None:
    spec = ModelSpec(encoder=ENCODERS["compact"], decoder=DECODERS["light"])
    _agree(_taken(spec, Grid.whole(*size)), most=1.1)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize(("depth", "layers"), [(2, 2), (2, 3), (9, 2), (4, 6)])
def test_it_knows_how_many_layers_encoding_holds(kind: EncoderKind, depth: int, layers: int) -> None:
    spec = EncoderSpec(kind=kind, width=8, depth=depth, layers=layers if kind == "rdn" else 0)
    model = build(ModelSpec(encoder=spec, decoder=DECODERS["light"]))
    x = torch.rand(1, 3, 10, 10)
    with torch.inference_mode(), Held([x, *model.parameters()]) as held:
        model.encoder(x)
    assert held.most == _layers_held(spec) * 8 * 10 * 10 * 4

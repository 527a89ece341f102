"""`Model`: an encoder and a decoder. It knows no files, no devices and no grids.

codes = model.encode(picture)
rgb = model.query(codes, points, cell)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from liif_cli.nn.coords import Floats
from liif_cli.nn.decoders import Codes, Decoder
from liif_cli.nn.encoders import build_encoder
from liif_cli.nn.spec import ModelSpec


class Model(nn.Module):
    """LIIF: a picture as a continuous function (arXiv 2012.09161). State keys: encoder.*, decoder.*."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = build_encoder(spec.encoder)
        self.decoder = Decoder(spec)

    def encode(
        self, picture: Tensor, *, top: int = 0, left: int = 0, full: tuple[int, int] | None = None
    ) -> Codes:
        """Codes of a picture (B, 3, h, w), values 0 to 1, or of a tile of it.

        top, left: where the tile begins in the whole input; full: (height, width) of that input, in
        pixels; default: the picture is the whole. A code is right where the tile reaches
        `spec.encoder.radius_px` beyond it, or up to the border of the whole.
        """
        # A picture in float32 is centred before it is rounded to a lower precision: it loses less.
        feat = self.encoder(((picture - 0.5) / 0.5).to(self.decoder.linears[0].weight.dtype))
        height, width = int(picture.shape[2]), int(picture.shape[3])
        return Codes(feat=feat, picture=picture, top=top, left=left, full=full or (height, width))

    def query(self, codes: Codes, points: Floats, cell: tuple[float, float] | Floats) -> Tensor:
        """Colour at any points, the plain way (eq. 4).

        points: (B, N, 2) float64, (y, x) in pixels of the whole input, pixel centres at whole numbers
                (the paper's coordinate p in [-1, 1] is ((p + 1) size - 1) / 2 here); points outside
                the picture are clamped to it.
        cell:   (height, width) of the asked-for pixel in input pixels: (h / H, w / W) on a grid; (B, 2)
                if it differs from picture to picture.
        Returns (B, N, 3), values about 0 to 1, not clamped. Raises ValueError if the codes are of a
        tile that does not cover the points.
        """
        return self.decoder.query(codes, points, cell)


def build(spec: ModelSpec, *, seed: int | None = None) -> Model:
    """A model with random weights; with `seed` the same ones each time."""
    if seed is None:
        return Model(spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Model(spec)


def restore(spec: ModelSpec, tensors: Mapping[str, Tensor]) -> Model:
    """A model with these weights, as `weights.store.read` gives both; to be asked, not trained.

    Raises RuntimeError if the tensors are not those of `spec`.
    """
    with torch.device("meta"):  # random weights take longer than the given ones
        model = Model(spec)
    model.load_state_dict(tensors, assign=True)
    return model.eval()

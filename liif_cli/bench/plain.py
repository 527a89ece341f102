"""The published arithmetic, beside ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch

from liif_cli.bench.results import Case, Plainly
from liif_cli.bench.subject import Subject
from liif_cli.image.picture import Picture, as_float
from liif_cli.nn.model import Model

Floats = npt.NDArray[np.float32]

# What the official code asks its model for at once.
PLAIN_POINTS = 30_000


def plain(model: Model, given: Picture, case: Case, *, device: str = "cpu") -> Floats:
    """The result as published, (H, W, 3) float32, not clamped: encoded whole, then queried in pieces."""
    width, height = case.out_size
    # As `ToTensor` gives it: plane by plane, not in the order in which convolutions run fastest.
    pixels = torch.from_numpy(as_float(given)).permute(2, 0, 1)[None].contiguous().to(device)
    y, x = _centres(given.height, height), _centres(given.width, width)
    points = np.stack(np.meshgrid(y, x, indexing="ij"), -1).reshape(1, -1, 2)
    cell = (given.height / height, given.width / width)
    with torch.inference_mode():
        codes = model.encode(pixels)
        pieces = [points[:, n : n + PLAIN_POINTS] for n in range(0, points.shape[1], PLAIN_POINTS)]
        answers = [model.query(codes, piece, cell) for piece in pieces]
        found: Floats = torch.cat(answers, 1).cpu().numpy().reshape(height, width, 3)
    return found


def beside(subject: Subject, given: Picture, case: Case, advance: Callable[[float], None]) -> Plainly:
    """`plain` and ours in turns, in memory, without files."""
    model = subject.model.to(subject.device)
    published = partial(plain, model, given, case, device=subject.device)
    ways: tuple[Callable[[], object], ...] = (
        partial(subject.upscaler.upscale, given, case.target),
        published,
    )
    with _threads(subject.threads):
        exact = published()
        advance(case.megapixels)
        bands = subject.upscaler.prepare(given, case.target, bits=None).bands()
        difference = max(
            float(np.abs(band.pixels - exact[band.top : band.top + len(band.pixels)]).max()) for band in bands
        )
        advance(case.megapixels)
        times: list[list[float]] = [[], []]  # now that both are warm
        for _ in range(subject.setup.runs):
            for kept, way in zip(times, ways, strict=True):
                start = perf_counter()
                way()
                kept.append(perf_counter() - start)
                advance(case.megapixels)
    fast_s, plain_s = map(median, times)
    return Plainly(median_s=plain_s, ratio=plain_s / fast_s, max_difference=difference)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Operations share out their work over so many threads while the block runs, as torch does it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _centres(size_in: int, size_out: int) -> npt.NDArray[np.float64]:
    """Where the pixels of the output lie, in pixels of the input (LIIF.md 2)."""
    return ((2 * np.arange(size_out) + 1) * size_in - size_out) / (2 * size_out)

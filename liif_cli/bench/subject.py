"""One model on its device, and one run of it from file to file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Self

import torch

from liif_cli.api import Enlargement, Upscaler
from liif_cli.bench.results import Case, Split, Way
from liif_cli.engine.device import WORDS, place
from liif_cli.image import formats
from liif_cli.image.bands import Canvas, Encoding, open_bands
from liif_cli.image.isolate import Reader
from liif_cli.nn.model import Model, restore
from liif_cli.weights import fetch, store

Span = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How everything is run: as `Upscaler` takes it; runs: timed ones, after one that is not.

    plain: also the published way.
    """

    device: str = "auto"
    precision: str = "auto"
    memory: int | str | None = None
    threads: int | None = None
    runs: int = 5
    plain: bool = False


class Subject:
    """A model with all that a run needs, made once. A context manager.

    model: in float32, as it is loaded. precision: `fp32`, `bf16` or `fp16`; because: why that.
    """

    def __init__(self, name: str, setup: Setup, *, notify: Callable[[str], None] = lambda _: None) -> None:
        """name: of weights, or a file. Raises WeightsError, DeviceError, UsageError."""
        place(setup.device, setup.precision, setup.memory)  # what is not there is said before a download
        self.name, self.setup = name, setup
        self.model: Model = restore(*store.read(fetch.local(name, notify=notify)))
        placement = place(setup.device, setup.precision, setup.memory, model=self.model)
        self.device, self.because = placement.device, placement.because
        self.precision = WORDS[placement.dtype]
        # By its name and no longer `auto`: floats, which are compared, are computed in it, too.
        self.upscaler = Upscaler(
            self.model,
            device=placement.device,
            precision=self.precision,
            memory=placement.budget_bytes,
            threads=setup.threads,
            notify=notify,
        )
        self.threads = self.upscaler.threads
        self.reader = Reader()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.reader.close()
        self.upscaler.close()

    def way(self, case: Case) -> Way:
        """How a case is measured with this subject."""
        return Way(model=self.name, case=case, precision=self.precision, device=self.device)

    def run(self, source: Path, result: Path, case: Case) -> Split:
        """Enlarge the PNG `source`, of the size of the case, into the PNG `result`."""
        start = perf_counter()
        given = self.reader.read(source)
        ready = perf_counter()
        width, height = case.out_size
        writing = formats.writing("png", width=width, height=height, channels=given.channels)
        held = given.pixels.nbytes + writing.held_bytes
        job = self.upscaler.prepare(given, case.target, held_bytes=held)
        canvas = Canvas(width=width, height=height, channels=job.channels)
        waits = [(ready, perf_counter())]
        with (
            _encoding(job, self.device) as encoding,
            open_bands(result, canvas, Encoding(format="png"), overwrite=True) as opened,
        ):
            bands = job.bands()
            while True:
                asked = perf_counter()
                band = next(bands, None)
                waits.append((asked, perf_counter()))
                if band is None:
                    break
                opened.write(band.pixels)
        total = perf_counter() - start
        computing = sum(stop - begin for begin, stop in waits)
        encode = overlap(encoding, waits) / _sharing(job)
        read = ready - start
        return Split(read=read, encode=encode, decode=computing - encode, write=total - read - computing)


def overlap(spans: Iterable[Span], others: Iterable[Span]) -> float:
    """Seconds that the spans have in common with the others; where two spans overlap they both count."""
    kept = list(others)
    return sum(max(0.0, min(b, d) - max(a, c)) for a, b in spans for c, d in kept)


@contextmanager
def _encoding(job: Enlargement, device: str) -> Iterator[list[Span]]:
    """When threads were in the encoder: a span for each time one was."""
    spans: list[Span] = []
    begun = threading.local()

    def before(*_: object) -> None:
        _settle(device)
        begun.at = perf_counter()

    def after(*_: object) -> None:
        _settle(device)
        spans.append((begun.at, perf_counter()))

    hooks = [job.model.encoder.register_forward_pre_hook(before)]
    hooks.append(job.model.encoder.register_forward_hook(after))
    try:
        yield spans
    finally:
        for hook in hooks:
            hook.remove()


def _settle(device: str) -> None:
    """Wait until a GPU has done what it was told."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


def _sharing(job: Enlargement) -> int:
    """How many threads encode at the same time."""
    plan = job.plan
    return min(plan.workers, plan.tiles) if plan and plan.shared == "tiles" else 1

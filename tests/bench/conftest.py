"""A small model with random weights, as a file and ready to run; rows as a bench writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liif_cli.bench.results import Case, Plainly, Row, Split, Way
from liif_cli.bench.subject import Setup, Subject
from liif_cli.evaluate.protocol import Scale
from liif_cli.nn.model import build
from liif_cli.weights import store
from tests.conftest import TINY

MakeRow = Callable[..., Row]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "tiny.safetensors"
    store.write(path, TINY["light"], build(TINY["light"], seed=1).state_dict())
    return path


@pytest.fixture
def subject(weights: Path) -> Iterator[Subject]:
    """On the CPU in float32, two threads, two runs."""
    setup = Setup(device="cpu", precision="fp32", threads=2, runs=2, memory="1G")
    with Subject(str(weights), setup) as made:
        yield made


@pytest.fixture
def row() -> MakeRow:
    """Make a row: one megapixel in `median_s` seconds, as `standard` on a CPU unless said otherwise."""

    def make(
        median_s: float = 2.0,
        *,
        model: str = "standard",
        scale: str = "4",
        in_size: tuple[int, int] = (250, 250),
        precision: str = "bf16",
        device: str = "cpu",
        threads: int = 2,
        versions: dict[str, str] | None = None,
        plain: Plainly | None = None,
    ) -> Row:
        case = Case(scale=Scale.parse(scale), in_size=in_size)
        return Row(
            way=Way(model=model, case=case, precision=precision, device=device),
            threads=threads,
            median_s=median_s,
            min_s=median_s * 0.9,
            max_s=median_s * 1.2,
            split=Split(read=0.01, encode=0.04, decode=median_s - 0.1, write=0.05),
            peak_bytes=300 << 20,
            versions={"liif": "1", "torch": "2", "cpu": "fast"} if versions is None else versions,
            plain=plain,
        )

    return make

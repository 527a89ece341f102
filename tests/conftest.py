"""What tests of several rooms use: small models and pictures, shared material, caches of their own."""

from __future__ import annotations

import os

# Before torch is loaded: small operations on shared cores are slower on two threads than on one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

from liif_cli.home import home
from liif_cli.image.picture import Picture
from liif_cli.nn.spec import DecoderSpec, EncoderSpec, ModelSpec

if TYPE_CHECKING:
    from liif_cli.nn.model import Model

# No deadline: the machine may be busy. In CI the same examples each time, so that a red run is a
# change of ours; a bug found by chance elsewhere becomes an @example.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

_OWN_HOME = home()  # of whoever runs the tests, before it is turned away
_PUBLISHED = "edsr-baseline-liif"

TINY = {
    "edsr": ModelSpec(
        encoder=EncoderSpec(kind="edsr", width=8, depth=2),
        decoder=DecoderSpec(kind="liif", hidden=(16, 16)),
    ),
    "light": ModelSpec(
        encoder=EncoderSpec(kind="compact", width=8, depth=2),
        decoder=DecoderSpec(kind="light", hidden=(16, 16)),
    ),
}


@pytest.fixture(scope="session", autouse=True)
def _caches_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither see nor touch the caches of the person who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("LIIF_HOME", str(folder / "liif"))
        patch.setenv("HF_HOME", str(folder / "hf"))
        patch.delenv("HF_TOKEN", raising=False)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of material too large for the repository: `$LIIF_SHARED`, else ../shared."""
    named = os.environ.get("LIIF_SHARED")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("no shared material (LIIF_SHARED)")
    return folder


@pytest.fixture(scope="session")
def published() -> Path:
    """The published weights, converted, out of the cache of whoever runs the tests."""
    path = _OWN_HOME / "weights" / f"{_PUBLISHED}.safetensors"
    if not path.is_file():
        pytest.skip(f"no published weights here (liif weights pull {_PUBLISHED})")
    return path


@pytest.fixture(scope="session", params=list(TINY))
def tiny_model(request: pytest.FixtureRequest) -> Model:
    """Small models with random weights, one with either decoder."""
    from liif_cli.nn.model import build

    return build(TINY[request.param], seed=1).eval()


@pytest.fixture(scope="session")
def photo() -> Picture:
    """A small picture with slopes, edges and grain, (30, 44, 3) uint8."""
    y, x = np.mgrid[0:30, 0:44]
    slopes = np.stack([6 * y + 2 * x, 200 - 3 * x, 90 + 40 * np.sin(x / 5 + y / 9)], axis=-1)
    edges = 70.0 * ((y - 14) ** 2 + (x - 20) ** 2 < 90)[..., None]
    grain = np.random.default_rng(7).normal(0, 4, (30, 44, 3))
    return Picture(pixels=(slopes + edges + grain).clip(0, 255).astype(np.uint8))


class ReaderHere:
    """Reads in this process: a child for each test would take long, and has its own tests."""

    def __enter__(self) -> ReaderHere:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        pass

    def read(
        self, source: Path | bytes, *, max_pixels: int | None = None, name: str | None = None
    ) -> Picture:
        from liif_cli.image.read import read

        return read(source, max_pixels=max_pixels, name=name)

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """All disks are full: there is no place for a temporary file."""
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: ["/nowhere"])

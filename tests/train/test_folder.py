"""Folders of training pictures: what is found, held out, left out, and kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liif_cli.errors import TrainingError
from liif_cli.train.folder import find, load, split
from liif_cli.train.recipe import Samples

PAIRED = Samples(pairs="paired", patch_px=8)


def save(path: Path, width: int = 40, height: int = 30, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name)).integers(0, 256, (height, width, len(mode)), np.uint8)
    Image.fromarray(noise.squeeze()).save(path)
    return path


def names(folder: Path, samples: Samples | None = None) -> list[str]:
    return [source.name for source in find(folder, samples or Samples())]


def test_all_folders_are_searched_but_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.png", "a/c.png", "a/d/e.png", ".git/f.png", ".hidden.png"):
        save(tmp_path / name)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert names(tmp_path) == ["a/c.png", "a/d/e.png", "b.png"]


def test_the_samples_of_a_run_are_not_trained_on(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "runs" / "one" / "samples" / "step-1.png")
    for name in ("recipe.toml", "run.json"):
        (tmp_path / "runs" / "one" / name).touch()
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize("samples", [Samples(), PAIRED], ids=["reduce", "paired"])
def test_a_folder_without_files_is_refused(tmp_path: Path, samples: Samples) -> None:
    for name in ("HR", "LR"):
        (tmp_path / name).mkdir()
    with pytest.raises(TrainingError, match="no files"):
        find(tmp_path, samples)
    with pytest.raises(TrainingError, match="no such folder"):
        find(tmp_path / "missing", samples)


def test_pairs_are_found_by_name(tmp_path: Path) -> None:
    for high, low in (("a", "a"), ("b", "bx4"), ("c/d", "c/dx2.5")):
        save(tmp_path / "HR" / f"{high}.png")
        save(tmp_path / "LR" / f"{low}.png", 10, 10)
    found = find(tmp_path, PAIRED)
    assert [s.low and s.low.name for s in found] == ["a.png", "bx4.png", "dx2.5.png"]


def test_a_picture_without_its_partner_is_named(tmp_path: Path) -> None:
    save(tmp_path / "HR" / "a.png")
    save(tmp_path / "LR" / "b.png")
    with pytest.raises(TrainingError, match=r"a\.png: no partner"):
        find(tmp_path, PAIRED)
    with pytest.raises(TrainingError, match="HR/ and LR/"):
        find(tmp_path / "HR", PAIRED)


@pytest.mark.parametrize(("count", "held"), [(2, 1), (20, 1), (40, 2), (1000, 50), (3000, 50)])
def test_a_twentieth_is_held_out_and_always_the_same(tmp_path: Path, count: int, held: int) -> None:
    path = save(tmp_path / "a.png")
    sources = find(path.parent, Samples()) * count
    train, val = split(sources, seed=4)
    assert (len(train), len(val)) == (count - held, held)
    assert split(sources, seed=4) == (train, val)


def test_one_picture_is_not_enough(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    with pytest.raises(TrainingError, match="one picture"):
        split(find(tmp_path, Samples()), seed=1)


def test_unreadable_and_small_pictures_are_listed_once_and_left_out(tmp_path: Path) -> None:
    save(tmp_path / "good.png")
    save(tmp_path / "grey.png", mode="L")
    save(tmp_path / "alpha.png", mode="RGBA")
    save(tmp_path / "small.png", 12, 40)
    (tmp_path / "text.png").write_text("no picture")
    samples = Samples(patch_px=8, reduce_max=1.3, copies=2)
    kept = load(find(tmp_path, samples), samples, smallest_px=20, seed=1, limit_bytes=10**8)
    assert [p.name for p in kept.photos] == ["alpha.png"] * 2 + ["good.png"] * 2 + ["grey.png"] * 2
    assert all(p.pixels.dtype == np.uint8 and p.pixels.shape[2] == 3 for p in kept.photos)
    assert all(min(p.pixels.shape[:2]) >= 20 for p in kept.photos)
    small, text = kept.left_out
    assert "small.png: 12x40 is less than 20" in small
    assert "text.png" in text


def test_more_pictures_than_memory_are_refused(tmp_path: Path) -> None:
    for i in range(5):
        save(tmp_path / f"{i}.png")
    with pytest.raises(TrainingError, match="of memory are taken"):
        load(find(tmp_path, Samples()), Samples(), smallest_px=8, seed=1, limit_bytes=8000)


def test_pairs_of_other_sizes_are_left_out(tmp_path: Path) -> None:
    for name, size in (("a", (40, 30)), ("b", (41, 30))):
        save(tmp_path / "HR" / f"{name}.png", *size)
        save(tmp_path / "LR" / f"{name}.png", 20, 15)
    kept = load(find(tmp_path, PAIRED), PAIRED, smallest_px=8, seed=1, limit_bytes=10**8)
    assert [p.name for p in kept.photos] == ["a.png"]
    assert "no whole multiple" in kept.left_out[0]

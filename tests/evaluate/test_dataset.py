"""Which files belong together, and that nothing wrong is measured in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liif_cli.errors import LiifError, PictureError, UsageError
from liif_cli.evaluate import dataset
from liif_cli.evaluate.dataset import DataSet, Sample
from liif_cli.evaluate.metrics import METRICS
from liif_cli.evaluate.protocol import BENCHMARK, DIV2K, Scale
from tests.evaluate.pictures import benchmark_folder, grained

TWO, SIX = Scale(x=2, y=2), Scale(x=6, y=6)
PSNR = (METRICS["psnr"],)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Set3 with HR and LR at x2."""
    return benchmark_folder(tmp_path / "Set3", "ant", "bee", "cow")


def checked(folder: Path, *scales: Scale, border: tuple[int, int] | None = None) -> DataSet:
    found = dataset.find(folder, scales or (TWO,), BENCHMARK)
    return dataset.check(found, scales or (TWO,), BENCHMARK, PSNR, border=border)


def refused(folder: Path, *scales: Scale, border: tuple[int, int] | None = None) -> LiifError:
    with pytest.raises(LiifError) as caught:
        checked(folder, *scales, border=border)
    return caught.value


def test_a_benchmark_folder_is_paired_by_name(folder: Path) -> None:
    found = checked(folder, TWO, SIX)
    assert found.name == "Set3"
    assert [sample.image for sample in found.samples] == ["ant", "bee", "cow"]
    assert [sample.lr[TWO].name for sample in found.samples] == ["antx2.png", "beex2.png", "cowx2.png"]
    two, six = found.samples[1].pairs((TWO, SIX))
    assert (two.source, six.source) == ("files", "bicubic")
    assert np.array_equal(two.lr.pixels, np.asarray(Image.open(folder / "LR_bicubic/X2/beex2.png")))
    assert found.samples[1].size == (52, 49)


def test_the_hr_folder_itself_may_be_named(folder: Path) -> None:
    found = checked(folder / "HR")
    assert found.name == "Set3" and TWO in found.samples[0].lr


def test_a_folder_of_pictures_has_its_lr_made(tmp_path: Path) -> None:
    Image.fromarray(grained(40, 40).pixels).save(tmp_path / "a.PNG")
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / ".hidden.png").write_text("nor this")
    found = checked(tmp_path)
    assert [sample.image for sample in found.samples] == ["a"]
    assert next(iter(found.samples[0].pairs((TWO,)))).source == "bicubic"


def test_div2k_finds_its_lr_files_beside_the_hr_folder(tmp_path: Path) -> None:
    there = benchmark_folder(tmp_path / "set", "0801", side=60)
    hr, lr = tmp_path / "DIV2K_valid_HR", tmp_path / "DIV2K_valid_LR_bicubic"
    (there / "HR").rename(hr)
    (there / "LR_bicubic").rename(lr)
    found = dataset.find(hr, (TWO,), DIV2K)
    assert found.name == "DIV2K_valid_HR"
    assert found.samples[0].lr[TWO] == lr.absolute() / "X2" / "0801x2.png"


def test_lr_files_above_x4_are_not_taken_unless_asked_for(folder: Path) -> None:
    benchmark_folder(folder, "ant", "bee", "cow", scales=(6,))
    assert SIX not in dataset.find(folder, (SIX,), BENCHMARK).samples[0].lr
    asked = dataset.find(folder, (SIX,), BENCHMARK, lr_dir=folder / "LR_bicubic")
    assert asked.samples[0].lr[SIX].name == "antx6.png"


def test_other_lr_files_are_taken_for_one_scale_from_the_folder_itself(folder: Path) -> None:
    found = dataset.find(folder, (TWO,), BENCHMARK, lr_dir=folder / "LR_bicubic" / "X2")
    assert found.samples[2].lr[TWO].name == "cowx2.png"
    with pytest.raises(UsageError, match="X6: no such folder"):
        dataset.find(folder, (TWO, SIX), BENCHMARK, lr_dir=folder / "LR_bicubic")


def test_a_limit_takes_the_first_by_name_and_still_checks_the_pairing(folder: Path) -> None:
    assert [s.image for s in dataset.find(folder, (TWO,), BENCHMARK, limit=2).samples] == ["ant", "bee"]
    (folder / "LR_bicubic/X2/cowx2.png").unlink()
    with pytest.raises(UsageError, match=r"cow\.png"):
        dataset.find(folder, (TWO,), BENCHMARK, limit=2)


def test_a_picture_without_lr_is_named_with_both_counts(folder: Path) -> None:
    (folder / "LR_bicubic/X2/beex2.png").unlink()
    error = refused(folder)
    assert isinstance(error, UsageError)
    assert "HR/bee.png: no LR picture" in str(error) and "(3 HR pictures, 2 LR)" in str(error)
    assert error.hint == "bee.png goes with beex2.png"


def test_lr_without_a_picture_is_named(folder: Path) -> None:
    (folder / "HR/bee.png").unlink()
    assert "X2/beex2.png: no HR picture (2 HR pictures, 3 LR)" in str(refused(folder))


def test_a_missing_scale_among_lr_folders_is_no_reason_to_make_them(folder: Path) -> None:
    error = refused(folder, TWO, Scale(x=3, y=3))
    assert "LR_bicubic: has no folder X3" in str(error)


def test_lr_of_another_size_is_named(folder: Path) -> None:
    path = folder / "LR_bicubic/X2/beex2.png"
    Image.open(path).crop((0, 0, 25, 24)).save(path)
    error = refused(folder)
    assert isinstance(error, UsageError)
    assert str(error).endswith("beex2.png: 25x24 pixels, but its HR picture (52x49) at x2 asks for 26x24")


def test_an_unreadable_picture_is_named(folder: Path) -> None:
    path = folder / "HR/bee.png"
    path.write_bytes(path.read_bytes()[:200])
    error = refused(folder)
    assert isinstance(error, PictureError) and "bee.png" in str(error)


def test_all_that_is_wrong_is_named_at_once(folder: Path) -> None:
    for name in ("HR/ant.png", "LR_bicubic/X2/cowx2.png"):
        (folder / name).write_bytes(b"no picture")
    error = refused(folder)
    assert str(error).startswith("Set3: 2 pictures cannot be measured")
    assert "ant.png" in str(error) and "cowx2.png" in str(error) and "bee" not in str(error)


def test_a_border_larger_than_the_picture_is_named(folder: Path) -> None:
    error = refused(folder, TWO, border=(24, 2))
    assert "ant.png: 48x48 pixels, too few for a border of 2x24 (x2)" in str(error)


def test_a_metric_with_a_window_needs_that_much_inside_the_border(folder: Path) -> None:
    found = dataset.find(folder, (TWO,), BENCHMARK)
    dataset.check(found, (TWO,), BENCHMARK, PSNR, border=(20, 20))
    with pytest.raises(UsageError, match="too few for a border"):
        dataset.check(found, (TWO,), BENCHMARK, (METRICS["ssim"],), border=(20, 20))


def test_a_scale_larger_than_the_picture_is_named(folder: Path) -> None:
    error = refused(folder, Scale(x=60, y=50))
    assert "ant.png: 49x48 pixels are less than one input pixel at x60x50" in str(error)


def test_transparency_is_refused_and_full_opacity_is_not(tmp_path: Path) -> None:
    rgba = np.dstack([grained(40, 40).pixels, np.full((40, 40), 255, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert next(iter(checked(tmp_path).samples[0].pairs((TWO,)))).hr.alpha is None
    rgba[0, 0, 3] = 254
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert "a.png: transparency" in str(refused(tmp_path))


def test_an_empty_or_missing_folder_is_named(tmp_path: Path) -> None:
    assert "there is no picture in it" in str(refused(tmp_path))
    assert "gone: no such folder" in str(refused(tmp_path / "gone"))
    (tmp_path / "a.png").write_bytes(b"")
    assert "is a file, not a folder" in str(refused(tmp_path / "a.png"))


def test_two_pictures_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp"):
        Image.fromarray(grained(40, 40).pixels).save(tmp_path / name)
    assert "a.png: a.bmp has the same name before the dot" in str(refused(tmp_path))


def test_digests_tell_changed_files_apart(folder: Path) -> None:
    before = checked(folder, TWO, SIX).samples
    path = folder / "LR_bicubic/X2/antx2.png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    after = checked(folder, TWO, SIX).samples

    def digests(samples: tuple[Sample, ...], scale: Scale) -> list[str]:
        return [sample.sha256[scale] for sample in samples]

    assert digests(before, TWO)[1:] == digests(after, TWO)[1:]
    assert digests(before, TWO)[0] != digests(after, TWO)[0]
    assert digests(before, SIX) == digests(after, SIX)

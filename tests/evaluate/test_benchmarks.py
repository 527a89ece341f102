"""The figures that others published, on the pictures they published them for (LIIF.md 5)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from liif_cli.evaluate import dataset
from liif_cli.evaluate.baselines import Upscale, bicubic, lanczos
from liif_cli.evaluate.metrics import METRICS, cropped, luma
from liif_cli.evaluate.protocol import BENCHMARK, Pair, Scale, compare, means, score
from liif_cli.evaluate.published import beside

SCALES = tuple(Scale(x=s, y=s) for s in (2.0, 3.0, 4.0, 6.0, 8.0))


def pairs(shared: Path, name: str) -> list[Pair]:
    folder = shared / "benchmarks" / name
    if not folder.is_dir():
        pytest.skip(f"no {name} in the shared material")
    found = dataset.find(folder, SCALES, BENCHMARK)
    return [pair for sample in found.samples for pair in sample.pairs(SCALES)]


def off(upscale: Upscale, model: str, name: str, shared: Path) -> dict[str, float]:
    """By scale: how many dB the mean is away from the published one."""
    row = beside(model, name, "benchmark", weights=False)
    assert row is not None
    found = means(score(upscale, pairs(shared, name), BENCHMARK))
    return {str(scale): round(abs(found[scale, "psnr"] - row.psnr[scale]), 4) for scale in SCALES}


@pytest.mark.parametrize("name", ["Set5", "Set14"])
@pytest.mark.parametrize(("upscale", "model"), [(bicubic, "bicubic"), (lanczos, "lanczos")])
def test_pillows_filters_have_their_published_figures(
    upscale: Upscale, model: str, name: str, shared: Path
) -> None:
    # printed to a thousandth, so half of that and a little for the last digit of float sums
    assert max(off(upscale, model, name, shared).values()) <= 0.001


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Set5", "Set14"])
def test_the_published_model_has_its_ten_figures(name: str, shared: Path, published: Path) -> None:
    from liif_cli.api import Upscaler

    with Upscaler(published, device="cpu", precision="fp32") as upscaler:
        found = off(partial(upscaler.upscale, as_float=True), "edsr-baseline-liif", name, shared)
    assert max(found.values()) <= 0.002, found


def test_ssim_of_a_real_result_is_that_of_scikit_image(shared: Path) -> None:
    from skimage.metrics import structural_similarity

    for pair in pairs(shared, "Set5")[:10]:
        it = compare(lanczos, pair, BENCHMARK)
        theirs = structural_similarity(  # type: ignore[no-untyped-call]
            cropped(luma(it.result), it.border),
            cropped(luma(it.truth), it.border),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
        )
        assert METRICS["ssim"].value(it) == pytest.approx(theirs, abs=1e-4)

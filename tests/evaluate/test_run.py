"""Whole runs with small upscalers: order, continuing, saving, gates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liif_cli.engine.target import Target
from liif_cli.errors import LiifError, UsageError
from liif_cli.evaluate import dataset
from liif_cli.evaluate.metrics import METRICS
from liif_cli.evaluate.protocol import BENCHMARK, Scale, means, score
from liif_cli.evaluate.results import Journal, Row, mean_rows
from liif_cli.evaluate.run import Contestant, Run, Step, measure, remaining, with_baselines
from liif_cli.image.picture import Picture
from tests.evaluate.pictures import benchmark_folder, nearest

SCALES = (Scale(x=2, y=2), Scale(x=2.5, y=3))


class Counting:
    """The nearest-pixel upscaler, counting; it may be told to fail at its n-th call."""

    def __init__(self, fail_at: int = 0) -> None:
        self.calls = 0
        self.fail_at = fail_at

    def __call__(self, picture: Picture, target: Target) -> Picture:
        self.calls += 1
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        return nearest(picture, target)


Make = Callable[..., Run]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A run of one model (and baselines) over three pictures at two scales."""
    folder = benchmark_folder(tmp_path / "Set3", "ant", "bee", "cow")

    def made(
        model: Counting,
        *,
        baselines: tuple[str, ...] = (),
        metrics: tuple[str, ...] = ("psnr",),
        sha256: str = "aa",
        pictures: Path | None = None,
        border: tuple[int, int] | None = None,
    ) -> Run:
        asked = tuple(METRICS[name] for name in metrics)
        data = dataset.check(dataset.find(folder, SCALES, BENCHMARK), SCALES, BENCHMARK, asked)
        contestant = Contestant(name="near", upscale=model, sha256=sha256, precision="fp32")
        return Run(
            contestants=with_baselines([contestant], baselines),
            datasets=(data,),
            scales=SCALES,
            protocol=BENCHMARK,
            metrics=asked,
            pictures=pictures,
            border=border,
        )

    return made


def rows_of(steps: list[Step]) -> list[Row]:
    return [row for step in steps for row in step.rows]


def test_every_contestant_meets_every_picture_at_every_scale(make: Make) -> None:
    run = make(Counting(), baselines=("bicubic", "lanczos", "x4-lanczos"), metrics=("psnr", "ssim"))
    rows = rows_of(list(measure(run)))
    names = ["bicubic", "lanczos", "near x4-lanczos", "near"]
    assert [contestant.name for contestant in run.contestants] == names
    keys = {(r.way.model, r.image, r.way.scale, r.way.metric) for r in rows}
    assert len(rows) == len(keys) == 4 * 3 * 2 * 2
    assert {(r.way.scale, r.way.lr, r.way.border) for r in rows} == {
        (SCALES[0], "files", (2, 2)),
        (SCALES[1], "bicubic", (3, 3)),
    }


def test_a_run_gives_what_the_core_gives(make: Make) -> None:
    run = make(Counting())
    pairs = [pair for sample in run.datasets[0].samples for pair in sample.pairs(SCALES)]
    expected = means(score(nearest, pairs, BENCHMARK))
    found = {(m.way.scale, m.way.metric): m.mean for m in mean_rows(rows_of(list(measure(run))))}
    assert found == expected


def test_a_border_of_ones_own_is_measured_with_and_kept_as_such(make: Make) -> None:
    run = make(Counting(), border=(7, 5))
    pairs = [pair for sample in run.datasets[0].samples for pair in sample.pairs(SCALES)]
    rows = rows_of(list(measure(run)))
    assert [row.value for row in rows] == [s.value for s in score(nearest, pairs, BENCHMARK, border=(7, 5))]
    assert {row.way.border for row in rows} == {(7, 5)}


def test_an_interrupted_run_does_only_what_is_missing(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    with Journal(path) as journal, pytest.raises(KeyboardInterrupt):
        list(measure(make(Counting(fail_at=4)), journal))
    again = Counting()
    with Journal(path) as journal:
        run = make(again)
        assert [str(task) for task in remaining(run, journal)] == [str(task) for task in run.tasks()][3:]
        steps = list(measure(run, journal))
    assert again.calls == 3
    assert [step.kept for step in steps] == [True] * 3 + [False] * 3
    assert rows_of(steps) == rows_of(list(measure(make(Counting()))))


def test_a_baseline_added_later_stands_where_it_would_have_stood(make: Make, tmp_path: Path) -> None:
    with Journal(tmp_path / "scores.jsonl") as journal:
        list(measure(make(Counting()), journal))
        again = Counting()
        steps = list(measure(make(again, baselines=("x4-lanczos",)), journal))
    assert again.calls == 6
    assert [row.way.model for row in rows_of(steps)] == ["near x4-lanczos", "near"] * 6
    assert rows_of(steps) == rows_of(list(measure(make(Counting(), baselines=("x4-lanczos",)))))


def test_a_changed_model_file_is_measured_anew(make: Make, tmp_path: Path) -> None:
    with Journal(tmp_path / "scores.jsonl") as journal:
        list(measure(make(Counting(), sha256="aa"), journal))
        changed = Counting()
        list(measure(make(changed, sha256="bb"), journal))
        assert changed.calls == 6
        same = Counting()
        list(measure(make(same, sha256="aa"), journal))
        assert same.calls == 0


def test_another_metric_is_measured_without_losing_the_first(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    with Journal(path) as journal:
        list(measure(make(Counting()), journal))
        list(measure(make(Counting(), metrics=("psnr", "ssim")), journal))
    assert len(path.read_text().splitlines()) == 12


def test_results_are_saved_in_8_bits_by_data_set_model_and_scale(make: Make, tmp_path: Path) -> None:
    run = make(Counting(), baselines=("bicubic",), pictures=tmp_path / "out")
    list(measure(run))
    saved = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.png")}
    assert len(saved) == 2 * 3 * 2
    assert {"Set3/near/x2/ant.png", "Set3/bicubic/x2.5x3/cow.png"} <= saved
    ant = next(iter(run.datasets[0].samples[0].pairs(SCALES[:1])))
    expected = nearest(ant.lr, Target(size=(ant.hr.width, ant.hr.height))).pixels
    written = np.asarray(Image.open(tmp_path / "out/Set3/near/x2/ant.png"))
    assert np.array_equal(written, np.floor(expected * 255 + 0.5))


def test_a_finished_row_without_its_picture_is_done_again(make: Make, tmp_path: Path) -> None:
    with Journal(tmp_path / "scores.jsonl") as journal:
        list(measure(make(Counting(), pictures=tmp_path / "out"), journal))
        (tmp_path / "out/Set3/near/x2/bee.png").unlink()
        again = Counting()
        list(measure(make(again, pictures=tmp_path / "out"), journal))
    assert again.calls == 1
    assert (tmp_path / "out/Set3/near/x2/bee.png").exists()


def test_a_model_named_by_a_path_saves_below_the_folder(make: Make, tmp_path: Path) -> None:
    run = make(Counting())
    task = next(run.tasks())
    elsewhere = Contestant(name="../../runs/a b/weights.safetensors", upscale=nearest)
    path = type(task)(data=task.data, sample=task.sample, scale=task.scale, contestant=elsewhere).picture(
        tmp_path
    )
    assert path == tmp_path / "Set3" / ".._.._runs_a_b_weights.safetensors" / "x2" / "ant.png"


def test_a_diverged_model_is_an_error_with_its_name(make: Make) -> None:
    class Diverged(Counting):
        def __call__(self, picture: Picture, target: Target) -> Picture:
            result = nearest(picture, target)
            return Picture(pixels=np.full_like(result.pixels, np.nan))

    with pytest.raises(LiifError, match="near: the result for ant at x2 is not all numbers"):
        list(measure(make(Diverged())))


def test_an_unknown_baseline_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        with_baselines([], ("lancsos",))
    assert caught.value.hint == "did you mean 'lanczos'?"


def test_the_shortcut_costs_its_x4_pixels() -> None:
    model = Contestant(name="m", upscale=nearest, cost=lambda given, output: 10 * given + output)
    shortcut, _ = with_baselines([model], ("x4-lanczos",))
    assert shortcut.cost(100, 999) == 10 * 100 + 1600

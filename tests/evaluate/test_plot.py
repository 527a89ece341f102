"""The plot: every contestant is in it, and it is whole or absent."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from liif_cli.errors import LiifError, UsageError
from liif_cli.evaluate import plot
from liif_cli.evaluate.results import Mean
from tests.evaluate.test_tables import mean

NAMES = ("bicubic", "lanczos", "edsr-baseline-liif x4-lanczos", "edsr-baseline-liif")


def means() -> list[Mean]:
    return [mean(name, scale, 40 - scale + 2 * i) for i, name in enumerate(NAMES) for scale in (2, 2.5, 4)]


def test_a_plot_is_a_picture_of_some_size(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot.plot(means(), tmp_path / "p.png", against_paper=True)
    with Image.open(tmp_path / "p.png") as drawn:
        assert drawn.width > 600 and drawn.height > 400
        assert len(drawn.convert("RGB").getcolors(1 << 24) or ()) > 50


def test_every_contestant_and_scale_is_named_in_it(tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        plot.plot(means(), tmp_path / "p.svg", against_paper=True)
    text = (tmp_path / "p.svg").read_text()
    for word in (
        *NAMES,
        "official code: EDSR-baseline-LIIF",
        "x2",
        "x2.5",
        "x4",
        "PSNR (dB)",
        "above bicubic (dB)",
        "Set5",
    ):
        assert f">{word}" in text, word


def test_an_existing_plot_stays_unless_it_may_be_replaced(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "p.png").write_bytes(b"mine")
    with pytest.raises(LiifError):
        plot.plot(means(), tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes() == b"mine"
    plot.plot(means(), tmp_path / "p.png", overwrite=True)
    assert (tmp_path / "p.png").read_bytes() != b"mine"


def test_without_matplotlib_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot, "find_spec", lambda _: None)
    with pytest.raises(UsageError) as caught:
        plot.check(Path("p.png"))
    assert "matplotlib" in str(caught.value) and caught.value.hint == 'pip install "liif-cli[plot]"'


def test_a_name_that_is_no_plot_is_refused() -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(UsageError, match="not a name for a plot"):
        plot.check(Path("scores.csv"))

"""The rendered training pictures: repeatable, and free of what drawing on a grid can do wrong."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import render_pictures
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given
from hypothesis import strategies as st
from packages import PackageError
from PIL import Image
from render_pictures import ASSETS, SHARES, Asset, Scene, assets, collect, kind, main, name, paint
from scenes.canvas import OVERSAMPLE, Canvas, rasterised, stripes
from scenes.lettering import SCRIPTS, Typeface, advance, outline, typefaces, words
from scenes.parts import Supplies, between, ink, luma, tilt

SVG = 'xmlns="http://www.w3.org/2000/svg"'
SQUARE = f'<svg {SVG} width="40" height="40"><rect x="10" y="15" width="20" height="10"/></svg>'


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages: a typeface of boxes that knows all letters, and a drawing."""
    root = tmp_path_factory.mktemp("packages")
    (root / "boxes" / "fonts").mkdir(parents=True)
    letters = sorted({*map(ord, "".join(SCRIPTS.values())), *range(32, 127)})
    glyphs = [".notdef", *(f"u{code:x}" for code in letters)]
    pen = TTGlyphPen(None)
    for at, draw in zip(
        [(100, 0), (100, 700), (500, 700), (500, 0)], ["moveTo"] + 3 * ["lineTo"], strict=True
    ):
        getattr(pen, draw)(at)
    pen.closePath()
    box = pen.glyph()
    font = FontBuilder(1000)
    font.setupGlyphOrder(glyphs)
    font.setupCharacterMap({code: f"u{code:x}" for code in letters})
    font.setupGlyf(dict.fromkeys(glyphs, box))
    font.setupHorizontalMetrics(dict.fromkeys(glyphs, (600, 100)))
    font.setupHorizontalHeader()
    font.setupNameTable({"familyName": "Boxes"})
    font.setupOS2()
    font.setupPost()
    font.save(root / "boxes" / "fonts" / "boxes.ttf")
    (root / "art").mkdir()
    flag = '<rect width="40" height="20"/><path d="M0 9H40" stroke="#fc0" stroke-width="4"/>'
    padding = f"<!--{'x' * 13_000}-->"  # enough of a file to count as a drawing
    (root / "art" / "flag.svg").write_text(f'<svg {SVG} width="40" height="20">{flag}{padding}</svg>')
    return root


LISTED = [
    Asset(package="boxes", version="1", use="fonts", folder="fonts", licence="CC0-1.0"),
    Asset(package="art", version="1", use="icons", folder=".", licence="CC0-1.0"),
    Asset(package="art", version="1", use="drawings", folder=".", licence="CC0-1.0"),
]


@pytest.fixture(scope="module")
def supplies(material: Path) -> Supplies:
    return collect(LISTED, material)


@pytest.fixture(scope="module")
def face(supplies: Supplies) -> Typeface:
    return supplies.faces[0]


# --- the set


def test_every_hundred_pictures_hold_the_same_shares() -> None:
    assert sum(SHARES.values()) == 100
    for first in (0, 100, 900):
        assert Counter(kind(3, number) for number in range(first, first + 100)) == Counter(SHARES)


@pytest.mark.parametrize("scene", SHARES)
def test_a_picture_is_the_same_every_time_and_not_empty(scene: Scene, supplies: Supplies) -> None:
    number = next(number for number in itertools.count() if kind(5, number) is scene)
    first, again = (paint(5, number, supplies, (128, 144)) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert first.mode == "RGB" and set(first.size) <= {128, 144}
    assert np.asarray(first).std() > 3


def test_another_number_or_seed_of_one_kind_is_another_picture(supplies: Supplies) -> None:
    numbers = [number for number in range(200) if kind(1, number) is kind(2, number)][:2]
    drawn = {paint(seed, number, supplies, (128, 128)).tobytes() for seed in (1, 2) for number in numbers}
    assert len(drawn) == 4


def test_a_second_run_draws_only_what_is_missing(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(render_pictures, "assets", lambda: LISTED)
    monkeypatch.setattr(render_pictures, "SIDE_PX", (128, 128))
    arguments = [str(tmp_path), "--assets", str(material), "--count", "2", "--seed", "9"]
    assert main(arguments) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(before) == {name(9, 0), name(9, 1)}
    (tmp_path / name(9, 1)).unlink()
    assert main(arguments) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert "2 pictures are there, 1 of them new" in capsys.readouterr().out


def test_a_package_that_cannot_be_had_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(package: str, version: str, tree: Path) -> None:
        raise PackageError(f"{package} cannot be downloaded")

    monkeypatch.setattr(render_pictures, "fetch", refuse)
    assert main([str(tmp_path / "out"), "--assets", str(tmp_path), "--count", "1"]) == 1
    assert "cannot be downloaded" in capsys.readouterr().err


def test_the_assets_are_listed_with_a_known_use_and_a_licence() -> None:
    listed = assets()
    assert {asset.use for asset in listed} == {"fonts", "icons", "drawings"}
    assert all(asset.licence for asset in listed)
    assert all(asset.licence == "LicenseRef-public-domain" for asset in listed if asset.use != "fonts")


def test_the_readme_names_every_package_that_is_drawn_with() -> None:
    readme = ASSETS.with_name("README.md").read_text(encoding="utf-8")
    assert all(f"| {asset.package} | {asset.version} |" in readme for asset in assets())


def test_drawings_with_photographs_or_text_in_them_are_left_out(material: Path, tmp_path: Path) -> None:
    for number, content in enumerate(["<image/>", "<text>a</text>", "<rect/>"]):
        (tmp_path / f"{number}.svg").write_text(f"<svg>{content}</svg>")
    listed = [Asset(package=".", version="1", use="icons", folder=".", licence="CC0-1.0")]
    assert [path.name for path in collect(listed, tmp_path).icons] == ["2.svg"]


# --- the canvas


@given(slope=st.floats(0.001, 0.1), duty=st.floats(0.1, 0.9))
def test_stripes_and_gaps_of_a_sample_or_more_cover_their_shares(slope: float, duty: float) -> None:
    phase = np.broadcast_to(np.arange(4000, dtype=np.float32) * np.float32(slope), (2, 4000))
    periods = 4000 * slope
    assert stripes(phase, duty).mean() == pytest.approx(duty, abs=0.02 + 1 / periods)


def test_stripes_too_fine_for_the_grid_become_their_mean() -> None:
    phase = np.broadcast_to(np.arange(100, dtype=np.float32) * np.float32(0.6), (2, 100))
    assert np.allclose(stripes(phase, 0.3), 0.3, atol=1e-6)


def test_a_jump_of_the_phase_by_a_whole_number_is_not_seen() -> None:
    phase = np.broadcast_to(np.arange(200, dtype=np.float32) / np.float32(25), (2, 200))
    jumped = phase + np.float32(7) * (np.arange(200) > 90)
    assert np.allclose(stripes(phase), stripes(jumped.astype(np.float32)), atol=1e-4)


def test_warping_to_the_same_place_changes_nothing() -> None:
    canvas = Canvas(24, 16, (10, 20, 30))
    canvas.draw('<circle cx="9" cy="8" r="5" fill="#fa0"/>')
    before = canvas.picture(Image.Resampling.BOX)
    x, y = canvas.axes()
    canvas.warp(*np.broadcast_arrays(x, y))
    inner = (1, 1, 23, 15)
    assert canvas.picture(Image.Resampling.BOX).crop(inner).tobytes() == before.crop(inner).tobytes()


@pytest.mark.parametrize("seed", range(8))
def test_a_tilted_sheet_still_fills_the_picture(seed: int) -> None:
    canvas = Canvas(48, 64, (255, 255, 255))
    tilt(np.random.default_rng(seed), canvas, 1.5)
    assert np.asarray(canvas.picture(Image.Resampling.BOX))[1:-1, 1:-1].min() == 255


def test_what_is_drawn_lies_where_it_should_with_soft_edges() -> None:
    canvas = Canvas(10, 8, (0, 0, 0))
    canvas.draw('<rect x="2" y="1" width="3.5" height="4" fill="#fff"/>')
    pixels = np.asarray(canvas.picture(Image.Resampling.BOX))[..., 0]
    assert pixels[1:5, 2:5].min() == 255 and abs(int(pixels[2, 5]) - 128) <= 1
    assert int(pixels.sum()) == pytest.approx(255 * 14, rel=0.01)


def test_painting_through_half_a_cover_is_half_the_colour() -> None:
    canvas = Canvas(4, 4, (100, 100, 100))
    canvas.paint((200, 0, 100), np.full((4 * OVERSAMPLE, 4 * OVERSAMPLE), 0.5, np.float32))
    assert canvas.picture(Image.Resampling.BOX).getpixel((1, 1)) == (150, 50, 100)


def test_a_drawing_is_cut_out_of_its_page_at_the_asked_size(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text(SQUARE)
    drawn = rasterised(tmp_path / "a.svg", 80)
    assert drawn is not None
    assert drawn.width == pytest.approx(80, abs=2) and drawn.height == pytest.approx(40, abs=2)


@pytest.mark.parametrize("content", ["", "<svg", SQUARE.replace("rect", "g"), SQUARE.replace("20", "2")])
def test_a_drawing_with_nothing_to_see_is_passed_over(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text(content)
    assert rasterised(tmp_path / "a.svg", 80) is None


# --- letters and colours


def test_a_typeface_is_offered_for_the_scripts_it_can_write(material: Path) -> None:
    (found,) = typefaces(material)
    assert found.scripts == tuple(SCRIPTS)


@given(text=st.text("abcde ", max_size=12), size=st.floats(5, 100))
def test_the_pen_moves_by_the_letters_widths(text: str, size: float, face: Typeface) -> None:
    assert advance(face, text, size) == pytest.approx(0.6 * size * len(text))


def test_letters_are_drawn_one_after_the_other_and_unknown_ones_left_out(face: Typeface) -> None:
    assert outline(face, "a", 10) == outline(face, "a\N{SNOWMAN}", 10)
    assert outline(face, "ab", 10).count("M") == 2
    assert "M7.00 0.00" in outline(face, "ab", 10)  # the second box: 0.6 em further
    assert "M9.00 0.00" in outline(face, "ab", 10, spacing=2)


@pytest.mark.parametrize("script", SCRIPTS)
def test_words_are_made_of_the_letters_of_their_script(script: str) -> None:
    made = "".join(words(np.random.default_rng(2), script, 200))
    assert set(made.lower()) <= {*SCRIPTS[script], *SCRIPTS[script].lower(), *"0123456789.,:?!"}


@given(seed=st.integers(0, 10_000), grey=st.integers(0, 255))
def test_ink_stands_out_from_its_paper(seed: int, grey: int) -> None:
    assert abs(luma(ink(np.random.default_rng(seed), (grey, grey, grey))) - grey) > 45


@given(seed=st.integers(0, 10_000), low=st.floats(0.5, 10), ratio=st.floats(1, 20))
def test_sizes_stay_between_their_bounds(seed: int, low: float, ratio: float) -> None:
    assert low * 0.999 <= between(np.random.default_rng(seed), low, low * ratio) <= low * ratio * 1.001

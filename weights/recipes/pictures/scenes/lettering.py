"""Words of many scripts and typefaces, as the outlines of SVG paths."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from fontTools.pens.recordingPen import DecomposingRecordingPen
from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.pens.transformPen import TransformPen
from fontTools.ttLib import TTFont

# Letters, each about as often as its languages use it. Scripts whose letters change with their neighbours
# (Arabic, the Indic ones) are left out: here every letter stands alone.
SCRIPTS = {
    "latin": "eeeeeeeeeeetttttttaaaaaaaoooooooiiiiiinnnnnnssssssrrrrrhhhhhdddllluuucccmmmwwffggyyppbbvkjxqz",
    "accents": "eeeeeeaaaaaiiiiooooonnnnrrrrttttssslldducmmpgbhéèüöäßçñåøłšžőęěã",
    "greek": "ααααοοοιιιεεετττσσσννηηηυυυρρρπππκκμμλλωωδγχθφβξζψάέίό",
    "cyrillic": "ооооооееееааааиииинннтттсссрррвввлллкккмммдддпппуууяяыыььггзззбчйхжшюцщэф",
    "hebrew": "ייייווווההההללללאאאררתתבבממשששנננעעחדפקכטגזסצ",
    "armenian": "աաաաննննեեեեոոորրիիմմսսկկլլհդտուգբզթցվպ",
    "georgian": "აააააიიიიეეეერრრნნნსსსმმმოოოდდდლლლბბვვთთგგუუშშხხცკპტჩ",
    "han": "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着",
    "kana": "のにはをたがでてとしれさあいうえおかきくけこなまみもやらりるんアイエカクコスタトナハマメラルン",
    "hangul": "가나다라마바사아자차카타파하이그는을를의에서도한있것수들지로고기인리보여만어시정대",
}
UNSPACED = {"han", "kana"}
CASED = {"latin", "accents", "greek", "cyrillic", "armenian"}


@dataclass(frozen=True, kw_only=True)
class Typeface:
    """One font file and the scripts it can write."""

    path: Path
    scripts: tuple[str, ...]


def typefaces(folder: Path) -> list[Typeface]:
    """The typefaces below a folder that can write at least one script, in the order of their paths."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in {".ttf", ".otf", ".ttc"} and not path.is_symlink():
            letters = _letters(path)
            scripts = tuple(
                name for name, sample in SCRIPTS.items() if set(map(ord, sample)) <= letters.keys()
            )
            if scripts:
                found.append(Typeface(path=path, scripts=scripts))
    return found


def words(rng: np.random.Generator, script: str, count: int) -> list[str]:
    """Made-up words, with some capitals, numbers and punctuation."""
    letters = SCRIPTS[script]
    mean = 1.2 if script in UNSPACED | {"hangul"} else 4.2
    made = []
    for _ in range(count):
        if rng.random() < 0.06:
            made.append(str(rng.integers(1, 10 ** int(rng.integers(1, 6)))))
            continue
        word = "".join(letters[i] for i in rng.integers(0, len(letters), 1 + int(rng.poisson(mean))))
        fate = rng.random()
        if script in CASED and fate < 0.2:
            word = word.capitalize() if fate < 0.15 else word.upper()
        made.append(word + (".,:?!"[int(rng.integers(5))] if rng.random() < 0.12 else ""))
    return made


def phrase(rng: np.random.Generator, script: str, count: int) -> str:
    """Several words as one text, spaced as the script does it."""
    return ("" if script in UNSPACED else " ").join(words(rng, script, count))


def advance(face: Typeface, text: str, size: float) -> float:
    """How far the pen moves for ``text`` at ``size`` pixels to the em, in pixels."""
    return size * sum(_advance(face.path, letter) for letter in text)


def outline(face: Typeface, text: str, size: float, spacing: float = 0.0) -> str:
    """``text`` as the ``d`` of an SVG path, the pen starting at (0, 0) on the baseline.

    ``size`` pixels to the em, ``spacing`` pixels between letters; letters the face lacks are left out.
    """
    letters = _letters(face.path)
    scale = size / _font(face.path)["head"].unitsPerEm
    pen = SVGPathPen(None, ntos=lambda value: f"{value:.2f}")
    x = 0.0
    for letter in text:
        if ord(letter) in letters:
            _glyph(face.path, letters[ord(letter)]).replay(TransformPen(pen, (scale, 0, 0, -scale, x, 0)))
            x += size * _advance(face.path, letter) + spacing
    return str(pen.getCommands())


@lru_cache(maxsize=64)
def _font(path: Path) -> Any:
    return TTFont(path, fontNumber=0, lazy=True)


@lru_cache(maxsize=64)
def _letters(path: Path) -> dict[int, str]:
    return _font(path).getBestCmap() or {}


@lru_cache(maxsize=8192)
def _glyph(path: Path, name: str) -> Any:
    glyphs = _font(path).getGlyphSet()
    pen = DecomposingRecordingPen(glyphs)
    glyphs[name].draw(pen)
    return pen


@cache
def _advance(path: Path, letter: str) -> float:
    name = _letters(path).get(ord(letter))
    return float(_font(path)["hmtx"][name][0] / _font(path)["head"].unitsPerEm) if name else 0.0

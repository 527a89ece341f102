"""Folders of test pictures: which files belong together, and whether all of them can be measured.

    Set5/HR/baby.png, Set5/LR_bicubic/X2/babyx2.png      the layout of EDSR's benchmark sets
    DIV2K_valid_HR/0801.png, DIV2K_valid_LR_bicubic/X2/0801x2.png      the layout of DIV2K
    holiday/a.png                                        pictures alone; LR is made from them

Everything that can be wrong is found before anything is computed, and named with its file: a mean
over the pictures that happened to work would be a number nobody can reproduce.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from liif_cli.errors import LiifError, PictureError, UsageError, no_folder
from liif_cli.evaluate.metrics import Metric
from liif_cli.evaluate.protocol import Pair, Protocol, Scale, misfit, pair
from liif_cli.image.picture import Picture, to_unit

_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".avif", ".jp2")
)
_NAMED_AT_MOST = 5


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One test picture: its HR file and, by scale, its LR files.

    sha256: by scale, the first 16 digits for the bytes of the files measured at it; filled by `check`.
    size:   (width, height) of HR; filled by `check`.
    """

    image: str
    hr: Path
    lr: Mapping[Scale, Path]
    sha256: Mapping[Scale, str] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)

    def pairs(self, scales: Iterable[Scale]) -> Iterable[Pair]:
        """The pairs at `scales`, each made when it is its turn; HR is read once."""
        hr = load(self.hr)
        for scale in scales:
            given = self.lr.get(scale)
            yield pair(self.image, hr, scale, None if given is None else load(given))


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Test pictures under one name, sorted by name.

    notes: what a reader of the numbers should know of where the pictures came from.
    """

    name: str
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()


def find(
    folder: Path,
    scales: Sequence[Scale],
    protocol: Protocol,
    *,
    lr_dir: Path | None = None,
    limit: int | None = None,
) -> DataSet:
    """The pictures of `folder`, paired by name with LR files where the protocol takes them.

    lr_dir: a folder with X2, X3 ... (or, for one scale, with the files themselves), taken at every scale.
    limit:  only the first so many pictures; pairing is checked for all.
    Raises UsageError for a folder that is missing or empty and for files without partner. Nothing is
    opened here; `check` does that.
    """
    if not folder.is_dir():
        raise UsageError(
            no_folder(folder),
            hint="`liif eval` measures folders of pictures",
        )
    hr_dir = folder / "HR" if (folder / "HR").is_dir() else folder
    hr = _pictures(hr_dir)
    if not hr:
        raise UsageError(f"{hr_dir}: there is no picture in it")
    found: dict[Scale, dict[str, Path]] = {}
    for scale in scales:
        if lr_folder := _lr_folder(hr_dir, scale, protocol, lr_dir, alone=len(scales) == 1):
            found[scale] = _paired(hr, lr_folder, scale)
    stems = sorted(hr)[:limit]
    return DataSet(
        name=_name(hr_dir),
        samples=tuple(
            Sample(image=stem, hr=hr[stem], lr={scale: lr[stem] for scale, lr in found.items()})
            for stem in stems
        ),
        notes=_notes(scales, found, protocol),
    )


def check(
    data: DataSet,
    scales: Sequence[Scale],
    protocol: Protocol,
    metrics: Sequence[Metric],
    *,
    border: tuple[int, int] | None = None,
    checked: Callable[[Sample], None] = lambda _: None,
) -> DataSet:
    """Read every file once and see that it can be measured; the data set with digests and sizes.

    Raises PictureError (unreadable files) or UsageError (sizes that do not fit the scale, a border
    that leaves too little), naming every file.
    """
    window = max((metric.window for metric in metrics), default=1)
    problems: list[LiifError] = []
    samples: list[Sample] = []
    for sample in data.samples:
        try:
            samples.append(_checked(sample, scales, protocol, border, window))
        except LiifError as error:
            problems.append(error)
        checked(sample)
    if problems:
        raise _together(data.name, problems)
    return DataSet(name=data.name, samples=tuple(samples), notes=data.notes)


def load(path: Path) -> Picture:
    """A test picture: as stored, upright, without its (opaque) alpha. Raises PictureError."""
    from liif_cli.image.read import read

    picture = read(path)
    if picture.alpha is not None and to_unit(picture.alpha).min() < 1:
        raise PictureError(f"{path}: transparency, which no protocol measures", hint="flatten it first")
    return Picture(pixels=picture.pixels, bits=picture.bits)


def _checked(
    sample: Sample, scales: Sequence[Scale], protocol: Protocol, border: tuple[int, int] | None, window: int
) -> Sample:
    hr = load(sample.hr)
    digests: dict[Scale, str] = {}
    for scale in scales:
        given = sample.lr.get(scale)
        lr = None if given is None else load(given)
        if reason := misfit(scale, hr, lr):
            raise UsageError(
                f"{given or sample.hr}: {reason}",
                hint="LR must be the HR picture reduced by the scale, rounded down" if given else "",
            )
        rows, columns = protocol.border(scale) if border is None else border
        width, height = scale.hr_size(*scale.lr_size(hr.width, hr.height))
        left = (width - 2 * columns, height - 2 * rows)
        if min(left) < window:
            raise UsageError(
                f"{sample.hr}: {width}x{height} pixels, too few for a border of {columns}x{rows} (x{scale})",
                hint=f"at least {window}x{window} must be left inside; a smaller scale, or `--border`",
            )
        digests[scale] = _digest(sample.hr, *([given] if given else []))
    return Sample(image=sample.image, hr=sample.hr, lr=sample.lr, sha256=digests, size=(hr.width, hr.height))


def _pictures(folder: Path) -> dict[str, Path]:
    """Picture files by name without suffix. Raises UsageError if two share one."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in _SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
        if path.stem in found:
            raise UsageError(
                f"{path}: {found[path.stem].name} has the same name before the dot",
                hint="results are kept by that name; rename one",
            )
        found[path.stem] = path
    return found


def _lr_folder(
    hr_dir: Path, scale: Scale, protocol: Protocol, lr_dir: Path | None, *, alone: bool
) -> Path | None:
    """Where LR files of this scale lie; None if LR is to be made from HR."""
    wanted = f"X{scale}"
    if lr_dir is not None:
        if (lr_dir / wanted).is_dir():
            return lr_dir / wanted
        if alone and lr_dir.is_dir():
            return lr_dir
        raise UsageError(
            f"{lr_dir / wanted}: no such folder", hint="`--lr-dir` holds a folder X2, X3 ... for every scale"
        )
    if scale.x != scale.y or scale.x not in protocol.file_scales:
        return None
    for base in _lr_bases(hr_dir):
        if base.is_dir():
            if (base / wanted).is_dir():
                return base / wanted
            raise UsageError(
                f"{base}: has no folder {wanted}", hint=f"add it, or leave x{scale} out of `--scales`"
            )
    return None


def _lr_bases(hr_dir: Path) -> tuple[Path, ...]:
    """Folders that may hold X2, X3, X4 beside this HR folder: EDSR's layout and DIV2K's."""
    hr_dir = hr_dir.absolute()
    if hr_dir.name == "HR":
        return (hr_dir.parent / "LR_bicubic",)
    beside = (hr_dir.with_name(hr_dir.name[:-3] + "_LR_bicubic"),) if hr_dir.name.endswith("_HR") else ()
    return (hr_dir / "LR_bicubic", *beside)


def _paired(hr: Mapping[str, Path], folder: Path, scale: Scale) -> dict[str, Path]:
    """LR files of `folder` by the name of their HR picture. Raises UsageError if any stands alone."""
    lr = _pictures(folder)
    pairs: dict[str, Path] = {}
    for stem in hr:
        named = [name for name in (f"{stem}x{scale}", f"{stem}_x{scale}", stem) if name in lr]
        if named:
            pairs[stem] = lr[named[0]]
    without_lr = [hr[stem] for stem in hr if stem not in pairs]
    taken = set(pairs.values())
    without_hr = [path for path in lr.values() if path not in taken]
    if without_lr:
        raise UsageError(
            f"{_names(without_lr)}: no LR picture in {folder} ({len(hr)} HR pictures, {len(lr)} LR)",
            hint=f"{without_lr[0].name} goes with {without_lr[0].stem}x{scale}{without_lr[0].suffix}",
        )
    if without_hr:
        raise UsageError(f"{_names(without_hr)}: no HR picture ({len(hr)} HR pictures, {len(lr)} LR)")
    return pairs


def _notes(scales: Sequence[Scale], found: Mapping[Scale, object], protocol: Protocol) -> tuple[str, ...]:
    """Where LR came from, and a warning where the protocol would rather have had files."""
    by_files = [f"x{scale}" for scale in scales if scale in found]
    made = [scale for scale in scales if scale not in found]
    notes = [f"LR of {' '.join(by_files)}: the data set's files"] if by_files else []
    if made:
        notes.append(f"LR of {' '.join(f'x{scale}' for scale in made)}: made by Pillow's bicubic")
    missed = [scale for scale in made if scale.x == scale.y and scale.x in protocol.file_scales]
    if missed:
        names = " ".join(f"x{scale}" for scale in missed)
        notes.append(f"no LR files for {names}: not comparable with published numbers to better than 0.1 dB")
    return tuple(notes)


def _name(hr_dir: Path) -> str:
    whole = hr_dir.absolute()
    return whole.parent.name if whole.name == "HR" else whole.name


def _digest(*paths: Path) -> str:
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]


def _names(paths: Sequence[Path]) -> str:
    shown = ", ".join(str(path) for path in paths[:_NAMED_AT_MOST])
    return shown if len(paths) <= _NAMED_AT_MOST else f"{shown} and {len(paths) - _NAMED_AT_MOST} more"


def _together(name: str, problems: Sequence[LiifError]) -> LiifError:
    """One error for several files: the first one's hint, the usual kind of all of them."""
    if len(problems) == 1:
        return problems[0]
    lines = "".join(f"\n  {problem}" for problem in problems)
    kind = PictureError if all(isinstance(problem, PictureError) for problem in problems) else UsageError
    return kind(f"{name}: {len(problems)} pictures cannot be measured{lines}", hint=problems[0].hint)

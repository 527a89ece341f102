"""All facts of a machine, and what needs doing about them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liif_cli import machine
from liif_cli.errors import LiifError

if TYPE_CHECKING:
    from liif_cli.doctor.codecs import Codec
    from liif_cli.doctor.devices import Device
    from liif_cli.doctor.places import Place
    from liif_cli.doctor.weights import Weights
    from liif_cli.nn.model import Model

# Module -> what pip installs for it.
NEEDED = {
    "numpy": "numpy",
    "PIL": "pillow",
    "pyvips": '"pyvips[binary]"',
    "torch": "torch",
    "safetensors": "safetensors",
    "huggingface_hub": "huggingface-hub",
}
OPTIONAL = ("matplotlib", "tensorboard", "pyiqa", "ray", "onnx")

LITTLE_MEMORY = 512 << 20
LITTLE_ROOM = 500_000_000
_NAMED_LEFTOVERS = 5


@dataclass(frozen=True, kw_only=True)
class Problem:
    """what: is wrong; todo: about it, in one line."""

    what: str
    todo: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """Facts, and what is wrong with them. optional: versions, None for what is not installed."""

    versions: dict[str, str]
    optional: dict[str, str | None]
    weights: tuple[Weights, ...] = ()
    devices: tuple[Device, ...] = ()
    formats: tuple[Codec, ...] = ()
    places: tuple[Place, ...] = ()
    leftovers: tuple[Path, ...] = ()
    problems: tuple[Problem, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """One object; `ok` is true if nothing needs doing. Paths are text."""
        found: dict[str, Any] = _text_for_paths(asdict(self))
        return {"ok": not self.problems, **found}


def examine(folder: Path) -> Report:
    """Look at everything; what fails does not hide the rest. folder: where the user is."""
    problems = unloadable(NEEDED)
    explained = bool(problems)
    found: dict[str, Any] = {}
    with _going_on("weights", problems, explained):
        from liif_cli.doctor.weights import weights

        found["weights"] = tuple(weights())
    with _going_on("devices", problems, explained):
        from liif_cli.doctor.devices import devices, overlooked_gpu

        found["devices"] = tuple(devices(_default_model(found.get("weights", ()))))
        if overlooked_gpu():
            todo = "install a torch with CUDA: https://pytorch.org/get-started/locally"
            problems.append(Problem(what="there is an NVIDIA GPU, and this torch cannot use it", todo=todo))
    with _going_on("formats", problems, explained):
        from liif_cli.doctor.codecs import codecs

        found["formats"] = tuple(codecs())
    with _going_on("folders", problems, explained):
        from liif_cli.doctor.places import all_leftovers, places

        found["places"] = tuple(places(folder))
        found["leftovers"] = tuple(all_leftovers(folder))
    optional = {name: machine.installed(name) for name in OPTIONAL}
    report = Report(versions=machine.versions(), optional=optional, **found)
    return replace(report, problems=(*problems, *problems_in(report)))


def unloadable(needed: dict[str, str]) -> list[Problem]:
    """Libraries that are not there, or do not start. needed: module -> what pip installs for it."""
    problems = []
    for module, package in needed.items():
        try:
            import_module(module)
        except Exception as error:  # besides ImportError: OSError of shared libraries, and worse
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            todo = f"`pip install --force-reinstall {package}`"
            problems.append(Problem(what=f"{module} cannot be loaded: {reason}", todo=todo))
    return problems


def problems_in(report: Report) -> Iterator[Problem]:
    """What needs doing, given the facts."""
    for weights in report.weights:
        yield from _of_weights(weights)
    for device in report.devices:
        if device.fault and device.name == "cpu":
            todo = "`pip install --force-reinstall torch`; if that is no help, report it"
            yield Problem(what=f"{device.name}: {device.fault}", todo=todo)
        elif device.fault:
            todo = "work with --device cpu until its driver and torch are up to date"
            yield Problem(what=f"{device.name}: {device.fault}", todo=todo)
        elif device.name == "cpu" and device.free_bytes < LITTLE_MEMORY:
            free = f"{device.free_bytes >> 20} MiB of memory are free"
            yield Problem(what=f"only {free}", todo="close other programs")
    for codec in report.formats:
        if codec.fault:
            todo = f"`pip install --force-reinstall pillow {NEEDED['pyvips']}`"
            yield Problem(what=f"{codec.name}: {codec.fault}", todo=todo)
    yield from _of_places(report.places)
    if report.leftovers:
        yield _of_leftovers(report.leftovers)


def _of_weights(one: Weights) -> Iterator[Problem]:
    if one.path is None:
        what = f"the default weights, {one.name}, are not here"
        yield Problem(what=what, todo=f"`liif weights pull {one.name}` fetches them")
    elif one.fault:
        todo = "`pip install --force-reinstall liif-cli`"
        if not one.shipped:
            todo = f"`liif weights pull {one.name} --again`"
        yield Problem(what=f"the weights {one.name}: {one.path}: {one.fault}", todo=todo)


def _of_places(places: Sequence[Place]) -> Iterator[Problem]:
    from liif_cli.image.whole import megabytes

    for place in places:
        if place.variable and not place.writable:
            todo = f"set {place.variable} to a folder that can be written"
            yield Problem(what=f"{place.what}: nothing can be written to {place.path}", todo=todo)
    full = [f"{megabytes(p.free_bytes)} at {p.path} ({p.what})" for p in places if p.free_bytes < LITTLE_ROOM]
    if full:
        yield Problem(what=f"little room on the disk: {', '.join(full)}", todo="make room there")


def _of_leftovers(paths: Sequence[Path]) -> Problem:
    names = " ".join(shlex.quote(str(path)) for path in paths[:_NAMED_LEFTOVERS])
    more = "" if len(paths) <= _NAMED_LEFTOVERS else f" and {len(paths) - _NAMED_LEFTOVERS} more"
    return Problem(
        what=f"leftover files of runs that were killed: {len(paths)}",
        todo=f"remove {names}{more}; the next run that writes there does it, too",
    )


@contextmanager
def _going_on(what: str, problems: list[Problem], explained: bool) -> Iterator[None]:
    """Whatever the block raises becomes a problem; `explained`: surprises follow from a missing library."""
    try:
        yield
    except LiifError as error:
        problems.append(Problem(what=f"{what}: {error}", todo=error.hint or "report it"))
    except Exception as error:
        if not explained:
            said = f"{what} cannot be looked at: {type(error).__name__}: {error}"
            problems.append(Problem(what=said, todo="`pip install --force-reinstall liif-cli`, or report it"))


def _default_model(found: Sequence[Weights]) -> Model | None:
    """The default weights, if they are here and sound."""
    sound = next((one.path for one in found if one.default and one.path and not one.fault), None)
    if sound is None:
        return None
    from liif_cli.nn.model import restore
    from liif_cli.weights import store

    return restore(*store.read(sound))


def _text_for_paths(value: Any) -> Any:
    if isinstance(value, Path):
        return os.fsencode(value).decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {key: _text_for_paths(part) for key, part in value.items()}
    return [_text_for_paths(part) for part in value] if isinstance(value, list | tuple) else value

"""Problems follow from facts; what fails does not hide the rest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from liif_cli.doctor import report as module
from liif_cli.doctor.codecs import Codec
from liif_cli.doctor.devices import Device
from liif_cli.doctor.places import Place
from liif_cli.doctor.report import (
    LITTLE_MEMORY,
    LITTLE_ROOM,
    Problem,
    Report,
    examine,
    problems_in,
    unloadable,
)
from liif_cli.doctor.weights import Weights
from liif_cli.errors import WeightsError
from liif_cli.report import json_line

CPU = Device(name="cpu", what="fast", threads=2, free_bytes=LITTLE_MEMORY, budget_bytes=1)
GPU = Device(name="cuda:0", what="faster", threads=1, free_bytes=1, budget_bytes=1)
HERE = Place(what="this folder", path=Path("/a"), free_bytes=LITTLE_ROOM, writable=True)
CACHE = Place(what="cache", path=Path("/c"), free_bytes=LITTLE_ROOM, writable=True, variable="LIIF_HOME")
PNG = Codec(name="png", reads=True, writes=True, bits=(8, 16), alpha=True)
STANDARD = Weights(name="standard", path=Path("/w"), default=True, shipped=True)
WELL = Report(
    versions={"liif": "1"},
    optional={"ray": None},
    weights=(STANDARD,),
    devices=(CPU, GPU),
    formats=(PNG,),
    places=(HERE, CACHE),
)


def only(report: Report) -> Problem:
    (problem,) = problems_in(report)
    assert problem.what and problem.todo
    assert "\n" not in problem.todo
    return problem


def test_with_nothing_wrong_there_are_no_problems() -> None:
    assert list(problems_in(WELL)) == []
    # What is not needed may be missing: a folder that is only read, an extra.
    assert list(problems_in(replace(WELL, places=(replace(HERE, writable=False),)))) == []


def test_default_weights_that_are_missing_are_to_be_pulled() -> None:
    problem = only(replace(WELL, weights=(replace(STANDARD, path=None, shipped=False),)))
    assert "standard, are not here" in problem.what
    assert "liif weights pull standard" in problem.todo


@pytest.mark.parametrize(
    ("shipped", "todo"),
    [(True, "pip install --force-reinstall liif-cli"), (False, "liif weights pull standard --again")],
)
def test_damaged_weights_are_to_be_had_again(shipped: bool, todo: str) -> None:
    problem = only(replace(WELL, weights=(replace(STANDARD, shipped=shipped, fault="cut short"),)))
    assert "cut short" in problem.what
    assert todo in problem.todo


@pytest.mark.parametrize(("device", "todo"), [(CPU, "torch"), (GPU, "--device cpu")])
def test_a_device_with_a_fault_is_a_problem(device: Device, todo: str) -> None:
    problem = only(replace(WELL, devices=(replace(device, fault="it computes nonsense"),)))
    assert problem.what == f"{device.name}: it computes nonsense"
    assert todo in problem.todo


def test_little_memory_is_a_problem() -> None:
    problem = only(replace(WELL, devices=(replace(CPU, free_bytes=LITTLE_MEMORY - 1),)))
    assert problem.what == "only 511 MiB of memory are free"


def test_a_format_with_a_fault_is_a_problem() -> None:
    problem = only(replace(WELL, formats=(PNG, replace(PNG, name="avif", fault="8 bits: no encoder"))))
    assert problem.what == "avif: 8 bits: no encoder"
    assert "pip install --force-reinstall pillow" in problem.todo


def test_a_cache_that_cannot_be_written_is_to_be_moved() -> None:
    problem = only(replace(WELL, places=(HERE, replace(CACHE, writable=False))))
    assert "nothing can be written to /c" in problem.what
    assert "set LIIF_HOME" in problem.todo


def test_little_room_is_one_problem_with_all_places() -> None:
    full = [replace(place, free_bytes=LITTLE_ROOM - 1) for place in (HERE, CACHE)]
    problem = only(replace(WELL, places=tuple(full)))
    assert "/a (this folder)" in problem.what and "/c (cache)" in problem.what


def test_leftovers_are_named_as_a_shell_takes_them() -> None:
    problem = only(replace(WELL, leftovers=(Path("/a b/.liif-1-2.part"),)))
    assert problem.what.endswith(": 1")
    assert "'/a b/.liif-1-2.part'" in problem.todo
    many = only(replace(WELL, leftovers=tuple(Path(f"/{n}") for n in range(9))))
    assert many.what.endswith(": 9")
    assert "/4 and 4 more" in many.todo and "/5" not in many.todo


def test_a_library_that_does_not_load_is_named_with_what_installs_it() -> None:
    needed = {"json": "json", "liif_no_such_module": '"it[all]"'}
    (problem,) = unloadable(needed)
    assert "liif_no_such_module cannot be loaded: " in problem.what
    assert problem.todo == '`pip install --force-reinstall "it[all]"`'


def test_json_has_everything_and_paths_as_text() -> None:
    report = replace(WELL, leftovers=(Path("/a\udcff"),), problems=(Problem(what="a", todo="b"),))
    found = json.loads(json_line(report.to_json()).encode())
    assert found["ok"] is False
    assert found["problems"] == [{"what": "a", "todo": "b"}]
    assert found["places"][1]["path"] == "/c"
    assert found["leftovers"] == ["/a\\xff"]
    assert found["formats"][0]["bits"] == [8, 16]
    assert json.loads(json_line(WELL.to_json()))["ok"] is True


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rooms that find nothing, at once."""
    monkeypatch.setattr("liif_cli.doctor.codecs.codecs", lambda: [PNG])
    monkeypatch.setattr("liif_cli.doctor.weights.weights", lambda: [replace(STANDARD, fault="not looked at")])


def test_what_fails_is_a_problem_and_does_not_hide_the_rest(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_catalogue() -> None:
        raise WeightsError("the catalogue cannot be read", hint="install once more")

    def broken(*_: object) -> None:
        raise RuntimeError("a surprise")

    monkeypatch.setattr("liif_cli.doctor.weights.weights", no_catalogue)
    monkeypatch.setattr("liif_cli.doctor.places.places", broken)
    found = examine(tmp_path)
    assert Problem(what="weights: the catalogue cannot be read", todo="install once more") in found.problems
    assert "folders cannot be looked at: RuntimeError: a surprise" in [one.what for one in found.problems]
    assert [device.name for device in found.devices][:1] == ["cpu"]
    assert found.formats == (PNG,)


def test_a_surprise_is_told_unless_a_missing_library_explains_it(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ImportError("libtorch.so")

    monkeypatch.setattr("liif_cli.doctor.devices.devices", broken)
    said = [problem.what for problem in examine(tmp_path).problems]
    assert "devices cannot be looked at: ImportError: libtorch.so" in said
    monkeypatch.setattr(
        module, "unloadable", lambda needed: [Problem(what="torch cannot be loaded", todo="-")]
    )
    said = [problem.what for problem in examine(tmp_path).problems]
    assert "torch cannot be loaded" in said
    assert not any("cannot be looked at" in one for one in said)

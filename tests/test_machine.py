"""What is known of the machine."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from liif_cli import __version__, machine

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells it in /proc")


def test_versions_are_those_of_the_loaded_libraries() -> None:
    import PIL
    import pyvips
    import torch

    found = machine.versions()
    assert found["liif"] == __version__
    assert found["torch"] == torch.__version__
    assert found["pillow"] == PIL.__version__
    assert found["libvips"].split(".")[:2] == [str(pyvips.version(0)), str(pyvips.version(1))]
    assert all(found.values())


def test_what_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.installed("liif-no-such-package") is None
    monkeypatch.setitem(sys.modules, "pyvips", None)  # an import of it fails
    assert "libvips" not in machine.versions()


def test_a_system_that_tells_nothing_gives_none_and_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "_STATUS", tmp_path / "none")
    assert machine.resident_bytes() is None
    if sys.platform != "win32":
        assert (machine.peak_bytes() or 0) > 1 << 20
    assert not machine.forget_peak()


@linux
def test_the_peak_is_forgotten_but_not_what_is_held() -> None:
    block = np.ones(8_000_000)
    held = machine.resident_bytes() or 0
    assert (machine.peak_bytes() or 0) > 64_000_000
    assert machine.forget_peak()
    assert abs((machine.peak_bytes() or 0) - held) < 16_000_000
    del block
    machine.give_back()
    assert (machine.resident_bytes() or 0) < held - 50_000_000


def test_there_is_at_least_one_core() -> None:
    assert machine.cores() >= 1
    assert machine.cpu_name()


# In a process of its own: what was freed there before decides too. How soon the heap is large enough
# is chance.
FAULTS = """if True:
    import resource
    import torch
    from liif_cli.machine import keep_freed_memory

    def faults(mebibytes):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.zeros(mebibytes << 18)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    keep_freed_memory()
    for mebibytes in (16, 80):  # more than the heap may keep at its end, which goes before all else
        print(min(faults(mebibytes) for _ in range(20)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what glibc's malloc does")
def test_what_is_freed_is_kept_for_what_comes_next_up_to_a_size() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True)
    kept, back = map(int, done.stdout.split())
    assert kept < 100
    assert back > 20  # pages, of 2 MiB at most

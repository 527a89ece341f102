"""The machine under this program: its processor, what is installed, the memory of this process."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from liif_cli import __version__

_STATUS = Path("/proc/self/status")
# The largest freed block that stays in the process, and how glibc is told (mallopt(3)).
KEPT_BYTES = 20 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def versions() -> dict[str, str]:
    """Of this program and of what it stands on, and the machine; what is not installed is left out."""
    found = {"liif": __version__, "python": platform.python_version()}
    for name in ("torch", "numpy", "pillow", "pyvips", "safetensors", "huggingface_hub"):
        if version := installed(name):
            found[name] = version
    if version := _libvips():
        found["libvips"] = version
    return {**found, "platform": platform.platform(), "cpu": cpu_name()}


def installed(package: str) -> str | None:
    """The version of a package, without loading it; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cpu_name() -> str:
    """As its maker calls it."""
    if sys.platform == "darwin":
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    else:
        found = re.search(r"^model name\s*:\s*(.+)$", _text(Path("/proc/cpuinfo")), re.MULTILINE)
        said = found[1].strip() if found else platform.processor()
    return said or platform.machine()


def cores() -> int:
    """How many this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def resident_bytes() -> int | None:
    """Memory this process holds now; None where the system does not tell."""
    return _status("VmRSS")


def peak_bytes() -> int | None:
    """The most memory this process has held since `forget_peak`, or since it began; None on Windows."""
    if peak := _status("VmHWM"):
        return peak
    if sys.platform == "win32":
        return None
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most << 10


def forget_peak() -> bool:
    """Let `peak_bytes` count from now on; False where the system cannot (all but Linux)."""
    try:
        # proc(5): 5 resets the high-water mark of the resident set.
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return _status("VmHWM") is not None


def give_back() -> None:
    """Collect what is garbage, and `trim`."""
    import gc

    gc.collect()
    trim()


def mib(count: int) -> str:
    """A number of bytes of memory for people, rounded up: who allows as much has enough."""
    return f"{-(-count >> 20)} MiB"


def trim() -> None:
    """Hand memory that is free within this process back to the system, where its C library can."""
    malloc_trim = _libc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def keep_freed_memory() -> None:
    """Let this process keep what it frees in blocks of up to 20 MiB, for what it allocates next.

    By itself glibc returns every freed block above 128 KiB to the kernel, which hands out the next one
    page by page, zeroed anew: a tenth of a render. Larger blocks go back at once. What is kept lies in
    one heap for all threads that begin from now on, not one for each: what one frees serves the others,
    and `trim` reaches all of it (it leaves the ends of other heaps, up to 64 MiB each). Never touched, it
    costs nothing; elsewhere than in glibc this does nothing.
    """
    mallopt = _libc("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, 64 << 20)


def _libc(name: str) -> Any:
    """A function of glibc; None elsewhere."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None  # musl has none


def _libvips() -> str | None:
    try:
        import pyvips
    except Exception:  # not installed, or installed without its library: whatever the loader raises
        return None
    return ".".join(str(pyvips.version(part)) for part in range(3))


def _status(key: str) -> int | None:
    found = re.search(rf"^{key}:\s+(\d+) kB$", _text(_STATUS), re.MULTILINE)
    return int(found[1]) << 10 if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""

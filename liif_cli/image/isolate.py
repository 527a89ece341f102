"""Reading in another process, so that a decoder that crashes or hangs costs one file and not the run.

A `Reader` keeps one child that decodes file after file. A request goes down its stdin; the picture
comes back up its stdout, a line of JSON and then the bytes that it announces. No pickles: the child
handles hostile data and is not trusted. When it dies or takes too long, the file it was at is
refused like any broken one, and the next file gets a new child.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from liif_cli.errors import PictureError
from liif_cli.image.picture import Picture
from liif_cli.image.read import MAX_PIXELS, Header, name_of, probe, read

Taken = TypeVar("Taken")

SECONDS = 60.0
"""What one file may take, beside a second for each megabyte of it."""

_BLOBS = ("icc", "exif", "xmp")
_LONGEST_LINE = 1 << 20
_LARGEST_BLOB = 1 << 28
_PIPE_BYTES = 1 << 20
_ADDRESS_SPACE = 4 << 30  # what libraries and their threads reserve, used or not
_BYTES_PER_PIXEL = 24  # decoder, conversion and turning of 16-bit RGBA
_CHILD = """\
import sys
sys.path[:] = sys.argv[1:]
from liif_cli.image.isolate import serve
serve()
"""


class Reader:
    """`read` in a child process. A context manager, for one thread at a time."""

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the child if none lives, so that it loads its libraries while others load theirs."""
        if self._child is not None and self._child.poll() is None:
            return
        self.close()
        with suppress(OSError):  # a full disk has no place for it: why a child broke off is not told then
            self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the child)
        self._child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, *_places()],
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said or subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for this process, which then ends its child
        )
        _widen(self._child.stdout)

    def read(
        self, source: Path | str | bytes | BinaryIO, *, max_pixels: int | None = None, name: str | None = None
    ) -> Picture:
        """As `image.read.read`; also raises PictureError for a decoder that crashed or hung."""
        return self._asked("read", source, max_pixels, _unpacked, name)

    def probe(self, source: Path | str | bytes | BinaryIO, *, max_pixels: int | None = None) -> Header:
        """As `image.read.probe`; also raises PictureError for a decoder that crashed or hung."""
        return self._asked("probe", source, max_pixels, _header)

    def _asked(
        self,
        what: str,
        source: Path | str | bytes | BinaryIO,
        max_pixels: int | None,
        take: Callable[[dict[str, Any], IO[bytes], int], Taken],
        name: str | None = None,
    ) -> Taken:
        request, body = _request(what, source, max_pixels, name or name_of(source))
        seconds = self._seconds + request["bytes"] / 1e6
        request["seconds"] = math.ceil(seconds) + 5
        self.start()
        child = self._child
        assert child is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            child.kill()

        alarm = threading.Timer(seconds, give_up)
        alarm.start()
        try:
            answer, pipe = _exchange(child, request, body)
            taken = take(answer, pipe, MAX_PIXELS if max_pixels is None else max_pixels)
        except (EOFError, BrokenPipeError, ValueError) as error:
            alarm.cancel()
            late_by = f"was stopped after {seconds:.0f} seconds"
            why = late_by if late.is_set() else f"crashed ({self._epitaph()})"
            self.close()
            raise PictureError(
                f"{request['name']}: the decoder {why}",
                hint="the file is probably damaged; others are not concerned",
            ) from error
        except PictureError:
            raise  # the child has said so, and waits for the next
        except BaseException:
            self.close()  # it is in the middle of an answer that no one will take
            raise
        finally:
            alarm.cancel()
        if late.is_set():
            self.close()
        return taken

    def interrupt(self) -> None:
        """Let what is being read end at once, as if its decoder had crashed. For other threads."""
        child = self._child
        if child is not None:
            child.kill()

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            for pipe in (child.stdin, child.stdout):
                with suppress(OSError):
                    if pipe is not None:
                        pipe.close()
            child.wait()
        if self._said is not None:
            self._said.close()
            self._said = None

    def _epitaph(self) -> str:
        """How the child ended, in a few words."""
        assert self._child is not None
        with suppress(OSError):
            self._child.kill()
        code = self._child.wait()
        said = b""
        if self._said is not None:
            self._said.seek(0)
            said = self._said.read()[-4096:]
        lines = said.decode("utf-8", "replace").strip().splitlines()
        if code < 0 and code != -9:
            return f"signal {-code}"
        return lines[-1] if lines else "it broke off"


def serve() -> None:
    """What the child does: read pictures as they are asked for, until its stdin ends."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # a library that prints must not print into an answer
    requests = sys.stdin.buffer
    _limit_memory()
    while line := requests.readline(_LONGEST_LINE):
        request = json.loads(line)
        source: Path | bytes = (
            Path(request["path"]) if request["path"] is not None else requests.read(request["bytes"])
        )
        _limit_time(request["seconds"])
        try:
            answer, parts = _ANSWERS[request["what"]](source, request["max_pixels"], request["name"])
        except PictureError as error:
            answer, parts = {"refused": str(error), "hint": error.hint}, []
        except Exception:
            import traceback

            answer, parts = {"bug": traceback.format_exc()}, []
        _limit_time(0)
        for part in (json.dumps(answer).encode() + b"\n", *parts):
            _write(answers, part)


def _places() -> list[str]:
    """Where this process imports from, without the folder the user happens to be in."""
    return [*filter(None, sys.path), str(Path(__file__).parents[2])]


def _request(
    what: str, source: Path | str | bytes | BinaryIO, max_pixels: int | None, name: str
) -> tuple[dict[str, Any], bytes]:
    request: dict[str, Any] = {"what": what, "name": name, "max_pixels": max_pixels, "path": None}
    if isinstance(source, str | Path):
        path = Path(source).absolute()
        try:
            size = path.stat().st_size
        except (OSError, ValueError):
            size = 0  # the child will say what is wrong with it
        return request | {"path": str(path), "bytes": size}, b""
    body = bytes(source) if isinstance(source, bytes | bytearray | memoryview) else source.read()
    return request | {"bytes": len(body)}, body


def _exchange(
    child: subprocess.Popen[bytes], request: dict[str, Any], body: bytes
) -> tuple[dict[str, Any], IO[bytes]]:
    """The answer, and the pipe with what it announces.

    Raises EOFError, BrokenPipeError or ValueError if the child does not answer as it should.
    """
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(json.dumps(request).encode() + b"\n")
    child.stdin.write(body)
    child.stdin.flush()
    line = child.stdout.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise EOFError
    answer = json.loads(line)
    if "refused" in answer:
        raise PictureError(str(answer["refused"]), hint=str(answer["hint"]))
    if "bug" in answer:
        raise RuntimeError(f"in the reading process:\n{answer['bug']}")
    return answer, child.stdout


def _packed(
    source: Path | bytes, max_pixels: int | None, name: str
) -> tuple[dict[str, Any], list[memoryview]]:
    picture = read(source, max_pixels=max_pixels, name=name)
    parts = [picture.pixels.data]
    if picture.alpha is not None:
        parts.append(picture.alpha.data)
    answer: dict[str, Any] = {
        "shape": picture.pixels.shape,
        "dtype": picture.pixels.dtype.name,
        "alpha": picture.alpha is not None,
        "bits": picture.bits,
        "dpi": picture.dpi,
        "format": picture.format,
        "notes": picture.notes,
    }
    for name in _BLOBS:
        blob: bytes | None = getattr(picture, name)
        answer[name] = None if blob is None else len(blob)
        parts.append(memoryview(blob or b""))
    return answer, parts


def _probed(
    source: Path | bytes, max_pixels: int | None, name: str
) -> tuple[dict[str, Any], list[memoryview]]:
    return asdict(probe(source, max_pixels=max_pixels, name=name)), []


_ANSWERS = {"read": _packed, "probe": _probed}


def _header(answer: dict[str, Any], pipe: IO[bytes], max_pixels: int) -> Header:
    """The header an answer gives; ValueError if that cannot be one."""
    try:
        width, height = int(answer["width"]), int(answer["height"])
        if min(width, height) < 1 or width * height > max_pixels:
            raise ValueError("an answer that cannot be")
        return Header(
            width=width,
            height=height,
            channels=1 if answer["channels"] == 1 else 3,
            alpha=bool(answer["alpha"]),
            bits=16 if answer["bits"] == 16 else 8,
            format=None if answer["format"] is None else str(answer["format"]),
            lossless=bool(answer["lossless"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no answer: {error}") from error


def _unpacked(answer: dict[str, Any], pipe: IO[bytes], max_pixels: int) -> Picture:
    """The picture an answer announces; ValueError if that cannot be one."""
    try:
        height, width, channels = (int(n) for n in answer["shape"])
        dtype = {"uint8": np.uint8, "uint16": np.uint16}[answer["dtype"]]
        lengths = [0 if answer[name] is None else int(answer[name]) for name in _BLOBS]
        sane = min(height, width) >= 1 and height * width <= max_pixels and channels in (1, 3)
        if not sane or not all(0 <= length <= _LARGEST_BLOB for length in lengths):
            raise ValueError("an answer that cannot be")
        pixels: npt.NDArray[Any] = np.empty((height, width, channels), dtype)
        alpha: npt.NDArray[Any] | None = np.empty((height, width), dtype) if answer["alpha"] else None
        _fill(pixels, pipe)
        if alpha is not None:
            _fill(alpha, pipe)
        icc, exif, xmp = (_blob(length, pipe) or None for length in lengths)
        return Picture(
            pixels=pixels,
            alpha=alpha,
            bits=16 if answer["bits"] == 16 else 8,
            icc=icc,
            exif=exif,
            xmp=xmp,
            dpi=None if answer["dpi"] is None else (float(answer["dpi"][0]), float(answer["dpi"][1])),
            format=None if answer["format"] is None else str(answer["format"]),
            notes=tuple(str(note) for note in answer["notes"]),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"no answer: {error}") from error


def _fill(array: npt.NDArray[Any], pipe: IO[bytes]) -> None:
    view = array.data.cast("B")
    while view:
        count = pipe.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        view = view[count:]


def _blob(length: int, pipe: IO[bytes]) -> bytes:
    data = pipe.read(length)
    if len(data) != length:
        raise EOFError
    return data


def _write(pipe: IO[bytes], part: Any) -> None:
    view = memoryview(part).cast("B") if len(part) else memoryview(b"")
    while view:
        view = view[pipe.write(view) :]


def _widen(pipe: IO[bytes] | None) -> None:
    """A larger pipe where the system lets us: fewer turns between the two processes."""
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        assert pipe is not None
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _limit_memory() -> None:
    """A decoder that runs wild ends itself and not the machine."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        wanted = _ADDRESS_SPACE + _BYTES_PER_PIXEL * MAX_PIXELS
        there = _ADDRESS_SPACE + os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        resource.setrlimit(resource.RLIMIT_AS, (min(wanted, there), resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time(seconds: int) -> None:
    """End this process after so long even if no one is left to do it; 0: no longer."""
    with suppress(ImportError, AttributeError):
        import signal

        signal.alarm(seconds)

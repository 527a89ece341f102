"""Debian packages as a source of files: fetched as any user, installed nowhere.

Needs ``apt-get`` with current package lists and ``dpkg-deb``.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

EET_MAGIC = b"\x1e\xe7\x0f\x42"
QT_MAGIC = b"qres"


class PackageError(Exception):
    """A package cannot be fetched or unpacked, or a file is not in it as described."""


def fetch(package: str, version: str, tree: Path) -> None:
    """Unpack ``package`` into the folder ``tree``, which appears whole or not at all.

    Another version is taken when the archive no longer has ``version``: what matters is the sha256 of
    each picture. Raises PackageError when there is none.
    """
    tree.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{package}-", dir=tree.parent) as name:
        folder = Path(name)
        for wanted in (f"{package}={version}", package):
            problem = _run(["apt-get", "download", "-q", wanted], folder)
            if not problem:
                break
        else:
            raise PackageError(f"{package} cannot be downloaded ({problem})")
        (archive,) = folder.glob("*.deb")
        problem = _run(["dpkg-deb", "-x", str(archive), "tree"], folder)
        if problem:
            raise PackageError(f"{package} cannot be unpacked ({problem})")
        (folder / "tree").replace(tree)


@contextmanager
def unpacked(package: str, version: str) -> Iterator[Path]:
    """The tree of a package, gone again afterwards. Raises PackageError."""
    with TemporaryDirectory(prefix="liif-pictures-") as name:
        tree = Path(name) / package
        fetch(package, version, tree)
        yield tree


def read(tree: Path, path: str) -> bytes:
    """The bytes of a file, or, for ``container!member``, of one member of a container file.

    Containers are Eet archives (Enlightenment's backgrounds, ``.edj``) and Qt's binary resources
    (``.rcc``). Raises PackageError.
    """
    name, _, member = path.partition("!")
    try:
        data = (tree / name).read_bytes()
    except OSError as error:
        raise PackageError(f"{name} is not in the package") from error
    if not member:
        return data
    try:
        if data.startswith(EET_MAGIC):
            return _eet_members(data)[member]
        if data.startswith(QT_MAGIC):
            return _qt_member(data, member)
    except KeyError as error:
        raise PackageError(f"{name} has no member {member}") from error
    except (struct.error, zlib.error, UnicodeDecodeError) as error:
        raise PackageError(f"{name} is damaged ({error})") from error
    raise PackageError(f"{name} is neither an Eet archive nor a Qt resource file")


def _run(command: list[str], folder: Path) -> str:
    """Run a command; an empty text when all is well, else the last thing it said."""
    if shutil.which(command[0]) is None:
        return f"there is no {command[0]} here"
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return ""
    said = done.stderr.strip().splitlines()
    return said[-1] if said else f"{command[0]} ended with status {done.returncode}"


def _eet_members(data: bytes) -> dict[str, bytes]:
    """Every entry of an Eet archive, as stored.

    Big-endian: magic, number of entries, size of the names; then per entry offset, size, size when
    expanded, where its name is, length of the name, flags.
    """
    members = {}
    for i in range(struct.unpack_from(">I", data, 4)[0]):
        offset, size, _, name_at, name_size, _ = struct.unpack_from(">6I", data, 12 + 24 * i)
        name = data[name_at : name_at + name_size].rstrip(b"\0").decode()
        members[name] = data[offset : offset + size]
    return members


def _qt_member(data: bytes, member: str) -> bytes:
    """One file of a Qt resource, expanded; ``member`` is its path from the root.

    Big-endian: magic, version, then where the tree, the contents and the names begin. A node of the tree
    is 22 bytes (14 in version 1): name, flags, then for a folder the number and the first of its children,
    for a file its language and the place of its content, which is preceded by its size.
    """
    version, nodes, contents, names = struct.unpack_from(">4I", data, 4)
    node_bytes = 14 if version < 2 else 22
    node = 0
    for wanted in member.split("/"):
        count, first = struct.unpack_from(">II", data, nodes + node * node_bytes + 6)
        for node in range(first, first + count):
            name_at = names + struct.unpack_from(">I", data, nodes + node * node_bytes)[0]
            letters = struct.unpack_from(">H", data, name_at)[0]
            if data[name_at + 6 : name_at + 6 + 2 * letters].decode("utf-16-be") == wanted:
                break
        else:
            raise KeyError(member)
    flags = struct.unpack_from(">H", data, nodes + node * node_bytes + 4)[0]
    at = contents + struct.unpack_from(">I", data, nodes + node * node_bytes + 10)[0]
    size = struct.unpack_from(">I", data, at)[0]
    content = data[at + 4 : at + 4 + size]
    if flags & 2:
        raise KeyError(member)
    if flags & 4:
        raise PackageError(f"{member} is compressed with Zstandard, which is not read here")
    return zlib.decompress(content[4:]) if flags & 1 else content

"""Debian packages as a source of files."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packages import PackageError, fetch, read, unpacked

Tree = dict[str, "Tree | bytes"]

leaf = st.binary(max_size=40)
names = st.text("abcäß.0", min_size=1, max_size=5)
trees = st.dictionaries(
    names, st.recursive(leaf, lambda inner: st.dictionaries(names, inner, max_size=4)), max_size=4
)


def eet(members: dict[str, bytes]) -> bytes:
    """An Eet archive, as its description in `packages` says."""
    at = 12 + 24 * len(members)
    labels = [name.encode() + b"\0" for name in members]
    names_at = at + sum(map(len, members.values()))
    head = struct.pack(">3I", 0x1EE70F42, len(members), sum(map(len, labels)))
    for label, data in zip(labels, members.values(), strict=True):
        head += struct.pack(">6I", at, len(data), len(data), names_at, len(label), 0)
        at += len(data)
        names_at += len(label)
    return head + b"".join(members.values()) + b"".join(labels)


def qt(tree: Tree, *, version: int = 3, flag: int = 0) -> bytes:
    """A Qt resource file holding a tree of folders; `flag` 1 deflates the files, 4 only says Zstandard."""
    nodes: list[bytes] = []
    content, labels = b"", b""
    queue: list[tuple[str, Tree | bytes]] = [("", tree)]
    for name, what in queue:  # grows while it is walked: the children of a folder lie side by side
        label_at = len(labels)
        labels += struct.pack(">HI", len(name.encode("utf-16-be")) // 2, 0) + name.encode("utf-16-be")
        if isinstance(what, bytes):
            data = struct.pack(">I", len(what)) + zlib.compress(what) if flag == 1 else what
            node = struct.pack(">IHHHI", label_at, flag, 0, 0, len(content))
            content += struct.pack(">I", len(data)) + data
        else:
            node = struct.pack(">IHII", label_at, 2, len(what), len(queue))
            queue.extend(what.items())
        nodes.append(node + bytes(0 if version < 2 else 8))
    tree_at = 20
    content_at = tree_at + len(b"".join(nodes))
    names_at = content_at + len(content)
    head = b"qres" + struct.pack(">4I", version, tree_at, content_at, names_at)
    return head + b"".join(nodes) + content + labels


def files(tree: Tree, prefix: str = "") -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, what in tree.items():
        found |= {prefix + name: what} if isinstance(what, bytes) else files(what, f"{prefix}{name}/")
    return found


def test_a_plain_file_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"pixels")
    assert read(tmp_path, "a") == b"pixels"


@given(members=st.dictionaries(names, leaf))
def test_every_member_of_an_eet_archive_is_found(
    members: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("eet")
    (folder / "x.edj").write_bytes(eet(members))
    assert {name: read(folder, f"x.edj!{name}") for name in members} == members


@given(tree=trees, version=st.sampled_from([1, 2, 3]), flag=st.sampled_from([0, 1]))
def test_every_member_of_a_qt_resource_is_found(
    tree: Tree, version: int, flag: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("qt")
    (folder / "x.rcc").write_bytes(qt(tree, version=version, flag=flag))
    wanted = files(tree)
    assert {path: read(folder, f"x.rcc!{path}") for path in wanted} == wanted


@pytest.mark.parametrize(
    ("content", "path", "said"),
    [
        (None, "x", "not in the package"),
        (b"plain", "x!member", "neither an Eet archive nor a Qt resource"),
        (eet({"a": b"1"}), "x!b", "no member b"),
        (eet({"a": b"1"})[:20], "x!a", "damaged"),
        (qt({"a": {"b": b"1"}}), "x!a/c", "no member a/c"),
        (qt({"a": {"b": b"1"}}), "x!a", "no member a"),
        (qt({"a": b"1"})[:30], "x!a", "damaged"),
        (qt({"a": b"1"}, flag=4), "x!a", "Zstandard"),
    ],
)
def test_what_is_not_there_is_named(content: bytes | None, path: str, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "x").write_bytes(content)
    with pytest.raises(PackageError, match=said):
        read(tmp_path, path)


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Stand-ins for apt-get and dpkg-deb; the function puts one package of one version on offer.

    apt-get makes a folder's path into a "package", dpkg-deb copies what is behind it.
    """
    programs, offers = tmp_path / "bin", tmp_path / "offers"
    programs.mkdir()
    offers.mkdir()

    def program(name: str, script: str) -> None:
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)

    program(
        "apt-get",
        f'[ -e "{offers}/$3" ] || {{ echo "E: Version for $3 was not found" >&2; exit 100; }}\n'
        f'cp "{offers}/$3" "./package.deb"',
    )
    program(
        "dpkg-deb",
        'grep -q good "$2" || { echo "not an archive" >&2; exit 2; }\nmkdir "$3" && cp "$2" "$3/file"',
    )
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")

    def offer(name: str, content: str) -> None:
        (offers / name).write_text(content)

    return offer


def test_the_wanted_version_is_fetched(archive: Callable[[str, str], None], tmp_path: Path) -> None:
    archive("birds=1", "good, the first")
    archive("birds", "good, the newest")
    fetch("birds", "1", tmp_path / "trees" / "birds")
    assert (tmp_path / "trees" / "birds" / "file").read_text() == "good, the first"


def test_another_version_is_fetched_when_the_wanted_one_is_gone(
    archive: Callable[[str, str], None], tmp_path: Path
) -> None:
    archive("birds", "good, the newest")
    with unpacked("birds", "1") as tree:
        assert (tree / "file").read_text() == "good, the newest"
    assert not tree.exists()


@pytest.mark.parametrize(
    ("offered", "said"),
    [({}, "cannot be downloaded.*not found"), ({"birds": "bad"}, "cannot be unpacked.*not an archive")],
)
def test_a_package_is_there_whole_or_not_at_all(
    offered: dict[str, str], said: str, archive: Callable[[str, str], None], tmp_path: Path
) -> None:
    for name, content in offered.items():
        archive(name, content)
    with pytest.raises(PackageError, match=said):
        fetch("birds", "1", tmp_path / "trees" / "birds")
    assert list((tmp_path / "trees").iterdir()) == []


def test_a_machine_without_apt_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PackageError, match="no apt-get here"):
        fetch("birds", "1", tmp_path / "trees" / "birds")

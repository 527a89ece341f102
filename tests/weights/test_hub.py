"""hf://owner/repo[@revision][:file], by the real client against a hub on localhost.

The client reads its variables when it is imported, so each test is a `liif` of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liif_cli.errors import WeightsError
from liif_cli.nn.model import build
from liif_cli.weights import hub, store
from tests.conftest import TINY
from tests.weights.fake_hub import FakeHub, serve

Liif = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "mine.safetensors"
    metadata = {"liif.name": "mine", "liif.licence": "BSD-3-Clause", "liif.credits": "me"}
    store.write(path, TINY["light"], build(TINY["light"], seed=4).state_dict(), metadata)
    return path


@pytest.fixture
def fake(weights: Path) -> Iterator[FakeHub]:
    data = weights.read_bytes()
    files = {"model.safetensors": data, "sub/large.safetensors": data, "README.md": b"hello"}
    bad = {"model.safetensors": data[:-5]}
    with serve(FakeHub(repos={"me/mine": files, "me/bad": bad, "me/empty": {"README.md": b""}})) as running:
        yield running


@pytest.fixture
def liif(fake: FakeHub, tmp_path: Path) -> Liif:
    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        own = {"HF_ENDPOINT": fake.url, "HF_HOME": str(tmp_path / "hf"), "LIIF_HOME": str(tmp_path / "liif")}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        command = [sys.executable, "-m", "liif_cli", *arguments]
        return subprocess.run(
            command, env={**kept, **own, **variables}, capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.parametrize(
    ("address", "repo", "revision", "file"),
    [
        ("hf://a/b", "a/b", None, "model.safetensors"),
        ("hf://a/b@v1.0", "a/b", "v1.0", "model.safetensors"),
        ("hf://a/b@refs/pr/3:x/y.safetensors", "a/b", "refs/pr/3", "x/y.safetensors"),
        ("hf://a.b/c-d_e:w.safetensors", "a.b/c-d_e", None, "w.safetensors"),
    ],
)
def test_an_address_is_read_in_its_parts(address: str, repo: str, revision: str | None, file: str) -> None:
    found = hub.parse(address)
    assert (found.repo, found.revision, found.file) == (repo, revision, file)
    assert hub.parse(str(found)) == found


@pytest.mark.parametrize(
    "address",
    [
        "hf://",
        "hf://a",
        "hf://a/b/c",
        "hf://a/b@",
        "hf://a/b:",
        "hf://a/b:../w.safetensors",
        "hf://a/b:/etc/w.safetensors",
        "hf://a/b@../..:w.safetensors",
        "hf://../b",
        "hf://a/b c",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(WeightsError, match="no address on the hub") as caught:
        hub.parse(address)
    assert "hf://owner/repo" in caught.value.hint


@pytest.mark.parametrize("file", ["model.pth", "pytorch_model.bin", "model"])
def test_pickles_are_not_taken_from_the_hub(file: str) -> None:
    with pytest.raises(WeightsError, match=r"only \.safetensors"):
        hub.parse(f"hf://a/b:{file}")


@pytest.mark.parametrize("address", ["hf://me/mine", "hf://me/mine@v1", "hf://me/mine:sub/large.safetensors"])
def test_weights_on_the_hub_are_pulled_into_the_hubs_own_cache(
    liif: Liif, weights: Path, tmp_path: Path, address: str
) -> None:
    ran = liif("weights", "pull", address)
    assert ran.returncode == 0, ran.stderr
    path = Path(ran.stdout.strip())
    assert path.is_relative_to(tmp_path / "hf")
    assert path.read_bytes() == weights.read_bytes()
    assert "asking the hub for" in ran.stderr and "me/mine" in ran.stderr


def test_what_was_pulled_is_there_when_offline(liif: Liif, fake: FakeHub) -> None:
    online = liif("weights", "pull", "hf://me/mine")
    fake.asked.clear()
    offline = liif("weights", "pull", "hf://me/mine", HF_HUB_OFFLINE="1")
    assert (offline.returncode, offline.stdout) == (0, online.stdout)
    assert fake.asked == []


def test_offline_the_message_says_where_to_put_the_file_and_there_it_is_found(
    liif: Liif, weights: Path
) -> None:
    address = "hf://me/mine@v1:sub/large.safetensors"
    ran = liif("weights", "pull", address, HF_HUB_OFFLINE="1")
    assert ran.returncode == 4
    assert "offline mode is enabled" in ran.stderr
    place = Path(ran.stderr.split(" at ")[-1].strip())
    place.parent.mkdir(parents=True)
    place.write_bytes(weights.read_bytes())
    again = liif("weights", "pull", address, HF_HUB_OFFLINE="1")
    assert (again.returncode, again.stdout.strip()) == (0, str(place))


@pytest.mark.slow  # the client tries again for 20 seconds
def test_without_network_it_says_where_to_put_the_file(liif: Liif) -> None:
    ran = liif("weights", "pull", "hf://me/mine", HF_ENDPOINT="http://127.0.0.1:9")
    assert ran.returncode == 4
    assert "cannot be fetched" in ran.stderr and "put model.safetensors at" in ran.stderr


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("hf://me/none", "has no repository me/none"),
        ("hf://me/mine@v9", "has no revision 'v9'"),
        ("hf://me/mine:sub/larg.safetensors", "did you mean 'sub/large.safetensors'?"),
        ("hf://me/empty", "it holds no .safetensors files"),
        ("hf://me/bad", "not a sound weights file"),
        ("hf://me", "no address on the hub"),
    ],
)
def test_what_the_hub_does_not_have_is_status_4_with_the_reason(liif: Liif, address: str, says: str) -> None:
    ran = liif("weights", "pull", address)
    assert ran.returncode == 4
    assert says in ran.stderr
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr


def test_a_gated_repository_is_named_as_such(liif: Liif, fake: FakeHub) -> None:
    fake.gated.add("me/mine")
    ran = liif("weights", "pull", "hf://me/mine")
    assert ran.returncode == 4
    assert "access to me/mine is not granted" in ran.stderr and "accept its terms" in ran.stderr


def test_a_private_repository_opens_with_the_users_token(liif: Liif, fake: FakeHub) -> None:
    fake.closed.add("me/mine")
    closed = liif("weights", "pull", "hf://me/mine")
    assert closed.returncode == 4 and "HF_TOKEN" in closed.stderr
    assert liif("weights", "pull", "hf://me/mine", HF_TOKEN=fake.token).returncode == 0


def test_what_is_pushed_is_what_is_pulled_with_a_page_that_credits(
    liif: Liif, fake: FakeHub, weights: Path
) -> None:
    ran = liif("weights", "push", str(weights), "me/new", HF_TOKEN=fake.token)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "hf://me/new:model.safetensors"
    assert fake.repos["me/new"]["model.safetensors"] == weights.read_bytes()
    page = fake.repos["me/new"]["README.md"].decode()
    assert page.startswith("---\n") and "license: bsd-3-clause\n" in page
    assert "From: me" in page and "liif upscale photo.jpg --scale 7.5 -m hf://me/new" in page
    assert liif("weights", "pull", ran.stdout.strip()).returncode == 0


def test_pushing_without_permission_says_what_is_missing(liif: Liif, weights: Path) -> None:
    ran = liif("weights", "push", str(weights), "me/new")
    assert ran.returncode == 4
    assert "did not take the file" in ran.stderr and "HF_TOKEN" in ran.stderr


def test_a_file_that_is_no_weights_file_is_never_pushed(liif: Liif, fake: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"nothing of use")
    ran = liif("weights", "push", str(tmp_path / "bad.safetensors"), "me/new", HF_TOKEN=fake.token)
    assert ran.returncode == 4
    assert fake.asked == []

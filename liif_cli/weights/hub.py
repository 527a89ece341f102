"""Weights in repositories of the Hugging Face hub: `hf://owner/repo[@revision][:file]`.

Through the public calls of huggingface_hub alone, so its own cache and variables (`HF_HOME`,
`HF_TOKEN`, `HF_ENDPOINT`, `HF_HUB_OFFLINE`) mean here what they mean everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from liif_cli.errors import UsageError, WeightsError, nearest
from liif_cli.home import home
from liif_cli.weights import store

PREFIX = "hf://"
FILE = "model.safetensors"  # the hub's custom for the weights of a model

_REPO = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
_ADDRESS = re.compile(rf"{PREFIX}(?P<repo>{_REPO})(@(?P<revision>[^:@\s]+))?(:(?P<file>\S+))?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """One file in one repository; `revision` is a branch, tag or commit, None the newest."""

    repo: str
    revision: str | None = None
    file: str = FILE

    @property
    def place(self) -> Path:
        """Where the file is looked for first: the way in for a machine without network."""
        revision = f"@{self.revision.replace('/', '--')}" if self.revision else ""
        return home() / "hub" / (self.repo.replace("/", "--") + revision) / self.file

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{PREFIX}{self.repo}{revision}:{self.file}"


def parse(address: str) -> HubFile:
    """The address in its parts. Raises WeightsError if it is none."""
    found = _ADDRESS.fullmatch(address)
    file = PurePosixPath((found and found["file"]) or FILE)
    if not found or file.is_absolute() or ".." in file.parts or ".." in (found["revision"] or ""):
        raise WeightsError(
            f"{address!r} is no address on the hub", hint=f"write {PREFIX}owner/repo[@revision][:file]"
        )
    if file.suffix != ".safetensors":
        raise WeightsError(
            f"{address}: only .safetensors files are taken from the hub",
            hint="download the file and see `liif weights convert --help`",
        )
    return HubFile(repo=found["repo"], revision=found["revision"], file=str(file))


def download(wanted: HubFile, *, notify: Callable[[str], None]) -> Path:
    """The file on disk: from its `place`, the hub's cache, or the hub. Not yet checked.

    Raises WeightsError: no such repository, revision or file, no access, no network.
    """
    if wanted.place.is_file():
        return wanted.place
    import huggingface_hub as hub
    from huggingface_hub import errors

    # Each of its attempts would be a line; what comes of them is said below.
    hub.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if not isinstance(hub.try_to_load_from_cache(wanted.repo, wanted.file, revision=wanted.revision), str):
        notify(f"asking the hub for {wanted.file} of {wanted.repo}")
    try:
        return Path(hub.hf_hub_download(wanted.repo, wanted.file, revision=wanted.revision))
    except errors.GatedRepoError as error:
        hint = "accept its terms on its page, then `hf auth login` or set HF_TOKEN"
        raise WeightsError(f"{wanted}: access to {wanted.repo} is not granted", hint=hint) from error
    except errors.RepositoryNotFoundError as error:
        hint = "check the name; a private one needs `hf auth login` or HF_TOKEN"
        raise WeightsError(f"{wanted}: the hub has no repository {wanted.repo}", hint=hint) from error
    except errors.RevisionNotFoundError as error:
        raise WeightsError(f"{wanted}: {wanted.repo} has no revision {wanted.revision!r}") from error
    except errors.RemoteEntryNotFoundError as error:
        hint = _other_files(wanted)
        raise WeightsError(f"{wanted}: {wanted.repo} has no file {wanted.file}", hint=hint) from error
    except errors.HFValidationError as error:
        raise WeightsError(f"{wanted}: the hub takes no such name: {error}") from error
    except Exception as error:  # offline, no route, time-outs, full disks: whatever the client lets through
        raise WeightsError(
            f"{wanted}: cannot be fetched: {_reason(error)}",
            hint=f"without network, put {PurePosixPath(wanted.file).name} at {wanted.place}",
        ) from error


def _other_files(wanted: HubFile) -> str:
    import huggingface_hub as hub

    try:
        names = hub.HfApi().list_repo_files(wanted.repo, revision=wanted.revision)
    except Exception:  # only a hint is lost
        return ""
    usable = sorted(name for name in names if name.endswith(".safetensors"))
    otherwise = f"it has {', '.join(usable[:5])}" if usable else "it holds no .safetensors files"
    return nearest(wanted.file, usable, otherwise=otherwise)


def publish(path: Path, repo: str, *, private: bool = False) -> str:
    """Put a weights file and a page about it into `repo` (made if missing), in one commit.

    Returns the address. Raises WeightsError if the hub refuses or cannot be reached, UsageError.
    """
    if not re.fullmatch(_REPO, repo, re.ASCII):
        raise UsageError(f"{repo!r} is no repository name", hint="write owner/repo")
    page = readme(store.read_header(path), repo)
    import huggingface_hub as hub

    api = hub.HfApi()
    files = [
        hub.CommitOperationAdd(path_in_repo=FILE, path_or_fileobj=path),
        hub.CommitOperationAdd(path_in_repo="README.md", path_or_fileobj=page.encode()),
    ]
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        api.create_commit(repo, files, commit_message=f"Upload {path.name}")
    except Exception as error:  # as in `download`
        raise WeightsError(
            f"{repo}: the hub did not take the file: {_reason(error)}",
            hint="it needs a connection, and `hf auth login` or HF_TOKEN with a token that may write",
        ) from error
    return str(HubFile(repo=repo))


def readme(header: store.Header, repo: str) -> str:
    """The page of a model on the hub: what it is, whom it is owed to, how it is used."""
    said = {key.removeprefix("liif."): text for key, text in header.metadata.items()}
    front = ["library_name: liif-cli", "pipeline_tag: image-to-image", "tags: [super-resolution, liif]"]
    if "licence" in said:
        front.append(f"license: {said['licence'].lower()}")
    encoder, decoder = header.spec.encoder, header.spec.decoder
    told = [
        f"# {said.get('name', repo.split('/')[1])}",
        f"A LIIF model (arXiv 2012.09161) of {header.parameters:,} parameters: it enlarges pictures by any "
        f"factor. Encoder {encoder.kind}, {encoder.width} wide; decoder {decoder.kind}.",
        f"    liif upscale photo.jpg --scale 7.5 -m {PREFIX}{repo}",
    ]
    if "credits" in said:
        told.append(" ".join(part for part in (f"From: {said['credits']}", said.get("url")) if part))
    return "\n".join(["---", *front, "---", "", "\n\n".join(told), ""])


def _reason(error: BaseException) -> str:
    """The client's own words, without its advice: of what it tells about, what came first."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).split(". ")[0].rstrip(".")

"""A Hugging Face hub on localhost, as far as the real client needs one for files of models."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "1234567890abcdef1234567890abcdef12345678"


@dataclass
class FakeHub:
    """repos: files by repository, the same at the revisions `main` and `v1`.

    closed: repositories that need the token; gated: those that need a consent nobody here has given.
    """

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    gated: set[str] = field(default_factory=set)
    token: str = "hf_secret"
    asked: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    """The hub, answering at `hub.url` while the block runs."""

    class Handler(_Handler):
        state = hub

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: FakeHub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.state.asked.append(f"POST {self.path}")
        if self.headers.get("Authorization") != f"Bearer {self.state.token}":
            return self._refuse(401, "", "Invalid username or password.")
        if self.path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            if repo in self.state.repos:
                return self._send(409, json.dumps({"url": f"{self.state.url}/{repo}"}).encode())
            self.state.repos[repo] = {}
            return self._json({"url": f"{self.state.url}/{repo}", "name": repo})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/[^/]+", self.path):
            files = [
                {"path": it["path"], "uploadMode": "regular", "shouldIgnore": False}
                for it in json.loads(body)["files"]
            ]
            return self._json({"files": files})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/[^/]+", self.path):
            for line in body.splitlines():
                item = json.loads(line)
                if item["key"] == "file":
                    data = base64.b64decode(item["value"]["content"])
                    self.state.repos[found[1]][item["value"]["path"]] = data
            url = f"{self.state.url}/{found[1]}/commit/{COMMIT}"
            return self._json({"commitUrl": url, "commitOid": COMMIT, "pullRequestUrl": None})
        return self._refuse(404, "", "no such address")

    def _answer(self) -> None:
        self.state.asked.append(f"{self.command} {self.path}")
        found = re.fullmatch(
            r"/(?:api/models/)?([^/]+/[^/]+)/(resolve|tree)/([^/?]+)/?([^?]*)(\?.*)?", self.path
        )
        found = found or re.fullmatch(r"/api/models/([^/]+/[^/?]+)()()()(\?.*)?", self.path)
        if not found:
            return self._refuse(404, "", "no such address")
        repo, kind, revision, file, _ = found.groups()
        if repo not in self.state.repos:
            return self._refuse(401, "RepoNotFound", "Repository not found")
        if repo in self.state.closed and self.headers.get("Authorization") != f"Bearer {self.state.token}":
            return self._refuse(401, "RepoNotFound", "Repository not found")
        if repo in self.state.gated:
            return self._refuse(403, "GatedRepo", "Access is restricted")
        if revision not in ("", "main", "v1", COMMIT):
            return self._refuse(404, "RevisionNotFound", "Invalid rev id")
        files = self.state.repos[repo]
        if kind != "resolve":
            listed = [
                {"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in files.items()
            ]
            siblings = [{"rfilename": name} for name in files]
            return self._json(listed if kind == "tree" else {"id": repo, "sha": COMMIT, "siblings": siblings})
        if file not in files:
            return self._refuse(404, "EntryNotFound", "Entry not found")
        etag = hashlib.sha1(files[file], usedforsecurity=False).hexdigest()
        return self._send(200, files[file], {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self._send(status, json.dumps({"error": message}).encode(), headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass  # the test's own output is enough

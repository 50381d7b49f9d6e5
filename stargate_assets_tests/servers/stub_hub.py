"""The Hugging Face Hub's API on loopback, as far as its client needs it to make a repository and
commit files to it.
"""

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response


@dataclass
class StubHub:
    """`repositories` are there, private or not; `files` is what was committed to each, by path."""

    url: str
    token: str
    repositories: dict[str, bool] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)

    def respond(self, request: Request) -> Response:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return answer({"error": "Invalid username or password."}, 401)
        match request.path.strip("/").split("/"):
            case ["api", "repos", "create"]:
                return self._create(json.loads(request.get_data()))
            case ["api", "validate-yaml"]:
                return answer({"errors": [], "warnings": []})
            case ["api", "models" | "datasets", owner, name]:
                private = self.repositories[f"{owner}/{name}"]
                return answer({"id": f"{owner}/{name}", "private": private, "siblings": []})
            case ["api", "models" | "datasets", _, _, "preupload", "main"]:
                asked = json.loads(request.get_data())["files"]
                kept = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
                return answer({"files": [{"path": file["path"], **kept} for file in asked]})
            case ["api", "models" | "datasets", owner, name, "commit", "main"]:
                return self._commit(f"{owner}/{name}", request.get_data())
            case _:
                return answer({"error": f"no {request.path}"}, 404)

    def _create(self, body: dict[str, Any]) -> Response:
        repository = f"{body['organization']}/{body['name']}"
        address = f"{self.url}/{repository}"
        if repository in self.repositories:
            return answer({"error": "You already created this repo", "url": address}, 409)
        self.repositories[repository] = body["visibility"] == "private"
        self.kinds[repository] = body.get("type", "model")
        return answer({"url": address})

    def _commit(self, repository: str, body: bytes) -> Response:
        files = self.files.setdefault(repository, {})
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                assert line["value"]["encoding"] == "base64"
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        made = f"{self.url}/{repository}/commit/1"
        return answer({"commitUrl": made, "commitOid": "1", "hookOutput": ""})


def answer(body: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")


def stub_hub(server: HTTPServer, token: str) -> StubHub:
    """The Hub at a server on loopback, which knows one key."""
    hub = StubHub(server.url_for("").rstrip("/"), token)
    server.clear()
    server.expect_request(uri=re.compile(".*")).respond_with_handler(hub.respond)
    return hub

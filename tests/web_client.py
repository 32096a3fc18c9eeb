"""The page in the test's own process: requests without a network."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import anyio

from connrunner.web.application import make_application
from connrunner.web.live_view import LiveView
from connrunner.web.peer_account import own_account
from connrunner.web.site import Site


@dataclass(frozen=True)
class Answered:
    """What was answered."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    @property
    def json(self) -> Any:
        return json_module.loads(self.content)


@dataclass
class WebClient:
    """Asks the page of the workspace in *folder* as a browser of the account that runs it, or as *facts* say."""

    folder: Path
    now: datetime | None = None
    is_open: bool = False
    peer: str = "127.0.0.1"
    account: int | None = field(default_factory=own_account)
    headers: dict[str, str] = field(default_factory=lambda: {"host": "127.0.0.1:8080"})

    def __post_init__(self) -> None:
        self.site = Site(LiveView(self.folder, None, clock=self._clock), is_open=self.is_open)

    def _clock(self) -> datetime:
        return self.now or datetime.now(UTC)

    def get(self, path: str, headers: Mapping[str, str] | None = None, **query: object) -> Answered:
        return self.ask("GET", path, query=urlencode(query), headers=headers)

    def post_json(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answered:
        content = b"" if body is None else json_module.dumps(body).encode()
        return self.ask("POST", path, content, headers={"content-type": "application/json", **(headers or {})})

    def post_form(self, path: str, headers: Mapping[str, str] | None = None, **fields: object) -> Answered:
        given = {"content-type": "application/x-www-form-urlencoded", "origin": "http://127.0.0.1:8080"}
        return self.ask("POST", path, urlencode(fields).encode(), headers={**given, **(headers or {})})

    def ask(
        self,
        method: str,
        path: str,
        content: bytes = b"",
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answered:
        """Return what is answered; *path* is decoded."""
        sent = {**self.headers, "content-length": str(len(content)), **(headers or {})}
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in sent.items()],
            "client": (self.peer, 50000),
            "server": ("127.0.0.1", 8080),
            "state": {"account": self.account},
        }
        return anyio.run(self._ask, scope, content)

    async def _ask(self, scope: dict[str, Any], content: bytes) -> Answered:
        self.site._threads = None  # belongs to the loop of one request
        application = make_application(self.site)
        parts: list[bytes] = []
        start: dict[str, Any] = {}
        sent = False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if sent:
                await anyio.sleep_forever()
            sent = True
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(message.get("body", b""))

        await application(scope, receive, send)
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}
        return Answered(start["status"], headers, b"".join(parts))

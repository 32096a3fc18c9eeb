"""A file at an address, and an API that takes rows."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from connrunner.connectors.http import client
from connrunner.text import durations
from tests.servers.http import Asked, Reply, Server, data
from tests.stands import REFERENCE, SECRET, Kind, Person, Settings, to_csv


class Here:
    def __init__(self, folder: Path, server: Server) -> None:
        self._server = server
        self._file = b""
        self._taken: list[Person] = []
        self._left = 0
        self._kind: Kind = "error"
        self._over = threading.Event()
        server.act = self._answer
        where = {"type": "http", "auth": {"type": "bearer", "token": REFERENCE}}
        self.source: Settings = {**where, "url": server.url("/people.csv")}
        self.destination: Settings = {**where, "url": server.url("/people"), "body": "list"}
        self.more: Settings = {}
        self.reached = threading.Event()

    def offer(self, people: Sequence[Person]) -> None:
        self._file = to_csv(people)

    def arrived(self) -> list[Person]:
        return self._taken

    def wrong(self, settings: Settings) -> Settings:
        return {**settings, "auth": {**settings["auth"], "token": "another"}}

    def missing(self, settings: Settings) -> tuple[Settings, str]:
        return {**settings, "url": self._server.url("/gone")}, "/gone"

    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client, "FIRST_WAIT", 0.002)

    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(durations, "parse", lambda text: 0.2)

    def trouble(self, kind: Kind, times: int) -> None:
        self._kind, self._left = kind, times
        self._over.clear()

    def calm(self) -> None:
        self._left = 0
        self._over.set()

    def close(self) -> None: ...

    def _answer(self, asked: Asked) -> Reply:
        if asked.headers["Authorization"] != f"Bearer {SECRET}":
            return data({"message": "unknown token"}, 401)
        if asked.path == "/gone":
            return Reply(404)
        if self._left:
            self._left -= 1
            return self._trouble(asked)
        if asked.method == "GET":
            return Reply(body=self._file, headers={"ETag": f'"{hash(self._file)}"'})
        self._taken += [(row["id"], row["name"]) for row in asked.json]
        return Reply(204)

    def _trouble(self, asked: Asked) -> Reply:
        if self._kind == "error":
            return data({"message": f"busy with {SECRET}"}, 503)
        if self._kind == "silent":
            self.reached.set()
            if asked.method != "GET":
                self._over.wait(600)
        return Reply(
            body=self._file,
            cut=len(self._file) // 2,
            drop=asked.method != "GET",
            stall=self._kind == "silent" and asked.method == "GET",
        )

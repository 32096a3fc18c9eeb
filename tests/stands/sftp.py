"""A folder on an SFTP server."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from connrunner.connectors.sftp import server as sftp_server
from connrunner.connectors.sftp import sftp_session
from tests.servers.sftp import Files, Running, put
from tests.stands import REFERENCE, Kind, Person, Settings, from_csv, to_csv

TRANSFERS = ("read", "write")


class Here:
    def __init__(self, folder: Path, server: Running) -> None:
        self._server = server
        self._root = folder.parent / "partner"
        (self._root / "out").mkdir(parents=True)
        server.mood.__init__(root=os.fsencode(self._root))  # type: ignore[misc]
        where = {"type": "sftp", "host": "127.0.0.1", "port": server.port, "username": "crm", "password": REFERENCE}
        where["host_key"] = server.fingerprint
        self.source: Settings = {**where, "path": "in/*.csv"}
        self.destination: Settings = {**where, "path": "out/people.csv"}
        self.more: Settings = {}
        self.reached = threading.Event()

    def offer(self, people: Sequence[Person]) -> None:
        put(self._root / "in" / "people.csv", to_csv(people))

    def arrived(self) -> list[Person]:
        whole = self._root / "out" / "people.csv"
        return from_csv(whole.read_bytes()) if whole.exists() else []

    def wrong(self, settings: Settings) -> Settings:
        return {**settings, "username": "stranger"}

    def missing(self, settings: Settings) -> tuple[Settings, str]:
        return {**settings, "path": "gone/people.csv"}, "gone"

    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sftp_session, "PAUSE", 0.01)
        monkeypatch.setattr(sftp_session, "PATIENCE", 0.1)
        monkeypatch.setattr(sftp_server, "BLOCK", 1024)  # so that a file has a middle

    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sftp_session, "SILENCE", 2)

    def trouble(self, kind: Kind, times: int) -> None:
        blocks: dict[Files, int] = {}

        def strike(files: Files, _: bytes) -> Any:
            blocks[files] = blocks.get(files, 0) + 1
            if len(blocks) > times or blocks[files] < 3:
                return None
            if kind == "cut":
                files.cut()
            if kind == "error":
                raise asyncssh.SFTPFailure("the disk is full")
            self.reached.set()
            return asyncio.sleep(3600)

        self._server.mood.before.update(dict.fromkeys(TRANSFERS, strike))

    def calm(self) -> None:
        self._server.mood.before.clear()
        for file in self._server.mood.opened:
            file.close()
        self._server.mood.opened.clear()

    def close(self) -> None:
        left = {path.name for path in (self._root / "out").iterdir()}
        assert left <= {"people.csv"}, "a run that came to its end clears what one that broke off had to leave"

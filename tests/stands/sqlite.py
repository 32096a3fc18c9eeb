"""A database file."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from connrunner.connectors.sql import database_url, failure
from tests.stands import Kind, Person, Settings, workspace_file


class Here:
    def __init__(self, folder: Path, server: None) -> None:
        path = workspace_file(folder, "partner.db")
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA synchronous = off")
        self._database.execute("CREATE TABLE people (id TEXT, name TEXT)")
        self._database.execute("CREATE TABLE audience (id TEXT PRIMARY KEY, name TEXT)")
        self.source: Settings = {"type": "sql", "url": "sqlite:///partner.db", "table": "people"}
        self.destination: Settings = {**self.source, "table": "audience", "mode": "upsert", "unique": ["id"]}
        self.more: Settings = {}
        self.reached = threading.Event()

    def offer(self, people: Sequence[Person]) -> None:
        self._database.execute("BEGIN")
        self._database.execute("DELETE FROM people")
        self._database.executemany("INSERT INTO people VALUES (?, ?)", people)
        self._database.execute("COMMIT")

    def arrived(self) -> list[Person]:
        return self._database.execute("SELECT id, name FROM audience ORDER BY id").fetchall()

    def wrong(self, settings: Settings) -> Settings:
        raise NotImplementedError

    def missing(self, settings: Settings) -> tuple[Settings, str]:
        return {**settings, "table": "gone"}, "gone"

    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(failure, "PAUSE", 0.01)

    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(database_url, "CONNECT", 0.05)

    def trouble(self, kind: Kind, times: int) -> None:
        assert (kind, times > 1) == ("silent", True)
        self._database.execute("BEGIN EXCLUSIVE")

    def calm(self) -> None:
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")

    def close(self) -> None:
        self._database.close()

"""A MariaDB over the network, by password."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from connrunner.connectors.sql import database_url, failure
from tests.servers.mariadb import Server, empty
from tests.servers.postgres import Proxy
from tests.stands import REFERENCE, Kind, Person, Settings

MIDDLE = 12_000  # bytes: a connection stands by then, and the rows are under way


class Here:
    def __init__(self, folder: Path, server: Server) -> None:
        self._proxy = Proxy(server.port)
        empty(server)
        self._database = server.connect()
        with self._database.cursor() as cursor:
            cursor.execute("CREATE TABLE people (id varchar(20), name text)")
            cursor.execute("CREATE TABLE audience (id varchar(20) PRIMARY KEY, name text)")
        url = f"mysql+pymysql://owner@127.0.0.1:{self._proxy.port}/crm"
        where = {"type": "sql", "url": url, "password": REFERENCE, "statement_timeout": "2s"}
        self.source: Settings = {**where, "table": "people"}
        self.destination: Settings = {**where, "table": "audience", "mode": "upsert", "unique": ["id"]}
        self.more: Settings = {}
        self.reached = self._proxy.held

    def offer(self, people: Sequence[Person]) -> None:
        with self._database.cursor() as cursor:
            cursor.execute("DELETE FROM people")
            cursor.executemany("INSERT INTO people VALUES (%s, %s)", people)

    def arrived(self) -> list[Person]:
        with self._database.cursor() as cursor:
            cursor.execute("SELECT id, name FROM audience ORDER BY id")
            return [(str(key), str(name)) for key, name in cursor.fetchall()]

    def wrong(self, settings: Settings) -> Settings:
        return {**settings, "username": "reader"}

    def missing(self, settings: Settings) -> tuple[Settings, str]:
        return {**settings, "table": "gone"}, "gone"

    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(failure, "PAUSE", 0.01)

    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(database_url, "SILENCE", -1)
        monkeypatch.setattr(failure, "TRIES", 0)

    def trouble(self, kind: Kind, times: int) -> None:
        if kind == "error":
            self._proxy.refuses = times
        else:
            self._proxy.limit, self._proxy.cuts, self._proxy.holds = MIDDLE, times, kind == "silent"

    def calm(self) -> None:
        self._proxy.refuses, self._proxy.limit, self._proxy.holds = 0, None, False
        self._proxy.flows.set()

    def close(self) -> None:
        self._database.close()
        self._proxy.close()

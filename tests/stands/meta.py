"""A custom audience of Meta, by its double."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from connrunner.connectors.meta import graph
from connrunner.connectors.meta.normalization import hash_text
from connrunner.text import durations
from tests.servers.http import Reply, Server
from tests.servers.meta import ACCOUNT, MetaDouble, error
from tests.stands import REFERENCE, SECRET, Kind, Person, Settings


class Here:
    def __init__(self, folder: Path, server: Server) -> None:
        self._meta = MetaDouble(SECRET)
        self._meta.hold("Readers")
        self._meta.before = self._trouble
        self._left = 0
        self._kind: Kind = "error"
        self._over = threading.Event()
        server.act = self._meta.act
        self.source: Settings = {}
        self.destination: Settings = {
            "type": "meta",
            "account": ACCOUNT,
            "audience": "Readers",
            "token": REFERENCE,
            "keys": {"id": "EXTERN_ID", "name": "FN"},
            "graph_url": server.url(""),
        }
        self.more: Settings = {}
        self.reached = threading.Event()

    def offer(self, people: Sequence[Person]) -> None:
        raise NotImplementedError

    def arrived(self) -> list[Person]:
        rows = [dict(row) for _, _, row in self._meta.taken]
        return [(row["EXTERN_ID"], _names()[row["FN"]]) for row in rows]

    def wrong(self, settings: Settings) -> Settings:
        self._meta.token = "another"
        return settings

    def missing(self, settings: Settings) -> tuple[Settings, str]:
        return {**settings, "audience": "Gone"}, "'Gone'"

    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(graph, "FIRST_WAIT", 0.002)

    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(durations, "parse", lambda text: 0.2)

    def trouble(self, kind: Kind, times: int) -> None:
        self._kind, self._left = kind, times
        self._over.clear()

    def calm(self) -> None:
        self._left = 0
        self._meta.token = SECRET
        self._over.set()

    def close(self) -> None: ...

    def _trouble(self, method: str, edge: str) -> Reply | None:
        if not self._left or edge != "users":
            return None
        self._left -= 1
        if self._kind == "error":
            return error(2, 0, f"busy with {SECRET}")
        if self._kind == "silent":
            self.reached.set()
            self._over.wait(600)
        return Reply(drop=True)


@cache
def _names() -> dict[str, str]:
    """Return the names of the suite by their hash."""
    names = ["Ann", "Bob", "Cy", *(f"the person with the number {number}" for number in range(300))]
    return {hash_text(name.lower()): name for name in names}

"""Files in the workspace: the partner is the disk."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.stands import Kind, Person, Settings, from_csv, to_csv, workspace_file


class Here:
    def __init__(self, folder: Path, server: None) -> None:
        self._folder = folder
        self.source: Settings = {"type": "files", "path": "in/*.csv"}
        self.destination: Settings = {"type": "files", "path": "out/people.csv"}
        self.more: Settings = {}
        self.reached = threading.Event()

    def offer(self, people: Sequence[Person]) -> None:
        workspace_file(self._folder, "in/people.csv").write_bytes(to_csv(people))

    def arrived(self) -> list[Person]:
        path = self._folder / "out" / "people.csv"
        return from_csv(path.read_bytes()) if path.exists() else []

    def wrong(self, settings: Settings) -> Settings:
        raise NotImplementedError

    def missing(self, settings: Settings) -> tuple[Settings, str]:
        return {**settings, "path": f"{self._folder}-gone/people.csv"}, "-gone"

    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None: ...

    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None: ...

    def trouble(self, kind: Kind, times: int) -> None:
        raise NotImplementedError

    def calm(self) -> None: ...

    def close(self) -> None: ...

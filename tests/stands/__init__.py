"""Partners for the conformance suite: one stand for each connector, with a real server or program behind it."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest

SECRET = "correct horse battery"
VARIABLE = "PARTNER_SECRET"
REFERENCE = f"env:{VARIABLE}"
EVER = 1_000_000

Person = tuple[str, str]  # id and name
Settings = dict[str, Any]
Kind = Literal["cut", "silent", "error"]


class Stand(Protocol):
    """A partner as one connector meets it. What it keeps secret is SECRET, and REFERENCE in the settings."""

    source: Settings
    destination: Settings
    more: Settings  # what a connection says beside them, `format` say
    reached: threading.Event  # set when a silent server has fallen silent in the middle of a transfer

    def offer(self, people: Sequence[Person]) -> None:
        """Let the partner have these to import, and no others."""

    def arrived(self) -> list[Person]:
        """Return whom exports brought to the partner, those that came twice twice."""

    def wrong(self, settings: Settings) -> Settings:
        """Return *settings* with a secret that the partner does not know."""

    def missing(self, settings: Settings) -> tuple[Settings, str]:
        """Return *settings* of what is not there, and the word that a message must have."""

    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make pauses between tries short."""

    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the time that a server may be silent short."""

    def trouble(self, kind: Kind, times: int) -> None:
        """Let that many transfers break in the middle, fall silent in the middle, or be answered with an error."""

    def calm(self) -> None:
        """End all trouble."""

    def close(self) -> None:
        """Leave the partner."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One connector in the suite: where its stand is, and which cases it cannot have, with the reason."""

    stand: str  # the module in this package; its class Here is a Stand, made from the workspace and the server
    type: str
    server: str = ""  # the fixture that runs the server
    imports: bool = True
    exports: bool = True
    always: bool = True  # `make test` brings its rows there; else only `make thorough` does
    tries_again: tuple[Kind, ...] = ("cut", "silent", "error")  # what a run outlives when it happens once
    resends: str = "all"  # `rows` of its export: files are whole each time, elsewhere rows that changed go out
    cannot: dict[str, str] = field(default_factory=dict)


def to_csv(people: Sequence[Person]) -> bytes:
    return "".join(f"{line}\n" for line in ("id,name", *(",".join(person) for person in people))).encode()


def from_csv(content: bytes) -> list[Person]:
    return [(row["id"], row["name"]) for row in csv.DictReader(io.StringIO(content.decode()))]


def workspace_file(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path

"""A bucket."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from connrunner.connectors.s3 import bucket
from tests.servers.s3 import Faulty, Handler, cut, empty, says, there
from tests.stands import REFERENCE, SECRET, Kind, Person, Settings, from_csv, to_csv


class Here:
    def __init__(self, folder: Path, server: Faulty) -> None:
        self._server = server
        self._objects = empty()
        self._over = threading.Event()
        server.forget()
        where = {"type": "s3", "bucket": "drop", "endpoint_url": server.url, "secret_access_key": REFERENCE}
        where["access_key_id"] = "env:PARTNER_KEY_ID"
        self.source: Settings = {**where, "path": "in/people.csv"}
        self.destination: Settings = {**where, "path": "out/people.csv"}
        self.more: Settings = {}
        self.reached = threading.Event()

    def offer(self, people: Sequence[Person]) -> None:
        self._objects.put_object("drop", "in/people.csv", to_csv(people))

    def arrived(self) -> list[Person]:
        return from_csv(there(self._objects).get("out/people.csv", b"id,name\n"))

    def wrong(self, settings: Settings) -> Settings:
        self._server.faults = [says(403, "SignatureDoesNotMatch", f"<StringToSign>{SECRET}</StringToSign>")] * 9
        return settings

    def missing(self, settings: Settings) -> tuple[Settings, str]:
        return {**settings, "bucket": "gone"}, "'gone'"

    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in list(os.environ):
            if name.startswith("AWS_"):
                monkeypatch.delenv(name)
        monkeypatch.setenv("PARTNER_KEY_ID", "AKIDEXAMPLE00001")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setattr(bucket, "FIRST_PAUSE", 0.01)
        monkeypatch.setattr(bucket, "LONGEST_PAUSE", 0.02)
        monkeypatch.setattr(bucket, "RETRIES", 2)

    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bucket, "READ", 0.3)
        monkeypatch.setattr(bucket, "SEND", 0.3)

    def trouble(self, kind: Kind, times: int) -> None:
        self._over.clear()
        busy = says(503, "SlowDown", f"<Why>{SECRET}</Why>")
        fault = {"cut": self._cut, "silent": self._fall_silent, "error": busy}[kind]

        def strike(handler: Handler) -> bool:
            if handler.command == "PUT" or (handler.command == "GET" and handler.path == "/drop/in/people.csv"):
                return fault(handler)
            self._server.faults.insert(0, strike)  # looking is no transfer
            return False

        self._server.faults = [strike] * min(times, 100)

    def calm(self) -> None:
        self._over.set()
        self._server.faults = []

    def close(self) -> None: ...

    def _cut(self, handler: Handler) -> bool:
        if handler.command == "GET":
            return cut(handler)
        handler.rfile.read(10)
        handler.close_connection = True
        return True

    def _fall_silent(self, handler: Handler) -> bool:
        if handler.command == "PUT":
            handler.rfile.read(10)
        else:
            status, headers, body = handler.hand_on()
            handler.answer(status, headers, body, cut=len(body) // 2)
        self.reached.set()
        self._over.wait(600)
        handler.close_connection = True
        return True

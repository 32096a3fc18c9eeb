"""An org of Salesforce, as its double has it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from connrunner.connectors.http import client
from connrunner.text import durations
from tests.servers.salesforce import CLIENT, Running, Trouble
from tests.stands import REFERENCE, Kind, Person, Settings


class Here:
    def __init__(self, folder: Path, server: Running) -> None:
        self.org = server.make_org()
        server.authority.cert_pem.write_to_path(str(folder / "company-ca.pem"))
        where = {
            "type": "salesforce",
            "login_url": server.server.url(""),
            "ca_file": "company-ca.pem",
            "client_id": CLIENT,
            "client_secret": REFERENCE,
            "object": "Contact",
        }
        self.source: Settings = {**where, "fields": ["Crm_Id__c", "LastName"]}
        self.destination: Settings = {**where, "external_id": "Crm_Id__c"}
        self.more: Settings = {}
        self.columns = {"id": "Crm_Id__c", "name": "LastName"}
        self.reached: threading.Event = self.org.reached

    def offer(self, people: Sequence[Person]) -> None:
        self.org.records["Contact"].clear()
        self.org.index.clear()
        for number, name in people:
            self.org.add("Contact", Crm_Id__c=number, LastName=name)

    def arrived(self) -> list[Person]:
        return [
            (one["Crm_Id__c"], one["LastName"])
            for one in self.org.living("Contact")
            for _ in range(self.org.written["Contact", "upsert", one["Crm_Id__c"]])
        ]

    def wrong(self, settings: Settings) -> Settings:
        return {**settings, "client_secret": "another"}

    def missing(self, settings: Settings) -> tuple[Settings, str]:
        return {**settings, "object": "Contakt"}, "Contakt"

    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client, "FIRST_WAIT", 0.002)

    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(durations, "parse", lambda text: 0.2)

    def trouble(self, kind: Kind, times: int) -> None:
        named = {"cut": ("cut", "lost"), "silent": ("silent", "silent"), "error": ("busy", "busy")}[kind]
        self.org.over.clear()
        self.org.troubles = [Trouble("page", named[0], times), Trouble("upload", named[1], times)]

    def calm(self) -> None:
        self.org.troubles = []
        self.org.over.set()

    def close(self) -> None: ...

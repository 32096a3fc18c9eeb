"""A withdrawal reaches the partner: who left the selection, withdrew the consent or was erased is deleted there."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from connrunner.answers.validation import validate_workspace
from connrunner.config import destination_rules
from connrunner.core.model import Outcome
from connrunner.core.report import NullReport
from connrunner.profiles.erasure import ErasureJob
from connrunner.profiles.stores.rewriting import erase_person
from tests.conftest import Place
from tests.runs import Runs
from tests.servers.http import Asked, Reply, Server

PROFILE: dict[str, dict[str, Any]] = {
    "properties": {
        "id": {"type": "text", "identifier": True},
        "name": {"type": "text"},
        "age": {"type": "integer"},
    },
    "objectives": {"news": {"title": "News", "legislation": "opt-in"}},
}
PEOPLE = ["1,Ann,30,yes", "2,Bob,30,yes", "3,Cas,30,yes", "4,Dee,30,yes"]
# The three ways in which somebody no longer qualifies; a fourth person stays.
LATER = ["1,Ann,30,no", "2,Bob,10,yes"]
ERASED = "3"

Told = Callable[[], dict[str, bool]]
"""Returns what the last run told the partner: by id, whether the person is to be deleted."""


def files(runs: Runs, server: Server) -> tuple[dict[str, Any], Told]:
    def told() -> dict[str, bool]:
        with (runs.folder / f"out-{runs.number}.csv").open(newline="") as file:
            return {row["id"]: row["deleted"] == "true" for row in csv.DictReader(file)}

    return {"type": "files", "path": "out-{run}.csv"}, told


def sql(runs: Runs, server: Server) -> tuple[dict[str, Any], Told]:
    path = runs.folder / "crm.db"
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE people (id TEXT PRIMARY KEY, name TEXT, deleted BOOLEAN)")
        made.commit()

    def told() -> dict[str, bool]:
        with closing(sqlite3.connect(path)) as there:
            rows = there.execute("SELECT id, name, deleted FROM people").fetchall()
        assert all(name is None for number, name, gone in rows if gone and number != "2"), "nothing else leaves"
        return {number: bool(gone) for number, _, gone in rows}

    return {"type": "sql", "url": "sqlite:///crm.db", "table": "people", "mode": "upsert", "unique": ["id"]}, told


def http(runs: Runs, server: Server) -> tuple[dict[str, Any], Told]:
    sent: list[dict[str, Any]] = []

    def act(asked: Asked) -> Reply:
        sent[:] = asked.json
        return Reply(204)

    server.act = act
    return {"type": "http", "url": server.url("/people")}, lambda: {row["id"]: row["deleted"] for row in sent}


PARTNERS = {"files": files, "sql": sql, "http": http}


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path, profile=PROFILE)


def put(runs: Runs, rows: list[str]) -> None:
    path = runs.folder / f"people-{runs.number}.csv"
    path.write_text("\n".join(["id,name,age,news", *rows, ""]))
    source = {"type": "files", "path": path.name}
    fields = {name: name for name in PROFILE["properties"]}
    work = {"import": {"from": source, "match": ["id"], "fields": fields, "consent": {"news": "news"}}}
    assert runs.run(work, "people").outcome is Outcome.SUCCEEDED


@pytest.mark.slow
@pytest.mark.parametrize("partner", PARTNERS)
def test_a_withdrawal_reaches_the_partner_once(runs: Runs, http_server: Server, partner: str) -> None:
    to, told = PARTNERS[partner](runs, http_server)
    fields = {"id": "id", "name": "name"}
    work = {
        "export": {"to": to, "fields": fields, "objectives": ["news"], "where": "age > 18", "deleted": "send"},
    }
    if partner == "files":
        work["export"]["when_empty"] = "skip"
    put(runs, PEOPLE)
    assert runs.run(work, "partner").counts == {"read": 4, "checked": 4, "created": 4}
    assert told() == dict.fromkeys("1234", False)

    put(runs, LATER)
    model = runs.job(work, "partner").model
    waiting = runs.state.withdrawals("partner")
    temp = runs.folder / "erasing"
    temp.mkdir()
    job = ErasureJob(value=ERASED, withdrawals={"partner": waiting})
    erase_person(runs.state.profiles, job, model, temp=temp, report=NullReport(), wait=0, before=lambda *_: None)
    assert [json.loads(json.loads(line)["identifiers"]) for line in waiting.read_text().splitlines()] == [{"id": "3"}]

    done = runs.run(work, "partner")
    assert done.counts == {"read": 4, "checked": 4, "unchanged": 1, "deleted": 3}
    expected = dict.fromkeys("123", True)
    assert told() == ({**expected, "4": False} if partner == "sql" else expected)
    assert not waiting.exists()
    again = runs.run(work, "partner")
    assert again.counts == {"read": 3, "checked": 2, "unchanged": 1, "filtered": 1, "consent_blocked": 1}


CANNOT: dict[str, dict[str, Any]] = {
    "a replaced table": {"to": {"type": "sql", "mode": "replace"}, "rows": "all"},
    "rows that are only added": {"to": {"type": "sql", "mode": "insert"}},
    "a replaced audience": {"to": {"type": "meta", "operation": "replace", "keys": {}}, "rows": "all"},
    "an audience that people are taken out of": {"to": {"type": "meta", "operation": "remove", "keys": {}}},
}


@pytest.mark.parametrize("name", CANNOT)
def test_a_partner_that_cannot_delete_is_told_by_validate(name: str) -> None:
    work = {**CANNOT[name], "fields": {}, "deleted": "send"}
    found = list(destination_rules.find_deletion_doubt(work))
    assert [(finding.path, finding.code) for finding in found] == [(("export", "deleted"), "cannot-delete")]
    assert list(destination_rules.find_deletion_doubt({**work, "deleted": "skip"})) == []


def test_validate_warns_of_it(place: Place) -> None:
    place.write("profile.yaml", "properties: {id: {type: text, identifier: true}}\n")
    place.write(
        "connections/audience.yaml",
        "schedule: {type: manual}\nexport:\n  to: {type: sql, url: 'sqlite:///a.db', table: people, mode: insert}\n"
        "  fields: {id: id}\n  deleted: send\n",
    )
    (warning,) = validate_workspace(place.folder, [])
    assert (warning.is_warning, warning.code, warning.line) == (True, "cannot-delete", 5)


@pytest.mark.parametrize(
    ("to", "fields", "code", "words"),
    [
        ({"keys": {"mail": "EMAIL"}}, {"email": "email"}, "missing-column", "no column 'mail'"),
        ({"keys": {"email": "EMAIL"}}, {"email": "email", "age": "age"}, "missing-column", "'age', so it would not be"),
        ({"keys": {"a": "EMAIL", "b": ["FN", "EMAIL"]}}, {"a": "x", "b": "y"}, "does-not-fit", "EMAIL is made of 'a'"),
        ({"keys": {"a": "EMAIL"}, "hashed": ["b"]}, {"a": "x"}, "missing-column", "no column 'b'"),
        ({"keys": {"a": "EMAIL"}, "audience_id": "1", "create": True}, {"a": "x"}, "does-not-fit", "`create` makes"),
        (
            {"keys": {"a": "EXTERN_ID", "b": "COUNTRY"}},
            {"a": "x", "b": "y"},
            "does-not-fit",
            "COUNTRY and EXTERN_ID alone",
        ),
        ({"keys": {"a": "EMAIL"}, "operation": "replace"}, {"a": "x"}, "needs-all-rows", "`operation: replace`"),
    ],
)
def test_an_audience_and_its_columns(to: dict[str, Any], fields: dict[str, str], code: str, words: str) -> None:
    found = list(destination_rules.check_destination({"to": {"type": "meta", **to}, "fields": fields}))
    assert code in {one.code for one in found}
    assert any(words in one.message for one in found), found

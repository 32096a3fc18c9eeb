"""`connrunner undo`: from the command line to the store, beside the queue, and when it cannot be."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connrunner.core import instant
from connrunner.core.model import RunIntent
from connrunner.core.planning.due import DecisionRequest
from connrunner.scheduler.tick import Tick
from connrunner.state import requests
from connrunner.state.journal import Journal
from connrunner.state.journal_state import StartedRun
from tests.conftest import PROFILE, SETTINGS, Place
from tests.test_cli_json import complaints

pytestmark = pytest.mark.slow

CRM = """\
schedule: {type: manual}
import: {from: {type: files, path: "in/*.csv"}, match: [id], fields: {id: id, email: email, name: name}}
notify: [{to: ann@example.com, when: always}]
"""
GOOD, WRONG = (
    "id,email,name\n1,ann@example.com,Ann\n2,bob@example.com,Bob\n",
    "id,email,name\n1,x@example.com,X\n3,c@example.com,C\n",
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An import whose second run was a mistake; each test has a copy."""
    place = Place(tmp_path_factory.mktemp("undo"))
    place.write("connrunner.yaml", SETTINGS)
    place.write("profile.yaml", PROFILE)
    place.write("connections/crm.yaml", CRM)
    place.write("in/a.csv", GOOD)
    place.run("run", "crm")
    place.write("in/b.csv", WRONG)
    place.run("run", "crm")
    return place.folder


@pytest.fixture
def crm(template: Path, tmp_path: Path) -> Place:
    return Place(Path(shutil.copytree(template, tmp_path / "workspace")))


def people(place: Place) -> dict[str, tuple[str, str]]:
    place.run("profiles", "--output", "all.csv")
    rows = [line.split(",") for line in (place.folder / "all.csv").read_text().splitlines()]
    at = {name: rows[0].index(name) for name in ("id", "email", "name")}
    return {row[at["id"]]: (row[at["email"]], row[at["name"]]) for row in rows[1:]}


def ask(place: Place, run: int) -> None:
    said = json.loads(place.run("undo", "crm", str(run), "--detach", "--format", "json").out)
    assert complaints("stop", said) == []


def test_a_night_that_went_wrong_is_put_right(crm: Place) -> None:
    before = {"1": ("ann@example.com", "Ann"), "2": ("bob@example.com", "Bob")}
    assert people(crm)["1"] == ("x@example.com", "X")
    crm.write("in/c.csv", "id,email,name\n1,ann@new.example,X\n")
    crm.run("run", "crm")
    tried = crm.run("undo", "crm", "2", "--dry-run").out
    assert "email=ann@new.example: name: X -> Ann" in tried
    done = crm.run("undo", "crm", "2", "--reason", "the wrong file")
    assert "run 2 is undone (the wrong file): 1 profile is as before, 1 removed; 1 value stays" in " ".join(
        done.out.split()
    )
    assert people(crm) == {**before, "1": ("ann@new.example", "Ann")}
    assert "superseded" in crm.run("rejects", "crm", "4").out
    assert complaints("rejects", json.loads(crm.run("rejects", "crm", "4", "--format", "json").out)) == []
    (record,) = [one for one in crm.runs("crm") if one["run"] == 4]
    assert (record["trigger"], record["kind"], record["detail"]["undone"]) == ("undo", "undo", 2)
    assert record["counts"]["deleted"] == 1
    assert complaints("run", record) == []
    crm.run("undo", "crm", "3")
    assert people(crm) == before
    # The wrong file is known: no later run reads it again.
    crm.run("run", "crm")
    assert people(crm) == before


REFUSED = [
    ("crm 9", "crm has no run 9; see `connrunner runs crm`"),
    ("cmr 1", "did you mean 'crm'"),
    ("out 1", "out #1 is an export: it cannot be undone; its next run sends the difference"),
    ("prog 1", "prog #1 ran a program, and only the program knows what it did"),
    ("crm 3", "crm #3 changed no profile"),
    (f"crm 2 --reason {'x' * 301}", "the reason has 301 characters"),
]


def test_what_cannot_be_undone_is_refused_before_anything_is_asked_for(crm: Place) -> None:
    out = "schedule: {type: manual}\nexport: {to: {type: files, path: o.csv}, fields: {Id: id}}\n"
    crm.write("connections/out.yaml", out)
    crm.command("prog", "pass")
    crm.write("in/c.csv", "no,columns\n")
    crm.run("run", "out", "prog", "crm", check=1)
    for arguments, words in REFUSED:
        failed = crm.run("undo", *arguments.split(), check=2)
        assert words in failed.err, arguments
    assert not requests.read_decisions(crm.state)
    crm.run("undo", "crm", "2")
    assert "has been undone already, by #4" in crm.run("undo", "crm", "2", check=2).err
    assert "is an undo itself" in crm.run("undo", "crm", "4", check=2).err


def test_a_connection_that_is_no_import_any_more_undoes_nothing(crm: Place) -> None:
    stood = people(crm)
    crm.command("crm", "pass")
    failed = crm.run("undo", "crm", "2", check=2)
    assert "crm is no import any more, and an undo is a run of an import" in failed.err
    assert not requests.read_decisions(crm.state)
    crm.write("connections/crm.yaml", CRM)
    assert people(crm) == stood


@pytest.mark.thorough
def test_what_is_too_old_fails_with_a_word(crm: Place) -> None:
    crm.write("connections/crm.yaml", CRM + "undo: {keep: off}\n")
    crm.write("in/c.csv", "id,email,name\n1,late@example.com,L\n")
    crm.run("run", "crm")
    failed = crm.run("undo", "crm", "3", check=1)
    assert "is not kept any more" in " ".join(failed.out.split())
    assert people(crm)["1"] == ("late@example.com", "L")


def test_it_goes_before_what_waits_and_takes_no_place_in_the_queue(crm: Place) -> None:
    """A slot that is due while an undoing waits or works has a run of its own."""
    crm.run("run", "crm", "--detach")
    ask(crm, 2)
    status = json.loads(crm.run("status", "--format", "json").out)
    assert complaints("status", status) == []
    assert {one["trigger"] for one in status["waiting"]} == {"manual", "undo"}
    crm.run("tick")
    runs = [(one["run"], one["trigger"]) for one in crm.runs("crm")]
    assert runs[:2] == [(4, "manual"), (3, "undo")]
    assert not requests.read_decisions(crm.state)


def test_a_slot_is_not_merged_into_an_undo_that_works(crm: Place) -> None:
    """It is no import of what is due: that has a run of its own behind it."""
    crm.write("connections/crm.yaml", CRM.replace("{type: manual}", "{type: times_per_day, times: 1440}"))
    at = instant.parse("2026-12-01T10:00:00Z")
    Tick(crm.folder, crm.state, now=at, say=lambda _: None).take_in()
    state = Journal(crm.state).read()
    state.waiting.clear()
    undo = DecisionRequest(kind="undo", connection="crm", run=2, asked_at=at, asked_by="ann", id="undo-1").as_entry()
    intent = RunIntent(run=3, started_at=at, kind="undo")
    state.started["crm"] = StartedRun(entry=undo, intent=intent, lane="main")
    later = Tick(crm.folder, crm.state, now=at + timedelta(minutes=5), say=lambda _: None)
    assert [slot.result for slot in later._plan(state, [], {}, due=True).slots] == ["queued"]


def test_a_request_that_was_answered_is_not_answered_twice(crm: Place) -> None:
    """The tick died between the record of the start and the removal of the request."""
    ask(crm, 2)
    (request,) = requests.read_decisions(crm.state)
    crm.run("tick")
    requests.request_decision(crm.state, request)
    (again,) = requests.read_decisions(crm.state)
    left = crm.state.requests / f"{again.id}.json"
    left.rename(crm.state.requests / f"{request.id}.json")
    crm.run("tick")
    assert [one["run"] for one in crm.runs("crm")] == [3, 2, 1]
    assert not requests.read_decisions(crm.state)


def test_one_that_waits_can_be_taken_back(crm: Place) -> None:
    ask(crm, 2)
    crm.run("stop", "crm")
    assert people(crm)["1"] == ("x@example.com", "X")
    assert crm.runs("crm")[0]["outcome"] == "stopped"
    assert not requests.read_decisions(crm.state)
    crm.run("tick")
    assert len(crm.runs("crm")) == 3


@pytest.mark.thorough
def test_one_of_a_connection_that_is_gone_is_told(crm: Place) -> None:
    ask(crm, 2)
    crm.write("connections/other.yaml", CRM)
    (crm.folder / "connections/crm.yaml").unlink()
    crm.run("tick", check=None)
    crm.run("tick", check=None)
    runs = crm.runs("crm")
    assert (runs[0]["run"], runs[0]["outcome"]) == (3, "skipped")
    assert len(runs) == 3
    assert not requests.read_decisions(crm.state)


def test_one_that_history_says_was_skipped_is_not_done_when_its_file_is_back(
    crm: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tick died between history and journal: what people saw there is its end."""
    ask(crm, 2)
    crm.write("connections/other.yaml", CRM)
    (crm.folder / "connections/crm.yaml").unlink()
    append = Journal.append

    def die(journal: Journal, *records: dict[str, Any]) -> Any:
        if records[0]["type"] == "ended":
            raise KeyboardInterrupt
        return append(journal, *records)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", die)
        with pytest.raises(KeyboardInterrupt):
            Tick(crm.folder, crm.state, say=lambda _: None).drain()
    crm.write("connections/crm.yaml", CRM)
    crm.run("tick", check=None)
    assert [(one["run"], one["outcome"]) for one in crm.runs("crm")][:2] == [(3, "skipped"), (2, "succeeded")]
    assert people(crm)["1"] == ("x@example.com", "X")
    assert not requests.read_decisions(crm.state)


@pytest.mark.thorough
def test_the_health_of_the_connection_is_that_of_its_imports(crm: Place) -> None:
    crm.write("in/c.csv", "no,columns\n")
    crm.run("run", "crm", check=1)
    crm.run("undo", "crm", "2")
    state = Journal(crm.state).read()
    assert state.last_outcome["crm"] == "failed"
    assert "crm" in state.alerts.streaks
    subjects = [
        line
        for mail in (crm.state.root / "mail").iterdir()
        for line in mail.read_text().splitlines()
        if line.startswith("Subject:")
    ]
    assert "Subject: crm: run 4, an undo, succeeded" in subjects

"""Runs that are held until somebody approves or declines what they would change: from the command line to the store."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from connrunner.core import instant
from connrunner.core.planning.due import DecisionRequest
from connrunner.scheduler import idle
from connrunner.scheduler.tick import Tick
from connrunner.state import journal_state, requests
from connrunner.state.journal import Journal
from tests.conftest import PROFILE, SETTINGS, Place
from tests.test_cli_json import complaints
from tests.test_web_interface import form_token
from tests.web_client import WebClient

pytestmark = pytest.mark.slow

CRM = """\
schedule: {type: manual}
import:
  from: {type: files, path: "in/*.csv"}
  match: [id]
  fields: {id: id, email: email, name: name}
  expect: {max_change_pct: 50, otherwise: hold}
notify: [{to: ann@example.com, when: failure}]
"""
GOOD = "id,email,name\n1,ann@example.com,Ann\n2,bob@example.com,Bob\n"
WRONG = "id,email,name,shoe\n1,x@example.com,X,1\n2,c@example.com,C,2\n"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An import whose second run is held; each test has a copy."""
    place = Place(tmp_path_factory.mktemp("held"))
    place.write("connrunner.yaml", SETTINGS)
    place.write("profile.yaml", PROFILE)
    place.write("connections/crm.yaml", CRM)
    place.write("in/a.csv", GOOD)
    place.run("run", "crm")
    place.write("in/b.csv", WRONG)
    place.run("run", "crm", check=1)
    return place.folder


@pytest.fixture
def crm(template: Path, tmp_path: Path) -> Place:
    return Place(Path(shutil.copytree(template, tmp_path / "workspace")))


def names(place: Place) -> list[str]:
    place.run("profiles", "--output", "all.csv")
    rows = [line.split(",") for line in (place.folder / "all.csv").read_text().splitlines()]
    return sorted(row[rows[0].index("name")] for row in rows[1:])


def outcomes(place: Place) -> list[tuple[int, str, str]]:
    return [(run["run"], run["outcome"], run["code"]) for run in place.runs("crm")]


def test_what_is_held_is_shown_and_then_done(crm: Place) -> None:
    (record, _) = crm.runs("crm")
    assert complaints("run", record) == []
    held = record["detail"]["held"]
    assert (held["counts"]["updated"], held["properties"]) == (2, {"email": 2, "name": 2})
    assert held["columns"] == {"appeared": ["shoe"]}
    status = json.loads(crm.run("status", "--format", "json").out)
    assert complaints("status", status) == []
    assert [(one["connection"], one["run"]) for one in status["held"]] == [("crm", 2)]
    assert "crm #2" in crm.run("status").out
    assert "approve crm 2" in crm.run("explain", "crm").out
    mail = crm.run("notify", "preview", "crm").out
    assert "2  would have another value of email" in mail
    assert "New columns: shoe" in mail
    assert "connrunner approve crm 2 --reason TEXT" in mail
    assert "id=" not in mail, "no row of anybody"
    log = crm.run("log", "crm", "2").out
    assert "would change: id=" in log
    assert "x@example.com" not in log, "personal values are masked"
    assert names(crm) == ["Ann", "Bob"]
    crm.run("approve", "crm", "2", "--reason", "they moved")
    assert names(crm) == ["C", "X"]
    assert outcomes(crm)[0] == (3, "succeeded", "")
    assert "approved by" in crm.runs("crm")[0]["message"]
    assert not json.loads(crm.run("status", "--format", "json").out)["held"]
    assert "has been approved by" in crm.run("approve", "crm", "2", "--reason", "x", check=2).err


def test_what_changed_meanwhile_is_held_again(crm: Place) -> None:
    crm.write("in/b.csv", WRONG.replace("c@", "d@"))
    again = crm.run("approve", "crm", "--reason", "they moved", check=1).out
    assert "the source has other rows" in " ".join(again.split())
    assert names(crm) == ["Ann", "Bob"]
    assert "run 3 is held now" in crm.run("approve", "crm", "2", "--reason", "x", check=2).err
    crm.run("approve", "crm", "--reason", "seen")
    assert names(crm) == ["C", "X"]


def test_profiles_that_changed_meanwhile_are_held_again(crm: Place) -> None:
    crm.write("in/a.csv", GOOD.replace("Ann", "Anna"))
    crm.write("connections/other.yaml", CRM.replace("in/*.csv", "in/a.csv").replace("50", "90"))
    crm.run("run", "other")
    crm.write("in/a.csv", GOOD)
    again = " ".join(crm.run("approve", "crm", "--reason", "they moved", check=1).out.split())
    assert "the profiles have changed" in again
    assert names(crm) == ["Anna", "Bob"]


def test_what_is_declined_is_not_held_for_it_again(crm: Place) -> None:
    crm.run("decline", "crm", "--reason", "the wrong file")
    assert outcomes(crm)[0] == (3, "stopped", "declined")
    assert "declined by" in crm.runs("crm")[0]["message"]
    assert "has been declined by" in crm.run("decline", "crm", "2", check=2).err
    assert "no run of crm is held" in crm.run("approve", "crm", "--reason", "x", check=2).err
    crm.run("run", "crm", check=1)
    assert outcomes(crm)[0] == (4, "stopped", "declined")
    crm.write("in/b.csv", WRONG.replace("c@", "d@"))
    crm.run("run", "crm", check=1)
    assert outcomes(crm)[0] == (5, "held", "held")
    (crm.folder / "in/b.csv").unlink()
    crm.run("run", "crm")
    assert "ran after it" in crm.run("approve", "crm", "5", "--reason", "x", check=2).err
    assert names(crm) == ["Ann", "Bob"]


def test_a_newer_held_run_takes_the_place_of_the_older(crm: Place) -> None:
    crm.run("run", "crm", check=1)
    held = Journal(crm.state).read().held["crm"]
    assert held.run == 3
    assert "the same as run 2, in whose place it is held" in crm.runs("crm")[0]["message"]
    assert held.since < held.at, "the same change waits since the first time"
    crm.write("in/b.csv", WRONG.replace("c@", "d@"))
    crm.run("run", "crm", check=1)
    held = Journal(crm.state).read().held["crm"]
    assert (held.run, held.since) == (4, held.at)
    assert "instead of run 3, in whose place it is held" in crm.runs("crm")[0]["message"]


def test_an_edited_connection_does_something_else(crm: Place) -> None:
    crm.write("connections/crm.yaml", CRM.replace("name: name", "name: email"))
    assert "was edited after run 2" in crm.run("approve", "crm", "--reason", "x", check=2).err
    (crm.folder / "connections/crm.yaml").unlink()
    assert "no file in connections/" in crm.run("approve", "crm", "--reason", "x", check=2).err
    crm.run("decline", "crm", "--reason", "it is gone")
    assert not Journal(crm.state).read().held


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("approve crm 1 --reason x", "crm #1 is not held: it succeeded at"),
        ("approve crm 9 --reason x", "crm has no run 9"),
        ("approve nobody --reason x", "there is no connection 'nobody'"),
        ("approve crm", "Missing option '--reason'"),
        (f"approve crm --reason {'x' * 301}", "the reason has 301 characters"),
    ],
)
def test_what_cannot_be_decided_is_refused(crm: Place, arguments: str, said: str) -> None:
    assert said in crm.run(*arguments.split(), check=2).err
    assert not requests.read_decisions(crm.state)


def test_two_decisions_at_once(crm: Place) -> None:
    """The second says that the first was there; one that came in between comes to nothing, and says so."""
    said = json.loads(crm.run("approve", "crm", "--reason", "yes", "--detach", "--format", "json").out)
    assert complaints("stop", said) == []
    assert "has been approved already" in crm.run("decline", "crm", check=2).err
    assert json.loads(crm.run("status", "--format", "json").out)["waiting"][0]["trigger"] == "approve"
    at = instant.parse("2026-12-01T12:00:00Z")
    late = DecisionRequest(kind="approve", connection="crm", run=2, asked_at=at, asked_by="bob", reason="too")
    requests.request_decision(crm.state, late)
    crm.run("tick")
    assert {(run["outcome"], run["code"]) for run in crm.runs("crm")[:2]} == {
        ("succeeded", ""),
        ("stopped", "not-held"),
    }
    assert names(crm) == ["C", "X"]
    assert not requests.read_decisions(crm.state)
    crm.run("tick")
    assert len(crm.runs("crm")) == 4


def test_one_that_nobody_decides_about_is_declined_by_itself(crm: Place) -> None:
    start = Journal(crm.state).read().held["crm"].since

    def tick(days: float) -> None:
        this = Tick(crm.folder, crm.state, now=start + timedelta(days=days), say=lambda event: None)
        this.withhold()
        this.take_in()

    tick(0.5)
    assert Journal(crm.state).read().held["crm"].reminded is None
    tick(1.01)
    assert Journal(crm.state).read().held["crm"].reminded is not None
    owed = [one.notice for one in Journal(crm.state).read().owed.values()]
    assert [(one.event, one.run, one.facts["reminder"]) for one in owed if "reminder" in one.facts] == [
        ("held", 2, True)
    ]
    tick(3.01)
    assert not Journal(crm.state).read().held
    record = crm.runs("crm")[0]
    assert (record["outcome"], record["code"], record["asked_by"]) == ("stopped", "declined", "")
    assert "declined by itself: nobody decided within 3 d" in record["message"]
    assert [one.notice.event for one in Journal(crm.state).read().owed.values()][-1] == "declined"


def test_a_quiet_tick_wakes_for_what_is_held(crm: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    wakes: list[float] = []
    monkeypatch.setattr(idle, "write_note", lambda *arguments: wakes.append(arguments[-1]))
    this = Tick(crm.folder, crm.state, say=lambda event: None)
    this.withhold()
    this.take_in()
    this.settle()
    held = Journal(crm.state).read().held["crm"]
    assert wakes
    assert wakes[-1] <= (held.since + timedelta(days=1)).timestamp()
    assert "connrunner_held 1" in crm.run("metrics").out


def test_every_change_is_reviewed(crm: Place) -> None:
    crm.write(
        "connections/crm.yaml", CRM.replace("  expect: {max_change_pct: 50, otherwise: hold}\n", "review: always\n")
    )
    (crm.folder / "in/b.csv").unlink()
    crm.run("run", "crm")  # nothing would change
    crm.write("in/b.csv", "id,email,name\n3,c@example.com,C\n")
    assert "would end held" in crm.run("run", "crm", "--dry-run", check=1).out
    crm.run("run", "crm", check=1)
    crm.run("approve", "crm", "--reason", "looked at")
    assert names(crm) == ["Ann", "Bob", "C"]


def test_an_expected_column_that_is_missing_holds(crm: Place) -> None:
    crm.write("connections/crm.yaml", CRM.replace("max_change_pct: 50", "columns: [shoe]"))
    crm.write("in/c.csv", "id,email,name\n3,d@example.com,D\n")
    crm.run("run", "crm", check=1)
    assert "has no column 'shoe'" in crm.runs("crm")[0]["message"]
    crm.run("approve", "crm", "--reason", "no shoes")
    assert names(crm) == ["C", "D", "X"]


def test_a_rotated_journal_knows_what_is_held(crm: Place) -> None:
    before = Journal(crm.state).read()
    state = journal_state.JournalState()
    journal_state.apply_record(state, {"type": "snapshot", **journal_state.as_snapshot(before)})
    assert state.held == before.held
    assert state.held


OUT = """\
schedule: {type: manual}
export:
  to: {type: files, path: "out/people-{run}.csv"}
  format: {type: csv}
  fields: {id: id, name: name}
  deleted: send
  expect: {max_change_pct: 50, otherwise: hold}
"""


def sent(place: Place) -> list[str]:
    return sorted(path.name for path in (place.folder / "out").glob("*"))


def test_an_export_is_held_and_nothing_reaches_the_partner(crm: Place) -> None:
    crm.write("connections/out.yaml", OUT)
    crm.run("run", "out")
    crm.run("approve", "crm", "--reason", "they moved")
    assert sent(crm) == ["people-1.csv"]
    assert "would end held" in crm.run("run", "out", "--dry-run", check=1).out
    crm.run("run", "out", check=1)
    record = crm.runs("out")[0]
    assert complaints("run", record) == []
    assert record["message"].startswith("nothing is sent yet")
    assert record["detail"]["held"]["counts"]["updated"] == 2
    log = crm.run("log", "out", "2").out
    assert "would go (updated): id: … (1), name: … (1)" in log
    assert sent(crm) == ["people-1.csv"]
    crm.run("approve", "out", "--reason", "seen")
    assert sent(crm) == ["people-1.csv", "people-3.csv"]
    record = crm.runs("out")[0]
    assert (record["outcome"], record["counts"]["updated"]) == ("succeeded", 2)
    assert "approved by" in record["message"]
    assert complaints("run", record) == []


def test_an_export_of_other_rows_is_held_again(crm: Place) -> None:
    crm.write("connections/out.yaml", f"review: always\n{OUT}")
    crm.run("run", "out", check=1)
    assert "each run is reviewed" in crm.runs("out")[0]["message"]
    crm.run("approve", "crm", "--reason", "they moved")
    again = crm.run("approve", "out", "1", "--reason", "seen", check=1).out
    assert "the profiles have changed" in " ".join(again.split())
    assert not (crm.folder / "out").exists()
    crm.write("connections/out.yaml", f"review: always\n{OUT}".replace("out/", "elsewhere/"))
    assert "was edited after run 2" in crm.run("approve", "out", "--reason", "seen", check=2).err
    crm.run("decline", "out", "--reason", "not there")
    crm.run("run", "out", check=1)
    assert crm.runs("out")[0]["outcome"] == "held", "it would go elsewhere"


def test_the_page_asks_for_a_decision(crm: Place) -> None:
    client = WebClient(crm.folder)
    shown = client.get("/connections/crm").text
    assert "Run 2 is held: it has changed nothing yet." in shown
    assert "Approve: crm #2" in shown
    assert "Decline: crm #2" in client.get("/connections/crm/runs/2").text
    assert "Approve" not in client.get("/connections/crm/runs/1").text
    path = "/api/v1/connections/crm"
    assert client.post_json(f"{path}/approve", {"run": 2}).status == 400
    assert client.post_json(f"{path}/approve", {"run": 1, "reason": "x"}).status == 409
    token = form_token(client.get("/connections/crm"))
    assert client.post_form("/connections/crm/approve", token="0" * 64, run="2", reason="x").status == 403
    assert not requests.read_decisions(crm.state)
    assert client.post_form("/connections/crm/approve", token=token, run="2", reason="seen").status == 303
    (asked,) = requests.read_decisions(crm.state)
    assert (asked.kind, asked.run, asked.reason) == ("approve", 2, "seen")
    assert asked.asked_by.endswith(" on the page")
    assert client.post_json(f"{path}/decline", {"run": 2}).status == 409
    assert "as approved by" in client.get("/queue").text
    crm.run("tick")
    assert names(crm) == ["C", "X"]


def test_who_may_only_read_decides_nothing(crm: Place) -> None:
    (crm.folder / "read.token").write_text("read-token-of-16-and-more")
    (crm.folder / "act.token").write_text("act-token-of-16-and-more")
    tokens = "{read: file:" + str(crm.folder / "read.token") + ", act: file:" + str(crm.folder / "act.token") + "}"
    crm.write("connrunner.yaml", f"{SETTINGS}web: {{tokens: {tokens}}}\n")
    client = WebClient(crm.folder)
    for word, status in (("read", 403), ("act", 202)):
        headers = {"authorization": f"Bearer {word}-token-of-16-and-more"}
        assert "Run 2 is held" in client.get("/connections/crm", headers=headers).text
        answered = client.post_json("/api/v1/connections/crm/decline", {"run": 2}, headers=headers)
        assert answered.status == status, answered.text
    assert [one.kind for one in requests.read_decisions(crm.state)] == ["decline"]

"""State folders of earlier releases, gone on with: nothing is lost, doubled or misread. See tests/states/README.md."""

from __future__ import annotations

import email
import fcntl
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from connrunner import config
from connrunner.cli import command_line
from connrunner.config import compiled
from connrunner.config.schema import folder as schemas
from connrunner.core.model import Keep
from connrunner.state import retention
from connrunner.state.folder import StateFolder
from tests.servers import http

STATES = Path(__file__).parent / "states"
MADE_IN = "/srv/customers"  # stands in some records

# The first tick after the upgrade, half an hour after the machine died; and one after a day without any.
SOON, LATER = "2026-01-15T12:30:00Z", "2026-01-17T08:40:00Z"

# connection -> the last number that 0.1 took: recorded, or only as a folder.
NUMBERS = {
    "aside": 1, "audience": 3, "between": 1, "contacts": 3, "crm": 3, "former": 2, "halfway": 1, "letters": 2,
    "members": 3, "nightly": 4, "quick": 3, "retried": 1, "segments": 6, "slow": 2, "typo": 3, "warehouse": 1, "wish": 1,
}  # fmt: skip


@dataclass
class Old:
    """A copy of a workspace of an earlier release, and commands of the present one that are typed in it."""

    made: Path  # what it is a copy of
    folder: Path
    heard: Callable[[], tuple[str, str]]  # what was printed, and what was complained

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def stood(self) -> dict[str, Any]:
        """Where everything stood: the snapshot that the earlier release wrote."""
        found: dict[str, Any] = json.loads((self.made / "rotated.jsonl").read_bytes())
        return found

    def type(self, *arguments: str, check: int = 0) -> str:
        code = command_line.main([*arguments, "--workspace", str(self.folder)])
        out, err = self.heard()
        assert code == check, out + err
        assert "Traceback" not in err, err
        return out

    def json(self, *arguments: str, check: int = 0) -> Any:
        return json.loads(self.type(*arguments, "--format", "json", check=check))

    def tick(self, now: str) -> list[dict[str, Any]]:
        """Do one tick; return what it says."""
        return [json.loads(line) for line in self.type("tick", "--now", now, "--format", "json").splitlines()]

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.folder / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def last(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.json("runs", name)[0]
        return found

    def counts(self, name: str) -> dict[str, int]:
        return {key: number for key, number in self.last(name)["counts"].items() if number}

    def mailed(self, notice: str) -> list[EmailMessage]:
        """Return the mails about the notice whose id begins so."""
        mails = [email.message_from_bytes(path.read_bytes(), policy=default) for path in self.state.glob("mail/*.eml")]
        return [mail for mail in mails if f"{_notice(mail['Message-ID'])}.".startswith(f"{notice}.")]

    @property
    def size(self) -> int:
        """How long the journal is."""
        return (self.state / "journal.jsonl").stat().st_size

    def journal(self, since: int = 0) -> list[dict[str, Any]]:
        lines = (self.state / "journal.jsonl").read_bytes()[since:].splitlines()
        return [json.loads(line) for line in lines]


def _notice(message_id: str) -> str:
    """Return the notice's id: the Message-ID has a word for the recipient behind it."""
    return message_id.strip("<>").rpartition("@")[0].rpartition(".")[0]


def _text(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    text: str = body.get_content()
    return text


@pytest.fixture
def server() -> Iterator[http.Server]:
    """A partner: it has nothing new, does not take number 2, and hears pings."""

    def answer(asked: http.Asked) -> http.Reply:
        if asked.method == "GET":
            return http.data({"data": []})
        if asked.path != "/crm":
            return http.Reply()
        refused = [place for place, one in enumerate(asked.json["people"]) if one["Id"] == "2"]
        return http.data({"errors": [{"index": place, "message": "blocked", "code": "blocked"} for place in refused]})

    with http.running() as running:
        running.act = answer
        yield running


@pytest.fixture
def restored(
    tmp_path: Path, server: http.Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Old:
    """The state of 0.1 as it was when its machine died, with other ports, and mail that goes to a folder."""
    monkeypatch.delenv("CONNRUNNER_STATE", raising=False)
    made = STATES / "0.1"
    old = Old(made, tmp_path / "customers", capsys.readouterr)
    shutil.copytree(made / "workspace", old.folder)
    for name in (made / "folders").read_text().splitlines():
        (old.folder / name).mkdir(parents=True, exist_ok=True)
    packed = old.state / "profiles.duckdb.gz"
    (old.state / "profiles.duckdb").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    for name, at in json.loads((made / "stamps.json").read_text()).items():
        seconds = datetime.fromisoformat(at).timestamp()
        os.utime(old.state / name, (seconds, seconds))
    for path in (old.folder / "connrunner.yaml", *old.folder.glob("connections/*.yaml")):
        path.write_text(path.read_text().replace("127.0.0.1:25251", f"127.0.0.1:{server.server_port}"))
    old.edit("connrunner.yaml", '"smtp+plain://127.0.0.1:25250"', '"file:"')
    old.state.chmod(0o700)
    return old


# --- what stands there is read -----------------------------------------------------------------------------------


def test_where_everything_stood_is_known(restored: Old) -> None:
    at = ("--now", SOON)
    status = restored.json("status", *at)
    assert [(run["connection"], run["run"], run["lives"]) for run in status["running"]] == [
        ("between", 1, False), ("halfway", 1, False), ("slow", 2, False),
    ]  # fmt: skip
    assert [(one["connection"], one["merged"], one["queued"]) for one in status["waiting"]] == [
        ("waits", 1, True), ("segments", 0, True), ("warehouse", 0, True), ("wish", 0, False),
    ]  # fmt: skip
    assert {one["connection"]: one["failures"] for one in status["failing"]} == {
        "contacts": 3, "crm": 3, "members": 3, "quick": 3, "segments": 6, "typo": 2,
    }  # fmt: skip
    assert status["last_tick"] == "2026-01-15T11:52:00Z"
    assert [one["connection"] for one in status["late"]] == ["waits", "segments", "warehouse"]
    assert status["broken"] == ["typo"]

    letters = restored.json("notify", "list", *at)
    stood = restored.stood["owed"]
    waiting = {(letter["id"], letter["recipient"]) for letter in letters if letter["state"] == "waiting"}
    settled = {"gone@example.com", "there@example.com"}
    dropped = ("letters.1", "never@example.com")
    assert waiting == {
        (owed["notice"]["id"], recipient)
        for owed in stood
        for recipient in owed["notice"]["recipients"]
        if recipient not in settled and (owed["notice"]["id"][:9], recipient) != dropped
    }
    given_up = [letter for letter in letters if letter["state"] == "dead"]
    assert sorted((letter["id"][:9], letter["recipient"], letter["attempts"]) for letter in given_up) == [
        ("letters.1", "gone@example.com", 2), ("letters.2", "gone@example.com", 1), ("retried.1", "gone@example.com", 1),
    ]  # fmt: skip


def test_a_snapshot_is_read_like_the_records_that_it_stands_for(restored: Old) -> None:
    settings = restored.folder / "connrunner.yaml"
    lines = settings.read_text().splitlines(keepends=True)
    settings.write_text("".join(line for line in lines if "heartbeat" not in line))  # no process for its ping

    def answers() -> list[Any]:
        replayed = restored.json("replay", "--now", LATER)
        shown = [(slot["connection"], slot["result"], slot["due_at"], slot["missed"]) for slot in replayed["slots"]]
        told = [(notice["event"], notice["recipients"], notice.get("replies_to")) for notice in replayed["owes"]]
        asked = [restored.json(*words, "--now", SOON) for words in (("status",), ("notify", "list"), ("next",))]
        return [*asked, shown, told]

    of_records = answers()
    shutil.copy(restored.made / "rotated.jsonl", restored.state / "journal.jsonl")
    assert answers() == of_records


def test_a_damaged_snapshot_is_read_from_its_copy(restored: Old) -> None:
    before = restored.json("status", "--now", SOON)
    journal = restored.state / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"promises"', b'"pr#mises"', 1))
    assert restored.json("status", "--now", SOON) == before


def test_the_past_is_read(restored: Old) -> None:
    runs = [run for name in NUMBERS for run in restored.json("runs", name)]
    assert {run["outcome"] for run in runs} == {"succeeded", "partial", "failed", "stopped", "skipped"}
    assert {run["code"] for run in runs if run["code"]} == {"exit-status", "stopped", "too-late", "config-error"}
    assert [run["run"] for run in restored.json("runs", "nightly")] == [3, 2], "keep has removed the first"
    assert [run["run"] for run in restored.json("runs", "former")] == [2], "the first is in an archive"
    (retried,) = restored.json("runs", "retried")
    assert (retried["attempts"], retried["asked_by"], retried["trigger"]) == (2, "alex", "manual")
    (stopped,) = restored.json("runs", "slow")
    assert stopped["detail"] == {"stopped_by": "alex@runner-1", "reason": "it takes too long"}
    assert "no route to crm.example.com" in restored.type("log", "segments", "6")

    refused = restored.json("rejects", "members", "1")
    assert [(one["line"], one["field"], one["code"]) for one in refused] == [
        (4, "points", "wrong-type"), (5, "born", "wrong-type"),
    ]  # fmt: skip
    assert [one["code"] for one in restored.json("rejects", "crm", "3")] == ["blocked"]

    def decided(name: str, at: str) -> str:
        verdict: str = restored.json("explain", name, "--at", at, "--now", SOON)["answer"]["verdict"]
        return verdict

    # From records that were rotated away, and from those of the journal.
    assert decided("nightly", "2026-01-13T05:00:00Z") == "ran"
    assert decided("warehouse", "2026-01-14T11:00:00Z") == "left-out"
    assert decided("quick", "2026-01-14T04:00:00Z") == "too-late"
    assert decided("typo", "2026-01-14T06:00:00Z") == "skipped"
    assert decided("segments", "2026-01-15T08:00:00Z") == "missed"
    assert decided("slow", "2026-01-15T11:50:00Z") == "merged"
    assert decided("waits", "2026-01-15T10:50:00Z") == "waits"


def test_profiles_and_how_far_connections_have_come_are_read(restored: Old) -> None:
    assert restored.json("profiles")["profiles"] == 4
    (ann,) = restored.json("profiles", "ann@example.com")
    found = ann["properties"]
    assert (found["name"], sorted(found["interests"]), found["points"]) == ("Ann Lee", ["chess", "go", "tea"], 6)
    assert (found["born"], ann["consents"]) == ("1980-02-29", {"newsletter": True})
    assert (ann["created"]["connection"], ann["created"]["run"], ann["changed"]["run"]) == ("members", 1, 2)

    members, contacts, audience = (restored.json("state", name) for name in ("members", "contacts", "audience"))
    assert [(one["name"][-14:], one["refused"], one["run"]) for one in members["files"]] == [
        ("2026-01-14.csv", 0, 3), ("2026-01-12.csv", 2, 3), ("2026-01-13.csv", 0, 2),
    ]  # fmt: skip
    assert (contacts["kept_rows"], contacts["mark"]) == (
        1, {"field": "updated_at", "value": "2026-01-12T11:00:00Z"},
    )  # fmt: skip
    assert audience["sent"] == 2
    assert restored.json("state", "crm")["sent"] == 3, "what the partner refused is not sent"


def test_figures_are_those_of_the_old_state(restored: Old) -> None:
    figures = restored.type("metrics", "--now", SOON).splitlines()
    assert {
        'connrunner_queue_length{lane="main"} 3',
        "connrunner_mail_owed 6",
        "connrunner_mail_dead 1",
        'connrunner_failures_in_a_row{connection="segments"} 6',
        'connrunner_last_run_outcome{connection="slow",outcome="stopped"} 1',
        'connrunner_last_run_rows{connection="members",counter="skipped"} 5',
        'connrunner_next_due_timestamp_seconds{connection="nightly"} 1768539600',
    } <= set(figures)


def test_the_past_is_kept_short_where_0_1_left_off(restored: Old) -> None:
    state = StateFolder(restored.state)
    due = datetime.fromisoformat("2026-01-16T08:10:12.871Z")
    assert retention.find_next_pass(state) == due

    def keep_one(name: str) -> Keep:
        return Keep(runs=1)

    retention.prune_runs(state, keep_one, {"slow": 2}, now=due - timedelta(seconds=1))
    assert len(restored.json("runs", "audience")) == 3, "it is too soon"
    retention.prune_runs(state, keep_one, {"slow": 2}, now=due, budget=60)
    left = {name: [run["run"] for run in restored.json("runs", name)] for name in ("audience", "segments", "slow")}
    assert left == {"audience": [3], "segments": [6], "slow": [1]}
    assert sorted(path.name for path in (restored.state / "runs/slow").iterdir()) == ["1", "2", "history.jsonl"]


def test_old_runs_go_into_an_archive(restored: Old, tmp_path: Path) -> None:
    said = restored.json("history", "archive", "--to", str(tmp_path / "old.tar.gz"), "--before", "2026-01-15")
    assert (said["connections"], said["runs"]) == (9, 19)
    assert [run["run"] for run in restored.json("runs", "segments")] == [6]
    assert sorted(path.name for path in (restored.state / "runs/segments").iterdir()) == ["6", "history.jsonl"]


# --- ticks go on with it -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_next_tick_goes_on(restored: Old, server: http.Server) -> None:
    old, stood, size = restored, restored.stood, restored.size
    said = _repaired_and_ticked(old)
    _runs_that_were_cut_off(old, said, size)
    _the_queue(old, said)
    _mail_that_was_owed(old, stood)
    _a_recovery(old, stood)
    assert [asked.path for asked in server.asked] == ["/ping/workspace"]
    assert sorted(path.name for path in (old.state / "requests").iterdir()) == ["run-torn.unreadable"]


@pytest.mark.slow
@pytest.mark.thorough
def test_so_does_one_after_a_day_without_ticks(restored: Old, server: http.Server) -> None:
    old, stood, size = restored, restored.stood, restored.size
    before = {name: [run["run"] for run in old.json("runs", name)] for name in NUMBERS}
    _repaired_and_ticked(old)
    for name in ("segments", "slow"):
        old.edit(f"connections/{name}.yaml", "schedule:", "enabled: false\nschedule:")
    old.edit("connections/typo.yaml", "shedule:", "schedule:")
    old.edit("connections/contacts.yaml", ", points: points", "")
    server.asked.clear()

    said = old.tick(LATER)
    _a_day_without_ticks(old, said, stood)
    _a_file_that_was_broken(old, size)
    _imports(old, server)
    _exports(old, server)
    cut_off = {(one["connection"], one["run"]) for one in stood["started"]}
    for name, last in NUMBERS.items():
        numbers = [run["run"] for run in old.json("runs", name)]
        assert numbers == sorted(set(numbers), reverse=True), f"{name}: a number comes once"
        new = [number for number in numbers if number not in before[name] and (name, number) not in cut_off]
        assert new == [last + 1] * len(new), f"{name}: numbers go on"
    assert not [record for record in old.journal(size) if record["type"] == "damaged"], "damage is told once"


def _repaired_and_ticked(old: Old) -> list[dict[str, Any]]:
    """Repair what `segments` runs, switch off a connection that waits, and do the first tick after the upgrade."""
    (old.folder / "jobs").mkdir()
    (old.folder / "jobs/repaired").touch()
    old.edit("connections/warehouse.yaml", "schedule:", "enabled: false\nschedule:")
    return old.tick(SOON)


def _runs_that_were_cut_off(old: Old, said: list[dict[str, Any]], size: int) -> None:
    recovered = [(one["connection"], one["run"], one["outcome"]) for one in said if one["event"] == "recovered"]
    # Of `between` history knows how it ended, of `halfway` its log, of `slow` nobody.
    assert recovered == [("between", 1, "succeeded"), ("halfway", 1, "succeeded"), ("slow", 2, "interrupted")]
    slow, halfway, (between,) = old.last("slow"), old.last("halfway"), old.json("runs", "between")
    assert (slow["run"], slow["outcome"], slow["code"], slow["merged"]) == (2, "interrupted", "interrupted", 1)
    assert (halfway["ended_at"][:18], halfway["counts"]["created"]) == ("2026-01-15T10:50:1", 2)
    ended = [record["run"] for record in old.journal(size) if record["type"] == "ended"]
    assert [run for run in ended if run["connection"] == "between"] == [between], "as history has it"
    assert [mail["To"] for mail in old.mailed("slow.2.interrupted")] == ["ops@example.com"]
    for name in ("between", "halfway"):
        assert [mail["To"] for mail in old.mailed(f"{name}.1.succeeded")] == ["half@example.com"]


def _the_queue(old: Old, said: list[dict[str, Any]]) -> None:
    started = [one["connection"] for one in said if one["event"] == "started"]
    assert started == ["waits", "segments", "wish"], "in the order in which they were due"
    waits, wish = old.last("waits"), old.last("wish")
    assert (waits["run"], waits["due_at"], waits["merged"]) == (1, "2026-01-15T10:50:00Z", 1)
    assert (wish["run"], wish["trigger"], wish["asked_by"]) == (2, "manual", "alex")
    dropped = [(one["connection"], one["due_at"]) for one in said if one["event"] == "dropped"]
    assert dropped == [("warehouse", "2026-01-15T11:00:00Z")]


def _mail_that_was_owed(old: Old, stood: dict[str, Any]) -> None:
    owed = {one["notice"]["id"]: one["notice"]["event"] for one in stood["owed"]}
    assert sorted(owed.values()) == ["folded", "late", "reminder", "succeeded", "succeeded", "succeeded"]
    assert [notice for notice in owed if not old.mailed(notice)] == [], "its Message-ID is the one that 0.1 gave"
    told = [(mail["To"], notice) for notice in owed for mail in old.mailed(notice) if "letters" in notice]
    assert sorted((who, notice[:9]) for who, notice in told) == [
        ("full@example.com", "letters.1"), ("full@example.com", "letters.2"), ("never@example.com", "letters.2"),
    ]  # fmt: skip
    left = old.json("notify", "list", "--now", SOON)
    assert sorted((one["state"], one["recipient"], one["id"][:9]) for one in left) == [
        ("dead", "gone@example.com", about) for about in ("letters.1", "letters.2", "retried.1")
    ]


def _a_recovery(old: Old, stood: dict[str, Any]) -> None:
    segments, alarm = old.last("segments"), stood["told"]["alarms"]["segments"]
    assert (segments["run"], segments["outcome"]) == (7, "succeeded")
    mails = old.mailed("segments.7.recovered")
    assert sorted(str(mail["To"]) for mail in mails) == ["data-team:;", "data@example.com"]
    assert {_notice(mail["In-Reply-To"]) for mail in mails} == {one["notice"] for one in alarm.values()}
    assert {mail["Subject"] for mail in mails} == {"segments: recovered with run 7 after 6 failures"}


def _a_day_without_ticks(old: Old, said: list[dict[str, Any]], stood: dict[str, Any]) -> None:
    nightly, quick = old.last("nightly"), old.last("quick")
    assert (nightly["run"], nightly["due_at"], nightly["missed"]) == (5, "2026-01-16T05:00:00Z", 1)
    assert (quick["run"], quick["code"], quick["due_at"], quick["missed"]) == (4, "too-late", "2026-01-16T04:00:00Z", 1)
    (hole,) = [one for one in said if one["event"] == "hole"]
    assert (hole["from"][:15], sum(hole["missed"].values())) == (SOON[:15], 14)
    (outage,), (digest,) = old.mailed("outage"), old.mailed("digest.operations")
    assert (
        outage["Subject"] == "customers: no tick for 1 d 20 h, 14 slots passed: 6 ran late, 7 missed, 1 could not start"
    )
    # From where the digest before it ended; the runs of 0.1 since then are in it.
    assert stood["told"]["digests"]["operations"]["since"].startswith("2026-01-15T08:10:00")
    text = _text(digest).replace("\r\n", "\n")
    assert "From Thu 2026-01-15 09:10:00 +01:00" in text
    assert "slow\n  1 run, 1 failed; the last one interrupted" in text
    assert "quick\n  1 run, 1 failed; the last one skipped" in text


def _a_file_that_was_broken(old: Old, size: int) -> None:
    typo = old.last("typo")
    assert (typo["run"], typo["outcome"], typo["due_at"], typo["missed"]) == (4, "succeeded", "2026-01-16T06:00:00Z", 1)
    assert [record["mended"] for record in old.journal(size) if record.get("mended")] == [["typo"]]


def _imports(old: Old, server: http.Server) -> None:
    # Six rows were accepted, the two that were refused come again; the files are not read anew.
    assert old.counts("members") == {"read": 8, "skipped": 6, "checked": 2, "invalid": 2}
    # What the partner handed over once, and we refused, is taken now that the mapping wants no number.
    assert old.counts("contacts") == {"read": 1, "checked": 1, "created": 1}
    (asked,) = [asked for asked in server.asked if asked.path == "/contacts"]
    assert asked.query == {"since": "2026-01-12T11:00:00Z"}
    assert old.json("state", "contacts")["kept_rows"] == 0
    pings = [asked for asked in server.asked if asked.path.startswith("/ping/members")]
    assert [asked.path for asked in pings] == ["/ping/members/start", "/ping/members"]


def _exports(old: Old, server: http.Server) -> None:
    assert old.counts("audience") == {"read": 5, "checked": 5, "unchanged": 2, "consent_blocked": 3}
    assert (old.folder / "out/audience-4.csv").read_text() == "Email,Name,Points,deleted\n"
    # The one that is new, and the one that the partner refused each time.
    assert old.counts("crm") == {"read": 5, "checked": 5, "created": 1, "unchanged": 3, "rejected": 1}
    (asked,) = [asked for asked in server.asked if asked.path == "/crm"]
    assert [one["Id"] for one in asked.json["people"]] == ["2", "7"]


# --- what may be thrown away -------------------------------------------------------------------------------------


def test_the_caches_of_an_earlier_release_are_foreign(restored: Old) -> None:
    """They hold marshalled data, and a pickle that names modules and classes, of a code that is not ours."""
    cache, signature = restored.state / "compiled", compiled.signature(schemas())
    for name in ("workspace", "version"):
        assert (cache / name).read_bytes().startswith(b"connrunner compiled 1\n")
        assert compiled.read_file(cache / name, signature) is None
    restored.json("status", "--now", SOON)
    assert compiled.read_file(cache / "workspace", signature), "written anew"
    assert not (cache / "version").exists(), "what it held stands in the other one now"
    assert not (cache / "trouble").exists(), "a version can be read again"


def test_a_cache_is_foreign_to_another_version_and_to_any_other_reader_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = compiled.signature(schemas())
    with monkeypatch.context() as patch:
        patch.setattr("connrunner.__version__", "0.0.1")
        assert compiled.signature(schemas()) != mine
    package = tmp_path / "config"
    shutil.copytree(Path(config.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    patched = package / Path(compiled.__file__).relative_to(Path(config.__file__).parent)
    monkeypatch.setattr(compiled, "__file__", str(patched))
    assert compiled.signature(schemas()) == mine
    unseen = []
    for source in sorted(package.rglob("*.py")):
        text = source.read_text()
        source.write_text(f"{text}# another reader\n")
        if compiled.signature(schemas()) == mine:
            unseen.append(source.relative_to(package))
        source.write_text(text)
    assert unseen == []


# --- half an upgrade ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.thorough
def test_what_a_tick_of_0_1_starts_works_in_a_newer_installation(restored: Old, server: http.Server) -> None:
    """A tick that began before an upgrade starts modules by the names that they had then, and speaks to them so."""
    old = restored
    started = json.loads((old.made / "started.json").read_text())

    def start(name: str, lane: int | None = None) -> str:
        arguments = [argument.replace(MADE_IN, str(old.folder)) for argument in started[name]["arguments"]]
        said = started[name]["stdin"].replace(MADE_IN, str(old.folder)).replace(":25251", f":{server.server_port}")
        if lane is not None:
            said = json.dumps({**json.loads(said), "run": 9, "lane_descriptor": lane})
            (old.state / "runs" / name / "9").mkdir()
        done = subprocess.run(
            [sys.executable, *arguments],
            input=said,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            pass_fds=[] if lane is None else [lane],
            env={**os.environ, "CONNRUNNER_RUN_ID": started[name]["mark"]},
        )
        assert (done.returncode, done.stderr) == (0, "")
        return str(done.stdout)

    with (old.state / "locks/lane-main").open("rb+") as lane:
        fcntl.flock(lane, fcntl.LOCK_EX)
        for name, outcome, counted in (
            ("nightly", "succeeded", {"read": 3, "checked": 3, "unchanged": 3}),
            ("members", "partial", {"read": 8, "skipped": 6, "checked": 2, "invalid": 2}),
        ):
            start(name, lane.fileno())
            log = (old.state / "runs" / name / "9/log.jsonl").read_text()
            ended = json.loads(log.splitlines()[-1])
            counts = {key: number for key, number in ended["counts"].items() if number}
            assert (ended["type"], ended["outcome"], counts) == ("ended", outcome, counted), log
    rejects = (old.state / "runs/members/9/rejects.jsonl").read_text().splitlines()
    assert [json.loads(line)["field"] for line in rejects] == ["points", "born"]

    assert start("pings") == "", "nothing went wrong"
    pings = [(asked.path, bool(asked.query.get("rid"))) for asked in server.asked]
    assert sorted(pings) == [("/ping/members", True), ("/ping/members/start", True), ("/ping/workspace", False)]

    start("mail")
    assert [one["notice"]["id"] for one in old.stood["owed"] if not old.mailed(one["notice"]["id"])] == []

"""States that a crash leaves behind, and how the next tick or command recovers from each."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from connrunner.config import load
from connrunner.core.alerts import rules
from connrunner.core.model import Notify, ProfileModel, QueuedRun, Target
from connrunner.core.planning.due import StopRequest
from connrunner.scheduler.recorder import RunRecorder
from connrunner.scheduler.tick import Tick
from connrunner.state import locks, requests
from connrunner.state.journal import Journal
from tests.conftest import Place

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
AT_ONE = '{type: days_of_week, days: [sunday], time: "12:01", timezone: UTC}'


class Killed(BaseException):
    """The process ends here."""


def take_in(place: Place, now: datetime) -> None:
    Tick(place.folder, place.state, now=now, say=lambda _: None).take_in()


@pytest.mark.parametrize("where", ["append_history", "append"])
def test_a_slot_of_a_broken_file_is_told_once_whenever_the_tick_dies(
    place: Place, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """[P1] [P5] Between the record of the slot and its run, and between history and journal."""
    place.command("broken", "pass", schedule=AT_ONE)
    place.write("connrunner.yaml", "version: 1\ndefaults: {notify: [{to: ops@example.com, when: failure}]}\n")
    take_in(place, NOON)
    place.write("connections/broken.yaml", "schedul: nightly\n")
    append = Journal.append

    def killed(journal: Journal, *records: dict[str, Any]) -> Any:
        if where == "append" and records[0]["type"] != "ended":
            return append(journal, *records)
        raise Killed

    with monkeypatch.context() as patch:
        if where == "append":
            patch.setattr(Journal, "append", killed)
        else:
            patch.setattr(f"connrunner.scheduler.recorder.run_files.{where}", killed)
        with pytest.raises(Killed):
            take_in(place, NOON.replace(minute=1))
    take_in(place, NOON.replace(minute=1, second=30))

    ends = [record for record in place.journal() if record["type"] == "ended"]
    history = place.state.history("broken").read_text().splitlines()
    owed = [notice["event"] for record in place.journal() for notice in record.get("owes", ())]
    assert ([end["run"]["outcome"] for end in ends], owed) == (["skipped"], ["broken"])
    assert len(history) == 1


@pytest.mark.parametrize("then", ["mended", "switched off", "removed", "still broken"])
def test_a_waiting_run_that_history_says_was_skipped_has_that_end_whatever_becomes_of_its_file(
    place: Place, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """[P1] [P5] The tick died between history and journal: its slot has one end, the one that people saw."""
    place.command("sound", "pass")
    place.command("broken", "pass", schedule=AT_ONE)
    take_in(place, NOON)
    take_in(place, NOON.replace(minute=1))  # it waits
    file = place.folder / "connections/broken.yaml"
    sound = file.read_text()
    place.write("connections/broken.yaml", "schedul: nightly\n")

    def killed(journal: Journal, *records: dict[str, Any]) -> Any:
        if records[0]["type"] == "ended":
            raise Killed
        return append(journal, *records)

    append = Journal.append
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", killed)
        with pytest.raises(Killed):
            Tick(place.folder, place.state, now=NOON.replace(minute=2), say=lambda _: None).drain()
    match then:
        case "mended":
            file.write_text(sound)
        case "switched off":
            file.write_text(f"{sound}\nenabled: false\n")
        case "removed":
            file.unlink()
    said: list[dict[str, Any]] = []
    for minute in (3, 4):
        tick = Tick(place.folder, place.state, now=NOON.replace(minute=minute), say=said.append)
        tick.take_in()
        tick.drain()
    assert [one["outcome"] for one in said if one["event"] == "ended"] == ["skipped"]

    ends = [record["run"] for record in place.journal() if record["type"] == "ended"]
    history = [json.loads(line) for line in place.state.history("broken").read_text().splitlines()]
    assert [(end["run"], end["outcome"]) for end in ends] == [(1, "skipped")]
    assert [(run["run"], run["outcome"]) for run in history] == [(1, "skipped")]
    assert Journal(place.state).read().numbers["broken"] == 1
    assert not any("histories" in record for record in place.journal())


def test_a_slot_that_was_skipped_is_told_after_its_file_is_mended(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.command("broken", "pass", schedule=AT_ONE)
    take_in(place, NOON)
    sound = (place.folder / "connections/broken.yaml").read_text()
    place.write("connections/broken.yaml", "schedul: nightly\n")
    with monkeypatch.context() as patch:
        patch.setattr(RunRecorder, "skip", _killed)
        with pytest.raises(Killed):
            take_in(place, NOON.replace(minute=1))
    place.write("connections/broken.yaml", sound)

    take_in(place, NOON.replace(minute=2))

    (end,) = [record for record in place.journal() if record["type"] == "ended"]
    assert "could not be used when it was due" in end["run"]["message"]


def test_a_run_that_is_stopped_before_it_starts_ends_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tick that takes it out of the queue dies between history and journal."""
    place.command("hello", "pass", schedule=AT_ONE)
    take_in(place, NOON.replace(minute=1))
    journal = Journal(place.state)
    (entry,) = journal.read().waiting.values()
    stop = StopRequest(connection="hello", due_at=entry.due_at, asked_at=NOON, asked_by="jo")
    one = Tick(place.folder, place.state, now=NOON, say=lambda _: None)
    with monkeypatch.context() as patch, locks.hold_state_lock(place.state):
        patch.setattr(Journal, "append", _killed)
        one.journal.open()
        with pytest.raises(Killed):
            one.lanes.recorder.take_out(entry, stop, one.workspace)

    requests.request_stop(place.state, stop)
    one.drain()

    (end,) = [record for record in place.journal() if record["type"] == "ended"]
    assert (end["run"]["outcome"], end["run"]["run"]) == ("stopped", 1)
    assert len(place.state.history("hello").read_text().splitlines()) == 1


def start_and_die(place: Place, name: str, now: datetime) -> None:
    """Record the start of *name*, as the tick did that was killed with all that it had started."""
    one = Tick(place.folder, place.state, now=now, say=lambda _: None)
    with locks.hold_state_lock(place.state):
        one.journal.open()
        entry = QueuedRun(connection=name, due_at=now, queued_at=now)
        one.lanes.recorder.start(entry, one.workspace.connections[name], commit=None)


def break_the_file(place: Place) -> None:
    place.write("connections/a.yaml", "schedule: nonsense\n")


def remove_the_file(place: Place) -> None:
    (place.folder / "connections/a.yaml").unlink()


def rename_the_file(place: Place) -> None:
    (place.folder / "connections/a.yaml").rename(place.folder / "connections/renamed.yaml")


def remove_the_target(place: Place) -> None:
    (place.folder / "notifications/team.yaml").unlink()


def change_the_defaults(place: Place) -> None:
    place.write("connrunner.yaml", "version: 1\ndefaults: {notify: []}\n")
    break_the_file(place)


def notify_nobody(place: Place) -> None:
    place.command("a", "pass", more="notify: []\n")


RULES = {
    "addresses": "notify: [{to: [team@example.com], when: failure}]\n",
    "a target": "notify: [{to: team, when: change}]\n",
    "the defaults": "",
}


@pytest.mark.parametrize("said", RULES.values(), ids=RULES)
@pytest.mark.parametrize(
    "deploy",
    [break_the_file, remove_the_file, rename_the_file, remove_the_target, change_the_defaults, notify_nobody],
)
def test_an_interrupted_run_is_told_to_those_that_its_start_named(
    place: Place, deploy: Callable[[Place], None], said: str
) -> None:
    """[P2] A deploy broke the file and restarted the host."""
    place.write("connrunner.yaml", "version: 1\ndefaults: {notify: [{to: ops@example.com, when: failure}]}\n")
    place.write("notifications/team.yaml", "email: [team@example.com]\n")
    place.command("a", "pass", more=said)
    place.command("b", "pass")
    start_and_die(place, "a", NOON)
    deploy(place)

    later = Tick(place.folder, place.state, now=NOON.replace(minute=1), say=lambda _: None)
    later.take_in()
    later.drain()

    (end,) = [record for record in place.journal() if record["type"] == "ended"]
    assert (end["run"]["connection"], end["run"]["outcome"]) == ("a", "interrupted")
    told = "team@example.com" if said else "ops@example.com"
    assert [notice["recipients"] for notice in end["owes"]] == [[told]]


@pytest.mark.slow
def test_the_mail_about_an_interrupted_run_is_sent_though_its_file_and_target_are_gone(place: Place) -> None:
    place.write("notifications/team.yaml", "email: [team@example.com]\ncc: [boss@example.com]\n")
    place.command("a", "pass", more="notify: [{to: team, when: failure}]\n")
    place.command("b", "pass")
    start_and_die(place, "a", NOON)
    remove_the_file(place)
    remove_the_target(place)

    place.run("tick", "--now", "2026-11-22T12:01:00Z")

    mails = [path.read_text() for path in place.state.mail.glob("*.eml")]
    assert len(mails) == 2
    assert all("interrupted" in mail for mail in mails)


def test_a_start_of_an_older_version_is_told_as_the_file_says_now(place: Place) -> None:
    place.command("a", "pass", more="notify: [{to: [team@example.com], when: failure}]\n")
    start_and_die(place, "a", NOON)
    lines = [json.loads(line) for line in place.state.journal.read_text().splitlines()]
    older = [{key: value for key, value in line.items() if key not in ("notify", "crc")} for line in lines]
    place.state.journal.write_text("".join(json.dumps(line) + "\n" for line in older))

    later = Tick(place.folder, place.state, now=NOON.replace(minute=1), say=lambda _: None)
    later.drain()

    (end,) = [record for record in place.journal() if record["type"] == "ended"]
    assert [notice["recipients"] for notice in end["owes"]] == [["team@example.com"]]


NOTIFY = [
    Notify(to=(Target(name="team", to=("a@x", "b@x"), cc=("b@x", "c@x"), limit=3),), when="always"),
    Notify(to=(Target(to=("a@x",)), Target(name="t", to=("d@x",))), when="failure", after=3, partial=False),
    Notify(to=(), when="change", reminder=60, stopped=True, late_after=7),
]


def test_rules_are_read_back_from_the_record_of_a_start() -> None:
    data = json.loads(json.dumps(rules.as_list(NOTIFY)))

    assert rules.from_list(data) == tuple(NOTIFY)
    assert rules.from_list([{**one, "of-a-newer-version": 1} for one in data]) == tuple(NOTIFY)


def _killed(*_: object, **__: object) -> None:
    raise Killed


@pytest.mark.slow
def test_a_number_that_a_crash_took_is_no_reason_to_fail(place: Place) -> None:
    """A tick was killed between taking number 1 and recording its start."""
    place.command("hello", "print('hello')")
    place.state.prepare()
    place.state.run("hello", 1).mkdir(parents=True)

    assert "hello #2: started" in place.run("run", "hello").err


def test_a_workspace_needs_no_profile_for_its_programs() -> None:
    assert load.profile_model_from({}) == ProfileModel()

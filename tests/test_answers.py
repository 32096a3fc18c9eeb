"""What people ask, answered as values: the words, and the facts behind them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from connrunner.answers import explain, plan, reasons, status, tick_events
from connrunner.answers.coming_slots import as_list, read_coming
from connrunner.answers.connection_filter import ConnectionFilter, list_named
from connrunner.answers.deliveries import describe_next_try, read_outbox
from connrunner.answers.reasons import Circumstances
from connrunner.answers.run_history import find_next_run, list_ended, list_newest
from connrunner.answers.run_log import choose_run
from connrunner.answers.run_summary import describe_run
from connrunner.answers.status import ExpectedStart, FailingConnection, Health, LateSlot, NextSlot
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant
from connrunner.core.alerts.notice import Notice
from connrunner.core.counts import Counts
from connrunner.core.model import Outcome
from connrunner.core.planning.changes import KeyDifference
from connrunner.core.planning.decisions import Decision, Explanation, LaneHolder
from connrunner.core.planning.forecast import RunDurations
from connrunner.errors import ArgumentError
from connrunner.scheduler.tick import Tick
from connrunner.state.deliveries import Delivery
from tests.conftest import Place
from tests.test_cli import ended

NOW = instant.parse("2026-11-23T12:00:00Z")
SLOT = instant.parse("2026-11-23T05:00:00Z")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
DAILY = {"type": "days_of_week", "days": ["monday", "tuesday"], "time": "06:00", "timezone": "Europe/Amsterdam"}


# --- why it ran, or did not --------------------------------------------------------------------------------------


def decided(kind: Any, *, at: Any = SLOT, **more: Any) -> Decision:
    return Decision(**{"kind": kind, "at": at, "due_at": SLOT, "before": SLOT - MINUTE, **more})


STARTED = decided("started", run=7, at=SLOT + MINUTE)
ENDED = decided("ended", run=7, at=SLOT + 2 * MINUTE, outcome="failed", message="no answer", merged=2)
QUEUED = decided("queued")
LATE = decided("queued", at=SLOT + HOUR, missed=3, missed_until=SLOT + 50 * MINUTE)
HOLDERS = (LaneHolder(connection="big", run=4, started_at=SLOT - HOUR, ended_at=SLOT),)

VERDICTS: list[tuple[Explanation, Circumstances, list[str]]] = [
    # the verdict and what it is about; what is known beside it; the sentences
    (Explanation(at=SLOT, verdict="ran", decision=QUEUED, started=STARTED, ended=ENDED), Circumstances(zone="UTC", holders=HOLDERS), [
        "It ran: run 7, due for Mon 2026-11-23 05:00 +00:00, started at 2026-11-23 05:01:00 +00:00.",
        "It ended failed at 2026-11-23 05:02:00 +00:00: no answer",
        "2 slots that fell due meanwhile were merged into it.",
        "It waited 1 min 00 s in lane main behind big #4 (from 04:00).",
    ]),
    (Explanation(at=SLOT, verdict="ran", started=replace(STARTED, trigger="manual", asked_by="ann")), Circumstances(zone="UTC"), [
        "It ran: run 7, asked for by ann, started at 2026-11-23 05:01:00 +00:00.",
        "Its end is not recorded: it works, or was cut off (see `connrunner status`).",
    ]),
    (Explanation(at=SLOT, verdict="ran", decision=LATE, started=replace(STARTED, at=LATE.at), ended=None), Circumstances(zone="UTC"), [
        "It ran: run 7, due for Mon 2026-11-23 05:00 +00:00, started at 2026-11-23 06:00:00 +00:00.",
        "Its end is not recorded: it works, or was cut off (see `connrunner status`).",
        "It was seen 1 h 00 min late. No tick between Mon 2026-11-23 04:59 +00:00 and Mon 2026-11-23 06:00 +00:00.",
        "3 later slots passed unseen meanwhile, until Mon 2026-11-23 05:50 +00:00.",
    ]),
    (Explanation(at=SLOT, verdict="waits", decision=QUEUED), Circumstances(zone="UTC"),
        ["It is in the queue: it was due, and has not started."]),
    (Explanation(at=SLOT, verdict="merged", decision=decided("merged", reason="it works"), started=STARTED), Circumstances(zone="UTC"),
        ["It had no run of its own: the slot was merged, for it works. Run 7 stands for it."]),
    (Explanation(at=SLOT, verdict="missed", decision=LATE, ended=ENDED), Circumstances(zone="UTC"), [
        "It did not run then: nobody looked. No tick between Mon 2026-11-23 04:59 +00:00 and Mon 2026-11-23 06:00 +00:00.",
        "The tick at Mon 2026-11-23 06:00 +00:00 found it: run 7 stands for the slot of Mon 2026-11-23 05:00 +00:00 and 3 later slots.",
    ]),
    (Explanation(at=SLOT, verdict="too-late", decision=decided("missed", at=SLOT + HOUR, before=None, reason="1 h late")), Circumstances(zone="UTC"), [
        "It did not run, for it was too late: 1 h late (`start_within`).",
        "No tick is known before Mon 2026-11-23 06:00 +00:00.",
    ]),
    (Explanation(at=SLOT, verdict="left-out", decision=decided("left_out", reason="holidays"), later=SLOT + DAY), Circumstances(zone="UTC"),
        ["It was left out: holidays.", "the one after: Tue 2026-11-24 05:00 +00:00."]),
    (Explanation(at=SLOT, verdict="skipped", decision=decided("skipped", reason="its file is broken"), ended=ENDED), Circumstances(zone="UTC"),
        ["It could not run: its file is broken.", "no answer"]),
    (Explanation(at=SLOT, verdict="skipped", ended=replace(ENDED, outcome="stopped", message="")), Circumstances(zone="UTC"),
        ["It was stopped before it started: nobody knows why"]),
    (Explanation(at=SLOT, verdict="dropped", decision=decided("dropped", reason="switched off")), Circumstances(zone="UTC"),
        ["It waited and was taken out of the queue at Mon 2026-11-23 05:00 +00:00: switched off."]),
    (Explanation(at=SLOT, verdict="off", decision=decided("off", commit="0123456789abcdef")), Circumstances(zone="UTC"),
        ["It was off: switched off at Mon 2026-11-23 05:00 +00:00, by commit 0123456789ab. Nothing is caught up."]),
    (Explanation(at=SLOT, verdict="no-slot", decision=decided("on", schedule=DAILY), earlier=SLOT - DAY, later=SLOT + DAY), Circumstances(zone="UTC"), [
        "It had no slot then. Its schedule was Monday and Tuesday at 06:00 (Europe/Amsterdam).",
        "the slot before: Sun 2026-11-22 05:00 +00:00; the one after: Tue 2026-11-24 05:00 +00:00.",
    ]),
    (Explanation(at=SLOT, verdict="unseen"), Circumstances(zone="Europe/Amsterdam", last_tick=SLOT - HOUR), [
        ("It was due, and no tick has seen it: the last one looked at Mon 2026-11-23 05:00 +01:00. Is cron, or a timer, calling "
        "`connrunner tick`?"),
    ]),
    (Explanation(at=SLOT, verdict="unseen"), Circumstances(zone="UTC"),
        ["It was due, and no tick has seen it: none has ever looked. Is cron, or a timer, calling `connrunner tick`?"]),
    (Explanation(at=SLOT, verdict="ahead"), Circumstances(zone="UTC"), ["It will be due then."]),
    (Explanation(at=SLOT, verdict="unknown"), Circumstances(zone="UTC"), ["Nobody knows: no tick has decided anything yet."]),
    (Explanation(at=SLOT, verdict="unknown"), Circumstances(zone="UTC", recorded_since="2026-11-01T00:00:00Z"),
        ["Nobody knows: what was decided is kept since Sun 2026-11-01 00:00 +00:00."]),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "known", "sentences"), VERDICTS, ids=[case[0].verdict for case in VERDICTS])
def test_each_verdict_in_sentences(answer: Explanation, known: Circumstances, sentences: list[str]) -> None:
    assert reasons.explain_decision(answer, known) == sentences


def test_every_verdict_has_sentences() -> None:
    assert {case[0].verdict for case in VERDICTS} == set(reasons.SENTENCES)


DECISIONS = [
    (decided("on", schedule=DAILY, on_since=SLOT),  "switched on: Monday and Tuesday at 06:00 (Europe/Amsterdam)"),
    (decided("on", schedule=DAILY),                 "on: Monday and Tuesday at 06:00 (Europe/Amsterdam)"),
    (decided("schedule", schedule=DAILY),           "another schedule: Monday and Tuesday at 06:00 (Europe/Amsterdam)"),
    (decided("off", commit="0123456789abcdef"),     "switched off, by commit 0123456789ab"),
    (decided("broken"),                             "its file is broken: its slots are skipped until it is fixed"),
    (decided("mended"),                             "its file is fixed"),
    (QUEUED,                                        "due for Mon 2026-11-23 05:00 +00:00"),
    (LATE,                                          ("due for Mon 2026-11-23 05:00 +00:00; seen 1 h 00 min late: no tick between Mon 2026-11-23 04:59 "
                                                    "+00:00 and Mon 2026-11-23 06:00 +00:00; 3 later slots missed")),
    (decided("dropped", trigger="manual", reason="switched off"), "the request was dropped: switched off"),
    (decided("merged", reason="it works"),          "the slot of Mon 2026-11-23 05:00 +00:00 was merged: it works"),
    (decided("left_out", missed=4, reason="holidays"), "no slot at Mon 2026-11-23 05:00 +00:00 (and 4 more): holidays"),
    (STARTED,                                       "run 7 started"),
    (ENDED,                                         "run 7 ended failed: no answer"),
]  # fmt: skip


@pytest.mark.parametrize(("decision", "words"), DECISIONS, ids=[case[0].kind for case in DECISIONS])
def test_each_decision_in_words(decision: Decision, words: str) -> None:
    assert reasons.describe_decision(decision, "UTC") == words


# --- what a tick says --------------------------------------------------------------------------------------------

AT = "2026-11-23T05:00:00Z"
RUN = {"connection": "a", "run": 1}
RECORD = {**RUN, "outcome": "partial", "trigger": "schedule", "due_at": AT, "queued_at": AT, "ended_at": AT, "seconds": 75,
          "counts": {"read": 3, "checked": 3, "created": 1, "invalid": 2}, "message": "2 rows were refused"}  # fmt: skip
EVENTS: list[tuple[dict[str, Any], str]] = [
    ({"event": "queued", "connection": "a", "due_at": AT, "missed": 0}, f"a: queued for {AT}"),
    ({"event": "queued", "connection": "a", "due_at": AT, "missed": 1}, f"a: queued for {AT}, with 1 later slot missed"),
    ({"event": "left_out", "connection": "a", "due_at": AT, "missed": 2, "reason": "holidays"}, f"a: not due at {AT}, and 2 after it: holidays"),
    ({"event": "skipped", "connection": "a", "due_at": AT, "reason": "x"}, f"a: the slot of {AT} was skipped: x"),
    ({"event": "skipped", "connection": "a", "due_at": AT, "reason": "x", "asked_by": "ann"}, "a: the request of ann was skipped: x"),
    ({"event": "started", **RUN}, "a #1: started"),
    ({"event": "ended", **RECORD}, "a #1: partial after 1 min 15 s; 3 read, 1 created, 2 invalid; 2 rows were refused"),
    ({"event": "recovered", **RECORD, "message": ""}, "a #1: partial after 1 min 15 s; 3 read, 1 created, 2 invalid (found by this tick)"),
    ({"event": "busy", "lane": "main", **RUN, "since": AT, "waiting": ["b"]},
        "lane main is busy: a #1 has been running since 2026-11-23 05:00:00 +00:00; 1 wait: b"),
    ({"event": "busy", "lane": "main", "waiting": []}, "lane main is held by another connrunner"),
    ({"event": "adopted", **RUN, "lives": True}, "a #1: the connrunner that started it is gone; it goes on, and this one looks after it"),
    ({"event": "adopted", **RUN, "lives": False},
        "a #1: its process and the connrunner that started it are gone; what it left behind is ended"),
    ({"event": "stopping", **RUN, "reason": "by ann"}, "a #1: told to end; by ann"),
    ({"event": "left-over", "lane": "main", "processes": ["sleep (12)"]},
        "lane main is held by what a run left behind: sleep (12); end it to set the lane free"),
    ({"event": "hole", "from": AT, "to": AT, "missed": {"b": 1, "a": 2}},
        "no tick came from 2026-11-23 05:00:00 +00:00 to 2026-11-23 05:00:00 +00:00; 3 slots of a, b passed meanwhile"),
    ({"event": "mailed", **RUN, "about": "failed", "recipient": "a@x.nl"}, "a #1: told a@x.nl"),
    ({"event": "mailed", **RUN, "about": "recovered", "recipient": "a@x.nl"}, "a #1: told a@x.nl (recovered)"),
    ({"event": "mailed", "about": "digest", "recipient": "a@x.nl"}, "digest: told a@x.nl"),
    ({"event": "mail-waits", **RUN, "about": "failed", "reason": "no answer"}, "a #1: its mail waits: no answer"),
    ({"event": "mail-dead", **RUN, "about": "failed", "recipient": "a@x.nl", "reason": "no"}, "a #1: a@x.nl could not be told: no"),
    ({"event": "heartbeat-failed", "about": "a", "reason": "no answer"}, "the heartbeat of a was not taken: no answer"),
    ({"event": "problem", "message": "x"}, "x"),
]  # fmt: skip


@pytest.mark.parametrize(("event", "words"), EVENTS, ids=[case[0]["event"] for case in EVENTS])
def test_each_event_in_words(event: dict[str, Any], words: str) -> None:
    assert tick_events.describe(event) == words


# --- status ------------------------------------------------------------------------------------------------------


def health(**more: Any) -> Health:
    facts: dict[str, Any] = {"failing": (), "late": (), "broken": (), "unusable": (), "trouble": "", "last_tick": NOW}
    return Health(at=NOW, **{**facts, **more})


FAILS = FailingConnection(connection="a", outcome="failed", since=None, failures=1)
LATE_SLOT = LateSlot(connection="b", due_at=SLOT, waits=False)
HEALTH: list[tuple[Health, list[str]]] = [
    (health(), []),
    (health(last_tick=NOW - 5 * MINUTE), []),
    (health(last_tick=NOW - 6 * MINUTE), ["no tick lately"]),
    (health(last_tick=None), ["no tick yet"]),
    (health(failing=(FAILS, FAILS), late=(LATE_SLOT,), broken=("c",)), ["2 failing", "1 late", "1 broken"]),
    (health(trouble="no commit"), ["the newest version of the workspace cannot be used"]),
]


@pytest.mark.parametrize(("found", "complaints"), HEALTH, ids=[str(case[1]) for case in HEALTH])
def test_what_is_not_well(found: Health, complaints: list[str]) -> None:
    assert found.complaints == complaints


COMING = [
    # due, expected start, behind                        words
    (NOW - MINUTE, None,             "",                 "now: the next tick starts it"),
    (NOW + MINUTE, None,             "",                 "in 1 min 00 s"),
    (NOW + 2 * DAY, None,            "",                 "in 2 days"),
    (NOW + HOUR,   NOW + HOUR,       "b",                "in 1 h 00 min"),
    (NOW + HOUR,   NOW + 2 * HOUR,   "b",                "in 1 h 00 min; will wait 1 h 00 min behind b"),
    (NOW + HOUR,   NOW + 2 * HOUR,   "",                 "in 1 h 00 min"),
    (NOW - HOUR,   NOW + MINUTE,     "b #4",             "now: the next tick starts it; will wait 1 min 00 s behind b #4"),
]  # fmt: skip


@pytest.mark.parametrize(("due", "starts_at", "behind", "words"), COMING)
def test_when_a_slot_comes_and_how_long_it_will_wait(due: Any, starts_at: Any, behind: str, words: str) -> None:
    slot = NextSlot(connection="a", due_at=due, expected=ExpectedStart(starts_at=starts_at, behind=behind))
    assert status.describe_slot(slot, NOW) == words


@pytest.fixture
def view(place: Place) -> WorkspaceView:
    """Three connections: `crm` of crm-team with a past, `web`, and `old`, which has no file any more."""
    daily = '{type: days_of_week, days: [monday, tuesday], time: "06:00"}'
    place.command("crm", "pass", schedule=daily, more="owner: crm-team\nlabels: {team: crm, tier: gold}\n")
    place.command("web", "pass", schedule=daily, more="enabled: false\nlabels: {team: web}\n")
    place.state.prepare()
    Tick(place.folder, place.state, now=SLOT - DAY, say=lambda _: None).take_in()
    for number in (1, 2, 3):
        ended(place, "crm", number, seconds=number * 60.0, ended_at=SLOT + number * DAY)
    ended(place, "old", 9)
    return WorkspaceView(place.folder, place.state, now=NOW)


FILTERS: list[tuple[ConnectionFilter, list[str]]] = [
    (ConnectionFilter(), ["crm", "old", "web"]),
    (ConnectionFilter(names=("c*", "old")), ["crm", "old"]),
    (ConnectionFilter(owner="crm-team"), ["crm"]),
    (ConnectionFilter(labels=(("team", None),)), ["crm", "web"]),
    (ConnectionFilter(labels=(("team", "web"),)), ["web"]),
    (ConnectionFilter(labels=(("team", None), ("tier", "gold"))), ["crm"]),
    (ConnectionFilter(names=("web",), owner="crm-team"), []),
]


@pytest.mark.parametrize(("choice", "names"), FILTERS, ids=[str(case[1]) for case in FILTERS])
def test_which_connections_are_meant(view: WorkspaceView, choice: ConnectionFilter, names: list[str]) -> None:
    assert choice.select(view, ["web", "old", "crm"]) == names


def test_a_status_is_of_what_was_chosen(view: WorkspaceView) -> None:
    found = status.read_status(view)
    assert [slot.connection for slot in found.coming] == ["crm"]
    assert found.coming[0].due_at == SLOT
    assert [(late.connection, late.reason) for late in found.health.late] == [("crm", "no tick has seen it")]
    other = status.read_status(view, ConnectionFilter(names=("web",)))
    assert (other.coming, other.health.late, other.health.last_tick) == ((), (), found.health.last_tick)


# --- runs, slots, logs -------------------------------------------------------------------------------------------


def test_which_runs_are_listed(view: WorkspaceView) -> None:
    def numbers(**more: Any) -> list[int]:
        return [run.run for run in list_ended(view, "crm", **{"limit": 9, **more})]

    assert numbers() == [3, 2, 1]
    assert numbers(limit=2) == [3, 2]
    assert numbers(since=SLOT + 2 * DAY) == [3, 2]


NEWEST = [
    # names                 the most   since         what ended last of all of them, newest first
    (["crm", "old", "web"], 9,         None,         [("crm", 3), ("crm", 2), ("crm", 1), ("old", 9)]),
    (["old", "crm"],        2,         None,         [("crm", 3), ("crm", 2)]),
    (["crm", "old"],        9,         SLOT + 2*DAY, [("crm", 3), ("crm", 2)]),
    (["old"],               9,         None,         [("old", 9)]),
    (["web"],               9,         None,         []),
]  # fmt: skip


@pytest.mark.parametrize(("names", "limit", "since", "found"), NEWEST)
def test_the_newest_runs_of_many(
    view: WorkspaceView, names: list[str], limit: int, since: Any, found: list[tuple[str, int]]
) -> None:
    newest = list_newest(view, names, limit=limit, since=since)
    assert [(run.connection, run.run) for run in newest] == found


def test_of_runs_that_ended_at_once_the_first_name_comes_first(view: WorkspaceView, place: Place) -> None:
    for name in ("c", "b", "a"):
        ended(place, name, 1, ended_at=NOW)

    for limit in (1, 2, 3):
        assert [run.connection for run in list_newest(view, "abc", limit=limit)] == ["a", "b", "c"][:limit]


NAMED = [
    ([], ["crm", "old", "web"]),
    (["web", "crm", "web"], ["crm", "web"]),
    (["[cw]*"], ["crm", "web"]),
    (["old", "c*"], ["crm", "old"]),
    (["crn"], "there is no connection 'crn'; did you mean 'crm'"),
    (["crm", "x*"], "no connection fits 'x*'; there are crm, old, web"),
]


@pytest.mark.parametrize(("names", "found"), NAMED)
def test_names_and_patterns(view: WorkspaceView, names: list[str], found: list[str] | str) -> None:
    if isinstance(found, list):
        assert list_named(view, names) == found
        return
    with pytest.raises(ArgumentError, match=re.escape(found)):
        list_named(view, names)


LAST_DAY = [
    # at                            runs, failed: in the 24 hours before
    (SLOT + DAY,                    (1, 0)),
    (SLOT + DAY - MINUTE,           (0, 0)),
    (SLOT + 2 * DAY - MINUTE,       (1, 0)),
    (SLOT + 2 * DAY + MINUTE,       (2, 1)),
    (SLOT + 9 * DAY,                (0, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("at", "counts"), LAST_DAY)
def test_what_ran_in_the_last_day(view: WorkspaceView, place: Place, at: Any, counts: tuple[int, int]) -> None:
    ended(place, "web", 1, ended_at=SLOT + 2 * DAY + MINUTE, outcome=Outcome.FAILED)
    found = status.read_status(replace(view, now=at)).last_day
    assert (found.runs, found.failed) == counts


NEXT = [
    ("crm", SLOT, "Monday and Tuesday at 06:00 (Europe/Amsterdam)"),
    ("web", None, "switched off"),
    ("old", None, "it has no file any more"),
]


@pytest.mark.parametrize(("name", "due_at", "words"), NEXT)
def test_the_next_run_or_why_there_is_none(view: WorkspaceView, name: str, due_at: Any, words: str) -> None:
    found = find_next_run(view, name)
    assert (found.state, found.due_at, found.words) == ("promised", due_at, words)


def test_the_slots_to_come(view: WorkspaceView) -> None:
    view = replace(view, now=SLOT - DAY)
    found = read_coming(view, "crm", count=2)
    assert [slot.due_at for slot in found.slots] == [SLOT, SLOT + DAY]
    assert read_coming(view).without == (("web", "switched off"),)
    assert as_list(found)[1] == {
        "connection": "crm",
        "due_at": "2026-11-24T05:00:00Z",
        "local": "2026-11-24T06:00+01:00",
        "timezone": "Europe/Amsterdam",
        "usual": {"runs": 3, "median": 120.0, "p95": 180.0},
    }


RUNS = [
    ({"counts": Counts(read=3, checked=3, created=3), "message": "3 rows"}, "3 read, 3 created"),
    ({"counts": Counts(), "message": "no answer", "code": "unreachable"}, "no answer"),
    ({"counts": Counts(), "kind": "command", "message": "done", "trigger": "manual", "asked_by": "ann"}, "done; asked for by ann"),
    ({"counts": Counts(), "missed": 1200, "merged": 2}, "1,200 later slots were missed; 2 slots merged into it"),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "words"), RUNS, ids=[case[1] for case in RUNS])
def test_a_run_in_a_few_words(place: Place, facts: dict[str, Any], words: str) -> None:
    assert describe_run(ended(place, "a", 1, outcome=Outcome.SUCCEEDED, **facts)) == words


INSTANTS = [
    ("2026-11-22T05:00:00Z", "2026-11-22T05:00:00Z"),
    ("2026-11-22 06:00",     "2026-11-22T05:00:00Z"),  # of the connection's zone
    ("13:00",                "2026-11-23T12:00:00Z"),  # today, and now
    ("13:01",                "2026-11-22T12:01:00Z"),  # has not come today
]  # fmt: skip


@pytest.mark.parametrize(("typed", "meant"), INSTANTS)
def test_the_instant_that_a_person_means(view: WorkspaceView, typed: str, meant: str) -> None:
    assert instant.text(explain.parse_instant(view, "crm", typed)) == meant


@pytest.mark.parametrize("typed", ["monday", "25:00", "12:60", ""])
def test_what_is_not_an_instant(view: WorkspaceView, typed: str) -> None:
    with pytest.raises(ArgumentError, match="is no instant"):
        explain.parse_instant(view, "crm", typed)


def test_which_run_a_log_is_of(view: WorkspaceView) -> None:
    assert choose_run(view, "crm", None) == 3
    assert choose_run(view, "crm", 1) == 1
    with pytest.raises(ArgumentError, match="crm has no run 8; its newest is 3"):
        choose_run(view, "crm", 8)
    with pytest.raises(ArgumentError, match="web has not run yet"):
        choose_run(view, "web", None)


# --- plans and mail ----------------------------------------------------------------------------------------------

MASKED = [
    ("import.from.password", "hunter2", "***"),
    ("import.from.password", "env:PASSWORD", "env:PASSWORD"),
    ("import.from.url", "https://ann:hunter2@example.com/", "***"),
    ("import.from.path", "in/*.csv", "in/*.csv"),
    ("timeout", 60, 60),
]


@pytest.mark.parametrize(("key", "value", "shown"), MASKED)
def test_a_plan_shows_no_secret(key: str, value: Any, shown: Any) -> None:
    assert plan.mask(KeyDifference(key=key, before=None, after=value), value) == shown


def test_when_a_mail_is_tried_again(view: WorkspaceView) -> None:
    outbox = read_outbox(view)
    delivery = Delivery(
        notice=Notice(id="n", connection="crm", run=1, event="failed", recipients=("a",)),
        recipient="a",
        state="waiting",
        owed_at=AT,
        attempts=0,
        tried_at=None,
        next_at=NOW,
        reason="",
    )
    assert outbox.deliveries == ()
    assert describe_next_try(delivery, outbox) == "with the next tick"
    assert describe_next_try(replace(delivery, next_at=NOW + MINUTE), outbox) == "again at 13:01"
    assert describe_next_try(replace(delivery, state="dead", next_at=None), outbox) == "given up"


# --- how long runs take ------------------------------------------------------------------------------------------


USUAL = [
    # median, p95, runs        how long runs take
    ((300.0, 300.0, 0), "nobody knows yet: no run has come to its end"),
    ((7.0, 7.0, 1), "7.0 s (1 run)"),
    ((7.0, 9.0, 2), "usually 7.0 s, at most 9.0 s (2 runs)"),
    ((7.0, 9.0, 19), "usually 7.0 s, at most 9.0 s (19 runs)"),
    ((7.0, 9.0, 20), "usually 7.0 s, at most 9.0 s in 19 of 20 (20 runs)"),
]


@pytest.mark.parametrize(("numbers", "words"), USUAL)
def test_how_long_runs_take(numbers: tuple[float, float, int], words: str) -> None:
    median, p95, runs = numbers
    assert explain.describe_usual(RunDurations(median=median, p95=p95, runs=runs)) == words


# --- counts in words ---------------------------------------------------------------------------------------------

COUNTED = [
    # what a tick says, how many              the words
    ({"event": "queued", "connection": "a", "due_at": "x", "missed": 0}, "a: queued for x"),
    ({"event": "queued", "connection": "a", "due_at": "x", "missed": 1}, "a: queued for x, with 1 later slot missed"),
    ({"event": "queued", "connection": "a", "due_at": "x", "missed": 2}, "a: queued for x, with 2 later slots missed"),
    ({"event": "hole", "from": "2026-11-23T05:00:00Z", "to": "2026-11-23T06:00:00Z", "missed": {"a": 1}}, "1 slot of a passed"),
    ({"event": "hole", "from": "2026-11-23T05:00:00Z", "to": "2026-11-23T06:00:00Z", "missed": {"a": 2}}, "2 slots of a passed"),
]  # fmt: skip


@pytest.mark.parametrize(("event", "words"), COUNTED)
def test_what_a_tick_counts_agrees_with_its_words(event: dict[str, Any], words: str) -> None:
    assert words in tick_events.describe(event)

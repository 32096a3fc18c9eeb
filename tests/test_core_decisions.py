"""Why did it run, or not? The answers, from made-up weeks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from connrunner.core import instant
from connrunner.core.planning import decisions
from connrunner.core.planning.decisions import Decision, Explanation, LaneHolder

DAILY = {"type": "days_of_week", "days": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
         "time": "06:00", "timezone": "UTC"}  # fmt: skip
SIX = instant.parse("2026-11-18T06:00:00Z")
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NOW = instant.parse("2026-11-23T12:00:00Z")


def t(text: str) -> str:
    return f"2026-11-{text}:00Z"


def planned(
    at: str, *slots: dict[str, Any], before: str | None = None, commit: str = "c0", **more: Any
) -> dict[str, Any]:
    return {
        "type": "planned",
        "at": t(at),
        "before": before and t(before),
        "commit": commit,
        "promises": {},
        "slots": list(slots),
        **more,
    }


def switched(at: str, schedule: Any = DAILY, *, since: str | None = None, **more: Any) -> dict[str, Any]:
    promise = schedule and {"on_since": t(since or at), "schedule": schedule}
    return planned(at, promises={"a": promise}, **more)


def slot(due: str, result: str = "queued", *, name: str = "a", **more: Any) -> dict[str, Any]:
    return {"connection": name, "result": result, "due_at": t(due), "trigger": "schedule", **more}


def started(at: str, due: str, run: int, *, name: str = "a", **more: Any) -> dict[str, Any]:
    return {"type": "started", "at": t(at), "started_at": t(at), "due_at": t(due), "connection": name, "run": run, "lane": "main",
            "trigger": "schedule", **more}  # fmt: skip


def ended(at: str, due: str, run: int, outcome: str = "succeeded", *, name: str = "a", **more: Any) -> dict[str, Any]:
    facts = {
        "connection": name,
        "run": run,
        "outcome": outcome,
        "due_at": t(due),
        "ended_at": t(at),
        "trigger": "schedule",
    }
    return {"type": "ended", "at": t(at), "run": {**facts, **more}}


WEEK = [
    switched("16T09:00"),
    planned("17T06:00", slot("17T06:00"), before="17T05:59"),
    started("17T06:02", "17T06:00", 1),
    ended("17T06:10", "17T06:00", 1),
    planned("20T08:00", slot("18T06:00", missed=2, missed_until=t("20T06:00")), before="17T16:00"),
    started("20T08:00", "18T06:00", 2),
    ended("20T08:05", "18T06:00", 2, "failed"),
    switched("20T12:00", {**DAILY, "time": "07:00"}, since="16T09:00", commit="c1"),
    planned("20T13:00", broken={"a": "w1"}, commit="c2"),
    planned("21T07:00", slot("21T07:00", "skipped", reason="its file has problems"), broken={"a": "w1"}),
    ended("21T07:00", "21T07:00", 3, "skipped", message="connections/a.yaml:1:1: oh"),
    planned("21T09:00", broken={}, mended=["a"], commit="c3"),
    planned("22T07:00", slot("22T07:00")),
    started("22T07:00", "22T07:00", 4),
    planned("22T09:00", {**slot("22T09:00", trigger="manual"), "asked_by": "jane"}),
    planned("22T09:30", slot("22T09:30", "merged", reason="it waits already")),
    ended("22T10:00", "22T07:00", 4),
    started("22T10:00", "22T09:00", 5, trigger="manual", asked_by="jane"),
    ended("22T10:10", "22T09:00", 5),
    switched("22T15:00", None, commit="c4"),
]

ANSWERS = [
    # asked about   verdict      kind        run, outcome
    ("17T06:00",    "ran",       "queued",   (1, "succeeded")),
    ("17T06:05",    "ran",       "queued",   (1, "succeeded")),     # it worked at that time
    ("18T06:00",    "ran",       "queued",   (2, "failed")),        # labelled with the promise, two days late
    ("19T06:00",    "missed",    "queued",   (2, "failed")),
    ("20T06:00",    "missed",    "queued",   (2, "failed")),
    ("20T05:00",    "no-slot",   "on",       None),
    ("20T08:03",    "ran",       "queued",   (2, "failed")),
    ("20T18:00",    "no-slot",   "schedule", None),                 # by the new schedule
    ("21T06:00",    "no-slot",   "schedule", None),                 # the hour of the old one
    ("21T07:00",    "skipped",   "skipped",  (3, "skipped")),
    ("22T09:30",    "merged",    "merged",   (4, "succeeded")),     # with the run that worked then
    ("22T10:05",    "ran",       "queued",   (5, "succeeded")),     # asked for
    ("22T16:00",    "off",       "off",      None),
    ("16T08:00",    "unknown",   None,       None),
]  # fmt: skip


@pytest.mark.parametrize(("at", "verdict", "kind", "run"), ANSWERS, ids=[case[0] for case in ANSWERS])
def test_why_it_ran_or_not(at: str, verdict: str, kind: str | None, run: tuple[int, str] | None) -> None:
    found = decisions.explain_instant(decisions.read_decisions(WEEK, "a"), instant.parse(t(at)), now=NOW)

    assert (found.verdict, found.decision and found.decision.kind) == (verdict, kind)
    assert (found.ended and (found.ended.run, found.ended.outcome)) == run


ON, QUEUED = switched("16T09:00"), planned("18T06:00", slot("18T06:00"))
LATER = planned("18T07:00", slot("18T06:00", "dropped"), slot("18T06:00", "missed"))
SLOTS = [
    # what was recorded of the slot of 06:00                                           verdict, by which of the decisions, run
    ([ON, QUEUED],                                                                     ("waits", 1, None, None)),
    ([ON, QUEUED, started("18T06:02", "18T06:00", 7)],                                 ("ran", 1, 7, None)),
    ([ON, QUEUED, started("18T06:02", "18T06:00", 7), ended("18T06:09", "18T06:00", 7)], ("ran", 1, 7, 7)),
    ([ON, QUEUED, started("18T06:02", "18T06:00", 7), LATER],                          ("ran", 1, 7, None)),
    ([ON, started("18T05:50", "18T05:00", 3), QUEUED],                                 ("waits", 2, None, None)),
    ([ON, QUEUED, LATER],                                                              ("dropped", 2, None, None)),
    ([ON, QUEUED, planned("18T07:00", slot("18T06:00", "missed"))],                    ("too-late", 2, None, None)),
    ([ON, QUEUED, planned("18T07:00", slot("18T05:00", "dropped", trigger="manual"))], ("waits", 1, None, None)),
    ([ON, planned("18T06:00", slot("18T06:00", "dropped", trigger="manual")), QUEUED], ("waits", 2, None, None)),
    ([ON, planned("18T06:00", slot("18T06:00", "dropped"))],                           ("dropped", 1, None, None)),
    ([ON, planned("18T06:00", slot("18T06:00", "skipped"))],                           ("skipped", 1, None, None)),
    ([ON, planned("18T06:00", slot("18T06:00", "merged"))],                            ("merged", 1, None, None)),
    ([ON, planned("18T06:00", slot("18T06:00", "merged")), started("18T06:30", "18T05:00", 8)], ("merged", 1, 8, None)),
    ([ON, planned("18T06:00", slot("18T06:00", "missed"))],                            ("too-late", 1, None, None)),
    ([ON, planned("18T06:00", slot("18T06:00", "left_out"))],                          ("left-out", 1, None, None)),
    ([ON, QUEUED, ended("18T07:00", "18T05:00", 6), ended("18T08:00", "18T06:00", 7)], ("skipped", 1, None, 7)),
    ([ON, planned("18T06:00", slot("18T06:00", "skipped")), ended("18T06:00", "18T05:00", 6),
      ended("18T06:00", "18T06:00", 7)],                                               ("skipped", 1, None, 7)),
]  # fmt: skip


@pytest.mark.parametrize(("records", "expected"), SLOTS)
def test_what_became_of_a_slot(
    records: list[dict[str, Any]], expected: tuple[Any, int, int | None, int | None]
) -> None:
    verdict, place, start, end = expected
    known = decisions.read_decisions(records, "a")
    found = decisions.explain_instant(known, SIX + timedelta(seconds=30), now=NOW)

    runs: dict[str, Any] = {kind: next((one for one in known if one.kind == kind and one.run == run), None)
            for kind, run in (("started", start), ("ended", end))}  # fmt: skip
    assert found == Explanation(at=SIX, verdict=verdict, decision=known[place], slot=SIX, **runs)


# Switched on at 9:00 on Monday the 16th, every day at 6:00, but for the 20th. A run of Tuesday's slot worked from 6:02 to 6:10.
LEAVES_OUT = {**DAILY, "blackout": [{"dates": ["2026-11-20"], "timezone": "UTC"}]}
RECORDS = [
    switched("16T09:00", LEAVES_OUT),
    planned("17T06:00", slot("17T06:00")),
    planned("17T06:01", slot("17T06:01", trigger="manual")),
    started("17T06:02", "17T06:00", 1),
    ended("17T06:10", "17T06:00", 1),
    started("17T06:10", "17T06:01", 2, trigger="manual"),
    ended("17T06:11", "17T06:01", 2, trigger="manual"),
    switched("21T09:00", None),
    switched("21T12:00", {**DAILY, "time": "12:00"}, since="21T12:00"),
]
RAN, RAN_TOO = {"decision": 1, "started": 3, "ended": 4}, {"decision": 2, "started": 5, "ended": 6}
INSTANTS = [
    # asked about  verdict, and what it stands on: decisions by place, instants
    ("16T08:59",   "unknown",  {}),
    ("16T09:00",   "no-slot",  {"decision": 0, "later": "17T06:00"}),       # none before it was switched on
    ("17T05:59",   "no-slot",  {"decision": 0, "later": "17T06:00"}),
    ("17T06:01",   "no-slot",  {"decision": 0, "earlier": "17T06:00", "later": "18T06:00"}),
    ("17T06:02",   "ran",      RAN),
    ("17T06:09",   "ran",      RAN),
    ("17T06:10",   "ran",      RAN_TOO),                                    # both did: the newest
    ("17T06:11",   "ran",      RAN_TOO),
    ("17T06:12",   "no-slot",  {"decision": 0, "earlier": "17T06:00", "later": "18T06:00"}),
    ("18T05:59",   "no-slot",  {"decision": 0, "earlier": "17T06:00", "later": "18T06:00"}),
    ("18T06:00",   "unseen",   {"decision": 0, "slot": "18T06:00"}),
    ("18T06:01",   "no-slot",  {"decision": 0, "earlier": "18T06:00", "later": "19T06:00"}),
    ("20T06:00",   "left-out", {"decision": 0, "earlier": "19T06:00", "later": "21T06:00"}),
    ("20T06:01",   "no-slot",  {"decision": 0, "earlier": "19T06:00", "later": "21T06:00"}),
    ("21T09:00",   "off",      {"decision": 7}),
    ("21T11:59",   "off",      {"decision": 7}),
    ("21T12:00",   "unseen",   {"decision": 8, "slot": "21T12:00"}),
    ("22T06:00",   "no-slot",  {"decision": 8, "earlier": "21T12:00", "later": "22T12:00"}),
    ("23T12:00",   "unseen",   {"decision": 8, "slot": "23T12:00"}),        # it is 12:00 now
    ("24T12:00",   "ahead",    {"decision": 8, "slot": "24T12:00"}),
]  # fmt: skip


@pytest.mark.parametrize(("at", "verdict", "facts"), INSTANTS, ids=[case[0] for case in INSTANTS])
def test_what_an_answer_stands_on(at: str, verdict: Any, facts: dict[str, Any]) -> None:
    known = decisions.read_decisions(RECORDS, "a")
    parts: dict[str, Any] = {
        name: known[fact] if isinstance(fact, int) else instant.parse(t(fact)) for name, fact in facts.items()
    }

    found = decisions.explain_instant(known, instant.parse(t(at)), now=NOW)

    assert found == Explanation(at=instant.parse(t(at)), verdict=verdict, **parts)


WORKS = [
    # runs: seconds of start and end   asked about   the one that worked
    ([(10, 20)],                       15,           1),
    ([(10, 20)],                       0,            1),     # in its minute
    ([(10, 20)],                       59,           1),
    ([(10, 20)],                       60,           None),
    ([(10, 20)],                       -1,           None),
    ([(10, 20), (30, 40)],             15,           1),
    ([(10, 20), (30, 40)],             10,           1),
    ([(10, 20), (30, 40)],             20,           1),
    ([(10, 20), (30, 40)],             25,           2),     # in the minute of both: the newest
    ([(10, 20), (20, 30)],             20,           2),
    ([(-50, 5), (10, 20)],             30,           2),
    ([(-30, 0)],                       30,           1),     # until the minute began
    ([(-30, -1)],                      30,           None),
    ([(10, None)],                     500,          1),     # it works still
    ([(10, None)],                     5,            1),
    ([(10, 200), (30, None)],          250,          2),
    ([(60, 30)],                       90,           1),     # the clock went back while it worked
]  # fmt: skip


@pytest.mark.parametrize(("runs", "second", "expected"), WORKS)
def test_which_run_worked_at_an_instant(runs: list[tuple[int, int | None]], second: int, expected: int | None) -> None:
    known = []
    for number, times in enumerate(runs, 1):
        for kind, seconds in zip(("started", "ended"), times, strict=True):
            if seconds is not None:
                at = SIX + timedelta(seconds=seconds)
                known.append(Decision(kind=kind, at=at, due_at=SIX - HOUR, run=number))  # type: ignore[arg-type]

    found = decisions.explain_instant(known, SIX + timedelta(seconds=second), now=NOW)

    assert (found.started and found.started.run) == expected


SEEN_LATE = planned("20T08:00", slot("18T06:00", missed=2, missed_until=t("20T06:00")))
LEFT_OUT = planned("20T08:00", slot("18T06:00", "left_out", missed=2, missed_until=t("20T06:00")))
EVERY_SIX_HOURS = {"type": "times_per_day", "times": 4}
PASSED = [
    # what is known, asked about                                                   verdict, by which of the decisions, run
    ([ON, SEEN_LATE],                                              "19T06:00",     ("missed", 1, None)),
    ([ON, SEEN_LATE, started("20T08:00", "18T06:00", 7)],          "20T06:00",     ("missed", 1, 7)),
    ([ON, SEEN_LATE, started("20T08:00", "18T06:00", 7), ended("20T08:09", "18T06:00", 7)], "20T06:00", ("missed", 1, 7)),
    ([ON, SEEN_LATE],                                              "19T06:01",     ("no-slot", 0, None)),
    ([switched("16T09:00", LEAVES_OUT), SEEN_LATE],                "20T06:00",     ("left-out", 0, None)),
    ([switched("16T09:00", {**LEAVES_OUT, "blackout": [{"days": ["thursday"], "timezone": "UTC"}]}), LEFT_OUT],
                                                                   "19T06:00",     ("left-out", 1, None)),
    ([switched("16T09:00", {**LEAVES_OUT, "blackout": [{"days": ["thursday"], "timezone": "UTC"}]}), LEFT_OUT],
                                                                   "20T06:00",     ("unseen", 0, None)),
    ([switched("16T09:10", EVERY_SIX_HOURS), SEEN_LATE],           "19T03:10",     ("missed", 1, None)),
    ([switched("16T09:10", EVERY_SIX_HOURS), SEEN_LATE],           "19T06:00",     ("no-slot", 0, None)),
    ([switched("16T09:10", EVERY_SIX_HOURS)],                      "19T03:10",     ("unseen", 0, None)),
    ([switched("16T09:10", {**EVERY_SIX_HOURS, "blackout": [{"days": ["thursday"], "timezone": "UTC"}]})],
                                                                   "19T03:10",     ("left-out", 0, None)),
    ([SEEN_LATE],                                                  "19T06:00",     ("unknown", None, None)),
    ([switched("16T09:00", None), SEEN_LATE],                      "19T06:00",     ("off", 0, None)),
    ([planned("18T06:00", slot("18T05:00", trigger="manual", missed=2, missed_until=t("20T06:00"))), ON],
                                                                   "19T06:00",     ("unseen", 1, None)),
]  # fmt: skip


@pytest.mark.parametrize(("records", "at", "expected"), PASSED)
def test_what_became_of_a_slot_that_passed_unseen(
    records: list[dict[str, Any]], at: str, expected: tuple[str, int | None, int | None]
) -> None:
    known = decisions.read_decisions(records, "a")
    verdict, place, run = expected

    found = decisions.explain_instant(known, instant.parse(t(at)), now=NOW)

    assert (found.at, found.verdict) == (instant.parse(t(at)), verdict)
    assert found.decision == (None if place is None else known[place])
    assert (found.started and found.started.run) == run
    assert found.ended == next((one for one in known if one.kind == "ended"), None)
    is_slot = place is not None and (verdict in ("missed", "unseen") or known[place].kind == "left_out")
    assert found.slot == (found.at if is_slot else None)


def test_what_was_decided_in_order() -> None:
    kinds = [decision.kind for decision in decisions.read_decisions(WEEK, "a")]

    assert " ".join(kinds) == (
        "on queued started ended queued started ended schedule broken skipped ended mended queued started queued merged "
        "ended started ended off"
    )
    assert decisions.read_decisions(WEEK, "b") == ()


def test_a_slot_that_nobody_has_looked_at() -> None:
    known = decisions.read_decisions(WEEK[:4], "a")

    assert decisions.explain_instant(known, instant.parse(t("18T06:00")), now=NOW).verdict == "unseen"
    assert decisions.explain_instant(known, instant.parse(t("24T06:00")), now=NOW).verdict == "ahead"


def test_slots_around_an_instant_without_one() -> None:
    found = decisions.explain_instant(decisions.read_decisions(WEEK, "a"), instant.parse(t("20T05:00")), now=NOW)

    assert (found.earlier, found.later) == (instant.parse(t("19T06:00")), instant.parse(t("20T06:00")))


def test_nobody_looked_is_not_the_same_as_late() -> None:
    looked, nobody = (
        decisions.read_decisions([planned("18T08:00", slot("18T06:00"), before=before)], "a")[0]
        for before in ("18T07:59", "18T05:00")
    )

    assert (looked.is_late, looked.nobody_looked) == (True, False)
    assert (nobody.is_late, nobody.nobody_looked) == (True, True)


def test_a_run_that_waits_and_one_that_was_dropped() -> None:
    on, due = switched("16T09:00"), planned("18T06:00", slot("18T06:00"))
    dropped = planned("18T06:30", slot("18T06:00", "dropped", reason="switched off while it waited"))
    at = instant.parse(t("18T06:00"))

    waits = decisions.explain_instant(decisions.read_decisions([on, due], "a"), at, now=NOW)
    gone = decisions.explain_instant(decisions.read_decisions([on, due, dropped], "a"), at, now=NOW)

    assert (waits.verdict, gone.verdict) == ("waits", "dropped")
    assert gone.decision is not None
    assert gone.decision.reason == "switched off while it waited"


def test_a_run_that_was_stopped_while_it_waited() -> None:
    records = [switched("16T09:00"), planned("18T06:00", slot("18T06:00")), ended("18T06:30", "18T06:00", 4, "stopped")]

    found = decisions.explain_instant(decisions.read_decisions(records, "a"), instant.parse(t("18T06:00")), now=NOW)

    assert (found.verdict, found.started, found.ended and found.ended.outcome) == ("skipped", None, "stopped")


def test_who_held_the_lane() -> None:
    records = [
        started("18T05:00", "18T05:00", 9, name="early"),
        ended("18T05:30", "18T05:00", 9, name="early"),
        started("18T05:50", "18T05:50", 7, name="long"),
        ended("18T06:20", "18T05:50", 7, name="long"),
        started("18T06:20", "18T06:00", 8, name="next"),
        {**started("18T06:00", "18T06:00", 1, name="elsewhere"), "lane": "side"},
        started("18T06:40", "18T06:00", 3),
    ]

    found = decisions.find_lane_holders(
        records, "main", start=instant.parse(t("18T06:00")), end=instant.parse(t("18T06:40"))
    )

    assert [(one.connection, one.run) for one in found] == [("long", 7), ("next", 8)]


def test_a_lane_was_held_from_a_start_to_an_end() -> None:
    records = [
        ended("18T05:40", "18T05:00", 1, name="before the records"),
        started("18T05:45", "18T05:45", 2, name="just over"),
        ended("18T06:00", "18T05:45", 2, name="just over"),
        started("18T06:10", "18T06:10", 4, name="second"),
        started("18T06:05", "18T06:05", 3, name="first"),
        ended("18T06:20", "18T06:05", 3, name="first"),
        ended("18T06:30", "18T06:10", 5, name="second"),
        {**started("18T06:06", "18T06:05", 6, name="no start"), "type": "other"},
    ]
    start, end = instant.parse(t("18T06:00")), instant.parse(t("18T07:00"))

    assert decisions.find_lane_holders(records, "main", start=start, end=end) == (
        LaneHolder(connection="first", run=3, started_at=start + 5 * MINUTE, ended_at=start + 20 * MINUTE),
        LaneHolder(connection="second", run=4, started_at=start + 10 * MINUTE, ended_at=None),
    )


BLACKOUT = {**DAILY, "blackout": [{"dates": ["2026-11-19", "2026-11-20"], "reason": "Stocktaking", "timezone": "UTC"}]}
LIMITED = [
    switched("16T09:00", BLACKOUT),
    planned("17T09:00", slot("17T06:00", "missed", reason="no tick came within 2 h")),
    planned("18T06:00", slot("18T06:00")),
    planned("18T08:01", slot("18T06:00", "missed", reason="it waited in the queue for more than 2 h")),
    planned(
        "20T06:00", slot("19T06:00", "left_out", reason="blackout: Stocktaking", missed=1, missed_until=t("20T06:00"))
    ),
]


@pytest.mark.parametrize(
    ("at", "verdict"),
    [
        ("17T06:00", "too-late"),
        ("18T06:00", "too-late"),
        ("19T06:00", "left-out"),
        ("20T06:00", "left-out"),
        ("20T07:00", "no-slot"),
    ],
)
def test_slots_that_may_not_start_and_those_that_a_blackout_leaves_out(at: str, verdict: str) -> None:
    assert (
        decisions.explain_instant(decisions.read_decisions(LIMITED, "a"), instant.parse(t(at)), now=NOW).verdict
        == verdict
    )
    before = decisions.read_decisions(LIMITED[:-1], "a")
    if at == "20T06:00":  # before a tick told of it
        assert decisions.explain_instant(before, instant.parse(t(at)), now=NOW).verdict == verdict


# --- what each record says -------------------------------------------------------------------------------------------

FACTS: dict[str, Any] = {"at": instant.parse(t("18T06:01")), "commit": "c0", "before": instant.parse(t("18T05:59"))}
SAYS = [
    # a record, and what it says
    (
        planned(
            "18T06:01",
            slot("18T06:00", "missed", missed=2, missed_until=t("18T08:00"), reason="too late"),
            slot("18T06:00", trigger="manual", asked_by="jane"),
            slot("18T06:00", name="b"),
            {"connection": "a", "result": "dropped", "due_at": t("18T06:00")},
            before="18T05:59",
        ),
        [
            Decision(
                kind="missed", due_at=SIX, missed=2, missed_until=SIX + 2 * HOUR, reason="too late", **FACTS
            ),
            Decision(kind="queued", due_at=SIX, trigger="manual", asked_by="jane", **FACTS),
            Decision(kind="dropped", due_at=SIX, **FACTS),
        ],
    ),
    (
        started("18T06:01", "18T06:00", 4, lane="side", trigger="manual", asked_by="jo", commit="c7", config="f0"),
        [
            Decision(
                kind="started", at=SIX + MINUTE, due_at=SIX, run=4, lane="side", trigger="manual", asked_by="jo",
                commit="c7", config="f0",
            )
        ],
    ),
    (
        started("18T06:01", "18T06:00", 4),
        [Decision(kind="started", at=SIX + MINUTE, due_at=SIX, run=4)],
    ),
    (
        ended("18T06:01", "18T06:00", 4, "failed", message="why", trigger="manual", merged=3, commit="c7"),
        [
            Decision(
                kind="ended", at=SIX + MINUTE, due_at=SIX, run=4, outcome="failed", message="why", trigger="manual",
                merged=3, commit="c7",
            )
        ],
    ),
    (
        ended("18T06:01", "18T06:00", 4),
        [Decision(kind="ended", at=SIX + MINUTE, due_at=SIX, run=4, outcome="succeeded")],
    ),
    (
        switched("18T06:01", since="18T06:01", before="18T05:59"),
        [Decision(kind="on", schedule=DAILY, on_since=SIX + MINUTE, **FACTS)],
    ),
    (
        switched("18T06:01", since="16T09:00", before="18T05:59"),  # when it was switched on is not known any more
        [Decision(kind="on", schedule=DAILY, on_since=instant.parse(t("16T09:00")), **FACTS)],
    ),
    (switched("18T06:01", None, before="18T05:59"), [Decision(kind="off", **FACTS)]),
    (planned("18T06:01", broken={"a": "w1"}, before="18T05:59"), [Decision(kind="broken", **FACTS)]),
    (planned("18T06:01", broken={"b": "w1"}, mended=["b"]), []),
    (planned("18T06:01", mended=["a"]), []),  # nobody said that it was broken
    ({"type": "planned", "at": t("18T06:01")}, []),
    (started("18T06:01", "18T06:00", 4, name="b"), []),
    (ended("18T06:01", "18T06:00", 4, name="b"), []),
    ({"type": "delivered", "connection": "a"}, []),
]  # fmt: skip


@pytest.mark.parametrize(("record", "says"), SAYS)
def test_what_a_record_says(record: dict[str, Any], says: list[Decision]) -> None:
    assert list(decisions.read_decisions([record], "a")) == says


CHANGES = [
    # what the records say one after the other                                       kinds
    ([switched("18T06:00"), switched("19T06:00")],                                   "on"),  # the same schedule as before
    ([switched("18T06:00"), switched("19T06:00", {**DAILY, "time": "07:00"})],       "on on"),  # off and on between two ticks
    ([switched("18T06:00"), switched("19T06:00", {**DAILY, "time": "07:00"}, since="18T06:00")], "on schedule"),
    ([switched("18T06:00"), switched("19T06:00", None), switched("20T06:00", since="18T06:00")], "on off on"),
    ([planned("18T06:00", broken={"a": "w1"}), planned("19T06:00", broken={"a": "w1"})], "broken"),
    ([planned("18T06:00", broken={"a": "w1"}), planned("19T06:00", broken={"a": "w2"})], "broken broken"),
    ([planned("18T06:00", broken={"a": "w1"}), planned("19T06:00")],                 "broken"),  # the file is gone
    ([planned("18T06:00", broken={"a": "w1"}), planned("19T06:00"), planned("20T06:00", mended=["a"])], "broken"),
    ([planned("18T06:00", broken={"a": "w1"}), planned("19T06:00", mended=["b", "a"])], "broken mended"),
]  # fmt: skip


@pytest.mark.parametrize(("records", "kinds"), CHANGES)
def test_what_is_new_to_those_that_came_before(records: list[dict[str, Any]], kinds: str) -> None:
    assert " ".join(one.kind for one in decisions.read_decisions(records, "a")) == kinds


COVERED = [
    # due      missed until   asked about   among those that passed unseen
    ("18T06:00", "20T06:00", "18T06:00", False),
    ("18T06:00", "20T06:00", "18T06:01", True),
    ("18T06:00", "20T06:00", "20T06:00", True),
    ("18T06:00", "20T06:00", "20T06:01", False),
    ("18T06:00", None, "18T06:01", False),
]


@pytest.mark.parametrize(("due", "until", "at", "expected"), COVERED)
def test_which_slots_passed_unseen(due: str, until: str | None, at: str, expected: bool) -> None:
    (one,) = decisions.read_decisions([planned("21T06:00", slot(due, missed_until=until and t(until)))], "a")
    assert one.covers(instant.parse(t(at))) is expected


LATE = [
    # seen       the tick before   trigger      is late   nobody looked
    ("18T06:01", "18T05:00", "schedule", False, False),
    ("18T06:02", "18T05:59", "schedule", True, True),
    ("18T06:02", "18T06:00", "schedule", True, False),
    ("18T06:02", None, "schedule", True, True),
    ("18T09:00", "18T05:00", "manual", False, False),
]


@pytest.mark.parametrize(("seen", "before", "trigger", "late", "nobody"), LATE)
def test_when_a_slot_was_seen_late(seen: str, before: str | None, trigger: str, late: bool, nobody: bool) -> None:
    (one,) = decisions.read_decisions([planned(seen, slot("18T06:00", trigger=trigger), before=before)], "a")
    assert (one.is_late, one.nobody_looked) == (late, nobody)
    (other,) = decisions.read_decisions([switched("18T06:00", None)], "a")
    assert not other.is_late
    assert not other.nobody_looked

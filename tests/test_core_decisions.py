"""Why did it run, or not? The answers, from made-up weeks."""

from __future__ import annotations

from typing import Any

import pytest

from connrunner.core import instant
from connrunner.core.planning import decisions

DAILY = {"type": "days_of_week", "days": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
         "time": "06:00", "timezone": "UTC"}  # fmt: skip
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

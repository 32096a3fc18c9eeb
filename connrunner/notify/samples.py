"""Made-up runs and events: what templates are tried on before there is anything real to tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from connrunner.core import instant
from connrunner.core.counts import Counts
from connrunner.core.model import Commit, Outcome, QueuedRun, Result, Run, RunIntent
from connrunner.lazy_dataclasses import replace
from connrunner.notify.facts import Background, build_context
from connrunner.notify.render import EVENTS, RUN_EVENTS

DUE = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)
DAY = timedelta(days=1)
LONE = ("digest", "folded", "outage", "broken", "fixed", "attention")  # events that are about no single connection
OUTCOMES = {
    "failing": Outcome.FAILED,
    "reminder": Outcome.FAILED,
    "recovered": Outcome.SUCCEEDED,
    "declined": Outcome.STOPPED,
}
GOOD = Counts(read=12_000, checked=12_000, created=500, updated=1_200, unchanged=10_300)
REFUSING = Counts(read=12_000, checked=12_000, created=500, updated=1_200, unchanged=10_286, invalid=14)
TOLD = {
    Outcome.SUCCEEDED: (GOOD, "", ""),
    Outcome.PARTIAL: (REFUSING, "14 of 12,000 rows were refused", ""),
    Outcome.FAILED: (Counts(), "sftp.example.com:22 cannot be reached: no answer in time", "unreachable"),
    Outcome.STOPPED: (
        Counts(read=12_000, not_attempted=12_000),
        "stopped by ann: the file is the one of last week",
        "",
    ),
    Outcome.INTERRUPTED: (Counts(), "it was cut off, and nobody knows how far it came", "interrupted"),
    Outcome.SKIPPED: (
        Counts(),
        "connections/sample.yaml:5:18: unknown day 'fryday'; did you mean 'friday'?",
        "config-error",
    ),
    Outcome.HELD: (Counts(), "nothing is changed yet: 91 % of 12,000 profiles would change", "held"),
}
REJECT = {
    "file": "members-2026-11-22.csv",
    "field": "born",
    "code": "wrong-type",
    "message": "'31-02-1980' is not a date",
    "value": "31-02-1980",
}


def sample_run(event: str, *, connection: str = "sample", title: str = "", kind: str = "import") -> Run | None:
    """Return a run that *event* could be about; None for events that are about no single run."""
    if event not in RUN_EVENTS:
        return None
    outcome = OUTCOMES.get(event) or Outcome(event)
    counts, message, code = TOLD[outcome]
    never = outcome is Outcome.SKIPPED
    return Run(
        entry=QueuedRun(connection=connection, due_at=DUE, queued_at=DUE),
        intent=RunIntent(
            run=42,
            started_at=None if never else DUE + timedelta(seconds=2),
            commit="3f2a9c1d0b8e4f6a7c5d2e1f9a8b7c6d5e4f3a2b",
            kind=kind,
            title=title,
        ),
        result=Result(outcome=outcome, counts=counts, message=message, code=code),
        ended_at=DUE + timedelta(seconds=75),
        seconds=0 if never else 73,
    )


def sample_recent(latest: Run) -> list[Run]:
    """Return runs that may have come before *latest*, newest first, itself the first."""
    seconds, rows = (
        (64, 71, 66, 80, 69, 12, 75, 68, 70),
        (11_200, 11_350, 11_410, 11_500, 11_620, 0, 11_800, 11_870, 11_930),
    )
    before = [
        replace(
            latest,
            intent=replace(
                latest.intent, run=latest.run - 9 + number, started_at=latest.entry.due_at - DAY * (9 - number)
            ),
            result=replace(
                latest.result,
                outcome=Outcome.SUCCEEDED if many else Outcome.FAILED,
                counts=Counts(read=many, checked=many, unchanged=many),
            ),
            seconds=took,
        )
        for number, (took, many) in enumerate(zip(seconds, rows, strict=True))
    ]
    return [latest, *reversed(before)]


def sample_facts(event: str, *, connection: str = "sample", title: str = "Sample") -> dict[str, Any]:
    """Return what a notice of *event* brings beyond its run."""
    at = instant.text
    match event:
        case "failing":
            return {"since": at(DUE), "failures": 1, "first_run": 42, "between": {}, "row_since": at(DUE)}
        case "reminder":
            return {
                "since": at(DUE - DAY),
                "failures": 3,
                "first_run": 40,
                "between": {},
                "row_since": at(DUE - DAY * 2),
            }
        case "recovered":
            return {"since": at(DUE - DAY * 3), "failures": 3, "first_run": 38, "between": {"failed": 3, "stopped": 1}}
        case "held":
            difference = {
                "digest": "5e1f",
                "reasons": ["91 % of 12,000 profiles would change, at most 30 % are expected"],
                "counts": {"created": 20, "updated": 10_900},
                "properties": {"city": 10_880, "email": 20},
                "columns": {"appeared": ["Town"], "vanished": ["City"]},
                "expires": 259_200,
            }
            return {"since": at(DUE), "difference": difference}
        case "late":
            return {"due_at": at(DUE), "late_seconds": 2_700, "state": "waiting"}
        case "digest":
            return {"from": at(DUE - DAY), "to": at(DUE), "connections": _digest(connection, title), "broken": ["old"]}
        case "folded":
            return {"from": at(DUE), "to": at(DUE + timedelta(minutes=48)), "notices": _folded(connection)}
        case "outage":
            missed = [
                {"connection": connection, "passed": 3, "late": 1, "missed": 2},
                {"connection": "newsletter-audience", "passed": 12, "late": 1, "missed": 11},
            ]
            return {"from": at(DUE), "to": at(DUE + timedelta(hours=3, minutes=30)), "missed": missed}
        case "broken":
            problems = ["connections/sample.yaml:5:18: unknown day 'fryday'; did you mean 'friday'?"]
            return {"files": [{"name": connection, "problems": problems, "more": 2}], "count": 2}
        case "fixed":
            return {"files": [{"name": connection, "gone": False}], "count": 1, "gone": 0}
        case "attention":
            found = f"the history of {connection} has 1 line without a record (312 bytes, the first at byte 1,248)"
            remedy = "see what it was; move history.damaged away once you know why"
            finding = {"about": f"the history of {connection}", "found": found, "remedy": remedy}
            return {"kind": "damage", "findings": [finding], "count": 1}
        case _:
            return {}


def _digest(connection: str, title: str) -> list[dict[str, Any]]:
    latest = sample_run("partial", connection=connection, title=title)
    assert latest is not None
    runs = sample_recent(latest)
    return [
        {
            "name": connection,
            "title": title,
            "runs": 7,
            "partial": 2,
            "failed": 1,
            "late": 1,
            "missed": 2,
            "counts": REFUSING.as_dict(),
            "trend": [
                {"run": one.run, "outcome": one.outcome.value, "seconds": one.seconds, "read": one.result.counts.read}
                for one in reversed(runs)
            ],
            "next_due": instant.text(DUE + DAY),
            "last_outcome": "partial",
            "last_message": latest.result.message,
            "tight": {"gap": 3600, "p95": 4440},
        },
        {
            "name": "refresh-segments",
            "title": "Refresh segments",
            "runs": 4,
            "partial": 0,
            "failed": 0,
            "late": 0,
            "missed": 0,
            "counts": Counts().as_dict(),
            "trend": [
                {"run": number, "outcome": "succeeded", "seconds": 3 + number, "read": 0} for number in range(1, 5)
            ],
            "next_due": instant.text(DUE + DAY / 4),
            "last_outcome": "succeeded",
        },
        {
            "name": "once-a-month",
            "title": "Once a month",
            "runs": 0,
            "partial": 0,
            "failed": 0,
            "late": 0,
            "missed": 0,
            "counts": Counts().as_dict(),
            "trend": [],
            "next_due": None,
            "last_outcome": None,
        },
    ]


def _folded(connection: str) -> list[dict[str, Any]]:
    told = [
        (connection, 42, "failed", "sftp.example.com:22 cannot be reached: no answer in time"),
        ("newsletter-audience", 17, "partial", "3 of 8,211 rows were refused"),
        ("refresh-segments", 311, "interrupted", "it was cut off, and nobody knows how far it came"),
        ("crm-people", 0, "late", "it has not started"),
        ("shop-contacts", 88, "recovered", ""),
    ]
    return [
        {
            "connection": name,
            "run": number,
            "event": event,
            "at": instant.text(DUE + timedelta(minutes=12 * minutes)),
            "message": message,
        }
        for minutes, (name, number, event, message) in enumerate(told)
    ]


def _without_facts(run: Run) -> Run:
    """Return *run* with as little in it as there can be."""
    intent = replace(run.intent, commit=None, kind="")
    return replace(run, intent=intent, result=Result(outcome=run.outcome), seconds=0)


def sample(event: str, *, target: str = "", connection: str = "sample", full: bool = True) -> dict[str, Any]:
    """Return what the templates of *event* see: once all of it, or as little as there can be."""
    told = sample_run(event, connection=connection, title="Sample")
    lone = event in LONE
    told_facts = sample_facts(event, connection=connection)
    if not full:
        least: dict[str, list[Any]] = {"connections": [], "notices": [], "missed": [], "files": [], "findings": []}
        return build_context(
            told and _without_facts(told),
            Background(connection="" if lone else connection, target=target, workspace="crm"),
            event=event,
            facts={**told_facts, **{key: value for key, value in least.items() if key in told_facts}},
        )
    seen = build_context(
        told and replace(told, entry=replace(told.entry, trigger="manual", asked_by="ann", missed=2, merged=1)),
        Background(
            connection="" if lone else connection,
            title="" if lone else "Sample",
            description="" if lone else "A sample.",
            owner="" if lone else "data-team",
            next_run=None if lone else DUE + DAY,
            recent=sample_recent(told) if told else sample_before_late(connection) if event == "late" else (),
            commit=Commit(id="3f2a9c1d", author="Ann Example", at=DUE - DAY, subject="Import the birthdays too")
            if told
            else None,
            target=target,
            workspace="crm",
        ),
        event=event,
        facts=told_facts,
    )
    if not told or not told.result.counts.refused:
        return seen
    lines = [REJECT | {"line": line} for line in (2, 17, 40, 204, 311, 312, 1_870, 4_001, 8_765, 11_999)]
    return seen | {"rejects": lines, "rejects_total": {"wrong-type": 12, "missing-key": 2}, "rejects_more": True}


def sample_before_late(connection: str) -> list[Run]:
    """Return the runs before a slot that is late."""
    latest = sample_run("succeeded", connection=connection)
    assert latest is not None
    return sample_recent(latest)


def samples(places: Iterable[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """Yield a sample of each event, large and small, for each of *places*: a target's and a connection's name."""
    for target, connection in places:
        for event in EVENTS:
            for full in (False, True):
                yield sample(event, target=target, connection=connection or "sample", full=full)

"""The runs of all lanes between two instants, from the journal: what a day looked like, and no history is read."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from sys import intern
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from connrunner.answers.status import lane_of
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant, run_records
from connrunner.state import journal_segments
from connrunner.state.journal_segments import RecordedPart
from connrunner.text.nesting import parse_json

NO_TICK = "no tick came"
DAY = timedelta(days=1)
KEPT_PARTS = 64  # whose ended runs are remembered: a complete part never changes


_MISSED = re.compile(rb'"missed": ?[1-9]|"result": ?"missed"')


class PastRun(NamedTuple):
    """A run that has ended."""

    connection: str
    run: int
    due_at: datetime
    started_at: datetime | None  # None: it ended without a start
    ended_at: datetime
    outcome: str


class MissedSlots(NamedTuple):
    """Slots that no run stands for: no tick came while they were due, or it came too late to start."""

    connection: str
    first: datetime
    last: datetime
    number: int
    reason: str


def list_past(
    view: WorkspaceView, since: datetime, until: datetime
) -> tuple[dict[str, list[PastRun]], dict[str, list[MissedSlots]]]:
    """Return the runs and the missed slots between two instants by lane: what is recorded is read once for both."""
    runs: dict[str, list[PastRun]] = {}
    missed: dict[str, list[MissedSlots]] = {}
    for event in _read_past(view, since):
        if isinstance(event, PastRun):
            if event.ended_at > since and (event.started_at or event.ended_at) < until:
                runs.setdefault(lane_of(view, event.connection), []).append(event)
        elif event.last > since and event.first < until:
            missed.setdefault(lane_of(view, event.connection), []).append(event)
    for ended in runs.values():
        ended.sort(key=lambda one: one.ended_at)
    for slots in missed.values():
        slots.sort(key=lambda one: one.first)
    return runs, missed


def list_past_runs(view: WorkspaceView, since: datetime, until: datetime) -> dict[str, list[PastRun]]:
    """Return the runs that ended after *since* and began before *until*, by lane, in the order of their ends.

    The lane is that of the connection now.
    """
    return list_past(view, since, until)[0]


def list_ended_today(view: WorkspaceView) -> list[PastRun]:
    """Return the runs of the workspace that ended since midnight in its zone, newest first."""
    return list_ended_on(view, view.clock().astimezone(ZoneInfo(view.zone())).date())


def list_ended_on(view: WorkspaceView, day: date) -> list[PastRun]:
    """Return the runs of the workspace that ended on *day* in its zone, newest first, as far as the journal is kept."""
    zone = ZoneInfo(view.zone())
    begin, end = (datetime.combine(one, time.min, tzinfo=zone).astimezone(UTC) for one in (day, day + DAY))
    now = view.clock()
    runs = (one for one in _read_past(view, begin) if isinstance(one, PastRun))
    found = [run for run in runs if begin <= run.ended_at < end and run.ended_at <= now]
    return sorted(found, key=lambda run: run.ended_at, reverse=True)


def count_ended_today(view: WorkspaceView) -> Counter[str]:
    """Return how many of these there are, by outcome."""
    return Counter(run.outcome for run in list_ended_today(view))


def _read_past(view: WorkspaceView, since: datetime) -> Iterator[PastRun | MissedSlots]:
    for part in journal_segments.list_parts_since(view.state, since):
        yield from _events_of_kept(part) if part.is_complete else _parse(part.read_lines())


@functools.lru_cache(maxsize=KEPT_PARTS)
def _events_of_kept(part: RecordedPart) -> tuple[PastRun | MissedSlots, ...]:
    return tuple(_parse(part.read_lines()))


def _parse(lines: Iterable[bytes]) -> Iterator[PastRun | MissedSlots]:
    for line in lines:
        is_end = b'"ended"' in line
        if not is_end and not _MISSED.search(line):
            continue
        try:
            record = parse_json(line)
            if record.get("type") == "ended":
                yield _past_run(record["run"])
            elif record.get("type") == "planned":
                yield from (_missed_slots(slot) for slot in record["slots"] if _is_missed(slot))
        except run_records.MALFORMED:
            continue


def _is_missed(slot: Mapping[str, Any]) -> bool:
    return bool(slot.get("missed")) or slot["result"] == "missed"


def _missed_slots(slot: Mapping[str, Any]) -> MissedSlots:
    """Return what a slot of a plan says of those behind it; of one without a run also of itself."""
    due, later = instant.parse(slot["due_at"]), int(slot.get("missed") or 0)
    is_itself = slot["result"] == "missed"
    last = instant.parse(slot["missed_until"]) if slot.get("missed_until") else due
    return MissedSlots(
        connection=intern(str(slot["connection"])),
        first=due,
        last=last,
        number=later + is_itself,
        reason=str(slot.get("reason") or "") if is_itself else NO_TICK,
    )


def _past_run(run: Mapping[str, Any]) -> PastRun:
    return PastRun(
        connection=intern(str(run["connection"])),
        run=int(run["run"]),
        due_at=instant.parse(run["due_at"]),
        started_at=instant.parse(run["started_at"]) if run.get("started_at") else None,
        ended_at=instant.parse(run["ended_at"]),
        outcome=intern(str(run["outcome"])),
    )

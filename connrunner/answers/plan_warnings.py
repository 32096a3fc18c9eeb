"""What a person should look at before a change of the workspace is merged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from connrunner.core import instant
from connrunner.core.model import Workspace
from connrunner.core.planning.forecast import LaneDay, TightSchedule
from connrunner.core.planning.preview import Preview
from connrunner.lazy_dataclasses import dataclass
from connrunner.text import durations
from connrunner.text.durations import in_minutes
from connrunner.text.words import plural

DAY = 86400  # seconds

Locate = Callable[[str, tuple[str | int, ...]], tuple[str, int]]


@dataclass(frozen=True, slots=True)
class PlanWarning:
    """Something about the coming days that a person should look at."""

    code: str
    subject: str  # a connection, or a lane
    message: str
    path: str = ""
    line: int = 0
    is_new: bool = True
    facts: tuple[tuple[str, Any], ...] = ()


def find_warnings(found: Preview, workspace: Workspace, locate: Locate) -> Iterator[PlanWarning]:
    """Yield the warnings about *workspace*, the newer version of *found*; *locate* finds the line of a key."""
    older = {(tight.connection, tight.gap) for tight in found.before.tight}
    for tight in found.after.tight:
        yield _short_schedule(tight, locate, is_new=(tight.connection, tight.gap) not in older)
    for change in found.changes:
        yield from _short_timeout(change.connection, found, workspace, locate)
    full = {(day.lane, day.day) for day in found.before.days if day.is_too_full}
    for lane in sorted({day.lane for day in found.after.days if day.is_too_full}):
        days = [day for day in found.after.days if day.lane == lane and day.is_too_full]
        days = [day for day in days if day.seconds > DAY] or days
        yield _full_days(lane, days, is_new=any((lane, day.day) not in full for day in days))


def _short_schedule(tight: TightSchedule, locate: Locate, *, is_new: bool) -> PlanWarning:
    gap, p95 = tight.gap.total_seconds(), tight.usual.p95
    path, line = locate(tight.connection, ("schedule",))
    guess = "a guessed run of" if not tight.usual.runs else "p95"
    message = (
        f"the schedule is shorter than the run: gap {in_minutes(gap)}, {guess} {in_minutes(p95)}; "
        "slots that fall due while it runs are merged; give it fewer slots"
    )
    facts = (("gap_seconds", gap), ("p95_seconds", p95), ("at", instant.text(tight.at)))
    return PlanWarning("schedule-shorter-than-run", tight.connection, message, path, line, is_new, facts)


def _short_timeout(name: str, found: Preview, workspace: Workspace, locate: Locate) -> Iterator[PlanWarning]:
    after, usual = workspace.connections.get(name), found.durations.get(name)
    if after is None or usual is None or not usual.runs or after.timeout >= usual.p95:
        return
    path, line = locate(name, ("timeout",))
    message = (
        f"the timeout is shorter than the run: {in_minutes(after.timeout)}, p95 {in_minutes(usual.p95)}; "
        "such runs are ended as failed"
    )
    facts = (("timeout_seconds", after.timeout), ("p95_seconds", usual.p95))
    yield PlanWarning("timeout-shorter-than-run", name, message, path, line, facts=facts)


def _full_days(lane: str, days: list[LaneDay], *, is_new: bool) -> PlanWarning:
    worst = max(days, key=lambda day: (day.seconds, day.merged))
    count, day = plural(len(days), "day"), f"{worst.day:%a %Y-%m-%d}"
    if worst.seconds > DAY:
        work = durations.in_words(worst.seconds)
        message = f"lane {lane} has more work than fits on {count}: {work} on {day}"
    else:
        slots = plural(worst.merged, "slot")
        message = f"in lane {lane} slots fall due while the run before waits or works, on {count}: {slots} on {day}"
    message += "; give some connections a lane of their own, another hour or fewer slots"
    facts = (("days", [str(day.day) for day in days]), ("seconds", worst.seconds), ("merged", worst.merged))
    return PlanWarning("day-does-not-fit", lane, message, is_new=is_new, facts=facts)


def as_dict(warning: PlanWarning) -> dict[str, Any]:
    """Return *warning* as `plan --format json` shows it."""
    return {
        "code": warning.code,
        "subject": warning.subject,
        "message": warning.message,
        "path": warning.path,
        "line": warning.line,
        "new": warning.is_new,
        **dict(warning.facts),
    }

"""How a preview looks: as text, as markdown for a pull request, as JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from connrunner.cli import text
from connrunner.config import secret_words
from connrunner.config.documents.places import place_of
from connrunner.core import instant
from connrunner.core.model import Connection, Workspace
from connrunner.core.planning.changes import ConnectionChange, KeyDifference, Slots
from connrunner.core.planning.forecast import LaneDay, PredictedRun
from connrunner.core.planning.preview import Preview, WorkspacePreview
from connrunner.core.schedules import notation
from connrunner.text import durations
from connrunner.text.durations import in_minutes
from connrunner.text.words import plural

SIGNS = {
    "added": "+",
    "removed": "-",
    "changed": "~",
    "switched-on": "~",
    "switched-off": "~",
    "broken": "!",
    "mended": "~",
}
LISTED = 3  # slots of one connection that are written out for people
MOST = 200  # connections that are written out for people: a comment in a pull request has an end
MOST_LANES = 10
OLD = 3  # warnings that are written out though they were so before
DAY = 86400  # seconds
LOAD = ("runs", "work", "slots that wait", "fullest day", "longest wait")
WIDE = 90  # characters of a value


@dataclass(frozen=True, slots=True)
class PlanWarning:
    """Something about the coming days that somebody should look at before the change is merged."""

    code: str
    subject: str  # a connection, or a lane
    message: str
    path: str = ""
    line: int = 0
    is_new: bool = True
    facts: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class LaneLoad:
    """What the days looked at ask of one lane."""

    runs: int
    seconds: float
    overlaps: int
    fullest: LaneDay
    longest: PredictedRun


class PreviewText:
    """A preview and what is needed to write it down."""

    def __init__(
        self,
        found: Preview,
        base: str,
        head: str,
        workspace: Workspace,
        *,
        base_connections: Any,
        known: bool,
        guess: str,
    ) -> None:
        self.found, self.base, self.head, self.workspace = found, base, head, workspace
        self.before_connections = base_connections
        self.known, self.guess = known, guess
        self.zone = workspace.timezone
        self.before, self.after = _loads(found.before), _loads(found.after)
        self.warnings = list(self._warnings())

    # --- text --------------------------------------------------------------------------------------------------

    def as_text(self) -> str:
        """Return the preview for a terminal."""
        found = self.found
        lines = [self._title(), ""]
        if found.is_empty:
            lines.append("no change: the same connections, the same slots, the same queue")
        width = max((len(change.connection) for change in found.changes[:MOST]), default=0)
        for change in found.changes[:MOST]:
            first, *others = self._told(change)
            lines.append(f"{SIGNS[change.kind]} {change.connection:<{width}}  {first}")
            lines += [f"  {'':<{width}}  {other}" for other in others]
        if len(found.changes) > MOST:
            lines.append(f"and {len(found.changes) - MOST} more: --format json has all")
        lines += [f"~ {self._difference(one)}" for one in found.around]
        if found.problems:
            lines += ["", f"{len(found.problems)} new problems; `connrunner validate` shows their lines:"]
            lines += [f"  {problem}" for problem in found.problems[:MOST]]
        if not found.is_empty:
            for lane, rows in self._load_tables():
                lines += ["", text.table((f"lane {lane}", "before", "after"), rows)]
        if self.warnings:
            lines += ["", *(f"! {words}" for words in self._warned())]
        lines += ["", *self._assumptions()]
        return text.clean("\n".join(lines).rstrip())

    def _title(self) -> str:
        days = _days(self.found.until - self.found.start)
        return f"{self.base} -> {self.head}; {days} from {instant.local_minute(self.found.start, self.zone)}"

    def _told(self, change: ConnectionChange) -> list[str]:
        """Return what becomes of one connection, in lines."""
        before = self.before_connections.get(change.connection)
        after = self.workspace.connections.get(change.connection)
        lines = []
        match change.kind:
            case "added" | "mended" | "switched-on" if after is not None:
                state = "" if after.enabled else ", switched off"
                what = change.kind.replace("-", " ")
                lines.append(f"{what}: {after.kind}, {notation.describe(after.schedule)}, lane {after.lane}{state}")
            case "removed":
                lines.append("removed: its queue and its promise are forgotten, its history stays")
            case "switched-off":
                lines.append("switched off: what runs ends, what waits is dropped, and nothing is caught up later")
            case "broken":
                lines.append("broken: its slots are skipped until its file is fixed")
        lines += self._keys(change, before, after)
        return [*lines, *self._slot_lines(change.connection)] or ["changed"]

    def _keys(self, change: ConnectionChange, before: Connection | None, after: Connection | None) -> Iterator[str]:
        if before is not None and after is not None and before.schedule != after.schedule:
            yield f"schedule: {notation.describe(before.schedule)} -> {notation.describe(after.schedule)}"
        for one in change.keys:
            if not one.key.startswith("schedule."):
                yield self._difference(one)

    def _difference(self, one: KeyDifference) -> str:
        if one.before is None:
            return f"{one.key}: {_value(one, one.after)} is new"
        if one.after is None:
            return f"{one.key}: {_value(one, one.before)} is gone"
        return f"{one.key}: {_value(one, one.before)} -> {_value(one, one.after)}"

    def _slot_lines(self, name: str) -> Iterator[str]:
        slots = self.found.slots.get(name, Slots())
        if slots.moved:
            pairs = [self._move(*pair) for pair in slots.moved[:LISTED]]
            yield _listed(f"{plural(len(slots.moved), 'slot')} moved", pairs, len(slots.moved))
        for times, words in ((slots.added, "more"), (slots.removed, "less")):
            if times:
                shown = [self._short(slot) for slot in times[:LISTED]]
                yield _listed(f"{plural(len(times), 'slot')} {words}", shown, len(times))

    def _short(self, slot: datetime) -> str:
        return instant.local_minute(slot, self.zone)[:-7]

    def _move(self, before: datetime, after: datetime) -> str:
        old, new = self._short(before), self._short(after)
        return f"{old} -> {new[15:] if old[:14] == new[:14] else new}"

    def _load_tables(self) -> Iterator[tuple[str, list[list[str]]]]:
        """Yield what the days ask of each lane, the lanes whose days become other ones first."""
        lanes = sorted({*self.before, *self.after}, key=lambda one: (self.before.get(one) == self.after.get(one), one))
        for lane in lanes[:MOST_LANES]:
            old, new = self._load_cells(self.before.get(lane)), self._load_cells(self.after.get(lane))
            yield lane, [list(row) for row in zip(LOAD, old, new, strict=True)]

    def _load_cells(self, load: LaneLoad | None) -> list[str]:
        if load is None:
            return ["none"] * 5
        fullest = f"{load.fullest.day:%a %Y-%m-%d}: {durations.in_words(load.fullest.seconds)}"
        work = durations.in_words(load.seconds)
        return [f"{load.runs:,}", work, f"{load.overlaps:,}", fullest, self._wait(load.longest)]

    def _wait(self, visit: PredictedRun) -> str:
        if not visit.wait:
            return "none"
        who = f"{visit.connection} behind {visit.behind}, {self._short(visit.due_at)}"
        return f"{durations.in_words(visit.wait.total_seconds())} ({who})"

    def _warnings(self) -> Iterator[PlanWarning]:
        older = {(one.connection, one.gap) for one in self.found.before.tight}
        for one in self.found.after.tight:
            gap, p95 = one.gap.total_seconds(), one.usual.p95
            path, line = place_of(self.workspace.folder, one.connection, ("schedule",))
            guess = "a guessed run of" if not one.usual.runs else "p95"
            message = (
                f"the schedule is shorter than the run: gap {in_minutes(gap)}, {guess} {in_minutes(p95)}; "
                "slots that fall due while it runs are merged; give it fewer slots"
            )
            facts = (("gap_seconds", gap), ("p95_seconds", p95), ("at", instant.text(one.at)))
            is_new = (one.connection, one.gap) not in older
            yield PlanWarning("schedule-shorter-than-run", one.connection, message, path, line, is_new, facts)
        for change in self.found.changes:
            after, usual = (
                self.workspace.connections.get(change.connection),
                self.found.durations.get(change.connection),
            )
            if after is not None and usual is not None and usual.runs and after.timeout < usual.p95:
                path, line = place_of(self.workspace.folder, after.name, ("timeout",))
                message = (
                    f"the timeout is shorter than the run: {in_minutes(after.timeout)}, p95 {in_minutes(usual.p95)}; "
                    "such runs are ended as failed"
                )
                limits = (("timeout_seconds", after.timeout), ("p95_seconds", usual.p95))
                yield PlanWarning("timeout-shorter-than-run", after.name, message, path, line, facts=limits)
        full = {(day.lane, day.day) for day in self.found.before.days if day.is_too_full}
        for lane in sorted({day.lane for day in self.found.after.days if day.is_too_full}):
            days = [day for day in self.found.after.days if day.lane == lane and day.is_too_full]
            days = [day for day in days if day.seconds > DAY] or days
            worst = max(days, key=lambda day: (day.seconds, day.merged))
            count, day = plural(len(days), "day"), f"{worst.day:%a %Y-%m-%d}"
            if worst.seconds > DAY:
                message = (
                    f"lane {lane} has more work than fits on {count}: {durations.in_words(worst.seconds)} on {day}"
                )
            else:
                slots = plural(worst.merged, "slot")
                message = (
                    f"in lane {lane} slots fall due while the run before waits or works, on {count}: {slots} on {day}"
                )
            message += "; give some connections a lane of their own, another hour or fewer slots"
            load = (("days", [str(day.day) for day in days]), ("seconds", worst.seconds), ("merged", worst.merged))
            is_new = any((lane, day.day) not in full for day in days)
            yield PlanWarning("day-does-not-fit", lane, message, is_new=is_new, facts=load)

    def _warned(self) -> Iterator[str]:
        """Yield the warnings in words: what is new first, and little of what was so before."""
        new = [one for one in self.warnings if one.is_new]
        old = [one for one in self.warnings if not one.is_new]
        for one in (*new[:MOST], *old[:OLD]):
            yield self._warning(one)
        more = len(self.warnings) - min(len(new), MOST) - min(len(old), OLD)
        if more:
            yield f"and {more} more: --format json has all"

    def _warning(self, one: PlanWarning) -> str:
        place = f"{one.path}:{one.line}: " if one.path else ""
        return f"{place}{one.message}" + ("" if one.is_new else " (as before)")

    def _assumptions(self) -> Iterator[str]:
        guessed = self.found.guessed
        if guessed:
            names = ", ".join(guessed[:5]) + (f" and {len(guessed) - 5} more" if len(guessed) > 5 else "")
            yield f"run times: median of the last runs; a guess of {self.guess} (--guess) for {names}"
        elif self.found.after.visits:
            yield "run times: median of the last runs"
        if not self.known:
            yield "no state folder: times_per_day counts from now; --state or --durations brings real run times"
        asked = timedelta(days=round((self.found.until - self.found.start) / timedelta(days=1)))
        if self.found.until - self.found.start < asked:
            until = instant.local_minute(self.found.until, self.zone)
            yield f"looked ahead until {until} only: there are very many slots"

    # --- markdown ----------------------------------------------------------------------------------------------

    def as_markdown(self) -> str:
        """Return the preview as GitHub-flavoured markdown, short enough for a comment."""
        found = self.found
        lines = ["### connrunner plan", "", _escaped(self._title()), ""]
        if found.is_empty:
            return "\n".join([*lines, "**No change**: the same connections, the same slots, the same queue."])
        if found.changes:
            lines += ["| | connection | what happens |", "|---|---|---|"]
            for change in found.changes[:MOST]:
                told = "<br>".join(_escaped(line) for line in self._told(change))
                lines.append(f"| {SIGNS[change.kind]} | `{change.connection}` | {told} |")
            if len(found.changes) > MOST:
                lines.append(f"| | and {len(found.changes) - MOST} more | |")
            lines.append("")
        lines += [f"- {_escaped(self._difference(one))}" for one in found.around]
        lines += [f"- :x: {_escaped(str(problem))}" for problem in found.problems[:MOST]]
        for lane, rows in self._load_tables():
            lines += ["", f"| lane {lane} | before | after |", "|---|---|---|"]
            lines += [f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in rows]
        if self.warnings:
            lines += ["", *(f"- :warning: {_escaped(words)}" for words in self._warned())]
        lines += ["", *(f"<sub>{_escaped(line)}</sub>" for line in self._assumptions())]
        return text.clean("\n".join(lines))

    # --- JSON --------------------------------------------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        """Return the preview as plain data; it is only ever added to."""
        found = self.found
        return {
            "base": self.base,
            "head": self.head,
            "from": instant.text(found.start),
            "until": instant.text(found.until),
            "timezone": self.zone,
            "changed": not found.is_empty,
            "connections": [self._connection(change) for change in found.changes],
            "around": [_plain(one) for one in found.around],
            "problems": [
                {key: getattr(problem, key) for key in ("path", "line", "column", "message", "hint", "code")}
                for problem in found.problems
            ],
            "lanes": [
                {"lane": lane, "before": _load(self.before.get(lane)), "after": _load(self.after.get(lane))}
                for lane in sorted({*self.before, *self.after})
            ],
            "warnings": [
                {
                    "code": one.code,
                    "subject": one.subject,
                    "message": one.message,
                    "path": one.path,
                    "line": one.line,
                    "new": one.is_new,
                    **dict(one.facts),
                }
                for one in self.warnings
            ],
            "guessed": found.guessed,
        }

    def _connection(self, change: ConnectionChange) -> dict[str, Any]:
        slots = self.found.slots.get(change.connection, Slots())
        before = self.before_connections.get(change.connection)
        after = self.workspace.connections.get(change.connection)
        return {
            "connection": change.connection,
            "change": change.kind,
            "keys": [_plain(one) for one in change.keys],
            "schedule": {
                "before": notation.describe(before.schedule) if before else None,
                "after": notation.describe(after.schedule) if after else None,
            },
            "slots": {
                "before": len(self.found.before.slots.get(change.connection, ())),
                "after": len(self.found.after.slots.get(change.connection, ())),
                "added": [instant.text(slot) for slot in slots.added],
                "removed": [instant.text(slot) for slot in slots.removed],
                "moved": [{"from": instant.text(old), "to": instant.text(new)} for old, new in slots.moved],
            },
        }


def _loads(side: WorkspacePreview) -> dict[str, LaneLoad]:
    lanes: defaultdict[str, list[LaneDay]] = defaultdict(list)
    for day in side.days:
        lanes[day.lane].append(day)
    return {
        lane: LaneLoad(
            runs=sum(day.runs for day in days),
            seconds=sum(day.seconds for day in days),
            overlaps=sum(day.overlaps for day in days),
            fullest=max(days, key=lambda day: day.seconds),
            longest=max((day.longest for day in days), key=lambda visit: visit.wait),
        )
        for lane, days in lanes.items()
    }


def _load(load: LaneLoad | None) -> dict[str, Any] | None:
    if load is None:
        return None
    longest = load.longest
    return {
        "runs": load.runs,
        "seconds": round(load.seconds, 3),
        "overlaps": load.overlaps,
        "fullest_day": {"day": str(load.fullest.day), "seconds": round(load.fullest.seconds, 3)},
        "longest_wait": {
            "seconds": longest.wait.total_seconds(),
            "connection": longest.connection,
            "behind": longest.behind,
            "due_at": instant.text(longest.due_at),
            "starts_at": instant.text(longest.starts_at),
        },
    }


def _plain(one: KeyDifference) -> dict[str, Any]:
    return {"key": one.key, "before": _masked(one, one.before), "after": _masked(one, one.after)}


def _masked(one: KeyDifference, value: Any) -> Any:
    """Return *value*, or stars when it could be a secret that does not stand as a reference."""
    said = json.dumps(value, ensure_ascii=False, default=str)
    if secret_words.has_credentials(said):
        return "***"
    if (
        isinstance(value, str)
        and secret_words.looks_secret(one.key.rpartition(".")[2])
        and not secret_words.is_reference(value)
    ):
        return "***"
    return value


def _value(one: KeyDifference, value: Any) -> str:
    masked = _masked(one, value)
    said = masked if isinstance(masked, str) else json.dumps(masked, ensure_ascii=False, default=str)
    said = " ".join(said.split())
    return said if len(said) <= WIDE else f"{said[:WIDE]}..."


def _listed(what: str, shown: Sequence[str], total: int) -> str:
    more = f" and {total - len(shown)} more" if total > len(shown) else ""
    return f"{what}: {', '.join(shown)}{more}"


def _days(span: timedelta) -> str:
    return plural(max(1, round(span / timedelta(days=1))), "day")


def _escaped(words: str) -> str:
    """Return *words* so that markdown shows them as they are."""
    for char in "\\`*_[]<>|":
        words = words.replace(char, f"\\{char}" if char not in "<>" else {"<": "&lt;", ">": "&gt;"}[char])
    return words

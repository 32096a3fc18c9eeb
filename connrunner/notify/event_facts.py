"""What is known of an event beyond a run: failures in a row, a late slot, a digest, folded notices, an outage."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from connrunner.core import counts, instant
from connrunner.core.held_runs import describe_held_change
from connrunner.core.model import Outcome
from connrunner.core.planning.tight import describe_tight_schedule
from connrunner.lazy_dataclasses import dataclass
from connrunner.notify.language import Language
from connrunner.notify.sanitize import clean_line
from connrunner.text.words import plural

Facts = Mapping[str, Any]

SUMMARIES = 30  # connections that a digest lists, those with trouble first: some mail services cut at 102 kB
LISTED = 100  # lines of other lists
LONG = 1000  # characters of a text with paths in it
TROUBLE = ("partial", "failed", "late", "missed")  # what a digest counts beside the runs; older releases: no partial
STATES = {
    "not-started": "it has not started",
    "waiting": "it waits in its queue",
    "running": "it is still running",
}


# What becomes of slots that pass while no tick comes: in words for one, and for some of several.
PASSED = {
    "passed": ("passed", "passed"),
    "late": ("ran late", "ran late"),
    "missed": ("was missed", "missed"),
    "merged": ("was merged into another run", "merged into another run"),
    "skipped": ("could not start", "could not start"),
}
PARTS = ("failing", "late", "digest", "folded", "outage", "files", "attention", "held")
PART_OF = {"reminder": "failing", "recovered": "failing", "broken": "files", "fixed": "files"}


def describe_event(event: str, facts: Facts, language: Language, timezone: str) -> dict[str, Any]:
    """Return the parts of a context that some events have and others have not, from the *facts* of a notice.

    A part whose facts are not what they should be is None: its template then says so, and the mail goes out.
    """
    parts: dict[str, Any] = dict.fromkeys(PARTS)
    part = PART_OF.get(event, event)
    if part in PARTS:
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            parts[part] = getattr(_EventFacts(language, timezone), part)(facts)
    return parts


def percent_of(value: float, largest: float) -> int:
    """Return *value* as a percentage of *largest*, at least 1 when there is anything: a bar that can be seen."""
    if largest <= 0 or value <= 0:
        return 0
    return max(1, min(100, round(100 * value / largest)))


@dataclass(frozen=True, slots=True)
class _EventFacts:
    language: Language
    timezone: str

    def _wall(self, text: str) -> str:
        return self.language.instant(instant.parse(text), self.timezone)

    def failing(self, facts: Facts) -> dict[str, Any]:
        return {
            "since": self._wall(facts["since"]) if facts["since"] else None,
            "failures": int(facts["failures"]),
            "first_run": int(facts["first_run"]),
            "between": {clean_line(word): int(number) for word, number in facts["between"].items()},
            "verb": "refused rows" if _are_about_rows(facts) else "failed",
            "before": clean_line(facts.get("before", "")),
            "row_since": self._wall(facts.get("row_since") or facts["since"]) if facts["since"] else None,
        }

    def held(self, facts: Facts) -> dict[str, Any]:
        difference = facts["difference"]
        waits = timedelta(seconds=int(difference["expires"]))
        columns = difference.get("columns", {})
        return {
            "is_reminder": bool(facts.get("reminder")),
            "since": self._wall(facts["since"]),
            "until": self.language.instant(instant.parse(facts["since"]) + waits, self.timezone),
            "reasons": [clean_line(one) for one in difference["reasons"]],
            "meaning": clean_line(describe_held_change(difference), LONG),
            "counts": {clean_line(name): int(number) for name, number in difference["counts"].items()},
            "properties": {clean_line(name): int(number) for name, number in difference["properties"].items()},
            "appeared": [clean_line(name) for name in columns.get("appeared", ())],
            "vanished": [clean_line(name) for name in columns.get("vanished", ())],
        }

    def late(self, facts: Facts) -> dict[str, Any]:
        state = clean_line(facts["state"])
        return {
            "due_at": self._wall(facts["due_at"]),
            "seconds": facts["late_seconds"],
            "by": self.language.duration(facts["late_seconds"]),
            "state": state,
            "meaning": STATES.get(state, state),
        }

    def digest(self, facts: Facts) -> dict[str, Any]:
        connections = [self._summary(one) for one in facts["connections"]]
        shown = sorted(connections, key=lambda one: -sum(one[word] for word in TROUBLE))[:SUMMARIES]
        return {
            "since": self._wall(facts["from"]),
            "until": self._wall(facts["to"]),
            "connections": shown,
            "more": len(connections) - len(shown),
            "broken": [clean_line(name) for name in facts.get("broken", ())],
            "total": {word: sum(one[word] for one in connections) for word in ("runs", *TROUBLE)},
        }

    def _summary(self, one: Facts) -> dict[str, Any]:
        due, warning = one.get("next_due"), _warning(one.get("tight"))
        last, troubles = clean_line(one.get("last_outcome") or ""), sum(int(one.get(word, 0)) for word in TROUBLE)
        most = max((run["read"] for run in one["trend"]), default=0)
        longest = max((run["seconds"] for run in one["trend"]), default=0)
        return {
            "name": clean_line(one["name"]),
            "title": clean_line(one["title"] or one["name"]),
            **{word: int(one.get(word, 0) if word == "partial" else one[word]) for word in ("runs", *TROUBLE)},
            "counts": counts.from_mapping(one["counts"]).as_dict(),
            "recent": [
                {
                    "number": int(run["run"]),
                    "outcome": clean_line(run["outcome"]),
                    "is_failure": _is_failure(run["outcome"]),
                    "seconds": run["seconds"],
                    "run_time": self.language.duration(run["seconds"]),
                    "read": int(run["read"]),
                    "time_share": percent_of(run["seconds"], longest),
                    "rows_share": percent_of(run["read"], most),
                }
                for run in one["trend"]
            ],
            "is_well": bool(one["runs"]) and not troubles and not warning and last in ("", Outcome.SUCCEEDED),
            "last_outcome": last,
            "last_message": clean_line(one.get("last_message") or ""),
            "next_run": self._wall(due) if due else None,
            "warning": warning,
        }

    def folded(self, facts: Facts) -> dict[str, Any]:
        return {
            "since": self._wall(facts["from"]),
            "until": self._wall(facts["to"]),
            "notices": [
                {
                    "connection": clean_line(one["connection"]),
                    "run": one["run"],
                    "event": clean_line(one["event"]),
                    "at": self._wall(one["at"]),
                    "message": clean_line(one["message"]),
                }
                for one in facts["notices"][:LISTED]
            ],
            "count": len(facts["notices"]),
            "more": max(0, len(facts["notices"]) - LISTED),
        }

    def outage(self, facts: Facts) -> dict[str, Any]:
        since, until = instant.parse(facts["from"]), instant.parse(facts["to"])
        slots = [_passed_slots(one) for one in facts["missed"]]
        totals = {word: sum(one[word] for one in slots) for word in PASSED}
        return {
            "since": self._wall(facts["from"]),
            "until": self._wall(facts["to"]),
            "lasted": self.language.duration((until - since).total_seconds()),
            "missed": slots[:LISTED],
            "more": max(0, len(slots) - LISTED),
            "total": totals["passed"],
            "totals": totals,
            "meaning": describe_passed(totals),
            "consequence": _describe_consequence(totals),
        }

    def files(self, facts: Facts) -> dict[str, Any]:
        listed = [
            {
                "name": clean_line(one["name"]),
                "problems": [clean_line(problem) for problem in one.get("problems", ())],
                "more": int(one.get("more", 0)),
                "same_as": clean_line(one.get("same_as", "")),
                "gone": bool(one.get("gone", False)),
                "of_state": bool(one.get("of_state", False)),
                "refused": bool(one.get("refused", False)),
                "never_worked": bool(one.get("never_worked", False)),
            }
            for one in facts["files"]
        ]
        count, gone = int(facts["count"]), int(facts.get("gone", 0))
        refused = any(one["refused"] for one in listed)
        return {"listed": listed, "count": count, "gone": gone, "refused": refused, "more": max(0, count - len(listed))}

    def attention(self, facts: Facts) -> dict[str, Any]:
        keys = ("about", "found", "remedy")
        listed = [{key: clean_line(one.get(key, ""), LONG) for key in keys} for one in facts["findings"]]
        count = int(facts["count"])
        return {
            "kind": clean_line(facts["kind"]),
            "listed": listed,
            "count": count,
            "more": max(0, count - len(listed)),
        }


def _warning(tight: Facts | None) -> str:
    return describe_tight_schedule(float(tight["gap"]), float(tight["p95"])) if tight else ""


def _passed_slots(one: Facts) -> dict[str, Any]:
    """Return how many slots of a connection passed, and what became of them; what an older release called missed."""
    numbers = {word: int(one.get(word, 0)) for word in PASSED} if "passed" in one else dict.fromkeys(PASSED, 0)
    if "passed" not in one:
        numbers["passed"] = int(one["missed"])
    return {"connection": clean_line(one["connection"]), **numbers, "meaning": describe_passed(numbers)}


def describe_passed(numbers: Mapping[str, int]) -> str:
    """Return what became of slots that passed: `1 slot passed; it ran late`, `3 slots passed: 1 ran late, 2 missed`."""
    passed = f"{plural(numbers['passed'], 'slot')} passed"
    parts = [(numbers[word], words) for word, words in PASSED.items() if word != "passed" and numbers[word]]
    if not parts:
        return passed
    if numbers["passed"] == 1:
        return f"{passed}; it {parts[0][1][0]}"
    return f"{passed}: {', '.join(f'{number:,} {many}' for number, (_, many) in parts)}"


def _describe_consequence(numbers: Mapping[str, int]) -> str:
    """Return whether what was due while no tick came runs now; an older release did not say what became of it."""
    if not numbers["skipped"] and (numbers["late"] or not numbers["merged"]):
        return "What was due meanwhile runs once now."
    if numbers["late"]:
        return "What was due meanwhile runs once now, where it could still start."
    if numbers["merged"]:
        return "What was due meanwhile is part of runs that waited or worked already."
    return "Nothing of what was due meanwhile runs now: it could not start any more."


def _are_about_rows(facts: Facts) -> bool:
    """Tell whether no run of a row of failures did worse than refuse rows."""
    bad = {outcome for outcome in facts["between"] if _is_failure(outcome)}
    return bad == {Outcome.PARTIAL} or (not bad and facts.get("severity") == "partial")


def _is_failure(outcome: str) -> bool:
    return any(one == outcome and one.is_failure for one in Outcome)

"""How a plan looks: as text for a terminal, as markdown for a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator

from connrunner.answers.plan import LaneLoad, Plan
from connrunner.answers.plan_words import (
    describe_assumptions,
    describe_blackouts,
    describe_change,
    describe_difference,
    describe_file,
    describe_span,
    short_time,
)
from connrunner.cli import text
from connrunner.text import durations
from connrunner.text.words import escape, plural

SIGNS = {
    "added": "+",
    "removed": "-",
    "changed": "~",
    "switched-on": "~",
    "switched-off": "~",
    "broken": "!",
    "mended": "~",
}
MOST = 200  # connections that are written out: a comment in a pull request has an end
MOST_LANES = 10
LONGEST_TABLE = 30_000  # characters; GitHub takes 65,536 in a comment
LONGEST_LIST = 10_000
OLD = 3  # warnings that are written out though they were so before
LOAD = ("runs", "work", "slots that wait", "fullest day", "longest wait")


def as_text(plan: Plan) -> str:
    """Return the plan for a terminal."""
    found = plan.preview
    lines = [describe_span(plan), ""]
    if plan.is_empty:
        lines.append("no change: the same connections, the same programs, the same slots, the same queue")
    names = [escape(change.connection) for change in found.changes[:MOST]]
    width = max(map(len, names), default=0)
    for name, change in zip(names, found.changes, strict=False):
        first, *others = describe_change(plan, change)
        lines.append(f"{SIGNS[change.kind]} {name:<{width}}  {first}")
        lines += [f"  {'':<{width}}  {other}" for other in others]
    if len(found.changes) > MOST:
        lines.append(f"and {len(found.changes) - MOST} more: --format json has all")
    lines += [f"~ {describe_difference(difference)}" for difference in found.around]
    if found.changes and (blackouts := describe_blackouts(plan)):
        lines += ["", blackouts]
    lines += [f"{SIGNS[changed.change]} {describe_file(changed)}" for changed in plan.files[:MOST]]
    if len(plan.files) > MOST:
        lines.append(f"and {plural(len(plan.files) - MOST, 'more file')}: --format json has all")
    if found.problems:
        lines += ["", f"{plural(len(found.problems), 'new problem')}; `connrunner validate` shows their lines:"]
        lines += [f"  {problem}" for problem in found.problems[:MOST]]
    if not plan.is_empty:
        for lane, rows in _load_tables(plan):
            lines += ["", text.table((f"lane {lane}", "before", "after"), rows)]
    if plan.warnings:
        lines += ["", *(f"! {words}" for words in _warning_lines(plan))]
    lines += ["", *describe_assumptions(plan)]
    return text.without_commands(text.clean("\n".join(lines).rstrip()))


def as_markdown(plan: Plan) -> str:
    """Return the plan as GitHub-flavoured markdown, short enough for a comment."""
    found = plan.preview
    lines = ["### connrunner plan", "", _escaped(describe_span(plan)), ""]
    if plan.is_empty:
        return "\n".join(
            [*lines, "**No change**: the same connections, the same programs, the same slots, the same queue."]
        )
    if found.changes:
        rows = []
        for change in found.changes[:MOST]:
            words = "<br>".join(_escaped(line) for line in describe_change(plan, change))
            rows.append(f"| {SIGNS[change.kind]} | {_name(change.connection)} | {words} |")
        rows = _fitting(rows, LONGEST_TABLE)
        lines += ["| | connection | what happens |", "|---|---|---|", *rows]
        if len(found.changes) > len(rows):
            lines.append(f"| | and {len(found.changes) - len(rows)} more | |")
        lines.append("")
    if found.changes and (blackouts := describe_blackouts(plan)):
        lines += [_escaped(blackouts), ""]
    others = [f"- {_escaped(describe_difference(difference))}" for difference in found.around]
    others += [f"- {_escaped(describe_file(changed))}" for changed in plan.files]
    others += [f"- :x: {_escaped(str(problem))}" for problem in found.problems]
    shown = _fitting(others[:MOST], LONGEST_LIST)
    lines += shown
    if len(others) > len(shown):
        lines.append(f"- and {len(others) - len(shown)} more: `--format json` has all")
    for lane, cells in _load_tables(plan):
        lines += ["", f"| lane {_escaped(lane)} | before | after |", "|---|---|---|"]
        lines += [f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in cells]
    if plan.warnings:
        lines += ["", *_fitting([f"- :warning: {_escaped(words)}" for words in _warning_lines(plan)], LONGEST_LIST)]
    lines += ["", *(f"<sub>{_escaped(line)}</sub>" for line in describe_assumptions(plan))]
    return text.clean("\n".join(lines))


def _fitting(lines: list[str], size: int) -> list[str]:
    """Return as many of *lines* as are *size* characters together, and one at least."""
    total = 0
    for count, line in enumerate(lines):
        total += len(line)
        if total > size and count:
            return lines[:count]
    return lines


# --- lanes, warnings, assumptions --------------------------------------------------------------------------------


def _load_tables(plan: Plan) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield what the days ask of each lane, the lanes whose days become other ones first."""
    lanes = sorted(plan.lanes, key=lambda lane: plan.loads_before.get(lane) == plan.loads_after.get(lane))
    for lane in lanes[:MOST_LANES]:
        before, after = (_load_cells(loads.get(lane), plan.zone) for loads in (plan.loads_before, plan.loads_after))
        yield lane, [list(row) for row in zip(LOAD, before, after, strict=True)]


def _load_cells(load: LaneLoad | None, zone: str) -> list[str]:
    if load is None:
        return ["none"] * 5
    fullest = f"{load.fullest.day:%a %Y-%m-%d}: {durations.in_words(load.fullest.seconds)}"
    work = durations.in_words(load.seconds)
    return [f"{load.runs:,}", work, f"{load.overlaps:,}", fullest, _wait(load, zone)]


def _wait(load: LaneLoad, zone: str) -> str:
    visit = load.longest
    if not visit.wait:
        return "none"
    place = f"{visit.connection} behind {visit.behind}, {short_time(visit.due_at, zone)}"
    return f"{durations.in_words(visit.wait.total_seconds())} ({place})"


def _warning_lines(plan: Plan) -> Iterator[str]:
    """Yield the warnings in words: what is new first, and little of what was so before."""
    new = [warning for warning in plan.warnings if warning.is_new]
    old = [warning for warning in plan.warnings if not warning.is_new]
    for warning in (*new[:MOST], *old[:OLD]):
        place = f"{warning.path}:{warning.line}: " if warning.path else ""
        yield f"{place}{warning.message}" + ("" if warning.is_new else " (as before)")
    more = len(plan.warnings) - min(len(new), MOST) - min(len(old), OLD)
    if more:
        yield f"and {more} more: --format json has all"


_MARKUP = re.compile(r"[\\`*_\[\]|~$]|[&<>@#]|:(?=//)|:(?=[a-z0-9_+-]+:)|\bwww(?=\.)|\bGH(?=-\d)", re.IGNORECASE)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
BREAK = "&#8203;"  # a space of no width


def _escaped(words: str) -> str:
    """Return *words* so that markdown shows them as they are: no markup, no mention, no link, no reference.

    A mention or a bare address becomes a link after all markup and entities are read, so no backslash keeps it from
    that: only a character in between does.
    """

    def shown(match: re.Match[str]) -> str:
        found = match[0]
        if found in _ENTITIES:
            return _ENTITIES[found]
        return found + BREAK if found in "@#:" or found.isalpha() else f"\\{found}"

    return _MARKUP.sub(shown, words)


def _name(name: str) -> str:
    """Return the name of a connection as code; that of a file which can be none, as it is."""
    return f"`{name}`" if re.fullmatch(r"[a-z0-9_-]+", name) else _escaped(escape(name))

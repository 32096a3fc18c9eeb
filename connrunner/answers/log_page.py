"""The log of a run in lines that people read: whole up to a thousand of them, else its beginning and its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from connrunner.answers.log_lines import describe_event
from connrunner.answers.run_summary import describe_counts
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import counts, instant, run_records
from connrunner.lazy_dataclasses import dataclass
from connrunner.state import run_files
from connrunner.text import words
from connrunner.text.nesting import parse_json

WHOLE = 1000  # lines up to which a log is one page
LEVELS = ("debug", "info", "warning", "error")
LEVEL_OF_END = {"succeeded": "info", "failed": "error", "interrupted": "error"}
LONGEST = 20_000  # characters of one line that are shown; the download has all


@dataclass(frozen=True, slots=True)
class NumberedLine:
    """One line of the log: its number in the file, from 1."""

    number: int
    at: str  # RFC 3339, UTC; empty when the line is damaged
    level: str  # of LEVELS
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LogPage:
    """Some lines of a log."""

    lines: tuple[NumberedLine, ...]
    total: int  # lines of the file
    gap_after: int | None = None  # the number of the line behind which lines are left out
    gap_until: int = 0  # the number of the last line that is left out
    next_after: int | None = None  # where a page of lines behind a number goes on


def read_log_page(view: WorkspaceView, name: str, run: int, *, after: int | None = None, search: str = "") -> LogPage:
    """Return the log of a run; with *after* the lines behind that number, with *search* those that have its words.

    A log of more than WHOLE lines comes with the first and the last half of as many.
    """
    raw = run_files.read_log_lines(view.state.log(name, run))
    if search.strip():
        return _searched(raw, search.strip().casefold())
    if after is not None:
        return _behind(raw, after)
    first = list(islice(raw, WHOLE // 2))
    counted = 0
    last: deque[tuple[int, bytes]] = deque(maxlen=WHOLE // 2)
    for one in raw:
        last.append(one)
        counted += 1
    gap = counted - len(last)
    return LogPage(
        lines=tuple(_read(first)) + tuple(_read(last)),
        total=len(first) + counted,
        gap_after=first[-1][0] if gap else None,
        gap_until=first[-1][0] + gap if gap else 0,
    )


def _behind(raw: Iterator[tuple[int, bytes]], after: int) -> LogPage:
    chosen = list(islice((one for one in raw if one[0] > after), WHOLE))
    total = (chosen[-1][0] if chosen else after) + sum(1 for _ in raw)
    goes_on = bool(chosen) and chosen[-1][0] < total
    return LogPage(lines=tuple(_read(chosen)), total=total, next_after=chosen[-1][0] if goes_on else None)


def _searched(raw: Iterator[tuple[int, bytes]], wanted: str) -> LogPage:
    found: list[NumberedLine] = []
    total = 0
    for number, line in raw:
        total = number
        if len(found) < WHOLE:
            found += [one for one in _read([(number, line)]) if wanted in one.text.casefold()]
    return LogPage(lines=tuple(found), total=total)


def _read(raw: Iterable[tuple[int, bytes]]) -> Iterator[NumberedLine]:
    for number, line in raw:
        try:
            event = parse_json(line)
        except ValueError:
            yield NumberedLine(number, "", "warning", _clean(line.decode(errors="replace")))
            continue
        if isinstance(event, dict):
            yield read_line(number, event)


def read_line(number: int, event: Mapping[str, Any]) -> NumberedLine:
    """Return the line of one event; one that is damaged is shown as it is."""
    try:
        level, text = _describe(event)
        at = instant.text(instant.parse(event["at"]))
    except run_records.MALFORMED:
        return NumberedLine(number, "", "warning", _clean(str(dict(event))))
    return NumberedLine(number, at, level if level in LEVELS else "info", _clean(text))


def _describe(event: Mapping[str, Any]) -> tuple[str, str]:
    """Return level and words: those of `connrunner log`, and what it leaves out, how far the run is, as `debug`."""
    match event.get("type", "message"):
        case "progress":
            of = f" of {event['of']:,}" if event.get("of") else ""
            return "debug", f"{event['stage']}: {event['done']:,}{of}"
        case "counts":
            return "debug", f"counted so far: {describe_counts(counts.from_mapping(event['counts']))}"
    line = describe_event(dict(event), "UTC")
    if line is None:
        return "debug", str(event.get("type"))
    match line.kind:
        case "started":
            return "info", f"started {line.words}"
        case "ended":
            return LEVEL_OF_END.get(str(event.get("outcome")), "warning"), f"ended {line.words}"
        case "":
            raise ValueError("it is damaged")
    return line.kind, f"{line.words}\n{line.traceback}" if line.traceback else line.words


def _clean(text: str) -> str:
    """Return *text* without what moves a cursor or turns the reading direction; its lines stay."""
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text) - LONGEST:,} more characters)"
    return words.replace_unsafe(cut, keep="\n\t", is_safe=words.is_safe_in_terminal)

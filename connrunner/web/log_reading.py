"""A run's log by the numbers of its lines, and as text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from connrunner.answers.log_lines import describe_event
from connrunner.lazy_dataclasses import dataclass
from connrunner.state.run_files import LONGEST
from connrunner.text.files import open_own
from connrunner.text.nesting import parse_json
from connrunner.text.words import is_safe_in_terminal, replace_unsafe

BLOCK = 1 << 18  # bytes that are read at once


@dataclass(frozen=True, slots=True)
class LogPlace:
    """A place between two lines of a log: behind *line* lines, at *offset* bytes."""

    line: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class LogPart:
    """Whole events of a log, each with the number of its line (from 1), and the place behind them."""

    events: tuple[tuple[int, bytes], ...]
    behind: LogPlace
    has_ended: bool  # the last of them says how the run ended


def find_place(path: Path, line: int) -> LogPlace:
    """Return the place behind *line* lines of the log, or at its end when it has fewer."""
    found = LogPlace()
    try:
        file = open_own(path)
    except FileNotFoundError:
        return found
    with file:
        while found.line < line and (block := file.read(BLOCK)):
            count = block.count(b"\n")
            if found.line + count <= line:
                found = LogPlace(found.line + count, found.offset + len(block))
                continue
            at = -1
            for _ in range(line - found.line):
                at = block.index(b"\n", at + 1)
            return LogPlace(line, found.offset + at + 1)
    return found


def read_part(path: Path, place: LogPlace) -> LogPart:
    """Return the whole events behind *place*, about `BLOCK` bytes of them. Damaged lines count and are left out."""
    events: list[tuple[int, bytes]] = []
    line, offset, has_ended = place.line, place.offset, False
    try:
        file = open_own(path)
    except FileNotFoundError:
        return LogPart((), place, False)
    with file:
        file.seek(offset)
        while offset - place.offset < BLOCK and (found := file.readline(LONGEST)).endswith(b"\n"):
            line, offset = line + 1, offset + len(found)
            event = _parse(found)
            if event is not None:
                has_ended = event.get("type") == "ended"
                events.append((line, found.rstrip(b"\r\n")))
    return LogPart(tuple(events), LogPlace(line, offset), has_ended)


def iter_events(path: Path, after: int, limit: int) -> Iterator[tuple[int, bytes]]:
    """Yield up to *limit* events behind line *after*."""
    place = find_place(path, after)
    while limit > 0:
        part = read_part(path, place)
        if part.behind == place:
            return
        yield from part.events[:limit]
        limit -= len(part.events)
        place = part.behind


def iter_text(path: Path, zone: str) -> Iterator[str]:
    """Yield the log as `connrunner log` prints it, with lines that end and no character that commands a terminal."""
    place = LogPlace()
    while (part := read_part(path, place)).behind != place:
        place = part.behind
        for _, content in part.events:
            event = _parse(content)
            found = describe_event(event, zone) if event is not None else None
            if found is None:
                continue
            head = f"{found.at}  {found.kind:<7}  " if found.at else ""
            text = f"{head}{found.words}" + (f"\n{found.traceback}" if found.traceback else "")
            yield replace_unsafe(text, keep="\n\t", is_safe=is_safe_in_terminal) + "\n"


def _parse(line: bytes) -> dict[str, object] | None:
    try:
        event = parse_json(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None

"""What a program may say to connrunner in one line of JSON on its standard output; docs/commands.md tells how."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast, get_args

from connrunner.core.counts import CHECKED, NAMES, Counts
from connrunner.core.report import Level
from connrunner.lazy_dataclasses import dataclass, replace
from connrunner.text.nesting import parse_json
from connrunner.text.words import nearest

KEYS = {"counts", "message", "level"}
LEVELS: tuple[Level, ...] = get_args(Level)
LARGEST_COUNTER = 2**53 - 1  # the largest counter: every reader of JSON holds it exactly


class ProtocolError(ValueError):
    """Why a line says nothing. The text may hold whatever the program printed, so mask it before it is shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtocolLine:
    """What one line says."""

    message: str | None = None
    level: Level = "info"
    counts: Counts | None = None


def parse(line: str) -> ProtocolLine | None:
    """Return what *line* says, or None for an ordinary line.

    ProtocolError tells what is wrong with a line that is meant for connrunner. A JSON object with a `message` and
    keys that are not ours is a log record of the program's own: an ordinary line.
    """
    try:
        data = parse_json(line)
    except ValueError:
        return None
    if not isinstance(data, dict) or not data.keys() & {"counts", "message"}:
        return None
    strange = sorted(data.keys() - KEYS)
    if strange and "counts" not in data:
        return None
    if strange:
        raise ProtocolError(f"unknown key {_shown(strange[0])} beside `counts`")
    message = data.get("message")
    if "message" in data and not isinstance(message, str):
        raise ProtocolError(f"`message` is {_shown(message)}, not a text")
    level = data.get("level", "info")
    if level not in LEVELS:
        raise ProtocolError(f"unknown level {_shown(level)}{_near(level, LEVELS)}")
    counts = _counts(data["counts"]) if "counts" in data else None
    return ProtocolLine(message=message, level=cast("Level", level), counts=counts)


def _counts(data: object) -> Counts:
    """Return the counters that *data* names; those it leaves out are 0, the sums `read` and `checked` follow."""
    if not isinstance(data, Mapping):
        raise ProtocolError(f"`counts` is {_shown(data)}, not an object")
    for name, value in data.items():
        if name not in NAMES:
            raise ProtocolError(f"unknown counter {_shown(name)}{_near(name, NAMES)}")
        if type(value) is not int or not 0 <= value <= LARGEST_COUNTER:
            raise ProtocolError(f"counter {name} is {_shown(value)}, not a whole number from 0 to {LARGEST_COUNTER}")
    counts = Counts(**data)
    if "checked" not in data:
        counts = replace(counts, checked=sum(getattr(counts, name) for name in CHECKED))
    if "read" not in data:
        counts = replace(counts, read=counts.skipped + counts.filtered + counts.not_attempted + counts.checked)
    return counts


def _near(word: object, words: tuple[str, ...]) -> str:
    meant = nearest(word, words) if isinstance(word, str) else None
    return f"; did you mean {meant!r}?" if meant else f"; there is {', '.join(words)}"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

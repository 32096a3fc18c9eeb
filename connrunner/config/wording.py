"""How values and names of a file stand in messages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from connrunner.text.words import escape, nearest

SHOWN = 60  # characters of a value

FEW = 24  # names that a hint lists


def show(value: Any) -> str:
    """Return *value* the way people write it in YAML: short, on one line, without control characters."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return f"'{escape(value if len(value) <= SHOWN else value[:SHOWN] + '...')}'"
        case Mapping():
            return "a mapping"
        case list():
            return "a list"
    return str(value)


def describe(value: Any) -> str:
    """Return what kind of thing *value* is, and the thing itself where it is short."""
    return f"the text {show(value)}" if isinstance(value, str) else show(value)


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return the hint for a misspelt *word*: the nearest of the *known* ones, or all of them when they are few."""
    near = nearest(word, known)
    if near is not None:
        return f"did you mean {show(near)}?"
    if known and len(known) <= FEW:
        return f"known: {', '.join(sorted(known))}" if len(known) > 1 else f"known: {next(iter(known))}"
    return ""

"""Names and values inside SQL: the only place where text becomes part of a statement."""

from __future__ import annotations

from collections.abc import Iterable


def name(identifier: str) -> str:
    """Return *identifier* as an SQL name, whatever it contains."""
    return '"' + identifier.replace('"', '""') + '"'


def text(value: str) -> str:
    """Return *value* as an SQL text constant, whatever it contains."""
    quoted = "'" + value.replace("'", "''") + "'"
    # The parser ends a statement at a NUL.
    return "(" + quoted.replace("\0", "' || chr(0) || '") + ")" if "\0" in value else quoted


def texts(values: Iterable[str]) -> str:
    """Return *values* as an SQL list of texts."""
    return "[" + ", ".join(map(text, values)) + "]::VARCHAR[]"


def all_of(conditions: Iterable[str]) -> str:
    """Return the condition that holds when each of *conditions* does."""
    return " AND ".join(f"({condition})" for condition in conditions) or "true"


def any_of(conditions: Iterable[str]) -> str:
    """Return the condition that holds when at least one of *conditions* does."""
    return " OR ".join(f"({condition})" for condition in conditions) or "false"

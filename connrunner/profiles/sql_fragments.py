"""Fragments of SQL: names and values quoted, conditions joined. Nowhere else does text become part of a statement."""

from __future__ import annotations

from collections.abc import Iterable


def quote_name(identifier: str) -> str:
    """Return *identifier* as an SQL name, whatever it contains."""
    return '"' + identifier.replace('"', '""') + '"'


def unquote_name(quoted: str) -> str:
    """Return the identifier that `quote_name` made *quoted* of."""
    return quoted[1:-1].replace('""', '"')


def quote_text(value: str) -> str:
    """Return *value* as an SQL text constant, whatever it contains."""
    quoted = "'" + value.replace("'", "''") + "'"
    # The parser ends a statement at a NUL.
    return "(" + quoted.replace("\0", "' || chr(0) || '") + ")" if "\0" in value else quoted


def quote_texts(values: Iterable[str]) -> str:
    """Return *values* as an SQL list of texts."""
    return "[" + ", ".join(map(quote_text, values)) + "]::VARCHAR[]"


def all_of(conditions: Iterable[str]) -> str:
    """Return the condition that holds when each of *conditions* does."""
    return " AND ".join(f"({condition})" for condition in conditions) or "true"


def any_of(conditions: Iterable[str]) -> str:
    """Return the condition that holds when at least one of *conditions* does."""
    return " OR ".join(f"({condition})" for condition in conditions) or "false"

"""What the file of an export is called: `{date}`, `{run}` and `{connection}` in its name."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from connrunner.errors import RunError
from connrunner.text.words import nearest

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def fill(pattern: str, *, connection: str, run: int, at: datetime) -> str:
    """Return *pattern* with its placeholders replaced; RunError for one that does not exist.

    `{date}` is the day of *at*, when the run started, in UTC, as 2026-11-22.
    """
    values = {
        "date": at.astimezone(UTC).date().isoformat(),
        "run": str(run),
        "connection": connection,
    }

    def value(found: re.Match[str]) -> str:
        word = found[1]
        if word not in values:
            near = nearest(word, values)
            known = ", ".join(f"{{{name}}}" for name in values)
            advice = f"did you mean {{{near}}}?" if near else f"there is {known}"
            raise RunError(
                f"unknown placeholder {found[0]} in path {pattern!r}", hint=advice, code="unknown-placeholder"
            )
        return values[word]

    return PLACEHOLDER.sub(value, pattern)

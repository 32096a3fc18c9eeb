"""What the data of an answer holds: places written with dots, like `data.items`, and words for people."""

from __future__ import annotations

from typing import Any

from connrunner.lazy_dataclasses import dataclass, field
from connrunner.text.redaction import redact_partner_words
from connrunner.text.words import one_line

ABSENT = object()
_SENTENCES = ("error_description", "message", "detail", "title", "error", "errors", "reason")


@dataclass(kw_only=True, slots=True)
class ListOutline:
    """A list of which only some items are kept."""

    count: int = 0
    items: dict[int, Any] = field(default_factory=dict)  # by their place


def look_up(data: Any, path: str) -> Any:
    """Return what is at *path*, or `ABSENT`. `.` is *data* itself, a number an item of a list.

    A key may hold dots itself, as `@odata.nextLink` does.
    """
    rest = "" if path == "." else path
    while rest:
        if isinstance(data, dict) and rest in data:
            return data[rest]
        step, _, rest = rest.partition(".")
        if isinstance(data, dict) and step in data:
            data = data[step]
        elif isinstance(data, ListOutline) and step.isascii() and step.isdigit() and int(step) in data.items:
            data = data.items[int(step)]
        elif isinstance(data, list) and step.isascii() and step.isdigit() and int(step) < len(data):
            data = data[int(step)]
        else:
            return ABSENT
    return data


def outline(data: Any) -> str:
    """Say in a few words what *data* is, for a message about what it is not."""
    match data:
        case dict():
            keys = ", ".join(one_line(redact_partner_words(str(key)), 40) for key in list(data)[:8])
            return f"a mapping of {keys}{', ...' if len(data) > 8 else ''}" if data else "an empty mapping"
        case list():
            return f"a list of {len(data):,}"
        case ListOutline():
            return f"a list of {data.count:,}"
        case None:
            return "nothing"
        case bool():
            return str(data).lower()
        case int():
            return "a number"
        case _:
            return "a text"


def words(data: Any) -> str:
    """Return the sentence in the data of a refusal, in one of the ways in which APIs hand it over."""
    for _ in range(6):  # {"errors": [{"error": {"message": "..."}}]} is five deep
        if isinstance(data, list) and data:
            data = data[0]
        elif isinstance(data, dict):
            data = next((data[name] for name in _SENTENCES if data.get(name)), "")
        else:
            break
    return str(data) if isinstance(data, str | int) else ""

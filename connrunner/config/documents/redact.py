"""Lines of a file that may be shown: what looks like a secret is blanked."""

from __future__ import annotations

import re

from connrunner.config.documents.events import Event, Places
from connrunner.config.secret_words import IN_ADDRESS, is_reference, looks_secret
from connrunner.text.words import replace_unsafe

_KEY = re.compile(r"""([\w.-]+)["']?\s*:\s+["']?""")

_IN_QUERY = re.compile(r"(?<=[?&])([^=&?\s\"']+)=([^&#\s\"']+)")


def lines(shown: list[str], places: Places | None) -> list[str]:
    """Return *shown*, a file's lines, with secrets and unprintable characters blanked; columns stay the same."""
    shown = list(shown)
    if places is None:
        shown = [_blank_broken(line) for line in shown]
    else:
        for event in _secrets(places):
            _blank(shown, event)
    shown = [IN_ADDRESS.sub(lambda found: "*" * len(found.group()), line) for line in shown]
    shown = [_IN_QUERY.sub(_blank_parameter, line) for line in shown]
    return [replace_unsafe(line, keep="\t") for line in shown]


def _blank_parameter(found: re.Match[str]) -> str:
    name, value = found.groups()
    return f"{name}={'*' * len(value)}" if looks_secret(name) else found.group()


def _blank_broken(line: str) -> str:
    """Return *line* of a file that could not be read: nobody knows where a value ends, so the rest is blanked."""
    for key in _KEY.finditer(line):
        if looks_secret(key[1]) and not is_reference(line[key.end() :]):
            return line[: key.end()] + "*" * (len(line) - key.end())
    return line


def _secrets(places: Places, *, inside: bool = False) -> list[Event]:
    """Return the scalars under keys that look secret, without references."""
    from yaml.events import ScalarEvent

    if not isinstance(places, tuple):
        secret = inside and isinstance(places, ScalarEvent) and not is_reference(places.value)
        return [places] if secret else []
    parts = places[1]
    if isinstance(parts, list):
        return [event for part in parts for event in _secrets(part, inside=inside)]
    return [event for key, (_, part) in parts.items() for event in _secrets(part, inside=inside or looks_secret(key))]


def _blank(shown: list[str], event: Event) -> None:
    start, end = event.start_mark, event.end_mark
    for number in range(start.line, min(end.line + 1, len(shown))):
        line = shown[number]
        first = start.column if number == start.line else 0
        last = end.column if number == end.line else len(line)
        shown[number] = line[:first] + "*" * (min(last, len(line)) - first) + line[max(first, last) :]

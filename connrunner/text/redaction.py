"""
Values of people in what others say: partners, databases, libraries. What they say is passed on without such values.

A partner knows the rows that it was sent, and quotes them: their values are hidden, and whatever looks like an e-mail
address. A library quotes what it stumbled over: whatever stands between quotes is hidden, and numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

HIDDEN = "…"
ANYWHERE = 8  # characters; a shorter value is hidden where it stands as a word, one letter where it is quoted
LONGEST_READ = 8192  # characters of what a partner says; nobody reads more

_AT = r"(?:@|%40|\\+u0040|&#0*64;|&#[xX]0*40;|&commat;)"
_ADDRESS = re.compile(rf"[\w.!#$%&'*+/=?^`{{|}}~-]{{1,64}}{_AT}(?:[\w-]{{1,63}}\.){{1,8}}[^\W\d_]{{2,63}}")
_QUOTED = tuple(re.compile(f"{quote}.*{quote}", re.DOTALL) for quote in "'\"`“")
_DIGITS = re.compile(r"[+-]?\d[\d .,:/-]{1,}\d|\d{3,}")

_decode = json.JSONDecoder(parse_int=str, parse_float=str).decode


def redact_partner_words(text: str, rows: Iterable[bytes] = ()) -> str:
    """Return what a partner said, without the values of the *rows* (JSON lines) that it was sent, and addresses.

    Only the first 8192 characters are kept.
    """
    text = text[:LONGEST_READ]
    known = text.casefold()
    values = {value for row in rows for value in _values(row) if value.casefold() in known or _is_escaped(value, text)}
    for value in sorted(values, key=len, reverse=True):
        for form in dict.fromkeys((value, *_escaped(value))):
            text = re.sub(_pattern(form), HIDDEN, text, flags=re.IGNORECASE)
    return _ADDRESS.sub(HIDDEN, text)


def redact_library_words(text: str) -> str:
    """Return what a library said, without what it quotes, without numbers and addresses; 8192 characters at most."""
    text = text[:LONGEST_READ]
    for pattern in _QUOTED:
        text = pattern.sub(HIDDEN, text)
    return _DIGITS.sub(HIDDEN, _ADDRESS.sub(HIDDEN, text))


def describe_exception(error: BaseException) -> str:
    """Return the kind of an error that nobody foresaw, and what it says in its first line, redacted."""
    return f"{type(error).__name__}: {redact_library_words(str(error).strip().partition(chr(10))[0])}".rstrip(": ")


def _values(row: bytes) -> Iterator[str]:
    try:
        yield from _leaves(_decode(row.decode("utf-8", "replace")))
    except ValueError:
        return


def _leaves(data: Any) -> Iterator[str]:
    match data:
        case str():
            value = data.strip()
            if value:
                yield value
        case dict():
            for item in data.values():
                yield from _leaves(item)
        case list():
            for item in data:
                yield from _leaves(item)


def _pattern(form: str) -> str:
    if len(form) == 1:
        return rf"(?<=[\"'`]){re.escape(form)}(?=[\"'`])"
    return re.escape(form) if len(form) >= ANYWHERE else rf"(?<![^\W_]){re.escape(form)}(?![^\W_])"


def _escaped(value: str) -> tuple[str, ...]:
    return json.dumps(value)[1:-1], quote(value, safe="")


def _is_escaped(value: str, text: str) -> bool:
    return not value.isalnum() and any(form in text for form in _escaped(value))

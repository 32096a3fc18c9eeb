"""The first refused rows of a run, and how many there are of each kind; read within bounds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connrunner.errors import StateError
from connrunner.notify.sanitize import clean_line
from connrunner.text.files import open_own
from connrunner.text.nesting import parse_json

SHOWN = 10  # rejects that a mail lists
COUNTED = 4 * 1024 * 1024  # bytes of rejects that are counted by code: a mail is not worth reading gigabytes
LONGEST = 65_536  # bytes of one line

REJECT = ("file", "line", "field", "code", "message", "value")


def read_excerpt(path: Path | None) -> tuple[list[dict[str, Any]], dict[str, int], bool]:
    """Return the first rejects, how many there are by code, and whether the counting was cut short."""
    shown: list[dict[str, Any]] = []
    by_code: dict[str, int] = {}
    if path is None:
        return shown, by_code, False
    try:
        with open_own(path) as file:
            while file.tell() < COUNTED and (row := file.readline(LONGEST)):
                if reject := _reject(row):
                    code = clean_line(reject.get("code", "")) or "unknown"
                    by_code[code] = by_code.get(code, 0) + 1
                    if len(shown) < SHOWN:
                        shown.append({key: _cell(reject.get(key)) for key in REJECT})
            more = bool(file.read(1))
    except (OSError, StateError):  # a mail without the rows is better than none
        return shown, by_code, False
    return shown, dict(sorted(by_code.items(), key=lambda item: (-item[1], item[0]))), more


def _reject(row: bytes) -> Mapping[str, Any] | None:
    # A torn or over-long line is no reject, and no reason to keep the mail back.
    try:
        data = parse_json(row)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _cell(value: Any) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        return value
    return "" if value is None else clean_line(value, limit=120)

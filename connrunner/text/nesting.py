"""How deeply the JSON of others may nest, and how many values it may have: one bound, the same for every Python."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import accumulate
from typing import Any

MAX_DEPTH = 128
"""Lists and objects within each other, as in serde_json.

Python itself gives up where its stack ends: at 992 in 3.11, less the calls that are open, at 1497 in 3.12, at 9998 in
3.13, and at a number of the machine's in 3.14.
"""

MAX_VALUES = 500_000
"""Values of one JSON text that becomes objects in memory: each may take 50 times the bytes that it is written in."""

_NO_BRACKETS = bytes(set(range(256)) - set(b'[]{}"'))
_NO_STARTS = bytes(set(range(256)) - set(b'[{,"'))  # what a value may stand behind
_STRING = re.compile(rb'"[^"]*(?:"|\Z)')  # when escaped quotes are gone; the last one may have no end
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # 1 and -1, as signed bytes


class TooDeepError(ValueError):
    """JSON is nested more deeply than is read."""

    def __init__(self, deepest: int) -> None:
        super().__init__(f"values are nested more than {deepest} deep")


class TooManyValuesError(ValueError):
    """JSON has more values than are read."""

    def __init__(self, most: int) -> None:
        super().__init__(f"it has more than {most:,} values")


def parse_json(
    text: str | bytes,
    decode: Callable[[Any], Any] = json.loads,
    *,
    deepest: int = MAX_DEPTH,
    most_values: int | None = None,
) -> Any:
    """
    Return what *decode* makes of *text*, which somebody else wrote, or which may be damaged.

    ValueError when it is no JSON, nested more deeply than *deepest*, or has more than *most_values* values; never
    RecursionError.
    """
    if is_too_deep(text, deepest):
        raise TooDeepError(deepest)
    if most_values is not None and has_more_values(text, most_values):
        raise TooManyValuesError(most_values)
    return decode(text)


def is_too_deep(text: str | bytes, deepest: int = MAX_DEPTH) -> bool:
    """Tell whether JSON nests more deeply than *deepest*; of text that is no JSON, the part before the mistake."""
    # Hardly any text has so many brackets at all. In every encoding a bracket has a byte of this value.
    if isinstance(text, str):
        return text.count("[") + text.count("{") > deepest and _depth(_utf_8(text)) > deepest
    return text.count(b"[") + text.count(b"{") > deepest and _depth(_utf_8(text)) > deepest


def has_more_values(text: str | bytes, most: int) -> bool:
    """Tell whether JSON has more than *most* values; of text that is no JSON, what looks like them."""
    if len(text) <= most:
        return False
    if isinstance(text, str):
        count = text.count(",") + text.count("[") + text.count("{")
    else:
        count = text.count(b",") + text.count(b"[") + text.count(b"{")
    return count > most and len(_outside_strings(_utf_8(text), _NO_STARTS)) > most


def _utf_8(text: str | bytes) -> bytes:
    """Return *text* as bytes in which every ASCII value is that character; ValueError when it cannot be decoded."""
    if isinstance(text, bytes):
        encoding = json.detect_encoding(text)
        if encoding.startswith("utf-8"):
            return text
        text = text.decode(encoding, "surrogatepass")
    return text.encode("utf-8", "surrogatepass")


def _depth(text: bytes) -> int:
    """
    Return how deeply *text* nests; brackets inside strings do not count.

    Nothing here loops in Python but the sum over the brackets. Escaped quotes go first. Then each string begins and
    ends with a quote, also after two quotes side by side were taken away: that leaves every bracket on its side.
    """
    outside = _outside_strings(text, _NO_BRACKETS).translate(_STEPS)
    return max(accumulate(memoryview(outside).cast("b")), default=0)


def _outside_strings(text: bytes, dropped: bytes) -> bytes:
    """Return what of *text* is outside of its strings, without the bytes that are *dropped*, none of them a quote."""
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in text else text
    return _STRING.sub(b"", plain.translate(None, dropped).replace(b'""', b""))

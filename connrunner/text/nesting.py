"""How deeply the JSON of others may nest: one bound, so that every Python refuses the same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import accumulate
from typing import Any

MAX_DEPTH = 128
"""Lists and objects within each other, as in serde_json.

Python itself gives up where its stack ends: at 992 in 3.11, less the calls that are open, at 1497 in 3.12, at 9998 in
3.13, and at a number of the machine's in 3.14.
"""

_NO_BRACKETS = bytes(set(range(256)) - set(b'[]{}"'))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # 1 and -1, as signed bytes


class TooDeepError(ValueError):
    """JSON is nested more deeply than is read."""

    def __init__(self, deepest: int) -> None:
        super().__init__(f"values are nested more than {deepest} deep")


def parse_json(text: str | bytes, decode: Callable[[Any], Any] = json.loads, *, deepest: int = MAX_DEPTH) -> Any:
    """
    Return what *decode* makes of *text*, which somebody else wrote, or which may be damaged.

    ValueError when it is no JSON, or nested more deeply than *deepest*; never RecursionError.
    """
    if is_too_deep(text, deepest):
        raise TooDeepError(deepest)
    return decode(text)


def is_too_deep(text: str | bytes, deepest: int = MAX_DEPTH) -> bool:
    """Tell whether JSON nests more deeply than *deepest*; of text that is no JSON, the part before the mistake."""
    # Hardly any text has so many brackets at all. In every encoding a bracket has a byte of this value.
    if isinstance(text, str):
        return text.count("[") + text.count("{") > deepest and _depth(_utf_8(text)) > deepest
    return text.count(b"[") + text.count(b"{") > deepest and _depth(_utf_8(text)) > deepest


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
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in text else text
    signs = plain.translate(None, _NO_BRACKETS).replace(b'""', b"")
    outside = b"".join(signs.split(b'"')[::2]).translate(_STEPS)
    return max(accumulate(memoryview(outside).cast("b")), default=0)

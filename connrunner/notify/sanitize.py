"""Text from anywhere, made fit for people: one line, no control characters, no direction tricks, not too long."""

from __future__ import annotations

import re

# C1, the separators that some readers take for new lines, and the marks that turn the reading direction.
_ODD = "\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"
_UNFIT = re.compile(f"[\x00-\x1f{_ODD}]")
_UNFIT_IN_LINES = re.compile(f"[\x00-\x08\x0b-\x1f{_ODD}]")


def clean_line(value: object, limit: int = 200) -> str:
    """Return *value* as one line of at most *limit* characters."""
    text = " ".join(_UNFIT.sub(" ", _sound(str(value))).split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def clean_lines(value: object, limit: int = 2000) -> str:
    """Return *value* with its line breaks and tabs kept, in at most *limit* characters."""
    text = _sound(str(value)).replace("\r\n", "\n").replace("\r", "\n")
    text = _UNFIT_IN_LINES.sub("", text).strip("\n")
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _sound(text: str) -> str:
    # A program's undecodable bytes arrive as lone surrogates, which no mail can carry.
    return text.encode("utf-8", "replace").decode("utf-8")

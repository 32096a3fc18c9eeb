"""Text from anywhere, made fit for people: one line, no control characters, no direction tricks, not too long."""

from __future__ import annotations

from connrunner.text.words import is_safe_in_mail, one_line, replace_unsafe


def clean_line(value: object, limit: int = 200) -> str:
    """Return *value* as one line of at most *limit* characters."""
    return _cut(one_line(_sound(str(value)), is_safe=is_safe_in_mail), limit)


def clean_lines(value: object, limit: int = 2000) -> str:
    """Return *value* with its line breaks and tabs kept, in at most *limit* characters."""
    text = _sound(str(value)).replace("\r\n", "\n").replace("\r", "\n")
    text = replace_unsafe(text, "", keep="\n\t", is_safe=is_safe_in_mail).strip("\n")
    return _cut(text, limit)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _sound(text: str) -> str:
    # A program's undecodable bytes arrive as lone surrogates, which no mail can carry.
    return text.encode("utf-8", "replace").decode("utf-8")

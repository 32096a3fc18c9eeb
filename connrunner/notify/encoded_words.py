"""
Text in headers of mail: folded as it is, or as encoded words (RFC 2047).

Python's own writing of headers loses spaces between words beyond ASCII before 3.13, so it is done here: whoever decodes
the header gets the text, to the letter.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

LINE = 76  # characters of a line with encoded words, its end left out; of others RFC 5322 advises 78
_BEFORE, _AFTER = "=?utf-8?b?", "?="


def format_text(field: str, text: str) -> str:
    """Return the header *field* with *text*, one line without blanks at its ends, folded and with its line end."""
    begun = len(field) + 2
    if text.isascii() and (folded := _fold(text, begun)) is not None:
        return f"{field}: {folded}\r\n"
    return f"{field}: {encode_words(text, begun=begun)}\r\n"


def encode_words(text: str, *, begun: int) -> str:
    """Return *text* as encoded words, each but the first on a line of its own; *begun* characters stand before it."""
    return "\r\n ".join(f"{_BEFORE}{b64encode(part).decode()}{_AFTER}" for part in _parts(text, begun))


def _fold(text: str, begun: int) -> str | None:
    """Return *text* in lines that end between words; None when a word is too long for a line."""
    lines, length = [""], begun
    for word in text.split(" "):
        if not lines[-1]:
            lines[-1], length = word, length + len(word)
        elif length + 1 + len(word) <= LINE:
            lines[-1], length = f"{lines[-1]} {word}", length + 1 + len(word)
        else:
            lines.append(word)
            length = 1 + len(word)
        if length > LINE:
            return None
    return "\r\n ".join(lines)


def _parts(text: str, begun: int) -> Iterator[bytes]:
    """Split *text* between characters so that each part fits into one encoded word."""
    part, room = b"", _room(begun)
    for character in text:
        encoded = character.encode("utf-8")
        if len(part) + len(encoded) > room:
            yield part
            part, room = b"", _room(1)
        part += encoded
    yield part


def _room(begun: int) -> int:
    """Return how many bytes an encoded word holds in a line of which *begun* characters are written."""
    return (LINE - begun - len(_BEFORE) - len(_AFTER)) // 4 * 3

"""The text of a JSON document, read as a stream: of its lists and objects, one member at a time is in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TextIO

from connrunner.text.nesting import MAX_DEPTH, MAX_VALUES, has_more_values, is_too_deep

CHUNK = 1 << 20  # characters that are read at a time, at least
LONGEST_VALUE = 16_000_000  # characters of one member
NEAR = 16  # characters before the end of what is read, where a mistake may be none when more is read

_BLANKS = re.compile(r"[ \t\n\r]*")
# Only the ends of values matter here: how a number is written does not.
_scan = json.JSONDecoder(parse_float=len, parse_int=len, parse_constant=len).raw_decode


class JsonStreamError(ValueError):
    """The text is no JSON at a place, for a *reason*; or it holds more than is read, and *reason* says what."""

    def __init__(self, reason: str, *, is_too_large: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_too_large = is_too_large


class JsonStream:
    """The text of a document, of which only a part is in memory, and a place in it.

    Each method raises JsonStreamError, or UnicodeDecodeError when the file of *text* is of another encoding.
    """

    def __init__(self, text: TextIO, *, longest: int = LONGEST_VALUE, most: int | None = None) -> None:
        """*longest* is how many characters a member may have, *most* how many members a list or an object."""
        self._text = text
        self._most = most
        self._longest = longest
        self._part = ""
        self._at = 0  # the place, within the part
        self._before = 0  # characters before the part
        self._lines = 0  # line ends before the part
        self._ended = False

    @property
    def offset(self) -> int:
        """How many characters stand before the place."""
        return self._before + self._at

    @property
    def line(self) -> int:
        """The number of the line of the place, from 1."""
        return 1 + self._lines + self._part.count("\n", 0, self._at)

    def next_character(self) -> str:
        """Return the next character that is not blank, and stay at it; an empty text at the end."""
        while True:
            found = _BLANKS.match(self._part, self._at)
            assert found is not None
            self._at = found.end()
            if self._at < len(self._part):
                return self._part[self._at]
            if not self._read_more():
                return ""

    def visit_members(self, end: str) -> Iterator[None]:
        """Go to each member of the list or object that begins here, in turn; the caller reads it."""
        self._at += 1
        if self.next_character() == end:
            self._at += 1
            return
        yield
        count = 1
        while self.has_another(end):
            count += 1
            if self._most is not None and count > self._most:
                raise JsonStreamError(f"more than {self._most:,} members in a list or object", is_too_large=True)
            yield

    def has_another(self, end: str) -> bool:
        """Return whether a comma and another member follow; False when the *end* does."""
        character = self.next_character()
        if character not in (",", end):
            raise JsonStreamError(f"',' or '{end}' is expected" if character else "it ends before its end")
        self._at += 1
        return character == ","

    def read_key(self) -> str:
        """Return the key of the member that follows, and go behind its colon."""
        if self.next_character() != '"':
            raise JsonStreamError("a key in double quotes is expected")
        key: str = json.loads(self.read_value())
        if self.next_character() != ":":
            raise JsonStreamError("':' is expected")
        self._at += 1
        return key

    def skip_value(self, *, deepest: int = MAX_DEPTH) -> None:
        """Read over a value; one that is large takes no memory, unless a member of it is large."""
        character = self.next_character()
        if character == "[":
            for _ in self.visit_members("]"):
                self.read_value(deepest=deepest - 1)
        elif character == "{":
            for _ in self.visit_members("}"):
                self.read_key()
                self.read_value(deepest=deepest - 1)
        else:
            self.read_value(deepest=deepest)

    def read_value(self, *, deepest: int = MAX_DEPTH) -> str:
        """Return the text of the value that follows, which nests no more than *deepest*, and go behind it."""
        self.next_character()
        while True:
            try:
                end = _scan(self._part, self._at)[1]
                # A number may go on in what was not read yet.
                if end < len(self._part) or self._ended:
                    break
            except json.JSONDecodeError as error:
                if is_too_deep(self._part[self._at : error.pos]):
                    raise _depth_error() from None
                is_cut = error.msg.startswith("Unterminated") or error.pos > len(self._part) - NEAR
                if self._ended or not is_cut:
                    self._at = error.pos
                    raise JsonStreamError(error.msg[:1].lower() + error.msg[1:]) from None
            except RecursionError:
                raise _depth_error() from None
            if len(self._part) - self._at > self._longest:
                raise self._length_error()
            self._read_more()
            # What stands behind the value in this part counts as well, which only one of megabytes can suffer from.
            if len(self._part) > 2 * CHUNK and has_more_values(self._part, MAX_VALUES):
                raise JsonStreamError(f"a value with more than {MAX_VALUES:,} others in it", is_too_large=True)
        value = self._part[self._at : end]
        if len(value) > self._longest:
            raise self._length_error()
        if is_too_deep(value, deepest):
            raise _depth_error()
        self._at = end
        return value

    def _length_error(self) -> JsonStreamError:
        return JsonStreamError(f"a value that is longer than {self._longest:,} bytes", is_too_large=True)

    def _read_more(self) -> bool:
        """Read on and drop what lies behind; False at the end."""
        rest = self._part[self._at :]
        self._lines += self._part.count("\n", 0, self._at)
        self._before += self._at
        more = self._text.read(max(CHUNK, min(len(rest), self._longest - len(rest))))
        self._part, self._at = rest + more, 0
        self._ended = not more
        return bool(more)


def _depth_error() -> JsonStreamError:
    return JsonStreamError("values are nested too deeply")

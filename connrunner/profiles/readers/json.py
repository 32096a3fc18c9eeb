"""One JSON document that holds a list becomes JSON lines, read as a stream: never more than one item is in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from connrunner.errors import RunError
from connrunner.profiles.readers.jsonlines import LONGEST_LINE
from connrunner.profiles.readers.normalize import NormalizedFile, find_decoding_error
from connrunner.profiles.temporary_files import choose_path, open_private
from connrunner.text.nesting import is_too_deep
from connrunner.text.words import listed, nearest, plural

CHUNK = 1 << 20  # characters that are read at a time, at least
NEAR = 16  # characters before the end of what is read, where a mistake may be none when more is read
PROGRESS_EVERY = 10_000  # items

_WORD = re.compile(r"[^\W\d](?:[^\W\d]|[.$-]){0,39}")  # a name of ours, not the number or address of somebody
_BLANKS = re.compile(r"[ \t\n\r]*")
_LINE_ENDS = str.maketrans("\n\r", "  ")
# Only the ends of values matter here: how a number is written does not.
_scan = json.JSONDecoder(parse_float=len, parse_int=len, parse_constant=len).raw_decode


def copy_items(
    file: NormalizedFile, path: str, folder: Path, on_progress: Callable[[int, int], None]
) -> tuple[NormalizedFile, int]:
    """
    Return a copy of *file* in *folder*, with each item of the list at the dotted *path* on a line, and their number.

    RunError when the file is not a JSON document from its first character to its last, or has no list there.
    """
    copy = choose_path(folder)
    count = 0
    try:
        with file.path.open(encoding="utf-8-sig", newline="") as text, open_private(copy) as target:
            document = _Document(text, file)
            for item in document.items(path.split(".") if path else []):
                line = item.translate(_LINE_ENDS).encode()
                if len(line) > LONGEST_LINE:
                    raise document.length_error()
                target.write(line + b"\n")
                count += 1
                if count % PROGRESS_EVERY == 0:
                    on_progress(count, round(count * file.size / max(document.offset, 1)))
    except UnicodeDecodeError as error:
        raise find_decoding_error(file.path, file.name) or error from None
    return NormalizedFile(path=copy, name=file.name, size=copy.stat().st_size, nul=file.nul), count


class _Document:
    """The text of a document, of which only a part is in memory, and a place in it."""

    def __init__(self, text: TextIO, file: NormalizedFile) -> None:
        self._file = file
        self._text = text
        self._part = ""
        self._at = 0  # the place, within the part
        self._before = 0  # characters before the part
        self._lines = 0  # line ends before the part
        self._ended = False

    @property
    def offset(self) -> int:
        """How many characters stand before the place."""
        return self._before + self._at

    def items(self, path: list[str]) -> Iterator[str]:
        """Yield the text of each item of the list at *path*, and read on to the end of the document."""
        if not self._next_character():
            raise RunError(f"{self._file.name} is empty", hint="see why its sender wrote nothing", code="empty-file")
        for depth, key in enumerate(path):
            self._go_to(path, depth, key)
        if self._next_character() != "[":
            raise self._no_list_error(path)
        for _ in self._visit_members("]"):
            yield self._read_value()
        for _ in path:
            while self._has_another("}"):
                self._read_key()
                self._skip_value()
        if self._next_character():
            hint = "set `format: {type: jsonl}`" if not path else ""
            raise self._malformed_error("something follows the end of the document", hint)

    def length_error(self) -> RunError:
        return RunError(
            f"{self._file.name}: the value before character {self.offset + 1:,} is longer than {LONGEST_LINE:,} bytes",
            hint="set the `rows` of `format` to the list that holds the rows",
            code="too-long",
        )

    def _go_to(self, path: list[str], depth: int, wanted: str) -> None:
        """Go to the value of the member *wanted* of the object that begins here."""
        place = ".".join(path[:depth]) or "the document"
        if self._next_character() != "{":
            raise self._missing_error(f"{place} is no object, so it has no {wanted!r}", "")
        seen = []
        for _ in self._visit_members("}"):
            key = self._read_key()
            if key == wanted:
                return
            seen.append(key)
            self._skip_value()
        near = nearest(wanted, seen)
        there = f"it has {_describe_keys(seen)}" if seen else "it is empty"
        raise self._missing_error(f"{place} has no {wanted!r}", f"did you mean {near!r}?" if near else there)

    def _missing_error(self, reason: str, hint: str) -> RunError:
        return RunError(
            f"{self._file.name}: {reason}", hint=hint or "correct `rows` of its `format`", code="missing-rows"
        )

    def _no_list_error(self, path: list[str]) -> RunError:
        if path:
            return self._missing_error(f"{'.'.join(path)} is no list", "")
        if self._next_character() == "{":
            hint = "name the list in it, like `format: {type: json, rows: data.items}`"
            return self._missing_error("the document is an object, not a list", hint)
        self._read_value()  # no JSON at all, more often than not
        return self._missing_error("the document is no list", "set another `format`")

    def _visit_members(self, end: str) -> Iterator[None]:
        """Go to each member of the list or object that begins here, in turn; the caller reads it."""
        self._at += 1
        if self._next_character() == end:
            self._at += 1
            return
        yield
        while self._has_another(end):
            yield

    def _has_another(self, end: str) -> bool:
        """Return whether a comma and another member follow; False when the *end* does."""
        character = self._next_character()
        if character not in (",", end):
            reason = f"',' or '{end}' is expected" if character else "it ends before its end"
            raise self._malformed_error(reason)
        self._at += 1
        return character == ","

    def _read_key(self) -> str:
        if self._next_character() != '"':
            raise self._malformed_error("a key in double quotes is expected")
        key: str = json.loads(self._read_value())
        if self._next_character() != ":":
            raise self._malformed_error("':' is expected")
        self._at += 1
        return key

    def _skip_value(self) -> None:
        """Read over a value; one that is large takes no memory, unless a member of it is large."""
        character = self._next_character()
        if character == "[":
            for _ in self._visit_members("]"):
                self._read_value()
        elif character == "{":
            for _ in self._visit_members("}"):
                self._read_key()
                self._read_value()
        else:
            self._read_value()

    def _next_character(self) -> str:
        """Return the next character that is not blank, and stay at it; an empty text at the end."""
        while True:
            found = _BLANKS.match(self._part, self._at)
            assert found is not None
            self._at = found.end()
            if self._at < len(self._part):
                return self._part[self._at]
            if not self._read_more():
                return ""

    def _read_value(self) -> str:
        """Return the text of the value that follows, and go behind it."""
        self._next_character()
        while True:
            try:
                end = _scan(self._part, self._at)[1]
                # A number may go on in what was not read yet.
                if end < len(self._part) or self._ended:
                    break
            except json.JSONDecodeError as error:
                if is_too_deep(self._part[self._at : error.pos]):
                    raise self._depth_error() from None
                is_cut = error.msg.startswith("Unterminated") or error.pos > len(self._part) - NEAR
                if self._ended or not is_cut:
                    self._at = error.pos
                    raise self._malformed_error(error.msg[:1].lower() + error.msg[1:]) from None
            except RecursionError:
                raise self._depth_error() from None
            if len(self._part) - self._at > LONGEST_LINE:
                raise self.length_error()
            self._read_more()
        value = self._part[self._at : end]
        if is_too_deep(value):
            raise self._depth_error()
        self._at = end
        return value

    def _read_more(self) -> bool:
        """Read on and drop what lies behind; False at the end."""
        rest = self._part[self._at :]
        self._lines += self._part.count("\n", 0, self._at)
        self._before += self._at
        more = self._text.read(max(CHUNK, len(rest)))
        self._part, self._at = rest + more, 0
        self._ended = not more
        return bool(more)

    def _depth_error(self) -> RunError:
        return self._malformed_error("values are nested too deeply")

    def _malformed_error(self, reason: str, hint: str = "") -> RunError:
        line = 1 + self._lines + self._part.count("\n", 0, self._at)
        return RunError(
            f"{self._file.name} is not sound JSON: {reason} in line {line:,}, at character {self.offset + 1:,}",
            hint=hint or "fetch or send it again",
            code="malformed-json",
        )


def _describe_keys(keys: list[str]) -> str:
    """Return the *keys* that are words: those of an object may be numbers or addresses of people, too."""
    told = [key for key in keys if _WORD.fullmatch(key)][:20]
    if others := len(keys) - len(told):
        return listed([*map(repr, told), f"{others} more" if told else plural(others, "other member")])
    return listed(map(repr, told))

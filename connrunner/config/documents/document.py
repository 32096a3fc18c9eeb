"""One YAML file as plain data, the place of every part, and everything that is wrong with it as YAML.

Importing this module imports PyYAML: a tick that finds the workspace unchanged does neither.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cached_property
from typing import Any, NoReturn, Protocol, TypeAlias

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from connrunner.config.documents import redact, syntax, workspace_file
from connrunner.config.documents.events import Event, Places
from connrunner.config.finding import Finding, Path
from connrunner.config.wording import describe, show
from connrunner.core import merge_conflict
from connrunner.errors import Problem
from connrunner.lazy_dataclasses import dataclass, replace
from connrunner.text.words import escape

MAX_BYTES = workspace_file.LIMIT
MAX_DEPTH = 32
MAX_NODES = 20_000
MAX_PROBLEMS = 100

Chain: TypeAlias = "tuple[Chain, str | int] | None"  # a Path while reading: the parent's, then the last step

# YAML 1.2, core schema, less what would lose something: 08 and 1.50 with more zeros are no numbers to most people.
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_NUMBER_STARTS = frozenset("-+.0123456789")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_LONGEST = 64  # characters of a number
_LARGEST = 2**63  # beyond it, JSON and databases lose digits

# Everything else is a control character, a line end that parsers disagree on, or a mark that reorders what is seen.
_ALLOWED = "\t\n\r\x20-\x7e\xa0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff"
_FORBIDDEN = re.compile(f"[^{_ALLOWED}]")
_LINE_END = re.compile("\r\n|\r|\n")
_UTF_16_OR_32 = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


@dataclass(frozen=True)
class Document:
    """What one file says, as far as it could be read."""

    path: str  # relative to the workspace
    text: str = ""
    data: Any = None  # None when reading could not go on to the end
    places: Places | None = None
    problems: tuple[Problem, ...] = ()
    refused: frozenset[Path] = frozenset()  # parts whose value is refused, and stands as None in the data

    def place(self, path: Path, *, at_key: bool = False) -> tuple[int, int]:
        """Return line and column, from 1, of the part at *path*, or of its nearest parent that exists."""
        place = self.places
        if place is None:
            return 1, 1
        key: Event | None = None
        for step in path:
            parts = place[1] if isinstance(place, tuple) else ()
            if isinstance(parts, dict) and step in parts:
                key, place = parts[str(step)]
            elif isinstance(parts, list) and isinstance(step, int) and step < len(parts):
                key, place = None, parts[step]
            else:
                key = None
                break
        event = place[0] if isinstance(place, tuple) else place
        mark = (key if at_key and key is not None else event).start_mark
        return mark.line + 1, mark.column + 1

    def problem(self, finding: Finding) -> Problem:
        """Return *finding* with its place and its line."""
        line, column = self.place(finding.path, at_key=finding.at_key)
        return self.problem_at(line, column, finding.message, finding.hint, finding.code)

    def problem_at(self, line: int, column: int, message: str, hint: str, code: str) -> Problem:
        """Return a problem whose place is known; what looks like a secret in its line is blanked.

        Of a file that is no mapping no line is shown: it may be any file, by mistake or by a link.
        """
        is_shown = self.data is None or isinstance(self.data, dict)
        source = self._lines[line - 1] if is_shown and line <= len(self._lines) else ""
        return Problem(path=self.path, line=line, column=column, message=message, hint=hint, code=code, source=source)

    @cached_property
    def _lines(self) -> list[str]:
        return redact.lines(_LINE_END.split(self.text), self.places)


def parse(content: bytes, path: str) -> Document:
    """Return what *content* says, plain scalars read by the rules of YAML 1.2. Bad content becomes problems.

    Refused: duplicate keys, keys that are not text, anchors, aliases, merge keys, tags, directives, a second
    document, numbers without an exact value, and whatever is too large, too deep or has too many parts.
    """
    blank = Document(path=path)
    if len(content) > MAX_BYTES:
        return _refusal(blank, "", "the file is larger than 256 KiB", "split it", "too-large")
    if content.startswith(_UTF_16_OR_32):
        return _refusal(blank, "", "the file is UTF-16 or UTF-32", "save it as UTF-8", "bad-encoding")
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode()
        blank = replace(blank, text=before)
        return _refusal(blank, before, "the file is not UTF-8 from here on", "save it as UTF-8", "bad-encoding")
    blank = replace(blank, text=text)
    if forbidden := _FORBIDDEN.search(text):
        message = f"an invisible character, U+{ord(forbidden.group()):04X}"
        hint = "take it out; in double quotes it can stand as an escape"
        return _refusal(blank, text[: forbidden.start()], message, hint, "control-character")
    if line := merge_conflict.find_line(text, is_yaml=True):
        before = "".join(text.splitlines(keepends=True)[: line - 1])
        return _refusal(blank, before, *merge_conflict.COMPLAINT)
    return _read(blank)


def _refusal(document: Document, before: str, message: str, hint: str, code: str) -> Document:
    """Return *document* with the one problem that stands after the text *before*."""
    lines = _LINE_END.split(before)
    problem = document.problem_at(len(lines), len(lines[-1]) + 1, message, hint, code)
    return replace(document, problems=(problem,))


# --- from events to data -----------------------------------------------------------------------------------------


class _Stop(Exception):  # noqa: N818 - no error of the program
    """Reading on makes no sense; the last finding says why."""


class _Events(Protocol):
    def get_event(self) -> Event | None: ...


class _Reading:
    """What is known while one document is read."""

    def __init__(self, events: _Events) -> None:
        self.next: Callable[[], Event] = events.get_event
        self.nodes = 0
        self.found: list[tuple[int, int, str, str, str]] = []
        self.refused: list[Chain] = []

    def report(self, at: Event, message: str, hint: str, code: str) -> None:
        if len(self.found) == MAX_PROBLEMS:
            self.stop(at, "and more problems", "fix those above first", "too-many-problems")
        self.found.append((at.start_mark.line + 1, at.start_mark.column + 1, message, hint, code))

    def stop(self, at: Event, message: str, hint: str, code: str) -> NoReturn:
        self.found.append((at.start_mark.line + 1, at.start_mark.column + 1, message, hint, code))
        raise _Stop

    def refuse(self, chain: Chain, at: Event, message: str, hint: str, code: str) -> None:
        self.refused.append(chain)
        self.report(at, message, hint, code)


def _read(document: Document) -> Document:
    reading = _Reading(_parser(document.text))
    data: Any = None
    places: Places | None = None
    try:
        data, places = _single_document(reading)
    except _Stop:
        pass
    except yaml.MarkedYAMLError as error:
        said = syntax.explain_syntax(error, document.text)
        reading.found.append((said.line + 1, said.column + 1, said.message, said.hint, "syntax"))
    except yaml.YAMLError as error:
        reading.found.append((1, 1, "this is not YAML", escape(str(error).partition("\n")[0]), "syntax"))
    refused = frozenset(_path(chain) for chain in reading.refused)
    document = replace(document, data=data, places=places, refused=refused)
    return replace(document, problems=tuple(document.problem_at(*found) for found in reading.found))


def _parser(text: str) -> _Events:
    """Return libyaml's parser, or the one in Python (some 15 times slower) where PyYAML was built without libyaml."""
    try:
        from yaml._yaml import CParser
    except ImportError:
        return _pure_parser(text)
    return CParser(text)


def _pure_parser(text: str) -> _Events:
    from yaml.parser import Parser
    from yaml.reader import Reader
    from yaml.scanner import Scanner

    class PureParser(Reader, Scanner, Parser):
        def __init__(self) -> None:
            Reader.__init__(self, text)
            Scanner.__init__(self)
            Parser.__init__(self)

    return PureParser()


def _single_document(reading: _Reading) -> tuple[Any, Places]:
    stream = reading.next()
    start = reading.next()
    if not isinstance(start, DocumentStartEvent):
        reading.stop(stream, "the file is empty", "write something, or remove it", "empty-file")
    if start.version or start.tags:
        reading.report(start, "directives are not used here", "leave out the lines that begin with `%`", "directive")
    data, places = _node(reading, reading.next(), None, 1)
    if data is None and not reading.refused:
        reading.stop(start, "the file is empty", "write something, or remove it", "empty-file")
    reading.next()  # the document's end
    more = reading.next()
    if isinstance(more, DocumentStartEvent):
        reading.report(more, "a second document begins here", "give it a file of its own", "several-documents")
    return data, places


# A module function, not a closure: a recursive closure is a reference cycle, and a tick runs without the collector.
def _node(reading: _Reading, event: Event, chain: Chain, depth: int) -> tuple[Any, Places]:
    """Return the value that begins with *event*, and its places."""
    reading.nodes += 1
    if reading.nodes > MAX_NODES:
        reading.stop(event, f"the file has more than {MAX_NODES} parts", "split it", "too-many-nodes")
    if isinstance(event, AliasEvent):
        hint = "write the value out; a text that begins with `*` needs quotes"
        reading.refuse(chain, event, f"aliases like *{event.anchor} are not used here", hint, "alias")
        return None, event
    if event.anchor is not None:
        hint = "leave it out; a text that begins with `&` needs quotes"
        reading.report(event, f"anchors like &{event.anchor} are not used here", hint, "anchor")
    if event.tag is not None:
        hint = "leave it out; a text that begins with `!` needs quotes"
        reading.refuse(chain, event, "tags like !this are not used here", hint, "tag")
    if isinstance(event, ScalarEvent):
        return _scalar(reading, event, chain), event
    if depth > MAX_DEPTH:
        reading.stop(event, f"the file is more than {MAX_DEPTH} levels deep", "write it flatter", "too-deep")
    if isinstance(event, MappingStartEvent):
        return _mapping(reading, event, chain, depth)
    assert isinstance(event, SequenceStartEvent)
    return _list(reading, event, chain, depth)


def _mapping(reading: _Reading, start: Event, chain: Chain, depth: int) -> tuple[dict[str, Any], Places]:
    data: dict[str, Any] = {}
    places: dict[str, tuple[Event, Places]] = {}
    while not isinstance(event := reading.next(), MappingEndEvent):
        key = _key(reading, event, chain, depth)
        if key is None:
            _node(reading, reading.next(), (chain, ""), depth + 1)
            continue
        value, value_places = _node(reading, reading.next(), (chain, key), depth + 1)
        if key in data:
            first = places[key][0].start_mark.line + 1
            message = f"the key {show(key)} stands on line {first} already"
            reading.report(event, message, "keep one of the two", "duplicate-key")
        else:
            data[key] = value
            places[key] = event, value_places
    return data, (start, places)


def _list(reading: _Reading, start: Event, chain: Chain, depth: int) -> tuple[list[Any], Places]:
    data: list[Any] = []
    places: list[Places] = []
    while not isinstance(event := reading.next(), SequenceEndEvent):
        value, value_places = _node(reading, event, (chain, len(data)), depth + 1)
        data.append(value)
        places.append(value_places)
    return data, (start, places)


def _key(reading: _Reading, event: Event, chain: Chain, depth: int) -> str | None:
    """Return the key that begins with *event*; None, with a problem, when it is not a plain text."""
    if isinstance(event, ScalarEvent) and event.value == "<<" and not event.style:
        hint = "write its keys out; a key of that name needs quotes"
        reading.report(event, "merge keys (<<) are not used here", hint, "merge-key")
        return None
    problems = len(reading.found)
    key, _ = _node(reading, event, (chain, ""), depth + 1)
    if isinstance(key, str):
        return key
    if len(reading.found) == problems:
        hint = f'put it in quotes: "{event.value}"' if isinstance(event, ScalarEvent) else "write a single text"
        reading.report(event, f"a key must be text, not {describe(key)}", hint, "key-not-text")
    return None


def _scalar(reading: _Reading, event: ScalarEvent, chain: Chain) -> Any:
    value = event.value
    if event.style:
        if "\0" in value or (event.style == '"' and not value.isascii()):
            _check_escapes(reading, event, chain)
        return value
    if value in _WORDS:
        return _WORDS[value]
    if value[0] not in _NUMBER_STARTS:
        return value
    if _INTEGER.fullmatch(value):
        # The length first: Python refuses to read thousands of digits.
        number = int(value, 0) if len(value) <= _LONGEST else _LARGEST
        if -_LARGEST <= number < _LARGEST:
            return number
        message = "a number with too many digits to be kept exactly"
        reading.refuse(chain, event, message, "put it in quotes to make it a text", "inexact-number")
        return None
    if _FLOAT.fullmatch(value):
        if len(value) <= _LONGEST and math.isfinite(fraction := float(value)):
            return fraction
        message = "a number that is too large or too long"
        reading.refuse(chain, event, message, "put it in quotes to make it a text", "inexact-number")
        return None
    if _NOT_FINITE.fullmatch(value):
        message = f"{value} is not a number that can be used"
        reading.refuse(chain, event, message, "put it in quotes to make it a text", "inexact-number")
        return None
    return value


def _check_escapes(reading: _Reading, event: ScalarEvent, chain: Chain) -> None:
    """Refuse what an escape in double quotes can smuggle in: NUL, and halves of surrogate pairs."""
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in event.value):
        message = "an escape for a character that no text can have"
        reading.refuse(chain, event, message, "leave it out", "control-character")


def _path(chain: Chain) -> Path:
    steps: list[str | int] = []
    while chain is not None:
        chain, step = chain
        steps.append(step)
    return tuple(reversed(steps))

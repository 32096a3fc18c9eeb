"""
The parts of an Excel workbook (.xlsx): which sheets it has, and the cells of one, row by row.

Of ECMA-376 part 1 (Office Open XML) only what says which value a cell has. The libraries of this field give an error, a
text that is spelt like one and a formula without a value as the same, and undo the escapes of texts too often or not at
all; so the XML is read here, by expat, in pieces, and without document types, so no entity grows.
"""

from __future__ import annotations

import math
import posixpath
import re
import zipfile
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import IO
from xml.parsers import expat

from connrunner.lazy_dataclasses import dataclass

CHUNK = 1 << 16
MOST_COLUMNS = 16_384  # of a sheet, as Excel has it
LONGEST_TEXT = 4_000_000  # characters of one cell; Excel keeps 32,767

# A workbook knows no time zones.
_FROM_1904, _FROM_1900 = datetime.fromisoformat("1904-01-01"), datetime.fromisoformat("1899-12-30")
_BEFORE_MARCH = datetime.fromisoformat("1899-12-31")
_MILLISECONDS = 86_400_000  # of a day
_ESCAPE = re.compile("_x([0-9A-Fa-f]{4})_")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[Ee][+-]?[0-9]+)?")
_INTEGER = re.compile(r"-?[0-9]+")
_ROW = re.compile("[0-9]{1,7}")
_PLACE = re.compile(r"([A-Za-z]{1,3})[0-9]+")
# The formats that have a number and no code in the file (18.8.30 of the standard): dates and times, and one duration.
_DATES = {*range(14, 23), *range(27, 37), 45, 47, *range(50, 59)}
_DURATION = 46


class DamageError(Exception):
    """The workbook contradicts itself; the message says where, and quotes nothing that stands in a cell."""


class TooLargeError(Exception):
    """The parts that are kept in memory are larger than they may be: so many bytes."""


class Flaw(Enum):
    """What a cell can hold beside a value."""

    ERROR = 0  # such as #N/A
    UNCOMPUTED = 1  # a formula whose value nobody has worked out


@dataclass(frozen=True, kw_only=True, slots=True)
class PaddedInteger:
    """A whole number that is shown with zeros in front."""

    value: int
    width: int  # digits

    @property
    def shown(self) -> str:
        return f"{'-' if self.value < 0 else ''}{abs(self.value):0{self.width}}"


Cell = str | bool | int | float | PaddedInteger | datetime | date | time | timedelta | Flaw | None


class Workbook:
    """An open workbook; its texts and styles are in memory, its sheets are read when they are asked for."""

    def __init__(self, archive: zipfile.ZipFile, in_memory: int) -> None:
        """Read all but the sheets; DamageError, or an exception of zipfile or expat, when that cannot be.

        TooLargeError when that would take more than *in_memory* bytes of the file, unpacked.
        """
        self._archive = archive
        self._left = self._in_memory = in_memory
        self._names = {name.lower(): name for name in archive.namelist()}  # names of parts have no case
        (main,) = self._targets("", "/officeDocument") or [""]
        if not main or main.lower().endswith(".bin"):
            raise DamageError("it is no workbook (.xlsx)")
        self._is_1904 = False
        self.sheets: dict[str, str] = {}  # name -> part, in the order of the workbook
        self._find_sheets(main)
        self._styles = [style for part in self._targets(main, "/styles") for style in self._read_styles(part)]
        self._texts = [text for part in self._targets(main, "/sharedStrings") for text in self._read_texts(part)]

    def rows(self, sheet: str, *, skip: int = 0) -> Iterator[list[Cell]]:
        """Yield the cells of each row of *sheet* that has any, the first column first; not of the first *skip* rows."""
        reader = _SheetReader(self._texts, self._styles, is_1904=self._is_1904, skip=skip)
        with self._archive.open(self._name(self.sheets[sheet])) as part:
            for _ in _feed(part, reader):
                yield from reader.take_rows()

    def _find_sheets(self, main: str) -> None:
        parts = self._relations(main)
        for _, name, attributes in self._elements(main):
            if name == "workbookPr":
                self._is_1904 = attributes.get("date1904", "0") in ("1", "true", "on")
            elif name == "sheet":
                (identity,) = [value for key, value in attributes.items() if key.endswith(" id")] or [""]
                kind, target = parts.get(identity, ("", ""))
                if kind.endswith("/worksheet"):  # neither a chart nor a dialog
                    self.sheets.setdefault(attributes.get("name", ""), target)

    def _read_styles(self, part: str) -> list[_Style]:
        codes: dict[str, str] = {}
        styles = []
        for parent, name, attributes in self._elements(part):
            if name == "numFmt" and parent == "numFmts":
                codes[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
            elif name == "xf" and parent == "cellXfs":
                styles.append(attributes.get("numFmtId", "0"))
        return [_style_of(number, codes.get(number)) for number in styles]

    def _read_texts(self, part: str) -> list[str]:
        reader = _TextsReader()
        with self._open(part) as opened:
            for _ in _feed(opened, reader):
                pass
        return reader.texts

    def _targets(self, part: str, kind: str) -> list[str]:
        """Return the parts to which *part* has a relation of the *kind*: the first one."""
        found = [target for name, target in self._relations(part).values() if name.endswith(kind)]
        return found[:1]

    def _relations(self, part: str) -> dict[str, tuple[str, str]]:
        """Return the kind and the target of each relation of *part*, by its identity."""
        folder, name = posixpath.split(part)
        place = posixpath.join(folder, "_rels", f"{name}.rels")
        found = {}
        for _, name, attributes in self._elements(place) if place.lower() in self._names else ():
            if name == "Relationship" and attributes.get("TargetMode") != "External":
                target = posixpath.join("/", folder, attributes.get("Target", "").replace("\\", "/"))
                found[attributes.get("Id", "")] = (attributes.get("Type", ""), posixpath.normpath(target).lstrip("/"))
        return found

    def _elements(self, part: str) -> Iterator[tuple[str, str, dict[str, str]]]:
        """Yield the parent's name, the name and the attributes of each element of a small part."""
        reader = _ElementsReader()
        with self._open(part) as opened:
            for _ in _feed(opened, reader):
                yield from reader.found
                reader.found.clear()

    def _open(self, part: str) -> IO[bytes]:
        name = self._name(part)
        self._left -= self._archive.getinfo(name).file_size
        if self._left < 0:
            raise TooLargeError(f"{self._in_memory - self._left:,}")
        return self._archive.open(name)

    def _name(self, part: str) -> str:
        if part.lower() not in self._names:
            raise DamageError(f"its part {posixpath.basename(part)[:60]!r} is missing")
        return self._names[part.lower()]


# --- styles ------------------------------------------------------------------------------------------------------


class _Shows(Enum):
    NUMBER = 0
    DATE = 1
    DURATION = 2


_Style = _Shows | int  # an integer: a number with zeros in front, so many digits


def _style_of(number: str, code: str | None) -> _Style:
    """Return what a format shows, by its *number* and its *code*, when the file has one."""
    if code is None:
        identity = int(number) if number.isdecimal() else 0
        if identity == _DURATION:
            return _Shows.DURATION
        return _Shows.DATE if identity in _DATES else _Shows.NUMBER
    if re.fullmatch("0+", code):
        return len(code)
    # What is quoted, escaped, a filler or a space of the width of a sign is shown as it is.
    bare = re.sub(r'"[^"]*"?|\\.|[_*].', "", code).partition(";")[0]
    if re.search(r"\[(?:h+|m+|s+)\]", bare, re.IGNORECASE):
        return _Shows.DURATION
    bare = re.sub(r"\[[^\]]*\]", "", bare)  # colours, languages, conditions
    if bare.strip().lower() in ("general", "standard"):
        return _Shows.NUMBER
    return _Shows.DATE if re.search("[dmhys]", bare, re.IGNORECASE) else _Shows.NUMBER


def _from_serial(value: float, *, is_1904: bool) -> datetime | time | Flaw:
    """Return the day and time that Excel shows for *value*, or the time alone below 1; an error for what it marks."""
    day, fraction = divmod(value, 1)
    milliseconds = round(fraction * _MILLISECONDS)
    # Day 60 is 29 February 1900, which never was; days before it are counted from another beginning.
    if value < 0 or (int(day) == 60 and not is_1904):
        return Flaw.ERROR
    since_midnight = timedelta(milliseconds=milliseconds)
    if day == 0 and milliseconds < _MILLISECONDS:
        return (_FROM_1904 + since_midnight).time()
    epoch = _FROM_1904 if is_1904 else _FROM_1900 if day > 60 else _BEFORE_MARCH
    try:
        return epoch + timedelta(days=day) + since_midnight
    except OverflowError:
        return Flaw.ERROR


# --- texts -------------------------------------------------------------------------------------------------------


def unescape(text: str) -> str:
    """Return what *text* of the XML says: `_xHHHH_` is the UTF-16 code unit HHHH (ST_Xstring, 22.9.2.19).

    Each escape is undone once, so `_x005F_x000D_` is `_x000D_`. Half of a surrogate pair stays as it is written.
    """
    if "_x" not in text:
        return text
    found = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    try:
        return found.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        return _ESCAPE.sub(lambda m: m[0] if 0xD800 <= (code := int(m[1], 16)) < 0xE000 else chr(code), text)


# --- XML ---------------------------------------------------------------------------------------------------------


class _PartReader:
    """Hears of the elements of one part, by their local names: there are two sets of namespaces, and many prefixes."""

    def start(self, name: str, attributes: dict[str, str]) -> None: ...
    def end(self, name: str) -> None: ...
    def data(self, text: str) -> None: ...


def _feed(part: IO[bytes], reader: _PartReader) -> Iterator[None]:
    """Read *part* to its end; yield after each piece, when the *reader* has heard of its elements."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True

    def refuse(*_: object) -> None:
        raise DamageError("it declares a document type, which no workbook has")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = lambda name, attributes: reader.start(name.rpartition(" ")[2], attributes)
    parser.EndElementHandler = lambda name: reader.end(name.rpartition(" ")[2])
    parser.CharacterDataHandler = reader.data
    while chunk := part.read(CHUNK):
        parser.Parse(chunk, False)
        yield
    parser.Parse(b"", True)
    yield


class _ElementsReader(_PartReader):
    def __init__(self) -> None:
        self.found: list[tuple[str, str, dict[str, str]]] = []
        self._open: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.found.append((self._open[-1] if self._open else "", name, attributes))
        self._open.append(name)

    def end(self, name: str) -> None:  # noqa: ARG002
        self._open.pop()


class _RichText(_PartReader):
    """Puts a text together: its runs, without the reading aids beside them."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._pieces: list[str] | None = None  # of the element `t` that is open
        self._aids = 0
        self._length = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:  # noqa: ARG002
        if name == "rPh":
            self._aids += 1
        elif name == "t" and not self._aids:
            self._pieces = []

    def data(self, text: str) -> None:
        if self._pieces is not None:
            self._length += len(text)
            if self._length > LONGEST_TEXT:
                raise DamageError(f"a text has more than {LONGEST_TEXT:,} characters")
            self._pieces.append(text)

    def end(self, name: str) -> None:
        if name == "rPh":
            self._aids -= 1
        elif name == "t" and self._pieces is not None:
            self._parts.append(unescape("".join(self._pieces)))
            self._pieces = None

    def take(self) -> str:
        text = "".join(self._parts)
        self._parts.clear()
        self._length = 0
        return text


class _TextsReader(_RichText):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def end(self, name: str) -> None:
        super().end(name)
        if name == "si":
            self.texts.append(self.take())


@dataclass(slots=True)
class _Open:
    """The cell that is being read."""

    column: int
    place: str
    kind: str
    style: str
    is_formula: bool = False
    value: list[str] | None = None  # pieces of what stands in `v`; None without one
    length: int = 0
    text: str | None = None  # what stands in `is`


class _SheetReader(_PartReader):
    """Makes rows of the elements of a sheet."""

    def __init__(self, texts: list[str], styles: list[_Style], *, is_1904: bool, skip: int) -> None:
        self._texts, self._styles, self._is_1904, self._skip = texts, styles, is_1904, skip
        self._rows: list[list[Cell]] = []
        self._row: list[Cell] | None = None
        self._number = 0  # of the row
        self._cell: _Open | None = None
        self._is_value = False
        self._rich: _RichText | None = None

    def take_rows(self) -> list[list[Cell]]:
        rows, self._rows = self._rows, []
        return rows

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._rich is not None:
            self._rich.start(name, attributes)
        elif self._cell is not None:
            if name == "v":
                self._cell.value, self._is_value = [], True
            elif name == "f":
                self._cell.is_formula = True
            elif name == "is":
                self._rich = _RichText()
        elif self._row is not None:
            if name == "c":
                self._cell = self._begin_cell(attributes)
        elif name == "row":
            said = attributes.get("r", "")
            self._number = int(said) if _ROW.fullmatch(said) else self._number + 1
            self._row = []

    def data(self, text: str) -> None:
        if self._rich is not None:
            self._rich.data(text)
        elif self._is_value and self._cell is not None and self._cell.value is not None:
            self._cell.length += len(text)
            if self._cell.length > LONGEST_TEXT:
                raise DamageError(f"cell {self._cell.place} has more than {LONGEST_TEXT:,} characters")
            self._cell.value.append(text)

    def end(self, name: str) -> None:
        if self._rich is not None and name != "is":
            self._rich.end(name)
        elif self._cell is not None:
            if name == "v":
                self._is_value = False
            elif name == "is" and self._rich is not None:
                self._cell.text, self._rich = self._rich.take(), None
            elif name == "c":
                self._end_cell(self._cell)
                self._cell = None
        elif name == "row" and self._row is not None:
            if self._row and self._number > self._skip:
                self._rows.append(self._row)
            self._row = None

    def _begin_cell(self, attributes: dict[str, str]) -> _Open:
        assert self._row is not None
        place = attributes.get("r", "")
        column = len(self._row)
        if place:
            found = _PLACE.fullmatch(place)
            if found is None:
                raise DamageError(f"a cell of row {self._number:,} stands nowhere")
            column = 0
            for letter in found[1].upper():
                column = 26 * column + ord(letter) - 64
            column -= 1
        if column >= MOST_COLUMNS:
            raise DamageError(f"row {self._number:,} has more than {MOST_COLUMNS:,} columns")
        kind, style = attributes.get("t", "n"), attributes.get("s", "0")
        return _Open(column=column, place=place or f"{column + 1} of row {self._number:,}", kind=kind, style=style)

    def _end_cell(self, cell: _Open) -> None:
        assert self._row is not None
        value = self._value_of(cell)
        if value is not None:
            self._row.extend([None] * (cell.column + 1 - len(self._row)))
            self._row[cell.column] = value
        elif cell.column >= len(self._row):
            self._row.extend([None] * (cell.column + 1 - len(self._row)))

    def _value_of(self, cell: _Open) -> Cell:
        if cell.kind == "e":
            return Flaw.ERROR
        if cell.text is not None:
            return cell.text
        written = None if cell.value is None else "".join(cell.value)
        if cell.kind in ("str", "inlineStr") and written is not None:
            return unescape(written)
        if written is None or not written.strip():
            return Flaw.UNCOMPUTED if cell.is_formula else None
        return self._parsed(cell, written.strip())

    def _parsed(self, cell: _Open, written: str) -> Cell:
        match cell.kind:
            case "s":
                if written.isdecimal() and int(written) < len(self._texts):
                    return self._texts[int(written)]
            case "b":
                if written in ("1", "true", "0", "false"):
                    return written in ("1", "true")
            case "d":
                return _iso(written)
            case "n":
                return self._styled(cell, written)
        raise DamageError(f"cell {cell.place} has no value of its type")

    def _styled(self, cell: _Open, written: str) -> Cell:
        style = self._style(cell)
        if _NUMBER.fullmatch(written) is None:
            raise DamageError(f"cell {cell.place} has no number")
        if not math.isfinite(float(written)):
            return Flaw.ERROR
        number = int(written) if _INTEGER.fullmatch(written) else float(written)
        if style is _Shows.DATE:
            return _from_serial(float(number), is_1904=self._is_1904)
        if style is _Shows.DURATION:
            try:
                return timedelta(milliseconds=round(number * _MILLISECONDS))
            except OverflowError:
                return Flaw.ERROR
        if isinstance(style, int) and number == int(number):
            return PaddedInteger(value=int(number), width=style)
        return number

    def _style(self, cell: _Open) -> _Style:
        if cell.style.isdecimal() and int(cell.style) < len(self._styles):
            return self._styles[int(cell.style)]
        return _Shows.NUMBER  # a workbook without styles


def _iso(written: str) -> Cell:
    """Return the value of a cell of type date (ISO 8601), as a text when it is none of ours."""
    parsers: tuple[Callable[[str], Cell], ...] = (date.fromisoformat, datetime.fromisoformat, time.fromisoformat)
    for parse in parsers:
        try:
            found = parse(written.removesuffix("Z"))
        except ValueError:
            continue
        if isinstance(found, date) and not isinstance(found, datetime):
            return datetime.combine(found, time())
        return found if getattr(found, "tzinfo", None) is None else written
    return written

"""How things look in a terminal: tables, times, counters."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import click

from connrunner.core.model import Outcome
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.words import clean_for_terminal, is_safe_in_terminal

GAP = "  "
WIDE = 120  # columns of a terminal that does not say, a pipe or a file
NARROWEST = 24  # columns that the last column of a table keeps however narrow the terminal is

_COMMAND = re.compile(r"##(?=[A-Za-z]*\[)")

COLOURS = {
    Outcome.SUCCEEDED: "green",
    Outcome.PARTIAL: "yellow",
    Outcome.FAILED: "red",
    Outcome.STOPPED: "yellow",
    Outcome.INTERRUPTED: "red",
    Outcome.SKIPPED: "red",
    Outcome.HELD: "yellow",
}


clean = clean_for_terminal  # by its short name: nearly every command prints with it


def without_commands(text: str) -> str:
    """Return *text* without what a runner of continuous integration obeys wherever it stands in a line.

    GitHub's and Azure's runners look for `##[command]` and `##vso[command]` in all that a step prints. It stays as wide
    as it was.
    """
    return _COMMAND.sub("# ", text)


def json_without_commands(text: str) -> str:
    """Return JSON that says the same as *text*, without what `without_commands` takes away."""
    return _COMMAND.sub(r"#\\u0023", text)


def as_json(data: Any, *, indent: int | None = None) -> str:
    """Return *data* as JSON that a terminal can show: what `clean` replaces becomes an escape."""
    lines = json.dumps(data, ensure_ascii=False, indent=indent).split("\n")
    return "\n".join(map(_escaped, lines))


def _escaped(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(char if is_safe_in_terminal(char) else json.dumps(char)[1:-1] for char in line)


def terminal_width() -> int:
    """Return how many columns there are to write in."""
    return shutil.get_terminal_size((WIDE, 24)).columns if sys.stdout.isatty() else WIDE


@dataclass(frozen=True, slots=True)
class ColouredCell:
    """A cell of a table in a colour; plain where colours are not wanted."""

    text: str
    colour: str


Cell = str | ColouredCell


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]], *, right: Collection[int] = ()) -> str:
    """Return a table that fits the terminal by wrapping its last column; columns in *right* are set to the right."""
    cells: list[list[Cell]] = [[title.upper() for title in head], *[[*row] for row in rows]]
    texts = [[_one_line(cell.text if isinstance(cell, ColouredCell) else cell) for cell in row] for row in cells]
    widths = [max(display_width(row[column]) for row in texts) for column in range(len(head))]
    before = sum(widths[:-1]) + len(GAP) * (len(head) - 1)
    last = max(NARROWEST, terminal_width() - before)
    lines = []
    for row, words in zip(cells, texts, strict=True):
        start = ""
        for column, (cell, text) in enumerate(zip(row[:-1], words[:-1], strict=True)):
            coloured = click.style(text, fg=cell.colour) if isinstance(cell, ColouredCell) else text
            space = " " * (widths[column] - display_width(text))
            start += (space + coloured if column in right else coloured + space) + GAP
        wrapped = wrap(words[-1], last) or [""]
        lines.append((start + wrapped[0]).rstrip())
        lines.extend(" " * before + more for more in wrapped[1:])
    return "\n".join(lines)


def display_width(text: str) -> int:
    """Return how many columns of a terminal *text*, without control characters, takes."""
    if text.isascii():
        return len(text)
    import wcwidth  # its tables are slow to import

    return wcwidth.width(text)


def wrap(text: str, width: int) -> list[str]:
    """Return *text* in lines of at most *width* columns, broken at spaces where that is possible."""
    if text.isascii():
        return textwrap.wrap(text, width, break_on_hyphens=False)
    import wcwidth

    return wcwidth.wrap(text, width, break_on_hyphens=False)


def _one_line(text: str) -> str:
    return clean(text).replace("\n", " ").replace("\t", " ")


def outcome(value: Outcome) -> ColouredCell:
    """Return the word for an outcome, in its colour."""
    return ColouredCell(str(value), COLOURS[value])


def bar(done: int, of: int | None, width: int = 24) -> str:
    """Return a progress bar, or a blank one when it is not known how much there is."""
    if not of:
        return "·" * width
    filled = min(width, width * done // of)
    return "█" * filled + "·" * (width - filled)

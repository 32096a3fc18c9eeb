"""One JSON document that holds a list becomes JSON lines, read as a stream: never more than one item is in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from connrunner.errors import RunError
from connrunner.profiles.readers.jsonlines import LONGEST_LINE
from connrunner.profiles.readers.normalize import NormalizedFile, find_decoding_error
from connrunner.profiles.readers.survey import Survey
from connrunner.profiles.temporary_files import choose_path, open_private
from connrunner.text.json_stream import JsonStream, JsonStreamError
from connrunner.text.words import listed, nearest, plural

KEYS = 1000  # of an object that are remembered for a message
PROGRESS_EVERY = 10_000  # items

_WORD = re.compile(r"[^\W\d](?:[^\W\d]|[.$-]){0,39}")  # a name of ours, not the number or address of somebody
_LINE_ENDS = str.maketrans("\n\r", "  ")


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
                    raise document.size_error(f"a value that is longer than {LONGEST_LINE:,} bytes")
                target.write(line + b"\n")
                count += 1
                if count % PROGRESS_EVERY == 0:
                    on_progress(count, round(count * file.size / max(document.offset, 1)))
    except JsonStreamError as error:
        raise document.explain(error) from None
    except UnicodeDecodeError as error:
        raise find_decoding_error(file.path, file.name) or error from None
    survey = Survey(lines=count, nul=file.nul)
    return NormalizedFile(path=copy, name=file.name, size=copy.stat().st_size, survey=survey, nul=file.nul), count


class _Document:
    """A file's document, and where in it something is wrong."""

    def __init__(self, text: TextIO, file: NormalizedFile) -> None:
        self._file = file
        self._stream = JsonStream(text, longest=LONGEST_LINE)

    @property
    def offset(self) -> int:
        """How many characters were read."""
        return self._stream.offset

    def items(self, path: list[str]) -> Iterator[str]:
        """Yield the text of each item of the list at *path*, and read on to the end of the document."""
        stream = self._stream
        if not stream.next_character():
            raise RunError(f"{self._file.name} is empty", hint="see why its sender wrote nothing", code="empty-file")
        for depth, key in enumerate(path):
            self._go_to(path, depth, key)
        if stream.next_character() != "[":
            raise self._no_list_error(path)
        for _ in stream.visit_members("]"):
            yield stream.read_value()
        for key in reversed(path):
            while stream.has_another("}"):
                # The last of two members counts, and the rows of the first one are written already.
                if stream.read_key() == key:
                    reason = f"{'.'.join(path)} stands there twice"
                    raise self._malformed_error(reason, "ask its sender which one counts")
                stream.skip_value()
        if stream.next_character():
            hint = "set `format: {type: jsonl}`" if not path else ""
            raise self._malformed_error("something follows the end of the document", hint)

    def explain(self, error: JsonStreamError) -> RunError:
        """Return *error* with its place, for people."""
        return self.size_error(error.reason) if error.is_too_large else self._malformed_error(error.reason)

    def size_error(self, reason: str) -> RunError:
        return RunError(
            f"{self._file.name} holds {reason}, before character {self.offset + 1:,}",
            hint="set the `rows` of `format` to the list that holds the rows",
            code="too-long",
        )

    def _go_to(self, path: list[str], depth: int, wanted: str) -> None:
        """Go to the value of the member *wanted* of the object that begins here."""
        place = ".".join(path[:depth]) or "the document"
        if self._stream.next_character() != "{":
            raise self._missing_error(f"{place} is no object, so it has no {wanted!r}", "")
        seen: list[str] = []
        for _ in self._stream.visit_members("}"):
            key = self._stream.read_key()
            if key == wanted:
                return
            if len(seen) < KEYS:
                seen.append(key)
            self._stream.skip_value()
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
        if self._stream.next_character() == "{":
            hint = "name the list in it, like `format: {type: json, rows: data.items}`"
            return self._missing_error("the document is an object, not a list", hint)
        self._stream.read_value()  # no JSON at all, more often than not
        return self._missing_error("the document is no list", "set another `format`")

    def _malformed_error(self, reason: str, hint: str = "") -> RunError:
        where = f"in line {self._stream.line:,}, at character {self.offset + 1:,}"
        return RunError(
            f"{self._file.name} is not sound JSON: {reason} {where}",
            hint=hint or "fetch or send it again",
            code="malformed-json",
        )


def _describe_keys(keys: list[str]) -> str:
    """Return the *keys* that are words: those of an object may be numbers or addresses of people, too."""
    told = [key for key in keys if _WORD.fullmatch(key)][:20]
    if others := len(keys) - len(told):
        return listed([*map(repr, told), f"{others} more" if told else plural(others, "other member")])
    return listed(map(repr, told))

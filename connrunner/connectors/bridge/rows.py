"""Rows that a program hands over one message at a time become files of JSON lines."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

from connrunner.connectors import RunContext, Settings
from connrunner.connectors.quota import FetchQuota
from connrunner.core import instant
from connrunner.core.model import Format, LocalFile
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.exact_json import decode_exactly, encode_exactly
from connrunner.text.nesting import MAX_VALUES, parse_json
from connrunner.text.words import plural


@dataclass(frozen=True, slots=True)
class SpokenRow:
    """A row as a program handed it over."""

    text: bytes  # a JSON object without a line end in it
    is_deleted: bool = False  # the source says that there is no such row any more


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordForm:
    """How a protocol writes a record, so that the row in it is found without building the message up and down again."""

    head: re.Pattern[bytes]  # all before the row; its group is the name of the stream, as JSON
    tail: re.Pattern[str]  # all behind the row, to the end of the line
    deleted: str  # the member that says, by any value but null, when the source lost the row

    def stream(self, line: bytes) -> tuple[bytes, int] | None:
        """Return the name of the stream, as JSON, and where the row begins; None for a line of another form."""
        found = self.head.match(line)
        return (found[1], found.end()) if found else None

    def row(self, line: bytes, start: int) -> SpokenRow | None:
        """Return the row that begins at *start*, as it stands there; None when the line is not exactly of this form."""
        try:
            text = line[start:].decode()
            value, end = parse_json(text, _parsed, most_values=MAX_VALUES)
        except ValueError:
            return None
        if not isinstance(value, dict) or not self.tail.fullmatch(text, end):
            return None
        row = text[:end]
        if "\r" in row:
            return None  # a reader of lines may take it for a line's end
        return SpokenRow(row.encode(), self._is_deleted(value))

    def rebuild_row(self, line: bytes, *place: str) -> SpokenRow:
        """Return the object at *place* of the message *line*, in one line, its numbers as they are spelt."""
        try:
            row = _go_to(parse_json(line, decode_exactly), place)
            text = encode_exactly(row)
        except ValueError:  # NaN: who reads the rows refuses this one
            row = _go_to(json.loads(line), place)
            text = json.dumps(row)
        # Half of a pair of surrogates is in no encoding: as an escape it refuses its row alone.
        return SpokenRow(text.encode("utf-8", "backslashreplace"), self._is_deleted(row))

    def _is_deleted(self, row: Mapping[str, Any]) -> bool:
        return row.get(self.deleted) is not None


def _go_to(value: Any, place: Sequence[str]) -> Any:
    for key in place:
        value = value[key]
    return value


_parsed = json.JSONDecoder().raw_decode


class RowSpool:
    """The rows of one stream, in files in the order in which they came."""

    def __init__(self, context: RunContext, settings: Settings, name: str) -> None:
        self.rows = 0
        self.deleted = 0  # rows that the source has lost: they make and change no profile
        self._quota = FetchQuota(settings, context.spool)
        self._context = context
        self._name = name
        self._files: list[tuple[Path, Format]] = []
        self._open: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open is not None:
            with suppress(OSError):  # a full disk was told already
                self._open.close()

    @property
    def files(self) -> int:
        """How many files there are, those that were adopted among them."""
        return len(self._files)

    def write(self, row: SpokenRow) -> None:
        """Add one row, or count it when it is deleted; RunError when these are too many."""
        if row.is_deleted:
            self.deleted += 1
            return
        self._quota.take(len(row.text) + 1, self._name)
        try:
            file = self._open or self._new()
            file.write(row.text)
            file.write(b"\n")
        except OSError as error:
            raise self._unwritable(error) from error
        self.rows += 1

    def adopt(self, path: Path, form: Format) -> None:
        """Add the file *path* of rows behind those that came so far; it is linked or copied, and stays where it is."""
        self._shut()
        suffix = "." + form.type + {"gzip": ".gz", "zstd": ".zst"}.get(form.compression, "")
        taken = self._next(suffix)
        try:
            try:
                os.link(path.resolve(), taken)
            except OSError:  # another file system, or one without links
                shutil.copyfile(path, taken)
        except OSError as error:
            raise self._unwritable(error) from error
        self._files.append((taken, form))

    def tell_deleted(self) -> None:
        """Say how many rows the source has lost, if any."""
        if self.deleted:
            message = f"left out: {plural(self.deleted, 'record')} that the source marks as deleted"
            self._context.report.message(message, level="warning", deleted=self.deleted)

    def tell(self) -> None:
        """Say how many rows there are so far."""
        self._context.report.progress("read", self.rows)

    def close(self, *, once: bool) -> tuple[LocalFile, ...]:
        """Return the files; *once* tells whether the source will not hand over the same rows again."""
        self._shut()
        return tuple(
            LocalFile(
                path=str(path),
                name=self._name if number == 1 else f"{self._name} ({number})",
                size=path.stat().st_size,
                modified=instant.text(self._context.at),
                format=form,
                once=once,
            )
            for number, (path, form) in enumerate(self._files, 1)
        )

    def _new(self) -> BinaryIO:
        path = self._next(".jsonl")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._open = open(descriptor, "wb", buffering=1 << 20)  # noqa: PTH123, SIM115 - closed by `_shut`
        self._files.append((path, Format(type="jsonl", compression="none")))
        return self._open

    def _next(self, suffix: str) -> Path:
        return self._context.spool.absolute() / f"rows-{len(self._files) + 1}{suffix}"

    def _shut(self) -> None:
        if self._open is not None:
            try:
                self._open.close()
            except OSError as error:
                raise self._unwritable(error) from error
            self._open = None

    def _unwritable(self, error: OSError) -> RunError:
        return RunError(
            f"cannot keep the rows in {self._context.spool}: {error.strerror}",
            hint="make room there",
            code="unwritable",
            waiting_helps=True,
        )

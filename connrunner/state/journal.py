"""The journal: one durable line for each transition, and where everything stands after the last of them."""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connrunner.core import instant, run_records
from connrunner.core.alerts.on_attention import AttentionFinding
from connrunner.core.planning.due import recorded_by
from connrunner.errors import StateError
from connrunner.state.folder import StateFolder, recording
from connrunner.state.journal_state import JournalState, apply_record, as_snapshot
from connrunner.state.untold import UntoldDamage, note_untold
from connrunner.text.files import append_durably, append_whole, open_own, replace_file, sync_folder
from connrunner.text.nesting import parse_json
from connrunner.text.regular_files import open_regular, read_regular
from connrunner.text.words import plural

VERSION = 1
ROTATE_AT = 1 << 20  # bytes beyond the snapshot before the journal starts anew with a snapshot

LONGEST = 1 << 30  # bytes that are read at once

Record = Mapping[str, Any]


# The end of each line: a checksum of what stands before it, so that no damage passes for a record.
CHECKED = b',"crc":"'
ENDING = len(CHECKED) + 8 + len(b'"}')


class Journal:
    """The journal of a state folder, read to its end. Appends ask for the state lock."""

    def __init__(self, folder: StateFolder) -> None:
        self.folder = folder
        self.path = folder.journal
        self.aside = folder.root / "journal.damaged"
        self._copy = folder.root / "journal.snapshot"  # of the snapshot that the journal begins with
        self.state = JournalState()
        self._damaged: list[tuple[int, bytes]] = []  # whole lines that are no records, and where
        self._offset = 0  # where the next record begins
        self._snapshot = 0  # size of the snapshot that the journal begins with
        self._identity: tuple[int, int] | None = None
        self._is_settled = False

    def read(self) -> JournalState:
        """Read what has been added since the last call, and return where everything stands.

        Needs no lock: a line that is not complete yet is left for later. A rotated journal is read from its start.
        """
        if self._identity is None:
            self.folder.refuse_newer()
        try:
            with open_own(self.path) as file:
                status = os.fstat(file.fileno())
                identity = (status.st_dev, status.st_ino)
                if identity != self._identity or status.st_size < self._offset:
                    self.state, self._offset, self._identity, self._damaged = JournalState(), 0, identity, []
                if status.st_size - self._offset > LONGEST:
                    raise OSError(errno.EFBIG, f"it has {status.st_size:,} bytes, which no journal has")
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return self.state
        except OSError as error:
            raise StateError(
                f"the journal {self.path} cannot be read: {error.strerror}",
                hint="fix the file system, or put back a copy of it",
            ) from error
        end = data.rfind(b"\n") + 1
        for line in data[:end].split(b"\n")[:-1]:
            self._take(line)
        return self.state

    def open(self) -> JournalState:
        """Read to the end; keep bytes that are no record aside, and note each once, to be told. Hold the state lock."""
        self.read()
        with recording(self.path):
            if not self.path.exists():
                replace_file(self.path, b"")
            if not self.path.stat().st_size and has_histories(self.folder):
                self._begin_after_loss()
                self.read()  # else what it wrote would be taken for the rest of a line that a crash cut off
            if self.path.stat().st_size > self._offset:
                self._set_aside_tail()
            self._set_aside_lines()
            self._settle()
        return self.read()

    def append(self, *records: Record) -> JournalState:
        """Add *records* durably, by one write; they are in the standing when this returns. Hold the state lock."""
        self.open()
        with recording(self.path):
            self._write(*records)
        return self.read()

    def _settle(self) -> None:
        """Make durable what a killed process wrote and did not sync: no process may act on what can still go."""
        if self._is_settled:
            return
        descriptor = open_regular(self.path)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        self._is_settled = True

    def _write(self, *records: Record) -> None:
        descriptor = open_regular(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            data = b"".join(_line(record) for record in records)
            append_whole(descriptor, data, os.fstat(descriptor).st_size)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def rotate(self, at: str, *, size: int = ROTATE_AT) -> bool:
        """Start the journal anew with a snapshot when it has grown by *size* bytes. Hold the state lock.

        Its records are kept as a segment of the decisions.
        """
        self.open()
        if self._offset - self._snapshot < max(size, 2 * self._snapshot):
            return False
        from connrunner.state import journal_segments  # a tick that rotates nothing needs no compression

        with recording(self.path):
            journal_segments.add_segment(self.folder, read_regular(self.path, LONGEST)[self._snapshot : self._offset])
            self._forget_former()
            snapshot = _line({"type": "snapshot", "at": at, **as_snapshot(self.state)})
            replace_file(self._copy, snapshot)
            replace_file(self.path, snapshot)
        self.read()
        return True

    def _forget_former(self) -> None:
        """Forget the promises of connections that are gone, have no past, and of which no slot was recorded."""
        former = self.state.former
        # A slot may be recorded and in no history: its run works still, or was taken out of the queue.
        kept = {name for name in former if recorded_by(former[name]) or self.folder.history(name).exists()}
        self.state.former = {name: former[name] for name in former if name in kept}

    @property
    def size(self) -> int:
        """Bytes of whole records."""
        return self._offset

    def _take(self, line: bytes) -> None:
        offset, self._offset = self._offset, self._offset + len(line) + 1
        if not line:
            return
        try:
            record = read_record(line)
            if record.get("type") == "snapshot":
                self._snapshot = self._offset
            apply_record(self.state, record)
        except NewerError as error:
            raise StateError(
                f"{self.path}: a newer connrunner wrote the record at byte {offset} (version {error})",
                hint="use that version again; nothing was changed",
            ) from None
        except run_records.MALFORMED:
            self._damaged.append((offset, line))
            if offset == 0:
                self._stand_in(line)

    def _stand_in(self, line: bytes) -> None:
        """Take the copy of a snapshot for the damaged *line*, where it is the copy of that one."""
        with suppress(OSError, NewerError, *run_records.MALFORMED):
            copy = read_regular(self._copy, LONGEST).rstrip(b"\n")
            if len(copy) == len(line):
                apply_record(self.state, read_record(copy))
                self._snapshot = self._offset

    def _set_aside_tail(self) -> None:
        """A crash in the middle of a write leaves part of a line: keep the bytes, cut them off the journal."""
        descriptor = open_regular(self.path, os.O_RDWR)
        try:
            tail = os.pread(descriptor, os.fstat(descriptor).st_size - self._offset, self._offset)
            self._keep(tail, self._offset)
            os.ftruncate(descriptor, self._offset)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(self.path.parent)

    def _begin_after_loss(self) -> None:
        """Begin anew where runs have ended, and so there was a journal: record that this is known."""
        lost = "promises, waiting runs and mail that was owed are not known any more"
        found = f"{self.path} is gone or empty, and runs have ended before: {lost}; it begins anew"
        self._note(found, "see what took it away: a backup, a disk, a clean-up")
        self._write({"type": "damaged", "offset": 0, "length": 0, "at": instant.text(datetime.now(UTC))})

    def _set_aside_lines(self) -> None:
        """Keep copies of damaged lines, and record that they are known; they stay where they are."""
        for offset, line in self._damaged:
            if offset not in self.state.damaged:
                self._keep(line, offset, ending=1)
                self._write({"type": "damaged", "offset": offset, "length": len(line) + 1})
        self._damaged.clear()

    def _note(self, found: str, remedy: str) -> None:
        finding = AttentionFinding(about="journal.jsonl", found=found, remedy=remedy)
        note_untold(self.folder, [UntoldDamage(finding=finding)])

    def _keep(self, data: bytes, offset: int, *, ending: int = 0) -> None:
        """Keep *data* aside, which stands at *offset* with an end of line of *ending* bytes, and note it to be told."""
        append_durably(self.aside, data + b"\n")
        text = f"{plural(len(data) + ending, 'byte')} at byte {offset:,} without a record"
        found = f"{self.path} had {text}; they are kept in {self.aside}"
        self._note(found, "see what they were; move them away once you know why")


def has_histories(folder: StateFolder) -> bool:
    """Tell whether any run has ended, by the histories."""
    with suppress(OSError), os.scandir(folder.runs) as scan:
        return any(_has_bytes(folder.history(entry.name)) for entry in scan)
    return False


def _has_bytes(path: Path) -> bool:
    try:
        return path.lstat().st_size > 0
    except OSError:
        return False


class NewerError(Exception):
    """A record of a version that this one does not know."""


def read_record(line: bytes) -> dict[str, Any]:
    """Return the record that *line* is; one of `MALFORMED` when it is none, NewerError of a newer version."""
    if line[-ENDING : len(CHECKED) - ENDING] == CHECKED:
        body, crc = line[:-ENDING], line[len(CHECKED) - ENDING : -2]
        if b"%08x" % zlib.crc32(body) != crc:
            raise ValueError("its checksum is wrong")
        line = body + b"}"
    record = parse_json(line)
    if type(record["v"]) is not int:
        raise TypeError("its version is no number")
    if record["v"] > VERSION:
        raise NewerError(record["v"])
    return dict(record)


def _line(record: Record) -> bytes:
    text = json.dumps({"v": VERSION, **record}, ensure_ascii=False, separators=(",", ":"))
    body = text.encode("utf-8", "backslashreplace").removesuffix(b"}")
    return body + CHECKED + b'%08x"}\n' % zlib.crc32(body)

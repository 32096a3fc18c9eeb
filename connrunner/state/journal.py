"""The journal: one durable line for each transition, and where everything stands after the last of them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connrunner.errors import StateError
from connrunner.state import standing
from connrunner.state.folder import StateFolder, recording, replace_file, sync_folder, write_all
from connrunner.state.standing import Standing

VERSION = 1
ROTATE_AT = 1 << 20  # bytes beyond the snapshot before the journal starts anew with a snapshot

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of the journal that are no record."""

    offset: int
    length: int
    kept_in: Path | None = None


class Journal:
    """The journal of a state folder, read to its end. Appends ask for the state lock."""

    def __init__(self, folder: StateFolder) -> None:
        self.folder = folder
        self.path = folder.journal
        self.aside = folder.root / "journal.damaged"
        self.standing = Standing()
        self.damage: list[Damage] = []
        self._offset = 0  # where the next record begins
        self._snapshot = 0  # size of the snapshot that the journal begins with
        self._identity: tuple[int, int] | None = None

    def read(self) -> Standing:
        """Read what has been added since the last call, and return where everything stands.

        Needs no lock: a line that is not complete yet is left for later. A rotated journal is read from its start.
        """
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                identity = (status.st_dev, status.st_ino)
                if identity != self._identity or status.st_size < self._offset:
                    self.standing, self._offset, self._identity, self.damage = Standing(), 0, identity, []
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return self.standing
        except OSError as error:
            raise StateError(f"the journal {self.path} cannot be read: {error.strerror}") from error
        end = data.rfind(b"\n") + 1
        for line in data[:end].split(b"\n")[:-1]:
            self._take(line)
        return self.standing

    def open(self) -> Standing:
        """Read to the end and mend a torn last line: the bytes are kept aside. Hold the state lock."""
        self.read()
        with recording(self.path):
            if not self.path.exists():
                replace_file(self.path, b"")
            if self.path.stat().st_size > self._offset:
                self._set_aside_tail()
        self.read()
        return self.standing

    def append(self, *records: Record) -> Standing:
        """Add *records* durably, by one write; they are in the standing when this returns. Hold the state lock."""
        self.open()
        data = b"".join(_line(record) for record in records)
        with recording(self.path):
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                write_all(descriptor, data)
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        return self.read()

    def rotate(self, at: str, *, size: int = ROTATE_AT) -> bool:
        """Start the journal anew with a snapshot when it has grown by *size* bytes. Hold the state lock.

        Its records are kept as a segment of the decisions.
        """
        self.open()
        if self._offset - self._snapshot < max(size, 2 * self._snapshot):
            return False
        from connrunner.state import decisions  # a tick that rotates nothing needs no compression

        with recording(self.path):
            decisions.keep(self.folder, self.path.read_bytes()[self._snapshot : self._offset])
            replace_file(self.path, _line({"type": "snapshot", "at": at, **standing.as_dict(self.standing)}))
        self.read()
        return True

    @property
    def size(self) -> int:
        """Bytes of whole records."""
        return self._offset

    def _take(self, line: bytes) -> None:
        offset, self._offset = self._offset, self._offset + len(line) + 1
        try:
            record = json.loads(line)
            version = record["v"]
        except (ValueError, KeyError, TypeError):
            self.damage.append(Damage(offset, len(line) + 1))
            return
        if not isinstance(version, int) or version > VERSION:
            raise StateError(
                f"{self.path}: a newer connrunner wrote the record at byte {offset} (version {version})",
                hint="use that version again; nothing was changed",
            )
        if record.get("type") == "snapshot":
            self._snapshot = self._offset
        standing.apply(self.standing, record)

    def _set_aside_tail(self) -> None:
        """A crash in the middle of a write leaves part of a line: keep the bytes, cut them off the journal."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            tail = os.pread(descriptor, os.fstat(descriptor).st_size - self._offset, self._offset)
            aside = os.open(self.aside, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                write_all(aside, tail + b"\n")
                os.fsync(aside)
            finally:
                os.close(aside)
            os.ftruncate(descriptor, self._offset)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(self.path.parent)
        self.damage.append(Damage(self._offset, len(tail), self.aside))


def _line(record: Record) -> bytes:
    text = json.dumps({"v": VERSION, **record}, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace") + b"\n"

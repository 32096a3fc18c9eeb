"""
What a run has begun at the partner, durable before each step, so that the next run can find out what became of it.

In the ledger of the connection each run has a folder. `jobs.jsonl` has a line for each step: a job that was made, with
its id, and that it is about to be closed, after which it must never be uploaded again. `NUMBER.keys` beside it says
which rows are in a job: for each its place in the run's file and 16 bytes for its key, of which no value can be read
off.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from connrunner.connectors import RunContext
from connrunner.connectors.salesforce.upload_csv import Upload
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.text.files import replace_file, sync_folder

_ENTRY = struct.Struct(">I16s")


@dataclass(kw_only=True, slots=True)
class NotedJob:
    """One job as the ledger knows it."""

    number: int
    id: str
    org: str  # the host that has it
    key_column: str  # of its results; empty when a whole row is the key
    columns: list[str] = field(default_factory=list)
    is_closed: bool = False  # it may have been closed


class JobLedger:
    """The jobs of one run."""

    def __init__(self, context: RunContext) -> None:
        self._root = context.open_ledger()
        self.folder = self._root / str(context.run)
        self._number = max((one.number for one in self.jobs()), default=0)

    def plan(self, upload: Upload) -> int:
        """Make durable which rows are in the next job, and return its number."""
        self._number += 1
        if not self.folder.exists():
            self.folder.mkdir(mode=0o700)
            sync_folder(self._root)
        entries = b"".join(map(_ENTRY.pack, upload.numbers, upload.keys))
        replace_file(self.folder / f"{self._number}.keys", entries)
        return self._number

    def note_made(self, job: NotedJob) -> None:
        """Make durable that the partner has given *job* its id."""
        made = {"job": job.number, "id": job.id, "org": job.org, "key": job.key_column, "columns": job.columns}
        self._append(made)

    def note_closing(self, job: NotedJob) -> None:
        """Make durable that *job* is whole and about to be closed: from here on its rows may be processed."""
        job.is_closed = True
        self._append({"job": job.number, "closing": True})

    def jobs(self) -> list[NotedJob]:
        """Return the jobs in the order in which they were made; a line that was cut off by a crash was never obeyed."""
        found: dict[int, NotedJob] = {}
        for line in self._lines():
            with suppress(ValueError, KeyError, TypeError):
                data = json.loads(line)
                number = int(data["job"])
                if "id" in data:
                    found[number] = NotedJob(
                        number=number,
                        id=str(data["id"]),
                        org=str(data["org"]),
                        key_column=str(data["key"]),
                        columns=list(map(str, data["columns"])),
                    )
                elif number in found:
                    found[number].is_closed = True
        return list(found.values())

    def rows_of(self, job: NotedJob) -> Iterator[tuple[int, bytes]]:
        """Yield place and key of each row of *job*; RunError when that is damaged."""
        try:
            content = (self.folder / f"{job.number}.keys").read_bytes()
            yield from _ENTRY.iter_unpack(content)
        except (OSError, struct.error) as error:
            raise RunError(
                f"{self.folder}/{job.number}.keys cannot be read, and it says which rows went into job {job.id}",
                hint="put it back from a backup",
                code="no-ledger",
            ) from error

    def forget_others(self) -> None:
        """Remove what is here of other runs: they are settled."""
        for folder in self._root.iterdir():
            if folder.name.isdigit() and folder.name != self.folder.name:
                shutil.rmtree(folder, ignore_errors=True)

    def _lines(self) -> list[str]:
        try:
            return (self.folder / "jobs.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def _append(self, data: dict[str, object]) -> None:
        path = self.folder / "jobs.jsonl"
        is_new = not path.exists()
        line = json.dumps(data, separators=(",", ":")).encode() + b"\n"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not is_new and not _ends_whole(path):
                line = b"\n" + line  # what a crash cut off must not swallow this one
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            sync_folder(self.folder)


def _ends_whole(path: Path) -> bool:
    content = path.read_bytes()
    return content.endswith(b"\n") or not content

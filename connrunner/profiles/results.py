"""What an import or an export of the profile store did."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from connrunner.core.counts import Counts
from connrunner.lazy_dataclasses import dataclass
from connrunner.profiles.jobs import RunStamp


@dataclass(frozen=True, kw_only=True, slots=True)
class FileResult:
    """What became of one file of an import."""

    name: str
    status: Literal["imported", "retried", "skipped"]  # retried: only the rows that were refused last time
    counts: Counts

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "status": self.status, **self.counts.as_dict()}


NAMED_FILES = 20  # that the history of a run names; its log names each


def list_told_files(files: Sequence[FileResult]) -> dict[str, Any]:
    """
    Return what the history of a run says of its *files*: of many, the ones that matter most, and how many more.

    Those with refused rows come before those that were read, and these before those that were skipped.
    """
    weighed = sorted(files, key=lambda file: (not file.counts.refused, file.status == "skipped"))
    chosen = set(map(id, weighed[:NAMED_FILES]))
    named = [file.as_dict() for file in files if id(file) in chosen]
    return {"files": named} if len(named) == len(files) else {"files": named, "more_files": len(files) - len(named)}


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedRun:
    """A run whose changes are in the store, as their transaction recorded it."""

    kind: str  # import, export or undo
    counts: Counts
    detail: Mapping[str, Any]  # what is told of the run beside its counters, as plain JSON; a store of 0.1 has none

    def as_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "counts": self.counts.as_dict(), "detail": dict(self.detail)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One value that an import would change; values are not masked: only the person who asks may see them."""

    profile: str  # what the row calls it: email=ann@example.com
    property: str  # or `consent to newsletter`
    old: str | None  # None: there is no value
    new: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One row that an export would send; a dry run, which only the person who asks sees, masks no value."""

    counted_as: str  # created, updated or deleted
    profile: str  # its identifiers: email=ann@example.com
    values: Mapping[str, str | None]  # by column, as text; None: there is no value


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldChange:
    """What a run would change, and does not: somebody has to approve it."""

    reasons: tuple[str, ...]  # why it is held, in words
    counts: Counts  # that the run would have
    work: str  # a fingerprint of the settings that decide what is done
    source: str  # a digest of what was read; an export reads nothing but the store
    changes: str  # a digest of all values that would change, old and new, and of the counters
    properties: Mapping[str, int]  # in how many profiles each would change; those with most of them
    more_properties: int = 0
    columns: tuple[str, ...] = ()  # that the files have
    rows: tuple[Difference, ...] = ()  # the first ones; what is personal is masked
    samples: tuple[Sample, ...] = ()  # of an export: the first rows that would go; the same

    @property
    def digest(self) -> str:
        """Equal for two runs that would do the same."""
        return hashlib.sha256(f"{self.work} {self.source} {self.changes}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportResult:
    """What an import did; *counts* is the sum over its *files*, the rows retained from earlier runs among them."""

    counts: Counts
    files: tuple[FileResult, ...]
    differences: tuple[Difference, ...] = ()  # the first ones that a dry run found
    held: HeldChange | None = None  # with it, nothing was changed
    columns: tuple[str, ...] = ()  # that the files have


@dataclass(frozen=True, kw_only=True, slots=True)
class UndoResult:
    """
    What the undoing of an import did.

    read = the profiles that the import had created or changed and that are still there; deleted = those that it had
    created, and that nobody changed since; updated = those in which anything came back; unchanged = the others.
    """

    counts: Counts
    detail: Mapping[str, Any]  # as the store recorded it: `undone`, `superseded` and the reason
    superseded: int  # values, and profiles that the import had created, which stay as they are
    differences: tuple[Difference, ...] = ()  # the first ones that a dry run found


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportResult:
    """
    What an export wrote, supposed that the partner takes all of it; `confirm_export` returns the final counters.

    read = profiles in the store, and those that are gone from it and that the partner should delete (`deleted: send`);
    filtered = left out by `where`; consent_blocked = lacking consent; deleted = sent before and selected no more, which
    counts as filtered or consent_blocked with `deleted: skip`; created = not sent before; updated = sent before with
    other values, or refused by the partner the last time; unchanged = sent before with the same values, so left out now
    unless the export takes all rows.
    """

    counts: Counts
    rows_written: int  # created + updated + deleted, and the unchanged ones if the export takes all rows
    written: bool = True  # False: there was nothing to send and the export skips empty files, so there is no file
    samples: tuple[Sample, ...] = ()  # the first rows that change something for the partner, if asked for
    held: HeldChange | None = None  # with it, there is no file, and nothing was noted


@dataclass(frozen=True, kw_only=True, slots=True)
class UnconfirmedRows:
    """The rows that a run began to deliver and that nothing confirmed."""

    stamp: RunStamp
    rows: int  # of its file


class RefusedRow(Protocol):
    """A row that the partner refused."""

    @property
    def row(self) -> int:
        """Its place in the file, from 0; a header is not counted."""

    @property
    def code(self) -> str:
        """A stable kebab-case word."""

    @property
    def message(self) -> str:
        """What the partner said."""

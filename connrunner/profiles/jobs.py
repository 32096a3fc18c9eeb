"""What a run wants of the store, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from connrunner.core.model import Export, Format, Import, LocalFile
from connrunner.lazy_dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStamp:
    """Which run of which connection it is: the store records it with the run's changes."""

    connection: str
    run: int
    at: datetime  # when it started


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldRules:
    """When what a run would change is held back, and what people decided about that before."""

    is_reviewed: bool = False  # whatever would change is held
    work: str  # a fingerprint of the settings that decide what is done
    approval: Mapping[str, Any] | None = None  # who approved which run, and why; plain JSON for the record of the run
    approved: str = ""  # the digest of what was approved: exactly that is done, anything else is held
    declined: str = ""  # the digest of what was declined


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportJob:
    """The rows of *files*, in this order, are to become profiles. A file with an empty `path` is a known one."""

    work: Import
    files: Sequence[LocalFile]
    stamp: RunStamp
    rejects: Path  # names the rows that did not become profiles, as JSON lines; written only when there are any
    dry_run: bool = False  # do everything but keep the changes, and return the first differences
    mark: Any = None  # plain JSON that is saved with the rows; None saves nothing, so the earlier mark stays
    hold: HoldRules | None = None  # None: nothing is ever held


@dataclass(frozen=True, kw_only=True, slots=True)
class UndoJob:
    """What import number *run* of the connection of *stamp* changed is to be as it was."""

    run: int
    stamp: RunStamp  # of the run that undoes it
    reason: str = ""  # why, for its record
    rejects: Path  # names what does not come back, as JSON lines; written only when there is any
    dry_run: bool = False  # keep no change, and return the first differences


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportJob:
    """The selected profiles are to be written to the new file *path*."""

    work: Export
    stamp: RunStamp
    path: Path
    form: Format | None = None  # how the rows stand in the file when the destination decides it, else as *work* says
    samples: int = 0  # rows that are returned
    withdrawals: Path | None = None  # the file of erased people whom the partner has to delete, see `withdrawals`
    has_keys: bool = False  # the destination has a ledger of its own: each row has a key, a deleted one nothing else
    hold: HoldRules | None = None  # None: nothing is ever held
    can_settle: bool = False  # should the run be cut off, the destination can say later what became of the rows

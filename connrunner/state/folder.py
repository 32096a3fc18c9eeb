"""The state folder: where everything stands, made private, and errors that say what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connrunner.core.model import LEDGER_RESET
from connrunner.errors import StateError
from connrunner.lazy_dataclasses import dataclass
from connrunner.state import filesystem
from connrunner.text.files import explain_no_file, open_own, replace_file
from connrunner.text.regular_files import NotAFileError

RESERVE = ".end"
FORMAT = 1  # of the folder as a whole; it changes when an older connrunner could misread it


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The paths of a state folder. Folders are 0700 and files 0600: they hold personal data."""

    root: Path

    @property
    def journal(self) -> Path:
        return self.root / "journal.jsonl"

    @property
    def decisions(self) -> Path:
        return self.root / "decisions"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def requests(self) -> Path:
        return self.root / "requests"

    @property
    def compiled(self) -> Path:
        return self.root / "compiled"

    @property
    def profiles(self) -> Path:
        return self.root / "profiles.duckdb"

    @property
    def mail(self) -> Path:
        return self.root / "mail"

    @property
    def heartbeat(self) -> Path:
        return self.root / "heartbeat"

    @property
    def programs(self) -> Path:
        return self.root / "connectors"

    @property
    def handovers(self) -> Path:
        """The folder of the jobs of runs that live elsewhere."""
        return self.root / "handovers"

    def withdrawals(self, name: str) -> Path:
        """Return the file of the erased people whom the partner of the export *name* still has to delete."""
        return self.root / "withdrawals" / f"{name}.jsonl"

    def list_withdrawals(self) -> list[Path]:
        """Return the files of `withdrawals` that are there, by the names of their exports."""
        return sorted((self.root / "withdrawals").glob("*.jsonl"))

    def ledger(self, name: str) -> Path:
        """Return the folder in which the connector of the connection *name* keeps what its next run has to know."""
        return self.root / "ledgers" / name

    def doubt_ledger(self, name: str) -> None:
        """Let the next run of the connection *name* not believe what its ledger says of the partner."""
        if self.ledger(name).exists():
            with recording(self.ledger(name)):
                (self.ledger(name) / LEDGER_RESET).touch(mode=0o600)

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    def reserve(self, name: str, number: int) -> Path:
        """Return the file that keeps room for the end of a run that works."""
        return self.spool / f"{name}-{number}{RESERVE}"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def connection(self, name: str) -> Path:
        return self.runs / name

    def history(self, name: str) -> Path:
        return self.connection(name) / "history.jsonl"

    def run(self, name: str, number: int) -> Path:
        return self.connection(name) / str(number)

    def log(self, name: str, number: int) -> Path:
        return self.run(name, number) / "log.jsonl"

    def rejects(self, name: str, number: int) -> Path:
        return self.run(name, number) / "rejects.jsonl"

    @property
    def owner(self) -> Path:
        return self.root / "workspace.json"

    @property
    def format(self) -> Path:
        return self.root / "format"

    def prepare(self) -> None:
        """Create what is missing. StateError when the folder cannot be written, or must not be (see `filesystem`)."""
        with recording(self.root):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.refuse_newer()
            filesystem.refuse_without_locks(self.root)
            if not os.access(self.root, os.W_OK | os.X_OK):
                read_only = os.statvfs(self.root).f_flag & os.ST_RDONLY
                code = errno.EROFS if read_only else errno.EACCES
                raise OSError(code, os.strerror(code), str(self.root))
            filesystem.make_private(self.root)
            for folder in (self.locks, self.requests, self.compiled, self.runs, self.spool):
                try:
                    folder.mkdir(mode=0o700, exist_ok=True)
                except FileExistsError:
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
            if not self.format.exists():
                replace_file(self.format, b"%d\n" % FORMAT)

    def refuse_newer(self) -> None:
        """StateError when a newer connrunner has changed the form of this folder: we would misread it."""
        try:
            with open_own(self.format) as file:
                said = file.read(64).decode(errors="replace").strip()
        except OSError:
            return
        if said != str(FORMAT):
            # What is no number is not of our making, and nobody knows what it is: it is not quoted.
            which = f"format '{said}'" if said.isdecimal() and len(said) < 8 else "a format that is no number"
            raise StateError(
                f"the state folder {self.root} has {which}, and this connrunner knows {FORMAT}",
                hint="use the newer connrunner that wrote it; nothing was changed",
            )


@contextmanager
def recording(path: Path) -> Iterator[None]:
    """Turn an operating system's error while recording into a StateError that names the file and the reason.

    Nothing may start that cannot be recorded, so this is always the end of the tick.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or path
        word = f" ({errno.errorcode[error.errno]})" if error.errno and error.errno in errno.errorcode else ""
        reason = f"{error.strerror or error}{word}"
        if isinstance(error, NotAFileError):
            raise explain_no_file(error) from error
        raise StateError(
            f"the state cannot be written: {where}: {reason}",
            hint="make room or fix the file system; the next tick goes on from here",
        ) from error

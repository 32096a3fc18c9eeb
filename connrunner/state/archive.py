"""Old runs moved out of the state folder into one file: written, read back and compared, and only then removed."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

from connrunner.core.model import Keep
from connrunner.errors import ArgumentError, StateError
from connrunner.lazy_dataclasses import dataclass
from connrunner.state import locks, retention
from connrunner.state.folder import StateFolder
from connrunner.state.retention import CutOff
from connrunner.text.files import open_own, replacing

GZIP, ZSTD = (".tar.gz", ".tgz"), (".tar.zst",)
WAIT = 5.0  # seconds for a tick that removes old runs just now


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveSummary:
    """What went into the archive."""

    connections: int = 0
    runs: int = 0
    bytes: int = 0  # of the archive; 0 when there was nothing to archive, and no file was written


def archive_runs(
    folder: StateFolder, names: Iterable[str], to: Path, *, before: datetime, started: Mapping[str, int]
) -> ArchiveSummary:
    """Move the runs of *names* that ended before *before* to the new file *to*, but never the last run of any.

    *started* are the runs that work now. A crash leaves the state as it was, or an archive whose runs are still in the
    state: the next tick that keeps the past short, or the same command with another file, removes them. StateError
    when what is read back is not what was written; ArgumentError when the file cannot be made.
    """
    if to.exists():
        raise ArgumentError(f"{to} is there already", hint="name another file; nothing is written over")
    folder.prepare()
    with locks.hold_lock(folder, retention.LOCK, wait=WAIT):
        # A run that ended at the very instant stays.
        cuts = [cut for name in names if (cut := retention.find_cut_off(folder, name, Keep(days=0), now=before))]
        runs = {
            cut.connection: retention.list_expired_runs(folder, cut, working=started.get(cut.connection))
            for cut in cuts
        }
        if not cuts:
            return ArchiveSummary()
        try:
            with replacing(to, suffix="part") as part:
                written = _write(folder, cuts, runs, part.path, like=to)
                if _read_back(part.path, like=to) != written:
                    raise StateError(
                        f"{part.path} does not hold what was written to it",
                        hint="nothing was removed; is the disk sound?",
                    )
        except OSError as error:
            raise ArgumentError(f"{error.filename or to}: {error.strerror}", hint="nothing was removed") from error
        for cut in cuts:
            for number in runs[cut.connection]:
                shutil.rmtree(folder.run(cut.connection, number))
            retention.rewrite_history(folder, cut)
        return ArchiveSummary(connections=len(cuts), runs=sum(map(len, runs.values())), bytes=to.stat().st_size)


def _write(
    folder: StateFolder, cuts: list[CutOff], runs: Mapping[str, list[int]], path: Path, *, like: Path
) -> dict[str, tuple[int, str]]:
    """Write the archive; return the size and the hash of each file in it."""
    written: dict[str, tuple[int, str]] = {}
    with _packed(path, "wb", like=like) as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
        for cut in cuts:
            with open_own(folder.history(cut.connection)) as file:
                lines = file.read(cut.offset)
            _add(tar, f"runs/{cut.connection}/history.jsonl", io.BytesIO(lines), len(lines), written)
            for number in runs[cut.connection]:
                run = folder.run(cut.connection, number)
                for each in sorted(run.iterdir()):
                    if each.is_file() and not each.is_symlink():
                        with open_own(each) as content:
                            name = f"runs/{cut.connection}/{number}/{each.name}"
                            _add(tar, name, content, os.fstat(content.fileno()).st_size, written)
    return written


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int, written: dict[str, tuple[int, str]]) -> None:
    facts = tarfile.TarInfo(name)
    facts.size, facts.mode = size, 0o600
    hashing = _HashingFile(content)
    tar.addfile(facts, cast("IO[bytes]", hashing))
    written[name] = (size, hashing.digest.hexdigest())


class _HashingFile:
    """A file that remembers the hash of what was read from it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


def _read_back(path: Path, *, like: Path) -> dict[str, tuple[int, str]]:
    """Return the size and the hash of each file in the archive; none of them when it cannot be read."""
    found: dict[str, tuple[int, str]] = {}
    try:
        with _packed(path, "rb", like=like) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            for member in tar:
                content = tar.extractfile(member)
                assert content is not None
                found[member.name] = (member.size, hashlib.file_digest(cast("Any", content), "sha256").hexdigest())
    except (tarfile.TarError, EOFError, zlib.error):
        return {}
    return found


@contextmanager
def _packed(path: Path, mode: str, *, like: Path) -> Iterator[Any]:
    """Open the file *path*, which is ours, compressed as the name of *like* says."""
    flags = os.O_RDONLY if mode == "rb" else os.O_WRONLY | os.O_TRUNC
    with open(os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW), mode) as raw:  # noqa: PTH123 - a descriptor
        if os.fstat(raw.fileno()).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "another user has put a file there", str(path))
        if like.name.endswith(GZIP):
            import gzip

            with gzip.GzipFile(fileobj=raw, mode=mode) as packed:
                yield packed
        elif like.name.endswith(ZSTD):
            from connrunner.text.zstandard import zstd

            with zstd.ZstdFile(raw, mode=cast("Any", mode)) as packed:
                yield packed
        else:
            raise ArgumentError(f"{like.name} says no form", hint="end it with .tar.gz or .tar.zst")

"""What was decided: the records of the journal, and those that it held before it was rotated.

Only commands that people type read these; a tick adds a segment when it rotates the journal, and reads none.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from connrunner.core import instant, run_records
from connrunner.errors import StateError
from connrunner.lazy_dataclasses import dataclass
from connrunner.state.folder import StateFolder
from connrunner.text.files import open_own, replace_file
from connrunner.text.nesting import parse_json

KEPT = 64 << 20  # bytes of compressed segments; the oldest beyond that are removed
SUFFIX = ".jsonl.gz"


def add_segment(folder: StateFolder, data: bytes, *, kept: int = KEPT) -> None:
    """Keep *data*, whole lines of the journal, as a segment; remove the oldest segments beyond *kept* bytes.

    Called again after a crash it writes the same file: a segment is named after its first record.
    """
    first, _, _ = data.partition(b"\n")
    if not first:
        return
    home = folder.decisions
    home.mkdir(mode=0o700, exist_ok=True)
    newest = max((path.name for path in _segments(folder)), default="")
    name = f"{hashlib.sha256(first).hexdigest()[:12]}{SUFFIX}"
    # Numbered, not dated: a clock that went back must not change their order.
    name = newest if newest.endswith(name) else f"{int(newest[:8] or 0) + 1:08}-{name}"
    replace_file(home / name, gzip.compress(data, compresslevel=6, mtime=0))
    left = kept
    for path in reversed(_segments(folder)):
        left -= path.stat().st_size
        if left < 0 and path.name != name:
            path.unlink()


def read_records(folder: StateFolder, name: str = "") -> Iterator[dict[str, Any]]:
    """Yield what was recorded, oldest first; with *name* only the records in which that connection occurs.

    Snapshots are left out: the records before them say the same. So is what is no record.
    """
    wanted = json.dumps(name).encode() if name else b""
    for lines in _parts(folder):
        yield from _records_of(line for line in lines if wanted in line)


def _records_of(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if b'"type":"snapshot"' in line[:100]:  # the longest line of all need not be taken apart
            continue
        try:
            record = parse_json(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("type") != "snapshot":
            yield record


@dataclass(frozen=True, slots=True)
class RecordedPart:
    """Some of the records, in the order in which they were written."""

    path: Path

    @property
    def is_complete(self) -> bool:
        """True for what is not written any more: its records are the same as long as they are kept."""
        return self.path.name.endswith(SUFFIX)

    def read_lines(self) -> list[bytes]:
        """Return a line for each record; none when it was removed a moment ago."""
        return _lines_of(self.path)


def find_newest(lines: Sequence[bytes]) -> datetime | None:
    """Return when the last of *lines*, records of a part, was written; None when there is none."""
    return next(filter(None, map(_instant_of, reversed(lines))), None)


def list_parts_since(folder: StateFolder, since: datetime) -> Iterator[RecordedPart]:
    """Yield the parts that have records of *since* or later, the newest part first; the last one has older ones, too.

    What is asked of a day costs no more after a year.
    """
    for path in reversed([*_segments(folder), folder.journal]):
        part = RecordedPart(path)
        yield part
        begin = _begin_of_segment(str(path)) if part.is_complete else _find_begin(part)
        if begin is not None and begin < since:
            return


def read_records_since(folder: StateFolder, since: datetime) -> Iterator[dict[str, Any]]:
    """Yield what was recorded from *since* on, and some of before, oldest first; snapshots are left out."""
    for part in reversed(list(list_parts_since(folder, since))):
        yield from _records_of(part.read_lines())


@functools.lru_cache(maxsize=4096)
def _begin_of_segment(path: str) -> datetime | None:
    return _find_begin(RecordedPart(Path(path)))


def _find_begin(part: RecordedPart) -> datetime | None:
    """Return the instant of the first record of *part*; None when it has none."""
    return next(filter(None, map(_instant_of, part.read_lines())), None)


def _instant_of(line: bytes) -> datetime | None:
    if b'"type":"snapshot"' in line[:100]:
        return None
    try:
        record = parse_json(line)
        return None if record.get("type") == "snapshot" else instant.parse(record["at"])
    except run_records.MALFORMED:
        return None


def find_oldest_instant(folder: StateFolder) -> str | None:
    """Return the instant of the oldest record that is kept; None when nothing was recorded yet."""
    for lines in _parts(folder):
        for line in lines:
            try:
                return instant.text(instant.parse(parse_json(line)["at"]))
            except run_records.MALFORMED:
                continue
    return None


def _parts(folder: StateFolder) -> Iterator[list[bytes]]:
    for path in [*_segments(folder), folder.journal]:
        yield _lines_of(path)


def _lines_of(path: Path) -> list[bytes]:
    try:
        with open_own(path) as file:
            data = file.read()
        data = gzip.decompress(data) if path.name.endswith(SUFFIX) else data
    except FileNotFoundError:  # rotated away, or removed, a moment ago
        return []
    except (OSError, EOFError, zlib.error) as error:
        raise StateError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}",
            hint="move it away; the other decisions stay",
        ) from error
    return data.splitlines()


def _segments(folder: StateFolder) -> list[Path]:
    return sorted(folder.decisions.glob(f"*{SUFFIX}"))

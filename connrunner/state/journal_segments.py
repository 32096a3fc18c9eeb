"""What was decided: the records of the journal, and those that it held before it was rotated.

Only commands that people type read these; a tick adds a segment when it rotates the journal, and reads none.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from connrunner.core import instant, run_records
from connrunner.errors import StateError
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
        for line in lines:
            if wanted not in line:
                continue
            try:
                record = parse_json(line)
            except ValueError:
                continue
            if isinstance(record, dict) and record.get("type") != "snapshot":
                yield record


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
        try:
            with open_own(path) as file:
                data = file.read()
            data = gzip.decompress(data) if path.name.endswith(SUFFIX) else data
        except FileNotFoundError:  # rotated away, or removed, a moment ago
            continue
        except (OSError, EOFError, zlib.error) as error:
            raise StateError(
                f"{path} cannot be read: {getattr(error, 'strerror', None) or error}",
                hint="move it away; the other decisions stay",
            ) from error
        yield data.splitlines()


def _segments(folder: StateFolder) -> list[Path]:
    return sorted(folder.decisions.glob(f"*{SUFFIX}"))

"""
What was found damaged, from before it is marked as known until those who are to be told of it are owed a notice.

Whoever finds damage first (a tick, the process that sends mail, a command) may die at any moment, and may not be the
one that tells: so what it found stands in a file of the state folder, and the next tick that is not quiet takes it from
there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from connrunner.core import instant
from connrunner.core.alerts.on_attention import AttentionFinding
from connrunner.core.run_records import MALFORMED
from connrunner.lazy_dataclasses import dataclass
from connrunner.state.folder import StateFolder, recording
from connrunner.text.files import append_durably, sync_folder
from connrunner.text.nesting import parse_json
from connrunner.text.regular_files import read_regular

LIMIT = 1 << 24  # bytes that are read; a line has a few kB
FULL = 1 << 22  # bytes from which on nothing is added: who is told of thousands of things looks at all of them


@dataclass(frozen=True, kw_only=True, slots=True)
class UntoldDamage:
    """Something that was found, and the connection that it belongs to; empty when it is of the whole folder."""

    finding: AttentionFinding
    connection: str = ""
    at: str = ""  # when it was noted, RFC 3339, UTC


def note_untold(folder: StateFolder, damages: Iterable[UntoldDamage]) -> None:
    """Note *damages* durably, to be told. Hold the state lock; before anything says that they are known."""
    at = instant.text(datetime.now(UTC))
    lines = [{**one.finding.as_dict(), "connection": one.connection, "at": at} for one in damages]
    if not lines:
        return
    path = _path(folder)
    with recording(path):
        if not path.exists() or path.stat().st_size < FULL:
            # It begins with the end of a line: a crash may have torn the one before.
            append_durably(path, b"\n" + b"\n".join(map(_encode, lines)) + b"\n")
            sync_folder(folder.root)


def read_untold(folder: StateFolder) -> list[UntoldDamage]:
    """Return what is to be told, each once; what cannot be read of it is left out, and is shown by `status`."""
    try:
        lines = read_regular(_path(folder), LIMIT).split(b"\n")
    except OSError:
        return []
    found = [one for line in lines if line and (one := _decode(line)) is not None]
    return list({(one.connection, one.finding): one for one in found}.values())


def forget_untold(folder: StateFolder) -> None:
    """Forget what was to be told: notices of it are owed. Hold the state lock."""
    with recording(_path(folder)):
        _path(folder).unlink(missing_ok=True)


def _encode(line: dict[str, str]) -> bytes:
    return json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _decode(line: bytes) -> UntoldDamage | None:
    try:
        said = parse_json(line)
        finding = AttentionFinding(about=str(said["about"]), found=str(said["found"]), remedy=str(said["remedy"]))
        return UntoldDamage(finding=finding, connection=str(said["connection"]), at=str(said["at"]))
    except MALFORMED:
        return None


def _path(folder: StateFolder) -> Path:
    return folder.root / "damage.untold"

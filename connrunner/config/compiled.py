"""The compiled workspace: what checked files said, so that an unchanged file is neither parsed nor checked again."""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import connrunner
from connrunner.text.files import replace_file

NAME = "workspace"
MAGIC = b"connrunner compiled 1\n"


class File(NamedTuple):
    """One sound file. *stamp* is that of its version (`version.Version`), which may be one that is not trusted."""

    stamp: tuple[int, int] | tuple[str]
    digest: bytes
    document: bytes  # marshalled plain data


class ResolvedConnection(NamedTuple):
    """One sound connection, its schedule and the defaults written out."""

    digest: bytes  # of its file
    surroundings: bytes  # digest of the files that it could refer to
    document: bytes  # marshalled plain data
    fingerprint: str


@dataclass(slots=True)
class CompiledWorkspace:
    """What is known of a workspace, by relative path and by name of connection."""

    files: dict[str, File] = field(default_factory=dict)
    connections: dict[str, ResolvedConnection] = field(default_factory=dict)
    commit: str = ""


def digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def pack(document: Any) -> bytes:
    return marshal.dumps(document)


def unpack(document: bytes) -> Any:
    return marshal.loads(document)  # noqa: S302 - written by `pack`, checked as a whole by `read_cache`


def read_cache(folder: Path | None, signature: bytes) -> CompiledWorkspace:
    """Return what *folder* keeps; nothing when there is none, another version wrote it, or it is damaged."""
    payload = None if folder is None else read_file(folder / NAME, signature)
    if payload is None:
        return CompiledWorkspace()
    try:
        files, connections, commit = marshal.loads(payload)  # noqa: S302 - our own file, its checksum is right
        if not isinstance(commit, str):
            return CompiledWorkspace()
        return CompiledWorkspace(
            {path: File(*parts) for path, parts in files.items()},
            {name: ResolvedConnection(*parts) for name, parts in connections.items()},
            commit,
        )
    except (ValueError, TypeError, EOFError, AttributeError):
        return CompiledWorkspace()


def write_cache(folder: Path, signature: bytes, compiled: CompiledWorkspace) -> None:
    """Keep *compiled* in *folder*, whole or not at all. A cache that cannot be written is no reason to stop."""
    files = {path: tuple(file) for path, file in compiled.files.items()}
    connections = {name: tuple(resolved) for name, resolved in compiled.connections.items()}
    write_file(folder / NAME, signature, marshal.dumps((files, connections, compiled.commit)))


def read_file(path: Path, signature: bytes) -> bytes | None:
    """Return what `write_file` put at *path*; None when it is not there, not whole, or written by another version."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    header = _header(signature)
    start = len(header) + 4
    if content[: len(header)] != header or content[len(header) : start] != _checksum(content[start:]):
        return None
    return content[start:]


def write_file(path: Path, signature: bytes, payload: bytes) -> None:
    """Put *payload* at *path*, whole or not at all; an operating system's error leaves things as they were."""
    content = _header(signature) + _checksum(payload) + payload
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left_behind in path.parent.glob(f"*{path.name}.*.tmp"):  # by a process that was killed here
            left_behind.unlink(missing_ok=True)
        replace_file(path, content, durable=False)


def signature(schemas: Path) -> bytes:
    """Return what changes whenever the same file could become another document: this package, or a schema."""
    sources = [*sorted(Path(__file__).parent.rglob("*.py")), *sorted(schemas.glob("*.json"))]
    total = hashlib.sha256(connrunner.__version__.encode())
    for source in sources:
        total.update(digest(source.read_bytes()))
    return total.digest()


def _header(signature: bytes) -> bytes:
    return MAGIC + sys.hexversion.to_bytes(8, "big") + signature


def _checksum(payload: bytes) -> bytes:
    return zlib.crc32(payload).to_bytes(4, "big")

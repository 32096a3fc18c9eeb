"""The compiled workspace: what checked files said, so that an unchanged file is neither parsed nor checked again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import connrunner
from connrunner.config import seal
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.text.files import replace_file
from connrunner.text.nesting import parse_json
from connrunner.text.regular_files import read_regular

NAME = "workspace"
MAGIC = b"connrunner compiled 2\n"
LIMIT = 1 << 28  # bytes of one cache: what is more is none of ours


class File(NamedTuple):
    """One sound file. *stamp* is that of its version (`version.Version`), which may be one that is not trusted."""

    stamp: tuple[int, int] | tuple[str]
    digest: str
    document: str  # JSON


class ResolvedConnection(NamedTuple):
    """One sound connection, its schedule and the defaults written out."""

    digest: str  # of its file
    surroundings: str  # digest of the files that it could refer to
    document: str  # JSON
    fingerprint: str


@dataclass(slots=True)
class CompiledWorkspace:
    """What is known of a workspace, by relative path and by name of connection."""

    files: dict[str, File] = field(default_factory=dict)
    connections: dict[str, ResolvedConnection] = field(default_factory=dict)
    commit: str = ""


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pack(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"))


def unpack(document: str) -> Any:
    return json.loads(document)  # written by `pack`; `read_cache` has looked at it


def read_cache(folder: Path | None, signature: bytes) -> CompiledWorkspace:
    """Return what *folder* keeps; nothing when that is not ours (see `seal`), of another version, or damaged."""
    payload = None if folder is None else read_file(folder / NAME, signature)
    if payload is None:
        return CompiledWorkspace()
    try:
        files, connections, commit = parse_json(payload)
        known = CompiledWorkspace(
            {path: File(_stamp(stamp), *_texts(parts, 2)) for path, (stamp, *parts) in files.items()},
            {name: ResolvedConnection(*_texts(parts, 4)) for name, parts in connections.items()},
            *_texts([commit], 1),
        )
    except (ValueError, TypeError, AttributeError):
        return CompiledWorkspace()
    return known


def _stamp(said: Any) -> tuple[int, int] | tuple[str]:
    match said:
        case [int(changed), int(size)]:
            return changed, size
        case [str(identity)]:
            return (identity,)
    raise ValueError(said)


def _texts(parts: Iterable[Any], number: int) -> list[str]:
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) != number:
        raise ValueError(parts)
    return texts


def write_cache(folder: Path, signature: bytes, compiled: CompiledWorkspace) -> None:
    """Keep *compiled* in *folder*, whole or not at all. A cache that cannot be written is no reason to stop."""
    write_file(folder / NAME, signature, pack([compiled.files, compiled.connections, compiled.commit]).encode())


def read_file(path: Path, signature: bytes) -> bytes | None:
    """Return what `write_file` put at *path*; None when it is not there, not whole, or not ours (see `seal`).

    What another version wrote, or the same one for another folder, is not ours either.
    """
    sealed = seal.read_seal(path.parent)
    if sealed is None:
        return None
    try:
        content = read_regular(path, LIMIT)
    except OSError:
        return None
    header = _header(signature, sealed)
    start = len(header) + 4
    if content[: len(header)] != header or content[len(header) : start] != _checksum(content[start:]):
        return None
    return content[start:]


def write_file(path: Path, signature: bytes, payload: bytes) -> None:
    """Put *payload* at *path*, whole or not at all; an operating system's error leaves things as they were.

    Nothing is written where the folder is a link, or another user's.
    """
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        sealed = seal.make_seal(path.parent)
        if sealed is None:
            return
        for left_behind in path.parent.glob(f"*{path.name}.*.tmp"):  # by a process that was killed here
            left_behind.unlink(missing_ok=True)
        replace_file(path, _header(signature, sealed) + _checksum(payload) + payload, durable=False)


def signature(schemas: Path) -> bytes:
    """Return what changes whenever the same file could become another document: this package, or a schema."""
    sources = [*sorted(Path(__file__).parent.rglob("*.py")), *sorted(schemas.glob("*.json"))]
    total = hashlib.sha256(connrunner.__version__.encode())
    for source in sources:
        total.update(hashlib.sha256(source.read_bytes()).digest())
    return total.digest()


def _header(signature: bytes, sealed: bytes) -> bytes:
    return MAGIC + sys.hexversion.to_bytes(8, "big") + signature + sealed


def _checksum(payload: bytes) -> bytes:
    return zlib.crc32(payload).to_bytes(4, "big")

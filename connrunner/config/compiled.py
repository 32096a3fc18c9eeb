"""The compiled workspace: what checked files said, so that an unchanged file is neither parsed nor checked again."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import sys
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import connrunner
from connrunner.config import seal
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.text.files import replace_file
from connrunner.text.nesting import parse_json
from connrunner.text.regular_files import read_regular

NAME = "workspace"
FORMER = "version"  # an older release kept the last good version by itself
MAGIC = b"connrunner compiled 3\n"
LIMIT = 1 << 28  # bytes of one cache: what is more is none of ours


class File(NamedTuple):
    """One sound file. *stamp* is that of its version (`version.Version`), which may be one that is not trusted."""

    stamp: tuple[int, int] | tuple[str]
    digest: str
    document: bytes  # JSON


class ResolvedConnection(NamedTuple):
    """One sound connection, its schedule and the defaults written out."""

    digest: str  # of its file
    surroundings: str  # digest of the files that it could refer to
    document: bytes  # JSON
    schedule: bytes  # JSON: that part of the document
    fingerprint: str
    traits: str  # letters: what is asked of all connections at once; see `traits_of` in core/connection_index.py


@dataclass(slots=True)
class CompiledWorkspace:
    """What is known of a workspace, by relative path and by name of connection."""

    files: dict[str, File] = field(default_factory=dict)
    connections: dict[str, ResolvedConnection] = field(default_factory=dict)
    commit: str = ""
    rest: bytes = b""  # JSON: what else the workspace said (see `versions/last_good.py`)

    def is_same(self, other: CompiledWorkspace) -> bool:
        """Tell whether the same is known of the same files."""
        return (self.files, self.connections, self.commit) == (other.files, other.connections, other.commit)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pack(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def unpack(document: bytes) -> Any:
    return json.loads(document)  # written by `pack`; its checksum was right


def read_cache(folder: Path | None, signature: bytes) -> CompiledWorkspace:
    """Return what *folder* keeps; nothing when that is not ours (see `seal`), of another version, or damaged.

    An index in columns, and behind it all documents: so none is looked at before somebody asks for it.
    """
    payload = None if folder is None else read_file(folder / NAME, signature)
    if payload is None:
        return CompiledWorkspace()
    try:
        start = 8 + int.from_bytes(payload[:8], "big")
        files, connections, commit, rest = parse_json(payload[8:start])
        paths, changed, digests, lengths = files
        texts, start = _cut(payload, start, lengths)
        stamps = zip(*changed, strict=True) if paths else ()
        found = {
            path: File._make(row) for path, row in zip(paths, zip(stamps, digests, texts, strict=True), strict=True)
        }
        names, *columns, fingerprints, traits, lengths, of_schedules = connections
        texts, start = _cut(payload, start, lengths)
        schedules, start = _cut(payload, start, of_schedules)
        rows = zip(*columns, texts, schedules, fingerprints, traits, strict=True)
        resolved = dict(zip(names, map(ResolvedConnection._make, rows), strict=True))
        "".join(itertools.chain(paths, digests, names, *columns, fingerprints, traits, [commit]))  # texts, all of them
        said = payload[start : start + rest]
    except (ValueError, TypeError, AttributeError):
        return CompiledWorkspace()
    return CompiledWorkspace(found, resolved, commit, said)


def _cut(payload: bytes, start: int, lengths: list[int]) -> tuple[list[bytes], int]:
    """Return the texts of *lengths* that stand one behind the other from *start* on, and where the last one ends."""
    ends = list(itertools.accumulate(lengths, initial=start))
    if ends[-1] > len(payload) or min(lengths, default=0) < 0:
        raise ValueError(ends[-1])
    return [payload[one:end] for one, end in itertools.pairwise(ends)], ends[-1]


def write_cache(folder: Path, signature: bytes, compiled: CompiledWorkspace) -> None:
    """Keep *compiled* in *folder*, whole or not at all. A cache that cannot be written is no reason to stop."""
    files, connections = compiled.files.values(), compiled.connections.values()
    index = pack(
        [
            [
                list(compiled.files),
                list(zip(*(one.stamp for one in files), strict=True)),
                [one.digest for one in files],
                [len(one.document) for one in files],
            ],
            [
                list(compiled.connections),
                [one.digest for one in connections],
                [one.surroundings for one in connections],
                [one.fingerprint for one in connections],
                [one.traits for one in connections],
                [len(one.document) for one in connections],
                [len(one.schedule) for one in connections],
            ],
            compiled.commit,
            len(compiled.rest),
        ]
    )
    texts = (
        *(one.document for one in files),
        *(one.document for one in connections),
        *(one.schedule for one in connections),
        compiled.rest,
    )
    write_file(folder / NAME, signature, b"".join((len(index).to_bytes(8, "big"), index, *texts)))
    with contextlib.suppress(OSError):
        (folder / FORMER).unlink(missing_ok=True)


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

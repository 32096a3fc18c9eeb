"""One file of a workspace: read, checked by itself, and remembered for the next load."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from connrunner.config import check, compiled, files, stamps
from connrunner.config.compiled import Compiled
from connrunner.config.finding import Finding
from connrunner.config.names import whole_file
from connrunner.config.wording import printable
from connrunner.errors import Problem

if TYPE_CHECKING:
    from connrunner.config.document import Document

# File systems stamp changes in steps of up to two seconds: a file that changed this recently can change again without
# its stamp showing it, so such a file is read again by the next load.
RACY_NS = 2_000_000_000

_CHECKS: Mapping[str, Callable[[Mapping[str, Any]], Iterator[Finding]]] = {
    "workspace": check.workspace,
    "profile": check.profile,
    "schedule": check.schedule,
    "notification": check.notification,
}


@dataclass
class Source:
    """What is known of one file by itself."""

    folder: str
    path: str
    digest: bytes = b""
    packed: bytes = compiled.pack({})
    problems: tuple[Problem, ...] = ()
    document: Document | None = None  # with the lines; only where somebody asked for them

    @cached_property
    def data(self) -> dict[str, Any]:
        """What the file says, with None for what is not sound; unpacked for those who ask."""
        return dict(compiled.unpack(self.packed))

    def located(self, findings: Iterable[Finding]) -> tuple[Problem, ...]:
        """Return *findings*, more of them, with their lines."""
        if self.document is None:
            from connrunner.config.document import parse

            try:
                self.document = parse(files.read(self.folder, self.path), printable(self.path))
            except files.Unreadable:  # removed a moment ago
                self.document = parse(b"", printable(self.path))
        return tuple(self.document.problem(finding) for finding in findings)


class Sources:
    """The files of one workspace, each read at most once, and not at all when it is known and did not change."""

    def __init__(self, folder: str, known: Compiled) -> None:
        self.folder = folder
        self.known = known
        self.kept = Compiled()  # what to remember for the next load
        self.trusted_before = time.time_ns() - RACY_NS
        self.found = stamps.scan(folder)

    def read(self, path: str, kind: str) -> Source:
        """Return the file at *path*, one of `found`, checked as *kind* (one of `schema.KINDS`)."""
        status = self.found[path]
        stamp = None if status is None else (status.st_ctime_ns, status.st_size)
        known = self.known.files.get(path)
        if known is not None and known.stamp == stamp:
            self.kept.files[path] = known
            return Source(self.folder, path, known.digest, known.document)
        try:
            content = files.read(self.folder, path)
        except files.Unreadable as error:
            problem = whole_file(path, error.message, error.hint, error.code)
            return Source(self.folder, path, problems=(problem,))
        digest = compiled.digest(content)
        if known is not None and known.digest == digest:
            source = Source(self.folder, path, digest, known.document)
        else:
            source = self._checked(path, kind, content, digest)
        if not source.problems and stamp is not None:
            trusted = stamp if stamp[0] < self.trusted_before else (0, 0)
            self.kept.files[path] = compiled.File(trusted, digest, source.packed)
        return source

    def _checked(self, path: str, kind: str, content: bytes, digest: bytes) -> Source:
        # Not before a file needs it: these import PyYAML and jsonschema.
        from connrunner.config import schema
        from connrunner.config.document import parse

        document = parse(content, printable(path))
        source = Source(self.folder, path, digest, problems=document.problems, document=document)
        if document.places is not None:
            found = schema.findings(kind, document.data, document.refused)
            sound = check.sound_parts(document.data, found, document.refused)
            if kind in _CHECKS:
                found += _CHECKS[kind](sound)
            if kind == "schedule" and not found:
                found += check.reads_as_schedule(sound)
            source.packed = compiled.pack(check.sound_parts(document.data, found, document.refused))
            source.problems += source.located(found)
        return source

"""One file of a workspace: read, checked by itself, and remembered for the next load."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from connrunner.config import check, compiled
from connrunner.config.compiled import CompiledWorkspace, ResolvedConnection
from connrunner.config.documents import workspace_file
from connrunner.config.file_names import whole_file
from connrunner.config.finding import Finding
from connrunner.config.versions.version import Version
from connrunner.errors import Problem
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.words import escape

if TYPE_CHECKING:
    from connrunner.config.documents.document import Document

_CHECKS: Mapping[str, Callable[[Mapping[str, Any]], Iterator[Finding]]] = {
    "workspace": check.workspace,
    "profile": check.profile,
    "schedule": check.schedule,
    "notification": check.notification,
}


@dataclass
class SourceFile:
    """What is known of one file by itself."""

    version: Version
    path: str
    digest: str = ""
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
            from connrunner.config.documents.document import parse

            try:
                self.document = parse(self.version.read(self.path), escape(self.path))
            except workspace_file.UnreadableFile:  # removed a moment ago
                self.document = parse(b"", escape(self.path))
        return tuple(self.document.problem(finding) for finding in findings)


class SourceFiles:
    """The files of one workspace, each read at most once, and not at all when it is known and did not change."""

    def __init__(self, version: Version, known: CompiledWorkspace, *, has_all: bool = True) -> None:
        self.version = version
        self.has_all = has_all  # False: of the connections there is one only
        self.known = known
        self.remembered = CompiledWorkspace(commit=version.obeyed)  # what to remember for the next load

    @property
    def folder(self) -> str:
        return self.version.folder

    @property
    def found(self) -> Collection[str]:
        """Each file and folder that may be configuration, relative to the workspace."""
        return self.version.paths

    def read(self, path: str, kind: str) -> SourceFile:
        """Return the file at *path*, one of `found`, checked as *kind* (one of `schema.KINDS`)."""
        stamp = self.version.stamps.get(path)
        known = self.known.files.get(path)
        if known is not None and known.stamp == stamp:
            self.remembered.files[path] = known
            return SourceFile(self.version, path, known.digest, known.document)
        try:
            content = self.version.read(path)
        except workspace_file.UnreadableFile as error:
            problem = whole_file(path, error.message, error.hint, error.code)
            return SourceFile(self.version, path, problems=(problem,))
        digest = compiled.digest(content)
        if known is not None and known.digest == digest:
            source = SourceFile(self.version, path, digest, known.document)
        else:
            source = self._checked(path, kind, content, digest)
        if not source.problems and stamp is not None:
            self.remembered.files[path] = compiled.File(self.version.trusted(path), digest, source.packed)
        return source

    def keep_unchanged(self, surroundings: str) -> dict[str, ResolvedConnection]:
        """Return the known connections whose files, and all that they could refer to, are as they were."""
        files, stamps, kept = self.known.files, self.version.stamps, {}
        for name, one in self.known.connections.items():
            path = f"connections/{name}.yaml"
            file = files.get(path)
            if file is None or stamps.get(path) != file.stamp or one.digest != file.digest:
                continue
            if one.surroundings == surroundings:
                self.remembered.files[path], self.remembered.connections[name], kept[name] = file, one, one
        return kept

    def _checked(self, path: str, kind: str, content: bytes, digest: str) -> SourceFile:
        # Not before a file needs it: these import PyYAML and jsonschema.
        from connrunner.config import schema
        from connrunner.config.documents.document import parse

        document = parse(content, escape(path))
        source = SourceFile(self.version, path, digest, problems=document.problems, document=document)
        if document.places is not None:
            found = schema.check_schema(kind, document.data, document.refused)
            sound = check.sound_parts(document.data, found, document.refused)
            if kind in _CHECKS:
                found += _CHECKS[kind](sound)
            source.packed = compiled.pack(check.sound_parts(document.data, found, document.refused))
            source.problems += source.located(found)
        return source

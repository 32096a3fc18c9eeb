"""Read a workspace folder: every sound connection, and every problem of the others at once.

A load that finds nothing changed parses and checks nothing, and imports neither PyYAML nor jsonschema.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from connrunner.config import check, compiled, place, schema, web_check, zones
from connrunner.config.after import Placed, find_wrong_places, read_place
from connrunner.config.compiled import CompiledWorkspace, ResolvedConnection
from connrunner.config.documents import workspace_file
from connrunner.config.file_names import name_files, whole_file, wrong_suffix
from connrunner.config.finding import Finding
from connrunner.config.resolved import (
    built,
    connection_from,
    profile_model_from,
    resolve_connection,
    target_from,
    workspace_from,
)
from connrunner.config.source_file import SourceFile, SourceFiles
from connrunner.config.versions import git, last_good
from connrunner.config.versions.changed_files import find_changed_files
from connrunner.config.versions.commit import find_repository, repository
from connrunner.config.versions.git import VersionError
from connrunner.config.versions.layout import lay_out
from connrunner.config.versions.version import CommitVersion, FolderVersion, MovingError
from connrunner.core import workspace_files
from connrunner.core.connection_index import BEHIND, ConnectionIndex, traits_of
from connrunner.core.model import Connection, Target, Workspace
from connrunner.errors import ArgumentError, Problem, WorkspaceError
from connrunner.lazy_dataclasses import dataclass, replace
from connrunner.processes.temporary_folders import temporary_folder
from connrunner.text.words import escape

__all__ = ["connection_from", "load", "profile_model_from"]

FOLDERS = ("connections", "schedules", "notifications")
FilesSeen = Mapping[str, os.stat_result | None]  # of each file and folder of a workspace
TRIES = (0, 0.1, 0.3, 0.6)  # seconds to wait before each reading of a folder whose files change meanwhile


def load(
    folder: Path, *, cache: Path | None = None, as_written: bool = False, seen: FilesSeen | None = None
) -> Workspace:
    """Return the workspace in *folder*. *cache* is a folder of our own that makes the next load quick; it may be lost.
    *seen* is what `stamps.scan` found a moment ago, for those who know it.

    With `source: git` the files are those of the commit at HEAD, else those of the folder; *as_written* asks for the
    latter in any case, and for no older version. A broken file breaks what needs it and nothing else. When no whole
    version can be read (git cannot, or the files change all the time), it is the last good one for a day, and
    `trouble` says why.

    WorkspaceError, with every problem of every file, when connrunner.yaml is missing or broken, or when a folder
    cannot be read: its connections must not look removed.
    """
    folder = folder.absolute()
    signature = compiled.signature(schema.folder()) if cache is not None else b""
    known = compiled.read_cache(cache, signature)
    try:
        workspace, found = _newest(folder, known, as_written=as_written, seen=seen)
    except VersionError as error:
        if as_written:
            raise
        return last_good.fall_back(cache, known, error)
    if cache is not None:
        if not found.is_same(known):
            compiled.write_cache(cache, signature, replace(found, rest=last_good.describe_rest(workspace)))
        last_good.recovered(cache)
    return workspace


def load_last_good(cache: Path) -> Workspace | None:
    """Return the last version of a workspace that could be used, from *cache*: whom it names, and how they are told.

    None when there was none yet.
    """
    return last_good.read(compiled.read_cache(cache, compiled.signature(schema.folder())))


def load_commit(folder: Path, commit: str, *, only: str = "") -> Workspace:
    """Return the workspace in *folder* as *commit*, a hash, has it; of all connections only that of the name *only*.

    Nothing is laid out, remembered or taken from a cache. ArgumentError when the commit has no workspace there;
    VersionError when git cannot read it, and for lists of files that no git makes; WorkspaceError as `load`.
    """
    folder = folder.absolute()
    with git.opened(str(folder)) as objects:
        version = CommitVersion(str(folder), objects, commit, only=only)
        if place.FILE not in version.paths:
            inside = find_repository(folder)
            where = "/".join(inside.prefix) if inside and inside.prefix else "at its top"
            hint = "name a commit that has a connrunner.yaml there, or another folder with --workspace"
            raise ArgumentError(f"commit {commit[:12]} has no workspace {escape(where)}", hint=hint)
        return _workspace(SourceFiles(version, CompiledWorkspace(), has_all=not only))


def list_uncommitted(workspace: Workspace) -> list[str]:
    """Return the files of the workspace that differ from the commit that is obeyed; none without `source: git`.

    VersionError when git cannot say.
    """
    if workspace.repository is None:
        return []
    return find_changed_files(workspace.folder)


@contextmanager
def open_templates(workspace: Workspace) -> Iterator[Path]:
    """Yield the folder that holds the `templates/` of *workspace*: its own, or a copy of what its commit has.

    When git cannot read the commit there are none, so the mail goes out in our own form.
    """
    if workspace.repository is None or workspace.commit is None:
        yield Path(workspace.folder)
        return
    with temporary_folder() as copy:
        with suppress(VersionError):
            lay_out(workspace.folder, workspace.commit, "templates", copy / "templates")
        yield copy


def _newest(
    folder: Path, known: CompiledWorkspace, *, as_written: bool, seen: FilesSeen | None = None
) -> tuple[Workspace, CompiledWorkspace]:
    """Return the version that holds now, and what to remember of it for the next load."""
    # What the folder says counts only when its commit says the same, so an uncommitted `source` is not obeyed either.
    by_commit = known.commit and repository(folder) is not None
    if not as_written and (by_commit or place.declares_git(str(folder))):
        with git.opened(str(folder)) as objects:
            sources = SourceFiles(CommitVersion(str(folder), objects), known)
            workspace = _workspace(sources)
        if workspace.repository is not None:
            return workspace, sources.remembered
    for wait in TRIES:
        time.sleep(wait)
        version, seen = FolderVersion(str(folder), seen), None
        sources = SourceFiles(version, known)
        try:
            workspace = _workspace(sources)
        except WorkspaceError:
            if version.is_whole():
                raise
            continue
        if sources.remembered.is_same(known) or version.is_whole():
            return workspace, sources.remembered
    hint = "a tick reads them once they stay as they are; with `source: git` it reads commits, which never change"
    raise MovingError(f"the files of {escape(str(folder))} change while they are read", hint=hint)


def _refuse_unseen(sources: SourceFiles) -> None:
    """Refuse what would make connections look removed when they only cannot be seen."""
    folder = escape(sources.folder)
    if not os.path.isdir(sources.folder):  # noqa: PTH112 - the path is text already
        raise WorkspaceError(f"there is no folder {folder}", hint="name the workspace with --workspace")
    if "connrunner.yaml" not in sources.found:
        hint = "run `connrunner init` to make a workspace, or name one with --workspace"
        if "connrunner.yml" in sources.found:
            hint = "rename connrunner.yml to connrunner.yaml"
        raise WorkspaceError(f"{folder} has no connrunner.yaml", hint=hint)
    for name in FOLDERS:
        if name not in sources.found:
            continue
        if sources.version.leads_out(name):
            message = f"{folder}/{name} leads out of the workspace, or to what is no configuration"
            raise WorkspaceError(message, hint="make it a folder, not a link")
        if sources.version.is_unseen(name):
            raise WorkspaceError(f"{folder}/{name} cannot be read", hint="make it a folder that connrunner may read")


def _workspace(sources: SourceFiles) -> Workspace:
    zones.choose()
    _refuse_unseen(sources)
    shared = _SharedFiles.read(sources)
    connections, broken, problems = _connections(sources, shared)
    problems = sorted([*problems, *shared.problems, *_strays(sources)])
    if shared.top.problems or shared.wrong_state:
        message = f"connrunner.yaml in {escape(sources.folder)} cannot be used"
        raise WorkspaceError(message, hint="`connrunner validate` shows every problem", problems=problems)
    version = sources.version
    from_commit = isinstance(version, CommitVersion) and not version.is_named and shared.top.data.get("source") == "git"
    workspace = workspace_from(
        sources.folder,
        shared.top.data,
        profile=shared.around.profile or {},
        targets={name: data for name, data in shared.around.targets.items() if data is not None},
        connections=connections,
    )
    return replace(
        workspace,
        broken=broken,
        problems=tuple(problems),
        commit=sources.version.commit,
        repository=repository(Path(sources.folder)) if from_commit else None,
    )


def _readable_notify(defaults: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield of each rule in wrong *defaults* as much as can be checked against the targets: nothing else is used."""
    entries = defaults.get("notify")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("to"), str) and isinstance(entry.get("when"), str):
            yield {"to": entry["to"], "when": entry["when"]}


def _strays(sources: SourceFiles) -> Iterator[Problem]:
    """Yield a problem for each file that somebody may believe to be read, and is not."""
    for path in ("connrunner.yml", "profile.yml"):
        if path in sources.found:
            yield wrong_suffix(path)
    for path in sources.found:
        if "/" in path and not path.lower().endswith((".yaml", ".yml")):
            folder = path.partition("/")[0]
            yield from _nested(sources, path, f"move it up into {folder}/")


def _nested(sources: SourceFiles, path: str, hint: str) -> Iterator[Problem]:
    for name in sources.version.below(path):
        if name.lower().endswith((".yaml", ".yml")):
            yield whole_file(f"{path}/{name}", "a file in a folder further down is not read", hint, "nested-file")


# --- what connections share --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _SharedFiles:
    """Every file but those of connections."""

    top: SourceFile
    profile: SourceFile | None
    schedules: Mapping[str, SourceFile]
    targets: Mapping[str, SourceFile]
    misnamed: tuple[Problem, ...]

    @classmethod
    def read(cls, sources: SourceFiles) -> _SharedFiles:
        schedules, wrong_schedules = _listed(sources, "schedules")
        targets, wrong_targets = _listed(sources, "notifications")
        return cls(
            top=sources.read("connrunner.yaml", "workspace"),
            profile=sources.read("profile.yaml", "profile") if "profile.yaml" in sources.found else None,
            schedules={name: sources.read(path, "schedule") for name, path in schedules.items()},
            targets={name: sources.read(path, "notification") for name, path in targets.items()},
            misnamed=tuple(problem for _, problem in wrong_schedules + wrong_targets),
        )

    @cached_property
    def sources(self) -> list[SourceFile]:
        profile = [self.profile] if self.profile else []
        return [self.top, *profile, *self.schedules.values(), *self.targets.values()]

    @cached_property
    def problems(self) -> list[Problem]:
        each = [problem for source in self.sources for problem in source.problems]
        return [*each, *self.misnamed, *self.wrong_defaults, *self.wrong_state, *self.wrong_web]

    @cached_property
    def wrong_state(self) -> tuple[Problem, ...]:
        """A `state` that commands, which look for its line before anything is parsed, would take for another folder.

        And one among the configuration: templates would show what is in it.
        """
        state, version = self.top.data.get("state", place.DEFAULT_STATE), self.top.version
        if self.top.problems:
            return ()
        folder = workspace_file.resolve_link(version.folder, state)
        if folder is not None and workspace_files.is_among_configuration(folder):
            message, hint = "`state` lies in a folder of the configuration", "name a folder for the state alone"
            return self.top.located([Finding(("state",), message, hint, "bad-state")])
        is_named = isinstance(version, CommitVersion) and version.is_named
        if state == (place.state_in(version.read(place.FILE)) if is_named else place.declared_state(version.folder)):
            return ()
        message, hint = "`state` must stand on a line of its own", f"write it as `state: {state}`"
        if isinstance(version, CommitVersion) and not is_named:
            message, hint = "`state` differs between the commit and the folder", "commit it, or take it back"
        return self.top.located([Finding(("state",), message, hint, "bad-state")])

    @cached_property
    def wrong_web(self) -> tuple[Problem, ...]:
        """What keeps the page from being served: ticks go on."""
        said = {} if self.top.problems else self.top.data.get("web") or {}
        found = list(web_check.check_web_settings(said))
        return self.top.located(found) if found else ()

    @cached_property
    def around(self) -> check.WorkspaceContext:
        said = self.top.data.get("defaults") or {}
        defaults = {} if self.top.problems else said  # nothing is resolved with what may be half of a value
        sound_profile = self.profile is not None and not self.profile.problems
        return check.WorkspaceContext(
            timezone=self.top.data.get("timezone") or "UTC",
            timeout=defaults.get("timeout") or "6h",
            start_within=defaults.get("start_within"),
            retry=defaults.get("retry"),
            keep=defaults.get("keep"),
            stop=defaults.get("stop"),
            undo=defaults.get("undo"),
            hold=defaults.get("hold"),
            executor=None if self.top.problems else self.top.data.get("executor"),
            lanes={} if self.top.problems else self.top.data.get("lanes") or {},
            notify=tuple(_readable_notify(said)) if self.top.problems else tuple(defaults.get("notify") or ()),
            schedules={name: None if one.problems else one.data for name, one in self.schedules.items()},
            blackout=() if self.top.problems else tuple(self.top.data.get("blackout") or ()),
            targets={name: None if one.problems else one.data for name, one in self.targets.items()},
            profile=self.profile.data if self.profile is not None and sound_profile else None,
            profile_missing=self.profile is None,
        )

    @cached_property
    def people(self) -> dict[str, Target]:
        """The sound targets."""
        zone = self.around.timezone
        return {
            name: target_from(name, data, timezone=zone)
            for name, data in self.around.targets.items()
            if data is not None
        }

    @cached_property
    def wrong_defaults(self) -> tuple[Problem, ...]:
        """Targets of `defaults.notify` that do not exist: they break the connections that rely on it."""
        found = list(check.notify(self.around.notify, self.targets, ("defaults", "notify")))
        return self.top.located(found) if found else ()

    @cached_property
    def digest(self) -> str:
        """Differs whenever a connection could become another one without a change of its own file."""
        total = hashlib.sha256(repr(zones.describe()).encode())
        for source in self.sources:
            total.update(repr((source.path, source.digest, bool(source.problems))).encode())
        return total.hexdigest()

    def reasons(self, data: Mapping[str, Any]) -> tuple[Problem, ...]:
        """Return the problems of other files that break the connection *data*."""
        named = check.schedules_named(data.get("schedule"))
        broken = [self.schedules[name] for name in named if name in self.schedules]
        if self.profile is not None and ("import" in data or "export" in data):
            broken.append(self.profile)
        entries = data.get("notify", self.around.notify) or ()
        broken += [self.targets[name] for name in check.targets(entries) if name in self.targets]
        problems = [problem for source in broken for problem in source.problems]
        return (*problems, *(() if "notify" in data else self.wrong_defaults))


# --- connections -------------------------------------------------------------------------------------------------


def _connections(
    sources: SourceFiles, shared: _SharedFiles
) -> tuple[Mapping[str, Connection], dict[str, tuple[Problem, ...]], list[Problem]]:
    """Return the sound ones, why the others are broken, and the problems of their own files."""
    sound: dict[str, Connection] = {}
    names, misnamed = _listed(sources, "connections")
    broken: dict[str, tuple[Problem, ...]] = {}
    problems = []
    for name, problem in misnamed:
        problems.append(problem)
        if name not in names:
            broken[name] = (*broken.get(name, ()), problem)
    kept = sources.keep_unchanged(shared.digest)
    places = _Places(kept)
    for name in sorted(names.keys() - kept.keys()):
        source = sources.read(names[name], "connection")
        if known := _known(name, source, sources, shared):
            kept[name] = known
            continue
        places[name] = read_place(source.data)
        found = list(check.check_connection(source.data, shared.around))
        own = [*source.problems, *(source.located(found) if found else ())]
        reasons = shared.reasons(source.data)
        if not own and not reasons:
            try:
                sound[name] = _resolved(name, source, sources, shared)
                continue
            except ValueError as error:
                own += source.located([Finding(("schedule",), str(error), code="bad-schedule")])
        broken[name] = (*sorted(own), *reasons)
        problems += own
    behind = {*places.keys(), *(name for name, one in kept.items() if BEHIND in one.traits)}
    for name, finding in find_wrong_places(places, behind) if sources.has_all else ():
        found_here = sources.read(names[name], "connection").located([finding])
        sound.pop(name, None)
        kept.pop(name, None)
        broken[name] = (*sorted((*broken.get(name, ()), *found_here)),)
        problems += found_here
    traits = {name: one.traits for name, one in kept.items()}
    read_schedule = partial(_read_schedule, kept)
    return ConnectionIndex(traits, partial(_build, kept, shared), read_schedule, sound), broken, problems


class _Places(dict[str, Placed]):
    """The places of all connections; those of *kept* are read when one is asked for."""

    def __init__(self, kept: Mapping[str, ResolvedConnection]) -> None:
        super().__init__()
        self._kept = kept

    def __missing__(self, name: str) -> Placed:
        return read_place(compiled.unpack(self._kept[name].document))

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._kept

    def __iter__(self) -> Iterator[str]:
        return iter({**self._kept, **dict.fromkeys(self.keys())})


def _build(kept: Mapping[str, ResolvedConnection], shared: _SharedFiles, name: str) -> Connection:
    one = kept[name]
    return built(name, compiled.unpack(one.document), shared.around.timezone, shared.people, one.fingerprint)


def _read_schedule(kept: Mapping[str, ResolvedConnection], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = compiled.unpack(kept[name].schedule)
    return found


def _listed(sources: SourceFiles, folder: str) -> tuple[dict[str, str], list[tuple[str, Problem]]]:
    return name_files(path for path in sources.found if path.startswith(f"{folder}/"))


def _known(name: str, source: SourceFile, sources: SourceFiles, shared: _SharedFiles) -> ResolvedConnection | None:
    """Return the connection as the last load resolved it, when its file says the same and so does what is around it."""
    known = sources.known.connections.get(name)
    if known is None or source.problems or (known.digest, known.surroundings) != (source.digest, shared.digest):
        return None
    sources.remembered.connections[name] = known
    return known


def _resolved(name: str, source: SourceFile, sources: SourceFiles, shared: _SharedFiles) -> Connection:
    document = resolve_connection(name, source.data, shared.around)
    connection = connection_from(name, document, timezone=shared.around.timezone, targets=shared.people)
    packed = compiled.pack(document)
    sources.remembered.connections[name] = ResolvedConnection(
        source.digest,
        shared.digest,
        packed,
        compiled.pack(document["schedule"]),
        connection.fingerprint,
        traits_of(connection),
    )
    return connection

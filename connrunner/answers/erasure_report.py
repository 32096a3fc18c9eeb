"""What was removed of a person, and what nobody can reach from here: the answer of `connrunner profiles erase`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core.model import Export, Import, ProfileModel
from connrunner.lazy_dataclasses import dataclass
from connrunner.text import words

if TYPE_CHECKING:
    from connrunner.profiles.erasure import Erasure  # with DuckDB, which `--help` need not wait for

MOVED_ASIDE = "profiles.before-*.duckdb"
PLACES = (
    "mail that was sent, and chats",
    "logs and refused rows of runs: `connrunner log`, `connrunner rejects`",
    "archives that `connrunner history archive` made, and what was saved with --output",
    "backups of the state folder: after one is put back, erase again",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreached:
    """A place that may hold the person still; *connection* is None for one that is of no connection."""

    connection: str | None
    what: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasureReport:
    """What `profiles erase` did, or would do."""

    erasure: Erasure
    dry_run: bool
    unreached: tuple[Unreached, ...]

    @property
    def removed(self) -> dict[str, int]:
        """The rows that went, by where they were; places without any are left out."""
        done = self.erasure
        rows = {"profiles": done.profiles, "sent": done.sent, "kept": done.kept, "tombstones": done.forgotten}
        return {where: count for where, count in rows.items() if count}


def list_identifier_columns(view: WorkspaceView, model: ProfileModel) -> dict[str, dict[str, str]]:
    """Return, for each sound import of the workspace, in which column each identifier stands."""
    found = {}
    for name, connection in view.workspace.connections.items():
        if isinstance(connection.work, Import):
            fields = connection.work.fields
            found[name] = {one.property: one.column for one in fields if model.properties[one.property].identifier}
    return found


def list_withdrawal_files(view: WorkspaceView) -> dict[str, Path]:
    """Return, for each sound export that has its partner delete people, the file of those whom it has to delete."""
    return {
        name: view.state.withdrawals(name)
        for name, connection in view.workspace.connections.items()
        if isinstance(connection.work, Export) and connection.work.deleted == "send"
    }


def report_erasure(view: WorkspaceView, done: Erasure, *, dry_run: bool) -> ErasureReport:
    """Return the report of an erasure, with every place that it did not reach."""
    return ErasureReport(erasure=done, dry_run=dry_run, unreached=tuple(_unreached(view, done)))


def report_as_dict(report: ErasureReport) -> dict[str, Any]:
    """Return *report* as `profiles erase --format json` shows it."""
    return {
        "found": report.erasure.found,
        "dry_run": report.dry_run,
        "removed": [{"where": where, "rows": rows} for where, rows in report.removed.items()],
        "unreached": [{"connection": one.connection, "what": one.what} for one in report.unreached],
    }


def list_moved_aside(view: WorkspaceView) -> list[str]:
    """Return the names of the stores that `reset --profiles` moved aside: whole, and out of reach."""
    return sorted(path.name for path in view.state.root.glob(MOVED_ASIDE))


def describe_removed(report: ErasureReport) -> str:
    """Return what went in one sentence."""
    names = {"profiles": "profile", "sent": "sent row", "kept": "kept row", "tombstones": "tombstone"}
    parts = [words.plural(rows, names[where]) for where, rows in report.removed.items()]
    return f"{'would be removed' if report.dry_run else 'removed'}: {words.listed(parts)}"


def _unreached(view: WorkspaceView, done: Erasure) -> Iterator[Unreached]:
    connections = view.workspace.connections
    for name in done.recipients:
        work = connections[name].work if name in connections else None
        gone = "the partner of a connection that the workspace has no more"
        place = describe_place(work.destination) if isinstance(work, Export) else gone
        if name in done.withdrawn:
            place += ", until the next run of this export has it delete the person"
        yield Unreached(connection=name, what=place)
    for name, connection in connections.items():
        if isinstance(connection.work, Import) and "path" in connection.work.source:
            yield Unreached(connection=name, what=describe_place(connection.work.source))
    for name in done.marks:
        yield Unreached(connection=name, what="its mark, how far it has come, until its next run moves it")
    if aside := list_moved_aside(view):
        what = f"profile stores that `reset --profiles` moved aside: {words.listed(aside)}"
        yield Unreached(connection=None, what=what)
    for place in PLACES:
        yield Unreached(connection=None, what=place)


def describe_place(settings: Mapping[str, Any]) -> str:
    """Return where the settings of a connector read or write: a path of this machine, or which partner."""
    kind = str(settings["type"])
    if kind == "files":
        return str(settings["path"])
    parts = [str(settings[key]) for key in ("host", "bucket", "url", "path", "table", "program") if key in settings]
    return f"{kind}: {'/'.join(parts)}" if parts else kind

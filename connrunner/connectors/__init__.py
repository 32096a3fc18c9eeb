"""Where rows come from and where they go: one module for each connector, whose docstring is its manual.

A connector that imports is a `Source`, one that exports is a `Destination`; a module may be both. It is listed here by
the `type:` that a connection's file says, and imported when a run needs it. `command` is a connection's work of its
own, so it is not a row of these tables.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from connrunner.core.model import Format, LocalFile, Property
from connrunner.core.report import Report
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.processes.tree import ProcessTree
from connrunner.text.words import nearest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

OUTSIDE = "connrunner.connectors"  # the group of entry points by which other packages bring connectors

Settings = Mapping[str, Any]
"""What a connection's file says under `from:` or `to:`, with every secret reference already replaced by its secret."""

SOURCES = {
    "files": "connrunner.connectors.files",
    "sftp": "connrunner.connectors.sftp",
    "s3": "connrunner.connectors.s3",
    "http": "connrunner.connectors.http",
    "sql": "connrunner.connectors.sql",
    "salesforce": "connrunner.connectors.salesforce",
    "singer": "connrunner.connectors.singer",
    "airbyte": "connrunner.connectors.airbyte",
}
DESTINATIONS = {
    "files": "connrunner.connectors.files",
    "sftp": "connrunner.connectors.sftp",
    "s3": "connrunner.connectors.s3",
    "http": "connrunner.connectors.http",
    "sql": "connrunner.connectors.sql",
    "salesforce": "connrunner.connectors.salesforce",
    "singer": "connrunner.connectors.singer",
    "meta": "connrunner.connectors.meta",
}


Known = Callable[[str, int, str], bool]
"""Tells whether a file (name, bytes, the source's stamp of its version) was accepted whole in an earlier run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunContext:
    """The run that a connector works for."""

    connection: str
    run: int
    at: datetime  # when the run started
    workspace: Path
    spool: Path  # an empty folder for downloads and for rows on their way, removed after the run
    programs: Path  # where connectors that are third-party programs are installed, each in an environment of its own
    report: Report
    processes: ProcessTree = field(default_factory=ProcessTree.new)  # every program that it starts is in it
    columns: Mapping[str, Property] = field(default_factory=dict)  # of the rows, and the property that each holds
    ledger: Path | None = None  # a folder of the connection's own that outlives its runs; see `open_ledger`

    def open_ledger(self) -> Path:
        """Return the folder in which a connector notes what the next run has to know, however this one ends.

        It is made when it is not there, for its owner alone; a dry run and a probe write nothing into it.
        """
        if self.ledger is None:
            raise RunError("this run keeps nothing for the next one", code="no-ledger")
        for folder in (self.ledger.parent, self.ledger):
            folder.mkdir(mode=0o700, exist_ok=True)
        return self.ledger


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchResult:
    """What a source brought."""

    files: tuple[LocalFile, ...]  # in the order in which their rows count
    mark: Any = None  # plain JSON: how far the source came; the next run is given it, once these rows are durable
    notes: tuple[str, ...] = ()  # what a person has to know of this run, whatever became of its rows


class NoFilesError(RunError):
    """No file has a name that fits: whether that is a failure, `when_none` and what was read before decide."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message, hint=hint, code="no-files", waiting_helps=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A row that the partner refused."""

    row: int  # its place in the file that was delivered, from 0, a header not counted
    code: str  # a stable kebab-case word
    message: str  # what the partner said


@dataclass(frozen=True, kw_only=True, slots=True)
class SendResult:
    """What became of an export's rows: all but *refused* have arrived."""

    where: str  # in words for people
    refused: tuple[Refusal, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedRows:
    """What a destination can tell of rows that it does not send."""

    refused: tuple[Refusal, ...] = ()  # those that it would not even send
    held: tuple[Mapping[str, str | None] | None, ...] = ()
    """For each sample what its partner holds in those columns that would change; None where it has no such row."""


class Source(Protocol):
    """A module that brings files of rows to this machine."""

    def fetch(self, settings: Settings, context: RunContext, *, known: Known, mark: Any) -> FetchResult:
        """Return the files to import; NoFilesError when there are none, though there may be some later.

        A file that is *known* needs no download: it is returned with an empty `path`, and its rows count as skipped.
        *mark* is what the last successful run returned, or None. Nothing that a source returns may change while the
        run works, so a source that cannot rely on that copies into `context.spool`.
        """

    def settle(self, settings: Settings, context: RunContext, fetched: FetchResult) -> None:
        """Do what remains at the source once the rows are durable: move or delete files, say.

        *fetched* has only the files of which no row was refused: the others are to be offered again.
        """


class Destination(Protocol):
    """A module that takes a finished file of rows elsewhere."""

    def form(self, settings: Settings, wanted: Format) -> Format:
        """Return how the rows are to stand in the file that `deliver` gets; *wanted* is what the connection says."""

    def target(self, settings: Settings, context: RunContext) -> str:
        """Return the name under which the rows of this run will arrive; RunError when that cannot be.

        It is asked before any row is written, so that a mistake in the settings costs nothing, and so that the
        suffix (.csv.gz) is known.
        """

    def deliver(self, settings: Settings, context: RunContext, local: Path) -> SendResult:
        """Bring the rows of the file *local* to their target: a file whole or not at all, rows one batch at a time."""


class ComparingDestination(Protocol):
    """A destination that can say what a run would change at its partner; it may do without."""

    def compare_rows(
        self, settings: Settings, context: RunContext, local: Path, samples: Sequence[Mapping[str, str | None]]
    ) -> ComparedRows:
        """Return it for the rows of the file *local*, and for some of them, the *samples*: texts by column.

        Nothing is sent or changed, and nothing kept for later runs. Only a dry run asks.
        """


class SettlingDestination(Protocol):
    """A destination that can say later what became of rows whose run was cut off; it may do without."""

    def settle_rows(self, settings: Settings, context: RunContext, rows: int) -> SendResult:
        """Return what became of the *rows* of the file of the earlier run *context*, by what its ledger says.

        Nothing is sent. A row of which nobody can know it is refused as `unconfirmed`; RunError when it cannot be known
        now, so that the run that asks fails and the next one asks again.
        """


class ProbingConnector(Protocol):
    """A connector that can say whether its partner is there; it may do without."""

    def probe(self, settings: Settings, context: RunContext, *, writes: bool) -> str:
        """Return what was reached, in words; RunError when a run of today would not get so far.

        The name resolves, the partner is the right one, and takes our credentials; nothing is fetched or changed.
        With *writes* it is about an export. Only `connrunner doctor` asks.
        """


def source(name: str) -> Source:
    """Return the connector that imports from `type:` *name*."""
    return cast("Source", _module(name, SOURCES))


def destination(name: str) -> Destination:
    """Return the connector that exports to `type:` *name*."""
    return cast("Destination", _module(name, DESTINATIONS))


def keeps_ledger(module: Destination) -> bool:
    """Return whether the connector remembers itself whom the partner has: it says `KEEPS_LEDGER = True`.

    Each row that it gets has a `profile_key`, and one of a profile to delete nothing else but `deleted`.
    """
    return getattr(module, "KEEPS_LEDGER", False) is True


def can_settle(destination: Destination) -> bool:
    """Return whether *destination* is a `SettlingDestination`."""
    return hasattr(destination, "settle_rows")


def compare_rows(
    destination: Destination,
    settings: Settings,
    context: RunContext,
    local: Path,
    samples: Sequence[Mapping[str, str | None]],
) -> ComparedRows | None:
    """Return what *destination* tells, see `ComparingDestination`; None when it cannot say."""
    if not hasattr(destination, "compare_rows"):
        return None
    return cast("ComparingDestination", destination).compare_rows(settings, context, local, samples)


def probe(kind: str, settings: Settings, context: RunContext, *, writes: bool) -> str | None:
    """Return what the connector of `type:` *kind* reaches, see `ProbingConnector`; None when it cannot say."""
    module = _module(kind, DESTINATIONS if writes else SOURCES)
    if not hasattr(module, "probe"):
        return None
    return cast("ProbingConnector", module).probe(settings, context, writes=writes)


def _module(name: str, table: Mapping[str, str]) -> object:
    if name not in table:
        from importlib import metadata  # expensive, and rarely needed

        for point in metadata.entry_points(group=OUTSIDE, name=name):
            return _outside(point)
        near = nearest(name, table)
        advice = f"did you mean {near!r}?" if near else f"there is {', '.join(sorted(table))}"
        raise RunError(f"no connector of type {name!r}", hint=advice, code="unknown-connector")
    return importlib.import_module(table[name])


def _outside(point: EntryPoint) -> object:
    try:
        return point.load()
    except Exception as error:  # whatever a third-party package does at its import
        package = point.dist.name if point.dist else point.value
        raise RunError(
            f"the connector {point.name!r} of the package {package} cannot be loaded: {type(error).__name__}: {error}",
            hint="reinstall or remove the package",
            code="broken-connector",
        ) from error

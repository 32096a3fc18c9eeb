"""What a change of the workspace does over the coming days: the answer of `connrunner plan`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connrunner.answers import plan_warnings
from connrunner.answers.plan_files import FileChange, FilesOf, compare_files
from connrunner.answers.plan_warnings import PlanWarning
from connrunner.answers.shared_blackouts import find_shared_blackouts
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.config import load, place, secret_words, zones
from connrunner.config.documents.places import line_of, place_of
from connrunner.config.versions import revision
from connrunner.core import instant
from connrunner.core.model import Blackout, Connection, Workspace
from connrunner.core.planning import forecast
from connrunner.core.planning.changes import ConnectionChange, KeyDifference, Slots
from connrunner.core.planning.forecast import LaneDay, PredictedRun, RunDurations
from connrunner.core.planning.preview import Preview, WorkspacePreview, preview_change
from connrunner.core.schedules import notation
from connrunner.errors import ArgumentError
from connrunner.lazy_dataclasses import dataclass
from connrunner.state import run_files
from connrunner.text.durations import parse
from connrunner.text.nesting import parse_json

if TYPE_CHECKING:
    from connrunner.config.finding import Path as Steps


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanRequest:
    """What is compared, over how many days, and how long runs take."""

    versions: str = ""  # BASE, BASE..HEAD or BASE...HEAD; empty: the last commit and the files
    base_folder: Path | None = None  # the workspace to compare with, instead of a commit
    days: int = 7
    durations: Path | None = None  # a file that `connrunner next --format json` wrote
    guess: str = "5m"  # for a run of a connection without a past


@dataclass(frozen=True, slots=True)
class WorkspaceVersion:
    """A version of the workspace, and its name for people."""

    name: str
    workspace: Workspace
    files: FilesOf

    def locate(self, connection: str, steps: Steps) -> tuple[str, int]:
        """Return the file of *connection* and the line, from 1, of what stands at *steps* in it."""
        if not self.files.commit:
            return place_of(self.files.folder, connection, steps)
        path = f"connections/{connection}.yaml"
        text = revision.read_file_at(Path(self.files.folder), self.files.commit, path)
        return path, 1 if text is None else line_of(text.encode(), path, steps)


@dataclass(frozen=True, slots=True)
class LaneLoad:
    """What the days looked at ask of one lane."""

    runs: int
    seconds: float
    overlaps: int
    fullest: LaneDay
    longest: PredictedRun


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What the change from one version to another does."""

    base: str  # the names of the versions
    head: str
    zone: str  # for times that people read
    preview: Preview
    files: tuple[FileChange, ...]  # beside the YAML
    before: Mapping[str, Connection]
    after: Mapping[str, Connection]
    loads_before: Mapping[str, LaneLoad]  # by lane
    loads_after: Mapping[str, LaneLoad]
    warnings: tuple[PlanWarning, ...]
    blackouts_before: tuple[Blackout, ...]  # of the whole workspace
    blackouts_after: tuple[Blackout, ...]
    has_durations: bool  # False without a state folder and a file of run times
    guess: str

    @property
    def is_empty(self) -> bool:
        """True when the change does nothing."""
        return self.preview.is_empty and not self.files

    @property
    def shared_blackouts(self) -> tuple[Blackout, ...]:
        """The blackouts of the whole workspace in either version."""
        return (*self.blackouts_before, *self.blackouts_after)

    @property
    def lanes(self) -> list[str]:
        return sorted({*self.loads_before, *self.loads_after})


def read_plan(view: WorkspaceView, request: PlanRequest) -> Plan:
    """Return what the change does; ArgumentError, WorkspaceError when the versions cannot be compared."""
    base, head = _versions(view, request)
    names = {*base.workspace.connections, *head.workspace.connections}
    found = preview_change(
        base.workspace,
        head.workspace,
        promises=view.journal_state.promises,
        durations=_durations(view, names, request.durations, _seconds(request.guess)),
        now=instant.minute(view.now or datetime.now(UTC)),
        days=request.days,
        zones=zones.version(),
    )
    return Plan(
        base=base.name,
        head=head.name,
        zone=head.workspace.timezone,
        preview=found,
        files=compare_files((base.workspace, base.files), (head.workspace, head.files)),
        before=base.workspace.connections,
        after=head.workspace.connections,
        loads_before=_loads(found.before),
        loads_after=_loads(found.after),
        warnings=tuple(plan_warnings.find_warnings(found, head.workspace, head.locate)),
        blackouts_before=find_shared_blackouts(base.workspace),
        blackouts_after=find_shared_blackouts(head.workspace),
        has_durations=request.durations is not None or view.state.journal.exists(),
        guess=request.guess,
    )


# --- the versions ------------------------------------------------------------------------------------------------


def _versions(view: WorkspaceView, request: PlanRequest) -> tuple[WorkspaceVersion, WorkspaceVersion]:
    """Return the two versions to compare, each read as it is: no cache and no older version has a say."""
    folder, base_folder = view.folder, request.base_folder
    if base_folder is not None:
        if not base_folder.is_dir():
            raise ArgumentError(f"there is no folder {base_folder}", hint="name one with the workspace to compare with")
        if not (base_folder / place.FILE).is_file():
            hint = "name the folder that holds it, or compare with a commit: `connrunner plan HEAD~1`"
            raise ArgumentError(f"{base_folder} has no {place.FILE}", hint=hint)
        return _written(base_folder, str(base_folder)), _written(folder, "files")
    base, dots, head = _split(request.versions or "HEAD")
    if not dots:
        return _committed(folder, revision.resolve_revision(folder, base)), _written(folder, "files")
    first, second = revision.resolve_revision(folder, base or "HEAD"), revision.resolve_revision(folder, head or "HEAD")
    if dots == "...":
        first = revision.fork(folder, first, second)
    return _committed(folder, first), _committed(folder, second)


def _split(versions: str) -> tuple[str, str, str]:
    dots = "..." if "..." in versions else ".."
    return versions.partition(dots)


def _written(folder: Path, name: str) -> WorkspaceVersion:
    """Read the files as they are, committed or not, also where ticks obey commits only."""
    return WorkspaceVersion(name, load.load(folder, as_written=True), FilesOf(str(folder.absolute())))


def _committed(folder: Path, commit: str) -> WorkspaceVersion:
    workspace = load.load_commit(folder, commit)
    return WorkspaceVersion(f"commit {commit[:12]}", workspace, FilesOf(str(folder.absolute()), commit))


# --- run times ---------------------------------------------------------------------------------------------------


def _durations(view: WorkspaceView, names: set[str], file: Path | None, guess: float) -> Mapping[str, RunDurations]:
    """Return how long runs take: as *file* says, else as the histories of the state folder say, else *guess*."""
    known = dict(_from_file(file)) if file is not None else {}
    return {
        name: known.get(name) or forecast.summarize_durations(run_files.read_durations(view.state, name), guess=guess)
        for name in names
    }


def _from_file(file: Path) -> Iterator[tuple[str, RunDurations]]:
    advice = "write it with `connrunner next --format json`"
    try:
        for entry in parse_json(file.read_bytes()):
            usual = entry.get("usual") or {}
            if usual.get("runs"):
                median, p95 = float(usual["median"]), float(usual["p95"])
                yield str(entry["connection"]), RunDurations(median=median, p95=p95, runs=int(usual["runs"]))
    except OSError as error:
        raise ArgumentError(f"{file} cannot be read: {error.strerror}", hint=advice) from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ArgumentError(f"{file} is no list of coming runs with their usual run times", hint=advice) from None


def _seconds(guess: str) -> float:
    try:
        seconds = parse(guess)
    except ValueError:
        seconds = 0
    if seconds <= 0:
        raise ArgumentError(f"--guess takes a duration such as 90s, 5m or 2h, not {guess!r}")
    return float(seconds)


def _loads(side: WorkspacePreview) -> dict[str, LaneLoad]:
    lanes: defaultdict[str, list[LaneDay]] = defaultdict(list)
    for day in side.days:
        lanes[day.lane].append(day)
    return {
        lane: LaneLoad(
            runs=sum(day.runs for day in days),
            seconds=sum(day.seconds for day in days),
            overlaps=sum(day.overlaps for day in days),
            fullest=max(days, key=lambda day: day.seconds),
            longest=max((day.longest for day in days), key=lambda visit: visit.wait),
        )
        for lane, days in lanes.items()
    }


# --- JSON --------------------------------------------------------------------------------------------------------


def as_dict(plan: Plan) -> dict[str, Any]:
    """Return the plan as plain data; it is only ever added to."""
    found = plan.preview
    return {
        "base": plan.base,
        "head": plan.head,
        "from": instant.text(found.start),
        "until": instant.text(found.until),
        "timezone": plan.zone,
        "changed": not plan.is_empty,
        "connections": [_change_as_dict(plan, change) for change in found.changes],
        "around": [_difference_as_dict(difference) for difference in found.around],
        "files": [{"path": changed.path, "change": changed.change} for changed in plan.files],
        "problems": [
            {key: getattr(problem, key) for key in ("path", "line", "column", "message", "hint", "code")}
            for problem in found.problems
        ],
        "lanes": [
            {
                "lane": lane,
                "before": _load_as_dict(plan.loads_before.get(lane)),
                "after": _load_as_dict(plan.loads_after.get(lane)),
            }
            for lane in plan.lanes
        ],
        "warnings": [plan_warnings.as_dict(warning) for warning in plan.warnings],
        "guessed": found.guessed,
    }


def _change_as_dict(plan: Plan, change: ConnectionChange) -> dict[str, Any]:
    name, found = change.connection, plan.preview
    slots = found.slots.get(name, Slots())
    before, after = plan.before.get(name), plan.after.get(name)
    return {
        "connection": name,
        "change": change.kind,
        "keys": [_difference_as_dict(difference) for difference in change.keys],
        "schedule": {
            "before": notation.describe(before.schedule) if before else None,
            "after": notation.describe(after.schedule) if after else None,
        },
        "slots": {
            "before": len(found.before.slots.get(name, ())),
            "after": len(found.after.slots.get(name, ())),
            "added": [instant.text(slot) for slot in slots.added],
            "removed": [instant.text(slot) for slot in slots.removed],
            "moved": [{"from": instant.text(old), "to": instant.text(new)} for old, new in slots.moved],
        },
    }


def _load_as_dict(load: LaneLoad | None) -> dict[str, Any] | None:
    if load is None:
        return None
    longest = load.longest
    return {
        "runs": load.runs,
        "seconds": round(load.seconds, 3),
        "overlaps": load.overlaps,
        "fullest_day": {"day": str(load.fullest.day), "seconds": round(load.fullest.seconds, 3)},
        "longest_wait": {
            "seconds": longest.wait.total_seconds(),
            "connection": longest.connection,
            "behind": longest.behind,
            "due_at": instant.text(longest.due_at),
            "starts_at": instant.text(longest.starts_at),
        },
    }


def _difference_as_dict(difference: KeyDifference) -> dict[str, Any]:
    before, after = (mask(difference, value) for value in (difference.before, difference.after))
    return {"key": difference.key, "before": before, "after": after}


def mask(difference: KeyDifference, value: Any) -> Any:
    """Return *value*, a side of *difference*, or stars when it could be a secret that is not written as a reference."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if secret_words.has_credentials(text):
        return "***"
    key = difference.key.rpartition(".")[2]
    if isinstance(value, str) and secret_words.looks_secret(key) and not secret_words.is_reference(value):
        return "***"
    return value

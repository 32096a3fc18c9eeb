"""What one run said, and which rows it refused: the answers of `connrunner log` and `connrunner rejects`."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from connrunner.answers.workspace_view import WorkspaceView
from connrunner.errors import ArgumentError
from connrunner.lazy_dataclasses import dataclass
from connrunner.state import run_files
from connrunner.text.files import open_own, saving

COUNTED = 20_000  # refused rows that a page counts; the file has all


@dataclass(frozen=True, slots=True)
class RefusedRows:
    """The first refused rows of a run."""

    run: int
    rows: tuple[dict[str, Any], ...]
    total: int  # of those that were asked for, shown or not


def choose_run(view: WorkspaceView, name: str, number: int | None) -> int:
    """Return *number* if there is such a run, or the newest run's number, the running one's included."""
    view.require(name)
    last = run_files.read_last_run(view.state, name)
    newest = max(find_running(view, name) or 0, last.run if last else 0)
    if not newest:
        raise ArgumentError(f"{name} has not run yet", hint=f"`connrunner run {name}` runs it now")
    if number is None:
        return newest
    if not view.state.run(name, number).is_dir():
        if run_files.read_run(view.state, name, number):
            raise ArgumentError(
                f"the log of {name} #{number} is not kept any more", hint="see `keep`, or an archive of it"
            )
        raise ArgumentError(f"{name} has no run {number}", hint=f"its newest is {newest}; see `connrunner runs {name}`")
    return number


def find_running(view: WorkspaceView, name: str) -> int | None:
    """Return the number of the run of *name* that has started and not ended."""
    started = view.journal_state.started.get(name)
    return started.run if started else None


def read_log(view: WorkspaceView, name: str, run: int, offset: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each event of the log that begins at or after *offset* bytes, with the offset behind it."""
    return run_files.read_events_from(view.state.log(name, run), offset)


def read_refused(view: WorkspaceView, name: str, run: int, *, limit: int, code: str | None = None) -> RefusedRows:
    """Return the first *limit* rows that the run refused, only those with *code* where it is given."""
    total = 0
    rows: list[dict[str, Any]] = []
    for row in iter_refused(view, name, run, code=code):
        total += 1
        if len(rows) < limit:
            rows.append(row)
    return RefusedRows(run, tuple(rows), total)


def iter_refused(view: WorkspaceView, name: str, run: int, *, code: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield each row that the run refused, only those with *code* where it is given."""
    rows = run_files.read_events(view.state.rejects(name, run))
    return (row for row in rows if code is None or row.get("code") == code)


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedPage:
    """Some of the rows that a run did not accept."""

    rows: tuple[dict[str, Any], ...]
    first: int  # the place of the first of them among those that were asked for, from 0
    total: int  # of those that were asked for
    by_code: dict[str, int]
    is_whole: bool  # False when there are more than were counted


def page_refused(view: WorkspaceView, name: str, run: int, *, code: str, first: int, limit: int) -> RefusedPage:
    """Return *limit* rows from place *first* on, only those with *code* unless it is empty; COUNTED are looked at."""
    by_code: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    events = run_files.read_events(view.state.rejects(name, run))
    for row in islice(events, COUNTED):
        this = str(row.get("code") or "")
        place = by_code[code] if code else by_code.total()
        by_code[this] += 1
        if code in ("", this) and first <= place < first + limit:
            rows.append(row)
    return RefusedPage(
        rows=tuple(rows),
        first=first,
        total=by_code[code] if code else by_code.total(),
        by_code=dict(by_code.most_common()),
        is_whole=next(events, None) is None,
    )


def has_refused(view: WorkspaceView, name: str, run: int) -> bool:
    """Tell whether rows are kept that the run did not accept."""
    return view.state.rejects(name, run).is_file()


def save_log(view: WorkspaceView, name: str, run: int, target: Path) -> None:
    """Save the log of a run, JSON lines, at *target*."""
    _copy(view.state.log(name, run), target)


def save_refused(view: WorkspaceView, name: str, run: int, target: Path) -> None:
    """Save every row that a run refused, JSON lines, at *target*."""
    _copy(view.state.rejects(name, run), target)


def _copy(path: Path, target: Path) -> None:
    """Copy a file of a run; a run that wrote none gives an empty file."""
    try:
        with saving(target) as copy, suppress(FileNotFoundError), open_own(path) as file:
            shutil.copyfileobj(file, copy)
    except OSError as error:
        raise ArgumentError(f"{target} cannot be written: {error.strerror}") from error

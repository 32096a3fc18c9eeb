"""What is kept of each run: the history of its connection, its log and its rejects, as JSON lines."""

from __future__ import annotations

import errno
import functools
import json
import os
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import Any, NamedTuple

from connrunner.core import instant, run_records
from connrunner.core.counts import Counts
from connrunner.core.model import Outcome, Result, Run
from connrunner.core.report import Level
from connrunner.core.run_records import LogSummary
from connrunner.errors import HistoryError, StateError
from connrunner.state.folder import StateFolder, recording
from connrunner.text.files import NO_ROOM, append_whole, explain_no_file, open_own, sync_folder
from connrunner.text.nesting import parse_json
from connrunner.text.regular_files import NotAFileError, open_regular

FIRST_BLOCK = 1 << 12  # bytes that are read of the end of a history: its last runs, which most questions are about
BLOCK = 1 << 16
LONGEST = 1 << 24  # bytes of an event: none of ours has as many, and a damaged log may have no end of a line
WARNING_ROOM = 300  # bytes of the event that says how much a log lost
NEAR = 8  # runs within which the order of their ends may differ from that of their numbers
LOOKED_AT = 100  # runs, for the run times of the past
MEASURED = 30
# What the system says of one file, and not of the disk.
OF_ONE_FILE = (errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EIO)
CAME_TO_ITS_END = (Outcome.SUCCEEDED, Outcome.PARTIAL)
# The head of a record as `run_records.as_dict` orders it: everything in it is ours.
_HEAD = re.compile(
    rb'\{"connection": ?"[^"\\]*", ?"run": ?\d+, ?"outcome": ?"([a-z]+)", ?"trigger": ?"(?:schedule|manual)", '
    rb'?"due_at": ?"[^"\\]*", ?"queued_at": ?"[^"\\]*", ?"started_at": ?(null|"[^"\\]*"), '
    rb'?"ended_at": ?"([^"\\]*)", ?"seconds": ?(\d+(?:\.\d+)?),'
)
# Of the other outcomes the code says whether somebody ended the run.
_PLAIN_OUTCOMES = {str(outcome).encode(): outcome for outcome in (Outcome.SUCCEEDED, Outcome.PARTIAL)}
_OUTCOMES = {str(outcome).encode(): outcome for outcome in Outcome}
_OUTCOME = re.compile(rb'"outcome":"([a-z]+)"')  # of a record: before whatever text of others it holds
CUT_OFF = ("timeout", "crashed")  # codes of runs that failed since somebody ended them: not their own time


def create_run(folder: StateFolder, connection: str, *, after: int) -> int:
    """Reserve the next run number of *connection*, above *after* and above every number seen on disk.

    The number is the folder that this creates: two processes never get the same one, and a lost journal repeats none.
    """
    home = folder.connection(connection)
    with recording(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = next_number(folder, connection, after=after)
        while True:
            try:
                folder.run(connection, number).mkdir(mode=0o700)
            except FileExistsError:
                number += 1
                continue
            sync_folder(home)
            return number


def next_number(folder: StateFolder, connection: str, *, after: int) -> int:
    """Return the number that the next run of *connection* would have; it is not reserved."""
    home = folder.connection(connection)
    names = os.listdir(home) if home.is_dir() else []  # noqa: PTH208 - names are all that is asked for
    newest = max((int(name) for name in names if name.isascii() and name.isdigit()), default=0)
    last = read_last_run(folder, connection)
    return max(after, newest, last.run if last else 0) + 1


@contextmanager
def opening_history(folder: StateFolder, connection: str) -> Iterator[None]:
    """Turn what is wrong with the file of one history into a HistoryError: it stops no other connection."""
    try:
        yield
    except OSError as error:
        if isinstance(error, NotAFileError):
            said = explain_no_file(error)
            raise HistoryError(said.message, hint=said.hint, connection=connection) from error
        if error.errno not in OF_ONE_FILE:
            raise
        message = f"{folder.history(connection)} cannot be read and written: {error.strerror}"
        hint = "see whose it is and what it is (`ls -l`), and put it right; nothing of it was changed"
        raise HistoryError(message, hint=hint, connection=connection) from error


def choose_with_past(folder: StateFolder, names: Iterable[str]) -> set[str]:
    """Return *names*, without some of those that have no past: nothing need be opened to find that out of each."""
    there = set(names)
    with suppress(OSError):
        # One list instead of a look at each, unless it is the longer one: a folder has a link for each folder in it.
        if len(there) >= folder.runs.stat().st_nlink:
            there.intersection_update(os.listdir(folder.runs))  # noqa: PTH208 - names are all that is asked for
    return there


def find_unusable(folder: StateFolder, names: Iterable[str]) -> dict[str, HistoryError]:
    """Return those of *names* whose history cannot be read and written, and why; one that has none yet can."""
    found = {}
    runs = str(folder.runs)
    for name in choose_with_past(folder, names):
        # By text: a page asks this of ten thousand at once, and paths as values cost several times what opening does.
        try:
            os.close(open_regular(f"{runs}/{name}/history.jsonl", os.O_RDWR))
            continue
        except FileNotFoundError:
            continue
        except OSError:
            pass
        try:
            with suppress(FileNotFoundError), opening_history(folder, name):
                os.close(open_regular(folder.history(name), os.O_RDWR))
        except HistoryError as error:
            found[name] = error
    return dict(sorted(found.items()))


def append_history(folder: StateFolder, run: Run) -> None:
    """Add an ended run to its connection's history, durably, unless it is there already.

    HistoryError when that cannot be because of this one file; StateError when the disk is full or broken.
    """
    path = folder.history(run.connection)
    with recording(path):
        if read_run(folder, run.connection, run.run) is not None:
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with opening_history(folder, run.connection):
            descriptor = open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            append_whole(descriptor, (b"\n" if torn else b"") + encode_event(run_records.as_dict(run)), size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if size == 0:
            sync_folder(path.parent)


def read_last_run(folder: StateFolder, connection: str) -> Run | None:
    """Return the newest ended run in the history of *connection*."""
    return next(read_history(folder, connection), None)


def read_run(folder: StateFolder, connection: str, number: int) -> Run | None:
    """Return run *number* of *connection* when it has ended and history says so; None else."""
    newest = takewhile(lambda run: run.run >= number - NEAR, read_history(folder, connection, until=number))
    return next((run for run in newest if run.run == number), None)


def read_history(folder: StateFolder, connection: str, *, until: int | None = None) -> Iterator[Run]:
    """Yield the ended runs of *connection*, newest first, reading the file from its end only as far as asked.

    With *until*, those up to this number; newer ones cost a few looks, however many there are. Lines that are no record
    (a crash in the middle of a write) are left out. HistoryError when the file cannot be read.
    """
    try:
        with opening_history(folder, connection):
            descriptor = open_regular(folder.history(connection))
    except FileNotFoundError:
        return
    with os.fdopen(descriptor, "rb"), opening_history(folder, connection):
        end = os.fstat(descriptor).st_size
        if until is not None:
            end = _skip_newer(descriptor, end, until)
        for line in _lines_backward(descriptor, end):
            run = parse_run(line)
            if run is not None and (until is None or run.run <= until):
                yield run


def read_any_history(folder: StateFolder, connection: str, *, until: int | None = None) -> Iterator[Run]:
    """Yield what `read_history` does, of a history that cannot be read nothing.

    For questions about many connections: `find_unusable` says of which nothing is known.
    """
    with suppress(HistoryError):
        yield from read_history(folder, connection, until=until)


def read_runs_after(folder: StateFolder, connection: str, number: int) -> tuple[Run, ...]:
    """Return the ended runs of *connection* with a number above *number*, newest first: a thousand of them at most."""
    return tuple(islice(takewhile(lambda run: run.run > number, read_history(folder, connection)), 1000))


def read_durations(folder: StateFolder, connection: str) -> list[float]:
    """Return how many seconds runs of *connection* took, newest first: those that did their work, else that failed.

    What was cut off does not count. Only the newest are looked at, so that a year of runs costs no more than a month.
    """
    try:
        facts = folder.history(connection).stat()
    except OSError:
        return []
    return list(_durations_of(folder, connection, (facts.st_ino, facts.st_size, facts.st_mtime_ns)))


@functools.lru_cache(maxsize=20_000)
def _durations_of(folder: StateFolder, connection: str, looks: tuple[int, int, int]) -> array[float]:  # noqa: ARG001
    """Return the run times of a history as long as its file *looks* so: who shows many connections asks often."""
    ended, failed = array("d"), array("d")
    for mark in read_marks(folder, connection, LOOKED_AT):
        if not mark.is_whole:
            continue
        if mark.outcome in CAME_TO_ITS_END:
            ended.append(mark.seconds)
            if len(ended) == MEASURED:
                break
        elif mark.outcome is Outcome.FAILED:
            failed.append(mark.seconds)
    return (ended or failed)[:MEASURED]


def read_ends(folder: StateFolder, connection: str) -> Iterator[tuple[datetime, Outcome]]:
    """Yield when the ended runs of *connection* ended, and how, newest first: for questions about many connections.

    Of a history that cannot be read nothing, as `read_any_history` does.
    """
    with (
        suppress(FileNotFoundError, HistoryError),
        opening_history(folder, connection),
        os.fdopen(open_regular(folder.history(connection)), "rb", buffering=0) as file,
    ):
        lines = _lines_backward(file.fileno(), os.fstat(file.fileno()).st_size)
        yield from filter(None, map(_end_of, lines))


def _end_of(line: bytes) -> tuple[datetime, Outcome] | None:
    """Return when and how the run of *line* ended; the lines that we write need not be taken apart for it."""
    known = _HEAD.match(line)
    if known is not None and line.endswith(b"}") and (outcome := _OUTCOMES.get(known[1])) is not None:
        with suppress(ValueError):
            return instant.parse(known[3].decode()), outcome
    run = parse_run(line)
    return (run.ended_at, run.outcome) if run else None


class RunMark(NamedTuple):
    """What a picture of many runs needs of each."""

    outcome: Outcome
    seconds: float
    is_whole: bool  # it was started and nobody ended it, so the seconds are its own; an undo is other work


def read_marks(folder: StateFolder, connection: str, count: int) -> Iterator[RunMark]:
    """Yield what a picture needs of the last *count* ended runs of *connection*, newest first.

    Of a history that cannot be read nothing, as `read_any_history` does.
    """
    with (
        suppress(FileNotFoundError, HistoryError),
        opening_history(folder, connection),
        os.fdopen(open_regular(folder.history(connection)), "rb") as file,
    ):
        lines = _lines_backward(file.fileno(), os.fstat(file.fileno()).st_size)
        yield from islice(filter(None, map(_mark_of, lines)), count)


def _mark_of(line: bytes) -> RunMark | None:
    """Return what *line* says of a run; the lines that we write need not be taken apart for it."""
    known = _HEAD.match(line)
    if known is not None and line.endswith(b"}") and (outcome := _PLAIN_OUTCOMES.get(known[1])) is not None:
        return RunMark(outcome, float(known[4]), is_whole=known[2] != b"null")
    run = parse_run(line)
    if run is None:
        return None
    was_whole = run.intent.started_at is not None and run.result.code not in CUT_OFF
    return RunMark(run.outcome, run.seconds, is_whole=was_whole and run.intent.kind != "undo")


def read_recent(folder: StateFolder, connection: str, count: int, *, until: int = 0) -> list[Run]:
    """Return the last *count* ended runs of *connection*, newest first: those up to number *until* when it says one.

    Of a history that cannot be read there are none.
    """
    return list(islice(read_any_history(folder, connection, until=until or None), count))


def tally_outcomes(folder: StateFolder, connection: str, *, most: int) -> Counter[str]:
    """Return how many of the last *most* ended runs of *connection* ended how, without taking their lines apart.

    Of a history that cannot be read there are none.
    """
    with (
        suppress(FileNotFoundError, HistoryError),
        opening_history(folder, connection),
        os.fdopen(open_regular(folder.history(connection)), "rb") as file,
    ):
        lines = _lines_backward(file.fileno(), os.fstat(file.fileno()).st_size)
        found = (_OUTCOME.search(line) for line in islice(lines, most))
        return Counter(one[1].decode() for one in found if one)
    return Counter()


def parse_run(line: bytes) -> Run | None:
    """Return the run that a line of history tells of; None when it is no record."""
    try:
        return run_records.from_mapping(parse_json(line))
    except run_records.MALFORMED:
        return None


def _skip_newer(descriptor: int, end: int, until: int) -> int:
    """Return where a line begins behind which, up to *end*, no run up to number *until* is recorded.

    Numbers grow along the file, so a few looks find the place: further and further from the end, then by halves. Damage
    that hides what is looked for costs a longer way, and no run.
    """
    step, start = BLOCK, end - BLOCK
    while start > 0:
        found = _first_record(descriptor, start, end)
        if found is None:
            return end
        offset, number = found
        if number <= until + NEAR:
            break
        end, step = offset, 2 * step
        start = offset - step
    start = max(0, start)
    while end - start > BLOCK:
        middle = (start + end) // 2
        found = _first_record(descriptor, middle, end)
        if found is None:
            return end
        offset, number = found
        if number > until + NEAR:
            end = offset
        else:
            start = middle
    return end


def _first_record(descriptor: int, start: int, end: int) -> tuple[int, int] | None:
    """Return offset and number of the first run whose line begins behind *start*; None when none is near."""
    block = os.pread(descriptor, min(BLOCK, end - start), start)
    offset = block.find(b"\n") + 1
    while offset and (length := block.find(b"\n", offset) + 1 - offset) > 0:
        run = parse_run(block[offset : offset + length])
        if run is not None:
            return start + offset, run.run
        offset += length
    return None


def _lines_backward(descriptor: int, end: int) -> Iterator[bytes]:
    """Yield the lines before *end*, the last one first."""
    position, size = end, FIRST_BLOCK
    rest = b""
    while position > 0:
        start = max(0, position - size)
        rest = os.pread(descriptor, position - start, start) + rest
        position, size = start, min(2 * size, BLOCK)
        first, *others = rest.split(b"\n")
        for line in reversed(others):
            if line.strip():
                yield line
        rest = first
    if rest.strip():
        yield rest


class RunLog:
    """The log of one run while it is written: one JSON line for each event. Only the run's own process writes it.

    A full disk stops no run: events that cannot be written are counted, and told once there is room again. Whatever
    fails, the file ends with a whole line.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self._size = os.fstat(self._descriptor).st_size
        self._is_torn = self._size > 0 and os.pread(self._descriptor, 1, self._size - 1) != b"\n"
        self._lost = 0
        self._why = ""

    def message(self, text: str, *, level: Level = "info", **facts: Any) -> None:
        self._add({"level": level, "message": text, **facts})

    def progress(self, stage: str, done: int, of: int | None = None) -> None:
        self._add({"type": "progress", "stage": stage, "done": done, "of": of})

    def write_counts(self, counts: Counts) -> None:
        """Add what the program has counted so far: it is known then even if no process lives to log the end."""
        self._add({"type": "counts", "counts": counts.as_dict()})

    def write_attempt(self, number: int) -> None:
        """Add that another attempt begins: what the one before it counted is not true of the run any more."""
        self._add({"type": "attempt", "number": number})

    def write_start(self, facts: Mapping[str, Any]) -> None:
        self._add({"type": "started", **facts})

    def copy(self, event: Mapping[str, Any]) -> None:
        """Add *event*, which a run that lives elsewhere logged there; it says itself when."""
        try:
            self._write(event)
        except OSError as error:
            self._lose(1, error)

    def write_end(self, result: Result) -> None:
        """Add the last event, durably: a tick that comes later knows by it how the run ended.

        Where there is no room, the last events before it give it theirs. OSError when it is not durable all the same.
        """
        self.write_last(end_event(result))

    def write_last(self, event: Mapping[str, Any]) -> None:
        """Add *event* as `write_end` does."""
        try:
            self._write(event)
        except OSError as error:
            room = len(encode_event(event)) + WARNING_ROOM
            if error.errno not in NO_ROOM or room > self._size:
                raise
            self._drop_last(room, error)
            self._write(event)
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def _add(self, event: Mapping[str, Any]) -> None:
        try:
            self._write({"at": instant.text(datetime.now(UTC)), **event})
        except OSError as error:
            self._lose(1, error)

    def _lose(self, events: int, error: OSError) -> None:
        self._lost += events
        self._why = error.strerror or str(error)

    def _write(self, event: Mapping[str, Any]) -> None:
        data = encode_event(event)
        if self._lost:
            text = f"{self._lost:,} events could not be written: {self._why}"
            data = encode_event({"at": event.get("at"), "level": "warning", "message": text}) + data
        if self._is_torn:  # a process that was killed left part of a line
            data = b"\n" + data
        append_whole(self._descriptor, data, self._size)
        self._size += len(data)
        self._lost, self._is_torn = 0, False

    def _drop_last(self, room: int, error: OSError) -> None:
        """Cut off the last whole events, *room* bytes of them at least."""
        start = max(0, self._size - room - BLOCK)
        tail = os.pread(self._descriptor, self._size - start, start)
        cut = tail.rfind(b"\n", 0, max(0, len(tail) - room)) + 1
        if not cut and start:
            return  # one event as long as that: there is no telling where the one before it ends
        os.ftruncate(self._descriptor, start + cut)
        self._size, self._is_torn = start + cut, False
        self._lose(tail.count(b"\n", cut), error)


def read_events(path: Path, *, offset: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the whole events of a log or rejects file, oldest first. A file that is not there has none."""
    for _, event in read_events_from(path, offset):
        yield event


def read_events_from(path: Path, offset: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each whole event that begins at or after *offset*, with the offset behind it."""
    try:
        file = open_own(path)
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        while line := file.readline(LONGEST):
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                event = parse_json(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield offset, event


def read_log_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each whole line of a log with its number, from 1, oldest first. A file that is not there has none."""
    try:
        file = open_own(path)
    except FileNotFoundError:
        return
    with file:
        number = 0
        while line := file.readline(LONGEST):
            if line.endswith(b"\n"):
                number += 1
                yield number, line


def read_last_copied(path: Path) -> int:
    """Return the highest `line` of the events that were copied into a log; 0 when there is none.

    They stand in the order of their numbers, so the last one is looked for from the end.
    """
    with suppress(OSError), os.fdopen(open_regular(path), "rb") as file:
        for line in _lines_backward(file.fileno(), os.fstat(file.fileno()).st_size):
            with suppress(ValueError):
                event = parse_json(line)
                if isinstance(event, dict) and isinstance(event.get("line"), int):
                    return int(event["line"])
    return 0


def read_log_summary(folder: StateFolder, connection: str, number: int) -> LogSummary:
    """Return what the log of a run tells so far, and what stands in its place while there is no room in the log."""
    log, reserve = folder.log(connection, number), folder.reserve(connection, number)
    return run_records.fold_log(chain(_events_if_any(log), _events_if_any(reserve)))


def _events_if_any(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what can be read of a log: a run whose log cannot be read comes to its end as well."""
    with suppress(StateError):
        yield from read_events(path)


def end_event(result: Result) -> dict[str, Any]:
    """Return the event that says how a run ended, which happens now."""
    return {"at": instant.text(datetime.now(UTC)), "type": "ended", **run_records.result_as_dict(result)}


def encode_event(record: Mapping[str, Any]) -> bytes:
    """Return the line of a log that *record* is."""
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=str)
    return text.encode("utf-8", "backslashreplace") + b"\n"

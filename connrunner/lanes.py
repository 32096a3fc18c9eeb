"""The queue at work: the lanes side by side, in each lane one run after the other."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from connrunner.core import plan
from connrunner.core import run as runs
from connrunner.core.model import Connection, Outcome, Run, Workspace
from connrunner.core.run import Result
from connrunner.errors import ConnrunnerError
from connrunner.executors import local
from connrunner.notify.heart import Heart, Sign, rid_of, sign_of
from connrunner.records import Records
from connrunner.state import locks
from connrunner.state import runs as run_files
from connrunner.state.locks import LaneLock
from connrunner.state.standing import Started

Say = Callable[[dict[str, Any]], None]

GLANCE = 0.5  # seconds between two looks at signals and at the clock while a run works
GRACE = 30  # seconds beyond its timeout after which a worker that does not end itself is told to
KILL_AFTER = 20  # seconds between telling and killing: a worker gives its program 10 to end


class EndedError(ConnrunnerError):
    """Somebody ended connrunner itself."""

    exit_code = 130


@dataclass(kw_only=True)
class Working:
    """A run that works now, under a lane lock of ours."""

    lane: LaneLock
    started: Started
    connection: Connection
    process: local.Process
    began: float  # monotonic seconds
    told_to_end: float | None = None
    timed_out: bool = False


@dataclass
class Lanes:
    """Starts what waits and sees it end.

    *refresh* gives the newest sound version of the workspace: another tick may have queued a connection that is newer
    than ours.
    """

    folder: Path
    refresh: Callable[[], Workspace]
    records: Records
    say: Say
    heart: Heart
    workspace: Workspace = field(init=False)
    _working: dict[str, Working] = field(default_factory=dict)  # by lane
    _busy: set[str] = field(default_factory=set)  # lanes that somebody else holds
    _ending: int = 0  # the signal that asked connrunner to end

    def __post_init__(self) -> None:
        self.workspace = self.refresh()

    def drain(self, *, until: Callable[[], bool], every_minute: Callable[[], None], idle: Callable[[], None]) -> None:
        """Run what waits until nothing does, or until *until* says that no more is to be started.

        *every_minute* is called when the clock comes to a new minute while runs work, *idle* twice a second. SIGTERM
        and SIGINT end the runs that work, record them as interrupted, and raise EndedError.
        """
        self._busy.clear()
        minute = self._minute()
        with self._signals():
            while not self._ending:
                if not until():
                    self._fill()
                if not self._working:
                    return
                local.wait([working.process for working in self._working.values()], GLANCE)
                idle()
                for working in list(self._working.values()):
                    self._look_at(working)
                if minute != (minute := self._minute()):
                    self._busy.clear()
                    every_minute()
            self._end_all()
            raise EndedError("connrunner was told to end; the runs that worked are recorded as interrupted")

    def lane_of(self, connection: str) -> str:
        """Return the lane that *connection* waits in."""
        known = self.workspace.connections.get(connection)
        return known.lane if known else "main"

    def _minute(self) -> int:
        return int(self.records.clock().timestamp() // 60)

    # --- starting ----------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Start a run in every lane that has work and that nobody holds."""
        stands = self.records.journal.read()
        if not stands.waiting and not stands.started:
            return
        self.workspace = self.refresh()
        lanes = {self.lane_of(name) for name in stands.waiting} | {run.lane for run in stands.started.values()}
        for name in sorted(lanes - set(self._working) - self._busy):
            lane = LaneLock(self.records.state, name)
            if not lane.take():
                self._busy.add(name)
                self._say_busy(name)
                continue
            working = None
            try:
                self._recover(name)
                working = self._start_next(name, lane)
            finally:
                if working is None:
                    lane.let_go()
                else:
                    self._working[name] = working

    def _recover(self, lane: str) -> None:
        """Record the end of runs of *lane* that nobody saw end."""
        for started in list(self.records.journal.read().started.values()):
            if started.lane == lane:
                connection = self.workspace.connections.get(started.connection)
                notify = connection.notify if connection else self.workspace.default_notify
                run = self.records.recover(started, notify)
                self._ended(run, started, connection, event="recovered")

    def _start_next(self, name: str, lane: LaneLock) -> Working | None:
        """Start the first waiting run of a lane that we hold; None when none waits."""
        records = self.records
        while True:
            with locks.changing(records.state):
                stands = records.journal.open()
                # A connection that was moved to this lane may still run in its old one.
                fits = (
                    entry
                    for entry in plan.in_order(stands.waiting.values())
                    if self.lane_of(entry.connection) == name and entry.connection not in stands.started
                )
                entry = next(fits, None)
                if entry is None:
                    return None
                if entry.connection not in self.workspace.connections:
                    self.workspace = self.refresh()  # a tick with a newer version may have queued it just now
                connection = self.workspace.connections.get(entry.connection)
                if connection is None:
                    skipped = records.skip(entry, self.workspace, dequeued=True)
                    self.say({"event": "ended", **runs.as_dict(skipped)})
                    continue
                if plan.is_too_late(entry, connection, records.clock()):
                    missed = records.miss(entry, plan.waited_too_long(connection), self.workspace, dequeued=True)
                    self.say({"event": "ended", **runs.as_dict(missed)})
                    continue
                started = records.start(entry, connection, commit=self.workspace.commit)
            self.say({"event": "started", "connection": connection.name, "run": started.run, "lane": name})
            self._beat(connection, "start", started, f"run {started.run} has started")
            began = time.monotonic()
            try:
                process = local.start(
                    self._job(started, connection, lane), inherit=lane.descriptor, errors=self._errors(started)
                )
            except OSError as error:
                message = f"its process cannot be started: {error.strerror}"
                result = Result(outcome=Outcome.FAILED, message=message, code="cannot-start")
                run = records.finish(started, result, seconds=0, notify=connection.notify)
                self._ended(run, started, connection)
                continue
            return Working(lane=lane, started=started, connection=connection, process=process, began=began)

    def _job(self, started: Started, connection: Connection, lane: LaneLock) -> dict[str, Any]:
        return {
            "workspace": str(self.folder),
            "state": str(self.records.state.root),
            "connection": connection.name,
            "document": connection.document,
            "profile": self.workspace.profile_document,
            "run": started.run,
            "started_at": started.started_at,
            "lane_descriptor": lane.descriptor,
        }

    def _errors(self, started: Started) -> Path:
        """Where the worker's interpreter complains when it cannot say more: empty, and removed, in good times."""
        return self.records.state.run(started.connection, started.run) / "worker.txt"

    # --- ending ------------------------------------------------------------------------------------------------

    def _look_at(self, working: Working) -> None:
        """Finish a run whose worker has ended; end a worker that outlives its timeout."""
        status = working.process.exit_status
        if status is None:
            overtime = time.monotonic() - working.began - working.connection.timeout
            if overtime > GRACE and working.told_to_end is None:
                working.timed_out = True
                self._tell_to_end(working)
            elif working.told_to_end is not None and time.monotonic() - working.told_to_end > KILL_AFTER:
                working.process.kill()
            return
        seconds = round(time.monotonic() - working.began, 3)
        working.process.close()
        result = self._result(working, status)
        run = self.records.finish(working.started, result, seconds=seconds, notify=working.connection.notify)
        self._ended(run, working.started, working.connection)
        del self._working[working.started.lane]
        working.lane.let_go()
        if working.lane.take():
            working.lane.let_go()
        else:
            self._busy.add(working.started.lane)
            self.say({"event": "left-over", "connection": run.connection, "run": run.run})

    def _result(self, working: Working, status: int) -> Result:
        """Return how a worker that is gone says it went, or what its exit says when it did not say."""
        started = working.started
        story = run_files.story(self.records.state, started.connection, started.run)
        complaint, said = self._errors(started), ""
        with suppress(OSError):  # the run has ended, and that has to be recorded
            said = complaint.read_text(errors="backslashreplace").strip()
            if not said:
                complaint.unlink()
        if working.timed_out:
            text = f"it did not end at its timeout of {working.connection.timeout:,} s and was killed"
            return Result(outcome=Outcome.FAILED, message=text, code="timeout")
        if story.result is not None:
            return story.result
        how = f"by signal {-status}" if status < 0 else f"with exit status {status}"
        last = f": {said.splitlines()[-1]}" if said else ""
        text = f"its process ended {how} before it said how it went{last}"
        return Result(outcome=Outcome.FAILED, message=text, code="crashed")

    def _tell_to_end(self, working: Working) -> None:
        working.process.terminate()
        working.told_to_end = time.monotonic()

    def _end_all(self) -> None:
        for working in self._working.values():
            self._tell_to_end(working)
        while self._working:
            local.wait([working.process for working in self._working.values()], GLANCE)
            for working in list(self._working.values()):
                self._look_at(working)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Note SIGTERM and SIGINT instead of dying from them while runs work."""

        def note(number: int, _frame: FrameType | None) -> None:
            self._ending = number

        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ended(self, run: Run, started: Started, connection: Connection | None, *, event: str = "ended") -> None:
        self.say({"event": event, **runs.as_dict(run)})
        said = f": {run.message}" if run.message else ""
        self._beat(connection, sign_of(run), started, f"run {run.run} {run.outcome}{said}")

    def _beat(self, connection: Connection | None, sign: Sign, started: Started, body: str) -> None:
        """Have somebody outside told, when the connection says whom."""
        if connection is not None and connection.heartbeat is not None:
            rid = rid_of(self.records.state.root, connection.name, started.run, started.started_at)
            self.heart.beat(connection.heartbeat.url, sign, about=connection.name, rid=rid, body=body)

    # --- telling -----------------------------------------------------------------------------------------------

    def _say_busy(self, lane: str) -> None:
        stands = self.records.journal.read()
        working = next((started for started in stands.started.values() if started.lane == lane), None)
        waits = [entry.connection for entry in plan.in_order(stands.waiting.values())]
        self.say(
            {
                "event": "busy",
                "lane": lane,
                "connection": working.connection if working else None,
                "run": working.run if working else None,
                "since": working.started_at if working else None,
                "waiting": [name for name in waits if self.lane_of(name) == lane],
            }
        )

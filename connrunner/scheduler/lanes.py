"""The queue at work: the lanes side by side, in each lane one run after the other."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from connrunner.core import instant, run_records
from connrunner.core.model import Connection, Outcome, QueuedRun, Result, Run, Workspace
from connrunner.core.planning import due, queue_order
from connrunner.core.planning.due import DecisionRequest, StopRequest
from connrunner.errors import ConnrunnerError, HistoryError
from connrunner.executors import local
from connrunner.executors.contract import Worker
from connrunner.lazy_dataclasses import dataclass, field, replace
from connrunner.notify.pings import Ping, PingSender, describe_for_ping, ping_of, run_ping_id
from connrunner.processes.tree import describe_process, find_lock_holders
from connrunner.scheduler import leftovers
from connrunner.scheduler.executor_table import ExecutorTable
from connrunner.scheduler.recorder import RunRecorder
from connrunner.scheduler.supervision import SupervisedRun
from connrunner.state import locks, requests, run_files
from connrunner.state.journal_state import JournalState, StartedRun
from connrunner.state.locks import LaneLock, SupervisorLock, WorkerLock

Say = Callable[[dict[str, Any]], None]

UNKNOWN_TIMEOUT = 7 * 24 * 3600  # seconds: of a run whose connection is gone; its own process knows better
GLANCE = 0.5  # seconds between two looks at signals, at requests and at the clock while a run works


class EndedError(ConnrunnerError):
    """A signal ended connrunner itself."""

    exit_code = 130


@dataclass
class Lanes:
    """Starts what waits and sees it end.

    *refresh* gives the newest sound version of the workspace: another tick may have queued a connection that is newer
    than ours.
    """

    folder: Path
    refresh: Callable[[], Workspace]
    recorder: RunRecorder
    say: Say
    pings: PingSender
    workspace: Workspace
    withheld: Mapping[str, HistoryError] = field(default_factory=dict)  # connections whose history cannot be used
    by_hand: dict[str, StopRequest] = field(default_factory=dict)  # what Ctrl-C means: the end of the watched runs
    executors: ExecutorTable = field(init=False)
    _working: dict[str, SupervisedRun] = field(default_factory=dict)  # by lane
    _busy: set[str] = field(default_factory=set)  # lanes that another process holds
    _ending: int = 0  # the signal that asked connrunner to end

    def __post_init__(self) -> None:
        self.executors = ExecutorTable(self.recorder.state)

    def drain(
        self,
        *,
        until: Callable[[], bool],
        every_minute: Callable[[], None],
        meanwhile: Callable[[], None],
        start: bool = True,
    ) -> None:
        """Run what waits until nothing does, or until *until* says that no more is to be started.

        Without *start* nothing is: only what works already, and whose connrunner died, is looked after. *every_minute*
        is called when the clock comes to a new minute while runs work, *meanwhile* twice a second. SIGTERM and SIGINT
        end the runs that work, record them as interrupted, and raise EndedError.
        """
        self._busy.clear()
        minute = self._minute()
        with self._signals():
            while not self._ending:
                self._apply_stops()
                if start:
                    self._apply_declines()
                enough = until()
                if not enough:
                    self._fill(start=start)
                elif all(working.adopted and not working.is_asked_to_end for working in self._working.values()):
                    self._release_adopted()
                if not self._working:
                    return
                local.wait_for_workers([working.worker for working in self._working.values()], GLANCE)
                meanwhile()
                self._record_ended()
                if minute != (minute := self._minute()):
                    self._busy.clear()
                    every_minute()
            self._end_all()
            ended = "the runs that worked on this machine are recorded as interrupted"
            raise EndedError(f"connrunner was told to end; {ended}")

    def record_dead(self) -> None:
        """Record the ends of runs of which nothing is alive any more, as after a crash of the host.

        Before slots are decided: what is due now runs, and is not merged into a run that nobody works at.
        """
        for name in sorted({run.lane for run in self._list_started() if self._is_dead(run)}):
            working = self._fill_lane(name, start=False)
            if working is not None:
                self._working[name] = working

    def _list_started(self) -> list[StartedRun]:
        """Return the runs without a recorded end whose end can be recorded."""
        started = self.recorder.journal.read().started
        return [run for name, run in started.items() if name not in self.withheld]

    def _is_dead(self, started: StartedRun) -> bool:
        state, lane = self.recorder.state, started.lane
        if started.executor:  # no lock of this machine says it
            return False
        locks_of_run = (SupervisorLock(state, lane), LaneLock(state, lane), WorkerLock(self._errors(started)))
        return not any(lock.is_busy for lock in locks_of_run)

    def lane_of(self, connection: str) -> str:
        """Return the lane that *connection* waits in."""
        known = self.workspace.connections.get(connection)
        return known.lane if known else "main"

    def _minute(self) -> int:
        return int(self.recorder.clock().timestamp() // 60)

    # --- starting ----------------------------------------------------------------------------------------------

    def _fill(self, *, start: bool) -> None:
        """Start a run in every lane that has work and is free; adopt runs whose connrunner died."""
        journal_state = self.recorder.journal.read()
        decisions = self._open_decisions(journal_state) if start else []
        if not journal_state.waiting and not journal_state.started and not decisions:
            return
        self.workspace = self.refresh()
        waiting = {*journal_state.waiting, *(one.connection for one in decisions)} - self.withheld.keys()
        lanes = {self.lane_of(name) for name in waiting} | {run.lane for run in self._list_started()}
        for name in sorted(lanes - set(self._working) - self._busy):
            working = self._fill_lane(name, start=start)
            if working is not None:
                self._working[name] = working

    def _fill_lane(self, name: str, *, start: bool) -> SupervisedRun | None:
        """Return the run that works in a lane from now on, under our locks; None when there is none, or not ours."""
        lane, supervisor = LaneLock(self.recorder.state, name), SupervisorLock(self.recorder.state, name)
        working = None
        try:
            if not supervisor.take():
                self._busy.add(name)
                self._say_busy(name)
                return None
            lane.take()
            while (started := self._unfinished(name)) is not None:
                if not started.mark and not lane.take():
                    # An older version started it: it takes no such lock, and may be at work.
                    self._busy.add(name)
                    self._say_busy(name)
                    return None
                adopted = self._adopt(started, lane, supervisor)
                if not adopted.has_ended():
                    about = {"connection": started.connection, "run": started.run}
                    self.say({"event": "adopted", **about, "lives": adopted.worker.is_alive})
                    working = adopted
                    return working
                if not self._record_if_possible(adopted):
                    return None
            if not lane.take():
                self._say_leftovers(name, [describe_process(pid) for pid in find_lock_holders(lane.path)])
            elif start:
                working = self._start_next(name, lane, supervisor)
            return working
        finally:
            if working is None:
                lane.release()
                supervisor.release()

    def _unfinished(self, lane: str) -> StartedRun | None:
        """Return a run of *lane* without a recorded end: its connrunner is dead, for we hold the right to act."""
        return next((run for run in self._list_started() if run.lane == lane), None)

    def _adopt(self, started: StartedRun, lane: LaneLock, supervisor: SupervisorLock) -> SupervisedRun:
        """Look after a run whose connrunner is dead."""
        connection = self.workspace.connections.get(started.connection)
        timeout = connection.timeout if connection else UNKNOWN_TIMEOUT
        task = self.executors.make_task(started, lane, timeout=timeout)
        elapsed = (self.recorder.clock() - started.started_at).total_seconds()
        return SupervisedRun(
            lane=lane,
            supervisor=supervisor,
            started=started,
            worker=self.executors.find_again(started).adopt(task),
            timeout=timeout,
            errors=self._errors(started),
            ask_store=partial(self._ask_store, started),
            began=time.monotonic() - max(0.0, elapsed),
            adopted=True,
        )

    def _start_next(self, name: str, lane: LaneLock, supervisor: SupervisorLock) -> SupervisedRun | None:
        """Start the first waiting run of a lane that we hold; None when none waits."""
        recorder = self.recorder
        while True:
            with locks.hold_state_lock(recorder.state):
                journal_state = recorder.journal.open()
                entry = self._next_decision(name, journal_state) or self._next_waiting(name, journal_state)
                if entry is None:
                    return None
                if entry.connection not in self.workspace.connections:
                    self.workspace = self.refresh()  # a tick with a newer version may have queued it just now
                connection = self.workspace.connections.get(entry.connection)
                if connection is None:
                    skipped = recorder.skip(entry, self.workspace, dequeued=True)
                    self.say({"event": "ended", **run_records.as_dict(skipped)})
                    continue
                if due.is_too_late(entry, connection, recorder.clock()):
                    missed = recorder.miss(entry, due.explain_expiry(connection), self.workspace, dequeued=True)
                    self.say({"event": "ended", **run_records.as_dict(missed)})
                    continue
                if (known := recorder.adopt(entry, self.workspace)) is not None:
                    self.say({"event": "ended", **run_records.as_dict(known)})
                    continue
                if entry.trigger == "approve" and (reason := _explain_not_held(entry, journal_state)):
                    refused = recorder.turn_down(entry, reason, self.workspace)
                    self._open_decisions(recorder.journal.state)
                    self.say({"event": "ended", **run_records.as_dict(refused)})
                    continue
                started = recorder.start(entry, connection, commit=self.workspace.commit)
                self._open_decisions(recorder.journal.state)  # this one is answered
            self.say({"event": "started", "connection": connection.name, "run": started.run, "lane": name})
            self._ping(connection, "start", started, f"run {started.run} has started")
            try:
                worker = self._spawn(started, connection, lane)
            except OSError as error:
                message = f"its process cannot be started: {error.strerror or error}"
                result = Result(outcome=Outcome.FAILED, message=message, code="cannot-start")
                run = recorder.finish(started, result, seconds=0)
                leftovers.clear_spool(recorder.state, started.connection, started.run)
                self._ended(run, started, connection)
                continue
            return SupervisedRun(
                lane=lane,
                supervisor=supervisor,
                started=started,
                worker=worker,
                timeout=connection.timeout,
                errors=self._errors(started),
                ask_store=partial(self._ask_store, started),
            )

    def _next_waiting(self, name: str, journal_state: JournalState) -> QueuedRun | None:
        """Return the first waiting run of a lane that may start. Hold the state lock."""
        # A connection that was moved to this lane may still run in its old one.
        fits = (
            entry
            for entry in self._sort_queue(journal_state)
            if self.lane_of(entry.connection) == name
            and entry.connection not in journal_state.started
            and entry.connection not in self.withheld
        )
        return next((entry for entry in fits if not self._is_behind(entry, journal_state)), None)

    def _next_decision(self, name: str, journal_state: JournalState) -> QueuedRun | None:
        """Return the first undoing or approval that was asked for in a lane: it goes before what waits.

        Hold the state lock.
        """
        for request in self._open_decisions(journal_state):
            if (
                request.kind != "decline"
                and self.lane_of(request.connection) == name
                and request.connection not in journal_state.started
                and request.connection not in self.withheld
            ):
                return request.as_entry()
        return None

    def _open_decisions(self, journal_state: JournalState) -> list[DecisionRequest]:
        """Return what was decided about runs and nothing has answered; what was answered is removed."""
        found = []
        for request in requests.read_decisions(self.recorder.state):
            if request.id in journal_state.answered:
                requests.remove_request(self.recorder.state, request)
            else:
                found.append(request)
        return found

    def _sort_queue(self, journal_state: JournalState) -> list[QueuedRun]:
        return queue_order.sort_queue(journal_state.waiting.values(), self.workspace.connections)

    def _is_behind(self, entry: QueuedRun, journal_state: JournalState) -> bool:
        """Tell whether a connection that *entry* goes after waits, or runs in the lane that it was in before."""
        connection = self.workspace.connections.get(entry.connection)
        queued = {*journal_state.waiting, *journal_state.started} - self.withheld.keys()
        return connection is not None and not queued.isdisjoint(connection.after)

    def _spawn(self, started: StartedRun, connection: Connection, lane: LaneLock) -> Worker:
        executor, job = self.executors.find(started), self._job(started, connection)
        return executor.start(self.executors.make_task(started, lane, timeout=connection.timeout, job=job))

    def _job(self, started: StartedRun, connection: Connection) -> dict[str, Any]:
        return {
            "workspace": str(self.folder),
            "state": str(self.recorder.state.root),
            "connection": connection.name,
            "document": connection.document,
            "profile": self.workspace.profile_document,
            "store": self.workspace.document.get("store") or {},
            "run": started.run,
            "started_at": instant.text(started.started_at),
            **({} if started.entry.undo is None else {"undo": started.entry.undo, "reason": started.entry.reason}),
            **self._hold_rules(started),
            **({"commit": started.intent.commit, "mark": started.mark} if started.executor else {}),
        }

    def _hold_rules(self, started: StartedRun) -> dict[str, Any]:
        """Return what was decided about earlier runs of the connection, as far as the worker has to know it."""
        journal_state, entry = self.recorder.journal.state, started.entry
        if (held := journal_state.held.get(entry.connection)) is not None:
            if entry.trigger != "approve":
                return {"held": {"run": held.run, "digest": held.digest}}
            approval = {"run": entry.held, "by": entry.asked_by, "reason": entry.reason}
            return {"approval": {**approval, "difference": dict(held.difference)}}
        if (declined := journal_state.declined.get(entry.connection)) is not None:
            return {"declined": declined._asdict()}
        return {}

    def _ask_store(self, started: StartedRun) -> local.StoreQuestion | None:
        """Ask the profile store for a run that did not say how it went; None when the store has nothing to say."""
        state, name = self.recorder.state, started.connection
        store = self.workspace.document.get("store") or {}
        is_embedded = self.workspace.store.type == "duckdb"
        if started.intent.kind == "command" or (is_embedded and not state.profiles.exists()):
            return None
        if run_files.read_log_summary(state, name, started.run).result is not None:
            return None
        with suppress(OSError):  # no process can be started: the run ends as far as is known
            run = (name, started.run, instant.text(started.started_at))
            return local.StoreQuestion(state.root, run, self.folder, store)
        return None

    def _errors(self, started: StartedRun) -> Path:
        """Where the worker's interpreter complains when it cannot say more: empty, and removed, in good times."""
        return self.recorder.state.run(started.connection, started.run) / "worker.txt"

    # --- ending ------------------------------------------------------------------------------------------------

    def _apply_stops(self) -> None:
        """Obey the requests to stop: tell a run of ours to end, take a waiting one out of the queue."""
        state = self.recorder.state
        stops = [one for one in requests.read_stop_requests(state) if one.connection not in self.withheld]
        if not stops:
            return
        journal_state = self.recorder.journal.read()
        for working in self._working.values():
            run = working.started
            stop = due.find_stop_of_run(stops, run.connection, run.run, run.entry.due_at)
            if stop is not None and (not working.is_asked_to_end or stop.is_gone):
                if stop.run is None:  # it started meanwhile; its worker looks for its number
                    before, stop = stop, requests.request_stop(state, replace(stop, run=run.run))
                    requests.remove_request(state, before)
                self.say(
                    {"event": "stopping", "connection": run.connection, "run": run.run, "reason": stop.description}
                )
                working.ask_to_end(stop=stop)
        decisions = self._open_decisions(journal_state)
        for stop in stops:
            entry = _find_waiting(stop, journal_state, decisions)
            if entry is not None and due.find_stop_of_entry([stop], entry):
                self._take_out(stop)
            elif (started := journal_state.started.get(stop.connection)) is None or not due.find_stop_of_run(
                [stop], stop.connection, started.run, started.entry.due_at
            ):
                requests.remove_request(state, stop)  # the run has ended

    def _apply_declines(self) -> None:
        """Record what people declined: no lane has to be free for that."""
        wanted = [one for one in requests.read_decisions(self.recorder.state) if one.kind == "decline"]
        if not any(one.connection not in self.withheld for one in wanted):
            return
        with locks.hold_state_lock(self.recorder.state):
            journal_state = self.recorder.journal.open()
            for request in self._open_decisions(journal_state):
                if request.kind != "decline" or request.connection in self.withheld:
                    continue
                entry = request.as_entry()
                if reason := _explain_not_held(entry, journal_state):
                    run = self.recorder.turn_down(entry, reason, self.workspace)
                else:
                    run = self.recorder.decline(entry, self.workspace)
                journal_state = self.recorder.journal.state
                self.say({"event": "ended", **run_records.as_dict(run)})
            self._open_decisions(journal_state)

    def _take_out(self, stop: StopRequest) -> None:
        with locks.hold_state_lock(self.recorder.state):
            journal_state = self.recorder.journal.open()
            entry = _find_waiting(stop, journal_state, self._open_decisions(journal_state))
            if entry is None or not due.find_stop_of_entry([stop], entry):
                return  # another process was faster
            run = self.recorder.take_out(entry, stop, self.workspace)
            self._open_decisions(self.recorder.journal.state)  # this one may be answered
            requests.remove_request(self.recorder.state, stop)
        self.say({"event": "ended", **run_records.as_dict(run)})

    def _record_ended(self) -> None:
        """Record the runs whose processes are gone."""
        for name, working in list(self._working.items()):
            if working.has_ended():
                self._finish(working)
                del self._working[name]

    def _finish(self, working: SupervisedRun) -> None:
        """Record the end of a run and let its lane go."""
        try:
            if self._record_if_possible(working):
                working.lane.release()
                if working.lane.is_busy:
                    self._say_leftovers(working.started.lane, working.left)
        finally:
            working.close()

    def _record_if_possible(self, working: SupervisedRun) -> bool:
        """Record the end of a run, as `_record` does; where its history cannot be written, a later tick does."""
        name = working.started.connection
        try:
            return self._record(working)
        except HistoryError as error:
            self.withheld = {**self.withheld, name: error}
            message = f"the end of {name} #{working.started.run} is not recorded yet: {error}"
            self.say({"event": "problem", "connection": name, "message": message})
            return True

    def _record(self, working: SupervisedRun) -> bool:
        """Record the end of a run; False while processes of an adopted one hold its lane and cannot be ended."""
        started, recorder = working.started, self.recorder
        connection = self.workspace.connections.get(started.connection)
        if not working.lane.take():
            self._say_leftovers(started.lane, working.left)
            return False
        if working.adopted:
            notify = connection.notify if connection else self.workspace.default_notify
            run = recorder.recover(started, notify, working.result)
        else:
            story = run_files.read_log_summary(recorder.state, started.connection, started.run)
            result = working.result(story)
            run = recorder.finish(started, result, seconds=working.seconds)
        if working.is_recorded:
            with (
                suppress(OSError),
                closing(run_files.RunLog(recorder.state.log(started.connection, started.run))) as log,
            ):
                log.message(run.result.message, level="warning")
        leftovers.clear_spool(recorder.state, started.connection, started.run)
        working.worker.forget()
        if working.stop:
            requests.remove_request(recorder.state, working.stop)
        self._ended(run, started, connection, event="recovered" if working.adopted else "ended")
        return True

    def _release_adopted(self) -> None:
        """Let go of adopted runs: the next tick looks after them."""
        for working in self._working.values():
            working.close()
        self._working.clear()

    def _end_all(self) -> None:
        for name, working in list(self._working.items()):
            by_hand = self._stop_by_hand(working)
            if working.worker.outlives_us and by_hand is None:  # it lives elsewhere: the next tick looks after it
                working.close()
                del self._working[name]
            else:
                working.ask_to_end(stop=by_hand)
        while self._working:
            local.wait_for_workers([working.worker for working in self._working.values()], GLANCE)
            self._record_ended()

    def _stop_by_hand(self, working: SupervisedRun) -> StopRequest | None:
        """Return the request to stop that Ctrl-C means for a watched run; it is left for its worker as well."""
        by_hand = self.by_hand.get(working.started.connection)
        if self._ending != signal.SIGINT or by_hand is None:
            return None
        return requests.request_stop(self.recorder.state, replace(by_hand, run=working.started.run))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Note SIGTERM and SIGINT instead of dying from them while runs work."""

        def note(number: int, _frame: FrameType | None) -> None:
            self._ending = number

        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            self.executors.close()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ended(self, run: Run, started: StartedRun, connection: Connection | None, *, event: str = "ended") -> None:
        self.say({"event": event, **run_records.as_dict(run)})
        self._ping(connection, ping_of(run), started, describe_for_ping(run))

    def _ping(self, connection: Connection | None, sign: Ping, started: StartedRun, body: str) -> None:
        """Send a ping about a run, when its connection has a `heartbeat`."""
        if connection is not None and connection.heartbeat is not None:
            started_at = instant.text(started.started_at)
            rid = run_ping_id(self.recorder.state.root, connection.name, started.run, started_at)
            self.pings.send(connection.heartbeat.url, sign, about=connection.name, rid=rid, body=body)

    # --- telling -----------------------------------------------------------------------------------------------

    def _say_leftovers(self, lane: str, processes: list[str]) -> None:
        self._busy.add(lane)
        self.say({"event": "left-over", "lane": lane, "processes": processes})

    def _say_busy(self, lane: str) -> None:
        journal_state = self.recorder.journal.read()
        working = next((started for started in journal_state.started.values() if started.lane == lane), None)
        waits = [entry.connection for entry in self._sort_queue(journal_state)]
        self.say(
            {
                "event": "busy",
                "lane": lane,
                "connection": working.connection if working else None,
                "run": working.run if working else None,
                "since": instant.text(working.started_at) if working else None,
                "waiting": [name for name in waits if self.lane_of(name) == lane],
            }
        )


def _explain_not_held(entry: QueuedRun, journal_state: JournalState) -> str:
    """Return why the run that *entry* approves or declines cannot be decided about any more; empty when it can."""
    held, word = journal_state.held.get(entry.connection), "approved" if entry.trigger == "approve" else "declined"
    if held is None:
        return f"run {entry.held} cannot be {word}: it is not held any more"
    started = journal_state.started.get(entry.connection)
    if started is not None and started.entry.held == entry.held:
        return f"run {entry.held} cannot be {word}: {started.entry.asked_by} approved it, and run {started.run} works"
    return "" if held.run == entry.held else f"run {entry.held} cannot be {word}: run {held.run} is held now"


def _find_waiting(stop: StopRequest, journal_state: JournalState, decisions: list[DecisionRequest]) -> QueuedRun | None:
    """Return what waits of the connection of *stop*: the undoing that it names, else what stands in the queue."""
    for entry in (request.as_entry() for request in decisions):
        if due.find_stop_of_entry([stop], entry):
            return entry
    return journal_state.waiting.get(stop.connection)

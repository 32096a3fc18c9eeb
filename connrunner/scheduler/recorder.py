"""What a run leaves in the state: its intent, its end, and the mail that the end owes."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256

from connrunner.core import held_runs, instant, run_records
from connrunner.core.alerts import on_run_end, on_time, rate_limit
from connrunner.core.model import NOT_HELD, Connection, Notify, Outcome, QueuedRun, Result, Run, RunIntent, Workspace
from connrunner.core.planning.due import StopRequest
from connrunner.core.run_records import LogSummary
from connrunner.errors import Problem
from connrunner.lazy_dataclasses import dataclass
from connrunner.state import end_reserve, filesystem, history_check, locks, run_files
from connrunner.state.folder import StateFolder, recording
from connrunner.state.journal import Journal
from connrunner.state.journal_state import TOO_LATE, StartedRun, started_as_dict


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecorder:
    """Writes the beginning and the end of runs. Methods that say so are called under the state lock."""

    state: StateFolder
    journal: Journal
    clock: Callable[[], datetime]

    def start(self, entry: QueuedRun, connection: Connection, *, commit: str | None) -> StartedRun:
        """Make the intent to run *connection* durable, before anything starts [P2]. Hold the state lock.

        StateError when there is no room: nothing starts whose end cannot be recorded.
        """
        with recording(self.state.root):
            filesystem.refuse_full(self.state.root)
        started_at = instant.text(self.clock())
        run = self._number(connection.name)
        end_reserve.keep_room(self.state, connection.name, run)
        started = StartedRun(
            entry=entry,
            intent=RunIntent(
                run=run,
                started_at=instant.parse(started_at),  # no finer than its record: memory and journal agree
                commit=commit,
                config=connection.fingerprint,
                kind="undo" if entry.trigger == "undo" else connection.kind,
                title=connection.title,
            ),
            lane=connection.lane,
            mark=os.urandom(16).hex(),
            grace=connection.grace,
            notify=connection.notify,
            executor=connection.executor,
        )
        self.journal.append({"type": "started", "at": started_at, **started_as_dict(started)})
        return started

    def finish(self, started: StartedRun, result: Result, *, seconds: float) -> Run:
        """Record that the run that *started* has ended so, unless another process has; takes the state lock."""
        with locks.hold_state_lock(self.state):
            if (known := self._ended_by_others(started)) is not None:
                return known
            # Slots that became due meanwhile were merged into the record of its start.
            started = self.journal.state.started.get(started.connection, started)
            entry, intent = started.entry, started.intent
            run = Run(entry=entry, intent=intent, result=result, ended_at=self.clock(), seconds=seconds)
            end_reserve.free_room(self.state, run.connection, run.run)
            self._end(run, started.notify or ())
        return run

    def recover(
        self, started: StartedRun, notify: tuple[Notify, ...], result: Callable[[LogSummary], Result] | None = None
    ) -> Run:
        """Record the end of a run whose connrunner died; takes the state lock. Hold its lane: nothing of it lives.

        Its own log says how it ended, when it came so far; else *result* does, or it is not known. The record of its
        start says who is told, whatever has become of its file; where it does not, *notify* does.
        """
        name = started.connection
        with locks.hold_state_lock(self.state):
            if (known := self._ended_by_others(started)) is not None:
                return known
            started = self.journal.state.started.get(name, started)
            known = run_files.read_run(self.state, name, started.run)
            if known is not None:
                run = known  # the crash came between history and journal: what history says is what people saw
            else:
                story = run_files.read_log_summary(self.state, name, started.run)
                ended_at = instant.parse(story.ended_at) if story.ended_at else self.clock()
                run = Run(
                    entry=started.entry,
                    intent=started.intent,
                    result=(result or _unknown)(story),
                    ended_at=ended_at,
                    seconds=max(0.0, round((ended_at - started.started_at).total_seconds(), 3)),
                )
            end_reserve.free_room(self.state, name, started.run)
            self._end(run, notify if started.notify is None else started.notify)
        return run

    def _ended_by_others(self, started: StartedRun) -> Run | None:
        """Return the end of a run that the journal knows already: when `locks/` was emptied, two look after it."""
        now = self.journal.open().started.get(started.connection)
        if now is not None and now.run == started.run:
            return None
        return run_files.read_run(self.state, started.connection, started.run)

    def skip(self, entry: QueuedRun, workspace: Workspace, *, dequeued: bool) -> Run:
        """Record a run that could not start because its connection cannot be used. Hold the state lock.

        The tick that saw the problems first has told of them; what has none, since it is gone, is told here. Whom a
        person's request names is told each time.
        """
        name = entry.connection
        problems = workspace.broken.get(name, ())
        run = self._not_started(entry, _unusable(name, problems, workspace), workspace)
        content = hash_problems(problems) if problems else ""
        is_known = bool(content) and self.journal.state.broken_mailed.get(name) == content
        is_told = entry.was_asked_for or not is_known
        self._end(run, _rules_of(entry, workspace) if is_told else (), of=entry, broken=content, dequeued=dequeued)
        return run

    def miss(self, entry: QueuedRun, reason: str, workspace: Workspace, *, dequeued: bool) -> Run:
        """Record a run that may not start any more, by its connection's `start_within`. Hold the state lock."""
        result = Result(outcome=Outcome.SKIPPED, message=reason, code=TOO_LATE)
        run = self._not_started(entry, result, workspace)
        notify = _rules_of(entry, workspace)
        # An outage is one mail, not one for each slot.
        known = on_time.is_part_of_outage(entry, self.journal.state.alerts)
        self._end(run, () if known else notify, dequeued=dequeued)
        return run

    def take_out(self, entry: QueuedRun, stop: StopRequest, workspace: Workspace) -> Run:
        """Record a waiting run that was stopped before it started. Hold the state lock."""
        result = run_records.mark_stopped(stop, Result(outcome=Outcome.STOPPED, message="it had not started"))
        run = self._not_started(entry, result, workspace)
        self._end(run, _rules_of(entry, workspace), of=entry, dequeued=True)
        return run

    def decline(self, entry: QueuedRun, workspace: Workspace) -> Run:
        """Record that a held run was declined, by the person that *entry* names or by itself. Hold the state lock."""
        by = f"declined by {entry.asked_by}" if entry.asked_by else "declined by itself"
        message = f"run {entry.held} is {by}" + (f": {entry.reason}" if entry.reason else "")
        detail = {"declined": entry.held, "declined_by": entry.asked_by, "reason": entry.reason}
        result = Result(outcome=Outcome.STOPPED, message=message, code=held_runs.DECLINED, detail=detail)
        run = self._not_started(entry, result, workspace)
        self._end(run, _rules_of(entry, workspace), of=entry, dequeued=True)
        return run

    def turn_down(self, entry: QueuedRun, reason: str, workspace: Workspace) -> Run:
        """Record a decision that came to nothing: its run is not held any more. Hold the state lock."""
        result = Result(outcome=Outcome.STOPPED, message=reason, code=NOT_HELD)
        run = self._not_started(entry, result, workspace)
        self._end(run, (), of=entry, dequeued=True)
        return run

    def adopt(self, entry: QueuedRun, workspace: Workspace) -> Run | None:
        """Record the end that history has of *entry*, which waits or is a decision, and return it; None when none.

        A crash came between history and journal while it could not start; what people saw there is not run after all,
        whatever has been mended since [P1]. Hold the state lock.
        """
        number = self.journal.state.numbers.get(entry.connection, 0) + 1
        if not self.state.run(entry.connection, number).exists():  # no number was taken: no need to look into history
            return None
        known = self._adopted(entry)
        if known is None or not (entry.is_decision or self.journal.state.awaits_end_of(known)):
            return None
        self._end(known, _rules_of(entry, workspace), of=entry, dequeued=True)
        return known

    def _not_started(self, entry: QueuedRun, result: Result, workspace: Workspace) -> Run:
        """Return the run of *entry* that ended so before it started: a new one, unless a crash left it in history."""
        connection = workspace.connections.get(entry.connection)
        known = self._adopted(entry)
        if known is not None:
            return known
        intent = RunIntent(
            run=self._number(entry.connection),
            started_at=None,
            commit=workspace.commit,
            config=connection.fingerprint if connection else "",
            kind=connection.kind if connection else "",
            title=connection.title if connection else "",
        )
        return Run(entry=entry, intent=intent, result=result, ended_at=self.clock())

    def _adopted(self, entry: QueuedRun) -> Run | None:
        """Return the run that history has of *entry* when a crash came between history and journal."""
        last = run_files.read_last_run(self.state, entry.connection)
        known = self.journal.state.numbers.get(entry.connection, 0)
        is_newer = last is not None and last.run > known
        is_same = last is not None and (last.entry.due_at, last.entry.trigger) == (entry.due_at, entry.trigger)
        return last if is_newer and is_same else None

    def _number(self, name: str) -> int:
        return run_files.create_run(self.state, name, after=self.journal.state.numbers.get(name, 0))

    def _end(
        self,
        run: Run,
        notify: tuple[Notify, ...],
        *,
        of: QueuedRun | None = None,
        broken: str = "",
        dequeued: bool = False,
    ) -> None:
        """Make the end of *run* durable, with the mail it owes; *of* is what waited, when it never started.

        History comes first: a crash in between finds the record there and adopts it, so both always agree.
        """
        with history_check.following(self.state, run.connection):
            run_files.append_history(self.state, run)
        decision = of.request if of is not None and of.is_decision else ""  # it stood in no queue
        alerts = self.journal.state.alerts
        known = self.journal.state.held.get(run.connection)
        held = held_runs.held_from(run, known)
        is_known = known is not None and held is not None and held.digest == known.digest
        notices = on_run_end.decide_notices(notify, run, alerts, token=make_token(), is_known=is_known)
        limits = {target.name: target.limit for rule in notify for target in rule.to}
        owing = rate_limit.split_notices(notices, alerts, limits=limits, at=run.ended_at, message=run.result.message)
        self.journal.append(
            {
                "type": "ended",
                "at": instant.text(run.ended_at),
                "run": run_records.as_dict(run),
                **owing.as_record(),
                "broken": broken,
                "dequeued": dequeued and not decision,
                **({"answers": decision} if decision else {}),
            }
        )


def _rules_of(entry: QueuedRun, workspace: Workspace) -> tuple[Notify, ...]:
    """Return who is told of a run that did not start: as its connection says, or said when somebody asked for it."""
    connection = workspace.connections.get(entry.connection)
    if connection is not None:
        return connection.notify
    return workspace.default_notify if entry.notify is None else entry.notify


def _unusable(name: str, problems: tuple[Problem, ...], workspace: Workspace) -> Result:
    if problems:
        message = f"{problems[0]} (and {len(problems) - 1} more)" if len(problems) > 1 else str(problems[0])
    else:
        connection = workspace.connections.get(name)
        off = "is switched off" if connection and not connection.enabled else "could not be used when it was due"
        message = f"connections/{name}.yaml {off if connection else 'is gone'}"
    return Result(outcome=Outcome.SKIPPED, message=message, code="config-error")


def make_token() -> str:
    """Return a unique text for the Message-IDs of what is owed together."""
    return os.urandom(6).hex()


def _unknown(story: LogSummary) -> Result:
    return story.result or Result(
        outcome=Outcome.INTERRUPTED,
        counts=story.counts,
        message=f"it was cut off, and {story.may_have_arrived or 'nobody knows how far it came'}",
        code="interrupted",
        attempts=story.attempts,
    )


def hash_problems(problems: tuple[Problem, ...]) -> str:
    """Return a short word for the content of *problems*: the same mistakes give the same word."""
    return sha256("\n".join(map(str, problems)).encode("utf-8", "backslashreplace")).hexdigest()[:16]

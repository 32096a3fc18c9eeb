"""`connrunner stop`: end the run that works, or take the waiting one out of the queue."""

from __future__ import annotations

import sys
import time
from itertools import takewhile
from typing import Any

import click

from connrunner.cli import text
from connrunner.cli.home import Home, actor, leave, with_home
from connrunner.cli.runs import HEAD, run_row
from connrunner.cli.tick import sentence
from connrunner.core import instant, run_records
from connrunner.core.model import Outcome, Run
from connrunner.core.planning.due import StopRequest
from connrunner.errors import ArgumentError, BusyError, ConnrunnerError, WorkspaceError
from connrunner.scheduler import tick
from connrunner.scheduler.lanes import EndedError
from connrunner.state import requests, run_files

LOOK = 0.3  # seconds between two looks at a run that another connrunner works on
LONGEST = 300  # characters of a reason


@click.command()
@click.argument("name")
@click.option("--reason", default="", help="Why, for the run's record, its log and the mail.")
@click.option("--run", "number", type=click.IntRange(min=1), help="Only this run, and none that started meanwhile.")
@click.option("--detach", is_flag=True, help="Only ask for it; do not wait until the run has ended.")
@with_home(reads=True)
def stop_command(home: Home, name: str, reason: str, number: int | None, detach: bool) -> None:
    """Stop the run of connection NAME: the running one, or else the one that waits, and wait until it has ended.

    It is asked to end, and killed 10 seconds later if it has not. Its outcome is `stopped`, with who and why; the
    schedule goes on at the next slot. Works from any process, container or host that sees the state folder. Exit
    codes: 0 it has ended so, 1 it ended otherwise before that, 2 there is nothing to stop.
    """
    home.require(name)
    if len(reason) > LONGEST:
        raise ArgumentError(f"the reason has {len(reason)} characters", hint=f"say it in {LONGEST}")
    stop = wanted(home, name, number, reason)
    home.state.prepare()
    stop = requests.request_stop(home.state, stop)
    if detach:
        _say_asked(home, stop)
        return
    run = StopWatcher(home, stop).until_it_ended()
    if home.json:
        home.echo_json(run_records.as_dict(run))
    else:
        click.echo(text.table(HEAD, [run_row(run, home.zone(name))], right={0, 2}))
    leave(0 if run.outcome is Outcome.STOPPED else 1)


def wanted(home: Home, name: str, number: int | None, reason: str) -> StopRequest:
    """Return the request that names the run to stop; ArgumentError when no run of *name* works or waits."""
    journal_state = home.journal_state
    started, waiting = journal_state.started.get(name), journal_state.waiting.get(name)
    facts: dict[str, Any] = {"connection": name, "asked_at": home.clock(), "asked_by": actor(), "reason": reason}
    if started is not None and number in (None, started.run):
        return StopRequest(run=started.run, **facts)
    if number is not None:
        if found := _ended(home, name, number):
            raise ArgumentError(f"{name} #{number} has ended already: {found.outcome}{_at(home, found)}")
        hint = f"{name} #{started.run} runs" if started else "see `connrunner status`"
        raise ArgumentError(f"{name} has no run {number} that works", hint=hint)
    if waiting is not None:
        return StopRequest(due_at=waiting.due_at, **facts)
    last = run_files.read_last_run(home.state, name)
    known = f"; its last run, #{last.run}, ended {last.outcome}{_at(home, last)}" if last else ""
    raise ArgumentError(f"no run of {name} works or waits{known}")


def _at(home: Home, run: Run) -> str:
    return f" at {instant.local(run.ended_at, home.zone(run.connection))}"


def _ended(home: Home, name: str, number: int) -> Run | None:
    newer = takewhile(lambda run: run.run >= number, run_files.read_history(home.state, name))
    return next((run for run in newer if run.run == number), None)


def _say_asked(home: Home, stop: StopRequest) -> None:
    what = f"#{stop.run}" if stop.run is not None else "waiting run"
    if home.json:
        home.echo_json({"connection": stop.connection, "run": stop.run, "asked_by": stop.asked_by, "ended": False})
    else:
        click.echo(f"{stop.connection}: its {what} is asked to stop")


class StopWatcher:
    """One request to stop, until its run has ended. When nobody else looks after the run, we do."""

    def __init__(self, home: Home, stop: StopRequest) -> None:
        self.home, self.stop = home, stop
        self.tick: tick.Tick | None = None
        try:
            self.tick = tick.Tick(home.folder, home.state, say=self._say)
        except WorkspaceError as error:
            click.echo(
                f"the workspace cannot be used, so the next sound tick does it: {text.clean(str(error))}", err=True
            )

    def until_it_ended(self) -> Run:
        """Wait until the run has ended, and see to it when its connrunner is dead; return how it went."""
        try:
            while (run := self._found()) is None:
                if self.tick is not None:
                    self.tick.drain(until=self._has_ended, start=False)
                if not self._has_ended():
                    time.sleep(LOOK)
        except (KeyboardInterrupt, EndedError):
            click.echo(f"the request stays: {self.stop.connection} will be stopped", err=True)
            sys.exit(130)
        finally:
            self._settle()
        return run

    def _has_ended(self) -> bool:
        return self._found() is not None

    def _found(self) -> Run | None:
        """Return the record of the run that was named, once there is one."""
        for run in run_files.read_history(self.home.state, self.stop.connection):
            if self.stop.run is None and run.entry.due_at == self.stop.due_at:
                return run
            if run.run == self.stop.run:
                return run
            if run.ended_at < self.stop.asked_at:
                return None
        return None

    def _settle(self) -> None:
        """Send the mail that the end owes, as far as this is ours to do."""
        if self.tick is not None:
            try:
                self.tick.settle()
            except (BusyError, ConnrunnerError) as error:
                click.echo(text.clean(str(error)), err=True)

    def _say(self, event: dict[str, Any]) -> None:
        if event.get("connection") == self.stop.connection and event["event"] not in (
            "busy",
            "ended",
            "recovered",
            "mailed",
        ):
            click.echo(text.clean(sentence(event)), err=True)

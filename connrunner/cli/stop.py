"""`connrunner stop`: end the run that works, or take the waiting one out of the queue."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from connrunner.answers import tick_events
from connrunner.answers.account import user_and_host
from connrunner.answers.stop_choice import choose_stop
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.cli import text
from connrunner.cli.options import CommandContext, leave, with_context
from connrunner.cli.runs import HEAD, run_row
from connrunner.core import run_records
from connrunner.core.model import Outcome, Run
from connrunner.core.planning.due import StopRequest
from connrunner.errors import ArgumentError, BusyError, ConnrunnerError, WorkspaceError
from connrunner.lazy_dataclasses import replace
from connrunner.scheduler import tick
from connrunner.scheduler.lanes import EndedError
from connrunner.state import requests, run_files

LOOK = 0.3  # seconds between two looks at a run that another connrunner works on
LONGEST = 300  # characters of a reason


@click.command()
@click.argument("name")
@click.option("--reason", default="", help="Why, for the run's record, its log and the mail.")
@click.option("--run", "number", type=click.IntRange(min=1), help="Only this run, and none that started meanwhile.")
@click.option("--gone", is_flag=True, help="You made sure that nothing of it lives where it cannot be seen any more.")
@click.option("--detach", is_flag=True, help="Only ask for it; do not wait until the run has ended.")
@with_context(reads=True)
def stop_command(context: CommandContext, name: str, reason: str, number: int | None, gone: bool, detach: bool) -> None:
    """Stop the run of connection NAME: the running one, or else the one that waits, and wait until it has ended.

    It is asked to end, and killed if it has not when its grace is over: 10 seconds, or what `stop: {grace: 30s}` in its
    file says. Its outcome is `stopped`, with who and why; the schedule goes on at the next slot. Works from any
    process, container or host that sees the state folder. One that lives on a machine that does not answer is not over
    until that answers again; --gone says that nothing of it lives there, and lets its lane go. Exit codes: 0 it has
    ended so, 1 it ended otherwise before that, 2 there is nothing to stop.
    """
    view = context.view
    view.require(name)
    if len(reason) > LONGEST:
        raise ArgumentError(f"the reason has {len(reason)} characters", hint=f"say it in {LONGEST}")
    view.prepare_state()
    stop = choose_stop(view, name, number, asked_by=user_and_host(), reason=reason)
    stop = replace(stop, is_gone=gone)
    stop = requests.request_stop(view.state, stop)
    if detach:
        _say_asked(context, stop)
        return
    run = StopWatcher(view, stop).until_it_ended()
    if context.json:
        context.echo_json(run_records.as_dict(run))
    else:
        click.echo(text.table(HEAD, [run_row(run, view.zone(name))], right={0, 2}))
    leave(0 if run.outcome is Outcome.STOPPED else 1)


def _say_asked(context: CommandContext, stop: StopRequest) -> None:
    what = f"#{stop.run}" if stop.run is not None else "waiting run"
    if context.json:
        context.echo_json({"connection": stop.connection, "run": stop.run, "asked_by": stop.asked_by, "ended": False})
    else:
        click.echo(f"{stop.connection}: its {what} is asked to stop")


class StopWatcher:
    """One request to stop, until its run has ended. When no other connrunner looks after the run, this one does."""

    def __init__(self, view: WorkspaceView, stop: StopRequest) -> None:
        self.view, self.stop = view, stop
        self.tick: tick.Tick | None = None
        try:
            self.tick = tick.Tick(view.folder, view.state, say=self._say)
            self.tick.withhold()
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
        for run in run_files.read_history(self.view.state, self.stop.connection):
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
            click.echo(text.clean(tick_events.describe(event)), err=True)

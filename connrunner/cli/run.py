"""`connrunner run`: run a connection now, through the queue, and watch it."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import Any

import click

from connrunner.answers import tick_events
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.cli import text
from connrunner.cli.account import read_user_name, user_and_host
from connrunner.cli.options import CommandContext, leave, with_context
from connrunner.cli.runs import HEAD, run_row
from connrunner.core import run_records
from connrunner.core.model import Outcome, Run
from connrunner.core.planning.due import StopRequest
from connrunner.errors import ArgumentError
from connrunner.scheduler import tick
from connrunner.state import requests, run_files
from connrunner.text import durations

LOOK = 0.3  # seconds between two looks at a run that another connrunner works on
GOOD = (Outcome.SUCCEEDED, Outcome.PARTIAL)


@click.command()
@click.argument("name")
@click.option("--detach", is_flag=True, help="Only put it into the queue; the next tick runs it.")
@click.option("--dry-run", is_flag=True, help="Read and check for real, show the counters, write nothing anywhere.")
@with_context(reads=True)
def run_command(context: CommandContext, name: str, detach: bool, dry_run: bool) -> None:
    """Run connection NAME now, in its place in the queue, and wait until it ends.

    Its scheduled slots do not move. Ctrl-C stops it, if it is this command that runs it; if not, it only ends the
    watching. Exit codes: 0 succeeded or partial (see the counters), 1 it failed.
    """
    view = context.view
    connection = view.connection(name)
    if dry_run:
        from connrunner.cli.dry_run import run_dry

        leave(run_dry(context, connection))
    if not connection.enabled:
        raise ArgumentError(f"{name} is switched off", hint="set `enabled: true` in its file to run it")
    view.state.prepare()
    progress = ProgressLine(view, name) if sys.stderr.isatty() and not context.json else None
    watch = RunWatcher(view, name, line=progress)
    requests.request_run(view.state, name, at=view.clock(), by=read_user_name(), notify=connection.notify)
    if detach:
        click.echo(f"{name} is asked for; the next tick runs it")
        return
    run = watch.until_it_ended()
    if context.json:
        context.echo_json(run_records.as_dict(run))
    else:
        click.echo(text.table(HEAD, [run_row(run, view.zone(name))], right={0, 2}))
        if run.result.counts.refused:
            click.echo(f"which rows and why: connrunner rejects {name} {run.run}")
    leave(0 if run.outcome in GOOD else 1)


class RunWatcher:
    """One asked-for run, from its place in the queue to its end."""

    def __init__(self, view: WorkspaceView, name: str, *, line: ProgressLine | None) -> None:
        self.view, self.name, self.line = view, name, line
        self.tick = tick.Tick(view.folder, view.state, say=self._say)
        # The newest run number that is not ours: read before the request is left, as a tick may take it in at once.
        self.before = self.tick.journal.read().numbers.get(self.name, 0)
        self.printed: set[str] = set()

    def until_it_ended(self) -> Run:
        """Work the queue, or wait for the connrunner that does, until the run that was asked for has ended; give it."""
        self.tick.take_in(due=False)
        self.tick.lanes.by_hand = StopRequest(
            connection=self.name,
            asked_at=self.view.clock(),
            asked_by=user_and_host(),
            reason="Ctrl-C in `connrunner run`",
        )
        try:
            while not self._has_ended():
                self.tick.drain(until=self._has_ended, meanwhile=self._show)
                if not self._has_ended():
                    self._show()
                    time.sleep(LOOK)
        except KeyboardInterrupt:
            click.echo(f"\n{self.name} goes on; `connrunner stop {self.name}` stops it", err=True)
            raise
        finally:
            if self.line:
                self.line.clear()
            self.tick.settle()
            self.tick.rest()
        return next(run for run in run_files.read_history(self.view.state, self.name) if run.run == self._number())

    def _number(self) -> int | None:
        """The number of our run: the first above those that there were. None while it waits."""
        started = self.tick.journal.read().started.get(self.name)
        newer = itertools.takewhile(
            lambda run: run.run > self.before, run_files.read_history(self.view.state, self.name)
        )
        numbers = [run.run for run in newer]
        if started is not None and started.run > self.before:
            numbers.append(started.run)
        return min(numbers, default=None)  # there can be gaps: a number is taken before its run is recorded

    def _has_ended(self) -> bool:
        journal_state = self.tick.journal.read()
        number = self._number()
        if number is None:
            if self.name not in journal_state.waiting:
                raise ArgumentError(f"{self.name} was taken out of the queue", hint="see `connrunner status`")
            return False
        started = journal_state.started.get(self.name)
        return started is None or started.run != number

    def _show(self) -> None:
        if self.line:
            self.line.show(self._number())

    def _say(self, event: dict[str, Any]) -> None:
        """Tell on standard error what happens to our run, each thing once; its end is shown as a row of the table."""
        ours = event.get("connection") == self.name and event["event"] not in ("queued", "ended", "mailed")
        if not (ours or event["event"] in ("busy", "problem")):
            return
        words = text.clean(tick_events.describe(event))
        if words not in self.printed:
            self.printed.add(words)
            if self.line:
                self.line.clear()
            click.echo(words, err=True)


class ProgressLine:
    """One line of a terminal that is written again and again."""

    def __init__(self, view: WorkspaceView, name: str) -> None:
        self.view, self.name = view, name
        self.began = time.monotonic()
        self.offset = 0
        self.stage, self.done = "", 0
        self.of: int | None = None
        self.stage_began = self.began

    def show(self, number: int | None) -> None:
        """Draw how far run *number* is; None while it waits."""
        elapsed = durations.in_words(time.monotonic() - self.began)
        if number is None:
            self._draw(f"{self.name}  waits in the queue  {elapsed}")
            return
        self._read(self.view.state.log(self.name, number))
        share = f" of {self.of:,}" if self.of else ""
        seconds = time.monotonic() - self.stage_began
        rate = f"  {self.done / seconds:,.0f}/s" if self.done and self.done != self.of and seconds > 1 else ""
        words = self.stage or "starting"
        if self.done:
            words += f"  {self.done:,}{share} rows{rate}"
        self._draw(f"{self.name} #{number}  {text.bar(self.done, self.of)}  {words}  {elapsed}")

    def clear(self) -> None:
        click.echo("\r\x1b[K", nl=False, err=True)

    def _read(self, log: Path) -> None:
        for offset, event in run_files.read_events_from(log, self.offset):
            self.offset = offset
            if event.get("type") == "progress":
                if event["stage"] != self.stage:
                    self.stage_began = time.monotonic()
                self.stage, self.done, self.of = event["stage"], event["done"], event["of"]

    def _draw(self, line: str) -> None:
        width = text.terminal_width() - 1
        click.echo("\r\x1b[K" + text.clean(line)[:width], nl=False, err=True)

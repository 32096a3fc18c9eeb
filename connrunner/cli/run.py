"""`connrunner run`: run connections now, through the queue, and watch them."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from connrunner.answers import tick_events
from connrunner.answers.account import read_user_name, user_and_host
from connrunner.answers.connection_filter import ConnectionFilter, is_pattern, parse_label
from connrunner.answers.run_choice import choose_runs
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.cli import text
from connrunner.cli.options import CommandContext, leave, with_context
from connrunner.cli.runs import HEAD, format_runs, run_row
from connrunner.core import run_records
from connrunner.core.model import Outcome, QueuedRun, Run
from connrunner.core.planning.due import DecisionRequest, StopRequest
from connrunner.errors import ArgumentError
from connrunner.scheduler import tick
from connrunner.scheduler.lanes import EndedError
from connrunner.state import requests, run_files
from connrunner.state.journal_state import JournalState
from connrunner.text import durations, words

LOOK = 0.3  # seconds between two looks at a run that another connrunner works on
GOOD = (Outcome.SUCCEEDED, Outcome.PARTIAL)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--owner", default="", help="Only connections of this owner.")
@click.option(
    "--label", "labels", multiple=True, metavar="KEY[=VALUE]", help="Only connections with this label; repeatable."
)
@click.option("--force", is_flag=True, help="Run those that are switched off, too, this once.")
@click.option("--detach", is_flag=True, help="Only put them into the queue; the next tick runs them.")
@click.option("--dry-run", is_flag=True, help="Read and check for real, show the counters, write nothing anywhere.")
@with_context(reads=True)
def run_command(
    context: CommandContext,
    names: tuple[str, ...],
    owner: str,
    labels: tuple[str, ...],
    force: bool,
    detach: bool,
    dry_run: bool,
) -> None:
    """Run connections now, each in its place in the queue, and wait until they end.

    NAMEs may be patterns such as 'crm-*'; what these fit and is switched off is left out. Scheduled slots do not move.
    Ctrl-C stops what this command runs; it only ends the watching of the rest. Exit codes: 0 all succeeded or are
    partial (see the counters), 1 one failed.
    """
    view = context.view
    choice = ConnectionFilter(names=names, owner=owner, labels=tuple(map(parse_label, labels)))
    chosen = choose_runs(view, choice, force=force, dry_run=dry_run)
    for name, reason in chosen.left_out.items():
        click.echo(text.clean(f"{name} is left out: {reason}"), err=True)
    is_one = len(names) == 1 and not is_pattern(names[0])
    if dry_run:
        from connrunner.cli.dry_run import run_dry

        leave(max(run_dry(context, chosen.connections, is_one=is_one), int(chosen.is_incomplete)))
    view.prepare_state()
    asked = [connection.name for connection in chosen.connections]
    watch = RunsWatcher(view, asked, with_progress=sys.stderr.isatty() and not context.json)
    rules = {connection.name: connection.notify for connection in chosen.connections}
    requests.request_run(view.state, *asked, at=view.clock(), by=read_user_name(), force=force, notify=rules)
    if detach:
        is_asked, it = ("is asked for", "it") if len(asked) == 1 else ("are asked for", "them")
        click.echo(f"{words.listed(asked)} {is_asked}; the next tick runs {it}")
        leave(int(chosen.is_incomplete))
    runs = watch.until_they_ended()
    _print(context, runs, is_one=is_one)
    if watch.taken_out:
        raise ArgumentError(f"{words.listed(watch.taken_out)}: taken out of the queue", hint="see `connrunner status`")
    leave(0 if all(run.outcome in GOOD for run in runs) and not chosen.is_incomplete else 1)


def _print(context: CommandContext, runs: Sequence[Run], *, is_one: bool) -> None:
    """Print a line for each run that ended, or its record."""
    if context.json:
        found = [run_records.as_dict(run) for run in runs]
        context.echo_json(found[0] if is_one and found else found)
        return
    if is_one:
        for run in runs:
            click.echo(text.table(HEAD, [run_row(run, context.view.zone(run.connection))], right={0, 2}))
    elif runs:
        click.echo(format_runs(runs, context.view.zone()))
    for run in runs:
        if run.outcome is Outcome.HELD:
            named = f"{run.connection} {run.run}"
            click.echo(f"look: connrunner log {named}; then connrunner approve {named} --reason TEXT, or decline")
        if run.result.counts.refused:
            click.echo(f"which rows and why: connrunner rejects {run.connection} {run.run}")


class RunsWatcher:
    """Asked-for runs, from their places in the queue to their ends."""

    def __init__(
        self,
        view: WorkspaceView,
        names: Sequence[str],
        *,
        with_progress: bool = False,
        decision: DecisionRequest | None = None,
        command: str = "run",
    ) -> None:
        self.view, self.names, self.decision, self.command = view, tuple(names), decision, command
        self._printed: set[str] = set()
        self.line = ProgressLine(view) if with_progress else None
        self.tick = tick.Tick(view.folder, view.state, say=self._say)  # which may have something to say at once
        self.taken_out: list[str] = []
        # The newest run numbers that are not ours: read before the request is left, as a tick may take it in at once.
        # History counts, too: a journal that was restored or lost knows less.
        known = self.tick.journal.read().numbers
        self._before = {name: max(known.get(name, 0), self._last_number(name)) for name in self.names}
        self._numbers: dict[str, int] = {}  # of those of ours that have started
        self._open = list(self.names)  # those of ours that have not ended

    def until_they_ended(self) -> list[Run]:
        """Work the queue, or wait for the connrunner that does, until all that were asked for have ended; return them.

        Those that were taken out of the queue without a run are in `taken_out` then.
        """
        self.tick.take_in(due=False)
        self.tick.lanes.by_hand = {
            name: StopRequest(
                connection=name,
                asked_at=self.view.clock(),
                asked_by=user_and_host(),
                reason=f"Ctrl-C in `connrunner {self.command}`",
            )
            for name in self.names
        }
        try:
            while not self._have_ended():
                self.tick.drain(until=self._have_ended, meanwhile=self._show)
                if not self._have_ended():
                    self._show()
                    time.sleep(LOOK)
        except (KeyboardInterrupt, EndedError):
            self._say_who_goes_on()
            raise
        finally:
            if self.line:
                self.line.clear()
            self.tick.settle()
            self.tick.rest()
        found = (run_files.read_run(self.view.state, name, self._numbers[name]) for name in self._numbers)
        return sorted((run for run in found if run is not None), key=lambda run: (run.ended_at, run.connection))

    def _say_who_goes_on(self) -> None:
        """Say which of our runs the end of this command does not end."""
        if self._have_ended():
            return
        them, go = ("it", "goes") if len(self._open) == 1 else ("one", "go")
        stop = f"`connrunner stop {self._open[0]}` stops {them}"
        click.echo(f"\n{words.listed(self._open)} {go} on, or will by the next tick; {stop}", err=True)

    def _last_number(self, name: str) -> int:
        last = run_files.read_last_run(self.view.state, name)
        return last.run if last else 0

    def _number(self, name: str, journal_state: JournalState) -> int | None:
        """Return the number of our run of *name*: the first above those that there were. None while it waits."""
        before = self._before[name]
        if name not in self._numbers and journal_state.numbers.get(name, 0) > before:
            newer = itertools.takewhile(lambda run: run.run > before, run_files.read_history(self.view.state, name))
            numbers = [run.run for run in newer if self._is_ours(run.entry)]
            started = journal_state.started.get(name)
            if started is not None and started.run > before and self._is_ours(started.entry):
                numbers.append(started.run)
            if numbers:  # there can be gaps: a number is taken before its run is recorded
                self._numbers[name] = min(numbers)
        return self._numbers.get(name)

    def _is_ours(self, entry: QueuedRun) -> bool:
        """Tell apart the decision that was asked for and the runs of the connection's own work."""
        if self.decision is None:
            return not entry.is_decision
        return entry.trigger == self.decision.kind and entry.due_at == self.decision.asked_at

    def _waits(self, name: str, journal_state: JournalState, decisions: Sequence[DecisionRequest]) -> bool:
        if self.decision is None:
            return name in journal_state.waiting
        return any(one.id == self.decision.id for one in decisions)

    def _have_ended(self) -> bool:
        # Before the journal: what is answered meanwhile is found there.
        decisions = requests.read_decisions(self.view.state) if self.decision else []
        journal_state = self.tick.journal.read()
        for name in list(self._open):
            if (error := self.tick.lanes.withheld.get(name)) is not None:
                raise error
            number, started = self._number(name, journal_state), journal_state.started.get(name)
            if number is None and not self._waits(name, journal_state, decisions):
                self.taken_out.append(name)
                self._open.remove(name)
            elif number is not None and (started is None or started.run != number):
                self._open.remove(name)
        return not self._open

    def _show(self) -> None:
        if self.line:
            working = next((name for name in self._open if name in self._numbers), self._open[0] if self._open else "")
            self.line.show(working, self._numbers.get(working))

    def _say(self, event: dict[str, Any]) -> None:
        """Tell on standard error what happens to our runs, each thing once; ends are shown as rows of the table."""
        ours = event.get("connection") in self.names and event["event"] not in ("queued", "ended", "mailed")
        if not (ours or event["event"] in ("busy", "problem")):
            return
        sentence = text.clean(tick_events.describe(event))
        if sentence not in self._printed:
            self._printed.add(sentence)
            if self.line:
                self.line.clear()
            click.echo(sentence, err=True)


class ProgressLine:
    """One line of a terminal that is written again and again."""

    def __init__(self, view: WorkspaceView) -> None:
        self.view = view
        self.name = ""
        self._begin("")

    def show(self, name: str, number: int | None) -> None:
        """Draw how far run *number* of *name* is; None while it waits."""
        if name != self.name:
            self._begin(name)
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

    def _begin(self, name: str) -> None:
        self.name = name
        self.began = self.stage_began = time.monotonic()
        self.offset = 0
        self.stage, self.done = "", 0
        self.of: int | None = None

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

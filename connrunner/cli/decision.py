"""What `connrunner approve`, `decline` and `undo` share: one decision about an earlier run, until it is carried out."""

from __future__ import annotations

import sys
from typing import Literal

import click

from connrunner.answers.account import user_and_host
from connrunner.answers.held_choice import WORDS, choose_held_run
from connrunner.cli import text
from connrunner.cli.options import CommandContext, leave
from connrunner.cli.run import GOOD, RunsWatcher
from connrunner.cli.runs import HEAD, run_row
from connrunner.core import run_records
from connrunner.core.held_runs import DECLINED
from connrunner.core.model import Run
from connrunner.core.planning.due import DecisionRequest
from connrunner.errors import ArgumentError
from connrunner.state import requests

LONGEST = 300  # characters of a reason


def decide(
    context: CommandContext,
    kind: Literal["approve", "decline"],
    name: str,
    number: int | None,
    reason: str,
    *,
    detach: bool,
) -> None:
    """Leave the decision, and wait until its run has ended; exits 1 when it came to something else."""
    view = context.view
    check_reason(reason)
    decision = choose_held_run(view, name, number, kind, asked_by=user_and_host(), reason=reason)
    about = f"{name} #{decision.run}"
    runs = carry_out(
        context,
        decision,
        detach=detach,
        left=f"{about} is {WORDS[kind]}; the next tick carries it out",
        taken_out=f"{about}: the decision was taken back",
    )
    are_good = all(run.result.code == DECLINED if kind == "decline" else run.outcome in GOOD for run in runs)
    leave(0 if are_good else 1)


def check_reason(reason: str) -> None:
    """ArgumentError for a reason that is too long."""
    if len(reason) > LONGEST:
        raise ArgumentError(f"the reason has {len(reason)} characters", hint=f"say it in {LONGEST}")


def carry_out(
    context: CommandContext, decision: DecisionRequest, *, detach: bool, left: str, taken_out: str
) -> list[Run]:
    """Leave *decision*, wait until its run has ended, show that and return it.

    With *detach* say *left* and exit; ArgumentError, in the words *taken_out*, when somebody took the decision back.
    """
    view, name = context.view, decision.connection
    view.prepare_state()
    decision = requests.request_decision(view.state, decision)
    if detach:
        if context.json:
            about = {"connection": name, "run": decision.run, "asked_by": decision.asked_by, "ended": False}
            context.echo_json(about)
        else:
            click.echo(left)
        leave(0)
    is_watched = sys.stderr.isatty() and not context.json
    watch = RunsWatcher(view, [name], with_progress=is_watched, decision=decision, command=decision.kind)
    runs = watch.until_they_ended()
    for run in runs:
        if context.json:
            context.echo_json(run_records.as_dict(run))
            continue
        click.echo(text.table(HEAD, [run_row(run, view.zone(name))], right={0, 2}))
        if run.result.detail.get("superseded"):
            click.echo(f"what stays, and why: connrunner rejects {name} {run.run}")
    if watch.taken_out:
        raise ArgumentError(taken_out)
    return runs

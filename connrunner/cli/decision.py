"""What `connrunner approve` and `connrunner decline` share: one decision about a held run, until it is carried out."""

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
    if len(reason) > LONGEST:
        raise ArgumentError(f"the reason has {len(reason)} characters", hint=f"say it in {LONGEST}")
    decision = choose_held_run(view, name, number, kind, asked_by=user_and_host(), reason=reason)
    view.prepare_state()
    decision = requests.request_decision(view.state, decision)
    if detach:
        if context.json:
            about = {"connection": name, "run": decision.run, "asked_by": decision.asked_by, "ended": False}
            context.echo_json(about)
        else:
            click.echo(f"{name} #{decision.run} is {WORDS[kind]}; the next tick carries it out")
        leave(0)
    watch = RunsWatcher(
        view, [name], with_progress=sys.stderr.isatty() and not context.json, decision=decision, command=kind
    )
    runs = watch.until_they_ended()
    for run in runs:
        if context.json:
            context.echo_json(run_records.as_dict(run))
        else:
            click.echo(text.table(HEAD, [run_row(run, view.zone(name))], right={0, 2}))
    if watch.taken_out:
        raise ArgumentError(f"{name} #{decision.run}: the decision was taken back")
    are_good = all(run.result.code == DECLINED if kind == "decline" else run.outcome in GOOD for run in runs)
    leave(0 if are_good else 1)

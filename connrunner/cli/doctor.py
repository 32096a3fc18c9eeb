"""`connrunner doctor`: is all well, and what fixes it?"""

from __future__ import annotations

import click

from connrunner.answers.checkup import as_dict, run_checks
from connrunner.cli import text
from connrunner.cli.options import CommandContext, leave, with_context
from connrunner.doctor import Check
from connrunner.errors import ArgumentError
from connrunner.text.words import plural

COLOURS = {"ok": "green", "warning": "yellow", "failure": "red"}


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--connections", "partnered", is_flag=True, help="Log in: mail, and the other side of each connection, or of NAMEs."
)
@click.option("--executor", "with_executors", is_flag=True, help="Ask Kubernetes or Slurm, where runs live there.")
@with_context(reads=True)
def doctor_command(context: CommandContext, names: tuple[str, ...], partnered: bool, with_executors: bool) -> None:
    """Check what connrunner stands on, and say which command or edit fixes what is wrong.

    Python and packages, clock and time zones, the state folder, whether tick is called, the workspace, secrets, mail.
    With --connections also the login of mail and the other side of each connection: its name resolves, it is who it
    should be, it takes our credentials; NAMEs may have wildcards. Nothing is run, fetched or sent, but secrets go to
    where the workspace says: not in a checkout that nobody has read. With --executor also whether Kubernetes or Slurm
    answers, grants what runs need, and has room. Exit codes: 0 all is well, or there are
    warnings only; 1 a failure.
    """
    if names and not partnered:
        raise ArgumentError("names are for --connections", hint=f"`connrunner doctor --connections {' '.join(names)}`")
    found = []
    for check in run_checks(context.view, names if partnered else None, with_executors=with_executors):
        found.append(check)
        if not context.json:
            _show(check)
    failures = sum(check.level == "failure" for check in found)
    warnings = sum(check.level == "warning" for check in found)
    if context.json:
        context.echo_json(as_dict(context.view.clock(), found))
    else:
        click.echo(f"\n{len(found):,} checks: {plural(failures, 'failure')}, {plural(warnings, 'warning')}")
    if failures:
        leave(1)


def _show(check: Check) -> None:
    word = click.style(f"{check.level:7}", fg=COLOURS[check.level])
    click.echo(f"{word}  {check.name}: {text.clean(check.found)}")
    if check.fix:
        click.echo(f"         {text.clean(check.fix)}")

"""`connrunner plan`: what a change of the workspace does, before it is merged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from connrunner.answers.plan import PlanRequest, as_dict, read_plan
from connrunner.cli import plan_text
from connrunner.cli.options import CommandContext, leave, with_context
from connrunner.cli.text import as_json, json_without_commands
from connrunner.errors import ArgumentError, ConnrunnerError, PreviewError, WorkspaceError

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


class PlanCommand(click.Command):
    """A command whose every error ends with 1: its 2 says that there are changes."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            error.show()
            leave(1)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConnrunnerError as error:
            problems = error.problems if isinstance(error, WorkspaceError) else ()
            raise PreviewError(error.message, hint=error.hint, problems=problems) from error


@click.command(cls=PlanCommand)
@click.argument("versions", required=False, metavar="[BASE[..HEAD]]")
@click.option(
    "--base", "base_folder", type=FOLDER, help="Compare with the workspace in this folder instead of a commit."
)
@click.option("--days", type=click.IntRange(1, 366), default=7, show_default=True, help="How many days to look ahead.")
@click.option("--durations", type=FILE, help="Run times of the past: a file made by `connrunner next --format json`.")
@click.option(
    "--guess", default="5m", show_default=True, help="How long a run takes that nobody has seen (90s, 5m, 2h)."
)
@with_context(
    reads=True,
    now=True,
    forms=("markdown",),
    format_help="For people, programs, or a comment in a pull request.",
    state_help="The state folder with run times and promises; wins over CONNRUNNER_STATE.",
)
def plan_command(
    context: CommandContext,
    versions: str | None,
    base_folder: Path | None,
    days: int,
    durations: Path | None,
    guess: str,
) -> None:
    """Show what a change of the workspace does: connections, programs and other files, slots, and the coming queue.

    Without BASE the files as they are now are compared with the last commit; with BASE, with that commit; BASE..HEAD
    compares two commits, BASE...HEAD what HEAD changed since both parted. Exit codes: 0 no change, 2 changes, 1 error.
    """
    if base_folder is not None and versions:
        raise ArgumentError("BASE and --base name the same thing", hint="leave one of them out")
    request = PlanRequest(versions=versions or "", base_folder=base_folder, days=days, durations=durations, guess=guess)
    found = read_plan(context.view, request)
    if context.json:
        click.echo(json_without_commands(as_json(as_dict(found), indent=2)))
    else:
        click.echo(plan_text.as_markdown(found) if context.output == "markdown" else plan_text.as_text(found))
    leave(0 if found.is_empty else 2)

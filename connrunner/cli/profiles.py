"""`connrunner profiles`: how many there are, one of them, or a selection in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from connrunner.answers.profile_lookup import (
    choose_columns,
    count_as_dict,
    count_profiles,
    describe_profile,
    find_by_number,
    find_profiles,
    identifiers,
    read_model,
    write_profiles,
)
from connrunner.cli import text
from connrunner.cli.options import CommandContext, with_context
from connrunner.cli.profiles_erase import erase_command
from connrunner.cli.profiles_move import move_command
from connrunner.core.model import ProfileModel
from connrunner.errors import ArgumentError
from connrunner.text.words import agree, plural


class LookupCommand(click.Command):
    """A command about a VALUE that has other commands below it: a first word that is one of theirs means that one."""

    below: Mapping[str, click.Command] = {one.name: one for one in (erase_command, move_command) if one.name}


@click.command(cls=LookupCommand)
@click.argument("value", required=False)
@click.option("--where", help="Only profiles for which this SQL expression over properties holds.")
@click.option("--columns", help="The properties to write, with commas between; all of them without this.")
@click.option(
    "--output",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the selection here: .csv, .jsonl or .parquet, also .gz.",
)
@click.option("--id", "number", type=click.IntRange(1, 2**63 - 1), help="The profile with this number in the store.")
@with_context(reads=True)
def profiles_command(
    context: CommandContext,
    value: str | None,
    where: str | None,
    columns: str | None,
    target: Path | None,
    number: int | None,
) -> None:
    """Count the profiles, show those with the identifier VALUE, or write a selection to a file.

    `connrunner profiles erase VALUE` erases a person; a profile with the identifier `erase` is shown by
    `connrunner profiles -- erase`.
    """
    view = context.view
    model = read_model(view)
    chosen = choose_columns(model, columns)
    if number is not None:
        if value is not None:
            raise ArgumentError("VALUE and --id both say which profile", hint="leave out one of them")
        _show(context, model, [find_by_number(view, model, number)])
    elif value is not None:
        found = find_profiles(view, model, value)
        if not found and not context.json:
            raise ArgumentError(f"no profile has {' or '.join(identifiers(model))} {value!r}")
        _show(context, model, found)
    elif target is not None:
        count = write_profiles(view, model, target, chosen, where)
        click.echo(f"{agree(count, 'profile', 'is', 'are')} in {target}")
    else:
        _show_count(context, count_profiles(view, model, where), where)


def _show_count(context: CommandContext, count: int, where: str | None) -> None:
    if context.json:
        context.echo_json(count_as_dict(count, where))
    else:
        click.echo(plural(count, "profile") + (f" where {text.clean(where)}" if where else ""))


def _show(context: CommandContext, model: ProfileModel, found: list[dict[str, Any]]) -> None:
    if context.json:
        context.echo_json(found)
        return
    for profile in found:
        facts = describe_profile(profile, model, context.view.workspace.timezone)
        click.echo(text.table(("Property", "Value"), facts) + "\n")

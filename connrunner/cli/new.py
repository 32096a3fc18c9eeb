"""`connrunner new`: the file of one connection, to be filled in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from connrunner.answers.new_connection import COMMAND, KINDS, format_connection
from connrunner.cli.init import SCHEMAS
from connrunner.cli.options import CommandContext, with_context
from connrunner.core.workspace_files import is_name
from connrunner.errors import ArgumentError


@click.command()
@click.argument("name")
@click.option("--from", "kind", type=click.Choice(KINDS), required=True, help="What it connects with.")
@click.option("--export", is_flag=True, help="Profiles go there; without it, rows come from there.")
@with_context()
def new_command(context: CommandContext, name: str, kind: str, export: bool) -> None:
    """Write connections/NAME.yaml: sound, with comments, and switched off, so that nothing runs by itself.

    Its fields are the properties of profile.yaml, its secrets references to variables. Nothing that is there already is
    overwritten.
    """
    if not is_name(name):
        hint = "use small letters, digits, - and _, at most 63, and begin with a letter or digit"
        raise ArgumentError(f"{name!r} cannot be a name", hint=hint)
    folder, workspace = context.view.folder, context.view.workspace
    if kind != COMMAND and not workspace.profile.properties:
        raise ArgumentError("profile.yaml has no properties that can be used", hint="see `connrunner validate`")
    path = Path("connections", f"{name}.yaml")
    schema = f"../{SCHEMAS}/connection.json" if (folder / SCHEMAS).is_dir() else ""
    _write(folder / path, format_connection(name, kind, workspace.profile, export=export, schema=schema))
    click.echo(f"wrote {path}; type next:")
    for command, why in _list_steps(context, name, kind):
        click.echo(f"  {command:<40}  # {why}")


def _list_steps(context: CommandContext, name: str, kind: str) -> Iterator[tuple[str, str]]:
    """Yield what to type next, and why."""
    path = f"connections/{name}.yaml"
    yield f"$EDITOR {path}", "what it says are examples: fill it in"
    yield "connrunner validate", "checks it"
    if context.view.workspace.source == "git":
        yield f"git add {path} && git commit", "ticks and runs obey commits"
    if kind != COMMAND:
        yield f"connrunner run {name} --dry-run", "reads and checks for real, writes nothing"
    yield f"connrunner run {name} --force", "runs it once; `enabled: true` and a schedule switch it on"


def _write(path: Path, text: str) -> None:
    """Write *text* at *path*, which must be new; ArgumentError when it is not, or cannot be."""
    try:
        path.parent.mkdir(exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "w") as file:
            file.write(text)
    except FileExistsError:
        raise ArgumentError(f"{path} is there already", hint="choose another name, or edit it") from None
    except OSError as error:
        raise ArgumentError(f"{path} cannot be written: {error.strerror}") from error

"""`connrunner completion`: what a shell proposes after Tab: commands, options, connections, runs.

It is asked at every Tab, so it reads names of files and nothing else.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from connrunner.config import place
from connrunner.core.workspace_files import is_name

VARIABLE = "_CONNRUNNER_COMPLETE"  # set by the script: this is a question after Tab
NAMES = ("name", "names", "topic")  # arguments that take a connection
NUMBERS = ("run",)  # arguments that take a run of it
NUMBER = re.compile("[0-9]{1,18}")
RUNS = 50
WHERE = {
    "bash": 'source it in ~/.bashrc: eval "$(connrunner completion bash)"',
    "zsh": 'source it in ~/.zshrc: eval "$(connrunner completion zsh)"',
    "fish": "write it to ~/.config/fish/completions/connrunner.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(tuple(WHERE)))
def completion_command(shell: str) -> None:
    """Print the script by which SHELL (bash, zsh or fish) completes commands, connections and runs.

    bash: eval "$(connrunner completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc; fish: write it to
    ~/.config/fish/completions/connrunner.fish.
    """
    known = get_completion_class(shell)
    assert known is not None
    click.echo(f"# {WHERE[shell]}")
    click.echo(known(click.Command("connrunner"), {}, "connrunner", VARIABLE).source())


def taught(command: click.Command) -> click.Command:
    """Return *command* with arguments that propose connections and runs where they take some."""
    command = copy(command)
    command.params = [_taught(parameter) for parameter in command.params]
    if isinstance(command, click.Group):
        command.commands = {name: taught(inner) for name, inner in command.commands.items()}
    return command


def _taught(parameter: click.Parameter) -> click.Parameter:
    if isinstance(parameter, click.Argument) and parameter.name in (*NAMES, *NUMBERS):
        parameter = copy(parameter)
        parameter.type = _Connection() if parameter.name in NAMES else _Run()
    return parameter


class _Connection(click.ParamType[str]):
    """The name of a connection."""

    name = "connection"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        folder, state = _places(ctx)
        found = {name.removesuffix(".yaml") for name in _listed(f"{folder}/connections") if name.endswith(".yaml")}
        found |= set(_listed(f"{state}/runs"))
        given = ctx.params.get(str(param.name)) or ()
        found -= set(given if isinstance(given, tuple) else ())
        # A shell types what is proposed: a name that is none must not become a command there.
        return [CompletionItem(name) for name in sorted(found) if name.startswith(incomplete) and is_name(name)]


class _Run(click.ParamType[str]):
    """The number of a run of the connection that is named before it."""

    name = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        _, state = _places(ctx)
        name = str(ctx.params.get("name"))
        listed = _listed(f"{state}/runs/{name}") if is_name(name) else []
        numbers = (int(number) for number in listed if NUMBER.fullmatch(number))
        newest = sorted((number for number in numbers if str(number).startswith(incomplete)), reverse=True)
        return [CompletionItem(str(number)) for number in newest[:RUNS]]


def _places(ctx: click.Context) -> tuple[str, str]:
    """Return the workspace and the state folder that the words typed so far mean."""
    options: dict[str, Any] = ctx.params
    workspace = options.get("workspace")
    folder = str(workspace) if workspace else place.find_workspace(os.fspath(Path.cwd())) or "."
    state = options.get("state")
    return folder, place.state_folder(folder, str(state) if state else None)


def _listed(folder: str) -> list[str]:
    with suppress(OSError):
        return os.listdir(folder)  # noqa: PTH208 - the path is text already
    return []

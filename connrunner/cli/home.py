"""Which workspace and which state a command is about: the options that all commands share."""

from __future__ import annotations

import functools
import os
import pwd
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from connrunner.answers.workspace_view import WorkspaceView
from connrunner.cli.text import as_json
from connrunner.config import place
from connrunner.core import instant
from connrunner.core.model import Workspace
from connrunner.errors import ArgumentError
from connrunner.state.folder import StateFolder

Callback = TypeVar("Callback", bound=Callable[..., Any])


@dataclass(frozen=True)
class Home(WorkspaceView):
    """The workspace and the state folder that the options name, and how the answer is written."""

    output: str = "text"  # what `--format` says

    @property
    def json(self) -> bool:
        return self.output == "json"

    def echo_json(self, data: Any) -> None:
        click.echo(as_json(data, indent=2))


class Instant(click.ParamType[datetime]):
    """An RFC 3339 text."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return instant.parse(value)
        except ValueError:
            self.fail(f"{value!r} is no instant; write it as 2026-11-22T09:15:00Z", param, ctx)


def with_home(*, reads: bool = False, now: bool = False, forms: tuple[str, ...] = ()) -> Callable[[Callback], Callback]:
    """Give a command `--workspace` and `--state`; `--format` when it *reads*; `--now`; and pass it a Home first.

    *forms* are those that it can write beside text and JSON.
    """

    def decorate(callback: Callback) -> Callback:
        @functools.wraps(callback)
        def run(
            *args: Any,
            workspace: Path | None,
            state: Path | None,
            output: str = "text",
            instant_now: datetime | None = None,
            **kwargs: Any,
        ) -> Any:
            folder = find_folder(workspace)
            where = place.state_folder(str(folder), str(state) if state else None)
            home = Home(folder, StateFolder(Path(where)), now=instant_now, output=output)
            return callback(home, *args, **kwargs)

        command: Any = run
        if reads:
            choice = click.Choice(["text", "json", *forms])
            command = click.option("--format", "output", type=choice, default="text", help="For people, or programs.")(
                command
            )
        if now:
            help_text = "Take this instant for the clock (RFC 3339)."
            command = click.option("--now", "instant_now", type=Instant(), help=help_text)(command)
        path = click.Path(path_type=Path, file_okay=False)
        command = click.option("--state", type=path, help="The state folder; wins over CONNRUNNER_STATE.")(command)
        help_text = "The folder with connrunner.yaml; without it, this folder or one above."
        return click.option("--workspace", type=path, help=help_text)(command)  # type: ignore[no-any-return]

    return decorate


def find_folder(wanted: Path | None) -> Path:
    """Return the workspace's folder, absolute."""
    if wanted is not None:
        if not (wanted / place.FILE).is_file():
            hint = f"make a workspace with `connrunner init {wanted}`"
            raise ArgumentError(f"{wanted} has no {place.FILE}", hint=hint)
        return wanted.absolute()
    found = place.find_workspace(str(Path.cwd()))
    if found is None:
        raise ArgumentError(
            f"there is no {place.FILE} here or in a folder above",
            hint="go to a workspace, name one with --workspace, or make one with `connrunner init`",
        )
    return Path(found)


def uncommitted_words(workspace: Workspace, paths: list[str]) -> str:
    """Return what people are told about files that differ from the commit that is obeyed."""
    shown = ", ".join(paths[:5]) + (", ..." if len(paths) > 5 else "")
    files = "1 file differs" if len(paths) == 1 else f"{len(paths):,} files differ"
    return f"{files} from commit {str(workspace.commit)[:12]}, which ticks obey: {shown}"


def who() -> str:
    """Return who types, for the record of a request."""
    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container often runs as a user without a name
        return f"uid {os.getuid()}"


def actor() -> str:
    """Return who types, and on which machine: the same state may be seen from several."""
    return f"{who()}@{socket.gethostname()}"


def leave(code: int) -> NoReturn:
    """End the command with *code*."""
    raise click.exceptions.Exit(code)

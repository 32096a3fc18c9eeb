"""The options that all commands share: which workspace, which state folder, which clock, which format."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from connrunner.answers.workspace_view import WorkspaceView, find_folder, open_view
from connrunner.cli.text import as_json
from connrunner.core import instant
from connrunner.lazy_dataclasses import dataclass
from connrunner.text import durations

Callback = TypeVar("Callback", bound=Callable[..., Any])


@dataclass(frozen=True)
class CommandContext:
    """What a command is about, by the options that all commands share, and how it writes its answer."""

    view: WorkspaceView
    output: str = "text"  # what `--format` says

    @property
    def json(self) -> bool:
        return self.output == "json"

    def echo_json(self, data: Any) -> None:
        click.echo(as_json(data, indent=2))

    def echo_json_list(self, items: Iterable[Any]) -> None:
        """Print what `echo_json` does of a list, each item as it comes: there may be very many."""
        start = "[\n"
        for item in items:
            click.echo(start + textwrap.indent(as_json(item, indent=2), "  "), nl=False)
            start = ",\n"
        click.echo("[]" if start == "[\n" else "\n]")


class Instant(click.ParamType[datetime]):
    """An RFC 3339 text."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return instant.parse(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no instant; write it as 2026-11-22T09:15:00Z", param, ctx)


class Since(click.ParamType[datetime | timedelta]):
    """An RFC 3339 text, or a duration back from the instant that is taken for the clock."""

    name = "since"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime | timedelta:
        if isinstance(value, datetime | timedelta):
            return value
        with suppress(ValueError):
            return timedelta(seconds=durations.parse(value, weeks=True))
        try:
            return instant.parse(value)
        except (ValueError, OverflowError):
            words = "is neither a duration like 24h nor an instant like 2026-11-22T09:15:00Z"
            self.fail(f"{value!r} {words}", param, ctx)


def resolve_since(since: datetime | timedelta | None, now: datetime) -> datetime | None:
    """Return the instant that *since* says; None when it says none, or one before all instants that there are."""
    if not isinstance(since, timedelta):
        return since
    try:
        return now - since
    except OverflowError:
        return None


FORMAT_HELP = "For people, or programs."
STATE_HELP = "The state folder; wins over CONNRUNNER_STATE."


def with_context(
    *,
    reads: bool = False,
    now: bool = False,
    forms: tuple[str, ...] = (),
    format_help: str = FORMAT_HELP,
    state_help: str = STATE_HELP,
) -> Callable[[Callback], Callback]:
    """Give a command `--workspace` and `--state`; `--format` when it *reads*; `--now`; pass it a CommandContext first.

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
            view = open_view(find_folder(workspace), state, now=instant_now)
            return callback(CommandContext(view, output), *args, **kwargs)

        command: Any = run
        if reads:
            choice = click.Choice(["text", "json", *forms])
            command = click.option("--format", "output", type=choice, default="text", help=format_help)(command)
        if now:
            help_text = "Take this instant for the clock (RFC 3339)."
            command = click.option("--now", "instant_now", type=Instant(), help=help_text)(command)
        path = click.Path(path_type=Path, file_okay=False)
        command = click.option("--state", type=path, help=state_help)(command)
        help_text = "The folder with connrunner.yaml; without it, this folder or one above."
        return click.option("--workspace", type=path, help=help_text)(command)  # type: ignore[no-any-return]

    return decorate


def ask_first(question: str) -> None:
    """Go on when the person at the terminal says yes to *question*; else end the command with 1, nothing done."""
    if not click.confirm(question):
        click.echo("declined: nothing was changed", err=True)
        leave(1)


def leave(code: int) -> NoReturn:
    """End the command with *code*."""
    raise click.exceptions.Exit(code)

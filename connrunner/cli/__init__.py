"""The command line: the only place that prints and exits."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from connrunner import __version__
from connrunner.cli.text import clean
from connrunner.errors import ConnrunnerError, StateError, WorkspaceError

GROUPS = {
    "Begin": ("init", "demo", "new", "validate", "plan"),
    "Run": ("tick", "run", "stop"),
    "Look": ("status", "explain", "runs", "log", "rejects", "next", "profiles", "state"),
    "Manage": ("connectors", "notify", "reset", "install", "history", "completion"),
    "Operate": ("doctor", "replay", "metrics", "calendar", "site"),
}
LONGEST_SENTENCE = 1000  # characters: the first sentence of each command is shown whole, however wide the terminal is
MODULES = {"rejects": "log", "reset": "state"}  # commands that share a module with another


class Commands(click.Group):
    """The commands, imported one at a time when they are used, and listed by what people want."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return [name for names in GROUPS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"connrunner.cli.{MODULES.get(cmd_name, cmd_name)}")
        command = getattr(module, f"{cmd_name}_command")
        assert isinstance(command, click.Command)
        if ctx.resilient_parsing:  # a shell asks what may follow
            from connrunner.cli import completion

            return completion.taught(command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin so, importing none of them; else what every group would."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name) for name in self.list_commands(ctx) if name.startswith(incomplete)]

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            from connrunner.text import words

            raise click.UsageError(
                f"there is no command {args[0]!r}{words.hint(args[0], self.list_commands(ctx))}", ctx
            )
        name, command, rest = super().resolve_command(ctx, args)
        below: Mapping[str, click.Command] = getattr(command, "below", {})
        if rest and rest[0] in below:  # `profiles erase VALUE` beside `profiles VALUE`
            return f"{name} {rest[0]}", below[rest[0]], rest[1:]
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in GROUPS.items():
            with formatter.section(title):
                rows = []
                for name in names:
                    command = self.get_command(ctx, name)
                    assert command is not None
                    rows.append((name, command.get_short_help_str(LONGEST_SENTENCE)))
                formatter.write_dl(rows)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="connrunner %(version)s")
def commands() -> None:
    """Run imports and exports of customer profiles, declared as YAML in a git repository, when they are due."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code. Every error becomes one clear line, a bug one report to paste."""
    try:
        code = commands.main(args=arguments, prog_name="connrunner", standalone_mode=False)
    except ConnrunnerError as error:
        return _fail(error)
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:
        # The reader of our output has seen enough (`connrunner runs x | head`).
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - lives as long as the process
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(StateError(f"{where}{error.strerror or error}", hint="fix the file system and try again"))
    except Exception as error:
        _report_bug(error)
        return 4
    return int(code or 0)


def _fail(error: ConnrunnerError) -> int:
    if isinstance(error, WorkspaceError):
        for problem in error.problems:
            click.echo(clean(str(problem)), err=True)
    click.echo(f"{click.style('error:', fg='red', bold=True)} {clean(str(error))}", err=True)
    return error.exit_code


def _report_bug(error: BaseException) -> None:
    lines = traceback.format_exception(error)
    click.echo(
        f"connrunner has a bug. Please report it with the lines below.\n\n"
        f"connrunner {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"command: {' '.join(sys.argv[1:2])}\n{clean(''.join(lines))}",
        err=True,
    )

"""The commands, and what each of their endings prints and exits with."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from connrunner import __version__
from connrunner.errors import ConnrunnerError, StateError, WorkspaceError
from connrunner.text.words import clean_for_terminal as clean

# What people want, and the first sentence of the help of each command: the list of them imports none.
GROUPS: Mapping[str, Mapping[str, str]] = {
    "Begin": {
        "init": "Make a workspace in FOLDER (default: here) that runs at once.",
        "demo": "Show the main job in FOLDER (default: connrunner-demo): due, imported, exported, logged, mailed.",
        "new": "Write connections/NAME.yaml: sound, with comments, and switched off, so that nothing runs by itself.",
        "validate": "Check the workspace: every problem, with its place and remedy.",
        "plan": "Show what a change of the workspace does: connections, programs and other files, slots, and the coming queue.",
    },
    "Run": {
        "tick": "Run everything that is due; for cron, every minute.",
        "run": "Run connections now, each in its place in the queue, and wait until they end.",
        "stop": "Stop the run of connection NAME: the running one, or else the one that waits, and wait until it has ended.",
        "undo": "Put back what import run RUN of connection NAME overwrote, in a run of its own that goes before what waits.",
        "approve": "Do what the held run of connection NAME showed, in a run of its own that goes before what waits.",
        "decline": "Decline what the held run of connection NAME showed: it is held no longer, and nothing is changed.",
    },
    "Look": {
        "status": "Show what runs, what waits and until when, what comes next, and what is late or failing.",
        "explain": "Explain TOPIC: a connection, a YAML key such as import.match, or the code of a problem or a failure.",
        "runs": "Show the newest runs of all connections, or of those that NAMEs say: names, or patterns such as 'crm-*'.",
        "log": "Show the log of connection NAME's newest run, or of run number RUN.",
        "rejects": "Show the rows that connection NAME's newest run, or run number RUN, did not accept, with line and reason.",
        "next": "Show the coming slots of every connection, or of NAME, in the schedule's zone and in UTC.",
        "profiles": "Count the profiles, show those with the identifier VALUE, or write a selection to a file.",
        "state": "Show how far connection NAME has come: the files it has read, its mark, the rows it will offer again.",
    },
    "Manage": {
        "connectors": "Install the third-party programs that connections of type singer and airbyte use, and show which are there.",
        "notify": "Show the mail that waits or was given up; send it again, or give it up.",
        "reset": "Forget how far connection NAME has come: its next run reads, or sends, everything again.",
        "install": "Have `tick` called every minute: by cron, systemd or Kubernetes.",
        "history": "Move old runs out of the state folder; `keep` in the YAML removes them by itself.",
        "completion": "Print the script by which SHELL (bash, zsh or fish) completes commands, connections and runs.",
    },
    "Operate": {
        "web": "Serve the page: queue, runs, logs, Run now and Stop, and the same as JSON for programs, until Ctrl-C.",
        "doctor": "Check what connrunner stands on, and say which command or edit fixes what is wrong.",
        "replay": "Decide a tick anew from --state, a copy of a state folder, at --now; do nothing of it.",
        "metrics": "Print figures in the text format of Prometheus, or write them where node_exporter's textfile collector looks.",
        "calendar": "Print the coming and the past runs of all connections, or of NAMEs, as an iCalendar file (RFC 5545).",
        "site": "Write the page of the workspace into FOLDER, as files that any web server can hand out, or a browser open.",
    },
}
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

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, sentences in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(list(sentences.items()))


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="connrunner %(version)s")
def commands() -> None:
    """Run imports and exports of customer profiles, declared as YAML in a git repository, when they are due."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code. Every error becomes one clear line, a bug one report to paste."""
    return end_with(lambda: commands.main(args=arguments, prog_name="connrunner", standalone_mode=False))


def end_with(command: Callable[[], Any]) -> int:
    """Run *command*; return its exit code. Every error becomes one clear line, a bug one report to paste."""
    try:
        code = command()
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
    import platform
    import traceback

    lines = traceback.format_exception(error)
    click.echo(
        f"connrunner has a bug. Please report it with the lines below.\n\n"
        f"connrunner {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"command: {' '.join(sys.argv[1:2])}\n{clean(''.join(lines))}",
        err=True,
    )

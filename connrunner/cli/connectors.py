"""`connrunner connectors`: install the third-party programs that connections use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from connrunner.answers.installed_programs import list_packages, list_programs, require_package
from connrunner.cli.options import CommandContext, leave, with_context
from connrunner.cli.text import Cell, ColouredCell, clean, table
from connrunner.connectors.bridge import environments
from connrunner.connectors.bridge.environments import Package
from connrunner.core.report import Level
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import replace
from connrunner.text.words import plural


@click.group(name="connectors")
def connectors_command() -> None:
    """Install the third-party programs that connections of type singer and airbyte use, and show which are there."""


@connectors_command.command(name="install")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--verbose", is_flag=True, help="Show all that the installation says.")
@with_context()
def install_command(context: CommandContext, names: tuple[str, ...], verbose: bool) -> None:
    """Install what the connections NAME need, or all of them, each in an environment of its own.

    What is there already is left alone; what `connectors lock` wrote down is installed exactly. Exit codes: 0 all is
    there; 1 something could not be installed.
    """
    view = context.view
    report = _InstallReport(verbose)

    def install(name: str, wanted: Package) -> None:
        if environments.is_installed(wanted, view.state.programs):
            click.echo(f"{wanted.pin}: is installed")
            return
        environments.require_lock(wanted, view.folder, connection=name)
        environments.install(wanted, view.state.programs, report)

    _for_each_package(context, names, install)


@connectors_command.command(name="lock")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--upgrade", is_flag=True, help="Take the newest versions that fit, not those of the lock.")
@click.option("--verbose", is_flag=True, help="Show all that pip says.")
@with_context()
def lock_command(context: CommandContext, names: tuple[str, ...], upgrade: bool, verbose: bool) -> None:
    """Write down every package that the programs of the connections NAME need, or of all, each with its hash.

    The files go to `locks` in the workspace: commit them. From then on `connectors install` installs what they hold and
    nothing else. A lock holds the files for this kind of machine; on another kind the same command adds those for that
    one. Exit codes: 0 all is locked; 1 something could not be.
    """
    view = context.view
    report = _InstallReport(verbose)

    def lock(_name: str, wanted: Package) -> None:
        wanted = replace(wanted, lock=()) if upgrade else wanted
        path, count = environments.write_lock_of(wanted, view.folder, view.state.programs, report)
        click.echo(f"{wanted.pin}: {plural(count, 'package')} locked in {path.relative_to(view.folder)}")

    _for_each_package(context, names, lock)


def _for_each_package(
    context: CommandContext, names: tuple[str, ...], work: Callable[[str, Package], None]
) -> NoReturn:
    """Do *work* for the package of each connection in *names*, or of all, once; tell what fails and end the command."""
    view = context.view
    chosen: Sequence[tuple[str, Package | None]]
    chosen = [require_package(view, view.connection(name)) for name in names] if names else list(list_packages(view))
    view.prepare_state()
    failed = False
    done: set[str] = set()
    for name, wanted in chosen:
        if wanted is None or wanted.folder in done:
            continue
        done.add(wanted.folder)
        try:
            work(name, wanted)
        except (RunError, OSError) as error:
            failed = True
            click.echo(f"{click.style('error:', fg='red', bold=True)} {name}: {clean(str(error))}", err=True)
    for name in sorted(view.workspace.broken) if not names else ():
        click.echo(f"left out: {name}, whose file has problems; see `connrunner validate`", err=True)
    if not chosen:
        click.echo("no connection uses a third-party program")
    leave(1 if failed else 0)


@connectors_command.command(name="list")
@with_context(reads=True)
def list_command(context: CommandContext) -> None:
    """Show the program of each connection of type singer or airbyte, whether it is there, and what is not used."""
    found = list_programs(context.view)
    if context.json:
        context.echo_json(found)
        return
    if not found:
        click.echo("no connection uses a third-party program")
        return
    rows = [
        [each["connection"] or "-", each["package"] or " ".join(each["command"] or ["-"]), _state(each)]
        for each in found
    ]
    click.echo(table(("Connection", "Program", "State"), rows))


def _state(row: dict[str, Any]) -> Cell:
    if row["connection"] is None:
        return f"no connection uses {row['folder']}; remove it when you like"
    if row["package"] is None:
        return "is run as it stands"
    if row["installed"]:
        return ColouredCell("installed", "green")
    return ColouredCell(f"not installed: type `connrunner connectors install {row['connection']}`", "red")


class _InstallReport:
    """A report that says what goes on; the words of the programs that do it only when asked."""

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose

    def message(self, text: str, *, level: Level = "info", **facts: Any) -> None:  # noqa: ARG002
        if self._verbose or "stream" not in facts:
            click.echo(clean(text))

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...

"""`connrunner connectors`: install the programs of others that connections use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from connrunner.cli.home import Home, leave, with_home
from connrunner.cli.text import Cell, ColouredCell, clean, table
from connrunner.connectors.bridge import environments
from connrunner.connectors.bridge.environments import Package
from connrunner.core.model import Connection, Export, Import
from connrunner.core.report import Level
from connrunner.errors import ArgumentError, RunError

TYPES = ("airbyte", "singer")


@click.group(name="connectors")
def connectors_command() -> None:
    """Install the programs of others that connections of type singer and airbyte use, and show which are there."""


@connectors_command.command(name="install")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--verbose", is_flag=True, help="Show all that the installation says.")
@with_home()
def install_command(home: Home, names: tuple[str, ...], verbose: bool) -> None:
    """Install what the connections NAME need, or all of them, each in an environment of its own.

    What is there already is left alone. Exit codes: 0 all is there; 1 something could not be installed.
    """
    chosen = [_of(home.connection(name)) for name in names] if names else list(_all(home))
    home.state.prepare()
    failed = False
    done: set[str] = set()
    for name, wanted in chosen:
        if wanted is None or wanted.folder in done:
            continue
        done.add(wanted.folder)
        if environments.is_installed(wanted, home.state.programs):
            click.echo(f"{wanted.pin}: is installed")
            continue
        try:
            environments.install(wanted, home.state.programs, _InstallReport(verbose))
        except RunError as error:
            failed = True
            click.echo(f"{click.style('error:', fg='red', bold=True)} {name}: {clean(str(error))}", err=True)
    for name in sorted(home.workspace.broken) if not names else ():
        click.echo(f"left out: {name}, whose file has problems; see `connrunner validate`", err=True)
    if not chosen:
        click.echo("no connection uses a program of others")
    leave(1 if failed else 0)


@connectors_command.command(name="list")
@with_home(reads=True)
def list_command(home: Home) -> None:
    """Show the program of each connection of type singer or airbyte, whether it is there, and what nobody uses."""
    folder = home.state.programs
    found = [_row(home, name, wanted) for name, wanted in _all(home)]
    used = {each["folder"] for each in found}
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    found += [
        {"connection": None, "package": None, "with": [], "command": None, "installed": None, "folder": str(place)}
        for place in there
        if place.is_dir() and str(place) not in used
    ]
    if home.json:
        home.echo_json(found)
        return
    if not found:
        click.echo("no connection uses a program of others")
        return
    rows = [
        [each["connection"] or "-", each["package"] or " ".join(each["command"] or ["-"]), _state(each)]
        for each in found
    ]
    click.echo(table(("Connection", "Program", "State"), rows))


def _row(home: Home, name: str, wanted: Package | None) -> dict[str, Any]:
    return {
        "connection": name,
        "package": wanted.pin if wanted else None,
        "with": list(wanted.more) if wanted else [],
        "command": _settings(home.workspace.connections[name]).get("command"),
        "installed": environments.is_installed(wanted, home.state.programs) if wanted else None,
        "folder": str(home.state.programs / wanted.folder) if wanted else None,
    }


def _state(row: dict[str, Any]) -> Cell:
    if row["connection"] is None:
        return f"no connection uses {row['folder']}; remove it when you like"
    if row["package"] is None:
        return "is run as it stands"
    if row["installed"]:
        return ColouredCell("installed", "green")
    return ColouredCell(f"not installed: type `connrunner connectors install {row['connection']}`", "red")


def _all(home: Home) -> Iterator[tuple[str, Package | None]]:
    """Yield each connection that uses a program of others, by name, with the package that brings it."""
    for connection in home.workspace.connections.values():
        if _settings(connection).get("type") in TYPES:
            yield connection.name, environments.package(_settings(connection))


def _of(connection: Connection) -> tuple[str, Package | None]:
    settings = _settings(connection)
    if settings.get("type") not in TYPES:
        raise ArgumentError(f"{connection.name} uses no program of others", hint="leave it out")
    wanted = environments.package(settings)
    if wanted is None:
        raise ArgumentError(f"{connection.name} runs a program that is there already", hint="leave it out")
    return connection.name, wanted


def _settings(connection: Connection) -> Any:
    match connection.work:
        case Import() as work:
            return work.source
        case Export() as work:
            return work.destination
        case _:
            return {}


class _InstallReport:
    """A report that says what goes on; the words of the programs that do it only when asked."""

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose

    def message(self, text: str, *, level: Level = "info", **facts: Any) -> None:  # noqa: ARG002
        if self._verbose or "stream" not in facts:
            click.echo(clean(text))

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...

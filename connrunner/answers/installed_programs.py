"""The third-party programs that connections use, and which are there: the answer of `connrunner connectors list`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from connrunner.answers.workspace_view import WorkspaceView
from connrunner.connectors.bridge import environments
from connrunner.connectors.bridge.environments import Package
from connrunner.core.model import Connection, Export, Import
from connrunner.errors import ArgumentError

TYPES = ("airbyte", "singer")


def list_programs(view: WorkspaceView) -> list[dict[str, Any]]:
    """Return the program of each connection, then the installed ones that no connection uses.

    Each is as `connectors list --format json` shows it; `connection` is None when none uses it.
    """
    folder = view.state.programs
    found = [_program(view, name, wanted) for name, wanted in list_packages(view)]
    used = {program["folder"] for program in found}
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    unused = [str(place) for place in there if place.is_dir() and str(place) not in used]
    nothing: dict[str, Any] = {"connection": None, "package": None, "with": [], "command": None}
    nothing |= {"locked": None, "installed": None}
    return [*found, *({**nothing, "folder": place} for place in unused)]


def _program(view: WorkspaceView, name: str, wanted: Package | None) -> dict[str, Any]:
    return {
        "connection": name,
        "package": wanted.pin if wanted else None,
        "with": list(wanted.more) if wanted else [],
        "command": _settings(view.workspace.connections[name]).get("command"),
        "locked": bool(wanted.lock) if wanted else None,
        "installed": environments.is_installed(wanted, view.state.programs) if wanted else None,
        "folder": str(view.state.programs / wanted.folder) if wanted else None,
    }


def list_packages(view: WorkspaceView) -> Iterator[tuple[str, Package | None]]:
    """Yield each connection that uses a third-party program, by name, with the package that brings it."""
    for connection in view.workspace.connections.values():
        if _settings(connection).get("type") in TYPES:
            yield connection.name, environments.package(_settings(connection), view.folder)


def require_package(view: WorkspaceView, connection: Connection) -> tuple[str, Package]:
    """Return *connection*'s name and the package that brings its program; ArgumentError when it needs none."""
    settings = _settings(connection)
    if settings.get("type") not in TYPES:
        raise ArgumentError(f"{connection.name} uses no third-party program", hint="leave it out")
    wanted = environments.package(settings, view.folder)
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

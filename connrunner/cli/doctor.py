"""`connrunner doctor`: is all well, and what mends it?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import click

from connrunner.cli import text
from connrunner.cli.home import Home, leave, with_home
from connrunner.core import instant, schedules
from connrunner.core.model import Connection
from connrunner.doctor import Check, failure, machine, partners, state_folder, ticks
from connrunner.doctor import workspace as files
from connrunner.errors import ArgumentError, StateError, WorkspaceError
from connrunner.scheduler import idle
from connrunner.state import journal_segments
from connrunner.text.words import plural

COLOURS = {"ok": "green", "warning": "yellow", "failure": "red"}


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--connections", "partnered", is_flag=True, help="Try the other side of each connection, or of NAMEs.")
@with_home(reads=True)
def doctor_command(home: Home, names: tuple[str, ...], partnered: bool) -> None:
    """Check what connrunner stands on, and say which command or edit mends what is wrong.

    Python and packages, clock and time zones, the state folder, whether tick is called, the workspace, secrets, mail.
    With --connections also the other side of each connection: its name resolves, it is who it should be, it takes our
    credentials; NAMEs may have wildcards. Nothing is run, fetched or sent. Exit codes: 0 all is well, or there are
    warnings only; 1 a failure.
    """
    if names and not partnered:
        raise ArgumentError("names are for --connections", hint=f"`connrunner doctor --connections {' '.join(names)}`")
    found = []
    for check in _checks(home, names if partnered else None):
        found.append(check)
        if not home.json:
            _show(check)
    failures = sum(check.level == "failure" for check in found)
    warnings = sum(check.level == "warning" for check in found)
    if home.json:
        home.echo_json({"at": instant.text(home.clock()), "checks": [check.as_dict() for check in found]})
    else:
        click.echo(f"\n{len(found):,} checks: {plural(failures, 'failure')}, {plural(warnings, 'warning')}")
    if failures:
        leave(1)


def _checks(home: Home, names: tuple[str, ...] | None) -> Iterator[Check]:
    now = home.clock()
    yield from machine.python()
    yield from machine.packages()
    looked = idle.find_last_look(str(home.state.root))
    last = None if looked is None else datetime.fromtimestamp(looked, UTC)
    yield from machine.clock(now, seen=last)
    try:
        workspace = home.workspace
    except WorkspaceError as error:
        yield from machine.zone_data((), now)
        yield from state_folder.state(home.state)
        about = "; ".join(str(problem) for problem in error.problems[:3])
        yield failure("workspace", f"{error.message}{': ' if about else ''}{about}", error.hint)
        return
    yield from machine.extras(workspace)
    used = {zone for one in workspace.connections.values() if (zone := schedules.zone_of(one.schedule))}
    yield from machine.zone_data({workspace.timezone, *used}, now)
    yield from state_folder.state(home.state)
    try:
        yield from ticks.called(last, journal_segments.read_records(home.state), now)
    except StateError as error:
        yield failure("ticks", error.message, error.hint)
    yield from files.files(workspace)
    yield from files.commit(workspace)
    yield from files.templates(workspace)
    yield from files.secret_references(workspace)
    yield from partners.mail(workspace, home.state)
    for connection in [] if names is None else _chosen(home, names):
        yield partners.partner(connection, home.folder, home.state, now)


def _chosen(home: Home, names: tuple[str, ...]) -> list[Connection]:
    """Return the connections that *names* mean; all that are switched on when there are none."""
    sound = home.workspace.connections
    if not names:
        return [one for one in sound.values() if one.enabled]
    chosen: dict[str, Connection] = {}
    for name in names:
        fits = [one for one in sound if fnmatchcase(one, name)]
        chosen |= {one: sound[one] for one in fits} if fits else {name: home.connection(name)}
    return list(chosen.values())


def _show(check: Check) -> None:
    word = click.style(f"{check.level:7}", fg=COLOURS[check.level])
    click.echo(f"{word}  {check.name}: {text.clean(check.found)}")
    if check.fix:
        click.echo(f"         {text.clean(check.fix)}")

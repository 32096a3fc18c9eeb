"""Is all well with what connrunner stands on? The answer of `connrunner doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from connrunner.answers.profile_lookup import locate_store
from connrunner.answers.status import find_last_tick
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant, schedules
from connrunner.core.model import Connection
from connrunner.doctor import Check, erased_people, failure, machine, ok, partners, profile_store, state_folder, ticks
from connrunner.doctor import workspace as files
from connrunner.errors import StateError, WorkspaceError
from connrunner.state import journal_segments

LOOKED_BACK = timedelta(days=1)


def run_checks(
    view: WorkspaceView, names: tuple[str, ...] | None = None, *, with_executors: bool = False
) -> Iterator[Check]:
    """Yield what was found of each thing that connrunner stands on, as soon as it is known.

    *with_executors*: whether the places can be used where runs live, too.

    With *names* also whether the mail server takes the login, and the other side of each connection that they mean; of
    all when there are none among them. Only then does a secret leave this machine.
    """
    now = view.clock()
    yield from machine.check_python()
    yield from machine.check_packages()
    last = find_last_tick(view)
    yield from machine.check_clock(now, seen=last)
    try:
        workspace = view.workspace
    except WorkspaceError as error:
        yield from machine.check_zone_data((), now)
        yield from state_folder.check_state_folder(view.state, view.folder)
        about = "; ".join(str(problem) for problem in error.problems[:3])
        yield failure("workspace", f"{error.message}{': ' if about else ''}{about}", error.hint)
        return
    yield from machine.check_extras(workspace)
    used = {zone for one in workspace.connections.values() if (zone := schedules.zone_of(one.schedule))}
    yield from machine.check_zone_data({workspace.timezone, *used}, now)
    yield from state_folder.check_state_folder(view.state, view.folder)
    with suppress(StateError):  # told with the ticks
        promises = view.journal_state.promises
        yield from files.check_schedules(workspace, promises, now)
        yield from files.check_run_times(workspace, promises, view.state, now)
    try:
        yield from ticks.check_ticks(last, journal_segments.read_records(view.state), now)
    except StateError as error:
        yield failure("ticks", error.message, error.hint)
    yield from profile_store.check_profile_store(view.state, workspace.profile, locate_store(view))
    yield from files.check_files(workspace)
    yield from files.check_commit(workspace)
    yield from files.check_mail_templates(workspace)
    yield from files.check_secret_references(workspace)
    yield from files.check_web(workspace)
    yield from erased_people.check_withdrawals(workspace, view.state)
    yield from partners.check_mail(workspace, view.state, login=names is not None)
    if with_executors:
        yield from _check_executors(view)
    for connection in [] if names is None else _chosen(view, names):
        yield partners.check_partner(connection, view.folder, view.state, now)


def _check_executors(view: WorkspaceView) -> Iterator[Check]:
    """Yield what was found of each place where runs of the workspace live, this machine excepted."""
    from connrunner.doctor import engine_checks
    from connrunner.executors.engine import EngineError
    from connrunner.executors.kubernetes.api_client import ApiClient
    from connrunner.scheduler import engines

    found = [one.executor for one in view.workspace.connections.values() if one.executor is not None]
    if not found:
        yield ok("executor", "every connection runs on this machine")
    for settings in {engines.key_of(one): one for one in found}.values():
        if settings["type"] == "slurm":
            yield from engine_checks.check_slurm(settings)
            continue
        try:
            access = engines.find_access(settings)
            client = ApiClient(access)
        except EngineError as error:
            yield failure("executor kubernetes", error.message, error.hint)
            continue
        yield from engine_checks.check_kubernetes(client, settings.get("namespace") or access.namespace)
        client.close()


def look_around(view: WorkspaceView) -> Iterator[Check]:
    """Yield those of the checks that only look, and that cost little however many connections there are.

    No lock is taken and no file written, the profile store is not opened, and nothing is asked of another machine or
    program but git: whoever reads a page, and how often, no tick notices.
    """
    now, last, workspace = view.clock(), find_last_tick(view), view.workspace
    yield from machine.check_python()
    yield from machine.check_packages()
    yield from machine.check_clock(now, seen=last)
    yield from machine.check_extras(workspace)
    used = {zone for one in workspace.connections.values() if (zone := schedules.zone_of(one.schedule))}
    yield from machine.check_zone_data({workspace.timezone, *used}, now)
    yield from state_folder.check_folder_and_room(view.state.root)
    with suppress(StateError):  # told with the ticks
        yield from files.check_schedules(workspace, view.journal_state.promises, now)
    try:
        recent = journal_segments.read_records_since(view.state, now - LOOKED_BACK)
        yield from ticks.check_ticks(last, recent, now)
    except StateError as error:
        yield failure("ticks", error.message, error.hint)
    yield from files.check_files(workspace)
    yield from files.check_commit(workspace)
    yield from files.check_secret_references(workspace)
    yield from files.check_web(workspace)
    yield from erased_people.check_withdrawals(workspace, view.state)


def _chosen(view: WorkspaceView, names: tuple[str, ...]) -> list[Connection]:
    """Return the connections that *names* mean; all that are switched on when there are none."""
    sound = view.workspace.connections
    if not names:
        return [connection for connection in sound.values() if connection.enabled]
    chosen: dict[str, Connection] = {}
    for name in names:
        fits = {known: sound[known] for known in sound if fnmatchcase(known, name)}
        chosen |= fits or {name: view.connection(name)}
    return list(chosen.values())


def as_dict(at: datetime, checks: Sequence[Check]) -> dict[str, Any]:
    """Return *checks*, made at *at*, as `doctor --format json` shows them."""
    return {"at": instant.text(at), "checks": [check.as_dict() for check in checks]}

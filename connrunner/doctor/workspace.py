"""The workspace: is it sound, which commit is obeyed, do the secrets that it names exist?"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from connrunner.config import secrets, zones
from connrunner.config.versions.changed_files import find_changed_files
from connrunner.config.web_check import check_web_settings
from connrunner.core import instant
from connrunner.core.model import Workspace
from connrunner.core.planning import forecast
from connrunner.core.planning.due import Promise
from connrunner.core.planning.ended import find_ended_schedules
from connrunner.core.planning.tight import describe_tight_schedule, find_full_lanes, find_tight_schedule
from connrunner.doctor import Check, failure, ok, warning
from connrunner.errors import Problem, RunError, WorkspaceError
from connrunner.notify.channel import PREFIX, is_channel
from connrunner.notify.check import check_templates
from connrunner.state import run_files
from connrunner.state.folder import StateFolder
from connrunner.text import durations
from connrunner.text.words import agree, listed, plural

VALIDATE = "`connrunner validate` shows each with its place"


def check_files(workspace: Workspace) -> Iterator[Check]:
    """Yield whether the files of the workspace can be used."""
    if workspace.trouble:
        yield failure("workspace", f"the last good version is in use: {workspace.trouble}", "fix that")
    if workspace.broken:
        names = ", ".join(sorted(workspace.broken)[:5])
        yield failure("workspace", f"{plural(len(workspace.broken), 'connection')} cannot run: {names}", VALIDATE)
    elif workspace.problems:
        yield warning("workspace", f"{_counted(workspace.problems)}, and every connection can run", VALIDATE)
    elif not workspace.connections:
        yield warning("workspace", f"{workspace.folder} has no connections", "`connrunner init` shows how they look")
    else:
        off = sum(not one.enabled for one in workspace.connections.values())
        more = f", {off:,} of them switched off" if off else ""
        yield ok("workspace", f"{workspace.folder}: {plural(len(workspace.connections), 'connection')}{more}")


def check_schedules(workspace: Workspace, promises: Mapping[str, Promise], now: datetime) -> Iterator[Check]:
    """Yield a warning for each connection that is on and whose schedule has ended."""
    connections = workspace.connections.values()
    for one in find_ended_schedules(connections, promises, now=now, zones=zones.version()):
        found = f"{one.connection}: its schedule has ended, the last slot was {instant.text(one.last)}"
        yield warning("schedules", found, "give it a later end, or write `enabled: false`")


def check_run_times(
    workspace: Workspace, promises: Mapping[str, Promise], state: StateFolder, now: datetime
) -> Iterator[Check]:
    """Yield a warning for each schedule that is shorter than its runs, and each lane with too much work for a day."""
    usual = {}
    for name, connection in workspace.connections.items():
        if not connection.enabled:
            continue
        usual[name] = takes = forecast.summarize_durations(run_files.read_durations(state, name))
        tight = find_tight_schedule(connection, promises.get(name), takes, now=now, zones=zones.version())
        if tight is not None:
            words = describe_tight_schedule(tight.gap.total_seconds(), takes.p95)
            yield warning("schedules", f"{name}: {words}", "give it fewer slots, or its runs less to do")
    for lane in find_full_lanes(workspace.connections.values(), promises, usual, now=now):
        hours = durations.in_words(lane.seconds)
        found = f"lane {lane.lane}: the slots of the next 24 hours are {hours} of work"
        yield warning("schedules", found, "give its connections fewer slots, or some of them another `lane`")


def check_commit(workspace: Workspace) -> Iterator[Check]:
    """Yield which commit the files are of, and whether they differ from it."""
    if workspace.commit is None:
        fix = f"`git -C {workspace.folder} init`, and commit: runs then record which version they used"
        yield warning("git", "the workspace is in no repository with a commit", fix)
        return
    head = workspace.commit[:12]
    try:
        changed = find_changed_files(workspace.folder)
    except WorkspaceError as error:
        yield warning("git", f"commit {head}; git cannot say more: {error.message}", error.hint)
        return
    if not changed:
        yield ok("git", f"commit {head}, nothing uncommitted")
        return
    obeyed = "ticks obey the commit" if workspace.repository else "ticks obey the files, and runs record the commit"
    shown = ", ".join(changed[:5])
    yield warning(
        "git",
        f"{agree(len(changed), 'file', 'differs', 'differ')} from commit {head} ({shown}): {obeyed}",
        "commit, or take back",
    )


def check_mail_templates(workspace: Workspace) -> Iterator[Check]:
    """Yield whether the templates of mail compile and render."""
    problems = check_templates(Path(workspace.folder))
    if problems:
        yield failure("templates", f"{_counted(problems)}: {problems[0]}", VALIDATE)
    else:
        yield ok("templates", "all render" if (Path(workspace.folder) / "templates").is_dir() else "the built-in ones")


def check_web(workspace: Workspace) -> Iterator[Check]:
    """Yield whether the page can be served as connrunner.yaml says; nothing when it says nothing of it."""
    if "web" not in workspace.document:
        return
    settings, problems = workspace.web, list(check_web_settings(workspace.document["web"]))
    for problem in problems:
        yield failure("web", problem.message, problem.hint)
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        yield failure("web", "the page needs the extra `web`, which is not installed", "pip install 'connrunner[web]'")
    if problems:
        return
    ways = [
        *(["tokens"] if settings.read_token or settings.act_token else []),
        *(["a proxy"] if settings.proxies else []),
    ]
    who = f"by {listed(ways)}" if ways else "for the account that runs it"
    if settings.read_token and settings.act_token and settings.read_token == settings.act_token:
        yield warning("web", "the tokens for seeing and for acting are one and the same", "write another one for `act`")
    yield ok("web", f"on {settings.listen}, {who}")


def check_secret_references(workspace: Workspace) -> Iterator[Check]:
    """Yield whether each secret that is named exists and is private; what it is stays untold."""
    users: dict[str, list[str]] = {}
    for reference, user in _named(workspace):
        users.setdefault(reference, []).append(user)
    missing = 0
    for reference, who in sorted(users.items()):
        about = f"{reference} ({', '.join(who[:3])}{', ...' if len(who) > 3 else ''})"
        try:
            secrets.resolve_secret(reference, folder=Path(workspace.folder))
        except RunError as error:
            missing += 1
            yield failure("secrets", f"{about}: {error.message.rpartition(': ')[2]}", error.hint)
            continue
        if mode := _seen_by_others(reference):
            path = reference.partition(":")[2]
            yield warning("secrets", f"{about}: other users may read it (mode {mode:04o})", f"chmod 600 {path}")
    if not missing:
        yield ok("secrets", f"{len(users):,} named, all there" if users else "none is named")


def _named(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Yield each reference to a secret, with who uses it."""
    for connection in workspace.connections.values():
        if connection.enabled:
            beat = connection.heartbeat.url if connection.heartbeat else ""
            for reference in secrets.references([connection.settings, beat]):
                yield reference, connection.name
    mail, beat = workspace.mail, workspace.heartbeat.url if workspace.heartbeat else ""
    store = (workspace.store.url, "store")
    tokens = ((workspace.web.read_token, "web"), (workspace.web.act_token, "web"))
    for value, who in ((mail.username, "mail"), (mail.password, "mail"), (beat, "heartbeat"), store, *tokens):
        if value and secrets.is_reference(value):
            yield value, who
    for name, target in workspace.targets.items():
        for recipient in target.recipients:
            if is_channel(recipient):
                yield recipient.removeprefix(PREFIX), f"notifications/{name}"


def _seen_by_others(reference: str) -> int:
    """Return the mode of a secret's file that others may read; 0 when they may not, or it is no file."""
    kind, _, path = reference.partition(":")
    if kind != "file":
        return 0
    mode = stat.S_IMODE(Path(path).stat().st_mode)
    return mode if mode & 0o004 else 0


def _counted(problems: tuple[Problem, ...]) -> str:
    return plural(len(problems), "problem")

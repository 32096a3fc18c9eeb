"""Who connrunner talks to: the mail server, and the other side of each connection. Nothing is sent or fetched."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from connrunner import connectors
from connrunner.config import secrets
from connrunner.connectors import RunContext, command
from connrunner.core.model import Command, Connection, Export, Workspace
from connrunner.core.report import Level
from connrunner.doctor import Check, failure, ok, warning
from connrunner.errors import ConnrunnerError, RunError
from connrunner.lazy_dataclasses import replace
from connrunner.notify import mail_folder, mailbox, outbox, smtp_connection
from connrunner.processes.temporary_folders import temporary_folder
from connrunner.state.folder import StateFolder

PATIENCE = 30  # seconds for each partner


def check_mail(workspace: Workspace, state: StateFolder, *, login: bool) -> Iterator[Check]:
    """Yield whether the mail server takes our connection, and our login if *login*; no mail is sent.

    A login tells the server a secret, and both are what the workspace names: so it is for people who ask for it.
    """
    said = workspace.mail
    here = Path(workspace.folder)
    try:
        source = mailbox.parse_person(said.sender)
        if said.server.startswith("file:"):
            place = mail_folder.resolve_folder(said.server, workspace=here, default=state.mail)
            if workspace.default_notify or any(one.notify for one in workspace.connections.values()):
                fix = "set `mail.server` in connrunner.yaml: smtp://mail.example.com:587"
                yield warning("mail", f"mail is written to {place}, and reaches nobody", fix)
            else:
                yield ok("mail", "nobody is told by mail")
            return
        server = smtp_connection.parse_server(said.server)
        mail = said if login else replace(said, username=None, password=None, certificate=None, key=None)
        if said.certificate and not login:
            yield ok("mail", f"{server} is not asked: `connrunner doctor --connections` shows it our certificate")
            return
        account = outbox.make_account(mail, mailbox=state.mail, reveal=partial(secrets.reveal, folder=here))
        session = outbox.open_session(server, account, source, deadline=time.monotonic() + PATIENCE)
        try:
            session.reach()
        finally:
            session.close()
    except ConnrunnerError as error:
        yield failure("mail", error.message, error.hint or "correct `mail` in connrunner.yaml")
        return
    protected = "without TLS, on this machine" if server.scheme == "smtp+plain" else "its certificate is valid"
    with_login = "the login is accepted" if login else "`connrunner doctor --connections` tries the login"
    yield ok("mail", f"{server} answers; {protected}; {with_login if said.username else 'no login is set'}")


def check_partner(connection: Connection, here: Path, state: StateFolder, now: datetime) -> Check:
    """Return whether the other side of *connection* is there and takes its credentials; *here* is the workspace."""
    name = f"connection {connection.name}"
    mask: Callable[[str], str] = str
    report = _LastWarning()
    try:
        plain = {text: secrets.resolve_secret(text, folder=here) for text in secrets.references(connection.settings)}
        mask = secrets.Masker(plain.values()).mask
        with temporary_folder() as spool, _within(PATIENCE):
            if isinstance(connection.work, Command):
                found: str | None = command.probe(connection.work, workspace=here)
            else:
                context = RunContext(
                    connection=connection.name,
                    run=0,
                    at=now,
                    workspace=here,
                    spool=Path(spool),
                    programs=state.programs,
                    ledger=state.ledger(connection.name),
                    report=report,
                )
                settings = secrets.filled(connection.settings, plain)
                writes = isinstance(connection.work, Export)
                found = connectors.probe(settings["type"], settings, context, writes=writes)
    except _SlowError:
        said = f"no answer within {PATIENCE:g} s" + (f"; {report.last}" if report.last else "")
        return failure(name, mask(said), "is the way there open?")
    except RunError as error:
        return failure(name, mask(error.message), mask(error.hint) or "see its settings")
    except OSError as error:
        place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return failure(name, mask(f"{place}{error.strerror or error}"), "see that connrunner may use it")
    if found is None:
        return ok(name, f"its connector {connection.settings['type']} cannot be asked without a run")
    return ok(name, mask(found))


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """End what takes longer than *seconds* with a _SlowError, whatever it waits for. In the main thread only."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise _SlowError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _SlowError(SystemExit):
    """The time is over.

    Not an Exception, for no connector may take it for trouble of its own; and of this kind, for asyncio swallows every
    other that a signal's handler raises in one of its callbacks.
    """


class _LastWarning:
    """A report of which the last warning counts: why something is tried again."""

    def __init__(self) -> None:
        self.last = ""

    def message(self, text: str, *, level: Level = "info", **facts: Any) -> None:  # noqa: ARG002
        if level != "info":
            self.last = text

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...

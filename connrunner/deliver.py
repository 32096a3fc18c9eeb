"""The process that sends owed mail: what end records owe and no delivery record has settled."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from connrunner.config import load, secrets
from connrunner.core import notice
from connrunner.core import schedule as schedules
from connrunner.core.model import Workspace
from connrunner.core.notice import DeliveryRecord
from connrunner.errors import BusyError, ConnrunnerError, RunError
from connrunner.notify import outbox
from connrunner.notify.outbox import PendingNotice
from connrunner.state import locks
from connrunner.state.folder import StateFolder
from connrunner.state.journal import Journal
from connrunner.state.standing import Owed, Standing

PASS = 30.0  # seconds that one pass may take; what is not reached stays due


def deliver(folder: Path, state: StateFolder) -> None:
    """Send the mail that is due, recording each recipient's result durably right after it. One process at a time."""
    deadline = time.monotonic() + PASS
    try:
        with locks.exclusive(state, "mail", wait=0):
            _deliver(folder, state, deadline)
    except BusyError:
        return  # another one is at it


def _deliver(folder: Path, state: StateFolder, deadline: float) -> None:
    workspace = load.load(folder, cache=state.compiled)
    journal = Journal(state)
    stands = journal.read()
    pending = [one for owed in stands.owed.values() if (one := _pending(owed, workspace, stands, state)).recipients]

    def record(delivery: DeliveryRecord) -> None:
        with locks.changing(state):
            journal.append({"type": "delivered", **delivery})

    try:
        username = _plain(workspace.mail.username, folder)
        password = _plain(workspace.mail.password, folder)
    except RunError as error:
        outbox.put_off(pending, str(error), record=record)
        return
    with load.templates(workspace) as templates:
        outbox.deliver(
            pending,
            mail=workspace.mail,
            username=username,
            password=password,
            workspace=folder,
            templates=templates,
            mailbox=state.mail,
            deadline=deadline,
            record=record,
        )


def _pending(owed: Owed, workspace: Workspace, stands: Standing, state: StateFolder) -> PendingNotice:
    name = owed.notice.connection
    connection = workspace.connections.get(name)
    promise = stands.promises.get(name)
    zone = (connection and schedules.zone_of(connection.schedule)) or workspace.timezone
    return PendingNotice(
        notice=owed.notice,
        recipients=notice.ledger(owed.notice, owed.deliveries, datetime.now(UTC)).due,
        run=owed.run,
        title=connection.title if connection else owed.run.title or name,
        description=connection.description if connection else "",
        owner=connection.owner if connection else "",
        timezone=zone,
        next_run=promise.next_due if promise else None,
        rejects=state.rejects(name, owed.notice.run),
    )


def _plain(value: str | None, folder: Path) -> str | None:
    return secrets.resolve(value, folder=folder) if value and secrets.is_reference(value) else value


def main() -> int:
    """Send what is due for the workspace and the state folder named as arguments."""
    try:
        deliver(Path(sys.argv[1]), StateFolder(Path(sys.argv[2])))
    except ConnrunnerError as error:
        sys.stderr.write(f"connrunner: mail waits: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The process that sends owed mail: what end records owe and no delivery record has settled."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from connrunner.config import load, secrets
from connrunner.config.versions.author import author
from connrunner.core import instant, schedules
from connrunner.core.alerts import notice
from connrunner.core.alerts.notice import DeliveryRecord
from connrunner.core.model import Target, Workspace
from connrunner.errors import BusyError, ConnrunnerError, RunError, StateError, WorkspaceError
from connrunner.lazy_dataclasses import replace
from connrunner.notify import facts, outbox
from connrunner.notify.digest_facts import digest_facts
from connrunner.notify.facts import Background
from connrunner.notify.outbox import ChannelSecrets, MailAccount, PendingNotice
from connrunner.processes.clock import make_clock
from connrunner.processes.limits import forbid_core_dumps
from connrunner.state import end_reserve, locks, run_files
from connrunner.state.folder import StateFolder
from connrunner.state.journal import Journal
from connrunner.state.journal_state import JournalState, OwedNotice

PASS = 30.0  # seconds that one pass may take; what is not reached stays due
ASKING = 5.0  # seconds of it in which git is asked about commits


def send_owed_mail(folder: Path, state: StateFolder, *, now: datetime | None = None) -> None:
    """Send the mail that is due, recording each recipient's result durably right after it. One process at a time.

    *now* is taken for the clock, as by the tick that asks for it.
    """
    deadline = time.monotonic() + PASS
    try:
        with locks.hold_lock(state, "mail", wait=0):
            _deliver(folder, state, deadline, make_clock(now) if now else _now)
    except BusyError:
        return  # another one is at it


def _now() -> datetime:
    return datetime.now(UTC)


def _deliver(folder: Path, state: StateFolder, deadline: float, clock: Callable[[], datetime]) -> None:
    workspace = _load(folder, state)
    journal = Journal(state)
    journal_state = journal.read()
    at = clock()
    ledgers = ((owed, notice.fold_deliveries(owed.notice, owed.deliveries, at)) for owed in journal_state.owed.values())
    due = [(owed, ledger.due) for owed, ledger in ledgers if ledger.due]
    patience = time.monotonic() + ASKING
    pending = [_pending(owed, who, workspace, journal_state, state, patience) for owed, who in due[: outbox.AT_ONCE]]

    if not pending:
        return

    def record(delivery: DeliveryRecord) -> None:
        with locks.hold_state_lock(state):
            try:
                journal.append({"type": "delivered", **delivery})
            except StateError:
                if not give_back_room():
                    raise
                journal.append({"type": "delivered", **delivery})

    with end_reserve.keep_room_for_mail(state) as give_back_room, load.open_templates(workspace) as templates:
        outbox.send_pending(
            pending,
            account=_account(workspace, folder, state),
            channels=ChannelSecrets(
                reveal=lambda reference: secrets.resolve_secret(reference, folder=folder),
                hide=lambda hidden, text: secrets.Masker(hidden).mask(text),
            ),
            workspace=folder,
            templates=templates,
            deadline=deadline,
            record=record,
            clock=clock,
        )


def _load(folder: Path, state: StateFolder) -> Workspace:
    """Return the workspace; one that ticks refuse says nobody's address, so it is its last good version."""
    try:
        return load.load(folder, cache=state.compiled)
    except WorkspaceError:
        if (known := load.load_last_good(state.compiled)) is None:
            raise
        return known


def _account(workspace: Workspace, folder: Path, state: StateFolder) -> MailAccount:
    """Return what mail is sent with; without its secrets it says why nothing can be sent."""
    try:
        return outbox.make_account(workspace.mail, mailbox=state.mail, reveal=partial(secrets.reveal, folder=folder))
    except RunError as error:
        return MailAccount(mail=workspace.mail, mailbox=state.mail, trouble=str(error))


def _pending(
    owed: OwedNotice,
    recipients: tuple[str, ...],
    workspace: Workspace,
    journal_state: JournalState,
    state: StateFolder,
    patience: float,
) -> PendingNotice:
    name, run = owed.notice.connection, owed.run
    connection = workspace.connections.get(name)
    promise = journal_state.promises.get(name)
    target = workspace.targets.get(owed.notice.target, Target(timezone=workspace.timezone))
    about = owed.notice
    recent = run_files.read_recent(state, name, facts.RECENT, until=about.run) if name else []
    if run is None:  # a reminder, or a notice that somebody wants sent again
        run = next((one for one in recent[:1] if one.run == about.run), None)
    if about.event == "digest":
        start, end = instant.parse(about.facts["from"]), instant.parse(about.facts["to"])
        history = partial(run_files.read_any_history, state)
        promises = journal_state.promises
        found = digest_facts(about.target, workspace.connections, promises, history, start=start, end=end)
        about = replace(about, facts={**about.facts, **found, "broken": sorted(workspace.broken)})
    own = schedules.zone_of(connection.schedule) or workspace.timezone if connection else target.timezone
    return PendingNotice(
        notice=about,
        recipients=recipients,
        at=instant.parse(owed.at),
        run=run,
        background=Background(
            title=connection.title if connection else run.intent.title or name if run else name,
            description=connection.description if connection else "",
            owner=connection.owner if connection else "",
            use=workspace.find_use(name),
            next_run=promise.next_due if promise else None,
            rejects=state.rejects(name, run.run) if run else None,
            recent=recent,
            commit=author(Path(workspace.folder), run.intent.commit) if run and time.monotonic() < patience else None,
            timezone=own,
            language=target.language,
            workspace=Path(workspace.folder).resolve().name,
        ),
        reply_to=target.reply_to,
    )


def main() -> int:
    """Send what is due for the workspace and the state folder named as arguments, at the instant named after them."""
    forbid_core_dumps()
    try:
        now = instant.parse(sys.argv[3]) if len(sys.argv) > 3 else None
        send_owed_mail(Path(sys.argv[1]), StateFolder(Path(sys.argv[2])), now=now)
    except ConnrunnerError as error:
        sys.stderr.write(f"connrunner: mail waits: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"connrunner: mail waits: {error.filename or ''}: {error.strerror or error}\n")
        return StateError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`connrunner profiles erase`: one person leaves the profile store for good."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import click

from connrunner.answers.account import user_and_host
from connrunner.answers.erasure_report import (
    ErasureReport,
    describe_removed,
    list_identifier_columns,
    list_moved_aside,
    list_withdrawal_files,
    report_as_dict,
    report_erasure,
)
from connrunner.answers.profile_lookup import (
    WAIT,
    busy_when_open,
    identifiers,
    locate_store,
    read_model,
    refuse_lost_store,
)
from connrunner.cli import text
from connrunner.cli.options import CommandContext, with_context
from connrunner.core import instant
from connrunner.core.report import NullReport
from connrunner.errors import ArgumentError, RunError
from connrunner.state import erasures

if TYPE_CHECKING:
    from connrunner.profiles.erasure import Erasure, ErasureJob


@click.command("erase")
@click.argument("value")
@click.option("--dry-run", is_flag=True, help="Say the same, and change nothing.")
@click.option(
    "--forget-erasure", "forget", is_flag=True, help="Let imports bring the person back: leave no tombstone of theirs."
)
@with_context(reads=True)
def erase_command(context: CommandContext, value: str, dry_run: bool, forget: bool) -> None:
    """Erase the person with the identifier VALUE from the profile store, for good, and keep imports from
    bringing them back.

    The profile goes, what is remembered of sending it, and refused rows that hold its identifiers; the file of the
    store is written anew. What cannot be reached is listed: exports that sent the person, source files, mail, backups.
    Exit codes: 0 done, 2 nobody is found, 75 a run has the store open.
    """
    from connrunner.profiles.erasure import ErasureJob  # with DuckDB, which is slow to import

    job = ErasureJob(
        value=value,
        forget=forget,
        dry_run=dry_run,
        columns=list_identifier_columns(context.view, context.view.workspace.profile),
        withdrawals=list_withdrawal_files(context.view),
    )
    done = _erase(context, job)
    if not done.found:
        names = " or ".join(identifiers(context.view.workspace.profile))
        hint = "; the person was erased before" if done.erased_before else ""
        if aside := list_moved_aside(context.view):
            hint += f"; stores that were moved aside are not looked at: {', '.join(aside)}"
        raise ArgumentError(f"nobody has {names} {value!r}{hint}")
    report = report_erasure(context.view, done, dry_run=dry_run)
    if context.json:
        context.echo_json(report_as_dict(report))
    else:
        _show(report)


def _erase(context: CommandContext, job: ErasureJob) -> Erasure:
    from connrunner.profiles.erasure import Erasure
    from connrunner.profiles.store_place import erase_from_place
    from connrunner.profiles.stores.rewriting import erase_person  # DuckDB is slow to import

    view = context.view
    model = read_model(view)
    state, place = view.state, locate_store(view)
    if place.is_embedded:
        refuse_lost_store(view)

    def note(done: Erasure, inode: int) -> None:
        record = {
            "type": "erased",
            "at": instant.text(view.clock()),
            "id": uuid.uuid4().hex,
            "by": user_and_host(),
            "found": done.found,
            "removed": {"profiles": done.profiles, "sent": done.sent, "kept": done.kept},
            "forget": job.forget,
        }
        erasures.note_erasure(state, record, inode=inode)

    view.prepare_state()
    try:
        with busy_when_open(), erasures.hold_erasure(state, view.journal) as temp:
            if not place.is_embedded:
                done = erase_from_place(place, job, model, temp=temp, wait=WAIT)
                if done.found and not job.dry_run:
                    note(done, erasures.DONE)
                return done
            return erase_person(state.profiles, job, model, temp=temp, report=NullReport(), wait=WAIT, before=note)
    except RunError as error:
        if error.code == "no-store":
            return Erasure()
        raise


def _show(report: ErasureReport) -> None:
    click.echo(describe_removed(report))
    click.echo("out of reach, and yours to see to:")
    rows = [[one.connection or "", text.clean(one.what)] for one in report.unreached]
    click.echo(text.table(("Connection", "What"), rows))

"""A run whose changes are held back: the rules that it goes by, and the result that shows what it would change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from connrunner.config import resolved
from connrunner.core.held_runs import DECLINED, describe_held_change
from connrunner.core.model import Command, Connection, Outcome, Result
from connrunner.core.report import Report
from connrunner.errors import ConnrunnerError
from connrunner.lazy_dataclasses import dataclass
from connrunner.profiles.expectations import shorten
from connrunner.profiles.jobs import HoldRules
from connrunner.profiles.results import HeldChange
from connrunner.state import run_files
from connrunner.state.folder import StateFolder
from connrunner.text.redaction import redact_partner_words
from connrunner.text.words import listed

EARLIER = 50  # runs in which the columns of an earlier file are looked for
NAMED_COLUMNS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Decisions:
    """What people decided about earlier runs of the connection, as far as a run has to know it; plain JSON."""

    approval: Mapping[str, Any] | None = None  # who approved which held run, why, and what was shown of it
    declined: Mapping[str, Any] | None = None  # the digest of what was declined last, and who did so
    held: Mapping[str, Any] | None = None  # the run that is held, about which nobody has decided, and its digest


def find_hold_rules(connection: Connection, decisions: Decisions) -> HoldRules | None:
    """Return when what a run of *connection* would change is held back; None when it never is."""
    approval, declined = decisions.approval, decisions.declined
    work = connection.work
    if isinstance(work, Command):
        return None
    if not (connection.is_reviewed or work.expect.otherwise == "hold" or approval):
        return None
    known = {key: approval[key] for key in ("run", "by", "reason")} if approval else None
    return HoldRules(
        is_reviewed=connection.is_reviewed,
        work=resolved.fingerprint({connection.kind: connection.document[connection.kind]}),
        approval=known,
        approved=approval["difference"]["digest"] if approval else "",
        declined=declined["digest"] if declined else "",
    )


def make_held_result(
    connection: Connection, decisions: Decisions, change: HeldChange, *, state: StateFolder, report: Report
) -> Result:
    """Return the result of a run that changed nothing, and show the first rows of what it would change in its log."""
    approval, declined = decisions.approval, decisions.declined
    if declined and not approval and change.digest == declined["digest"]:
        words = declined["words"]
        return Result(outcome=Outcome.STOPPED, message=f"nothing is changed, for {words}", code=DECLINED)
    reasons = list(change.reasons)
    if approval:
        since = listed(list(_compare_parts(approval["difference"].get("parts", {}), change)))
        reasons.insert(0, f"it is not what was approved of run {approval['run']}: {since}")
    difference = {
        "digest": change.digest,
        "parts": {"work": change.work, "source": change.source, "changes": change.changes},
        "reasons": reasons,
        "counts": {name: count for name, count in change.counts.as_dict().items() if count},
        "properties": dict(change.properties),
        **({"more_properties": change.more_properties} if change.more_properties else {}),
        **_compare_columns(state, connection.name, change.columns),
        "expires": connection.hold_expires,
    }
    for row in change.rows:
        old, new = (one if one is not None else "(none)" for one in (row.old, row.new))
        report.message(f"would change: {row.profile}: {row.property}: {old} -> {new}")
    for sample in change.samples:
        cells = ", ".join(f"{column}: {value}" for column, value in sample.values.items() if value is not None)
        report.message(f"would go ({sample.counted_as}): {cells}")
    done = "sent" if connection.kind == "export" else "changed"
    message = f"nothing is {done} yet: {'; '.join(reasons)}; it would be {describe_held_change(difference)}"
    if decisions.held:
        same = "the same as" if decisions.held["digest"] == change.digest else "instead of"
        message += f"; {same} run {decisions.held['run']}, in whose place it is held"
    detail = {"held": difference}
    return Result(outcome=Outcome.HELD, message=message, code="held", detail=detail)


def _compare_parts(shown: Mapping[str, str], change: HeldChange) -> Iterator[str]:
    """Yield in words what differs from what was shown to the person who approved."""
    if shown.get("work") != change.work:
        yield "the connection's file was edited"
    if shown.get("source") != change.source:
        yield "the source has other rows"
    elif shown.get("work") == change.work:
        yield "the profiles have changed"


def _compare_columns(state: StateFolder, name: str, columns: tuple[str, ...]) -> dict[str, Any]:
    """Return which columns the newest earlier run that was told did not have, and which it had."""
    if not columns:
        return {}
    before: list[str] | None = None
    with suppress(ConnrunnerError):
        runs = islice(run_files.read_history(state, name), EARLIER)
        before = next((run.result.detail["columns"] for run in runs if run.result.detail.get("columns")), None)
    if before is None:
        return {}
    appeared = [name for name in columns if name not in before]
    vanished = [name for name in before if name not in columns]
    found = {"appeared": _name_columns(appeared), "vanished": _name_columns(vanished)}
    return {"columns": {key: names for key, names in found.items() if names}} if appeared or vanished else {}


def _name_columns(names: list[str]) -> list[str]:
    named = [redact_partner_words(shorten(name)) for name in names[:NAMED_COLUMNS]]
    return [*named, f"{len(names) - NAMED_COLUMNS:,} more"] if len(names) > NAMED_COLUMNS else named

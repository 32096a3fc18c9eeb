"""Notices that are due because time went by: reminders, late slots, digests, and times without ticks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from connrunner.core import instant, schedules
from connrunner.core.alerts import alert_state, rate_limit
from connrunner.core.alerts.alert_state import WINDOW, Alarm, AlertState, Digest
from connrunner.core.alerts.notice import Notice
from connrunner.core.alerts.recipients import (
    RecipientChoice,
    choose_recipient,
    describe_failing,
    follow_alarm,
    group_notices,
    iter_recipients,
    make_notice_id,
)
from connrunner.core.model import Connection, DaysOfWeek, Notify, QueuedRun, Target, Workspace, mailbox
from connrunner.core.planning.due import Slot
from connrunner.lazy_dataclasses import dataclass, replace

OUTAGE = timedelta(minutes=10)  # between two ticks: cron was down, or the machine


def find_reminders(
    connections: Mapping[str, Connection], alerts: AlertState, *, now: datetime, token: str
) -> Iterator[Notice]:
    """Yield the reminders that are due: a connection has failed for long, and its last notice is old."""
    for name in sorted(alerts.alarms):
        choices: dict[str, RecipientChoice] = {}
        for rule, alarm, at in _reminded(connections.get(name), alerts):
            # A clock that was ahead sent the newest one: waiting until that time could take a year.
            if at <= now or instant.parse(alarm["at"]) - now > OUTAGE:
                streak = alert_state.current_streak(alerts, name, alert_state.sense_of(rule))
                facts = describe_failing(streak, alarm["severity"])
                choices[alarm["recipient"]] = follow_alarm("reminder", alarm, facts)
        run = max((streak["last_run"] for streak in alerts.streaks.get(name, {}).values()), default=0)
        yield from group_notices(choices.values(), connection=name, run=run, token=token)


def _reminded(connection: Connection | None, alerts: AlertState) -> Iterator[tuple[Notify, Alarm, datetime]]:
    """Yield the alarms of a connection that fails, with the rule that reminds of each, and when."""
    if connection is None or not connection.enabled:
        return
    alarms = alerts.alarms.get(connection.name, {})
    for rule, _, recipient in iter_recipients(connection.notify):
        if rule.when == "change" and rule.reminder and (alarm := alarms.get(mailbox(recipient))):
            yield rule, alarm, instant.parse(alarm["at"]) + timedelta(seconds=rule.reminder)


@dataclass(frozen=True, kw_only=True, slots=True)
class PromisedSlot:
    """A slot whose run is not over: it waits, or it works as run number *run*."""

    entry: QueuedRun
    run: int = 0


def find_late_notices(
    promised: Iterable[PromisedSlot],
    connections: Mapping[str, Connection],
    default: tuple[Notify, ...],
    alerts: AlertState,
    *,
    now: datetime,
    token: str,
) -> Iterator[Notice]:
    """Yield a notice for each slot whose run is not over `late_after` it, once for each slot and recipient."""
    for one in promised:
        name, due_at = one.entry.connection, one.entry.due_at
        known = alerts.late.get(name)
        seen = set(known["recipients"]) if known and known["due_at"] == instant.text(due_at) else set()
        choices: dict[str, RecipientChoice] = {}
        for rule, at in _deadlines(one, connections, default, alerts):
            if now < at:
                continue
            facts = {
                "due_at": instant.text(due_at),
                "late_seconds": int((now - due_at).total_seconds()),
                # Queued when it was late already: until then no tick looked.
                "state": "running" if one.run else "waiting" if one.entry.queued_at < at else "not-started",
            }
            for _, target, recipient in iter_recipients((rule,)):
                if recipient not in seen:
                    choices.setdefault(mailbox(recipient), choose_recipient("late", recipient, target, facts))
        yield from group_notices(choices.values(), connection=name, run=one.run, token=token)


def _deadlines(
    one: PromisedSlot, connections: Mapping[str, Connection], default: tuple[Notify, ...], alerts: AlertState
) -> Iterator[tuple[Notify, datetime]]:
    """Yield when a slot is late, for each rule that asks for it. A manual run has no promised time."""
    if one.entry.trigger != "schedule":
        return
    connection = connections.get(one.entry.connection)
    since = one.entry.due_at
    if is_part_of_outage(one.entry, alerts):  # its outage was one notice: the time counts from the end of that
        since = instant.parse(alerts.outage_until)
    for rule in connection.notify if connection else default:
        if rule.late_after:
            yield rule, since + timedelta(seconds=rule.late_after)


def is_part_of_outage(entry: QueuedRun, alerts: AlertState) -> bool:
    """Tell whether *entry* belongs to the last outage, which had one notice for all: no tick came when it was due."""
    if not alerts.outage_until:
        return False
    until = instant.parse(alerts.outage_until)
    return entry.due_at < until and instant.minute(entry.queued_at) >= instant.minute(until)


def make_outage_notices(
    rules: Iterable[Notify], slots: Iterable[Slot], *, since: datetime | None, now: datetime, token: str
) -> tuple[Notice, ...]:
    """
    Return the notice that no tick came from *since* until *now*, when slots passed meanwhile: one for each target.

    *slots* are those that this tick found due; *rules* the workspace's own.
    """
    passed = find_passed_slots(slots, since=since, now=now)
    if not passed or since is None:
        return ()
    facts = {
        "from": instant.text(since),
        "to": instant.text(now),
        "missed": [{"connection": name, **one.as_dict()} for name, one in passed.items()],
    }
    choices: dict[str, RecipientChoice] = {}
    for _, target, recipient in iter_recipients(rules):
        choices.setdefault(mailbox(recipient), choose_recipient("outage", recipient, target, facts))
    return group_notices(choices.values(), connection="", run=0, token=token)


@dataclass(frozen=True, kw_only=True, slots=True)
class PassedSlots:
    """What becomes of a connection's slots that passed while no tick came: as its history counts them."""

    late: int = 0  # they run, or wait to
    missed: int = 0  # they have no run of their own
    merged: int = 0  # into a run that waited or worked
    skipped: int = 0  # they could not start: the file is broken, or it is too late by `start_within`

    @property
    def passed(self) -> int:
        return self.late + self.missed + self.merged + self.skipped

    def as_dict(self) -> dict[str, int]:
        parts = {"late": self.late, "missed": self.missed, "merged": self.merged, "skipped": self.skipped}
        return {"passed": self.passed, **parts}


def find_passed_slots(slots: Iterable[Slot], *, since: datetime | None, now: datetime) -> dict[str, PassedSlots]:
    """Return the slots of each connection that passed in a time without ticks; nothing when there was no such time.

    *slots* are those that the tick at *now* found due, *since* is when the last one looked.
    """
    if since is None or instant.minute(now) - instant.minute(since) <= OUTAGE:
        return {}
    found: dict[str, PassedSlots] = {}
    for slot in slots:
        one = _passed(slot, since, instant.minute(now))
        if one.passed:
            found[slot.connection] = _add(found.get(slot.connection, PassedSlots()), one)
    return found


def _passed(slot: Slot, since: datetime, minute: datetime) -> PassedSlots:
    """Return what of *slot* passed between *since* and *minute*, in which the tick looks."""
    entry = slot.entry
    if entry.trigger != "schedule" or slot.result in ("dropped", "left_out") or entry.due_at >= minute:
        return PassedSlots()
    first, later = int(entry.due_at > since), entry.missed - (slot.missed_until == minute)
    match slot.result:
        case "merged":
            return PassedSlots(merged=first + later)
        case "skipped" | "missed":
            return PassedSlots(skipped=first, missed=later)
    return PassedSlots(late=first, missed=later)


def _add(one: PassedSlots, other: PassedSlots) -> PassedSlots:
    return PassedSlots(
        late=one.late + other.late,
        missed=one.missed + other.missed,
        merged=one.merged + other.merged,
        skipped=one.skipped + other.skipped,
    )


def plan_digests(
    targets: Mapping[str, Target], alerts: AlertState, *, now: datetime, token: str
) -> tuple[dict[str, Digest | None], tuple[Notice, ...]]:
    """Return the promises of digests that changed (None: forgotten), and the digests that are due, however late."""
    changed: dict[str, Digest | None] = {}
    due = []
    for name in sorted({*alerts.digests, *targets}):
        promise, target = alerts.digests.get(name), targets.get(name)
        if target is None or target.digest is None:
            if promise:
                changed[name] = None
            continue
        coming = _next(target.digest, now)
        document = schedules.as_document(target.digest)
        if promise is None or instant.parse(promise["since"]) > now:
            changed[name] = Digest(since=instant.text(now), next=coming, schedule=document)
        elif instant.parse(promise["next"]) <= now:
            facts = {"from": promise["since"], "to": instant.text(now)}
            due.append(
                Notice(
                    id=make_notice_id("digest", name, token),
                    connection="",
                    run=0,
                    event="digest",
                    recipients=target.recipients,
                    target=name,
                    cc=tuple(one for one in target.cc if one not in target.to),
                    facts=facts,
                )
            )
            changed[name] = Digest(since=instant.text(now), next=coming, schedule=document)
        elif promise["schedule"] != document or instant.parse(promise["next"]) > instant.parse(coming):
            changed[name] = Digest(since=promise["since"], next=coming, schedule=document)
    return changed, tuple(due)


def _next(digest: DaysOfWeek, now: datetime) -> str:
    coming = schedules.next_after(digest, now)
    assert coming is not None, "the calendar does not end"
    return instant.text(coming)


def decide_timed_notices(
    now: datetime,
    *,
    workspace: Workspace,
    alerts: AlertState,
    promised: Iterable[PromisedSlot],
    slots: Iterable[Slot],
    since: datetime | None,
    token: str,
) -> tuple[tuple[Notice, ...], dict[str, Digest | None]]:
    """Return all notices that the tick at *now* owes by itself, and the promises of digests that change.

    *slots* are those that it found due, *since* is when the last tick looked.
    """
    outages = make_outage_notices(workspace.default_notify, slots, since=since, now=now, token=token)
    if outages:
        alerts = replace(alerts, outage_until=instant.text(now))
    promises, due = plan_digests(workspace.targets, alerts, now=now, token=token)
    late = find_late_notices(promised, workspace.connections, workspace.default_notify, alerts, now=now, token=token)
    return (
        *outages,
        *rate_limit.make_folded_notices(alerts, now=now, token=token),
        *late,
        *find_reminders(workspace.connections, alerts, now=now, token=token),
        *due,
    ), promises


def find_wake_times(
    connections: Mapping[str, Connection],
    default: tuple[Notify, ...],
    promised: Iterable[PromisedSlot],
    alerts: AlertState,
) -> Iterator[datetime]:
    """Yield when a notice will be due although nothing happens."""
    for name in alerts.alarms:
        yield from (at for _, _, at in _reminded(connections.get(name), alerts))
    for one in promised:
        yield from (at for _, at in _deadlines(one, connections, default, alerts))
    yield from (instant.parse(promise["next"]) for promise in alerts.digests.values())
    yield from (instant.parse(window["since"]) + WINDOW for window in alerts.windows.values() if window["folded"])

"""Alert state folded from the journal: open alarms, failure streaks, late slots, rate-limit windows, digest cursors.

All of it is plain JSON, folded from the records of the journal: a crash between two of them loses nothing and doubles
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict

from connrunner.core import instant
from connrunner.core.alerts.notice import Notice
from connrunner.core.model import Notify, Outcome, Run, mailbox
from connrunner.lazy_dataclasses import dataclass, field, fields

WINDOW = timedelta(hours=1)  # in which mails to one target are counted

Sense = tuple[bool, bool]  # is a partial run a failure, is a stopped one
SENSES: tuple[Sense, ...] = ((True, False), (False, False), (True, True), (False, True))
USUAL = SENSES[0]
ANY = "any"  # in the place of the sense when all senses agree, as they mostly do


Severity = Literal["partial", "failed"]  # rows were refused, or nothing was done


class Phase(TypedDict):
    """The newest failures of a streak that are of one severity."""

    severity: Severity
    since: str  # when the first of them ended
    failures: int
    first_run: int
    between: dict[str, int]  # how often each outcome came since then


class Streak(TypedDict):
    """Failures in a row, in one sense of failure."""

    since: str  # when the first of them ended
    failures: int
    first_run: int
    last_run: int
    between: dict[str, int]  # how often each outcome came since then
    phase: Phase


class Alarm(TypedDict):
    """A recipient got the notice that a connection fails, and not yet that it has recovered."""

    notice: str  # the id of that notice; empty when it was folded into another one
    recipient: str
    target: str
    copy: bool  # is in copy
    at: str  # of the notice or its newest reminder
    severity: Severity | Literal[""]  # that the recipient knows of; empty when an older version sent the notice


class LateAlarm(TypedDict):
    """The recipients that got the notice that a slot is late."""

    due_at: str
    recipients: list[str]


class RateWindow(TypedDict):
    """The mails to one target in an hour, and those that were too many."""

    since: str
    mails: int
    target: str
    recipients: list[str]  # of the folded ones
    cc: list[str]
    folded: list[dict[str, Any]]  # connection, run, event, at, message


class Digest(TypedDict):
    """The promise of a target's next digest."""

    since: str  # where it begins: the end of the one before
    next: str
    schedule: dict[str, Any]


@dataclass(slots=True)
class AlertState:
    """The alert state after all records of the journal."""

    streaks: dict[str, dict[str, Streak]] = field(default_factory=dict)  # by connection and sense
    alarms: dict[str, dict[str, Alarm]] = field(default_factory=dict)  # by connection and recipient
    late: dict[str, LateAlarm] = field(default_factory=dict)  # by connection
    windows: dict[str, RateWindow] = field(default_factory=dict)  # by target
    digests: dict[str, Digest] = field(default_factory=dict)  # by target
    outage_until: str = ""  # when the newest outage was over that had a notice

    def as_dict(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}


def from_mapping(data: Mapping[str, Any]) -> AlertState:
    """Return what `as_dict` gave; what an older version did not write is empty."""
    known = {each.name for each in fields(AlertState)}
    alerts = AlertState(**{key: value for key, value in data.items() if key in known})
    for streaks in alerts.streaks.values():
        for streak in streaks.values():
            streak.setdefault("phase", _guess_phase(streak))
    for name, alarms in alerts.alarms.items():
        for alarm in alarms.values():
            alarm.setdefault("severity", "")
        # Older versions took the two spellings of one domain for two mailboxes.
        alerts.alarms[name] = {mailbox(alarm["recipient"]): alarm for alarm in alarms.values()}
    return alerts


def _guess_phase(streak: Streak) -> Phase:
    """Return the phase of a streak that an older version wrote: it knew one severity only."""
    severity: Severity = "partial" if set(streak["between"]) <= {Outcome.PARTIAL, Outcome.STOPPED} else "failed"
    return Phase(
        severity=severity,
        since=streak["since"],
        failures=streak["failures"],
        first_run=streak["first_run"],
        between=streak["between"],
    )


def sense_of(rule: Notify) -> Sense:
    """Return what *rule* takes for a failure."""
    return rule.partial, rule.stopped


def judge_outcome(outcome: Outcome, sense: Sense) -> Literal["good", "bad", "neither"]:
    """Return what *outcome* says of its connection. A stopped run says nothing unless it counts as a failure."""
    partial, stopped = sense
    match outcome:
        case Outcome.SUCCEEDED:
            return "good"
        case Outcome.PARTIAL:
            return "bad" if partial else "good"
        case Outcome.STOPPED:
            return "bad" if stopped else "neither"
        case Outcome.HELD:
            return "neither"
        case Outcome.FAILED | Outcome.INTERRUPTED | Outcome.SKIPPED:
            return "bad"


def judge_run(run: Run, sense: Sense, before: Streak | None) -> Literal["good", "bad", "neither"]:
    """Return what *run* says of its connection, which has the failures *before* behind it."""
    says = judge_outcome(run.outcome, sense)
    is_about_rows = before is not None and before["phase"]["severity"] == "partial"
    return "neither" if says == "good" and is_about_rows and checked_no_row(run) else says


def checked_no_row(run: Run) -> bool:
    """Tell whether *run* is an import that found nothing to do: whether refused rows are in order now is not known."""
    return run.outcome is Outcome.SUCCEEDED and run.intent.kind == "import" and not run.result.counts.checked


def current_streak(alerts: AlertState, connection: str, sense: Sense) -> Streak | None:
    """Return the failures in a row that *connection* has behind it; None when it works."""
    known = alerts.streaks.get(connection, {})
    return known.get(ANY) or known.get(_word(sense))


def extend_streak(before: Streak | None, run: Run, sense: Sense) -> Streak | None:
    """Return the streak after *run*."""
    says = judge_run(run, sense, before)
    if says == "good" or (says == "neither" and before is None):
        return None
    at, word, bad = instant.text(run.ended_at), str(run.outcome), int(says == "bad")
    if before is None:
        phase = _begin_phase(run, at)
        return Streak(since=at, failures=1, first_run=run.run, last_run=run.run, between=phase["between"], phase=phase)
    return Streak(
        since=before["since"],
        failures=before["failures"] + bad,
        first_run=before["first_run"],
        last_run=before["last_run"] if run.outcome is Outcome.SUCCEEDED else run.run,
        between=_count_outcome(before["between"], word),
        phase=_extend_phase(before["phase"], run, at) if bad else _pass_through(before["phase"], word),
    )


def severity_of(outcome: Outcome) -> Severity:
    """Return how bad *outcome*, that of a failure, is."""
    return "partial" if outcome is Outcome.PARTIAL else "failed"


def _begin_phase(run: Run, at: str) -> Phase:
    severity, word = severity_of(run.outcome), str(run.outcome)
    return Phase(severity=severity, since=at, failures=1, first_run=run.run, between={word: 1})


def _extend_phase(before: Phase, run: Run, at: str) -> Phase:
    if before["severity"] != severity_of(run.outcome):
        return _begin_phase(run, at)
    return {**_pass_through(before, str(run.outcome)), "failures": before["failures"] + 1}


def _pass_through(phase: Phase, word: str) -> Phase:
    return {**phase, "between": _count_outcome(phase["between"], word)}


def _count_outcome(counted: Mapping[str, int], word: str) -> dict[str, int]:
    return {**counted, word: counted.get(word, 0) + 1}


def record_run(alerts: AlertState, run: Run) -> None:
    """Note that *run* has ended; how an undoing went says nothing of its connection."""
    if not run.is_about_health:
        return
    streaks = {
        _word(sense): after
        for sense in SENSES
        if (after := extend_streak(current_streak(alerts, run.connection, sense), run, sense)) is not None
    }
    if len(streaks) == len(SENSES) and all(one == streaks[_word(USUAL)] for one in streaks.values()):
        alerts.streaks[run.connection] = {ANY: streaks[_word(USUAL)]}
    elif streaks:
        alerts.streaks[run.connection] = streaks
    else:
        alerts.streaks.pop(run.connection, None)


def record_notice(alerts: AlertState, notice: Notice, at: str, *, folded: bool = False, message: str = "") -> None:
    """Note that *notice* is owed since *at*, or *folded* into the one that is sent when the hour is over."""
    _count(alerts, notice, at, folded=folded, message=message)
    match notice.event:
        case "failing" | "reminder":
            alarms = alerts.alarms.setdefault(notice.connection, {})
            for recipient in notice.recipients:
                alarm = alarms.get(mailbox(recipient))
                alarms[mailbox(recipient)] = Alarm(
                    notice=(alarm["notice"] if alarm else "") or ("" if folded else notice.id),
                    recipient=recipient,
                    target=notice.target,
                    copy=recipient in notice.cc,
                    at=at,
                    severity=notice.facts.get("severity", ""),
                )
        case "recovered":
            alarms = alerts.alarms.get(notice.connection, {})
            for recipient in notice.recipients:
                alarms.pop(mailbox(recipient), None)
            if not alarms:
                alerts.alarms.pop(notice.connection, None)
        case "late":
            due_at = notice.facts["due_at"]
            known = alerts.late.get(notice.connection)
            recipients = known["recipients"] if known and known["due_at"] == due_at else []
            alerts.late[notice.connection] = LateAlarm(due_at=due_at, recipients=[*recipients, *notice.recipients])
        case "outage":
            alerts.outage_until = notice.facts["to"]


def rate_key(notice: Notice) -> str:
    """Return whose mails are counted together with *notice*: its target's, or those of the same addresses."""
    return notice.target or " ".join(sorted(mailbox(recipient) for recipient in notice.recipients))


def is_window_open(window: RateWindow, at: datetime) -> bool:
    """Tell whether mails at *at* still count into *window*; one that holds back mail is open until that has left."""
    since = instant.parse(window["since"])
    return bool(window["folded"]) or since <= at < since + WINDOW


def _count(alerts: AlertState, notice: Notice, at: str, *, folded: bool, message: str) -> None:
    if notice.event in ("digest", "outage"):
        return  # they are one mail already
    name = rate_key(notice)
    if notice.event == "folded":
        alerts.windows.pop(name, None)
        return
    window = alerts.windows.get(name)
    if window is None or not is_window_open(window, instant.parse(at)):
        for old in [each for each, one in alerts.windows.items() if not is_window_open(one, instant.parse(at))]:
            del alerts.windows[old]
        window = RateWindow(since=at, mails=0, target=notice.target, recipients=[], cc=[], folded=[])
    if folded:
        line = {"connection": notice.connection, "run": notice.run, "event": notice.event, "at": at, "message": message}
        window = RateWindow(
            since=window["since"],
            mails=window["mails"],
            target=notice.target,
            recipients=list(dict.fromkeys((*window["recipients"], *notice.recipients))),
            cc=list(dict.fromkeys((*window["cc"], *notice.cc))),
            folded=[*window["folded"], line],
        )
    else:
        window = {**window, "mails": window["mails"] + 1}
    alerts.windows[name] = window


def _word(sense: Sense) -> str:
    partial, stopped = sense
    return "+".join(("failed", *(("partial",) if partial else ()), *(("stopped",) if stopped else ())))

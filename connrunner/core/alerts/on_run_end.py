"""Which notices does the end of a run owe, and to which recipients?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from connrunner.core import instant
from connrunner.core.alerts import alert_state
from connrunner.core.alerts.alert_state import USUAL, Alarm, AlertState, Phase, Sense, Severity
from connrunner.core.alerts.notice import Event, Notice
from connrunner.core.alerts.recipients import (
    RecipientChoice,
    choose_recipient,
    describe_failing,
    describe_failures,
    follow_alarm,
    group_notices,
    iter_recipients,
)
from connrunner.core.held_runs import DECLINED, HeldRun, held_facts
from connrunner.core.model import Notify, Outcome, Run, Target, mailbox


def decide_notices(
    rules: Iterable[Notify], run: Run, alerts: AlertState, *, token: str, is_known: bool = False
) -> tuple[Notice, ...]:
    """
    Return the notices that *run*, which has just ended, owes; *alerts* is the state before it.

    Each address gets one notice about a run: of the change, if there is one, else by the first rule that names the
    address. Recipients of a failure also get its recovery, even when no rule names them any more; those whom several
    rules name, when the run is a failure to none of these.
    *token* is a text that no other workspace has, so that two connections of one name never share a Message-ID.
    *is_known* says of a held run that people were told before of what it holds.
    """
    rules = tuple(rules)
    if run.outcome is Outcome.HELD or run.entry.trigger == "decline":
        choices_of_held = _of_held(rules, run, is_known=is_known)
        return group_notices(choices_of_held, connection=run.connection, run=run.run, token=token)
    if run.entry.trigger == "undo":
        return group_notices(_of_undo(rules, run), connection=run.connection, run=run.run, token=token)
    choices: dict[str, RecipientChoice] = {}
    watching: set[str] = set()
    still_failing = _failing_to(rules, run)
    alarms = alerts.alarms.get(run.connection, {})
    for rule, target, recipient in iter_recipients(rules):
        name = mailbox(recipient)
        if rule.when == "change":
            watching.add(name)
        choice = _choose(rule, target, recipient, run, alerts)
        if choice is None or (choice.event == "recovered" and name in still_failing):
            continue
        if name not in choices or _weight(choice) > _weight(choices[name]):
            choices[name] = choice
    usual = alert_state.current_streak(alerts, run.connection, USUAL)
    if alert_state.judge_run(run, USUAL, usual) == "good":
        for name, alarm in alarms.items():
            if name not in watching:
                choices[name] = _recovery(alarm, run.connection, alerts, USUAL)
    if run.entry.trigger == "approve":  # who was told that it is held hears what became of it
        for choice in _of_held(rules, run, is_known=False):
            choices.setdefault(mailbox(choice.recipient), choice)
    return group_notices(choices.values(), connection=run.connection, run=run.run, token=token)


def _of_undo(rules: Iterable[Notify], run: Run) -> Iterator[RecipientChoice]:
    """Yield what is told of an undoing: to those who hear of each run, and, when it failed, of failures."""
    seen: set[str] = set()
    for rule, target, recipient in iter_recipients(rules):
        says = alert_state.judge_outcome(run.outcome, alert_state.sense_of(rule))
        is_told = rule.when == "always" or (rule.when != "late" and says == "bad")
        if is_told and mailbox(recipient) not in seen:
            seen.add(mailbox(recipient))
            yield choose_recipient(run.outcome.value, recipient, target, {})


def _of_held(rules: Iterable[Notify], run: Run, *, is_known: bool) -> Iterator[RecipientChoice]:
    """Yield what is told of a held run and of what was decided about it: to all who hear of runs or of failures."""
    is_declined = run.entry.trigger == "decline" and run.result.code == DECLINED
    event: Event = "declined" if is_declined else run.outcome.value
    facts = held_facts(run) if event == "held" else {}
    seen: set[str] = set()
    for rule, target, recipient in iter_recipients(rules):
        is_told = rule.when == "always" or (rule.when != "late" and not is_known)
        if is_told and mailbox(recipient) not in seen:
            seen.add(mailbox(recipient))
            yield choose_recipient(event, recipient, target, facts)


def decide_reminders(rules: Iterable[Notify], held: HeldRun, *, token: str) -> tuple[Notice, ...]:
    """Return the notices that remind people of a run that is held still."""
    facts = {"reminder": True, "since": instant.text(held.since), "difference": dict(held.difference)}
    choices: dict[str, RecipientChoice] = {}
    for rule, target, recipient in iter_recipients(rules):
        if rule.when != "late":
            choices.setdefault(mailbox(recipient), choose_recipient("held", recipient, target, facts))
    return group_notices(choices.values(), connection=held.connection, run=held.run, token=token)


def _weight(choice: RecipientChoice) -> int:
    """A failure goes before the recovery that another rule sees in the same run, and a change before the run."""
    return {"failing": 2, "recovered": 1}.get(choice.event, 0)


def _failing_to(rules: Iterable[Notify], run: Run) -> set[str]:
    """Return the mailboxes with a rule about changes for which *run* is a failure."""
    bad = (
        one
        for one in rules
        if one.when == "change" and alert_state.judge_outcome(run.outcome, alert_state.sense_of(one)) == "bad"
    )
    return {mailbox(recipient) for _, _, recipient in iter_recipients(bad)}


def _choose(rule: Notify, target: Target, recipient: str, run: Run, alerts: AlertState) -> RecipientChoice | None:
    """Return what *rule* has *recipient* told about *run*."""
    sense = alert_state.sense_of(rule)
    before = alert_state.current_streak(alerts, run.connection, sense)
    says = alert_state.judge_run(run, sense, before)
    after = alert_state.extend_streak(before, run, sense)
    reached = says == "bad" and after is not None and after["failures"] >= rule.after
    match rule.when:
        case "always":
            return choose_recipient(run.outcome.value, recipient, target, {})
        case "failure":
            return choose_recipient(run.outcome.value, recipient, target, {}) if reached else None
        case "late":
            return None
    alarm = alerts.alarms.get(run.connection, {}).get(mailbox(recipient))
    if alarm is None:
        return choose_recipient("failing", recipient, target, describe_failing(after)) if reached else None
    if says == "good":
        return _recovery(alarm, run.connection, alerts, sense)
    known = alarm["severity"] or (before["phase"]["severity"] if before else "failed")
    if says == "bad" and after is not None and _has_turned(known, after["phase"], rule.after):
        return follow_alarm("failing", alarm, describe_failing(after, known))
    return None


def _has_turned(known: Severity, phase: Phase, after: int) -> bool:
    """Tell whether a connection that fails does so in another way than is *known*, and as often as a rule asks for."""
    return phase["severity"] != known and phase["failures"] >= after


def _recovery(alarm: Alarm, connection: str, alerts: AlertState, sense: Sense) -> RecipientChoice:
    return follow_alarm("recovered", alarm, describe_failures(alert_state.current_streak(alerts, connection, sense)))

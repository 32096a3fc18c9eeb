"""Which notices does the end of a run owe, and to which recipients?"""

from __future__ import annotations

from collections.abc import Iterable

from connrunner.core.alerts import alert_state
from connrunner.core.alerts.alert_state import USUAL, Alarm, AlertState, Sense, Streak
from connrunner.core.alerts.notice import Event, Notice
from connrunner.core.alerts.recipients import (
    RecipientChoice,
    choose_recipient,
    follow_alarm,
    gather_streak_facts,
    group_notices,
    iter_recipients,
)
from connrunner.core.model import Notify, Run, mailbox


def decide_notices(rules: Iterable[Notify], run: Run, alerts: AlertState, *, token: str) -> tuple[Notice, ...]:
    """
    Return the notices that *run*, which has just ended, owes; *alerts* is the state before it.

    Each address gets one notice about a run: of the change, if there is one, else by the first rule that names the
    address. Recipients of a failure also get its recovery, even when no rule names them any more.
    *token* is a text that no other workspace has, so that two connections of one name never share a Message-ID.
    """
    choices: dict[str, RecipientChoice] = {}
    watching: set[str] = set()
    alarms = alerts.alarms.get(run.connection, {})
    for rule, target, recipient in iter_recipients(rules):
        name = mailbox(recipient)
        if rule.when == "change":
            watching.add(name)
        event = _event(rule, run, alerts, alarmed=name in alarms)
        if event == "recovered":
            choice = _recovery(alarms[name], run.connection, alerts, alert_state.sense_of(rule))
        elif event is not None:
            after = _after(run, alerts, alert_state.sense_of(rule))
            facts = gather_streak_facts(after) if event == "failing" else {}
            choice = choose_recipient(event, recipient, target, facts)
        else:
            continue
        if name not in choices or (choice.tells_change and not choices[name].tells_change):
            choices[name] = choice
    if alert_state.judge_outcome(run.outcome, USUAL) == "good":
        for name, alarm in alarms.items():
            if name not in watching:
                choices[name] = _recovery(alarm, run.connection, alerts, USUAL)
    return group_notices(choices.values(), connection=run.connection, run=run.run, token=token)


def _recovery(alarm: Alarm, connection: str, alerts: AlertState, sense: Sense) -> RecipientChoice:
    return follow_alarm("recovered", alarm, gather_streak_facts(alert_state.current_streak(alerts, connection, sense)))


def _after(run: Run, alerts: AlertState, sense: Sense) -> Streak | None:
    return alert_state.extend_streak(alert_state.current_streak(alerts, run.connection, sense), run, sense)


def _event(rule: Notify, run: Run, alerts: AlertState, *, alarmed: bool) -> Event | None:
    sense = alert_state.sense_of(rule)
    says = alert_state.judge_outcome(run.outcome, sense)
    streak = _after(run, alerts, sense)
    reached = says == "bad" and streak is not None and streak["failures"] >= rule.after
    match rule.when:
        case "always":
            return run.outcome.value
        case "failure":
            return run.outcome.value if reached else None
        case "change":
            if says == "good" and alarmed:
                return "recovered"
            return "failing" if reached and not alarmed else None
        case "late":
            return None

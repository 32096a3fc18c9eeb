"""Who is told about an ended run?"""

from __future__ import annotations

from collections.abc import Iterable

from connrunner.core.alerts import alert_state
from connrunner.core.alerts.alert_state import USUAL, Alarm, AlertState, Sense, Streak
from connrunner.core.alerts.notice import Event, Notice
from connrunner.core.alerts.recipients import RecipientChoice, following, notices, streak_facts, told_to
from connrunner.core.model import Notify, Run, mailbox


def about_run(rules: Iterable[Notify], run: Run, told: AlertState, *, token: str) -> tuple[Notice, ...]:
    """
    Return what *run*, which has just ended, gives reason to tell; *told* is what was known before it.

    Each address is told once about a run: of what changed rather than of the run, and else by the first rule that
    names it. Who was told of a failure is told of the recovery, also when no rule names them any more.
    *token* is a text that no other workspace has, so that two connections of one name never share a Message-ID.
    """
    picks: dict[str, RecipientChoice] = {}
    watching: set[str] = set()
    alarms = told.alarms.get(run.connection, {})
    for rule in rules:
        for target in rule.to:
            for recipient in target.recipients:
                name = mailbox(recipient)
                if rule.when == "change":
                    watching.add(name)
                event = _event(rule, run, told, alarmed=name in alarms)
                if event == "recovered":
                    pick = _recovery(alarms[name], run.connection, told, alert_state.sense(rule))
                elif event is not None:
                    facts = streak_facts(_after(run, told, alert_state.sense(rule))) if event == "failing" else {}
                    pick = told_to(event, recipient, target, facts)
                else:
                    continue
                if name not in picks or (pick.tells_change and not picks[name].tells_change):
                    picks[name] = pick
    if alert_state.verdict(run.outcome, USUAL) == "good":
        for name, alarm in alarms.items():
            if name not in watching:
                picks[name] = _recovery(alarm, run.connection, told, USUAL)
    return notices(picks.values(), connection=run.connection, run=run.run, token=token)


def _recovery(alarm: Alarm, connection: str, told: AlertState, sense: Sense) -> RecipientChoice:
    return following("recovered", alarm, streak_facts(alert_state.streak(told, connection, sense)))


def _after(run: Run, told: AlertState, sense: Sense) -> Streak | None:
    return alert_state.grown(alert_state.streak(told, run.connection, sense), run, sense)


def _event(rule: Notify, run: Run, told: AlertState, *, alarmed: bool) -> Event | None:
    sense = alert_state.sense(rule)
    says = alert_state.verdict(run.outcome, sense)
    streak = _after(run, told, sense)
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

"""Two weeks of one connection, and the mails that each policy makes of them."""

from __future__ import annotations

import time as clock
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from connrunner.core import instant
from connrunner.core.alerts import alert_state, on_run_end, on_time, rate_limit
from connrunner.core.alerts.alert_state import AlertState
from connrunner.core.alerts.digest import summarize_runs
from connrunner.core.alerts.notice import Notice
from connrunner.core.alerts.on_time import PromisedSlot
from connrunner.core.counts import Counts
from connrunner.core.model import (
    Command,
    Connection,
    DaysOfWeek,
    Mail,
    Notify,
    Outcome,
    ProfileModel,
    QueuedRun,
    Run,
    Target,
    Workspace,
)
from connrunner.core.planning import due
from connrunner.core.planning.due import Promise, Slot
from connrunner.notify import outbox
from connrunner.notify.facts import Background
from connrunner.notify.outbox import PendingNotice
from tests.made import ended_run

BEGIN = datetime(2026, 11, 2, 0, 0, tzinfo=UTC)  # a Monday
NIGHTLY = DaysOfWeek(days=tuple(range(7)), time=time(3), timezone="UTC")
WORDS = {
    "S": Outcome.SUCCEEDED,
    "F": Outcome.FAILED,
    "P": Outcome.PARTIAL,
    "X": Outcome.STOPPED,
}
#         Mo Tu We Th Fr Sa Su Mo Tu We Th Fr Sa Su
NIGHTS = "S  F  F  F  S  S  P  S  F  X  F  S  S  S".split()
SLOW = {5: 2.5}  # hours that the run of that night takes; the others take some minutes
DOWN = (BEGIN + timedelta(days=12), BEGIN + timedelta(days=12, hours=9))  # the machine is off in the 13th night

TEAM = Target(name="team", to=("team@example.com",))


def rule(when: str, **more: Any) -> tuple[Notify, ...]:
    return (Notify(to=(TEAM,), when=when, **more),)  # type: ignore[arg-type]


EXPECTED = {
    # policy: rules, digest of the target, the mails
    "always": (
        rule("always"),
        None,
        [
            "02 03:05 crm: run 1 succeeded",
            "03 03:05 crm: run 2 failed (exit-status)",
            "04 03:05 crm: run 3 failed (exit-status)",
            "05 03:05 crm: run 4 failed (exit-status)",
            "06 03:05 crm: run 5 succeeded",
            "07 05:30 crm: run 6 succeeded",
            "08 03:05 crm: run 7 partial, 2 rows refused",
            "09 03:05 crm: run 8 succeeded",
            "10 03:05 crm: run 9 failed (exit-status)",
            "11 03:05 crm: run 10 stopped",
            "12 03:05 crm: run 11 failed (exit-status)",
            "13 03:05 crm: run 12 succeeded",
            "14 09:05 crm: run 13 succeeded",
            "15 03:05 crm: run 14 succeeded",
        ],
    ),
    "failure": (
        rule("failure"),
        None,
        [
            "03 03:05 crm: run 2 failed (exit-status)",
            "04 03:05 crm: run 3 failed (exit-status)",
            "05 03:05 crm: run 4 failed (exit-status)",
            "08 03:05 crm: run 7 partial, 2 rows refused",
            "10 03:05 crm: run 9 failed (exit-status)",
            "12 03:05 crm: run 11 failed (exit-status)",
        ],
    ),
    "failure, partial: false, stopped: true": (
        rule("failure", partial=False, stopped=True),
        None,
        [
            "03 03:05 crm: run 2 failed (exit-status)",
            "04 03:05 crm: run 3 failed (exit-status)",
            "05 03:05 crm: run 4 failed (exit-status)",
            "10 03:05 crm: run 9 failed (exit-status)",
            "11 03:05 crm: run 10 stopped",
            "12 03:05 crm: run 11 failed (exit-status)",
        ],
    ),
    "change": (
        rule("change"),
        None,
        [
            "03 03:05 crm: failing with run 2 (exit-status)",
            "06 03:05 crm: recovered with run 5 after 3 failures",
            "08 03:05 crm: failing with run 7, 2 rows refused",
            "09 03:05 crm: recovered with run 8 after refusing rows once",
            "10 03:05 crm: failing with run 9 (exit-status)",
            "13 03:05 crm: recovered with run 12 after 2 failures",
        ],
    ),
    "change, partial: false": (
        rule("change", partial=False),
        None,
        [
            "03 03:05 crm: failing with run 2 (exit-status)",
            "06 03:05 crm: recovered with run 5 after 3 failures",
            "10 03:05 crm: failing with run 9 (exit-status)",
            "13 03:05 crm: recovered with run 12 after 2 failures",
        ],
    ),
    "change, after: 3": (
        rule("change", after=3),
        None,
        [
            "05 03:05 crm: failing, 3 times in a row (exit-status)",
            "06 03:05 crm: recovered with run 5 after 3 failures",
        ],
    ),
    "change, reminder: 24h": (
        rule("change", reminder=86400),
        None,
        [
            "03 03:05 crm: failing with run 2 (exit-status)",
            "04 03:05 crm: still failing since Tue 2026-11-03 03:05:00 +00:00 (exit-status)",
            "05 03:05 crm: still failing since Tue 2026-11-03 03:05:00 +00:00 (exit-status)",
            "06 03:05 crm: recovered with run 5 after 3 failures",
            "08 03:05 crm: failing with run 7, 2 rows refused",
            "09 03:05 crm: recovered with run 8 after refusing rows once",
            "10 03:05 crm: failing with run 9 (exit-status)",
            "11 03:05 crm: still failing since Tue 2026-11-10 03:05:00 +00:00",
            "12 03:05 crm: still failing since Tue 2026-11-10 03:05:00 +00:00 (exit-status)",
            "13 03:05 crm: recovered with run 12 after 2 failures",
        ],
    ),
    "late, late_after: 1h": (
        rule("late", late_after=3600),
        None,
        [
            "07 04:00 crm: late by 1 h 00 min, it is still running",
            # the machine that was off on the 14th is told to the workspace's own people
        ],
    ),
    "defaults.notify (no tick for nine hours)": (
        (),
        None,
        ["14 09:00 workspace: no tick for 9 h 05 min, 1 slot passed; it ran late"],
    ),
    "digest: {type: weekly, day: monday, time: 07:00}": (
        (),
        DaysOfWeek(days=(0,), time=time(7), timezone="UTC"),
        [
            "02 07:00 workspace: 1 run, none failed",
            "09 07:00 workspace: 7 runs, 3 failed, 1 partial",
            "16 07:00 workspace: 6 runs, 2 failed",
        ],
    ),
}
EVERY = timedelta(minutes=5)


@dataclass
class Story:
    """Two weeks, tick by tick."""

    place: Workspace
    alerts: AlertState

    def live(self) -> Iterator[tuple[datetime, Notice, Run | None]]:
        """Yield what was owed when, with the run that it is about."""
        connection = next(iter(self.place.connections.values()))
        promise: Promise | None = None
        working: tuple[QueuedRun, datetime] | None = None
        runs: list[Run] = []
        at, since = BEGIN, None
        while at < BEGIN + timedelta(days=14, hours=12):
            if not DOWN[0] <= at < DOWN[1]:
                step = due.advance(promise, connection.schedule, now=at)
                promise, slots = step.promise, []
                if step.due and len(runs) < len(NIGHTS):
                    entry = QueuedRun(connection="crm", due_at=step.due.due_at, queued_at=at, missed=step.due.missed)
                    slots = [Slot(connection="crm", result="queued", entry=entry)]
                    working = (entry, at + timedelta(hours=SLOW.get(len(runs), 5 / 60)))
                if working and working[1] <= at:
                    run = self._run(len(runs) + 1, working[0], at)
                    runs.append(run)
                    working = None
                    for notice in self._owe(
                        on_run_end.decide_notices(connection.notify, run, self.alerts, token="t"), at
                    ):
                        yield at, notice, run
                    alert_state.record_run(self.alerts, run)
                promised = [PromisedSlot(entry=working[0], run=len(runs) + 1)] if working else []
                notices, digests = on_time.decide_timed_notices(
                    at, workspace=self.place, alerts=self.alerts, promised=promised, slots=slots, since=since, token="t"
                )
                self.alerts.digests.update({name: one for name, one in digests.items() if one})
                for notice in self._owe(notices, at):
                    yield at, self._told(notice, runs), runs[-1] if notice.event == "reminder" else None
                since = at
            at += EVERY

    def _owe(self, notices: tuple[Notice, ...], at: datetime) -> tuple[Notice, ...]:
        owing = rate_limit.split_notices(notices, self.alerts, limits={}, at=at)
        for notice in owing.owes:
            alert_state.record_notice(self.alerts, notice, instant.text(at))
        assert not owing.folds
        return owing.owes

    def _told(self, notice: Notice, runs: list[Run]) -> Notice:
        if notice.event != "digest":
            return notice
        start, end = instant.parse(notice.facts["from"]), instant.parse(notice.facts["to"])
        told = summarize_runs(runs[::-1], start=start, end=end, late_after=0)
        return replace(
            notice, facts={**notice.facts, "connections": [{"name": "crm", "title": "crm", **told, "next_due": None}]}
        )

    def _run(self, number: int, entry: QueuedRun, at: datetime) -> Run:
        outcome = WORDS[NIGHTS[number - 1]]
        refused = 2 if outcome is Outcome.PARTIAL else 0
        return ended_run(
            connection="crm",
            run=number,
            outcome=outcome,
            trigger="schedule",
            due_at=entry.due_at,
            queued_at=entry.queued_at,
            started_at=entry.queued_at,
            ended_at=at,
            seconds=(at - entry.queued_at).total_seconds(),
            counts=Counts(read=100, checked=100, created=100 - refused, invalid=refused),
            code="exit-status" if outcome is Outcome.FAILED else "",
            missed=entry.missed,
        )


@pytest.mark.slow
@pytest.mark.thorough
def test_the_mails_of_a_fortnight(tmp_path: Path) -> None:
    (folder := tmp_path / "workspace").mkdir()
    pending: list[PendingNotice] = []
    for number, (rules, digest, _) in enumerate(EXPECTED.values()):
        crm = Connection(
            name="crm",
            title="crm",
            schedule=NIGHTLY,
            work=Command(run=("true",)),
            notify=rules,
            timeout=60,
            document={},
            fingerprint="",
        )
        place = Workspace(
            folder=str(folder),
            state="s",
            timezone="UTC",
            mail=Mail(),
            profile=ProfileModel(),
            connections={"crm": crm},
            broken={},
            problems=(),
            # somebody has to hear of the outage, so that nothing else is told of it
            default_notify=() if digest else (Notify(to=(Target(to=("ops@example.com",)),), when="late"),),
            targets={"team": replace(TEAM, digest=digest)},
        )
        for at, notice, run in Story(place, AlertState()).live():
            meant = notice.recipients == TEAM.to or not rules
            if meant:
                who = (f"p{number}@example.com",)
                one = replace(notice, id=f"{number}.{len(pending)}", recipients=who, replies_to="")
                title = "crm" if one.connection else ""
                pending.append(
                    PendingNotice(
                        notice=one,
                        recipients=who,
                        at=at,
                        run=run,
                        background=Background(title=title, workspace="workspace"),
                    )
                )

    for start in range(0, len(pending), outbox.AT_ONCE):
        outbox.send_pending(
            pending[start : start + outbox.AT_ONCE],
            account=outbox.MailAccount(mail=Mail(), mailbox=tmp_path / "mail"),
            channels=outbox.ChannelSecrets(reveal=str, hide=lambda _, text: text),
            workspace=folder,
            deadline=clock.monotonic() + 60,
            record=lambda record: None,
        )
    mails: dict[str, list[str]] = {name: [] for name in EXPECTED}
    names = list(EXPECTED)
    for file in sorted((tmp_path / "mail").iterdir()):
        mail = message_from_bytes(file.read_bytes(), policy=default)
        mails[names[int(str(mail["To"]).partition("@")[0][1:])]].append(
            f"{file.name[6:8]} {file.name[9:11]}:{file.name[11:13]} {mail['Subject']}"
        )
    for name, said in mails.items():
        print(f"\n{name}: {len(said)} mails", *said, sep="\n  ")  # noqa: T201
    assert mails == {name: said for name, (_, _, said) in EXPECTED.items()}

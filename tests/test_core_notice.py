"""Who is told about an ended run, and when is it time to try again?"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from connrunner.core import instant
from connrunner.core.counts import Counts
from connrunner.core.model import Notify, Outcome, Run
from connrunner.core.notice import GIVE_UP, DeliveryRecord, Notice, Result, from_mapping, ledger, owed

START = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)
RUN = Run(
    connection="crm-contacts",
    run=12,
    outcome=Outcome.FAILED,
    trigger="schedule",
    due_at=START,
    queued_at=START,
    started_at=START,
    ended_at=START,
    seconds=0,
    counts=Counts(),
)


def always(*to: str) -> Notify:
    return Notify(to=to, when="always")


def failure(*to: str) -> Notify:
    return Notify(to=to, when="failure")


OWED = [
    # rules                                                   outcome         who is told
    ((), "failed", ()),
    ((always("a@x"),), "succeeded", ("a@x",)),
    ((always("a@x"),), "stopped", ("a@x",)),
    ((failure("a@x"),), "succeeded", ()),
    ((failure("a@x"),), "stopped", ()),
    ((failure("a@x"),), "partial", ("a@x",)),
    ((failure("a@x"),), "failed", ("a@x",)),
    ((failure("a@x"),), "interrupted", ("a@x",)),
    ((failure("a@x"),), "skipped", ("a@x",)),
    ((always("a@x", "b@x"), failure("c@x")), "succeeded", ("a@x", "b@x")),
    ((always("a@x", "b@x"), failure("c@x")), "failed", ("a@x", "b@x", "c@x")),
    ((always("Ann@X.example"), failure("ann@x.example ", "b@x")), "failed", ("Ann@X.example", "b@x")),
    ((always("a@x", "A@X", "a@x"),), "failed", ("a@x",)),
    ((always(),), "failed", ()),
]


@pytest.mark.parametrize(("rules", "outcome", "told"), OWED)
def test_each_address_is_told_at_most_once_when_a_rule_says_so(
    rules: tuple[Notify, ...], outcome: str, told: tuple[str, ...]
) -> None:
    notices = owed(rules, replace(RUN, outcome=Outcome(outcome)), token="t1")
    assert tuple(recipient for notice in notices for recipient in notice.recipients) == told
    assert len(notices) == (1 if told else 0)


def test_the_id_is_stable_and_differs_by_connection_run_outcome_and_token() -> None:
    (first,) = owed((always("a@x"),), RUN, token="t1")
    assert owed((always("a@x"),), RUN, token="t1") == (first,)
    others = [
        owed((always("a@x"),), replace(RUN, run=13), token="t1"),
        owed((always("a@x"),), replace(RUN, connection="crm"), token="t1"),
        owed((always("a@x"),), replace(RUN, outcome=Outcome.SUCCEEDED), token="t1"),
        owed((always("a@x"),), RUN, token="t2"),
    ]
    assert len({first.id} | {notice.id for (notice,) in others}) == 5


def test_the_id_can_stand_in_a_header_whatever_the_names_are() -> None:
    (notice,) = owed((always("a@x"),), replace(RUN, connection="a b\r\nBcc: <x@y>..é"), token="<>")
    assert re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", notice.id)


def test_a_notice_survives_the_journal() -> None:
    (notice,) = owed((always("a@x", "b@x"),), RUN, token="t1")
    data = json.loads(json.dumps(notice.as_dict()))
    assert from_mapping(data | {"later": True}) == notice


# --- the ledger --------------------------------------------------------------------------------------------------

NOTICE = Notice(id="n", connection="crm", run=1, event="failed", recipients=("a@x", "b@x"))


def record(minutes: float, recipient: str = "a@x", result: Result = "deferred", notice: str = "n") -> DeliveryRecord:
    at = instant.text(START + timedelta(minutes=minutes))
    return {"notice": notice, "recipient": recipient, "result": result, "at": at, "reason": f"why {minutes}"}


B_SENT = record(0, "b@x", "sent")
BACKOFF = [
    # minutes of the deferred attempts   minutes until the next
    ((0,), 1),
    ((0, 1), 6),
    ((0, 1, 6), 21),
    ((0, 1, 6, 21), 81),
    ((0, 1, 6, 21, 81), 141),
    ((0, 1, 6, 21, 81, 200), 260),
]


@pytest.mark.parametrize(("tries", "again"), BACKOFF)
def test_attempts_are_spaced_by_1_5_15_60_minutes_then_hourly(tries: tuple[int, ...], again: int) -> None:
    records = [B_SENT, *(record(minute) for minute in tries)]
    at = START + timedelta(minutes=again)
    before = ledger(NOTICE, records, at - timedelta(seconds=1))
    assert (before.due, before.waiting, before.next_at) == ((), {"a@x": at}, at)
    now = ledger(NOTICE, records, at)
    assert (now.due, now.waiting, now.next_at) == (("a@x",), {}, None)
    assert now.sent == ("b@x",)


def hourly(until: timedelta) -> list[DeliveryRecord]:
    return [record(60 * hour) for hour in range(int(until / timedelta(hours=1)) + 1)]


STANDS = [
    # records                                              due             sent      dead      settled
    ([], ("a@x", "b@x"), (), (), False),
    ([record(0, result="sent")], ("b@x",), ("a@x",), (), False),
    ([record(0, result="sent"), B_SENT], (), ("a@x", "b@x"), (), True),
    ([record(0, result="refused"), B_SENT], (), ("b@x",), ("a@x",), True),
    ([record(0), record(1, result="refused"), B_SENT], (), ("b@x",), ("a@x",), True),
    ([record(0, result="refused"), record(1, result="sent"), B_SENT], (), ("a@x", "b@x"), (), True),
    ([record(0, result="sent", notice="other"), B_SENT], ("a@x",), ("b@x",), (), False),
    ([record(0, recipient="gone@x", result="sent"), B_SENT], ("a@x",), ("b@x",), (), False),
    ([*hourly(GIVE_UP - timedelta(hours=1)), B_SENT], ("a@x",), ("b@x",), (), False),
    ([*hourly(GIVE_UP), B_SENT], (), ("b@x",), ("a@x",), True),
    # a machine that was off for ten days: time alone does not kill a mail
    ([record(0), record(14400), B_SENT], ("a@x",), ("b@x",), (), False),
]


@pytest.mark.parametrize(("records", "due", "sent", "dead", "settled"), STANDS)
def test_where_each_recipient_stands_long_after(
    records: list[DeliveryRecord], due: tuple[str, ...], sent: tuple[str, ...], dead: tuple[str, ...], settled: bool
) -> None:
    stands = ledger(NOTICE, records, START + timedelta(days=30))
    assert stands.due == due
    assert stands.sent == sent
    assert tuple(letter.recipient for letter in stands.dead) == dead
    assert stands.settled is settled


def test_a_dead_letter_says_why_when_and_after_how_many_attempts() -> None:
    (letter,) = ledger(NOTICE, [record(0), record(1, result="refused"), B_SENT], START).dead
    assert (letter.recipient, letter.reason, letter.attempts) == ("a@x", "why 1", 2)
    assert letter.at == START + timedelta(minutes=1)


def test_a_clock_that_went_back_does_not_make_a_mail_wait_for_the_future() -> None:
    year = 60 * 24 * 365
    assert ledger(NOTICE, [record(year), B_SENT], START).due == ("a@x",)
    back = ledger(NOTICE, [record(year), record(0), B_SENT], START)
    assert back.waiting == {"a@x": START + timedelta(minutes=5)}


def test_recipients_wait_each_for_themselves() -> None:
    stands = ledger(NOTICE, [record(-2), record(-1), record(0, "b@x")], START + timedelta(seconds=30))
    assert stands.waiting == {"a@x": START + timedelta(minutes=4), "b@x": START + timedelta(minutes=1)}
    assert stands.next_at == START + timedelta(minutes=1)
    assert not stands.settled

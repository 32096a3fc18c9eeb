"""How it stands with each recipient of a notice, and when it is time to try again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from connrunner.core import instant
from connrunner.core.alerts.notice import GIVE_UP, DeliveryRecord, DeliveryStatus, Notice, fold_deliveries, from_mapping

START = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)
NOTICE = Notice(id="n", connection="crm", run=1, event="failed", recipients=("a@x", "b@x"))
MOST = Notice(
    id="n",
    connection="crm",
    run=1,
    event="recovered",
    recipients=("a@x", "b@x"),
    target="team",
    cc=("b@x",),
    replies_to="m",
    facts={"failures": 2, "between": {"failed": 2}},
)


@pytest.mark.parametrize("notice", [NOTICE, MOST])
def test_a_notice_survives_the_journal(notice: Notice) -> None:
    data = json.loads(json.dumps(notice.as_dict()))
    assert from_mapping(data | {"later": True}) == notice


# --- the ledger --------------------------------------------------------------------------------------------------


def record(
    minutes: float, recipient: str = "a@x", result: DeliveryStatus = "deferred", notice: str = "n"
) -> DeliveryRecord:
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
    before = fold_deliveries(NOTICE, records, at - timedelta(seconds=1))
    assert (before.due, before.waiting, before.next_at) == ((), {"a@x": at}, at)
    now = fold_deliveries(NOTICE, records, at)
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
    # somebody asks for another attempt, or gives it up
    ([record(0, result="refused"), record(1, result="retried"), B_SENT], ("a@x",), ("b@x",), (), False),
    ([*hourly(GIVE_UP), record(9000, result="retried"), record(9001), B_SENT], ("a@x",), ("b@x",), (), False),
    ([record(0, result="retried"), record(1, result="refused"), B_SENT], (), ("b@x",), ("a@x",), True),
    ([record(0, result="sent"), record(1, result="retried"), B_SENT], (), ("a@x", "b@x"), (), True),
    ([record(0), record(1, result="dropped"), B_SENT], (), ("b@x",), (), True),
    ([record(0, result="dropped")], ("b@x",), (), (), False),
    # a machine that was off for ten days: time alone does not kill a mail
    ([record(0), record(14400), B_SENT], ("a@x",), ("b@x",), (), False),
    ([*(record(minute) for minute in (0, 1, 6, 14400)), B_SENT], ("a@x",), ("b@x",), (), False),
    ([*(record(minute) for minute in (0, 1, 6, 21, 14400)), B_SENT], (), ("b@x",), ("a@x",), True),
]


@pytest.mark.parametrize(("records", "due", "sent", "dead", "settled"), STANDS)
def test_where_each_recipient_stands_long_after(
    records: list[DeliveryRecord], due: tuple[str, ...], sent: tuple[str, ...], dead: tuple[str, ...], settled: bool
) -> None:
    stands = fold_deliveries(NOTICE, records, START + timedelta(days=30))
    assert stands.due == due
    assert stands.sent == sent
    assert tuple(letter.recipient for letter in stands.dead) == dead
    assert stands.settled is settled


def test_who_asks_for_another_attempt_begins_anew() -> None:
    tries = [record(0), record(1, result="refused"), record(7, result="retried")]
    assert fold_deliveries(NOTICE, [*tries, B_SENT], START + timedelta(minutes=7)).due == ("a@x",)
    again = fold_deliveries(NOTICE, [*tries, record(8), B_SENT], START + timedelta(minutes=8))
    assert again.waiting == {"a@x": START + timedelta(minutes=9)}
    (letter,) = fold_deliveries(NOTICE, [*tries, record(8, result="refused"), B_SENT], START).dead
    assert letter.attempts == 1


def test_a_dead_letter_says_why_when_and_after_how_many_attempts() -> None:
    (letter,) = fold_deliveries(NOTICE, [record(0), record(1, result="refused"), B_SENT], START).dead
    assert (letter.recipient, letter.reason, letter.attempts) == ("a@x", "why 1", 2)
    assert letter.at == START + timedelta(minutes=1)


def test_a_clock_that_went_back_does_not_make_a_mail_wait_for_the_future() -> None:
    year = 60 * 24 * 365
    assert fold_deliveries(NOTICE, [record(year), B_SENT], START).due == ("a@x",)
    back = fold_deliveries(NOTICE, [record(year), record(0), B_SENT], START)
    assert back.waiting == {"a@x": START + timedelta(minutes=5)}


def test_recipients_wait_each_for_themselves() -> None:
    stands = fold_deliveries(NOTICE, [record(-2), record(-1), record(0, "b@x")], START + timedelta(seconds=30))
    assert stands.waiting == {"a@x": START + timedelta(minutes=4), "b@x": START + timedelta(minutes=1)}
    assert stands.next_at == START + timedelta(minutes=1)
    assert not stands.settled

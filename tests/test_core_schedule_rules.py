"""Cron lines, recurrence rules, anchors, several schedules at once, and blackouts: tables of facts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connrunner.core.model import Schedule
from connrunner.core.schedules import (
    ScheduleError,
    as_document,
    between,
    blackout,
    check_fires,
    count_between,
    describe,
    explain_left_out,
    left_out_between,
    next_after,
    parse,
    rrule,
    zone_of,
)
from tests.effort import examples
from tests.test_core_schedule_properties import CHANGES, DAY, HOUR, MINUTE, instants

AMS, UTC_ZONE = "Europe/Amsterdam", "UTC"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def cron(expression: str, zone: str = UTC_ZONE) -> Schedule:
    return parse({"type": "cron", "expression": expression}, zone)


def rule(text: str, at: str | None = "06:00", start: str | None = None, zone: str = UTC_ZONE) -> Schedule:
    said = {"time": at, "start": start}
    return parse({"type": "rrule", "rule": text, **{key: value for key, value in said.items() if value}}, zone)


def anchored(times: int, anchor: str, zone: str = UTC_ZONE) -> Schedule:
    return parse({"type": "times_per_day", "times": times, "anchor": anchor}, zone)


def but(blackouts: list[dict[str, Any]], at: str = "06:00", zone: str = UTC_ZONE) -> Schedule:
    """Every day at one time, but not in these."""
    return parse({"type": "cron", "expression": f"{int(at[3:])} {int(at[:2])} * * *", "blackout": blackouts}, zone)


TABLE = [
    # what, schedule, after, the slots that follow
    ("every minute", cron("* * * * *"), "2026-11-22 12:00", "22 12:01|22 12:02"),
    ("steps, ranges, lists", cron("*/20 8-9,17 * * *"), "2026-11-22 08:30", "22 08:40|22 09:00|22 09:20|22 09:40|22 17:00"),
    ("names", cron("0 6 * nov MON-wed"), "2026-11-22 12:00", "23 06:00|24 06:00|25 06:00|30 06:00"),
    ("Sunday is 0 and 7", cron("0 6 * * 0,7"), "2026-11-22 12:00", "29 06:00|06 06:00"),
    ("a word", cron("@monthly"), "2026-11-22 12:00", "01 00:00|01 00:00"),
    ("either day field", cron("0 6 13 * 5"), "2026-11-01 00:00", "06 06:00|13 06:00|20 06:00|27 06:00|04 06:00|11 06:00|13 06:00"),
    ("both when one begins with a star", cron("0 6 */2 * 5"), "2026-11-01 00:00", "13 06:00|27 06:00|11 06:00|25 06:00"),
    ("the last day", cron("0 6 L * *"), "2026-01-30 00:00", "31 06:00|28 06:00|31 06:00"),
    ("the last weekday", cron("0 6 LW * *"), "2026-01-01 00:00", "30 06:00|27 06:00|31 06:00"),
    ("the third Friday", cron("0 6 * * 5#3"), "2026-11-01 00:00", "20 06:00|18 06:00"),
    ("the last Friday", cron("0 6 * * 5L"), "2026-11-01 00:00", "27 06:00|25 06:00"),
    ("29 February", cron("0 6 29 2 *"), "2026-01-01 00:00", "29 06:00|29 06:00"),
    ("a gap: once, at the moment it would have been", cron("30 2 * * *", AMS), "2026-03-28 12:00", "29 01:30|30 00:30"),
    ("a gap: what meets there is one slot", cron("30 2,3 * * *", AMS), "2026-03-28 12:00", "29 01:30|30 00:30|30 01:30"),
    ("a gap: in order", cron("30,45 1-3 * * *", AMS), "2026-03-29 00:00", "29 00:30|29 00:45|29 01:30|29 01:45|29 23:30"),
    ("a gap: moved behind others", cron("50 2 * * *", AMS), "2026-03-28 12:00", "29 01:50|30 00:50"),
    ("a fold: an hour that comes twice adds none", cron("*/30 2,3 * * *", AMS), "2026-10-25 00:00", "25 00:30|25 02:00|25 02:30"),
    ("a fold: asked in its second pass", cron("*/30 2,3 * * *", AMS), "2026-10-25 01:10", "25 02:00|25 02:30|26 01:00"),
    ("the last working day", rule("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"), "2026-01-01 00:00", "30 06:00|27 06:00|31 06:00"),
    ("two hours", rule("RRULE:FREQ=DAILY;BYHOUR=17,9;BYMINUTE=0,30", None), "2026-11-22 09:00", "22 09:30|22 17:00|22 17:30|23 09:00"),
    ("every second week", rule("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,TH", start="2026-11-05"), "2026-11-01 00:00", "05 06:00|17 06:00|19 06:00|01 06:00"),
    ("weeks that begin on Sunday", rule("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU", start="1997-08-05"), "1997-08-04 00:00", "05 06:00|17 06:00|19 06:00|31 06:00"),
    ("weeks that begin on Monday", rule("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=MO", start="1997-08-05"), "1997-08-04 00:00", "05 06:00|10 06:00|19 06:00|24 06:00"),
    ("a count", rule("FREQ=DAILY;INTERVAL=10;COUNT=3", start="2026-11-01"), "2026-10-01 00:00", "01 06:00|11 06:00|21 06:00|"),
    ("a count of times", rule("FREQ=DAILY;BYHOUR=6,18;COUNT=3", None, "2026-11-01"), "2026-10-01 00:00", "01 06:00|01 18:00|02 06:00|"),
    ("until a date, which counts whole", rule("FREQ=DAILY;UNTIL=20261123"), "2026-11-21 12:00", "22 06:00|23 06:00|"),
    ("until an instant", rule("FREQ=DAILY;UNTIL=20261123T060000Z"), "2026-11-21 12:00", "22 06:00|23 06:00|"),
    ("until an instant in a zone", rule("FREQ=DAILY;UNTIL=20261123T045900Z", zone=AMS), "2026-11-21 12:00", "22 05:00|"),
    ("not before its start", rule("FREQ=DAILY", start="2026-11-25"), "2026-11-21 12:00", "25 06:00|26 06:00"),
    ("its first day says which day", rule("FREQ=MONTHLY", start="2026-01-31"), "2026-01-31 12:00", "31 06:00|31 06:00"),
    ("the day before last", rule("FREQ=MONTHLY;BYMONTHDAY=-2"), "2026-02-01 00:00", "27 06:00|30 06:00"),
    ("a week of the year", rule("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO"), "1997-05-01 00:00", "12 06:00|11 06:00|17 06:00"),
    ("a day of the year", rule("FREQ=YEARLY;INTERVAL=3;BYYEARDAY=1,100,200", start="1997-01-01"), "1997-01-02 00:00", "10 06:00|19 06:00|01 06:00|09 06:00"),
    ("a Friday the 13th", rule("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13"), "1997-09-02 00:00", "13 06:00|13 06:00|13 06:00"),
    ("Presidents' day", rule("FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8", start="1996-11-05"), "1996-11-01 00:00", "05 06:00|07 06:00|02 06:00"),
    ("a leap day", rule("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29"), "2096-02-29 06:00", "29 06:00|29 06:00"),
    ("a rule in a gap", rule("FREQ=MONTHLY;BYDAY=-1SU", "02:30", zone=AMS), "2026-03-01 00:00", "29 01:30|26 00:30"),
    ("anchored: wall times of every day", anchored(4, "06:00", AMS), "2026-10-24 12:00", "24 16:00|24 22:00|25 05:00|25 11:00|25 17:00"),
    ("anchored: hourly, a gap", anchored(24, "00:30", AMS), "2026-03-28 23:00", "28 23:30|29 00:30|29 01:30|29 02:30"),
    ("anchored: hourly, a fold", anchored(24, "00:30", AMS), "2026-10-24 23:00", "24 23:30|25 00:30|25 02:30"),
    ("anchored: what does not divide is rounded up", anchored(7, "22:00"), "2026-11-22 21:59", "22 22:00|23 01:26|23 04:52|23 08:18|23 11:43|23 15:09|23 18:35|23 22:00"),
    ("blackout of dates", but([{"dates": ["2026-11-24", "11-26"]}]), "2026-11-22 12:00", "23 06:00|25 06:00|27 06:00"),
    ("blackout of days", but([{"days": ["monday", "tuesday"]}]), "2026-11-22 12:00", "25 06:00|26 06:00"),
    ("blackout of hours: its end is outside", but([{"from": "05:00", "to": "06:00"}]), "2026-11-22 12:00", "23 06:00"),
    ("blackout of hours of a day", but([{"days": ["tuesday"], "from": "06:00", "to": "06:01"}]), "2026-11-22 12:00", "23 06:00|25 06:00"),
    ("blackout over midnight belongs to its first day", but([{"days": ["monday"], "from": "22:00", "to": "07:00"}]), "2026-11-22 12:00", "23 06:00|25 06:00"),
    ("blackout of a span", but([{"from": "2026-11-23T06:00", "to": "2026-11-25T06:00"}]), "2026-11-22 12:00", "25 06:00|26 06:00"),
    ("blackout in another zone", but([{"dates": ["2026-11-23"], "timezone": "Asia/Tokyo"}], "16:00"), "2026-11-21 12:00", "21 16:00|23 16:00"),
    ("blackout: the moment it runs counts, not the time written", but([{"from": "02:00", "to": "03:00"}], "02:30", AMS), "2026-03-28 12:00", "29 01:30|29 01:30"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("schedule", "after", "expected"), [row[1:] for row in TABLE[:-1]], ids=[r[0] for r in TABLE[:-1]]
)
def test_the_slots_that_follow(schedule: Schedule, after: str, expected: str) -> None:
    slot: datetime | None = utc(after)
    for text in expected.split("|"):
        assert slot is not None
        slot = next_after(schedule, slot)
        assert (f"{slot:%d %H:%M}" if slot else "") == text


def test_in_a_blackout_the_moment_of_the_run_counts() -> None:
    """02:30 of 29 March is 03:30, and outside; on every other day it is inside."""
    schedule = TABLE[-1][1]
    assert between(schedule, utc("2026-03-01"), utc("2026-04-30")) == (utc("2026-03-29 01:30"),)


def test_several_schedules_are_one() -> None:
    schedule = parse(
        {"type": "any_of", "schedules": [
            {"type": "times_per_day", "times": 2},
            {"type": "cron", "expression": "0 0,6 * * *", "blackout": [{"days": ["monday"]}]},
        ]}, "UTC")  # fmt: skip
    on = utc("2026-11-22 06:00")  # a Sunday
    slots = between(schedule, on - MINUTE, on + 2 * DAY, on_since=on)
    assert [f"{slot:%d %H:%M}" for slot in slots] == [
        "22 06:00",
        "22 18:00",
        "23 06:00",
        "23 18:00",
        "24 00:00",
        "24 06:00",
    ]
    assert count_between(schedule, on - MINUTE, on + 2 * DAY, on_since=on) == 6
    left_out = list(left_out_between(schedule, on, on + 2 * DAY, on_since=on))
    assert left_out == [utc("2026-11-23 00:00")]  # 06:00 is a slot of the other
    assert explain_left_out(schedule, left_out[0]) == "blackout: Monday"
    assert explain_left_out(schedule, on) == ""
    with pytest.raises(ValueError, match="on_since"):
        next_after(schedule, on)


def test_a_list_of_lists_is_one_list() -> None:
    noon, five = {"type": "cron", "expression": "0 12 * * *"}, {"type": "cron", "expression": "0 17 * * *"}
    inner = {"type": "any_of", "schedules": [noon, five], "blackout": [{"days": ["sunday"]}]}
    schedule = parse({"type": "any_of", "schedules": [inner, noon]}, "UTC")
    assert [f"{slot:%d %H}" for slot in between(schedule, utc("2026-11-22"), utc("2026-11-24"))] == [
        "22 12",
        "23 12",
        "23 17",
    ]
    assert parse(as_document(schedule), AMS) == schedule


WORDS = [
    (cron("30 6 * * 1-5", AMS), "cron 30 6 * * 1-5: at 06:30 on Monday through Friday (Europe/Amsterdam)"),
    (anchored(4, "06:00"), "4 times per day, counted from 06:00 (UTC)"),
    (rule("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU", start="2026-11-03"), "every 2 weeks on Tuesday at 06:00, from 2026-11-03 on (UTC)"),
    (rule("FREQ=DAILY;COUNT=3", start="2026-11-03"), "every day at 06:00, from 2026-11-03 on, until 2026-11-05 (UTC)"),
    (rule("FREQ=YEARLY;BYMONTH=1,7;BYMONTHDAY=1,-1"), "every year in January and July on the last day and day 1 at 06:00 (UTC)"),
    (rule("FREQ=MONTHLY;BYDAY=2TU,-1FR"), "every month on the second Tuesday and the last Friday at 06:00 (UTC)"),
    (but([{"dates": ["2026-12-25"], "reason": "Christmas"}, {"days": ["sunday"], "from": "02:00", "to": "04:00"}]),
     "cron 0 6 * * *: at 06:00 every day (UTC), except Christmas (2026-12-25), Sunday from 02:00 to 04:00"),
    (but([{"from": "2026-12-24T18:00", "to": "2026-12-27T06:00"}, {"dates": ["01-01", "01-02", "01-03", "01-04", "01-05", "01-06"]}]),
     "cron 0 6 * * *: at 06:00 every day (UTC), except from 2026-12-24 18:00 to 2026-12-27 06:00, 01-01, 01-02, 01-03, 01-04 and 2 more dates"),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "words"), WORDS)
def test_in_words(schedule: Schedule, words: str) -> None:
    assert describe(schedule) == words
    assert parse(as_document(schedule), "Asia/Tokyo") == schedule
    check_fires(schedule)


def test_the_zone_of_a_schedule() -> None:
    some = {"type": "cron", "expression": "@daily", "timezone": AMS}
    assert zone_of(parse({**some, "blackout": [{"days": ["sunday"], "timezone": "UTC"}]}, "UTC")) == AMS
    both = [some, {"type": "times_per_day", "times": 2}]
    assert zone_of(parse({"type": "any_of", "schedules": both}, "UTC")) == AMS
    assert zone_of(parse({"type": "any_of", "schedules": [*both, {**some, "timezone": "UTC"}]}, "UTC")) is None


def wrong_rule(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "rrule", "rule": text, "time": "06:00", **more}


MISTAKES: list[tuple[dict[str, Any], tuple[str | int, ...], str]] = [
    ({"type": "cron", "expression": "0 6 * * FRY"}, ("expression",), "'FRY' is no day-of-week; did you mean FRI?"),
    ({"type": "cron", "expression": "0 6 * DECE *"}, ("expression",), "'DECE' is no month; did you mean DEC?"),
    ({"type": "cron", "expression": "60 * * * *"}, ("expression",), "'60' is no minute; it takes 0 to 59"),
    ({"type": "cron", "expression": "0 0 * * * *"}, ("expression",), "has 6 fields"),
    ({"type": "cron", "expression": "@reboot"}, ("expression",), "unknown word '@reboot'"),
    ({"type": "cron", "expression": "0 0 31 4,6 *"}, ("expression",), "never fires"),
    ({"type": "cron", "expression": "0 0 */31 2 1#5"}, ("expression",), "never fires"),
    ({"type": "cron", "expression": "9" * 199 + " * * * *"}, ("expression",), "at most 200 characters"),
    ({"type": "cron", "expression": 5}, ("expression",), "`expression` is text"),
    (wrong_rule("FREQ=DALY"), ("rule",), "unknown FREQ 'DALY'; did you mean DAILY?"),
    (wrong_rule("BYDAY=MO"), ("rule",), "begins with FREQ="),
    (wrong_rule("FREQ=MINUTELY"), ("rule",), "a MINUTELY rule is not possible"),
    (wrong_rule("FREQ=DAILY;BYSECOND=5"), ("rule",), "certain seconds"),
    (wrong_rule("FREQ=DAILY;INTERVAL=0"), ("rule",), "INTERVAL takes 1 to 1000, not '0'"),
    (wrong_rule("FREQ=DAILY;COUNT=99999999999"), ("rule",), "COUNT takes 1 to 10000"),
    (wrong_rule("FREQ=DAILY;COUNT=3;UNTIL=20270101", start="2026-01-01"), ("rule",), "COUNT and UNTIL"),
    (wrong_rule("FREQ=DAILY;COUNT=3"), ("rule",), 'add it, like `start: "2026-11-23"`'),
    (wrong_rule("FREQ=DAILY;UNTIL=20270101T060000"), ("rule",), "UNTIL takes no"),
    (wrong_rule("FREQ=DAILY;BYMONTHDAY=32"), ("rule",), "BYMONTHDAY takes 1 to 31, or -31 to -1"),
    (wrong_rule("FREQ=WEEKLY;BYMONTHDAY=3;BYDAY=MO"), ("rule",), "BYMONTHDAY does not go with FREQ=WEEKLY"),
    (wrong_rule("FREQ=WEEKLY;BYDAY=2MO"), ("rule",), "a weekday with a number"),
    (wrong_rule("FREQ=MONTHLY;BYDAY=6MO"), ("rule",), "at most five"),
    (wrong_rule("FREQ=MONTHLY;BYDAY=XX"), ("rule",), "BYDAY takes MO, TU"),
    (wrong_rule("FREQ=DAILY;FREQ=DAILY"), ("rule",), "FREQ stands twice"),
    (wrong_rule("FREQ=DAILY;BYSETPOS=1"), ("rule",), "BYSETPOS needs a part"),
    (wrong_rule("FREQ=DAILY;BYDAY=MO;BYHOUR=1,2;BYSETPOS=1"), ("rule",), "several times a day"),
    (wrong_rule("DTSTART:20261101T060000\nRRULE:FREQ=DAILY"), ("rule",), "`start` is its DTSTART"),
    (wrong_rule("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"), ("rule",), "never fires"),
    (wrong_rule("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"), ("rule",), "never fires"),
    (wrong_rule("FREQ=YEARLY;INTERVAL=4;BYMONTH=2;BYMONTHDAY=29", start="2023-01-01"), ("rule",), "never fires"),
    (wrong_rule("FREQ=DAILY;UNTIL=20200101", start="2026-01-01"), ("rule",), "never fires"),
    ({"type": "rrule", "rule": "FREQ=DAILY"}, ("rule",), "needs `time`"),
    (wrong_rule("FREQ=DAILY", start="2026-02-30"), ("start",), "a date that does not exist"),
    ({"type": "any_of", "schedules": [{"type": "manual"}]}, ("schedules", 0), "manual"),
    ({"type": "any_of", "schedules": []}, ("schedules",), "a list of 1 to 50"),
    ({"type": "any_of", "schedules": [wrong_rule("FREQ=DAILY"), wrong_rule("FREQ=X")]}, ("schedules", 1, "rule"), "FREQ"),
    (wrong_rule("FREQ=DAILY", blackout=[]), ("blackout",), "a list of 1 to 100"),
    (wrong_rule("FREQ=DAILY", blackout=[{"reason": "x"}]), ("blackout", 0), "says when"),
    (wrong_rule("FREQ=DAILY", blackout=[{"from": "06:00", "to": "06:00"}]), ("blackout", 0, "to"), "the same"),
    (wrong_rule("FREQ=DAILY", blackout=[{"from": "2026-01-01T06:00"}]), ("blackout", 0, "to"), "needs `to`"),
    (wrong_rule("FREQ=DAILY", blackout=[{"from": "05:00"}]), ("blackout",), "leave out every slot"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "path", "message"), MISTAKES)
def test_each_mistake_has_its_place(data: dict[str, Any], path: tuple[str | int, ...], message: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        check_fires(parse(data, AMS))
    assert message in str(caught.value)
    assert caught.value.path == path
    assert len(str(caught.value)) < 400


# --- a second opinion ------------------------------------------------------------------------------------------------

LINES = [("*/30 * * * *", range(0, 60, 30), range(24)), ("15,45 1-3,23 * * *", (15, 45), (1, 2, 3, 23))]


def walked(zone: str, change: str, minutes: Any, hours: Any, start: datetime, end: datetime) -> tuple[datetime, ...]:
    """The slots of these times of every day, from what the clock shows at each minute."""
    said = {slot for wall, slot in instants(zone, change).items() if wall.minute in minutes and wall.hour in hours}
    return tuple(sorted(slot for slot in said if start < slot <= end))


@pytest.mark.parametrize(("zone", "change"), CHANGES)
def test_a_walk_over_every_minute_agrees(zone: str, change: str) -> None:
    middle = utc(change)
    start, end = middle - 4 * DAY, middle + 4 * DAY
    for expression, minutes, hours in LINES:
        schedule = cron(expression, zone)
        expected = walked(zone, change, minutes, hours, start, end)
        assert between(schedule, start, end) == expected
        same = rule(
            f"FREQ=DAILY;BYHOUR={','.join(map(str, hours))};BYMINUTE={','.join(map(str, minutes))}", None, zone=zone
        )
        assert between(same, start, end) == expected
        for hours_on in range(-30, 54, 7):
            after = middle + hours_on * HOUR + 10 * MINUTE
            assert next_after(schedule, after) == next(slot for slot in expected if slot > after)


@pytest.mark.long
@pytest.mark.parametrize(("zone", "change"), CHANGES)
def test_every_minute_of_the_days_around_a_change_agrees(zone: str, change: str) -> None:
    middle = utc(change)
    start, end = middle - 3 * DAY, middle + 3 * DAY
    expected = walked(zone, change, range(60), range(24), start, end)
    schedule = cron("* * * * *", zone)
    assert between(schedule, start, end) == expected
    for number in range(-1800, 3000, 13):
        after = middle + number * MINUTE
        assert next_after(schedule, after) == next(slot for slot in expected if slot > after)


def test_a_cron_line_of_days_agrees_with_the_calendar() -> None:
    days = [date(2026, 1, 1) + number * DAY for number in range(1500)]
    lines: list[tuple[str, Callable[[date], bool]]] = [
        ("0 6 1,15 * 1", lambda day: day.day in (1, 15) or day.weekday() == 0),
        ("0 6 * 2,3 1-5", lambda day: day.month in (2, 3) and day.weekday() < 5),
        ("0 6 29-31 * *", lambda day: day.day >= 29),
    ]
    for expression, fits in lines:
        slots = between(cron(expression), utc("2025-12-31 12:00"), datetime.combine(days[-1], time(12), UTC))
        assert [slot.date() for slot in slots] == [day for day in days if fits(day)]


HOURS = st.sampled_from(["00:00", "01:30", "02:30", "03:00", "23:30"])
BLACKOUT = st.one_of(
    st.builds(
        lambda days: {"days": days}, st.lists(st.sampled_from(["monday", "friday", "sunday"]), min_size=1, unique=True)
    ),
    st.builds(lambda begin, end: {"from": begin, "to": end}, HOURS, HOURS).filter(lambda one: one["from"] != one["to"]),
    st.builds(lambda days, end: {"days": days, "to": end}, st.just(["sunday"]), st.sampled_from(["02:30", "12:00"])),
    st.builds(lambda number, hours: span(number, hours), st.integers(-50, 50), st.integers(1, 60)),
)


def span(start: int, hours: int) -> dict[str, str]:
    begin = datetime(2026, 3, 29) + start * HOUR
    return {"from": begin.isoformat(timespec="minutes"), "to": (begin + hours * HOUR).isoformat(timespec="minutes")}


@settings(deadline=None, max_examples=examples(2, long=300))
@given(
    zone=st.sampled_from([AMS, "America/Nuuk", "Australia/Lord_Howe"]),
    line=st.sampled_from(["*/30 * * * *", "30 2 * * *", "0 6 * * 1,7"]),
    blackouts=st.lists(BLACKOUT, min_size=1, max_size=3),
)
@example(zone=AMS, line="0 6 * * 1,7", blackouts=[span(30, 38), {"days": ["sunday"]}])  # nothing is left
def test_a_blackout_leaves_out_what_lies_in_it_and_nothing_else(
    zone: str, line: str, blackouts: list[dict[str, Any]]
) -> None:
    """Around the clock changes of March 2026; the clock of the zone is asked at each slot."""
    start, end = utc("2026-03-26"), utc("2026-04-02")
    whole = cron(line, zone)
    schedule = parse({**as_document(whole), "blackout": blackouts}, "UTC")
    free = between(schedule, start, end)
    left_out = tuple(left_out_between(schedule, start, end))
    assert tuple(sorted((*free, *left_out))) == between(whole, start, end)
    for slot in left_out:
        assert is_inside(slot.astimezone(ZoneInfo(zone)).replace(tzinfo=None), slot, zone, blackouts)
        assert explain_left_out(schedule, slot)
    for slot in free:
        assert not is_inside(slot.astimezone(ZoneInfo(zone)).replace(tzinfo=None), slot, zone, blackouts)
    for after in (start, *free[:20], *left_out[:20]):
        found = next_after(schedule, after)
        following = next((slot for slot in free if slot > after), None)
        assert found == following if following else found is None or found > end


def is_inside(wall: datetime, slot: datetime, zone: str, blackouts: list[dict[str, Any]]) -> bool:
    names = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    for one in blackouts:
        if "T" in one.get("from", ""):
            begin, end = (datetime.fromisoformat(one[key]).replace(tzinfo=ZoneInfo(zone)) for key in ("from", "to"))
            if begin.astimezone(UTC) <= slot < end.astimezone(UTC):
                return True
            continue
        begin_at, end_at = one.get("from", "00:00"), one.get("to", "24:00")
        for day in (wall, wall - DAY):
            on = "days" not in one or names[day.weekday()] in one["days"]
            minutes = (wall - datetime.combine(day, time.min)) // MINUTE
            first = int(begin_at[:2]) * 60 + int(begin_at[3:])
            last = int(end_at[:2]) * 60 + int(end_at[3:])
            if on and first <= minutes < (last if last > first else last + 1440):
                return True
    return False


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_rare_and_finished_schedules_are_answered() -> None:
    assert next_after(cron("0 0 * 2 1#5"), utc("2026-01-01")) == utc("2044-02-29")
    assert next_after(cron("0 0 29 2 *"), utc("2097-01-01")) == utc("2104-02-29")
    leap = rule("FREQ=YEARLY;INTERVAL=7;BYMONTH=2;BYMONTHDAY=29", start="2000-01-01")
    assert next_after(leap, utc("2000-03-01")) == utc("2028-02-29 06:00")
    assert next_after(rule("FREQ=DAILY;UNTIL=20200101"), utc("2026-01-01")) is None
    assert next_after(cron("* * * * *"), utc("9998-12-31")) is None
    assert next_after(rule("FREQ=WEEKLY;BYDAY=MO"), utc("9998-12-29")) is None
    assert next_after(rule("FREQ=DAILY"), datetime.min.replace(tzinfo=UTC)) == utc("0002-01-01 06:00")


SPARSE_RULES = [
    f"FREQ={frequency};INTERVAL={interval}{by}"
    for frequency in ("YEARLY", "MONTHLY", "WEEKLY", "DAILY")
    for interval in (4, 5, 25, 83, 100, 101, 200, 400, 700, 999, 1000)
    for by in ("", ";BYMONTH=2", ";BYMONTH=2;BYMONTHDAY=29", ";BYMONTHDAY=31", ";BYMONTH=2;BYMONTHDAY=30")
    if not ("BYMONTHDAY" in by and frequency == "WEEKLY")
]


@pytest.mark.parametrize("text", SPARSE_RULES)
def test_dates_far_apart_are_found_and_the_search_for_them_ends(text: str) -> None:
    start = date(2024, 2, 29)
    rule = rrule.canonicalize(text, start=start, at=time(6))
    wanted = [each.date() for each in islice(rrulestr(f"RRULE:{rule}", dtstart=datetime.combine(start, time())), 3)]
    for since in (start, *(each + timedelta(days=1) for each in wanted[:2])):
        assert next(rrule.dates_since(rule, start, since), None) == next((one for one in wanted if one >= since), None)


BLACKOUTS = [
    {"dates": ["2026-10-25"]},
    {"from": "22:00", "to": "06:00"},
    {"from": "02:15", "to": "02:45"},  # comes twice on the night on which the clock goes back
    {"from": "01:00", "to": "02:30", "days": ["sunday"], "reason": "backup"},
    {"days": ["saturday"], "timezone": "America/New_York"},
    {"from": "2026-10-24T20:10", "to": "2026-10-25T02:40"},
    {"dates": ["12-25"]},
]


@pytest.mark.parametrize("entry", BLACKOUTS)
def test_spans_of_a_blackout_hold_the_instants_that_are_in_it(entry: dict[str, Any]) -> None:
    start, minute = datetime(2026, 10, 23, 22, 7, tzinfo=UTC), timedelta(minutes=1)
    (found,) = blackout.parse([entry], "Europe/Amsterdam")
    spans = blackout.list_spans([found], start, start + timedelta(days=3))
    assert all(begin < end for begin, end, _ in spans)
    assert all(one[1] <= two[0] for one, two in pairwise(spans))
    for at in (start + count * minute for count in range(3 * 24 * 60)):
        assert any(begin <= at < end for begin, end, _ in spans) == (blackout.find_end(found, at) is not None), at

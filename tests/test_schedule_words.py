"""The words of a cron line agree with its slots: no two lines with the same words and other times."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connrunner.core.schedules import check_fires, cron, describe, parse

MINUTES = "0 * 0-59 */5 */7 */30 5,20 10-20 10-20/3 30 0,1,2,30 1-59/2".split()
HOURS = "6 * 0-23 */2 8-18 8-18/2 */5 6,7 22,23 0 1-23/2".split()
DAYS = "* 1-31 */1 1-15,16-31 *,5 13 31 1 1,15 1-15 */2 2-31/2 L LW L,1 1,2,3-9/2 29-31 1-31,L 21,22,23".split()
MONTHS = "* 1-12 1 1,3-5 */2 2 JAN-FEB 12".split()
WEEKDAYS = "* 0-6 1-7 0-7 */1 5 FRI 0,7 MON-FRI */2 5#3 5L 1,5L SUN,MON 1-5,5L SUN-SAT 5#1,5#3".split()
YEAR = 2024  # it has a 29 February


def year_of(day: str, month: str, weekday: str) -> tuple[date, ...]:
    """Return the dates of a year on which a line fires; none for one that never does."""
    try:
        expression = cron.canonicalize(f"0 6 {day} {month} {weekday}")
    except ValueError:
        return ()

    def dates() -> Iterator[date]:
        for found in cron.dates_since(expression, date(YEAR, 1, 1)):
            if found.year > YEAR:
                return
            yield found

    return tuple(dates())


@pytest.mark.thorough
def test_equal_words_are_equal_dates() -> None:
    found: dict[str, tuple[date, ...]] = {}
    for day, month, weekday in product(DAYS, MONTHS, WEEKDAYS):
        if dates := year_of(day, month, weekday):
            words = cron.describe(cron.canonicalize(f"0 6 {day} {month} {weekday}"))
            assert found.setdefault(words, dates) == dates, (words, day, month, weekday)
            assert "1th" not in words.replace("11th", "")


def test_equal_words_are_equal_times_of_day() -> None:
    found: dict[str, Any] = {}
    for minute, hour in product(MINUTES, HOURS):
        expression = cron.canonicalize(f"{minute} {hour} * * *")
        times = cron.times_of(expression)
        words = cron.describe(expression)
        assert found.setdefault(words, times) == times, (words, minute, hour)


WORDS = [
    ("0 6 * * *", "at 06:00 every day"),
    ("0 6 1-31 * 5", "at 06:00 every day"),
    ("0 6 13 * 0-6", "at 06:00 every day"),
    ("0 6 1-15,16-31 5 5", "at 06:00 every day in May"),
    ("0 6 *,5 * 5", "at 06:00 on Friday"),
    ("0 6 13 * 5", "at 06:00 on the 13th of the month, and also on every Friday"),
    ("0 6 */2 * 5", "at 06:00 on Friday, but only on every 2nd day from the 1st through the 31st of the month"),
    ("0 6 31 1 *", "at 06:00 on the 31st of the month in January"),
    ("0 6 L * 5L", "at 06:00 on the last day of the month, and also on the last Friday of the month"),
    ("0 * * * *", "at minute 0 of every hour"),
    ("*/5 * * * *", "every 5 minutes"),
    ("* 8-18 * * MON-FRI", "every minute of hours 8 through 18 on Monday through Friday"),
    ("5,20 */2 * * *", "at minutes 5 and 20 of every 2nd hour from 0 on every day"),
]


@pytest.mark.parametrize(("expression", "words"), WORDS)
def test_a_line_in_words(expression: str, words: str) -> None:
    assert cron.describe(cron.canonicalize(expression)) == words


RULES = [
    # a rule, and another one with other slots that must not have its words
    ("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU", "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=MO"),
    ("FREQ=DAILY;BYHOUR=1,2,3,4,5,6,7", "FREQ=DAILY;BYHOUR=1,2,3,4,5,6,8"),
    ("FREQ=DAILY;BYHOUR=1,2,3,4,5,6;BYMINUTE=0,5", "FREQ=DAILY;BYHOUR=1,2,3,4,5,6;BYMINUTE=0,6"),
]


@pytest.mark.parametrize(("one", "other"), RULES)
def test_rules_with_other_slots_have_other_words(one: str, other: str) -> None:
    def words(rule: str) -> str:
        time = {} if "BYHOUR" in rule else {"time": "06:00"}
        return describe(parse({"type": "rrule", "rule": rule, "start": "1997-08-05", **time}, "UTC"))

    assert words(one) != words(other)


DOUBTS = [
    ("0 6 1-31 * 5", "1-31 and 5 together mean every day, for either counts; write * instead of 1-31 to mean Friday only"),
    ("0 6 13 * 0-6", "13 and 0-6 together mean every day, for either counts; write * instead of 0-6 to mean the 13th of the month only"),
    ("0 6 1-31/1 2 MON-FRI", "1-31/1 and MON-FRI together mean every day, for either counts; write * instead of 1-31/1 to mean Monday through Friday only"),
    ("0 8-18/12 * * *", "8-18/12 of the hour is 8 alone, for its step leaps over the others"),
    ("30/45 * * * *", "30/45 of the minute is 30 alone, for its step leaps over the others"),
    *[(line, None) for line in ("0 6 * * *", "0 6 1-31 * *", "0 6 1-31 * 0-6", "0 6 * * 5", "0 6 13 * 5", "0 6 */2 * 5", "*/59 5/6 */31 * *")],
]  # fmt: skip


@pytest.mark.parametrize(("expression", "doubt"), DOUBTS)
def test_what_may_not_be_meant(expression: str, doubt: str | None) -> None:
    assert list(cron.list_doubts(cron.canonicalize(expression))) == ([doubt] if doubt else [])


# --- steps, ranges and dialects --------------------------------------------------------------------------------------

SOUND = ["*/59 * * * *", "*/45 * * * *", "0 */23 * * *", "0 0 */31 * *", "0 0 1 */12 *", "0 0 * * */7", "59/90 * * * *"]


@pytest.mark.parametrize("expression", SOUND)
def test_a_long_step_within_the_field_stays(expression: str) -> None:
    check_fires(parse({"type": "cron", "expression": expression}, "UTC"))


MISTAKES = [
    # steps
    ("*/90 * * * *", "'*/90' has a step beyond the minute (0 to 59), so that one alone would match; write {type: times_per_day, times: 16}"),
    ("5-59/60 * * * *", "write 0 for once an hour"),
    ("30,*/61 * * * *", "{type: times_per_day, times: 24} comes nearest, once in 60 minutes"),
    ("*/2880 * * * *", "`rule: FREQ=DAILY;INTERVAL=2` and its `start`"),
    ("*/2000 * * * *", "no schedule repeats every 2,000 minutes"),
    ("*/90 8-18 * * MON-FRI", "so that one alone would match; write its times one by one"),
    ("*/60 8-18 * * *", "write 0 for once an hour"),
    ("0 */48 * * MON", "so that one alone would match; write its times one by one"),
    ("30 6 */45 * *", "`rule: FREQ=DAILY;INTERVAL=45`"),
    ("30 6 */45 2 *", "so that one alone would match; write its times one by one"),
    ("0 6 15 */18 *", "`rule: FREQ=MONTHLY;INTERVAL=18`"),
    ("0 */24 * * *", "'*/24' has a step beyond the hour (0 to 23)"),
    ("0 */36 * * *", "no schedule repeats every 36 hours"),
    ("0 */48 * * *", "`rule: FREQ=DAILY;INTERVAL=2`"),
    ("0 0 */45 * *", "`rule: FREQ=DAILY;INTERVAL=45`"),
    ("0 0 1 */18 *", "`rule: FREQ=MONTHLY;INTERVAL=18`"),
    ("0 0 * * MON/8", "a step beyond the day-of-week (0 to 7)"),
    ("0 0 L/2 * *", "'L/2' has a step, and L is one day; write L"),
    (f"*/{'9' * 40} * * * *", "a step beyond the minute"),
    ("*/0 * * * *", "'*/0' has a step of 0 in the minute; a step is 1 or more"),
    ("5/ * * * *", "'5/' lacks its step"),
    # ranges
    ("0 6 * * FRI-MON", "'FRI-MON' runs backwards, and ranges go upwards; write FRI-SAT,SUN-MON"),
    ("0 6 * * 5-1", "write 5-7,1"),
    ("0 6 * * SAT-SUN", "write SAT,SUN"),
    ("0 6 * * 6-0", "write 6-7"),
    ("0 6 * * 7-SUN", "runs backwards"),
    ("0 22-2 * * *", "write 22-23,0-2"),
    ("0 22-2/2 * * *", "write 0,2,22"),
    ("0 6 * NOV-FEB *", "write NOV-DEC,JAN-FEB"),
    # dialects
    ("0 0 ? * 1", "'?' is a sign of Quartz, and no day-of-month; write *"),
    ("H/15 * * * *", "'H/15' is a sign of Jenkins, and no minute"),
    ("H(0-29) * * * *", "is a sign of Jenkins"),
    ("0 0 15W * *", "'15W', the weekday nearest to a day, is no day-of-month; LW is the last weekday of the month"),
    ("0 0 1W * *", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1"),
    ("0 0 L-3 * *", "FREQ=MONTHLY;BYMONTHDAY=-4"),
    ("0 0 * * TUEL", "write 2L for the last one of the month"),
    ("@every 5m", "write {type: times_per_day, times: 288}"),
    ("@every 1h30m", "write {type: times_per_day, times: 16}"),
    ("@Every 36h", "no schedule repeats every 2,160 minutes"),
    ("@every 5s", "at most once a minute"),
    ("CRON_TZ=Europe/Berlin 0 6 * * *", "write 0 6 * * * here, and `timezone: Europe/Berlin` beside it"),
    ("TZ=Asia/Tokyo 0 6 * * mon", "write 0 6 * * mon here, and `timezone: Asia/Tokyo` beside it"),
    ("0 30 6 * * ?", "seconds and years have none; write 30 6 * * *"),
    ("cron(0 6 * * ? *)", "write 0 6 * * *"),
    # the rest
    ("0 24 * * *", "'24' is no hour; write 0 for midnight"),
    ("0 6 * * MONDAY-FRIDAY", "did you mean MON-FRI?"),
    ("1,,2 * * * *", "a value is missing beside a comma in the minute"),
    ("*/\u00b2 * * * *", "is no minute; it takes 0 to 59"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "message"), MISTAKES)
def test_what_was_written_is_named(expression: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_fires(parse({"type": "cron", "expression": expression}, "UTC"))
    assert message in str(caught.value)


PARTS = st.sampled_from(
    [*"0123456789*/,-?LWH#@", "MON", "JAN", "TUEL", "7L", "5#3", "60", "24", "32", "", " ", "*/90", "\u00b2", "\u0662"]
)


@settings(deadline=None)
@given(fields=st.lists(st.lists(PARTS, min_size=1, max_size=4).map("".join), min_size=4, max_size=6))
def test_anything_is_a_line_or_a_mistake(fields: list[str]) -> None:
    try:
        schedule = parse({"type": "cron", "expression": " ".join(fields)}, "UTC")
        check_fires(schedule)
    except ValueError:
        return
    assert describe(schedule)


def test_a_state_with_a_line_that_is_refused_today_is_read() -> None:
    """What was promised by an older version goes on."""
    assert cron.times_of(parse({"type": "cron", "expression": "*/90 * * * *"}, "UTC").expression)  # type: ignore[union-attr]

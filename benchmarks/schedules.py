"""What 10,000 schedules cost: `python benchmarks/schedules.py`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from time import process_time
from typing import Any

from connrunner.core.model import Schedule
from connrunner.core.schedules import as_document, count_between, next_after, parse

HOW_MANY = 10_000
NOW = datetime(2026, 3, 27, 12, tzinfo=UTC)
ZONES = ("Europe/Amsterdam", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "UTC")
FORMS: list[dict[str, Any]] = [
    {"type": "times_per_day", "times": 7},
    {"type": "days_of_week", "days": ["monday", "friday"], "time": "01:30"},
    {"type": "day_of_month", "day": 31, "time": "06:00"},
    {"type": "weekday_of_month", "week": "fifth", "weekday": "monday", "time": "06:00"},
    {"type": "times_per_day", "times": 24, "anchor": "00:30"},
    {"type": "cron", "expression": "30 6 * * 1-5"},
    {"type": "cron", "expression": "*/15 * * * *"},
    {"type": "rrule", "rule": "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "time": "18:00"},
    {"type": "rrule", "rule": "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU", "time": "06:00", "start": "2010-01-05"},
]
DAILY: dict[str, Any] = {"type": "cron", "expression": "0 6 * * *"}
FORMS += [
    {"type": "any_of", "schedules": [*FORMS[1:4], {"type": "cron", "expression": "0 12 * * *"}]},
    {**DAILY, "blackout": [{"dates": ["12-25", "01-01"]}, {"days": ["sunday"]}]},
]
RARE: dict[str, dict[str, Any]] = {  # asked for once each
    "29 February": {"type": "cron", "expression": "0 6 29 2 *"},
    "a fifth Monday in February": {"type": "cron", "expression": "0 6 * 2 1#5"},
    "29 February by a rule": {"type": "rrule", "rule": "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29", "time": "06:00"},
    "never: 30 February": {"type": "rrule", "rule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "time": "06:00"},
    "never: the same, day by day": {"type": "rrule", "rule": "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "time": "06:00"},
    "never: every other day, 30 February": {
        "type": "rrule",
        "rule": "FREQ=DAILY;INTERVAL=2;BYMONTH=2;BYMONTHDAY=30",
        "time": "06:00",
        "start": "2026-01-01",
    },
    "over: a count of 10,000 days": {
        "type": "rrule",
        "rule": "FREQ=DAILY;COUNT=10000",
        "time": "06:00",
        "start": "1990-01-01",
    },
    "every minute, not in two weeks": {
        "type": "times_per_day",
        "times": 1440,
        "blackout": [{"from": "2026-03-20T00:00", "to": "2026-04-03T00:00"}],
    },
    "never: blackouts leave nothing": {**DAILY, "blackout": [{"from": "05:00", "to": "07:00"}]},
}


def main() -> None:
    print(f"milliseconds of CPU for {HOW_MANY:,} schedules")
    print(f"{'':<18}{'parse':>8}{'next':>8}{'document':>10}{'count a year':>14}")
    for form in FORMS:
        schedules = [parse(form, ZONES[number % len(ZONES)]) for number in range(HOW_MANY)]
        row = measured(form, schedules)
        print(f"{name(form):<18}{row[0]:>8.0f}{row[1]:>8.0f}{row[2]:>10.0f}{row[3]:>14.0f}")
    print("\nmilliseconds of CPU for one answer")
    for words, form in RARE.items():
        schedule = parse(form, "Europe/Amsterdam")
        print(f"{words:<38}{milliseconds(partial(next_after, schedule, NOW, on_since=NOW)):>8.1f}")
    importing = (
        "import {}; from time import process_time as now; start = now(); import {}; print((now() - start) * 1000)"
    )
    for module in ("connrunner.core.schedules", "dateutil.rrule", "cronsim"):
        done = subprocess.run(
            [sys.executable, "-c", importing.format("datetime", module)], capture_output=True, text=True, check=True
        )
        print(f"import {module}: {float(done.stdout):.0f} ms")


def name(form: dict[str, Any]) -> str:
    """Return what to call a row."""
    said = form.get("expression") or form.get("rule", "").removeprefix("FREQ=").partition(";")[0]
    return (f"{form['type']} {said}" if said else form["type"])[:14] + (
        "*" if "blackout" in form or "anchor" in form else ""
    )


def measured(form: dict[str, Any], schedules: list[Schedule]) -> list[float]:
    year = NOW + timedelta(days=365)
    some = schedules[:10]
    return [
        milliseconds(lambda: [parse(form, ZONES[number % len(ZONES)]) for number in range(HOW_MANY)]),
        milliseconds(lambda: [next_after(schedule, NOW, on_since=NOW) for schedule in schedules]),
        milliseconds(lambda: [as_document(schedule) for schedule in schedules]),
        milliseconds(lambda: [count_between(one, NOW, year, on_since=NOW) for one in some]) * HOW_MANY / len(some),
    ]


def milliseconds(work: Callable[[], object]) -> float:
    start = process_time()
    work()
    return (process_time() - start) * 1000


if __name__ == "__main__":
    main()

"""What 10,000 schedules cost: `python benchmarks/schedules.py`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

from connrunner.core.model import Schedule
from connrunner.core.schedule import count_between, document, longest_gap, next_after, parse

HOW_MANY = 10_000
NOW = datetime(2026, 3, 27, 12, tzinfo=UTC)
ZONES = ("Europe/Amsterdam", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "UTC")
FORMS: list[dict[str, Any]] = [
    {"type": "times_per_day", "times": 7},
    {"type": "days_of_week", "days": ["monday", "friday"], "time": "01:30"},
    {"type": "day_of_month", "day": 31, "time": "06:00"},
    {"type": "weekday_of_month", "week": "fifth", "weekday": "monday", "time": "06:00"},
]


def main() -> None:
    print(f"milliseconds for {HOW_MANY:,} schedules")
    print(f"{'':<18}{'parse':>8}{'next':>8}{'document':>10}{'gap':>6}{'count a year':>14}")
    for form in FORMS:
        schedules = [parse(form, ZONES[number % len(ZONES)]) for number in range(HOW_MANY)]
        row = measured(form, schedules)
        print(f"{form['type']:<18}{row[0]:>8.0f}{row[1]:>8.0f}{row[2]:>10.0f}{row[3]:>6.0f}{row[4]:>14.0f}")
    importing = (
        "import {}; from time import perf_counter as now; start = now(); import {}; print((now() - start) * 1000)"
    )
    for name in ("connrunner.core.schedule", "dateutil.rrule"):
        done = subprocess.run(
            [sys.executable, "-c", importing.format("datetime", name)], capture_output=True, text=True, check=True
        )
        print(f"import {name}: {float(done.stdout):.0f} ms")


def measured(form: dict[str, Any], schedules: list[Schedule]) -> list[float]:
    year = NOW + timedelta(days=365)
    some = schedules[:100]
    return [
        milliseconds(lambda: [parse(form, ZONES[number % len(ZONES)]) for number in range(HOW_MANY)]),
        milliseconds(lambda: [next_after(schedule, NOW, on_since=NOW) for schedule in schedules]),
        milliseconds(lambda: [document(schedule) for schedule in schedules]),
        milliseconds(lambda: [longest_gap(schedule) for schedule in schedules]),
        milliseconds(lambda: [count_between(one, NOW, year, on_since=NOW) for one in some]) * HOW_MANY / len(some),
    ]


def milliseconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return (perf_counter() - start) * 1000


if __name__ == "__main__":
    main()

"""Who does what `validate` says has a sound file, with the slots that were meant."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from connrunner.answers.validation import validate_workspace
from connrunner.core.schedules import between, parse
from connrunner.errors import Problem

START = datetime(2026, 1, 1, tzinfo=UTC)

# what was written, and what was meant
SCHEDULES = [
    # numbers
    ('{type: day_of_month, day: "1", time: "06:00"}', '{type: day_of_month, day: 1, time: "06:00"}'),
    ('{type: day_of_month, day: "last ", time: "06:00"}', '{type: day_of_month, day: last, time: "06:00"}'),
    ('{type: day_of_month, day: 01, time: "06:00"}', '{type: day_of_month, day: 1, time: "06:00"}'),
    ('{type: day_of_month, day: 1.0, time: "06:00"}', '{type: day_of_month, day: 1, time: "06:00"}'),
    ('{type: day_of_month, day: 1e1, time: "06:00"}', '{type: day_of_month, day: 10, time: "06:00"}'),
    ('{type: day_of_month, day: "+5", time: "06:00"}', '{type: day_of_month, day: 5, time: "06:00"}'),
    ("{type: times_per_day, times: '4'}", "{type: times_per_day, times: 4}"),
    ("{type: times_per_day, times: 007}", "{type: times_per_day, times: 7}"),
    ("{type: times_per_day, times: 1.2e2}", "{type: times_per_day, times: 120}"),
    ("{type: times_per_day, times: '1_0'}", "{type: times_per_day, times: 10}"),
    # weeks
    ('{type: weekday_of_month, week: 2, weekday: monday, time: "06:00"}', '{type: weekday_of_month, week: second, weekday: monday, time: "06:00"}'),
    ('{type: weekday_of_month, week: "03", weekday: monday, time: "06:00"}', '{type: weekday_of_month, week: third, weekday: monday, time: "06:00"}'),
    ('{type: weekday_of_month, week: 4th, weekday: Fri, time: "06:00"}', '{type: weekday_of_month, week: fourth, weekday: friday, time: "06:00"}'),
    ('{type: weekday_of_month, week: -1, weekday: monday, time: "06:00"}', '{type: weekday_of_month, week: last, weekday: monday, time: "06:00"}'),
    # times and days
    ("{type: days_of_week, days: [mon], time: 6:30}", '{type: days_of_week, days: [monday], time: "06:30"}'),
    ("{type: days_of_week, days: monday, time: 06.30}", '{type: days_of_week, days: [monday], time: "06:30"}'),
    # cron
    ('{type: cron, expression: "0 6 * * TUEL"}', '{type: cron, expression: "0 6 * * 2L"}'),
    ('{type: cron, expression: "0 6 * * FRI-MON"}', '{type: cron, expression: "0 6 * * 0,1,5,6"}'),
    ('{type: cron, expression: "0 6 * * 5-1"}', '{type: cron, expression: "0 6 * * 0,1,5,6"}'),
    ('{type: cron, expression: "0 6 * * 6-0"}', '{type: cron, expression: "0 6 * * 0,6"}'),
    ('{type: cron, expression: "0 22-2 * * *"}', '{type: cron, expression: "0 0,1,2,22,23 * * *"}'),
    ('{type: cron, expression: "0 22-2/2 * * *"}', '{type: cron, expression: "0 0,2,22 * * *"}'),
    ('{type: cron, expression: "0 6 * NOV-FEB *"}', '{type: cron, expression: "0 6 * 11,12,1,2 *"}'),
    ('{type: cron, expression: "0 6 ? * MON"}', '{type: cron, expression: "0 6 * * MON"}'),
    ('{type: cron, expression: "0 24 * * *"}', '{type: cron, expression: "0 0 * * *"}'),
    ('{type: cron, expression: "*/60 * * * *"}', '{type: cron, expression: "0 * * * *"}'),
    ('{type: cron, expression: "0 */24 * * *"}', '{type: cron, expression: "0 0 * * *"}'),
    ('{type: cron, expression: "0 6 * * MONDAY-FRIDAY"}', '{type: cron, expression: "0 6 * * 1-5"}'),
    ('{type: cron, expression: "0 6 L/3 * *"}', '{type: cron, expression: "0 6 L * *"}'),
    ('{type: cron, expression: "0 30 6 * * ?"}', '{type: cron, expression: "30 6 * * *"}'),
    ('{type: cron, expression: "cron(0 6 * * ? *)"}', '{type: cron, expression: "0 6 * * *"}'),
    ('{type: cron, expression: "*/90 * * * *"}', "{type: times_per_day, times: 16}"),
    ('{type: cron, expression: "@every 5m"}', "{type: times_per_day, times: 288}"),
    ('{type: cron, expression: "0 6 1-31 * 5"}', '{type: cron, expression: "0 6 * * 5"}'),
    ('{type: cron, expression: "0 6 13 * 0-6"}', '{type: cron, expression: "0 6 13 * *"}'),
    # zones
    *[
        (f'{{type: cron, expression: "0 6 * * *", timezone: "{written}"}}', f'{{type: cron, expression: "0 6 * * *", timezone: {meant}}}')
        for written, meant in [
            ("GMT+5", "Asia/Karachi"), ("UTC-03:00", "America/Sao_Paulo"), ("+09", "Asia/Tokyo"), ("+0000", "UTC"),
            ("EDT", "America/New_York"), ("PST", "America/Los_Angeles"), ("JST", "Asia/Tokyo"), ("BST", "Europe/London"),
            ("Z", "UTC"), ("utc", "UTC"), ("Utc", "UTC"), ("UTC0", "UTC"), ("Amsterdam", "Europe/Amsterdam"),
            ("New York", "America/New_York"), ("europe/amsterdam", "Europe/Amsterdam"), ("Europe/Amsterdm", "Europe/Amsterdam"),
            ("EST", "America/New_York"), ("Factory", "UTC"),
        ]
    ],
]  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "connections").mkdir()
    (tmp_path / "connrunner.yaml").write_text("version: 1\ntimezone: UTC\n")
    return tmp_path


def write(workspace: Path, schedule: str) -> list[Problem]:
    path = workspace / "connections" / "case.yaml"
    path.write_text(f"command: {{run: [x]}}\nschedule: {schedule}\n")
    return validate_workspace(workspace, [])


def obey(schedule: str, problem: Problem) -> str:
    """Return *schedule* as somebody writes it who does what *problem* says."""
    said = f"{problem.message}; {problem.hint}".removesuffix("; ")
    at = problem.column - 1 - len("schedule: ")
    value = re.compile("\"[^\"]*\"|'[^']*'|[^],}]+").match(schedule, at)
    assert value is not None
    if instead := re.search(r"write \* instead of (\S+)", said):
        fields = value[0].strip('"').split()
        position = fields.index(instead[1])
        return schedule.replace(value[0], f'"{" ".join([*fields[:position], "*", *fields[position + 1 :]])}"')
    if whole := re.search(r"write (\{type: .*\})$", said):
        return whole[1]
    if line := re.search(r"write ((?:[0-9*,/A-Z-]+ ){4}[0-9*,/A-Z-]+)$", said):
        return schedule.replace(value[0], f'"{line[1]}"')
    if wrong := re.match("(?:unknown word )?'(.*?)'(?: is no | has a step| runs backwards|, | is a sign)", said):
        better = re.search(r"(?:write|did you mean) ([^ ?;]+)", said)
        assert better is not None, said
        return schedule.replace(value[0], value[0].replace(wrong[1], better[1]))
    better = re.search(r"did you mean '([^']*)'\?|write (?:it as )?(?:a list: )?([^ ,;]+)|is (America/New_York)$", said)
    assert better is not None, said
    instead_of_it: str = next(filter(None, better.groups()))
    return schedule[:at] + instead_of_it + schedule[value.end() :]


@pytest.mark.parametrize(("written", "meant"), SCHEDULES)
def test_who_obeys_has_what_was_meant(written: str, meant: str, workspace: Path) -> None:
    problems = write(workspace, written)
    assert problems
    schedule = written
    for _ in range(5):
        schedule = obey(schedule, problems[-1])  # the last first, for the others keep their columns
        problems = write(workspace, schedule)
        if not problems:
            break
    assert problems == []
    slots = [
        between(parse(yaml.safe_load(one), "UTC"), START, START + timedelta(days=366), on_since=START)
        for one in (schedule, meant)
    ]
    if "timezone" in meant and "Etc/" in schedule:  # a fixed offset, which is that of winter
        slots = [every[:30] for every in slots]
    assert slots[0] == slots[1]


AWAY = [
    # what names no single spelling names some, and never one that means other times
    ("timezone", "Europe", "write a whole name, such as Europe/Amsterdam, Europe/Berlin or Europe/London"),
    ("timezone", "CEST", "write a whole name, such as Europe/Amsterdam, Europe/Berlin or Europe/Paris"),
    ("timezone", "CST", "write a whole name, such as America/Chicago or Asia/Shanghai"),
    ("timezone", "UTC+5:30", "name a city whose clock that is, such as Asia/Kolkata"),
    ("timezone", "GMT+15", "name a city whose clock that is, such as Asia/Kolkata"),
    ("timezone", "Etc/GMT+15", "write an IANA name such as Europe/Amsterdam"),
    ("timezone", "EESTI", "write an IANA name such as Europe/Amsterdam"),
]


@pytest.mark.parametrize(("key", "value", "hint"), AWAY)
def test_no_zone_is_guessed_from_few_letters(key: str, value: str, hint: str, workspace: Path) -> None:
    (problem,) = write(workspace, f'{{type: cron, expression: "0 6 * * *", {key}: "{value}"}}')
    assert problem.hint == hint


LIMITS = [
    ("day: '32'", "write 1 to 31, or last"),
    ("day: first", "write 1 to 31, or last"),
    ("day: true", "write 1 to 31, or last"),
    ("day: 0", "write 1 to 31, or last"),
]


@pytest.mark.parametrize(("value", "hint"), LIMITS)
def test_a_number_out_of_range_is_told_all_alternatives(value: str, hint: str, workspace: Path) -> None:
    (problem,) = write(workspace, f'{{type: day_of_month, {value}, time: "06:00"}}')
    assert problem.hint == hint


KEYS = [
    ('retry: {times: "3"}', "write 3 without quotes"),
    ("retry: {times: 3.0}", "write 3"),
    ('retry: {times: 3, backoff: "1.5"}', "write 1.5 without quotes"),
    ("retry: {times: four}", "write a whole number from 0 to 20"),
    ('keep: {runs: "0100"}', "write 100 without quotes"),
    ("lane: 5", "put it in quotes"),
    ('enabled: "yes"', "write true"),
]


@pytest.mark.parametrize(("line", "hint"), KEYS)
def test_numbers_of_other_keys(line: str, hint: str, workspace: Path) -> None:
    (problem,) = write(workspace, f"{{type: manual}}\n{line}")
    assert problem.hint == hint


def test_a_warning_does_not_fail(workspace: Path) -> None:
    (problem,) = write(workspace, '{type: cron, expression: "0 6 1-31 * 5"}')
    assert problem.is_warning
    assert str(problem).startswith("connections/case.yaml:2:36: warning: 1-31 and 5 together mean every day")

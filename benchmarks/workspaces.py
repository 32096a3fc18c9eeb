"""Workspaces to measure with, as large as one likes."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

KINDS = (
    '{{type: days_of_week, days: [monday, friday], time: "{hour:02}:{minute:02}"}}',
    '{{type: day_of_month, day: {day}, time: "{hour:02}:{minute:02}"}}',
    '{{type: weekday_of_month, week: second, weekday: tuesday, time: "{hour:02}:{minute:02}", timezone: America/New_York}}',
    "{{type: manual}}",
)
HALF_PAST_ONE = (
    '{type: days_of_week, days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday], time: "01:30"}'
)
SETTINGS = "version: 1\ntimezone: Europe/Amsterdam\n"
NIGHT = ("2026-11-22T00:29:00Z", "2026-11-22T00:30:00Z")  # a minute before half past one in Amsterdam, and then


def write_mixed(folder: Path, count: int, *, source: str = "folder") -> Path:
    """Write a workspace of *count* connections of several schedules, few of them due soon; return *folder*."""
    (folder / "connections").mkdir(parents=True)
    (folder / "connrunner.yaml").write_text(SETTINGS + f"source: {source}\n")
    for number in range(count):
        schedule = KINDS[number % len(KINDS)].format(hour=number % 24, minute=number % 60, day=number % 28 + 1)
        (folder / "connections" / f"c{number:05}.yaml").write_text(connection(number, schedule))
    if source == "git":
        (folder / ".gitignore").write_text(".connrunner/\n")
        git(folder, "init", "--quiet")
        commit(folder)
    return folder


def write_night(folder: Path, count: int, *, lanes: int = 1) -> Path:
    """Write a workspace of *count* connections that are due at 01:30, over *lanes*; return *folder*."""
    (folder / "connections").mkdir(parents=True)
    (folder / "connrunner.yaml").write_text(SETTINGS)
    for number in range(count):
        text = connection(number, HALF_PAST_ONE) + f"lane: lane-{number % lanes}\n"
        (folder / "connections" / f"c{number:05}.yaml").write_text(text)
    return folder


def connection(number: int, schedule: str) -> str:
    """Return the file of one connection that runs `true`."""
    return f'title: Connection {number}\nowner: data-team\nschedule: {schedule}\ncommand: {{run: ["true"]}}\n'


def edit(folder: Path, number: int) -> None:
    """Change what connection *number* says, and when it is due, by one write into its file."""
    schedule = KINDS[0].format(hour=time.time_ns() // 10**6 % 24, minute=time.time_ns() // 10**9 % 60)
    path = folder / "connections" / f"c{number:05}.yaml"
    path.write_text(connection(number, schedule) + f"description: an edit of {time.time_ns()}\n")


def settle() -> None:
    """Wait until what was written may be believed: files younger than two seconds may change without a new stamp."""
    time.sleep(2.1)


def git(folder: Path, *arguments: str) -> None:
    """Run git in *folder*, as somebody whom no settings of this machine concern."""
    quiet = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    person = ["-c", "user.name=Bench", "-c", "user.email=bench@example.com", "-c", "gc.auto=0"]
    subprocess.run(
        ["git", "-C", str(folder), *person, *arguments], check=True, capture_output=True, env={**os.environ, **quiet}
    )


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "a version")

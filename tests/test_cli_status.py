"""`status`: what runs and until when, what waits behind whom, what is late or failing; filters; a monitor's exit code."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connrunner.core import instant, run_records
from connrunner.core.model import Outcome, RunIntent
from connrunner.core.planning.due import StopRequest
from connrunner.scheduler import idle
from connrunner.scheduler.tick import Tick
from connrunner.state import requests
from connrunner.state.journal import Journal
from connrunner.state.journal_state import StartedRun, started_as_dict
from connrunner.state.locks import LaneLock, hold_state_lock
from tests.conftest import Place
from tests.test_cli import ended, typed

DAILY = '{type: days_of_week, days: [sunday, monday], time: "07:00"}'
DAY = timedelta(days=1)
START = instant.parse("2026-11-22T05:30:00Z")
DUE = instant.parse("2026-11-22T06:00:00Z")
NOW = DUE + timedelta(minutes=4)


def status(place: Place, *arguments: str, at: str = "2026-11-22T06:04:00Z", code: int = 0) -> str:
    got, out, err = typed(place, "status", "--now", at, *arguments)
    assert (got, err) == (code, "")
    return out


def plain(place: Place, *arguments: str, at: str = "2026-11-22T06:04:00Z") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(status(place, "--format", "json", *arguments, at=at))
    return found


@pytest.fixture
def busy(place: Place) -> Iterator[Place]:
    """`big` runs since 06:00 UTC and usually takes 10 minutes; `other` and `small` wait; `aside` has a lane of its own."""
    place.state.prepare()
    place.command("big", "pass", schedule=DAILY, more="owner: crm-team\nlabels: {team: crm, tier: gold}\n")
    place.command("other", "pass", schedule=DAILY, more="labels: {team: web}\n")
    place.command("small", "pass", schedule=DAILY)
    place.command("aside", "pass", schedule='{type: days_of_week, days: [monday], time: "07:00"}', more="lane: side\n")
    for name, seconds in (("big", 600.0), ("other", 120.0), ("small", 5.0), ("aside", 5.0)):
        for number in (1, 2, 3):
            ended(place, name, number, seconds=seconds, due_at=START - DAY, queued_at=START - DAY)
    Tick(place.folder, place.state, now=START, say=lambda _: None).take_in()
    tick = Tick(place.folder, place.state, now=DUE, say=lambda _: None)
    tick.take_in()
    journal = Journal(place.state)
    waiting = journal.read().waiting["big"]
    started = StartedRun(entry=waiting, intent=RunIntent(run=4, started_at=DUE), lane="main")
    journal.append({"type": "started", "at": instant.text(DUE), **started_as_dict(started)})
    progress = [("06:00:00", 0), ("06:02:00", 6_000), ("06:04:00", 24_000)]
    place.state.run("big", 4).mkdir()
    place.state.log("big", 4).write_text(
        "".join(
            json.dumps({"at": f"2026-11-22T{at}Z", "type": "progress", "stage": "checking", "done": done, "of": 60_000})
            + "\n"
            for at, done in progress
        )
    )
    idle.note_look(str(place.state.root), NOW.timestamp())
    lane = LaneLock(place.state, "main")
    assert lane.take()
    yield place
    lane.release()


def test_what_runs_and_what_waits(busy: Place) -> None:
    lines = [" ".join(line.split()) for line in status(busy).splitlines()]

    assert " ".join(lines[1:3]) == (
        "big #4 2026-11-22 07:00:00 +01:00 4 min 00 s checking: 24,000 of 60,000 (40 %), 100/s; usually 10 min 00 s, ends "
        "about 07:10"
    )
    assert "1. other Sun 2026-11-22 07:00 +01:00 4 min 00 s behind big #4, starts about 07:10" in lines
    assert "2. small Sun 2026-11-22 07:00 +01:00 4 min 00 s behind other, starts about 07:12" in lines
    assert "other Mon 2026-11-23 07:00 +01:00 in 23 h 56 min; will wait 10 min 00 s behind big" in lines
    assert lines[-1] == "last tick 0.0 s ago"


def test_the_same_for_programs(busy: Place) -> None:
    found = plain(busy)

    page = (Path(__file__).parent.parent / "docs" / "operating.md").read_text()
    parts = (found, *(found[name][0] for name in ("running", "waiting", "next")))
    assert [key for part in parts for key in part if f"`{key}`" not in page] == []
    assert found["running"][0]["ends_at"] == "2026-11-22T06:10:00Z"
    assert found["running"][0]["rate"] == 100
    assert [(one["connection"], one["place"], one["behind"], one["starts_at"]) for one in found["waiting"]] == [
        ("other", 1, "big #4", "2026-11-22T06:10:00Z"),
        ("small", 2, "other", "2026-11-22T06:12:00Z"),
    ]
    assert next(one for one in found["next"] if one["connection"] == "aside")["behind"] == ""


def test_no_time_is_told_where_nobody_knows(busy: Place) -> None:
    busy.state.history("other").unlink()

    found = plain(busy)

    assert [(one["behind"], one["starts_at"]) for one in found["waiting"]] == [("big #4", None), ("other", None)]
    assert "behind other\n" in status(busy)


def test_slower_than_ever(busy: Place) -> None:
    said = " ".join(status(busy, at="2026-11-22T06:20:00Z").split())
    assert "slower than usual: none of 3 runs took more than 10 min 00 s" in said
    for number in range(10, 30):
        ended(busy, "big", number, seconds=600.0)
    said = " ".join(status(busy, at="2026-11-22T06:20:00Z").split())
    assert "slower than usual: 19 of 20 runs take at most 10 min 00 s" in said


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([],                                    "big other small"),
        (["other"],                             "other"),
        (["o*", "sm?ll"],                       "other small"),
        (["--owner", "crm-team"],               "big"),
        (["--label", "team"],                   "big other"),
        (["--label", "team=crm"],               "big"),
        (["--label", "team", "--label", "tier=gold"], "big"),
        (["--label", "team=nobody"],            ""),
    ],
)  # fmt: skip
def test_filters(busy: Place, arguments: list[str], names: str) -> None:
    found = plain(busy, *arguments)

    shown = {one["connection"] for part in ("running", "waiting") for one in found[part]}
    assert shown == set(names.split())


def test_a_place_in_the_queue_is_not_changed_by_a_filter(busy: Place) -> None:
    assert [one["place"] for one in plain(busy, "small")["waiting"]] == [2]


def test_late_and_failing(busy: Place) -> None:
    record = {"type": "ended", "at": instant.text(DUE), "owes": []}
    run = ended(
        busy,
        "aside",
        4,
        outcome=Outcome.FAILED,
        message="no route to crm.example.com",
        kind="command",
        code="unreachable",
    )

    Journal(busy.state).append({**record, "run": run_records.as_dict(run)})

    soon, later = status(busy), status(busy, at="2026-11-23T06:30:00Z")
    only = status(busy, "--failing", at="2026-11-23T06:30:00Z")

    assert "LATE" not in soon
    assert "no route to crm.example.com" in soon
    assert "it waits in its queue" in later
    assert "no tick has seen it" in later
    assert "is cron, or a timer, calling `connrunner tick`?" in later
    assert "NEXT" not in only
    assert "no route to crm.example.com" in only
    assert plain(busy, at="2026-11-23T06:30:00Z")["failing"][0]["failures"] == 1

    file = busy.folder / "connections" / "aside.yaml"
    text = file.read_text()
    file.write_text("schedul: x\n")
    assert [one["connection"] for one in plain(busy)["failing"]] == ["aside"]
    file.unlink()
    assert plain(busy)["failing"] == [], "what is gone from the workspace fails no more"
    assert "no route to crm.example.com" in typed(busy, "runs", "aside")[1]
    for path in file.parent.iterdir():
        path.unlink()
    assert [one["connection"] for one in plain(busy)["failing"]] == ["aside"], "files that ticks miss may come back"
    file.write_text(text)


def test_a_monitor_asks(busy: Place) -> None:
    assert status(busy, "--check") == "all is well; last tick 0.0 s ago\n"
    assert (
        status(busy, "--check", at="2026-11-22T06:20:00Z", code=1)
        == "not well: 2 late, no tick lately (other, small)\n"
    )
    assert (
        json.loads(typed(busy, "status", "--check", "--format", "json", "--now", "2026-11-22T06:20:00Z")[1])["healthy"]
        is False
    )

    busy.write("connections/oops.yaml", "schedul: x\n")
    assert status(busy, "--check", code=1) == "not well: 1 broken (oops)\n"
    assert status(busy, "--check", "big") == "all is well; last tick 0.0 s ago\n"


def test_a_monitor_before_the_first_tick(place: Place) -> None:
    place.command("hello", "pass")

    assert typed(place, "status", "--check") == (1, "not well: no tick yet\n", "")


IMPORT = "schedule: {type: manual}\nimport: {from: {type: files, path: in/x.csv}, match: [id], fields: {id: id}}\n"
GOOD = "version: 1\n"
BROKEN = "version: 1\ntimezone: Mars\n"


def without_a_commit(place: Place) -> None:
    place.write("connrunner.yaml", f"{GOOD}source: git\n")
    shutil.rmtree(place.state.compiled)


REFUSED = [
    # what happens to the workspace                                     what a monitor hears, why, the exit code of status
    (lambda place: shutil.rmtree(place.folder / "connections"),
     "ticks refuse the workspace", "has no connections any more, but 4 are switched on", 0),
    (lambda place: place.write("connrunner.yaml", BROKEN),
     "ticks refuse the workspace", "connrunner.yaml:2:11: unknown time zone", 2),
    (lambda place: (place.write("connections/crm.yaml", "x: y\n"), place.write("connrunner.yaml", BROKEN)),
     "ticks refuse the workspace", "connrunner.yaml:2:11: unknown time zone", 2),
    (lambda place: (place.folder / "connrunner.yaml").write_bytes(b"\xff"),
     "ticks refuse the workspace", "connrunner.yaml:1:1: ", 2),
    (without_a_commit,
     "ticks refuse the workspace", "is in no git repository", 2),
    (lambda place: place.write("profile.yaml", "x: y\n"),
     "profile.yaml cannot be used, 1 broken", "profile.yaml:1:1: profile needs ", 0),
    (lambda place: (place.write("profile.yaml", "x: y\n"), (place.folder / "connections" / "crm.yaml").unlink()),
     "profile.yaml cannot be used", "profile.yaml:1:1: profile needs ", 0),
    (lambda place: (place.state.locks / "lane-night").mkdir(),
     "the state folder cannot be used", "lane-night is no file", 0),
]  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize(("happens", "hears", "why", "code"), REFUSED)
def test_a_workspace_that_ticks_refuse_is_not_well(
    busy: Place, happens: Callable[[Place], object], hears: str, why: str, code: int
) -> None:
    busy.write("connections/crm.yaml", IMPORT)
    happens(busy)
    got, out, _ = typed(busy, "status", "--check", "--now", instant.text(NOW))
    assert (got, out.startswith("not well: ")) == (1, True)
    assert all(word in out for word in hears.split(", "))
    got, out, err = typed(busy, "status", "--format", "json", "--now", instant.text(NOW))
    assert got == code
    assert why in json.loads(out)["trouble"]
    assert [one["connection"] for one in json.loads(out)["next"]], "what the state knows is shown all the same"
    assert why in typed(busy, "status", "--now", instant.text(NOW))[1]
    assert bool(err) == bool(code)


def test_mistakes(busy: Place) -> None:
    assert "there is no connection 'othr'; did you mean 'other'?" in typed(busy, "status", "othr")[2]
    assert "--label takes KEY or KEY=VALUE" in typed(busy, "status", "--label", "=x")[2]


def test_a_schedule_that_has_ended_is_told_by_every_command_that_shows_schedules(place: Place) -> None:
    place.write("connrunner.yaml", "version: 1\ntimezone: UTC\n")
    rule = '{type: rrule, rule: "FREQ=DAILY;UNTIL=20201231", time: "06:00", start: "2020-01-01"}'
    place.command("old", "pass", schedule=rule)
    place.command("fine", "pass", schedule=DAILY)
    code, out, _ = typed(place, "validate")
    assert code == 0
    assert "connections/old.yaml:1:11: warning: the schedule has ended: its last slot was 2020-12-31T06:00:00Z" in out
    assert "all sound, 1 warning" in out
    Tick(place.folder, place.state, now=NOW, say=lambda _: None).take_in()
    said = " ".join(status(place).split())
    assert "ENDED LAST SLOT old Thu 2020-12-31 06:00 +00:00" in said
    assert plain(place)["ended"] == [{"connection": "old", "last": "2020-12-31T06:00:00Z"}]
    assert "has ended; the last slot was Thu 2020-12-31 06:00 +00:00" in typed(place, "next")[1]
    assert "old: its schedule has ended, the last slot was 2020-12-31T06:00:00Z" in typed(place, "doctor")[1]


def test_a_schedule_that_is_shorter_than_its_run_is_told_from_the_first_such_run_on(place: Place) -> None:
    place.write("connrunner.yaml", "version: 1\ntimezone: UTC\n")
    place.command("quick", "pass", schedule='{type: cron, expression: "* * * * *"}')
    place.state.prepare()
    ended(place, "quick", 1, seconds=66.0)
    said = "its slots come 1 min 00 s apart, and its runs take up to 1 min 06 s: slots are merged; give it fewer"
    out = typed(place, "doctor")[1]
    assert f"quick: {said}" in out
    assert "lane main: the slots of the next 24 hours are 1 d 02 h of work" in out
    assert said in typed(place, "explain", "quick")[1]
    assert json.loads(typed(place, "explain", "quick", "--format", "json")[1])["tight"]["gap_seconds"] == 60


# --- what is switched off, and what was asked for ----------------------------------------------------------------


def take_in(place: Place, at: str) -> None:
    Tick(place.folder, place.state, now=instant.parse(at), say=lambda _: None).take_in()


def off(place: Place, *arguments: str) -> list[tuple[str, str | None]]:
    """The connections that are off, each with the minute since when."""
    return [(one["connection"], one["since"] and one["since"][11:16]) for one in plain(place, *arguments)["off"]]


def test_what_is_switched_off_and_since_when(busy: Place) -> None:
    busy.command("heavy", "pass", schedule=DAILY, more="enabled: false\n")
    assert off(busy) == [("heavy", None)]
    assert "heavy  no tick has seen it yet" in status(busy, "heavy")

    take_in(busy, "2026-11-22T06:01:00Z")
    busy.command("small", "pass", schedule=DAILY, more="enabled: false\n")
    take_in(busy, "2026-11-22T06:02:00Z")
    take_in(busy, "2026-11-22T06:03:00Z")

    assert off(busy) == [("heavy", "06:01"), ("small", "06:02")]
    assert off(busy, "h*") == [("heavy", "06:01")]
    assert "OFF    SINCE                        COMMIT\nheavy  Sun 2026-11-22 07:01 +01:00" in status(busy, "heavy")
    assert "OFF" not in status(busy, "--failing")


def test_what_was_off_begins_anew_when_it_is_switched_off_again(busy: Place) -> None:
    for at, more in (("06:01", "enabled: false\n"), ("06:02", ""), ("06:03", "enabled: false\n")):
        busy.command("small", "pass", schedule=DAILY, more=more)
        take_in(busy, f"2026-11-22T{at}:00Z")

    assert off(busy) == [("small", "06:03")]
    journal = Journal(busy.state)
    with hold_state_lock(busy.state):
        assert journal.rotate("2026-11-22T06:04:00Z", size=1)
    assert off(busy) == [("small", "06:03")]


def test_a_commit_switched_it_off(make_place: Callable[[str], Place]) -> None:
    place = make_place("versioned")
    place.command("heavy", "pass", schedule=DAILY, more="enabled: false\n")
    place.write(".gitignore", ".connrunner/\n")
    git = ["git", "-C", str(place.folder), "-c", "user.name=Jo", "-c", "user.email=jo@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "off"]):
        subprocess.run([*git, *command], check=True)
    take_in(place, "2026-11-22T06:01:00Z")
    first = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "more"], check=True)
    take_in(place, "2026-11-22T06:02:00Z")

    (one,) = plain(place)["off"]
    assert (one["connection"], one["since"][:16], one["commit"]) == ("heavy", "2026-11-22T06:01", first)
    assert first[:12] in status(place)


def test_a_request_waits_until_a_tick_takes_it_up(busy: Place) -> None:
    requests.request_run(busy.state, "aside", "other", at=NOW, by="ann")
    (busy.state.requests / "run-1.json").write_text("{")

    found = plain(busy)["waiting"]
    assert [(one["connection"], one["queued"], one["asked_by"]) for one in found] == [
        ("other", True, ""), ("small", True, ""), ("aside", False, "ann"),
    ]  # fmt: skip
    assert "1. in side  aside" in status(busy)
    assert "asked for by ann; the next tick takes it up" in " ".join(status(busy, "aside").split())
    assert (busy.state.requests / "run-1.json").exists()  # who only looks moves nothing

    take_in(busy, "2026-11-22T06:05:00Z")
    (one,) = plain(busy, "aside")["waiting"]
    assert (one["queued"], one["asked_by"], one["trigger"]) == (True, "ann", "manual")


# --- what is asked to end ----------------------------------------------------------------------------------------

KILLED = [
    # asked at    looked at   its timeout   what is said
    ("06:03:45",  "06:04:00", "6h",         "is asked to end, killed in 15 s", "2026-11-22T06:04:15Z"),
    ("06:03:45",  "06:04:15", "6h",         "is being killed",                 "2026-11-22T06:04:15Z"),
    (None,        "06:04:00", "4m",         "is asked to end, killed in 30 s", "2026-11-22T06:04:30Z"),
    ("06:04:05",  "06:04:10", "4m",         "is asked to end, killed in 20 s", "2026-11-22T06:04:30Z"),
    (None,        "06:03:59", "4m",         "slower than usual",               None),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "now", "timeout", "words", "killed_at"), KILLED)
def test_how_long_a_run_has_that_is_asked_to_end(
    busy: Place, asked: str | None, now: str, timeout: str, words: str, killed_at: str | None
) -> None:
    started = next(record for record in busy.journal() if record["type"] == "started")
    Journal(busy.state).append({key: started[key] for key in started if key not in ("crc", "v")} | {"grace": 30})
    busy.command("big", "pass", schedule=DAILY, more=f"timeout: {timeout}\nstop: {{grace: 30s}}\n")
    at = f"2026-11-22T{now}Z"
    if asked:
        stop = StopRequest(connection="big", run=4, asked_at=instant.parse(f"2026-11-22T{asked}Z"), asked_by="ann")
        requests.request_stop(busy.state, stop)

    assert (words in " ".join(status(busy, "big", at=at).split())) is (killed_at is not None)
    (run,) = plain(busy, "big", at=at)["running"]
    assert (run["killed_at"], run["ends_at"] is None) == (killed_at, killed_at is not None)


def test_explain_says_behind_what_a_connection_starts(busy: Place) -> None:
    busy.command("small", "pass", schedule=DAILY, more="after: [other, big]\n")
    busy.command("idle", "pass")
    busy.command("other", "pass", schedule=DAILY, more="after: idle\n")
    busy.command("last", "pass", schedule=DAILY, more="after: small\n")
    at = ("--now", "2026-11-22T06:04:00Z")

    def after(name: str) -> list[str]:
        lines = typed(busy, "explain", name, *at)[1].splitlines()
        first = next(number for number, line in enumerate(lines) if line.startswith("After "))
        return [line.strip() for line in lines[first : first + 2]]

    rule = "behind what of these is queued or runs, however it ends"
    assert after("small") == [f"After  other and big: {rule}", "now other is queued and big #4 runs until about 07:10"]
    assert after("last") == [f"After  small: {rule}", "now small is queued"]
    assert after("other") == [f"After  idle: {rule}", "now none of them is queued or runs: it waits for nothing"]
    found = json.loads(typed(busy, "explain", "small", *at, "--format", "json")[1])["after"]
    assert [(one["connection"], one["state"], one["run"]) for one in found] == [
        ("other", "waiting", None),
        ("big", "running", 4),
    ]
    assert found[1]["ends_at"] == "2026-11-22T06:10:00Z"
    assert "After" not in typed(busy, "explain", "big", *at)[1]

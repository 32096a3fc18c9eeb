"""`explain`: why it ran or not, from real ticks of a made-up week; keys and codes; one clear line for a mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from connrunner.config import reference
from connrunner.core import instant
from connrunner.scheduler import idle
from connrunner.scheduler.tick import Tick
from tests.conftest import Place
from tests.test_cli import typed
from tests.test_cli_plan import commit, git

DAILY = '{type: days_of_week, days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday], time: "06:00"}'
NOW = ("--now", "2026-11-21T12:00:00Z")


def tick(place: Place, at: str) -> None:
    """Look as a tick does at *at*: record what is due, and run nothing."""
    Tick(place.folder, place.state, now=instant.parse(f"2026-11-{at}:00Z"), say=lambda _: None).take_in()


@pytest.fixture
def week(place: Place) -> Place:
    """Ticks that stop for two days, a schedule that moves, a file that breaks, a switching off."""
    place.write(".gitignore", ".connrunner\n")
    place.command("hello", "pass", schedule=DAILY, more="title: Hello there\nowner: data-team\n")
    place.command("monthly", "pass", schedule='{type: day_of_month, day: 31, time: "02:30"}')
    git(place, "init", "--quiet")
    commit(place, "Begin")
    tick(place, "15T09:00")
    tick(place, "16T05:00")
    tick(place, "18T08:00")
    place.command("hello", "pass", schedule=DAILY.replace("06:00", "07:00"), more="timeout: 5m\n")
    commit(place, "Move hello")
    tick(place, "18T09:00")
    place.write("connections/monthly.yaml", "schedul: x\n")
    commit(place, "Oops")
    tick(place, "18T10:00")
    place.command("hello", "pass", schedule=DAILY, more="enabled: false\n")
    commit(place, "Switch hello off")
    tick(place, "19T05:30")
    return place


WHY = [
    # asked               what the answer says
    ("2026-11-16 06:00",  "It waited and was taken out of the queue at Thu 2026-11-19 06:30 +01:00: switched off while it waited."),
    ("2026-11-17 06:00",  "It had no run of its own: the slot was merged, for it waits already."),
    ("2026-11-17 06:00",  "It was seen 1 d 03 h late. No tick between Mon 2026-11-16 06:00 +01:00 and Wed 2026-11-18 09:00 +01:00."),
    ("2026-11-18T05:00:00Z", "It did not run then: nobody looked. No tick between Mon 2026-11-16 06:00 +01:00"),
    ("2026-11-18 12:00",  "It had no slot then. Its schedule was every day at 07:00 (Europe/Amsterdam)."),
    ("2026-11-18 12:00",  "the slot before: Wed 2026-11-18 07:00 +01:00; the one after: Thu 2026-11-19 07:00 +01:00"),
    ("2026-11-20 06:00",  "It was off: switched off at Thu 2026-11-19 06:30 +01:00, by commit "),
    ("12:00",             "hello at Sat 2026-11-21 12:00 +01:00 (2026-11-21T11:00:00Z)"),
    ("2026-11-01 06:00",  "Nobody knows: what was decided is kept since Sun 2026-11-15 10:00 +01:00."),
]  # fmt: skip


def test_why_it_ran_or_did_not(week: Place) -> None:
    for at, words in WHY:
        code, out, err = typed(week, "explain", "hello", "--at", at, *NOW)
        assert (code, words in out) == (0, True), (at, out, err)


def test_the_lines_in_force_and_what_changed(week: Place) -> None:
    _, out, _ = typed(week, "explain", "hello", "--at", "2026-11-18T05:00:00Z", *NOW)

    assert "In force: connections/hello.yaml at commit " in out
    assert "Jane: Begin)" in out
    assert "   1  schedule: {type: days_of_week" in out


def test_the_lines_in_force_where_there_was_no_slot(week: Place) -> None:
    _, out, _ = typed(week, "explain", "hello", "--at", "2026-11-18T05:01:00Z", *NOW)

    assert "In force: connections/hello.yaml at commit " in out
    assert "   1  schedule: {type: days_of_week" in out
    assert "run before" not in out


def test_what_is_known_of_a_connection(week: Place) -> None:
    _, out, _ = typed(week, "explain", "monthly", *NOW)
    git(week, "checkout", "--quiet", "HEAD~2", "--", "connections")
    _, mended, _ = typed(week, "explain", "monthly", *NOW)
    _, hello, _ = typed(week, "explain", "hello", "--count", "2", *NOW)

    assert "connections/monthly.yaml:1:1: unknown key 'schedul'" in out
    assert "its file is broken, by commit " in out
    assert "day 31 of each month that has one at 02:30 (Europe/Amsterdam)" in mended
    assert "no slot in November 2026, February 2027, April 2027, June 2027: the date is not there" in mended
    assert "2026-11-22 07:00 +01:00  2026-11-22T06:00:00Z" in hello
    assert "connections/hello.yaml, the schedule at line 1; edited after commit " in hello
    assert "another schedule: every day at 07:00 (Europe/Amsterdam), by commit " in hello
    assert "switched off, by commit " in hello


def test_a_slot_that_no_tick_has_seen(place: Place) -> None:
    place.command("hello", "pass", schedule=DAILY)
    tick(place, "15T09:00")
    _, out, _ = typed(place, "explain", "hello", "--at", "06:00", *NOW)

    assert "It was due, and no tick has seen it: the last one looked at Sun 2026-11-15 10:00 +01:00." in out
    assert "Which lines of YAML were in force is not known: the workspace was in no git repository." in out


def test_json(week: Place) -> None:
    _, out, _ = typed(week, "explain", "hello", "--at", "2026-11-18T05:00:00Z", "--format", "json", *NOW)
    found: dict[str, Any] = json.loads(out)

    page = (Path(__file__).parent.parent / "docs" / "operating.md").read_text()
    assert [
        key for part in (found, found["answer"], found["decisions"][0]) for key in part if f"`{key}`" not in page
    ] == []
    assert (found["answer"]["verdict"], found["answer"]["decision"]["missed"]) == ("missed", 1)
    assert found["decisions"][0]["kind"] == "on"
    assert found["enabled"] is False


def test_each_planned_record_knows_the_tick_before(week: Place) -> None:
    planned = [record for record in week.journal() if record["type"] == "planned"]

    assert [record["before"] and record["before"][8:16] for record in planned] == [
        None, "15T09:00", "16T05:00", "18T08:00", "18T09:00", "18T10:00",
    ]  # fmt: skip
    assert len({record["commit"] for record in planned}) == 4
    assert idle.find_last_look(str(week.state.root)) == pytest.approx(
        instant.parse("2026-11-19T05:30:00Z").timestamp(), abs=30
    )


@pytest.mark.slow
@pytest.mark.thorough
def test_a_run_of_what_was_not_committed_says_so(place: Place) -> None:
    place.write(".gitignore", ".connrunner\n")
    place.command("hello", "pass")
    git(place, "init", "--quiet")
    commit(place, "Begin")
    typed(place, "run", "hello")
    place.command("hello", "print(1)")
    typed(place, "run", "hello")
    second, first = json.loads(typed(place, "runs", "hello", "--format", "json")[1])

    said = [typed(place, "explain", "hello", "--at", run["started_at"])[1] for run in (first, second)]

    assert [("asked for by" in out, "It ran: run" in out) for out in said] == [(True, True)] * 2
    assert ["It ran with something else than this" in out for out in said] == [False, True]


# --- keys and codes ---------------------------------------------------------------------------------------------------

TOPICS = [
    ("import.match",          "The identifiers that find the profile of a row."),
    ("match",                 "import.match (connections/NAME.yaml)"),
    ("schedule.day_of_month", "day_of_month (schedules/NAME.yaml, type: day_of_month)"),
    ("properties.type",       "properties.NAME.type (profile.yaml)"),
    ("sftp.host",             "host (Connector sftp, import.from; Connector sftp, export.to)"),
    ("import.from.files",     "path (required)"),
    ("mail.server",           "smtp://host:port"),
    ("exit-status",           "The program ended with a status other than 0."),
    ("timeout",               "The run took longer than `timeout`."),
    ("timeout",               "How long a run may take before it is ended."),
]  # fmt: skip


@pytest.mark.parametrize(("topic", "words"), TOPICS)
def test_keys_and_codes_are_explained(place: Place, topic: str, words: str) -> None:
    code, out, _ = typed(place, "explain", topic)

    assert (code, words in out) == (0, True), out


def test_every_key_of_the_reference_is_found_by_its_name() -> None:
    page = (Path(__file__).parent.parent / "docs" / "yaml.md").read_text()
    topics = reference.topics()

    assert len(topics) == len(set(topics))
    for section in reference.sections():
        for key in section.keys:
            assert f"`{key.key}`" in page
            assert any(topic == key.key or topic.endswith(f".{key.key}") for topic in topics), key


MISTAKES = [
    (["helo"],                     "there is no connection, key or code 'helo'; did you mean hello"),
    (["impot.match"],              "did you mean import.match"),
    (["exit-statu"],               "did you mean exit-status"),
    (["zzzzz"],                    "`connrunner status` lists connections"),
    (["hello", "--at", "noon"],    "'noon' is no instant; write it as 2026-11-22T09:15:00Z"),
    (["hello", "--at", "29:00"],   "'29:00' is no instant"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "complaint"), MISTAKES, ids=[" ".join(case[0]) for case in MISTAKES])
def test_a_mistake_is_one_line(place: Place, arguments: list[str], complaint: str) -> None:
    place.command("hello", "pass")

    code, out, err = typed(place, "explain", *arguments)

    assert (code, out) == (2, "")
    assert complaint in err


def test_a_broken_workspace_does_not_keep_keys_from_being_explained(place: Place) -> None:
    place.write("connrunner.yaml", "version: 1\ntimezon: x\n")

    assert typed(place, "explain", "timezone")[0] == 0

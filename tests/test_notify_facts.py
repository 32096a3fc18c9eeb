"""What a template sees of a run: plain data, fit for people, bounded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connrunner.core import instant, schedules
from connrunner.core.counts import Counts
from connrunner.core.model import Notify, Outcome, Run
from connrunner.notify import variables
from connrunner.notify.digest_facts import digest_facts
from connrunner.notify.facts import MEANING, Background, build_context
from connrunner.notify.language import NeutralLanguage
from connrunner.notify.rejects_excerpt import COUNTED
from connrunner.notify.render import EVENTS, RenderProblem, fallback
from connrunner.notify.samples import sample_facts as facts_of
from connrunner.notify.samples import samples
from connrunner.notify.sanitize import clean_line, clean_lines
from tests.made import changed_run, ended_run
from tests.test_core_on_time import connection as connected

START = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)
RUN = ended_run(
    connection="crm",
    run=12,
    outcome=Outcome.PARTIAL,
    trigger="schedule",
    due_at=START,
    queued_at=START,
    started_at=START + timedelta(seconds=2),
    ended_at=START + timedelta(seconds=75),
    seconds=73,
    counts=Counts(read=10, checked=10, created=7, invalid=3),
)

LINES = [
    ("plain", "plain"),
    ("  two   words ", "two words"),
    ("a\r\nBcc: x@y", "a Bcc: x@y"),
    ("a\0b\x1b[31mc\x7fd\x9be", "a b [31mc d e"),
    ("a\u2028b\u2029c\x85d", "a b c d"),
    ("invoice\u202efdp.exe", "invoice fdp.exe"),
    ("\ud800", "?"),
    ("Ünïcode 日本語 👩‍👩‍👧", "Ünïcode 日本語 👩‍👩‍👧"),
    ("x" * 300, "x" * 199 + "…"),
    (12, "12"),
]


@pytest.mark.parametrize(("value", "text"), LINES)
def test_a_line_is_one_line_without_control_characters(value: object, text: str) -> None:
    assert clean_line(value) == text


def test_lines_keep_their_breaks_and_nothing_else() -> None:
    assert clean_lines("\na\r\nb\rc\td\0e\u2028f\n") == "a\nb\nc\tdef"
    assert clean_lines("x" * 30, limit=10) == "x" * 9 + "…"


@given(st.text())
def test_a_line_never_breaks_and_can_be_sent(text: str) -> None:
    line = clean_line(text)
    assert len(line) <= 200
    assert line.splitlines() in ([], [line])
    line.encode()


WORDS = [
    (0, "0.0 s"),
    (0.44, "0.4 s"),
    (9.9, "9.9 s"),
    (10, "10 s"),
    (59.7, "1 min 00 s"),
    (73, "1 min 13 s"),
    (3600, "1 h 00 min"),
    (3720, "1 h 02 min"),
    (90_000, "1 d 01 h"),
    (-1, "0.0 s"),
]


@pytest.mark.parametrize(("seconds", "words"), WORDS)
def test_a_length_of_time_in_words(seconds: float, words: str) -> None:
    assert NeutralLanguage().duration(seconds) == words


WALLS = [
    ("Europe/Amsterdam", "Mon 2026-11-23 01:30:00 +01:00"),
    ("America/New_York", "Sun 2026-11-22 19:30:00 -05:00"),
    ("Asia/Kolkata", "Mon 2026-11-23 06:00:00 +05:30"),
    ("UTC", "Mon 2026-11-23 00:30:00 +00:00"),
    ("Nowhere/Gone", "Mon 2026-11-23 00:30:00 +00:00"),
]


@pytest.mark.parametrize(("timezone", "text"), WALLS)
def test_times_are_those_of_the_schedules_zone_with_their_offset(timezone: str, text: str) -> None:
    assert NeutralLanguage().instant(START, timezone) == text


def rejects(path: Path, *rows: Any) -> Path:
    file = path / "rejects.jsonl"
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return file


def context_of(
    run: Run | None, *, event: str = "", facts: Mapping[str, Any] | None = None, **background: Any
) -> dict[str, Any]:
    return build_context(run, Background(**background), event=event, facts=facts)


def reject(line: int, code: str = "wrong-type", **more: Any) -> dict[str, Any]:
    return {
        "line": line,
        "key": "k",
        "field": "age",
        "stage": "check",
        "code": code,
        "message": "m",
        "value": "v",
    } | more


def test_a_context_is_plain_json_and_complete(tmp_path: Path) -> None:
    seen = context_of(
        changed_run(RUN, message="3 of 10 rows were refused", commit="3f2a9c1d", kind="import", asked_by="ann"),
        title="CRM contacts",
        description="Nightly\nlist.",
        owner="data-team",
        timezone="Europe/Amsterdam",
        next_run=START + timedelta(days=4),
        rejects=rejects(tmp_path, reject(2), reject(5, "missing-key", file="a.csv")),
        workspace="crm-workspace",
    )
    assert json.loads(json.dumps(seen)) == seen
    assert seen["connection"] == {
        "name": "crm",
        "title": "CRM contacts",
        "description": "Nightly\nlist.",
        "owner": "data-team",
        "use": "on",
        "use_meaning": "",
        "kind": "import",
    }
    assert seen["run"] == {
        "number": 12,
        "outcome": "partial",
        "is_failure": True,
        "meaning": MEANING[Outcome.PARTIAL],
        "trigger": "schedule",
        "asked_by": "ann",
        "due_at": "Mon 2026-11-23 01:30:00 +01:00",
        "started_at": "Mon 2026-11-23 01:30:02 +01:00",
        "ended_at": "Mon 2026-11-23 01:31:15 +01:00",
        "seconds": 73,
        "run_time": "1 min 13 s",
        "message": "3 of 10 rows were refused",
        "code": "",
        "missed": 0,
        "merged": 0,
        "refused": 3,
        "commit": "3f2a9c1d",
        "timezone": "Europe/Amsterdam",
    }
    assert seen["counts"] == RUN.result.counts.as_dict()
    assert seen["rejects"][1] == {
        "file": "a.csv",
        "line": 5,
        "field": "age",
        "code": "missing-key",
        "message": "m",
        "value": "v",
    }
    assert seen["rejects_total"] == {"missing-key": 1, "wrong-type": 1}
    assert seen["rejects_more"] is False
    assert seen["next_run"] == "Fri 2026-11-27 01:30:00 +01:00"
    assert seen["workspace"] == "crm-workspace"
    assert seen["commands"] == {
        "log": "connrunner log crm 12",
        "rejects": "connrunner rejects crm 12",
        "run": "connrunner run crm",
        "runs": "connrunner runs crm",
        "approve": "",
        "decline": "",
        "status": "connrunner status",
        "validate": "connrunner validate",
    }


def test_a_run_that_never_started_has_no_start(tmp_path: Path) -> None:
    seen = context_of(changed_run(RUN, outcome=Outcome.SKIPPED, started_at=None, seconds=0), title="")
    assert seen["run"]["started_at"] is None
    assert seen["next_run"] is None
    assert seen["connection"]["title"] == "crm"


@pytest.mark.parametrize("outcome", Outcome)
def test_each_outcome_has_a_meaning(outcome: Outcome) -> None:
    assert context_of(changed_run(RUN, outcome=outcome), title="x")["run"]["meaning"].endswith(".")


def test_ten_rejects_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    rows = [reject(line, "wrong-type" if line % 3 else "bad-date") for line in range(1, 100)]
    seen = context_of(RUN, title="x", rejects=rejects(tmp_path, *rows))
    assert [row["line"] for row in seen["rejects"]] == list(range(1, 11))
    assert list(seen["rejects_total"].items()) == [("wrong-type", 66), ("bad-date", 33)]


def test_gigabytes_of_rejects_are_not_read(tmp_path: Path) -> None:
    file = rejects(tmp_path, *[reject(1, value="v" * 900)] * 5000)
    assert file.stat().st_size > COUNTED
    seen = context_of(RUN, title="x", rejects=file)
    assert seen["rejects_more"] is True
    assert 4000 < seen["rejects_total"]["wrong-type"] < 5000


def test_a_damaged_line_costs_that_line_only(tmp_path: Path) -> None:
    file = rejects(
        tmp_path, reject(1), '{"line": 2, "co', "[]", "", "[" * 9999, '"' + "x" * 200_000, reject(7), '{"line"'
    )
    with file.open("ab") as end:
        end.write(b'\xff\xfe\n{"line": 8}\n{"line": 9')
    seen = context_of(RUN, title="x", rejects=file)
    assert [row["line"] for row in seen["rejects"]] == [1, 7, 8]
    assert seen["rejects"][2]["message"] == ""
    assert seen["rejects_total"] == {"wrong-type": 2, "unknown": 1}


def test_no_file_of_rejects_is_no_trouble(tmp_path: Path) -> None:
    for path in (None, tmp_path / "none.jsonl", tmp_path):
        seen = context_of(RUN, title="x", rejects=path)
        assert (seen["rejects"], seen["rejects_total"], seen["rejects_more"]) == ([], {}, False)


def test_what_comes_from_data_is_cut_and_cleaned(tmp_path: Path) -> None:
    row = reject(1, message="a\r\nb", value="x" * 500, field={"odd": [1]}, file=None)
    shown = context_of(RUN, title="x", rejects=rejects(tmp_path, row))["rejects"][0]
    assert shown["message"] == "a b"
    assert shown["value"] == "x" * 119 + "…"
    assert shown["field"] == "{'odd': [1]}"
    assert shown["file"] == ""


def test_every_variable_has_its_words_and_no_words_are_left_over() -> None:
    seen = {path for one in samples([("", "")]) for path, _ in variables.paths(one)}
    assert seen == set(variables.VARIABLES)
    assert set(variables.MEANING) == set(EVENTS)


def test_facts_that_are_not_what_they_should_be_keep_no_mail_back() -> None:
    for facts in ({}, {"since": 1}, {"since": "soon", "failures": "x"}, {"connections": [1]}, {"missed": None}):
        for event in ("failing", "late", "digest", "folded", "outage", "broken", "fixed"):
            seen = context_of(None, event=event, facts=facts)
            assert [seen[part] for part in ("failing", "late", "digest", "folded", "outage", "files")] == [None] * 6
            mail = fallback(seen, RenderProblem(template="x", line=1, message="y"))
            assert event in mail.subject


def recent(*numbers: int, read: int = 10) -> list[Run]:
    return [changed_run(RUN, run=number, seconds=number, counts=Counts(read=read, checked=read)) for number in numbers]


def test_the_last_ten_runs_are_compared_oldest_first() -> None:
    seen = context_of(RUN, recent=recent(*range(14, 0, -1)))["recent"]
    assert [one["number"] for one in seen] == list(range(3, 13))  # none after the run that the mail is about
    assert [one["time_share"] for one in seen] == [25, 33, 42, 50, 58, 67, 75, 83, 92, 100]
    assert {one["rows_share"] for one in seen} == {100}
    assert {one["rows_share"] for one in context_of(RUN, recent=recent(1, read=0))["recent"]} == {0}


def test_a_digest_lists_trouble_first_and_long_lists_are_cut() -> None:
    one = facts_of("digest")["connections"][2]  # nothing happened there
    connections = [{**one, "name": f"c{number}", "failed": number % 2, "runs": 1} for number in range(100)]
    digest = context_of(None, event="digest", facts={**facts_of("digest"), "connections": connections})["digest"]
    assert [each["name"] for each in digest["connections"][:3]] == ["c1", "c3", "c5"]
    assert (len(digest["connections"]), digest["more"]) == (30, 70)
    assert digest["total"] == {"runs": 100, "partial": 0, "failed": 50, "late": 0, "missed": 0}
    for event, name in (("folded", "notices"), ("outage", "missed")):
        long = facts_of(event)[name] * 100
        part = context_of(None, event=event, facts={**facts_of(event), name: long})[event]
        assert (len(part[name]), part["more"]) == (100, len(long) - 100)


PASSED = [
    # passed, late, missed, merged, skipped    in words
    ((0, 0, 0, 0, 0), "0 slots passed"),
    ((1, 1, 0, 0, 0), "1 slot passed; it ran late"),
    ((1, 0, 1, 0, 0), "1 slot passed; it was missed"),
    ((1, 0, 0, 1, 0), "1 slot passed; it was merged into another run"),
    ((1, 0, 0, 0, 1), "1 slot passed; it could not start"),
    ((2, 2, 0, 0, 0), "2 slots passed: 2 ran late"),
    ((3, 1, 2, 0, 0), "3 slots passed: 1 ran late, 2 missed"),
    (
        (1234, 1, 1230, 1, 2),
        "1,234 slots passed: 1 ran late, 1,230 missed, 1 merged into another run, 2 could not start",
    ),
]


@pytest.mark.parametrize(("numbers", "words"), PASSED)
def test_slots_that_passed_in_an_outage_are_told_with_what_became_of_them(numbers: tuple[int, ...], words: str) -> None:
    counts = dict(zip(("passed", "late", "missed", "merged", "skipped"), numbers, strict=True))
    facts = {**facts_of("outage"), "missed": [{"connection": "crm", **counts}]}
    outage = context_of(None, event="outage", facts=facts)["outage"]
    assert (outage["meaning"], outage["missed"][0]["meaning"]) == (words, words)
    assert (outage["total"], outage["totals"]) == (numbers[0], counts)


RUNS_NOW = [
    # late, missed, merged, skipped
    ((1, 5, 0, 0), "What was due meanwhile runs once now."),
    ((1, 5, 1, 0), "What was due meanwhile runs once now."),
    ((1, 0, 0, 1), "What was due meanwhile runs once now, where it could still start."),
    ((0, 0, 2, 0), "What was due meanwhile is part of runs that waited or worked already."),
    ((0, 0, 1, 1), "What was due meanwhile is part of runs that waited or worked already."),
    ((0, 3, 0, 1), "Nothing of what was due meanwhile runs now: it could not start any more."),
]


@pytest.mark.parametrize(("numbers", "words"), RUNS_NOW)
def test_an_outage_says_that_something_runs_now_only_when_it_does(numbers: tuple[int, ...], words: str) -> None:
    counts = dict(zip(("late", "missed", "merged", "skipped"), numbers, strict=True))
    facts = {**facts_of("outage"), "missed": [{"connection": "crm", "passed": sum(numbers), **counts}]}
    assert context_of(None, event="outage", facts=facts)["outage"]["consequence"] == words


WELL = [
    # what the digest's facts of a connection have beside a successful run            is it well
    ({},                                                                              True),
    ({"last_outcome": None},                                                          True),
    ({"failed": 1},                                                                   False),
    ({"partial": 1},                                                                  False),
    ({"late": 1},                                                                     False),
    ({"missed": 1},                                                                   False),
    ({"last_outcome": "stopped"},                                                     False),
    ({"tight": {"gap": 60, "p95": 66}},                                               False),
    ({"runs": 0},                                                                     False),
]  # fmt: skip


@pytest.mark.parametrize(("more", "well"), WELL)
def test_a_digest_has_a_line_for_what_is_well_and_more_for_the_others(more: dict[str, Any], well: bool) -> None:
    facts = facts_of("digest")
    fine = next(one for one in facts["connections"] if one["name"] == "refresh-segments")
    digest = context_of(None, event="digest", facts={**facts, "connections": [{**fine, **more}]})["digest"]
    assert digest["connections"][0]["is_well"] is well


def test_an_outage_that_an_older_release_recorded_tells_what_it_knew() -> None:
    facts = {**facts_of("outage"), "missed": [{"connection": "crm", "missed": 3}]}
    outage = context_of(None, event="outage", facts=facts)["outage"]
    assert (outage["total"], outage["meaning"], outage["missed"][0]["missed"]) == (3, "3 slots passed", 0)


def test_numbers_and_times_are_written_in_the_readers_language() -> None:
    seen = context_of(RUN, language="nl", timezone="Europe/Amsterdam", next_run=START)
    assert (seen["next_run"], seen["run"]["run_time"]) == ("ma 23 nov 2026 01:30:00 +01:00", "1 min 13 sec")
    assert seen["language"] == "nl"


def test_a_digest_tells_of_a_schedule_that_is_shorter_than_its_runs() -> None:
    made = connected("crm", Notify(to=(), when="always"))
    minutely = replace(made, schedule=schedules.parse({"type": "cron", "expression": "* * * * *"}, "UTC"))
    for seconds, words in ((66, "its slots come 1 min 00 s apart, and its runs take up to 1 min 06 s"), (50, "")):
        runs = [changed_run(RUN, outcome=Outcome.SUCCEEDED, seconds=seconds, ended_at=START)]
        at = {"from": instant.text(START), "to": instant.text(START)}
        found = digest_facts(
            "", {"crm": minutely}, {}, dict.fromkeys(["crm"], runs).__getitem__, start=START, end=START
        )
        digest = context_of(None, event="digest", facts={**at, **found})["digest"]
        assert digest["connections"][0]["warning"].startswith(words)
        assert bool(digest["connections"][0]["warning"]) == bool(words)

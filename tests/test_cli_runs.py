"""`connrunner runs` of many connections, and what commands read of a long past."""

from __future__ import annotations

import csv
import io
import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from connrunner.core import instant
from connrunner.core.model import Outcome
from connrunner.state.folder import StateFolder
from tests.conftest import Place
from tests.made import ended_run, write_history
from tests.test_cli import AT, ended, typed

HOUR = timedelta(hours=1)
NIGHTLY = '{type: days_of_week, days: [monday], time: "06:00"}'


@pytest.fixture
def night(place: Place) -> Place:
    """Two connections that ran in turns, and a third that has a past only."""
    for name in ("crm-in", "crm-out"):
        place.command(name, "pass", schedule=NIGHTLY)
    for number in (1, 2, 3):
        ended(place, "crm-in", number, ended_at=AT + number * HOUR)
        ended(place, "crm-out", number, ended_at=AT + number * HOUR + HOUR / 2)
    failed = {"outcome": Outcome.FAILED, "code": "timeout", "message": "it took too long", "missed": 2}
    ended(place, "old", 7, ended_at=AT + 2.75 * HOUR, **failed)
    return place


OVERVIEWS = [
    # typed                                                     connection and run, newest end first
    ([],                                                        "out3 in3 old7 out2 in2 out1 in1"),
    (["--limit", "3"],                                          "out3 in3 old7"),
    (["crm-*"],                                                 "out3 in3 out2 in2 out1 in1"),
    (["old", "crm-in"],                                         "in3 old7 in2 in1"),
    (["crm-in", "crm-in"],                                      "in3 in2 in1"),
    (["old", "crm-*", "--limit", "1"],                          "out3"),
    (["--since", "2h", "--now", "2026-11-22T10:30:00Z"],        "out3 in3 old7 out2"),
    (["--since", "120m", "--now", "2026-11-22T10:30:00Z"],      "out3 in3 old7 out2"),
    (["--since", "5400s", "--now", "2026-11-22T10:30:00Z"],     "out3 in3"),
    (["--since", "1d", "--now", "2026-11-23T08:00:00Z"],        "out3 in3 old7 out2 in2"),
    (["--since", "1w", "--now", "2026-11-29T08:45:00Z"],        "out3 in3 old7"),
    (["--since", "999999w", "--limit", "1"],                    "out3"),
    (["--since", "2026-11-22T09:00:00Z"],                       "out3 in3"),
    (["crm-in", "--since", "1h", "--now", "2026-11-22T10:00:00Z"], "in3"),
    (["--since", "1h", "--now", "2026-11-23T00:00:00Z"],        ""),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "found"), OVERVIEWS, ids=[" ".join(case[0]) for case in OVERVIEWS])
def test_the_newest_runs_in_json(night: Place, arguments: list[str], found: str) -> None:
    code, out, _ = typed(night, "runs", *arguments, "--format", "json")

    runs = json.loads(out)
    shown = [f"{run['connection'].removeprefix('crm-')}{run['run']}" for run in runs]
    assert (code, " ".join(shown), out) == (0, found, json.dumps(runs, indent=2, ensure_ascii=False) + "\n")


def test_an_overview_for_people(night: Place) -> None:
    code, out, _ = typed(night, "runs", "--limit", "3")

    lines = [line.split() for line in out.splitlines() if line[:6].strip()]
    assert (code, lines[0]) == (0, ["CONNECTION", "RUN", "START", "RUN", "TIME", "OUTCOME", "DETAILS"])
    assert [line[:2] for line in lines[1:]] == [["crm-out", "3"], ["crm-in", "3"], ["old", "7"]]
    assert "1.5 s failed 1,200 read, 1,200 created; it took too long; 2 later slots were missed" in " ".join(
        out.split()
    )
    assert typed(night, "runs", "--since", "2026-12-01T00:00:00Z")[1] == "no run ended\n"


def test_the_runs_of_one_are_headed_by_its_next(night: Place) -> None:
    assert "\nNext " in typed(night, "runs", "crm-in")[1]
    assert "\nNext " not in typed(night, "runs", "crm-i*")[1]


def test_a_table_of_all_counts_its_limit_for_each(night: Place) -> None:
    for arguments in ([], ["*"], ["crm-*", "old"]):
        rows = csv.DictReader(io.StringIO(typed(night, "runs", *arguments, "--format", "csv", "--limit", "1")[1]))
        assert [(row["connection"], row["run"]) for row in rows] == [("crm-in", "3"), ("crm-out", "3"), ("old", "7")]


def test_the_status_says_how_the_last_day_went(night: Place) -> None:
    def last_day(*arguments: str) -> tuple[str, dict[str, int]]:
        at = ("--now", "2026-11-23T07:45:00Z")
        out = typed(night, "status", *arguments, *at)[1]
        said = json.loads(typed(night, "status", *arguments, *at, "--format", "json")[1])["last_24h"]
        return next(line for line in out.splitlines() if line.startswith("last 24 h")), said

    assert last_day() == ("last 24 h: 5 runs, 1 failed", {"runs": 5, "partial": 0, "failed": 1})
    assert last_day("old") == ("last 24 h: 1 run, 1 failed", {"runs": 1, "partial": 0, "failed": 1})


def test_a_partial_run_is_no_failed_one_for_whoever_counts(night: Place) -> None:
    ended(night, "old", 8, outcome=Outcome.PARTIAL, ended_at=instant.parse("2026-11-23T07:40:00Z"))
    at = ("--now", "2026-11-23T07:45:00Z")

    assert typed(night, "status", *at)[1].startswith("last 24 h: 6 runs, 1 failed, 1 partial\n")
    found = json.loads(typed(night, "status", *at, "--format", "json")[1])
    assert found["last_24h"] == {"runs": 6, "partial": 1, "failed": 1}


# Each reads a part of the end of each history, and that of the run that it is about.
QUESTIONS = [
    ["runs"],
    ["runs", "long"],
    ["runs", "long", "--limit", "3", "--format", "json"],
    ["runs", "--since", "24h", "--now", "2026-11-22T06:00:00Z"],
    ["runs", "l*", "--format", "csv"],
    ["run", "long", "--detach"],
    ["run", "long"],
    ["status", "--now", "2026-11-22T06:00:00Z"],
    ["metrics"],
    ["calendar", "--now", "2026-11-22T06:00:00Z"],
    ["next"],
    ["explain", "long"],
    ["log", "long", "9"],
    ["doctor"],
]


@pytest.fixture(scope="module")
def long_past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The history of 20,000 runs, 12 MB."""
    state = StateFolder(tmp_path_factory.mktemp("past"))
    last = ended_run(
        connection="long", run=0, outcome=Outcome.FAILED, trigger="schedule", due_at=AT, queued_at=AT, started_at=AT,
        ended_at=AT, seconds=1.5, kind="command",
    )  # fmt: skip
    write_history(state, last, runs=20_000, apart=timedelta(minutes=10))
    return state.history("long")


@pytest.mark.parametrize("arguments", QUESTIONS, ids=" ".join)
def test_no_command_reads_more_of_a_history_than_it_shows(
    place: Place, long_past: Path, history_reads: list[int], arguments: list[str]
) -> None:
    place.command("long", "pass", schedule=NIGHTLY)
    place.state.prepare()
    place.state.run("long", 20_000).mkdir(parents=True)
    shutil.copy(long_past, place.state.history("long"))

    code, _, err = typed(place, *arguments)

    assert code == 0 or arguments == ["doctor"] or "not kept any more" in err
    assert 0 < sum(history_reads) < 1_000_000

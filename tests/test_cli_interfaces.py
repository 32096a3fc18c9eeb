"""What other programs ask of the command line: figures, calendars, tables, traces, completion."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import duckdb
import icalendar as reference
import pytest

from connrunner.cli import command_line as cli
from connrunner.core import instant
from connrunner.core.counts import Counts
from connrunner.core.model import Outcome
from connrunner.scheduler import tick
from connrunner.state import run_files
from tests.conftest import Place
from tests.test_cli import AT, ended, typed

MONDAYS = '{type: days_of_week, days: [monday], time: "06:00"}'
NOW = ("--now", "2026-11-22T07:00:00Z")


@pytest.fixture
def busy(place: Place) -> Place:
    """A workspace with a past, a queue and a promise."""
    place.command("a", "print()", schedule=MONDAYS, more='title: "Contacts, all; of them"\n')
    place.command("b", "print()", schedule="{type: times_per_day, times: 4}", more="lane: side\n")
    place.write("connections/broken.yaml", "schedule: {type: manual}\n")
    tick.Tick(place.folder, place.state, now=AT, say=lambda _: None).take_in()
    ended(place, "a", 1)
    ended(
        place,
        "a",
        2,
        outcome=Outcome.FAILED,
        code="unreachable",
        message='no, "route"\nto host',
        counts=Counts(read=3, not_attempted=3),
        due_at=AT + timedelta(minutes=1),
    )
    return place


# --- figures -----------------------------------------------------------------------------------------------------


def figures(page: str) -> dict[str, float]:
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in page.splitlines() if line[0] != "#")
    }


def test_figures(busy: Place) -> None:
    code, out, _ = typed(busy, "metrics", *NOW)
    assert code == 0
    found = figures(out)
    assert found.items() >= {
        'connrunner_connections{state="on"}': 2,
        'connrunner_connections{state="broken"}': 1,
        'connrunner_queue_length{lane="main"}': 0,
        'connrunner_queue_length{lane="side"}': 1,
        'connrunner_last_run_number{connection="a"}': 2,
        'connrunner_last_run_success{connection="a"}': 0,
        'connrunner_last_run_outcome{connection="a",outcome="failed"}': 1,
        'connrunner_last_run_duration_seconds{connection="a"}': 1.5,
        'connrunner_last_success_timestamp_seconds{connection="a"}': AT.timestamp(),
        'connrunner_last_run_rows{connection="a",counter="not_attempted"}': 3,
        'connrunner_waiting_since_timestamp_seconds{connection="b"}': AT.timestamp(),
        'connrunner_next_due_timestamp_seconds{connection="a"}': instant.parse("2026-11-23T05:00:00Z").timestamp(),
        "connrunner_mail_owed": 0,
        "connrunner_late": 1,
    }.items()  # fmt: skip
    assert not any('connection="broken"' in name and "last_run" in name for name in found)
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool here")
    done = subprocess.run([promtool, "check", "metrics"], input=out, text=True, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_figures_go_into_a_file_in_one_step(busy: Place, tmp_path: Path) -> None:
    file = tmp_path / "connrunner.prom"
    file.write_text("old")
    before = file.stat().st_ino
    assert typed(busy, "metrics", "--write", str(file))[:2] == (0, "")
    assert file.stat().st_ino != before
    assert file.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["connrunner.prom"]
    code, _, err = typed(busy, "metrics", "--write", str(tmp_path / "no" / "x.prom"))
    assert (code, "cannot be written: No such file" in err) == (2, True)


# --- calendars ---------------------------------------------------------------------------------------------------


def events(page: str) -> dict[str, reference.Component]:
    found = reference.Calendar.from_ical(page.encode()).walk("VEVENT")
    assert len({str(event["UID"]) for event in found}) == len(found)
    return {str(event["UID"]): event for event in found}


def test_a_calendar(busy: Place) -> None:
    code, out, _ = typed(busy, "calendar", *NOW, "--days", "8")
    assert code == 0
    found = events(out)
    coming = found["20261123T050000Z.a.workspace@connrunner"]
    assert coming.decoded("DTSTART") == instant.parse("2026-11-23T05:00:00Z")
    assert str(coming["SUMMARY"]) == "Contacts, all; of them"
    past = found["20261122T060000Z.a.workspace@connrunner"]
    assert str(past["SUMMARY"]) == "a #1: succeeded"
    assert "route" in str(found["20261122T060100Z.a.workspace@connrunner"]["DESCRIPTION"])
    assert typed(busy, "calendar", "a", *NOW, "--days", "0", "--past", "0")[1].count("BEGIN:VEVENT") == 0


def test_a_slot_keeps_its_id_when_it_becomes_a_run(busy: Place) -> None:
    slot = "20261123T050000Z.a.workspace@connrunner"
    before = events(typed(busy, "calendar", "a", *NOW)[1])[slot]
    late = instant.parse("2026-11-23T05:02:00Z")
    ended(busy, "a", 3, due_at=instant.parse("2026-11-23T05:00:00Z"), started_at=late, ended_at=late, title="Contacts")
    tick.Tick(busy.folder, busy.state, now=late, say=lambda _: None).take_in()
    after = events(typed(busy, "calendar", "a", "--now", "2026-11-23T05:10:00Z")[1])[slot]
    assert (before["SEQUENCE"], after["SEQUENCE"]) == (0, 1)
    assert str(after["SUMMARY"]) == "Contacts #3: succeeded"


# --- tables ------------------------------------------------------------------------------------------------------


def test_runs_as_csv(busy: Place, tmp_path: Path) -> None:
    code, out, _ = typed(busy, "runs", "*", "--format", "csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["connection"], row["run"], row["read"], row["exit_status"]) for row in rows] == [
        ("a", "2", "3", ""), ("a", "1", "1200", ""),
    ]  # fmt: skip
    assert rows[0]["message"] == 'no, "route"\nto host'
    file = tmp_path / "runs.csv"
    assert typed(busy, "runs", "a", "--format", "csv", "--limit", "1", "--output", str(file))[:2] == (0, "")
    assert len(list(csv.DictReader(io.StringIO(file.read_text())))) == 1
    assert typed(busy, "runs", "x*", "--format", "csv")[0] == 2
    assert typed(busy, "runs", "a", "--output", str(file))[0] == 2


def test_runs_as_parquet(busy: Place, tmp_path: Path) -> None:
    file = tmp_path / "it's.parquet"
    assert typed(busy, "runs", "a", "--format", "parquet")[0] == 2
    assert typed(busy, "runs", "a", "--format", "parquet", "--output", str(file))[:2] == (0, "")
    with duckdb.connect() as made:
        asked = "SELECT run, message, epoch_ms(ended_at), read, exit_status, seconds, detail FROM read_parquet(?)"
        rows = made.execute(asked, [str(file)]).fetchall()
    at = round(AT.timestamp() * 1000)
    assert rows == [(2, 'no, "route"\nto host', at, 3, None, 1.5, None), (1, None, at, 1200, None, 1.5, None)]
    assert typed(busy, "runs", "a", "--format", "parquet", "--output", str(tmp_path / "no" / "x"))[0] == 2


# --- traces ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_programs_are_told_which_trace_their_run_belongs_to(place: Place) -> None:
    shows = "import os, sys; print(os.environ['TRACEPARENT'], os.environ.get('TRACESTATE'))"
    place.command("a", shows, schedule="{type: times_per_day, times: 1}")
    said = f"00-{'a' * 32}-{'b' * 16}-01"
    place.run("tick", env={"TRACEPARENT": said, "TRACESTATE": "x=y"})
    log = list(run_files.read_events(place.state.log("a", 1)))
    (started,) = (event for event in log if event.get("type") == "started")
    (printed,) = (event["message"] for event in log if event.get("stream") == "stdout")
    assert started["trace_id"] == "a" * 32
    assert printed == f"00-{'a' * 32}-{started['span_id']}-01 x=y"
    assert started["span_id"] != "b" * 16


# --- completion --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str, tmp_path: Path) -> None:
    code, out, _ = typed(Place(tmp_path), "completion", shell)
    assert (code, "_CONNRUNNER_COMPLETE" in out) == (0, True)


ASKED = [
    ("connrunner st",                        ["state", "status", "stop"]),
    ("connrunner runs ",                     ["a", "b", "broken", "gone"]),
    ("connrunner runs b",                    ["b", "broken"]),
    ("connrunner explain g",                 ["gone"]),
    ("connrunner log a ",                    ["12", "2", "1"]),
    ("connrunner log a 1",                   ["12", "1"]),
    ("connrunner status a ",                 ["b", "broken", "gone"]),
    ("connrunner runs --workspace /x ",      []),
    ("connrunner notify d",                  ["drop"]),
    ("connrunner runs --l",                  ["--limit"]),
]  # fmt: skip


@pytest.fixture
def named(place: Place) -> Place:
    for name in ("a", "b"):
        place.command(name, "print()")
    place.write("connections/broken.yaml", "schedule: [\n")
    for path in ("a/1", "a/2", "a/12", "gone/1"):
        (place.state.runs / path).mkdir(parents=True)
    return place


@pytest.mark.parametrize(("line", "answers"), ASKED, ids=[line for line, _ in ASKED])
def test_what_a_shell_is_told(
    named: Place, line: str, answers: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_CONNRUNNER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    monkeypatch.chdir(named.folder)
    with pytest.raises(SystemExit):
        cli.main([])
    found = [answer.removeprefix("plain,") for answer in capfd.readouterr().out.split()]
    assert (sorted(found), found if answers[:1] == ["12"] else answers) == (sorted(answers), answers)


# What a shell or a terminal takes for more than itself, and what is no name for other reasons.
NO_NAMES = (
    *(f"a{sign}b" for sign in "$`\"'\\\n\t\r\x1b\x07;|&<>()[]{}*?!~# =%^,:@+."), "a$(touch pwned)", "a`touch pwned`", "a;touch pwned",
    "-a", "--help", "_a", "A", "a b", "\u202ea", "\u00e9", "\u0430", "\uff41", "a" * 64, ".a", "plain,x", "a\nplain,b", "a\udc80",
)  # fmt: skip
NO_NUMBERS = ("1$(touch pwned)", "\u0661", "\u00b2", "1 2", "-1", "1.0", "0x1", "1e3", "9" * 40)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_names_only(
    named: Place, shell: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A branch can bring files of any name, and a shell types what it is told."""
    for name in NO_NAMES:
        (named.folder / f"connections/{name}.yaml").write_text("")
        (named.state.runs / name).mkdir(exist_ok=True)
    for number in NO_NUMBERS:
        (named.state.runs / "a" / number).mkdir()
    for line, answers in (("connrunner runs ", {"a", "b", "broken", "gone"}), ("connrunner log a ", {"1", "2", "12"})):
        monkeypatch.setenv("_CONNRUNNER_COMPLETE", f"{shell}_complete")
        # fish gives the words that are whole, and the one that is being typed.
        monkeypatch.setenv("COMP_WORDS", line.strip() if shell == "fish" else line)
        monkeypatch.setenv("COMP_CWORD", "" if shell == "fish" else str(line.count(" ")))
        monkeypatch.chdir(named.folder)
        with pytest.raises(SystemExit):
            cli.main([])
        said = [word for word in re.split(r"[\n\t]", capfd.readouterr().out) if word not in ("", "_", "plain")]
        assert {word.removeprefix("plain,") for word in said} == answers


@pytest.mark.slow
def test_it_works_in_bash(named: Place, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "connrunner"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m connrunner "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(connrunner completion bash)"\nCOMP_WORDS=(connrunner runs b)\nCOMP_CWORD=2\n'
        'complete -p connrunner >&2\n_connrunner_completion connrunner\necho "${COMPREPLY[*]}"\n'
    )
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=named.folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert (done.stdout, "-F _connrunner_completion connrunner" in done.stderr) == ("b broken\n", True), done


def test_a_question_after_tab_imports_no_more_than_names_need(named: Place) -> None:
    heavy = "yaml,jsonschema,jinja2,duckdb,dateutil,filelock"
    code = (
        f"import sys, connrunner.cli.command_line as c\ntry: c.main([])\nexcept SystemExit: pass\n"
        f"print([name for name in '{heavy}'.split(',') if name in sys.modules], file=sys.stderr)"
    )
    env = {**os.environ, "_CONNRUNNER_COMPLETE": "bash_complete", "COMP_WORDS": "connrunner st", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=named.folder, env=env, capture_output=True, text=True)
    assert done.stderr == "[]\n", done
    assert json.dumps(done.stdout.split()) == '["plain,stop", "plain,status", "plain,state"]'

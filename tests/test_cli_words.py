"""What commands print is meant for people: no values of Python, nothing cut, nothing said twice."""

from __future__ import annotations

import re
from typing import Any

import click
import pytest
from click.testing import CliRunner

from connrunner.answers.dry_run import DryRun
from connrunner.answers.profile_lookup import describe_profile
from connrunner.answers.run_summary import describe_run
from connrunner.answers.sync_state import SyncState
from connrunner.cli import command_line as cli
from connrunner.cli import dry_run, state
from connrunner.core.counts import Counts
from connrunner.core.model import Outcome, ProfileModel, Result
from connrunner.profiles.results import RecordedRun
from connrunner.state import run_files
from connrunner.worker.recorded_result import make_result
from tests.conftest import Place
from tests.made import ended_run
from tests.test_cli import AT, typed

MARKS = [
    ({"protocol": "singer", "done": True, "since": None}, 'mark: {"protocol": "singer", "done": true, "since": null}'),
    ("2026-11-22", "mark: 2026-11-22"),
    (5, "mark: 5"),
    (True, "mark: true"),
]


@pytest.mark.parametrize(("mark", "words"), MARKS)
def test_a_mark_is_shown_as_json(mark: Any, words: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.command("hello", "pass")
    known = {"files": [], "mark": mark, "kept_rows": 1, "sent": 2}
    monkeypatch.setattr(state, "read_sync_state", lambda _, name: SyncState(connection=name, remembered=known))
    code, out, _ = typed(place, "state", "hello")
    assert code == 0
    assert out.splitlines() == [
        words,
        "1 refused row is kept and offered again by the next run",
        "2 profiles were sent by its exports",
    ]


COUNTED = [
    # how many, of an export, of a run that stands for several slots
    (0, "0 rows written to a.csv", ""),
    (1, "1 row written to a.csv", "1 later slot was missed; 1 slot merged into it"),
    (2, "2 rows written to a.csv", "2 later slots were missed; 2 slots merged into it"),
]


@pytest.mark.parametrize(("many", "written", "slots"), COUNTED)
def test_one_of_something_is_one(many: int, written: str, slots: str) -> None:
    exported = RecordedRun(kind="export", counts=Counts(), detail={"rows": many, "output": "a.csv"})
    assert make_result(exported).message == written
    run = ended_run(
        connection="a", run=1, outcome=Outcome.SUCCEEDED, trigger="schedule", due_at=AT, kind="import", queued_at=AT,
        started_at=AT, ended_at=AT, seconds=1.5, counts=Counts(), missed=many, merged=many,
    )  # fmt: skip
    assert describe_run(run) == slots


def test_values_of_a_profile_are_those_of_yaml() -> None:
    change = {"at": "2026-11-22T12:00:00Z", "connection": "crm", "run": 1}
    profile = {
        "properties": {"vip": True, "flags": [False, True], "n": 5},
        "consents": {},
        "created": change,
        "changed": change,
    }
    facts = dict(describe_profile(profile, ProfileModel(properties={}, objectives={}), "UTC"))
    assert (facts["vip"], facts["flags"], facts["n"]) == ("true", "false; true", "5")


@pytest.mark.parametrize("question", [["reset", "hello"], ["reset", "--profiles"]])
def test_who_says_no_is_not_interrupted(question: list[str], place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.command("hello", "pass")
    monkeypatch.chdir(place.folder)
    done = CliRunner().invoke(cli.commands, question, input="n\n", standalone_mode=True)
    assert (done.exit_code, done.stderr) == (1, "declined: nothing was changed\n")
    assert not place.state.root.exists()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_list_of_commands_cuts_nothing(width: int) -> None:
    context = click.Context(cli.commands, terminal_width=width, info_name="connrunner")
    page = cli.commands.get_help(context)
    assert "..." not in page.replace("[ARGS]...", "")
    for name in cli.commands.list_commands(context):
        command = cli.commands.get_command(context, name)
        assert command is not None
        assert command.help is not None
        first = re.split(r"\.(?:\s|$)", " ".join(command.help.split()))[0]
        assert first in " ".join(page.split())


@pytest.mark.parametrize(
    ("kind", "message", "code", "words"),
    [
        ("import", "1 updated", "", "would end partial; 2 read, 1 updated, 1 not found"),
        ("import", "the files have no rows", "too-few-rows", "would end partial; 2 read, 1 updated, 1 not found; the files have no rows"),
        ("export", "1 row written", "", "would end partial; 2 read, 1 updated, 1 not found; 1 row written"),
    ],
)  # fmt: skip
def test_a_dry_run_says_each_thing_once(kind: str, message: str, code: str, words: str) -> None:
    counts = Counts(read=2, checked=2, updated=1, not_found=1)
    result = Result(outcome=Outcome.PARTIAL, counts=counts, message=message, code=code)
    found = DryRun(connection="a", kind=kind, result=result, refused=())
    assert list(dry_run._lines(found)) == [words, "nothing was written"]


def test_a_dry_run_has_the_number_of_the_next_run(place: Place) -> None:
    assert run_files.next_number(place.state, "a", after=0) == 1
    for number in (1, 2, 12):
        place.state.run("a", number).mkdir(parents=True)
    assert run_files.next_number(place.state, "a", after=0) == 13
    assert run_files.next_number(place.state, "a", after=20) == 21
    assert run_files.create_run(place.state, "a", after=20) == 21

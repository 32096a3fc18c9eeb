"""The command `validate`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from connrunner.answers.validation import validate_workspace
from connrunner.cli.validate import as_text, excerpt, shown_prefix, validate_command
from connrunner.errors import ArgumentError, Problem, WorkspaceError
from tests.conftest import Place

SOUND = Path(__file__).parent / "cases" / "config" / "workspace"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = shutil.copytree(SOUND, tmp_path / "workspace")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def broken(folder: Path) -> Path:
    (folder / "connections/a.yaml").write_text('titel: "50%, a: b"\nschedule: {type: manual}\ncommand: {run: [x]}\n')
    (folder / "connections/b.yaml").write_text("schedule:\n\t- x\n")
    (folder / "schedules/c.yaml").write_text("type: hourly\n")
    return folder


def validate(*arguments: str) -> Result:
    return CliRunner().invoke(validate_command, arguments)


def test_a_sound_workspace(folder: Path) -> None:
    result = validate()
    assert (result.exit_code, result.output) == (0, "5 connections, 2 schedules: all sound\n")
    assert validate("connections", "schedules/nightly.yaml").output == "6 files: all sound\n"
    assert validate("connections/members.yaml").output == "1 file: all sound\n"


def test_text(broken: Path) -> None:
    result = validate()
    assert result.exit_code == 2
    assert result.output == (
        "connections/a.yaml:1:1: unknown key 'titel' in connection; did you mean 'title'?\n"
        '  | titel: "50%, a: b"\n'
        "  | ^\n"
        "connections/b.yaml:2:1: a tab where YAML needs spaces; indent with spaces\n"
        "  | \t- x\n"
        "  | ^\n"
        "schedules/c.yaml:1:7: unknown type of schedule: 'hourly'; known: any_of, cron, day_of_month, days_of_week, manual, rrule, "
        "times_per_day, weekday_of_month\n"
        "  | type: hourly\n"
        "  |       ^\n"
        "3 problems in 3 files\n"
    )


def test_one_problem(broken: Path) -> None:
    assert validate("schedules").output.endswith("\n1 problem in 1 file\n")


def test_json(broken: Path) -> None:
    result = validate("--format", "json")
    assert result.exit_code == 2
    problems = json.loads(result.output)
    assert problems[0] == {
        "path": "connections/a.yaml",
        "line": 1,
        "column": 1,
        "message": "unknown key 'titel' in connection",
        "hint": "did you mean 'title'?",
        "code": "unknown-key",
    }
    assert len(problems) == 3


def test_github(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (broken / "connections/a.yaml").write_text("lane: 50% a, b\n" + "schedule: {type: manual}\ncommand: {run: [x]}\n")
    (broken / "connections/a,b.yaml").write_text("")
    monkeypatch.chdir(broken.parent)
    result = validate("--format", "github", "--workspace", "workspace")
    assert result.exit_code == 2
    first, second, third, _ = result.output.splitlines()
    assert first.startswith(
        "::error file=workspace/connections/a%2Cb.yaml,line=1,col=1,title=bad-name::'a,b' cannot be"
    )
    assert second.startswith(
        "::error file=workspace/connections/a.yaml,line=1,col=7,title=bad-pattern::'50%25 a, b' is not a name; use"
    )
    place = "::error file=workspace/connections/b.yaml,line=2,col=1,title=syntax"
    assert third == f"{place}::a tab where YAML needs spaces; indent with spaces"


def test_sarif(broken: Path) -> None:
    result = validate("--format", "sarif")
    assert result.exit_code == 2
    log = json.loads(result.output)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["not-allowed-value", "syntax", "unknown-key"]
    for entry in run["results"]:
        assert run["tool"]["driver"]["rules"][entry["ruleIndex"]]["id"] == entry["ruleId"]
    assert run["results"][1]["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "connections/b.yaml"},
                "region": {"startLine": 2, "startColumn": 1},
            }
        }
    ]


@pytest.mark.parametrize(("output", "text"), [("json", "[]\n"), ("github", "")])
def test_programs_read_nothing_when_all_is_sound(folder: Path, output: str, text: str) -> None:
    result = validate("--format", output)
    assert (result.exit_code, result.output) == (0, text)
    assert json.loads(validate("--format", "sarif").output)["runs"][0]["results"] == []


def test_a_warning_in_each_form(folder: Path) -> None:
    (folder / "schedules").mkdir(exist_ok=True)
    (folder / "schedules/odd.yaml").write_text('type: cron\nexpression: "0 6 1-31 * 5"\n')
    words = "1-31 and 5 together mean every day, for either counts; write * instead of 1-31 to mean Friday only"

    text = validate()
    assert (text.exit_code, text.output.splitlines()[0]) == (0, f"schedules/odd.yaml:2:13: warning: {words}")
    assert text.output.endswith(": all sound, 1 warning\n")
    (problem,) = json.loads(validate("--format", "json").output)
    assert (problem["level"], problem["code"]) == ("warning", "doubtful-schedule")
    assert validate("--format", "github").output.startswith("::warning file=schedules/odd.yaml,line=2,col=13,")
    (result,) = json.loads(validate("--format", "sarif").output)["runs"][0]["results"]
    assert result["level"] == "warning"

    (folder / "schedules/broken.yaml").write_text("type: hourly\n")
    both = validate()
    assert (both.exit_code, both.output.splitlines()[-1]) == (2, "1 problem in 1 file, 1 warning")


PATHS = [
    # current folder       paths                                        problems in
    (".", [], ["connections/a.yaml", "connections/b.yaml", "schedules/c.yaml"]),
    (".", ["."], ["connections/a.yaml", "connections/b.yaml", "schedules/c.yaml"]),
    (".", ["connections"], ["connections/a.yaml", "connections/b.yaml"]),
    (".", ["connections/"], ["connections/a.yaml", "connections/b.yaml"]),
    (".", ["connections/b.yaml", "connrunner.yaml"], ["connections/b.yaml"]),
    (".", ["connections/members.yaml"], []),
    ("connections", ["a.yaml", "../schedules/c.yaml"], ["connections/a.yaml", "schedules/c.yaml"]),
    ("..", ["workspace/connections/b.yaml"], ["connections/b.yaml"]),
]


@pytest.mark.parametrize(("current", "paths", "found"), PATHS)
def test_paths_limit_what_is_shown(
    broken: Path, monkeypatch: pytest.MonkeyPatch, current: str, paths: list[str], found: list[str]
) -> None:
    monkeypatch.chdir(broken / current)
    problems = validate_workspace(broken, [Path(path) for path in paths])
    assert [problem.path for problem in problems] == found


def test_a_folder_is_not_a_prefix(broken: Path) -> None:
    (broken / "conn").mkdir()
    assert validate_workspace(broken, [Path("conn")]) == []


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere.yaml", "there is no file nowhere.yaml"), ("/etc/passwd", "not in the workspace"), ("..", "not in the")],
)
def test_a_path_that_cannot_be_meant(broken: Path, path: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        validate_workspace(broken, [Path(path)])


def test_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="connrunner init"):
        validate_workspace(tmp_path, [])


def test_a_broken_top_file_shows_the_problems_of_all(broken: Path) -> None:
    (broken / "connrunner.yaml").write_text("version: 2\n")
    assert len(validate_workspace(broken, [])) == 4
    assert [problem.path for problem in validate_workspace(broken, [Path("connrunner.yaml")])] == ["connrunner.yaml"]
    assert validate().exit_code == 2


@pytest.mark.parametrize(
    ("current", "prefix"), [(".", ""), ("..", "workspace/"), ("../..", None), ("connections", "{}/")]
)
def test_paths_can_be_clicked_on(folder: Path, current: str, prefix: str | None) -> None:
    shown = shown_prefix(folder, Path(current).resolve())
    expected = f"{folder.parent.name}/workspace/" if prefix is None else prefix.format(folder)
    assert shown == expected
    assert (Path(current) / f"{shown}connrunner.yaml").exists()


EXCERPTS = [
    ("abc", 1, ("abc", "^")),
    ("abc", 4, ("abc", "   ^")),
    ("\ta: x", 5, ("\ta: x", "\t   ^")),
    ("名: x", 4, ("名: x", "    ^")),
    ("e\u0301: x", 5, ("e\u0301: x", "   ^")),
]


@pytest.mark.parametrize(("source", "column", "shown"), EXCERPTS)
def test_the_caret_stands_under_its_column(source: str, column: int, shown: tuple[str, str]) -> None:
    assert excerpt(source, column) == shown


@pytest.mark.parametrize("column", [1, 75, 76, 200, 5000, 9_999])
def test_a_long_line_is_cut_around_its_column(column: int) -> None:
    source = "x" * (column - 1) + "!" + "y" * (10_000 - column)
    line, caret = excerpt(source, column)
    assert len(line) <= 110
    assert line[caret.index("^")] == "!"


def test_no_terminal_is_led_astray() -> None:
    problem = Problem(path="a\x1b[2J", line=1, column=1, message="m\x07", source="\x1b]0;x\x07")
    assert not set(as_text([problem], "", "end")) & set("\x1b\x07\x9b")


def test_names_of_files_that_are_no_text(folder: Path) -> None:
    with open(os.fsencode(folder / "connections") + b"/caf\xe9\n.yaml", "w"):  # noqa: PTH123 - a name in bytes
        pass
    result = validate()
    assert result.exit_code == 2
    assert "connections/caf\\udce9\\n.yaml:1:1: " in result.output


def test_a_broken_template_is_found(tmp_path: Path) -> None:
    (tmp_path / "connrunner.yaml").write_text("version: 1\n")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/run.txt.j2").write_text("fine\n{{ connection.titel }}\n")

    (problem,) = validate_workspace(tmp_path, [])

    assert (problem.path, problem.line) == ("templates/run.txt.j2", 2)
    assert "titel" in problem.message


COMMANDS = ["::add-mask::e", "##[add-mask]e", "x ##[add-mask]e", "##vso[task.setvariable variable=x]y", "  ::error::e"]


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.parametrize("form", ["text", "json", "sarif"])
def test_no_excerpt_is_a_command_to_a_runner(place: Place, words: str, form: str) -> None:
    place.write("connections/a.yaml", f"{json.dumps(words)}: 1\n{words}: {words}\n")
    out = place.run("validate", "--format", form, check=2).out
    assert not [line for line in out.splitlines() if line.strip().startswith("::")]
    assert not re.search(r"##\w*\[", out)
    if form == "json":
        assert json.loads(out)[0]["path"] == "connections/a.yaml"


def test_a_default_that_lacks_a_key_is_a_problem_and_no_bug(place: Place) -> None:
    place.command("hello", "pass")
    place.write("connrunner.yaml", "version: 1\ndefaults: {notify: [{to: [a@example.com]}]}\n")
    done = place.run("validate", check=2)
    assert "connrunner.yaml:2:" in done.out
    assert "`when`" in done.out


def test_a_workspace_that_no_tick_can_obey_for_want_of_a_commit_is_not_sound(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.write("connrunner.yaml", "version: 1\nsource: git\n")
    place.command("hello", "pass")
    place.run("validate", check=2)
    git = partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True)
    git(["git", "init", "-q", "."])
    said = place.run("validate", check=2)
    assert said.out.startswith(f"connrunner.yaml:2:9: ticks can obey no commit: {tmp_path} has no commit yet; `git ")
    assert (said.out.endswith("1 problem in 1 file\n"), said.err) == (True, "")
    (problem,) = json.loads(place.run("validate", "--format", "json", check=2).out)
    assert problem["code"] == "no-commit"
    assert place.run("validate", "connections", check=0).out == "1 file: all sound\n"
    # The hook of the first commit must let it pass.
    assert place.run("validate", env={"GIT_INDEX_FILE": ".git/index"}).out == "1 connection, 0 schedules: all sound\n"
    git(["git", "add", "."])
    git(["git", "-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-qm", "x"])
    assert place.run("validate").out == "1 connection, 0 schedules: all sound\n"


def test_a_commit_that_ticks_cannot_obey_is_told_when_the_folder_is_sound_already(tmp_path: Path) -> None:
    place = Place(tmp_path)
    git = partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True)
    git(["git", "init", "-q", "."])
    place.write("connrunner.yaml", "version: 1\nsource: git\ntimezone: Mars\n")
    git(["git", "add", "."])
    git(["git", "-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-qm", "x"])
    place.write("connrunner.yaml", "version: 1\nsource: git\n")
    said = place.run("validate")
    assert "all sound" in said.out
    assert said.err.startswith("ticks obey the commit, and cannot: connrunner.yaml:3:11: ")

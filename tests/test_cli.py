"""The command line: words for people, JSON for programs, one clear line for a mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from connrunner.answers.run_summary import describe_counts
from connrunner.cli import command_line as cli
from connrunner.cli import text
from connrunner.core import instant
from connrunner.core.counts import Counts
from connrunner.core.model import Outcome, Run
from connrunner.state import run_files
from tests.conftest import SETTINGS, Place
from tests.made import ended_run

README = Path(__file__).parent.parent / "README.md"
COMMANDS = [name for names in cli.GROUPS.values() for name in names]
AT = instant.parse("2026-11-22T06:00:00Z")


def typed(place: Place, *arguments: str) -> tuple[int, str, str]:
    """Type a command without a process of its own; return exit code, output and complaints."""
    import contextlib
    import io

    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(place.folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([*arguments])
    assert "bug" not in err.getvalue(), err.getvalue()
    return code, out.getvalue(), err.getvalue()


def ended(place: Place, name: str, number: int, **more: object) -> Run:
    facts = {
        "connection": name, "run": number, "outcome": Outcome.SUCCEEDED, "trigger": "schedule", "due_at": AT, "kind": "import",
        "queued_at": AT, "started_at": AT, "ended_at": AT, "seconds": 1.5, "counts": Counts(read=1200, checked=1200, created=1200),
    }  # fmt: skip
    run = ended_run(**{**facts, **more})
    place.state.run(name, number).mkdir(parents=True)
    run_files.append_history(place.state, run)
    return run


@pytest.fixture
def hello(place: Place) -> Place:
    place.command("hello", "print('hello')", schedule='{type: days_of_week, days: [monday], time: "06:00"}')
    return place


MISTAKES = [
    # typed                                  exit, what the complaint says
    (["rnus"],                               2, "there is no command 'rnus'; did you mean 'runs'?"),
    (["runs", "x*"],                         2, "no connection fits 'x*'; there are hello"),
    (["runs", "hello", "--since", "1y"],     2, "'1y' is neither a duration like 24h nor an instant"),
    (["runs", "helo"],                       2, "there is no connection 'helo'; did you mean 'hello'?"),
    (["run", "helo"],                        2, "did you mean 'hello'?"),
    (["next", "zzz"],                        2, "there is no connection 'zzz'; there are hello"),
    (["log", "hello"],                       2, "hello has not run yet; `connrunner run hello` runs it now"),
    (["rejects", "hello"],                   2, "hello has not run yet"),
    (["runs", "hello", "--since", "monday"], 2, "'monday' is neither a duration like 24h nor an instant"),
    (["runs", "hello", "--limit", "0"],      2, "0 is not in the range"),
    (["tick", "--now", "2026-11-22"],        2, "is no instant"),
    (["tick", "--workspace", "/nowhere"],    2, "/nowhere has no connrunner.yaml; make a workspace with `connrunner init /nowhere`"),
    (["status", "--format", "xml"],          2, "'xml' is not one of"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "complaint"), MISTAKES, ids=[" ".join(case[0]) for case in MISTAKES])
def test_a_mistake_is_one_clear_line(hello: Place, arguments: list[str], code: int, complaint: str) -> None:
    got, out, err = typed(hello, *arguments)

    assert (got, out) == (code, "")
    assert complaint in err


def test_outside_of_a_workspace(tmp_path: Path) -> None:
    code, _, err = typed(Place(tmp_path), "status")

    assert code == 2
    assert "make one with `connrunner init`" in err


def test_a_run_number_that_is_not_there(hello: Place) -> None:
    ended(hello, "hello", 3)

    code, _, err = typed(hello, "log", "hello", "7")

    assert (code, "hello has no run 7; its newest is 3" in err) == (2, True)


def test_a_broken_connection_is_not_run(hello: Place) -> None:
    hello.write("connections/broken.yaml", "schedul: x\n")

    code, _, err = typed(hello, "run", "broken")

    assert code == 2
    assert "connections/broken.yaml:1:1" in err
    assert "broken cannot be used until its file is fixed" in err


def test_one_that_is_switched_off_is_not_run(hello: Place) -> None:
    hello.command("off", "pass", more="enabled: false\n")

    code, _, err = typed(hello, "run", "off")

    assert (code, "off: it is switched off; set `enabled: true` in its file, or run it once with --force" in err) == (
        2,
        True,
    )


def test_a_workspace_that_cannot_be_used_shows_every_problem(hello: Place) -> None:
    hello.write("connrunner.yaml", "version: 1\ntimezone: Europe/Amsterdm\nmial: {}\n")

    code, _, err = typed(hello, "next")

    assert code == 2
    assert "connrunner.yaml:2:11: " in err
    assert "connrunner.yaml:3:1: " in err


def test_runs_are_shown_newest_first_headed_by_the_next(hello: Place) -> None:
    ended(hello, "hello", 1)
    ended(hello, "hello", 2, outcome=Outcome.FAILED, code="timeout", message="it took too long", missed=3)

    code, out, _ = typed(hello, "runs", "hello")
    lines = [line.split() for line in out.splitlines() if line[:6].strip()]

    assert (code, [line[0] for line in lines]) == (0, ["RUN", "Next", "2", "1"])
    assert "it took too long; 3 later slots were missed" in " ".join(out.split())
    assert "1,200 read, 1,200 created" in out
    assert "2026-11-22 07:00:00 +01:00" in out


def test_runs_in_json(hello: Place) -> None:
    for number in (1, 2, 3):
        ended(hello, "hello", number, ended_at=AT.replace(hour=number + 10))

    code, out, _ = typed(hello, "runs", "hello", "--format", "json", "--limit", "2")
    since = json.loads(typed(hello, "runs", "hello", "--format", "json", "--since", "2026-11-22T13:00:00Z")[1])

    runs = json.loads(out)
    assert (code, [run["run"] for run in runs], [run["run"] for run in since]) == (0, [3, 2], [3])
    assert set(runs[0]) >= {
        "connection", "run", "outcome", "trigger", "due_at", "queued_at", "started_at", "ended_at", "seconds", "counts",
        "message", "commit",
    }  # fmt: skip


def test_a_connection_whose_file_is_gone_keeps_its_history(hello: Place) -> None:
    ended(hello, "gone", 1)

    code, out, _ = typed(hello, "runs", "gone")

    assert (code, "it has no file any more" in out) == (0, True)


def test_rejects_are_listed_with_line_and_reason(hello: Place) -> None:
    ended(hello, "hello", 1)
    rejects = [
        {"line": n, "field": "age", "code": "wrong-type", "value": "t…n (3)", "message": "no integer"}
        for n in (2, 5, 9)
    ]
    rejects[1] |= {"key": "id=4…1 (4)"}
    hello.state.rejects("hello", 1).write_text("".join(json.dumps(reject) + "\n" for reject in rejects))

    _, out, _ = typed(hello, "rejects", "hello", "--limit", "2")
    _, saved, _ = typed(hello, "rejects", "hello", "--output", "rejects.jsonl")

    assert [" ".join(line.split()) for line in out.splitlines()][:3] == [
        "LINE KEY FIELD CODE VALUE WHY",
        "2 - age wrong-type t…n (3) no integer",
        "5 id=4…1 (4) age wrong-type t…n (3) no integer",
    ]
    assert out.splitlines()[3].startswith("and 1 more:")
    assert "rejects.jsonl" in saved
    assert len((hello.folder / "rejects.jsonl").read_text().splitlines()) == 3


def test_rejects_of_an_export_name_the_profile_by_its_number(hello: Place) -> None:
    ended(hello, "hello", 1)
    blocked = {"line": None, "key": "id=a…z (9)", "code": "no-consent", "message": "no consent to news", "profile": 47}
    hello.state.rejects("hello", 1).write_text(json.dumps(blocked) + "\n")
    _, out, _ = typed(hello, "rejects", "hello", "--code", "no-consent")
    _, head, row, hint = ["", *(" ".join(line.split()) for line in out.splitlines())]
    assert (head, row) == ("LINE KEY FIELD CODE VALUE WHY", "- 47 - no-consent - no consent to news")
    assert "connrunner profiles --id" in hint


def test_a_log_is_shown_clean_and_saved_whole(hello: Place) -> None:
    ended(hello, "hello", 1)
    event = {"at": "2026-11-22T06:00:00Z", "level": "info", "message": "red \x1b[31m alert \x07 \u2028 and \u202e"}
    hello.state.log("hello", 1).write_text(json.dumps(event) + "\n")

    _, out, _ = typed(hello, "log", "hello")
    typed(hello, "log", "hello", "1", "--output", "saved.jsonl")

    assert out == "2026-11-22 07:00:00 +01:00  info     red \ufffd[31m alert \ufffd \ufffd and \ufffd\n"
    assert json.loads((hello.folder / "saved.jsonl").read_text()) == event


def test_next_tells_what_the_next_tick_would_promise(hello: Place) -> None:
    _, out, _ = typed(hello, "next", "hello", "--count", "2", "--format", "json", "--now", "2026-11-22T12:00:00Z")
    _, words, _ = typed(hello, "next", "--now", "2026-11-22T12:00:00Z")

    assert json.loads(out) == [
        {
            "connection": "hello",
            "due_at": "2026-11-23T05:00:00Z",
            "local": "2026-11-23T06:00+01:00",
            "timezone": "Europe/Amsterdam",
            "usual": None,
        },
        {
            "connection": "hello",
            "due_at": "2026-11-30T05:00:00Z",
            "local": "2026-11-30T06:00+01:00",
            "timezone": "Europe/Amsterdam",
            "usual": None,
        },
    ]
    assert "Mon 2026-11-23 06:00 +01:00" in words


def test_next_tells_how_long_runs_usually_take(hello: Place) -> None:
    for number, seconds in enumerate((90.0, 100.0, 110.0), 1):
        ended(hello, "hello", number, seconds=seconds)
    ended(hello, "hello", 4, seconds=9999.0, outcome=Outcome.FAILED)

    _, out, _ = typed(hello, "next", "--format", "json", "--now", "2026-11-22T12:00:00Z")
    _, words, _ = typed(hello, "next", "--now", "2026-11-22T12:00:00Z")

    assert json.loads(out)[0]["usual"] == {"runs": 3, "median": 100.0, "p95": 110.0}
    assert " 1 min 40 s  " in words


def test_next_counts_slots_of_each_connection(hello: Place) -> None:
    hello.command("other", "pass", schedule='{type: cron, expression: "30 6 * * *"}')
    once = ("--now", "2026-11-22T12:00:00Z", "--format", "json")
    for arguments, many in (((), 1), (("--count", "3"), 3), (("hello",), 5), (("hello", "--count", "3"), 3)):
        _, out, _ = typed(hello, "next", *arguments, *once)
        names = [slot["connection"] for slot in json.loads(out)]
        assert {name: names.count(name) for name in names} == dict.fromkeys(
            ["hello"] if "hello" in arguments else ["hello", "other"], many
        )
    _, words, _ = typed(hello, "next", "--count", "3", "--now", "2026-11-22T12:00:00Z")
    assert words.count("at 06:30 every day") == 3


BLACKOUT = "blackout:\n  - {dates: [12-25], reason: Christmas}\n"


def test_a_blackout_of_the_workspace_is_said_once(hello: Place) -> None:
    own = "schedule: {type: cron, expression: '0 6 * * *', blackout: [{days: [sunday], reason: backup}]}"
    hello.write("connrunner.yaml", SETTINGS + BLACKOUT)
    hello.write("connections/other.yaml", f"{own}\ncommand: {{run: [x]}}\n")
    hello.command("third", "pass", schedule="{type: times_per_day, times: 2}")
    now = ("--now", "2026-11-22T12:00:00Z")

    _, words, _ = typed(hello, "next", *now)
    assert words.count("Christmas") == 1
    assert words.splitlines()[-1] == "blackouts of the workspace: Christmas (12-25)"
    assert "(Europe/Amsterdam), except backup (Sunday)" in words

    _, words, _ = typed(hello, "explain", "other", *now)
    assert words.count("Christmas") == 1
    _, out, _ = typed(hello, "explain", "other", "--format", "json", *now)
    assert "except backup (Sunday), Christmas (12-25)" in json.loads(out)["schedule"]


def test_status_before_the_first_tick(hello: Place) -> None:
    code, out, _ = typed(hello, "status")

    assert (code, out) == (0, "no tick yet: `connrunner tick` does one; cron or a timer calls it every minute\n")


# --- what every command has in common ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_what_it_does(name: str) -> None:
    command = cli.commands.get_command(click.Context(cli.commands), name)
    assert command is not None
    done = CliRunner().invoke(cli.commands, [name, "--help"])

    assert done.exit_code == 0
    assert (command.help or "").split("\n")[0].endswith((".", "…", ":")) or len(
        (command.help or "").split("\n\n")[0]
    ) > 30
    assert f"`{name}" in README.read_text(), f"the README does not name `{name}`"
    assert all(getattr(option, "help", "") for option in command.params if isinstance(option, click.Option))


def test_help_lists_the_commands_by_what_people_want() -> None:
    out = CliRunner().invoke(cli.commands, ["--help"]).output

    assert [line for line in out.splitlines() if line in ("Begin:", "Run:", "Look:")] == ["Begin:", "Run:", "Look:"]
    for name in COMMANDS:
        assert f"\n  {name} " in out


def test_the_list_says_the_first_sentence_of_each_command() -> None:
    context = click.Context(cli.commands)
    for sentences in cli.GROUPS.values():
        for name, sentence in sentences.items():
            command = cli.commands.get_command(context, name)
            assert command is not None
            assert command.get_short_help_str(1000) == sentence


# --- how things look ------------------------------------------------------------------------------------------------


def test_a_table_fits_by_wrapping_its_last_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "terminal_width", lambda: 40)

    lines = text.table(("Run", "Details"), [["1", "word " * 20], ["22", ""]], right={0}).splitlines()

    assert lines[0] == "RUN  DETAILS"
    assert lines[1].startswith("  1  word word")
    assert lines[2].startswith("     word")
    assert lines[-1] == " 22"
    assert max(map(len, lines)) <= 40


def test_a_cell_moves_no_cursor() -> None:
    assert text.table(("A", "B"), [["x\x1b[2J", "y\nz\r\x9b"]]).splitlines()[1] == "x\ufffd[2J  y z\ufffd\ufffd"


def test_counters_name_what_is_not_zero() -> None:
    assert describe_counts(Counts(read=1200, skipped=200, checked=1000, created=990, consent_blocked=10)) == (
        "1,200 read, 200 skipped, 1,000 checked, 990 created, 10 consent blocked"
    )
    assert describe_counts(Counts(read=3, checked=3, created=3)) == "3 read, 3 created"
    assert describe_counts(Counts()) == ""


# Each cell, and how many columns of a terminal it takes.
WIDTHS = [
    ("plain", 5),
    ("漢字", 4),
    ("ﾊﾝｶｸ", 4),  # half-width katakana
    ("👍", 2),
    ("👩🏽", 2),  # with a colour of skin
    ("🇳🇱", 2),  # a flag: two letters that are one sign
    ("e\u0301", 1),  # an accent of its own
    ("नमस्ते", 4),
    ("สวัสดี", 4),  # vowels above the letters
    ("☃\ufe0f", 2),  # drawn as an emoji
    ("", 0),
]


@pytest.mark.parametrize(("cell", "width"), WIDTHS, ids=[ascii(cell) for cell, _ in WIDTHS])
def test_columns_line_up_behind_wide_characters(cell: str, width: int) -> None:
    first, second = text.table(("A", "B"), [[cell, "x"]]).splitlines()

    assert text.display_width(cell) == width
    assert first == "A".ljust(max(width, 1)) + "  B"
    assert second == cell + " " * max(1 - width, 0) + "  x"


def test_a_column_that_is_set_to_the_right_counts_columns() -> None:
    lines = text.table(("Rows", "B"), [["漢", "x"], ["1,200", "y"]], right={0}).splitlines()

    assert lines == [" ROWS  B", "   漢  x", "1,200  y"]


# A text for the last column, which has 24 columns, and its lines.
WRAPPED = [
    ("漢字漢字漢字漢字漢字漢字漢字", ["漢字漢字漢字漢字漢字漢字", "漢字"]),
    ("カード番号 1234 は 使えません のです", ["カード番号 1234 は", "使えません のです"]),
    ("e\u0301" * 24 + " f", ["e\u0301" * 24, "f"]),
    ("👍" * 13, ["👍" * 12, "👍"]),
    ("well-known-things-are-not broken", ["well-known-things-are-not"[:24], "t broken"]),
]


@pytest.mark.parametrize(("words", "lines"), WRAPPED, ids=[ascii(words)[:20] for words, _ in WRAPPED])
def test_the_last_column_wraps_by_columns(words: str, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "terminal_width", lambda: 10)

    _, *found = text.table(("A", "B"), [["x", words]]).splitlines()

    assert found == [f"x  {lines[0]}", *(f"   {line}" for line in lines[1:])]
    assert all(text.display_width(line) <= 3 + text.NARROWEST for line in found)


def test_a_table_of_ascii_does_not_load_the_widths_of_the_others() -> None:
    code = "import sys; from connrunner.cli import text; text.table(('A',), [['x y']]); print('wcwidth' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"

"""`plan`: the same answer for files, commits and folders; changes, slots, waits; one clear line for a mistake."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies

from connrunner.answers import used_files
from connrunner.answers.plan_words import describe_difference, differing_parts
from connrunner.config.versions.trail import Followed, WorkspaceFiles, follow
from connrunner.core.planning.changes import KeyDifference
from tests.conftest import SETTINGS, Place
from tests.test_cli import ended, typed

NOW = ("--now", "2026-11-22T07:00:00Z")
MONDAYS = '{type: days_of_week, days: [monday], time: "06:00"}'
AUTHOR = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_AUTHOR_NAME": "Jane", "GIT_AUTHOR_EMAIL": "j@example.com",
          "GIT_COMMITTER_NAME": "Jane", "GIT_COMMITTER_EMAIL": "j@example.com"}  # fmt: skip


def git(place: Place, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(place.folder), *words], check=True, capture_output=True, env={**os.environ, **AUTHOR}
    )
    return done.stdout.decode().strip()


def commit(place: Place, subject: str = "Change") -> str:
    git(place, "add", "--all")
    git(place, "commit", "--quiet", "--allow-empty", "--message", subject)
    return git(place, "rev-parse", "HEAD")


@pytest.fixture
def repository(place: Place) -> Place:
    """A repository with two connections and one commit."""
    place.write(".gitignore", ".connrunner\n")
    place.command("hello", "pass", schedule=MONDAYS)
    place.command("other", "pass", schedule="{type: times_per_day, times: 2}")
    git(place, "init", "--quiet", "--initial-branch", "main")
    commit(place, "Begin")
    return place


def planned(place: Place, *arguments: str, code: int = 2) -> dict[str, Any]:
    got, out, err = typed(place, "plan", *arguments, *NOW, "--format", "json")
    assert got == code, (got, out, err)
    result: dict[str, Any] = json.loads(out)
    return result


def change(place: Place) -> None:
    place.command("hello", "pass", schedule=MONDAYS.replace("06:00", "07:30"), more="timeout: 1h\n")
    place.command("new", "pass", schedule=MONDAYS)
    (place.folder / "connections/other.yaml").unlink()


def test_a_blackout_of_the_workspace_is_said_once(repository: Place) -> None:
    def blackout(reason: str) -> str:
        return f"{SETTINGS}blackout:\n  - {{dates: [12-25], reason: {reason}}}\n"

    repository.write("connrunner.yaml", blackout("Christmas"))
    commit(repository)
    repository.command("hello", "pass", schedule=MONDAYS.replace("06:00", "07:30"))
    repository.command("new", "pass", schedule=MONDAYS)
    for form in ("text", "markdown"):
        _, words, _ = typed(repository, "plan", *NOW, "--format", form)
        assert words.count("Christmas") == 1
        assert "blackouts of the workspace: Christmas (12-25)" in words.replace("\\", "")

    repository.write("connrunner.yaml", blackout("Noel"))
    _, words, _ = typed(repository, "plan", *NOW)
    assert "other  schedule: other blackouts of the workspace" in words
    assert "blackouts of the workspace: Christmas (12-25) -> Noel (12-25)" in words
    repository.write("connrunner.yaml", SETTINGS)
    _, words, _ = typed(repository, "plan", *NOW)
    assert "blackouts of the workspace: Christmas (12-25) -> none" in words


def test_files_commits_and_folders_give_the_same_answer(repository: Place, tmp_path: Path) -> None:
    shutil.copytree(repository.folder, tmp_path / "before")
    first = git(repository, "rev-parse", "HEAD")
    change(repository)

    files = planned(repository)
    folders = planned(repository, "--base", str(tmp_path / "before"))
    second = commit(repository)
    commits = planned(repository, f"{first}..{second}")

    sources = [(found.pop("base"), found.pop("head")) for found in (files, folders, commits)]
    assert files == folders == commits
    assert sources == [
        (f"commit {first[:12]}", "files"),
        (str(tmp_path / "before"), "files"),
        (f"commit {first[:12]}", f"commit {second[:12]}"),
    ]
    assert planned(repository, code=0)["changed"] is False


def test_what_becomes_of_each_connection(repository: Place) -> None:
    change(repository)

    found = planned(repository)
    hello, new, other = found["connections"]

    page = (Path(__file__).parent.parent / "docs" / "operating.md").read_text()
    assert [
        key for part in (found, hello, hello["slots"], found["lanes"][0]) for key in part if f"`{key}`" not in page
    ] == []
    assert (hello["connection"], hello["change"], new["change"], other["change"]) == (
        "hello",
        "changed",
        "added",
        "removed",
    )
    assert {"key": "schedule.time", "before": "06:00", "after": "07:30"} in hello["keys"]
    assert {"key": "timeout", "before": "6h", "after": "1h"} in hello["keys"]
    assert hello["slots"]["moved"] == [{"from": "2026-11-23T05:00:00Z", "to": "2026-11-23T06:30:00Z"}]
    assert new["slots"]["added"] == ["2026-11-23T05:00:00Z"]
    assert other["slots"]["before"] == len(other["slots"]["removed"]) == 15


def test_switching_breaking_and_mending(repository: Place) -> None:
    repository.command("hello", "pass", schedule=MONDAYS, more="enabled: false\n")
    repository.write("connections/other.yaml", "schedul: x\n")

    found = planned(repository)
    back = planned(repository, f"{commit(repository)}..{git(repository, 'rev-parse', 'HEAD~1')}")

    assert [(one["connection"], one["change"]) for one in found["connections"]] == [
        ("hello", "switched-off"),
        ("other", "broken"),
    ]
    assert found["problems"][0]["path"] == "connections/other.yaml"
    assert [one["change"] for one in back["connections"]] == ["switched-on", "mended"]


def test_a_day_too_full_is_told_from_recorded_run_times(repository: Place) -> None:
    for number in range(1, 21):
        ended(repository, "hello", number, seconds=74 * 60.0)
    repository.command("new", "pass", schedule=MONDAYS)
    repository.command("hello", "pass", schedule="{type: times_per_day, times: 24}", more="timeout: 1h\n")

    found = planned(repository)
    _, text, _ = typed(repository, "plan", *NOW)

    codes = {one["code"]: one for one in found["warnings"]}
    tight = codes["schedule-shorter-than-run"]
    assert (tight["subject"], tight["gap_seconds"], tight["p95_seconds"]) == ("hello", 3600, 4440)
    assert (tight["path"], tight["line"]) == ("connections/hello.yaml", 1)
    assert codes["day-does-not-fit"]["merged"] > 0
    assert (codes["timeout-shorter-than-run"]["timeout_seconds"], codes["timeout-shorter-than-run"]["line"]) == (
        3600,
        3,
    )
    assert "gap 60 min, p95 74 min" in text
    assert "has more work than fits on 6 days" in text
    assert "a guess of 5m (--guess) for new, other" in text
    assert found["guessed"] == ["new", "other"]


def test_run_times_come_from_a_file_where_there_is_no_state(repository: Place) -> None:
    usual = {"runs": 9, "median": 3000, "p95": 4440.0}
    repository.write(
        "usual.json", json.dumps([{"connection": "hello", "usual": usual}, {"connection": "other", "usual": None}])
    )
    repository.command("hello", "pass", schedule="{type: times_per_day, times: 24}")

    found = planned(repository, "--durations", "usual.json")

    assert [one["p95_seconds"] for one in found["warnings"] if one["subject"] == "hello"] == [4440.0]
    assert found["guessed"] == ["other"]


def test_markdown_shows_values_as_they_are(repository: Place) -> None:
    repository.command("hello", "pass", schedule=MONDAYS, more="title: '<b>|`x`'\n")

    _, out, _ = typed(repository, "plan", *NOW, "--format", "markdown")

    assert out.startswith("### connrunner plan\n")
    assert "| ~ | `hello` | title: hello -&gt; &lt;b&gt;\\|\\`x\\` |" in out


def test_what_connections_share(repository: Place) -> None:
    repository.write(
        "connrunner.yaml",
        "version: 1\ntimezone: Europe/Amsterdam\nmail: {server: 'smtp://m.example.com', username: u, password: 'env:P'}\n",
    )

    found = planned(repository)

    assert {"key": "mail.password", "before": None, "after": "env:P"} in found["around"]
    assert found["connections"] == []


def test_three_dots_are_what_head_changed_since_both_parted(repository: Place) -> None:
    git(repository, "checkout", "--quiet", "-b", "feature")
    repository.command("new", "pass", schedule=MONDAYS)
    commit(repository)
    git(repository, "checkout", "--quiet", "main")
    repository.command("elsewhere", "pass", schedule=MONDAYS)
    commit(repository)

    assert [one["connection"] for one in planned(repository, "main...feature")["connections"]] == ["new"]
    assert [one["connection"] for one in planned(repository, "main..feature")["connections"]] == ["elsewhere", "new"]


def test_a_workspace_below_the_top_of_its_repository(place: Place, tmp_path: Path) -> None:
    top = Place(tmp_path)
    place.command("hello", "pass", schedule=MONDAYS)
    git(top, "init", "--quiet")
    commit(top)
    place.command("hello", "pass", schedule=MONDAYS, more="title: Hi\n")

    assert planned(place)["connections"][0]["keys"] == [{"key": "title", "before": "hello", "after": "Hi"}]


MISTAKES = [
    (["mian"],                          "there is no commit 'mian'; did you mean 'main'?"),
    (["HEAD~7..HEAD"],                  "there is no commit 'HEAD~7'"),
    (["--upload-pack=x"],               "No such option"),
    (["HEAD", "--base", "x"],           "leave one of them out"),
    (["--base", "nowhere"],             "there is no folder nowhere"),
    (["--base", "connections"],         "connections has no connrunner.yaml; name the folder that holds it"),
    (["--days", "0"],                   "0 is not in the range"),
    (["--guess", "soon"],               "--guess takes a duration such as 90s, 5m or 2h, not 'soon'"),
    (["--durations", "nothing.json"],   "nothing.json cannot be read"),
    (["--durations", "profile.yaml"],   "profile.yaml is no list of coming runs"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "complaint"), MISTAKES, ids=[" ".join(case[0]) for case in MISTAKES])
def test_a_mistake_is_one_line_and_never_looks_like_a_change(
    repository: Place, arguments: list[str], complaint: str
) -> None:
    code, out, err = typed(repository, "plan", *arguments)

    assert (code, out) == (1, "")
    assert complaint in err


def test_outside_of_a_repository_and_before_its_first_workspace(place: Place) -> None:
    assert "is in no git repository; compare with a folder: --base DIR" in typed(place, "plan")[2]

    git(place, "init", "--quiet")
    place.write(".gitignore", "*\n")
    commit(place)
    code, _, err = typed(place, "plan")

    assert (code, "has no workspace at its top; name a commit that has" in err) == (1, True)


def test_a_state_of_a_newer_version(repository: Place) -> None:
    repository.state.prepare()
    repository.state.journal.write_text('{"v": 99}\n')

    code, _, err = typed(repository, "plan")

    assert (code, "a newer connrunner wrote the record" in err, len(err.splitlines())) == (1, True, 1)


def test_the_commit_is_read_as_it_is(repository: Place, tmp_path: Path) -> None:
    """A link that leads out of the workspace is not followed, and no filter of the repository has a say."""
    (tmp_path / "secret.yaml").write_text("schedule: {type: manual}\ncommand: {run: [echo]}\n")
    (repository.folder / "connections/leads-out.yaml").symlink_to(tmp_path / "secret.yaml")
    repository.write(".gitattributes", "*.yaml filter=evil\n")
    git(repository, "config", "filter.evil.smudge", "touch /tmp/evil; cat")
    git(repository, "config", "filter.evil.clean", "cat")
    commit(repository)

    found = planned(repository, "HEAD~1..HEAD")

    assert [(one["connection"], one["change"]) for one in found["connections"]] == [("leads-out", "broken")]


# --- what decides what runs --------------------------------------------------------------------------------------

LONG = "true; " + "x" * 240 + "; echo {}; " + "y" * 260


@pytest.mark.parametrize("key", ["command", "description", "env"])
def test_a_long_value_is_shown_where_it_differs(repository: Place, key: str) -> None:
    def write(word: str) -> None:
        text = json.dumps(LONG.format(word))
        work = {
            "command": f"command: {{run: {text}, shell: true}}",
            "env": f"command: {{run: [x], env: {{A: {text}}}}}",
        }
        more = work.get(key, f"description: {text}\ncommand: {{run: [x]}}")
        repository.write("connections/hello.yaml", f"schedule: {MONDAYS}\n{more}\n")

    write("old")
    commit(repository)
    write("new")

    _, text, _ = typed(repository, "plan", *NOW)
    _, markdown, _ = typed(repository, "plan", *NOW, "--format", "markdown")

    assert "echo old; " in text
    assert "echo new; " in text
    assert text.count("x" * 60) == 0, "the rest is not shown"
    assert "echo new; " in markdown
    (found,) = planned(repository)["connections"]
    assert LONG.format("new") in [entry["after"] for entry in found["keys"]]


PAIRS = [
    ("a" * 300 + "1" + "b" * 300, "a" * 300 + "2" + "b" * 300, ["1", "2"]),
    ("1" + "a " * 300 + "1", "2" + "a " * 300 + "3", ["1", "2", "3"]),
    ("a" * 300, "a" * 300 + "; evil", ["; evil"]),
    ("a" * 300 + "; evil", "a" * 300, ["; evil"]),
    ("a b " * 2000 + "end", "c d " * 2000 + "; evil", ["; evil"]),
    (" " * 100 + "x", " " * 101 + "x", ["x"]),
]


@pytest.mark.parametrize(("before", "after", "shown"), PAIRS)
def test_what_differs_is_shown_and_little_else(before: str, after: str, shown: list[str]) -> None:
    words = describe_difference(KeyDifference(key="k", before=before, after=after))
    assert [word for word in shown if word not in words] == []
    assert len(words) < 2000
    assert words.partition(": ")[2].partition(" -> ")[0] != words.partition(" -> ")[2]


@given(strategies.text("ab ;", max_size=400), strategies.text("ab ;", max_size=400))
def test_every_difference_is_among_the_parts(before: str, after: str) -> None:
    parts = differing_parts(before, after)
    assert before == after or any(old != new for old, new in parts)
    assert all(old.strip(".") in before and new.strip(".") in after for old, new in parts)


USES: dict[str, tuple[str, str]] = {
    "an argument": ("command: {run: [python3, jobs/x.py]}", "jobs/x.py"),
    "an argument from here": ("command: {run: [./jobs/x.py]}", "jobs/x.py"),
    "a whole path": ("command: {run: [python3, /srv/ws/jobs/x.py]}", "jobs/x.py"),
    "an option": ('command: {run: [x, "--config=conf/x.toml"]}', "conf/x.toml"),
    "a module": ("command: {run: [python3, -m, jobs.x]}", "jobs/x.py"),
    "a folder with a program": ("command: {run: [python3, jobs]}", "jobs/__main__.py"),
    "a name with a blank": ('command: {run: [sh, "my job.sh"]}', "my job.sh"),
    "another folder": ("command: {run: [./x.sh], folder: jobs}", "jobs/x.sh"),
    "the words of a shell": ('command: {run: "cd /tmp && $PWD/jobs/x.sh | tee y", shell: true}', "jobs/x.sh"),
    "a shell that goes there": ('command: {run: "cd jobs && ./x.sh", shell: true}', "jobs/x.sh"),
    "a quoted word of a shell": ("command: {run: \"sh 'my job.sh'\", shell: true}", "my job.sh"),
    "a shell as a list": ('command: {run: [sh, -c, "jobs/x.sh && true"]}', "jobs/x.sh"),
    "the environment": ("command: {run: [x], env: {CONFIG: conf/x.toml}}", "conf/x.toml"),
    "a manifest": ("import: {from: {type: airbyte, package: 'airbyte-cdk==6.1.0', manifest: m/x.yaml, stream: a}, match: [id], fields: {id: id}}", "m/x.yaml"),
    "a catalog": ("import: {from: {type: singer, package: 'tap-x==1.0.0', stream: a, catalog: c/x.json}, match: [id], fields: {id: id}}", "c/x.json"),
    "host keys": ("import: {from: {type: sftp, host: h.example.com, username: u, key: 'file:/k', known_hosts: ssh/known, path: x}, match: [id], fields: {id: id}}", "ssh/known"),
    "an authority": ("import: {from: {type: sql, url: 'postgresql://u@h.example.com/x?sslmode=verify-full&sslrootcert=ca/x.pem', table: t}, match: [id], fields: {id: id}}", "ca/x.pem"),
    "a template": ("command: {run: [x]}", "templates/run.txt.j2"),
    "a part of a template": ("command: {run: [x]}", "templates/parts/more.j2"),
}  # fmt: skip


# Files that a used file uses: what stands where, and the one that changes.
CALLS: dict[str, tuple[str, dict[str, str], str]] = {
    "a module": ("[python3, jobs/x.py]", {"jobs/x.py": "import os, lib\n"}, "jobs/lib.py"),
    "a name of a package": ("[python3, jobs/x.py]", {"jobs/x.py": "from pkg.a import (\n    b,\n)\n"}, "jobs/pkg/a/b.py"),
    "a package itself": ("[python3, jobs/x.py]", {"jobs/x.py": "import pkg.a\n"}, "jobs/pkg/__init__.py"),
    "a relative module": ("[python3, -m, jobs.x]", {"jobs/x.py": "from ..shared import a\n"}, "shared/a.py"),
    "at second hand": ("[python3, x.py]", {"x.py": "import a\n", "a.py": "import b\n", "b.py": "import c\n"}, "c.py"),
    "a sourced file": ("[sh, jobs/x.sh]", {"jobs/x.sh": ". ./lib.sh\n"}, "jobs/lib.sh"),
    "a sourced file beside it": ("[sh, jobs/x.sh]", {"jobs/x.sh": '. "${0%/*}/lib.sh"\n'}, "jobs/lib.sh"),
    "a sourced file of the top": ("[sh, jobs/x.sh]", {"jobs/x.sh": '. "$TOP/lib/a.sh"\n'}, "lib/a.sh"),
    "a file that it reads": ("[python3, x.py]", {"x.py": "open('conf/a.toml')\n"}, "conf/a.toml"),
    "JavaScript": ("[node, jobs/x.js]", {"jobs/x.js": "const a = require('./a')\n"}, "jobs/a.js"),
    "Ruby": ("[ruby, x.rb]", {"x.rb": 'require_relative "lib/a"\n'}, "lib/a.rb"),
    "make": ("[make, load]", {}, "Makefile"),
    "what make includes": ("[make, -C, jobs]", {"jobs/Makefile": "include rules.mk\n"}, "jobs/rules.mk"),
    "a folder that is named": ("[run-parts, jobs]", {}, "jobs/10-load"),
    "what a shell goes through": ('"for f in sql/*.sql; do cat $f; done", shell: true', {}, "sql/a.sql"),
    "what a program goes through": ("[sh, x.sh]", {"x.sh": "cat sql/*.sql\n"}, "sql/deep/a.sql"),
    "a folder that it runs in": ("[dbt, run], folder: warehouse", {}, "warehouse/models/a.sql"),
    "a folder by its program": ("[dbt, run]", {}, "models/a.sql"),
    "behind a link": ("[python3, x.py]", {"jobs/y.py": "import lib\n", "x.py": "-> jobs/y.py"}, "jobs/lib.py"),
    "a lock": ("[x]", {}, "locks/tap-x.txt"),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_what_a_program_uses_is_shown(make_place: Callable[[str], Place], call: str) -> None:
    run, files, path = CALLS[call]
    before, after = make_place("before"), make_place("after")
    for place, text in ((before, "one\n"), (after, "two\n")):
        place.write("connections/hello.yaml", f"schedule: {MONDAYS}\ncommand: {{run: {run}}}\n")
        for name, content in files.items():
            target = content.removeprefix("-> ")
            if target == content:
                place.write(name, content)
            else:
                (place.folder / name).symlink_to(target)
        for name in (path, "README.md", "jobs/data.csv", "other/x.py"):
            place.write(name, text)
    assert planned(after, "--base", str(before.folder))["files"] == [{"path": path, "change": "changed"}]


def test_what_a_program_uses_in_commits(repository: Place) -> None:
    repository.write("connections/hello.yaml", f"schedule: {MONDAYS}\ncommand: {{run: [python3, jobs/x.py]}}\n")
    repository.write("jobs/x.py", "import lib\n")
    first = commit(repository)
    repository.write("jobs/lib.py", "one\n")
    second = commit(repository)
    repository.write("jobs/lib.py", "two\n")
    third = commit(repository)
    for versions, change in (
        (f"{first}..{second}", "added"),
        (f"{second}..{third}", "changed"),
        (f"{third}..{first}", "removed"),
    ):
        assert planned(repository, versions)["files"] == [{"path": "jobs/lib.py", "change": change}]


def test_the_search_for_files_has_a_bound(repository: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a branch writes into a program; what the base uses is known all the same."""
    repository.write("connections/hello.yaml", f"schedule: {MONDAYS}\ncommand: {{run: [python3, jobs/x.py]}}\n")
    repository.write("jobs/x.py", "import a\n")
    repository.write("jobs/a.py", "one\n")
    commit(repository)
    repository.write("jobs/x.py", "\n".join([*(f"import b{number}" for number in range(3_000)), "import a"]))
    repository.write("jobs/a.py", "two\n")
    looked: list[str] = []

    def counting(files: WorkspaceFiles, path: str) -> Followed:
        looked.append(path)
        return follow(files, path)

    monkeypatch.setattr(used_files, "follow", counting)
    monkeypatch.setattr(used_files, "MOST_LOOKED", 200)
    assert [one["path"] for one in planned(repository)["files"]] == ["jobs/a.py", "jobs/x.py"]
    assert len(looked) <= 400


QUICK_USES = ("an argument", "a shell that goes there", "an authority", "a part of a template")


@pytest.mark.parametrize(
    "use", [pytest.param(use, marks=() if use in QUICK_USES else pytest.mark.thorough) for use in USES]
)
def test_what_decides_what_runs_is_shown(repository: Place, tmp_path: Path, use: str) -> None:
    work, path = USES[use]
    repository.write("connections/hello.yaml", f"schedule: {MONDAYS}\n{work}\n")
    repository.write(path, "one\n")
    repository.write("README.md", "one\n")
    repository.write("in/x.csv", "one\n")
    first = commit(repository)
    shutil.copytree(repository.folder, tmp_path / "before", ignore=shutil.ignore_patterns(".git"))
    assert planned(repository, code=0)["files"] == []
    repository.write("README.md", "two\n")
    repository.write("in/x.csv", "two\n")
    assert planned(repository, code=0)["files"] == []

    repository.write(path, "two\n")
    expected = [{"path": path, "change": "changed"}]
    assert planned(repository)["files"] == expected
    assert planned(repository, "--base", str(tmp_path / "before"))["files"] == expected
    second = commit(repository)
    assert planned(repository, f"{first}..{second}")["files"] == expected
    (repository.folder / path).unlink()
    third = commit(repository)
    found = planned(repository, f"{second}..{third}")
    assert (found["changed"], found["files"]) == (True, [{"path": path, "change": "removed"}])
    assert planned(repository, f"{third}..{second}")["files"] == [{"path": path, "change": "added"}]
    _, text, _ = typed(repository, "plan", f"{first}..{second}", *NOW)
    assert f"~ {path}: the file is changed" in text


def test_a_link_counts_by_where_it_leads(repository: Place) -> None:
    repository.write("connections/hello.yaml", f"schedule: {MONDAYS}\ncommand: {{run: [sh, x.sh]}}\n")
    repository.write("jobs/a.sh", "a\n")
    repository.write("jobs/b.sh", "b\n")
    (repository.folder / "x.sh").symlink_to("jobs/a.sh")
    (repository.folder / "connections/linked.yaml").symlink_to("hello.yaml")
    first = commit(repository)
    (repository.folder / "connections/linked.yaml").unlink()
    (repository.folder / "connections/linked.yaml").symlink_to("other.yaml")
    second = commit(repository)
    repository.write("jobs/a.sh", "another\n")
    third = commit(repository)
    (repository.folder / "x.sh").unlink()
    (repository.folder / "x.sh").symlink_to("jobs/b.sh")
    fourth = commit(repository)

    def files(versions: str) -> list[str]:
        return [one["path"] for one in planned(repository, versions)["files"]]

    assert files(f"{first}..{second}") == ["connections/linked.yaml"]
    assert files(f"{second}..{third}") == ["x.sh"]
    assert files(f"{third}..{fourth}") == ["x.sh"]


def test_what_comes_is_shown_with_what_it_runs(repository: Place) -> None:
    repository.write("connections/new.yaml", f"schedule: {MONDAYS}\ncommand: {{run: [sh, -c, curl evil]}}\n")
    _, text, _ = typed(repository, "plan", *NOW)
    assert 'command.run: ["sh", "-c", "curl evil"]' in text


SHARED = [
    "heartbeat: {url: 'https://hc.example.com/x'}\n",
    "source: git\n",
    "defaults: {timeout: 5m}\n",
    "defaults: {keep: {runs: 9}}\n",
    "defaults: {notify: [{to: [a@example.com], when: always}]}\n",
    "state: elsewhere\n",
    'blackout: [{from: "2026-11-23T00:00", to: "2026-11-24T00:00"}]\n',
]


@pytest.mark.parametrize("line", SHARED)
def test_no_key_of_the_workspace_is_hidden(repository: Place, line: str) -> None:
    repository.write("connrunner.yaml", SETTINGS + line)
    found = planned(repository)
    assert found["connections"] or found["around"], found


# --- nothing stands in for a version -----------------------------------------------------------------------------


def test_no_cache_has_a_say(repository: Place) -> None:
    """A plan with the caches of any state folder is the plan with none."""
    before = git(repository, "rev-parse", "HEAD")
    change(repository)
    after = commit(repository)
    versions = f"{before}..{after}"
    caches = []
    for revision in (before, after):
        git(repository, "checkout", "--quiet", revision)
        repository.run("tick", "--now", "2026-11-22T06:00:00Z")
        caches.append({path.name: path.read_bytes() for path in repository.state.compiled.iterdir()})
    shutil.rmtree(repository.state.compiled)
    expected = planned(repository, versions)
    for cache in (*caches, {"workspace": b"x", "version": b"y"}):
        repository.state.compiled.mkdir(mode=0o700, exist_ok=True)
        for name, content in cache.items():
            (repository.state.compiled / name).write_bytes(content)
        assert planned(repository, versions) == expected


@pytest.mark.parametrize("how", ["git", "folder"])
def test_a_version_that_is_asked_for_is_never_an_older_one(
    repository: Place, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("connrunner.yaml", SETTINGS + f"source: {how}\n")
    commit(repository)
    repository.run("tick", "--now", "2026-11-22T06:00:00Z")
    monkeypatch.setattr("connrunner.config.versions.version.FolderVersion.is_whole", lambda _: False)
    monkeypatch.setattr("connrunner.config.load.TRIES", (0, 0))
    repository.command("hello", "pass", schedule=MONDAYS, more="title: Changed\n")

    for words in (["plan"], ["plan", "--base", "."]):
        code, out, err = typed(repository, *words)
        assert (code, out, "change while they are read" in err) == (1, "", True)
    assert typed(repository, "validate")[0] != 0


# --- what forges obey in a comment -------------------------------------------------------------------------------

HOSTILE_TITLES = [
    "@example-org/admins", "a@example.com", "https://evil.example", "www.evil.example", "WWW.evil.example", "#12", "x/y#12", "GH-12",
    "&#64;example-org", "<img src=x>", "[a](https://evil.example)", "![a](x)", "~~x~~", "$a$", ":warning:", "**x**", "`@x`", "| x |", "a<br>b",
]  # fmt: skip


@pytest.mark.parametrize(
    "title",
    [pytest.param(title, marks=pytest.mark.thorough if at % 3 else ()) for at, title in enumerate(HOSTILE_TITLES)],
)
def test_markdown_mentions_and_links_nobody(repository: Place, title: str) -> None:
    quoted = json.dumps(title)
    repository.write(
        "connections/hello.yaml",
        f"title: {quoted}\nschedule: {MONDAYS}\ncommand: {{run: [{quoted}], env: {{A: {quoted}}}}}\n",
    )
    repository.write("connections/new.yaml", f"title: {quoted}\nschedule: {MONDAYS}\ncommand: {{run: [{quoted}]}}\n")
    repository.write(f"connections/{title.replace('/', '')}.yaml", f"{quoted}: [")
    repository.write("connrunner.yaml", "version: 1\n")

    _, out, _ = typed(repository, "plan", *NOW, "--format", "markdown")

    assert "hello" in out
    assert title not in out.replace(r"\`", "`") or title.isalnum()
    found = re.sub(r"&(?:amp|lt|gt|#8203);", "\u200b", out)
    for pattern in (r"@[a-z0-9]", r"[a-z]://", r"(?i)\bwww\.", r"#\d", r"GH-\d", r"(?<!\\)[<\[~$]", r":warning:"):
        lines = [
            line
            for line in found.splitlines()
            if re.search(pattern, re.sub(r"</?(?:sub|br)>|^- :\w+:|^\| [~!] ", "", line))
        ]
        assert [line for line in lines if not line.startswith(("### ", "|---"))] == [], pattern


def test_a_comment_has_an_end(repository: Place) -> None:
    for number in range(60):
        repository.command(f"c{number}", "pass # " + "x" * 3000, schedule=MONDAYS)
    _, out, _ = typed(repository, "plan", *NOW, "--format", "markdown")
    assert len(out) < 65_536
    assert re.search(r"and \d+ more", out)


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_line_is_a_command_to_a_runner(repository: Place, form: str) -> None:
    evil = "##[add-mask]e ##vso[task.setvariable]x \\n::add-mask::e"
    repository.write(
        "connections/hello.yaml", f'title: x\nschedule: {MONDAYS}\ncommand: {{run: ["{evil}"], env: {{A: "{evil}"}}}}\n'
    )
    _, out, _ = typed(repository, "plan", *NOW, "--format", form)
    assert "add-mask" in out
    assert not re.search(r"##\w*\[", out)
    assert not [line for line in out.splitlines() if line.lstrip().startswith("::")]

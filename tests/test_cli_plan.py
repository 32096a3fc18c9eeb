"""`plan`: the same answer for files, commits and folders; changes, slots, waits; one clear line for a mistake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Place
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

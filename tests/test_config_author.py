"""Who wrote a commit, asked of a real git."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connrunner.config.versions import author as asking
from connrunner.config.versions.author import author
from connrunner.core.model import Commit

pytestmark = pytest.mark.slow

WHO = {
    "GIT_AUTHOR_NAME": "Ann Éxample",
    "GIT_AUTHOR_EMAIL": "ann@example.com",
    "GIT_AUTHOR_DATE": "2026-11-22T09:15:00+0100",
    "GIT_COMMITTER_NAME": "Bob",
    "GIT_COMMITTER_EMAIL": "bob@example.com",
}


def commit(folder: Path, message: str) -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env={**os.environ, **WHO}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", message)
    return git("rev-parse", "HEAD")


def test_author_date_and_subject_are_told(tmp_path: Path) -> None:
    made = commit(tmp_path, "Import the birthdays <too>\n\nAnd more.")
    (tmp_path / "inside").mkdir()
    at = datetime(2026, 11, 22, 8, 15, tzinfo=UTC)
    expected = Commit(id=made, author="Ann Éxample", at=at, subject="Import the birthdays <too>")
    assert author(tmp_path, made) == expected
    assert author(tmp_path / "inside", made) == expected


@pytest.mark.parametrize("wanted", [None, "", "HEAD", "--help", "0" * 40, "main; ls"])
def test_what_is_no_commit_of_it_tells_nothing(tmp_path: Path, wanted: str | None) -> None:
    commit(tmp_path, "one")
    assert author(tmp_path, wanted) is None


def test_a_folder_without_a_repository_or_a_machine_without_git_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert author(tmp_path, "a" * 40) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert author(tmp_path, "b" * 40) is None


def test_a_git_that_hangs_is_left_and_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, programs = tmp_path / "workspace", tmp_path / "bin"
    workspace.mkdir()
    commit(workspace, "one")
    programs.mkdir()
    (programs / "git").write_text("#!/bin/sh\nexec /bin/sleep infinity\n")
    (programs / "git").chmod(0o755)
    asked: list[object] = []
    run = subprocess.run

    def spy(command: list[str], **options: Any) -> Any:
        asked.append(command)
        return run(command, **options)

    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(asking, "PATIENCE", 0.5)
    monkeypatch.setattr(subprocess, "run", spy)
    assert [author(workspace, "c" * 40) for _ in range(3)] == [None] * 3
    assert len(asked) == 1

"""What a killed process left of its temporary folders goes; what another one works with stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from connrunner.text import temporary_folders
from connrunner.text.temporary_folders import PREFIX, remove_abandoned_folders, temporary_folder
from tests.conftest import Place

WORKING = """
import sys
from connrunner.text.temporary_folders import temporary_folder
with temporary_folder() as folder:
    (folder / "rows.csv").write_text("ann@example.com")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(temporary_folders, "_cleared", set())
    (tmp_path / "temporary").mkdir()


def old(folder: Path) -> Path:
    os.utime(folder, (0, 0))
    return folder


def test_a_folder_is_ours_alone_and_goes_at_the_end() -> None:
    with temporary_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "x").write_text("x")
        old(folder)
        remove_abandoned_folders()
        assert folder.exists(), "it is in use"
    assert not folder.exists()


def test_what_a_killed_process_left_goes_and_nothing_else(place: Place) -> None:
    place.command("hello", "pass")

    def make_another() -> None:
        with temporary_folder():
            pass

    for clear in (remove_abandoned_folders, make_another, lambda: place.run("tick")):
        process = subprocess.Popen(
            [sys.executable, "-c", WORKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        left = old(Path(process.stdout.readline().strip()))
        remove_abandoned_folders()
        assert (left / "rows.csv").exists(), "its process lives"
        process.kill()
        process.communicate()
        temporary_folders._cleared.clear()
        clear()
        assert not left.exists()


def test_what_others_made_stays(tmp_path: Path) -> None:
    home = tmp_path / "temporary"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (elsewhere / "mine").write_text("x")
    (home / f"{PREFIX}link").symlink_to(elsewhere)
    (home / f"{PREFIX}young").mkdir(mode=0o700)
    old(home / f"{PREFIX}young")
    os.utime(home / f"{PREFIX}young")
    for name, mode in ((f"{PREFIX}open", 0o755), ("connrunner-other", 0o700), ("x", 0o700)):
        (home / name).mkdir(mode=mode)
        old(home / name)
    (home / f"{PREFIX}file").write_text("x")
    old(elsewhere)
    before = sorted(home.iterdir())
    remove_abandoned_folders(home)
    assert sorted(home.iterdir()) == before
    assert (elsewhere / "mine").exists()
    remove_abandoned_folders(tmp_path / "gone")

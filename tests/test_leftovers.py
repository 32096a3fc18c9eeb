"""What killed processes leave in the state folder goes with the next tick; what others still use stays."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from connrunner.core import instant
from connrunner.core.model import QueuedRun, RunIntent
from connrunner.scheduler import leftovers, tick
from connrunner.state import locks
from connrunner.state.journal import Journal
from connrunner.state.journal_state import StartedRun, started_as_dict
from connrunner.text.files import (
    note_planned,
    note_unfinished,
    remove_abandoned,
    remove_unfinished,
    replace_file,
    replacing,
)
from tests.conftest import Place
from tests.crashes import Scene, list_strangers
from tests.test_cli import AT

SECRET = b"ann@example.com"


def spool(place: Place, name: str) -> Path:
    """Make what a run leaves on its way: a folder in a folder, with rows."""
    folder = place.state.spool / name / "fetched"
    folder.mkdir(parents=True)
    (folder / "rows.csv").write_bytes(SECRET)
    return folder.parent


def started(place: Place, name: str, run: int) -> None:
    intent = RunIntent(run=run, started_at=AT, commit=None, config="", kind="import", title="")
    entry = QueuedRun(connection=name, due_at=AT, queued_at=AT)
    record = started_as_dict(StartedRun(entry=entry, intent=intent, lane="main", mark="x"))
    with locks.hold_state_lock(place.state):
        Journal(place.state).append({"type": "started", "at": instant.text(AT), **record})


def test_only_what_is_of_no_run_that_works_goes(place: Place) -> None:
    place.state.prepare()
    started(place, "a-1", 3)
    stays = [spool(place, "a-1-3"), spool(place, "held-7"), spool(place, "notes")]
    goes = [spool(place, name) for name in ("a-3", "a-1-2", "gone-1", "a-1-33")]
    (place.state.spool / "file-1").write_bytes(SECRET)
    (place.state.spool / "link-1").symlink_to(place.folder)
    held = place.state.run("held", 7) / "worker.txt"
    held.parent.mkdir(parents=True)
    with held.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        leftovers.remove_leftovers(place.state, Journal(place.state))
    assert [path for path in goes if path.exists()] == []
    assert [path for path in stays if not path.exists()] == []
    assert {path.name for path in place.state.spool.iterdir()} == {"a-1-3", "held-7", "notes"}
    assert place.folder.exists()


def begin_export(target: Path, folder: Path) -> None:
    """Write a file as an export does, leave it under a second name as well, and be cut off."""
    with replacing(target / "audience.csv", suffix="part") as new:
        note_unfinished(folder, new)
        os.write(new.descriptor, SECRET)
        os.link(new.path, target / "copy")
        raise KeyboardInterrupt


def test_a_hidden_file_beside_a_target_goes_too(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        begin_export(tmp_path, folder)
    part = tmp_path / ".audience.csv.part"
    part.write_bytes(b"of another run")
    remove_unfinished(folder)
    assert part.exists(), "this is another file of that name"
    part.unlink()
    (tmp_path / "copy").rename(part)
    remove_unfinished(folder)
    assert not part.exists()
    remove_unfinished(folder)


def test_a_file_that_was_only_planned_goes_while_it_is_empty_and_nobodys(tmp_path: Path) -> None:
    """Killed between making the file and noting which one it is."""
    folder = tmp_path / "spool"
    folder.mkdir()
    part = tmp_path / ".audience.csv.part"
    note_planned(folder, tmp_path / "audience.csv", suffix="part")
    remove_unfinished(folder)
    part.write_bytes(b"of another run")
    remove_unfinished(folder)
    assert part.exists()
    part.unlink()
    with replacing(tmp_path / "audience.csv", suffix="part"):
        remove_unfinished(folder)
        assert part.exists(), "its writer lives"
    part.touch()
    remove_unfinished(folder)
    assert not part.exists()


@pytest.mark.parametrize(
    "note",
    [b"", b"x\n/etc/passwd", b"1", b"1\n", b"\xff\n\xff", f"{Path('/etc/passwd').stat().st_ino}\n/etc/passwd".encode()],
)
def test_a_note_that_is_none_removes_nothing(tmp_path: Path, note: bytes) -> None:
    (tmp_path / "unfinished").write_bytes(note)
    remove_unfinished(tmp_path)
    assert Path("/etc/passwd").exists()


def test_files_that_were_about_to_replace_others(tmp_path: Path) -> None:
    for name in (".a.json.4711.tmp", ".b.tmp", "c.tmp", ".d"):
        (tmp_path / name).write_bytes(SECRET)
    (tmp_path / ".link.tmp").symlink_to(tmp_path / ".d")
    with replacing(tmp_path / "e") as new:
        remove_abandoned(tmp_path)
        assert new.path.exists(), "its writer lives"
    replace_file(tmp_path / "f", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".d", ".link.tmp", "c.tmp", "e", "f"]
    remove_abandoned(tmp_path / "nowhere")


@pytest.mark.slow
@pytest.mark.real_clock  # its processes get a start of their own, not that of `make future`
def test_a_killed_run_leaves_no_rows(tmp_path: Path) -> None:
    """A worker, and all that it started, die in the middle of an export; the tick that tells of it removes the rows."""
    scene = Scene(tmp_path)
    program = json.dumps([sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"])
    scene.write("connections/slow.yaml", f"schedule: {{type: manual}}\ncommand: {{run: {program}}}\n")
    command = [sys.executable, "-P", "-m", "connrunner", "run", "slow"]
    environment = scene.environment(CONNRUNNER_STATE=str(scene.state.root))
    with subprocess.Popen(command, cwd=scene.workspace, env=environment, stderr=subprocess.DEVNULL) as running:
        folder = scene.state.spool / "slow-1"
        while not (folder.exists() and b"here" in scene.state.log("slow", 1).read_bytes()):
            assert running.poll() is None
            time.sleep(0.05)
        (folder / "export").write_bytes(SECRET)
        (scene.state.requests / ".x.json.1.tmp").write_bytes(b"{}")
        running.kill()
        scene.kill_everybody()
    assert (folder / "export").exists()

    tick.tick(scene.workspace, scene.state, say=scene.said.append)

    assert [event["outcome"] for event in scene.said if event["event"] == "recovered"] == ["interrupted"]
    assert list_strangers(scene.state.root) == []
    assert not any(SECRET in path.read_bytes() for path in scene.state.root.rglob("*") if path.is_file())

"""What a state folder may stand on, and what happens to locks when somebody takes their files away."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from connrunner.errors import BusyError, StateError
from connrunner.state import filesystem, folder, locks, run_files
from connrunner.state.folder import StateFolder
from connrunner.state.journal import Journal

MOUNTS = """\
21 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw
22 21 0:20 / /proc rw - proc proc rw
30 21 0:40 / /mnt/share rw,relatime shared:5 master:1 - nfs4 server:/export rw,vers=4.2
31 30 0:41 / /mnt/share/disk rw - xfs /dev/sdb rw
32 21 0:42 / /mnt/with\\040space rw - fuse.sshfs me@host: rw
33 21 0:43 / /mnt/twice rw - ext4 /dev/sdc rw
34 33 0:44 / /mnt/twice rw - cifs //server/share rw
35 21 0:45 / /c rw - 9p C: rw
36 21 0:46 / /ntfs rw - fuseblk /dev/sdd rw
garbage
"""

PLACES = [
    # a real path             the file system     refused
    ("/var/lib/connrunner", "ext4", False),
    ("/mnt/share/state", "nfs4", True),
    ("/mnt/share", "nfs4", True),
    ("/mnt/shared", "ext4", False),
    ("/mnt/share/disk/state", "xfs", False),
    ("/mnt/with space/state", "fuse.sshfs", True),
    ("/mnt/twice/state", "cifs", True),
    ("/c/state", "9p", True),
    ("/ntfs/state", "fuseblk", False),
    ("/", "ext4", False),
]


@pytest.mark.parametrize(("path", "kind", "refused"), PLACES)
def test_the_file_system_of_a_path(
    path: str, kind: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert filesystem.find_filesystem_type(path, MOUNTS) == kind
    (tmp_path / "mountinfo").write_text(MOUNTS)
    monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "mountinfo")
    monkeypatch.delenv(filesystem.FORCE, raising=False)
    if not refused:
        filesystem.refuse_without_locks(Path(path))
        return
    with pytest.raises(StateError, match=f"is on {kind}.*CONNRUNNER_STATE_FORCE=1") as raised:
        filesystem.refuse_without_locks(Path(path))
    assert raised.value.exit_code == 74
    monkeypatch.setenv(filesystem.FORCE, "1")
    filesystem.refuse_without_locks(Path(path))


def test_our_own_mounts_can_be_read() -> None:
    assert filesystem.find_filesystem_type("/proc", filesystem.MOUNTS.read_text()) == "proc"


@pytest.mark.parametrize(
    ("mode", "then"),
    [(0o700, 0o700), (0o755, 0o700), (0o750, 0o700), (0o704, 0o700), (0o2770, 0o700), (0o777, None), (0o1777, None)],
)
def test_a_state_folder_is_ours_alone(tmp_path: Path, mode: int, then: int | None) -> None:
    root = tmp_path / "state"
    root.mkdir()
    root.chmod(mode)
    if then is None:
        with pytest.raises(StateError, match=rf"every user may write into .*\(mode {mode:04o}\)"):
            StateFolder(root).prepare()
        assert list(root.iterdir()) == []
    else:
        StateFolder(root).prepare()
        assert root.stat().st_mode & 0o7777 == then


@pytest.mark.parametrize(("name", "refused"), [("photo.jpg", True), ("lost+found", False), ("journal.jsonl", False)])
def test_a_folder_with_other_things_is_not_closed_to_others(tmp_path: Path, name: str, refused: bool) -> None:
    root = tmp_path / "state"
    root.mkdir(mode=0o755)
    (root / name).touch()
    if refused:
        with pytest.raises(StateError, match="holds other things than a state"):
            StateFolder(root).prepare()
        assert root.stat().st_mode & 0o777 == 0o755
    else:
        StateFolder(root).prepare()
        assert root.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_another_user_that_others_see_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o770)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(StateError, match="another user owns it; name a folder inside of it"):
        filesystem.make_private(tmp_path)


def test_a_folder_of_a_newer_version_is_refused_and_not_touched(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    state.prepare()
    assert state.format.read_text() == f"{folder.FORMAT}\n"
    state.format.write_text(f"{folder.FORMAT + 1}\n")
    state.compiled.rmdir()
    before = {path: path.stat().st_ctime_ns for path in [state.root, *state.root.rglob("*")]}

    for act in (state.prepare, Journal(state).read):
        with pytest.raises(StateError, match=f"has format '{folder.FORMAT + 1}', and this connrunner knows"):
            act()

    assert {path: path.stat().st_ctime_ns for path in [state.root, *state.root.rglob("*")]} == before


def test_without_room_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filesystem.refuse_full(tmp_path)
    room = os.statvfs(tmp_path)
    monkeypatch.setattr(filesystem, "ROOM", room.f_bavail * room.f_frsize + 2**30)
    with pytest.raises(StateError, match="KiB are free on the file system of the state folder"):
        filesystem.refuse_full(tmp_path)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_state_lock_that_is_taken_away_lets_nobody_else_in(
    tmp_path: Path, replaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = StateFolder(tmp_path / "state")
    state.prepare()
    Journal(state).open()
    monkeypatch.setattr(locks, "WAIT", 0.1)
    with locks.hold_state_lock(state):
        (state.locks / "state").unlink()
        if replaced:
            (state.locks / "state").touch(0o600)
        with pytest.raises(BusyError), locks.hold_state_lock(state):
            pass
    with locks.hold_state_lock(state):
        pass


def test_who_waited_through_a_rotation_holds_the_new_journal(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    state.prepare()
    journal = Journal(state)
    journal.open()
    entered = threading.Event()
    held: list[bool] = []

    def wait() -> None:
        entered.set()
        with locks._barrier(state.journal, wait=5):
            with pytest.raises(BusyError), locks._barrier(state.journal, wait=0):
                pass
            held.append(True)

    with locks._barrier(state.journal, wait=0):
        thread = threading.Thread(target=wait)
        thread.start()
        entered.wait()
        journal.rotate("2026-11-22T06:00:00Z", size=0)
    thread.join()
    assert held == [True]


@pytest.mark.parametrize("names", [["3", "x"], ["\u00b3"], ["3.old", "7"], ["007"]])
def test_the_next_number_is_above_all_that_are_seen(tmp_path: Path, names: list[str]) -> None:
    state = StateFolder(tmp_path / "state")
    state.prepare()
    for name in names:
        (state.connection("a") / name).mkdir(parents=True)
    seen = [int(name) for name in names if name.isascii() and name.isdigit()]
    assert run_files.create_run(state, "a", after=2) == max([2, *seen]) + 1

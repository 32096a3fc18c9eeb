"""Is the file system fit for a state folder? It needs real locks and some room, and the folder must be ours alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from connrunner.errors import StateError

FORCE = "CONNRUNNER_STATE_FORCE"
MOUNTS = Path("/proc/self/mountinfo")
# Locks of these are not seen by other hosts, or are lost when a server restarts; some of them lie about it.
WITHOUT_LOCKS = frozenset(("9p", "afs", "cifs", "fuse", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"))
OURS = frozenset(("format", "journal.jsonl", "locks"))  # what any state folder has
ROOM = 16 * 1024 * 1024  # bytes that have to be free before a run is started: its end has to be recorded too


def refuse_without_locks(root: Path) -> None:
    """StateError when the file system of *root* has no real locks, unless CONNRUNNER_STATE_FORCE is 1."""
    if os.environ.get(FORCE) == "1":
        return
    try:
        mounts = MOUNTS.read_text(errors="surrogateescape")
    except OSError:  # no /proc: the type cannot be known
        return
    kind = find_filesystem_type(os.path.realpath(root), mounts)
    if kind in WITHOUT_LOCKS or kind.startswith("fuse."):
        raise StateError(
            f"the state folder {root} is on {kind}, where two connrunners could run the same connection at once",
            hint=f"put it on a local disk, or set {FORCE}=1 when a single host uses it",
        )


def find_filesystem_type(path: str, mounts: str) -> str:
    """Return the type of the file system that holds the real *path*, by the text of mountinfo; empty when unknown.

    See proc_pid_mountinfo(5): of two mounts on one point the later one counts.
    """
    found, longest = "", -1
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = _unescaped(fields[4])
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= longest:
            found, longest = after.split(" ")[0], len(point)
    return found


def _unescaped(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def holds_state(root: Path) -> bool:
    """Tell whether *root* has what any state folder has."""
    return any(os.path.lexists(root / name) for name in OURS)


def refuse_foreign(root: Path, workspace: Path) -> None:
    """StateError when what is in *root* could be another user's: neither ours, nor of whom the *workspace* belongs to.

    Root looks after everybody's workspace, so the workspace's owner counts. A folder that is not there is nobody's.
    """
    try:
        status, owners = root.stat(), {os.geteuid(), workspace.stat().st_uid}
    except OSError:
        return
    if status.st_uid not in owners:
        message = f"another user (number {status.st_uid}) owns the state folder {root}, which connrunner.yaml names"
        raise StateError(message, hint="nothing of it was read; say --state if you know what is in it")
    _refuse_open(root, stat.S_IMODE(status.st_mode))


def _refuse_open(root: Path, mode: int) -> None:
    if mode & 0o002:
        raise StateError(
            f"every user may write into the state folder {root} (mode {mode:04o})",
            hint=f"`chmod 700 {root}` once you know what is in it, or name a folder inside of it",
        )


def make_private(root: Path) -> None:
    """Close *root* to other users; StateError when every user may write there, or it is not ours.

    Kubernetes gives a volume to the group of its pod anew each time it mounts it (`fsGroup`), so that is corrected.
    """
    mode = stat.S_IMODE(root.stat().st_mode)
    _refuse_open(root, mode)
    if mode & 0o077:
        found = {path.name for path in root.iterdir()} - {"lost+found"}
        if found and not found & OURS:
            message = f"{root} (mode {mode:04o}) holds other things than a state"
            raise StateError(message, hint="name a folder for the state alone: it is closed to others")
        try:
            root.chmod(mode & 0o700)
        except PermissionError:
            raise StateError(
                f"others may look into the state folder {root} (mode {mode:04o}), and another user owns it",
                hint="name a folder inside of it, which connrunner makes for itself",
            ) from None


def refuse_full(root: Path) -> None:
    """StateError when there is too little room on the file system of *root* to see a run to its end."""
    room = os.statvfs(root)
    free = room.f_bavail * room.f_frsize
    if free < ROOM:
        message = f"only {free // 1024:,} KiB are free on the file system of the state folder {root}"
        raise StateError(message, hint=f"make room: no run starts below {ROOM // 2**20} MiB")
    if room.f_files and not room.f_favail:
        raise StateError(f"the file system of the state folder {root} has no inodes left", hint="remove files there")

"""The state folder: is it ours, on a disk with locks and room, and can what it holds be read?"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from connrunner.doctor import Check, failure, ok, warning
from connrunner.errors import StateError
from connrunner.state import filesystem, history_check, owner, record_check, retention, run_files
from connrunner.state.folder import StateFolder, recording
from connrunner.state.journal import Journal, has_histories
from connrunner.text.regular_files import open_regular
from connrunner.text.words import agree, plural

LITTLE = 1 << 30  # bytes; enough for now, and worth a look
READING = 2.0  # seconds that are spent on logs
FEW = 1000  # inodes; each run takes a folder and a file or two


def check_state_folder(folder: StateFolder, workspace: Path | None = None) -> Iterator[Check]:
    """Yield what is to be said about the state folder of *workspace*."""
    root = folder.root
    if not root.is_dir():
        if root.exists():
            yield failure("state folder", f"{root} is no folder", "name another one: `state:` in connrunner.yaml")
            return
        above = next(path for path in root.parents if path.is_dir())
        if not os.access(above, os.W_OK | os.X_OK):
            yield failure("state folder", f"{root} is not there, and {above} cannot be written", _owner(above))
            return
        yield warning("state folder", f"{root} is not there yet", "nothing: the first `connrunner tick` makes it")
        yield from _room(above)
        return
    checks = [*_ours(root), *_room(root), *_locks(folder)]
    yield from checks
    if not any(check.level == "failure" and check.name == "state folder" for check in checks):
        yield from _workspace(folder, workspace)
        yield from _journal(folder)
        yield from _histories(folder)
        yield from _records(folder)


def check_folder_and_room(root: Path) -> Iterator[Check]:
    """Yield whose the folder *root* is and how much room its disk has: nothing is written, and no lock is taken."""
    if root.is_dir():
        yield from _ours(root)
        yield from _room(root)
    else:
        yield warning("state folder", f"{root} is not there yet", "nothing: the first `connrunner tick` makes it")


def _workspace(folder: StateFolder, workspace: Path | None) -> Iterator[Check]:
    """Yield whose state it is. A disk that is not mounted leaves a new folder in the place of the state."""
    try:
        other, known = workspace and owner.find_other(folder, workspace), owner.read_owner(folder)
    except StateError as error:
        yield failure("owner", error.message, error.hint)
        return
    if other:
        fix = "give each workspace a `state` of its own; if this is the same one, moved: `connrunner tick --moved`"
        yield failure("owner", f"{folder.root} is the state of the workspace {other}: nothing of this one runs", fix)
    elif known is not None:
        yield ok("owner", f"the workspace {known.workspace}")
    elif not folder.journal.exists():
        found = f"{folder.root} is new: nothing is recorded in it"
        yield warning("owner", found, "if there was a state, see whether its disk is mounted; the next tick fills this")


def _ours(root: Path) -> Iterator[Check]:
    facts = root.stat()
    mode = stat.S_IMODE(facts.st_mode)
    if facts.st_uid != os.geteuid():
        yield failure(
            "state folder",
            f"{root} belongs to user {facts.st_uid}, and you are {os.geteuid()}",
            "ask as the account that ticks: `sudo --user ACCOUNT connrunner doctor`",
        )
    elif mode & 0o022:
        found = f"other users may write into {root} (mode {mode:04o}): no tick uses it"
        yield failure("state folder", found, f"chmod 700 {root}")
    elif mode & 0o077:
        yield warning("state folder", f"other users may look into {root} (mode {mode:04o})", f"chmod 700 {root}")
    elif not os.access(root, os.W_OK | os.X_OK) or os.statvfs(root).f_flag & os.ST_RDONLY:
        fix = f"chmod 700 {root}, or mount its file system for writing"
        yield failure("state folder", f"{root} cannot be written (mode {mode:04o})", fix)
    else:
        yield ok("state folder", f"{root}, yours alone")


def _owner(path: Path) -> str:
    return f'`sudo install --directory --owner "$USER" --mode 700 ...` in {path}, or name another folder: `state:`'


def _room(path: Path) -> Iterator[Check]:
    room = os.statvfs(path)
    free, inodes = room.f_bavail * room.f_frsize, room.f_favail if room.f_files else None
    found = f"{free / 2**30:,.1f} GiB free" + (f", {inodes:,} inodes" if inodes is not None else "")
    fix = "make room, or keep less history: `keep` in connrunner.yaml"
    try:
        filesystem.refuse_full(path)
    except StateError as error:
        yield failure("room", f"{error.message}: no run starts", fix)
        return
    if free < LITTLE or (inodes is not None and inodes < FEW):
        yield warning("room", found, fix)
    else:
        yield ok("room", found)


def _locks(folder: StateFolder) -> Iterator[Check]:
    kind = ""
    try:
        kind = filesystem.find_filesystem_type(
            os.path.realpath(folder.root), filesystem.MOUNTS.read_text(errors="surrogateescape")
        )
        filesystem.refuse_without_locks(folder.root)
    except StateError as error:
        yield failure("locks", error.message, error.hint)
        return
    except OSError:
        pass  # no /proc: nobody can say
    where = f"on {kind}" if kind else "of its file system"
    if not filesystem.holds_state(folder.root) and _is_filled(folder.root):
        # Of somebody else's folder, which connrunner.yaml may name, not even a temporary file is ours to make.
        fix = "name a folder for the state alone: `state:` in connrunner.yaml"
        yield warning("locks", f"{folder.root} holds other things than a state: not tried", fix)
        return
    try:
        with recording(folder.locks):
            for path in sorted(folder.locks.glob("*")):
                os.close(open_regular(path, os.O_RDWR))
    except StateError as error:
        yield failure("locks", error.message, error.hint)
        return
    try:
        real = _two_locks_exclude_each_other(folder.root)
    except OSError as error:
        yield failure("locks", f"nothing {where} can be locked: {error.strerror}", "put the state on a local disk")
        return
    if not real:
        found = f"two locks {where} were held at once: runs could overlap"
        yield failure("locks", found, "put the state on a local disk")
    elif os.environ.get(filesystem.FORCE) == "1":
        found = f"{filesystem.FORCE}=1: nobody checks whether another host uses this folder, {where}"
        yield warning("locks", found, f"unset {filesystem.FORCE} unless a single host uses it")
    else:
        yield ok("locks", f"real ones {where}")


def _is_filled(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return False


def _two_locks_exclude_each_other(root: Path) -> bool:
    with tempfile.NamedTemporaryFile(dir=root, prefix=".doctor-") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        with Path(file.name).open("rb") as other:
            try:
                fcntl.flock(other.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


def _journal(folder: StateFolder) -> Iterator[Check]:
    journal = Journal(folder)
    try:
        journal_state = journal.read()
    except StateError as error:
        yield failure("journal", error.message, error.hint)
        return
    if not journal.size and not journal.path.exists() and not has_histories(folder):
        yield ok("journal", "none yet")
        return
    if not journal.size and has_histories(folder):
        found = f"{journal.path} is gone or empty, and runs have ended: what is due and who is to be told is not known"
        yield failure("journal", found, "put back a copy of it, or let the next tick begin anew")
        return
    damaged = sorted(path.name for path in folder.root.glob("journal.damaged*"))
    found = f"{plural(journal.size, 'byte')}, {agree(len(journal_state.numbers), 'connection', 'has', 'have')} run"
    if damaged:
        fix = f"see what it was: {folder.root / damaged[0]}; move it away once you know why"
        yield warning("journal", f"{found}; bytes that are no record are kept aside in {', '.join(damaged)}", fix)
    else:
        yield ok("journal", found)


def _histories(folder: StateFolder) -> Iterator[Check]:
    """Yield what is wrong with histories; those that nobody has changed since a tick read them are not read again."""
    ended: Mapping[str, int] = {}
    with suppress(StateError):  # said of the journal
        journal_state = Journal(folder).read()
        ended = {name: run for name, run in journal_state.numbers.items() if name not in journal_state.started}
    names = retention.list_connections(folder) if folder.runs.is_dir() else []
    unusable = run_files.find_unusable(folder, names)
    trouble = bool(unusable)
    for name, error in unusable.items():
        yield failure("history", f"{name} does not run: {error.message}", error.hint)
    for name in names:
        if name in unusable:
            continue
        history = folder.history(name)
        try:
            damage = history_check.find_damage(folder, name, ended.get(name, 0))
        except StateError as error:
            trouble = True
            yield failure("history", f"{name}: {error.message}", error.hint)
            continue
        if damage is not None:
            trouble = True
            fix = f"put back a copy of {history}; or remove {history.with_name('history.checked')} once you know why"
            yield warning("history", f"{name}: {damage.words}", fix)
        elif (aside := history_check.damaged_file(history)).exists():
            trouble = True
            found = f"{name}: what {history} had and is no record is kept aside in {aside}"
            yield warning("history", found, "see what it was; move it away once you know why")
    if not trouble:
        yield ok("history", f"{agree(len(names), 'connection', 'has', 'have')} one" if names else "none yet")


def _records(folder: StateFolder) -> Iterator[Check]:
    """Yield which logs, refused rows, older decisions and copies are damaged: as many as can be read in a while."""
    working: Mapping[str, int] = {}
    with suppress(StateError):  # said of the journal
        working = {name: started.run for name, started in Journal(folder).read().started.items()}
    known = {one.name: one for one in record_check.list_known_damage(folder)}
    known |= {one.name: one for one in record_check.check_records(folder, working, budget=READING, keeps=False)}
    for one in known.values():
        yield warning("records", one.words, one.remedy)
    if not known:
        yield ok("records", "logs, refused rows and decisions are whole, as far as they were read")

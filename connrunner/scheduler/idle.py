"""Is there anything to do? Answered by a tick that imports nothing else.

The last full tick notes when something will be due and what the files looked like; while nothing has changed and the
time has not come, a tick costs about as much as starting Python.
"""

import marshal
import os
import sys
import time
import zlib

from connrunner import __version__
from connrunner.config import place, stamps

FORMAT = 2
RACY = 2.0  # seconds: a file changed this recently may change again without a new time stamp


def _note(state: str) -> str:
    return f"{state}/compiled/quiet"


def _last_tick(state: str) -> str:
    return f"{state}/last-tick"


def nothing_to_do(arguments: list[str]) -> bool:
    """Tell whether `tick` with *arguments* would find nothing to do. False whenever that is not certain."""
    options: dict[str, str | None] = {"--workspace": None, "--state": None}
    rest = list(arguments)
    while rest:
        option = rest.pop(0)
        name, equals, value = option.partition("=")
        if name not in options or not (equals or rest):
            return False
        options[name] = value if equals else rest.pop(0)
    folder = os.path.abspath(options["--workspace"]) if options["--workspace"] else place.find_workspace(".")
    if folder is None:
        return False
    state = place.state_folder(folder, options["--state"])
    try:
        with open(_note(state), "rb") as file:
            content = file.read()
        # A damaged length would have marshal take gigabytes and half a minute.
        if content[:4] != _checksum(content[4:]):
            return False
        note = marshal.loads(content[4:])  # noqa: S302 - written by us, in a folder that only we can write
        if note["header"] != _header(folder):
            return False
        now = time.time()
        if not note["at"] <= now < note["wake"]:
            return False
        if note["journal"] != _look(f"{state}/journal.jsonl") or note["zones"][1] != _look(note["zones"][0]):
            return False
        if any(name.endswith(".json") for name in os.listdir(f"{state}/requests")):
            return False
        if note["stamps"] != stamps.stamps(folder, note["repository"]):
            return False
        os.utime(_last_tick(state))
    except (OSError, ValueError, EOFError, TypeError, KeyError):
        return False
    return True


def write_note(
    folder: str, state: str, seen: dict[str, int], repository: tuple[str, str] | None, zones: str, wake: float
) -> None:
    """Note that nothing is to be done before *wake* (seconds since 1970) unless a file changes.

    *seen* are the stamps of the workspace from before it was read, taken with *repository*; *zones* is a file of the
    time-zone database. Notes nothing when a file changed so lately that another change might not show.
    """
    now = time.time()
    if any(stamp > (now - RACY) * 1e9 for stamp in seen.values()):
        return remove_note(state)
    note = {
        "header": _header(folder),
        "at": now,
        "wake": wake,
        "journal": _look(f"{state}/journal.jsonl"),
        "zones": (zones, _look(zones)),
        "stamps": seen,
        "repository": repository,
    }
    beside = f"{_note(state)}.{os.getpid()}.tmp"
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        content = marshal.dumps(note)
        with open(descriptor, "wb") as file:
            file.write(_checksum(content) + content)
        os.replace(beside, _note(state))
    except OSError:
        pass  # the next tick is a full one
    return None


def remove_note(state: str) -> None:
    """Make the next tick a full one."""
    try:
        os.unlink(_note(state))
    except OSError:
        pass


def note_look(state: str, at: float) -> None:
    """Remember that a tick looked at *at*, in seconds since 1970: the time stamp of an empty file says it."""
    try:
        os.close(os.open(_last_tick(state), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        os.utime(_last_tick(state), (at, at))
    except OSError:
        pass  # the full tick that records there reports it


def find_last_look(state: str) -> float | None:
    """Return when a tick last looked, quiet ones too, in seconds since 1970; None when none ever did."""
    try:
        return os.stat(_last_tick(state)).st_mtime
    except OSError:
        return None


def _checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4, "big")


def _header(folder: str) -> tuple[int, int, str, str]:
    return (FORMAT, sys.hexversion, __version__, folder)


def _look(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns)

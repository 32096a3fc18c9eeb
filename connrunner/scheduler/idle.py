"""Is there anything to do? Answered by a tick that imports nothing else.

The last full tick notes when something will be due and what the files looked like; while nothing has changed and the
time has not come, a tick costs about as much as starting Python.
"""

import os
import time

from connrunner import __version__
from connrunner.config import place, seal, stamps
from connrunner.text.regular_files import open_regular, read_regular

FORMAT = 5
LIMIT = 1 << 28  # bytes of the note
RACY = 2.0  # seconds: a file changed this recently may change again without a new time stamp


def _compiled(state: str) -> str:
    return f"{state}/compiled"


def _note(state: str) -> str:
    return f"{state}/compiled/quiet"


def _last_tick(state: str) -> str:
    return f"{state}/last-tick"


def nothing_to_do(arguments: list[str]) -> bool:
    """Tell whether `tick` with *arguments* would find nothing to do. False whenever that is not certain."""
    options = read_options(arguments)
    if options is None:
        return False
    workspace, wanted = options
    folder = os.path.abspath(workspace) if workspace else place.find_workspace(".")
    if folder is None:
        return False
    state = place.state_folder(folder, wanted)
    try:
        sealed = seal.read_seal(_compiled(state))
        if sealed is None:
            return False
        content = read_regular(_note(state), LIMIT)
        # All of it twice: a checksum would be one more module to import.
        half = (len(content) - len(sealed)) // 2
        note = content[len(sealed) : len(sealed) + half]
        if content != sealed + note + note:
            return False
        text = 8 + int.from_bytes(note[:8], "big")
        at, wake, zones, own, shared, names, looks = os.fsdecode(note[8:text]).split("\0", 6)
        if not float(at) <= time.time() < float(wake):
            return False
        if any(name.endswith(".json") for name in os.listdir(f"{state}/requests")):
            return False
        if looks != _looks(folder, state, zones):
            return False
        if own and _as_bytes(stamps.stamps(folder, (own, shared))) != note[text:]:
            return False
        if not own and stamps.look_again(folder, names) != note[text:]:
            return False
        os.utime(_last_tick(state))
    except (OSError, ValueError):
        return False
    return True


def read_options(arguments: list[str]) -> tuple[str | None, str | None] | None:
    """Return what `--workspace` and `--state` name; None when there is more in *arguments*, or a mistake."""
    options: dict[str, str | None] = {"--workspace": None, "--state": None}
    rest = list(arguments)
    while rest:
        option = rest.pop(0)
        name, equals, value = option.partition("=")
        if name not in options or not (equals or rest):
            return None
        options[name] = value = value if equals else rest.pop(0)
        if not value or value[0] == "-":
            return None
    return options["--workspace"], options["--state"]


def write_note(
    folder: str,
    state: str,
    seen: dict[str, int],
    repository: tuple[str, str] | None,
    zones: tuple[str, ...],
    wake: float,
) -> None:
    """Note that nothing is to be done before *wake* (seconds since 1970) unless a file changes.

    *seen* are the stamps of the workspace from before it was read, taken with *repository*; *zones* are files by which
    a change of the time-zone database shows. Notes nothing when a file changed so lately that another change might not
    show.
    """
    now = time.time()
    if any(stamp > (now - RACY) * 1e9 for stamp in seen.values()):
        return remove_note(state)
    sealed = seal.make_seal(_compiled(state))
    if sealed is None:
        return None
    beside = f"{_note(state)}.{os.getpid()}.tmp"
    try:
        files = "\n".join(zones)
        names, expected = stamps.compact(folder, seen) if repository is None else ("", _as_bytes(seen))
        fields = (repr(now), repr(wake), files, *(repository or ("", "")), names, _looks(folder, state, files))
        text = os.fsencode("\0".join(fields))
        note = len(text).to_bytes(8, "big") + text + expected
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(sealed + note + note)
        os.replace(beside, _note(state))
    except FileExistsError:  # left by a crash, or planted: gone for the tick after this one
        os.unlink(beside)
    except (OSError, ValueError):
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
        os.close(open_regular(_last_tick(state), os.O_WRONLY | os.O_CREAT))
        os.utime(_last_tick(state), (at, at))
    except OSError:
        pass  # the full tick that records there reports it


def find_last_look(state: str) -> float | None:
    """Return when a tick last looked, quiet ones too, in seconds since 1970; None when none ever did."""
    try:
        return os.stat(_last_tick(state)).st_mtime
    except OSError:
        return None


def _looks(folder: str, state: str, zones: str) -> str:
    """Return what is the same as long as nothing has changed beside the files of the workspace."""
    database = (os.environ.get("PYTHONTZPATH"), *map(_look, zones.split("\n")))
    return f"{FORMAT} {__version__} {folder}\0{_look(f'{state}/journal.jsonl')}\0{database}"


def _as_bytes(seen: dict[str, int]) -> bytes:
    return os.fsencode("\0".join([f"{path} {seen[path]}" for path in seen]))


def _look(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns)

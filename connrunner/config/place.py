"""Where the workspace is and where its state is, answered without parsing YAML: every tick asks."""

import os
import stat
import time

FILE = "connrunner.yaml"
DEFAULT_STATE = ".connrunner"
LIMIT = 256 * 1024  # bytes of connrunner.yaml that are looked at
GLANCES = (0.05, 0.1, 0.2)  # seconds before each further look at a connrunner.yaml that is not whole


def find_workspace(start: str) -> str | None:
    """Return *start* or the nearest folder above it that holds `connrunner.yaml`, absolute; None when none does."""
    folder = os.path.abspath(start)
    while not os.path.lexists(f"{folder}/{FILE}"):  # whatever it is: what is wrong with it is said when it is read
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above
    return folder


def state_folder(folder: str, wanted: str | None) -> str:
    """Return the state folder of the workspace *folder*, absolute.

    *wanted* (`--state`, relative to the current folder) wins, then CONNRUNNER_STATE, then `state:` of
    connrunner.yaml, which is relative to the workspace.
    """
    if chosen := _named_state(wanted):
        return os.path.abspath(chosen)
    return os.path.normpath(os.path.join(folder, declared_state(folder)))


def is_state_named(wanted: str | None) -> bool:
    """Tell whether *wanted* (`--state`) or CONNRUNNER_STATE names the state folder, and not a file of the workspace."""
    return bool(_named_state(wanted))


def _named_state(wanted: str | None) -> str | None:
    return wanted or os.environ.get("CONNRUNNER_STATE")


def declared_state(folder: str) -> str:
    """Return what `state:` says, from the text of connrunner.yaml; the default when it says nothing.

    Reads a top-level `state:` line with a plain or quoted value. The checked file says the same, or has a problem.
    """
    return os.fsdecode(_declared(folder, b"state:")) or DEFAULT_STATE


def state_in(content: bytes) -> str:
    """Return what `declared_state` would, from the *content* of a connrunner.yaml."""
    return os.fsdecode(_value(content.splitlines(), b"state:")) or DEFAULT_STATE


def declares_git(folder: str) -> bool:
    """Tell whether connrunner.yaml says `source: git`."""
    return _declared(folder, b"source:") == b"git"


def _declared(folder: str, key: bytes) -> bytes:
    return _value(_lines(folder), key)


def _value(lines: list[bytes], key: bytes) -> bytes:
    for line in lines:
        if line.startswith(key):
            return line[len(key) :].split(b" #")[0].strip().strip(b"\"'")
    return b""


def _lines(folder: str) -> list[bytes]:
    """Return the lines of connrunner.yaml; none when it cannot be read.

    A checkout or an editor empties a file, or takes it away, before it writes the new one. Every sound connrunner.yaml
    has a version, so one without is looked at again: another state folder must not begin because of that moment.
    """
    lines: list[bytes] = []
    for wait in (0, *GLANCES):
        if wait:
            time.sleep(wait)
        try:
            descriptor = os.open(f"{folder}/{FILE}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    break
                lines = os.read(descriptor, min(status.st_size, LIMIT)).splitlines()
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            continue
        except OSError:
            break
        if any(line.startswith((b"version", b'"version', b"'version")) for line in lines):
            break
    return lines

"""
Are the other records whole: logs, refused rows, older decisions, the copy of the journal's snapshot?

A pass looks at the time of change of each file and reads those that have changed since the pass before it began; a tick
does a small part of one and notes how far it came. Damage stays where it is: readers leave it out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from connrunner.core.alerts.on_attention import AttentionFinding
from connrunner.core.run_records import MALFORMED
from connrunner.errors import StateError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.state import locks, run_files
from connrunner.state.folder import StateFolder
from connrunner.state.untold import UntoldDamage, note_untold
from connrunner.text.files import open_own, replace_file
from connrunner.text.nesting import parse_json
from connrunner.text.regular_files import read_regular
from connrunner.text.words import plural

BUDGET = 0.1  # seconds that one tick spends
SLACK = 5 * 10**9  # nanoseconds by which times of change may lag behind the clock
LIMIT = 1 << 20  # bytes of the note
AT_ONCE = 100  # damaged files that are noted at once
ENDING = 3  # lines at the end of a log: a crash tears one, and what follows says how the run ended
REMEDY = "what is left of it is shown; put back a copy of it, or remove it"
OF_SNAPSHOT = (
    "it is used only when the journal is damaged; `connrunner tick` writes it anew when the journal is rotated"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordDamage:
    """A file of the state that is damaged."""

    name: str  # relative to the state folder
    words: str  # what was found, with its path
    stamp: tuple[int, int] = (0, 0)  # its size and time of change then

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return OF_SNAPSHOT if self.name == "journal.snapshot" else REMEDY

    @property
    def finding(self) -> AttentionFinding:
        """What people are told of it."""
        return AttentionFinding(about=self.name, found=self.words, remedy=self.remedy)


@dataclass(kw_only=True, slots=True)
class _Pass:
    """How far a pass has come, and what is known to be damaged."""

    since: int = 0  # nanoseconds since 1970: what changed before is known
    begun: int = 0
    done: str = ""  # the last file that was looked at, by its key; empty at the beginning of a pass
    offset: int = 0  # of the file behind it: it was read so far
    lines: int = 0  # of it that were read
    spoilt: list[tuple[int, int, bool]] = field(default_factory=list)  # number, offset, may a crash have torn it
    damaged: dict[str, RecordDamage] = field(default_factory=dict)


def check_records(
    folder: StateFolder, working: Mapping[str, int], *, budget: float = BUDGET, keeps: bool = True
) -> list[RecordDamage]:
    """Look for damage for *budget* seconds, going on where the last call stopped; return what is new, noted to be told.

    *working* are the runs that work, by connection: they write their files now. Without *keeps* nothing is noted, and
    all is read anew, also what looks unchanged.
    """
    known = _read_note(folder)
    if not keeps:
        known.since, known.done, known.offset, known.lines, known.spoilt = 0, "", 0, 0, []
    before = dict(known.damaged)
    for name, one in before.items():  # mended, or gone
        if _stamp(folder.root / name) != one.stamp:
            del known.damaged[name]
            known.since = 0 if (folder.root / name).exists() else known.since
    deadline = time.monotonic() + budget
    if not known.done:
        known.begun = time.time_ns()
    for key, path in _list_files(folder, working, known.done):
        if not _look(folder, path, known, deadline):
            break
        known.done, known.offset, known.lines, known.spoilt = key, 0, 0, []
        if time.monotonic() > deadline:
            break
    else:
        known.since, known.done = known.begun - SLACK, ""
    found = [one for name, one in known.damaged.items() if before.get(name) != one]
    if keeps:
        if found:
            with locks.hold_state_lock(folder):
                note_untold(folder, [UntoldDamage(finding=one.finding) for one in found])
        _write_note(folder, known)
    return found


def list_known_damage(folder: StateFolder) -> list[RecordDamage]:
    """Return what ticks have found damaged, and still is."""
    known = _read_note(folder).damaged.values()
    return [one for one in known if _stamp(folder.root / one.name) == one.stamp]


def _look(folder: StateFolder, path: Path, known: _Pass, deadline: float) -> bool:
    """Read *path* when it has changed; False when time is up in the middle of it."""
    try:
        status = path.lstat()
    except OSError:
        return True
    name = path.relative_to(folder.root).as_posix()
    if status.st_ctime_ns < known.since or name in known.damaged:
        return True
    words = ""
    try:
        if path.name == "journal.snapshot":
            words = _read_snapshot(path)
        elif path.parent == folder.decisions:
            words = _read_segment(path)
        elif not _read_on(path, known, deadline):
            return False
        else:
            spoilt = [at for number, at, torn in known.spoilt if not (torn and number > known.lines - ENDING)]
            if spoilt:
                words = f"has {plural(len(spoilt), 'line')} without a record, the first at byte {spoilt[0]:,}"
    except StateError as error:
        words = f"cannot be used: {error.message.removeprefix(f'{path} ')}"
    except OSError as error:
        words = f"cannot be read: {error.strerror}"
    if words and len(known.damaged) < AT_ONCE:
        known.damaged[name] = RecordDamage(name=name, words=f"{path} {words}", stamp=_stamp(path))
    return True


def _read_on(path: Path, known: _Pass, deadline: float) -> bool:
    """Read the lines of a log or of refused rows on; False when time is up before its end."""
    with open_own(path) as file:
        file.seek(known.offset)
        while line := file.readline(run_files.LONGEST):
            if not line.endswith(b"\n") and len(line) < run_files.LONGEST:
                return True  # the end that a crash cut off
            known.lines += 1
            if not _is_record(line):
                torn = line.startswith(b'{"') and b"\0" not in line
                known.spoilt = [*known.spoilt[-AT_ONCE:], (known.lines, known.offset, torn)]
            known.offset += len(line)
            if known.lines % 100 == 0 and time.monotonic() > deadline:
                return False
    return True


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(parse_json(line), dict)
    except ValueError:
        return False


def _read_segment(path: Path) -> str:
    from connrunner.state import journal_segments  # a tick after which nothing was rotated needs no compression

    lines = journal_segments.RecordedPart(path).read_lines()
    count = sum(not _is_record(line) for line in lines)
    return f"has {plural(count, 'line')} without a record" if count else ""


def _read_snapshot(path: Path) -> str:
    from connrunner.state import journal

    try:
        journal.read_record(read_regular(path, journal.LONGEST).rstrip(b"\n"))
    except (journal.NewerError, *MALFORMED):
        return "holds no snapshot of the journal"
    return ""


def _list_files(folder: StateFolder, working: Mapping[str, int], after: str) -> Iterator[tuple[str, Path]]:
    """Yield the files of a pass behind the key *after*, each with its key: those of the newest runs first."""
    yield from ((key, path) for key, path in _list_single(folder) if key > after)
    with suppress(OSError):
        for name in sorted(path.name for path in folder.runs.iterdir()):
            if after.startswith("runs\0") and f"runs\0{name}\0~" <= after:
                continue
            for number in _numbers(folder, name):
                for count, path in enumerate((folder.log(name, number), folder.rejects(name, number))):
                    key = f"runs\0{name}\0{(1 << 40) - number:020}\0{count}"
                    if key > after and number < working.get(name, 1 << 40):
                        yield key, path


def _list_single(folder: StateFolder) -> Iterator[tuple[str, Path]]:
    yield from ((f"decisions/{path.name}", path) for path in sorted(folder.decisions.glob("*.gz")))
    yield "journal.snapshot", folder.root / "journal.snapshot"


def _numbers(folder: StateFolder, name: str) -> list[int]:
    try:
        found = [path.name for path in folder.connection(name).iterdir()]
    except OSError:
        return []
    return sorted((int(one) for one in found if one.isascii() and one.isdigit()), reverse=True)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.lstat()
    except OSError:
        return (-1, 0)
    return status.st_size, status.st_ctime_ns


def _note(folder: StateFolder) -> Path:
    return folder.root / "records.checked"


def _read_note(folder: StateFolder) -> _Pass:
    try:
        said: Mapping[str, Any] = parse_json(read_regular(_note(folder), LIMIT))
        numbers = {key: int(said[key]) for key in ("since", "begun", "offset", "lines")}
        spoilt = [(int(number), int(at), bool(torn)) for number, at, torn in said["spoilt"]]
        damaged = {
            str(one["name"]): RecordDamage(
                name=str(one["name"]), words=str(one["words"]), stamp=(int(one["stamp"][0]), int(one["stamp"][1]))
            )
            for one in said["damaged"]
        }
        return _Pass(**numbers, done=str(said["done"]), spoilt=spoilt, damaged=damaged)
    except (OSError, *MALFORMED):
        return _Pass()


def _write_note(folder: StateFolder, known: _Pass) -> None:
    said = {
        "since": known.since,
        "begun": known.begun,
        "done": known.done,
        "offset": known.offset,
        "lines": known.lines,
        "spoilt": known.spoilt,
        "damaged": [{"name": one.name, "words": one.words, "stamp": one.stamp} for one in known.damaged.values()],
    }
    with suppress(OSError):  # what is read, is read once more then
        replace_file(_note(folder), json.dumps(said).encode() + b"\n", durable=False, suffix="new")

"""
Are the histories whole? What is damaged is told once and kept aside, and what is gone is told.

Beside each history, `history.checked` says how the file looked when it was read through, and how many runs it had. Who
appends to a history that looks so keeps that up to date, so a file is read again only after another hand changed it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from connrunner.core.alerts.on_attention import AttentionFinding
from connrunner.core.run_records import MALFORMED
from connrunner.lazy_dataclasses import asdict, dataclass, field, replace
from connrunner.state import locks, run_files
from connrunner.state.folder import StateFolder, recording
from connrunner.state.untold import UntoldDamage, note_untold
from connrunner.text.files import append_durably, open_own, replace_file
from connrunner.text.nesting import parse_json
from connrunner.text.regular_files import read_regular
from connrunner.text.words import plural

BUDGET = 1.0  # seconds of reading that one tick does
LIMIT = 64 * 1024  # bytes of the note
KEPT = 1 << 20  # bytes of a damaged line that are kept aside: it stays where it is, too
AT_ONCE = 100  # damaged lines that are told at once; a file of nothing else would fill the memory


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckNote:
    """How a history looked when it was read, as far as it was."""

    stamp: tuple[int, int, int] | None = None  # inode, size and time of change; None: to be read again
    at: int = 0  # it was read up to here
    runs: int = 0  # that it has up to there
    last: int = 0  # the newest of them
    had: int = 0  # runs that it ought to have
    lost: str = ""  # what is gone and does not come back by itself

    @property
    def is_whole(self) -> bool:
        """Tell whether all of the file was read."""
        return self.stamp is not None and self.at == self.stamp[1]


@dataclass(kw_only=True, slots=True)
class HistoryDamage:
    """What is wrong with one history."""

    connection: str
    path: Path
    lines: list[tuple[int, bytes]] = field(default_factory=list)  # offset, and what is no record
    lost: str = ""

    @property
    def finding(self) -> AttentionFinding:
        """What people are told of it."""
        kept = f"see what it was; `status` names it until you move {damaged_file(self.path).name} away"
        remedy = kept if self.lines else "put back a copy of it"
        return AttentionFinding(about=f"the history of {self.connection}", found=self.words, remedy=remedy)

    @property
    def words(self) -> str:
        """What was found, for people."""
        said = []
        if self.lines:
            size = sum(len(line) for _, line in self.lines)
            place = f"the first at byte {self.lines[0][0]:,}"
            kept = f"kept in {damaged_file(self.path)}"
            said.append(f"has {plural(len(self.lines), 'line')} without a record ({size:,} bytes, {place}), {kept}")
        if self.lost:
            said.append(self.lost)
        return f"the history of {self.connection}, {self.path}, {' and '.join(said)}"


def damaged_file(history: Path) -> Path:
    """Return where the bytes are kept that are no record."""
    return history.with_name("history.damaged")


def check_histories(
    folder: StateFolder, names: Iterable[str], ended: Mapping[str, int], *, budget: float = BUDGET
) -> Iterator[HistoryDamage]:
    """Read the histories of *names* that another hand has changed; yield what is wrong with each, noted to be told.

    *ended* has the newest ended run of connections, as the journal knows it. No more than *budget* seconds: the next
    call goes on from there. Takes the state lock for what it keeps aside.
    """
    deadline = time.monotonic() + budget
    for name in names:
        while not (note := read_note(folder, name)).is_whole or note.stamp != _stamp(folder.history(name)):
            damage = _go_on(folder, name, note, ended.get(name, 0), deadline)
            if damage is not None:
                yield damage
            if time.monotonic() > deadline:  # one part at least, or there would be no end
                return
            if _stamp(folder.history(name)) is None:
                break


def find_damage(folder: StateFolder, name: str, ended: int = 0) -> HistoryDamage | None:
    """Return what is wrong with a history as it is now; nothing is changed. None when it was read and is whole."""
    note = read_note(folder, name)
    stamp = _stamp(folder.history(name))
    found = HistoryDamage(connection=name, path=folder.history(name), lost=note.lost)
    if not (note.is_whole and note.stamp == stamp):
        note = replace(note, stamp=stamp, at=0, runs=0, last=0)
        if stamp is None and not folder.connection(name).is_dir():
            return None
        while stamp is not None and not note.is_whole:
            note = _read_on(folder, name, note, time.monotonic() + BUDGET, found)
        found.lost = _find_lost(folder, name, note, ended)
    return found if found.lines or found.lost else None


def read_note(folder: StateFolder, name: str) -> CheckNote:
    """Return what is known of the history of *name*."""
    try:
        said: Mapping[str, Any] = parse_json(read_regular(_note(folder, name), LIMIT))
        stamp = said["stamp"] and tuple(int(part) for part in said["stamp"])
        numbers = {key: int(said[key]) for key in ("at", "runs", "last", "had")}
        return CheckNote(stamp=stamp, lost=str(said["lost"]), **numbers)
    except (OSError, *MALFORMED):
        return CheckNote()


@contextmanager
def following(folder: StateFolder, name: str) -> Iterator[None]:
    """Keep the note of a history up to date while one record is appended to it. Hold the state lock."""
    path = folder.history(name)
    note, before = read_note(folder, name), _stamp(path)
    yield
    after = _stamp(path)
    if before is None or after is None or not note.is_whole or note.stamp != before or after == before:
        return
    if after[0] != before[0]:  # written anew, without the oldest: what it has now has to be counted
        _write_note(folder, name, replace(note, stamp=None, had=0))
        return
    with suppress(OSError):
        last = run_files.read_last_run(folder, name)
        number = max(note.last, last.run if last else 0)
        note = replace(note, stamp=after, at=after[1], runs=note.runs + 1, had=note.had + 1, last=number)
        _write_note(folder, name, note)


def _go_on(folder: StateFolder, name: str, note: CheckNote, ended: int, deadline: float) -> HistoryDamage | None:
    """Read more of a history; return what is wrong when that is new, once it is noted and kept aside."""
    path = folder.history(name)
    stamp = _stamp(path)
    found = HistoryDamage(connection=name, path=path)
    if note.stamp != stamp or stamp is None:
        note = replace(note, stamp=stamp, at=0, runs=0, last=0)
    if stamp is not None:
        note = _read_on(folder, name, note, deadline, found)
    with locks.hold_state_lock(folder):
        if _stamp(path) != stamp:  # a run has ended meanwhile
            return None
        found.lines = _find_new(path, found.lines)
        if stamp is None or note.is_whole:
            lost = _find_lost(folder, name, note, ended)
            found.lost = lost if lost != note.lost else ""
            note = replace(note, had=max(note.had, note.runs), lost=lost)
        if found.lines or found.lost:
            note_untold(folder, [UntoldDamage(finding=found.finding, connection=name)])
        _keep_aside(path, found.lines)
        if stamp is not None or found.lost:
            _write_note(folder, name, note)
    return found if found.lines or found.lost else None


def _read_on(folder: StateFolder, name: str, note: CheckNote, deadline: float, found: HistoryDamage) -> CheckNote:
    """Read a history on from where the note says, add what is no record to *found*, return the note of now."""
    assert note.stamp is not None
    at, runs, last = note.at, note.runs, note.last
    with recording(folder.history(name)), open_own(folder.history(name)) as file:
        file.seek(at)
        for count in range(1 << 62):
            line = file.readline(min(run_files.LONGEST, note.stamp[1] - at))
            if not line or len(found.lines) >= AT_ONCE or (count % 100 == 99 and time.monotonic() > deadline):
                break
            run = run_files.parse_run(line)
            if run is not None and run.connection == name and line.endswith(b"\n"):
                runs, last = runs + 1, max(last, run.run)
            elif line.strip():
                found.lines.append((at, line[:KEPT]))
            at += len(line)
    return replace(note, at=at, runs=runs, last=last)


def _find_lost(folder: StateFolder, name: str, note: CheckNote, ended: int) -> str:
    """Return in words what a history does not have any more, by what it had, by the journal and by logs."""
    if note.runs < note.had:
        return f"lacks {plural(note.had - note.runs, 'run')} that it had"
    newest = max(ended, _newest_ended(folder, name))
    if newest > note.last:
        there = f"ends with #{note.last}" if note.last else "is empty" if note.stamp else "is gone"
        return f"{there}, though #{newest} has ended"
    return ""


def _newest_ended(folder: StateFolder, name: str) -> int:
    """Return the newest run whose log says how it ended; 0 when none does."""
    with suppress(OSError), os.scandir(folder.connection(name)) as scan:
        numbers = [int(entry.name) for entry in scan if entry.name.isascii() and entry.name.isdigit()]
        for number in sorted(numbers, reverse=True)[:3]:
            if run_files.read_log_summary(folder, name, number).result is not None:
                return number
    return 0


def _find_new(path: Path, lines: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Return those of *lines* that are not in the file of what is damaged."""
    aside = damaged_file(path)
    if not lines or not aside.exists():
        return lines
    with recording(aside), open_own(aside) as file:
        known = {line.rstrip(b"\n") for line in file}
    return [(at, line) for at, line in lines if line.rstrip(b"\n") not in known]


def _keep_aside(path: Path, lines: list[tuple[int, bytes]]) -> None:
    """Add *lines* to the file of what is damaged."""
    aside = damaged_file(path)
    if lines:
        with recording(aside):
            append_durably(aside, b"".join(line.rstrip(b"\n") + b"\n" for _, line in lines))


def _write_note(folder: StateFolder, name: str, note: CheckNote) -> None:
    with suppress(OSError):  # the file is read once more then
        _note(folder, name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(_note(folder, name), json.dumps(asdict(note)).encode() + b"\n", durable=False, suffix="new")


def _note(folder: StateFolder, name: str) -> Path:
    return folder.connection(name) / "history.checked"


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_ctime_ns

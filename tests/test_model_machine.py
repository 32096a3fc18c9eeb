"""Ticks, edits, switches, jumping clocks, crashes and torn files in any order, beside a plain model of the rules.

The real tick, lanes, records and journal work in this process; only the workers and the disk are played. The model
knows rules R4 to R9 in its own words and walks the calendar minute by minute.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from connrunner.core import instant, schedules
from connrunner.core.model import (
    Command,
    Connection,
    Export,
    Format,
    Import,
    Mail,
    Outcome,
    ProfileModel,
    Result,
    Work,
    Workspace,
)
from connrunner.core.planning.due import StopRequest
from connrunner.errors import Problem
from connrunner.executors.contract import Task
from connrunner.executors.local import AdoptedWorker
from connrunner.scheduler import tick as ticks
from connrunner.state import locks, requests, run_files
from connrunner.state.folder import StateFolder
from connrunner.state.journal import ROTATE_AT, Journal
from connrunner.state.journal_state import apply_record

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NAMES = ("a", "b", "c", "d")
Stretches = tuple[tuple[datetime, datetime], ...]
LANES = {"a": "main", "b": "main", "c": "express", "d": "main"}
WORK: dict[str, Work] = {
    "a": Export(destination={}, format=Format(), fields={}),
    "b": Command(run=("true",)),
    "c": Command(run=("true",)),
    "d": Import(source={}, format=Format(), match=(), fields=()),
}
AFTER = {"d": ("a",)}  # though an import goes before an export
RANKS = {"a": 3, "b": 2, "c": 2, "d": 1}
MOST_STARTS = 12  # of one tick whose runs take time
PROBLEM = Problem(path="connections/x.yaml", line=1, column=1, message="no such thing")

# --- the calendar, minute by minute --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A schedule: as YAML says it, and what the model needs to know of it."""

    document: dict[str, Any]
    times: int = 0
    days: tuple[int, ...] = ()
    at: tuple[int, int] = (0, 0)

    def fires(self, minute: datetime, since: datetime) -> bool:
        if self.times:
            passed = (minute - since) // MINUTE
            number = passed * self.times // 1440
            return passed >= 0 and passed in (-(-number * 1440 // self.times), -(-(number + 1) * 1440 // self.times))
        return minute.weekday() in self.days and (minute.hour, minute.minute) == self.at


def per_day(times: int) -> Kind:
    return Kind({"type": "times_per_day", "times": times}, times=times)


KINDS = (
    per_day(1440),
    per_day(24),
    per_day(7),
    Kind({"type": "days_of_week", "days": ["monday", "thursday"], "time": "06:30"}, days=(0, 3), at=(6, 30)),
    Kind({"type": "days_of_week", "days": ["sunday"], "time": "23:59"}, days=(6,), at=(23, 59)),
    Kind({"type": "manual"}),
)


def first_free(kind: Kind, after: datetime, since: datetime, recorded: Stretches) -> datetime | None:
    """Return the first slot after *after* that no stretch of recorded slots holds."""
    slot = first_after(kind, after, since)
    while slot is not None:
        inside = [last for first, last in recorded if first <= slot <= last]
        if not inside:
            return slot
        slot = first_after(kind, max(inside), since)
    return None


def first_after(kind: Kind, after: datetime, since: datetime) -> datetime | None:
    """Return the first slot after *after*: each minute is looked at, but for days whose minute is known."""
    minute = after + MINUTE
    if kind.days:
        minute = minute.replace(hour=kind.at[0], minute=kind.at[1])
        minute += DAY if minute <= after else timedelta(0)
    for _ in range(8 if kind.days else 1441 + max(0, (since - after) // MINUTE) if kind.times else 0):
        if kind.fires(minute, since):
            return minute
        minute += DAY if kind.days else MINUTE
    return None


def with_slot(recorded: Stretches, slot: datetime, kind: Kind, since: datetime) -> Stretches:
    """Return the stretches with one more: it lengthens the one before, unless there is a slot or OFF between them."""
    before = [each for each in recorded if each[0] <= slot]
    behind = recorded[len(before) :]
    if before and before[-1][1] >= since and first_free(kind, before[-1][1], since, ()) == slot:
        return (*before[:-1], (before[-1][0], slot), *behind)
    past = (*before, (slot, slot))
    return (*past, *behind) if len(past) <= 8 else ((past[0][0], past[1][1]), *past[2:], *behind)


# --- what the rules say --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Memory:
    """What is remembered of a connection that is on [R5]."""

    kind: Kind
    since: datetime
    next: datetime | None
    last: datetime | None = None  # the newest slot of those that were recorded last
    recorded: Stretches = ()


@dataclass
class Model:
    """Where everything has to stand."""

    memory: dict[str, Memory] = field(default_factory=dict)
    former: dict[str, Memory] = field(default_factory=dict)  # of what is off or gone: nothing counts but its slots
    waiting: dict[str, datetime] = field(default_factory=dict)  # since when it is due
    asked: set[str] = field(default_factory=set)  # whose waiting run people asked for
    running: dict[str, int] = field(default_factory=dict)
    zones: dict[str, str] = field(default_factory=dict)  # the database that the promise was made with

    def tick(
        self, now: datetime, on: dict[str, Kind], broken: set[str], zones: str
    ) -> tuple[dict[str, Memory | None], list[tuple[str, str, datetime, int]]]:
        """Return the promises that change at *now*, and what becomes of each slot: (name, result, slot, missed)."""
        changed: dict[str, Memory | None] = {}
        slots = []
        for name in sorted({*self.memory, *on}):
            before = self.memory.get(name)
            if name in broken:
                if before is None:
                    continue
                kind: Kind | None = before.kind  # [R8]
            else:
                kind = on.get(name)
            if kind is None:  # [R6] off, or gone
                if before is not None:
                    changed[name] = None
                if name in self.waiting:
                    slots.append((name, "dropped", self.waiting[name], 0))
                continue
            after, passed = self._advance(before, self.former.get(name), kind, now)
            if after != before or self.zones.get(name) != zones:
                changed[name] = after
            if not passed:
                continue
            if name in self.waiting or name in self.running:  # [R9]
                result = "merged"
            else:
                result = "skipped" if name in broken else "queued"
            slots.append((name, result, passed[0], len(passed) - 1))
        return changed, slots

    @staticmethod
    def _advance(
        before: Memory | None, former: Memory | None, kind: Kind, now: datetime
    ) -> tuple[Memory, list[datetime]]:
        known = before or former
        last, recorded = (known.last, known.recorded) if known else (None, ())
        # The slot of this minute counts, unless it was dealt with. [R7] What a clock that was ahead counted does not.
        start = max(now - MINUTE, last) if last is not None and last <= now else now - MINUTE
        if before is None:  # [R6]
            memory = Memory(kind, now, first_free(kind, start, now, recorded), last, recorded)
        else:
            memory = replace(before, kind=kind, since=min(before.since, now))
            overdue = before.next is not None and before.next <= now
            if kind != before.kind or not overdue:  # [R7] the clock as it is says what is next
                memory = replace(memory, next=first_free(kind, start, memory.since, recorded))
        passed: list[datetime] = []
        while memory.next is not None and memory.next <= now:
            passed.append(memory.next)
            memory = replace(memory, next=first_free(kind, memory.next, memory.since, recorded))
        if passed:
            told = with_slot(recorded, passed[0], kind, memory.since)
            memory = replace(memory, last=passed[-1], recorded=told)
        return memory, passed


# --- the stage: a disk that can lose what was not synced, and workers that are played ------------------------------


class Killed(BaseException):
    """The process of the tick ends here, whatever it was about to do."""


class Disk:
    """Counts what changes files; a crash comes before one of these, and a power cut takes what was not synced."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.synced: dict[int, int] = {}  # inode -> bytes that are durable
        self.countdown: int | None = None
        self.cut = 0.0  # how much of the last write gets through
        self.honest = True  # False: a sync does nothing

    @contextmanager
    def watched(self) -> Iterator[None]:
        write, real_open, mkdir = os.write, os.open, os.mkdir
        replace_, unlink, truncate = os.replace, os.unlink, os.ftruncate

        def ours(descriptor: int) -> bool:
            return str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith(self.root)

        def play_write(descriptor: int, data: bytes) -> int:
            if ours(descriptor) and self.strikes():
                write(descriptor, data[: int(len(data) * self.cut)])
                raise Killed
            return write(descriptor, data)

        def play_sync(descriptor: int) -> None:
            self.step()
            if self.honest:
                status = os.fstat(descriptor)
                self.synced[status.st_ino] = status.st_size

        def before(call: Callable[..., Any]) -> Callable[..., Any]:
            def play(*arguments: Any, **options: Any) -> Any:
                self.step()
                return call(*arguments, **options)

            return play

        def play_open(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            if flags & os.O_CREAT:
                self.step()
            return real_open(path, flags, *arguments, **options)

        with ExitStack() as stack:
            plays = {
                "write": play_write,
                "fsync": play_sync,
                "fdatasync": play_sync,
                "open": play_open,
                "mkdir": before(mkdir),
                "replace": before(replace_),
                "unlink": before(unlink),
                "ftruncate": before(truncate),
            }
            for name, play in plays.items():
                stack.enter_context(mock.patch.object(os, name, play))
            yield

    def strikes(self) -> bool:
        if self.countdown is None:
            return False
        self.countdown -= 1
        return self.countdown < 0

    def step(self) -> None:
        if self.strikes():
            raise Killed

    def written_back(self) -> None:
        """A minute later the system has written everything."""
        if self.honest:
            for path in Path(self.root).rglob("*.jsonl"):
                self.synced[path.stat().st_ino] = path.stat().st_size

    def lose(self, dice: random.Random) -> None:
        """The power goes: of each record file, what was not synced is gone from some byte on."""
        for path in Path(self.root).rglob("*.jsonl"):
            status = path.stat()
            kept = min(self.synced.get(status.st_ino, 0), status.st_size)
            if kept < status.st_size:
                os.truncate(path, dice.randint(kept, status.st_size))


@dataclass
class Played:
    """A worker that does nothing but end, some day, and say how it went."""

    machine: Machine
    job: dict[str, Any]
    lane: int
    descriptors: tuple[int, ...]  # its copies of the lane's lock and of its own
    says: Outcome | None  # None: it dies without a word
    minutes: int  # that it takes
    lane_lock: Any
    exit_status: int | None = None

    @property
    def is_alive(self) -> bool:
        return self.exit_status is None

    def end(self) -> None:
        if self.exit_status is None:
            with self.machine.offstage():
                if self.says is not None:
                    log = run_files.RunLog(self.machine.state.log(self.job["connection"], self.job["run"]))
                    log.write_end(Result(outcome=self.says, message="played"))
                    log.close()
                for descriptor in self.descriptors:
                    os.close(descriptor)
            self.exit_status = 0 if self.says else -9
            self.machine.alive.remove(self)

    def tell(self, number: int) -> None:
        self.end()

    outlives_us = False
    verdict = None
    left: tuple[str, ...] = ()

    def end_leftovers(self, *, grace: float | None) -> bool:
        self.lane_lock.release()  # what it left behind is looked for by who holds the lane
        return True

    def forget(self) -> None:
        pass

    def close(self) -> None:
        pass

    def fileno(self) -> int | None:
        return None


class Nobody:
    """What a played worker leaves behind."""

    remaining: tuple[str, ...] = ()

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def advance(self) -> bool:
        return False

    def close(self) -> None: ...


class Machine(RuleBasedStateMachine):
    """One life of a workspace."""

    honest = True
    rotate_at = ROTATE_AT  # what a tick asks of its journal before it begins a new one

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="connrunner-model-"))
        self.state = StateFolder(self.folder / "state")
        self.state.prepare()
        self.disk = Disk(self.state.root)
        self.disk.honest = self.honest
        self.now = datetime(2026, 11, 21, 23, 50, tzinfo=UTC)
        self.declared: dict[str, tuple[Kind, bool]] = {"a": (KINDS[0], True), "b": (KINDS[1], True)}
        self.broken: set[str] = set()
        self.zones = "2026a"
        self.model = Model()
        self.archive: list[dict[str, Any]] = []  # records that a rotation took away
        self.judged = 0  # how many records the model has seen
        self.alive: list[Played] = []
        self.unwanted: set[str] = set()  # whose runs somebody wanted stopped
        self.numbers: dict[str, int] = {}  # the newest of each connection
        self.began: Counter[tuple[str, int]] = Counter()
        self.said: dict[tuple[str, int], Outcome | None] = {}
        self.plays: tuple[tuple[Outcome | None, int], ...] = ((Outcome.SUCCEEDED, 0),)
        self.starts = 0  # of this tick
        self.locks: list[locks.LaneLock] = []

    def teardown(self) -> None:
        try:
            for worker in list(self.alive):
                worker.end()
            self.crash_free_tick()
            self.nothing_is_left()
        finally:
            for worker in list(self.alive):
                worker.end()
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- what people and machines do ---------------------------------------------------------------------------

    @rule(minutes=st.one_of(st.integers(0, 3), st.integers(0, 300), st.integers(0, 12 * 1440)))
    def time_goes_by(self, minutes: int) -> None:
        self.now += minutes * MINUTE + timedelta(seconds=7)

    @rule(minutes=st.one_of(st.integers(1, 60), st.integers(1, 5 * 1440)))
    def the_clock_goes_back(self, minutes: int) -> None:
        self.now -= minutes * MINUTE

    @rule(name=st.sampled_from(NAMES), kind=st.sampled_from(KINDS), on=st.sampled_from([True, True, True, False]))
    def edit(self, name: str, kind: Kind, on: bool) -> None:
        self.declared[name] = (kind, on)
        self.broken.discard(name)

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name: str) -> None:
        if len(self.declared) > 1:  # an emptied workspace is refused
            self.declared.pop(name, None)
            self.broken.discard(name)

    @precondition(lambda self: self.declared)
    @rule(data=st.data())
    def break_or_mend(self, data: st.DataObject) -> None:
        self.broken ^= {data.draw(st.sampled_from(sorted(self.declared)))}

    @rule()
    def new_zones(self) -> None:
        self.zones += "x"

    @rule(name=st.sampled_from(NAMES))
    def request(self, name: str) -> None:
        requests.request_run(self.state, name, at=self.now, by="somebody", notify={name: ()})

    @rule(name=st.sampled_from(NAMES))
    def stop(self, name: str) -> None:
        """Somebody wants the run stopped that works or waits now."""
        request = StopRequest(connection=name, asked_at=self.now, asked_by="somebody")
        if name in self.model.running:
            request = replace(request, run=self.model.running[name])
        elif name in self.model.waiting:
            request = replace(request, due_at=self.model.waiting[name])
        else:
            return
        requests.request_stop(self.state, request)
        self.unwanted.add(name)

    @rule(bytes_=st.one_of(st.binary(min_size=1, max_size=30), st.just(b'{"v":1,"type":"planned","slots":[{"conn')))
    def tear(self, bytes_: bytes) -> None:
        """A write that somebody else's crash cut off."""
        if self.state.journal.exists():
            with self.state.journal.open("ab") as file:
                file.write(bytes_.replace(b"\n", b" "))

    @rule()
    def rotate(self) -> None:
        with locks.hold_state_lock(self.state):
            journal = Journal(self.state)
            journal.open()
            current = self._current()
            if journal.rotate(instant.text(self.now), size=1):
                self.archive += current
            self.disk.synced[self.state.journal.stat().st_ino] = self.state.journal.stat().st_size

    @precondition(lambda self: self.alive)
    @rule()
    def a_worker_ends(self) -> None:
        self.alive[0].end()

    @rule(
        crash=st.one_of(st.none(), st.integers(0, 25), st.integers(0, 90)),
        power=st.booleans(),
        survives=st.booleans(),
        cut=st.sampled_from([0.0, 0.3, 0.99, 1.0]),
        plays=st.lists(
            st.tuples(st.sampled_from([Outcome.SUCCEEDED, Outcome.FAILED, None]), st.integers(0, 3)),
            min_size=1,
            max_size=3,
        ),
        seed=st.integers(0, 1 << 16),
    )
    def tick(
        self,
        crash: int | None,
        power: bool,
        survives: bool,
        cut: float,
        plays: list[tuple[Outcome | None, int]],
        seed: int,
    ) -> None:
        self.plays, self.starts = tuple(plays), 0
        self.disk.written_back()
        self.disk.countdown, self.disk.cut = crash, cut
        killed = False
        try:
            with self._played():
                one = ticks.Tick(self.folder, self.state, now=self.now, say=lambda _: None)
                one.take_in()
                one.drain()
                one.settle()
        except Killed:
            killed = True
        finally:
            self.disk.countdown = None
        for lane in self.locks:
            lane.release()
        self.locks.clear()
        if killed and (power or not survives):
            for worker in list(self.alive):
                worker.says = None
                worker.end()
        if killed and power:
            self.disk.lose(random.Random(seed))
        if not killed:
            assert [worker for worker in self.alive if worker.job.get("ours") is one] == []
        self.judge(complete=not killed)

    def crash_free_tick(self) -> None:
        self.plays = ((Outcome.SUCCEEDED, 0),)
        self.tick(None, False, False, 0.0, [(Outcome.SUCCEEDED, 0)], 0)

    # --- playing -----------------------------------------------------------------------------------------------

    @contextmanager
    def _played(self) -> Iterator[None]:
        machine = self

        class Lane(locks.LaneLock):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments)
                machine.locks.append(self)

        rotate = Journal.rotate

        def keep_and_rotate(journal: Journal, at: str, *, size: int = machine.rotate_at) -> bool:
            """Keep the records for the model, also when the crash comes right behind it."""
            records, before = machine._current(), machine.state.journal.stat().st_ino
            try:
                return rotate(journal, at, size=size)
            finally:
                if machine.state.journal.stat().st_ino != before:
                    machine.archive += records

        class Supervisor(locks.SupervisorLock):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments)
                machine.locks.append(self)

        places = {
            "connrunner.scheduler.tick.load.load": lambda *_, **__: self.workspace(),
            "connrunner.scheduler.tick.stamps.stamps": lambda *_: {"version": id(self)},
            "connrunner.scheduler.tick.zones.version": lambda: self.zones,
            "connrunner.scheduler.tick.make_clock": lambda _: lambda: self.now,
            "connrunner.scheduler.tick.Tick._start_mail": lambda _: None,
            "connrunner.scheduler.lanes.LaneLock": Lane,
            "connrunner.scheduler.lanes.SupervisorLock": Supervisor,
            "connrunner.executors.local.Termination": Nobody,
            "connrunner.executors.local.LocalExecutor.start": lambda _, task: self.start(task),
            "connrunner.scheduler.lanes.local.wait_for_workers": self.wait,
            "connrunner.executors.local.AdoptedWorker.tell": lambda adopted, number: self.tell_adopted(adopted, number),
        }
        with ExitStack() as stack:
            for place, play in places.items():
                stack.enter_context(mock.patch(place, play))
            stack.enter_context(mock.patch.object(Journal, "rotate", keep_and_rotate))
            stack.enter_context(self.disk.watched())
            yield

    @contextmanager
    def offstage(self) -> Iterator[None]:
        """What a worker does is no point of a tick's crash, and is durable."""
        countdown, self.disk.countdown = self.disk.countdown, None
        try:
            yield
        finally:
            self.disk.countdown = countdown

    def workspace(self) -> Workspace:
        connections = {
            name: Connection(
                name=name,
                title=name,
                enabled=on,
                lane=LANES[name],
                schedule=schedules.parse(kind.document, "UTC"),
                work=WORK[name],
                after=AFTER.get(name, ()),
                timeout=3600,
                document={},
                fingerprint="",
            )
            for name, (kind, on) in self.declared.items()
            if name not in self.broken
        }
        return Workspace(
            folder=str(self.folder),
            state=".connrunner",
            timezone="UTC",
            mail=Mail(),
            profile=ProfileModel(),
            connections=connections,
            broken=dict.fromkeys(self.broken, (PROBLEM,)),
            problems=(),
        )

    def start(self, task: Task) -> Played:
        job, inherited = dict(task.job), task.lane.descriptor
        key = (job["connection"], job["run"])
        lane = os.fstat(inherited).st_ino
        assert all(worker.lane != lane for worker in self.alive), "P3: two runs of one lane at once"
        self.began[key] += 1
        assert self.began[key] == 1, f"P2: {key} began twice"
        says, minutes = self.plays[len(self.began) % len(self.plays)]
        # Two runs of a minute that are due every minute would keep a lane, and their tick, for ever.
        self.starts += 1
        minutes = minutes if self.starts <= MOST_STARTS else 0
        self.said[key] = says
        assert task.alive.take()
        descriptors = os.dup(inherited), os.dup(task.alive.descriptor)
        task.alive.release()
        worker = Played(self, job, lane, descriptors, says, minutes, task.lane)
        self.alive.append(worker)
        return worker

    def wait(self, processes: Any, _seconds: float) -> None:
        """Let a minute pass for the workers that the tick looks after, whoever started them."""
        lanes = {worker.lock.stat().st_ino for worker in processes if isinstance(worker, AdoptedWorker)}
        for worker in list(self.alive):
            if worker in processes or os.fstat(worker.descriptors[1]).st_ino in lanes:
                if worker.minutes > 0:
                    worker.minutes -= 1
                else:
                    worker.end()
        if any(worker.is_alive for worker in processes):
            self.now += MINUTE

    def tell_adopted(self, adopted: AdoptedWorker, _number: int) -> None:
        """End the worker that *adopted* stands for: by its lock this very process would be found, and signalled."""
        lock = adopted.lock.stat().st_ino
        for worker in list(self.alive):
            if os.fstat(worker.descriptors[1]).st_ino == lock:
                worker.end()

    # --- judging -----------------------------------------------------------------------------------------------

    def _current(self) -> list[dict[str, Any]]:
        found = []
        if self.state.journal.exists():
            for line in self.state.journal.read_bytes().split(b"\n")[:-1]:
                record = json.loads(line)
                if record["type"] != "snapshot":
                    found.append(record)
        return found

    def judge(self, *, complete: bool) -> None:
        """Follow the new records with the model; each must be what the rules say."""
        every = self.archive + self._current()
        assert len(every) >= self.judged, "P1: recorded things are gone"
        for record in every[self.judged :]:
            if record["type"] != "damaged":
                {"planned": self._planned, "started": self._started, "ended": self._ended}[record["type"]](record)
        self.judged = len(every)
        if complete:
            assert not list(self.state.requests.glob("run-*.json")), "P1: a request was left"
            changed, slots = self._rules(self.now.replace(second=0))
            assert (changed, slots) == ({}, []), "P1: the tick left something undone"

    def _rules(self, now: datetime) -> tuple[dict[str, Memory | None], list[tuple[str, str, datetime, int]]]:
        on = {name: kind for name, (kind, on) in self.declared.items() if on and name not in self.broken}
        return self.model.tick(now, on, self.broken & set(self.declared), self.zones)

    def _planned(self, record: dict[str, Any]) -> None:
        changed, slots = self._rules(instant.parse(record["at"]).replace(second=0))
        promises = {
            name: promise and (promise["on_since"], promise["next_due"], promise["recorded"])
            for name, promise in record["promises"].items()
        }
        expected = {
            name: memory
            and (
                instant.text(memory.since),
                memory.next and instant.text(memory.next),
                [[instant.text(first), instant.text(last)] for first, last in memory.recorded],
            )
            for name, memory in changed.items()
        }
        assert promises == expected
        made, left = [], dict(self.model.waiting)
        for slot in record["slots"]:
            name, result, due_at = slot["connection"], slot["result"], instant.parse(slot["due_at"])
            if due_at == left.get(name) and result in ("dropped", "skipped"):
                del left[name]  # what comes behind it is another request, of the same instant
                assert (result == "skipped") == (name in self.model.asked), "people are told of what they asked for"
                result = "dropped"
            if slot["trigger"] == "schedule" and not (result == "dropped" and slot["request"]):
                made.append((name, result, due_at, 0 if result == "dropped" else slot["missed"]))
        assert made == [slot for slot in slots if slot[1] != "dropped" or slot in made]
        for name, memory in changed.items():
            self.model.zones[name] = self.zones
            if memory is None:
                self.model.former[name] = self.model.memory.pop(name)
            else:
                self.model.memory[name] = memory
        for slot in record["slots"]:
            name = slot["connection"]
            match slot["result"]:
                case "queued":
                    assert name not in self.model.waiting, "R9: it waited already"
                    self.model.waiting[name] = instant.parse(slot["due_at"])
                    self.model.asked -= {name}
                    self.model.asked |= {name} if slot["request"] else set()
                case "dropped" if not slot["request"] or self.model.waiting.get(name) == instant.parse(slot["due_at"]):
                    self.model.waiting.pop(name, None)
                case "skipped" if self.model.waiting.get(name) == instant.parse(slot["due_at"]):
                    del self.model.waiting[name]
                case "merged":
                    assert name in self.model.waiting or name in self.model.running
                    self.model.asked |= {name} if slot["request"] and name in self.model.waiting else set()
        asked = [slot["request"] for slot in record["slots"] if slot["request"] and slot["result"] != "dropped"]
        assert len(set(asked)) == len(asked)

    def _started(self, record: dict[str, Any]) -> None:
        name = record["connection"]
        lane = {other: due for other, due in self.model.waiting.items() if LANES[other] == LANES[name]}
        assert name in lane, f"P2: {name} was started and did not wait"
        queued = {*self.model.waiting, *self.model.running}
        free = {
            other: due
            for other, due in lane.items()
            if other not in self.model.running and queued.isdisjoint(AFTER.get(other, ()))
        }
        assert name == min(free, key=lambda other: (free[other], RANKS[other], other)), "the queue has an order"
        assert name not in self.model.running, "P3"
        assert record["run"] > self.newest(name), "P4: numbers rise"
        del self.model.waiting[name]
        self.model.running[name] = record["run"]
        self.numbers[name] = record["run"]

    def _ended(self, record: dict[str, Any]) -> None:
        run = record["run"]
        name, number = run["connection"], run["run"]
        if run["outcome"] == "skipped" or record["dequeued"]:
            assert run["outcome"] == "skipped" or name in self.unwanted, "nobody wanted it stopped"
            assert number > self.newest(name), "P4: numbers rise"
            self.numbers[name] = number
            if record["dequeued"]:
                del self.model.waiting[name]
            return
        assert self.model.running.pop(name, None) == number, f"P5: the end of {name} #{number}"
        said = self.said.get((name, number))
        if (name, number) not in self.began:
            assert run["outcome"] in ("interrupted", "failed")
        elif run["outcome"] == "stopped":
            assert name in self.unwanted, "nobody wanted it stopped"
        elif run["outcome"] not in ("interrupted", "failed"):
            assert run["outcome"] == said, "P5: it is not true"

    def newest(self, name: str) -> int:
        return self.numbers.get(name, 0)

    def nothing_is_left(self) -> None:
        """[P11] After one undisturbed tick nobody waits, nothing hangs, and history agrees with the journal."""
        assert (self.model.waiting, self.model.running) == ({}, {})
        every = self.archive + self._current()
        ends = Counter((end["run"]["connection"], end["run"]["run"]) for end in every if end["type"] == "ended")
        assert not [key for key, times in ends.items() if times > 1], "P5: one end for each run"
        assert not set(self.began) - set(ends), "P5: every run that began has an end"
        lines: Counter[tuple[str, int]] = Counter()
        for name in NAMES:
            lines.update((run.connection, run.run) for run in run_files.read_history(self.state, name))
        assert lines == ends, "history and journal agree"
        asked = [slot["request"] for record in every for slot in record.get("slots", ()) if slot["request"]]
        queued = Counter(asked)
        assert not [request for request, times in queued.items() if times > 2], "P1: a request is answered once"


QUICK = settings(
    max_examples=12,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    database=None,
)
FIND = settings(QUICK, max_examples=60, phases=[Phase.generate])
LONG = settings(QUICK, max_examples=1500, stateful_step_count=40, derandomize=False, print_blob=True)


class WithoutSync(Machine):
    """A connrunner that trusts the disk to keep what was never synced."""

    honest = False


class WithoutIntent(Machine):
    """A connrunner that starts without a durable record: the process knows it, the disk does not."""

    @contextmanager
    def _played(self) -> Iterator[None]:
        append = Journal.append

        def forgetful(journal: Journal, *records: dict[str, Any]) -> Any:
            if records[0]["type"] != "started":
                return append(journal, *records)
            apply_record(journal.state, records[0])
            return journal.state

        with super()._played(), mock.patch.object(Journal, "append", forgetful):
            yield


class Rotating(Machine):
    """Every tick begins a new journal, or dies at it."""

    rotate_at = 1


@pytest.mark.parametrize("machine", [Machine, pytest.param(Rotating, marks=pytest.mark.thorough)])
def test_a_short_life(machine: type[Machine]) -> None:
    run_state_machine_as_test(machine, settings=QUICK)


@pytest.mark.parametrize("flawed", [pytest.param(WithoutSync, marks=pytest.mark.thorough), WithoutIntent])
def test_the_model_finds_what_is_missing(flawed: type[Machine]) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(flawed, settings=FIND)


@pytest.mark.long
@pytest.mark.parametrize("machine", [Machine, Rotating])
def test_many_lives(machine: type[Machine]) -> None:
    run_state_machine_as_test(machine, settings=LONG)

"""Kill connrunner before one of its system calls, let later ticks recover, and judge what is left by plain rules."""

from __future__ import annotations

import email
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from connrunner.scheduler import tick
from connrunner.state.folder import StateFolder
from tests import forks

# What changes a file, a lock, a process or a partner. Of openat only what may create counts.
CALLS = (
    "write pwrite64 fsync fdatasync rename renameat renameat2 link linkat unlink unlinkat rmdir mkdir mkdirat ftruncate "
    "flock clone clone3 vfork execve sendto connect kill pidfd_send_signal utimensat openat"
).split()
MINUTE = timedelta(minutes=1)
TRIES = 3  # of a point that a process does not come to: how often it looks and waits is not the same each time
PATIENCE = 300.0  # seconds: who takes longer hangs, also on a busy machine
START = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)

# A tracer for one module of connrunner: the interpreter that starts processes is replaced by this script. The tracer is no
# parent of the process, which gets its signals and gives its exit status as ever, and no part of its run: it has no mark.
SHIM = """\
#!/bin/sh
if [ "$3" = "$CRASH_MODULE" ]; then
  if [ -n "$CONNRUNNER_RUN_ID" ]; then mark="-E CONNRUNNER_RUN_ID=$CONNRUNNER_RUN_ID"; unset CONNRUNNER_RUN_ID; fi
  exec strace -DDD -f -qq -A -o "$CRASH_LOG" $CRASH_TRACE $mark {python} "$@"
fi
exec {python} "$@"
"""
SITE = "import os, sys\nsys.executable = os.environ.get('CRASH_SHIM', sys.executable)\n"


@functools.cache
def why_not() -> str:
    """Return why no process can be killed before a system call on this machine; empty when it can be."""
    if shutil.which("strace") is None:
        return "there is no strace on this machine"
    command = ["strace", "-qq", "-e", "trace=write", "-e", "inject=write:signal=SIGKILL:when=1", "echo", "alive"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == -signal.SIGKILL else f"strace cannot kill here: {done.stderr.strip()[:200]}"


# The processes that connrunner starts by itself, and by which module.
MODULES = {"worker": "connrunner.worker.process", "mailer": "connrunner.messenger.mailer"}


@dataclass(frozen=True)
class Point:
    """The place of a crash: before the *nth* call of *call* by *victim*, and what happens to the other processes."""

    victim: str  # tick, worker, mailer, run, stop
    call: str
    nth: int
    everybody: bool = False  # all processes of connrunner die with it, as when a machine or a container ends

    def __str__(self) -> str:
        return f"{self.victim} before {self.call} #{self.nth}{', with everybody' if self.everybody else ''}"


@dataclass
class Scene:
    """A small workspace, the world around it that no crash takes back, and the ticks that a person would see.

    *declare* writes connections. What their programs do goes to `diary`, what mail arrives to `mailbox`.
    """

    folder: Path
    server: str = ""  # a mail server; a folder when empty
    said: list[dict[str, Any]] = field(default_factory=list)
    world: list[Path] = field(default_factory=list)  # more of what is around it: files and folders of partners
    forks: bool = False  # connrunner's processes are forks of this one, which takes a fourth of the time

    def __post_init__(self) -> None:
        self.workspace, self.diary = self.folder / "workspace", self.folder / "diary"
        self.state = StateFolder(self.folder / "state")
        self.base, self.mailbox = self.folder / "base", self.folder / "mail"
        self.log, self.site, self.temporary = self.folder / "strace.log", self.folder / "site", self.folder / "tmp"
        self.forked = self.folder / "forks"
        for path in (self.workspace / "connections", self.site, self.temporary, self.forked):
            path.mkdir(parents=True, exist_ok=True)
        self.patch("")
        shim = self.folder / "python"
        shim.write_text(SHIM.format(python=sys.executable))
        shim.chmod(0o755)
        server = self.server or f"file:{self.mailbox}"
        mail = json.dumps({"server": server, "from": "crash@example.com"})
        self.write("connrunner.yaml", f"version: 1\ntimezone: UTC\nmail: {mail}\n")

    def patch(self, program: str) -> None:
        """Have every process of the command that is killed run *program*, a Python text, first; forks do not."""
        (self.site / "sitecustomize.py").write_text(SITE + program)

    def write(self, path: str, text: str) -> None:
        (self.workspace / path).write_text(text)

    def command(self, name: str, schedule: str, *, exit_status: int = 0, when: str = "always", more: str = "") -> None:
        """Declare a program that writes to the diary when it begins and when it ends."""
        line = f'"$CONNRUNNER_CONNECTION $CONNRUNNER_RUN" >> {self.diary}'
        program = f"echo began {line}; echo ended {line}; exit {exit_status}"
        run = json.dumps(["/bin/sh", "-c", program])
        notify = f"notify: [{{to: {name}@example.com, when: {when}}}]\n"
        self.write(f"connections/{name}.yaml", f"schedule: {schedule}\ncommand: {{run: {run}}}\n{notify}{more}")

    # --- processes ---------------------------------------------------------------------------------------------

    def environment(self, **more: str) -> dict[str, str]:
        # TMPDIR reaches every program that a run starts: it marks the processes of this scene.
        known = {**os.environ, "PYTHONPATH": str(self.site), "TMPDIR": str(self.temporary), **more}
        if self.forks:
            known[forks.FOLDER] = str(self.forked)
        return {**known, "CRASH_SHIM": sys.executable, **more}

    def start(self, *arguments: str, victim: str, trace: str) -> subprocess.Popen[bytes]:
        """Start a command, *victim* under strace with the options *trace*."""
        self.log.unlink(missing_ok=True)
        command = [sys.executable, "-P", "-m", "connrunner", *arguments]
        more: dict[str, str] = {}
        if self.forks:
            followed = ["-f"] if victim in MODULES else []  # else the processes that it starts are no victims
            options = [*followed, "-qq", "-A", "-o", str(self.log), *trace.split()]
            traced = MODULES.get(victim, "connrunner")
            with forks.forking(before=lambda module: forks.trace_me(options) if module == traced else None):
                return self._start(command)
        if victim in MODULES:
            shim, module = str(self.folder / "python"), MODULES[victim]
            more = {"CRASH_SHIM": shim, "CRASH_MODULE": module, "CRASH_LOG": str(self.log), "CRASH_TRACE": trace}
        else:
            command = ["strace", "-qq", "-o", str(self.log), *trace.split(), *command]
        return self._start(command, **more)

    def _start(self, command: Sequence[str], **more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=self.workspace,
            env=self.environment(CONNRUNNER_STATE=str(self.state.root), **more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def strike(
        self,
        arguments: Sequence[str],
        point: Point,
        *,
        meanwhile: Callable[[], None] = lambda: None,
        after: Callable[[], None] = lambda: None,
    ) -> bool:
        """Run a command until it is killed at *point*; False when it ended before it came there.

        *meanwhile* is called when it has been started, *after* when it is over, and then all has to end by itself.
        """
        trace = f"-e trace={point.call} -e inject={point.call}:signal=SIGKILL:when={point.nth}"
        with self.start(*arguments, victim=point.victim, trace=trace) as process:
            meanwhile()
            if point.victim not in MODULES:
                process.communicate(timeout=PATIENCE)
            elif point.everybody:
                while process.poll() is None and not self.has_struck():
                    time.sleep(0.01)
                process.kill()
            process.communicate(timeout=PATIENCE)
        if point.everybody and self.has_struck():
            self.kill_everybody()
        after()
        self.wait_until_alone()
        return self.has_struck()

    def has_struck(self) -> bool:
        return self.log.exists() and b"+++ killed by SIGKILL +++" in self.log.read_bytes()

    def launch(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command that nothing traces."""
        with forks.forking() if self.forks else nullcontext():
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "connrunner", *arguments],
                cwd=self.workspace,
                env=self.environment(CONNRUNNER_STATE=str(self.state.root)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def processes(self) -> Iterator[int]:
        """Yield every other process that works for this scene."""
        mark = f"TMPDIR={self.temporary}".encode()
        for path in Path("/proc").glob("[1-9]*"):
            with suppress(OSError):
                if mark in (path / "environ").read_bytes().split(b"\0"):
                    yield int(path.name)
        yield from forks.list_forks(self.forked)

    def command_lines(self) -> Iterator[str]:
        """Yield what the processes are that work for this scene."""
        for process in self.processes():
            with suppress(OSError):
                line = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ")
                yield f"{process} {line.decode(errors='replace').strip()[:200]}"

    def kill_everybody(self) -> None:
        """SIGKILL to everything, until nothing is left that could start something."""
        while alive := list(self.processes()):
            for process in alive:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.01)

    def wait_until_alone(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while list(self.processes()):
            assert time.monotonic() < deadline, f"a process does not end: {'; '.join(self.command_lines())}"
            time.sleep(0.02)

    # --- time --------------------------------------------------------------------------------------------------

    def tick(self, at: datetime | None) -> None:
        """Do one whole tick at *at*, without the cost of starting Python for it. No trouble is expected."""
        with forks.forking() if self.forks else nullcontext():
            tick.tick(self.workspace, self.state, now=at, say=self.said.append)

    def keep(self) -> None:
        """Make what is there now the beginning of every try."""
        shutil.rmtree(self.base, ignore_errors=True)
        self.base.mkdir()
        for path in self._kept():
            if path.is_dir():
                shutil.copytree(path, self.base / path.name)
            elif path.exists():
                shutil.copy(path, self.base)

    def reset(self) -> None:
        """Go back to the beginning: to the state and to the world as kept."""
        for path in self._kept():
            base = self.base / path.name
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True)
            if base.is_dir():
                shutil.copytree(base, path)
            elif base.exists():
                shutil.copy(base, path)
        self.said.clear()

    def _kept(self) -> tuple[Path, ...]:
        return (self.state.root, self.mailbox, self.diary, *self.world)

    def calls(
        self,
        arguments: Sequence[str],
        victim: str,
        *,
        before: Callable[[], None] = lambda: None,
        meanwhile: Callable[[], float] = lambda: 0.0,
    ) -> list[tuple[str, int]]:
        """Return each call of `CALLS` that an undisturbed *victim* makes, as (call, its number from 1).

        *before* is called in the scene as it was kept, *meanwhile* when the command has been started; it returns the
        moment, in seconds since 1970, before which no call counts.
        """
        self.reset()
        before()
        with self.start(*arguments, victim=victim, trace=f"-ttt -e trace={','.join(CALLS)}") as process:
            since = meanwhile()
            process.communicate(timeout=PATIENCE)
        self.wait_until_alone()
        seen: Counter[tuple[str, str]] = Counter()  # strace counts the calls of each process for itself
        calls: dict[tuple[str, int], None] = {}
        for line in self.log.read_text(errors="replace").splitlines():
            if match := re.match(r"(?:(\d+) +)?(\d+\.\d+) ([a-z_0-9]+)\(", line):
                process_id, at, call = match.groups()
                seen[process_id, call] += 1
                if float(at) >= since and (call != "openat" or "O_CREAT" in line):
                    calls[call, seen[process_id, call]] = None
        return list(calls)


# --- one try for each point ----------------------------------------------------------------------------------------


def try_points(
    scene: Scene, points: Sequence[Point], attempt: Callable[[Point], tuple[bool, list[str]]]
) -> tuple[int, list[str]]:
    """Crash at each of *points*; return how many crashes there were, and what they broke.

    A try that comes to no end, or ends with an error, is one that broke something: the others are tried all the same.
    `CONNRUNNER_CRASH_POINTS` chooses some: `65:` from that number on, `65:70`, `1::5` every fifth, or one by its name. What became of each
    is printed (`pytest -s`), and the state behind what is wrong is kept in a folder beside the scene.
    """
    struck, wrong = 0, []
    for number, point in _chosen(points):
        began = time.monotonic()
        has_struck, broken = False, list[str]()
        try:
            for _ in range(TRIES):
                if has_struck or broken:
                    break
                has_struck, broken = attempt(point)
        except (AssertionError, subprocess.TimeoutExpired, ValueError, OSError, KeyError) as error:
            has_struck, broken = scene.has_struck(), [f"no verdict: {type(error).__name__}: {error}"]
            scene.kill_everybody()
        struck += has_struck
        wrong += [f"{point}: {what}" for what in broken]
        if broken and scene.state.root.exists():
            shutil.copytree(scene.state.root, scene.folder.with_name(f"wrong-{number}"), dirs_exist_ok=True)
        words = "; ".join(broken) or ("sound" if has_struck else "sound, never came there")
        print(f"{number} of {len(points)}: {point}: {words} ({time.monotonic() - began:.1f} s)", flush=True)  # noqa: T201 - for `pytest -s`
    return struck, wrong


def _chosen(points: Sequence[Point]) -> list[tuple[int, Point]]:
    numbered = list(enumerate(points, 1))
    wanted = os.environ.get("CONNRUNNER_CRASH_POINTS", ":")
    if match := re.fullmatch(r"(\d*):(\d*)(?::(\d+))?", wanted):
        first, last, step = match.groups()
        return numbered[int(first or 1) - 1 : int(last or len(points)) : int(step or 1)]
    return [(number, point) for number, point in numbered if str(point) == wanted]


# --- what must hold ------------------------------------------------------------------------------------------------


STATE_PAGE = Path(__file__).parent.parent / "docs" / "state.md"


def list_paths(page: Path) -> list[str]:
    """Return what stands between back quotes in the first cells of the tables of *page*, until state.md is done."""
    text = page.read_text().partition("\n## What is refused")[0]
    cells: list[str] = re.findall(r"^\| (?:the same: |)(`[^|]+?) \|", text, re.MULTILINE)
    return [path for cell in cells for path in re.findall("`(.+?)`", cell)]


def list_strangers(state: Path, page: Path = STATE_PAGE) -> list[str]:
    """Return every file of the state folder that *page* does not name; `spool/` has to be empty."""
    known = [re.sub("NAME|NUMBER", "*", path) for path in list_paths(page) if path != "spool/"]
    found = [path.relative_to(state).as_posix() for path in sorted(state.rglob("*")) if not path.is_dir()]
    found += [path.relative_to(state).as_posix() for path in (state / "spool").glob("*")]
    return [
        path
        for path in dict.fromkeys(found)
        if not any(path.startswith(name) if name.endswith("/") else fnmatchcase(path, name) for name in known)
    ]


@dataclass
class Story:
    """What is left after recovery, read without connrunner's own readers."""

    journal: list[dict[str, Any]]
    history: dict[str, list[dict[str, Any]]]
    diary: list[tuple[str, str, int]]  # began or ended, connection, run
    mails: list[str]  # their Message-IDs


def story(scene: Scene, mails: Sequence[bytes] | None = None) -> Story:
    """Read what *scene* left; *mails* are those of a server, else those of the folder."""
    journal = [json.loads(line) for line in scene.state.journal.read_bytes().splitlines()]
    history = {
        path.parent.name: list(_whole(path.read_bytes().splitlines()))
        for path in sorted((scene.state.root / "runs").glob("*/history.jsonl"))
    }
    diary = []
    for line in scene.diary.read_text().splitlines() if scene.diary.exists() else ():
        verb, connection, run = line.split()
        diary.append((verb, connection, int(run)))
    if mails is None:
        mails = [path.read_bytes() for path in sorted(scene.mailbox.glob("*.eml"))]
    return Story(journal, history, diary, [str(email.message_from_bytes(mail)["Message-ID"]) for mail in mails])


def _whole(lines: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        with suppress(ValueError):  # a power cut can leave part of a line of history
            yield json.loads(line)


def violations(
    told: Story, *, due: dict[str, list[str]] | None = None, requests: int | None = None, tells: dict[str, str]
) -> list[str]:
    """Return every promise that *told* breaks.

    *due* has each slot that the calendar knows, *requests* how many runs people asked for (at most one: 0 or 1 when
    None), *tells* for whom each connection has mail: `always` or `failure`.
    """
    wrong: list[str] = []
    slots = [(slot, record) for record in told.journal for slot in record.get("slots", ())]
    starts = [record for record in told.journal if record["type"] == "started"]
    ends = [record["run"] for record in told.journal if record["type"] == "ended"]

    # P1: every due slot is recorded once.
    if due is not None:
        for connection in sorted({*due, *(slot["connection"] for slot, _ in slots)}):
            recorded = [
                at
                for slot, _ in slots
                if slot["connection"] == connection and slot["trigger"] == "schedule" and slot["result"] != "dropped"
                for at in _covered(slot)
            ]
            wrong += [f"P1: {connection} lost {at}" for at in (Counter(due[connection]) - Counter(recorded))]
            wrong += [
                f"P1: {connection} has {at} once too often" for at in Counter(recorded) - Counter(due[connection])
            ]

    # P2: at most one start for each slot, and none without an intent.
    began = Counter((connection, run) for verb, connection, run in told.diary if verb == "began")
    ended = {(connection, run) for verb, connection, run in told.diary if verb == "ended"}
    intents = Counter((start["connection"], start["run"]) for start in starts)
    wrong += [f"P2: {name} #{run} began {times} times" for (name, run), times in began.items() if times > 1]
    wrong += [f"P2: {name} #{run} began without a record" for name, run in began if (name, run) not in intents]
    once = Counter((start["connection"], start["due_at"]) for start in starts)
    wrong += [f"P2: the slot {slot} was started {times} times" for slot, times in once.items() if times > 1]

    # P4: numbers rise.
    for connection in {start["connection"] for start in starts}:
        numbers = [start["run"] for start in starts if start["connection"] == connection]
        if numbers != sorted(set(numbers)):
            wrong.append(f"P4: {connection} has the numbers {numbers}")

    # P5: one end for each start, the same in history; and it is true.
    finished = Counter((run["connection"], run["run"]) for run in ends)
    wrong += [f"P5: {key} has {times} ends" for key, times in finished.items() if times > 1]
    wrong += [f"P5: {key} has no end" for key in intents if key not in finished]
    lines = Counter((run["connection"], run["run"]) for runs in told.history.values() for run in runs)
    if lines != finished:
        wrong.append(f"P5: history has {dict(lines)}, the journal {dict(finished)}")
    for run in ends:
        key = (run["connection"], run["run"])
        if run["outcome"] == "succeeded" and run["kind"] == "command" and not (key in began and key in ended):
            wrong.append(f"P5: {key} is said to have succeeded, and did not")
        if run["outcome"] not in ("succeeded", "failed", "interrupted", "stopped", "skipped", "partial", "held"):
            wrong.append(f"P5: {key} has no outcome")

    # Every queued slot became a run, and every request at most one.
    queued = [(slot["connection"], slot["due_at"]) for slot, _ in slots if slot["result"] == "queued"]
    settled = {(run["connection"], run["due_at"]) for run in ends}
    settled |= {(slot["connection"], slot["due_at"]) for slot, _ in slots if slot["result"] == "dropped"}
    wrong += [f"P11: {entry} still waits" for entry in queued if entry not in settled]
    asked = [slot["request"] for slot, _ in slots if slot["request"]]
    if len(set(asked)) != len(asked):
        wrong.append(f"P1: a request was taken in twice: {asked}")
    if requests is not None and len(asked) != requests:
        wrong.append(f"P1: {requests} requests, {len(asked)} taken in")

    # P6: whoever is to be told is told, and repeats can be known.
    for run in ends:
        owes = tells[run["connection"]] == "always" or run["outcome"] != "succeeded"
        about = f"<{run['connection']}.{run['run']}.{run['outcome']}."
        identities = {identity for identity in told.mails if identity.startswith(about)}
        if len(identities) != owes:
            wrong.append(f"P6: {run['connection']} #{run['run']} {run['outcome']}: mail {sorted(identities)}")
    known = tuple(f"<{run['connection']}.{run['run']}.{run['outcome']}." for run in ends)
    wrong += [f"P6: nobody knows why {mail} was sent" for mail in told.mails if not mail.startswith(known)]
    return wrong


def _covered(slot: dict[str, Any]) -> list[str]:
    """Return the slots that one record stands for; missed ones of a connection that is due every minute."""
    at = datetime.fromisoformat(slot["due_at"])
    return [f"{at + number * MINUTE:%Y-%m-%dT%H:%M}" for number in range(1 + slot["missed"])]


def minutes(first: datetime, last: datetime) -> list[str]:
    """Return each minute from *first* to *last*, as `violations` names them."""
    return [f"{first + number * MINUTE:%Y-%m-%dT%H:%M}" for number in range(int((last - first) / MINUTE) + 1)]

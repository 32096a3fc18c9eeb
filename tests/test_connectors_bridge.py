"""Programs of others: what they say, how they end, and that they always end."""

from __future__ import annotations

import os
import signal
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connrunner.connectors import bridge
from connrunner.connectors.bridge import Dialogue, Program, ProgramExit
from connrunner.errors import RunError
from connrunner.processes import tree as process_tree
from connrunner.processes.tree import ProcessTree


class Log:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str, *, level: str = "info", **facts: Any) -> None:
        self.texts.append(f"{level}: {text}")

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_tree, "GRACE", 0.3)


class Clock:
    """The clock that a program's silence is measured by; it stands still unless it is set."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleep = time.sleep

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(bridge, "time", clock)
    return clock


def run(
    code: str,
    folder: Path,
    log: Log,
    take: Callable[[bytes], bytes | None] | None = None,
    *,
    tree: ProcessTree | None = None,
    **more: Any,
) -> ProgramExit:
    program = Program(name="tap-test", arguments=(sys.executable, "-I", "-S", "-c", code))
    dialogue = Dialogue(take=take or (lambda line: line), **more)
    return bridge.run_program(program, (), dialogue, workspace=folder, report=log, tree=tree or ProcessTree.new())


def lives(pid: int) -> bool:
    """Tell whether a process lives; one that was just killed gets a moment to be gone."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return False
        except FileNotFoundError:
            return False
        time.sleep(0.01)
    return True


def test_messages_are_taken_and_the_rest_is_logged(tmp_path: Path, log: Log) -> None:
    taken: list[bytes] = []

    def take(line: bytes) -> bytes | None:
        if line.startswith(b"{"):
            taken.append(line)
            return None
        return line

    code = "import sys; print('{1}\\nhello\\n{2}'); print('oops', file=sys.stderr); sys.stdout.write('{last}')"
    ended = run(code, tmp_path, log, take)
    assert taken == [b"{1}", b"{2}", b"{last}"]  # the last one has no line end
    assert sorted(log.texts) == ["info: hello", "info: oops"]
    assert ended == ProgramExit(name="tap-test", status=0, complaint="oops")
    assert ended.failure is None


def test_standard_error_is_heard_too(tmp_path: Path, log: Log) -> None:
    heard: list[bytes] = []
    run("import sys; sys.stderr.write('one\\ntwo')", tmp_path, log, hear=heard.append)
    assert heard == [b"one", b"two"]


@pytest.mark.parametrize(
    ("code", "message", "reason"),
    [
        ("raise SystemExit('wrong password')", "tap-test ended with exit status 1: wrong password", "exit-status"),
        ("raise SystemExit(3)", "tap-test ended with exit status 3; it did not say why", "exit-status"),
        (
            "import sys; sys.exit('INFO start\\nERROR a\\nINFO next\\nERROR no path\\nCRITICAL stop')",
            "tap-test ended with exit status 1: no path; stop",
            "exit-status",
        ),
        (
            "import sys; sys.exit('2026-11-22 11:21:07,603 | ERROR    | tap-test             | it is wrong')",
            "tap-test ended with exit status 1: it is wrong",
            "exit-status",
        ),
        (
            "import sys; sys.exit('CRITICAL stop\\nTraceback\\nKeyError: id')",
            "tap-test ended with exit status 1: KeyError: id",
            "exit-status",
        ),
        ("import os; os.kill(os.getpid(), 9)", "a signal ended tap-test: SIGKILL", "signal"),
    ],
)
def test_failures(code: str, message: str, reason: str, tmp_path: Path, log: Log) -> None:
    failure = run(code, tmp_path, log).failure
    assert failure is not None
    assert (str(failure), failure.code) == (message, reason)


def test_a_program_that_is_not_there(tmp_path: Path, log: Log) -> None:
    program = Program(name="tap-none", arguments=("tap-none",))
    with pytest.raises(RunError, match="no program 'tap-none' on the PATH"):
        bridge.run_program(program, (), Dialogue(take=bytes), workspace=tmp_path, report=log, tree=ProcessTree.new())


@pytest.mark.slow
def test_one_that_stalls_is_ended_with_all_it_started(tmp_path: Path, log: Log, clock: Clock) -> None:
    code = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    print(os.getpid(), flush=True)
    print(child, flush=True)
while True: time.sleep(60)
"""
    said: list[bytes] = []

    def take(line: bytes) -> None:
        said.append(line)
        if len(said) == 2:
            clock.now += 0.6

    with pytest.raises(RunError, match=r"tap-test stalled: nothing was heard from it for 0\.5 s") as caught:
        run(code, tmp_path, log, take, idle=0.5)
    assert caught.value.code == "stalled"
    assert caught.value.waiting_helps
    assert not any(lives(int(pid)) for pid in said)


@pytest.mark.slow
def test_one_that_says_something_now_and_then_is_not_ended(tmp_path: Path, log: Log, clock: Clock) -> None:
    """Six lines, each when the patience for one is nearly over; the program goes on when its line was seen."""
    code = """
import os, time
for number in range(6):
    print(number, flush=True)
    while not os.path.exists(f"seen-{number}"): time.sleep(0.01)
"""

    def take(line: bytes) -> None:
        clock.now += 500
        (tmp_path / f"seen-{int(line)}").touch()

    assert run(code, tmp_path, log, take).status == 0
    assert clock.now == 6 * 500 > bridge.IDLE


@pytest.mark.slow
def test_one_that_reads_now_and_then_is_not_ended(
    tmp_path: Path, log: Log, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six blocks, each when the patience for one is nearly over; the program goes on when it was seen to read."""
    (tmp_path / "input").write_bytes(b"x" * 60)
    code = """
import os, time
while os.read(0, 10):
    while not os.path.exists(f"seen-{os.lseek(0, 0, os.SEEK_CUR)}"): time.sleep(0.01)
"""

    def look(descriptor: int, position: int, how: int) -> int:
        found = lseek(descriptor, position, how)
        if found and not (tmp_path / f"seen-{found}").exists():
            clock.now += 500
            (tmp_path / f"seen-{found}").touch()
        return found

    lseek = os.lseek
    monkeypatch.setattr(os, "lseek", look)
    monkeypatch.setattr(bridge, "OFTEN", 0.01)
    with (tmp_path / "input").open("rb", buffering=0) as file:
        assert run(code, tmp_path, log, stdin=file).status == 0
    assert clock.now == 6 * 500 > bridge.IDLE


@pytest.mark.slow
def test_one_that_reads_nothing_of_its_file_is_ended(tmp_path: Path, log: Log) -> None:
    (tmp_path / "input").write_bytes(b"x" * 60)
    with (tmp_path / "input").open("rb", buffering=0) as file, pytest.raises(RunError, match="stalled"):
        run("import time\nwhile True: time.sleep(60)", tmp_path, log, idle=0.3, stdin=file)


def test_a_mistake_in_what_it_says_ends_it(tmp_path: Path, log: Log) -> None:
    taken: list[bytes] = []

    def take(line: bytes) -> None:
        taken.append(line)
        raise RunError("nonsense")

    code = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    os.write(1, b'x' * 60000 + b'\\n')
"""
    with pytest.raises(RunError, match="nonsense"):
        run(code, tmp_path, log, take)
    assert len(taken) == 1  # what comes until it is killed is not listened to


def test_a_signal_handler_that_raises_ends_it(tmp_path: Path, log: Log) -> None:
    class TimeIsUpError(Exception): ...

    def ring(*_: object) -> None:
        raise TimeIsUpError

    said: list[bytes] = []

    def take(line: bytes) -> None:
        said.append(line)
        signal.setitimer(signal.ITIMER_REAL, 0.1)

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with pytest.raises(TimeIsUpError):
            run("import os, signal; print(os.getpid(), flush=True); signal.pause()", tmp_path, log, take)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not lives(int(said[0]))


def test_a_line_may_be_long_but_not_endless(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "LONGEST", 1_000_000)
    sizes: list[int] = []
    run("print('x' * 1_000_000); print('y')", tmp_path, log, lambda line: sizes.append(len(line)))
    assert sizes == [1_000_000, 1]
    with pytest.raises(RunError, match="tap-test printed a line of more than 1 MB") as caught:
        run("import os\nwhile True: os.write(1, b'x' * 60000)", tmp_path, log)
    assert caught.value.code == "line-too-long"


def test_a_line_of_many_pieces_is_put_together_once() -> None:
    """Joined anew for each piece, a line of 59 MB would take minutes, and the old and the new one their memory."""
    lines = bridge._Lines("tap-test")
    tracemalloc.start()
    try:
        for number in range(100):
            assert list(lines.of(b"%d" % (number % 10) * 65_536)) == []
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most - held < 10 * 65_536
    (line,) = lines.of(b"\n")
    assert line == b"".join(b"%d" % (number % 10) * 65_536 for number in range(100))


def test_what_it_leaves_behind_must_not_hold_its_output(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "DRAIN_TIME", 0.2)
    code = "import os, signal\nchild = os.fork()\nif not child: signal.pause()\nprint(child)"
    with pytest.raises(RunError, match="a program that it started still holds its output"):
        run(code, tmp_path, log)
    assert not lives(int(log.texts[0].removeprefix("info: ")))


def test_of_our_variables_it_gets_what_it_needs_for_the_network(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "not yours")
    monkeypatch.setenv("https_proxy", "http://proxy.example.com:3128")
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ca.pem")
    run("import os; print(sorted(os.environ))", tmp_path, log)
    assert "'https_proxy'" in log.texts[0]
    assert "'SSL_CERT_FILE'" in log.texts[0]
    assert "SMTP_PASSWORD" not in log.texts[0]


def test_a_descriptor_can_be_inherited(tmp_path: Path, log: Log) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        code = f"import os; print(os.fstat({descriptor}).st_ino)"
        run(code, tmp_path, log, tree=replace(ProcessTree.new(), inherit=(descriptor,)))
    finally:
        os.close(descriptor)
    assert log.texts == [f"info: {tmp_path.stat().st_ino}"]

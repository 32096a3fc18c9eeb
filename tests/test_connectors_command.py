"""Programs as the work of a connection: real processes."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connrunner.connectors import command
from connrunner.connectors.command import CommandResult
from connrunner.core.counts import Counts
from connrunner.core.model import Command
from connrunner.errors import RunError
from connrunner.processes.output import Output
from connrunner.processes.pipes import Pipes
from connrunner.processes.tree import ProcessTree

PYTHON = sys.executable


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []  # level, stream, text
        self.on_message: Callable[[str], None] = lambda text: None

    def message(self, text: str, *, level: str = "info", **facts: Any) -> None:
        self.lines.append((level, facts.get("stream", ""), text))
        self.on_message(text)

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...

    @property
    def texts(self) -> list[str]:
        return [text for _, _, text in self.lines]


@pytest.fixture
def log() -> Log:
    return Log()


def run(
    *argv: str,
    at: Path,
    log: Log,
    timeout: int | None = 600,
    grace: float = 5,
    mask: Callable[[str], str] = str,
    environment: Mapping[str, str] | None = None,
    inherit: tuple[int, ...] = (),
    **more: Any,
) -> CommandResult:
    return command.run_declared_program(
        Command(run=argv, **more),
        Output(mask=mask, report=log),
        workspace=at,
        environment=environment or {},
        timeout=timeout,
        tree=replace(ProcessTree.new(), inherit=inherit, grace=grace),
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, log: Log) -> Clock:
    clock = Clock(log)
    monkeypatch.setattr("connrunner.processes.pipes.time", clock)
    monkeypatch.setattr("connrunner.processes.tree.time", clock)
    return clock


class Clock:
    """The clock of timeouts and graces: it goes on by an hour when the program says one of *words*, however late."""

    def __init__(self, log: Log) -> None:
        self.words: tuple[str, ...] = ()
        self.ahead = 0
        self.sleep = time.sleep
        log.on_message = self.hear

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def hear(self, text: str) -> None:
        if text.startswith(self.words):
            self.ahead += 3600


def lives(pid: int) -> bool:
    """Tell whether a process works; a zombie of somebody else's does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 60
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not lives(pid)


# --- what the program gets ---------------------------------------------------------------------------------------


def test_exit_status_lines_and_last_words(tmp_path: Path, log: Log) -> None:
    result = run("sh", "-c", "echo out; echo err >&2; exit 3", at=tmp_path, log=log)
    assert result == CommandResult(exit_status=3, signal=None, counts=Counts(), message="err")
    assert not result.succeeded
    assert sorted(log.lines) == [("info", "stderr", "err"), ("info", "stdout", "out")]


def test_counts_and_messages(tmp_path: Path, log: Log) -> None:
    said = r"""echo '{"counts": {"created": 2, "unchanged": 1}}'; echo noise >&2; echo '{"message": "3 done"}'"""
    result = run("sh", "-c", said, at=tmp_path, log=log)
    assert result.counts == Counts(read=3, checked=3, created=2, unchanged=1)
    assert (result.message, result.succeeded) == ("3 done", True)


def test_arguments_do_not_pass_a_shell(tmp_path: Path, log: Log) -> None:
    hostile = ["$(touch owned)", "`touch owned`", "; touch owned", "a b", "*", "", "\n", "-n", "ż"]
    run(PYTHON, "-c", "import sys; print(ascii(sys.argv[1:]))", *hostile, at=tmp_path, log=log)
    assert log.texts == [ascii(hostile)]
    assert list(tmp_path.iterdir()) == []


def test_shell_when_asked_for(tmp_path: Path, log: Log) -> None:
    run("echo $((40 + 2)) | tr 2 3; exit 6 & wait $!", at=tmp_path, log=log, shell=True)
    assert log.texts == ["43"]


def test_environment_is_plain_and_given(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "not yours")
    monkeypatch.setenv("LC_TIME", "C")
    run("env", at=tmp_path, log=log, environment={"CONNRUNNER_RUN": "7", "HOME": "/nowhere"})
    got = dict(line.split("=", 1) for line in log.texts)
    assert got["CONNRUNNER_RUN"] == "7"
    assert got["HOME"] == "/nowhere"
    assert got["LC_TIME"] == "C"
    assert got["PATH"] == os.environ["PATH"]
    assert "SMTP_PASSWORD" not in got


def test_standard_input_is_empty_and_the_folder_is_set(tmp_path: Path, log: Log) -> None:
    (tmp_path / "jobs").mkdir()
    run("sh", "-c", "cat; pwd", at=tmp_path, log=log, folder="jobs")
    assert log.texts == [str((tmp_path / "jobs").resolve())]


def test_own_process_group(tmp_path: Path, log: Log) -> None:
    run(PYTHON, "-c", "import os; print(os.getpgid(0) == os.getpid())", at=tmp_path, log=log)
    assert log.texts == ["True"]


def test_inherited_descriptors_and_no_others(tmp_path: Path, log: Log) -> None:
    kept, other = os.open("/dev/null", os.O_RDONLY), os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(other, True)
    try:
        run("sh", "-c", "ls /proc/$$/fd", at=tmp_path, log=log, inherit=(kept,))
    finally:
        os.close(kept)
        os.close(other)
    assert str(kept) in log.texts
    assert str(other) not in log.texts


def test_secrets_are_masked(tmp_path: Path, log: Log) -> None:
    def mask(text: str) -> str:
        return text.replace("hunter2-hunter2", "***")

    result = run(
        "sh", "-c", 'echo "key $KEY"; echo "no: $KEY" >&2; exit 1',
        at=tmp_path, log=log, mask=mask, environment={"KEY": "hunter2-hunter2"},
    )  # fmt: skip
    assert sorted(log.texts) == ["key ***", "no: ***"]
    assert result.message == "no: ***"


# --- how it ends -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGSEGV, signal.SIGKILL, signal.SIGRTMIN + 3])
def test_a_signal_is_no_exit_status(number: int, tmp_path: Path, log: Log) -> None:
    result = run("sh", "-c", f"kill -{int(number)} $$", at=tmp_path, log=log)
    assert (result.exit_status, result.signal, result.succeeded) == (None, number, False)


def test_exit_status_above_128_is_no_signal(tmp_path: Path, log: Log) -> None:
    result = run("sh", "-c", "exit 137", at=tmp_path, log=log)
    assert (result.exit_status, result.signal) == (137, None)


@pytest.mark.slow
def test_timeout(tmp_path: Path, log: Log) -> None:
    result = run("sh", "-c", "echo begun; sleep infinity; echo never", at=tmp_path, log=log, timeout=1)
    assert (result.timed_out, result.signal, result.succeeded) == (True, signal.SIGTERM, False)
    assert log.texts == ["begun", "not done after 1 s: asked to end"]


@pytest.mark.slow
def test_a_program_that_ends_well_after_its_timeout_has_failed(tmp_path: Path, log: Log, clock: Clock) -> None:
    clock.words = ("begun",)
    script = "trap 'echo bye; exit 0' TERM; echo begun; sleep infinity & wait"
    result = run("sh", "-c", script, at=tmp_path, log=log, timeout=60)
    assert (result.exit_status, result.timed_out, result.succeeded) == (0, True, False)
    assert log.texts[-1] == "bye"


@pytest.mark.slow
def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path, log: Log, clock: Clock) -> None:
    clock.words = ("deaf",)
    script = "trap '' TERM; echo deaf; while :; do sleep 1; done"
    started = time.monotonic()
    result = run("sh", "-c", script, at=tmp_path, log=log, timeout=60, grace=0.5)
    assert time.monotonic() - started >= 0.5
    assert (result.timed_out, result.signal) == (True, signal.SIGKILL)
    assert log.texts == ["deaf", "not done after 60 s: asked to end", "still there 0.5 s later: killed"]


@pytest.mark.slow
def test_the_whole_group_ends_each_with_its_grace(tmp_path: Path, log: Log, clock: Clock) -> None:
    clock.words = ("both", "cleaned")  # now comes the timeout, and then the end of the grace
    script = """
        (trap 'sleep 0.3; echo cleaned; exit' TERM; : > ready; while :; do sleep 0.05; done) &
        (trap '' TERM; : > deaf; while :; do sleep 1; done) & echo deaf $!
        until test -e ready -a -e deaf; do sleep 0.02; done; echo both
        wait
    """
    result = run(script, at=tmp_path, log=log, shell=True, timeout=600, grace=600)
    assert result.timed_out
    assert "cleaned" in log.texts  # though the shell itself was gone at once
    deaf = next(int(text.split()[1]) for text in log.texts if text.startswith("deaf"))
    assert gone(deaf)


@pytest.mark.slow
def test_a_daemon_that_keeps_the_output_does_not_hold_the_run_and_is_ended(tmp_path: Path, log: Log) -> None:
    started = time.monotonic()
    result = run("sh", "-c", "setsid sleep infinity & echo $!", at=tmp_path, log=log)
    assert time.monotonic() - started >= 1.9
    assert result.succeeded
    assert log.texts[1:] == [f"the program left processes behind, and they were ended: sleep (process {log.texts[0]})"]
    assert gone(int(log.texts[0]))


@pytest.mark.slow
def test_what_a_child_prints_soon_after_the_end_is_still_read(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connrunner.processes.pipes.DRAIN_TIME", 600)
    run("sh", "-c", "(sleep 0.4; echo late) & echo early", at=tmp_path, log=log)
    assert log.texts == ["early", "late"]


@pytest.mark.slow
def test_a_program_may_close_its_output_and_work_on(tmp_path: Path, log: Log) -> None:
    result = run("sh", "-c", "exec >&- 2>&-; sleep 0.5; echo done > done; exit 4", at=tmp_path, log=log)
    assert result.exit_status == 4
    assert (tmp_path / "done").exists()


def test_without_a_pidfd_the_end_is_seen_too(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(pid: int) -> int:
        raise OSError("sandbox")

    monkeypatch.setattr(os, "pidfd_open", refused)
    result = run("sh", "-c", "exec >&- 2>&-; sleep 0.2; exit 5", at=tmp_path, log=log, timeout=600)
    assert (result.exit_status, result.timed_out) == (5, False)


@pytest.mark.slow
def test_an_exception_out_of_the_report_ends_the_program(tmp_path: Path, log: Log) -> None:
    class Told(BaseException): ...

    def stop(text: str) -> None:
        if text == "begun":
            raise Told

    log.on_message = stop
    script = "trap 'echo $$ > cleaned; exit' TERM; echo begun; sleep infinity & wait"
    with pytest.raises(Told):
        run("sh", "-c", script, at=tmp_path, log=log)
    assert gone(int((tmp_path / "cleaned").read_text()))  # it had its grace


@pytest.mark.slow
def test_a_report_that_stays_broken_still_leaves_nothing_behind(tmp_path: Path, log: Log) -> None:
    def broken(text: str) -> None:
        raise OSError(28, "No space left on device")

    log.on_message = broken
    script = "trap '' TERM; echo $$ > pid; while :; do echo line; sleep 0.01; done"
    with pytest.raises(OSError, match="No space"):
        run("sh", "-c", script, at=tmp_path, log=log, grace=30)
    assert gone(int((tmp_path / "pid").read_text()))


WORKER = """
import signal, sys
from pathlib import Path
from connrunner.connectors import command
from connrunner.core.model import Command
from connrunner.processes.output import Output
from connrunner.processes.tree import ProcessTree

class Terminated(BaseException): ...

class Log:
    def message(self, text, **facts):
        print(text, flush=True)
    def progress(self, *_): ...

def terminated(*_):
    raise Terminated

signal.signal(signal.SIGTERM, terminated)
work = Command(run=("sh", "-c", "trap 'echo cleaned; exit' TERM; echo $$; sleep 60 & wait"))
try:
    command.run_declared_program(work, Output(mask=str, report=Log()), workspace=Path("."), environment={}, timeout=None, tree=ProcessTree.new())
except Terminated:
    print("terminated", flush=True)
"""


@pytest.mark.slow
def test_sigterm_to_the_worker_ends_the_program(tmp_path: Path) -> None:
    with subprocess.Popen([PYTHON, "-c", WORKER], stdout=subprocess.PIPE, cwd=tmp_path, text=True) as worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        worker.terminate()
        assert worker.stdout.read().split() == ["cleaned", "terminated"]
    assert worker.returncode == 0
    assert gone(pid)


# --- what it prints ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.thorough
def test_a_hundred_megabytes(tmp_path: Path, log: Log) -> None:
    script = "import sys; line = 'x' * 79 + '\\n'; [sys.stdout.write(line * 1000) for _ in range(1250)]; print('end')"
    result = run(PYTHON, "-c", script, at=tmp_path, log=log)
    assert result.succeeded
    assert sum(map(len, log.texts)) < 20_100_000
    assert log.texts[-1] == "end"
    assert any(text.startswith("left out here: 1") for text in log.texts)


@pytest.mark.slow
def test_no_line_feed_at_all(tmp_path: Path, log: Log) -> None:
    run("head", "-c", "20000000", "/dev/zero", at=tmp_path, log=log)
    assert [len(text) for text in log.texts] == [8192 + len(" [cut: the line is longer than 8192 bytes]")]


def test_binary(tmp_path: Path, log: Log) -> None:
    run("printf", r"\377\376\000\033[31m\n", at=tmp_path, log=log)
    assert log.texts == ["\\xff\\xfe\x00\x1b[31m"]


@pytest.mark.slow
def test_both_streams_full_at_once(tmp_path: Path, log: Log) -> None:
    script = "import os; [os.write(1 + n % 2, b'y' * 65536 + b'\\n') for n in range(200)]"
    assert run(PYTHON, "-c", script, at=tmp_path, log=log).succeeded
    assert len(log.texts) == 200


# --- what cannot start -------------------------------------------------------------------------------------------


def executable(path: Path, content: bytes, mode: int = 0o755) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def test_programs_that_cannot_start(tmp_path: Path, log: Log) -> None:
    executable(tmp_path / "plain.sh", b"echo hi\n", 0o644)
    executable(tmp_path / "no-line.sh", b"echo hi\n")
    executable(tmp_path / "crlf.sh", b"#!/bin/sh\r\necho hi\r\n")
    executable(tmp_path / "foreign", b"\x7fELF nonsense")
    (tmp_path / "folder").mkdir()
    cases: list[tuple[tuple[str, ...], dict[str, Any], str, str]] = [
        (("no-such-program",), {}, "no-program", "there is no program 'no-such-program' on the PATH; install it"),
        (("slepp", "1"), {}, "no-program", "did you mean 'sleep'?"),
        (
            ("./plian.sh",),
            {},
            "no-program",
            f"there is no program './plian.sh' in {tmp_path}; did you mean 'plain.sh'?",
        ),
        (("jobs/x.sh",), {}, "no-program", "there is no program 'jobs/x.sh'"),
        (("./plain.sh/x",), {}, "no-program", "there is no program './plain.sh/x'"),
        (("",), {}, "cannot-start", "'' may not be executed"),
        (("./plain.sh",), {}, "cannot-start", "'./plain.sh' may not be executed; make it executable with `chmod +x`"),
        (("./folder",), {}, "cannot-start", "'./folder' may not be executed"),
        (("./no-line.sh",), {}, "cannot-start", "begin a script with a line like #!/bin/sh"),
        (("./foreign",), {}, "cannot-start", "'./foreign' is not a program that this machine can execute"),
        (("./crlf.sh",), {}, "no-program", r"names a program that is not there: '#!/bin/sh\r'"),
        (("true",), {"folder": "nowhere"}, "no-folder", f"there is no folder {tmp_path}/nowhere to run in"),
        (("true",), {"folder": "plain.sh"}, "no-folder", "correct `folder`"),
        (("true", "a\0b"), {}, "cannot-start", "take NUL characters out"),
        (("true", "x" * 4_000_000), {}, "cannot-start", "cannot start 'true': Argument list too long"),
    ]
    for argv, more, code, text in cases:
        with pytest.raises(RunError) as caught:
            run(*argv, at=tmp_path, log=log, **more)
        assert text in str(caught.value)
        assert caught.value.code == code
    assert log.lines == []


def test_a_value_that_no_variable_can_hold_is_not_shown(tmp_path: Path, log: Log) -> None:
    with pytest.raises(RunError) as caught:
        run("true", at=tmp_path, log=log, environment={"KEY": "secret\0value"})
    assert "secret" not in str(caught.value)


def test_no_descriptor_leaks(tmp_path: Path, log: Log) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    run("true", at=tmp_path, log=log)
    with pytest.raises(RunError):
        run("no-such-program", at=tmp_path, log=log)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.fixture
def nobody_reaps() -> Iterator[None]:
    """Make this process the new parent of orphans, as process 1 of a container is: one that never asks for them."""
    set_child_subreaper = 36
    libc = ctypes.CDLL(None)
    assert libc.prctl(set_child_subreaper, 1, 0, 0, 0) == 0
    yield
    libc.prctl(set_child_subreaper, 0, 0, 0, 0)
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


@pytest.mark.slow
@pytest.mark.usefixtures("nobody_reaps")
def test_adopted_processes_that_have_ended_take_no_grace(tmp_path: Path, log: Log) -> None:
    result = run("sh", "-c", "sleep infinity & sleep infinity; :", at=tmp_path, log=log, timeout=1, grace=100_000)
    assert result.signal == signal.SIGTERM  # nobody waited for the end of the grace


def test_waiting_costs_no_processor_time(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sleeps until something comes, a second at most: it looks a few times, not all the time."""
    looks: list[float] = []
    read = Pipes.read

    def counted(pipes: Pipes, seconds: float) -> None:
        looks.append(seconds)
        read(pipes, seconds)

    monkeypatch.setattr(Pipes, "read", counted)
    run("sleep", "0.25", at=tmp_path, log=log, timeout=None)
    assert 0 < len(looks) < 100

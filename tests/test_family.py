"""Finding and ending all that a run started: real processes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connrunner.processes.tree import MARK, ProcessTree, Termination, holders

pytestmark = pytest.mark.slow

SLEEP = "import time; print('ready', flush=True); time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEP


@pytest.fixture
def begin() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a Python text and wait until it is ready; it is ended after the test whatever happens."""
    begun: list[subprocess.Popen[bytes]] = []

    def start(program: str, *, mark: str = "", **more: Any) -> subprocess.Popen[bytes]:
        environment = {**os.environ, MARK: mark} if mark else dict(os.environ)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", program], stdout=subprocess.PIPE, env=environment, **more
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


Begin = Callable[..., "subprocess.Popen[bytes]"]


def test_by_its_mark_whatever_session_it_is_in(begin: Begin) -> None:
    family = ProcessTree.new()
    one, other = begin(SLEEP, mark=family.mark), begin(SLEEP, mark=family.mark, start_new_session=True)
    begin(SLEEP, mark=ProcessTree.new().mark)
    begin(SLEEP)
    assert family.members() == sorted([one.pid, other.pid])
    assert family.has(one.pid)


def test_a_mark_that_only_begins_alike_is_another(begin: Begin) -> None:
    family = ProcessTree.new()
    process = begin(SLEEP, mark=family.mark + "0")
    assert not family.has(process.pid)


def test_by_group_by_descent_and_by_lock(begin: Begin, tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    reader = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    grouped = begin(SLEEP, process_group=0)
    holder = begin(SLEEP, pass_fds=[lock])
    looker = begin(SLEEP, pass_fds=[reader])
    os.close(lock)
    os.close(reader)
    parent = begin("import os, time; os.fork() or time.sleep(60); print('ready', flush=True); time.sleep(60)")
    assert replace(ProcessTree.new(), group=grouped.pid).members() == [grouped.pid]
    assert holders(tmp_path / "lock") == [holder.pid]
    assert replace(ProcessTree.new(), lock=tmp_path / "lock").members() == [holder.pid]
    assert replace(ProcessTree.new(), lock=tmp_path / "lock").has(holder.pid)
    assert not replace(ProcessTree.new(), lock=tmp_path / "lock").has(looker.pid)
    (child,) = replace(ProcessTree.new(), below=parent.pid).members()
    assert replace(ProcessTree.new(), below=parent.pid).has(child)
    os.kill(child, 9)


def test_a_zombie_is_nobody_and_we_are_not_one_of_them(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    family = ProcessTree.new()
    process = begin(SLEEP, mark=family.mark)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{process.pid}").exists()
    assert family.members() == []
    assert not replace(family, group=os.getpgrp()).has(os.getpid())


def test_who_obeys_is_not_killed(begin: Begin) -> None:
    family = ProcessTree.new()
    process = begin(SLEEP, mark=family.mark)
    with Termination(family, grace=10) as ending:
        ending.finish()
        assert (ending.killed, ending.left, len(ending.asked)) == (False, [], 1)
    assert process.wait() == -15


def test_who_does_not_obey_is_killed_after_the_grace(begin: Begin) -> None:
    family = ProcessTree.new()
    process = begin(DEAF, mark=family.mark)
    began = time.monotonic()
    with Termination(family, grace=0.5) as ending:
        ending.finish()
        assert ending.killed
    assert 0.5 <= time.monotonic() - began < 10
    assert process.wait() == -9


def test_one_that_stands_still_hears_it_too(begin: Begin) -> None:
    family = ProcessTree.new()
    process = begin(
        "import os, signal; print('ready', flush=True); os.kill(os.getpid(), signal.SIGSTOP)", mark=family.mark
    )
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    with Termination(family, grace=10) as ending:
        ending.finish()
        assert not ending.killed
    assert process.wait() == -15


def test_who_comes_later_is_ended_as_well(begin: Begin) -> None:
    family = ProcessTree.new()
    phoenix = """
import os, signal, time
def rise(*_):
    if os.fork(): os._exit(0)
signal.signal(signal.SIGTERM, rise)
print('ready', flush=True)
while True: time.sleep(0.05)
"""
    begin(phoenix, mark=family.mark)
    with Termination(family, grace=0.5) as ending:
        ending.finish()
        assert ending.killed
    assert family.members() == []


def test_nobody_else_is_signalled_when_a_number_is_used_again(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that was found has ended, and its number is another's by the time of the signal."""
    innocent = begin(SLEEP)
    found = [[innocent.pid]]
    monkeypatch.setattr(ProcessTree, "_look", lambda family: found.pop() if found else [])
    with Termination(ProcessTree.new(), grace=0) as ending:
        ending.finish()
        assert ending.asked == []
    assert innocent.poll() is None


def test_without_pidfds(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(pid: int) -> int:
        raise OSError("sandbox")

    monkeypatch.setattr(os, "pidfd_open", refused)
    family = ProcessTree.new()
    process = begin(DEAF, mark=family.mark)
    with Termination(family, grace=0.3) as ending:
        ending.finish()
    assert process.wait() == -9

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

from connrunner.processes.tree import RUN_ID_VARIABLE, ProcessTree, Termination, find_lock_holders

pytestmark = pytest.mark.slow

SLEEP = "import time; print('ready', flush=True); time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEP


@pytest.fixture
def begin() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a Python text and wait until it is ready; it is ended after the test whatever happens."""
    begun: list[subprocess.Popen[bytes]] = []

    def start(program: str, *, mark: str = "", **more: Any) -> subprocess.Popen[bytes]:
        environment = {**os.environ, RUN_ID_VARIABLE: mark} if mark else dict(os.environ)
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
    tree = ProcessTree.new()
    one, other = begin(SLEEP, mark=tree.mark), begin(SLEEP, mark=tree.mark, start_new_session=True)
    begin(SLEEP, mark=ProcessTree.new().mark)
    begin(SLEEP)
    assert tree.members() == sorted([one.pid, other.pid])
    assert tree.has(one.pid)


def test_a_mark_that_only_begins_alike_is_another(begin: Begin) -> None:
    tree = ProcessTree.new()
    process = begin(SLEEP, mark=tree.mark + "0")
    assert not tree.has(process.pid)


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
    assert find_lock_holders(tmp_path / "lock") == [holder.pid]
    assert replace(ProcessTree.new(), lock=tmp_path / "lock").members() == [holder.pid]
    assert replace(ProcessTree.new(), lock=tmp_path / "lock").has(holder.pid)
    assert not replace(ProcessTree.new(), lock=tmp_path / "lock").has(looker.pid)
    (child,) = replace(ProcessTree.new(), below=parent.pid).members()
    assert replace(ProcessTree.new(), below=parent.pid).has(child)
    os.kill(child, 9)


def test_a_zombie_is_nobody_and_we_are_not_one_of_them(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = ProcessTree.new()
    process = begin(SLEEP, mark=tree.mark)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{process.pid}").exists()
    assert tree.members() == []
    assert not replace(tree, group=os.getpgrp()).has(os.getpid())


def test_who_obeys_is_not_killed(begin: Begin) -> None:
    tree = ProcessTree.new()
    process = begin(SLEEP, mark=tree.mark)
    with Termination(tree, grace=10) as termination:
        termination.finish()
        assert (termination.had_to_kill, termination.remaining, len(termination.terminated)) == (False, [], 1)
    assert process.wait() == -15


def test_who_does_not_obey_is_killed_after_the_grace(begin: Begin) -> None:
    tree = ProcessTree.new()
    process = begin(DEAF, mark=tree.mark)
    began = time.monotonic()
    with Termination(tree, grace=0.5) as termination:
        termination.finish()
        assert termination.had_to_kill
    assert time.monotonic() - began >= 0.5
    assert process.wait() == -9


def test_one_that_stands_still_hears_it_too(begin: Begin) -> None:
    tree = ProcessTree.new()
    process = begin(
        "import os, signal; print('ready', flush=True); os.kill(os.getpid(), signal.SIGSTOP)", mark=tree.mark
    )
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    with Termination(tree, grace=10) as termination:
        termination.finish()
        assert not termination.had_to_kill
    assert process.wait() == -15


def test_who_comes_later_is_ended_as_well(begin: Begin) -> None:
    tree = ProcessTree.new()
    phoenix = """
import os, signal, time
def rise(*_):
    if os.fork(): os._exit(0)
signal.signal(signal.SIGTERM, rise)
print('ready', flush=True)
while True: time.sleep(0.05)
"""
    begin(phoenix, mark=tree.mark)
    with Termination(tree, grace=0.5) as termination:
        termination.finish()
        assert termination.had_to_kill
    assert tree.members() == []


def test_nobody_else_is_signalled_when_a_number_is_used_again(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that was found has ended, and its number is another's by the time of the signal."""
    innocent = begin(SLEEP)
    found = [[innocent.pid]]
    monkeypatch.setattr(ProcessTree, "_look", lambda tree: found.pop() if found else [])
    with Termination(ProcessTree.new(), grace=0) as termination:
        termination.finish()
        assert termination.terminated == []
    assert innocent.poll() is None


def test_without_pidfds(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(pid: int) -> int:
        raise OSError("sandbox")

    monkeypatch.setattr(os, "pidfd_open", refused)
    tree = ProcessTree.new()
    process = begin(DEAF, mark=tree.mark)
    with Termination(tree, grace=0.3) as termination:
        termination.finish()
    assert process.wait() == -9

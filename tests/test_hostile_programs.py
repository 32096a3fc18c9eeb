"""Programs that do not want to end: stopped, out of time, and orphaned by SIGKILL; none of their processes lives on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connrunner.core.planning.due import StopRequest
from connrunner.state import requests
from tests.conftest import Place

pytestmark = [pytest.mark.slow, pytest.mark.long]

BEGIN = """
import os, signal, sys, time
def deaf():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
def ready():
    open(sys.argv[1] + ".ready", "w").close()
def stay():
    ready()
    while True: time.sleep(60)
def again(text):  # the same interpreter once more, with the word that the test looks for
    return [sys.executable, "-I", "-S", "-c", START + text, sys.argv[1]]
"""
DETACH = "os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0)\n"

PROGRAMS = {
    "plain": "stay()",
    "deaf": "deaf(); stay()",
    "other-session": "deaf(); os.fork() or os.setsid(); stay()",
    "daemon": "deaf()\nif os.fork() == 0:\n    os.setsid(); os.fork() and os._exit(0); stay()\ntime.sleep(60)",
    "fifty": "deaf()\nfor _ in range(50):\n    if os.fork() == 0: time.sleep(600)\nstay()",
    "no-environment": "os.fork() or os.setsid(); os.execve(sys.executable, again('deaf(); stay()'), {})",
    "no-output": "deaf(); os.close(1); os.close(2); stay()",
    "zombies": "deaf()\nfor _ in range(200):\n    if os.fork() == 0: os._exit(0)\nstay()",
    "stands-still": "ready(); os.kill(os.getpid(), signal.SIGSTOP); time.sleep(60)",
    "phoenix": (
        "def rise(*_):\n    if os.fork(): os._exit(0)\n    deaf()\nsignal.signal(signal.SIGTERM, rise)\nready()\n"
        "while True: time.sleep(0.05)"
    ),
    "one-line": "ready()\nwhile True: os.write(1, b'x' * 1_000_000)",
    "binary": "ready()\nwhile True: os.write(1, os.urandom(65536))",
}
# This one hides from everything but its descent, so it is found for as long as its worker lives.
FORGETFUL = (
    "if os.fork() == 0:\n    os.closerange(3, 100)\n    os.setsid(); os.fork() and os._exit(0)\n"
    "    os.execve(sys.executable, again('deaf(); stay()'), {})\ntime.sleep(60)"
)


class Volley:
    """Every program at once, each in a lane of its own."""

    def __init__(self, place: Place, programs: dict[str, str], *, copies: int = 1, more: str = "") -> None:
        self.place = place
        self.names = [f"{name}-{copy}" for name in programs for copy in range(copies)]
        for name in self.names:
            text = f"START = {BEGIN!r}\n{BEGIN}{programs[name.rpartition('-')[0]]}"
            run = json.dumps([sys.executable, "-I", "-S", "-c", text, str(place.folder / name)])
            place.write(
                f"connections/{name}.yaml",
                f"schedule: {{type: times_per_day, times: 1}}\nlane: {name}\ncommand: {{run: {run}}}\n{more}",
            )

    def start(self) -> subprocess.Popen[str]:
        tick = self.place.start("tick")
        until(lambda: all((self.place.folder / f"{name}.ready").exists() for name in self.names), 120)
        return tick

    def stop(self) -> datetime:
        at = datetime.now(UTC)
        for record in self.started():
            requests.request_stop(
                self.place.state,
                StopRequest(connection=record["connection"], run=record["run"], asked_at=at, asked_by="test@here"),
            )
        return at

    def started(self) -> list[dict[str, Any]]:
        return [record for record in self.place.journal() if record["type"] == "started"]

    def ended(self) -> list[dict[str, Any]]:
        return [record["run"] for record in self.place.journal() if record["type"] == "ended"]

    def workers(self) -> list[int]:
        logs = (self.place.state.log(record["connection"], record["run"]) for record in self.started())
        return [json.loads(log.read_text().splitlines()[0])["pid"] for log in logs]

    def outcomes(self) -> Counter[tuple[str, str]]:
        assert len({(run["connection"], run["run"]) for run in self.ended()}) == len(self.ended())
        return Counter((run["outcome"], run["code"]) for run in self.ended())

    def left(self) -> list[str]:
        """Return the command lines of processes that belong to the volley."""
        word = str(self.place.folder).encode() + b"/"
        found = []
        for path in Path("/proc").glob("[1-9]*"):
            try:
                command = (path / "cmdline").read_bytes()
            except OSError:
                continue
            if word in command:
                found.append(f"{path.name}: {command[-80:]!r}")
        return found


def tell(figures: str) -> None:
    """Say what was measured; `pytest -s` shows it."""
    sys.stdout.write(f"\n{figures}\n")


def until(is_so: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def test_stopped(place: Place) -> None:
    """More than 200 stops; where there is a processor for it, one takes no longer than the grace and two seconds."""
    seconds: list[float] = []
    for number in range(4):
        here = Place(place.folder / f"round-{number}")
        here.write("connrunner.yaml", "version: 1\n")
        here.write("profile.yaml", "properties:\n  id: {type: text, identifier: true}\n")
        volley = Volley(here, {**PROGRAMS, "forgetful": FORGETFUL}, copies=4)
        tick = volley.start()
        asked = volley.stop()
        tick.communicate(timeout=120)
        assert volley.outcomes() == {("stopped", "stopped"): len(volley.names)}
        assert volley.left() == []
        seconds += [(datetime.fromisoformat(run["ended_at"]) - asked).total_seconds() for run in volley.ended()]
    seconds.sort()
    tell(f"{len(seconds)} stops, 0 left; p50 {seconds[len(seconds) // 2]:.1f} s, p99 {seconds[-3]:.1f} s")
    assert len(seconds) > 200


def test_out_of_time(place: Place) -> None:
    volley = Volley(place, {**PROGRAMS, "forgetful": FORGETFUL}, more="timeout: 5s\n")
    place.start("tick").communicate(timeout=180)
    assert volley.outcomes() == {("failed", "timeout"): len(volley.names)}
    assert volley.left() == []


def test_their_worker_killed(place: Place) -> None:
    volley = Volley(place, PROGRAMS)
    tick = volley.start()
    for pid in volley.workers():
        os.kill(pid, signal.SIGKILL)
    tick.communicate(timeout=120)
    assert volley.outcomes() == {("failed", "crashed"): len(volley.names)}
    assert volley.left() == []


def test_the_tick_killed_and_then_stopped(place: Place) -> None:
    volley = Volley(place, PROGRAMS)
    tick = volley.start()
    tick.kill()
    tick.communicate()
    assert len([line for line in volley.left() if "START" not in line]) >= len(volley.names)
    volley.stop()
    place.run("tick")
    assert volley.outcomes() == {("stopped", "stopped"): len(volley.names)}
    assert volley.left() == []


def test_tick_and_worker_killed(place: Place) -> None:
    volley = Volley(place, PROGRAMS)
    tick = volley.start()
    tick.kill()
    for pid in volley.workers():
        os.kill(pid, signal.SIGKILL)
    tick.communicate()
    place.run("tick")
    assert volley.outcomes() == {("interrupted", "interrupted"): len(volley.names)}
    assert volley.left() == []


FLOOD = """
import os
block = (b"x" * 79 + b"\\n") * 13000
for _ in range({blocks}): os.write(1, block)
os.write(1, b'{{"counts": {{"created": 5}}}}\\nend\\n')
raise SystemExit(7)
"""


def test_ten_gigabytes(tmp_path: Path) -> None:
    """Memory and log stay bounded, the exit status is exact, what was reported counts."""
    program = f"""
import sys, time
from pathlib import Path
from connrunner.connectors import command
from connrunner.core.model import Command
from connrunner.processes.output import Output
from connrunner.processes.tree import ProcessTree
from connrunner.state.run_files import RunLog
import resource
log = RunLog(Path("log"))
done = command.run_declared_program(Command(run=(sys.executable, "-c", {FLOOD.format(blocks=9700)!r})), Output(mask=str, report=log),
    workspace=Path("."), environment={{}}, timeout=None, tree=ProcessTree.new())
print(done.exit_status, done.counts.created, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    seconds = time.monotonic() - began
    status, created, memory = map(int, done.stdout.split())
    size = (tmp_path / "log").stat().st_size
    tell(f"10.1 GB in {seconds:.0f} s: {10088 / seconds:.0f} MB/s, {memory} MB of memory, a log of {size:,} bytes")
    assert (status, created) == (7, 5)
    assert memory < 200
    assert size < 40_000_000
    last = (tmp_path / "log").read_text().splitlines()[-1]
    assert '"message":"end"' in last

"""What does the page cost with many connections, a long past and many viewers?

    python -m benchmarks.page [CONNECTIONS] [RUNS]      (default: 10000 connections, 1000000 runs in all)

CPU milliseconds of the server's process for the first byte of each address, medians; its memory after them; the share of
a core that 50 live viewers of one growing log take.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks import workspaces
from connrunner.core import instant
from connrunner.core.counts import Counts
from connrunner.core.model import Outcome
from connrunner.state.folder import StateFolder
from tests.made import ended_run, write_history

ROUNDS = 7
VIEWERS = 50
LINES_A_SECOND = 20
WATCHED = 10.0  # seconds
NAME = "c00001"
ADDRESSES = (
    "/",
    "/?q=c0001",
    "/queue",
    "/timeline",
    f"/connections/{NAME}",
    f"/connections/{NAME}/runs/1",
    "/notifications",
    "/health",
    "/healthz",
    "/metrics",
    "/api/v1/status",
    "/api/v1/connections",
    f"/api/v1/connections/{NAME}",
    f"/api/v1/connections/{NAME}/runs",
    f"/api/v1/connections/{NAME}/runs/1",
    "/api/v1/queue",
    "/api/v1/next?limit=100",
    "/api/v1/notifications",
)


def make(folder: Path, connections: int, runs: int) -> None:
    """Write a workspace of *connections*, one tick of it, and a past of *runs*."""
    workspaces.write_mixed(folder, connections)
    subprocess.run([command(), "tick"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    state, now = StateFolder(folder / ".connrunner"), datetime.now(UTC)
    for number in range(connections):
        name = f"c{number:05}"
        ended_at = now - timedelta(minutes=number % 1440)
        run = ended_run(
            connection=name,
            due_at=ended_at,
            queued_at=ended_at,
            started_at=ended_at - timedelta(seconds=30),
            run=runs // connections,
            ended_at=ended_at,
            seconds=30.0,
            kind="import",
            outcome=Outcome.SUCCEEDED,
            counts=Counts(read=1000, created=10, updated=20, unchanged=970),
            message="",
        )
        write_history(state, run, runs=runs // connections, apart=timedelta(hours=6))
    log = state.log(NAME, runs // connections)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")


def command() -> str:
    return str(Path(sys.executable).with_name("connrunner"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process so far, those of threads that ended too (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


def mib(pid: int, what: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def ask(port: int, path: str) -> tuple[int, int]:
    """Return status and size of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", path)
    answer = connection.getresponse()
    size = len(answer.read())
    connection.close()
    return answer.status, size


def watch(port: int, number: int, until: float, seen: list[int]) -> None:
    """Follow the log as a browser does, and count the events."""
    with socket.create_connection(("127.0.0.1", port)) as viewer:
        path = f"/api/v1/connections/{NAME}/runs/{number}/log"
        viewer.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode())
        viewer.settimeout(1)
        count = 0
        while time.monotonic() < until:
            try:
                count += viewer.recv(1 << 16).count(b"\ndata: ")
            except TimeoutError:
                continue
        seen.append(count)


def measure_viewers(folder: Path, pid: int, port: int, number: int) -> None:
    log = StateFolder(folder / ".connrunner").log(NAME, number)
    until = time.monotonic() + WATCHED + 2
    seen: list[int] = []
    viewers = [threading.Thread(target=watch, args=(port, number, until, seen)) for _ in range(VIEWERS)]
    for viewer in viewers:
        viewer.start()
    time.sleep(2)
    before, began = cpu(pid), time.monotonic()
    written = 0
    with log.open("a", buffering=1) as file:
        while time.monotonic() < until:
            event = {"at": instant.text(datetime.now(UTC)), "level": "info", "message": f"line {written}"}
            file.write(json.dumps(event) + "\n")
            written += 1
            time.sleep(1 / LINES_A_SECOND)
    share = (cpu(pid) - before) / (time.monotonic() - began)
    for viewer in viewers:
        viewer.join()
    print(f"{VIEWERS} viewers of a log that grows by {written / WATCHED:.0f} lines a second: {share:.1%} of a core")
    print(f"each of {len(seen)} saw {min(seen, default=0):,} to {max(seen, default=0):,} of {written:,} lines")


def main() -> None:
    connections, runs = (*map(int, sys.argv[1:3]), *(10_000, 1_000_000)[len(sys.argv) - 1 :])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(os.environ.get("CONNRUNNER_BENCH_FOLDER", f"{name}/workspace"))
        if not folder.exists():
            make(folder, connections, runs)
        port = free_port()
        server = subprocess.Popen(
            [command(), "web", "--listen", f"127.0.0.1:{port}"], cwd=folder, stderr=subprocess.DEVNULL
        )
        try:
            until = time.monotonic() + 120
            while time.monotonic() < until:
                try:
                    ask(port, "/healthz")
                    break
                except OSError:
                    time.sleep(0.1)
            print(f"{connections:,} connections, {runs:,} runs; started with {mib(server.pid, 'VmRSS'):.0f} MiB")
            print(f"{'':40}{'status':>7}{'KiB':>8}{'first, ms':>11}{'ms':>8}{'MiB':>6}{'at most':>8}")
            for path in ADDRESSES:
                costs = []
                for _ in range(ROUNDS):
                    before = cpu(server.pid)
                    status, size = ask(port, path)
                    costs.append(1000 * (cpu(server.pid) - before))
                first, later = costs[0], statistics.median(costs[1:])
                print(
                    f"{path:40}{status:>7}{size / 1024:>8.0f}{first:>11.1f}{later:>8.1f}"
                    f"{mib(server.pid, 'VmRSS'):>6.0f}{mib(server.pid, 'VmHWM'):>8.0f}"
                )
            measure_viewers(folder, server.pid, port, runs // connections)
            print(f"at most {mib(server.pid, 'VmHWM'):.0f} MiB")
        finally:
            server.terminate()
            server.wait()
    print(
        f"the server ended with {server.returncode}; {resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime:.1f} s in all"
    )


if __name__ == "__main__":
    main()

"""
Signs of life to somebody outside, who notices when they stop: pings in the manner of healthchecks.io.

Their rules (https://healthchecks.io/docs/http_api/): URL/start when work begins, URL when it went well, URL/fail when
it did not; `rid` says which start an end belongs to. A process of its own sends them, in order for each URL: nobody
waits for a slow server, and a success never overtakes its start.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Literal
from urllib.parse import urlencode, urlsplit, urlunsplit

from connrunner.core.model import Heartbeat, Outcome, Run

Ping = Literal["start", "success", "fail"]

PATIENCE = 5.0  # seconds that the end of a tick waits for the last pings
LONGEST = 1000  # characters of what is said beside a ping
WELL = (Outcome.SUCCEEDED, Outcome.PARTIAL)  # it did its work; people who want to know of refused rows get mail


def ping_address(url: str, sign: Ping, rid: str = "") -> str:
    """Return where the ping for *sign* goes."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/") + {"start": "/start", "success": "", "fail": "/fail"}[sign]
    query = "&".join(filter(None, (parts.query, urlencode({"rid": rid}) if rid else "")))
    return urlunsplit(parts._replace(path=path, query=query))


def run_ping_id(state: Path, connection: str, run: int, started_at: str) -> str:
    """Return the same UUID for the start and the end of a run, also when another tick records its end."""
    import uuid

    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{state}/{connection}/{run}/{started_at}"))


def describe_for_ping(run: Run) -> str:
    """Return what the outside may know of *run*: outcome, code and counters. Words may hold somebody's values."""
    code = f" ({run.result.code})" if run.result.code else ""
    counts = ", ".join(f"{name}: {count}" for name, count in run.result.counts.as_dict().items() if count)
    return f"run {run.run} {run.outcome}{code}" + (f"; {counts}" if counts else "")


def ping_of(run: Run) -> Ping:
    """Return whether *run* did its work."""
    return "success" if run.outcome in WELL else "fail"


class PingSender:
    """Hands pings to the process that sends them; none of its methods raises for what a network does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def send(self, url: str, sign: Ping, *, about: str, rid: str = "", body: str = "") -> None:
        """Have the ping for *sign* sent to *url*, a URL or a reference to a secret one; *about* is for complaints."""
        ping = {"url": url, "sign": sign, "rid": rid, "body": body[:LONGEST], "about": about}
        try:
            stdin = self._listening()
            stdin.write(json.dumps(ping).encode() + b"\n")
            stdin.flush()
        except OSError:
            self._process = None  # the outside notices

    def rest(self) -> list[dict[str, str]]:
        """Wait up to five seconds for the last pings; return which were not taken: {about, reason} each.

        What takes longer goes on by itself, for some seconds more.
        """
        if self._process is None:
            return []
        try:
            output, _ = self._process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return []
        self._process = None
        return [json.loads(line) for line in output.splitlines()]

    def _listening(self) -> IO[bytes]:
        """Return what the process reads, of a new one when there is none or when it has been told the last."""
        if self._process is None or self._process.poll() is not None or _stdin(self._process).closed:
            self._process = self._start()
        return _stdin(self._process)

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", "connrunner.messenger.pinger", str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt of the tick must not keep the news of it back
        )


def _stdin(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin


def next_ping(stamp: Path, heartbeat: Heartbeat, now: datetime) -> datetime:
    """Return when the next sign of life is due: *now* when there was none, or when the clock went back.

    The time stamp of *stamp* says when the last one was.
    """
    try:
        last = datetime.fromtimestamp(stamp.stat().st_mtime, UTC)
    except OSError:
        return now
    return now if last > now else last + timedelta(seconds=heartbeat.every)

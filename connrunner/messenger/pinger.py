"""The process that sends pings: JSON lines come in, the pings to each URL go out in their order, failures are told."""

from __future__ import annotations

import http.client
import json
import os
import queue
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from connrunner import __version__
from connrunner.config import secrets
from connrunner.errors import RunError
from connrunner.notify import pings
from connrunner.processes.limits import forbid_core_dumps

SLOW = 5.0  # seconds for each step of one ping
LAST = 10.0  # seconds for all that is left when nobody hands over any more


def send_ping(ping: dict[str, Any], folder: Path) -> str:
    """Send one ping; return why it was not taken, without the secret, or an empty text."""
    url = ping["url"]
    try:
        if secrets.is_reference(url):
            url = secrets.resolve_secret(url, folder=folder)
        request = urllib.request.Request(  # noqa: S310 - checked below
            pings.ping_address(url, ping["sign"], ping["rid"]),
            data=ping["body"].encode(),
            headers={"User-Agent": f"connrunner/{__version__}", "Content-Type": "text/plain; charset=utf-8"},
        )
        if request.type not in ("http", "https"):
            return "the URL of the heartbeat is not http:// or https://"
        with urllib.request.urlopen(request, timeout=SLOW):  # noqa: S310
            return ""
    except RunError as error:
        return str(error)
    except urllib.error.HTTPError as error:
        error.close()
        return f"the server answered {error.code}; is the URL right?"
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        words = getattr(reason, "strerror", None) or type(reason).__name__
        return f"the server cannot be reached: {words}"


class PingThread(threading.Thread):
    """Sends the pings to one URL, one after the other."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.pings: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._folder = folder

    def run(self) -> None:
        while (ping := self.pings.get()) is not None:
            if reason := send_ping(ping, self._folder):
                sys.stdout.write(json.dumps({"about": ping["about"], "reason": reason}) + "\n")
                sys.stdout.flush()


def main() -> None:
    """Send what stands on standard input for the workspace named as argument."""
    forbid_core_dumps()
    threads: dict[str, PingThread] = {}
    for line in sys.stdin.buffer:
        ping = json.loads(line)
        if ping["url"] not in threads:
            threads[ping["url"]] = PingThread(Path(sys.argv[1]))
            threads[ping["url"]].start()
        threads[ping["url"]].pings.put(ping)
    end = time.monotonic() + LAST
    for thread in threads.values():
        thread.pings.put(None)
    for thread in threads.values():
        thread.join(max(0.0, end - time.monotonic()))
    os._exit(0)  # not to wait for a name server that hangs


if __name__ == "__main__":
    main()

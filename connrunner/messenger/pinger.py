"""The process that sends pings: JSON lines come in, the pings to each URL go out in their order, failures are told."""

from __future__ import annotations

import http.client
import json
import os
import queue
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from connrunner import __version__
from connrunner.config import secrets
from connrunner.errors import RunError
from connrunner.notify import pings
from connrunner.processes.limits import forbid_core_dumps
from connrunner.text.hosts import is_link_local, is_loopback

SLOW = 5.0  # seconds for each step of one ping
LAST = 10.0  # seconds for all that is left when nobody hands over any more


def send_ping(ping: dict[str, Any], folder: Path) -> str:
    """Send one ping; return why it was not taken, without the secret, or an empty text."""
    url = ping["url"]
    try:
        if secrets.is_reference(url):
            url = secrets.resolve_secret(url, folder=folder)
        address = pings.ping_address(url, ping["sign"], ping["rid"])
        request = urllib.request.Request(  # noqa: S310 - checked below
            address,
            data=ping["body"].encode(),
            headers={"User-Agent": f"connrunner/{__version__}", "Content-Type": "text/plain; charset=utf-8"},
        )
        if request.type not in ("http", "https"):
            return "the URL of the heartbeat is not http:// or https://"
        host = urlsplit(address).hostname or ""
        if request.type == "http" and not is_loopback(host):
            return "the URL of the heartbeat is http://, which everybody on the way could read; write https://"
        if is_link_local(host):
            return _LINK_LOCAL
        with _opener(request.type).open(request, timeout=SLOW):
            return ""
    except RunError as error:
        return str(error)
    except _RefusedAddressError as error:
        return str(error)
    except urllib.error.HTTPError as error:
        error.close()
        return f"the server answered {error.code}; is the URL right?"
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        words = getattr(reason, "strerror", None) or type(reason).__name__
        return f"the server cannot be reached: {words}"


# --- where a ping may go -----------------------------------------------------------------------------------------

_LINK_LOCAL = "the heartbeat leads to an address where clouds tell a machine its credentials; is the URL right?"


class _RefusedAddressError(Exception):
    """A host is at an address that no ping goes to."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for a refusal: the service outside does not decide which servers this machine asks."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HttpConnection, request)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HttpsConnection, request)


class _HttpConnection(http.client.HTTPConnection):
    """A connection to this machine."""

    def connect(self) -> None:
        super().connect()
        if not is_loopback(_peer(self)):
            raise _RefusedAddressError("the host of the heartbeat is not this machine; write https://")


class _HttpsConnection(http.client.HTTPSConnection):
    """A connection that goes to no link-local address; of what a proxy connects to, the proxy knows."""

    def connect(self) -> None:
        is_direct = getattr(self, "_tunnel_host", None) is None
        if is_direct:
            self._check(str(found[4][0]) for found in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM))
        super().connect()
        if is_direct:  # a name may be looked up to something else the second time
            self._check([_peer(self)])

    @staticmethod
    def _check(addresses: Iterable[str]) -> None:
        if any(map(is_link_local, addresses)):
            raise _RefusedAddressError(_LINK_LOCAL)


def _peer(connection: http.client.HTTPConnection) -> str:
    return str(connection.sock.getpeername()[0])


def _opener(scheme: str) -> urllib.request.OpenerDirector:
    """Return what opens a URL of *scheme*: one for this machine by no proxy, which would be another one."""
    handlers: list[urllib.request.BaseHandler] = [_HttpHandler(), _HttpsHandler(), _NoRedirects()]
    if scheme == "http":
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


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

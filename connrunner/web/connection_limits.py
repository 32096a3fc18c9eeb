"""How long a client may take, and how many there may be: uvicorn bounds neither a head that never comes nor the number.

When there are too many, the connection that has been idle longest goes: so ten thousand that only open one keep nobody
from the page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from connrunner.text.hosts import is_loopback
from connrunner.web.application import SECURITY_HEADERS
from connrunner.web.peer_account import find_account

MOST = 500  # connections at once, idle ones among them
HEAD_PATIENCE = 10.0  # seconds in which the head of a request has to come
WRITE_PATIENCE = 60.0  # seconds in which a client has to take something of what it is sent
LARGEST_HEAD = 16 * 1024  # bytes
IDLE = 15  # seconds for which a connection without a request is kept


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 with an end to everything that a client can drag out."""

    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, when there is room, and note whose it is."""
        super().connection_made(transport)
        if len(self.connections) > MOST and not self._make_room():
            transport.abort()
            return
        account = None
        if self.client and self.server and self.server[1] is not None and is_loopback(self.client[0]):
            account = find_account(self.client, (self.server[0], self.server[1]))
        self.app_state = {**self.app_state, "account": account}
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._cancel_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes: the head of a request has to be whole in time, however slowly they drip."""
        if self._head_timer is None and self.is_idle:
            self._await_head()
        super().data_received(data)
        if not self.is_idle and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def pause_writing(self) -> None:
        """Give a client that takes nothing a while."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(WRITE_PATIENCE, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: it takes something."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Connection", "close"),
            ("Cache-Control", "no-store"),
        ]
        response = h11.Response(status_code=400, headers=[*headers, *SECURITY_HEADERS.items()], reason=b"Bad Request")
        for event in (response, h11.Data(data=msg.encode("ascii", "replace")), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    @property
    def is_idle(self) -> bool:
        """True while no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_PATIENCE, self.transport.abort)

    def _cancel_timers(self) -> None:
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._write_timer = None

    def _make_room(self) -> bool:
        """Close the connection that has been idle longest; tell whether there was one."""
        ours: Iterable[Any] = self.connections
        waiting = [each for each in ours if each is not self and each.is_idle]
        if not waiting:
            return False
        oldest = min(waiting, key=lambda each: each.idle_since)
        oldest.transport.abort()
        self.connections.discard(oldest)
        return True

    @property
    def idle_since(self) -> float:
        """When the head of its next request was first waited for; now for one that keeps its connection."""
        return self._head_timer.when() if self._head_timer is not None else float("inf")

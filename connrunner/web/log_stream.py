"""A log while it grows, as server-sent events (HTML Standard, 9.2): many viewers, one reader.

Each event has the number of its line as its id, so a browser that was cut off asks for what is behind it. When the run
has ended, an event `end` says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

from connrunner.errors import ConnrunnerError
from connrunner.web.log_reading import LogPart, LogPlace, find_place, read_part
from connrunner.web.problem import RefusedError
from connrunner.web.site import Site

EVERY = 0.5  # seconds between two looks at a log that somebody watches
QUIET = 15.0  # seconds after which a comment keeps the connection from being taken for a dead one
SETTLED = 4  # looks without a new line after which a run that works no more is taken for one that ended
MOST = 200  # viewers at once
HEAD = b"retry: 3000\n\n"
END = b"event: end\ndata: {}\n\n"
COMMENT = b": still here\n\n"

log = logging.getLogger("connrunner.web")


class SharedLog:
    """One log that viewers watch. What one of them has had read, the others behind the same place get as well."""

    def __init__(self, site: Site, path: Path, is_running: Callable[[], bool]) -> None:
        self.viewers = 0
        self._site, self._path, self._is_running = site, path, is_running
        self._size = -1
        self._looks = 0
        self._changed = asyncio.Event()
        self._reading = asyncio.Lock()
        self._last: tuple[LogPlace, LogPart, bytes] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look, for the first viewer."""
        if self._task is None:
            self._task = asyncio.create_task(self._watch())

    def stop(self) -> None:
        """Look no more, after the last viewer."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    @property
    def is_over(self) -> bool:
        """True when the run works no more, and its log has not grown since."""
        return self._looks >= SETTLED

    async def read(self, place: LogPlace) -> tuple[LogPart, bytes]:
        """Return what is behind *place*, and as events."""
        async with self._reading:
            if self._last is None or self._last[0] != place:
                part = await self._site.ask(lambda: read_part(self._path, place))
                if part.behind == place:
                    return part, b""
                self._last = place, part, b"".join(map(_as_event, part.events))
            return self._last[1:]

    async def wait(self) -> None:
        """Wait until there may be more, or for a while."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), QUIET)

    async def _watch(self) -> None:
        while True:
            try:
                size, runs = await self._site.ask(self._look)
            except (RefusedError, ConnrunnerError, OSError) as error:
                log.warning("a log cannot be looked at: %s", type(error).__name__)
                size, runs = self._size, True
            self._looks = 0 if runs or size != self._size else self._looks + 1
            if size != self._size or self._looks == SETTLED:
                self._size = size
                changed, self._changed = self._changed, asyncio.Event()
                changed.set()
            await asyncio.sleep(EVERY)

    def _look(self) -> tuple[int, bool]:
        try:
            return self._path.stat().st_size, self._is_running()
        except FileNotFoundError:  # it was removed: there is nothing more to come
            return 0, False


class SharedLogs:
    """The logs that are watched now."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._logs: dict[Path, SharedLog] = {}

    async def follow(self, path: Path, after: int, is_running: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Yield the events behind line *after*, as they come, until the run has ended."""
        shared = self._logs.setdefault(path, SharedLog(self._site, path, is_running))
        shared.viewers += 1
        self._site.streams += 1
        shared.start()
        try:
            async for part in self._events(shared, path, after):
                yield part
        except RefusedError:  # the disk is slow: the browser asks again, behind what it has
            return
        finally:
            shared.viewers -= 1
            self._site.streams -= 1
            if not shared.viewers:
                shared.stop()
                self._logs.pop(path, None)

    async def _events(self, shared: SharedLog, path: Path, after: int) -> AsyncIterator[bytes]:
        place = await self._site.ask(lambda: find_place(path, after))
        yield HEAD
        while not self._site.stopping.is_set():
            was_over = shared.is_over
            part, events = await shared.read(place)
            if events:
                yield events
            if part.has_ended or (was_over and part.behind == place):
                yield END
                return
            if part.behind == place:
                await shared.wait()
                yield COMMENT
            place = part.behind


def _as_event(numbered: tuple[int, bytes]) -> bytes:
    number, line = numbered
    # A carriage return ends a line of the stream; within JSON one can only be a blank.
    return b"id: %d\ndata: %s\n\n" % (number, line.replace(b"\r", b" "))

"""A session with an SFTP server: opened when it is first used, again when it breaks, its errors in words."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from connrunner.connectors.sftp.login import Account, TrustFailure, describe, dial, log_in
from connrunner.core.report import Report
from connrunner.errors import RunError

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")
Alive = Callable[[], None]
"""Tells that something arrived; after `SILENCE` seconds without, the connection is taken for dead."""

SILENCE = 60.0  # seconds without a byte
PATIENCE = 5.0  # seconds for cleaning up at the server when the run has to end
ATTEMPTS = 3
PAUSE = 2.0  # seconds before the second attempt at most, twice as long before the third
AGAIN = ("unreachable", "connection-lost", "stalled")  # codes of the errors that a new connection may cure


class SftpSession:
    """A session with the server of an account, as long as the context lasts.

    It lives in a thread with an event loop of its own, for which the calling thread waits. A signal that ends the run
    raises its exception in the main thread; inside an event loop it could be swallowed by a callback.
    """

    def __init__(self, account: Account, report: Report) -> None:
        self.account = account
        self._report = report
        self._connection: asyncssh.SSHClientConnection | None = None
        self._client: asyncssh.SFTPClient | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._silence = SILENCE
        self._stalled = False

    def __enter__(self) -> Self:
        logging.getLogger("asyncio").addFilter(_says_something)
        ready = threading.Event()

        async def live() -> None:
            self._loop = asyncio.get_running_loop()
            self._end = asyncio.Event()
            ready.set()
            await self._end.wait()
            await self._hang_up()

        self._thread = threading.Thread(target=lambda: asyncio.run(live()), name="sftp", daemon=True)
        self._thread.start()
        ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(2 * PATIENCE)

    def do(self, doing: str, work: Callable[[asyncssh.SFTPClient, Alive], Awaitable[T]]) -> T:
        """Return what *work* comes to; it is done once more on a new connection when this one breaks.

        *doing* says what the server is asked to do, like "list in/". RunError when it does not do it.
        """
        attempt = 1
        while True:
            try:
                if self._client is None:
                    self._connect()
                return self._wait(self._attempt(doing, work))
            except RunError as error:
                if error.code not in AGAIN or attempt == ATTEMPTS:
                    raise
                self._report.message(f"{error.message}; trying again", level="warning")
            time.sleep(random.uniform(0, PAUSE * attempt))  # noqa: S311 - no secret
            attempt += 1

    async def _attempt(self, doing: str, work: Callable[[asyncssh.SFTPClient, Alive], Awaitable[T]]) -> T:
        import asyncssh

        assert self._client is not None
        host, user = self.account.address, self.account.user
        self._stalled = False
        self._alive()
        try:
            return await work(self._client, self._alive)
        except (asyncssh.DisconnectError, asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, OSError) as error:
            raise self._broken(doing, error) from error
        except asyncssh.SFTPPermissionDenied as error:
            raise RunError(
                f"{host} does not allow {user} to {doing}",
                hint="correct the path, or ask the server's owner for the right to do that",
                code="permission-denied",
            ) from error
        except asyncssh.SFTPError as error:
            raise RunError(
                f"{host} cannot {doing}: {describe(error)}",
                hint="see that the path is right and the server's disk has room, or ask its owner",
                code="server-error",
                waiting_helps=True,
            ) from error
        finally:
            self._rest()

    def _broken(self, doing: str, error: Exception) -> RunError:
        """Forget the connection, and return the error that says what happened to it."""
        self._drop()
        host, hint = self.account.address, "try later, or ask the server's owner"
        if self._stalled:
            text = f"{host} sent nothing for {SILENCE:g} s when asked to {doing}"
            return RunError(text, hint=hint, code="stalled", waiting_helps=True)
        text = f"the connection to {host} broke when asked to {doing}: {describe(error)}"
        return RunError(text, hint=hint, code="connection-lost", waiting_helps=True)

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what *coroutine* comes to in the session's thread; it is cancelled when a signal ends the run."""
        started: list[asyncio.Task[T]] = []
        ended = threading.Event()

        def start() -> None:
            started.append(self._loop.create_task(coroutine))
            started[0].add_done_callback(end)

        def end(task: asyncio.Task[T]) -> None:
            if not task.cancelled():
                task.exception()  # seen, also when nothing waits for it any more
            ended.set()

        def cancel() -> None:
            self._silence = PATIENCE
            self._alive()
            started[0].cancel()

        self._loop.call_soon_threadsafe(start)
        try:
            ended.wait()
        except BaseException:
            self._loop.call_soon_threadsafe(cancel)
            ended.wait(2 * PATIENCE)
            raise
        return started[0].result()

    # --- the connection ------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        account = self.account
        refused: list[TrustFailure] = []
        for algorithms in account.trust.rounds(account.host, account.port):
            unproven = self._wait(self._open(dial(account), algorithms))
            if unproven is None:
                return
            refused.append(unproven)
        offered = [each.offered for each in refused if each.offered]
        if offered:
            raise account.trust.refusal(account.host, account.port, offered)
        raise RunError(
            f"no secure connection to {account.address}: {refused[0].reason}",
            hint="ask the server's owner",
            code="no-secure-connection",
        )

    async def _open(self, line: socket.socket, algorithms: Sequence[str]) -> TrustFailure | None:
        import asyncssh

        try:
            found = await log_in(self.account, line, algorithms)
        except BaseException:
            line.close()
            raise
        if isinstance(found, TrustFailure):
            line.close()
            return found
        self._connection = found
        self._stalled = False
        self._alive()
        try:
            self._client = await found.start_sftp_client(path_encoding="utf-8", path_errors="surrogateescape")
        except (asyncssh.Error, OSError) as error:
            if self._stalled or isinstance(error, asyncssh.DisconnectError | OSError):
                raise self._broken("start SFTP", error) from error
            self._drop()
            raise RunError(
                f"{self.account.address} let {self.account.user} in, but gives no SFTP: {describe(error)}",
                hint="ask the server's owner to allow SFTP for this user",
                code="no-sftp",
            ) from error
        finally:
            self._rest()
        return None

    def _drop(self) -> None:
        if self._connection:
            self._connection.abort()
        self._connection = self._client = None

    async def _hang_up(self) -> None:
        if self._connection:
            self._connection.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._connection.wait_closed()
            self._drop()

    # --- is anybody there? ---------------------------------------------------------------------------------------
    # A timeout that cancels would not do: what is cancelled closes its file first, and so waits for the same server.

    def _alive(self) -> None:
        self._rest()
        self._watchdog = self._loop.call_later(self._silence, self._give_up)

    def _rest(self) -> None:
        if self._watchdog:
            self._watchdog.cancel()
            self._watchdog = None

    def _give_up(self) -> None:
        self._stalled = True
        if self._connection:
            self._connection.abort()


def _says_something(record: logging.LogRecord) -> bool:
    """False for what asyncio writes for each packet that asyncssh sends after a connection broke: we say so once."""
    return record.msg != "socket.send() raised exception."

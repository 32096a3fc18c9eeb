"""What can be asked of an SFTP server: look, list, fetch, store, move, remove."""

from __future__ import annotations

import asyncio
import os
import posixpath
import stat
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from connrunner.connectors.matching import NameBudget
from connrunner.connectors.sftp.sftp_session import Alive, SftpSession
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.words import plural

if TYPE_CHECKING:
    import asyncssh

BLOCK = 256 * 1024  # bytes; many servers allow less, OpenSSH about as much
UNDER_WAY = 8 * 1024 * 1024  # bytes asked for and not yet answered: what fills a long line, and takes memory
REQUESTS = 128  # that wait for an answer at once; more are too much for some servers
KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "pipe (FIFO)",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteEntry:
    """What is at a path of the server."""

    path: str
    kind: str
    size: int
    modified: int | None  # seconds since 1970 by the server's clock; None when it does not say

    @property
    def name(self) -> str:
        return posixpath.basename(self.path)


class RemoteFiles:
    """The files of a server, over a session with it. Paths are relative to the folder of the login, or absolute."""

    def __init__(self, session: SftpSession) -> None:
        self._session = session
        self._names = NameBudget()
        self.address = session.account.address

    def look(self, path: str, *, follow: bool = False) -> RemoteEntry | None:
        """Return what is at *path*, or with *follow* where a symbolic link there leads to; None when nothing is."""
        import asyncssh

        async def work(client: asyncssh.SFTPClient, _: Alive) -> RemoteEntry | None:
            try:
                return _entry(path, await (client.stat(path) if follow else client.lstat(path)))
            except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
                return None

        return self._session.do(f"look at {path}", work)

    def list(self, folder: str) -> list[RemoteEntry]:
        """Return what is in *folder*, without following symbolic links."""

        async def work(client: asyncssh.SFTPClient, alive: Alive) -> list[RemoteEntry]:
            entries = []
            async for found in client.scandir(folder):
                alive()
                self._names.take(1, f"{folder[:80]} on {self.address}")
                name = str(found.filename)
                if name in (".", ".."):
                    continue
                if not name or "/" in name or "\0" in name:
                    raise RunError(
                        f"{self.address} lists {name!r} in {folder}, which is not the name of a file",
                        hint="ask the server's owner",
                        code="bad-name",
                    )
                path = posixpath.join(folder, name)
                told = None not in (found.attrs.permissions, found.attrs.size, found.attrs.mtime)
                entries.append(_entry(path, found.attrs if told else await client.lstat(path)))
            return entries

        return self._session.do(f"list {folder}", work)

    def real(self, path: str) -> str:
        """Return the absolute path of *path*, without symbolic links when the server is able to say that."""

        async def work(client: asyncssh.SFTPClient, _: Alive) -> str:
            return str(await client.realpath(path))

        return self._session.do(f"look at {path}", work)

    def fetch(self, entry: RemoteEntry, local: Path) -> int:
        """Copy the file *entry*, up to its size, to *local*; return how many bytes there were."""

        async def work(client: asyncssh.SFTPClient, alive: Alive) -> int:
            remote = await client.open(entry.path, "rb", block_size=0)
            got = 0
            with _here(local):
                descriptor = os.open(local, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:

                async def block(start: int, end: int) -> None:
                    nonlocal got
                    while start < end:
                        content = cast("bytes", await remote.read(end - start, start))
                        if not content:
                            break
                        alive()
                        with _here(local):
                            os.pwrite(descriptor, content, start)
                        start += len(content)
                        got += len(content)

                await _in_blocks(entry.size, min(BLOCK, client.limits.max_read_len), block)
            finally:
                os.close(descriptor)
            await remote.close()
            return got

        return self._session.do(f"read {entry.path}", work)

    def store(self, local: Path, path: str, *, direct: bool = False) -> None:
        """Make *path* a file with the content of *local*: written beside it, checked, and renamed when it is whole.

        With *direct* it is written under its name at once, for servers that rename nothing.
        """
        import asyncssh

        folder, name = posixpath.split(path)
        part = path if direct else posixpath.join(folder, f".{name}.part")

        async def work(client: asyncssh.SFTPClient, alive: Alive) -> None:
            # Opening cuts what was there.
            remote = await (client.open(part, "wb", block_size=0) if direct else _create(client, part))

            async def block(start: int, end: int) -> None:
                with _here(local):
                    content = os.pread(rows.fileno(), end - start, start)
                await remote.write(content, start)
                alive()

            try:
                await _in_blocks(size, min(BLOCK, client.limits.max_write_len), block)
                with suppress(asyncssh.SFTPOpUnsupported):
                    await remote.fsync()
                await remote.close()
                arrived = (await client.stat(part)).size
                if arrived != size:
                    raise RunError(
                        f"{self.address} has {arrived:,} of {plural(size, 'byte')} of {path}",
                        hint="see that its disk has room, and that no other run writes this file",
                        code="incomplete",
                        waiting_helps=True,
                    )
                if not direct:
                    await self._replace(client, part, path)
            except BaseException:
                with suppress(asyncssh.Error, OSError):
                    await client.remove(part)
                raise

        with local.open("rb", buffering=0) as rows:
            size = os.fstat(rows.fileno()).st_size
            self._session.do(f"write {path}", work)

    async def _replace(self, client: asyncssh.SFTPClient, part: str, path: str) -> None:
        """Rename *part* to *path*. RunError when the server does not do that for us."""
        import asyncssh

        try:
            await _replace(client, part, path)
        except (asyncssh.SFTPPermissionDenied, asyncssh.SFTPOpUnsupported) as error:
            raise RunError(
                f"{self.address} does not allow {self._session.account.user} to rename {part} to {path}",
                hint="set `write: direct`, which writes under the final name at once, or ask the server's owner",
                code="permission-denied",
            ) from error

    def move(self, path: str, to: str) -> bool:
        """Rename *path*, but over no other file; False when there is no such file, or no such folder."""
        import asyncssh

        async def work(client: asyncssh.SFTPClient, _: Alive) -> bool:
            try:
                await client.rename(path, to)
            except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
                return False
            return True

        return self._session.do(f"move {path} to {to}", work)

    def remove(self, path: str) -> None:
        """Remove the file *path*; one that is gone is not an error."""
        import asyncssh

        async def work(client: asyncssh.SFTPClient, _: Alive) -> None:
            with suppress(asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
                await client.remove(path)

        self._session.do(f"delete {path}", work)

    def make_folder(self, path: str) -> None:
        """Make the folder *path* and those above it that are missing."""

        async def work(client: asyncssh.SFTPClient, _: Alive) -> None:
            await client.makedirs(path, exist_ok=True)

        self._session.do(f"make the folder {path}", work)


def _entry(path: str, attributes: asyncssh.SFTPAttrs) -> RemoteEntry:
    mode = attributes.permissions
    kind = "thing of unknown kind" if mode is None else KINDS.get(stat.S_IFMT(mode), "device")
    modified = None if attributes.mtime is None else int(attributes.mtime)
    return RemoteEntry(path=path, kind=kind, size=attributes.size or 0, modified=modified)


async def _create(client: asyncssh.SFTPClient, path: str) -> asyncssh.SFTPClientFile:
    """Return a new file to write, never one that is there: that may be a planted link."""
    import asyncssh

    try:
        return await client.open(path, "xb", block_size=0)
    except (asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists) as error:
        try:
            await client.remove(path)  # left by a run that broke off
        except asyncssh.SFTPNoSuchFile:
            raise error from None
        return await client.open(path, "xb", block_size=0)


async def _replace(client: asyncssh.SFTPClient, part: str, path: str) -> None:
    """Rename *part* to *path*, in one step where the server is able to; else there is a moment without any *path*."""
    import asyncssh

    try:
        await client.posix_rename(part, path)
    except asyncssh.SFTPOpUnsupported:
        try:
            await client.rename(part, path)
        except (asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists) as error:
            try:
                await client.remove(path)
            except asyncssh.SFTPNoSuchFile:
                raise error from None
            await client.rename(part, path)


async def _in_blocks(size: int, length: int, one: Callable[[int, int], Awaitable[None]]) -> None:
    """Call *one* with the start and end of each block of *size* bytes, many at a time."""
    starts = iter(range(0, size, length))

    async def some() -> None:
        for start in starts:
            await one(start, min(start + length, size))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(REQUESTS, UNDER_WAY // length, -(-size // length))):
                group.create_task(some())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


@contextmanager
def _here(local: Path) -> Iterator[None]:
    """Let an error of this machine's disk not look like one of the connection."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot use {local}: {error.strerror}",
            hint="see that this machine's disk has room",
            code="unwritable",
            waiting_helps=True,
        ) from error

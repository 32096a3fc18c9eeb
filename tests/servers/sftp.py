"""A real SFTP server in this process, which fails in the ways that servers and lines do."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import asyncssh.sftp

LONG_AGO = 1_700_000_000  # 2023-11-14T22:13:20Z
PASSWORD = "correct horse battery"


@dataclass
class Mood:
    """How the server behaves in a test; the requests that it got."""

    root: bytes = b""
    before: dict[str, Callable[[Files, bytes], Any]] = field(default_factory=dict)  # by request; may raise or wait
    asked: Counter[str] = field(default_factory=Counter)
    logins: list[str] = field(default_factory=list)
    opened: list[Any] = field(default_factory=list)  # files


class Gate(asyncssh.SSHServer):
    mood: Mood
    keys: dict[str, asyncssh.SSHKey]

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = conn

    def begin_auth(self, username: str) -> bool:
        self.mood.logins.append(username)
        if username == "too-many":  # as OpenSSH does when an agent offers one key after the other
            self.connection.disconnect(asyncssh.DISC_PROTOCOL_ERROR, "Too many authentication failures")
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return username in ("crm", "no-sftp") and password == PASSWORD

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == "crm" and key.convert_to_public() in self.keys.values()


class Files(asyncssh.SFTPServer):
    """The files under the mood's root, which is the folder of the login."""

    mood: Mood

    def __init__(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        if chan.get_extra_info("username") == "no-sftp":
            chan.exit(1)
        super().__init__(chan, chroot=self.mood.root)
        if "start" in self.mood.before:
            self.mood.before.pop("start")(self, b"")

    async def ask(self, what: str, path: bytes) -> None:
        self.mood.asked[what] += 1
        if what in self.mood.before:
            result = self.mood.before[what](self, path)
            if asyncio.iscoroutine(result):
                await result

    def cut(self) -> None:
        """End the connection without a word."""
        self.connection.abort()
        raise asyncssh.SFTPFailure("cut")

    async def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> Any:
        await self.ask("open", path)
        self.mood.opened.append(super().open(path, pflags, attrs))
        return self.mood.opened[-1]

    async def read(self, file_obj: Any, offset: int, size: int) -> bytes:
        await self.ask("read", os.fsencode(file_obj.name))
        return bytes(super().read(file_obj, offset, size))  # type: ignore[arg-type]

    async def write(self, file_obj: Any, offset: int, data: bytes) -> int:
        await self.ask("write", os.fsencode(file_obj.name))
        return int(super().write(file_obj, offset, data))  # type: ignore[arg-type]

    async def lstat(self, path: bytes) -> Any:
        await self.ask("lstat", path)
        return super().lstat(path)

    async def stat(self, path: bytes) -> Any:
        await self.ask("stat", path)
        return super().stat(path)

    async def scandir(self, path: bytes) -> Any:
        await self.ask("scandir", path)
        async for name in super().scandir(path):
            await self.ask("readdir", path)
            yield name

    async def realpath(self, path: bytes) -> Any:
        await self.ask("realpath", path)
        return super().realpath(path)

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        await self.ask("rename", oldpath)
        super().rename(oldpath, newpath)

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        await self.ask("posix_rename", oldpath)
        super().posix_rename(oldpath, newpath)

    async def remove(self, path: bytes) -> None:
        await self.ask("remove", path)
        super().remove(path)


@dataclass(frozen=True)
class Running:
    port: int
    fingerprint: str
    public: str
    kinds: dict[str, str]  # fingerprints by algorithm
    mood: Mood
    keys: dict[str, asyncssh.SSHKey]


@contextmanager
def running(*kinds: str) -> Iterator[Running]:
    """Run a server that has a host key of each of *kinds*."""
    host_keys = [asyncssh.generate_private_key(kind) for kind in kinds]
    mood = Mood()
    keys: dict[str, asyncssh.SSHKey] = {}
    gate = type("Gate", (Gate,), {"mood": mood, "keys": keys})
    files = type("Files", (Files,), {"mood": mood})
    ready: threading.Event = threading.Event()
    facts: dict[str, Any] = {}

    async def serve() -> None:
        facts["loop"] = asyncio.get_running_loop()
        facts["end"] = asyncio.Event()
        listener = await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=host_keys, server_factory=gate, sftp_factory=files, gss_host=None
        )
        facts["port"] = listener.get_port()
        ready.set()
        await facts["end"].wait()
        listener.close()
        await listener.wait_closed()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    yield Running(
        port=facts["port"],
        fingerprint=host_keys[0].get_fingerprint(),
        public=host_keys[0].export_public_key().decode().strip(),
        kinds={kind: key.get_fingerprint() for kind, key in zip(kinds, host_keys, strict=True)},
        mood=mood,
        keys=keys,
    )
    facts["loop"].call_soon_threadsafe(facts["end"].set)
    thread.join()


def put(path: Path, content: bytes, modified: float = LONG_AGO) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (modified, modified))

"""Real mail servers in this process, which answer as a test says, and a wire to one of them that can be cut."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, Literal

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope
from aiosmtpd.smtp import Session as Talk

PASSWORD = "hunter2-hunter2"


@dataclass
class Post:
    """A mail server in a thread: what it took, and how it answers."""

    port: int = 0
    taken: list[Envelope] = field(default_factory=list)
    password: str = PASSWORD
    logins: list[str] = field(default_factory=list)
    connections: int = 0
    refuse: dict[str, str] = field(default_factory=dict)  # recipient -> answer to RCPT
    refuse_sender: str = ""
    refuse_data: str = ""
    encrypted: list[bool] = field(default_factory=list)
    talks: dict[str, int] = field(default_factory=dict)
    most: int = 0  # mails on one connection; 0: any number
    greetings: list[str] = field(default_factory=list)  # after EHLO

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, talk: Talk, envelope: Envelope, name: str, responses: list[str]
    ) -> list[str]:
        self.greetings.append(name)
        talk.host_name = name
        return responses

    async def handle_MAIL(self, server: SMTP, talk: Talk, envelope: Envelope, sender: str, options: list[str]) -> str:  # noqa: N802
        if self.refuse_sender:
            return self.refuse_sender
        number = self.talks[str(talk.peer)] = self.talks.get(str(talk.peer), 0) + 1
        if self.most and number > self.most:
            assert server.transport is not None
            server.transport.close()
            return "421 enough"
        envelope.mail_from = sender
        return "250 OK"

    async def handle_RCPT(self, server: SMTP, talk: Talk, envelope: Envelope, to: str, options: list[str]) -> str:  # noqa: N802
        if to in self.refuse:
            return self.refuse[to]
        envelope.rcpt_tos.append(to)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, talk: Talk, envelope: Envelope) -> str:  # noqa: N802
        if self.refuse_data:
            return self.refuse_data
        self.taken.append(envelope)
        self.encrypted.append(talk.ssl is not None)
        return "250 taken"

    def authenticate(self, server: SMTP, talk: Talk, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        self.logins.append(f"{data.login.decode()}:{data.password.decode()}")
        return AuthResult(success=data.password.decode() == self.password, handled=False)

    def mail(self, number: int = 0) -> EmailMessage:
        content = self.taken[number].content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=default)
        assert isinstance(message, EmailMessage)
        return message


Start = Callable[..., Post]


@contextmanager
def servers() -> Iterator[Start]:
    """Yield what starts a mail server on a port of 127.0.0.1; each answers until the context ends."""
    stops: list[Callable[[], None]] = []

    def start(
        *,
        tls: ssl.SSLContext | None = None,
        from_first_byte: bool = False,
        auth: bool = False,
        without: Iterable[str] = (),  # mechanisms of login
        utf8: bool = False,
    ) -> Post:
        post = Post()
        loop = asyncio.new_event_loop()

        def session() -> SMTP:
            post.connections += 1
            more: dict[str, Any] = {"authenticator": post.authenticate, "auth_required": True} if auth else {}
            if tls and not from_first_byte:
                more |= {"tls_context": tls, "require_starttls": True}
            more["enable_SMTPUTF8"] = utf8
            more["auth_exclude_mechanism"] = without
            return SMTP(post, hostname="mail.test", loop=loop, auth_require_tls=not from_first_byte, **more)

        server = loop.run_until_complete(
            loop.create_server(session, "127.0.0.1", 0, ssl=tls if from_first_byte else None)
        )
        post.port = server.sockets[0].getsockname()[1]
        thread = threading.Thread(target=loop.run_forever)
        thread.start()

        async def end() -> None:
            server.close()
            await server.wait_closed()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        def stop() -> None:
            asyncio.run_coroutine_threadsafe(end(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

        stops.append(stop)
        return post

    try:
        yield start
    finally:
        for stop in stops:
            stop()


def certificate(authority: trustme.CA, *names: str, expired: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    since, until = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 2, 1, tzinfo=UTC)) if expired else (None, None)
    authority.issue_cert(*(names or ("localhost",)), not_before=since, not_after=until).configure_cert(context)
    return context


class Wire:
    """A port of 127.0.0.1 that leads to the server on *port*, as well as `state` lets it."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.state: Literal["whole", "hangs", "dribbles", "cut after the mail"] = "whole"
        self._listening: socket.socket | None = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._ended = threading.Event()
        self._go(self._serve, self._listening)

    def down(self) -> None:
        """Take no more connections."""
        if self._listening is not None:
            with suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._listening = None

    def up(self) -> None:
        """Take connections again, on the same port."""
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._go(self._serve, self._listening)

    def close(self) -> None:
        self._ended.set()
        self.down()
        for thread in self._threads:
            thread.join(15)

    def _go(self, what: Callable[..., None], *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=what, args=arguments, daemon=True))
        self._threads[-1].start()

    def _serve(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                self._go(self._connected, listening.accept()[0])

    def _connected(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self.state == "hangs":
                self._ended.wait()
                return
            with socket.create_connection(("127.0.0.1", self._to)) as server:
                self._go(self._up_the_wire, client, server)
                self._down_the_wire(server, client)

    def _up_the_wire(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _down_the_wire(self, server: socket.socket, client: socket.socket) -> None:
        while data := server.recv(65536):
            if self.state == "cut after the mail" and b"250 taken" in data:
                client.shutdown(socket.SHUT_RDWR)
                return
            if self.state == "dribbles":
                for byte in data:
                    client.sendall(bytes([byte]))
                    if self._ended.wait(0.2):
                        return
                continue
            client.sendall(data)

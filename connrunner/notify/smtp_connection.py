"""A connection to a mail server that ends at its deadline, however slowly the server dribbles."""

from __future__ import annotations

import os
import queue
import smtplib
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Any, Literal
from urllib.parse import urlsplit

from connrunner.errors import ConnrunnerError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.notify.sanitize import clean_line
from connrunner.notify.transport import ServerError
from connrunner.text.hosts import is_loopback

PORTS = {"smtp": 587, "smtps": 465, "smtp+plain": 25}
PATIENCE = 10.0  # seconds for the connection, and for each answer but the last


@dataclass(frozen=True, kw_only=True, slots=True)
class MailServer:
    """Where mail goes."""

    scheme: Literal["smtp", "smtps", "smtp+plain"]
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_server(text: str) -> MailServer:
    """Return the server that `mail.server` names; ServerError when it names none."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ServerError("mail.server is not a URL", hint="write it as smtp://mail.example.com:587") from None
    if parts.username is not None:  # never repeat it: there may be a password in it
        raise ServerError("mail.server holds a user name", hint="write mail.username and mail.password instead")
    match parts.scheme:
        case "smtp" | "smtps" | "smtp+plain" as scheme if host and port != 0 and parts.path in ("", "/"):
            return MailServer(scheme=scheme, host=host, port=port or PORTS[scheme])
    raise ServerError(
        f"mail.server {clean_line(text, 80)!r} is none of smtp://, smtps://, smtp+plain:// with a host, and file:",
        hint="write it as smtp://mail.example.com:587",
    )


class CertificateError(ConnrunnerError):
    """A certificate of ours that cannot be used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientCertificate:
    """What we show to a server that asks who we are: PEM, the certificate with those above it, and its key."""

    chain: str
    key: str = field(default="", repr=False)  # empty when it stands in the chain

    def load_into(self, context: ssl.SSLContext) -> None:
        """Have *context* show it; CertificateError when it is none, or its key is that of another one."""
        # OpenSSL reads files only; this one is in memory, and goes with its descriptor.
        with os.fdopen(os.memfd_create("certificate"), "w", encoding="utf-8") as file:
            file.write(f"{self.chain}\n{self.key}\n")
            file.flush()
            try:
                context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password=_no_passphrase)
            except ssl.SSLError as error:
                what = (
                    "mail.certificate and mail.key do not belong together"
                    if error.reason == "KEY_VALUES_MISMATCH"
                    else ("mail.certificate is no certificate in PEM with its key")
                )
                hint = "name a file with the certificate and one with its key, which no passphrase protects"
                raise CertificateError(what, hint=hint) from None


def _no_passphrase() -> str:
    return ""  # OpenSSL would ask for it on the terminal


def find_tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """Return the error of TLS behind *error*: smtplib makes an end of the connection of what it reads."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


class SmtpConnection(smtplib.SMTP):
    """SMTP on a connection; OSError or SMTPException when there is none to be had."""

    def __init__(
        self,
        server: MailServer,
        deadline: float,
        *,
        hello: str = "localhost",
        certificate: ClientCertificate | None = None,
    ) -> None:
        self._to = server
        self._certificate = certificate
        self._deadline = deadline
        self._wire: socket.socket | None = None
        self._watch: threading.Timer | None = None
        # The name is never looked up: that could hang, and tell the server a name that nobody knows.
        super().__init__(local_hostname=hello)
        self._host = server.host  # what starttls() verifies the certificate against
        try:
            code, said = self.connect(server.host, server.port)
            if code != 220:
                raise smtplib.SMTPConnectError(code, said)
        except BaseException:
            self.cut()
            raise

    def make_tls_context(self) -> ssl.SSLContext:
        """Return how TLS is spoken; CertificateError when the certificate of ours cannot be used."""
        context = ssl.create_default_context()
        if self._certificate is not None:
            self._certificate.load_into(context)
        return context

    def wait(self, seconds: float) -> None:
        """Wait at most *seconds* for each piece of an answer."""
        if self.sock is not None:
            self.sock.settimeout(seconds)

    def cut(self) -> None:
        """End the connection without another word."""
        if self._watch is not None:
            self._watch.cancel()
        self.close()
        if self._wire is not None:
            self._wire.close()

    def _get_socket(self, host: str, port: int, timeout: Any) -> socket.socket:  # noqa: ARG002 - smtplib's
        seconds = min(PATIENCE, self._deadline - time.monotonic())
        wire = _connect(self._to, max(0.1, seconds))
        try:
            # A second handle of the connection stays valid while TLS takes the first one over.
            self._wire = wire.dup()
            self._watch = threading.Timer(max(0.1, self._deadline - time.monotonic()), _shut, [self._wire])
            self._watch.daemon = True
            self._watch.start()
            if self._to.scheme == "smtps":
                return self.make_tls_context().wrap_socket(wire, server_hostname=host)
        except BaseException:
            wire.close()
            raise
        return wire


def _connect(server: MailServer, seconds: float) -> socket.socket:
    """Return a connection to the first address of *server* that takes one."""
    until = time.monotonic() + seconds
    found = _addresses(server, seconds)
    trouble: OSError = TimeoutError("no answer in time")
    for left, (family, kind, protocol, _, address) in zip(range(len(found), 0, -1), found, strict=True):
        wire = socket.socket(family, kind, protocol)
        try:
            wire.settimeout(max(0.1, (until - time.monotonic()) / left))
            wire.connect(address)
            wire.settimeout(seconds)
        except OSError as error:
            wire.close()
            trouble = error
        else:
            return wire
    raise trouble


def _addresses(server: MailServer, seconds: float) -> list[Any]:
    """Look *server* up; a resolver that hangs is left behind after *seconds*."""
    answers: queue.SimpleQueue[list[Any] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(list(socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=look_up, daemon=True).start()
    try:
        found = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError("no answer in time") from None
    if isinstance(found, Exception):
        reason = found.strerror if isinstance(found, OSError) else "not a host name"
        raise OSError(None, f"the host name is not found ({reason})")
    if server.scheme == "smtp+plain":
        found = [each for each in found if is_loopback(each[4][0])]
        if not found:
            raise OSError(None, "smtp+plain:// is for this machine only, clear text never leaves it")
    return found


def _shut(wire: socket.socket) -> None:
    with suppress(OSError):
        wire.shutdown(socket.SHUT_RDWR)

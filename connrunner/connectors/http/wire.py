"""One HTTP request over the wire: TLS always verified, and never to where machines keep their credentials."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from connrunner.connectors.http.url import HttpAddress
from connrunner.errors import RunError
from connrunner.text.hosts import is_link_local, is_loopback

CONNECT = 10.0  # seconds until a connection stands


class BrokenError(RunError):
    """The request may not have arrived, or its answer did not arrive whole: asking again may help."""

    def __init__(self, message: str, *, hint: str = "see that the server runs and is within reach", code: str) -> None:
        super().__init__(message, hint=hint, code=code, waiting_helps=True)


class ConnectionPool:
    """Connections that stay open from one request to the next."""

    def __init__(self, *, silence: float, allow_link_local: bool, authorities: Path | None = None) -> None:
        self._timeout = Timeout(connect=CONNECT, read=silence)
        self._silence = silence
        self._allow_link_local = allow_link_local
        self._authorities = authorities  # a file of certificates that is trusted instead of this machine's
        self._pools: dict[tuple[str, str, int], HTTPConnectionPool] = {}
        self._trust: ssl.SSLContext | None = None  # made on use: it reads hundreds of certificates

    def send(
        self, method: str, address: HttpAddress, headers: Mapping[str, str], body: bytes | None
    ) -> BaseHTTPResponse:
        """Return the answer, its body unread, whatever its status; BrokenError when there is none."""
        with self.translate_errors(address):
            return self._pool(address).urlopen(
                method,
                address.target,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
            )

    @contextmanager
    def translate_errors(self, address: HttpAddress) -> Iterator[None]:
        """Turn what goes wrong on the wire into a RunError that says so."""
        try:
            yield
        except SSLError as error:
            raise _tls(address, error) from None
        except NameResolutionError as error:
            raise _unknown(address, error) from error
        except NewConnectionError as error:
            raise BrokenError(f"cannot connect to {address.place}: {_reason(error)}", code="unreachable") from error
        except ConnectTimeoutError as error:
            message = f"cannot connect to {address.place}: no answer for {CONNECT:g} s"
            raise BrokenError(message, code="unreachable") from error
        except ReadTimeoutError as error:
            message = f"{address} sent nothing for {self._silence:g} s"
            raise BrokenError(message, hint="set a longer `timeout` if it needs that", code="no-answer") from error
        except DecodeError as error:
            raise RunError(
                f"{address} says that its answer is compressed, and it cannot be decompressed",
                hint="tell the owner of the server",
                code="bad-answer",
            ) from error
        except (HTTPError, OSError) as error:
            raise BrokenError(f"the connection to {address} broke off: {_reason(error)}", code="broken-off") from error

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()

    def _pool(self, address: HttpAddress) -> HTTPConnectionPool:
        key = (address.scheme, address.host, address.port)
        if key not in self._pools:
            more: dict[str, Any] = {"timeout": self._timeout, "allow_link_local": self._allow_link_local}
            if address.scheme == "https":
                self._trust = self._trust or _make_trust(self._authorities)
                self._pools[key] = _HTTPSPool(address.host, address.port, ssl_context=self._trust, **more)
            else:
                self._pools[key] = _HTTPPool(address.host, address.port, **more)
        return self._pools[key]


def _make_trust(authorities: Path | None) -> ssl.SSLContext:
    """Return whom to trust. No environment variable overrules a file of *authorities*."""
    if authorities is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=str(authorities))
    except ssl.SSLError:
        reason = "it holds no certificate in PEM form"
    except OSError as error:
        reason = error.strerror or str(error)
    raise RunError(
        f"`ca_file` {authorities} cannot be used: {reason}",
        hint="name the PEM file of the authority; relative to the workspace",
        code="bad-ca-file",
    )


class _HTTPConnection(HTTPConnection):
    def __init__(self, *arguments: Any, allow_link_local: bool, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._allow_link_local = allow_link_local

    def _new_conn(self) -> socket.socket:
        return _connected(self, allow_link_local=self._allow_link_local, only_here=True)


class _HTTPSConnection(HTTPSConnection):
    def __init__(self, *arguments: Any, allow_link_local: bool, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._allow_link_local = allow_link_local

    def _new_conn(self) -> socket.socket:
        return _connected(self, allow_link_local=self._allow_link_local, only_here=False)


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


def _connected(connection: HTTPConnection, *, allow_link_local: bool, only_here: bool) -> socket.socket:
    """Return a socket to the host of *connection*.

    Its name is looked up once, and the address that was checked is the one connected to: a name service that answers
    otherwise the second time gains nothing.
    """
    try:
        found = socket.getaddrinfo(connection.host, connection.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NameResolutionError(connection.host, connection, error) from error  # type: ignore[arg-type]
    failure: OSError = OSError("it has no address")
    for family, kind, protocol, _, place in found:
        _check_place(connection.host, str(place[0]), allow_link_local=allow_link_local, only_here=only_here)
        opened = socket.socket(family, kind, protocol)
        try:
            opened.settimeout(float(connection.timeout))  # type: ignore[arg-type]
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.connect(place)
        except OSError as error:
            opened.close()
            failure = error
        except BaseException:
            opened.close()
            raise
        else:
            return opened
    if isinstance(failure, TimeoutError):
        raise ConnectTimeoutError(connection, "timed out") from failure
    raise NewConnectionError(connection, str(failure)) from failure


def _check_place(host: str, address: str, *, allow_link_local: bool, only_here: bool) -> None:
    if not allow_link_local and is_link_local(address):
        raise RunError(
            f"{host} has the address {address}, where clouds tell a machine its credentials",
            hint="correct `url`; set `allow_link_local: true` if the server really is there",
            code="link-local",
        )
    if only_here and not is_loopback(address):
        raise RunError(
            f"{host} has the address {address}, which is not this machine", hint="write https://", code="no-tls"
        )


def _unknown(address: HttpAddress, error: NameResolutionError) -> RunError:
    if getattr(error.__cause__, "errno", None) == socket.EAI_AGAIN:
        return BrokenError(
            f"the name service does not answer for {address.host}", hint="see to the network", code="unreachable"
        )
    message = f"there is no host {address.host}"
    return RunError(message, hint="correct the address, or see to the name service", code="no-host")


def _tls(address: HttpAddress, error: SSLError) -> RunError:
    cause = error.args[0] if error.args else error
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return BrokenError(f"no TLS connection to {address.place}: {_reason(cause)}", code="no-tls")
    reason = str(cause.verify_message).rstrip(".")
    if cause.verify_code in (62, 64):  # X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH
        hint = "correct the host in `url`, or have its owner renew the certificate"
    elif cause.verify_code in (9, 10):  # X509_V_ERR_CERT_NOT_YET_VALID and _CERT_HAS_EXPIRED
        hint = "have its owner renew the certificate; see that the clock of this machine is right"
    else:
        hint = "if its authority is your own, add that to this machine, or name its file as `ca_file`"
    return RunError(f"the certificate of {address.place} is refused: {reason}", hint=hint, code="bad-certificate")


def _reason(error: BaseException) -> str:
    """Return the innermost reason, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    while error.args and isinstance(error.args[-1], BaseException):
        error = error.args[-1]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__

"""Logging in to an SSH server: accounts, keys, and what its host key is trusted by."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from connrunner.connectors import Settings
from connrunner.connectors.sftp.trust import ALL_KINDS, HostKey, TrustedHostKeys, address, trust
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.text.words import one_line

if TYPE_CHECKING:
    import asyncssh

CONNECT = 10.0  # seconds to wait for a connection
LOGIN = 60.0  # seconds to wait for the end of the login
KEEP_ALIVE = 20.0  # seconds without a byte, after which the server is asked whether it is there; three times

WINDOW = 8 * 1024 * 1024  # bytes under way before we confirm any; asyncssh's 2 MiB never fill a long line
FAST = "^aes256-gcm@openssh.com,aes128-gcm@openssh.com"  # ChaCha20, which comes first otherwise, takes twice the time


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """A place to log in, as whom, and how that is proved, by both sides."""

    host: str
    port: int
    user: str
    password: str | None = field(repr=False)
    key: asyncssh.SSHKey | None = field(repr=False)
    agent: bool
    trust: TrustedHostKeys

    @property
    def address(self) -> str:
        """How the server is called, in messages and in URLs."""
        return address(self.host, self.port)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrustFailure:
    """Why a server is not let near our password."""

    reason: str
    offered: HostKey | None = None


def describe(error: BaseException) -> str:
    """Return what *error* says, which a server may have written, as one line."""
    text = str(getattr(error, "reason", "") or getattr(error, "strerror", "") or error or type(error).__name__)
    return one_line(text, 200, more="")


def account(settings: Settings, workspace: Path) -> Account:
    """Return the account that *settings* name; RunError when its keys cannot be used, or the extra is missing."""
    try:
        import asyncssh  # noqa: F401
    except ImportError as error:
        raise RunError(
            f"the connector sftp needs the extra: {error}",
            hint="pip install 'connrunner[sftp]'",
            code="missing-extra",
        ) from error
    return Account(
        host=str(settings["host"]),
        port=int(settings.get("port", 22)),
        user=str(settings["username"]),
        password=settings.get("password"),
        key=_key(settings),
        agent=bool(settings.get("agent", False)),
        trust=trust(settings, workspace),
    )


def _key(settings: Settings) -> asyncssh.SSHKey | None:
    import asyncssh

    if "key" not in settings:
        return None
    try:
        return asyncssh.import_private_key(settings["key"], settings.get("passphrase"))
    except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError) as error:
        text = str(error)
    if "bcrypt" in text:
        raise RunError(
            "`key` is encrypted in OpenSSH's own form, and the package bcrypt, which opens it, is missing",
            hint="pip install 'asyncssh[bcrypt]'",
            code="missing-extra",
        )
    if "must be specified" in text:
        raise RunError("`key` is encrypted", hint="set `passphrase`, as a reference", code="bad-key")
    if "passphrase" in settings:
        # A wrong passphrase decrypts to noise, whose error says anything.
        raise RunError(f"`passphrase` does not open `key`: {text}", hint="correct one of the two", code="bad-key")
    raise RunError(
        f"`key` is not a private key: {text}",
        hint="let it name a whole private key file, as ssh-keygen writes it: not the .pub file",
        code="bad-key",
    )


def dial(account: Account) -> socket.socket:
    """Return a TCP connection to the server, which is not trusted yet."""
    try:
        return socket.create_connection((account.host, account.port), timeout=CONNECT)
    except socket.gaierror as error:
        raise RunError(
            f"cannot find the host {account.host}: {error.strerror}",
            hint="correct `host`, or see that this machine's name service works",
            code="unknown-host",
            waiting_helps=error.errno == socket.EAI_AGAIN,
        ) from error
    except TimeoutError as error:
        raise _unreachable(account, f"no answer within {CONNECT:g} s") from error
    except OSError as error:
        raise _unreachable(account, error.strerror or str(error)) from error


def _unreachable(account: Account, reason: str) -> RunError:
    return RunError(
        f"cannot reach {account.host} at port {account.port}: {reason}",
        hint="see that `host` and `port` are right, that the server runs, and that no firewall is between",
        code="unreachable",
        waiting_helps=True,
    )


async def log_in(
    account: Account, line: socket.socket, algorithms: Sequence[str]
) -> asyncssh.SSHClientConnection | TrustFailure:
    """Return a connection over *line* to a server that proved itself, or why it did not; RunError when it refuses us.

    *algorithms* are those of the host key that the server may use; empty, when what is known about it decides.
    """
    import asyncssh

    offered: list[HostKey] = []

    class Gate(asyncssh.SSHClient):
        def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
            shown = HostKey(algorithm=key.get_algorithm(), fingerprint=key.get_fingerprint())
            offered.append(shown)
            return shown.fingerprint in account.trust.pinned

    try:
        async with _keys(account) as keys:
            return await asyncssh.connect(
                account.host,
                account.port,
                sock=line,
                client_factory=Gate,
                known_hosts=account.trust.known,
                server_host_key_algs=algorithms,
                x509_trusted_certs=None,
                username=account.user,
                password=account.password,
                client_keys=keys or None,  # without keys None, so that none are looked for in ~/.ssh
                agent_path=None,
                gss_host=None,
                config=None,
                encryption_algs=FAST,
                window=WINDOW,
                login_timeout=LOGIN,
                keepalive_interval=KEEP_ALIVE,
            )
    except asyncssh.HostKeyNotVerifiable as error:
        return TrustFailure(reason=describe(error), offered=offered[0] if offered else None)
    except asyncssh.KeyExchangeFailed as error:
        return TrustFailure(reason=describe(error))
    except asyncssh.PermissionDenied as error:
        raise _refused(account) from error
    except (asyncssh.ProtocolError, asyncssh.ProtocolNotSupported) as error:
        if "authentication failures" in error.reason:  # what OpenSSH says after too many keys
            raise _refused(account) from error
        raise RunError(
            f"what answers at {account.address} does not speak SSH as it should: {describe(error)}",
            hint="see that `host` and `port` are right",
            code="not-ssh",
        ) from error
    except (asyncssh.DisconnectError, OSError) as error:
        if "timeout" in describe(error):
            raise RunError(
                f"{account.address} did not finish the login within {LOGIN:g} s",
                hint="see that `port` is that of an SSH server, or try later",
                code="stalled",
                waiting_helps=True,
            ) from error
        if algorithms != ALL_KINDS:  # a server without such a key hangs up, and its reason does not always arrive
            return TrustFailure(reason=describe(error))
        raise RunError(
            f"{account.address} broke off the login: {describe(error)}",
            hint="see that `port` is right and that the server lets this machine in, or try later",
            code="connection-lost",
            waiting_helps=True,
        ) from error
    except ValueError as error:  # a server may not be given such a text
        raise RunError(f"`username` cannot be used: {error}", hint="correct it", code="login-refused") from error


def _refused(account: Account) -> RunError:
    proofs = [
        *([f"the key {account.key.get_fingerprint()}"] if account.key else []),
        *(["the keys of the SSH agent"] if account.agent else []),
        *(["the password"] if account.password is not None else []),
    ]
    return RunError(
        f"{account.address} refused the login of {account.user} with {' and '.join(proofs)}",
        hint="see that the user exists there and may log in so, or ask the server's owner",
        code="login-refused",
    )


@asynccontextmanager
async def _keys(account: Account) -> AsyncIterator[list[asyncssh.SSHKey | asyncssh.SSHKeyPair]]:
    """Provide the keys to log in with; those of an agent work as long as the connection to it is open."""
    import asyncssh

    own = [account.key] if account.key else []
    if not account.agent:
        yield [*own]
        return
    try:
        agent = await asyncssh.connect_agent()
        keys = await agent.get_keys()
    except (OSError, ValueError) as error:
        raise RunError(
            "there is no SSH agent for `agent: true`",
            hint="start one and set SSH_AUTH_SOCK where connrunner starts, or use `key`",
            code="no-agent",
        ) from error
    async with agent:
        yield [*own, *keys]

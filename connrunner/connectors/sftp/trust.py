"""Is this the SSH server that was meant? Host keys, pinned in a connection or known from files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from connrunner.connectors import Settings
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass

if TYPE_CHECKING:
    import asyncssh

KNOWN_HOSTS = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")
KINDS = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "rsa-sha2-256"),
)
ALL_KINDS = tuple(algorithm for kind in KINDS for algorithm in kind)


@dataclass(frozen=True, kw_only=True, slots=True)
class HostKey:
    """A host key that a server offered."""

    algorithm: str
    fingerprint: str  # SHA256:...

    def __str__(self) -> str:
        return f"{self.fingerprint} ({self.algorithm})"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrustedHostKeys:
    """Which host keys are good: those that are *pinned*, or, without any, those that files know."""

    known: asyncssh.SSHKnownHosts
    pinned: frozenset[str] = frozenset()  # fingerprints
    files: Sequence[str] = ()  # where *known* comes from, for people

    def rounds(self, host: str, port: int) -> Sequence[Sequence[str]]:
        """Return the kinds of host keys to ask the server for, in turn, until it shows one that is good.

        A fingerprint does not say which of a server's keys it belongs to, so each kind has its turn. Files do say it,
        which the empty round means; the round after it only learns what the server has instead.
        """
        if self.pinned:
            return (ALL_KINDS, *KINDS)
        return ((), ALL_KINDS) if self._expected(host, port) else (ALL_KINDS,)

    def refusal(self, host: str, port: int, offered: Sequence[HostKey]) -> RunError:
        """Return the error for a server that *offered* no key that is good."""
        server = address(host, port)
        shown = " and ".join(dict.fromkeys(map(str, offered)))
        advice = f'set host_key: "{offered[0].fingerprint}"'
        expected = self._expected(host, port)
        if not expected:
            return RunError(
                f"the host key of {server} is not known: it offers {shown}",
                hint=f"compare it with what the server's owner tells you, then {advice}",
                code="unknown-host-key",
            )
        return RunError(
            f"{server} has another host key than expected: it offers {shown}, "
            f"{' and '.join(self.files) or '`host_key`'} has {' and '.join(expected)}",
            hint=f"somebody may stand between; only when the server's owner confirms the new key, {advice}",
            code="changed-host-key",
        )

    def _expected(self, host: str, port: int) -> Sequence[str]:
        """Return what the server may show, for people; nothing when it is not known."""
        if self.pinned:
            return sorted(self.pinned)
        keys, authorities, *_ = self.known.match(host, "", None if port == 22 else port)
        signed = (f"keys signed by {key.get_fingerprint()}" for key in authorities)
        return list(dict.fromkeys([*(key.get_fingerprint() for key in keys), *signed]))


def address(host: str, port: int) -> str:
    """Return how a server is called, in messages and in URLs: its host, with the port unless it is the usual one."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port == 22 else f"{shown}:{port}"


def trust(settings: Settings, workspace: Path) -> TrustedHostKeys:
    """Return what `host_key`, or else `known_hosts`, or else the files of OpenSSH say."""
    import asyncssh

    if "host_key" in settings:
        keys = settings["host_key"]
        pinned = frozenset(_fingerprint(key) for key in ([keys] if isinstance(keys, str) else keys))
        return TrustedHostKeys(known=asyncssh.import_known_hosts(""), pinned=pinned)
    texts = {}
    for name in [str(settings["known_hosts"])] if "known_hosts" in settings else KNOWN_HOSTS:
        path = workspace / Path(name).expanduser()
        try:
            texts[name] = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            if "known_hosts" in settings:
                raise RunError(
                    f"cannot read `known_hosts` {path}: {error.strerror}",
                    hint="correct the path, or write the server's public key there",
                    code="no-known-hosts",
                ) from error
    try:
        known = asyncssh.import_known_hosts("\n".join(texts.values()))
    except ValueError as error:
        raise RunError(
            f"{' and '.join(texts)}: {error}", hint="correct or remove that line", code="no-known-hosts"
        ) from error
    return TrustedHostKeys(known=known, files=tuple(texts))


def _fingerprint(key: str) -> str:
    """Return the fingerprint that *key* is, or that the public key which it is has."""
    import asyncssh

    if key.startswith("SHA256:"):
        return key.rstrip("=")
    try:
        return str(asyncssh.import_public_key(key).get_fingerprint())
    except (asyncssh.KeyImportError, ValueError):
        raise RunError(
            f"`host_key` {key[:80]!r} is not a host key",
            hint='write a fingerprint like "SHA256:...", or a public key like "ssh-ed25519 AAAA..."',
            code="bad-host-key",
        ) from None

"""Addresses of HTTP requests: what of them may be shown, and where a request may go on to."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from urllib.parse import quote, unquote_plus, urlencode, urljoin, urlsplit

from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, replace
from connrunner.text.hosts import is_loopback
from connrunner.text.words import one_line

PORTS = {"http": 80, "https": 443}
LONGEST = 200  # characters of an address in a message
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?")
_KEPT = "/%:@!$&'()*+,;=~?"  # what `quote` leaves in a path or query: it may be quoted already


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpAddress:
    """An absolute http or https URL. As text it shows neither query nor credentials."""

    scheme: str
    host: str  # in small letters; an IPv6 address without brackets
    port: int
    path: str  # begins with /
    query: str = ""

    def __str__(self) -> str:
        path = self.path if len(self.path) <= LONGEST else f"{self.path[:LONGEST]}..."
        return f"{self.scheme}://{self.place}{path}"

    @property
    def place(self) -> str:
        """The host as `redirect_hosts` names it: with its port, unless that is the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def target(self) -> str:
        """What a request for it says in its first line."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def whole(self) -> str:
        """The URL with its query, for comparing and joining; it is not for people."""
        return f"{self.scheme}://{self.place}{self.target}"

    def joined(self, link: str) -> HttpAddress:
        """Return the address that *link*, found in an answer of this one, leads to; RunError for anything else."""
        link = link.strip()
        if _CONTROL.search(link):  # joining would drop some of them in silence
            raise _bad(link)
        try:
            return parse(urljoin(self.whole, link))
        except ValueError:
            raise _bad(link) from None

    def asking(self, values: Mapping[str, str]) -> HttpAddress:
        """Return this address with *values* in its query, in place of those of the same names."""
        others = [part for part in self.query.split("&") if part and unquote_plus(part.split("=", 1)[0]) not in values]
        return replace(self, query="&".join([*others, *([urlencode(values)] if values else [])]))

    def is_of(self, other: HttpAddress) -> bool:
        """True when credentials for *other* may be sent here: the same server, or its https side."""
        if self.host != other.host:
            return False
        upgraded = (other.scheme, other.port, self.scheme, self.port) == ("http", 80, "https", 443)
        return upgraded or (self.scheme, self.port) == (other.scheme, other.port)


def parse(text: str) -> HttpAddress:
    """Return the address that *text* names; RunError when a request cannot or must not go there."""
    if _CONTROL.search(text):
        raise _bad(text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _bad(text) from None
    if parts.scheme not in PORTS:
        raise _bad(text)
    if "@" in parts.netloc:
        raise RunError(
            f"the address of {one_line(parts.netloc.rpartition('@')[2], LONGEST)} holds a user name or password",
            hint="write them under `auth`, the password as a reference",
            code="bad-url",
        )
    host = parts.hostname or ""
    if not _HOST.fullmatch(host) and not _is_ipv6(host):
        raise _bad(text)
    if parts.scheme == "http" and not is_loopback(host):
        raise RunError(
            f"http:// to {host} would send everything readable to everybody on the way",
            hint=f"write https://{host}; without TLS only this machine (localhost, 127.0.0.1) can be asked",
            code="no-tls",
        )
    return HttpAddress(
        scheme=parts.scheme,
        host=host,
        port=port or PORTS[parts.scheme],
        path=quote(parts.path, safe=_KEPT) or "/",
        query=quote(parts.query, safe=_KEPT),
    )


def check_step(origin: HttpAddress, to: HttpAddress, *, listed: Collection[str], word: str) -> None:
    """Let an answer of *origin* lead to *to*, or raise RunError. *word* says how: `redirects`, say.

    What an answer says is data of a partner: it leads to the same host, to one of the *listed*, and never from https
    to http.
    """
    if origin.scheme == "https" and to.scheme == "http":
        raise RunError(
            f"{origin} {word} to {to}, which has no TLS", hint="tell the owner of the server", code="bad-redirect"
        )
    if not to.is_of(origin) and to.place not in listed:
        raise RunError(
            f"{origin} {word} to another host: {to.place}",
            hint=f"if that is right, add `redirect_hosts: [{to.place}]`; credentials are not sent there",
            code="foreign-host",
        )


def _is_ipv6(host: str) -> bool:
    try:
        return "%" not in host and ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _bad(text: str) -> RunError:
    shown = one_line(text.partition("?")[0].rpartition("@")[2], LONGEST)
    return RunError(
        f"{shown!r} is not an address that can be asked",
        hint="write it like https://api.example.com/contacts; a host in other letters in its xn-- form",
        code="bad-url",
    )

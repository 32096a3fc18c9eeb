"""May this request reach the page at all? Against DNS rebinding and requests of other sites (RFC 6454, Fetch Metadata).

A browser that was led here by another site's name says that name; one that another site has ask says where it comes
from. Addresses cannot be rebound, so every address is a name of ours.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from connrunner.lazy_dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestHead:
    """What a request says of where it goes and where it comes from; empty where it says nothing."""

    method: str
    hosts: tuple[str, ...]  # every `Host`
    origin: str = ""
    site: str = ""  # Sec-Fetch-Site
    mode: str = ""  # Sec-Fetch-Mode


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """Why a request is not answered."""

    status: int
    what: str
    remedy: str


def check_origin(head: RequestHead, known: Collection[str]) -> Rejection | None:
    """Return why the request must not be answered; None when it may. *known* are names of the page, without ports."""
    host = head.hosts[0] if len(head.hosts) == 1 else ""
    name = _name_of(host)
    if name is None or not _is_ours(name, known):
        # The name is not repeated: it is a stranger's.
        what = "the page does not go by the name under which it was asked for"
        return Rejection(status=421, what=what, remedy="add that name to `web.hosts` in connrunner.yaml")
    if head.method in ("GET", "HEAD", "OPTIONS"):
        if head.site in ("cross-site", "same-site") and head.mode not in ("", "navigate"):
            return Rejection(status=403, what="another site asked for this", remedy="open the page itself")
        return None
    if head.site not in ("", "same-origin", "none") or not _is_same_origin(head.origin, host, known):
        what = "what acts has to come from a page of this site"
        remedy = "open the page under its own name; behind a proxy, have it pass on `Host`, or name it in `web.hosts`"
        return Rejection(status=403, what=what, remedy=remedy)
    return None


def _is_same_origin(origin: str, host: str, known: Collection[str]) -> bool:
    """Tell whether *origin* is where the page is; a program that is no browser says none."""
    if not origin:
        return True
    parts = urlsplit(origin) if origin.startswith(("http://", "https://")) else None
    if parts is None:  # `null`: a frame without an origin of its own, a file
        return False
    return parts.netloc.lower() == host.lower() or _name_of(parts.netloc) in {name.lower() for name in known}


def _is_ours(name: str, known: Collection[str]) -> bool:
    if name == "localhost" or name in {each.lower() for each in known}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _name_of(host: str) -> str | None:
    """Return the name of `name:port`, small; None when it is none."""
    if not host or any(sign in host for sign in "/@\\?# \t") or len(host) > 300:
        return None
    try:
        parts = urlsplit(f"//{host}")
        parts.port  # noqa: B018 - one that is no number is an error
    except ValueError:
        return None
    return parts.hostname

"""What a schema cannot say of `web`: addresses that are none, and a page that anybody could reach."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from connrunner.config.finding import Finding
from connrunner.text.hosts import is_loopback, split_listen

# Headers that mean something else, or that a browser may set itself in a request to another site.
NOT_OF_USERS = {"authorization", "connection", "content-length", "content-type", "cookie", "host", "origin", "referer"}
NEEDS_RIGHTS = "name `tokens` or a `proxy` that people sign in at, or listen on 127.0.0.1"


def check_web_settings(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with `web`, the rest of it sound. It stops the page and nothing else."""
    listen, proxy = data.get("listen", ""), data.get("proxy") or {}
    if listen:
        try:
            host, _ = split_listen(listen)
        except ValueError as error:
            yield Finding(("web", "listen"), str(error), "write it like 127.0.0.1:8080", "bad-address")
        else:
            if not is_loopback(host) and not (data.get("tokens") or proxy):
                message = f"{listen} can be reached from other machines, and nothing says who may see the page"
                yield Finding(("web", "listen"), message, NEEDS_RIGHTS, "open-page")
    if proxy.get("user_header", "").lower() in NOT_OF_USERS:
        header = proxy["user_header"]
        hint = "have the proxy write the user into one of its own, like X-Forwarded-User"
        yield Finding(
            ("web", "proxy", "user_header"), f"{header} is a header for something else", hint, "bad-user-header"
        )
    for number, address in enumerate(proxy.get("from", ())):
        try:
            ipaddress.ip_network(address)
        except ValueError as error:
            hint = "write an address like 127.0.0.1, or a network like 10.0.0.0/8"
            yield Finding(("web", "proxy", "from", number), f"{str(error).rstrip('.')}", hint, "bad-address")

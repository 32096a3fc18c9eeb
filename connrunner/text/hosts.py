"""What a host says about itself, before anybody looks it up."""

from __future__ import annotations

import ipaddress
import re

# Link-local addresses, and those outside of them where clouds tell a machine its credentials: AWS, Google, Alibaba,
# Azure and Oracle.
_LINK_LOCAL = tuple(
    map(
        ipaddress.ip_network,
        (
            *("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "fd20:ce::254/128"),
            *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
        ),
    )
)
# Whose last four bytes are an IPv4 address: NAT64 (RFC 6052), IPv4-compatible (RFC 4291), and translated (RFC 2765).
_IPV4_LAST = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")))
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")  # RFC 8215


def is_loopback(host: str) -> bool:
    """Return whether *host*, a name or an address, always means this machine.

    Only `localhost` and whole addresses do: `127.1` and `0x7f.1` are read as an address by some programs and as a name
    by others, and for `localhost.` (RFC 6761, 6.3) the C library asks a name service, which may say anything.
    """
    if host.lower() == "localhost":
        return True
    address = _address(host)
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    found = inner or address
    return found is not None and found.is_loopback


def split_listen(text: str) -> tuple[str, int]:
    """Return host and port of `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`; port 0 is any that is free.

    ValueError when it is none: a name but `localhost` may mean any address, so it is refused, too.
    """
    host, colon, port = text.rpartition(":")
    is_port = colon and port.isascii() and port.isdecimal() and int(port) < 1 << 16
    if not is_port or not (host == "localhost" or (_address(host) and (":" not in host or host.startswith("[")))):
        raise ValueError(f"{text!r} is not an address with a port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_greeting_name(name: str) -> bool:
    """Return whether *name* can stand after EHLO: one host name, or an address in brackets (RFC 5321, 4.1.3)."""
    if name.startswith("[") and name.endswith("]"):
        inner = name[1:-1]
        is_ipv6 = inner[:5].lower() == "ipv6:"
        return _is_address(inner[5:], ipaddress.IPv6Address) if is_ipv6 else _is_address(inner, ipaddress.IPv4Address)
    # A name of digits alone is an address that its writer forgot to put in brackets.
    return len(name) <= 253 and bool(_HOST.fullmatch(name)) and not name.rpartition(".")[2].isdigit()


def is_link_local(host: str) -> bool:
    """Return whether *host* is an address, in any form, at which no partner is and a cloud may tell its secrets.

    False for a name: what counts is the address that it is looked up to.
    """
    address = _address(host)
    if address is None:
        return False
    inside = _inside(address) if isinstance(address, ipaddress.IPv6Address) else []
    return any(each in network for each in (address, *inside) for network in _LINK_LOCAL)


def _inside(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """Return the IPv4 addresses that *address* may stand for."""
    found = [each for each in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())) if each is not None]
    bits = int(address)
    if any(address in network for network in _IPV4_LAST):
        found.append(ipaddress.IPv4Address(bits & 0xFFFF_FFFF))
    if address in _LOCAL_NAT64:
        # A network chooses how long its prefix is. Byte 8 is none of the address (RFC 6052, 2.2).
        joined = (bits >> 64 << 56) | (bits & (1 << 56) - 1)
        found += (ipaddress.IPv4Address(joined >> shift & 0xFFFF_FFFF) for shift in (40, 32, 24))
        found.append(ipaddress.IPv4Address(bits & 0xFFFF_FFFF))
    return found


def _is_address(text: str, version: type[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> bool:
    try:
        version(text)
    except ValueError:
        return False
    return "%" not in text


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        if host.startswith("[") and host.endswith("]"):
            return ipaddress.IPv6Address(host[1:-1])
        return ipaddress.ip_address(host)
    except ValueError:
        return None

"""What a host says about itself, before anybody looks it up."""

from __future__ import annotations

import ipaddress

# Link-local addresses, and those outside of them where clouds tell a machine its credentials (AWS, Google, Alibaba).
_LINK_LOCAL = tuple(
    map(
        ipaddress.ip_network, ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "fd20:ce::254/128", "100.100.100.200/32")
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")


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


def is_link_local(host: str) -> bool:
    """Return whether *host* is an address, in any form, at which no partner is and a cloud may tell its secrets.

    False for a name: what counts is the address that it is looked up to.
    """
    address = _address(host)
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and (address in _NAT64 or address in _COMPATIBLE):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None and is_link_local(str(inner)):
            return True
    return address is not None and any(address in network for network in _LINK_LOCAL)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        if host.startswith("[") and host.endswith("]"):
            return ipaddress.IPv6Address(host[1:-1])
        return ipaddress.ip_address(host)
    except ValueError:
        return None

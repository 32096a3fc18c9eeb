"""Which account of this machine holds the other end of a loopback connection.

The kernel knows the owner of each socket (sock_diag(7), /proc/net/tcp in proc(5)). Only an established connection
counts: of one that its process has closed already, the kernel says that it is root's.
"""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 1
ESTABLISHED = 1
ANY_COOKIE = 0xFFFF_FFFF
HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
REQUEST = struct.Struct("=BBBBI")  # inet_diag_req_v2 before the socket's id: family, protocol, extensions, -, states
SOCKET_ID = struct.Struct("!HH16s16s")  # inet_diag_sockid: ports and addresses of the owner's end and of the other end
ANSWER = struct.Struct("=BBBB48xIIIII")  # inet_diag_msg: family, state, ..., expires, queues, uid, inode

Address = tuple[str, int]


def find_account(client: Address, server: Address) -> int | None:
    """Return the user id that owns the socket at *client* connected to *server*; None when that is not known."""
    try:
        return _ask_kernel(client, server)
    except (OSError, struct.error, ValueError):
        return _look_into_proc(client, server)


def _ask_kernel(client: Address, server: Address) -> int | None:
    ends = ip_address(client[0]), ip_address(server[0])
    family = socket.AF_INET if ends[0].version == 4 else socket.AF_INET6
    about = SOCKET_ID.pack(client[1], server[1], *(end.packed.ljust(16, b"\0") for end in ends))
    body = REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, 1 << ESTABLISHED) + about
    body += struct.pack("=III", 0, ANY_COOKIE, ANY_COOKIE)
    message = HEADER.pack(HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(1)
        netlink.sendto(message, (0, 0))
        answer = netlink.recv(8192)
    if HEADER.unpack_from(answer)[1] != SOCK_DIAG_BY_FAMILY:
        raise OSError("the kernel does not say")
    _, state, _, _, _, _, _, uid, inode = ANSWER.unpack_from(answer, HEADER.size)
    return uid if state == ESTABLISHED and inode else None


def _look_into_proc(client: Address, server: Address) -> int | None:
    wanted = [_as_proc(client), _as_proc(server), f"{ESTABLISHED:02X}"]
    name = "tcp" if ip_address(client[0]).version == 4 else "tcp6"
    try:
        with (Path("/proc/net") / name).open() as table:
            for line in table:
                fields = line.split()
                if fields[1:4] == wanted and fields[9] != "0":
                    return int(fields[7])
    except (OSError, ValueError, IndexError):
        return None
    return None


def _as_proc(end: Address) -> str:
    """Return *end* as /proc/net/tcp writes it: words of four bytes in the machine's order."""
    address: IPv4Address | IPv6Address = ip_address(end[0])
    words = struct.unpack(f"={len(address.packed) // 4}I", address.packed)
    return f"{''.join(f'{word:08X}' for word in words)}:{end[1]:04X}"


def own_account() -> int:
    """Return the user id of this process."""
    return os.geteuid()

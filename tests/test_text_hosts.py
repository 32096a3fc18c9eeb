"""What can stand after EHLO."""

from __future__ import annotations

import pytest

from connrunner.text.hosts import is_greeting_name

NAMES = [
    # name                                                              is it one
    *[(name, True) for name in ("batch.example.com", "localhost", "a", "a1.b-2.example", "xn--bcher-kva.example", "9a.x9")],
    *[(name, True) for name in ("[192.0.2.1]", "[IPv6:2001:db8::1]", "[ipv6:::1]", f"{'a' * 63}.example")],
    *[(name, False) for name in ("", ".", "a.", ".a", "a..b", "-a.b", "a-.b", "a_b.c", "a b", "a\r\nb", "a\n", "bücher.example")],
    *[(name, False) for name in ("192.0.2.1", "a.1", "[192.0.2.1", "[192.0.2]", "[2001:db8::1]", "[IPv6:192.0.2.1]", "[]")],
    *[(name, False) for name in ("[IPv6:fe80::1%eth0]", "[a]", f"{'a' * 64}.b", ".".join(["a" * 63] * 4), "a, b", "a@b", "<a>")],
]  # fmt: skip


@pytest.mark.parametrize(("name", "is_one"), NAMES)
def test_one_host_name_or_an_address_in_brackets(name: str, is_one: bool) -> None:
    assert is_greeting_name(name) == is_one

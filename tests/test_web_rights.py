"""Who may reach, see and act: tables of requests and answers."""

from __future__ import annotations

import base64
import socket
from dataclasses import replace

import pytest

from connrunner.web import peer_account
from connrunner.web.origin import RequestHead, check_origin
from connrunner.web.peer_account import find_account, own_account
from connrunner.web.rights import (
    DAY,
    SESSION,
    AccessRules,
    Knock,
    Stranger,
    Visitor,
    identify,
    is_form_token,
    make_form_token,
    make_session,
    read_session,
)

READ, ACT = "read-token-of-16-and-more", "act-token-of-16-and-more"
NOW = 1_800_000_000.0
HERE = "127.0.0.1"

NOTHING = AccessRules(account=1000, key=b"key")
TOKENS = replace(NOTHING, tokens={"read": READ, "act": ACT})
ONLY_ACT = replace(NOTHING, tokens={"act": ACT})
PROXY = replace(NOTHING, user_header="X-User", proxies=(HERE, "10.0.0.0/8"), actors=("anna",))
ALL_ACT = replace(PROXY, actors=("*",))
BOTH = replace(TOKENS, user_header="X-User", proxies=("10.0.0.0/8",))
CLOSED = replace(TOKENS, closed="the tokens cannot be read")


def basic(credentials: str) -> str:
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def bearer(token: str) -> str:
    return f"Bearer {token}"


CASES = [
    # rules     what a request shows                                             who it is: name, may act; None: nobody
    (NOTHING, {"peer": HERE, "account": 1000}, ("", True)),
    (NOTHING, {"peer": "::1", "account": 1000}, ("", True)),
    (NOTHING, {"peer": HERE, "account": 0}, ("", True)),
    (NOTHING, {"peer": HERE, "account": 1001}, None),
    (NOTHING, {"peer": HERE, "account": None}, None),
    (NOTHING, {"peer": "10.0.0.1", "account": 1000}, None),
    (NOTHING, {"peer": "", "account": 1000}, None),
    (NOTHING, {"peer": HERE, "account": 1000, "is_forwarded": True}, None),
    (NOTHING, {"peer": HERE, "account": 1000, "authorization": bearer("")}, None),
    (TOKENS, {"peer": HERE, "account": 1000}, None),
    (TOKENS, {"peer": "10.0.0.1", "authorization": bearer(READ)}, ("the read token", False)),
    (TOKENS, {"peer": "10.0.0.1", "authorization": bearer(ACT)}, ("the act token", True)),
    (TOKENS, {"peer": "10.0.0.1", "authorization": f"bearer  {ACT} "}, ("the act token", True)),
    (TOKENS, {"peer": "10.0.0.1", "authorization": bearer(ACT[:-1])}, None),
    (TOKENS, {"peer": "10.0.0.1", "authorization": bearer("")}, None),
    (TOKENS, {"peer": "10.0.0.1", "authorization": bearer("ü\udcff")}, None),
    (TOKENS, {"peer": "10.0.0.1", "authorization": f"Basic {ACT}"}, None),
    (TOKENS, {"peer": "10.0.0.1", "users": ("anna",)}, None),
    (TOKENS, {"peer": "10.0.0.1", "authorization": basic(f"ann:{READ}"), "is_feed": True}, ("the read token", False)),
    (TOKENS, {"peer": "10.0.0.1", "authorization": basic(f":{ACT}"), "is_feed": True}, ("the act token", False)),
    (TOKENS, {"peer": "10.0.0.1", "authorization": basic(f"ann:{READ}")}, None),
    (TOKENS, {"peer": "10.0.0.1", "authorization": basic(READ), "is_feed": True}, None),
    (TOKENS, {"peer": "10.0.0.1", "authorization": basic("ann:"), "is_feed": True}, None),
    (TOKENS, {"peer": "10.0.0.1", "authorization": "Basic =", "is_feed": True}, None),
    (TOKENS, {"peer": "10.0.0.1", "authorization": "Basic /w==", "is_feed": True}, None),
    (NOTHING, {"peer": HERE, "account": 1000, "authorization": basic("ann:"), "is_feed": True}, None),
    (ONLY_ACT, {"peer": "10.0.0.1", "authorization": bearer(READ)}, None),
    (ONLY_ACT, {"peer": "10.0.0.1", "authorization": bearer(ACT)}, ("the act token", True)),
    (PROXY, {"peer": HERE, "users": ("anna",)}, ("anna", True)),
    (PROXY, {"peer": HERE, "users": ("bert",)}, ("bert", False)),
    (PROXY, {"peer": "10.9.9.9", "users": (" bert ",)}, ("bert", False)),
    (PROXY, {"peer": "::ffff:10.9.9.9", "users": ("bert",)}, ("bert", False)),
    (PROXY, {"peer": "11.0.0.1", "users": ("anna",)}, None),
    (PROXY, {"peer": HERE, "account": 1000}, None),
    (PROXY, {"peer": HERE, "users": ("",)}, None),
    (PROXY, {"peer": HERE, "users": ("anna", "bert")}, None),
    (PROXY, {"peer": HERE, "users": ("anna\u202e",)}, None),
    (PROXY, {"peer": HERE, "users": ("a" * 201,)}, None),
    (PROXY, {"peer": "not an address", "users": ("anna",)}, None),
    (ALL_ACT, {"peer": HERE, "users": ("bert",)}, ("bert", True)),
    (BOTH, {"peer": "10.0.0.1", "users": ("anna",)}, ("anna", False)),
    (BOTH, {"peer": "192.0.2.1", "users": ("anna",)}, None),
    (BOTH, {"peer": "10.0.0.1", "users": ("anna",), "authorization": bearer(ACT)}, ("the act token", True)),
    (CLOSED, {"peer": HERE, "account": 1000, "authorization": bearer(ACT)}, None),
]


@pytest.mark.parametrize(("rules", "facts", "who"), CASES)
def test_who_asks_and_what_they_may(rules: AccessRules, facts: dict[str, object], who: tuple[str, bool] | None) -> None:
    found = identify(rules, Knock(**facts), NOW)  # type: ignore[arg-type]
    if who is None:
        assert isinstance(found, Stranger)
        assert found.what
        assert found.remedy
    else:
        assert isinstance(found, Visitor)
        assert (found.name, found.may_act) == who


def test_a_session_is_no_token_and_ends() -> None:
    cookie = make_session(TOKENS, "act", "Änne", NOW)
    assert ACT not in cookie
    assert READ not in cookie
    found = identify(TOKENS, Knock(peer="10.0.0.1", session=cookie), NOW)
    assert isinstance(found, Visitor)
    assert (found.name, found.may_act, found.is_program) == ("Änne", True, False)
    assert read_session(TOKENS, cookie, NOW + SESSION - 1)
    assert read_session(TOKENS, cookie, NOW + SESSION) is None
    other = replace(TOKENS, tokens={"read": READ, "act": ACT + "x"})
    assert read_session(other, cookie, NOW) is None
    assert read_session(replace(TOKENS, tokens={"read": READ}), cookie, NOW) is None


@pytest.mark.parametrize("damage", ["", ".", "...", "act.1.x.y", "read.99999999999..", "act.é.x.y", "x" * 5000])
def test_a_cookie_that_is_none_lets_nobody_in(damage: str) -> None:
    assert read_session(TOKENS, damage, NOW) is None


def test_no_part_of_a_session_can_be_changed() -> None:
    cookie = make_session(TOKENS, "read", "anna", NOW)
    for at in range(len(cookie)):
        changed = cookie[:at] + ("0" if cookie[at] != "0" else "1") + cookie[at + 1 :]
        assert read_session(TOKENS, changed, NOW) is None, changed


def test_a_form_is_of_who_was_shown_it_for_two_days() -> None:
    token = make_form_token(TOKENS, "user anna", NOW)
    assert is_form_token(TOKENS, "user anna", token, NOW + DAY)
    assert not is_form_token(TOKENS, "user anna", token, NOW + 2 * DAY)
    assert not is_form_token(TOKENS, "user bert", token, NOW)
    assert not is_form_token(replace(TOKENS, key=b"another"), "user anna", token, NOW)
    assert not is_form_token(TOKENS, "user anna", "", NOW)
    assert not is_form_token(TOKENS, "user anna", "\udcff", NOW)


NAMES = ("Connections.example.com",)
GET, POST = "GET", "POST"
HEADS = [
    # method, hosts, origin, site, mode                                                  status, or None
    (GET, ("127.0.0.1:8080",), "", "", "", None),
    (GET, ("localhost:8080",), "", "none", "navigate", None),
    (GET, ("LOCALHOST",), "", "", "", None),
    (GET, ("[::1]:8080",), "", "", "", None),
    (GET, ("192.0.2.7",), "", "", "", None),
    (GET, ("connections.example.com:8443",), "", "", "", None),
    (GET, ("evil.example",), "", "", "", 421),
    (GET, ("localhost.evil.example:8080",), "", "", "", 421),
    (GET, ("connections.example.com.",), "", "", "", 421),
    (GET, ("127.0.0.1.nip.io",), "", "", "", 421),
    (GET, ("localhost@evil.example",), "", "", "", 421),
    (GET, ("localhost:x",), "", "", "", 421),
    (GET, ("[::1",), "", "", "", 421),
    (GET, ("",), "", "", "", 421),
    (GET, (), "", "", "", 421),
    (GET, ("localhost", "evil.example"), "", "", "", 421),
    (GET, ("localhost",), "https://evil.example", "cross-site", "navigate", None),  # a link from elsewhere
    (GET, ("localhost",), "", "cross-site", "no-cors", 403),
    (GET, ("localhost",), "", "same-site", "cors", 403),
    (GET, ("localhost",), "", "same-origin", "cors", None),
    (POST, ("localhost:8080",), "http://localhost:8080", "same-origin", "navigate", None),
    (POST, ("localhost:8080",), "", "", "", None),  # a program
    (POST, ("localhost:8080",), "http://localhost:9090", "same-site", "navigate", 403),
    (POST, ("localhost:8080",), "http://localhost:9090", "", "", 403),
    (POST, ("localhost:8080",), "https://evil.example", "cross-site", "navigate", 403),
    (POST, ("localhost:8080",), "https://evil.example", "", "", 403),
    (POST, ("localhost:8080",), "null", "", "", 403),
    (POST, ("localhost:8080",), "", "cross-site", "", 403),
    (POST, ("localhost:8080",), "http://localhost:8080@evil.example", "", "", 403),
    (POST, ("connections.example.com",), "https://connections.example.com", "same-origin", "cors", None),
    (POST, ("10.0.0.5:8080",), "https://connections.example.com", "same-origin", "cors", None),  # a proxy changed Host
    (POST, ("evil.example",), "http://evil.example", "same-origin", "cors", 421),
]


@pytest.mark.parametrize(("method", "hosts", "origin", "site", "mode", "status"), HEADS)
def test_where_a_request_goes_and_where_it_comes_from(
    method: str, hosts: tuple[str, ...], origin: str, site: str, mode: str, status: int | None
) -> None:
    found = check_origin(RequestHead(method=method, hosts=hosts, origin=origin, site=site, mode=mode), NAMES)
    assert (found.status if found else None) == status
    if found:
        assert "evil" not in found.what + found.remedy


@pytest.mark.real_clock
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
@pytest.mark.parametrize("way", ["_ask_kernel", "_look_into_proc"])
def test_the_kernel_says_whose_a_connection_is(family: socket.AddressFamily, host: str, way: str) -> None:
    with socket.create_server((host, 0), family=family) as server:
        with socket.create_connection(server.getsockname()[:2]) as client:
            there, _ = server.accept()
            ends = client.getsockname()[:2], there.getsockname()[:2]
            assert getattr(peer_account, way)(*ends) == own_account()
            assert find_account(ends[1], ("192.0.2.1", 9)) is None
        # Of a connection that is closed the kernel would say that it is root's.
        assert find_account(*ends) is None
        there.close()

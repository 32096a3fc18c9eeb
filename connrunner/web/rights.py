"""Who asks, and what may they do? Decided from facts of the request, without a clock, a file or a server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from typing import Literal

from connrunner.lazy_dataclasses import dataclass, field
from connrunner.text.hosts import is_loopback
from connrunner.text.words import is_safe_in_terminal

SESSION = 12 * 3600  # seconds that a sign-in lasts
DAY = 24 * 3600  # seconds; a form holds on the day that it was drawn and the next
SHORTEST_TOKEN = 16  # characters: what is shorter can be guessed
LONGEST_NAME = 200  # characters of a user

Right = Literal["read", "act"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessRules:
    """Who may see and act, by the settings as they are now."""

    tokens: dict[Right, str] = field(default_factory=dict, repr=False)
    proxies: tuple[str, ...] = ()
    user_header: str = ""
    actors: tuple[str, ...] = ()
    account: int = -1  # the user id that needs neither, on loopback
    key: bytes = field(default=b"", repr=False)  # known to this process alone
    closed: str = ""  # why nobody is let in; empty when the rules are known

    @property
    def asks_for_token(self) -> bool:
        """True when a browser can sign in with a token."""
        return bool(self.tokens)

    @property
    def is_for_account(self) -> bool:
        """True when only the account that runs the page is let in, for nothing else was said."""
        return not self.tokens and not self.user_header


@dataclass(frozen=True, kw_only=True, slots=True)
class Knock:
    """What a request shows of who asks."""

    peer: str  # the address that it comes from; empty when that is not known
    account: int | None = None  # that holds the other end of a loopback connection, by the kernel
    authorization: str = field(default="", repr=False)
    session: str = field(default="", repr=False)  # the cookie
    users: tuple[str, ...] = ()  # every value of the header in which the proxy says who asks
    is_forwarded: bool = False  # it says itself that a proxy passed it on
    is_feed: bool = False  # it asks for what programs subscribe to that know no token but a password


@dataclass(frozen=True, kw_only=True, slots=True)
class Visitor:
    """Somebody who may see, and perhaps act."""

    name: str  # as records of what was asked for have it
    may_act: bool
    binding: str = field(repr=False)  # what a form's token is bound to
    is_program: bool = False  # it showed a token itself, as no browser does for another site


@dataclass(frozen=True, kw_only=True, slots=True)
class Stranger:
    """Somebody who is not let in."""

    what: str
    remedy: str
    can_sign_in: bool = False


def identify(rules: AccessRules, knock: Knock, now: float) -> Visitor | Stranger:
    """Return who asks at *now*, in seconds since 1970."""
    if rules.closed:
        return Stranger(what=rules.closed, remedy="correct connrunner.yaml; `connrunner validate` shows what is wrong")
    if knock.authorization:
        return _authorized(rules, knock)
    if knock.session and (reader := read_session(rules, knock.session, now)):
        return reader
    if rules.user_header and _is_among(knock.peer, rules.proxies):
        return _proxied(rules, knock)
    if rules.is_for_account:
        return _local(rules, knock)
    return Stranger(
        what="this page asks who you are",
        remedy="sign in with a token" if rules.tokens else "open it by the proxy that signs people in",
        can_sign_in=bool(rules.tokens),
    )


def find_right(rules: AccessRules, token: str) -> Right | None:
    """Return what the holder of *token* may do; every token is compared, each in constant time."""
    found: Right | None = None
    for right in ("read", "act"):
        known = rules.tokens.get(right)
        if known is not None and hmac.compare_digest(_digest(known), _digest(token)):
            found = right
    return found


def _authorized(rules: AccessRules, knock: Knock) -> Visitor | Stranger:
    scheme, _, words = knock.authorization.partition(" ")
    if scheme.lower() == "basic" and knock.is_feed:
        # Browsers send a password along by themselves, so nobody acts with one.
        token, may_act = _password_of(words), False
    else:
        token, may_act = words.strip() if scheme.lower() == "bearer" else "", True
    right = find_right(rules, token)
    if right is None:
        remedy = (
            "give a token as the password, with any user name"
            if knock.is_feed
            else "send `Authorization: Bearer TOKEN`"
        )
        return Stranger(what="the token is not one of this page", remedy=remedy)
    acts = may_act and right == "act"
    return Visitor(name=f"the {right} token", may_act=acts, binding=f"bearer {right}", is_program=True)


def _password_of(credentials: str) -> str:
    """Return the password of RFC 7617; empty when there is none."""
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def _proxied(rules: AccessRules, knock: Knock) -> Visitor | Stranger:
    user = knock.users[0].strip() if len(knock.users) == 1 else ""
    if not user or len(user) > LONGEST_NAME or not all(map(is_safe_in_terminal, user)):
        can_sign_in = bool(rules.tokens)
        remedy = f"have the proxy sign people in, and set {rules.user_header} once"
        return Stranger(what="the proxy does not say who you are", remedy=remedy, can_sign_in=can_sign_in)
    return Visitor(name=user, may_act="*" in rules.actors or user in rules.actors, binding=f"user {user}")


def _local(rules: AccessRules, knock: Knock) -> Visitor | Stranger:
    if knock.is_forwarded:
        what = "a proxy passed this on, and `web.proxy` in connrunner.yaml does not name it"
        return Stranger(
            what=what, remedy="name it there, with the header in which it says who asks; or set `web.tokens`"
        )
    if not is_loopback(knock.peer) or knock.account not in (rules.account, 0):
        what = "without tokens, only the account that runs `connrunner web` on this machine sees this page"
        return Stranger(what=what, remedy="set `web.tokens` in connrunner.yaml")
    return Visitor(name="", may_act=True, binding="account")


def _is_among(peer: str, networks: Sequence[str]) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in map(_network, networks) if network is not None)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:  # `validate` tells it
        return None


# --- sessions and forms --------------------------------------------------------------------------------------------


def make_session(rules: AccessRules, right: Right, name: str, now: float) -> str:
    """Return the cookie of somebody who showed the token of *right* and calls themselves *name*.

    It holds no token, and ends when its time is over or the token changes.
    """
    body = f"{right}.{int(now) + SESSION}.{base64.urlsafe_b64encode(name.encode()).decode().rstrip('=')}"
    return f"{body}.{_session_mac(rules, right, body)}"


def read_session(rules: AccessRules, cookie: str, now: float) -> Visitor | None:
    """Return who signed in with *cookie*; None when it is not ours, or is over."""
    body, _, mac = cookie.rpartition(".")
    parts = body.split(".")
    if len(parts) != 3 or parts[0] not in rules.tokens:
        return None
    right: Right = "act" if parts[0] == "act" else "read"
    if not hmac.compare_digest(_digest(_session_mac(rules, right, body)), _digest(mac)):
        return None
    if int(parts[1]) <= now:
        return None
    name = base64.urlsafe_b64decode(parts[2] + "=" * (-len(parts[2]) % 4)).decode()
    return Visitor(name=name or f"the {right} token", may_act=right == "act", binding=f"session {mac}")


def make_form_token(rules: AccessRules, binding: str, now: float) -> str:
    """Return what the forms of the reader with *binding* have to send back."""
    return _form_mac(rules, binding, int(now) // DAY)


def is_form_token(rules: AccessRules, binding: str, token: str, now: float) -> bool:
    """Tell whether *token* is that of a form which this reader was shown today or yesterday."""
    today = int(now) // DAY
    sent = _digest(token)
    return any(hmac.compare_digest(_digest(_form_mac(rules, binding, day)), sent) for day in (today, today - 1))


def _session_mac(rules: AccessRules, right: Right, body: str) -> str:
    key = hashlib.sha256(b"connrunner session\0" + rules.tokens[right].encode()).digest()
    return hmac.new(key, body.encode(), hashlib.sha256).hexdigest()


def _form_mac(rules: AccessRules, binding: str, day: int) -> str:
    return hmac.new(rules.key, f"form\0{binding}\0{day}".encode(), hashlib.sha256).hexdigest()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

"""The credentials for an HTTP server: a token, a user with a password, or a token to be fetched first (OAuth 2)."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote_plus, urlencode

from connrunner.connectors.http.wire import BrokenError
from connrunner.errors import RunError

EARLY = 30.0  # seconds before its end that a token is renewed

AskForToken = Callable[[Mapping[str, str], bytes], Any]
"""Posts a form with these headers to the token's address, and returns the data of the answer."""


class Credentials(Protocol):
    """What a request says about us."""

    def header(self) -> str:
        """Return the value of `Authorization`."""

    def renew(self) -> bool:
        """After a refusal: forget what was fetched. False when there is nothing to fetch again."""

    def secrets(self) -> set[str]:
        """Return what no message may hold."""


def credentials(auth: Mapping[str, Any], ask: AskForToken) -> Credentials:
    """Return the credentials that the setting `auth` describes."""
    match auth["type"]:
        case "bearer":
            return _FixedCredentials(f"Bearer {sound('token', auth['token'])}", auth["token"])
        case "basic":
            if ":" in auth["username"]:
                raise RunError("`auth.username` cannot hold a colon", hint="leave it out", code="bad-setting")
            return _FixedCredentials(_basic(auth["username"], auth["password"]), auth["password"])
        case "oauth2":
            return _ClientCredentials(auth, ask)
        case other:
            raise RunError(
                f"unknown type of `auth`: {other!r}", hint="write bearer, basic or oauth2", code="bad-setting"
            )


def sound(name: str, value: str) -> str:
    """Return *value* when it can stand in a header; RunError, which does not show it, when not."""
    if not (value.isascii() and value.isprintable()) or value != value.strip():
        raise RunError(
            f"`{name}` holds what cannot stand in a header: a space around it, a line end or a letter with an accent",
            hint="write it as the server's owner gave it; a secret's file has one line",
            code="bad-setting",
        )
    return value


class _FixedCredentials:
    def __init__(self, header: str, secret: str) -> None:
        self._header, self._secret = header, secret

    def header(self) -> str:
        return self._header

    def renew(self) -> bool:
        return False

    def secrets(self) -> set[str]:
        return {self._secret, self._header.partition(" ")[2]}


class FetchedToken:
    """A token that is fetched when it is first needed, and again when it has ended; who derives says how."""

    def __init__(self, *secrets: str) -> None:
        self._token = ""
        self._until = float("inf")
        self._seen = set(secrets)

    def header(self) -> str:
        """Return the value of `Authorization`; RunError when the server gives no token."""
        if not self._token or time.monotonic() >= self._until:
            self.fetch()
        return f"Bearer {self._token}"

    def renew(self) -> bool:
        """Forget the token: the next request fetches a new one."""
        self._token = ""
        return True

    def secrets(self) -> set[str]:
        """Return what no message may hold: every token of the run is among it."""
        return self._seen

    def fetch(self) -> None:
        """Ask for a token, and `keep` it."""
        raise NotImplementedError

    def keep(self, token: str, *, life: float = float("inf")) -> None:
        """Use *token* for *life* seconds."""
        self._token = token
        self._seen.add(token)
        self._until = time.monotonic() + life


def read_token(data: Any) -> str:
    """Return the token in the *data* of an answer (RFC 6749, 5.1); empty when there is none that a header can hold."""
    token = data.get("access_token") if isinstance(data, dict) else None
    return token if isinstance(token, str) and token.isascii() and token.isprintable() else ""


class _ClientCredentials(FetchedToken):
    """A token by the client credentials grant (RFC 6749, 4.4): fetched once for a run, and again when it ran out."""

    def __init__(self, auth: Mapping[str, Any], ask: AskForToken) -> None:
        super().__init__(str(auth["client_secret"]))
        self._auth, self._ask = auth, ask

    def fetch(self) -> None:
        client_id, secret = str(self._auth["client_id"]), str(self._auth["client_secret"])
        form = {"grant_type": "client_credentials"}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if "scope" in self._auth:
            form["scope"] = str(self._auth["scope"])
        if self._auth.get("client_in", "header") == "body":
            form |= {"client_id": client_id, "client_secret": secret}
        else:
            # Both are form-encoded before they become a user and a password (RFC 6749, 2.3.1).
            headers["Authorization"] = _basic(quote_plus(client_id), quote_plus(secret))
        try:
            data = self._ask(headers, urlencode(form).encode())
        except BrokenError:
            raise
        except RunError as error:
            if error.code not in ("refused", "unauthorized", "forbidden"):
                raise
            hint = "check `client_id`, `client_secret` and `scope`; some servers need `client_in: body`"
            raise RunError(error.message, hint=hint, code="unauthorized") from error
        life = data.get("expires_in") if isinstance(data, dict) else None
        if not (token := read_token(data)):
            message = f"{self._auth['url'].partition('?')[0]} answers without an `access_token`"
            raise RunError(message, hint="see that `url` of `auth` is that of the tokens", code="bad-answer")
        self.keep(token, life=max(_seconds(life) - EARLY, 1.0))


def _seconds(life: object) -> float:
    """Return how long a token lives; an answer that does not say it leaves that to the first 401."""
    try:
        return float(str(life))
    except ValueError:
        return float("inf")


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

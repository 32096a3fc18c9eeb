"""Signing in to Salesforce: by a signed assertion for a user (JWT bearer), or by the app's own secret.

The flows are those of the pages "OAuth 2.0 JWT Bearer Flow" and "OAuth 2.0 Client Credentials Flow" of Salesforce Help.
Neither says how long a token lives, so its end is known by the first 401; a new one is fetched then.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from connrunner.connectors import Settings
from connrunner.connectors.http.auth import FetchedToken, read_token
from connrunner.connectors.http.client import Client, Response
from connrunner.connectors.http.http_date import parse_http_date
from connrunner.connectors.http.url import HttpAddress, parse
from connrunner.connectors.salesforce.refusal_words import explain_sign_in, read_errors
from connrunner.core.report import Report
from connrunner.errors import RunError
from connrunner.text.hosts import is_loopback
from connrunner.text.nesting import parse_json
from connrunner.text.words import one_line

LOGIN = "https://login.salesforce.com"
SANDBOX = "https://test.salesforce.com"
LIFE = 180  # seconds that an assertion is good for; Salesforce allows 300
SKEW = 120  # seconds that two clocks may differ before it is told
_TOKEN_PATH = "/services/oauth2/token"  # noqa: S105
_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def parse_login_url(settings: Settings) -> HttpAddress:
    """Return the host to sign in at: `login_url` is a URL, or a whole host name; RunError when it cannot be asked."""
    text = str(settings.get("login_url", LOGIN))
    address = parse(text if "://" in text else f"https://{text}")
    if address.path != "/" or address.query:
        raise RunError(
            f"`login_url` is {address}, and it is a host without a path",
            hint=f"write https://{address.place}",
            code="bad-url",
        )
    return address


class OrgSignIn(FetchedToken):
    """The credentials for one org."""

    def __init__(self, settings: Settings, report: Report, authorities: Path | None) -> None:
        super().__init__(*(str(settings[key]) for key in ("client_secret", "private_key") if key in settings))
        self._settings, self._report, self._authorities = settings, report, authorities
        self._login = parse_login_url(settings)
        self._times = 0
        self.instance: HttpAddress | None = None  # where all other requests go, once signed in
        _check_way(settings, self._login)

    def reach(self) -> HttpAddress:
        """Sign in unless that is done, and return the address of the org."""
        self.header()
        assert self.instance is not None
        return self.instance

    def fetch(self) -> None:
        """Sign in; RunError with the org's words and what helps when it does not let us in."""
        form = self._form()
        self._seen |= {form[key] for key in ("assertion", "client_secret") if key in form}
        own = {name: self._settings[name] for name in ("retries", "timeout") if name in self._settings}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        address = self._login.joined(_TOKEN_PATH)
        with Client(own, address, self._report, secrets=self._seen, authorities=self._authorities) as client:
            data = client.ask(
                "POST",
                address,
                lambda answer: self._read(client, answer),
                headers=headers,
                body=urlencode(form).encode(),
                accept=lambda status: status in (400, 401, 403),
            )
        self._accept(data)

    def _form(self) -> dict[str, str]:
        settings = self._settings
        if "private_key" in settings:
            return {"grant_type": _JWT_GRANT, "assertion": self._sign()}
        return {
            "grant_type": "client_credentials",
            "client_id": str(settings["client_id"]),
            "client_secret": str(settings["client_secret"]),
        }

    def _sign(self) -> str:
        """Return the assertion; a new one each time, since it is good for minutes."""
        try:
            import jwt
        except ModuleNotFoundError:
            raise missing_extra() from None
        settings = self._settings
        claims = {
            "iss": str(settings["client_id"]),
            "sub": str(settings["username"]),
            "aud": str(settings.get("audience") or find_audience(self._login)),
            "exp": int(time.time()) + LIFE,
        }
        try:
            return jwt.encode(claims, str(settings["private_key"]), algorithm="RS256")
        except (jwt.PyJWTError, ValueError, TypeError):  # whose words may quote the key
            raise RunError(
                "`private_key` is not an RSA key that can sign",
                hint="name the file with the private key (PEM, without a passphrase) whose certificate the app has",
                code="bad-key",
            ) from None

    def _read(self, client: Client, answer: Response) -> Any:
        if answer.status < 300:
            return answer.json()
        content = answer.start()
        code = description = ""
        try:
            code, description = read_errors(parse_json(content.decode("utf-8", "replace")))
        except ValueError:
            description = "the answer is not JSON"
        said = client.mask_text(f"{code}: {description}" if code else description)
        hint = explain_sign_in(code, description)
        if skew := _skew(answer):
            said += f"; its clock differs from ours by {skew:,} s"
            hint = "set the clock of this machine: what is signed is good for minutes only"
        raise RunError(f"{answer.address} does not let us in: {said}", hint=hint, code="unauthorized")

    def _accept(self, data: Any) -> None:
        token, url = read_token(data), data.get("instance_url") if isinstance(data, dict) else None
        if not token or not isinstance(url, str):
            raise RunError(
                f"{self._login} answers without an `access_token` and an `instance_url`",
                hint="see that `login_url` is a host of Salesforce",
                code="bad-answer",
            )
        instance = parse(url)
        if not is_loopback(self._login.host) and is_loopback(instance.host):
            raise RunError(
                f"{self._login} sends us to {one_line(str(instance), 100)}, which is this machine",
                hint="see that `login_url` is a host of Salesforce",
                code="foreign-host",
            )
        if self.instance is not None and instance.place != self.instance.place:
            raise RunError(
                f"{self._login} sent us to {self.instance.place}, and now to {instance.place}",
                hint="the org has moved; the next run begins at its new place",
                code="foreign-host",
                waiting_helps=True,
            )
        self._times += 1
        if self._times > 1:
            self._report.message(f"the token had ended, so {self._login.place} gave a new one")
        self.keep(token)
        self.instance = instance


def find_audience(login: HttpAddress) -> str:
    """Return whom an assertion is for: the common host for production, or that for sandboxes."""
    sandbox = login.host == "test.salesforce.com" or ".sandbox." in login.host
    return SANDBOX if sandbox else LOGIN


def missing_extra() -> RunError:
    """Return the error for a Python without the packages that this connector needs."""
    return RunError(
        "the connector salesforce needs the extra `salesforce`",
        hint="pip install 'connrunner[salesforce]'",
        code="missing-extra",
    )


def _check_way(settings: Settings, login: HttpAddress) -> None:
    """RunError unless the settings say one way to sign in, and all that it needs."""
    if ("private_key" in settings) == ("client_secret" in settings):
        raise RunError(
            "there are two ways to sign in, and the settings say "
            + ("both" if "private_key" in settings else "neither"),
            hint="write `username` and `private_key`, or `client_secret`",
            code="bad-setting",
        )
    if "private_key" in settings and "username" not in settings:
        raise RunError("`private_key` signs for a user", hint="add `username`", code="bad-setting")
    if "client_secret" in settings and login.host in ("login.salesforce.com", "test.salesforce.com"):
        raise RunError(
            f"`client_secret` signs in at the My Domain of an org, not at {login.host}",
            hint="write it into `login_url`, like https://acme.my.salesforce.com",
            code="bad-setting",
        )


def _skew(answer: Response) -> int:
    """Return by how many seconds the clock of the server differs from ours; 0 when that is little, or not said."""
    theirs = parse_http_date(answer.headers.get("Date", ""))
    seconds = 0 if theirs is None else round(abs((theirs - datetime.now(UTC)).total_seconds()))
    return seconds if seconds > SKEW else 0

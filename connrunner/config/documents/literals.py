"""Secrets that stand in a file themselves, where a reference should say where they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from connrunner.config import secret_words
from connrunner.config.finding import Finding, Path
from connrunner.config.wording import show

_SECRET_VARIABLE = re.compile(
    "PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL|API_?KEY|PRIVATE_KEY|ACCESS_KEY|(?:^|_)(?:TOKEN|PASS|PWD)S?(?:_|$)"
)
_NOT_THE_SECRET_ITSELF = re.compile("_(?:FILE|PATH|NAME|URL)$")
_SECRET_PART = re.compile(
    "AUTHORIZATION|COOKIE|TOKEN|SECRET|PASSW|SIGNATURE|(?:^|_)(?:KEY|PWD|SIG|SUBSCRIPTION_KEY)S?$|APIKEY"
)
_CAMEL = re.compile("(?<=[a-z0-9])(?=[A-Z])")  # accessToken is two words
_REFERENCE = re.compile("env:[A-Za-z_][A-Za-z0-9_]*|file:/[^\n]+")


def of_connector(settings: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    """Yield the secrets in the *settings* of any connector; what each schema says of its own keys is not repeated."""
    yield from anywhere(settings.get("config"), (*path, "config"))
    for part in ("headers", "query"):
        yield from _of_requests(settings.get(part), (*path, part))
    yield from _of_address(settings.get("url"), (*path, "url"))
    auth = settings.get("auth")
    if isinstance(auth, dict):
        yield from _of_address(auth.get("url"), (*path, "auth", "url"))


def reference(value: str, path: Path) -> Iterator[Finding]:
    """Yield it when *value* means to be a reference to a secret, and is none."""
    if secret_words.is_reference(value) and not _REFERENCE.fullmatch(value):
        message = f"`{path[-1]}` is not a sound reference to a secret"
        yield Finding(path, message, "write env:NAME, or file:/ and an absolute path", "bad-reference")


def anywhere(value: Any, path: Path) -> Iterator[Finding]:
    """Yield the secrets that stand in *value* themselves, however deep, and the references that are not sound."""
    parts: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    for name, part in parts:
        here = (*path, name)
        if not isinstance(part, str):
            yield from anywhere(part, here)
            continue
        yield from reference(part, here)
        is_secret = (isinstance(name, str) and _is_secret_variable(name)) or secret_words.has_credentials(part)
        if is_secret and part and not secret_words.is_reference(part):
            yield _literal(here)


def _of_requests(part: Any, path: Path) -> Iterator[Finding]:
    """Yield the secrets that stand themselves among the headers or in the query of a request."""
    for name, value in (part if isinstance(part, dict) else {}).items():
        if isinstance(value, str):
            yield from reference(value, (*path, name))
            if value and _is_secret_part(name) and not secret_words.is_reference(value):
                yield _literal((*path, name))


def _is_secret_part(name: str) -> bool:
    """True for a header or a parameter of a query that proves who asks: Authorization, X-Api-Key, access_token."""
    words = _CAMEL.sub("_", name.replace("-", "_")).upper()
    return bool(_SECRET_PART.search(words)) or _is_secret_variable(words)


def _of_address(address: Any, path: Path) -> Iterator[Finding]:
    """Yield it when *address* has a password: before its host, or under a secret's name in its query."""
    from urllib.parse import parse_qsl, urlsplit

    if not isinstance(address, str):
        return
    try:
        parts = urlsplit(address)
        password = parts.password
        names = [name for name, value in parse_qsl(parts.query) if value and _is_secret_part(name)]
    except ValueError:
        return  # no address; who opens it says so
    if password or secret_words.has_credentials(address):
        hint = "take it out, and write it under `password` (in `auth`, with the type http) as env:NAME or file:/path"
        yield Finding(path, f"`{path[-1]}` holds a password", hint, "literal-secret")
    elif names:
        hint = f"take it out; with the type http, write it as `query: {{{names[0]}: env:NAME}}`"
        yield Finding(path, f"`{path[-1]}` holds a secret itself, {show(names[0])}", hint, "literal-secret")


def _literal(path: Path) -> Finding:
    hint = "write where the secret is: env:NAME or file:/path"
    return Finding(path, f"`{path[-1]}` holds a secret itself", hint, "literal-secret")


def _is_secret_variable(name: str) -> bool:
    upper = _CAMEL.sub("_", name).upper()
    return bool(_SECRET_VARIABLE.search(upper)) and not _NOT_THE_SECRET_ITSELF.search(upper)

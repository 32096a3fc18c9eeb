"""Which parts of a secret are secrets of their own, because programs print them alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from connrunner.text.nesting import parse_json

SHORTEST = 8  # characters; hiding every "abc" of a log would tell what the secret is

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# A connection string, as databases and clouds have them: `host=db password='x'`, `AccountName=a;AccountKey=b`.
_PAIR = re.compile(r"""([A-Za-z][\w .-]*?)\s*=\s*(?:'([^']*)'|"([^"]*)"|\{([^}]*)\}|([^;\s]+))""")
_SECRET_KEY = re.compile(r"pass|pwd|secret|key|token|sig|credential", re.IGNORECASE)
_RANDOM = re.compile(r"[0-9].*[A-Za-z]|[A-Za-z].*[0-9]|[a-z].*[A-Z]|[A-Z].*[a-z]", re.DOTALL)


def split_secret(secret: str) -> list[str]:
    """Return *secret* and what of it is a secret of its own, each once, the whole first.

    That is: its lines; of a URL its user information, its path, and the values of its query, as they are written and
    decoded; of JSON the texts in it, whatever they are in turn; of a connection string the values that its keys call
    secret. A part has at least 8 characters, the whole may have any number.
    """
    found = {part: None for part in (secret, secret.strip(), secret.replace("\r\n", "\n")) if part}
    for part in _parts(secret):
        if len(part.strip()) >= SHORTEST:
            found[part] = found[part.strip()] = None
    return list(found)


def _parts(secret: str) -> Iterator[str]:
    yield from secret.splitlines()
    text = secret.strip()
    if text.startswith(("{", "[")):
        yield from _leaves(text)
    elif _URL.match(text):
        yield from _url_parts(text)
    elif "=" in text and "\n" not in text:
        for key, *values in _PAIR.findall(text):
            if _SECRET_KEY.search(key):
                yield from filter(None, values)


def _leaves(text: str) -> Iterator[str]:
    try:
        data = parse_json(text)
    except ValueError:
        return
    for leaf in _texts(data):
        yield leaf
        yield json.dumps(leaf)[1:-1]
        if len(leaf) < len(text):
            yield from _parts(leaf)


def _texts(data: Any) -> Iterator[str]:
    match data:
        case str():
            yield data
        case dict():
            for value in data.values():
                yield from _texts(value)
        case list():
            for value in data:
                yield from _texts(value)


def _url_parts(text: str) -> Iterator[str]:
    try:
        url = urlsplit(text)
    except ValueError:
        url = SplitResult("", text.partition("://")[2].partition("/")[0], "", "", "")
    user_info = url.netloc.rpartition("@")[0]
    path = url.path.strip("/")
    # One part of a path is a secret when it looks like one (a chat's hook), not when it is a word.
    written = [user_info, *user_info.split(":", 1), path, *filter(_RANDOM.search, path.split("/")), url.fragment]
    if "." not in url.netloc:  # not the name of a server, but the first part of a chat's address
        written += filter(_RANDOM.search, [url.netloc, *url.netloc.split(":")])
    written += [pair.partition("=")[2] for pair in re.split("[&;]", url.query)]
    yield from _with_decoded(written)
    yield from (value for _, value in parse_qsl(url.query, keep_blank_values=True))


def _with_decoded(parts: Iterable[str]) -> Iterator[str]:
    for part in parts:
        yield part
        yield unquote(part)

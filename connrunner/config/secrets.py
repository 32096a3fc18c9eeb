"""Secrets: where they are, what they are at the moment of use, and keeping them out of everything that leaves."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from connrunner.config.documents import workspace_file
from connrunner.config.secret_words import is_reference
from connrunner.errors import RunError

__all__ = ["Masker", "filled", "is_reference", "references", "resolve_secret"]

SHORTEST = 8  # characters; hiding every "abc" of a log would tell what the secret is
LARGEST = 64 * 1024  # bytes of a file with a secret
MASK = "***"


def resolve_secret(reference: str, *, folder: Path) -> str:
    """Return the secret that *reference* (`env:NAME` or `file:/path`) names, without a line end after it.

    RunError, which names the reference and never the value, when it is missing, empty, or shorter than 8 characters.
    *folder* is the workspace; a path relative to it is refused, for what lies there is in git.
    """
    kind, _, name = reference.partition(":")
    if kind == "env":
        value = os.environ.get(name)
        if value is None:
            raise _error(reference, f"the environment variable {name} is not set", "set it where connrunner starts")
    elif kind == "file":
        if not name.startswith("/"):
            hint = f"write an absolute path, such as file:{folder / name}"
            raise _error(reference, "the path is relative", hint)
        value = _content(reference, name)
    else:
        raise RunError("a secret that is not a reference", hint="write env:NAME or file:/path", code="secret-literal")
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise _error(reference, "it is empty", "write the secret there")
    if len(value) < SHORTEST:
        hint = f"use a secret of {SHORTEST} characters or more; a shorter one cannot be kept out of logs"
        raise _error(reference, "it is too short", hint)
    return value


def _content(reference: str, path: str) -> str:
    try:
        # O_NONBLOCK: not to hang on a FIFO.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        content = workspace_file.content(descriptor, LARGEST + 1)
    except workspace_file.UnreadableFile as error:
        raise _error(reference, error.message, "write the secret into a file") from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise _error(
            reference, f"the file cannot be read: {reason}", "check that it exists and who may read it"
        ) from None
    if len(content) > LARGEST:
        raise _error(reference, "the file is larger than 64 KiB", "write nothing but the secret into it")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise _error(reference, "the file is not text in UTF-8", "write nothing but the secret into it") from None


def _error(reference: str, message: str, hint: str) -> RunError:
    return RunError(f"cannot use the secret {reference}: {message}", hint=hint, code="secret-missing")


def references(settings: Any) -> set[str]:
    """Return every reference to a secret in *settings*, plain data."""
    return {text for text in _texts(settings) if is_reference(text)}


def filled(settings: Any, plain: Mapping[str, str]) -> Any:
    """Return *settings* with every reference that *plain* knows replaced by its secret."""
    match settings:
        case str():
            return plain.get(settings, settings)
        case Mapping():
            return {key: filled(item, plain) for key, item in settings.items()}
        case list():
            return [filled(item, plain) for item in settings]
        case _:
            return settings


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for item in value.values():
                yield from _texts(item)
        case list():
            for item in value:
                yield from _texts(item)


class Masker:
    """Hides the given secrets in any text: as they are, in base64, in a URL, in JSON."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        # The longest first: of a secret that contains another, nothing may remain.
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._forms = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def mask(self, text: str) -> str:
        """Return *text* with each form of each secret as `***`."""
        return text if self._forms is None else self._forms.sub(MASK, text)


def _forms(secret: str) -> Iterator[str]:
    # A log has lines: those of a key file are hidden one by one.
    parts = {secret, secret.strip(), *(line for line in secret.splitlines() if len(line.strip()) >= SHORTEST)}
    for part in parts - {""}:
        yield part
        yield json.dumps(part)[1:-1]
        yield json.dumps(part, ensure_ascii=False)[1:-1]
        for quoted in (quote(part, safe=""), quote(part), quote_plus(part)):
            yield quoted
            yield re.sub("%[0-9A-F]{2}", lambda found: found.group().lower(), quoted)
        yield from _in_base64(part.encode())


def _in_base64(secret: bytes) -> Iterator[str]:
    """Yield what every base64 text with *secret* inside it contains, for each of the three ways it can be aligned."""
    for before in range(3):
        first = -(-before * 8 // 6)
        last = (before + len(secret)) * 8 // 6
        padded = b"\0" * before + secret + b"\0" * 3
        yield base64.b64encode(padded).decode()[first:last]
        yield base64.urlsafe_b64encode(padded).decode()[first:last]

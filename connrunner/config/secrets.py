"""Secrets: where they are, what they are at the moment of use, and keeping them out of everything that leaves."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from connrunner.config.documents import workspace_file
from connrunner.config.secret_words import is_reference
from connrunner.errors import RunError
from connrunner.text.masking import Masker
from connrunner.text.secret_parts import SHORTEST

__all__ = ["Masker", "filled", "is_reference", "references", "resolve_secret", "reveal"]

LARGEST = 64 * 1024  # bytes of a file with a secret


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


def reveal(text: str, *, folder: Path) -> str:
    """Return the secret that *text* refers to, or *text* itself when it is no reference; as `resolve_secret`."""
    return resolve_secret(text, folder=folder) if is_reference(text) else text


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

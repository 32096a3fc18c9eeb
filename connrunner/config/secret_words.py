"""What looks like a secret: by the name of its key, or by its form."""

from __future__ import annotations

import re

from connrunner.text.words import similar

_NAMES = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "credentials",
    "apikey",
    "authorization",
    "cookie",
)
_PAIRS = ("api_key", "private_key", "access_key", "secret_key")
_WORD = re.compile(r"[A-Za-z]+")
IN_ADDRESS = re.compile(r"(?<=://)[^/\s@\"':]*:[^/\s@\"']+(?=@)")


def looks_secret(name: str) -> bool:
    """True when the value under a key of this name is probably a secret; misspelt names too."""
    lowered = name.lower().replace("-", "_")
    if lowered == "key" or any(pair in lowered for pair in _PAIRS):
        return True
    if any(known in lowered for known in _NAMES):
        return True

    return any(similar(word, _NAMES, cutoff=0.8) for word in _WORD.findall(lowered) if len(word) > 4)


def has_credentials(address: str) -> bool:
    """True for a URL with a password in it."""
    return IN_ADDRESS.search(address) is not None


def is_reference(value: str) -> bool:
    """True for text that says where a secret is, instead of the secret: `env:NAME` or `file:/path`."""
    return value.startswith(("env:", "file:"))

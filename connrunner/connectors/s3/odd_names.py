"""A listing for folders in which an object has a name that the library cannot take: it gives none of them then."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import quote, unquote
from xml.etree import ElementTree

from connrunner.connectors.s3 import errors, signature
from connrunner.connectors.s3.signature import RequestScope, SigningKeys
from connrunner.lazy_dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedKey:
    """What a listing says about an object, or a folder (its key ends in a slash)."""

    key: str
    size: int
    etag: str
    modified: str


class ListingError(Exception):
    """The server did not answer with a listing."""

    def __init__(self, fact: errors.ErrorFacts) -> None:
        super().__init__(fact.message)
        self.fact = fact


def is_odd(key: str) -> bool:
    """Return whether a *key* has empty parts, . or .. as a part, or control characters."""
    parts = key.removesuffix("/").split("/")
    return any(part in ("", ".", "..") for part in parts) or any(ord(one) < 32 or ord(one) == 127 for one in key)


def list_keys(
    bucket_url: str, prefix: str, keys: SigningKeys, region: str, *, deep: bool
) -> Iterator[tuple[list[ListedKey], list[str]]]:
    """Yield the objects whose keys begin with *prefix*, and the folders unless *deep*, a page at a time.

    ListingError when the server refuses, or answers with something else.
    """
    token = ""
    while True:
        wanted = {"encoding-type": "url", "list-type": "2", "prefix": prefix}
        wanted |= {} if deep else {"delimiter": "/"}
        wanted |= {"continuation-token": token} if token else {}
        query = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(wanted.items()))
        page = _ask(f"{bucket_url}?{query}", keys, region)
        yield (
            [_listed(one) for one in page.findall("{*}Contents")],
            [unquote(one.findtext("{*}Prefix") or "") for one in page.findall("{*}CommonPrefixes")],
        )
        token = page.findtext("{*}NextContinuationToken") or ""
        if page.findtext("{*}IsTruncated") != "true" or not token:
            return


def _ask(url: str, keys: SigningKeys, region: str) -> ElementTree.Element:
    more = {"x-amz-content-sha256": _EMPTY}
    headers = signature.sign(url, None, keys, RequestScope(region=region, service="s3"), more, datetime.now(UTC))
    answer, fact = signature.ask(url, None, headers)
    if fact is not None:
        raise ListingError(fact)
    try:
        return ElementTree.fromstring(answer)  # noqa: S314 - expat bounds what entities become
    except ElementTree.ParseError:
        raise ListingError(errors.ErrorFacts(message="the answer is no listing")) from None


_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of nothing


def _listed(one: ElementTree.Element) -> ListedKey:
    return ListedKey(
        key=unquote(one.findtext("{*}Key") or ""),
        size=int(one.findtext("{*}Size") or 0),
        etag=one.findtext("{*}ETag") or "",
        modified=one.findtext("{*}LastModified") or "",
    )

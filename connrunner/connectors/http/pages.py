"""The records of a JSON API, page after page, as JSON lines."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connrunner.connectors import FetchResult, RunContext, Settings
from connrunner.connectors.http.client import Client, Response
from connrunner.connectors.http.data import ABSENT, look_up, outline
from connrunner.connectors.http.url import HttpAddress
from connrunner.connectors.http.watermark import Watermark
from connrunner.core import instant
from connrunner.core.model import Format, LocalFile
from connrunner.errors import RunError

MAX_PAGES = 10_000
_text_of = json.JSONEncoder(separators=(",", ":")).encode
_LINK = re.compile(r"<([^<>]*)>([^<>]*)")
_RELATION = re.compile(r""";\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))""", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One answer of the API."""

    address: HttpAddress  # after redirects
    data: Any
    links: str  # the header Link
    records: list[Any]


def fetch_pages(client: Client, settings: Settings, context: RunContext, mark: Any) -> FetchResult:
    """Bring the records of all pages into one file, one JSON text a line."""
    watermark = Watermark(settings["watermark"], mark, context.at) if "watermark" in settings else None
    start = client.address.asking(watermark.asks() if watermark else {})
    path = context.spool / "records.jsonl"
    count = 0
    digest = hashlib.sha256()
    with path.open("xb") as file:
        for page in pages(client, start, settings):
            for record in page.records:
                if watermark:
                    watermark.see(record)
                line = _text_of(record).encode() + b"\n"
                file.write(line)
                digest.update(line)
            count += len(page.records)
            context.report.progress("fetching", count)
    new_mark = watermark.mark(context.report) if watermark else None
    if not count:
        return FetchResult(files=(), mark=new_mark)
    records = LocalFile(
        path=str(path),
        name=str(client.address),
        size=path.stat().st_size,
        modified=instant.text(context.at),
        digest=digest.hexdigest(),
        format=Format(type="jsonl", compression="none"),
        once=True,
    )
    return FetchResult(files=(records,), mark=new_mark)


def pages(client: Client, start: HttpAddress, settings: Settings) -> Iterator[Page]:
    """Yield every page from *start* on; RunError when they go in a circle or are more than `max_pages`."""
    paging = settings.get("paging", {"type": "none"})
    limit = int(settings.get("max_pages", MAX_PAGES))
    asked: set[bytes] = set()
    lengths: list[int] = []
    before: Any = None
    address: HttpAddress | None = start.asking(_numbered(paging, 0)) if paging["type"] == "page" else start
    while address is not None:
        if len(lengths) == limit:
            raise RunError(
                f"{start} has more than {limit:,} pages",
                hint="raise `max_pages`, or ask for larger pages",
                code="too-many-pages",
            )
        fingerprint = hashlib.sha256(address.whole.encode()).digest()
        if fingerprint in asked:
            raise RunError(
                f"the pages of {start} go in a circle: page {len(lengths):,} leads back to one before it",
                hint="correct `paging`, or tell the owner of the API",
                code="endless-pages",
            )
        asked.add(fingerprint)
        page = _page(client, address, settings, end=_past_the_end(paging, lengths))
        if page is None:
            return
        if paging["type"] == "page" and page.records and page.records == before:
            raise RunError(
                f"pages {len(lengths):,} and {len(lengths) + 1:,} of {start} hold the same records",
                hint=f"see that `{paging['parameter']}` names the page; `size` or `total` tells which page is the last",
                code="endless-pages",
            )
        before = page.records
        lengths.append(len(page.records))
        yield page
        address = _next(paging, client, start, page, lengths)


def _page(client: Client, address: HttpAddress, settings: Settings, *, end: Sequence[int]) -> Page | None:
    """Return the page at *address*, or None when its status is one of *end*."""

    def take(answer: Response) -> Page | None:
        if answer.status in end:
            return None
        data = answer.json()
        records = _records(data, str(settings.get("rows", ".")), answer.address)
        return Page(address=answer.address, data=data, links=answer.headers.get("Link", ""), records=records)

    headers = {"Accept": "application/json"}
    return client.ask("GET", address, take, headers=headers, accept=lambda status: status in end)


def _records(data: Any, path: str, address: HttpAddress) -> list[Any]:
    records = look_up(data, path)
    if records is None:  # what some languages write for an empty list, and an answer without a body
        return []
    if isinstance(records, list):
        return records
    if records is ABSENT:
        message = f"the answer of {address} has no `{path}`: it is {outline(data)}"
    elif path == ".":
        message = f"the answer of {address} is not a list of records but {outline(data)}"
    else:
        message = f"`{path}` in the answer of {address} is not a list of records but {outline(records)}"
    raise RunError(message, hint="write under `rows` where the list is, like `rows: data.items`", code="no-rows")


# --- where the next page is --------------------------------------------------------------------------------------


def _next(
    paging: Mapping[str, Any], client: Client, start: HttpAddress, page: Page, lengths: Sequence[int]
) -> HttpAddress | None:
    match paging["type"]:
        case "next_link":
            link = _text(paging["path"], page) if "path" in paging else linked(page.links, "next")
            if link and page.address.scheme == "https" and link.startswith("http://"):
                link = f"https{link[4:]}"  # an API behind a proxy often does not know that it has TLS
            return client.step(page.address, link) if link else None
        case "cursor":
            cursor = _text(paging["path"], page)
            return start.asking({paging["parameter"]: cursor}) if cursor else None
        case "page":
            return None if _is_last(paging, page, lengths) else start.asking(_numbered(paging, len(lengths)))
    return None


def _text(path: str, page: Page) -> str:
    """Return the link or cursor at *path*, empty when there is none."""
    value = look_up(page.data, path)
    if value is ABSENT or value is None or value is False:
        return ""
    if isinstance(value, str | int) and value is not True:
        return str(value)
    message = f"`{path}` in the answer of {page.address} is {outline(value)}, no link and no cursor"
    raise RunError(message, hint="correct `path` of `paging`", code="bad-paging")


def linked(header: str, relation: str) -> str:
    """Return the first link of a `Link` header (RFC 8288) that has *relation*, or an empty text."""
    for target, parameters in _LINK.findall(header):
        found = _RELATION.search(parameters)
        if found and relation in (found[1] or found[2] or "").lower().split():
            return str(target)
    return ""


def _numbered(paging: Mapping[str, Any], index: int) -> dict[str, str]:
    values = {paging["parameter"]: str(paging.get("start", 1) + index * paging.get("step", 1))}
    return values | ({paging["size_parameter"]: str(paging["size"])} if "size_parameter" in paging else {})


def _is_last(paging: Mapping[str, Any], page: Page, lengths: Sequence[int]) -> bool:
    """Tell whether no page follows.

    A page is short when it is shorter than the first one. `size` is not a measure: a server may have a smaller limit of
    its own, and everything behind the first page would be lost without a word.
    """
    if not page.records:
        return True
    if "total" not in paging:
        return lengths[-1] < lengths[0]
    total = look_up(page.data, paging["total"])
    if not (isinstance(total, str | int) and str(total).isascii() and str(total).isdigit()):
        message = f"`{paging['total']}` in the answer of {page.address} is not a number of records"
        raise RunError(message, hint="correct `total` of `paging`", code="bad-paging")
    return sum(lengths) >= int(total)


def _past_the_end(paging: Mapping[str, Any], lengths: Sequence[int]) -> tuple[int, ...]:
    """Return the statuses that say there is no such page, when the page before may have been the last."""
    if paging["type"] != "page" or "total" in paging or not lengths:
        return ()
    # 400 says it too, but also that a server does not count further than 10,000: it is believed after one short page.
    return (400, 404) if len(lengths) == 1 and lengths[0] < paging.get("size", 0) else (404,)

"""The records of a JSON API, page after page, as JSON lines."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from connrunner.connectors import FetchResult, RunContext, Settings
from connrunner.connectors.http.client import Client, Response
from connrunner.connectors.http.data import ABSENT, look_up, outline
from connrunner.connectors.http.json_answer import JsonAnswer, RecordCount, read_json_answer
from connrunner.connectors.http.url import HttpAddress
from connrunner.connectors.http.watermark import Watermark
from connrunner.connectors.quota import FetchQuota
from connrunner.core import instant
from connrunner.core.model import Format, LocalFile
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.json_stream import JsonStreamError

MAX_PAGES = 10_000
CHUNK = 1 << 20  # bytes that are copied at a time
_sorted_text_of = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode
_LINK = re.compile(r"<([^<>]*)>([^<>]*)")
_RELATION = re.compile(r""";\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))""", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One answer of the API."""

    address: HttpAddress  # after redirects
    links: str  # the header Link
    content: JsonAnswer
    count: int  # of its records

    @property
    def data(self) -> Any:
        return self.content.data


def fetch_pages(client: Client, settings: Settings, context: RunContext, mark: Any) -> FetchResult:
    """Bring the records of all pages into one file, one JSON text a line."""
    watermark = Watermark(settings["watermark"], mark, context.at) if "watermark" in settings else None
    start = client.address.asking(watermark.asks() if watermark else {})
    path = context.spool / "records.jsonl"
    count = 0
    digest = hashlib.sha256()
    with path.open("xb") as file:
        for page in pages(client, start, settings, context.spool):
            if watermark:
                for record in page.content.read_records():
                    watermark.see(record)
            with page.content.lines.open("rb") as lines:
                if not count and page.count and lines.peek(1)[:1] == b"[":
                    raise _no_objects(page.address)
                while chunk := lines.read(CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
            count += page.count
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


def pages(client: Client, start: HttpAddress, settings: Settings, spool: Path) -> Iterator[Page]:
    """Yield every page from *start* on; RunError when they go in a circle or are more than `max_pages`.

    What a page holds is in files of *spool* until the next one is asked for.
    """
    quota = FetchQuota(settings, spool)
    paging = settings.get("paging", {"type": "none"})
    limit = int(settings.get("max_pages", MAX_PAGES))
    asked: set[bytes] = set()
    lengths: list[int] = []
    before = b""
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
        page = _page(client, address, settings, spool, quota, end=_past_the_end(paging, lengths))
        if page is None:
            return
        if paging["type"] == "page":
            digest = _digest(page)
            if page.count and digest == before:
                if _is_short(lengths):
                    return  # some answer with their last page whatever later one they are asked for
                raise RunError(
                    f"pages {len(lengths):,} and {len(lengths) + 1:,} of {start} hold the same records",
                    hint=f"see that `{paging['parameter']}` names the page; `more` or `total` tells which is the last",
                    code="endless-pages",
                )
            before = digest
        lengths.append(page.count)
        yield page
        following = _next(paging, client, start, page, lengths)
        if paging["type"] == "cursor" and not page.count and following == address:
            return  # some give a cursor for ever
        address = following


def _page(
    client: Client, address: HttpAddress, settings: Settings, spool: Path, quota: FetchQuota, *, end: Sequence[int]
) -> Page | None:
    """Return the page at *address*, or None when its status is one of *end*."""
    body, lines = spool / "page", spool / "page.jsonl"
    rows = str(settings.get("rows", "."))
    paging = settings.get("paging", {})
    wanted = [str(paging[key]) for key in ("path", "total", "more") if key in paging]

    def take(answer: Response) -> Page | None:
        if answer.status in end:
            return None
        with body.open("wb") as file:
            for chunk in answer.json_chunks():
                quota.take(len(chunk), str(answer.address))
                file.write(chunk)
        try:
            content = read_json_answer(body, lines, rows, wanted)
        except JsonStreamError as error:
            if not error.is_too_large:
                raise answer.not_json(error.reason) from None
            message = f"the answer of {answer.address} is too large: it holds {error.reason}"
            raise RunError(message, hint="ask for smaller pages", code="too-large") from None
        except ValueError:
            raise answer.not_json() from None
        finally:
            body.unlink(missing_ok=True)
        count = _count(content, rows, answer.address)
        return Page(address=answer.address, links=answer.headers.get("Link", ""), content=content, count=count)

    headers = {"Accept": "application/json"}
    return client.ask("GET", address, take, headers=headers, accept=lambda status: status in end)


def _no_objects(address: HttpAddress) -> RunError:
    message = f"the records in the answer of {address} are lists, not objects with names"
    return RunError(message, hint="write under `rows` where the objects are, like `rows: data.items`", code="no-rows")


def _count(content: JsonAnswer, path: str, address: HttpAddress) -> int:
    """Return the number of records; RunError when there is no list of them."""
    records = content.records
    if records is None:  # what some languages write for an empty list, and an answer without a body
        return 0
    if isinstance(records, RecordCount):
        return int(records)
    if records is ABSENT:
        message = f"the answer of {address} has no `{path}`: it is {outline(content.data)}"
    elif path == ".":
        message = f"the answer of {address} is not a list of records but {outline(records)}"
    else:
        message = f"`{path}` in the answer of {address} is not a list of records but {outline(records)}"
    raise RunError(message, hint="write under `rows` where the list is, like `rows: data.items`", code="no-rows")


# --- where the next page is --------------------------------------------------------------------------------------


def _next(
    paging: Mapping[str, Any], client: Client, start: HttpAddress, page: Page, lengths: Sequence[int]
) -> HttpAddress | None:
    if _says_no_more(paging, page):
        return None
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

    A short page says nothing: servers hide records of a page, or filter it, after they have counted it out.
    """
    if "more" in paging and _more(paging, page):
        return False
    if not page.count:
        return True
    if "total" not in paging:
        return False
    total = look_up(page.data, paging["total"])
    if not (isinstance(total, str | int) and str(total).isascii() and str(total).isdigit()):
        message = f"`{paging['total']}` in the answer of {page.address} is not a number of records"
        raise RunError(message, hint="correct `total` of `paging`", code="bad-paging")
    return sum(lengths) >= int(total)


def _says_no_more(paging: Mapping[str, Any], page: Page) -> bool:
    return "more" in paging and _more(paging, page) is False


def _more(paging: Mapping[str, Any], page: Page) -> bool | None:
    """Return whether the answer says that another page follows; None when it does not say."""
    value = look_up(page.data, paging["more"])
    if value is ABSENT or value is None:
        return None
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, bool):
        return value
    message = f"`{paging['more']}` in the answer of {page.address} is {outline(value)}, not true or false"
    raise RunError(message, hint="correct `more` of `paging`", code="bad-paging")


def _is_short(lengths: Sequence[int]) -> bool:
    """Tell whether the last page may be the last one there is: it is shorter than the first.

    Of one page alone, `size` is no measure: a server may have a smaller limit of its own.
    """
    return len(lengths) > 1 and lengths[-1] < lengths[0]


def _past_the_end(paging: Mapping[str, Any], lengths: Sequence[int]) -> tuple[int, ...]:
    """Return the statuses that say there is no such page, when the page before may have been the last."""
    if paging["type"] != "page" or "total" in paging or not lengths:
        return ()
    # Others say it too, but also that a server does not count further than 10,000: they are believed after a short one.
    is_short = lengths[-1] < max(lengths[0], paging.get("size", 0) if len(lengths) == 1 else 0)
    return (400, 404, 410, 416, 422) if is_short else (404,)


def _digest(page: Page) -> bytes:
    """Return what two pages with the same records have in common, in whatever order their members stand."""
    digest = hashlib.sha256()
    for record in page.content.read_records():
        digest.update(_sorted_text_of(record).encode() + b"\n")
    return digest.digest()

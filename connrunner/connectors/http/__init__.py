"""Anything that speaks HTTP: a file at an address, a JSON API with pages, an API that takes rows in batches.

Import of a file:

    import:
      from: {type: http, url: "https://files.example.com/members.csv.gz"}
      format: {type: csv}

The file is fetched when it is another one than that of the last run: the server is told the ETag or Last-Modified of
what is known already, and one that does not change is not sent again. `{date}` (the day on which the run started, in
UTC), `{run}` and `{connection}` may stand in `url`. An answer that breaks off is never taken for a file.

Import from a JSON API; any of `rows`, `paging` and `watermark` says that it is one:

    import:
      from: {type: http, url: "https://api.example.com/contacts", rows: data.items,
             auth: {type: bearer, token: "env:API_TOKEN"},
             query: {status: active},
             paging: {type: cursor, path: meta.next_cursor, parameter: cursor},
             watermark: {field: updated_at, parameter: updated_since}}

`rows` is the place of the list of records in each answer, with dots; `.`, or nothing, means that the answer is the
list. A key with dots in it (`@odata.nextLink`) is found as well. `paging` is one of

    {type: next_link, path: links.next}           a link in the answer; without `path`, the header Link (RFC 8288)
    {type: page, parameter: page, start: 1, size_parameter: per_page, size: 100}
    {type: cursor, path: meta.next, parameter: cursor}

A numbered page is the last one when it is empty or not found (404), or when as many records were read as `total`, a
place in the answer, says. A short one is not: servers hide records of a page after they have counted it out. `more` of
`page` and `cursor` is the place of true or false, like `has_more`: no page follows one that says false. Where the
parameter counts records instead of pages: `{type: page, parameter: offset, start: 0, step: 100, size_parameter: limit,
size: 100}`. Pages that lead back to one that was read, and more than `max_pages` of them, are an error. `watermark`
asks for what is new: the greatest `field` that a successful run saw is the `parameter` of the next one (`start` that of
the very first). Records of the same instant come twice and count as unchanged.

Export:

    export:
      to: {type: http, url: "https://api.example.com/contacts/import", method: POST, batch: 500,
           body: {wrap: contacts},
           auth: {type: oauth2, url: "https://login.example.com/token", client_id: connrunner,
                  client_secret: "env:API_SECRET", scope: contacts.write},
           refused: {path: errors, index: index, message: message, code: code}}

Each request carries a batch: as a JSON list (`body: list`), as JSON lines (`lines`), as a mapping with the list under a
key (`{wrap: contacts}`), or as one row by itself (`row`). Its `Idempotency-Key` is the same for each try, so that a
partner that heeds it takes a batch once; to one that does not, a batch may go twice when its answer is lost, unless
`retries: 0`. `refused` tells where an answer lists the rows it did not take, by their place in the batch from 0. A
batch that is answered with a 4xx about its content is refused whole; 401, 403, 404, 405, 408, 410, 429 and 5xx end the
run. When that happens after some rows have arrived, those stay delivered: the batch with the error is refused as
`unconfirmed` or `not-sent`, the rest as `not-sent`, and the next run sends them again.

A run fetches `max_bytes` (10GB) at most, unpacked, and never more than half of the room that is free; an answer of an
API has 64 MiB and 500,000 records at most. Answers are read as a stream, so they take little memory.

For all of it: `http://` is for this machine only, certificates are always verified: by the authorities in `ca_file`, a
PEM file of the workspace, else by those of this machine, or in SSL_CERT_FILE. Answers lead on to the same host, or to
one of `redirect_hosts`, which gets neither `headers` nor credentials; never from https to http (a next link that forgot
its https is read with it). Link-local addresses, where clouds keep the credentials of machines, are refused unless
`allow_link_local: true`. 408, 429, 502, 503, 504 and broken connections are tried again, `retries` times (4), as late
as `Retry-After` asks, up to 5 minutes. `timeout` (60s) is how long a server may send nothing. Put a key that goes into
a header or the query there as a reference: `headers: {X-Api-Key: "env:API_KEY"}`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connrunner.connectors import FetchResult, Known, RunContext, SendResult, Settings
from connrunner.connectors.http.http_date import parse_http_date
from connrunner.connectors.http.url import HttpAddress, parse
from connrunner.connectors.naming import fill
from connrunner.connectors.quota import FetchQuota
from connrunner.core import instant
from connrunner.core.model import Format, LocalFile
from connrunner.errors import RunError
from connrunner.text.words import plural

if TYPE_CHECKING:
    from connrunner.connectors.http.client import Client, Response

LARGEST_FILE = 10 << 30  # bytes
_API = ("rows", "paging", "watermark")


def fetch(settings: Settings, context: RunContext, *, known: Known, mark: Any) -> FetchResult:
    """Return the file at `url`, or the records of the API there as a file of JSON lines."""
    try:
        with _client(settings, context) as client:
            if any(key in settings for key in _API):
                from connrunner.connectors.http import pages

                return pages.fetch_pages(client, settings, context, mark)
            return _file(client, context, FetchQuota(settings, context.spool), known, mark)
    except OSError as error:  # of the disk: the network's have become a RunError of their own
        raise RunError(
            f"cannot keep the rows in {context.spool}: {error.strerror or error}",
            hint="make room there",
            code="unwritable",
            waiting_helps=True,
        ) from error


def settle(settings: Settings, context: RunContext, fetched: FetchResult) -> None:
    """Leave everything as it is: a server keeps what it has."""


def form(settings: Settings, wanted: Format) -> Format:  # noqa: ARG001
    """Return JSON lines, whatever is wanted: `body` says how the rows go out."""
    return Format(type="jsonl", compression="none")


def target(settings: Settings, context: RunContext) -> str:
    """Return the address without its query; RunError when it, or a setting, cannot be."""
    if settings.get("body") == "row" and settings.get("batch", 1) != 1:
        raise RunError(
            f"`batch` is {settings['batch']}, and with `body: row` each request carries one row",
            hint="leave out `batch`, or write another `body`",
            code="bad-setting",
        )
    with _client(settings, context) as client:
        return str(client.address)


def deliver(settings: Settings, context: RunContext, local: Path) -> SendResult:
    """Send the rows of the file *local* in batches, in their order."""
    with _client(settings, context) as client:
        from connrunner.connectors.http import batches

        return batches.send_batches(client, settings, context, local)


def probe(settings: Settings, context: RunContext, *, writes: bool) -> str:
    """Return how the server answers to GET, which changes nothing; its answer is not read.

    For an export, an address that takes rows only has the right to know no GET: 404, 405 and the like are fine.
    """
    with _client({**settings, "retries": 0}, context) as client:
        told = f"{client.address} answers "
        refused = range(400, 500) if writes else ()
        return client.ask(
            "GET",
            client.address,
            lambda answer: (
                told + client.describe_answer(answer, b"") + ("" if answer.status < 300 else ", so it is there")
            ),
            accept=lambda status: status in refused and status not in (401, 403, 407, 408, 429),
        )


def _client(settings: Settings, context: RunContext) -> Client:
    """Return the client of this run; nothing goes out yet."""
    try:
        from connrunner.connectors.http.client import Client
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "urllib3":
            raise
        raise RunError(
            "the connector http needs the extra `http`", hint="pip install 'connrunner[http]'", code="missing-extra"
        ) from None
    url = fill(str(settings["url"]), connection=context.connection, run=context.run, at=context.at)
    query = {name: _text(value) for name, value in settings.get("query", {}).items()}
    return Client(
        settings, parse(url).asking(query), context.report, authorities=find_authorities(settings, context.workspace)
    )


def find_authorities(settings: Settings, workspace: Path) -> Path | None:
    """Return the file that `ca_file` of the *settings* names, relative to the *workspace*; None without it."""
    return workspace / str(settings["ca_file"]) if "ca_file" in settings else None


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- a file ------------------------------------------------------------------------------------------------------


def _file(client: Client, context: RunContext, quota: FetchQuota, known: Known, mark: Any) -> FetchResult:
    """Fetch the file; one that is known already is neither sent nor read again."""
    address = client.address
    name = str(address)
    path = context.spool / "fetched"
    before = mark if _is_known(mark, name, known) else {}
    conditions = {
        header: before[key]
        for header, key in (("If-None-Match", "etag"), ("If-Modified-Since", "last_modified"))
        if before.get(key)
    }

    def take(answer: Response) -> LocalFile:
        if answer.status == 304:
            return LocalFile(path="", name=name, size=before["size"], modified=before["stamp"])
        if answer.status in (204, 205):
            raise RunError(
                f"{answer.address} answers {answer.status}: there is no file", code="no-files", waiting_helps=True
            )
        stamp = _stamp(answer.headers, address)
        length = answer.headers.get("Content-Length", "")
        if (
            stamp
            and length.isascii()
            and length.isdigit()
            and "Content-Encoding" not in answer.headers
            and known(name, int(length), stamp)
        ):
            return LocalFile(path="", name=name, size=int(length), modified=stamp)
        if length.isascii() and length.isdigit():
            quota.expect(int(length[:19]), name)
        digest = _save(answer, path, quota)
        size = path.stat().st_size
        stamp = stamp or f"sha256:{digest}"
        if known(name, size, stamp):
            return LocalFile(path="", name=name, size=size, modified=stamp, digest=digest)
        context.report.message(f"fetched {name}: {plural(size, 'byte')}")
        return LocalFile(path=str(path), name=name, size=size, modified=stamp, digest=digest)

    def take_with_mark(answer: Response) -> FetchResult:
        file = take(answer)
        tags = {"etag": answer.headers.get("ETag", ""), "last_modified": answer.headers.get("Last-Modified", "")}
        if answer.status == 304:
            tags = {key: tags[key] or before[key] for key in tags}
        if not any(tags.values()):
            return FetchResult(files=(file,))
        return FetchResult(files=(file,), mark={"name": name, "size": file.size, "stamp": file.modified, **tags})

    # A file arrives as it is: compressed for the way, its length would tell nothing about it.
    headers = {"Accept": "*/*", "Accept-Encoding": "identity", **conditions}
    return client.ask(
        "GET", address, take_with_mark, headers=headers, accept=lambda status: status == 304 and bool(conditions)
    )


def _is_known(mark: Any, name: str, known: Known) -> bool:
    """True when the file of *mark* is this one and was accepted whole."""
    return isinstance(mark, dict) and mark.get("name") == name and known(name, mark["size"], mark["stamp"])


def _save(answer: Response, path: Path, quota: FetchQuota) -> str:
    """Write the body into *path* and return its SHA-256. RunError when it is a page for people."""
    digest = hashlib.sha256()
    is_page = answer.headers.get("Content-Type", "").lower().startswith("text/html")
    with path.open("wb") as file:
        for chunk in answer.chunks(LARGEST_FILE):
            quota.take(len(chunk), str(answer.address))
            if is_page and not file.tell() and chunk.lstrip().startswith(b"<"):
                raise RunError(
                    f"{answer.address} answers with a web page, not with a file of rows",
                    hint="correct `url`; the page may ask to log in, so see `auth` too",
                    code="wrong-format",
                )
            file.write(chunk)
            digest.update(chunk)
    return digest.hexdigest()


def _stamp(headers: Mapping[str, str], address: HttpAddress) -> str:
    """Return the server's own stamp of the file's version, empty when it has none.

    A query tells which file it is, and its values stay out of the name, which people see.
    """
    stamp = headers.get("ETag", "") or _instant(headers.get("Last-Modified", ""))
    if stamp and address.query:
        stamp += f" query:{hashlib.sha256(address.query.encode()).hexdigest()[:12]}"
    return stamp


def _instant(date: str) -> str:
    found = parse_http_date(date)
    return instant.text(found) if found else ""

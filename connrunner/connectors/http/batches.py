"""Rows to an API, a batch in each request, and what became of each row."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from connrunner.connectors import Refusal, RunContext, SendResult, Settings
from connrunner.connectors.http.client import LARGEST_SMALL_JSON, Client, Response
from connrunner.connectors.http.data import ABSENT, look_up, outline, words
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.nesting import MAX_VALUES, parse_json
from connrunner.text.words import agree

BATCH = 500  # rows
# Statuses that are about the request or the server, not about its rows.
ABOUT_THE_REQUEST = (401, 403, 404, 405, 408, 410, 429)
SURELY_NOT_TAKEN = ("unauthorized", "forbidden", "not-found", "throttled")


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Rows that go out in one request."""

    number: int  # from 1
    first: int  # the place of its first row, from 0
    lines: Sequence[bytes]  # one JSON text each

    @property
    def rows(self) -> range:
        return range(self.first, self.first + len(self.lines))


def send_batches(client: Client, settings: Settings, context: RunContext, local: Path) -> SendResult:
    """Send the JSON lines of *local*; see the manual of the connector for what a failure in the middle means."""
    refused: list[Refusal] = []
    accepted = 0
    with local.open("rb") as file:
        batches = _batches(file, 1 if settings.get("body") == "row" else int(settings.get("batch", BATCH)))
        for batch in batches:
            try:
                found = _send(client, settings, context, batch)
            except RunError as error:
                if not accepted:
                    raise
                # What has arrived must not be sent again, so the run is not a failure: the rest is refused.
                context.report.message(
                    f"{agree(accepted, 'row', 'has', 'have')} arrived, the rest has not: {error}", level="error"
                )
                code = "not-sent" if error.code in SURELY_NOT_TAKEN else "unconfirmed"
                refused += (Refusal(row=row, code=code, message=error.message) for row in batch.rows)
                for later in batches:
                    message = f"not sent, because an earlier request failed: {error.message}"
                    refused += (Refusal(row=row, code="not-sent", message=message) for row in later.rows)
                break
            refused += found
            accepted += len(batch.lines) - len(found)
            context.report.progress("sending", batch.rows.stop)
    return SendResult(where=str(client.address), refused=tuple(refused))


def _batches(lines: Iterator[bytes], size: int) -> Iterator[Batch]:
    number = first = 0
    while batch := [line.rstrip(b"\r\n") for line in islice(lines, size)]:
        number += 1
        yield Batch(number=number, first=first, lines=batch)
        first += len(batch)


def _send(client: Client, settings: Settings, context: RunContext, batch: Batch) -> list[Refusal]:
    """Return the rows of *batch* that the partner refused; RunError when the request itself failed."""
    body = _body(batch.lines, settings.get("body", "list"))
    # The content is part of the key: a state folder that starts anew counts its runs from 1 again.
    key = f"{context.connection}-{context.run}-{batch.number}-{hashlib.sha256(body).hexdigest()[:16]}"
    kind = "application/x-ndjson" if settings.get("body") == "lines" else "application/json"
    mapping = settings.get("refused")

    def take(answer: Response) -> list[Refusal]:
        if answer.status >= 400:
            return _whole_batch(client, mapping, batch, answer)
        if mapping is None:
            answer.pass_over()
            return []
        return _named(client, mapping, batch, answer.json())

    return client.ask(
        str(settings.get("method", "POST")),
        client.address,
        take,
        headers={"Content-Type": kind, "Accept": "application/json", "Idempotency-Key": key},
        body=body,
        accept=lambda status: 400 <= status < 500 and status not in ABOUT_THE_REQUEST,
        rows=batch.lines,
    )


def _body(lines: Sequence[bytes], form: Any) -> bytes:
    match form:
        case "lines":
            return b"\n".join(lines) + b"\n"
        case "row":
            return lines[0]
        case {"wrap": key}:
            return b"{%s:[%s]}" % (json.dumps(key).encode(), b",".join(lines))
        case _:
            return b"[%s]" % b",".join(lines)


def _named(client: Client, mapping: Mapping[str, str], batch: Batch, data: Any) -> list[Refusal]:
    """Return the rows that the answer's *data* names as refused, where *mapping* says."""
    entries = look_up(data, mapping["path"])
    if entries is ABSENT or not entries:
        return []
    if not isinstance(entries, list):
        message = f"`{mapping['path']}` in the answer of {client.address} is not a list but {outline(entries)}"
        raise RunError(message, hint="correct `path` of `refused`", code="bad-answer")
    found: dict[int, Refusal] = {}
    for entry in entries:
        index = _index(look_up(entry, mapping.get("index", "index")), len(batch.lines))
        told = words(look_up(entry, mapping.get("message", "message")))
        said = client.mask_text(told, batch.lines) or "no reason given"
        if index is None:
            # Some row was refused and nobody knows which: sending all of them again loses none.
            text = f"the answer does not say which row it refuses: {said}"
            return [Refusal(row=row, code="unclear", message=text) for row in batch.rows]
        named = look_up(entry, mapping["code"]) if "code" in mapping else None
        code = _word(client.mask_text(named, batch.lines) if isinstance(named, str) else named)
        found.setdefault(index, Refusal(row=batch.first + index, code=code, message=said))
    return [found[index] for index in sorted(found)]


def _whole_batch(client: Client, mapping: Mapping[str, str] | None, batch: Batch, answer: Response) -> list[Refusal]:
    """Return all rows of a refused *batch*, those that the partner names with their own reason."""
    content = answer.start(LARGEST_SMALL_JSON)
    said = client.describe_answer(answer, content, batch.lines)
    named: list[Refusal] = []
    if mapping is not None:
        with suppress(ValueError, RunError):
            named = _named(client, mapping, batch, parse_json(content, most_values=MAX_VALUES))
    if not named or named[0].code == "unclear":
        return [Refusal(row=row, code="refused", message=said) for row in batch.rows]
    own = {refusal.row: refusal for refusal in named}
    rest = f"refused with its batch: {said}"
    return [own.get(row) or Refusal(row=row, code="refused-with-batch", message=rest) for row in batch.rows]


def _index(value: Any, rows: int) -> int | None:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).isascii():
        return None
    return int(value) if str(value).isdigit() and int(value) < rows else None


def _word(value: Any) -> str:
    """Return the partner's code as a word of ours."""
    return (
        re.sub("[^a-z0-9]+", "-", str(value).lower() if isinstance(value, str | int) else "").strip("-")[:60]
        or "refused"
    )

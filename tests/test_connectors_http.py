"""HTTP against a real server on this machine: files, pages, batches, and everything that goes wrong on the way."""

from __future__ import annotations

import gzip
import json
import random
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import trustme

from connrunner.connectors import FetchResult, RunContext, SendResult, http, quota
from connrunner.connectors.http import auth, client, json_answer, pages, wire
from connrunner.connectors.http import url as address
from connrunner.core.model import Format, LocalFile
from connrunner.errors import RunError
from connrunner.text import durations, json_stream, unpacking
from connrunner.text.nesting import MAX_DEPTH
from tests.servers.http import Act, Asked, Reply, Server, always, data, running

AT = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
SECRET = "s3cret-token-1"


@pytest.fixture(scope="module")
def second_server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def server(http_server: Server) -> Server:
    return fresh(http_server)


@pytest.fixture
def other(second_server: Server) -> Server:
    return fresh(second_server)


def fresh(server: Server) -> Server:
    server.act = lambda asked: Reply(404)
    server.asked, server.connections = [], 0
    return server


# --- a run -------------------------------------------------------------------------------------------------------


class Log:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.stages: list[tuple[str, int]] = []

    def message(self, text: str, *, level: str = "info", **facts: Any) -> None:
        self.texts.append(f"{level}: {text}")

    def progress(self, stage: str, done: int, of: int | None = None) -> None:
        self.stages.append((stage, done))


class Run:
    """A run of its own: an empty spool, a log, what is known from before."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.number = folder, Log(), 7
        self.accepted: set[tuple[str, int, str]] = set()

    @property
    def context(self) -> RunContext:
        return RunContext(
            connection="contacts",
            run=self.number,
            at=AT,
            workspace=self.folder,
            spool=self.folder / f"spool-{self.number}",
            programs=self.folder / "programs",
            report=self.log,
        )

    def fetch(self, url: str, mark: Any = None, **settings: Any) -> FetchResult:
        self.number += 1
        self.context.spool.mkdir()
        known = lambda *file: file in self.accepted  # noqa: E731
        return http.fetch({"type": "http", "url": url, **settings}, self.context, known=known, mark=mark)

    def records(self, url: str, mark: Any = None, **settings: Any) -> list[Any]:
        found = self.fetch(url, mark, **settings)
        return [json.loads(line) for file in found.files for line in Path(file.path).read_bytes().splitlines()]

    def deliver(self, url: str, rows: list[Any], **settings: Any) -> SendResult:
        self.number += 1
        local = self.folder / f"rows-{self.number}.jsonl"
        local.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return http.deliver({"type": "http", "url": url, **settings}, self.context, local)

    def accept(self, fetched: FetchResult) -> None:
        self.accepted |= {(file.name, file.size, file.modified) for file in fetched.files}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(client, "FIRST_WAIT", 0.002)
    return Run(tmp_path)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def fails(code: str, text: str, work: Callable[[], Any], *, waiting_helps: bool | None = None) -> RunError:
    with pytest.raises(RunError) as caught:
        work()
    assert text in str(caught.value)
    assert caught.value.code == code
    if waiting_helps is not None:
        assert caught.value.waiting_helps is waiting_helps
    assert SECRET not in str(caught.value)
    assert len(str(caught.value)) < 900
    return caught.value


# --- a file ------------------------------------------------------------------------------------------------------

CSV = b"id,email\n1,a@example.com\n"


def test_a_file(server: Server, run: Run) -> None:
    server.act = lambda asked: Reply(
        body=CSV, headers={"ETag": '"v1"', "Last-Modified": "Sun, 22 Nov 2026 09:15:00 GMT"}
    )
    found = run.fetch(server.url("/out/members.csv"), query={"key": SECRET, "all": True})
    (file,) = found.files
    assert Path(file.path).read_bytes() == CSV
    assert file.name == server.url("/out/members.csv")
    assert (file.size, file.format, file.once) == (25, None, False)
    assert file.modified.startswith('"v1" query:')
    assert len(file.digest) == 64
    (asked,) = server.asked
    assert (asked.method, asked.query) == ("GET", {"key": SECRET, "all": "true"})
    assert asked.headers["User-Agent"].startswith("connrunner/")
    assert SECRET not in repr(found) + repr(run.log.texts)


def test_the_day_in_an_address(server: Server, run: Run) -> None:
    server.act = lambda asked: Reply(body=CSV)
    run.fetch(server.url("/{connection}/{date}-{run}.csv"))
    assert server.asked[0].path == "/contacts/2026-11-22-8.csv"


@pytest.mark.parametrize(
    ("headers", "stamp"),
    [
        ({"ETag": 'W/"7"'}, 'W/"7"'),
        ({"Last-Modified": "Sun, 22 Nov 2026 09:15:00 GMT"}, "2026-11-22T09:15:00Z"),
        ({"Last-Modified": "yesterday"}, "sha256:"),
        ({}, "sha256:"),
    ],
)
def test_a_file_that_did_not_change_is_not_fetched_again(
    headers: dict[str, str], stamp: str, server: Server, run: Run
) -> None:
    def act(asked: Asked) -> Reply:
        same = asked.headers["If-None-Match"] == headers.get("ETag", "") or (
            "ETag" not in headers and asked.headers["If-Modified-Since"] == headers.get("Last-Modified", "")
        )
        return Reply(304) if same else Reply(body=CSV, headers=headers)

    server.act = act
    first = run.fetch(server.url())
    assert first.files[0].modified.startswith(stamp)
    refetched = run.fetch(server.url(), first.mark)  # refused rows: it was not accepted whole
    assert refetched.files[0].path
    run.accept(first)
    again = run.fetch(server.url(), refetched.mark)
    assert (again.files[0].path, again.files[0].size, again.files[0].modified) == ("", 25, first.files[0].modified)
    assert again.mark == first.mark
    third = run.fetch(server.url(), again.mark)
    assert third.files[0].path == ""
    assert (first.mark is None) == (stamp == "sha256:" and not headers)


def test_a_server_that_knows_no_conditions(server: Server, run: Run) -> None:
    big = b"x" * 20_000_000
    server.act = lambda asked: Reply(body=big, headers={"ETag": '"v1"'})
    first = run.fetch(server.url())
    run.accept(first)
    again = run.fetch(server.url(), first.mark)
    assert again.files[0].path == ""
    assert not (run.context.spool / "fetched").exists()  # the answer was hung up on
    server.act = lambda asked: Reply(body=b"new", headers={"ETag": '"v2"'})
    changed = run.fetch(server.url(), again.mark)
    assert Path(changed.files[0].path).read_bytes() == b"new"


def test_another_query_is_another_file(server: Server, run: Run) -> None:
    server.act = lambda asked: Reply(body=CSV, headers={"ETag": '"v1"'})
    run.accept(run.fetch(server.url("/?list=1")))
    assert run.fetch(server.url("/?list=1")).files[0].path == ""
    assert run.fetch(server.url("/?list=2")).files[0].path


def test_an_empty_file(server: Server, run: Run) -> None:
    server.act = lambda asked: Reply(body=b"")
    assert run.fetch(server.url()).files[0].size == 0
    server.act = lambda asked: Reply(204)
    fails("no-files", "answers 204: there is no file", lambda: run.fetch(server.url()), waiting_helps=True)


def test_packed_files_stay_packed_and_packed_answers_do_not(server: Server, run: Run) -> None:
    packed = gzip.compress(CSV)
    server.act = lambda asked: Reply(body=packed)
    assert Path(run.fetch(server.url("/a.csv.gz")).files[0].path).read_bytes() == packed
    server.act = lambda asked: Reply(body=packed, headers={"Content-Encoding": "gzip", "ETag": '"1"'})
    assert Path(run.fetch(server.url("/a.csv")).files[0].path).read_bytes() == CSV
    assert server.asked[-1].headers["Accept-Encoding"] == "identity"


def test_a_chunked_file(server: Server, run: Run) -> None:
    chunked = {"Transfer-Encoding": "chunked"}
    server.act = lambda asked: Reply(body=b"9\r\nid,email\n\r\n10\r\n1,a@example.com\n\r\n0\r\n\r\n", headers=chunked)
    assert Path(run.fetch(server.url()).files[0].path).read_bytes() == CSV
    server.act = lambda asked: Reply(body=b"9\r\nid,email\n\r\n10\r\n1,a@", headers=chunked, cut=99)
    fails("broken-off", "broke off", lambda: run.fetch(server.url(), retries=0))


def test_a_web_page_is_no_file(server: Server, run: Run) -> None:
    html = {"Content-Type": "text/html; charset=utf-8"}
    server.act = lambda asked: Reply(body=b"\n<!DOCTYPE html>Log in", headers=html)
    fails("wrong-format", "a web page, not with a file of rows", lambda: run.fetch(server.url()))
    server.act = lambda asked: Reply(body=CSV, headers=html)  # what a careless script calls its CSV
    assert run.fetch(server.url()).files[0].size == 25


def test_half_a_file(server: Server, run: Run) -> None:
    server.act = lambda asked: Reply(body=CSV, cut=10 if len(server.asked) < 3 else None)
    (file,) = run.fetch(server.url()).files
    assert Path(file.path).read_bytes() == CSV
    assert [text.partition(";")[0] for text in run.log.texts[:2]] == [
        f"warning: the connection to {server.url()} broke off: " + text
        for text in ["IncompleteRead(10 bytes read, 15 more expected)"] * 2
    ]
    server.act = lambda asked: Reply(body=CSV, cut=10)
    fails("broken-off", "(tried 3 times); see that the server runs", lambda: run.fetch(server.url(), retries=2))
    assert len(server.asked) == 6


def test_a_file_without_end(server: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LARGEST_FILE", 10)
    server.act = lambda asked: Reply(body=CSV)
    fails("too-large", "answers with more than 10 bytes", lambda: run.fetch(server.url()))


def test_a_full_disk_is_not_the_servers_fault(server: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(http, "_save", full)
    server.act = lambda asked: Reply(body=CSV)
    fails("unwritable", "No space left on device; make room there", lambda: run.fetch(server.url()))
    assert len(server.asked) == 1


# --- pages -------------------------------------------------------------------------------------------------------

PEOPLE: list[dict[str, Any]] = [{"id": number, "at": f"2026-11-{number:02}T00:00:00Z"} for number in range(1, 26)]


def test_one_answer(server: Server, run: Run) -> None:
    server.act = lambda asked: data({"data": {"items": PEOPLE}})
    found = run.fetch(server.url(), rows="data.items")
    (file,) = found.files
    assert (file.name, file.modified, file.once) == (server.url(), "2026-11-22T23:30:00Z", True)
    assert file.format == Format(type="jsonl", compression="none")
    assert file.size == Path(file.path).stat().st_size
    assert found.mark is None
    assert run.records(server.url(), rows="data.items") == PEOPLE
    assert run.log.stages[-1] == ("fetching", 25)
    server.act = lambda asked: data(PEOPLE)
    assert run.records(server.url(), rows=".") == PEOPLE
    assert server.asked[-1].headers["Accept"] == "application/json"


@pytest.mark.parametrize("where", ["body", "header", "relative", "odata"])
def test_pages_by_link(where: str, server: Server, run: Run) -> None:
    def act(asked: Asked) -> Reply:
        start = int(asked.query.get("from", 0))
        rest = start + 10 < len(PEOPLE)
        to = f"?from={start + 10}" if where == "relative" else server.url(f"/people?from={start + 10}")
        if where == "header":
            links = f'<{server.url()}>; rel="first"' + (f', <{to}>; rel="next"' if rest else "")
            return data(PEOPLE[start : start + 10], Link=links)
        if where == "odata":
            return data({"value": PEOPLE[start : start + 10], **({"@odata.nextLink": to} if rest else {})})
        return data({"items": PEOPLE[start : start + 10], "links": {"next": to if rest else None}})

    server.act = act
    rows, paging = {
        "header": (".", {"type": "next_link"}),
        "odata": ("value", {"type": "next_link", "path": "@odata.nextLink"}),
    }.get(where, ("items", {"type": "next_link", "path": "links.next"}))
    assert run.records(server.url("/people"), rows=rows, paging=paging) == PEOPLE
    assert len(server.asked) == 3
    assert server.connections == 1


@pytest.mark.parametrize("end", [None, "", False, "absent"])
def test_pages_by_cursor(end: Any, server: Server, run: Run) -> None:
    def act(asked: Asked) -> Reply:
        start = int(asked.query.get("after", 0))
        meta = {"next": start + 10} if start + 10 < len(PEOPLE) else {} if end == "absent" else {"next": end}
        return data({"items": PEOPLE[start : start + 10], "meta": meta})

    server.act = act
    paging = {"type": "cursor", "path": "meta.next", "parameter": "after"}
    assert run.records(server.url("/?after=0"), rows="items", paging=paging, query={"kind": "x"}) == PEOPLE
    assert [asked.query for asked in server.asked] == [{"kind": "x", "after": n} for n in ("0", "10", "20")]


PAGING: list[tuple[dict[str, Any], int, int, int, int]] = [
    # settings of the paging                                    records  server's limit  first number  requests
    ({}, 25, 10, 1, 4),  # a short one may be followed by another
    ({}, 20, 10, 1, 3),  # and here empty
    ({}, 20, 10, 1, 3),
    ({}, 5, 10, 1, 2),  # nobody knows that this was all
    ({}, 0, 10, 1, 1),
    ({"start": 0}, 25, 10, 0, 4),
    ({"size_parameter": "size", "size": 5}, 25, 10, 1, 6),
    ({"size_parameter": "size", "size": 100}, 25, 10, 1, 4),  # the server has a limit of its own
    ({"size_parameter": "size", "size": 10}, 5, 10, 1, 2),
    ({"total": "total"}, 25, 10, 1, 3),
    ({"total": "total"}, 20, 10, 1, 2),
    ({"total": "total"}, 0, 10, 1, 1),
    ({"more": "meta.more"}, 25, 10, 1, 3),
    ({"more": "meta.more"}, 20, 10, 1, 2),
    ({"more": "meta.more"}, 0, 10, 1, 1),
]


def numbered(count: int, limit: int, first: int, past: int) -> Act:
    """An API of numbered pages that answers *past* to a page behind the last one."""

    def act(asked: Asked) -> Reply:
        size = min(int(asked.query.get("size", limit)), limit)
        start = (int(asked.query["page"]) - first) * size
        if start >= count and start and past != 200:
            return data({"message": "Invalid page."}, past)
        meta = {"more": start + size < count}
        return data({"items": PEOPLE[:count][start : start + size], "total": str(count), "meta": meta})

    return act


@pytest.mark.parametrize("past", [200, 404])
@pytest.mark.parametrize(("more", "count", "limit", "first", "requests"), PAGING)
def test_pages_by_number(
    more: dict[str, Any], count: int, limit: int, first: int, requests: int, past: int, server: Server, run: Run
) -> None:
    server.act = numbered(count, limit, first, past)
    paging = {"type": "page", "parameter": "page", **more}
    assert run.records(server.url(), rows="items", paging=paging) == PEOPLE[:count]
    assert len(server.asked) == requests


def test_a_server_that_answers_400_behind_the_last_page(server: Server, run: Run) -> None:
    paging = {"type": "page", "parameter": "page", "size_parameter": "size", "size": 10}
    server.act = numbered(5, 10, 1, 400)
    assert run.records(server.url(), rows="items", paging=paging) == PEOPLE[:5]
    server.act = numbered(20, 10, 1, 400)  # that may as well be the limit of an offset: no silent end
    fails("refused", "400 Bad Request: Invalid page.", lambda: run.fetch(server.url(), rows="items", paging=paging))


def test_pages_by_offset(server: Server, run: Run) -> None:
    server.act = lambda asked: data(PEOPLE[int(asked.query["offset"]) :][: int(asked.query["limit"])])
    paging = {"type": "page", "parameter": "offset", "start": 0, "step": 10, "size_parameter": "limit", "size": 10}
    assert run.records(server.url(), paging=paging) == PEOPLE
    assert [asked.query["offset"] for asked in server.asked] == ["0", "10", "20", "30"]


SHORT: list[tuple[list[int], dict[str, Any], Reply]] = [
    # lengths of pages     settings of the paging                       what comes behind the last page
    ([3, 2, 3], {}, data([])),
    ([3, 2, 3], {}, Reply(404)),
    ([3, 2, 1], {}, Reply(400)),  # behind a short page, this says that there is no other one
    ([3, 2, 1], {}, Reply(422)),
    ([3, 1, 3, 2], {"parameter": "offset", "start": 0, "step": 3}, data([])),
    ([3, 3, 2], {}, data([{"id": "2-0"}, {"id": "2-1"}])),  # the last page, whatever later one is asked for
    ([3, 0, 2], {"more": "more"}, data([])),  # an empty page, and it says that more follows
]


@pytest.mark.parametrize(("lengths", "more", "past"), SHORT, ids=range(len(SHORT)))
def test_a_short_page_is_not_the_last_one(
    lengths: list[int], more: dict[str, Any], past: Reply, server: Server, run: Run
) -> None:
    whole = [[{"id": f"{page}-{place}"} for place in range(length)] for page, length in enumerate(lengths)]
    paging = {"type": "page", "parameter": "page", **more}

    def act(asked: Asked) -> Reply:
        number = (int(asked.query[paging["parameter"]]) - paging.get("start", 1)) // paging.get("step", 1)
        if number >= len(whole):
            return past
        return data({"items": whole[number], "more": number < len(whole) - 1} if "more" in paging else whole[number])

    server.act = act
    found = run.records(server.url(), rows="items" if "more" in paging else ".", paging=paging)
    assert found == [record for page in whole for record in page]


ENDS: list[tuple[list[dict[str, Any]], dict[str, Any], int]] = [
    # answers, the last one again and again                                     settings            requests
    ([{"items": [1], "next": "b", "more": True}, {"items": [2], "next": "c", "more": False}], {"more": "more"}, 2),
    ([{"items": [1], "next": "b", "more": "true"}, {"items": [2], "next": "b", "more": "False"}], {"more": "more"}, 2),
    ([{"items": [1], "next": "b", "more": None}, {"items": [2], "next": None}], {"more": "more"}, 2),
    ([{"items": [1], "next": "b"}, {"items": [2], "next": "c"}, {"items": [], "next": "c"}], {}, 3),
]


@pytest.mark.parametrize(("answers", "more", "requests"), ENDS)
def test_a_cursor_for_ever(
    answers: list[dict[str, Any]], more: dict[str, Any], requests: int, server: Server, run: Run
) -> None:
    server.act = lambda asked: data(answers[min(len(asked.server.asked), len(answers)) - 1])
    paging = {"type": "cursor", "path": "next", "parameter": "after", **more}
    assert run.records(server.url(), rows="items", paging=paging) == [1, 2]
    assert len(server.asked) == requests


def test_more_is_true_or_false(server: Server, run: Run) -> None:
    server.act = always(data({"items": [1], "more": 3}))
    paging = {"type": "page", "parameter": "page", "more": "more"}
    fails("bad-paging", "`more` in the answer", lambda: run.fetch(server.url(), rows="items", paging=paging))


# --- how much may come -------------------------------------------------------------------------------------------


def test_pages_and_files_are_no_more_than_max_bytes(server: Server, run: Run) -> None:
    server.act = lambda asked: data([{"id": asked.query.get("page", ""), "text": "x" * 1000}])
    paging = {"type": "page", "parameter": "page"}
    limits: list[int | str] = [5000, "5KB"]
    for limit in limits:
        work = partial(run.fetch, server.url(), paging=paging, max_bytes=limit)
        error = fails("too-large", "that would be more than 5,000 bytes", work)
        assert "`max_bytes`" in error.hint
    assert len(server.asked) == 10
    server.act = always(Reply(body=CSV))
    assert run.fetch(server.url(), max_bytes=len(CSV)).files
    for headers in ({}, {"Transfer-Encoding": "chunked"}):
        reply = Reply(body=b"19\r\n" + CSV + b"\r\n0\r\n\r\n", headers=headers) if headers else Reply(body=CSV)
        server.act = always(reply)
        fails("too-large", "may fetch", lambda: run.fetch(server.url(), max_bytes=len(CSV) - 1))


def test_a_run_takes_half_of_the_free_room_at_most(server: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "measure_free_room", lambda folder: 6_000_000)
    server.act = always(Reply(body=b"id\n" + b"1\n" * 1_000_000))
    assert run.fetch(server.url()).files[0].size == 2_000_003
    server.act = always(Reply(body=b"id\n" + b"1\n" * 2_000_000))
    fails("no-room", "a run fetches one half at most; make room", lambda: run.fetch(server.url()))


BOMBS = [
    # headers                                              how many times gzip
    ({"Content-Encoding": "gzip"}, 1),
    ({"Content-Encoding": "X-GZIP"}, 1),
    ({"Content-Encoding": "gzip, gzip"}, 2),
    ({"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"}, 1),
]


@pytest.mark.parametrize(("headers", "times"), BOMBS)
@pytest.mark.parametrize("settings", [{}, {"rows": "."}])
def test_a_body_that_unpacks_to_a_disk_full(
    headers: dict[str, str],
    times: int,
    settings: dict[str, Any],
    server: Server,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unpacking, "UNDOUBTED", 100_000)
    honest, bomb = (b"[" + b" " * size + b"]" for size in (90_000, 4_000_000))
    for body, is_bomb in ((honest, False), (bomb, True)):
        for _ in range(times):
            body = gzip.compress(body)
        if "Transfer-Encoding" in headers:
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        server.act = always(Reply(body=body, headers=headers))
        if is_bomb:
            fails("too-large", "may be made to fill the disk", lambda: run.fetch(server.url(), **settings))
        else:
            run.fetch(server.url(), **settings)


LARGE: list[tuple[bytes, dict[str, Any]]] = [
    # an answer                                            settings
    (b"[" + b"{}," * 600_000 + b"{}]", {"rows": "."}),
    (b"[" + b"1," * 600_000 + b"1]", {"rows": "."}),
    (b'{"a": {"b": [' + b"{}," * 600_000 + b"{}]}}", {"rows": "a.b"}),
    (b"[[" + b"{}," * 1_000_000 + b"{}]]", {"rows": "."}),
    (b'[{"x":[' + b"[[]]," * 1_000_000 + b"[]]}]", {"rows": "."}),
    (b'{"rows": [], "next": [' + b"{}," * 1_000_000 + b"{}]}", {"rows": "rows", "paging": {"type": "next_link", "path": "next"}}),
    (b'{"rows": {' + b'"a":{},' * 1_000_000 + b'"a":{}}}', {"rows": "rows"}),
    (b'{"x": [[' + b"{}," * 1_000_000 + b"{}]], \"rows\": []}", {"rows": "rows"}),
    (b'["' + b"x" * 16_100_000 + b'"]', {"rows": "."}),
]  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize(("body", "more"), LARGE, ids=range(len(LARGE)))
def test_an_answer_of_too_many_parts(body: bytes, more: dict[str, Any], server: Server, run: Run) -> None:
    server.act = always(Reply(body=body))
    fails("too-large", "is too large: it holds ", lambda: run.fetch(server.url(), **more))


def test_an_answer_of_too_many_records(server: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_answer, "MOST_RECORDS", 20)
    server.act = lambda asked: data({"items": PEOPLE[:20]})
    assert len(run.records(server.url(), rows="items")) == 20
    server.act = lambda asked: data({"items": PEOPLE[:21]})
    fails("too-large", "it holds more than 20 members in a list", lambda: run.fetch(server.url(), rows="items"))


def test_a_refusal_of_too_many_parts(server: Server, run: Run) -> None:
    many = b'{"errors": [' + b"{}," * 600_000 + b"{}]}"
    server.act = always(Reply(200, many))
    work = partial(run.deliver, server.url(), PEOPLE[:1], refused={"path": "errors"})
    fails("too-large", "more than 500,000 values", work)
    server.act = always(Reply(422, many))
    assert [found for _, found, _ in rows_of(work())] == ["refused"]


PLACES: list[tuple[str, str, list[Any]]] = [
    # an answer                                                    rows        records
    ('{"a": {"b": [1]}, "a.b": [2]}', "a.b", [2]),
    ('{"a.b": [2], "a": {"b": [1]}}', "a.b", [2]),
    ('{"a": [1], "a": [2, 3]}', "a", [2, 3]),
    ('{"a": [1], "a": null}', "a", []),
    ('{"\\u0061": [1]}', "a", [1]),
    ('[{"x": [9]}, {"x": [1, {"y": 2.50}]}]', "1.x", [1, {"y": 2.5}]),
    ('{"a": {"b": [1]}, "a": {"b": [2]}}', "a.b", [2]),
    ('\ufeff[ 1 , "\u2028" ]', ".", [1, "\u2028"]),
    ('{"x": {"deep": [[1, 2], "]}"]}, "a": [{"\\"": 1}]}', "a", [{'"': 1}]),
]


@pytest.mark.parametrize(("body", "rows", "records"), PLACES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-32-be"])
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_where_the_records_are(
    body: str,
    rows: str,
    records: list[Any],
    encoding: str,
    chunk: int,
    server: Server,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    server.act = always(Reply(body=body.encode(encoding)))
    assert run.records(server.url(), rows=rows) == records


def test_no_records(server: Server, run: Run) -> None:
    nothing: list[Any] = [{"items": []}, {"items": None}]
    for body in nothing:
        server.act = always(data(body))
        assert run.fetch(server.url(), rows="items") == FetchResult(files=())
    server.act = lambda asked: Reply(204)
    assert run.fetch(server.url(), rows=".") == FetchResult(files=())


CIRCLES: list[tuple[dict[str, Any], str]] = [
    ({"type": "next_link", "path": "next"}, "go in a circle: page 1 leads back"),
    ({"type": "cursor", "path": "cursor", "parameter": "after"}, "go in a circle: page 2 leads back"),
    ({"type": "page", "parameter": "page"}, "pages 1 and 2 of URL hold the same records; see that `page`"),
    ({"type": "cursor", "path": "more", "parameter": "after"}, "URL has more than 4 pages; raise `max_pages`"),
]


@pytest.mark.parametrize(("paging", "text"), CIRCLES)
def test_pages_without_end(paging: dict[str, Any], text: str, server: Server, run: Run) -> None:
    server.act = lambda asked: data(
        {"items": [{"id": 1}], "next": server.url("/people"), "cursor": "same", "more": len(server.asked)}
    )
    url = server.url("/people")
    code = "too-many-pages" if "more than" in text else "endless-pages"
    fails(code, text.replace("URL", url), lambda: run.fetch(url, rows="items", paging=paging, max_pages=4))


WRONG: list[tuple[Any, dict[str, Any], str, str]] = [
    (
        {"error": "x", "meta": 1},
        {"rows": "data.items"},
        "no-rows",
        "has no `data.items`: it is a mapping of error, meta",
    ),
    ({"items": {"a": 1}}, {"rows": "items"}, "no-rows", "`items` in the answer of URL is not a list of records but a"),
    ({"items": 1}, {"rows": "."}, "no-rows", "the answer of URL is not a list of records but a mapping of items"),
    ([[1, 2], [3, 4]], {"rows": "."}, "no-rows", "the records in the answer of URL are lists, not objects"),
    ("x", {"rows": "."}, "no-rows", "is not a list of records but a text; write under `rows`"),
    ([], {"paging": {"type": "page", "parameter": "p", "total": "total"}}, "", ""),
    (
        [{"id": 1}],
        {"paging": {"type": "page", "parameter": "p", "total": "total"}},
        "bad-paging",
        "`total` in the answer of URL is not a number of records",
    ),
    (
        {"items": [], "next": {"href": "x"}},
        {"rows": "items", "paging": {"type": "next_link", "path": "next"}},
        "bad-paging",
        "`next` in the answer of URL is a mapping of href, no link and no cursor",
    ),
    (
        {"items": [], "next": "https://evil.example/steal"},
        {"rows": "items", "paging": {"type": "next_link", "path": "next"}},
        "foreign-host",
        "URL leads on to another host: evil.example; if that is right, add `redirect_hosts: [evil.example]`",
    ),
    (
        {"items": [], "next": "http://evil.example/steal"},
        {"rows": "items", "paging": {"type": "next_link", "path": "next"}},
        "no-tls",
        "http:// to evil.example would send everything",
    ),
]


@pytest.mark.parametrize(("body", "settings", "code", "text"), WRONG)
def test_answers_that_are_not_what_the_settings_say(
    body: Any, settings: dict[str, Any], code: str, text: str, server: Server, run: Run
) -> None:
    server.act = lambda asked: data(body)
    if not code:
        assert run.records(server.url(), **settings) == []
        return
    fails(code, text.replace("URL", server.url()), lambda: run.fetch(server.url(), **settings))


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"<html>", "text/html", " (expecting value)"),
        (b"{", "application/json", " (expecting property name enclosed in double quotes)"),
        (b"[" * 200_000, "x", " (values are nested too deeply)"),
        (b'[{"a": %s}]' % nested(MAX_DEPTH - 1), "application/json", " (values are nested too deeply)"),
        (b"\xff", "y\x1b", ""),
    ],
)
def test_what_is_not_json(body: bytes, kind: str, reason: str, server: Server, run: Run) -> None:
    server.act = lambda asked: Reply(body=body, headers={"Content-Type": kind})
    error = fails("bad-answer", f"is not JSON{reason}; it calls itself ", lambda: run.fetch(server.url(), rows="."))
    assert "\x1b" not in str(error)


def test_answers_and_refusals_are_read_as_deep_as_the_bound(server: Server, run: Run) -> None:
    server.act = lambda asked: Reply(body=b'[{"a": %s}]' % nested(MAX_DEPTH - 2))
    assert len(run.records(server.url(), rows=".")) == 1
    for more, code in ((MAX_DEPTH - 1, "refused-with-batch"), (MAX_DEPTH, "refused")):
        refusal = b'{"errors": [{"index": 1, "message": "bad"}], "more": %s}' % nested(more)
        server.act = always(Reply(422, refusal))
        done = run.deliver(server.url(), PEOPLE[:2], refused={"path": "errors"})
        assert [found for _, found, _ in rows_of(done)] == [code, "refused"]


def test_records_keep_their_digits_and_their_hostile_texts(server: Server, run: Run) -> None:
    body = rb"""[{"amount": 12345678901234567890.10, "id": 123456789012345678901234567890, "rate": 1e400,
        "na": NaN, "t": "a\nb\u2028\u0000\ud800\u001b[31m", "\r\n": {"x": [1.50]}}]"""
    server.act = lambda asked: Reply(body=body)
    (file,) = run.fetch(server.url(), rows=".").files
    (line,) = Path(file.path).read_bytes().splitlines()
    assert line == body[1:-1].replace(b"\n", b" ")  # as it was written
    odd = b'["\xed\xa0\x80", %s]' % (b"9" * 5000)
    server.act = lambda asked: Reply(body=odd) if asked.query["p"] == "1" else Reply(404)
    (file,) = run.fetch(server.url(), rows=".", paging={"type": "page", "parameter": "p"}).files
    assert Path(file.path).read_bytes().splitlines() == [rb'"\ud800"', b"9" * 5000]


@pytest.mark.slow
@pytest.mark.thorough
def test_an_answer_larger_than_memory(server: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LARGEST_JSON", 1_000_000)
    bomb = gzip.compress(b"[" + b" " * 50_000_000 + b"]")
    server.act = lambda asked: Reply(body=bomb, headers={"Content-Encoding": "gzip"})
    assert len(bomb) < 100_000
    fails("too-large", "answers with more than 1,000,000 bytes", lambda: run.fetch(server.url(), rows="."))
    server.act = lambda asked: Reply(body=b"no gzip", headers={"Content-Encoding": "gzip"})
    fails("bad-answer", "cannot be decompressed", lambda: run.fetch(server.url(), rows="."))


def test_only_what_is_new(server: Server, run: Run) -> None:
    def act(asked: Asked) -> Reply:
        new = [one for one in PEOPLE if one["at"] >= asked.query.get("since", "")]
        start = int(asked.query.get("cursor", 0))
        return data({"items": new[start : start + 10], "next": start + 10 if start + 10 < len(new) else None})

    server.act = act
    settings: dict[str, Any] = {
        "rows": "items",
        "paging": {"type": "cursor", "path": "next", "parameter": "cursor"},
        "watermark": {"field": "at", "parameter": "since", "start": "2026-11-03T00:00:00Z"},
    }
    first = run.fetch(server.url(), **settings)
    assert [asked.query.get("since") for asked in server.asked] == ["2026-11-03T00:00:00Z"] * 3
    assert first.mark == {"field": "at", "value": "2026-11-23T00:00:00Z"}  # the 24th and 25th are in the future
    again = run.fetch(server.url(), first.mark, **settings)
    assert Path(again.files[0].path).read_text().count("\n") == 3
    assert again.mark == first.mark
    server.act = lambda asked: data({"items": []})
    nothing = run.fetch(server.url(), again.mark, **settings)
    assert nothing == FetchResult(files=(), mark=first.mark)


def test_a_broken_page_moves_no_mark(server: Server, run: Run) -> None:
    def act(asked: Asked) -> Reply:
        page = int(asked.query["page"])
        return data({"message": "boom"}, 500) if page == 3 else data(PEOPLE[page * 5 - 5 : page * 5])

    server.act = act
    settings = {"paging": {"type": "page", "parameter": "page"}, "watermark": {"field": "at", "parameter": "since"}}
    fails("server-error", "500 Internal Server Error: boom", lambda: run.fetch(server.url(), **settings))


# --- credentials and settings ------------------------------------------------------------------------------------

PLAIN_AUTH: list[tuple[dict[str, Any], str]] = [
    ({"type": "bearer", "token": SECRET}, f"Bearer {SECRET}"),
    ({"type": "basic", "username": "jos\u00e9", "password": SECRET}, "Basic am9zw6k6czNjcmV0LXRva2VuLTE="),
]


@pytest.mark.parametrize(("auth", "header"), PLAIN_AUTH)
def test_credentials(auth: dict[str, Any], header: str, server: Server, run: Run) -> None:
    def act(asked: Asked) -> Reply:
        if len(server.asked) == 1:
            return data(PEOPLE)
        return data({"error": f"who is {asked.headers['Authorization']} {SECRET}?"}, 401)

    server.act = act
    assert len(run.records(server.url(), rows=".", auth=auth)) == 25
    assert server.asked[0].headers["Authorization"] == header
    error = fails("unauthorized", "answers 401 Unauthorized: who is ", lambda: run.fetch(server.url(), auth=auth))
    assert "*** ***?; check `auth`" in str(error)
    assert header.partition(" ")[2] not in str(error)
    assert len(server.asked) == 2


def test_headers_and_query_of_the_settings(server: Server, run: Run) -> None:
    server.act = lambda asked: data([])
    headers = {"X-Api-Key": SECRET, "accept": "application/vnd.example+json", "User-Agent": "me"}
    run.fetch(server.url("/?q=1&key=old"), rows=".", headers=headers, query={"key": SECRET, "n": 5})
    (asked,) = server.asked
    assert asked.query == {"q": "1", "key": SECRET, "n": "5"}
    assert [asked.headers[name] for name in ("X-Api-Key", "User-Agent")] == [SECRET, "me"]
    assert asked.headers.get_all("Accept") == ["application/vnd.example+json"]


BAD_SETTINGS: list[tuple[dict[str, Any], str, str]] = [
    ({"headers": {"X-Key": f"{SECRET}\r\nX-Evil: 1"}}, "bad-setting", "`X-Key` holds what cannot stand in a header"),
    ({"headers": {"X-Key": f"{SECRET}\n"}}, "bad-setting", "`X-Key` holds what cannot stand"),
    ({"headers": {"X-Key": f" {SECRET}"}}, "bad-setting", "a space around it"),
    ({"headers": {"X Key": "1"}}, "bad-setting", "'X Key' is not the name of a header"),
    ({"headers": {"Host": "evil"}}, "bad-setting", "the header Host cannot be set: connrunner sets it"),
    ({"headers": {"content-length": "1"}}, "bad-setting", "cannot be set"),
    (
        {"headers": {"authorization": "x"}, "auth": {"type": "bearer", "token": SECRET}},
        "bad-setting",
        "the header authorization cannot be set: it comes from `auth`",
    ),
    ({"auth": {"type": "bearer", "token": f"{SECRET}\u00e9"}}, "bad-setting", "`token` holds what cannot stand"),
    ({"auth": {"type": "basic", "username": "a:b", "password": SECRET}}, "bad-setting", "cannot hold a colon"),
    ({"auth": {"type": "digest"}}, "bad-setting", "unknown type of `auth`: 'digest'"),
    ({"url": "http://example.com/?key=" + SECRET}, "no-tls", "http:// to example.com"),
    ({"url": f"https://me:{SECRET}@example.com/"}, "bad-url", "holds a user name or password"),
    ({"url": "https://example.com/{day}.csv"}, "unknown-placeholder", "there is {date}, {run}"),
]


@pytest.mark.parametrize(("settings", "code", "text"), BAD_SETTINGS)
def test_settings_that_cannot_be(settings: dict[str, Any], code: str, text: str, run: Run) -> None:
    whole = {"url": "http://127.0.0.1:9/", **settings}
    fails(code, text, lambda: run.fetch(**whole))
    fails(code, text, lambda: http.target(whole, run.context))
    fails(code, text, lambda: run.deliver(rows=[], **whole))


def test_the_extra_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "connrunner.connectors.http.client")
    monkeypatch.setitem(sys.modules, "urllib3", None)
    fails("missing-extra", "pip install 'connrunner[http]'", lambda: run.fetch("https://example.com/"))


# --- OAuth 2 -----------------------------------------------------------------------------------------------------


class TokenServer:
    """Gives tokens that live as long as the test says, and an API that takes the newest one."""

    def __init__(self, server: Server, **more: Any) -> None:
        self.given, self.more = 0, more
        self.forms: list[dict[str, str]] = []
        self.auth = {"type": "oauth2", "url": server.url("/token"), "client_id": "me+", "client_secret": SECRET}
        server.act = self.act

    def act(self, asked: Asked) -> Reply:
        if asked.path == "/token":
            self.forms.append({name: values[0] for name, values in parse_qs(asked.body.decode()).items()})
            expected = "Basic bWUlMkI6czNjcmV0LXRva2VuLTE="
            if asked.headers["Authorization"] != expected and self.forms[-1].get("client_secret") != SECRET:
                return data({"error": "invalid_client", "error_description": f"no {SECRET}"}, 401)
            self.given += 1
            return data({"access_token": f"token-number-{self.given}", "token_type": "Bearer", **self.more})
        if asked.headers["Authorization"] != f"Bearer token-number-{self.given}":
            return data({"message": f"{asked.headers['Authorization']} is too old"}, 401)
        start = int(asked.query.get("page", 1)) * 5 - 5
        return data(PEOPLE[start : start + 5])


def test_a_token_is_fetched_once(server: Server, run: Run) -> None:
    tokens = TokenServer(server, expires_in=3600)
    paging = {"type": "page", "parameter": "page"}
    auth = {**tokens.auth, "scope": "contacts.read contacts.write"}
    assert run.records(server.url("/people"), auth=auth, paging=paging) == PEOPLE
    assert tokens.given == 1
    assert tokens.forms == [{"grant_type": "client_credentials", "scope": "contacts.read contacts.write"}]
    run.records(server.url("/people"), auth={**tokens.auth, "client_in": "body"}, rows=".")
    assert tokens.forms[1] == {"grant_type": "client_credentials", "client_id": "me+", "client_secret": SECRET}


def test_a_token_that_runs_out(server: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "EARLY", 3600.0)
    now = iter(range(0, 10_000, 100))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(now)))
    tokens = TokenServer(server, expires_in="3600")
    assert run.records(server.url("/people"), auth=tokens.auth, paging={"type": "page", "parameter": "page"}) == PEOPLE
    assert tokens.given == 6


def test_a_token_that_is_taken_back(server: Server, run: Run) -> None:
    tokens = TokenServer(server)

    def act(asked: Asked) -> Reply:
        if asked.query.get("page") == "3" and tokens.given == 1:
            tokens.given = 2  # the first one counts no longer
        return tokens.act(asked)

    server.act = act
    assert run.records(server.url("/people"), auth=tokens.auth, paging={"type": "page", "parameter": "page"}) == PEOPLE
    assert tokens.given == 3

    def never(asked: Asked) -> Reply:
        return tokens.act(asked) if asked.path == "/token" else data({"message": asked.headers["Authorization"]}, 401)

    server.act, server.asked = never, []
    error = fails("unauthorized", "401", lambda: run.fetch(server.url("/people"), auth=tokens.auth))
    assert [asked.path for asked in server.asked] == ["/token", "/people", "/token", "/people"]
    assert "token-number" not in str(error)


@pytest.mark.parametrize("place", ["header", "body"])
def test_a_client_that_the_token_server_does_not_know(place: str, server: Server, run: Run) -> None:
    auth = {**TokenServer(server).auth, "client_in": place}
    server.act = lambda asked: data({"error_description": f"no {asked.headers['Authorization']} {asked.body!r}"}, 401)
    error = fails("unauthorized", "/token answers 401 Unauthorized: no ", lambda: run.fetch(server.url(), auth=auth))
    assert "check `client_id`, `client_secret` and `scope`" in str(error)
    assert "bWUlMkI6czNjcmV0LXRva2VuLTE" not in str(error)
    assert len(server.asked) == 1


def test_no_token(server: Server, run: Run) -> None:
    tokens = TokenServer(server)
    bodies: list[Any] = [{"token": "x"}, [], {"access_token": 5}, {"access_token": ""}, {"access_token": "a\r\nb"}]
    for body in bodies:
        server.act = always(data(body))
        fails("bad-answer", "answers without an `access_token`", lambda: run.fetch(server.url(), auth=tokens.auth))
    server.act = lambda asked: Reply(302, headers={"Location": "https://evil.example/"})
    fails("foreign-host", "evil.example", lambda: run.fetch(server.url(), auth=tokens.auth))
    server.act = lambda asked: Reply(drop=True)
    fails("broken-off", "/token broke off", lambda: run.fetch(server.url(), auth=tokens.auth, retries=0))
    server.act = lambda asked: data({}, 503)
    fails("server-error", "/token answers 503", lambda: run.fetch(server.url(), auth=tokens.auth), waiting_helps=True)
    assert server.asked[-1].headers["Authorization"] == "Basic bWUlMkI6czNjcmV0LXRva2VuLTE="


# --- what may pass -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_server_that_recovers(status: int, server: Server, run: Run) -> None:
    server.act = lambda asked: data({"message": "busy"}, status) if len(server.asked) < 4 else data(PEOPLE)
    assert run.records(server.url(), rows=".") == PEOPLE
    assert len(run.log.texts) == 3
    assert f"answers {status} " in run.log.texts[0]
    assert "busy; try 2 of 5 in 0.0 s" in run.log.texts[0]


@pytest.mark.parametrize(
    ("status", "code", "hint", "waiting_helps", "requests"),
    [
        (400, "refused", "see what the server wants", False, 1),
        (403, "forbidden", "give these credentials the right", False, 1),
        (404, "not-found", "correct `url`", False, 1),
        (429, "throttled", "let it run less often", True, 3),
        (500, "server-error", "ask the owner", True, 1),
        (501, "server-error", "ask the owner", True, 1),
        (503, "server-error", "ask the owner", True, 3),
        (304, "refused", "see what the server wants", False, 1),
        (499, "refused", "see what the server wants", False, 1),
        (300, "refused", "see what the server wants", False, 1),
    ],
)
def test_a_server_that_does_not(
    status: int, code: str, hint: str, waiting_helps: bool, requests: int, server: Server, run: Run
) -> None:
    server.act = lambda asked: Reply(status, b"" if status == 304 else b"<html>Nginx</html>")
    error = fails(code, hint, lambda: run.fetch(server.url(), retries=2), waiting_helps=waiting_helps)
    assert f"{server.url()} answers {status}" in str(error)
    assert "Nginx" not in str(error)
    assert ("(tried 3 times)" in str(error)) == (requests == 3)
    assert len(server.asked) == requests


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("Unprocessable Entity", "422 Unprocessable Entity"),
        ("Unprocessable Content", "422 Unprocessable Content"),  # so it is called since RFC 9110
        ("Nope", "422 Nope"),
        ("", "422"),
        ("  ", "422"),
        (f"no\x1b[31m \x85{SECRET}", "422 no [31m ***"),
        ("no " * 1000, "422 " + "no " * 26 + "no..."),
    ],
)
def test_a_status_is_called_what_the_server_calls_it(reason: str, said: str, server: Server, run: Run) -> None:
    server.act = lambda asked: Reply(422, reason=reason)
    error = fails("refused", said, lambda: run.fetch(server.url(), headers={"X-Key": SECRET}))
    assert error.message == f"{server.url()} answers {said}"


def test_a_long_complaint(server: Server, run: Run) -> None:
    server.act = lambda asked: Reply(400, b"no " * 1_000_000)
    error = fails("refused", "400 Bad Request: no no no", lambda: run.fetch(server.url()))
    assert len(str(error)) < 500


def test_how_long_a_server_asks_to_wait(server: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    date = "Sun, 22 Nov 2020 09:15:00 GMT"
    waits = iter(["7", date, "nonsense", "300"])
    server.act = lambda asked: data({}, 429, Retry_After=w) if (w := next(waits, None)) else data(PEOPLE)
    assert run.records(server.url(), rows=".") == PEOPLE
    assert [round(wait) for wait in slept] == [7, 0, 0, 300]
    server.act = lambda asked: data({}, 429, Retry_After="301")
    text = "answers 429 Too Many Requests; it asks to wait 301 s, and a run waits 300 s at most"
    fails("throttled", text, lambda: run.fetch(server.url()), waiting_helps=True)
    assert len(slept) == 4


def test_waits_grow_and_differ(server: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(client, "FIRST_WAIT", 1.0)
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    server.act = lambda asked: data({}, 503)
    fails("server-error", "(tried 8 times)", lambda: run.fetch(server.url(), retries=7))
    assert slept == [1, 2, 4, 8, 16, 30, 30]


def test_a_server_that_hangs_up(server: Server, run: Run) -> None:
    server.act = lambda asked: Reply(drop=True) if len(server.asked) < 3 else data(PEOPLE)
    assert run.records(server.url(), rows=".") == PEOPLE
    server.act = lambda asked: Reply(drop=True)
    fails("broken-off", "broke off: ", lambda: run.fetch(server.url(), retries=1), waiting_helps=True)


@pytest.mark.parametrize("half", [None, 10])
def test_a_server_that_stalls(half: int | None, server: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durations, "parse", lambda text: 0.1)

    def act(asked: Asked) -> Reply:
        if half is None:
            server.over.wait(0.5)
        return Reply(body=CSV, cut=half, stall=True)

    server.act = act
    error = fails("no-answer", "sent nothing for 0.1 s", lambda: run.fetch(server.url(), retries=1), waiting_helps=True)
    assert "set a longer `timeout`" in str(error)


def test_nobody_is_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        fails("unreachable", "cannot connect to 127.0.0.1:", lambda: run.fetch(url, retries=1), waiting_helps=True)
    error = fails("unreachable", "Connection refused (tried 2 times)", lambda: run.fetch(url, retries=1))
    assert "see that the server runs" in str(error)

    def lookup(code: int) -> Callable[..., Any]:
        def look(*_: Any, **__: Any) -> Any:
            raise socket.gaierror(code, "no")

        return look

    monkeypatch.setattr(socket, "getaddrinfo", lookup(socket.EAI_NONAME))
    fails(
        "no-host",
        "there is no host nowhere.example",
        lambda: run.fetch("https://nowhere.example/"),
        waiting_helps=False,
    )
    monkeypatch.setattr(socket, "getaddrinfo", lookup(socket.EAI_AGAIN))
    fails(
        "unreachable",
        "the name service does not answer",
        lambda: run.fetch("https://h/", retries=0),
        waiting_helps=True,
    )


def test_a_run_that_is_stopped_while_it_connects(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(socket.socket, "connect", stopped)
    with pytest.raises(KeyboardInterrupt):
        run.fetch("http://127.0.0.1:9/")  # an open socket left behind would be a warning


def test_a_host_that_takes_no_connection(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        place = full.getsockname()
        waiting = []
        for _ in range(3):  # until the queue of the listener is full
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(place)
        monkeypatch.setattr(wire, "CONNECT", 0.2)
        url = f"http://127.0.0.1:{place[1]}/"
        fails("unreachable", "no answer for 0.2 s", lambda: run.fetch(url, retries=0), waiting_helps=True)
        for each in waiting:
            each.close()


# --- redirects and addresses -------------------------------------------------------------------------------------


def moved(to: str, status: int = 302) -> Act:
    return lambda asked: data(PEOPLE) if asked.path == "/new" else Reply(status, headers={"Location": to})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_the_same_host(status: int, server: Server, run: Run) -> None:
    auth = {"type": "bearer", "token": SECRET}
    for to in ("/new", server.url("/new")):
        server.act = moved(to, status)
        assert run.records(server.url("/old"), rows=".", auth=auth) == PEOPLE
        assert server.asked[-1].headers["Authorization"] == f"Bearer {SECRET}"


def test_a_redirect_to_another_host(server: Server, other: Server, run: Run) -> None:
    server.act = moved(other.url("/new?signature=1", "localhost"))
    other.act = moved("/nowhere")
    settings: dict[str, Any] = {
        "rows": ".",
        "auth": {"type": "basic", "username": "me", "password": SECRET},
        "headers": {"X-Api-Key": SECRET, "Cookie": SECRET},
        "query": {"key": SECRET},
    }
    place = f"localhost:{other.server_port}"
    text = f"redirects to another host: {place}; if that is right, add `redirect_hosts: [{place}]`"
    fails("foreign-host", text, lambda: run.fetch(server.url(), **settings))
    assert other.asked == []
    assert run.records(server.url(), **settings, redirect_hosts=[place.upper()]) == PEOPLE
    (asked,) = other.asked
    assert SECRET not in repr(asked) + repr(asked.headers.items())
    assert asked.headers["Authorization"] is None


def test_another_port_is_another_host(server: Server, other: Server, run: Run) -> None:
    server.act = moved(other.url("/new"))
    fails("foreign-host", f"another host: 127.0.0.1:{other.server_port}", lambda: run.fetch(server.url()))


REDIRECTED = [
    ("http://169.254.169.254/latest/meta-data/", "no-tls"),
    ("https://169.254.169.254/latest/meta-data/", "foreign-host"),
    ("https://[fd00:ec2::254]/", "foreign-host"),
    ("file:///etc/passwd", "bad-url"),
    ("ftp://127.0.0.1/", "bad-url"),
    ("https://me:pw@127.0.0.1/", "bad-url"),
    ("http://127.0.0.1\t.evil.example/", "bad-url"),
    ("gopher://x", "bad-url"),
]


@pytest.mark.parametrize(("to", "code"), REDIRECTED)
def test_redirects_that_nobody_wants(to: str, code: str, server: Server, run: Run) -> None:
    server.act = moved(to)
    fails(code, "", lambda: run.fetch(server.url(), rows="."))
    assert len(server.asked) == 1


def test_redirects_in_a_circle(server: Server, run: Run) -> None:
    server.act = moved("/old")
    fails("bad-redirect", "redirects more than 5 times", lambda: run.fetch(server.url("/old")))
    assert len(server.asked) == 6


LISTED = ["169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]"]


@pytest.mark.parametrize("host", LISTED)
def test_link_local_addresses(host: str, server: Server, run: Run) -> None:
    server.act = moved(f"https://{host}/latest/")
    fails("link-local", "where clouds tell a machine its credentials", lambda: run.fetch(f"https://{host}/latest/"))
    parsed = address.parse(f"https://{host}/").place
    fails("link-local", "set `allow_link_local: true`", lambda: run.fetch(server.url(), redirect_hosts=[parsed]))


def test_link_local_addresses_when_they_are_wanted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []

    def connect(_: socket.socket, place: Any) -> None:
        tried.append(place)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket.socket, "connect", connect)
    fails("unreachable", "refused", lambda: run.fetch("https://169.254.1.1/", allow_link_local=True, retries=0))
    assert tried == [("169.254.1.1", 443)]


def test_a_name_service_that_changes_its_answer(server: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is looked up for each connection, and what is connected to is what was checked."""
    answers = iter(["127.0.0.1", "169.254.169.254"])
    connected: list[str] = []

    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    real = socket.socket.connect

    def connect(self: socket.socket, place: Any) -> None:
        connected.append(place[0])
        real(self, place)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(socket.socket, "connect", connect)
    server.act = lambda asked: Reply(body=CSV, headers={"Connection": "close"}, cut=5)
    fails("link-local", "localhost has the address 169.254.169.254", lambda: run.fetch(server.url(host="localhost")))
    assert connected == ["127.0.0.1"]


def test_a_name_for_this_machine_that_is_another(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    place = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [place])
    fails(
        "no-tls",
        "localhost has the address 10.0.0.1, which is not this machine",
        lambda: run.fetch("http://localhost/"),
    )


# --- TLS ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture(scope="module")
def one_tls_server(authority: trustme.CA) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA).configure_cert(context)
    with running(context) as server:
        yield server


@pytest.fixture
def tls(one_tls_server: Server) -> Server:
    server = fresh(one_tls_server)
    server.act = lambda asked: data(PEOPLE)
    return server


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


@pytest.mark.usefixtures("trusted")
def test_tls(tls: Server, run: Run) -> None:
    assert run.records(tls.url(), rows=".") == PEOPLE
    assert run.deliver(tls.url(), PEOPLE).refused == ()


@pytest.mark.usefixtures("trusted")
def test_a_certificate_for_another_name(tls: Server, run: Run) -> None:
    error = fails("bad-certificate", "refused: Hostname mismatch", lambda: run.fetch(tls.url(host="localhost")))
    assert "correct the host in `url`" in str(error)
    assert tls.asked == []
    assert tls.connections == 1  # no other try


def test_a_certificate_of_an_unknown_authority(tls: Server, run: Run) -> None:
    error = fails("bad-certificate", "unable to get local issuer certificate", lambda: run.fetch(tls.url()))
    assert "name its file as `ca_file`" in str(error)
    assert not error.waiting_helps
    assert tls.asked == []


def test_an_authority_of_the_settings_alone_is_trusted(
    tls: Server, authority: trustme.CA, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "company.pem"))
    trustme.CA(key_type=trustme.KeyType.ECDSA).cert_pem.write_to_path(str(tmp_path / "another.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "another.pem"))
    assert run.records(tls.url(), rows=".", ca_file="company.pem") == PEOPLE
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "company.pem"))
    asked = len(tls.asked)
    fails("bad-certificate", "unable to get local issuer", lambda: run.fetch(tls.url(), ca_file="another.pem"))
    fails(
        "bad-ca-file", "company.pen cannot be used: No such file", lambda: run.fetch(tls.url(), ca_file="company.pen")
    )
    (tmp_path / "empty.pem").write_text("")
    fails("bad-ca-file", "no certificate in PEM form", lambda: run.fetch(tls.url(), ca_file="empty.pem"))
    assert len(tls.asked) == asked


@pytest.mark.usefixtures("trusted")
def test_an_expired_certificate(authority: trustme.CA, run: Run) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC)).configure_cert(context)
    with running(context) as server:
        error = fails("bad-certificate", "certificate has expired", lambda: run.fetch(server.url()))
        assert "the clock of this machine" in str(error)


def test_a_server_without_tls(server: Server, run: Run) -> None:
    url = server.url().replace("http:", "https:")
    fails("no-tls", "no TLS connection to 127.0.0.1:", lambda: run.fetch(url, retries=0))


@pytest.mark.usefixtures("trusted")
def test_from_tls_to_none(tls: Server, server: Server, run: Run) -> None:
    tls.act = moved(server.url("/new"))
    place = f"127.0.0.1:{server.server_port}"
    text = f"redirects to {server.url('/new')}, which has no TLS"
    fails("bad-redirect", text, lambda: run.fetch(tls.url(), redirect_hosts=[place]))
    server.act = moved(tls.url("/new"))
    listed = [f"127.0.0.1:{tls.server_port}"]
    tls.act = lambda asked: data(PEOPLE)
    assert run.records(server.url(), rows=".", redirect_hosts=listed) == PEOPLE  # up is fine


@pytest.mark.usefixtures("trusted")
def test_a_next_link_that_forgot_its_tls(tls: Server, run: Run) -> None:
    def act(asked: Asked) -> Reply:
        link = f"http://127.0.0.1:{tls.server_port}/2"
        return data({"items": PEOPLE[:5], "next": link if asked.path == "/" else None})

    tls.act = act
    paging = {"type": "next_link", "path": "next"}
    assert len(run.records(tls.url(), rows="items", paging=paging)) == 10


# --- export ------------------------------------------------------------------------------------------------------


BODIES: list[tuple[Any, bytes, str]] = [
    ("list", b'[{"id": 1},{"id": 2}]', "application/json"),
    ("lines", b'{"id": 1}\n{"id": 2}\n', "application/x-ndjson"),
    ({"wrap": 'a"b'}, b'{"a\\"b":[{"id": 1},{"id": 2}]}', "application/json"),
]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize(("body", "content", "kind"), BODIES)
def test_an_export(body: Any, content: bytes, kind: str, method: str, server: Server, run: Run) -> None:
    server.act = lambda asked: Reply(204)
    rows = [{"id": number} for number in (1, 2, 3)]
    done = run.deliver(server.url("/in?key=1"), rows, body=body, batch=2, method=method)
    assert done == SendResult(where=server.url("/in"))
    first, second = server.asked
    assert (first.method, first.body, first.headers["Content-Type"]) == (method, content, kind)
    assert b'{"id": 3}' in second.body
    assert first.headers["Idempotency-Key"].startswith("contacts-8-1-")
    assert second.headers["Idempotency-Key"].startswith("contacts-8-2-")
    assert server.connections == 1
    assert run.log.stages == [("sending", 2), ("sending", 3)]


def test_what_an_export_is_by_default(server: Server, run: Run) -> None:
    server.act = lambda asked: data({"ok": True})
    run.deliver(server.url(), [{"id": number} for number in range(1001)])
    assert [(asked.method, len(asked.json)) for asked in server.asked] == [("POST", 500), ("POST", 500), ("POST", 1)]
    assert http.form({}, Format(type="csv")) == Format(type="jsonl", compression="none")
    assert http.target({"url": server.url("/in/{date}?key=1")}, run.context) == server.url("/in/2026-11-22")


def test_one_row_a_request(server: Server, run: Run) -> None:
    server.act = lambda asked: data({}, 201)
    run.deliver(server.url(), PEOPLE[:3], body="row")
    assert [asked.json for asked in server.asked] == PEOPLE[:3]
    settings = {"url": server.url(), "body": "row", "batch": 5}
    fails("bad-setting", "`batch` is 5, and with `body: row`", lambda: http.target(settings, run.context))


def test_nothing_to_export(server: Server, run: Run) -> None:
    assert run.deliver(server.url(), []) == SendResult(where=server.url())
    assert server.asked == []


@pytest.mark.parametrize("trouble", [Reply(429), Reply(503), Reply(drop=True), Reply(body=b"{}", cut=1)])
def test_a_batch_that_is_sent_again_keeps_its_key(trouble: Reply, server: Server, run: Run) -> None:
    server.act = lambda asked: trouble if len(server.asked) in (1, 3) else data({"errors": []})
    assert run.deliver(server.url(), PEOPLE[:10], batch=5, refused={"path": "errors"}).refused == ()
    keys = [asked.headers["Idempotency-Key"] for asked in server.asked]
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert server.asked[0].body == server.asked[1].body


def test_an_accepted_batch_with_a_broken_answer_is_accepted(server: Server, run: Run) -> None:
    for answer in (
        Reply(body=b"{}" * 10, cut=1),
        Reply(body=b"no gzip", headers={"Content-Encoding": "gzip"}),
        Reply(body=b"x" * 1_000_000),
    ):
        server.asked = []
        server.act = always(answer)
        assert run.deliver(server.url(), PEOPLE[:10], batch=5).refused == ()
        assert len(server.asked) == 2


def test_the_same_rows_in_two_runs_have_two_keys(server: Server, run: Run) -> None:
    server.act = lambda asked: Reply(204)
    run.deliver(server.url(), PEOPLE)
    run.deliver(server.url(), PEOPLE)
    first, second = server.asked
    assert first.body == second.body
    assert first.headers["Idempotency-Key"] != second.headers["Idempotency-Key"]


def rows_of(done: SendResult) -> list[tuple[int, str, str]]:
    return [(each.row, each.code, each.message) for each in done.refused]


MAPPING = {"path": "result.errors", "index": "at.row", "message": "why", "code": "kind"}


def test_rows_that_the_partner_refuses(server: Server, run: Run) -> None:
    errors = [
        {"at": {"row": 3}, "why": "no\n\x1b[31mmail", "kind": "NO_MAIL"},
        {"at": {"row": "0"}, "why": {"message": "x" * 1000}},
        {"at": {"row": 3}, "why": "again", "kind": "TWICE"},
    ]
    server.act = lambda asked: data({"result": {"errors": errors if len(server.asked) == 2 else []}}, 207)
    done = run.deliver(server.url(), PEOPLE[:12], batch=5, refused=MAPPING)
    assert rows_of(done) == [(5, "refused", "x" * 300 + "..."), (8, "no-mail", "no [31mmail")]


@pytest.mark.parametrize("index", [5, -1, "x", None, True, 1.5, "\u0665", 10**30])
def test_a_refusal_of_nobody_knows_what(index: Any, server: Server, run: Run) -> None:
    server.act = lambda asked: data({"errors": [{"index": 1, "message": "a"}, {"index": index, "message": "bad"}]})
    done = run.deliver(server.url(), PEOPLE[:7], batch=5, refused={"path": "errors"})
    message = "the answer does not say which row it refuses: bad"
    assert rows_of(done)[:5] == [(row, "unclear", message) for row in range(5)]


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_a_batch_that_is_refused_whole(status: int, server: Server, run: Run) -> None:
    server.act = lambda asked: (
        data({"message": f"no such field {SECRET}"}, status) if len(server.asked) == 2 else data({})
    )
    done = run.deliver(server.url(), PEOPLE[:12], batch=5, headers={"X-Key": SECRET})
    assert [(row, code) for row, code, _ in rows_of(done)] == [(row, "refused") for row in range(5, 10)]
    assert done.refused[0].message.startswith(f"{status} ")
    assert done.refused[0].message.endswith("no such field ***")
    assert len(server.asked) == 3


def test_a_refused_batch_that_names_its_rows(server: Server, run: Run) -> None:
    answer = data({"message": "invalid", "errors": [{"index": 1, "message": "no mail"}]}, 422)
    server.act = lambda asked: replace(answer, reason="Unprocessable Entity")
    done = run.deliver(server.url(), PEOPLE[:3], refused={"path": "errors"})
    rest = "refused with its batch: 422 Unprocessable Entity: invalid"
    assert rows_of(done) == [
        (0, "refused-with-batch", rest),
        (1, "refused", "no mail"),
        (2, "refused-with-batch", rest),
    ]
    server.act = lambda asked: Reply(422, b"plain text\n" * 2000, reason="Unprocessable Entity")
    (first, *_) = run.deliver(server.url(), PEOPLE[:3], refused={"path": "errors"}).refused
    assert first.code == "refused"
    assert first.message.startswith("422 Unprocessable Entity: plain text plain text")
    assert len(first.message) < 400


FAILURES: list[tuple[Reply, str, str]] = [
    (data({"message": "who?"}, 401), "unauthorized", "not-sent"),
    (Reply(403), "forbidden", "not-sent"),
    (Reply(404), "not-found", "not-sent"),
    (Reply(405), "refused", "unconfirmed"),
    (Reply(429), "throttled", "not-sent"),
    (Reply(500), "server-error", "unconfirmed"),
    (Reply(503), "server-error", "unconfirmed"),
    (Reply(drop=True), "broken-off", "unconfirmed"),
    (Reply(302, headers={"Location": "/new"}), "bad-redirect", "unconfirmed"),
    (Reply(body=b"<html>"), "bad-answer", "unconfirmed"),
    (data({"errors": "x"}), "bad-answer", "unconfirmed"),
]


@pytest.mark.parametrize(("failure", "code", "word"), FAILURES)
def test_an_export_that_fails_in_the_middle(failure: Reply, code: str, word: str, server: Server, run: Run) -> None:
    settings: dict[str, Any] = {"batch": 5, "retries": 1, "refused": {"path": "errors"}}
    server.act = lambda asked: failure
    error = fails(code, "", lambda: run.deliver(server.url(), PEOPLE, **settings))  # nothing has arrived
    before = len(server.asked)
    server.act = lambda asked: failure if len(server.asked) > before + 2 else data({})
    done = run.deliver(server.url(), PEOPLE, **settings)
    assert [(each.row, each.code) for each in done.refused] == [
        *((row, word) for row in range(10, 15)),
        *((row, "not-sent") for row in range(15, 25)),
    ]
    assert done.refused[0].message == error.message
    assert done.refused[-1].message == f"not sent, because an earlier request failed: {error.message}"
    assert f"error: 10 rows have arrived, the rest has not: {error.message}" in run.log.texts[-1]


def test_redirects_of_an_export(server: Server, other: Server, run: Run) -> None:
    for status in (307, 308):
        server.act = moved("/new", status)
        run.deliver(server.url(), PEOPLE[:1])
        assert (server.asked[-1].path, server.asked[-1].method, server.asked[-1].json) == ("/new", "POST", PEOPLE[:1])
    for status in (301, 302, 303):
        server.act = moved("/new", status)
        text = f"has moved to {server.url('/new')}, says its answer {status}"
        fails("bad-redirect", text, lambda: run.deliver(server.url(), PEOPLE[:1]))
    server.act = moved(other.url("/new"), 307)
    fails("foreign-host", "another host", lambda: run.deliver(server.url(), PEOPLE[:1]))
    assert other.asked == []


def test_the_end_of_a_run_is_not_tried_again(server: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of a run raises a RunError in whatever is done just then."""

    def late(*_: Any, **__: Any) -> Any:
        raise RunError("it took longer than its `timeout`", code="timeout")

    server.act = lambda asked: data({}, 503)
    monkeypatch.setattr(time, "sleep", late)
    fails("timeout", "it took longer", lambda: run.fetch(server.url()))
    assert len(server.asked) == 1


# --- settle ------------------------------------------------------------------------------------------------------


def test_settling_asks_nobody(run: Run) -> None:
    file = LocalFile(path="", name="x", size=0, modified="")
    http.settle({"url": "http://127.0.0.1:9/"}, run.context, FetchResult(files=(file,)))


def test_the_limit_of_pages_has_a_default() -> None:
    assert pages.MAX_PAGES == 10_000

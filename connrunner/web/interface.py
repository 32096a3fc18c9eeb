"""What programs ask, below /api/v1: JSON as the commands print it with `--format json`, from the same answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse

from connrunner.answers import active_runs, coming_slots, connection_list, deliveries, explain, status
from connrunner.answers.active_runs import find_active_run
from connrunner.answers.run_history import list_ended
from connrunner.answers.run_log import choose_run, find_running, iter_refused
from connrunner.core import run_records
from connrunner.errors import ArgumentError
from connrunner.state import run_files
from connrunner.web.log_reading import iter_events
from connrunner.web.log_stream import MOST, SharedLogs
from connrunner.web.parameters import (
    read_filter,
    read_flag,
    read_integer,
    read_run_number,
    require_connection,
)
from connrunner.web.problem import RefusedError
from connrunner.web.site import Call

ROOT = "/api/v1"
PAGE = 100  # entries, without `limit`
LARGEST_PAGE = 1000
LINES = 1000  # of a log, without `limit`
MOST_LINES = 100_000
EVENTS = "text/event-stream"
JSON_LINES = "application/jsonl"


def as_response(data: Any, *, status_code: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return *data* as JSON."""
    content = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    return Response(content, status_code, headers, "application/json")


def answer_status(call: Call) -> Response:
    """`connrunner status --format json`."""
    return as_response(status.as_dict(status.read_status(call.view, read_filter(call.query))))


def answer_connections(call: Call) -> Response:
    """The connections, by name."""
    page = connection_list.list_entries(
        call.view,
        read_filter(call.query),
        words=call.query.get("q", ""),
        only_failing=read_flag(call.query, "failing"),
        limit=_limit(call),
        after=call.query.get("after", ""),
    )
    following = _next_link(call, "after", page.next_after) if page.next_after else {}
    return as_response(connection_list.as_list(page), headers={"X-Total-Count": str(page.total), **following})


def answer_connection(call: Call) -> Response:
    """`connrunner explain NAME --format json`, with `--at` where `at` is given."""
    name, count = _connection(call), read_integer(call.query, "count", 5, least=1, most=LARGEST_PAGE)
    at = None
    if wanted := call.query.get("at"):
        try:
            at = explain.explain_instant(call.view, name, explain.parse_instant(call.view, name, wanted))
        except ArgumentError as error:
            raise RefusedError(400, error.message, error.hint) from None
    return as_response(explain.as_dict(explain.explain_connection(call.view, name, count=count), at))


def answer_runs(call: Call) -> Response:
    """`connrunner runs NAME --format json`."""
    name, limit = _connection(call), _limit(call)
    before = read_integer(call.query, "before", 0, least=1) or None
    found = list(list_ended(call.view, name, limit=limit + 1, before=before))
    following = _next_link(call, "before", found[limit - 1].run) if len(found) > limit else {}
    return as_response([run_records.as_dict(run) for run in found[:limit]], headers=following)


def answer_run(call: Call) -> Response:
    """One entry of `runs` when the run has ended, one of `running` of the status while it works."""
    name, number = _connection(call), read_run_number(call.names["number"])
    if found := run_files.read_run(call.view.state, name, number):
        return as_response(run_records.as_dict(found))
    active = find_active_run(call.view, name)
    if active is not None and active.run == number:
        return as_response(active_runs.as_dict(active))
    raise RefusedError(404, f"{name} has no run {number}", f"{ROOT}/connections/{name}/runs lists them")


def answer_log(call: Call, logs: SharedLogs) -> Response:
    """`connrunner log NAME NUMBER --format json`, as JSON lines; as events when those are asked for."""
    name, number = find_kept_run(call)
    path = call.view.state.log(name, number)
    after = read_integer(call.query, "after", 0)
    if EVENTS in call.accept:
        last = call.last_event
        if last.isascii() and last.isdecimal() and len(last) < 16:
            after = max(after, int(last))
        if call.site.streams >= MOST:
            raise RefusedError(503, f"{MOST} people watch logs already", "ask again later, or without events")
        live = call.site.live
        follow = logs.follow(path, after, lambda: find_running(live.look(), name) == number)
        return StreamingResponse(follow, media_type=EVENTS, headers={"X-Accel-Buffering": "no"})
    limit = read_integer(call.query, "limit", LINES, least=1, most=MOST_LINES)
    numbered = list(islice(iter_events(path, after, limit + 1), limit + 1))
    following = _next_link(call, "after", numbered[limit - 1][0]) if len(numbered) > limit else {}
    content = b"".join(line + b"\n" for _, line in numbered[:limit])
    return Response(content, headers=following, media_type=JSON_LINES)


def answer_rejects(call: Call) -> Response:
    """`connrunner rejects NAME NUMBER --format json`."""
    name, number = find_kept_run(call)
    limit, after = _limit(call), read_integer(call.query, "after", 0)
    rows = iter_refused(call.view, name, number, code=call.query.get("code") or None)
    found = list(islice(rows, after, after + limit + 1))
    following = _next_link(call, "after", after + limit) if len(found) > limit else {}
    return as_response(found[:limit], headers=following)


def answer_queue(call: Call) -> Response:
    """What works and what waits: `running` and `waiting` of the status."""
    return as_response(status.queue_as_dict(status.read_queue(call.view, read_filter(call.query))))


def answer_next(call: Call) -> Response:
    """`connrunner next --format json`: of one `connection`, or of those that are due first."""
    if call.query.get("connection"):
        name = require_connection(call.view, call.query["connection"])
        coming = coming_slots.read_coming(call.view, name, count=_limit(call))
    else:
        coming = coming_slots.read_soonest(call.view, _limit(call))
    return as_response(coming_slots.as_list(coming))


def answer_notifications(call: Call) -> Response:
    """`connrunner notify list --format json`."""
    return as_response(deliveries.as_list(deliveries.read_outbox(call.view, dead=read_flag(call.query, "dead"))))


def find_kept_run(call: Call) -> tuple[str, int]:
    """Return connection and number of the run in the path, of which there is more than its record."""
    name, number = _connection(call), read_run_number(call.names["number"])
    try:
        return name, choose_run(call.view, name, number)
    except ArgumentError as error:
        raise RefusedError(404, error.message, error.hint) from None


def encode_lines(lines: Iterable[str]) -> Iterator[bytes]:
    """Yield *lines* as bytes, some thousands at once."""
    waiting: list[str] = []
    for line in lines:
        waiting.append(line)
        if len(waiting) >= LINES:
            yield "".join(waiting).encode("utf-8", "backslashreplace")
            waiting.clear()
    yield "".join(waiting).encode("utf-8", "backslashreplace")


def _connection(call: Call) -> str:
    return require_connection(call.view, call.names["name"])


def _limit(call: Call) -> int:
    return read_integer(call.query, "limit", PAGE, least=1, most=LARGEST_PAGE)


def _next_link(call: Call, key: str, value: object) -> dict[str, str]:
    """Return the header that says where the next page is (RFC 8288)."""
    query = urlencode({**call.query, key: value})
    return {"Link": f'<{call.root}{call.path}?{query}>; rel="next"'}

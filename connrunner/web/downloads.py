"""What is fetched as a file: logs, refused rows, figures, a calendar. Its name is made of what we know alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from starlette.responses import Response, StreamingResponse

from connrunner.answers.calendar import as_icalendar, read_events
from connrunner.answers.metrics import read_metrics
from connrunner.answers.rejects_table import format_rejects
from connrunner.answers.run_log import iter_refused
from connrunner.core.formats import prometheus
from connrunner.text.files import open_own
from connrunner.web.interface import encode_lines, find_kept_run
from connrunner.web.log_reading import iter_text
from connrunner.web.parameters import read_integer
from connrunner.web.site import Call

BLOCK = 1 << 16  # bytes that are read at once


def download_text_log(call: Call) -> Response:
    """The log as `connrunner log` prints it."""
    name, number = find_kept_run(call)
    lines = iter_text(call.view.state.log(name, number), call.view.zone(name))
    return _attached(encode_lines(lines), f"{name}-{number}-log.txt", "text/plain; charset=utf-8")


def download_log(call: Call) -> Response:
    """The log as it is kept: JSON lines."""
    name, number = find_kept_run(call)
    return _attached(_bytes_of(call.view.state.log(name, number)), f"{name}-{number}-log.jsonl", "application/jsonl")


def download_rejects(call: Call) -> Response:
    """The refused rows as CSV."""
    name, number = find_kept_run(call)
    lines = format_rejects(iter_refused(call.view, name, number, code=call.query.get("code") or None))
    return _attached(encode_lines(lines), f"{name}-{number}-rejects.csv", "text/csv; charset=utf-8; header=present")


def answer_metrics(call: Call) -> Response:
    """`connrunner metrics`."""
    lines = encode_lines(prometheus.iter_metric_lines(read_metrics(call.view)))
    first = next(lines)  # what cannot be read is refused before the answer begins
    return StreamingResponse(chain((first,), lines), media_type="text/plain; version=0.0.4; charset=utf-8")


def answer_calendar(call: Call) -> Response:
    """`connrunner calendar`."""
    days = read_integer(call.query, "days", 14, most=366)
    past = read_integer(call.query, "past", 7, most=3660)
    page = as_icalendar(call.view, read_events(call.view, (), days=days, past=past))
    return Response(page.encode(), media_type="text/calendar; charset=utf-8")


def _attached(content: Iterator[bytes], name: str, media_type: str) -> Response:
    first = next(content, b"")  # a file that cannot be read is refused before the answer begins
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(chain((first,), content), media_type=media_type, headers=headers)


def _bytes_of(path: Path) -> Iterator[bytes]:
    """Yield the content of a file of a run; a run that wrote none has an empty one."""
    with suppress(FileNotFoundError), open_own(path) as file:
        while block := file.read(BLOCK):
            yield block

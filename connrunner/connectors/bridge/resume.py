"""Where a third-party program goes on the next time: its own state, kept with the stream that it belongs to."""

from __future__ import annotations

from typing import Any

from connrunner.core.report import Report


def make_mark(protocol: str, stream: str, read_program_state: Any) -> dict[str, Any]:
    """Return what is kept between two runs, plain JSON."""
    return {"protocol": protocol, "stream": stream, "state": read_program_state}


def read_program_state(make_mark: Any, protocol: str, stream: str, report: Report) -> Any:
    """Return the program's state out of *mark*; None when there is none, or it belongs to something else."""
    if make_mark is None:
        return None
    if isinstance(make_mark, dict) and make_mark.get("protocol") == protocol and make_mark.get("stream") == stream:
        return make_mark.get("state")
    before = make_mark.get("stream") if isinstance(make_mark, dict) else make_mark
    report.message(
        f"the state that the last run left is not one of the stream {stream!r} but of {before!r}: all rows are read",
        level="warning",
    )
    return None

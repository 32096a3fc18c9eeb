"""Where a third-party program goes on the next time: its own state, kept with the stream that it belongs to."""

from __future__ import annotations

from typing import Any

from connrunner.core.report import Report


def mark(protocol: str, stream: str, state: Any) -> dict[str, Any]:
    """Return what is kept between two runs, plain JSON."""
    return {"protocol": protocol, "stream": stream, "state": state}


def state(mark: Any, protocol: str, stream: str, report: Report) -> Any:
    """Return the program's state out of *mark*; None when there is none, or it belongs to something else."""
    if mark is None:
        return None
    if isinstance(mark, dict) and mark.get("protocol") == protocol and mark.get("stream") == stream:
        return mark.get("state")
    before = mark.get("stream") if isinstance(mark, dict) else mark
    report.message(
        f"the state that the last run left is not one of the stream {stream!r} but of {before!r}: all rows are read",
        level="warning",
    )
    return None

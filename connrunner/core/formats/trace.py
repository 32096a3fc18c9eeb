"""W3C Trace Context: which trace a run belongs to, so that what its program does can be found beside it.

https://www.w3.org/TR/trace-context/, section 3.2; the environment variables are those that OpenTelemetry agreed on.
"""

from __future__ import annotations

import re

from connrunner.lazy_dataclasses import dataclass

_FORM = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(-.*)?"
)
SAMPLED = "01"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """The trace that a run belongs to, and the run's own part of it."""

    trace: str  # 32 hex digits
    span: str  # 16 hex digits
    flags: str = SAMPLED
    continues: bool = False  # a trace that another program began

    @property
    def parent(self) -> str:
        """What `TRACEPARENT` says to the programs that the run starts."""
        return f"00-{self.trace}-{self.span}-{self.flags}"


def continue_trace(said: str, *, trace: str, span: str) -> Trace:
    """Return the trace of a run: that of *said*, the `TRACEPARENT` that we were started with, else the new one *trace*.

    One that is malformed is left alone, as the standard asks for: then a new trace begins.
    """
    found = _FORM.fullmatch(said)
    if (
        found is None
        or found["version"] == "ff"
        or (found["version"] == "00" and found[5])
        or not found["trace"].strip("0")
        or not found["span"].strip("0")
    ):
        return Trace(trace=trace, span=span)
    return Trace(trace=found["trace"], span=span, flags=found["flags"], continues=True)

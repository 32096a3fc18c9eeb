"""What other programs read: figures for Prometheus, calendars, trace contexts."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import icalendar as reference
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from connrunner.core.formats import prometheus, trace
from connrunner.core.formats.icalendar import CalendarEvent, format_calendar
from connrunner.core.formats.prometheus import Metric

AT = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)


# --- Prometheus --------------------------------------------------------------------------------------------------

PAGES = [
    ([],                                                                 ""),
    ([Metric("a", "A.", ())],                                            ""),
    ([Metric("a_bytes", "What it is.", (({}, 3.0),))],                   "# HELP a_bytes What it is.\n# TYPE a_bytes gauge\na_bytes 3\n"),
    ([Metric("a", "A\\b\nc.", (({"x": 'y"\\\n', "z": "1"}, 0.25),))],    '# HELP a A\\\\b\\nc.\n# TYPE a gauge\na{x="y\\"\\\\\\n",z="1"} 0.25\n'),
    ([Metric("a", "A.", (({}, 1795354012.849),))],                       "# HELP a A.\n# TYPE a gauge\na 1795354012.849\n"),
]  # fmt: skip


@pytest.mark.parametrize(("metrics", "page"), PAGES)
def test_figures(metrics: list[Metric], page: str) -> None:
    assert prometheus.format_metrics(metrics) == page


def test_promtool_takes_them() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool here")
    page = prometheus.format_metrics(metric for metrics, _ in PAGES[2:4] for metric in metrics)
    done = subprocess.run([promtool, "check", "metrics"], input=page, text=True, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- calendars ---------------------------------------------------------------------------------------------------


def event(**more: str) -> CalendarEvent:
    facts = {"id": "a@b", "summary": "A", "description": "", "category": "a", **more}
    return CalendarEvent(start=AT, end=AT + timedelta(hours=1), changed_at=AT, **facts)  # type: ignore[arg-type]


@settings(max_examples=10)
@given(some.text(max_size=300), some.text(min_size=1, max_size=300))
def test_a_calendar_says_what_it_was_told(description: str, summary: str) -> None:
    page = format_calendar("My, title", [event(description=description, summary=summary)], product="-//x//EN").encode()
    lines = page.split(b"\r\n")
    assert lines.pop() == b""
    assert all(len(line) <= 75 and b"\n" not in line and b"\r" not in line for line in lines)
    (found,) = reference.Calendar.from_ical(page).walk("VEVENT")

    def plain(text: str) -> str:
        text = text.replace("\r\n", "\n")
        return "".join(char for char in text if char == "\n" or (char >= " " and not "\x7f" <= char <= "\x9f"))

    assert str(found["SUMMARY"]) == plain(summary)
    assert str(found.get("DESCRIPTION", "")) == plain(description)
    assert found.decoded("DTSTART") == AT
    assert found.decoded("DTEND") - AT == timedelta(hours=1)
    assert str(found["UID"]) == "a@b"


# --- traces ------------------------------------------------------------------------------------------------------

T, S = "a" * 32, "b" * 16
NEW = {"trace": "1" * 32, "span": "2" * 16}
TRACES = [
    # what we were told,            the trace, its flags
    (f"00-{T}-{S}-01",              T,         "01"),
    (f"00-{T}-{S}-00",              T,         "00"),
    (f"cc-{T}-{S}-01-more",         T,         "01"),
    (f"00-{T}-{S}-01-more",         None,      "01"),
    (f"ff-{T}-{S}-01",              None,      "01"),
    (f"00-{'0' * 32}-{S}-01",       None,      "01"),
    (f"00-{T}-{'0' * 16}-01",       None,      "01"),
    (f"00-{T.upper()}-{S}-01",      None,      "01"),
    (f"00-{T}-{S}-1",               None,      "01"),
    (f"00-{T}-{S}-01\n",            None,      "01"),
    ("",                            None,      "01"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "continued", "flags"), TRACES)
def test_a_trace_goes_on_or_a_new_one_begins(said: str, continued: str | None, flags: str) -> None:
    found = trace.continue_trace(said, **NEW)
    assert found.parent == f"00-{continued or NEW['trace']}-{NEW['span']}-{flags}"
    assert found.continues == (continued is not None)

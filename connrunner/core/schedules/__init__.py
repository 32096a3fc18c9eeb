"""Schedules: when a connection is due, and how that is written."""

from connrunner.core.schedules.fields import ScheduleError
from connrunner.core.schedules.notation import add_blackouts, as_document, describe, is_complete, parse
from connrunner.core.schedules.schedule import (
    FIRST,
    LAST,
    between,
    check_fires,
    count_between,
    count_left_out,
    explain_left_out,
    fires_between,
    left_out_between,
    next_after,
    next_left_out,
    zone_of,
)

__all__ = [
    "FIRST",
    "LAST",
    "ScheduleError",
    "add_blackouts",
    "as_document",
    "between",
    "check_fires",
    "count_between",
    "count_left_out",
    "describe",
    "explain_left_out",
    "fires_between",
    "is_complete",
    "left_out_between",
    "next_after",
    "next_left_out",
    "parse",
    "zone_of",
]

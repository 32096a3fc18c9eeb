"""Schedules: when a connection is due, and how that is written."""

from connrunner.core.schedules.fields import ScheduleError
from connrunner.core.schedules.notation import describe, document, excepting, is_complete, parse
from connrunner.core.schedules.schedule import (
    FIRST,
    LAST,
    between,
    check,
    count_between,
    left_out_between,
    longest_gap,
    next_after,
    next_left_out,
    why_not,
    zone_of,
)

__all__ = [
    "FIRST",
    "LAST",
    "ScheduleError",
    "between",
    "check",
    "count_between",
    "describe",
    "document",
    "excepting",
    "is_complete",
    "left_out_between",
    "longest_gap",
    "next_after",
    "next_left_out",
    "parse",
    "why_not",
    "zone_of",
]

"""Limits that a process gives to itself, and to all that it starts."""

from __future__ import annotations

import resource


def lower_limit(what: int, limit: int) -> None:
    """Set the soft limit *what* (a `resource.RLIMIT_`) to *limit*, or to the hard one where that is lower."""
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def forbid_core_dumps() -> None:
    """Leave no image of the memory when the process crashes: it would hold secrets, and rows.

    A program that wants one can raise its limit again.
    """
    lower_limit(resource.RLIMIT_CORE, 0)

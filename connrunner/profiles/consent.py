"""
On which profiles may a connection with objectives act?

On a profile that consented to at least one of its opt-in objectives (if it has any), and refused none of its opt-out
objectives. The answer in a row wins over the earlier answer of the profile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from connrunner.core.model import Objective
from connrunner.profiles.sql_fragments import all_of, any_of


def is_allowed(names: Iterable[str], declared: Mapping[str, Objective], answer: Callable[[str], str]) -> str:
    """Return the condition that the connection may act; *answer* gives the expression of a profile's yes or no."""
    names = list(names)
    opt_in = [name for name in names if declared[name].legislation == "opt-in"]
    opt_out = [name for name in names if declared[name].legislation == "opt-out"]
    conditions = []
    if opt_in:
        conditions.append(any_of(f"coalesce({answer(name)}, false)" for name in opt_in))
    conditions.extend(f"coalesce({answer(name)}, true)" for name in opt_out)
    return all_of(conditions)

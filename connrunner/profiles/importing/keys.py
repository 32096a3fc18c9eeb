"""What a staged row `s` calls its profile."""

from __future__ import annotations

from connrunner.core.model import Property
from connrunner.profiles import sql, values
from connrunner.profiles.mapping import ImportPlan


def key(plan: ImportPlan, *, masked: bool) -> str:
    """Return the expression of the first of the row's keys that is complete; *masked* hides what is personal."""
    keys = []
    for group in plan.groups:
        parts = [
            f"({sql.text(mapped.field.property + '=')} || {_shown(mapped.owner, f's.v{mapped.number}', masked=masked)})"
            for mapped in group
        ]
        keys.append(" || ', ' || ".join(parts))
    return f"coalesce({', '.join(keys)})"


def _shown(owner: Property, value: str, *, masked: bool) -> str:
    plain = values.plain(owner.type, value)
    return values.shown(plain, personal=owner.personal) if masked else plain

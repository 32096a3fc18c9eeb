"""The key by which a staged row `s` names its profile, as people read it."""

from __future__ import annotations

from connrunner.profiles import values
from connrunner.profiles.mapping import ImportPlan, MappedField
from connrunner.profiles.sql_fragments import quote_text


def describe_key(plan: ImportPlan, *, masked: bool) -> str:
    """Return the expression of the first of the row's keys that is complete; *masked* hides what is personal."""
    keys = []
    for group in plan.groups:
        parts = [f"({quote_text(mapped.field.property + '=')} || {_value(mapped, masked=masked)})" for mapped in group]
        keys.append(" || ', ' || ".join(parts))
    return f"coalesce({', '.join(keys)})"


def _value(mapped: MappedField, *, masked: bool) -> str:
    text = values.format_value(mapped.owner.type, f"s.v{mapped.number}")
    return values.redact(text, personal=mapped.owner.personal) if masked else text

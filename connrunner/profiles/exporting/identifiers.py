"""The identifiers of exported profiles: as the partner knows them, and as a log may show them."""

from __future__ import annotations

from collections.abc import Iterable

from connrunner.core.model import Property, PropertyType
from connrunner.profiles import values
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_text


def compose_identifiers(exported: Iterable[tuple[Property, str]]) -> str:
    """Return the expression of the identifiers among *exported* properties and their values, as one JSON object."""
    members = {owner.name: values.format_value(owner.type, value) for owner, value in exported if owner.identifier}
    if not members:
        return "'{}'"
    return f"to_json({{{', '.join(f'{quote_text(name)}: {value}' for name, value in members.items())}}})::VARCHAR"


def extract_value(owner: Property, source: str) -> str:
    """Return the expression of one identifier's value in *source*, made by `compose_identifiers`; else NULL."""
    text = extract_text(owner, source)
    # As it was sent, whatever the rules for new values have become since: it says whom the partner is to delete.
    return text if owner.type in (PropertyType.TEXT, PropertyType.EMAIL) else values.parse_value(owner.type, text)


def extract_text(owner: Property, source: str) -> str:
    """Return the expression of one identifier's text in *source*, made by `compose_identifiers`; else NULL."""
    place = quote_text(f'$."{owner.name}"')
    return f"json_extract_string({source}, {place})"


def describe_identifiers(session: StoreSession, source: str, *, masked: bool = True) -> str:
    """Return the expression of all identifiers of a profile, those in *source* before those of `profiles p`."""
    parts = []
    for name, owner in session.layout.properties.items():
        if owner.identifier:
            value = f"coalesce({extract_value(owner, source)}, {session.layout.value(name)})"
            text = values.redact(values.format_value(owner.type, value), personal=owner.personal and masked)
            parts.append(f"{quote_text(name + '=')} || {text}")
    return f"nullif(concat_ws(', ', {', '.join(parts)}), '')" if parts else "NULL::VARCHAR"

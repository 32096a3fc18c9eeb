"""
Stored values follow the rules: those that are spelt otherwise than today's rows would spell them, respelt once.

A store of an older connrunner may hold an e-mail address in another form of Unicode or with an `xn--` domain, and an
identifier or a value of `many` with a no-break space at its end. No new row would find it. So it gets the spelling
that rows have now. What is no value under today's rules stays as it is.

Where another profile has that spelling already, two profiles are one person's, and nothing is merged silently: both
stay as they are, a no of one becomes a no of both, and every import warns of them until one is erased.
"""

from __future__ import annotations

import json
from typing import Any

from connrunner.core.model import Property, PropertyType
from connrunner.lazy_dataclasses import replace
from connrunner.profiles import domains, tables, values
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_name

SHOWN = 10  # pairs of profiles that a warning names


def respell_store(session: StoreSession) -> None:
    """Bring the store, when an older version wrote it, to the spelling of today, in one transaction."""
    if int(session.one("SELECT value FROM store.about WHERE key = 'spelling'") or 1) >= tables.SPELLING:
        return
    with session.transaction():
        doubles: list[tuple[str, int, int]] = []
        for stored in tables.read_stored_columns(session.connection).values():
            doubles += _respell_column(session, stored.owner, quote_name(stored.column))
        _share_refusals(session, doubles)
        session.execute("DELETE FROM store.about WHERE key IN ('spelling', 'doubles')")
        session.execute(
            "INSERT INTO store.about VALUES ('spelling', ?), ('doubles', ?)",
            [str(tables.SPELLING), json.dumps(doubles)],
        )


def warn_of_doubles(session: StoreSession) -> None:
    """Warn of the pairs of profiles that `respell_store` found to be one person's, of which both are still there."""
    doubles = json.loads(session.one("SELECT value FROM store.about WHERE key = 'doubles'") or "[]")
    left = [
        (name, *pair)
        for name, *pair in doubles
        if session.one("SELECT count(*) FROM store.profiles WHERE _id IN (?, ?)", pair) == 2
    ]
    if left:
        named = ", ".join(f"{old} and {new} ({name})" for name, old, new in left[:SHOWN])
        session.report.message(
            f"{len(left):,} pairs of profiles have one identifier in two spellings, and rows find the second of each:"
            f" {named}{', ...' if len(left) > SHOWN else ''}; see them by `connrunner profiles --id`, and keep one",
            level="warning",
        )


def _respell_column(session: StoreSession, owner: Property, column: str) -> list[tuple[str, int, int]]:
    """Respell the values of *column*; return where two profiles would get one identifier: the old, then the new one."""
    changed = _find_changes(session, owner, column)
    if not changed:
        return []
    session.execute(
        f"""CREATE OR REPLACE TEMP TABLE respelt AS
        SELECT unnest(?::BIGINT[]) AS number, unnest(?::{values.column_type(owner.type, many=owner.many)}[]) AS new""",
        [list(changed), list(changed.values())],
    )
    doubles: list[tuple[int, int]] = []
    if owner.identifier:
        doubles = session.execute(f"""
            SELECT number, coalesce(_id, first) FROM (
                SELECT number, new, min(number) OVER (PARTITION BY new) AS first FROM respelt
            ) r LEFT JOIN store.profiles p ON p.{column} = r.new
            WHERE p._id IS NOT NULL OR number <> first ORDER BY number""").fetchall()
        session.execute(
            "DELETE FROM respelt WHERE number IN (SELECT unnest(?::BIGINT[]))", [[one for one, _ in doubles]]
        )
    session.execute(f"UPDATE store.profiles p SET {column} = r.new FROM respelt r WHERE p._id = r.number")
    return [(owner.name, old, new) for old, new in doubles]


def _find_changes(session: StoreSession, owner: Property, column: str) -> dict[int, Any]:
    """Return the number and the new value of each profile whose value has another spelling."""
    rule = _rule(owner)
    if rule is None:
        return {}
    may_change, respelt = rule
    one = f"coalesce({respelt}, x)"
    if owner.many:
        may_change = f"len(list_filter(x, lambda x: {may_change})) > 0"
        one = f"list_transform(x, lambda x: {one})"
    query = f"SELECT _id, x, {one} FROM (SELECT _id, {column} AS x FROM store.profiles) WHERE {may_change}"
    changed = {}
    for number, old, parsed in session.execute(query).fetchall():
        new = parsed
        if owner.type is PropertyType.EMAIL:
            new = [*map(domains.normalize_address, parsed)] if owner.many else domains.normalize_address(parsed)
        if owner.many:
            new = sorted(set(new))  # as sets are kept
        if new != old:
            changed[number] = new
    return changed


def _rule(owner: Property) -> tuple[str, str] | None:
    """Return when a text `x` of *owner* may have another spelling, and what rows make of it but for its domain."""
    if owner.type is PropertyType.EMAIL:
        return domains.may_change("x"), values.parse_value(owner.type, "x")
    if owner.type is PropertyType.TEXT and (owner.identifier or owner.many):
        # Old rules took the same blanks off, but for those beyond ASCII.
        return "strlen(x) <> length(x)", values.parse_value(owner.type, "x")
    return None


def find_other_spellings(session: StoreSession, owner: Property, texts: str) -> dict[str, str]:
    """Return which of *texts*, a query of `text`, rows would spell otherwise today as identifiers *owner*, and how."""
    rule = _rule(replace(owner, identifier=True))
    if rule is None:
        return {}
    may_change, respelt = rule
    query = f"SELECT DISTINCT x, coalesce({respelt}, x) FROM (SELECT text AS x FROM ({texts})) WHERE {may_change}"
    is_address = owner.type is PropertyType.EMAIL
    found = {
        old: domains.normalize_address(new) if is_address else new for old, new in session.execute(query).fetchall()
    }
    return {old: new for old, new in found.items() if new != old}


def _share_refusals(session: StoreSession, doubles: list[tuple[str, int, int]]) -> None:
    """Let what one profile of a pair has refused be refused by both: mail to the other one would reach the person."""
    for _, *pair in doubles:
        for (name,) in session.execute('SELECT "column" FROM store.objectives').fetchall():
            column = quote_name(name)
            session.execute(
                f"""UPDATE store.profiles SET {column} = false WHERE _id IN (?, ?)
                AND EXISTS (SELECT 1 FROM store.profiles WHERE _id IN (?, ?) AND {column} = false)""",
                [*pair, *pair],
            )

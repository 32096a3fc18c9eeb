"""
The domains of e-mail addresses, in one spelling: `xn--bcher-kva.example` is kept as `bücher.example`.

What is kept are U-labels (RFC 5890, 2.3.2.1), after the mapping of UTS #46. A label that is none, in either spelling,
stays as it is, and so does one of characters that `values` takes for no part of a domain.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

import idna

from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import any_of, quote_texts

LONGEST = 254  # bytes of an address


def normalize_address(address: str) -> str:
    """Return *address*, a value of `email`, with its domain in the one spelling."""
    local, at, domain = address.rpartition("@")
    normal = local + at + _normalize_domain(domain)
    return normal if len(normal.encode()) <= LONGEST else address


def spell_in_ascii(address: str) -> str:
    """Return *address*, in the one spelling, with its domain as name servers know it: `xn--bcher-kva.example`."""
    local, at, domain = address.rpartition("@")
    try:
        return (
            local
            + at
            + ".".join(label if label.isascii() else idna.alabel(label).decode() for label in domain.split("."))
        )
    except (idna.IDNAError, UnicodeError):
        return address


def normalize_table(session: StoreSession, table: str, columns: Mapping[str, bool]) -> None:
    """
    Bring the addresses in *columns* of the temporary *table* into the one spelling; rows keep their places.

    *columns* says of each whether it holds lists. DuckDB has no function for it, and hardly any address needs it: so
    what there is to change is looked for, and changed all at once.
    """
    normal: dict[str, str] = {}
    for column, many in columns.items():
        each = f"(SELECT unnest({column}) AS x FROM {table})" if many else f"(SELECT {column} AS x FROM {table})"
        for (address,) in session.execute(f"SELECT DISTINCT x FROM {each} WHERE {may_change('x')}").fetchall():
            if (changed := normalize_address(address)) != address:
                normal[address] = changed
    if not normal:
        return
    spelling = f"map({quote_texts(normal)}, {quote_texts(normal.values())})"
    changes = []
    for column, many in columns.items():
        # Two spellings of one address may stand in a list; sets are kept sorted.
        value = (
            f"list_sort(list_distinct(list_transform({column}, lambda x: {_one('x', spelling)})))"
            if many
            else _one(column, spelling)
        )
        changes.append(f"{value} AS {column}")
    session.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT * REPLACE ({', '.join(changes)}) FROM {table}")


def _one(address: str, spelling: str) -> str:
    return f"CASE WHEN {may_change(address)} THEN coalesce({spelling}[{address}], {address}) ELSE {address} END"


def may_change(address: str) -> str:
    """Return the condition that an *address* (an expression) may have another spelling of its domain."""
    return any_of((f"strlen({address}) <> length({address})", f"contains({address}, 'xn--')"))


def _normalize_domain(domain: str) -> str:
    return ".".join(map(_normalize_label, domain.split(".")))


def _normalize_label(label: str) -> str:
    if label.isascii() and not label.startswith("xn--"):
        return label
    try:
        # The way there and back: a label that has no other spelling has this one.
        ascii_label = idna.alabel(label if label.isascii() else idna.uts46_remap(label, std3_rules=True))
        normal = idna.ulabel(ascii_label)
    except (idna.IDNAError, UnicodeError):
        return label
    return normal if all(unicodedata.category(one)[0] in "LNM" or one == "-" for one in normal) else label

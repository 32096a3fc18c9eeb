"""Values that a PostgreSQL column would take and keep as others: found before they are written.

An assignment rounds numeric(10,2), timestamp(0) and real, cuts blanks behind the end of varchar(8), takes the day of an
instant for a date, and forgets the offset of a time. None of this is an error there.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from connrunner.connectors.sql.postgres_tables import Column

# Of a value's text {v}, that {type} accepts. {whole} is the type with length and scale. True: it would be another one.
_PLAIN = r"({v} !~ '^\s*-?(0|[1-9][0-9]*)(\.[0-9]+)?\s*$' AND {v} !~* '^\s*-?(nan|inf|infinity)\s*$')"
_FINER = r"{v} ~ '\.[0-9]{{6}}[0-9]*[1-9]'"
_WORD = "({v} !~ '[0-9]' AND {v} !~* 'infinity')"
_ELSEWHERE = "({v}::timestamptz AT TIME ZONE 'UTC') <> {v}::timestamp"  # the session's zone is UTC
_ENDS = "({v}::{whole}::text <> {v} AND rtrim({v}::{whole}::text, ' ') = rtrim({v}, ' '))"  # longer ones are refused
_RULES = {
    **dict.fromkeys(("int2", "int4", "int8"), _PLAIN),
    "numeric": "{v}::numeric <> {v}::{whole}::numeric OR " + _PLAIN,
    "float4": "{v}::numeric <> {v}::{whole}::text::numeric OR " + _PLAIN,
    "float8": "{v}::numeric <> {v}::{whole}::text::numeric OR " + _PLAIN,
    "money": "{v}::numeric <> {v}::money::numeric",
    "varchar": _ENDS,
    "bpchar": _ENDS,
    "name": "{v}::name::text <> {v}",
    "char": '{v}::"char"::text <> {v}',
    "timestamptz": "{v}::timestamptz <> {v}::{whole}::timestamptz OR " + f"{_FINER} OR {_WORD}",
    "timestamp": "{v}::timestamp <> {v}::{whole}::timestamp OR " + f"{_FINER} OR {_WORD} OR {_ELSEWHERE}",
    "date": "{v}::timestamp <> {v}::date::timestamp OR " + f"{_WORD} OR {_ELSEWHERE}",
    "time": "{v}::time <> {v}::{whole}::time OR " + _FINER + " OR {v} ~ '[0-9][+-]|[+-][0-9]|[zZ]'",
    "timetz": "{v}::timetz <> {v}::{whole}::timetz OR " + _FINER,
    "interval": "{v}::interval <> {v}::{whole}::interval OR " + _FINER,
}
# The cast comes first: what is no value of the type at all is refused by the server, in its own words.
_GUARDED = "CASE WHEN {v} IS NULL THEN false WHEN ({v}::{type}) IS NULL THEN false ELSE {rule} END"
_ELEMENTS = """CASE WHEN json_typeof({name}) = 'null' OR {name} IS NULL THEN false ELSE EXISTS (
    SELECT FROM json_array_elements_text(
        CASE json_typeof({name}) WHEN 'array' THEN {name} ELSE json_build_array({name}) END) AS element(v)
    WHERE {condition}) END"""


def bent_column(columns: Sequence[Column]) -> sql.Composable | None:
    """Return the expression of the first of *columns*, of a row `x`, that would keep another value: its name, or NULL.

    None when none of them can.
    """
    cases = [
        sql.SQL("WHEN {} THEN {}").format(condition, sql.Literal(column.name))
        for column in columns
        if (condition := _condition(column)) is not None
    ]
    return sql.SQL("CASE {} END").format(sql.SQL(" ").join(cases)) if cases else None


def _condition(column: Column) -> sql.Composable | None:
    name = sql.Identifier("x", column.name)
    if not column.is_array:
        return _guarded(column.kind, name, kind=column.type, whole=column.whole)
    kind = column.type.removesuffix("[]")
    whole = column.whole.removesuffix("[]") if column.whole.endswith("[]") else kind  # else a domain
    condition = _guarded(column.element, sql.Identifier("element", "v"), kind=kind, whole=whole)
    return sql.SQL(_ELEMENTS).format(name=name, condition=condition) if condition is not None else None


def _guarded(known_as: str, value: sql.Composable, *, kind: str, whole: str) -> sql.Composable | None:
    rule = _RULES.get(known_as)
    if rule is None:
        return None
    types = {"type": sql.SQL(kind), "whole": sql.SQL(whole)}
    return sql.SQL(_GUARDED).format(v=value, rule=sql.SQL(rule).format(v=value, **types), **types)

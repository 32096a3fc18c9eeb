"""
A condition over properties, written by people, becomes SQL that can do nothing but compare.

DuckDB's parser takes the text apart; what is run is composed of the parts, after a look at each of them: one
expression, of properties, constants, operators and the functions listed here, that is true or false. No statement,
table, file, setting or subquery passes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import duckdb

from connrunner.errors import RunError
from connrunner.profiles.duckdb_words import describe_error
from connrunner.profiles.session import StoreSession
from connrunner.text import words
from connrunner.text.nesting import TooDeepError, parse_json
from connrunner.text.words import nearest

DEEPEST = 256  # as DuckDB takes back of what its parser returns: an operator within another is three levels more

_PARTS = {
    "CONSTANT",
    "COLUMN_REF",
    "COMPARISON",
    "CONJUNCTION",
    "OPERATOR",
    "FUNCTION",
    "CAST",
    "CASE",
    "BETWEEN",
    "TYPE",
}
_REFUSED_PARTS = {
    "SUBQUERY": "a subquery (for a `many` property write list_contains(property, value))",
    "WINDOW": "a window function",
    "STAR": "*",
    "LAMBDA": "a lambda",
    "PARAMETER": "a parameter",
}
_MORE = "it must be one expression and nothing else"
_MOMENTS = {"current_date", "current_timestamp", "localtimestamp"}  # parsed as columns
_OPERATORS = set("+ - * / // % || ~~ ~~* !~~ !~~* ~~~ ^ **".split())
FUNCTIONS = frozenset(
    """
    abs age array_length ascii ceil ceiling char_length character_length concat concat_ws contains
    date_diff date_part date_sub date_trunc datediff datepart datetrunc datesub day dayofmonth dayofweek dayofyear
    ends_with epoch floor greatest hour ifnull ilike_escape isfinite isodow isoyear jaccard
    jaro_winkler_similarity last_day lcase least left len length levenshtein like_escape list_any_value list_contains
    list_count list_distinct list_has list_has_all list_has_any list_intersect list_max list_min list_position list_sum
    list_unique list_value lower ltrim md5 minute mod month monthname not_ilike_escape not_like_escape now nullif
    position prefix quarter regexp_extract regexp_full_match regexp_matches regexp_replace replace reverse right round
    rtrim second sign split_part starts_with strip_accents strlen strpos substr substring suffix to_days
    to_hours to_minutes to_months to_seconds to_weeks to_years today translate trim trunc ucase upper week weekday
    weekofyear year yearweek
    """.split()
)

# What DuckDB raises about the values of a profile, and not about its own file, memory or statement.
_ABOUT_VALUES = (
    duckdb.ConversionException,
    duckdb.OutOfRangeException,
    duckdb.InvalidInputException,
    duckdb.NotImplementedException,
    duckdb.SyntaxException,  # of a pattern's ESCAPE, which is a value
)


def compile_condition(session: StoreSession, expression: str) -> str:
    """Return the SQL of *expression*, a condition over `profiles p`. RunError when it is not one."""
    try:
        text = session.one("SELECT json_serialize_sql(?)", [f"SELECT {expression}\n"])
    except duckdb.Error as error:
        raise _condition_error(expression, _first_line(error)) from None
    try:
        tree = parse_json(text, deepest=DEEPEST)
    except TooDeepError:
        raise _condition_error(expression, "its parts are nested too deeply") from None
    if tree["error"]:
        is_statement = tree["error_message"].startswith("Only SELECT")
        raise _condition_error(expression, _MORE if is_statement else tree["error_message"])
    _check_single(tree, expression)
    for part in _parts(tree["statements"][0]["node"]["select_list"]):
        _check(session, part, expression)
    statement = session.one("SELECT json_deserialize_sql(?::JSON)", [json.dumps(tree)])
    compiled = str(statement).removeprefix("SELECT ")
    try:
        kind = session.execute(f"DESCRIBE SELECT {compiled} AS matches FROM store.profiles p").fetchall()[0][1]
    except duckdb.Error as error:
        raise _condition_error(expression, _first_line(error)) from None
    if kind != "BOOLEAN":
        raise _condition_error(expression, f"it is a value of type {kind}, not true or false")
    return f"({compiled})"


def list_asked(session: StoreSession, expression: str) -> list[str]:
    """Return the properties of which the condition *expression* asks; RunError as `compile_condition`."""
    found = compile_condition(session, expression)
    return sorted(name for name, column in session.layout.columns.items() if _mentions(found, column))


@contextmanager
def translate_errors(session: StoreSession, expression: str | None) -> Iterator[None]:
    """Translate the errors of a condition that fails for some profile, like a text where a number is needed.

    What DuckDB says then quotes the value, which may be personal: told are the kind, the properties and how many.
    """
    try:
        yield
    except _ABOUT_VALUES as error:
        if expression is None:
            raise
        raise _condition_error(expression, f"{describe_error(error)}{_for_whom(session, expression)}") from None


def _for_whom(session: StoreSession, expression: str) -> str:
    """Return of which properties a condition asks, and for how many profiles it cannot be worked out."""
    found, asked = compile_condition(session, expression), list_asked(session, expression)
    of = f" of {words.listed(asked)}" if asked else ""
    try:
        # On a connection of its own: the transaction of this one may have ended with the error.
        with session.connection.cursor() as beside:
            row = beside.execute(
                f"SELECT count(*) FROM store.profiles p WHERE TRY(struct_pack(x := {found})) IS NULL"
            ).fetchone()
    except duckdb.Error:
        return f"; look at the values{of}"
    return f"; look at the values{of} of {words.plural(row[0], 'profile')}" if row and row[0] else f"; look at{of}"


def _mentions(compiled: str, column: str) -> bool:
    plain = re.escape(column[1:-1].replace('""', '"'))
    return re.search(rf"\bp\.(?:{re.escape(column)}|{plain}\b)", compiled) is not None


def _check_single(tree: dict[str, Any], expression: str) -> None:
    statements = tree["statements"]
    node = statements[0]["node"] if len(statements) == 1 else {}
    empty = ("modifiers", "where_clause", "group_expressions", "having", "sample", "qualify")
    if (
        node.get("type") != "SELECT_NODE"
        or len(node["select_list"]) != 1
        or node["from_table"]["type"] != "EMPTY"
        or node["cte_map"]["map"]
        or any(node.get(name) for name in empty)
        or node["select_list"][0].get("alias")
    ):
        raise _condition_error(expression, _MORE)


def _parts(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "class" in node:
            yield node
        for value in node.values():
            yield from _parts(value)
    elif isinstance(node, list):
        for value in node:
            yield from _parts(value)


def _check(session: StoreSession, part: dict[str, Any], expression: str) -> None:
    kind = part["class"]
    if kind not in _PARTS:
        raise _condition_error(expression, f"{_REFUSED_PARTS.get(kind, kind.lower())} is not allowed in it")
    if kind == "FUNCTION":
        name = part["function_name"]
        if name not in FUNCTIONS and not (part.get("is_operator") and name in _OPERATORS):
            raise _condition_error(expression, f"the function {name} is not available in it", _near(name, FUNCTIONS))
        if part.get("schema") not in ("", "main") or part.get("catalog"):
            raise _condition_error(expression, f"the function {name} must stand without a schema")
    if kind == "COLUMN_REF":
        part["column_names"] = _column(session, part["column_names"], expression)


def _column(session: StoreSession, names: list[str], expression: str) -> list[str]:
    """Return the property's column of `profiles p`: found by its exact name, else by the only one but for capitals."""
    properties = session.layout.properties
    name = ".".join(names)
    alike = [one for one in properties if one.lower() == name.lower()]
    if name not in properties and len(alike) == 1:
        name = alike[0]
    if name not in properties:
        if name.lower() in _MOMENTS:
            return [name]
        raise _condition_error(expression, f"there is no property {name!r}", _near(name, properties))
    if name not in session.layout.columns:
        raise _condition_error(expression, f"no import has filled the property {name!r} yet")
    return ["p", session.layout.columns[name][1:-1].replace('""', '"')]


def _near(name: str, names: Iterable[str]) -> str:
    near = nearest(name, names, cutoff=0.7)
    return f"did you mean {near!r}?" if near else ""


def _condition_error(expression: str, reason: str, hint: str = "") -> RunError:
    return RunError(
        f"`where` cannot be used: {' '.join(expression.split())!r}: {reason}",
        hint=hint or "write a condition over properties, like: country = 'NL' AND lifetime_value > 100",
        code="where",
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]

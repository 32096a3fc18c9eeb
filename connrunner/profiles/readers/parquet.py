"""
Parquet files: their columns, and their values as texts.

Bytes are text when they are UTF-8: many writers leave the mark of a text column out. A float has the shortest digits
that are that float, and none behind the point when it is whole. Instants are cut to the microsecond, durations are
hours without end ([-]HH:MM:SS[.ffffff]), and a struct, a list or a map that fills one text is JSON.

A row with a value that cannot be said so is refused. What DuckDB says about a file is never passed on: it may quote
values.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import duckdb

from connrunner.core.model import PropertyType
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass
from connrunner.profiles.memory_limit import choose_memory_limit
from connrunner.profiles.readers.arrow_schema import KEY, ArrowField, parse_fields
from connrunner.profiles.readers.normalize import NormalizedFile
from connrunner.profiles.readers.record_source import RecordSource, compose_record
from connrunner.profiles.sql_fragments import quote_text

WIDEST = 38  # digits of a decimal that DuckDB keeps; of more it makes a float

_LISTS = ("list", "array")
_NESTED = (*_LISTS, "struct", "map")
_NUMBERS = (PropertyType.INTEGER, PropertyType.DECIMAL)
_WHOLE = (PropertyType.INTEGER, PropertyType.BOOLEAN)
_INTEGERS = ("tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger", "ubigint")
_BARE = (*_INTEGERS, "uhugeint", "decimal", "boolean")  # what JSON has without quotes
_PER_MICROSECOND = {"s": 1_000_000, "ms": 1000, "us": 1}


@dataclass(frozen=True, kw_only=True, slots=True)
class ParquetColumn:
    """One column of a file, by the name that the file gives it: DuckDB gives the second of a name another one."""

    name: str
    kind: Any  # DuckDB's type
    arrow: ArrowField
    digits: int = 0  # of the widest decimal in it

    @property
    def is_list(self) -> bool:
        return self.kind.id in _LISTS


@dataclass(frozen=True, kw_only=True, slots=True)
class ParquetColumns:
    """The columns of a file, and how many rows it says that it has."""

    columns: tuple[ParquetColumn, ...]
    rows: int

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def make_relation(file: NormalizedFile) -> str:
    """Return the relation of the file's rows."""
    return f"read_parquet({quote_text(str(file.path))})"


def read_parquet_columns(file: NormalizedFile) -> ParquetColumns:
    """Return the columns of *file*; RunError when they cannot be read."""
    try:
        # Not in the store's session: an internal error of DuckDB makes a whole session unusable.
        with _open_alone() as database:
            relation = database.sql(f"FROM {make_relation(file)}")
            kinds = relation.types
            tops = _top_columns(
                database.execute(
                    "SELECT name, num_children, precision FROM parquet_schema($1)", [str(file.path)]
                ).fetchall()
            )
            said: dict[bytes, bytes] = dict(
                database.execute(
                    "SELECT key, value FROM parquet_kv_metadata($1) WHERE key = $2", [str(file.path), KEY]
                ).fetchall()
            )
            (rows,) = database.execute(f"SELECT count(*) FROM {make_relation(file)}").fetchall()[0]
    except Exception as error:  # a damaged file makes it raise whatever there is
        raise damaged_error(file) from error
    if len(tops) != len(kinds):
        raise damaged_error(file)
    arrow = parse_fields(said.get(KEY, b""))
    if len(arrow) != len(tops):
        arrow = (ArrowField(),) * len(tops)
    columns = tuple(
        ParquetColumn(name=name, kind=kind, arrow=field, digits=digits)
        for (name, digits), kind, field in zip(tops, kinds, arrow, strict=True)
    )
    return ParquetColumns(columns=columns, rows=rows)


def can_be_read(file: NormalizedFile, found: ParquetColumns, wanted: Sequence[str]) -> bool:
    """Return whether every value in the *wanted* columns can be read, without any use of it: whose fault a failure is.

    The statement decides, not the words or the class of an exception: damage takes on any of them.
    """
    numbers = [number for number, column in enumerate(found.columns) if column.name in wanted]
    try:
        with _open_alone() as database:
            database.execute(
                f"SELECT {', '.join(f'max(hash(c{number}))' for number in numbers)} FROM {_place(file, found)}"
            ).fetchall()
    except Exception:  # as above
        return False
    return True


def damaged_error(file: NormalizedFile) -> RunError:
    """Return the error for a *file* that cannot be read."""
    return RunError(
        f"{file.name} cannot be read as Parquet: it is damaged, or it is none",
        hint="fetch or send it again",
        code="damaged-file",
    )


def find_records(
    file: NormalizedFile,
    found: ParquetColumns,
    kinds: Mapping[str, PropertyType],
    wanted: Sequence[str],
    many: Collection[str],
) -> RecordSource:
    """Return the records of *file*, whose columns were *found*; *kinds* says what a column is for.

    A row with a value in one of the *wanted* columns that has no text is an error of the row; those of *many* fill
    sets. RunError when a *wanted* column has values that DuckDB does not keep whole.
    """
    place = {column.name: f"c{number}" for number, column in reversed(list(enumerate(found.columns)))}
    columns = {column.name: column for column in reversed(found.columns)}
    for name in wanted:
        if columns[name].digits > WIDEST:
            raise RunError(
                f"{file.name}: column {name!r} holds decimals of {columns[name].digits} digits",
                hint=f"write it with at most {WIDEST} digits, or as a text",
                code="inexact-column",
            )

    def cell(name: str) -> str:
        return _format_cell(place[name], columns[name].kind, columns[name].arrow, kinds.get(name))

    def member(name: str) -> str:
        """The expression of the text of `x`, one of a list."""
        return _format_cell("x", _child(columns[name].kind), _child_field(columns[name].arrow), kinds.get(name))

    def cells(name: str, separator: str) -> str:
        kind = columns[name].kind
        if columns[name].is_list:
            return f"list_transform({_as_list(place[name], kind)}, lambda x: {member(name)})"
        if kind.id in ("varchar", "blob"):
            return f"string_split({cell(name)}, {quote_text(separator)})"
        return f"[{cell(name)}]"

    def has_no_text(name: str) -> str:
        if columns[name].is_list and name in many:
            values = _as_list(place[name], columns[name].kind)
            lost = f"list_filter({values}, lambda x: x IS NOT NULL AND {member(name)} IS NULL)"
            return f"coalesce(len({lost}) > 0, false)"
        return f"{place[name]} IS NOT NULL AND {cell(name)} IS NULL"

    risky = [name for name in dict.fromkeys(wanted) if _may_lack_text(columns[name].kind)]
    checks = " ".join(f"WHEN {has_no_text(name)} THEN '{_code(columns[name].kind)}'" for name in risky)
    return RecordSource(
        relation=_place(file, found),
        cell=cell,
        cells=cells,
        present=lambda _: "true",
        error=f"CASE {checks} END" if checks else "NULL::VARCHAR",
        record=compose_record(
            {
                name: cells(name, "") if column.is_list and (name in many or name not in wanted) else cell(name)
                for name, column in columns.items()
            }
        ),
        about=found.rows,
        is_whole=found.rows.__eq__,
    )


def _open_alone() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"memory_limit": choose_memory_limit(), "autoinstall_known_extensions": False})


def _place(file: NormalizedFile, found: ParquetColumns) -> str:
    """Return the relation of the rows of *file*, its columns called c0, c1..."""
    return f"{make_relation(file)} AS file({', '.join(f'c{number}' for number in range(len(found.columns)))})"


def _top_columns(rows: Sequence[tuple[str, int | None, int | None]]) -> list[tuple[str, int]]:
    """Return each column's name and the digits of the widest decimal in it, from a schema listed depth first."""
    left = iter(rows)

    def widest(children: int | None, digits: int | None) -> int:
        found = digits or 0
        for _ in range(children or 0):
            _, more, width = next(left)
            found = max(found, widest(more, width))
        return found

    _, count, _ = next(left)
    found = []
    for _ in range(count or 0):
        name, children, digits = next(left)
        found.append((name, widest(children, digits)))
    return found


# --- values as texts ---------------------------------------------------------------------------------------------


def _child(kind: Any) -> Any:
    return kind.children[0][1]


def _child_field(arrow: ArrowField, number: int = 0) -> ArrowField:
    return arrow.children[number] if number < len(arrow.children) else ArrowField()


def _as_list(value: str, kind: Any) -> str:
    return f"{value}::{_child(kind)}[]" if kind.id == "array" else value


def _may_lack_text(kind: Any) -> bool:
    """Return whether a value of *kind* may have no text: bytes that are none, and numbers that JSON does not have."""
    if kind.id not in _NESTED:
        return kind.id in ("blob", "variant", "union", "float", "double")
    inner = [child for name, child in kind.children if name != "size"]
    return any(map(_may_lack_text, inner))


def _code(kind: Any) -> str:
    if kind.id in ("float", "double"):
        return "not-a-number"
    inner = _child(kind) if kind.id in _LISTS else kind
    return "binary-column" if inner.id == "blob" else "bad-json"


def _format_cell(value: str, kind: Any, arrow: ArrowField, meant: PropertyType | None) -> str:
    """Return the expression of a *value* of DuckDB's type *kind* as text, as a property of type *meant* wants it.

    It is NULL for a value that has no text.
    """
    match kind.id:
        case "varchar":
            return value
        case "blob":
            return f"TRY(decode({value}))"
        case "timestamp with time zone" | "timestamptz_ns":
            # No fraction, or one without idle zeros, as databases write it.
            return f"rtrim(rtrim(strftime({value} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%f'), '0'), '.') || 'Z'"
        case "float" | "double":
            # NaN and the infinities are no text; no number property takes them for one, and says so.
            spelt = _format_float(value)
            return spelt if meant in _NUMBERS else f"CASE WHEN isfinite({value}) THEN {spelt} END"
        case "decimal" if meant in _WHOLE:
            whole = f"trunc({value})"
            return f"CASE WHEN {whole} = {value} THEN {whole}::HUGEINT::VARCHAR ELSE {value}::VARCHAR END"
        case "bigint" if arrow.duration and meant not in _NUMBERS:
            return _format_duration(value, arrow.duration)
        case "interval":
            months = f"datepart('year', {value}) <> 0 OR datepart('month', {value}) <> 0"  # of no fixed length
            clock = _format_duration(f"epoch_us({value})", "us")
            return f"CASE WHEN {months} THEN {value}::VARCHAR ELSE {clock} END"
        case "list" | "array" | "struct" | "map" | "variant" | "union":
            return _format_json(value, kind, arrow, 0)
        case name if name.startswith("timestamp") and meant is PropertyType.DATE:
            # Data frames keep days as midnights.
            return f"CASE WHEN {value} = {value}::DATE THEN {value}::DATE::VARCHAR ELSE {value}::VARCHAR END"
        case _:
            return f"{value}::VARCHAR"


def _format_float(value: str) -> str:
    """Return the expression of the shortest decimal that is the float *value*, without an exponent."""
    text = f"{value}::VARCHAR"  # the shortest digits already, such as 12345.0, 1.5e-07 and 1e+20
    digits = f"replace(regexp_extract({text}, '^-?([0-9.]+)e', 1), '.', '')"
    exponent = f"regexp_extract({text}, 'e[+]?(-?[0-9]+)$', 1)::INTEGER"
    sign = f"CASE WHEN {value} < 0 THEN '-' ELSE '' END"
    large = f"rpad({digits}, 1 + {exponent}, '0')"
    small = f"'0.' || repeat('0', -1 - {exponent}) || {digits}"
    return f"""CASE WHEN {value} = 0 THEN '0'
        WHEN contains({text}, 'e') THEN {sign} || CASE WHEN {exponent} < 0 THEN {small} ELSE {large} END
        ELSE regexp_replace({text}, '[.]0$', '') END"""


def _format_duration(value: str, unit: str) -> str:
    """Return the expression of the duration *value*, an integer of *unit*: hours without end, minutes, seconds."""
    number = f"abs({value}::HUGEINT)"
    whole = f"{number} // 1000" if unit == "ns" else f"{number} * {_PER_MICROSECOND[unit]}"

    def part(size: int, of: int, width: int) -> str:
        return f"lpad(({whole} // {size} % {of})::VARCHAR, {width}, '0')"

    hours = f"({whole} // 3600000000)::VARCHAR"
    return f"""CASE WHEN {value} < 0 AND {whole} > 0 THEN '-' ELSE '' END
        || CASE WHEN {whole} < 36000000000 THEN '0' ELSE '' END || {hours}
        || ':' || {part(60_000_000, 60, 2)} || ':' || {part(1_000_000, 60, 2)}
        || CASE WHEN {whole} % 1000000 > 0 THEN '.' || {part(1, 1_000_000, 6)} ELSE '' END"""


def _format_json(value: str, kind: Any, arrow: ArrowField, depth: int) -> str:
    """Return the expression of a *value* as JSON, NULL when a part of it has no text; *depth* names lambdas apart."""
    match kind.id:
        case "list" | "array":
            item = f"x{depth}"
            inner = _format_member(item, _child(kind), _child_field(arrow), depth + 1)
            text = f"list_transform({_as_list(value, kind)}, lambda {item}: {inner})"
            said = f"'[' || {_join(text, depth)} || ']'"
        case "struct":
            members = [
                f"{quote_text(json.dumps(name, ensure_ascii=False) + ':')} || "
                + _format_member(f"struct_extract_at({value}, {number + 1})", inner, _child_field(arrow, number), depth)
                for number, (name, inner) in enumerate(kind.children)
            ]
            said = " || ',' || ".join(members)
            said = f"'{{' || {said} || '}}'"
        case "map":
            entry = f"x{depth}"
            entries = _child_field(arrow)
            (_, key), (_, inner) = kind.children
            name = f"to_json({_format_cell(f'{entry}.key', key, _child_field(entries), None)})::VARCHAR"
            member = _format_member(f"{entry}.value", inner, _child_field(entries, 1), depth + 1)
            text = f"list_transform(map_entries({value}), lambda {entry}: {name} || ':' || {member})"
            said = f"'{{' || {_join(text, depth)} || '}}'"
        case "float" | "double":
            return f"CASE WHEN isfinite({value}) THEN {value}::VARCHAR END"
        case "variant" | "union":
            return f"to_json({value})::VARCHAR"
        case name if (name in _BARE and not arrow.duration) or str(kind) == "JSON":
            return f"{value}::VARCHAR"
        case _:
            return f"to_json({_format_cell(value, kind, arrow, None)})::VARCHAR"
    return f"CASE WHEN {value} IS NOT NULL THEN {said} END"


def _format_member(value: str, kind: Any, arrow: ArrowField, depth: int) -> str:
    return f"CASE WHEN {value} IS NULL THEN 'null' ELSE {_format_json(value, kind, arrow, depth)} END"


def _join(texts: str, depth: int) -> str:
    """Return the expression of a list of *texts* with commas between them, NULL when one of them is NULL."""
    # A lambda names the list, for what is written out twice at each level doubles with each.
    every = f"t{depth}"
    lost = f"len(list_filter({every}, lambda t: t IS NULL))"
    return f"list_transform([{texts}], lambda {every}: CASE WHEN {lost} = 0 THEN array_to_string({every}, ',') END)[1]"

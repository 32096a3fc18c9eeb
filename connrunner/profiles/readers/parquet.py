"""Parquet files: their columns, and their values as texts."""

from __future__ import annotations

from collections.abc import Sequence

from connrunner.core.model import PropertyType
from connrunner.profiles.readers.normalize import NormalizedFile
from connrunner.profiles.readers.record_source import RecordSource, compose_record
from connrunner.profiles.sql_fragments import quote_text


def make_relation(file: NormalizedFile) -> str:
    """Return the relation of the file's rows."""
    return f"read_parquet({quote_text(str(file.path))})"


def find_records(
    file: NormalizedFile, columns: Sequence[tuple[str, str]], kinds: dict[str, PropertyType], *, about: int
) -> RecordSource:
    """Return the records of *file*, whose *columns* have these names and types; *kinds* says what a column is for."""
    place = {name: f"c{number}" for number, (name, _) in enumerate(columns)}
    types = dict(columns)

    def cell(name: str) -> str:
        return _format_cell(place[name], types[name], kinds.get(name))

    def cells(name: str, separator: str) -> str:
        if types[name].endswith("]"):
            inner = types[name][: types[name].rindex("[")]
            return f"list_transform({place[name]}, lambda x: {_format_cell('x', inner, kinds.get(name))})"
        if types[name] == "VARCHAR":
            return f"string_split({place[name]}, {quote_text(separator)})"
        return f"[{cell(name)}]"

    return RecordSource(
        relation=f"{make_relation(file)} AS file({', '.join(place.values())})",
        cell=cell,
        cells=cells,
        present=lambda _: "true",
        error="NULL::VARCHAR",
        record=compose_record({name: cells(name, "") if kind.endswith("]") else cell(name) for name, kind in columns}),
        about=about,
    )


def _format_cell(value: str, kind: str, meant: PropertyType | None) -> str:
    """Return the expression of a *value* of DuckDB's type *kind* as text, as a property of type *meant* wants it."""
    if kind == "VARCHAR":
        return value
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"strftime({value} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ')"
    if kind.startswith("TIMESTAMP") and meant is PropertyType.DATE:
        # Data frames keep days as midnights.
        return f"CASE WHEN {value} = {value}::DATE THEN {value}::DATE::VARCHAR ELSE {value}::VARCHAR END"
    if kind in ("DOUBLE", "FLOAT") and meant in (PropertyType.INTEGER, PropertyType.DECIMAL):
        # Data frames keep integers with gaps as floats; small and large floats are printed with an exponent.
        exact = f"try_cast({value} AS DECIMAL(38,9))"
        whole = f"try_cast({value} AS HUGEINT)"
        return f"""CASE WHEN {whole} = {value} THEN {whole}::VARCHAR
            ELSE coalesce({exact}::VARCHAR, {value}::VARCHAR) END"""
    return f"{value}::VARCHAR"

"""Profiles that a person asks for: found by a value, or selected by a condition."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from connrunner.core.model import Format, Property, PropertyType
from connrunner.errors import ArgumentError
from connrunner.lazy_dataclasses import replace
from connrunner.profiles import domains, scan_order, values, where
from connrunner.profiles.exporting import writers
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_text
from connrunner.profiles.temporary_files import choose_path
from connrunner.text.files import is_written_in_place, put_in_place, replacing
from connrunner.text.words import nearest

BATCH = 1000  # profiles that are fetched at a time


def count_profiles(session: StoreSession, condition: str | None) -> int:
    """See `ProfileStore.count`."""
    with where.translate_errors(session, condition):
        return int(session.one(f"SELECT count(*) FROM store.profiles p WHERE {_compile(session, condition)}"))


def find_profiles(session: StoreSession, name: str, value: str) -> list[dict[str, Any]]:
    """See `ProfileStore.find`."""
    owner, column = find_property(session, name), session.layout.value(name)
    meets = f"list_contains({column}, w.x)" if owner.many else f"{column} = w.x"
    return _describe(session, f"JOIN ({select_value(session, name, value)}) w ON {meets}")


def select_value(session: StoreSession, name: str, value: str) -> str:
    """Return the query of `x`, what the text *value* stands for as one value of the property *name*.

    ArgumentError when there is no such property, or the text is no value of it.
    """
    owner = find_property(session, name)
    wanted = f"SELECT {values.parse_value(owner.type, 'r')} AS x FROM (SELECT {quote_text(value)} AS r)"
    if owner.type is PropertyType.EMAIL and (address := session.one(wanted)):
        wanted = f"SELECT {quote_text(domains.normalize_address(address))} AS x"
    if session.one(f"SELECT x IS NULL FROM ({wanted})"):
        raise ArgumentError(f"{value!r} is no value of {name}", hint=f"it must be {values.EXPECTED[owner.type]}")
    return wanted


def find_number(session: StoreSession, number: int) -> dict[str, Any] | None:
    """See `ProfileStore.find_number`."""
    found = _describe(session, f"JOIN (SELECT {number}::HUGEINT AS x) w ON p._id = w.x")
    return found[0] if found else None


def _describe(session: StoreSession, joined: str) -> list[dict[str, Any]]:
    """Return the profiles `p` that are *joined* with something."""
    names = list(session.layout.properties)
    objectives = list(session.layout.consents)
    rows = session.execute(f"""
        SELECT {", ".join([*_cells(session, names), *map(session.layout.consent, objectives)])},
            p._id, {_start_of("c")}, c.connection, c.run, {_start_of("l")}, l.connection, l.run
        FROM store.profiles p {joined}
        LEFT JOIN store.runs c ON c.id = p._created LEFT JOIN store.runs l ON l.id = p._changed
        ORDER BY p._id""").fetchall()
    found = []
    for row in rows:
        answers = row[len(names) : len(names) + len(objectives)]
        number, *history = row[len(names) + len(objectives) :]
        found.append(
            {
                "profile": number,
                "properties": _values(session, names, row),
                "consents": dict(zip(objectives, answers, strict=True)),
                "created": dict(zip(("at", "connection", "run"), history[:3], strict=True)),
                "changed": dict(zip(("at", "connection", "run"), history[3:], strict=True)),
            }
        )
    return found


def select_profiles(session: StoreSession, columns: Sequence[str], condition: str | None) -> Iterator[dict[str, Any]]:
    """See `ProfileStore.select`."""
    names = list(columns) or list(session.layout.properties)
    with where.translate_errors(session, condition):
        cursor = session.execute(
            f"SELECT {', '.join(_cells(session, names))} FROM store.profiles p"
            f" WHERE {_compile(session, condition)} ORDER BY p._id"
        )
        while rows := cursor.fetchmany(BATCH):
            for row in rows:
                yield _values(session, names, row)


def write_profiles(
    session: StoreSession, path: Path, form: Format, columns: Sequence[str], condition: str | None
) -> int:
    """See `ProfileStore.write`."""
    names = list(columns) or list(session.layout.properties)
    for name in names:
        find_property(session, name)
    about = count_profiles(session, condition)
    # What the path says of compression is not to be read in the name of the file that takes its place.
    form = replace(form, compression=writers.choose_compression(form, path))
    # DuckDB writes nowhere but into our own folder.
    new = choose_path(session.temp)
    selected = f"store.profiles p WHERE {_compile(session, condition)}"
    with where.translate_errors(session, condition):
        writers.write_rows(
            session,
            new,
            form,
            writers.resolve_columns(session, {name: name for name in names}),
            selected + scan_order.order_by_number(session, f"SELECT p._id FROM {selected}"),
            lambda part: session.report.progress("writing", round(part * about), about),
        )
    if is_written_in_place(path):
        with new.open("rb") as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)
    else:
        _put_in_place(new, path)
    new.unlink(missing_ok=True)
    return about


def _put_in_place(new: Path, path: Path) -> None:
    """Give the private file *new* the name *path*; to copy it costs a fifth of what it takes to write it."""
    try:
        put_in_place(new, path, durable=False)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with replacing(path, durable=False) as place:
            shutil.copyfile(new, place.path)


def _compile(session: StoreSession, condition: str | None) -> str:
    return "true" if condition is None else where.compile_condition(session, condition)


def find_property(session: StoreSession, name: str) -> Property:
    """Return the property *name* as the store has it; ArgumentError without one."""
    properties = session.layout.properties
    if name not in properties:
        near = nearest(name, properties)
        hint = f"did you mean {near!r}?" if near else f"properties: {', '.join(properties) or 'none'}"
        raise ArgumentError(f"there is no property {name!r} in profile.yaml", hint=hint)
    return properties[name]


def _cells(session: StoreSession, names: Sequence[str]) -> list[str]:
    """Return the expressions of the properties' text forms, lists of them for `many`."""
    return [values.format_each(find_property(session, name), session.layout.value(name)) for name in names]


def _values(session: StoreSession, names: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    """Return plain JSON values: integers and booleans as such, decimals (with every digit), dates and times as text."""
    found = {}
    for name, cell in zip(names, row, strict=False):
        kind = session.layout.properties[name].type
        if isinstance(cell, list):
            found[name] = [_to_json(kind, value) for value in cell]
        else:
            found[name] = _to_json(kind, cell)
    return found


def _to_json(kind: PropertyType, value: Any) -> Any:
    if value is None:
        return None
    if kind is PropertyType.INTEGER:
        return int(value)
    return value == "true" if kind is PropertyType.BOOLEAN else value


def _start_of(alias: str) -> str:
    return values.format_value(PropertyType.DATETIME, f"{alias}.started")

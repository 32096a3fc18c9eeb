"""Profiles that somebody asks for: found by a value, or selected by a condition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from connrunner.core.model import Format, Property, PropertyType
from connrunner.errors import ArgumentError
from connrunner.profiles import sql, values, where
from connrunner.profiles.exporting import writers
from connrunner.profiles.session import StoreSession
from connrunner.text.words import nearest

BATCH = 1000  # profiles that are fetched at a time


def count(session: StoreSession, condition: str | None) -> int:
    """See `ProfileStore.count`."""
    with where.worked_out(condition):
        return int(session.one(f"SELECT count(*) FROM store.profiles p WHERE {_made(session, condition)}"))


def find(session: StoreSession, name: str, value: str) -> list[dict[str, Any]]:
    """See `ProfileStore.find`."""
    owner = _property(session, name)
    wanted = f"(SELECT {values.one(owner.type, 'r')} AS x FROM (SELECT {sql.text(value)} AS r))"
    if session.one(f"SELECT x IS NULL FROM {wanted}"):
        raise ArgumentError(f"{value!r} is no value of {name}", hint=f"it must be {values.EXPECTED[owner.type]}")
    column = session.layout.value(name)
    meets = f"list_contains({column}, w.x)" if owner.many else f"{column} = w.x"
    names = list(session.layout.properties)
    objectives = list(session.layout.consents)
    rows = session.execute(f"""
        SELECT {", ".join([*_cells(session, names), *map(session.layout.consent, objectives)])},
            p._id, {_moment("c")}, c.connection, c.run, {_moment("l")}, l.connection, l.run
        FROM store.profiles p JOIN {wanted} w ON {meets}
        LEFT JOIN store.runs c ON c.id = p._created LEFT JOIN store.runs l ON l.id = p._changed
        ORDER BY p._id""").fetchall()
    found = []
    for row in rows:
        said = row[len(names) : len(names) + len(objectives)]
        number, *history = row[len(names) + len(objectives) :]
        found.append(
            {
                "profile": number,
                "properties": _values(session, names, row),
                "consents": dict(zip(objectives, said, strict=True)),
                "created": dict(zip(("at", "connection", "run"), history[:3], strict=True)),
                "changed": dict(zip(("at", "connection", "run"), history[3:], strict=True)),
            }
        )
    return found


def select(session: StoreSession, columns: Sequence[str], condition: str | None) -> Iterator[dict[str, Any]]:
    """See `ProfileStore.select`."""
    names = list(columns) or list(session.layout.properties)
    with where.worked_out(condition):
        cursor = session.execute(
            f"SELECT {', '.join(_cells(session, names))} FROM store.profiles p"
            f" WHERE {_made(session, condition)} ORDER BY p._id"
        )
        while rows := cursor.fetchmany(BATCH):
            for row in rows:
                yield _values(session, names, row)


def write(session: StoreSession, path: Path, form: Format, columns: Sequence[str], condition: str | None) -> int:
    """See `ProfileStore.write`."""
    names = list(columns) or list(session.layout.properties)
    for name in names:
        _property(session, name)
    about = count(session, condition)
    with where.worked_out(condition):
        writers.write(
            session,
            path,
            form,
            writers.columns(session, {name: name for name in names}),
            f"store.profiles p WHERE {_made(session, condition)} ORDER BY p._id",
            lambda part: session.report.progress("writing", round(part * about), about),
        )
    return about


def _made(session: StoreSession, condition: str | None) -> str:
    return "true" if condition is None else where.condition(session, condition)


def _property(session: StoreSession, name: str) -> Property:
    properties = session.layout.properties
    if name not in properties:
        near = nearest(name, properties)
        hint = f"did you mean {near!r}?" if near else f"properties: {', '.join(properties) or 'none'}"
        raise ArgumentError(f"there is no property {name!r} in profile.yaml", hint=hint)
    return properties[name]


def _cells(session: StoreSession, names: Sequence[str]) -> list[str]:
    """Return the expressions of the properties' text forms, lists of them for `many`."""
    cells = []
    for name in names:
        owner, value = _property(session, name), session.layout.value(name)
        spelt = values.plain(owner.type, "x" if owner.many else value)
        cells.append(f"list_transform({value}, lambda x: {spelt})" if owner.many else spelt)
    return cells


def _values(session: StoreSession, names: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    """Return plain JSON values: integers and booleans as such, decimals (with every digit), dates and times as text."""
    found = {}
    for name, cell in zip(names, row, strict=False):
        kind = session.layout.properties[name].type
        if isinstance(cell, list):
            found[name] = [_plain(kind, value) for value in cell]
        else:
            found[name] = _plain(kind, cell)
    return found


def _plain(kind: PropertyType, value: Any) -> Any:
    if value is None:
        return None
    if kind is PropertyType.INTEGER:
        return int(value)
    return value == "true" if kind is PropertyType.BOOLEAN else value


def _moment(alias: str) -> str:
    return values.plain(PropertyType.DATETIME, f"{alias}.started")

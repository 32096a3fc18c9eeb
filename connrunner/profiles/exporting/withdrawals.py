"""
Erased people whom a partner still has to delete: they are in no table of the store any more, so a file knows them.

The file has a line of JSON for each: its `id`, under which `key` the destination's own ledger has the person, and the
`identifiers` that the partner knows. It is written before the store without the person takes its place, and it loses
a line when the partner has taken the deletion; so after a crash nobody is forgotten, and what was asked for once is not
asked for again, for the store notes it (`withdrawn`) in the transaction of the export.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from connrunner.profiles import tables
from connrunner.profiles.profile_keys import row_key
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_text
from connrunner.profiles.temporary_files import choose_path, open_private
from connrunner.text.files import replace_file
from connrunner.text.nesting import parse_json


def add_withdrawals(session: StoreSession, files: Mapping[str, Path]) -> None:
    """Add to the file of each export in *files* those people in `leaving` whom its partner knows by something."""
    for connection, path in files.items():
        found = session.execute(
            f"""SELECT {row_key("profile")}, identifiers FROM ({_select_known(session)})
            WHERE connection = ? ORDER BY profile""",
            [connection],
        ).fetchall()
        if found:
            new = [{"id": uuid.uuid4().hex, "key": key, "identifiers": known} for key, known in found]
            _write(path, [*_read(path), *new])


def list_withdrawing(session: StoreSession, files: Mapping[str, Path]) -> tuple[str, ...]:
    """Return those exports in *files* whose partner knows somebody in `leaving`."""
    found = session.execute(f"SELECT DISTINCT connection FROM ({_select_known(session)}) ORDER BY ALL").fetchall()
    return tuple(name for (name,) in found if name in files)


def _select_known(session: StoreSession) -> str:
    """Return the query of how partners know the people in `leaving`, or will when a run that was cut off went well."""
    names = ["sent", *(["unconfirmed"] if tables.has_unconfirmed(session.connection) else [])]
    return " UNION ".join(
        f"""SELECT connection, profile, identifiers FROM store.{name}
        WHERE identifiers IS NOT NULL AND profile IN (FROM leaving)"""
        for name in names
    )


def load_withdrawals(session: StoreSession, path: Path | None, connection: str) -> None:
    """Make the table `withdrawals` of what *connection* has to have deleted: a number below 0 stands for a profile."""
    session.execute("""
        CREATE OR REPLACE TEMP TABLE withdrawals (profile BIGINT, id VARCHAR, key VARCHAR, identifiers VARCHAR)""")
    lines = _read(path) if path else []
    if not lines:
        return
    temporary = choose_path(session.temp)
    with open_private(temporary) as file:
        for number, line in enumerate(lines, 1):
            file.write(json.dumps({"profile": -number, **line}).encode() + b"\n")
    session.execute(f"""
        INSERT INTO withdrawals BY NAME
        FROM read_json({quote_text(str(temporary))}, format = 'newline_delimited',
            columns = {{profile: 'BIGINT', id: 'VARCHAR', key: 'VARCHAR', identifiers: 'VARCHAR'}}) withdrawals_of_file
        WHERE NOT EXISTS (FROM store.withdrawn d WHERE d.connection = {quote_text(connection)}
            AND d.id IN (withdrawals_of_file.id, sha256(withdrawals_of_file.identifiers)))""")
    temporary.unlink()


def record_withdrawals(session: StoreSession, connection: str) -> None:
    """Note in the store which of the table are done: all but those that the partner refused to delete."""
    session.execute(f"""
        INSERT INTO store.withdrawn
        SELECT {quote_text(connection)}, id FROM withdrawals
        WHERE profile NOT IN (SELECT profile FROM delta WHERE refused)""")


def settle_withdrawals(session: StoreSession, connection: str) -> None:
    """Note the deletions of a run that was cut off which arrived, by the table `settled`: their numbers say nothing."""
    session.execute(f"""
        INSERT INTO store.withdrawn SELECT {quote_text(connection)}, sha256(identifiers) FROM settled
        WHERE profile < 0 AND NOT refused AND NOT unknown""")


def drop_withdrawn(session: StoreSession, path: Path | None, connection: str) -> None:
    """Take those out of the file that the store has as done; without any left the file goes."""
    found = session.execute("SELECT id FROM store.withdrawn WHERE connection = ?", [connection]).fetchall()
    if path is None or not found:
        return
    done = {one for (one,) in found}
    lines = _read(path)
    left = [line for line in lines if not {line["id"], sha256(line["identifiers"].encode()).hexdigest()} & done]
    if lines and not left:
        path.unlink()
    elif len(left) < len(lines):
        _write(path, left)
    session.execute("DELETE FROM store.withdrawn WHERE connection = ?", [connection])


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return [parse_json(line) for line in content.splitlines()]


def _write(path: Path, lines: list[dict[str, Any]]) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    replace_file(path, b"".join(json.dumps(line).encode() + b"\n" for line in lines))

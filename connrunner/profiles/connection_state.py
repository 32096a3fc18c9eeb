"""How far each connection has come: what the store remembers of it between two runs."""

from __future__ import annotations

import json
from typing import Any

from connrunner.profiles.session import StoreSession


def has_read_files(session: StoreSession, connection: str) -> bool:
    """See `ProfileStore.has_read_files`."""
    return session.one("SELECT 1 FROM store.files WHERE connection = ? LIMIT 1", [connection]) is not None


def read_mark(session: StoreSession, connection: str) -> Any:
    """See `ProfileStore.read_mark`."""
    found = session.one("SELECT mark FROM store.marks WHERE connection = ?", [connection])
    return None if found is None else json.loads(found)


def save_mark(session: StoreSession, connection: str, mark: Any, *, run: int) -> None:
    """Make *mark*, plain JSON, that of *connection*; *run* is the number of the run in the store."""
    session.execute("DELETE FROM store.marks WHERE connection = ?", [connection])
    session.execute("INSERT INTO store.marks VALUES (?, ?, ?)", [connection, json.dumps(mark), run])


def describe_connection(session: StoreSession, connection: str) -> dict[str, Any]:
    """See `ProfileStore.describe_connection`."""
    files = session.execute(
        """SELECT f.name, f.size, f.modified, f.rows, coalesce(len(f.refused), 0), r.run
        FROM store.files f LEFT JOIN store.runs r ON r.id = f.run WHERE f.connection = ?
        ORDER BY f.run DESC, f.modified DESC, f.name""",
        [connection],
    ).fetchall()
    names = ("name", "size", "modified", "rows", "refused", "run")
    return {
        "files": [dict(zip(names, file, strict=True)) for file in files],
        "mark": read_mark(session, connection),
        "kept_rows": session.one("SELECT count(*) FROM store.kept WHERE connection = ?", [connection]),
        "sent": session.one("SELECT count(digest) FROM store.sent WHERE connection = ?", [connection]),
    }


def forget_connection(session: StoreSession, connection: str) -> None:
    """See `ProfileStore.forget_connection`."""
    with session.transaction():
        for table in ("files", "kept", "marks", "sent", "unconfirmed"):
            session.execute(f"DELETE FROM store.{table} WHERE connection = ?", [connection])

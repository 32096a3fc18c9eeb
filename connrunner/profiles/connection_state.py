"""How far connections have come: what the store remembers of them between two runs, and forgetting it."""

from __future__ import annotations

import json
from typing import Any

from connrunner.profiles.importing import retained_rows
from connrunner.profiles.session import StoreSession


def mark(session: StoreSession, reader: str) -> Any:
    """Return the mark that the last import of the connection *reader* left, or None."""
    found = session.one("SELECT mark FROM store.marks WHERE connection = ?", [reader])
    return None if found is None else json.loads(found)


def leave(session: StoreSession, reader: str, mark: Any, *, run: int) -> None:
    """Make *mark*, plain JSON, the one of the connection *reader*."""
    session.execute("DELETE FROM store.marks WHERE connection = ?", [reader])
    session.execute("INSERT INTO store.marks VALUES (?, ?, ?)", [reader, json.dumps(mark), run])


def remembered(session: StoreSession, connection: str) -> dict[str, Any]:
    """See `ProfileStore.remembered`."""
    files = session.execute(
        """SELECT f.name, f.size, f.modified, f.rows, coalesce(len(f.refused), 0), r.run
        FROM store.files f LEFT JOIN store.runs r ON r.id = f.run WHERE f.connection = ?
        ORDER BY f.run DESC, f.modified DESC, f.name""",
        [connection],
    ).fetchall()
    names = ("name", "size", "modified", "rows", "refused", "run")
    return {
        "files": [dict(zip(names, file, strict=True)) for file in files],
        "mark": mark(session, connection),
        "kept_rows": retained_rows.kept(session, connection),
        "sent": session.one("SELECT count(digest) FROM store.sent WHERE connection = ?", [connection]),
    }


def forget(session: StoreSession, connection: str) -> None:
    """See `ProfileStore.forget`."""
    with session.transaction():
        for table in ("files", "kept", "marks", "sent"):
            session.execute(f"DELETE FROM store.{table} WHERE connection = ?", [connection])

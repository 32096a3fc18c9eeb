"""Wishes of people, one file each: run this connection now."""

from __future__ import annotations

import json
import uuid
from datetime import datetime

from connrunner.core import instant
from connrunner.core.plan import Wish
from connrunner.state.folder import StateFolder, recording, replace_file


def ask_run(folder: StateFolder, connection: str, *, at: datetime, by: str) -> str:
    """Leave the wish that *connection* runs now, durably; return its id."""
    name = f"run-{uuid.uuid4().hex}"
    wish = {"wish": "run", "connection": connection, "asked_at": instant.text(at), "asked_by": by}
    path = folder.requests / f"{name}.json"
    with recording(path):
        replace_file(path, json.dumps(wish).encode() + b"\n")
    return name


def pending(folder: StateFolder) -> list[Wish]:
    """Return the wishes that nobody has answered yet, oldest first. A file that is no wish is set aside."""
    wishes = []
    with recording(folder.requests):
        for path in sorted(folder.requests.glob("*.json")):
            try:
                data = json.loads(path.read_bytes())
                wish = Wish(
                    id=path.stem,
                    connection=str(data["connection"]),
                    asked_at=instant.parse(data["asked_at"]),
                    asked_by=str(data["asked_by"]),
                )
            except FileNotFoundError:
                continue
            except (ValueError, KeyError, TypeError):
                path.rename(path.with_suffix(".unreadable"))
                continue
            wishes.append(wish)
    return sorted(wishes, key=lambda wish: (wish.asked_at, wish.id))


def forget(folder: StateFolder, wish: Wish) -> None:
    """Remove a wish that the journal has taken in."""
    path = folder.requests / f"{wish.id}.json"
    with recording(path):
        path.unlink(missing_ok=True)

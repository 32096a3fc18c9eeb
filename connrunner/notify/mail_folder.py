"""
Mail into a folder, one `.eml` file for each mail: for a first look, for tests, for a pick-up by another program.

    file:          the folder `mail` of the state folder
    file:FOLDER    any folder; relative to the workspace
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote

from connrunner.core.alerts.notice import Notice
from connrunner.core.model import Outcome
from connrunner.notify.transport import DeliveryResult
from connrunner.text.files import replace_file

OUTCOMES = frozenset(outcome.value for outcome in Outcome)


def resolve_folder(server: str, *, workspace: Path, default: Path) -> Path:
    """Return the folder that `mail.server` names: *default* for a bare `file:`."""
    path = unquote(server.removeprefix("file:"))
    return workspace / path.removeprefix("//") if path.strip("/") else default


class Folder:
    """A folder that takes mail. A repeat replaces the file of the first attempt."""

    def __init__(self, path: Path, at: dict[str, datetime]) -> None:
        self._path = path
        self._at = at  # when it became owed, by the notice's id

    def send(self, notice: Notice, recipient: str, source: str, data: bytes) -> DeliveryResult:  # noqa: ARG002 - a Transport
        name = file_name(notice, recipient, self._at[notice.id])
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path / name, data, suffix="new")
        except OSError as error:
            reason = f"{self._path / name} cannot be written: {error.strerror or error}; free or repair the folder"
            return DeliveryResult(result="deferred", reason=reason)
        return DeliveryResult(result="sent")

    def close(self) -> None:
        """A folder needs no goodbye."""


def file_name(notice: Notice, recipient: str, at: datetime) -> str:
    """Return the name of the file; the same for each repeat, and never the same for two recipients."""
    event = "" if notice.event in OUTCOMES else notice.event
    about = [notice.connection or notice.target, str(notice.run or ""), event]
    parts = [f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}", *filter(None, about), recipient]
    name = "-".join(re.sub(r"[^A-Za-z0-9@._+-]", "_", part)[:64] for part in parts)
    if not name.endswith(f"-{recipient}"):  # something was replaced or cut
        name += f"-{sha256(recipient.encode()).hexdigest()[:8]}"
    return f"{name}.eml"

"""Where a key of a connection stands: file and line, for messages that are not about a mistake."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from connrunner.config.documents import workspace_file

if TYPE_CHECKING:
    from connrunner.config.finding import Path as Steps


def place_of(folder: str, name: str, steps: Steps) -> tuple[str, int]:
    """Return the file of connection *name* and the line, from 1, of what stands at *steps* in it."""
    path = f"connections/{name}.yaml"
    try:
        return path, line_of(workspace_file.read_workspace_file(folder, path), path, steps)
    except workspace_file.UnreadableFile:
        return path, 1


def line_of(content: bytes, path: str, steps: Steps) -> int:
    """Return the line, from 1, of what stands at *steps* in the file *path* with this *content*."""
    from connrunner.config.documents.document import parse

    return parse(content, path).place(steps, at_key=True)[0]


def redact_lines(text: str, path: str) -> list[str]:
    """Return the lines of a file's *text* with whatever looks like a secret blanked."""
    from connrunner.config.documents import redact
    from connrunner.config.documents.document import parse

    return redact.lines(text.splitlines(), parse(text.encode(), str(Path(path).name)).places)

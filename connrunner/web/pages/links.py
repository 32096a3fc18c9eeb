"""Where a page leads: how addresses are written, and those of a server."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import quote, urlencode


class Links(Protocol):
    """How the addresses of pages and files are written on a page."""

    def page(self, path: str, **query: object) -> str:
        """Return the address of the page *path* with *query*; what is None or empty in it is left out."""

    def file(self, name: str) -> str:
        """Return the address of the static file *name*."""

    def holds(self, path: str) -> bool:
        """Tell whether there is a page *path*, of those that could be."""


class ServerLinks:
    """Addresses on a server that has the pages below *root*."""

    def __init__(self, root: str = "") -> None:
        self.root = root

    def page(self, path: str, **query: object) -> str:
        """Return *path* below the root, with *query*."""
        asked = {key: value for key, value in query.items() if value not in (None, "")}
        return f"{self.root}{quote(path)}" + (f"?{urlencode(asked)}" if asked else "")

    def file(self, name: str) -> str:
        """Return the address of a static file, which has a hash in its name."""
        return f"{self.root}/static/{name}"

    def holds(self, path: str) -> bool:
        """Return true: whatever there is has a page."""
        return bool(path)

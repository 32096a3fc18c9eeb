"""Where a database is, the user who asks, and how long an answer may take."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote_plus

from connrunner.connectors import Settings
from connrunner.databases import CONNECT, SILENCE
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.text import durations
from connrunner.text.database_urls import find_flaw, parse_database_url

__all__ = ["CONNECT", "SILENCE", "DatabaseAddress", "address_of", "seconds"]

STATEMENT = "30m"  # the default of `statement_timeout`

_SECRET = re.compile(r"(?:^|[?&;])(?=[^?&;=]*=)[^?&;=]*(?:passw|pwd|secret|token)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseAddress:
    """A database and the user who asks. Its text is the URL, which holds no password."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    statement: int  # seconds that one statement may take
    workspace: Path  # what relative paths start from

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0].lower()

    @property
    def is_postgres(self) -> bool:
        """True when psycopg speaks to it: whatever driver the URL names, COPY needs this one."""
        return self.scheme.partition("+")[0] in ("postgresql", "postgres")


def address_of(settings: Settings, workspace: Path) -> DatabaseAddress:
    """Return the database that *settings* name. RunError for what is not a URL, or holds a password."""
    url = str(settings["url"]).strip()
    if not re.match(r"[A-Za-z][A-Za-z0-9_+]*://", url) or re.search(r"[\x00-\x20\x7f]", url):
        raise RunError(
            "`url` is not the URL of a database",
            hint="write it like postgresql://user@host:5432/database or sqlite:///folder/file.db",
            code="bad-url",
        )
    if _has_password(url):
        raise RunError(
            "`url` holds a password",
            hint="take it out and write `password: env:NAME` or `password: file:/path` beside it",
            code="password-in-url",
        )
    parts = parse_database_url(url)
    flaw = find_flaw(parts) if parts else None
    if flaw is not None:
        raise RunError(flaw.message, hint=flaw.hint, code=flaw.code)
    return DatabaseAddress(
        url=url,
        username=settings.get("username"),
        password=settings.get("password"),
        statement=seconds(settings.get("statement_timeout", STATEMENT)),
        workspace=workspace,
    )


def seconds(duration: str) -> int:
    """Return how many seconds 90s, 15m, 6h or 2d are."""
    try:
        return durations.parse(str(duration))
    except ValueError:
        hint = "write a whole number and s, m, h or d, like 15m"
        raise RunError(f"{duration!r} is not a duration", hint=hint, code="bad-duration") from None


def _has_password(url: str) -> bool:
    before, _, query = url.partition("?")
    # A password may hold unquoted slashes, so all up to the last @ counts.
    user = before.partition("://")[2].rpartition("@")[0]
    return ":" in user or bool(_SECRET.search(unquote_plus(query)))

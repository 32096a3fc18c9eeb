"""Which optional packages a connection needs that are not installed; none is imported to find out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec

from connrunner.core.model import Command, Export, Work
from connrunner.lazy_dataclasses import dataclass

# By the connector: the module that has to be there, and the extra of ours that installs it.
NEEDED = {
    "salesforce": ("urllib3", "salesforce"),
    "sftp": ("asyncssh", "sftp"),
    "s3": ("obstore", "s3"),
    "http": ("urllib3", "http"),
    "meta": ("phonenumbers", "meta"),
}
NEEDED_BY_KEY = {("salesforce", "private_key"): ("jwt", "salesforce")}  # by a setting of it, too
DATABASES = {True: ("psycopg", "postgres"), False: ("sqlalchemy", "sql")}  # PostgreSQL, and any other


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingExtra:
    """An extra that a connection needs and this Python does not have."""

    path: tuple[str, ...]  # the part of the connection's file that needs it
    what: str  # which is this, in words
    extra: str


def find_needed_extras(work: Work) -> Iterator[MissingExtra]:
    """Yield the extras that *work* cannot do without and that are not installed here."""
    if isinstance(work, Command):
        return
    kind, place = ("export", "to") if isinstance(work, Export) else ("import", "from")
    settings = work.destination if isinstance(work, Export) else work.source
    name = settings["type"]
    needed = NEEDED.get(name)
    for (kind_with_key, key), more in NEEDED_BY_KEY.items():
        if name == kind_with_key and key in settings and find_spec(more[0]) is None:
            needed = more
    if name == "sql" and (scheme := re.match(r"(\w+)(?:\+\w+)?://", settings["url"])):  # a reference does not tell
        needed = DATABASES[scheme[1].lower() in ("postgres", "postgresql")]
    if needed and find_spec(needed[0]) is None:
        yield MissingExtra(path=(kind, place, "type"), what=f"the connector {name}", extra=needed[1])

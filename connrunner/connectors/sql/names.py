"""Names of tables and columns, as people write them and as a database has them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.words import nearest

SHOWN = 20  # names that a message lists
_PART = r'"(?:[^"\x00]|"")+"|[^".\x00]+'


@dataclass(frozen=True, kw_only=True, slots=True)
class TableName:
    """A table's name, and its schema when it is told."""

    schema: str | None = None
    table: str

    def __str__(self) -> str:
        return ".".join(_written(part) for part in (self.schema, self.table) if part is not None)


def table_name(text: str) -> TableName:
    """Return the name that *text* spells: `table`, `schema.table`, with "double quotes" around what holds a dot."""
    found = re.fullmatch(rf"(?:(?P<schema>{_PART})\.)?(?P<table>{_PART})", text)
    if not found:
        raise RunError(
            f"`table` {text!r} is not the name of a table",
            hint='write table or schema.table; put double quotes around a name that holds a dot: "odd.name"',
            code="bad-table",
        )
    schema = found["schema"]
    return TableName(schema=_plain(schema) if schema is not None else None, table=_plain(found["table"]))


def near(name: str, names: Iterable[str], kind: str) -> str:
    """Return the advice for *name*, which is not one of *names*: the one that is meant, or what there is."""
    names = sorted(names)
    meant = nearest(name, names)
    if meant is not None:
        return f"did you mean {meant!r}?"
    if not names:
        return f"it has no {kind} that this user can see"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"its {kind}: {', '.join(names[:SHOWN])}{more}"


def _plain(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def _written(part: str) -> str:
    return '"' + part.replace('"', '""') + '"' if re.search(r'[".]', part) else part

"""Whom an audience holds, by what it was told: the hashes that were sent for each profile, until they are removed.

One SQLite file in the connection's ledger folder. What a batch changes becomes durable when its answer has come; a
batch under way is noted before it goes out, so that the next run knows what a killed one left open. Removed rows are
overwritten (`secure_delete`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from json.encoder import encode_basestring
from operator import itemgetter
from pathlib import Path
from typing import Any

from connrunner.errors import RunError
from connrunner.lazy_dataclasses import asdict, dataclass, field

NAME = "members.sqlite"
ADD, REMOVE, REPLACE = "add", "remove", "replace"  # what a batch does
ASKED = 500  # profiles that are looked up at once
CACHE = 32_768  # KiB: a batch of 10,000 rows, so that its pages are not written while it is still being noted
_TABLES = """
    CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS members (
        profile TEXT, digest BLOB, row TEXT, sure INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (profile, digest)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS members_by_digest ON members (digest);
    CREATE TABLE IF NOT EXISTS replacing (
        profile TEXT, digest BLOB, row TEXT, PRIMARY KEY (profile, digest)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS under_way (profile TEXT, digest BLOB, row TEXT);
"""

Row = Mapping[str, str]
"""What is sent for a person: a hash, or an id as it is, by the partner's key; keys that are not known are left out."""


@dataclass(frozen=True, slots=True)
class Member:
    """One row that is sent for a profile; a profile with several addresses has several."""

    profile: str  # its key
    digest: bytes
    text: str  # the row as JSON, its keys sorted
    is_sure: bool = True  # False after `connrunner reset`: it is sent again, or removed
    keys: tuple[str, ...] = field(default=(), compare=False, repr=False)  # of a row that is at hand, in their order
    values: str = field(default="", compare=False, repr=False)  # and its values, a JSON list

    @classmethod
    def from_row(cls, profile: str, row: Row) -> Member:
        keys = tuple(row)
        form, sort = _form(keys)
        values = [*map(encode_basestring, row.values())]
        text = form % sort(values)
        return cls(profile, sha256(text.encode()).digest()[:16], text, True, keys, f"[{','.join(values)}]")

    @property
    def row(self) -> Row:
        found: Row = json.loads(self.text)
        return found


@lru_cache(maxsize=1 << 10)
def _form(keys: tuple[str, ...]) -> tuple[str, Callable[[list[str]], Any]]:
    """Return how a row of these *keys* is written, and what puts its values in that order.

    The text is that of `json.dumps(row, sort_keys=True, ensure_ascii=False)` without blanks, three times faster: its
    hash stands in ledgers.
    """
    order = sorted(range(len(keys)), key=keys.__getitem__)
    form = ",".join(f"{json.dumps(keys[place]).replace('%', '%%')}:%s" for place in order)
    return f"{{{form}}}", itemgetter(*order)


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenBatch:
    """A batch whose answer has not been seen."""

    action: str  # add, remove or replace
    session: int
    number: int  # in its session, from 1
    before: int  # rows that earlier batches of the session brought
    rows: int
    is_list: bool = False  # `operation: remove`: the ledger holds who was removed


class MemberLedger:
    """The members of one audience; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / NAME, isolation_level=None)
        (folder / NAME).chmod(0o600)
        try:
            self._connection.executescript(
                "PRAGMA page_size = 8192; PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL;"
                f"PRAGMA secure_delete = ON; PRAGMA cache_size = -{CACHE};{_TABLES}"
            )
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise RunError(
                f"the ledger of members {folder / NAME} cannot be read: {error}",
                hint="put it back from a backup; without it nobody knows whom to remove from the audience",
                code="ledger",
            ) from error

    def close(self) -> None:
        self._connection.close()

    def read(self, key: str) -> Any:
        """Return the fact *key*, plain JSON; None when it is not known."""
        found = self._connection.execute("SELECT value FROM about WHERE key = ?", [key]).fetchone()
        return json.loads(found[0]) if found else None

    def write(self, key: str, value: Any) -> None:
        """Note the fact *key*; None forgets it."""
        if value is None:
            self._connection.execute("DELETE FROM about WHERE key = ?", [key])
        else:
            self._connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", [key, json.dumps(value)])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that the block writes becomes durable, or nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def count(self) -> int:
        """Return how many rows the audience was given."""
        return int(self._connection.execute("SELECT count(*) FROM members").fetchone()[0])

    def find(self, profiles: Iterable[str]) -> dict[str, list[Member]]:
        """Return what was sent for each of *profiles* that is a member."""
        found: dict[str, list[Member]] = {}
        rest = iter(profiles)
        while some := list(islice(rest, ASKED)):
            marks = ",".join("?" * len(some))
            query = f"SELECT * FROM members WHERE profile IN ({marks})"  # noqa: S608 - question marks
            for row in self._connection.execute(query, some):
                found.setdefault(row[0], []).append(Member(row[0], row[1], row[2], bool(row[3])))
        return found

    def is_shared(self, member: Member, leaving: set[tuple[str, bytes]]) -> bool:
        """Return whether another profile, none of those *leaving*, is a member by the same row."""
        others = self._connection.execute("SELECT profile FROM members WHERE digest = ?", [member.digest])
        return any((profile, member.digest) not in leaving for (profile,) in others if profile != member.profile)

    def doubt(self) -> None:
        """Let every member be sent again, or removed."""
        self._connection.execute("UPDATE members SET sure = 0")

    def list_members(self, *, most: int, only_unsure: bool = False) -> list[Member]:
        """Return the first *most* members, or those that are not sure."""
        found = self._connection.execute(
            "SELECT profile, digest, row FROM members WHERE sure = 0 OR NOT ? LIMIT ?", [only_unsure, most]
        )
        return [Member(*row) for row in found]

    def forget(self, members: Iterable[Member]) -> None:
        """Forget *members* whose row is another profile's, too, which stays."""
        with self.transaction():
            self._connection.executemany(
                "DELETE FROM members WHERE profile = ? AND digest = ?", ((one.profile, one.digest) for one in members)
            )

    def clear(self) -> None:
        self._connection.execute("DELETE FROM members")

    # --- a batch under way ---------------------------------------------------------------------------------------

    def begin_batch(self, batch: OpenBatch, members: Sequence[Member]) -> None:
        """Note, durably, that *batch* goes out, and whom it is about."""
        with self.transaction():
            self.write("batch", asdict(batch))
            self._connection.executemany(
                "INSERT INTO under_way VALUES (?, ?, ?)", ((one.profile, one.digest, one.text) for one in members)
            )

    def read_batch(self) -> OpenBatch | None:
        """Return the batch whose answer nobody has seen."""
        found = self.read("batch")
        return OpenBatch(**found) if found else None

    def finish_batch(self, *, arrived: bool) -> None:
        """Book what the batch under way changed if it has *arrived*, and forget it."""
        batch = self.read_batch()
        with self.transaction():
            if arrived and batch and batch.action == REMOVE and not batch.is_list:
                self._connection.execute(
                    "DELETE FROM members WHERE (profile, digest) IN (SELECT profile, digest FROM under_way)"
                )
            elif arrived and batch and batch.action == REPLACE:
                self.write("replaced", [batch.number, batch.before + batch.rows])
                self._connection.execute("INSERT OR REPLACE INTO replacing SELECT * FROM under_way")
            elif arrived and batch:
                self._connection.execute(
                    "INSERT OR REPLACE INTO members (profile, digest, row) SELECT * FROM under_way"
                )
            self._connection.execute("DELETE FROM under_way")
            self.write("batch", None)

    # --- a replacement -------------------------------------------------------------------------------------------

    def begin_replacement(self) -> None:
        """Keep what the batches of a replacement bring apart, until the last one has arrived."""
        self._connection.execute("DELETE FROM replacing")
        self.write("replaced", None)

    def read_replacement(self) -> tuple[int, int]:
        """Return how many batches and rows of a replacement have arrived."""
        batches, sent = self.read("replaced") or (0, 0)
        return batches, sent

    def finish_replacement(self, file: str) -> None:
        """Let the replacement, by the rows of *file* (its SHA-256), be what the audience holds."""
        with self.transaction():
            self._connection.execute("DELETE FROM members")
            self._connection.execute("INSERT INTO members (profile, digest, row) SELECT * FROM replacing")
            self._connection.execute("DELETE FROM replacing")
            self.write("replacement", None)
            self.write("replaced", None)
            self.write("held", file)

"""Both profile stores behind one call: what holds of one must hold of the other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from connrunner.core.model import ProfileModel
from connrunner.profiles import ProfileStore
from connrunner.profiles.patience import Patience
from connrunner.profiles.stores import duckdb as embedded
from connrunner.profiles.stores.postgres_database import DatabasePlace
from tests.servers import postgres

EACH = ["duckdb", "postgresql"]
# The embedded one always, the other by the finer sieve: a server takes ten times as long for a handful of rows.
BOTH = ["duckdb", pytest.param("postgresql", marks=pytest.mark.thorough)]
_server: list[postgres.Server] = []  # the one in which stores are kept; none: they are files


def place_of(path: Path, server: postgres.Server, **more: str) -> DatabasePlace:
    """Return where the store that would be in the file *path* is kept."""
    schema = "s" + hashlib.sha256(str(path).encode()).hexdigest()[:16]
    return DatabasePlace(
        url=more.get("url", server.url), schema=more.get("schema", schema), folder=path.parent, beside=path
    )


def open_store(path: Path, model: ProfileModel, **options: Any) -> AbstractContextManager[ProfileStore]:
    """Open the store of the test, as `stores.duckdb.open_store` does the one in the file *path*."""
    if not _server:
        return embedded.open_store(path, model, **options)
    from connrunner.profiles.stores.postgresql import open_database_store

    return open_database_store(place_of(path, _server[0]), model, **options)


def execute(store: ProfileStore, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Do to the tables of *store*, where they are kept, what nothing in the product does; return the rows."""
    from connrunner.profiles.stores.postgresql import PostgreSQLStore

    if not isinstance(store, PostgreSQLStore):
        session = store._session  # type: ignore[attr-defined]
        return list(session.execute(statement, list(values)).fetchall())
    _, _, database = store.parts
    with database.changing("a test", Patience(0)):
        done = database.execute(statement.replace("store.", f"{database.schema}.").replace("?", "%s"), values or None)
        return done.fetchall() if done.description else []


@pytest.fixture
def store_kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kind of store that `open_store` opens; in a module of tests: `usefixtures`, and `parametrize` with BOTH."""
    if request.param == "postgresql":
        _server.append(request.getfixturevalue("postgres_server"))
    yield request.param
    _server.clear()

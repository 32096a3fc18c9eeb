"""Where the profiles of a workspace are kept. Nothing here imports a database before a store is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from connrunner.core.model import ProfileModel, Run, StoreSettings
from connrunner.core.report import NullReport, Report
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.profiles import ProfileStore
from connrunner.profiles.patience import Patience

if TYPE_CHECKING:
    from connrunner.profiles.erasure import Erasure, ErasureJob
    from connrunner.profiles.stores.postgres_database import DatabasePlace
    from connrunner.profiles.stores.postgres_inspection import DatabaseFinding


@dataclass(frozen=True, kw_only=True, slots=True)
class StorePlace:
    """The store that *settings* name; the embedded one is the file *path*, of a state folder."""

    settings: StoreSettings
    path: Path
    folder: Path  # the workspace, from which paths in a URL start
    resolve: Callable[[str], str] = field(repr=False)  # returns the secret behind a reference; RunError without one

    @property
    def is_embedded(self) -> bool:
        return self.settings.type == "duckdb"

    @property
    def may_exist(self) -> bool:
        """False when there is no store, as far as is seen without a connection to it."""
        return not self.is_embedded or self.path.exists()

    @property
    def label(self) -> str:
        """How people call it; of a database, what is no secret."""
        return str(self.path) if self.is_embedded else f"PostgreSQL, schema {self.settings.schema}"


def open_profile_store(
    place: StorePlace,
    model: ProfileModel,
    *,
    temp: Path,
    report: Report,
    read_only: bool = False,
    wait: float | Patience = 0,
    expected: Mapping[str, Iterable[Run]] = MappingProxyType({}),
) -> AbstractContextManager[ProfileStore]:
    """Open the store at *place*: see `stores.duckdb.open_store` and `stores.postgresql.open_database_store`."""
    if place.is_embedded:
        from connrunner.profiles.stores.duckdb import open_store

        return open_store(
            place.path, model, temp=temp, report=report, read_only=read_only, wait=wait, expected=expected
        )
    database = find_database(place)
    from connrunner.profiles.stores.postgresql import open_database_store

    return open_database_store(
        database, model, temp=temp, report=report, read_only=read_only, wait=wait, expected=expected
    )


def find_database(place: StorePlace) -> DatabasePlace:
    """Return the database of *place*, with its secret; RunError without psycopg, or without the secret."""
    if find_spec("psycopg") is None:
        raise RunError(
            "the profile store is in PostgreSQL, which needs the extra `postgres`, and that is not installed",
            hint="pip install 'connrunner[postgres]'",
            code="store-unusable",
        )
    from connrunner.profiles.stores.postgres_database import DatabasePlace

    settings = place.settings
    return DatabasePlace(
        url=place.resolve(settings.url), schema=settings.schema, folder=place.folder, beside=place.path
    )


def erase_from_place(place: StorePlace, job: ErasureJob, model: ProfileModel, *, temp: Path, wait: float) -> Erasure:
    """Remove a person from the database of *place*: see `postgres_erasing.erase_from_database`."""
    database = find_database(place)
    from connrunner.profiles.stores.postgres_erasing import erase_from_database

    return erase_from_database(database, job, model, temp=temp, report=NullReport(), wait=wait)


def inspect_place(place: StorePlace) -> list[DatabaseFinding]:
    """Return what is to be said of the database of *place*: see `postgres_inspection.inspect_database`."""
    database = find_database(place)
    from connrunner.profiles.stores.postgres_inspection import inspect_database

    return inspect_database(database)

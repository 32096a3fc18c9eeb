"""What is held is the same in both stores: the digest of it, its counters, and that nothing was changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connrunner.core.model import Expect, Import
from connrunner.profiles import ProfileStore
from connrunner.profiles.jobs import HoldRules, ImportJob, RunStamp
from connrunner.profiles.results import ImportResult
from connrunner.profiles.stores import duckdb as embedded
from connrunner.profiles.stores.postgresql import open_database_store
from tests.servers.postgres import Server
from tests.stores import place_of
from tests.test_profiles_open import MODEL, Said
from tests.test_store_postgresql import WORK, write_file
from tests.test_store_values import AT

pytestmark = pytest.mark.slow

FIRST = [(str(number), "", f"Name {number}", "1", "", "", "", "", "a", "") for number in range(40)]
SECOND = [(str(number), "", f"Other {number}", "2", "1.5", "", "", "yes", "b", "yes") for number in range(30, 60)]
STRICT: Import = replace(WORK, expect=Expect(max_change_pct=10, otherwise="hold"))


def take(store: ProfileStore, path: Path, rows: Any, run: int, **rules: Any) -> ImportResult:
    file = write_file(path, rows)
    hold = HoldRules(work="1", **rules)
    stamp = RunStamp(connection="people", run=run, at=AT)
    return store.import_files(
        ImportJob(work=STRICT, files=[file], stamp=stamp, rejects=path.with_suffix(f".{run}"), hold=hold)
    )


def test_both_stores_hold_the_same(tmp_path: Path, postgres_server: Server) -> None:
    digests = []
    for kind in ("duckdb", "postgresql"):
        folder = tmp_path / kind
        folder.mkdir()
        path = folder / "profiles.duckdb"
        opened: Any = (
            embedded.open_store(path, MODEL, temp=folder, report=Said())
            if kind == "duckdb"
            else open_database_store(place_of(path, postgres_server), MODEL, temp=folder, report=Said())
        )
        with opened as store:
            assert take(store, folder / "a.csv", FIRST, 1).held is None
            held = take(store, folder / "b.csv", SECOND, 2).held
            assert held is not None
            assert (held.counts.created, held.counts.updated) == (20, 10)
            assert held.properties["name"] == 30
            assert len(held.rows) == 20
            assert store.count("name LIKE 'Other%'") == 0
            # Another order of the rows is the same change, though it is another file.
            turned = take(store, folder / "b.csv", list(reversed(SECOND)), 3).held
            assert turned is not None
            assert turned.source != held.source
            assert turned.changes == held.changes
            other = take(store, folder / "b.csv", SECOND[1:], 4, approved=held.digest).held
            assert other is not None
            assert other.changes != held.changes
            done = take(store, folder / "b.csv", SECOND, 5, approved=held.digest)
            assert (done.held, done.counts.created, done.counts.updated) == (None, 20, 10)
            assert store.count("name LIKE 'Other%'") == 30
        digests.append(held.digest)
    assert digests[0] == digests[1]

"""Imports of made-up files against a model of plain dicts, written apart from the SQL."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connrunner.core.counts import Counts
from connrunner.core.model import (
    Field,
    Format,
    Import,
    LocalFile,
    Objective,
    ProfileModel,
    Property,
    PropertyType,
    Write,
)
from connrunner.profiles.jobs import ImportJob, RunStamp
from tests.effort import examples
from tests.stores import BOTH, open_store
from tests.test_store_values import AT, Quiet

MODEL = ProfileModel(
    properties={
        "id": Property(name="id", identifier=True),
        "name": Property(name="name"),
        "first": Property(name="first"),
        "visits": Property(name="visits", type=PropertyType.INTEGER),
        "tags": Property(name="tags", many=True),
    },
    objectives={"news": Objective(name="news"), "ads": Objective(name="ads", legislation="opt-out")},
)
FIELDS = (
    Field(property="id", column="id"),
    Field(property="name", column="name", empty="clear"),
    Field(property="first", column="name", write=Write.SET_IF_EMPTY),
    Field(property="visits", column="visits", write=Write.INCREMENT),
    Field(property="tags", column="tags", write=Write.ADD),
)
COLUMNS = ("id", "name", "visits", "tags", "news")
ROWS = st.tuples(
    st.sampled_from(["1", "2", "3", "4", ""]),
    st.sampled_from(["Ann", "Bob", ""]),
    st.sampled_from(["1", "5", "-2", "", "x"]),
    st.sampled_from(["", "a", "a;b", "b;a;a"]),
    st.sampled_from(["yes", "no", ""]),
)

pytestmark = [pytest.mark.usefixtures("store_kind"), pytest.mark.parametrize("store_kind", BOTH, indirect=True)]
FILES = st.lists(st.lists(ROWS, max_size=8), min_size=1, max_size=3)


def expected(profiles: dict[str, dict[str, Any]], rows: list[tuple[str, ...]], *, create: bool, asks: bool) -> Counts:
    """Do to *profiles* what an import of *rows* does; return the counters."""
    result = dict.fromkeys(
        ("created", "updated", "unchanged", "duplicate", "consent_blocked", "not_found", "invalid"), 0
    )
    sound = {}
    for row in rows:
        if row[0] == "" or row[2] == "x":
            result["invalid"] += 1
        else:
            result["duplicate"] += row[0] in sound
            sound[row[0]] = row
    for key, (_, name, visits, tags, news) in sound.items():
        old = profiles.get(key)
        consent = {"yes": True, "no": False, "": old["news"] if old else None}[news]
        if old is None and not create:
            result["not_found"] += 1
            continue
        if asks and consent is not True:
            if old is not None:
                old["news"] = consent  # a refusal is recorded even though the row is blocked
            result["consent_blocked"] += 1
            continue
        before = old or {"name": None, "first": None, "visits": None, "tags": set(), "news": None}
        after = {
            "name": name or None,
            "first": before["first"] or name or None,
            "visits": (before["visits"] or 0) + int(visits) if visits else before["visits"],
            "tags": before["tags"] | set(filter(None, tags.split(";"))),
            "news": consent,
        }
        result["created" if old is None else "unchanged" if after == before else "updated"] += 1
        profiles[key] = after
    return Counts(read=len(rows), checked=len(rows), **result)


@pytest.mark.slow
@settings(
    max_examples=examples(3, long=300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(files=FILES, create=st.booleans(), asks=st.booleans())
def test_an_import_does_what_plain_dicts_do(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[tuple[str, ...]]], create: bool, asks: bool
) -> None:
    folder = tmp_path_factory.mktemp("model")
    work = Import(
        source={"type": "files"}, format=Format(), match=(("id",),), fields=FIELDS, create=create,
        objectives=("news",) if asks else (), consent={"news": "news"},
    )  # fmt: skip
    profiles: dict[str, dict[str, Any]] = {}
    seed: list[tuple[str, ...]] = [("1", "Ann", "3", "a", "yes"), ("2", "", "", "", "")]
    with open_store(folder / "profiles.duckdb", MODEL, temp=folder, report=Quiet()) as store:
        for run, rows in enumerate([seed, *files]):
            this = (
                work
                if run
                else Import(source={}, format=Format(), match=(("id",),), fields=FIELDS, consent={"news": "news"})
            )
            want = expected(profiles, rows, create=create or not run, asks=asks and bool(run))
            file = _file(folder / f"{run}.csv", rows)
            stamp = RunStamp(connection="c", run=run + 1, at=AT)
            got = store.import_files(ImportJob(work=this, files=[file], stamp=stamp, rejects=folder / f"{run}.rejects"))
            assert got.counts == want, rows
        kept = {
            found["properties"]["id"]: {
                **{name: found["properties"][name] for name in ("name", "first", "visits")},
                "tags": set(found["properties"]["tags"] or ()),
                "news": found["consents"].get("news"),
            }
            for key in profiles
            for found in store.find("id", key)
        }
        assert store.count() == len(profiles)
    assert kept == profiles


def _file(path: Path, rows: list[tuple[str, ...]]) -> LocalFile:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return LocalFile(path=str(path), name=path.name, size=path.stat().st_size, modified="x")

"""Times without an offset: what the clocks of a zone show becomes an instant, in every format."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connrunner.core.model import Field, Format, PropertyType
from connrunner.core.schedules.zone import list_zones, load_zone
from connrunner.errors import RunError
from connrunner.profiles import values
from connrunner.profiles.mapping import make_plan
from tests.effort import examples
from tests.test_profiles_open import MODEL, Shelf, counted, import_of, shelf

__all__ = ["shelf"]

AMSTERDAM = "Europe/Amsterdam"
CASES = [
    # zone                  text                                 instant
    (AMSTERDAM,             "2026-07-01 10:00:00",               "2026-07-01T08:00:00Z"),
    (AMSTERDAM,             "2026-07-01T10:00:00",               "2026-07-01T08:00:00Z"),
    (AMSTERDAM,             "\u00a02026-07-01t10:00:00 ",        "2026-07-01T08:00:00Z"),
    (AMSTERDAM,             "2026-12-01 10:00:00.25",            "2026-12-01T09:00:00.25Z"),
    (AMSTERDAM,             "2026-12-01 10:00:00.123456789",     "2026-12-01T09:00:00.123456Z"),
    (AMSTERDAM,             "2026-07-01T10:00:00Z",              "2026-07-01T10:00:00Z"),      # an offset wins
    (AMSTERDAM,             "2026-07-01 10:00:00-05:00",         "2026-07-01T15:00:00Z"),
    (AMSTERDAM,             "2026-03-29 01:59:59",               "2026-03-29T00:59:59Z"),
    (AMSTERDAM,             "2026-03-29 02:00:00",               None),                        # skipped
    (AMSTERDAM,             "2026-03-29 02:59:59.999999",        None),
    (AMSTERDAM,             "2026-03-29 03:00:00",               "2026-03-29T01:00:00Z"),
    (AMSTERDAM,             "2026-10-25 02:30:00",               "2026-10-25T00:30:00Z"),      # twice: the first one
    (AMSTERDAM,             "2026-10-25 03:00:00",               "2026-10-25T02:00:00Z"),
    (AMSTERDAM,             "2226-07-01 10:00:00",               "2226-07-01T08:00:00Z"),
    (AMSTERDAM,             "9999-12-31 23:59:59",               "9999-12-31T22:59:59Z"),
    (AMSTERDAM,             "0001-01-01 00:00:00",               None),                        # before the calendar
    ("America/New_York",    "9999-12-31 23:59:59",               None),
    ("America/New_York",    "2026-11-01 01:30:00",               "2026-11-01T05:30:00Z"),
    ("Australia/Lord_Howe", "2026-04-05 01:45:00",               "2026-04-04T14:45:00Z"),      # half an hour, twice
    ("Pacific/Apia",        "2011-12-30 12:00:00",               None),                        # a day that was not
    ("Africa/Casablanca",   "2026-02-15 02:30:00",               "2026-02-15T01:30:00Z"),
    ("Asia/Kathmandu",      "2026-07-01 10:00:00",               "2026-07-01T04:15:00Z"),
    ("UTC",                 "2024-02-29 23:59:59",               "2024-02-29T23:59:59Z"),
    (AMSTERDAM,             "2026-07-01",                        None),
    (AMSTERDAM,             "2026-07-01 10:00",                  None),
    (AMSTERDAM,             "2026-02-30 10:00:00",               None),
    (AMSTERDAM,             "2026-07-01 24:00:00",               None),
    (AMSTERDAM,             "2026-07-01 10:00:00 Europe/Paris",  None),
    (AMSTERDAM,             "",                                  None),
    ("",                    "2026-07-01 10:00:00",               None),
]  # fmt: skip


def instants_of(texts: list[str], zone: str) -> list[str | None]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE TABLE texts AS SELECT unnest(?::VARCHAR[]) AS r", [texts])
        value = values.parse_value(PropertyType.DATETIME, "r", zone=zone)
        spelt = values.format_value(PropertyType.DATETIME, "v")
        return [
            one for (one,) in connection.execute(f"SELECT {spelt} FROM (SELECT {value} AS v FROM texts)").fetchall()
        ]


def test_what_the_clocks_show_is_an_instant() -> None:
    found: dict[tuple[str, str], str | None] = {}
    for zone in dict.fromkeys(zone for zone, _, _ in CASES):
        texts = [text for one, text, _ in CASES if one == zone]
        found |= {(zone, text): instant for text, instant in zip(texts, instants_of(texts, zone), strict=True)}
    assert found == {(zone, text): instant for zone, text, instant in CASES}


def expected(local: datetime, zone: str) -> str | None:
    """Return what `zoneinfo`, and so schedules, make of *local*."""
    known = load_zone(zone)
    instant = local.replace(tzinfo=known).astimezone(UTC)
    if instant.astimezone(known).replace(tzinfo=None) != local:
        return None
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}".rjust(20, "0")


@settings(max_examples=examples(4, long=150), deadline=None)
@given(
    zone=st.sampled_from(sorted(list_zones())),
    times=st.lists(
        st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)).map(lambda at: at.replace(microsecond=0)), max_size=30
    ),
    year=st.integers(1880, 2199),
)
def test_zones_are_those_of_schedules(zone: str, times: list[datetime], year: int) -> None:
    known = load_zone(zone)
    days = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(366)]
    for before, after in pairwise(days):
        if before.astimezone(known).utcoffset() != after.astimezone(known).utcoffset():
            # Around the change, minute by minute enough to meet those of half an hour.
            times += [before.replace(tzinfo=None) + timedelta(minutes=11 * step) for step in range(-150, 300)]
    assert instants_of([str(at) for at in times], zone) == [expected(at, zone) for at in times]


FORMS: list[tuple[Format, Any]] = [
    (Format(timezone="UTC"), "id,seen\n1,2026-07-01 10:00:00\n2,2026-07-01T10:00:00Z\n3,2026-03-29 02:30:00\n"),
    (Format(type="jsonl", timezone="UTC"),
        "".join(json.dumps({"id": str(n), "seen": seen}) + "\n" for n, seen in
                enumerate(["2026-07-01 10:00:00", "2026-07-01T10:00:00Z", "2026-03-29 02:30:00"], 1))),
]  # fmt: skip


@pytest.mark.parametrize(("form", "rows"), FORMS)
def test_the_zone_of_the_field_wins_over_that_of_the_format(shelf: Shelf, form: Format, rows: str) -> None:
    field = Field(property="seen", column="seen", timezone=AMSTERDAM)
    assert counted(shelf.take(import_of("id", field, format=form), rows)) == {"created": 2, "invalid": 1}
    (told,) = shelf.told()
    assert (told["field"], told["code"]) == ("seen", "wrong-type")
    assert f"the clocks of {AMSTERDAM} show" in told["message"]
    assert shelf.profiles("seen") == [("2026-07-01T08:00:00Z",), ("2026-07-01T10:00:00Z",)]
    counts = counted(shelf.take(import_of("id", "seen", format=form), rows))
    assert counts == {"created": 1, "updated": 1, "unchanged": 1}
    assert shelf.profiles("seen") == [("2026-07-01T10:00:00Z",), ("2026-07-01T10:00:00Z",), ("2026-03-29T02:30:00Z",)]


def test_typed_timestamps(shelf: Shelf, tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            f"""COPY (SELECT '1' AS id, TIMESTAMP '2026-07-01 10:00:00.5' AS seen UNION ALL SELECT '2',
            TIMESTAMP '2026-03-29 02:30:00' UNION ALL SELECT '3', TIMESTAMP '2026-01-01') TO '{tmp_path}/a' (FORMAT parquet)"""
        )
    data = (tmp_path / "a").read_bytes()
    work = import_of("id", "seen", format=Format(type="parquet", timezone=AMSTERDAM))
    assert counted(shelf.take(work, data)) == {"created": 2, "invalid": 1}
    assert shelf.profiles("seen") == [("2026-07-01T08:00:00.5Z",), ("2025-12-31T23:00:00Z",)]


@pytest.mark.parametrize(("zone", "seen"), [("", "2026-07-01T10:00:00Z"), (AMSTERDAM, "2026-07-01T08:00:00Z")])
def test_a_workbook_is_in_utc_unless_a_zone_is_named(shelf: Shelf, tmp_path: Path, zone: str, seen: str) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["id", "seen"], ["1", datetime(2026, 7, 1, 10)], ["2", datetime(2026, 7, 1)]):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    work = import_of("id", "seen", format=Format(type="excel", timezone=zone))
    assert counted(shelf.take(work, (tmp_path / "a.xlsx").read_bytes())) == {"created": 2}
    assert shelf.profiles("seen")[0] == (seen,)


def test_a_set_of_times(shelf: Shelf) -> None:
    kinds = dict(MODEL.properties)
    kinds["seen"] = type(kinds["seen"])(name="seen", type=PropertyType.DATETIME, many=True, personal=False)
    shelf.model = type(MODEL)(properties=kinds)
    work = import_of("id", "seen", format=Format(timezone=AMSTERDAM))
    rows = "id,seen\n1,2026-07-01 10:00:00;2026-07-01T08:00:00Z;2026-01-01 10:00:00\n2,2026-07-01 10:00:00;2026-03-29 02:30:00\n"
    assert counted(shelf.take(work, rows)) == {"created": 1, "invalid": 1}
    assert shelf.profiles("seen") == [(["2026-01-01T09:00:00Z", "2026-07-01T08:00:00Z"],)]
    assert shelf.told()[0]["value"] == "2026-03-29 02:30:00"


def test_files_that_were_read_before_there_were_zones_are_not_read_again() -> None:
    plain = make_plan(import_of("id", "seen"), MODEL).fingerprint
    assert plain == make_plan(import_of("id", Field(property="seen", column="seen", timezone="")), MODEL).fingerprint
    others = {
        make_plan(work, MODEL).fingerprint
        for work in (
            import_of("id", Field(property="seen", column="seen", timezone=AMSTERDAM)),
            import_of("id", "seen", format=Format(timezone=AMSTERDAM)),
            import_of("id", "seen", format=Format(timezone="UTC")),
            import_of("id", "seen", format=Format(skip=1)),
        )
    }
    assert len(others | {plain}) == 5


@pytest.mark.parametrize(
    "work",
    [
        import_of("id", Field(property="name", column="name", timezone=AMSTERDAM)),
        import_of("id", Field(property="seen", column="seen", timezone="Europe/Amstredam")),
        import_of("id", "seen", format=Format(timezone="Mars")),
    ],
)
def test_a_zone_that_cannot_be_is_a_mistake_in_the_mapping(work: Any) -> None:
    with pytest.raises(RunError) as caught:
        make_plan(work, MODEL)
    assert caught.value.code == "mapping"

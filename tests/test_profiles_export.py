"""Exports: what a file holds, which profiles are in it, and what 'changed' means."""

from __future__ import annotations

import csv
import gzip
import io
import json
import stat
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import duckdb
import pytest

from connrunner.core.model import Export, Field, Format, Objective, ProfileModel, Property
from connrunner.errors import RunError
from connrunner.profiles import ProfileStore
from connrunner.profiles.jobs import ExportJob, RunStamp
from connrunner.profiles.results import ExportResult
from tests.test_profiles_open import AT, Shelf, import_of, shelf

pytestmark = pytest.mark.thorough

__all__ = ["shelf"]

NAMES = ("id", "email", "name", "born", "seen", "spent", "visits", "member", "tags", "scores")
ROWS = f"""{",".join(NAMES)}
1,ann@x.org,"Ann, the 1st",2001-02-03,2026-01-01T10:00:00.25+02:00,12.50,7,yes,b;a,10;9
2,bob@x.org,"Bob ""B""
Jones",,,,,no,,
3,,Zoë,,,-0.000000001,-1,,=x,
"""
ALL = {name: name for name in NAMES}


def export(
    shelf: Shelf, store: ProfileStore, *, name: str = "out.csv", connection: str = "e", mark: bool = True, **work: Any
) -> tuple[ExportResult, Path]:
    """Export in the next run; *mark* it as arrived."""
    shelf.runs += 1
    work.setdefault("fields", {"id": "id"})
    work.setdefault("format", Format())
    path = shelf.folder / f"{shelf.runs}-{name}"
    stamp = RunStamp(connection=connection, run=shelf.runs, at=AT)
    result = store.export(ExportJob(work=Export(destination={}, **work), stamp=stamp, path=path))
    assert not result.counts.imbalance()
    if mark:
        store.confirm_export(stamp)
    return result, path


def seeded(shelf: Shelf, store: ProfileStore) -> None:
    shelf.take(import_of(*NAMES), ROWS, store=store)


def counts(result: ExportResult) -> dict[str, int]:
    return {name: count for name, count in result.counts.as_dict().items() if count and name not in ("read", "checked")}


# --- what a file holds -------------------------------------------------------------------------------------------


def test_csv(shelf: Shelf) -> None:
    with shelf.open() as store:
        seeded(shelf, store)
        result, path = export(shelf, store, fields={"Nr; #": "id"} | ALL)
    assert result.rows_written == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(csv.reader(io.StringIO(path.read_text(), newline=""))) == [
        ["Nr; #", *NAMES],
        [
            "1",
            "1",
            "ann@x.org",
            "Ann, the 1st",
            "2001-02-03",
            "2026-01-01T08:00:00.25Z",
            "12.5",
            "7",
            "true",
            "a;b",
            "9;10",
        ],
        ["2", "2", "bob@x.org", 'Bob "B"\nJones', "", "", "", "", "false", "", ""],
        ["3", "3", "", "Zoë", "", "", "-0.000000001", "-1", "", "=x", ""],
    ]


def test_what_goes_out_can_come_in_again(shelf: Shelf) -> None:
    with shelf.open() as store:
        seeded(shelf, store)
        _, path = export(shelf, store, fields=ALL)
        again = shelf.take(import_of(*NAMES), path.read_bytes(), store=store)
        assert again.counts.unchanged == 3
        _, path = export(shelf, store, fields=ALL, format=Format(type="jsonl"), rows="all")
        again = shelf.take(import_of(*NAMES, format=Format(type="jsonl")), path.read_bytes(), store=store)
        assert again.counts.unchanged == 3
        _, path = export(shelf, store, fields=ALL, format=Format(type="parquet"), rows="all")
        again = shelf.take(import_of(*NAMES, format=Format(type="parquet")), path.read_bytes(), store=store)
        assert again.counts.unchanged == 3


def test_csv_in_other_dialects(shelf: Shelf) -> None:
    with shelf.open() as store:
        seeded(shelf, store)
        form = Format(delimiter=";", quote="'", header=False, encoding="latin-1")
        _, path = export(shelf, store, fields={"id": "id", "name": "name", "tags": "tags"}, format=form)
        assert path.read_bytes().startswith("1;Ann, the 1st;'a;b'\n".encode("latin-1"))
        assert "3;Zoë;=x\n".encode("latin-1") in path.read_bytes()
        _, path = export(shelf, store, rows="all", format=Format(encoding="utf-16"))
        assert path.read_bytes().decode("utf-16") == "id\n1\n2\n3\n"
        _, path = export(shelf, store, rows="all", format=Format(encoding="utf-8-sig"))
        assert path.read_bytes() == b"\xef\xbb\xbfid\n1\n2\n3\n"
        _, path = export(shelf, store, fields={"id": "id", "name": "name"}, rows="all", format=Format(encoding="ascii"))
        assert path.read_bytes().startswith(b'id,name\n1,"Ann, the 1st"\n')
        assert b"\n3," not in path.read_bytes()
        with pytest.raises(RunError, match="unknown encoding"):
            export(shelf, store, format=Format(encoding="utf9"))


def test_json_lines(shelf: Shelf) -> None:
    with shelf.open() as store:
        seeded(shelf, store)
        _, path = export(shelf, store, fields=ALL, format=Format(type="jsonl"))
    lines = [json.loads(line, parse_float=Decimal) for line in path.read_text().splitlines()]
    assert lines[0] == {
        "id": "1", "email": "ann@x.org", "name": "Ann, the 1st", "born": "2001-02-03",
        "seen": "2026-01-01T08:00:00.25Z", "spent": Decimal("12.5"), "visits": 7, "member": True,
        "tags": ["a", "b"], "scores": [9, 10],
    }  # fmt: skip
    assert lines[1]["name"] == 'Bob "B"\nJones'
    assert lines[2] == dict.fromkeys(NAMES) | {
        "id": "3",
        "name": "Zoë",
        "spent": Decimal("-0.000000001"),
        "visits": -1,
        "tags": ["=x"],
    }


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
def test_decimals_have_all_their_digits_and_no_idle_zeros(kind: Literal["jsonl", "json", "csv"], shelf: Shelf) -> None:
    numbers = ["42", "1.01", "-0.5", "0", "100", "28999999999999999999999999999.123456789", "9007199254740993"]
    given = "".join(
        f"{row},{number}.0\n" if number == "42" else f"{row},{number}\n" for row, number in enumerate(numbers)
    )
    with shelf.open() as store:
        shelf.take(import_of("id", "spent"), f"id,spent\n{given}x,\n", store=store)
        _, path = export(shelf, store, fields={"id": "id", 'the "sum"': "spent"}, format=Format(type=kind))
    text = path.read_text()
    if kind == "csv":
        found = [line.rpartition(",")[2] for line in text.splitlines()[1:]]
        assert found == [*numbers, ""]
        return
    lines = [json.loads(line, parse_float=str, parse_int=str) for line in text.splitlines()] if kind == "jsonl" else []
    records = lines or json.loads(text, parse_float=str, parse_int=str)
    assert [(one["id"], one['the "sum"']) for one in records] == [
        *((str(row), number) for row, number in enumerate(numbers)),
        ("x", None),
    ]


def test_parquet(shelf: Shelf) -> None:
    with shelf.open() as store:
        seeded(shelf, store)
        _, path = export(shelf, store, name="out.parquet", fields=ALL, format=Format(type="parquet"))
    with duckdb.connect() as connection:
        types = {row[0]: row[1] for row in connection.execute(f"DESCRIBE FROM '{path}'").fetchall()}
        found = connection.execute(f"SELECT id, spent, tags, epoch_ms(seen) FROM '{path}' ORDER BY id").fetchall()
    assert types == {
        "id": "VARCHAR", "email": "VARCHAR", "name": "VARCHAR", "born": "DATE", "seen": "TIMESTAMP WITH TIME ZONE",
        "spent": "DECIMAL(38,9)", "visits": "BIGINT", "member": "BOOLEAN", "tags": "VARCHAR[]", "scores": "BIGINT[]",
    }  # fmt: skip
    assert [found[0][0], str(found[0][1]), found[0][2], found[0][3]] == ["1", "12.500000000", ["a", "b"], 1767254400250]


PACKED = [
    ("out.csv.gz", "auto", True),
    ("out.csv", "gzip", True),
    ("out.csv", "auto", False),
    ("out.csv.gz", "none", False),
]


@pytest.mark.parametrize(("name", "compression", "packed"), PACKED)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_packed_or_not(shelf: Shelf, name: str, compression: Any, packed: bool, encoding: str) -> None:
    with shelf.open() as store:
        seeded(shelf, store)
        _, path = export(shelf, store, name=name, format=Format(compression=compression, encoding=encoding))
    data = path.read_bytes()
    assert (gzip.decompress(data) if packed else data) == b"id\n1\n2\n3\n"


def test_no_rows_are_a_header_alone(shelf: Shelf) -> None:
    with shelf.open() as store:
        seeded(shelf, store)
        result, path = export(shelf, store, where="visits > 100", fields=ALL)
    assert path.read_text() == ",".join(NAMES) + "\n"
    assert (counts(result), result.rows_written) == ({"filtered": 3}, 0)


BAD_FIELDS = [
    ({"x": "nmae"}, "'nmae', which profile.yaml does not declare"),
    ({"Id": "id", "ID": "name"}, "but for capitals"),
]


@pytest.mark.parametrize(("wanted", "words"), BAD_FIELDS)
def test_fields_that_cannot_be(shelf: Shelf, wanted: dict[str, str], words: str) -> None:
    with shelf.open() as store, pytest.raises(RunError, match=words):
        export(shelf, store, fields=wanted)


# --- which profiles are in it ------------------------------------------------------------------------------------


def ids(path: Path) -> str:
    return "".join(row["id"] for row in csv.DictReader(io.StringIO(path.read_text(), newline="")))


def test_changed_is_counted_from_the_last_success(shelf: Shelf) -> None:
    work: dict[str, Any] = {"fields": {"id": "id", "name": "name"}}
    with shelf.open() as store:
        seeded(shelf, store)
        result, path = export(shelf, store, mark=False, **work)
        assert (counts(result), ids(path)) == ({"created": 3}, "123")
        result, path = export(shelf, store, **work)
        assert (counts(result), ids(path)) == ({"created": 3}, "123")  # the first one never arrived
        result, path = export(shelf, store, **work)
        assert (counts(result), ids(path)) == ({"unchanged": 3}, "")
        shelf.take(import_of("id", "name", "visits"), "id,name,visits\n1,Anna,\n2,,99\n4,New,\n", store=store)
        result, path = export(shelf, store, mark=False, **work)
        assert (counts(result), ids(path)) == ({"updated": 1, "created": 1, "unchanged": 2}, "14")
        shelf.take(import_of("id", "name"), 'id,name\n1,"Ann, the 1st"\n', store=store)
        result, path = export(shelf, store, **work)
        assert (counts(result), ids(path)) == ({"created": 1, "unchanged": 3}, "4")  # changed back in between


def test_all_rows_are_counted_the_same_way(shelf: Shelf) -> None:
    with shelf.open() as store:
        seeded(shelf, store)
        export(shelf, store, rows="all")
        shelf.take(import_of("id"), "id\n4\n", store=store)
        result, path = export(shelf, store, rows="all")
        assert (counts(result), ids(path), result.rows_written) == ({"created": 1, "unchanged": 3}, "1234", 4)
        result, path = export(shelf, store)
        assert (counts(result), result.rows_written) == ({"unchanged": 4}, 0)


def test_another_column_sends_every_row_again(shelf: Shelf) -> None:
    with shelf.open() as store:
        seeded(shelf, store)
        export(shelf, store)
        result, _ = export(shelf, store, fields={"id": "id", "born": "born"})
        assert counts(result) == {"updated": 3}
        result, _ = export(shelf, store, fields={"id": "id", "Birthday": "born"})
        assert counts(result) == {"updated": 3}


def test_each_connection_sends_for_itself(shelf: Shelf) -> None:
    with shelf.open() as store:
        seeded(shelf, store)
        export(shelf, store, connection="first")
        result, _ = export(shelf, store, connection="second")
        assert counts(result) == {"created": 3}


def test_who_leaves_and_comes_back_is_sent_again(shelf: Shelf) -> None:
    work: dict[str, Any] = {"fields": {"id": "id"}, "where": "visits > 0"}
    with shelf.open() as store:
        seeded(shelf, store)
        result, path = export(shelf, store, **work)
        assert (counts(result), ids(path)) == ({"created": 1, "filtered": 2}, "1")
        shelf.take(import_of("id", "visits"), "id,visits\n1,0\n3,5\n", store=store)
        result, path = export(shelf, store, **work)
        assert (counts(result), ids(path)) == ({"created": 1, "filtered": 2}, "3")
        shelf.take(import_of("id", "visits"), "id,visits\n1,1\n", store=store)
        result, path = export(shelf, store, **work)
        assert (counts(result), ids(path)) == ({"created": 1, "unchanged": 1, "filtered": 1}, "1")


def test_values_that_only_look_the_same_are_different(shelf: Shelf) -> None:
    shelf.model = ProfileModel(
        properties={
            name: Property(name=name, identifier=name == "id", many=name == "c") for name in ("id", "a", "b", "c")
        }
    )
    columns = import_of(
        "id", *(Field(property=name, column=name, empty="clear") for name in "abc"), format=Format(type="jsonl")
    )
    shapes: list[dict[str, Any]] = [
        {"a": "x", "b": None, "c": None}, {"a": None, "b": "x", "c": None}, {"a": "x\x1fy", "b": None, "c": None},
        {"a": "x", "b": "y", "c": None}, {"a": 'x","y', "b": None, "c": None}, {"a": None, "b": None, "c": ["x", "y"]},
        {"a": None, "b": None, "c": ["x"]}, {"a": "null", "b": None, "c": None}, {"a": None, "b": None, "c": None},
    ]  # fmt: skip
    with shelf.open() as store:
        shelf.take(columns, json.dumps({"id": 1, "a": "start"}), store=store)
        export(shelf, store, fields={name: name for name in ("id", "a", "b", "c")})
        for shape in shapes:
            shelf.take(columns, json.dumps({"id": 1} | shape), store=store)
            result, _ = export(shelf, store, fields={name: name for name in ("id", "a", "b", "c")})
            assert counts(result) == {"updated": 1}, shape


CONSENTS = [
    # legislation, who said yes, no and nothing: whom the export may tell
    ("opt-in", "1", {"consent_blocked": 2, "created": 1}),
    ("opt-out", "13", {"consent_blocked": 1, "created": 2}),
]


@pytest.mark.parametrize(("legislation", "told", "want"), CONSENTS)
def test_consent_goes_for_exports_too(shelf: Shelf, legislation: Any, told: str, want: dict[str, int]) -> None:
    shelf.model = ProfileModel(
        properties={"id": Property(name="id", identifier=True)},
        objectives={"ok": Objective(name="ok", legislation=legislation)},
    )
    with shelf.open() as store:
        shelf.take(import_of("id", consent={"ok": "ok"}), "id,ok\n1,yes\n2,no\n3,\n", store=store)
        result, path = export(shelf, store, objectives=("ok",))
        assert (counts(result), ids(path)) == (want, told)
        shelf.take(import_of("id", consent={"ok": "ok"}), "id,ok\n1,no\n", store=store)
        result, path = export(shelf, store, objectives=("ok",))
        assert result.counts.consent_blocked == want["consent_blocked"] + 1
        shelf.take(import_of("id", consent={"ok": "ok"}), "id,ok\n1,yes\n", store=store)
        result, path = export(shelf, store, objectives=("ok",))
        assert ids(path) == "1"
        result, path = export(shelf, store, objectives=("ok",), where="id <> '2'")
        assert result.counts.filtered == 1
        with pytest.raises(RunError, match="no objective 'unheard'"):
            export(shelf, store, objectives=("unheard",))


def test_only_what_was_exported_can_have_arrived(shelf: Shelf) -> None:
    with shelf.open() as store:
        seeded(shelf, store)
        export(shelf, store, mark=False)
        with pytest.raises(RunError) as caught:
            store.confirm_export(RunStamp(connection="other", run=shelf.runs, at=AT))
        assert caught.value.code == "not-exported"
        store.confirm_export(RunStamp(connection="e", run=shelf.runs, at=AT))
        with pytest.raises(RunError):
            store.confirm_export(RunStamp(connection="e", run=shelf.runs, at=AT))
        told = store.read_counts(connection="e", run=shelf.runs)
        assert told is not None
        assert told.created == 3


# --- selections --------------------------------------------------------------------------------------------------


def test_a_selection_as_values_and_as_a_file(shelf: Shelf) -> None:
    with shelf.open() as store:
        seeded(shelf, store)
        assert (store.count(), store.count("visits < 0")) == (3, 1)
        assert list(store.select(["id", "spent", "member", "scores"], where="visits IS NOT NULL")) == [
            {"id": "1", "spent": "12.5", "member": True, "scores": [9, 10]},
            {"id": "3", "spent": "-0.000000001", "member": None, "scores": None},
        ]
        path = shelf.folder / "selection.csv"
        assert store.write(path, Format(), ["id", "name"], where="id IN ('1', '3')") == 2
        assert path.read_text() == 'id,name\n1,"Ann, the 1st"\n3,Zoë\n'


CONDITIONS = [
    ("visits > 0", "1"),
    ("Visits > 0", "1"),
    ("\"visits\" > 0 OR name = 'Zoë'", "13"),
    ("list_contains(tags, 'a')", "1"),
    ("len(tags) = 1", "3"),
    ("email LIKE '%@x.org' AND NOT member", "2"),
    ("name ILIKE 'zoë'", "3"),
    ("born BETWEEN '2001-01-01' AND '2001-12-31'", "1"),
    ("date_part('year', born) = 2001", "1"),
    ("seen >= '2026-01-01T10:00:00+02:00'", "1"),
    ("seen < now() - INTERVAL 1 DAY AND born < current_date", "1"),
    ("spent = 12.5", "1"),
    ("coalesce(member, false)", "1"),
    ("CASE WHEN visits > 0 THEN member ELSE spent < 0 END", "13"),
    ("id IN ('1', '2', '3', '4', '5', '6')", "123"),
    ("id::INTEGER % 2 = 1", "13"),
    ("regexp_matches(name, '^Z')", "3"),
    ("NULL::BOOLEAN", ""),
    ("visits -- a remark", None),
    (f"{' + '.join(['visits'] * 83)} > 0", "1"),
    ("true", "123"),
]


@pytest.mark.parametrize(("condition", "want"), [one for one in CONDITIONS if one[1] is not None])
def test_a_condition_selects(shelf: Shelf, condition: str, want: str) -> None:
    with shelf.open() as store:
        seeded(shelf, store)
        assert "".join(found["id"] for found in store.select(["id"], where=condition)) == want


REFUSED = [
    ("", "selection list|expression"),
    ("visits", "type BIGINT"),
    ("NULL", "true or false"),
    ("nmae = 'x'", "did you mean 'name'"),
    ("p.name = 'x'", "no property 'p.name'"),
    ("_id = 1", "no property '_id'"),
    ("name = 'x'; DROP TABLE profiles", "one expression and nothing else"),
    ("name = 'x' LIMIT 1", "one expression and nothing else"),
    ("name = 'x' ORDER BY 1", "one expression and nothing else"),
    ("name = 'x' AS y", "one expression and nothing else"),
    ("name = 'x', true", "one expression and nothing else"),
    ("true FROM read_csv('/etc/passwd')", "one expression and nothing else"),
    ("true UNION SELECT true", "one expression and nothing else"),
    ("DISTINCT true", "one expression and nothing else"),
    ("true) OR (true", "syntax error"),
    ("EXISTS (SELECT 1)", "a subquery"),
    ("id IN (SELECT id FROM store.profiles)", "a subquery"),
    ("'a' = ANY(tags)", "list_contains"),
    ("count(*) > 1", "function count_star"),
    ("row_number() OVER () = 1", "a window function"),
    ("list_filter(tags, lambda t: t = 'a') = []", "lambda|list_filter"),
    ("*", "not allowed"),
    ("COLUMNS('id') = '1'", "not allowed"),
    ("id = $1", "a parameter"),
    ("getenv('HOME') = 'x'", "function getenv"),
    ("current_setting('temp_directory') = 'x'", "function current_setting"),
    ("read_text('/etc/passwd') IS NULL", "function read_text"),
    ("nextval('x') = 1", "function nextval"),
    ("lowr(name) = 'x'", "did you mean 'lower'"),
    ("other.lower(name) = 'x'", "without a schema|property"),
    ("tags = 'a'", "cannot be converted; look at the values of tags of 3 profiles"),
    ("name > 5", "convert|cast|compare"),
    ("email::INTEGER > 1", "converted to INT32; look at the values of email of 2 profiles"),
    (
        "visits > 9223372036854775807 + visits",
        "beyond what its type can hold; look at the values of visits of 1 profile",
    ),
    ("name LIKE name ESCAPE name", "not as it should be; look at the values of name"),
    (f"{' + '.join(['visits'] * 84)} > 0", "nested too deeply"),
    (f"{' + '.join(['visits'] * 990)} > 0", "nested too deeply"),
]


@pytest.mark.parametrize(("condition", "words"), REFUSED)
def test_a_condition_that_is_none_is_refused(shelf: Shelf, condition: str, words: str) -> None:
    with shelf.open() as store:
        seeded(shelf, store)
        for ask in (
            lambda: store.count(condition),
            lambda: list(store.select(["id"], where=condition)),
            lambda: export(shelf, store, where=condition),
        ):
            with pytest.raises(RunError, match=words) as caught:
                ask()
            assert caught.value.code == "where"
        assert store.count() == 3

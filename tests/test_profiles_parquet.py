"""Parquet files of other writers, from the file to the store: what each kind of value becomes, and damaged files."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connrunner.core.model import Field, Format, Import, LocalFile, ProfileModel, Property, PropertyType
from connrunner.errors import RunError
from connrunner.profiles import ProfileStore
from connrunner.profiles.jobs import ImportJob, RunStamp
from connrunner.profiles.readers import arrow_schema
from connrunner.profiles.results import ImportResult
from connrunner.profiles.stores.duckdb import open_store
from tests.test_profiles_import_more import Report

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

TYPES = {
    "id": "text",
    "email": "email",
    "note": "text",
    "n": "integer",
    "d": "decimal",
    "t": "datetime",
    "day": "date",
    "m": "text",  # as `nm` is: `many`
    "nm": "integer",
}
AT = datetime.fromisoformat("2026-11-22T00:00:00+00:00")
FORM = Format(type="parquet")


class Refused(str):
    """The code of a refusal."""


def seconds(value: int, unit: str) -> Any:
    return pa.array([value], pa.duration(unit))


VALUES: list[tuple[Callable[[], Any], str, Any]] = [
    # a column of one value,                                     the property, what it becomes
    (lambda: pa.array(["Zoë".encode()], pa.binary()), "note", "Zoë"),
    (lambda: pa.array(["Zoë!".encode()], pa.binary(5)), "note", "Zoë!"),
    (lambda: pa.array(["Zoë".encode()], pa.large_binary()), "note", "Zoë"),
    (lambda: pa.array([b""], pa.binary()), "note", None),
    (lambda: pa.array([b"\\x41"], pa.binary()), "note", "\\x41"),
    (lambda: pa.array([b"ANN@example.com"], pa.binary()), "email", "ann@example.com"),
    (lambda: pa.array([b"\xff\xfe"], pa.binary()), "note", Refused("binary-column")),
    (lambda: pa.array([b"Zo\xeb"], pa.binary(3)), "note", Refused("binary-column")),
    (lambda: pa.array([[b"x", "é".encode()]], pa.list_(pa.binary())), "m", ["x", "é"]),
    (lambda: pa.array([[b"x", b"\xff"]], pa.list_(pa.binary())), "m", Refused("binary-column")),
    (lambda: pa.array([[b"x", None]], pa.list_(pa.binary())), "m", ["x"]),
    (lambda: pa.array([[b"x", b"\xff"]], pa.list_(pa.binary())), "note", Refused("binary-column")),
    (lambda: pa.array([[b"x", None]], pa.list_(pa.binary())), "note", '["x",null]'),
    (lambda: pa.array([{"a": b"\xff"}], pa.struct({"a": pa.binary()})), "note", Refused("bad-json")),
    # nested values
    (lambda: pa.array([{"a": 1, "b": "x"}]), "note", '{"a":1,"b":"x"}'),
    (lambda: pa.array([{"a": None, 'q"': "\n\u2028é"}]), "note", '{"a":null,"q\\"":"\\n\u2028é"}'),
    (lambda: pa.array([["x", None, "y"]]), "note", '["x",null,"y"]'),
    (lambda: pa.array([[]], pa.list_(pa.string())), "note", "[]"),
    (lambda: pa.array([[[1], [], None]]), "note", "[[1],[],null]"),
    (lambda: pa.array([[1, 2]], pa.list_(pa.int8(), 2)), "note", "[1,2]"),
    (lambda: pa.array([[1, 2]], pa.list_(pa.int8(), 2)), "nm", [1, 2]),
    (lambda: pa.array([[("k", 1), ("l", None)]], pa.map_(pa.string(), pa.int64())), "note", '{"k":1,"l":null}'),
    (lambda: pa.array([[(1, [Decimal("1.10")])]], pa.map_(pa.int32(), pa.list_(pa.decimal128(5, 2)))), "note", '{"1":[1.10]}'),
    (lambda: pa.array([{"a": {"b": [{"c": True}]}}]), "note", '{"a":{"b":[{"c":true}]}}'),
    (lambda: pa.array([{"d": date(2026, 1, 2), "f": 0.5, "i": [3.0]}]), "note", '{"d":"2026-01-02","f":0.5,"i":[3.0]}'),
    (lambda: pa.array([{"f": float("nan")}]), "note", Refused("bad-json")),
    (lambda: pa.array([[1.0, float("inf")]]), "note", Refused("bad-json")),
    (lambda: pa.array([{"t": 1}], pa.struct({"t": pa.timestamp("ns", "UTC")})), "note", '{"t":"1970-01-01T00:00:00Z"}'),
    (lambda: pa.array([[{"a": 1}]]), "m", ['{"a":1}']),
    (lambda: pa.array([{"a": 1}]), "m", ['{"a":1}']),
    (lambda: pa.array([None], pa.struct({"a": pa.int8()})), "note", None),
    # numbers
    (lambda: pa.array([12345.0]), "note", "12345"),
    (lambda: pa.array([12345.0], pa.float32()), "note", "12345"),
    (lambda: pa.array([12345.0]), "n", 12345),
    (lambda: pa.array([-0.0]), "note", "0"),
    (lambda: pa.array([-7.0]), "note", "-7"),
    (lambda: pa.array([1e23]), "note", "1" + 23 * "0"),
    (lambda: pa.array([-1.25e40]), "note", "-125" + 38 * "0"),
    (lambda: pa.array([1.5e-7]), "note", "0.00000015"),
    (lambda: pa.array([-2e-5]), "note", "-0.00002"),
    (lambda: pa.array([0.1], pa.float32()), "d", "0.1"),
    (lambda: pa.array([0.1], pa.float32()), "note", "0.1"),
    (lambda: pa.array([16777216.0], pa.float32()), "note", "16777216"),
    (lambda: pa.array([0.1]), "d", "0.1"),
    (lambda: pa.array([1e-8]), "d", "0.00000001"),
    (lambda: pa.array([2.5]), "n", Refused("wrong-type")),
    (lambda: pa.array([float("nan")]), "d", Refused("wrong-type")),
    (lambda: pa.array([float("nan")]), "note", Refused("not-a-number")),
    (lambda: pa.array([float("-inf")], pa.float32()), "note", Refused("not-a-number")),
    (lambda: pa.array([[float("nan")]]), "m", Refused("bad-json")),
    (lambda: pa.array([[float("nan")]]), "nm", Refused("wrong-type")),
    (lambda: pa.array([[1.0, 2.0]]), "nm", [1, 2]),
    (lambda: pa.array([Decimal("2.00")], pa.decimal128(10, 2)), "n", 2),
    (lambda: pa.array([Decimal("2.50")], pa.decimal128(10, 2)), "n", Refused("wrong-type")),
    (lambda: pa.array([Decimal("2.00")], pa.decimal128(10, 2)), "note", "2.00"),
    # instants
    (lambda: pa.array([1782900000123456789], pa.timestamp("ns", "UTC")), "t", "2026-07-01T10:00:00.123456Z"),
    (lambda: pa.array([1782900000123456789], pa.timestamp("ns", "Europe/Amsterdam")), "t", "2026-07-01T10:00:00.123456Z"),
    (lambda: pa.array([1782900000], pa.timestamp("s", "UTC")), "t", "2026-07-01T10:00:00Z"),
    (lambda: pa.array([1782900000123456789], pa.timestamp("ns")), "t", Refused("wrong-type")),
    (lambda: pa.array([1782864000000000000], pa.timestamp("ns")), "day", "2026-07-01"),
    # durations
    (lambda: pa.array([timedelta(hours=36)]), "note", "36:00:00"),
    (lambda: seconds(-90, "s"), "note", "-00:01:30"),
    (lambda: seconds(1500, "ms"), "note", "00:00:01.500000"),
    (lambda: seconds(1, "us"), "note", "00:00:00.000001"),
    (lambda: seconds(3_600_000_000_001, "ns"), "note", "01:00:00"),
    (lambda: seconds(-1, "ns"), "note", "00:00:00"),
    (lambda: seconds(1_000_000 * 3600, "s"), "note", "1000000:00:00"),
    (lambda: seconds(9, "us"), "n", 9),
    (lambda: pa.array([[timedelta(minutes=5)]]), "m", ["00:05:00"]),
    (lambda: pa.array([{"a": timedelta(minutes=5), "b": 5}]), "note", '{"a":"00:05:00","b":5}'),
    (lambda: pa.array([[("k", timedelta(minutes=5))]], pa.map_(pa.string(), pa.duration("s"))), "note", '{"k":"00:05:00"}'),
]  # fmt: skip


MODEL = ProfileModel(
    properties={
        **{
            name: Property(
                name=name, type=PropertyType(kind), identifier=name == "id", many=name in ("m", "nm"), personal=False
            )
            for name, kind in TYPES.items()
        },
        **{
            f"p{number}": Property(
                name=f"p{number}", type=PropertyType(TYPES[kind]), many=kind in ("m", "nm"), personal=False
            )
            for number, (_, kind, _) in enumerate(VALUES)
        },
    }
)


class Bench:
    """An open store, and imports of one connection into it."""

    def __init__(self, folder: Path, store: ProfileStore) -> None:
        self.folder = folder
        self.store = store
        self.run = 0

    def write(self, columns: dict[str, Any], name: str = "a.parquet", **how: Any) -> Path:
        path = self.folder / name
        pq.write_table(pa.table(columns), path, **how)
        return path

    def take(self, path: Path | list[Path], *names: str) -> ImportResult:
        """Import the columns *names* of one file, or of several."""
        self.run += 1
        fields = tuple(Field(property=name, column=name) for name in names)
        work = Import(source={}, format=FORM, match=(("id",),), fields=fields)
        paths = [path] if isinstance(path, Path) else path
        return self.store.import_files(
            ImportJob(
                work=work,
                files=tuple(
                    LocalFile(path=str(each), name=each.name, size=each.stat().st_size, modified=str(self.run))
                    for each in paths
                ),
                stamp=RunStamp(connection="people", run=self.run, at=AT),
                rejects=self.folder / f"rejects-{self.run}.jsonl",
            )
        )

    def rejects(self) -> list[dict[str, Any]]:
        path = self.folder / f"rejects-{self.run}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bench")
    with open_store(folder / "store.duckdb", MODEL, temp=folder / "temp", report=Report()) as store:
        yield Bench(folder, store)


@pytest.fixture(scope="module")
def imported(bench: Bench) -> list[Any]:
    """What became of each of VALUES: the value, or the code of its refusal."""
    sound = [number for number, (_, _, expected) in enumerate(VALUES) if not isinstance(expected, Refused)]
    columns = {f"p{number}": VALUES[number][0]() for number in sound}
    bench.take(bench.write({"id": ["sound"], **columns}, "sound.parquet"), "id", *columns)
    assert bench.rejects() == []
    (profile,) = bench.store.find("id", "sound")
    found = [profile["properties"].get(f"p{number}") for number in range(len(VALUES))]
    for number in sorted({*range(len(VALUES))} - {*sound}):
        bench.take(bench.write({"id": ["refused"], f"p{number}": VALUES[number][0]()}), "id", f"p{number}")
        (reject,) = bench.rejects()
        found[number] = Refused(reject["code"])
    return found


@pytest.mark.parametrize("number", range(len(VALUES)), ids=lambda number: f"{number}-{VALUES[number][1]}")
def test_what_a_value_becomes(imported: list[Any], number: int) -> None:
    assert imported[number] == VALUES[number][2]


def test_one_person_in_two_spellings_is_one_profile(bench: Bench) -> None:
    """Bytes, a float and a text: all are the identifier that a CSV calls 12345."""
    before = bench.store.count()
    for column in (pa.array(["777001"]), pa.array([b"777001"]), pa.array([777001.0]), pa.array([777001])):
        bench.take(bench.write({"id": column}), "id")
    assert bench.store.count() == before + 1


def test_two_columns_of_one_name_are_refused_when_one_is_read(bench: Bench) -> None:
    arrays = [pa.array(["1"]), pa.array(["2"]), pa.array(["3"]), pa.array(["4"])]
    path = bench.folder / "twice.parquet"
    pq.write_table(pa.Table.from_arrays(arrays, names=["id", "note", "note", "Note"]), path)
    with pytest.raises(RunError, match=r"twice\.parquet has 2 columns called 'note'") as caught:
        bench.take(path, "id", "note")
    assert caught.value.code == "duplicate-column"
    assert bench.take(path, "id").counts.checked == 1, "no field reads it"


def test_columns_that_differ_in_capitals_are_two(bench: Bench) -> None:
    arrays = [pa.array(["caps"]), pa.array(["low"]), pa.array(["high"])]
    path = bench.folder / "caps.parquet"
    pq.write_table(pa.Table.from_arrays(arrays, names=["id", "Note", "note"]), path)
    bench.take(path, "id", "note")
    assert bench.store.find("id", "caps")[0]["properties"]["note"] == "high"


def test_decimals_of_more_digits_than_are_kept_are_refused(bench: Bench) -> None:
    wide = pa.array([Decimal("2.00")], pa.decimal256(60, 2))
    with pytest.raises(RunError, match="column 'note' holds decimals of 60 digits") as caught:
        bench.take(bench.write({"id": ["a"], "note": wide}), "id", "note")
    assert caught.value.code == "inexact-column"
    with pytest.raises(RunError, match="decimals of 60 digits"):
        bench.take(
            bench.write({"id": ["a"], "m": pa.array([[Decimal("2.00")]], pa.list_(pa.decimal256(60, 2)))}), "id", "m"
        )


def test_files_of_every_version_and_encoding_say_the_same(bench: Bench) -> None:
    rows = {"id": ["e1"] * 3, "note": pa.array([b"x", b"x", b"x"]), "m": [["p", "q"]] * 3}
    ways: list[dict[str, Any]] = [
        {"version": "1.0", "data_page_version": "1.0"},
        {"version": "2.6", "data_page_version": "2.0"},
        {"use_dictionary": False, "compression": "none"},
        {"compression": "zstd"},
        {"store_schema": False},
        {"row_group_size": 1},
    ]
    for number, how in enumerate(ways):
        bench.take(bench.write(rows, f"how-{number}.parquet", **how), "id", "note", "m")
        found = bench.store.find("id", "e1")[0]["properties"]
        assert (found["note"], found["m"]) == ("x", ["p", "q"]), how


# --- damage ------------------------------------------------------------------------------------------------------

ABOUT_THE_FILE = {"damaged-file", "wrong-format", "missing-column", "duplicate-column", "inexact-column", "too-large"}


def sound_files(bench: Bench) -> list[bytes]:
    flat = {"id": [f"k{number}" for number in range(64)], "m": [["p", "q"]] * 64}
    rich = {
        "id": [f"k{number}" for number in range(40)],
        "note": pa.array([{"a": number, "b": ["x"]} for number in range(40)]),
        "n": pa.array(range(40), pa.int64()),
        "d": pa.array([number / 3 for number in range(40)]),
        "t": pa.array(range(40), pa.timestamp("ns", "UTC")),
        "m": pa.array([[b"p", b"q"]] * 40),
    }
    return [
        bench.write(flat, "flat", compression="none").read_bytes(),
        bench.write(rich, "rich-none", compression="none", use_dictionary=False).read_bytes(),
        bench.write(rich, "rich", compression="snappy", data_page_version="2.0").read_bytes(),
        bench.write(rich, "rich-zstd", compression="zstd", row_group_size=16).read_bytes(),
    ]


def outcome(bench: Bench, data: bytes, names: tuple[str, ...]) -> str:
    """Import *data* and return the code of its failure, nothing when it was read."""
    path = bench.folder / "damaged.parquet"
    path.write_bytes(data)
    try:
        bench.take(path, *names)
    except RunError as error:
        found = error
    else:
        return ""
    assert found.code in ABOUT_THE_FILE, found
    assert "damaged.parquet" in found.message, found
    assert "store.duckdb" not in str(found)
    return found.code


@pytest.mark.parametrize(("place", "byte"), [(11, 0xFF), (21, 0xFF)])
def test_damage_is_blamed_on_the_file(bench: Bench, place: int, byte: int) -> None:
    data = bytearray(sound_files(bench)[0])
    data[place] = byte
    assert outcome(bench, bytes(data), ("id", "m")) == "damaged-file"


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.thorough) for n in range(1, 20))])
def test_any_damage_is_blamed_on_the_file(bench: Bench, seed: int) -> None:
    """For hundreds of files: `make thorough`."""
    dice = random.Random(seed)
    files = sound_files(bench)
    codes: list[str] = []
    for _ in range(10):
        kind = dice.randrange(len(files))
        data = bytearray(files[kind])
        for _ in range(dice.randrange(1, 5)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        if dice.random() < 0.1:
            del data[dice.randrange(len(data)) :]
        codes.append(outcome(bench, bytes(data), ("id", "m") if kind == 0 else ("id", "note", "n", "d", "t", "m")))
    assert "damaged-file" in codes


def test_a_failure_that_is_not_the_files_is_not_blamed_on_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from connrunner.profiles.importing import read

    def full(*_: Any) -> Any:
        raise OSError("no space is left")

    monkeypatch.setattr(read, "create_stage", full)
    with pytest.raises(OSError, match="no space"):
        bench.take(bench.write({"id": ["a"]}), "id")


# --- the schema of Arrow beside the data -------------------------------------------------------------------------


def arrow_value(fields: Any) -> bytes:
    table = pa.table({name: pa.array([], kind) for name, kind in fields})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(pq.read_metadata(pa.BufferReader(sink.getvalue())).metadata[arrow_schema.KEY])


def test_which_fields_are_durations() -> None:
    struct = pa.struct({"x": pa.duration("ns"), "y": pa.string()})
    value = arrow_value(
        [("a", pa.string()), ("b", pa.duration("s")), ("c", pa.list_(pa.duration("us"))), ("d", struct)]
    )
    a, b, c, d = arrow_schema.parse_fields(value)
    assert [field.duration for field in (a, b, c, d)] == ["", "s", "", ""]
    assert [child.duration for child in (*c.children, *d.children)] == ["us", "ns", ""]


def test_a_damaged_schema_says_nothing_or_something() -> None:
    """It comes from a stranger: no byte of it may lead anywhere else."""
    import base64

    data = base64.b64decode(arrow_value([("a", pa.duration("s")), ("c", pa.list_(pa.duration("us")))]))
    assert arrow_schema.parse_fields(b"no base64") == arrow_schema.parse_fields(b"") == ()
    for place in range(len(data)):
        for byte in (0, 1, 0x7F, 0x80, 0xFF):
            changed = data[:place] + bytes([byte]) + data[place + 1 :]
            assert len(arrow_schema.parse_fields(base64.b64encode(changed))) <= arrow_schema.MOST_FIELDS
        assert len(arrow_schema.parse_fields(base64.b64encode(data[:place]))) <= 2

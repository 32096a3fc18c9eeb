"""Opening the profile store: a new one, one that is in use, one that is not ours, and one whose model changed."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

from connrunner.core import instant
from connrunner.core.model import (
    Field,
    Format,
    Import,
    LocalFile,
    Objective,
    ProfileModel,
    Property,
    PropertyType,
)
from connrunner.core.report import Level
from connrunner.errors import RunError
from connrunner.profiles import ProfileStore
from connrunner.profiles.jobs import ImportJob, RunStamp
from connrunner.profiles.patience import Patience
from connrunner.profiles.results import ImportResult
from connrunner.profiles.stores import beginning
from connrunner.profiles.stores.duckdb import open_store

AT = instant.parse("2026-11-22T09:15:00Z")
CSV = Format()


@dataclass
class Said:
    """A report that keeps what it is told."""

    messages: list[tuple[str, str]] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)

    def message(self, text: str, *, level: Level = "info", **facts: Any) -> None:
        self.messages.append((level, text))

    def progress(self, stage: str, done: int, of: int | None = None) -> None:
        self.stages.append(stage)


def properties(**kinds: str) -> dict[str, Property]:
    """Return properties from words: `id="text!"` is an identifier, `tags="text*"` holds many."""
    return {
        name: Property(
            name=name,
            type=PropertyType(kind.strip("!*")),
            identifier="!" in kind,
            many="*" in kind,
            personal=False,
        )
        for name, kind in kinds.items()
    }


MODEL = ProfileModel(
    properties=properties(
        id="text!", email="email!", name="text", born="date", seen="datetime", spent="decimal", visits="integer",
        member="boolean", tags="text*", scores="integer*",
    ),
    objectives={"news": Objective(name="news"), "ads": Objective(name="ads", legislation="opt-out")},
)  # fmt: skip


def fields(*wanted: str | Field) -> tuple[Field, ...]:
    """Return fields; a name stands for the property in the column of the same name."""
    return tuple(one if isinstance(one, Field) else Field(property=one, column=one) for one in wanted)


def import_of(*wanted: str | Field, match: Sequence[Sequence[str]] = (("id",),), **settings: Any) -> Import:
    """Return an import of CSV files."""
    settings.setdefault("format", CSV)
    return Import(source={}, match=tuple(map(tuple, match)), fields=fields(*wanted), **settings)


@dataclass
class Shelf:
    """A store in a folder, and runs of connections that number themselves."""

    folder: Path
    model: ProfileModel = MODEL
    runs: int = 0
    said: Said = field(default_factory=Said)

    @property
    def path(self) -> Path:
        return self.folder / "state" / "profiles.duckdb"

    @property
    def rejects(self) -> Path:
        return self.folder / f"rejects-{self.runs}.jsonl"

    def open(self, **settings: Any) -> Any:
        return open_store(
            self.path, settings.pop("model", self.model), temp=self.folder / "temp", report=self.said, **settings
        )

    def file(self, data: str | bytes, name: str = "rows.csv", modified: str | None = None) -> LocalFile:
        """Write *data* to a file of its own, which people call *name*."""
        path = self.folder / f"{len(list(self.folder.iterdir()))}.data"
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return LocalFile(path=str(path), name=name, size=path.stat().st_size, modified=modified or path.name)

    def take(
        self,
        work: Import,
        *files: str | bytes | LocalFile,
        connection: str = "c",
        store: ProfileStore | None = None,
        **more: Any,
    ) -> ImportResult:
        """Import *files* (texts are files of their own) in the next run."""
        if store is None:
            with self.open() as opened:
                return self.take(work, *files, connection=connection, store=opened, **more)
        self.runs += 1
        names = (f"rows-{self.runs}-{number}.csv" for number in range(len(files)))
        local = [
            file if isinstance(file, LocalFile) else self.file(file, name)
            for file, name in zip(files, names, strict=True)
        ]
        stamp = RunStamp(connection=connection, run=self.runs, at=AT)
        return store.import_files(ImportJob(work=work, files=local, stamp=stamp, rejects=self.rejects, **more))

    def told(self) -> list[dict[str, Any]]:
        """Return the rejects of the last run."""
        return [json.loads(line) for line in self.rejects.read_text().splitlines()] if self.rejects.exists() else []

    def profiles(self, *columns: str) -> list[tuple[Any, ...]]:
        """Return the profiles' values, oldest first."""
        with self.open(read_only=True) as store:
            return [tuple(found[name] for name in columns) for found in store.select(columns)]

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the store's file itself."""
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH '{self.path}' AS store (READ_ONLY)")
            return connection.execute(statement).fetchall()


def counted(result: ImportResult) -> dict[str, int]:
    """Return the counters that are not zero, but for read and checked."""
    assert not result.counts.imbalance()
    return {name: count for name, count in result.counts.as_dict().items() if count and name not in ("read", "checked")}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def error_of(shelf: Shelf, **settings: Any) -> RunError:
    with pytest.raises(RunError) as caught, shelf.open(**settings):
        pass
    return caught.value


# --- the file ----------------------------------------------------------------------------------------------------


def test_a_new_store_is_for_its_owner_only_and_read_by_older_versions_too(shelf: Shelf) -> None:
    with shelf.open():
        assert stat.S_IMODE(shelf.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(shelf.path.parent.stat().st_mode) == 0o700
    tags = shelf.sql("SELECT tags FROM duckdb_databases() WHERE database_name = 'store'")[0][0]
    assert tags["storage_version"].startswith("v1.5")
    assert list((shelf.folder / "temp").iterdir()) == []


def test_only_an_import_makes_a_store(shelf: Shelf) -> None:
    assert error_of(shelf, read_only=True).code == "no-store"
    assert not shelf.path.exists()


def test_whoever_makes_the_store_first_makes_it_for_all(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two first imports in two lanes at once: the later one finds the other's rows and leaves them."""
    attach_new = beginning._attach_new

    def overtaken(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        monkeypatch.setattr(beginning, "_attach_new", attach_new)
        shelf.take(import_of("id", "name"), "id,name\n1,Ann\n")
        attach_new(connection, path)

    monkeypatch.setattr(beginning, "_attach_new", overtaken)
    assert counted(shelf.take(import_of("id", "name"), "id,name\n1,Ann\n2,Bob\n")) == {
        "created": 1,
        "unchanged": 1,
    }
    assert not list((shelf.folder / "temp").iterdir())


def test_an_empty_file_is_replaced_by_one_process(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have seen the empty file; what the first one put there stays."""
    shelf.path.parent.mkdir()
    shelf.path.touch()
    flock = fcntl.flock

    def overtaken(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        shelf.take(import_of("id", "name"), "id,name\n1,Ann\n")
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", overtaken)
    with shelf.open() as store:
        assert store.count() == 1


def test_an_empty_file_that_a_crash_left_is_no_store_yet(shelf: Shelf) -> None:
    shelf.path.parent.mkdir()
    shelf.path.touch()
    with shelf.open() as store:
        assert store.count() == 0


@pytest.mark.parametrize("data", [b"x", b"hello world\n" * 1000, b"SQLite format 3\0" + bytes(4096)])
def test_a_file_that_is_no_database_is_named(shelf: Shelf, data: bytes) -> None:
    shelf.path.parent.mkdir()
    shelf.path.write_bytes(data)
    error = error_of(shelf)
    assert str(shelf.path) in error.message
    assert error.code == "store-unusable"
    assert shelf.path.read_bytes() == data


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_store_is_named(shelf: Shelf, damage: str) -> None:
    shelf.take(import_of("id", "name"), "id,name\n1,Ann\n")
    data = bytearray(shelf.path.read_bytes())
    if damage == "cut":
        del data[5000:]
    else:
        for block in range(2):  # both headers
            data[4096 + block * 4096 + 20] ^= 0xFF
    shelf.path.write_bytes(data)
    error = error_of(shelf)
    assert (error.code, str(shelf.path) in error.message) == ("store-unusable", True)


def test_somebody_elses_database_stays_as_it_is(shelf: Shelf) -> None:
    shelf.path.parent.mkdir()
    with duckdb.connect(str(shelf.path)) as connection:
        connection.execute("CREATE TABLE profiles (a INTEGER)")
    error = error_of(shelf)
    assert error.code == "foreign-store"
    assert "no profile store" in error.message


def test_a_store_of_a_later_version_is_refused(shelf: Shelf) -> None:
    with shelf.open():
        pass
    with duckdb.connect(str(shelf.path)) as connection:
        connection.execute("UPDATE about SET value = '99' WHERE key = 'format'")
    assert "its format is 99" in error_of(shelf).message


HOLD = """
import sys, duckdb
connection = duckdb.connect()
connection.execute("ATTACH '" + sys.argv[1] + "' AS store")
print("held", flush=True)
sys.stdin.readline()
connection.close()
"""


def hold(shelf: Shelf, code: str) -> subprocess.Popen[bytes]:
    """Start a process that holds the store until its standard input is closed."""
    arguments = [sys.executable, "-c", code, str(shelf.path)]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@pytest.mark.slow
def test_a_store_in_use_is_waited_for(shelf: Shelf) -> None:
    with shelf.open():
        pass
    holder = hold(shelf, HOLD)
    with holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        error = error_of(shelf, wait=0.3)
        assert (error.code, error.waiting_helps) == ("store-busy", True)
        threading.Timer(0.3, holder.stdin.close).start()
        with shelf.open(wait=600) as store:
            assert store.count() == 0


def test_one_process_does_not_open_a_store_twice(shelf: Shelf) -> None:
    with shelf.open():
        assert error_of(shelf).code == "store-busy"


@pytest.mark.slow
def test_a_store_that_a_killed_process_held_is_open_to_readers(shelf: Shelf) -> None:
    shelf.take(import_of("id"), "id\n1\n")
    code = HOLD.replace("sys.stdin", "connection.execute('INSERT INTO store.about VALUES (1, 2)'); sys.stdin")
    with hold(shelf, code) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        while not shelf.path.with_suffix(".duckdb.wal").exists():
            pass
        os.kill(holder.pid, signal.SIGKILL)
    with shelf.open(read_only=True) as store:
        assert store.count() == 1


# --- the model ---------------------------------------------------------------------------------------------------


def test_a_new_property_gets_a_column_and_a_removed_one_keeps_it(shelf: Shelf) -> None:
    shelf.take(import_of("id", "name"), "id,name\n1,Ann\n")
    smaller = ProfileModel(properties=properties(id="text!"))
    larger = ProfileModel(properties=properties(id="text!", name="text", city="text"))
    with shelf.open(model=smaller) as store:
        assert list(store.select()) == [{"id": "1"}]
    with shelf.open(model=larger) as store:
        assert list(store.select()) == [{"id": "1", "name": "Ann", "city": None}]


def test_a_reader_changes_no_column(shelf: Shelf) -> None:
    shelf.take(import_of("id", "name"), "id,name\n1,Ann\n")
    larger = ProfileModel(properties=properties(id="text!", name="integer", city="text*"))
    with shelf.open(model=larger, read_only=True) as store:
        assert list(store.select()) == [{"id": "1", "name": "Ann", "city": None}]


@pytest.mark.parametrize("kind", ["integer", "text*"])
def test_a_type_with_values_does_not_change(shelf: Shelf, kind: str) -> None:
    shelf.take(import_of("id", "name"), "id,name\n1,Ann\n2,\n")
    error = error_of(shelf, model=ProfileModel(properties=properties(id="text!", name=kind)))
    assert error.code == "type-changed"
    assert "'name'" in error.message
    assert "1 profile holds it as text" in error.message
    assert shelf.profiles("id", "name") == [("1", "Ann"), ("2", None)]


def test_a_type_without_values_changes(shelf: Shelf) -> None:
    shelf.take(import_of("id", "name"), "id,name\n1,\n")
    shelf.model = ProfileModel(properties=properties(id="text!", name="integer*"))
    shelf.take(import_of("id", "name"), "id,name\n1,3;1\n")
    assert shelf.profiles("name") == [([1, 3],)]


def test_an_identifier_must_tell_profiles_apart(shelf: Shelf) -> None:
    shelf.take(import_of("id", "name"), "id,name\n1,Ann\n2,Ann\n3,Bob\n")
    error = error_of(shelf, model=ProfileModel(properties=properties(id="text!", name="text!")))
    assert error.code == "identifier-not-unique"
    assert "1 of its values" in error.message


HOSTILE = (
    "id",
    "ID",
    "_id",
    "rowid",
    "s.v0",
    'a"; DROP TABLE profiles; --',
    "it's",
    "select",
    "",
    "a\nb",
    "a\0b",
    "é",
    "É",
    "p",
    "rn",
)


def test_names_mean_nothing_to_the_database(shelf: Shelf) -> None:
    """Names of properties, columns, objectives, files and connections are data, whatever they look like."""
    names = [name for name in HOSTILE if name != "id"]
    shelf.model = ProfileModel(
        properties={"id": Property(name="id", identifier=True)} | {name: Property(name=name) for name in names},
        objectives={name: Objective(name=name) for name in HOSTILE},
    )
    column = {name: f"col {name}".replace("\0", "0") for name in HOSTILE}
    work = import_of(
        *(Field(property=name, column=column[name]) for name in HOSTILE),
        consent=dict.fromkeys(HOSTILE, column["id"]),
        objectives=(HOSTILE[5],),
    )
    header = ",".join('"' + column[name].replace('"', '""') + '"' for name in HOSTILE)
    rows = f"{header}\n" + ",".join(["1", *(f"v{number}" for number in range(len(names)))]) + "\nx\n"
    result = shelf.take(work, shelf.file(rows, name="'; DROP TABLE x; --/*[?.csv"), connection="'; DROP --\n")
    assert counted(result) == {"created": 1, "invalid": 1}
    with shelf.open() as store:
        found = store.find("rowid", "v2")[0]
        assert found["properties"] == {"id": "1"} | {name: f"v{number}" for number, name in enumerate(names)}
        assert found["consents"] == dict.fromkeys(HOSTILE, True)
        assert found["created"]["connection"] == "'; DROP --\n"
    assert shelf.told()[0]["file"] == "'; DROP TABLE x; --/*[?.csv"


def test_a_folder_name_means_nothing_to_the_database(tmp_path: Path) -> None:
    folder = tmp_path / "it's [a] *;%20#{x}"
    folder.mkdir()
    shelf = Shelf(folder)
    assert counted(shelf.take(import_of("id"), "id\n1\n")) == {"created": 1}


def test_but_for_the_one_sign_that_does(tmp_path: Path) -> None:
    folder = tmp_path / "what?"
    folder.mkdir()
    assert error_of(Shelf(folder)).code == "store-path"


@pytest.mark.thorough
def test_a_hundred_properties(shelf: Shelf) -> None:
    """More than the bits of one flag column."""
    names = [f"p{number}" for number in range(100)]
    shelf.model = ProfileModel(properties=properties(id="text!", **dict.fromkeys(names, "integer")))
    work = import_of("id", *names)

    def rows(change: Mapping[int, int]) -> str:
        return f"id,{','.join(names)}\n1,{','.join(str(change.get(n, n)) for n in range(100))}\n"

    assert counted(shelf.take(work, rows({}))) == {"created": 1}
    assert counted(shelf.take(work, rows({}))) == {"unchanged": 1}
    assert counted(shelf.take(work, rows({0: -1, 59: -1, 60: -1, 99: -1}))) == {"updated": 1}
    assert shelf.profiles(*names) == [tuple(-1 if n in (0, 59, 60, 99) else n for n in range(100))]


def names_of(found: Iterable[Mapping[str, Any]], key: str = "line") -> list[Any]:
    """Return one member of each of *found*."""
    return [one[key] for one in found]


# --- a store that several want to make -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("is_empty", [False, True])
def test_many_first_imports_at_once_are_all_in_the_store(tmp_path: Path, is_empty: bool) -> None:
    if is_empty:
        (tmp_path / "store").touch()
    (tmp_path / "rows.csv").write_text("id\n1\n")
    program = f"""
import sys
from pathlib import Path
from tests.test_profiles_open import *
temp = Path({str(tmp_path)!r})
sys.stdin.read()
with open_store(temp / "store", MODEL, temp=temp / sys.argv[1], report=Said(), wait=60) as store:
    file = LocalFile(name=f"{{sys.argv[1]}}.csv", path=str(temp / "rows.csv"), size=5, modified="1")
    work = Import(source={{}}, format=CSV, match=(("id",),), fields=fields("id"))
    stamp = RunStamp(connection=sys.argv[1], run=1, at=AT)
    store.import_files(ImportJob(work=work, files=[file], stamp=stamp, rejects=temp / sys.argv[1]))
"""
    names = [f"lane{number}" for number in range(4)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, name], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for name in names
    ]
    said = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0] * len(names), said
    with open_store(tmp_path / "store", MODEL, temp=tmp_path / "temp", report=Said(), read_only=True) as store:
        assert all(store.read_counts(connection=name, run=1) for name in names)
        assert store.count() == 1
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


@pytest.mark.parametrize("read_only", [False, True])
def test_what_is_no_file_is_no_store(tmp_path: Path, read_only: bool) -> None:
    kinds = {
        "pipe": os.mkfifo,
        "folder": Path.mkdir,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "nowhere": lambda path: path.symlink_to(tmp_path / "nowhere"),
    }
    for name, make in kinds.items():
        path = tmp_path / name
        make(path)  # type: ignore[operator]
        with (
            pytest.raises(RunError, match=f"the profile store {path} cannot be opened: it is") as caught,
            open_store(path, MODEL, temp=tmp_path / "temp", report=Said(), read_only=read_only),
        ):
            pass
        assert caught.value.code == "store-unusable"
        assert os.path.lexists(path)


def test_who_waits_for_a_store_says_so_once(tmp_path: Path) -> None:
    said: list[str] = []
    program = f"""
import sys
from tests.test_profiles_open import *
with open_store(Path({str(tmp_path)!r}) / "store", MODEL, temp=Path({str(tmp_path)!r}) / "other", report=Said()):
    print("open", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"

        def say() -> None:
            said.append("waiting")
            assert holder.stdin is not None
            holder.stdin.close()

        with open_store(
            tmp_path / "store", MODEL, temp=tmp_path / "temp", report=Said(), wait=Patience(60, lambda _: say())
        ) as store:
            assert store.count() == 0
    assert said == ["waiting"]


def test_a_new_store_is_made_though_its_temporary_files_are_elsewhere(tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system here")
    with (
        tempfile.TemporaryDirectory(dir=elsewhere) as temp,
        open_store(tmp_path / "store", MODEL, temp=Path(temp), report=Said()) as store,
    ):
        assert store.count() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]

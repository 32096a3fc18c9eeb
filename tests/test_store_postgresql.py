"""The profile store in PostgreSQL: like the embedded one row for row, one change at a time, whole after any loss."""

from __future__ import annotations

import csv
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connrunner.core.model import Field, Format, Import, LocalFile, ProfileModel, Property, StoreSettings, Write
from connrunner.doctor.profile_store import check_profile_store
from connrunner.errors import RunError
from connrunner.profiles import ProfileStore
from connrunner.profiles.jobs import ImportJob, RunStamp, UndoJob
from connrunner.profiles.patience import Patience
from connrunner.profiles.store_place import StorePlace
from connrunner.profiles.stores import duckdb as embedded
from connrunner.profiles.stores import postgres_database
from connrunner.profiles.stores.postgres_database import DatabasePlace
from connrunner.profiles.stores.postgresql import open_database_store
from connrunner.state.folder import StateFolder
from tests.effort import examples
from tests.servers.postgres import PASSWORD, Server
from tests.stores import place_of
from tests.test_profiles_open import MODEL, Said
from tests.test_store_values import AT

FIELDS = (
    Field(property="id", column="id"),
    Field(property="email", column="email"),
    Field(property="name", column="name", empty="clear"),
    Field(property="visits", column="visits", write=Write.INCREMENT),
    Field(property="spent", column="spent"),
    Field(property="born", column="born"),
    Field(property="seen", column="seen"),
    Field(property="member", column="member", write=Write.SET_IF_EMPTY),
    Field(property="tags", column="tags", write=Write.ADD),
)
COLUMNS = (*(field.column for field in FIELDS), "news")
WORK = Import(
    source={"type": "files"}, format=Format(), match=(("id",), ("email",)), fields=FIELDS, consent={"news": "news"},
)  # fmt: skip
# What each kind of value looks like at its worst: all of it passes from one database to the other and back.
TEXTS = [
    "",
    "Ann",
    'a "b"',
    "a\n\\.\nb",
    "\\.",
    "\\",
    "{}",
    "{a,b}",
    "NULL",
    ",",
    "é",
    "é",
    "\t",
    "'",
    "\\N",
    "x;y",
    "a\rb",
    '\\\\;"',
]
ROWS = st.tuples(
    st.sampled_from(["1", "2", "3", "\\.", "NULL", ""]),
    st.sampled_from(["", "ann@example.com", "Bob@Example.com", "x"]),
    st.sampled_from(TEXTS),
    st.sampled_from(["1", "-2", "", "9223372036854775807", "x"]),
    st.sampled_from(["", "0.000000001", "-12345678901234567890.5", "1,5"]),
    st.sampled_from(["", "0001-01-01", "9999-12-31", "2026-02-30"]),
    st.sampled_from(["", "2026-11-22T09:15:00.123456Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59+01:00"]),
    st.sampled_from(["", "yes", "no"]),
    st.sampled_from(TEXTS),
    st.sampled_from(["", "yes", "no"]),
)
FILES = st.lists(st.lists(ROWS, max_size=8), min_size=1, max_size=3)


def write_file(path: Path, rows: Sequence[tuple[str, ...]]) -> LocalFile:
    with path.open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([COLUMNS, *rows])
    return LocalFile(path=str(path), name=path.name, size=path.stat().st_size, modified="1")


def take(store: ProfileStore, file: LocalFile, run: int, *, connection: str = "people", work: Import = WORK) -> Any:
    stamp = RunStamp(connection=connection, run=run, at=AT)
    return store.import_files(ImportJob(work=work, files=[file], stamp=stamp, rejects=Path(file.path + f".{run}")))


def tell(store: ProfileStore) -> list[Any]:
    """Return all that a store tells of its profiles and of what it remembers."""
    numbers = range(1, 1 + 40)
    return [
        [store.find_number(number) for number in numbers],
        store.describe_connection("people"),
        store.count("name IS NOT NULL AND length(name) > 1"),
        list(store.select(["id", "tags"], where="list_contains(tags, 'Ann')")),
        store.find("email", "bob@example.com"),
        store.find("tags", "{}"),
    ]


@pytest.mark.slow
@settings(
    max_examples=examples(2, long=100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(files=FILES)
def test_the_same_files_give_both_stores_the_same(
    files: list[list[tuple[str, ...]]], tmp_path_factory: pytest.TempPathFactory, postgres_server: Server
) -> None:
    folder = tmp_path_factory.mktemp("both")
    path = folder / "profiles.duckdb"
    told: list[list[Any]] = []
    for kind in ("duckdb", "postgresql"):
        (folder / kind).mkdir()
        opened = (
            embedded.open_store(path, MODEL, temp=folder, report=Said())
            if kind == "duckdb"
            else open_database_store(place_of(path, postgres_server), MODEL, temp=folder, report=Said())
        )
        found: list[Any] = []
        with opened as store:
            for run, rows in enumerate(files, 1):
                file = write_file(folder / kind / f"{run}.csv", rows)
                try:
                    found.append(take(store, file, run))
                except RunError as error:
                    found.append(str(error))
                rejects = Path(f"{file.path}.{run}")
                found.append(rejects.read_text() if rejects.exists() else "")
            found.append(tell(store))
        told.append(found)
    assert told[0] == told[1]


@pytest.fixture
def place(tmp_path: Path, postgres_server: Server) -> DatabasePlace:
    return place_of(tmp_path / "profiles.duckdb", postgres_server)


def opened(place: DatabasePlace, model: ProfileModel = MODEL, **options: Any) -> Any:
    return open_database_store(place, model, temp=place.folder / "temp", report=Said(), **options)


ONE = [("1", "", "Ann", "1", "", "", "", "", "", ""), ("2", "", "Bob", "1", "", "", "", "", "", "")]


def state_of(place: DatabasePlace) -> list[Any]:
    with opened(place) as store:
        return [store.find("id", "1"), store.find("id", "2"), store.count(), store.describe_connection("people")]


# --- what can be lost --------------------------------------------------------------------------------------------


class CuttingProxy:
    """A way to the server that breaks at a message of the client: before it goes on, or before it is answered."""

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.word = b""  # of the message at which it breaks, once
        self.at = -1  # or the number of the message
        self.after = False  # the server gets it, and the client no answer
        self.refuses = False  # no new connection comes through
        self.seen = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuses:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._server))
            self._open += [client, server]
            silent = threading.Event()
            threading.Thread(target=self._send, args=(client, server, silent), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, client, silent), daemon=True).start()

    def _send(self, client: socket.socket, server: socket.socket, silent: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                self.seen += 1
                if self.seen == self.at or (self.word and self.word in data):
                    self.word = b""
                    if self.after:
                        silent.set()
                        server.sendall(data)
                        server.recv(1, socket.MSG_PEEK)  # it has done what it was told
                    break
                server.sendall(data)
        self._end(client, server)

    def _answer(self, server: socket.socket, client: socket.socket, silent: threading.Event) -> None:
        with suppress(OSError):
            while server.recv(1, socket.MSG_PEEK) and not silent.is_set():
                client.sendall(server.recv(1 << 16))
        if not silent.is_set():
            self._end(client, server)

    def _end(self, *ends: socket.socket) -> None:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for one in (self._listener, *self._open):
            one.close()


@pytest.fixture
def proxy(postgres_server: Server) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(postgres_server.port)
    yield proxy
    proxy.close()


def through(place: DatabasePlace, proxy: CuttingProxy) -> DatabasePlace:
    return replace(place, url=f"postgresql://owner:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{proxy.port}/crm")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "after", "is_done"),
    [
        pytest.param(b"BEGIN ISOLATION LEVEL READ COMMITTED", False, False, marks=pytest.mark.thorough),
        pytest.param(b"pg_try_advisory_xact_lock", True, False, marks=pytest.mark.thorough),
        pytest.param(b"CREATE TEMPORARY TABLE changed_profiles", False, False, marks=pytest.mark.thorough),
        pytest.param(b"UPDATE", True, False, marks=pytest.mark.thorough),
        (b"COMMIT\0", False, False),
        (b"COMMIT\0", True, True),
    ],
)
def test_a_connection_that_is_lost_leaves_the_store_as_before_or_as_after(
    word: bytes, after: bool, is_done: bool, place: DatabasePlace, proxy: CuttingProxy, tmp_path: Path
) -> None:
    first = write_file(tmp_path / "1.csv", ONE)
    with opened(place) as store:
        take(store, first, 1)
    before = state_of(place)
    second = write_file(tmp_path / "2.csv", [("1", "", "Anna", "5", "", "", "", "", "", ""), ("3", *ONE[0][1:])])
    with opened(through(place, proxy)) as store:
        proxy.word, proxy.after = word, after
        if is_done:
            assert take(store, second, 2).counts.updated == 1, "it is settled by a new connection"
        else:
            with pytest.raises(RunError) as caught:
                take(store, second, 2)
            assert caught.value.waiting_helps
            assert PASSWORD not in str(caught.value)
        assert (store.read_recorded(RunStamp(connection="people", run=2, at=AT)) is not None) is is_done
    assert (state_of(place) == before) is not is_done
    with opened(place) as store:  # and it ends the same, whoever tries again
        take(store, second, 3)
        assert store.find("id", "1")[0]["properties"]["visits"] == 6
        assert store.count() == 3


@pytest.mark.thorough
@pytest.mark.parametrize("after", [False, True])
def test_a_connection_may_be_lost_at_any_message(
    after: bool, place: DatabasePlace, proxy: CuttingProxy, tmp_path: Path
) -> None:
    with opened(place) as store:
        take(store, write_file(tmp_path / "0.csv", ONE), 1)
    run, visits, at = 2, 1, 1
    while True:
        file = write_file(tmp_path / f"{run}.csv", [(*ONE[0][:3], "1", *ONE[0][4:])])
        proxy.seen, proxy.at, proxy.after = 0, at, after
        with suppress(RunError), opened(through(place, proxy)) as store:
            take(store, file, run)
        is_cut, proxy.at = proxy.seen >= at, -1
        with opened(place) as store:
            done = store.read_recorded(RunStamp(connection="people", run=run, at=AT)) is not None
            visits += done
            assert store.find("id", "1")[0]["properties"]["visits"] == visits, at
        run, at = run + 1, at + 1
        if not is_cut:
            assert done
            return


def test_a_loss_during_commit_that_cannot_be_settled_is_told(
    place: DatabasePlace, proxy: CuttingProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_database, "SETTLE", 0.0)
    file = write_file(tmp_path / "1.csv", ONE)
    with opened(through(place, proxy)) as store:
        proxy.word, proxy.after = b"COMMIT\0", True
        proxy.refuses = True
        with pytest.raises(RunError, match="nobody knows whether they are in the profile store"):
            take(store, file, 1)


# --- several at once ---------------------------------------------------------------------------------------------

PROCESS = """
import sys
from pathlib import Path
from tests.test_store_postgresql import *
url, schema, folder, name = sys.argv[1:]
place = DatabasePlace(url=url, schema=schema, folder=Path(folder), beside=Path(folder) / "profiles.duckdb")
for run in (1, 2):
    path = Path(folder) / f"{name}-{run}.csv"
    file = LocalFile(path=str(path), name=path.name, size=path.stat().st_size, modified="1")
    with open_database_store(place, MODEL, temp=Path(folder) / name, report=Said(), wait=60) as store:
        print(take(store, file, run, connection=name).counts)
"""


@pytest.mark.slow
def test_two_processes_import_at_once(place: DatabasePlace, tmp_path: Path) -> None:
    rows = [(str(number), "", f"n{number}", "1", "", "", "", "", "", "") for number in range(600)]
    for name, mine in (("a", rows[:400]), ("b", rows[:199:-1])):
        for run in (1, 2):
            write_file(tmp_path / f"{name}-{run}.csv", [(*row[:8], f"{name}{run}", "") for row in mine])
    command = [sys.executable, "-c", PROCESS, place.url, place.schema, str(tmp_path)]
    both = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for name in "ab"]
    for one in both:
        _, complaint = one.communicate()
        assert one.returncode == 0, complaint.decode()
    with opened(place) as store:
        found = list(store.select(["id", "visits", "tags"]))
        assert len(found) == len({one["id"] for one in found}) == 600
        assert sum(one["visits"] for one in found) == 4 * 400
        assert sum(len(one["tags"]) for one in found) == 4 * 400
        assert len({store.find("id", str(number))[0]["profile"] for number in range(0, 600, 60)}) == 10


def test_who_changes_the_store_waits_and_is_told_for_whom(place: DatabasePlace, tmp_path: Path) -> None:
    file = write_file(tmp_path / "1.csv", ONE)
    with opened(place) as store:
        take(store, file, 1)
    with opened(place) as one, opened(place) as other:
        database = one._database
        with database.changing("shop #7", Patience(0)):
            assert other.count() == 2, "a question waits for nobody"
            with pytest.raises(RunError, match=r"is being changed by shop #7; wait") as caught:
                take(other, write_file(tmp_path / "2.csv", ONE), 2)
            assert (caught.value.code, caught.value.waiting_helps) == ("store-busy", True)


def test_ledgers_that_changed_while_files_were_read_are_noticed(
    place: DatabasePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_file(tmp_path / "1.csv", ONE)
    with opened(place) as late, opened(place) as quick:
        changing = late._database.changing

        def overtaken(*arguments: Any, **more: Any) -> Any:
            take(quick, file, 1)
            return changing(*arguments, **more)

        monkeypatch.setattr(late._database, "changing", overtaken)
        with pytest.raises(RunError, match="was changed while the files of people were read") as caught:
            take(late, file, 2)
        assert caught.value.waiting_helps
        assert late.find("id", "1")[0]["properties"]["visits"] == 1, "not added twice"


# --- what a database may be --------------------------------------------------------------------------------------


def test_what_keeps_a_database_from_keeping_profiles(postgres_server: Server, tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    base = postgres_server.url

    def checks(url: str, schema: str) -> list[tuple[str, str]]:
        store = StoreSettings(type="postgresql", url="env:X", schema=schema)
        where = StorePlace(settings=store, path=state.profiles, folder=tmp_path, resolve=lambda _: url)
        return [(one.level, f"{one.found}; {one.fix}") for one in check_profile_store(state, MODEL, where)]

    reader = base.replace("owner@", "reader@")
    assert [level for level, _ in checks(base, "fresh")] == ["ok", "ok"]
    assert "there is no schema fresh, and the role reader may not make one" in str(checks(reader, "fresh"))
    place = place_of(tmp_path / "x", postgres_server, schema="rights")
    with opened(replace(place, folder=tmp_path)):
        pass
    assert "CREATE SCHEMA" not in str(checks(base, "rights"))
    assert "may not make tables in the schema rights" in str(checks(reader, "rights"))
    assert "belongs to another role than reader" in str(checks(reader, "rights"))
    with postgres_server.connect() as admin:
        admin.execute('ALTER TABLE rights.marks ALTER COLUMN mark TYPE text COLLATE "default"')
    assert "marks.mark is compared by another collation than C" in str(checks(base, "rights"))
    gone = base.replace("/crm", "/nothing")
    assert 'database "nothing" does not exist' in str(checks(gone, "x"))
    assert "cannot connect to" in str(checks("postgresql://u:very-secret-1@127.0.0.1:1/db", "x"))
    assert "very-secret-1" not in str(checks("postgresql://u:very-secret-1@127.0.0.1:1/db", "x"))
    assert "very-secret-1" not in str(checks("postgresql://u:very-secret-1@127.0.0.1:x/db", "x"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE {}.about SET value = '99' WHERE key = 'postgresql'", "was made by a newer connrunner"),
        ("UPDATE {}.about SET value = '99' WHERE key = 'format'", "was written by another version"),
        ("DROP TABLE {}.about", "has tables, and is no profile store"),
    ],
)
def test_a_store_of_another_version_is_refused(
    change: str, said: str, place: DatabasePlace, postgres_server: Server
) -> None:
    with opened(place):
        pass
    with postgres_server.connect() as admin:
        admin.execute(change.format(place.schema).encode())
    with pytest.raises(RunError, match=said) as caught, opened(place):
        pass
    assert caught.value.code == "foreign-store"


def test_tables_and_columns_that_an_older_version_lacks_are_made(place: DatabasePlace, postgres_server: Server) -> None:
    with opened(place):
        pass
    with postgres_server.connect() as admin:
        admin.execute(f"DROP TABLE {place.schema}.withdrawn".encode())
        admin.execute(f"ALTER TABLE {place.schema}.kept DROP COLUMN reason".encode())
    with opened(place) as store:
        assert store.count() == 0
    with postgres_server.connect() as admin:
        assert admin.execute(f"SELECT count(reason) FROM {place.schema}.kept".encode()).fetchone() == (0,)


def test_a_property_changes_as_in_the_embedded_store(place: DatabasePlace, tmp_path: Path) -> None:
    def model(**more: Property) -> ProfileModel:
        return ProfileModel(properties={"id": Property(name="id", identifier=True), **more})

    long = "ünd" * 30
    with opened(place, model(**{long: Property(name=long), "x": Property(name="x", many=True)})) as store:
        path = tmp_path / "1.csv"
        path.write_text(f"id,{long}\n1,a\n2,a\n")
        fields = (Field(property="id", column="id"), Field(property=long, column=long))
        work = Import(source={}, format=Format(), match=(("id",),), fields=fields)
        file = LocalFile(path=str(path), name="1.csv", size=path.stat().st_size, modified="1")
        take(store, file, 1, work=work)
        assert [one[long] for one in store.select([long])] == ["a", "a"]
    with (
        pytest.raises(RunError, match="1 of its values belong to several"),
        opened(place, model(**{long: Property(name=long, identifier=True)})),
    ):
        pass
    with (
        pytest.raises(RunError, match="2 profiles hold it as text"),
        opened(place, model(**{long: Property(name=long, many=True)})),
    ):
        pass
    with opened(place, model(x=Property(name="x"))) as store:  # empty, so it may
        assert store.count("x = 'a'") == 0


def test_who_reads_only_needs_no_more_than_that(place: DatabasePlace, postgres_server: Server) -> None:
    with pytest.raises(RunError, match="there is no profile store yet"), opened(place, read_only=True):
        pass
    with opened(place):
        pass
    with postgres_server.connect() as admin:
        admin.execute(f"GRANT USAGE ON SCHEMA {place.schema} TO reader".encode())
        admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {place.schema} TO reader".encode())
    reader = replace(place, url=place.url.replace("owner@", "reader@"))
    with opened(reader, read_only=True) as store:
        assert (store.count(), store.find("id", "1")) == (0, [])
        with pytest.raises(RunError, match="permission denied") as caught:
            store.forget_connection("people")
        assert "its own schema" in caught.value.hint


def test_errors_hold_no_values(place: DatabasePlace, postgres_server: Server, tmp_path: Path) -> None:
    with opened(place) as store:
        take(store, write_file(tmp_path / "1.csv", ONE), 1)
        with postgres_server.connect() as admin:
            admin.execute(f"ALTER TABLE {place.schema}.profiles ADD CHECK (name <> 'Anna')".encode())
        file = write_file(tmp_path / "2.csv", [("1", "", "Anna", "1", "", "", "", "", "", "")])
        with pytest.raises(RunError) as caught:
            take(store, file, 2)
        assert "Anna" not in str(caught.value)


def test_an_undo_is_refused_and_changes_nothing(place: DatabasePlace, tmp_path: Path) -> None:
    with opened(place) as store:
        take(store, write_file(tmp_path / "1.csv", ONE), 1)
        stood = tell(store)
        job = UndoJob(run=1, stamp=RunStamp(connection="people", run=2, at=AT), rejects=tmp_path / "rejects")
        with pytest.raises(RunError, match="only the embedded store keeps") as caught:
            store.undo(job)
        assert caught.value.code == "no-undo"
        assert tell(store) == stood


def test_a_pooler_between_finds_nothing_left_in_a_session(place: DatabasePlace, tmp_path: Path) -> None:
    with opened(place) as store:
        take(store, write_file(tmp_path / "1.csv", ONE), 1)
        connection: psycopg.Connection[Any] = store._database._connection
        left = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        )
        assert left.fetchone() == (0,)
        assert connection.execute("SHOW timezone").fetchone() == ("America/New_York",), "settings of the role"
        assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
        temporary = "SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()"
        assert connection.execute(temporary).fetchone() == (0,)

"""What every connector has to do, each against its real server: a new one is one more entry in the table."""

from __future__ import annotations

import importlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from connrunner import connectors
from connrunner.config import schema
from connrunner.connectors import quota
from connrunner.core.model import Outcome
from connrunner.doctor import Check, partners
from connrunner.worker import signal_orders
from tests.runs import Ran, Runs
from tests.stands import EVER, SECRET, VARIABLE, Entry, Kind, Person, Stand, to_csv

pytestmark = pytest.mark.slow

NO_LINE = "there is no line that could break: it is a file of this machine"
NO_PASSWORD = "a file of this machine has no password; its rights are tested with the connector"
IN_PROCESS = "the work is done in the run's own process, which tests of the connector stop in the middle"
NOTHING_FETCHED = "what is on this machine already is not fetched, so no bound holds for it"
NOT_TRANSFERRED = "the store reads the file where it is; writing fails as a disk does, tested with the connector"
WRITES_AT_ONCE = {
    "cut": NO_LINE,
    "error": NO_LINE,
    "stop": IN_PROCESS,
    "credentials": NO_PASSWORD,
}
ON_THIS_MACHINE = {**WRITES_AT_ONCE, "silent": NOT_TRANSFERRED, "bound": NOTHING_FETCHED}

TABLE = {
    entry.stand: entry
    for entry in (
        Entry(stand="files", type="files", cannot=ON_THIS_MACHINE),
        Entry(stand="sftp", type="sftp", server="sftp_server", tries_again=("cut", "silent")),
        Entry(stand="s3", type="s3", server="s3_server"),
        Entry(stand="http", type="http", server="http_server", resends="changed"),
        Entry(stand="salesforce", type="salesforce", server="salesforce_server", resends="changed"),
        Entry(stand="sqlite", type="sql", tries_again=(), cannot=WRITES_AT_ONCE),
        Entry(stand="postgres", type="sql", server="postgres_server", tries_again=("cut", "error")),
        Entry(stand="mariadb", type="sql", server="mariadb_server", tries_again=("cut", "error"), always=False),
        Entry(stand="singer", type="singer", tries_again=(), resends="changed"),
        Entry(stand="airbyte", type="airbyte", tries_again=(), exports=False),
        Entry(stand="meta", type="meta", server="http_server", imports=False, resends="changed"),
    )
}
CASES = ("rows", "twice", "empty", "bound", "credentials", "missing", "cut", "silent", "error", "stop")
DIRECTIONS = ("import", "export")
FEW: list[Person] = [("1", "Ann"), ("2", "Bob")]
MANY: list[Person] = [(f"{number:03}", f"the person with the number {number}") for number in range(300)]


QUICK = ("files", "http", "sqlite")  # what `make test` tries every case with; the others bring their rows there


def of(case: str, *directions: str) -> pytest.MarkDecorator:
    """Run the test for each connector that can have *case*, in each of the *directions* that it knows."""
    names = [
        pytest.param(
            name,
            way,
            id=f"{name}-{way}",
            marks=() if name in QUICK or (case == "rows" and entry.always) else pytest.mark.thorough,
        )
        for name, entry in TABLE.items()
        for way in directions
        if case not in entry.cannot and (entry.imports if way == "import" else entry.exports)
    ]
    return pytest.mark.parametrize(("partner", "way"), names, indirect=["partner"])


Stores = Callable[[Sequence[Person]], bytes]


class Partner:
    """One entry of the table at work: its stand, and runs with it."""

    def __init__(self, entry: Entry, stand: Stand, runs: Runs, stores: Stores) -> None:
        self.entry, self.stand, self.runs, self.stores = entry, stand, runs, stores
        runs.log.on_text = lambda text: stand.reached.set() if "HOLDING" in text else None

    def have(self, way: str, people: list[Person]) -> None:
        """Let there be *people* on the side that rows come from."""
        if way == "import":
            self.stand.offer(people)
        else:
            self.runs.store_is(self.stores(people))

    def came(self, way: str) -> list[Person]:
        """Return who is on the side that rows go to."""
        return sorted(self.runs.people().items()) if way == "import" else sorted(self.stand.arrived())

    def work(self, way: str, change: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> dict[str, Any]:
        if way == "import":
            return imported(change(self.stand.source), self.columns, **self.stand.more)
        fields = {column: name for name, column in self.columns.items()}
        to = change(self.stand.destination)
        return {"export": {"to": to, "fields": fields, "rows": self.entry.resends, **self.stand.more}}

    @property
    def columns(self) -> dict[str, str]:
        """By property, the column that the partner has for it."""
        return getattr(self.stand, "columns", {"id": "id", "name": "name"})

    def run(self, way: str, change: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> Ran:
        return self.runs.run(self.work(way, change))

    def probe(self, way: str, change: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> Check:
        job = self.runs.job(self.work(way, change))
        return partners.check_partner(job.connection, self.runs.folder, self.runs.state, job.started_at)

    def fails(self, way: str, change: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> Ran:
        """Run, and see it fail for a reason that is told, with nothing changed on the side that rows go to."""
        # An import fails before its store is opened to write; that nothing is in it shows when the next one creates all.
        before = self.stand.arrived()
        done = self.run(way, change)
        assert done.outcome is Outcome.FAILED, done
        assert done.code not in ("", "bug", "operating-system", "unbalanced"), done
        assert done.message
        assert done.counts == {}
        assert self.stand.arrived() == before, "nothing half"
        return done


def imported(source: dict[str, Any], columns: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"import": {"from": source, "match": ["id"], "fields": columns, **more}}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """Give the content of a profile store that has these people; each is made once."""

    @cache
    def store(people: tuple[Person, ...]) -> bytes:
        runs = Runs(tmp_path_factory.mktemp("seed"))
        (runs.folder / "seed.csv").write_bytes(to_csv(people))
        assert (
            runs.run(imported({"type": "files", "path": "seed.csv"}, {"id": "id", "name": "name"}), "seed").outcome
            is Outcome.SUCCEEDED
        )
        return runs.state.profiles.read_bytes()

    return lambda people: store(tuple(people))


@pytest.fixture
def partner(
    request: pytest.FixtureRequest, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Partner]:
    entry = TABLE[request.param]
    monkeypatch.setenv(VARIABLE, SECRET)
    folder = tmp_path / "workspace"
    folder.mkdir()
    server = request.getfixturevalue(entry.server) if entry.server else None
    stand: Stand = importlib.import_module(f"tests.stands.{entry.stand}").Here(folder, server)
    stand.quick(monkeypatch)
    yield Partner(entry, stand, Runs(folder, secret=SECRET), stores)
    stand.calm()
    stand.close()


# --- the table ---------------------------------------------------------------------------------------------------


def test_every_connector_is_in_the_table() -> None:
    assert {entry.type for entry in TABLE.values() if entry.imports} == set(connectors.SOURCES)
    assert {entry.type for entry in TABLE.values() if entry.exports} == set(connectors.DESTINATIONS)
    for entry in TABLE.values():
        assert set(entry.cannot) <= set(CASES)


@of("rows", *DIRECTIONS)
def test_the_settings_of_the_suite_are_sound(partner: Partner, way: str) -> None:
    document = {"schedule": {"type": "manual"}, **partner.work(way)}
    assert schema.check_schema("connection", document) == []


# --- when all goes well ------------------------------------------------------------------------------------------


@of("rows", "import")
def test_rows_are_imported_and_the_same_run_again_doubles_nothing(partner: Partner, way: str) -> None:
    partner.have(way, FEW)
    first = partner.run(way)
    assert (first.outcome, first.counts) == (Outcome.SUCCEEDED, {"read": 2, "checked": 2, "created": 2})
    second = partner.run(way)
    assert second.outcome is Outcome.SUCCEEDED
    assert second.counts in ({}, {"read": 2, "skipped": 2}, {"read": 2, "checked": 2, "unchanged": 2})
    assert partner.came(way) == FEW
    partner.have(way, [*FEW, ("3", "Cy")])
    third = partner.run(way)
    assert (third.outcome, third.counts["created"], third.counts.get("updated")) == (Outcome.SUCCEEDED, 1, None)
    assert partner.came(way) == [*FEW, ("3", "Cy")]


@of("rows", "export")
def test_rows_are_exported_and_the_same_run_again_doubles_nothing(partner: Partner, way: str) -> None:
    partner.have(way, FEW)
    first = partner.run(way)
    assert (first.outcome, first.counts) == (Outcome.SUCCEEDED, {"read": 2, "checked": 2, "created": 2})
    assert partner.came(way) == FEW
    second = partner.run(way)
    assert (second.outcome, second.counts) == (Outcome.SUCCEEDED, {"read": 2, "checked": 2, "unchanged": 2})
    assert partner.came(way) == FEW


@of("empty", *DIRECTIONS)
def test_nothing_to_do(partner: Partner, way: str) -> None:
    partner.have(way, [])
    done = partner.run(way)
    assert (done.outcome, done.counts) == (Outcome.SUCCEEDED, {})
    assert partner.came(way) == []


# --- how much may come -------------------------------------------------------------------------------------------


@of("bound", "import")
def test_no_more_comes_than_is_allowed(partner: Partner, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    partner.have(way, FEW)
    too_large = partner.fails(way, lambda settings: {**settings, "max_bytes": 5})
    assert (too_large.code, "`max_bytes`" in too_large.message) == ("too-large", True)
    monkeypatch.setattr(quota, "LOOK_EVERY", 1)
    with monkeypatch.context() as full:
        full.setattr(quota, "measure_free_room", lambda folder: 5)
        assert partner.fails(way).code == "no-room"
    enough = partner.run(way, lambda settings: {**settings, "max_bytes": "1MB"})
    assert (enough.outcome, partner.came(way)) == (Outcome.SUCCEEDED, FEW)


@pytest.mark.parametrize(
    ("partner", "way"),
    [
        pytest.param(name, "import", id=name, marks=() if name in QUICK else pytest.mark.thorough)
        for name in ("files", "sftp", "s3")
    ],
    indirect=["partner"],
)
def test_a_run_without_a_file(partner: Partner, way: str) -> None:
    """A failure until a file was read, unless it is said otherwise; a folder that is not there always is one."""

    def none(**more: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return lambda settings: {**settings, "path": f"{settings['path'].rpartition('/')[0]}/zzz-*.csv", **more}

    partner.have(way, FEW)
    assert (
        schema.check_schema("connection", {"schedule": {"type": "manual"}, **partner.work(way, none(when_none="fail"))})
        == []
    )
    first = partner.fails(way, none())
    assert first.code == "no-files"
    asked = partner.run(way, none(when_none="succeed"))
    assert (asked.outcome, asked.counts, asked.message) == (Outcome.SUCCEEDED, {}, "there is no file to read")
    assert partner.fails(way, none()).code == "no-files", "none was read yet"
    assert partner.run(way).counts["created"] == 2
    partner.runs.log.texts.clear()
    later = partner.run(way, none())
    assert (later.outcome, later.counts) == (Outcome.SUCCEEDED, {})
    assert any("zzz-*.csv" in text for text in partner.runs.log.texts)
    strict = partner.run(way, none(when_none="fail"))
    assert (strict.outcome, strict.code) == (Outcome.FAILED, "no-files")
    assert "when_none: succeed" in strict.message
    assert "correct `path`" not in strict.message
    if partner.entry.type == "files":
        gone = partner.run(way, lambda settings: partner.stand.missing({**settings, "when_none": "succeed"})[0])
        assert (gone.outcome, gone.code) == (Outcome.FAILED, "no-folder")


# --- what a person has to mend -----------------------------------------------------------------------------------


@of("credentials", *DIRECTIONS)
def test_wrong_credentials(partner: Partner, way: str) -> None:
    partner.have(way, FEW)
    done = partner.fails(way, partner.stand.wrong)
    partner.stand.calm()
    assert done.code in ("wrong-credentials", "login-refused", "unauthorized", "exit-status"), done
    assert partner.run(way).counts["created"] == 2


@of("rows", *DIRECTIONS)
def test_a_probe_reaches_the_partner_and_changes_nothing(partner: Partner, way: str) -> None:
    partner.have(way, FEW)
    before = partner.stand.arrived()
    assert partner.probe(way).level == "ok", partner.probe(way)
    assert partner.stand.arrived() == before


@of("credentials", *DIRECTIONS)
def test_a_probe_with_wrong_credentials(partner: Partner, way: str) -> None:
    if partner.entry.type in ("singer", "airbyte"):
        pytest.skip("what a program of others takes for credentials shows when it runs")
    partner.have(way, FEW)
    check = partner.probe(way, partner.stand.wrong)
    assert check.level == "failure"
    assert SECRET not in check.found + check.fix


@of("missing", *DIRECTIONS)
def test_what_is_not_there(partner: Partner, way: str) -> None:
    partner.have(way, FEW)
    settings = partner.stand.source if way == "import" else partner.stand.destination
    changed, word = partner.stand.missing(settings)
    done = partner.fails(way, lambda _: changed)
    assert word in done.message


# --- what breaks by itself ---------------------------------------------------------------------------------------


def recovers(partner: Partner, way: str, kind: Kind) -> None:
    """See the run fail while the trouble lasts, and the next one do all of it, although the trouble comes once more."""
    fails_in_trouble(partner, way, kind)
    does_all(partner, way, kind)


def fails_in_trouble(partner: Partner, way: str, kind: Kind) -> None:
    partner.have(way, MANY)
    partner.stand.trouble(kind, EVER)
    partner.fails(way)
    partner.stand.calm()


def does_all(partner: Partner, way: str, kind: Kind) -> None:
    if kind in partner.entry.tries_again:
        partner.stand.trouble(kind, 1)
    assert partner.run(way).counts == {"read": 300, "checked": 300, "created": 300}
    assert way == "import" or partner.came(way) == MANY


# What PyMySQL finishes when it is collected may be a line that is gone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@of("cut", *DIRECTIONS)
def test_a_line_that_is_cut_in_the_middle(partner: Partner, way: str) -> None:
    recovers(partner, way, "cut")


@pytest.mark.thorough
@of("silent", *DIRECTIONS)
def test_a_server_that_falls_silent_in_the_middle(partner: Partner, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as for_now:
        partner.stand.impatient(for_now)
        fails_in_trouble(partner, way, "silent")
    if "silent" in partner.entry.tries_again:
        partner.stand.impatient(monkeypatch)
    does_all(partner, way, "silent")


@of("error", *DIRECTIONS)
def test_a_server_that_answers_with_an_error(partner: Partner, way: str) -> None:
    recovers(partner, way, "error")


@pytest.mark.thorough  # psycopg gives a silent server 10 s to confirm that it cancels
# A signal between the opening of a file and its `with` leaves the file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@of("stop", *DIRECTIONS)
def test_a_run_that_is_stopped_in_the_middle(partner: Partner, way: str) -> None:
    partner.have(way, MANY)
    partner.stand.trouble("silent", EVER)

    def stop(*_: object) -> None:
        raise signal_orders.Terminated

    def when_reached() -> None:
        if partner.stand.reached.wait(120):
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, stop)
    watch = threading.Thread(target=when_reached)
    watch.start()
    try:
        with pytest.raises(signal_orders.Terminated):
            partner.run(way)
    finally:
        watch.join()
        signal.signal(signal.SIGTERM, before)
    assert partner.stand.arrived() == []
    partner.stand.calm()
    assert partner.run(way).counts == {"read": 300, "checked": 300, "created": 300}
    assert way == "import" or partner.came(way) == MANY

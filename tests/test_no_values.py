"""No value of a person leaves by a message: whatever a file, a condition or a partner is like."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pytest

from connrunner.answers.profile_lookup import describe_consent
from connrunner.config import load
from connrunner.connectors.sql import failure
from connrunner.core.model import Objective, Outcome, Result
from connrunner.errors import ConnrunnerError
from connrunner.profiles import ProfileStore
from connrunner.profiles.stores.duckdb import open_store
from connrunner.state.folder import StateFolder
from connrunner.text.redaction import describe_exception, redact_library_words, redact_partner_words
from connrunner.worker import process
from tests.conftest import Place
from tests.receiver import receiving
from tests.runs import MANUAL, Log

CANARIES = ("canary", "4711", "kanarie", "1980-02-03")
PROFILE = {
    "properties": {
        "id": {"type": "text", "identifier": True},
        "email": {"type": "email", "identifier": True},
        "phone": {"type": "text"},
        "born": {"type": "date"},
        "visits": {"type": "integer"},
        "spent": {"type": "decimal"},
        "tags": {"type": "text", "many": True},
    }
}
PERSON = {
    "id": "canary-4711",
    "email": "canary.4711@example.com",
    "phone": "+31 6 4711 kanarie",
    "born": "1980-02-03",
    "visits": "4711",
    "spent": "4711.5",
    "tags": 'kanarie\'s "canary"',
}


def nothing_of_a_person(text: str) -> None:
    for canary in CANARIES:
        assert canary not in text.lower(), text


# --- conditions --------------------------------------------------------------------------------------------------

CONDITIONS = [
    "CAST(phone AS BIGINT) > 0",
    "phone::INTEGER > 0",
    "email::DATE > current_date",
    "id::TIMESTAMPTZ < now()",
    "tags::INTEGER[] = [1]",
    "tags = 'a'",
    "list_sum(tags) > 0",
    "id::BOOLEAN",
    "phone::DECIMAL(4,1) > 1",
    "phone::DOUBLE > 1",
    "phone::TIME < '10:00'",
    "phone::INTERVAL > to_days(1)",
    "phone::UUID = id::UUID",
    "phone::BLOB = 'a'",
    "phone::BIT = '1'",
    "phone::TINYINT > visits",
    "visits::TINYINT > 1",
    "visits + 9223372036854775807 > 1",
    "visits * 9223372036854775807 > 1",
    "spent::DECIMAL(3,2) > 1",
    "spent * 99999999999999999999999999 > 1",
    "regexp_matches('a', phone)",
    "regexp_full_match(id, id || '(')",
    "date_trunc(phone, born) = born",
    "date_part(id, born) = 1",
    "date_diff(id, born, born) = 1",
    "born + to_years(visits::INTEGER * 1000000) > born",
    "array_length(tags, visits) = 1",
    "substr(phone, visits, phone) = 'a'",
    "levenshtein(id, visits) > 1",
    "right(phone, id) = 'a'",
]


def open_people(folder: Path) -> AbstractContextManager[ProfileStore]:
    model = load.profile_model_from(PROFILE)
    return open_store(StateFolder(folder / ".connrunner").profiles, model, temp=folder / "temporary", report=Log())


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose store holds one person."""
    folder = tmp_path_factory.mktemp("people")
    Attempts(folder).file(json.dumps(PERSON | {"tags": [PERSON["tags"]]}).encode(), type="jsonl")
    return folder


@pytest.mark.parametrize("condition", CONDITIONS)
def test_no_condition_tells_a_value(state: Path, condition: str) -> None:
    told = []
    with open_people(state) as store:
        assert store.count() == 1
        try:
            store.count(condition)
        except ConnrunnerError as error:
            told.append(str(error))
    nothing_of_a_person("".join(told))


def test_a_condition_tells_for_how_many_it_fails_and_of_what(state: Path) -> None:
    with open_people(state) as store, pytest.raises(ConnrunnerError) as caught:
        store.count("CAST(phone AS BIGINT) > 0 AND visits > 1")
    assert "a value cannot be converted to INT64; look at the values of phone and visits of 1 profile" in str(
        caught.value
    )


# --- files -------------------------------------------------------------------------------------------------------


@dataclass
class Attempts:
    """Runs of a connection in *folder*."""

    folder: Path
    number: int = 0

    def perform(self, work: dict[str, Any]) -> tuple[str, Result]:
        """Return all that a run says and leaves, and its result."""
        self.number += 1
        log = Log()
        job = process.Job(
            workspace=self.folder,
            state=StateFolder(self.folder / ".connrunner"),
            connection=load.connection_from("people", {**MANUAL, **work}, timezone="UTC"),
            model=load.profile_model_from(PROFILE),
            run=self.number,
            started_at=datetime(2026, 11, 22, tzinfo=UTC),
        )
        job.rejects.parent.mkdir(parents=True, exist_ok=True)
        result = process.perform(job, log)
        rejects = job.rejects.read_text() if job.rejects.exists() else ""
        return "\n".join([*log.texts, result.message, repr(result.detail), rejects]), result

    def file(self, content: bytes, **form: Any) -> tuple[str, Result]:
        self.folder.joinpath("rows").write_bytes(content)
        fields = {name: name for name in PERSON}
        work = {"from": {"type": "files", "path": "rows"}, "match": ["id"], "fields": fields, "format": form}
        return self.perform({"import": work})


def _csv(*records: dict[str, str], delimiter: str = ",") -> str:
    return "".join(delimiter.join(record.values()) + "\n" for record in records)


def _excel(change: Callable[[str], str] = str, *, cells: Any = None) -> bytes:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.append(list(PERSON))
    book.active.append(cells or list(PERSON.values()))
    raw = io.BytesIO()
    book.save(raw)
    fresh = io.BytesIO()
    with zipfile.ZipFile(raw) as old, zipfile.ZipFile(fresh, "w") as new:
        for part in old.namelist():
            data = old.read(part)
            new.writestr(part, change(data.decode()).encode() if part.endswith("sheet1.xml") else data)
    return fresh.getvalue()


def _parquet(damage: Callable[[bytes], bytes] = bytes, kind: str = "VARCHAR") -> bytes:
    with duckdb.connect() as database, suppress(OSError):
        path = Path("/dev/shm") / f"canary-{id(damage)}.parquet"
        columns = ", ".join(
            f"'{value.replace(chr(39), chr(39) * 2)}'::{kind} AS {name}" for name, value in PERSON.items()
        )
        database.execute(f"COPY (SELECT {columns} FROM range(200)) TO '{path}' (FORMAT parquet)")
        data = path.read_bytes()
        path.unlink()
        return damage(data)
    raise AssertionError


HEADER = ",".join(PERSON) + "\n"
ROW = json.dumps(PERSON)
LATIN = b'{"id":"canary-4711","phone":"Zo\xeb kanarie"}\n'
FILES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "JSON lines in Latin-1": (LATIN, {"type": "jsonl"}),
    "JSON lines, Latin-1 later": (ROW.encode() * 1 + b"\n" + LATIN, {"type": "jsonl"}),
    "JSON lines, broken": (ROW[:-9].encode() + b"\n", {"type": "jsonl"}),
    "JSON lines, texts": (b'"canary-4711"\n["canary-4711"]\n', {"type": "jsonl"}),
    "JSON lines, a list": (f"[{ROW}]".encode(), {"type": "jsonl"}),
    "JSON lines, NUL": (ROW.replace("canary", "canary\\u0000").encode(), {"type": "jsonl"}),
    "JSON lines, half a character": (ROW.replace("kanarie", "kanarie\\ud800").encode(), {"type": "jsonl"}),
    "JSON lines, too long": (b'{"id": "canary-4711' + b"x" * 17_000_000 + b'"}\n', {"type": "jsonl"}),
    "JSON in Latin-1": (b"[" + LATIN + b"]", {"type": "json"}),
    "JSON, broken": (f"[{ROW}, {ROW[:-5]}".encode(), {"type": "json"}),
    "JSON, other rows": (json.dumps({"canary-4711": [PERSON]}).encode(), {"type": "json", "rows": "data"}),
    "JSON, no list": (ROW.encode(), {"type": "json"}),
    "CSV in Latin-1": (HEADER.encode() + b"canary-4711,canary@x.nl,kanarie\xeb,,,,\n", {}),
    "CSV without a header": (_csv(PERSON, PERSON).encode(), {}),
    "CSV without a header, ;": (_csv(PERSON, PERSON, delimiter=";").encode(), {}),
    "CSV, a header beyond its first record": ((_csv(PERSON) + HEADER).encode(), {}),
    "CSV, quotes": ((HEADER + '"canary-4711,"kanarie"\n').encode(), {}),
    "CSV, quotes in the header": (b'"canary-4711\nkanarie', {}),
    "CSV, short": ((HEADER + "canary-4711,kanarie\n").encode(), {}),
    "CSV, long": ((HEADER + _csv({**PERSON, "x": "kanarie", "y": "canary"})).encode(), {}),
    "CSV, NUL": ((HEADER + "canary\0-4711,,,,,,\n").encode(), {}),
    "CSV, wrong types": ((HEADER + "canary-4711,kanarie,kanarie,canary,kanarie,canary,canary\n").encode(), {}),
    "CSV, packed, cut": (gzip.compress((HEADER + _csv(PERSON)).encode() * 50)[:-9], {}),
    "CSV in UTF-16, cut": ((HEADER + _csv(PERSON)).encode("utf-16")[:-1], {"encoding": "utf-16"}),
    "CSV, not in ASCII": ((HEADER + "canary\u00eb,,,,,,\n").encode(), {"encoding": "ascii"}),
    "Excel, cut": (_excel()[:-99], {"type": "excel"}),
    "Excel, no number": (_excel(lambda text: text.replace("<v>", "<v>kanarie")), {"type": "excel"}),
    "Excel, no XML": (_excel(lambda text: text.replace("</row>", "<kanarie>")), {"type": "excel"}),
    "Excel, types": (_excel(lambda text: text.replace('t="s"', 't="kanarie"')), {"type": "excel"}),
    "Excel, dates": (
        _excel(lambda text: text.replace('t="s"', 't="d"').replace("<v>", "<v>kanarie")),
        {"type": "excel"},
    ),
    "Excel, other columns": (_excel(lambda text: text.replace('<row r="1"', '<row r="9"')), {"type": "excel"}),
    "Parquet, cut": (_parquet(lambda data: data[:-9]), {"type": "parquet"}),
    "Parquet, damaged": (_parquet(lambda data: data[:60] + b"canary-4711" + data[71:]), {"type": "parquet"}),
    "Parquet, no UTF-8": (_parquet(lambda data: data.replace(b"canary-4711", b"canary\xff4711")), {"type": "parquet"}),
    "Parquet, bytes": (_parquet(kind="BLOB"), {"type": "parquet"}),
    "Parquet, a store of keys": (_parquet(lambda data: data[:-40] + b"\xff" * 30 + data[-10:]), {"type": "parquet"}),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", FILES)
def test_no_damaged_file_tells_a_value(tmp_path: Path, name: str) -> None:
    content, form = FILES[name]
    said, result = Attempts(tmp_path).file(content, **form)
    nothing_of_a_person(said)
    assert result.code != "bug"


def test_lines_of_json_in_another_encoding_are_told_as_such(tmp_path: Path) -> None:
    said, result = Attempts(tmp_path).file(LATIN, type="jsonl")
    assert (result.outcome, result.code) == (Outcome.FAILED, "wrong-encoding")
    assert "in line 1 is not utf-8" in said


# --- words of others ---------------------------------------------------------------------------------------------

ROWS = [json.dumps({**PERSON, "tags": ["kanarie", "O'Canary \u00e9"], "n": 4711, "sex": "f"}).encode()]
PARTNERS = [
    "bad value for canary.4711@example.com",
    "bad value for other.canary@mail.example.co.uk",
    "bad value for other.canary%40example.com, other.canary\\u0040example.com and other.canary&#64;example.com",
    "<other.canary@xn--bcher-kva.example> CANARY-4711 is no number, +31 6 4711 KANARIE neither",
    'Key (phone)=(+31 6 4711 kanarie) already exists: {"n":4711,"tags":["kanarie"]}',
    "O'Canary é, O'Canary \\u00e9, O%27Canary%20%C3%A9",
    "id=canary-4711&phone=%2B31%206%204711%20kanarie",
]


@pytest.mark.parametrize("words", PARTNERS)
def test_words_of_a_partner_are_passed_on_without_values(words: str) -> None:
    nothing_of_a_person(redact_partner_words(words, ROWS))


def test_other_words_of_a_partner_stay() -> None:
    words = "row 12 of the form: name must be one of a, b; see https://example.com/@docs (f)"
    assert redact_partner_words(words, ROWS) == words
    assert redact_partner_words('"f" is no sex', ROWS) == '"…" is no sex'


LIBRARIES = [
    ("could not convert string to float: 'canary'", "could not convert string to float: …"),
    ("Value 'O'Canary' of \"kanarie\" is bad", "Value … of … is bad"),
    ('field value out of range: "1980-02-03"', "field value out of range: …"),
    ("1980-02-03 + 4711 is too much", "… + … is too much"),
    ("list index out of range", "list index out of range"),
]


@pytest.mark.parametrize(("words", "shown"), LIBRARIES)
def test_words_of_a_library_are_passed_on_without_values(words: str, shown: str) -> None:
    assert redact_library_words(words) == shown
    assert describe_exception(ValueError(f"{words}\nOriginal Line: canary")) == f"ValueError: {shown}"


DATABASES = [
    ("22P02", 'invalid input syntax for type integer: "canary"'),
    ("23505", "Key (email)=(canary.4711@example.com) already exists."),
    (None, "(1366, \"Incorrect integer value: 'kanarie' for column 'x'\")"),
    ("42", "(1062, \"Duplicate entry 'canary' for key 'x'\")"),
    (None, "('22018', \"Conversion failed when converting the varchar value 'kanarie' to int\")"),
]


@pytest.mark.parametrize(("state", "words"), DATABASES)
def test_words_of_a_database_are_passed_on_without_values(state: str | None, words: str) -> None:
    nothing_of_a_person(str(failure.explain_database_error(state, words, "crm at host")))


# --- the whole way -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_value_leaves_by_a_tick(place: Place) -> None:
    with receiving() as outside:
        outside.status = 400
        place.write("profile.yaml", json.dumps(PROFILE))
        mail = "schedule: {type: manual}\nnotify: [{to: ops@example.com, when: failure}]\n"
        beat = f"{mail}heartbeat: {{url: '{outside.url}/beat'}}\n"
        fields = "{" + ", ".join(f"{name}: {name}" for name in PERSON) + "}"
        source = "import: {from: {type: files, path: %s}, format: {type: jsonl}, match: [id], fields: %s}\n"
        place.write("good.jsonl", ROW + "\n")
        place.folder.joinpath("bad.jsonl").write_bytes(LATIN)
        place.write("connections/good.yaml", beat + source % ("good.jsonl", fields))
        place.write("connections/bad.yaml", beat + source % ("bad.jsonl", fields))
        where = "where: 'CAST(phone AS BIGINT) > 0'"
        place.write(
            "connections/condition.yaml",
            beat + f"export: {{to: {{type: files, path: out.csv}}, {where}, fields: {{id: id}}}}\n",
        )
        shown = [place.run("run", name, check=None) for name in ("good", "bad", "condition")]
        shown += [place.run("log", name, check=None) for name in ("bad", "condition")]
        shown += [place.run("profiles", "--where", "phone::DATE > now()", check=None), place.run("status", check=None)]
        for one in shown:
            nothing_of_a_person(one.out + one.err)
        assert place.runs("bad")[-1]["code"] == "wrong-encoding"
        assert place.runs("condition")[-1]["code"] == "where"
        beats = [got.body for got in outside.got]
        assert "run 1 failed (where)" in beats
        nothing_of_a_person("\n".join(beats))
    store = place.state.profiles.name
    files = [path for path in place.state.root.rglob("*") if path.is_file() and not path.name.startswith(store)]
    assert files
    for path in files:
        nothing_of_a_person(path.read_bytes().decode("utf-8", "replace"))


# --- consents ----------------------------------------------------------------------------------------------------

CONSENTS = [
    ("opt-in", True, "consented"),
    ("opt-in", False, "refused"),
    ("opt-in", None, "nothing said (opt-in: counts as no)"),
    ("opt-out", True, "consented"),
    ("opt-out", False, "refused"),
    ("opt-out", None, "nothing said (opt-out: counts as yes)"),
]


@pytest.mark.parametrize(("legislation", "answer", "said"), CONSENTS)
def test_nothing_said_is_neither_yes_nor_no(legislation: Any, answer: bool | None, said: str) -> None:
    assert describe_consent(answer, Objective(name="news", legislation=legislation)) == said

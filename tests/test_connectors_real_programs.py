"""Real taps, targets and sources from PyPI, installed and run. They take minutes: set CONNRUNNER_LONG_TESTS to run them.

With an absolute path in CONNRUNNER_LONG_TESTS the environments are made there, and are there the next time.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from connrunner.connectors import FetchResult, RunContext, airbyte, singer
from connrunner.connectors.bridge import environments
from connrunner.errors import RunError

LONG = os.environ.get("CONNRUNNER_LONG_TESTS", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(not LONG, reason="CONNRUNNER_LONG_TESTS is not set"),
]

TAP_JSONL = {"package": "tap-jsonl==0.3.1"}
TAP_CSV = {"package": "tap-csv-folder==0.0.1a1"}
TARGET_JSONL = {"package": "target-jsonl==0.1.4"}
TARGET_CSV = {"package": "meltanolabs-target-csv==0.5.0"}
FAKER = {"package": "airbyte-source-faker==7.2.1"}
CDK = {"package": "airbyte-cdk==7.39.1"}
PEOPLE = 20_000


class Log:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str, *, level: str = "info", **facts: Any) -> None:
        self.texts.append(f"{level}: {text}")

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(LONG) if LONG.startswith("/") else tmp_path_factory.mktemp("programs")
    for settings in (TAP_JSONL, TAP_CSV, TARGET_JSONL, TARGET_CSV, FAKER, CDK):
        wanted = environments.package(settings, folder)
        assert wanted is not None
        environments.install(wanted, folder, Log())
    return folder


class Home:
    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.programs = programs
        self.log = Log()
        self.runs = 0

    def context(self) -> RunContext:
        self.runs += 1
        spool = self.folder / f"spool-{self.runs}"
        spool.mkdir()
        return RunContext(
            connection="people",
            run=self.runs,
            at=datetime.now(UTC),
            workspace=self.folder,
            spool=spool,
            programs=self.programs,
            report=self.log,
        )

    def tap(self, settings: dict[str, Any], mark: Any = None) -> FetchResult:
        return singer.fetch(settings, self.context(), known=lambda *_: False, mark=mark)

    def source(self, settings: dict[str, Any], mark: Any = None) -> FetchResult:
        return airbyte.fetch(settings, self.context(), known=lambda *_: False, mark=mark)


@pytest.fixture
def home(tmp_path: Path, programs: Path) -> Home:
    return Home(tmp_path, programs)


def rows(fetched: FetchResult) -> list[Any]:
    found = []
    for file in fetched.files:
        data = Path(file.path).read_bytes()
        found += [json.loads(line) for line in (gzip.decompress(data) if data[:1] == b"\x1f" else data).splitlines()]
    return found


def person(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "email": f"person-{number}@example.com",
        "name": f'Zoë "{number}" 😀',
        "city": None if number % 3 else "Łódź",
        "value": number / 4,
    }


def test_tap_jsonl(home: Home) -> None:
    (home.folder / "in").mkdir()
    (home.folder / "in" / "people.jsonl").write_text("".join(json.dumps(person(n)) + "\n" for n in range(PEOPLE)))
    config = {"path": str(home.folder / "in" / "*.jsonl"), "stream_name": "people", "primary_keys": ["id"]}
    settings = {**TAP_JSONL, "stream": "people", "config": config}
    fetched = home.tap(settings)
    mine = [{name: row[name] for name in person(0)} for row in rows(fetched)]
    assert mine == [person(number) for number in range(PEOPLE)]
    assert "people" in fetched.mark["state"]["bookmarks"]
    # Its state is the time of the file: nothing newer, so nothing or the same rows, but the state goes on.
    again = home.tap(settings, fetched.mark)
    assert again.mark["state"]["bookmarks"]["people"]["replication_key_value"]
    batches = {"encoding": {"format": "jsonl", "compression": "gzip"}, "storage": {"root": "file://{spool}"}}
    packed = home.tap({**settings, "config": {**config, "batch_config": {**batches, "batch_size": 5000}}})
    assert len(packed.files) >= 2
    assert [row["id"] for row in rows(packed)] == list(range(PEOPLE))


def test_tap_csv_folder(home: Home) -> None:
    (home.folder / "in").mkdir()
    with (home.folder / "in" / "people.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(person(0)))
        writer.writeheader()
        writer.writerows(person(number) for number in range(PEOPLE))
    config = {"path": str(home.folder / "in"), "read_mode": "merge", "stream_name": "people", "filesystem": "local"}
    settings = {**TAP_CSV, "stream": "people", "config": config}
    fetched = home.tap({**settings, "catalog": False})
    assert [row["email"] for row in rows(fetched)] == [person(number)["email"] for number in range(PEOPLE)]
    for more in ({}, {"catalog": False}):
        with pytest.raises(RunError, match="there is no stream 'peoples'; did you mean 'people'"):
            home.tap({**settings, "stream": "peoples", **more})
    # This tap cannot take a catalog, its own neither: that is what `catalog: false` is for.
    with pytest.raises(RunError, match="ended with exit status 1: AttributeError: property 'primary_keys'"):
        home.tap(settings)


def test_a_wrong_config_is_told_in_the_taps_words(home: Home) -> None:
    said = "'path' is a required property; Config validation failed"
    with pytest.raises(RunError, match=f"tap-jsonl ended with exit status 1: {said}"):
        home.tap({**TAP_JSONL, "stream": "jsonl", "config": {}, "catalog": False})


@pytest.mark.parametrize("settings", [TARGET_JSONL, TARGET_CSV], ids=["target-jsonl", "target-csv"])
def test_targets(settings: dict[str, Any], home: Home) -> None:
    out = home.folder / "out"
    out.mkdir()
    config = {"destination_path": str(out), "output_path": str(out), "file_naming_scheme": "{stream_name}.csv"}
    settings = {**settings, "stream": "people", "keys": ["id"], "config": config}
    context = home.context()
    local = context.spool / singer.target(settings, context)
    local.write_text("".join(json.dumps(person(number)) + "\n" for number in range(PEOPLE)))
    assert singer.deliver(settings, context, local).refused == ()
    (written,) = out.iterdir()
    if written.suffix == ".csv":
        with written.open(newline="") as file:
            sent = list(csv.DictReader(file))
    else:
        sent = [json.loads(line) for line in written.read_text().splitlines()]
    assert [row["name"] for row in sent] == [person(number)["name"] for number in range(PEOPLE)]
    assert sent[5]["value"] == "1.25"


def test_source_faker(home: Home) -> None:
    settings = {**FAKER, "stream": "users", "config": {"count": 2000, "seed": 7, "parallelism": 1}}
    fetched = home.source(settings)
    assert sorted(row["id"] for row in rows(fetched)) == list(range(1, 2001))
    (state,) = fetched.mark["state"]
    assert state["stream"]["stream_state"]["loop_offset"] == 2000
    again = home.source(settings, fetched.mark)
    assert again.mark["state"][0]["stream"]["stream_state"]["loop_offset"] == 2000
    with pytest.raises(RunError, match="there is no stream 'user'; did you mean 'users'"):
        home.source({**settings, "stream": "user"})
    with pytest.raises(
        RunError, match="refused its `config`: Config validation error: 'many' is not of type 'integer'"
    ):
        home.source({**settings, "config": {"count": "many"}})


MANIFEST = """\
version: 6.5.2
type: DeclarativeSource
check: {{type: CheckStream, stream_names: [contacts]}}
streams:
  - type: DeclarativeStream
    name: contacts
    primary_key: [id]
    retriever:
      type: SimpleRetriever
      requester:
        type: HttpRequester
        url_base: {url}
        path: /contacts
        http_method: GET
        authenticator: {{type: BearerAuthenticator, api_token: "{{{{ config['api_key'] }}}}"}}
      record_selector:
        type: RecordSelector
        extractor: {{type: DpathExtractor, field_path: [items]}}
      paginator:
        type: DefaultPaginator
        page_token_option: {{type: RequestOption, inject_into: request_parameter, field_name: page}}
        pagination_strategy: {{type: PageIncrement, page_size: 100, start_from_page: 0, inject_on_first_request: true}}
    schema_loader:
      type: InlineSchemaLoader
      schema: {{type: object, properties: {{id: {{type: integer}}, email: {{type: string}}}}}}
spec:
  type: Spec
  connection_specification:
    type: object
    required: [api_key]
    properties: {{api_key: {{type: string, airbyte_secret: true}}}}
"""
TOKEN = "tok-0123456789"


class Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.answer(401, {"error": "who are you?"})
            return
        page = int(parse_qs(urlsplit(self.path).query)["page"][0])
        self.answer(200, {"items": [person(number) for number in range(page * 100, page * 100 + 100) if number < 2050]})

    def answer(self, status: int, data: Any) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def api() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_declarative_manifest(api: str, home: Home) -> None:
    (home.folder / "crm.yaml").write_text(MANIFEST.format(url=api))
    settings = {**CDK, "manifest": "crm.yaml", "stream": "contacts", "config": {"api_key": TOKEN}}
    fetched = home.source(settings)
    assert [row["email"] for row in rows(fetched)] == [person(number)["email"] for number in range(2050)]
    assert [file.once for file in fetched.files] == [False]  # it has no cursor: all rows come again
    with pytest.raises(RunError) as caught:
        home.source({**settings, "config": {"api_key": "tok-wrong-wrong"}})
    assert caught.value.code in ("refused-config", "source-error")
    assert "401" in str(caught.value) or "nauthorized" in str(caught.value)
    assert "tok-wrong" not in str(caught.value)

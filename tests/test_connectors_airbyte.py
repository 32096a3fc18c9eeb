"""Airbyte sources, with small ones of our own."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connrunner.connectors import FetchResult, RunContext, airbyte
from connrunner.core.model import Format
from connrunner.errors import RunError
from connrunner.processes import tree as process_tree
from tests.servers.programs import ANSWERS, SOURCE


class Log:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str, *, level: str = "info", **facts: Any) -> None:
        self.texts.append(f"{level}: {text}")

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...


class Home:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = Log()
        self.runs = 0

    def fetch(self, code: str, *, mark: Any = None, before: str = "", **settings: Any) -> FetchResult:
        path = self.folder / "source.py"
        path.write_text(f"#!{sys.executable} -IS\n{SOURCE}{before}{ANSWERS}{code}")
        path.chmod(0o700)
        self.runs += 1
        spool = self.folder / f"spool-{self.runs}"
        spool.mkdir()
        context = RunContext(
            connection="people",
            run=self.runs,
            at=datetime(2026, 11, 22, 23, 30, tzinfo=UTC),
            workspace=self.folder,
            spool=spool,
            programs=self.folder / "programs",
            report=self.log,
        )
        settings = {"command": ["./source.py"], "stream": "people", **settings}
        return airbyte.fetch(settings, context, known=lambda *_: False, mark=mark)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(process_tree, "GRACE", 0.3)
    return Home(tmp_path)


def rows(fetched: FetchResult) -> list[Any]:
    return [json.loads(line) for file in fetched.files for line in Path(file.path).read_bytes().splitlines()]


def kept(state: Any, stream: str = "people") -> dict[str, Any]:
    return {"protocol": "airbyte", "stream": stream, "state": state}


def seen(number: int) -> dict[str, Any]:
    stream = {"stream_descriptor": {"name": "people"}, "stream_state": {"seen": number}}
    return {"type": "STREAM", "stream": stream}


def test_records_become_rows_and_the_last_state_the_mark(home: Home) -> None:
    fetched = home.fetch("""
status("STARTED")
record({"id": 1, "name": "Zoë"})
saw(1)
record({"id": 2, "address": {"city": "Łódź"}})
record({"id": 9}, "orders")
saw(2)
log("careful", "WARN")
log("Sürprise\\nin two lines", "ERROR")
print("plain words")
trace("ESTIMATE", estimate={"name": "people"})
status("COMPLETE")
""")
    assert rows(fetched) == [{"id": 1, "name": "Zoë"}, {"id": 2, "address": {"city": "Łódź"}}]
    assert fetched.mark == kept([seen(2)])
    form = Format(type="jsonl", compression="none")
    assert [(file.name, file.format, file.once) for file in fetched.files] == [("source.py: people", form, True)]
    assert home.log.texts == [
        "info: checking",
        "warning: careful",
        "error: Sürprise\nin two lines",
        "info: plain words",
        "info: source.py sent 2 records of the stream 'people'",
        "warning: left out: 1 record of other streams",
    ]


def test_the_mark_is_given_back(home: Home) -> None:
    source = """
before = state[0]["stream"]["stream_state"]["seen"] if state else 0
for number in range(before + 1, config["there"] + 1):
    record({"id": number})
saw(config["there"])
"""
    first = home.fetch(source, config={"there": 2})
    second = home.fetch(source, config={"there": 3}, mark=first.mark)
    third = home.fetch(source, config={"there": 3}, mark=second.mark)
    assert [rows(each) for each in (first, second, third)] == [[{"id": 1}, {"id": 2}], [{"id": 3}], []]
    assert third.files == ()


STATES = [
    # what the source says, and what is kept
    ("saw(1); saw(2)", [seen(2)]),
    (
        "say('STATE', state={'type': 'GLOBAL', 'global': {'shared_state': {'a': 1}, 'stream_states': []}})",
        [{"type": "GLOBAL", "global": {"shared_state": {"a": 1}, "stream_states": []}}],
    ),
    ("say('STATE', state={'type': 'LEGACY', 'data': {'people': 1}})", {"people": 1}),
    ("say('STATE', state={'data': {'people': 2}})", {"people": 2}),
    ("say('STATE', state={'data': {'people': 2}}); saw(3)", [seen(3)]),
]


@pytest.mark.parametrize(("said", "state"), STATES)
@pytest.mark.thorough
def test_every_kind_of_state(said: str, state: Any, home: Home) -> None:
    fetched = home.fetch(f"record({{'state': state}}); {said}", mark=kept("before"))
    assert rows(fetched) == [{"state": "before"}]
    assert fetched.mark == kept(state)


MODES = [
    # the stream, the field, and how it is read
    ("people", "", "incremental", ["changed"]),
    ("people", "since", "incremental", ["since"]),
    ("orders", "", "full_refresh", []),
    ("visits", "", "full_refresh", []),
    ("visits", "at", "incremental", ["at"]),
]


@pytest.mark.parametrize(("stream", "cursor", "mode", "field"), MODES)
@pytest.mark.thorough
def test_how_a_stream_is_read(stream: str, cursor: str, mode: str, field: list[str], home: Home) -> None:
    more = {"cursor": cursor} if cursor else {}
    source = "record({'catalog': json.load(open(args.catalog)), 'state': state}, 'STREAM'); saw(1)"
    fetched = home.fetch(source.replace("STREAM", stream), stream=stream, mark=kept("before", stream), **more)
    (row,) = rows(fetched)
    (chosen,) = row["catalog"]["streams"]
    assert (chosen["stream"]["name"], chosen["sync_mode"], chosen["cursor_field"]) == (stream, mode, field)
    assert chosen["destination_sync_mode"] == "append"
    is_incremental = mode == "incremental"
    assert row["state"] == ("before" if is_incremental else None)
    assert fetched.mark == kept([seen(1)] if is_incremental else "before", stream)
    assert [file.once for file in fetched.files] == [is_incremental]


def test_a_stream_that_can_only_be_read_whole(home: Home) -> None:
    with pytest.raises(RunError, match="the stream 'orders' can only be read whole; leave out `cursor`"):
        home.fetch("", stream="orders", cursor="id")


def test_a_stream_that_is_not_there(home: Home) -> None:
    with pytest.raises(RunError, match="there is no stream 'person'; there is orders, people, visits"):
        home.fetch("", stream="person")


REFUSED = """
trace("ERROR", error={"message": "Invalid API key", "failure_type": "config_error"})
trace("ERROR", error={"message": "stream failed"})
sys.exit(1)
"""
BUSY = "trace('ERROR', error={'message': 'The server is busy', 'failure_type': 'transient_error'})"
FAILURES = [
    # what happens, and the message
    (
        REFUSED,
        "source.py: Invalid API key; correct `config`",
        "source-error",
        False,
    ),
    (
        BUSY,
        "source.py: The server is busy; see its log",
        "source-error",
        True,
    ),
    ("log('it broke', 'FATAL'); sys.exit(1)", "source.py ended with exit status 1: it broke", "exit-status", False),
    ("status('STARTED'); status('INCOMPLETE')", "source.py could not read all of the stream", "incomplete", True),
    ("record({'id': 1}); os.kill(os.getpid(), 11)", "a signal ended source.py: SIGSEGV", "signal", False),
    ('print(\'{"type":"RECORD","record":{}}\')', "printed a broken message in line 1", "bad-output", False),
    ('print(\'{"type":"RECORD","record":{"str\')', "printed a broken message in line 1", "bad-output", False),
]


@pytest.mark.parametrize(("code", "message", "reason", "waiting_helps"), FAILURES)
@pytest.mark.thorough
def test_failures(code: str, message: str, reason: str, waiting_helps: bool, home: Home) -> None:
    with pytest.raises(RunError) as caught:
        home.fetch(code)
    assert message in str(caught.value)
    assert (caught.value.code, caught.value.waiting_helps) == (reason, waiting_helps)


def test_an_error_is_logged_with_what_the_source_says_of_its_inside(home: Home) -> None:
    with pytest.raises(RunError):
        home.fetch("trace('ERROR', error={'message': 'No', 'internal_message': '401 for /v1', 'stack_trace': 'T'})")
    assert "error: 401 for /v1" in home.log.texts


def test_another_streams_trouble_is_not_ours(home: Home) -> None:
    assert rows(home.fetch("record({'id': 1}); status('INCOMPLETE', 'orders')")) == [{"id": 1}]


@pytest.mark.parametrize(
    ("before", "message", "reason"),
    [
        (
            "CHECKED = {'status': 'FAILED', 'message': 'wrong password'}",
            "source.py refused its `config`: wrong password",
            "refused-config",
        ),
        ("if args.command == 'check': sys.exit()", "did not say whether its `config` is right", "bad-output"),
        ("if args.command == 'discover': sys.exit()", "did not say which streams it has", "bad-output"),
        ("if args.command == 'discover': sys.exit('no')", "ended with exit status 1: no", "exit-status"),
        ("STREAMS = [1]", "did not say which streams it has", "bad-output"),
    ],
)
def test_what_is_asked_before(before: str, message: str, reason: str, home: Home) -> None:
    with pytest.raises(RunError) as caught:
        home.fetch("record({'id': 1})", before=before + "\n")
    assert message in str(caught.value)
    assert caught.value.code == reason


ODD = [
    '{"type":"RECORD","record":{"stream":"people","data":{"id":1}}}',
    '{"type":"RECORD","record":{"namespace":null,"stream":"people","data":{"id":1},"emitted_at":1}}',
    '{"type":"RECORD","record":{"stream":"people","data":{"id":1},"emitted_at":1,"namespace":"public"}}',
    '{"type":"RECORD","record":{"stream":"people","data":{"id":1},"emitted_at":1,"meta":{"changes":[]}}}',
    '{"type": "RECORD", "record": {"emitted_at": 1, "data": {"id": 1}, "stream": "people"}}',
    '{"record":{"stream":"people","data":{"id":1},"emitted_at":1},"type":"RECORD"}',
]


@pytest.mark.parametrize("line", ODD)
@pytest.mark.thorough
def test_however_a_record_is_written(line: str, home: Home) -> None:
    assert rows(home.fetch(f"print({line!r})")) == [{"id": 1}]


@pytest.mark.parametrize("end", ["", ',"meta":{"changes":[]}'])  # the usual form, and another
def test_a_number_keeps_its_digits_and_a_deleted_record_makes_no_profile(end: str, home: Home) -> None:
    lines = [
        '{"type":"RECORD","record":{"stream":"people","data":{"id":1,"d":1234567890123.456789,"x":{"y":1.10}},"emitted_at":1%s}}',
        '{"type":"RECORD","record":{"stream":"people","data":{"id":2,"_ab_cdc_deleted_at":"2026-01-01T00:00:00Z"},"emitted_at":1%s}}',
        '{"type":"RECORD","record":{"stream":"people","data":{"id":3,"_ab_cdc_deleted_at":null},"emitted_at":1%s}}',
    ]
    fetched = home.fetch("".join(f"print({line % end!r})\n" for line in lines))
    assert Path(fetched.files[0].path).read_text().splitlines() == [
        '{"id":1,"d":1234567890123.456789,"x":{"y":1.10}}',
        '{"id":3,"_ab_cdc_deleted_at":null}',
    ]
    assert "warning: left out: 1 record that the source marks as deleted" in home.log.texts


def test_a_wish_for_another_config_is_told(home: Home) -> None:
    fetched = home.fetch(
        "say('CONTROL', control={'type': 'CONNECTOR_CONFIG', 'connectorConfig': {'config': {'token': 'tok-fresh'}}})"
    )
    assert fetched.notes == (airbyte.CONFIG_CHANGED,)
    assert home.fetch("record({'id': 1})").notes == ()
    assert any(text.startswith("warning: it wants its config changed") for text in home.log.texts)
    assert not any("tok-fresh" in text for text in home.log.texts)


def test_a_manifest_is_passed_on(home: Home) -> None:
    (home.folder / "crm.yaml").write_text("version: 6.0.0\n")
    fetched = home.fetch("record({'path': args.manifest_path})", manifest="crm.yaml")
    assert rows(fetched) == [{"path": str(home.folder / "crm.yaml")}]
    with pytest.raises(RunError, match=r"there is no manifest crn\.yaml; correct `manifest`"):
        home.fetch("", manifest="crn.yaml")


def test_its_config_is_private_and_gone_afterwards(home: Home) -> None:
    source = "record({'config': config, 'mode': oct(os.stat(args.config).st_mode), 'argv': sys.argv})"
    (row,) = rows(home.fetch(source, config={"password": "hunter2 hunter2"}))
    assert row["config"] == {"password": "hunter2 hunter2"}
    assert row["mode"] == "0o100600"
    assert "hunter2" not in str(row["argv"])
    assert [path.name for path in (home.folder / "spool-1").rglob("*") if path.is_file()] == ["rows-1.jsonl"]


def test_a_source_that_stalls(home: Home) -> None:
    with pytest.raises(RunError, match=r"source\.py stalled: nothing was heard from it for 1 s"):
        home.fetch("record({'id': 1}); time.sleep(60)", idle="1s")


def test_settling_changes_nothing(home: Home) -> None:
    airbyte.settle({}, None, FetchResult(files=()))  # type: ignore[arg-type]

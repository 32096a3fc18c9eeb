"""Singer taps as sources and targets as destinations, with small ones of our own."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connrunner.connectors import FetchResult, RunContext, bridge, singer
from connrunner.core.model import Format
from connrunner.errors import RunError
from connrunner.processes import tree as process_tree
from tests.servers.programs import TAP, TAP_WITHOUT_DISCOVERY, TARGET

AT = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
JSONL = Format(type="jsonl", compression="none")


class Log:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.told: list[tuple[str, int, int | None]] = []

    def message(self, text: str, *, level: str = "info", **facts: Any) -> None:
        self.texts.append(f"{level}: {text}")

    def progress(self, stage: str, done: int, of: int | None = None) -> None:
        self.told.append((stage, done, of))


class Home:
    """A workspace with a tap or target in it; each run has a spool of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = Log()
        self.runs = 0

    def program(self, code: str, prelude: str = TAP) -> list[str]:
        path = self.folder / "program.py"
        path.write_text(f"#!{sys.executable} -IS\n{prelude}{code}")
        path.chmod(0o700)
        return ["./program.py"]

    def context(self) -> RunContext:
        self.runs += 1
        spool = self.folder / f"spool-{self.runs}"
        spool.mkdir()
        return RunContext(
            connection="people",
            run=self.runs,
            at=AT,
            workspace=self.folder,
            spool=spool,
            programs=self.folder / "programs",
            report=self.log,
        )

    def fetch(self, code: str, *, mark: Any = None, prelude: str = TAP, **settings: Any) -> FetchResult:
        settings = {"command": self.program(code, prelude), "stream": "people", **settings}
        return singer.fetch(settings, self.context(), known=lambda *_: False, mark=mark)

    def deliver(self, code: str, rows: list[Mapping[str, Any]], **settings: Any) -> str:
        context = self.context()
        local = context.spool / "people.jsonl"
        local.write_text("".join(json.dumps(row) + "\n" for row in rows))
        settings = {"command": self.program(code, TARGET), "stream": "people", **settings}
        return singer.deliver(settings, context, local).where


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(process_tree, "GRACE", 0.3)
    return Home(tmp_path)


def rows(fetched: FetchResult) -> list[Any]:
    found: list[Any] = []
    for file in fetched.files:
        data = Path(file.path).read_bytes()
        assert len(data) == file.size
        found += [json.loads(line) for line in (gzip.decompress(data) if data[:1] == b"\x1f" else data).splitlines()]
    return found


def kept(state: Any) -> dict[str, Any]:
    return {"protocol": "singer", "stream": "people", "state": state}


# --- import ------------------------------------------------------------------------------------------------------


def test_records_become_rows_and_the_last_state_the_mark(home: Home) -> None:
    fetched = home.fetch("""
schema(id={}, name={})
record({"id": 1, "name": "Zoë"})
say("STATE", value={"seen": 1})
record({"id": 2, "name": None, "tags": ["a"], "address": {"city": "Łódź"}})
say("STATE", value={"seen": 2})
record({"id": 3})
""")
    assert rows(fetched) == [
        {"id": 1, "name": "Zoë"},
        {"id": 2, "name": None, "tags": ["a"], "address": {"city": "Łódź"}},
        {"id": 3},
    ]
    assert fetched.mark == kept({"seen": 2})
    assert [(file.name, file.format, file.once) for file in fetched.files] == [("program.py: people", JSONL, True)]
    assert "info: the stream 'people' has the columns id, name" in home.log.texts
    assert "info: program.py sent 3 records of the stream 'people'" in home.log.texts


def test_the_mark_is_given_back(home: Home) -> None:
    tap = """
for number in range(state.get("seen", 0) + 1, config["there"] + 1):
    record({"id": number})
say("STATE", value={"seen": config["there"]})
"""
    first = home.fetch(tap, config={"there": 2})
    second = home.fetch(tap, config={"there": 5}, mark=first.mark)
    third = home.fetch(tap, config={"there": 5}, mark=second.mark)
    assert [rows(each) for each in (first, second, third)] == [
        [{"id": 1}, {"id": 2}],
        [{"id": 3}, {"id": 4}, {"id": 5}],
        [],
    ]
    assert third.files == ()
    assert third.mark == kept({"seen": 5})


def test_without_a_state_the_old_mark_stays_and_the_rows_come_again(home: Home) -> None:
    fetched = home.fetch("record({'id': 1})", mark=kept({"seen": 7}))
    assert fetched.mark == kept({"seen": 7})
    assert [file.once for file in fetched.files] == [False]


def test_a_stream_that_is_read_whole_comes_again_whatever_its_state(home: Home) -> None:
    (home.folder / "catalog.json").write_text(
        json.dumps({"streams": [{"stream": "people", "replication_method": "FULL_TABLE"}]})
    )
    fetched = home.fetch("record({'id': 1}); say('STATE', value={})", catalog="catalog.json")
    assert [file.once for file in fetched.files] == [False]


@pytest.mark.parametrize(
    "mark",
    [
        {"protocol": "singer", "stream": "orders", "state": {"seen": 1}},
        {"protocol": "airbyte", "stream": "people", "state": [{}]},
        "2026-11-22",
    ],
)
def test_the_state_of_something_else_is_not_given(mark: Any, home: Home) -> None:
    assert rows(home.fetch("record(state)", mark=mark)) == [{}]
    assert any("is not one of the stream 'people'" in text for text in home.log.texts)


@pytest.mark.parametrize(
    "end",
    [
        "sys.exit('connection lost')",
        'sys.stdout.write(\'{"type": "RECORD", "stream": "people", "rec\'); sys.exit(\'connection lost\')',
    ],
)
def test_a_tap_that_dies_in_the_middle(end: str, home: Home) -> None:
    with pytest.raises(RunError) as caught:
        home.fetch("record({'id': 1}); say('STATE', value={'seen': 1}); record({'id': 2}); " + end)
    assert caught.value.code in ("exit-status", "bad-output")
    if "write" not in end:
        assert str(caught.value) == "program.py ended with exit status 1: connection lost"


def test_lines_that_are_no_messages_are_logged(home: Home) -> None:
    fetched = home.fetch("""
print("starting")
print('{"event": "start", "level": "info"}')
print('{"type": "HEARTBEAT"}')
print("[1, 2]")
record({"id": 1})
print("done", file=sys.stderr)
""")
    assert rows(fetched) == [{"id": 1}]
    for text in ("starting", '{"event": "start", "level": "info"}', '{"type": "HEARTBEAT"}', "[1, 2]", "done"):
        assert f"info: {text}" in home.log.texts


ODD = [
    # how it is written, and the row
    ('{"type":"RECORD","stream":"people","record":{"id":1}}', {"id": 1}),
    ('{"type": "RECORD", "stream": "people", "record": {"id": 1}, "version": 3}', {"id": 1}),
    ('{"type":"RECORD","stream":"people","record":{"id":1},"version":null,"time_extracted":"x"}', {"id": 1}),
    ('{"record":{"id":1},"type":"RECORD","stream":"people"}', {"id": 1}),
    ('{"type":"RECORD","stream":"people","record":{"id":1},"more":{"a":1}}', {"id": 1}),
    ('  { "type" : "RECORD" , "stream" : "people" , "record" : { "id" : 1 } }', {"id": 1}),
    ('{"type":"RECORD","stream":"people","record":{"t":"}},\\"version\\":1}"}}\r', {"t": '}},"version":1}'}),
    ('{"type":"RECORD","stream":"people","record":{"id":\r1}}', {"id": 1}),
    ('{"type":"RECORD","stream":"people","record":{"n":12345678901234567890.10}}', {"n": 12345678901234567890.10}),
    ('{"type":"RECORD","stream":"people","record":{"u":"\\u2028\\ud83d\\ude00"}}', {"u": "\u2028😀"}),
    ('{"type":"RECORD","stream":"people","record":{"u":"\\ud83d"},"more":1}', {"u": "\ud83d"}),
    ('{"type":"RECORD","stream":"people","record":{}}', {}),
]


@pytest.mark.parametrize(("line", "row"), ODD)
@pytest.mark.thorough
def test_however_a_record_is_written(line: str, row: Any, home: Home) -> None:
    fetched = home.fetch(f"sys.stdout.write({line!r} + '\\n')")
    assert rows(fetched) == [row]
    assert Path(fetched.files[0].path).read_bytes().count(b"\r") == 0


@pytest.mark.parametrize("end", ["", ',"more":1'])  # the usual form, and another
def test_a_number_keeps_its_digits_and_a_deleted_record_makes_no_profile(end: str, home: Home) -> None:
    lines = [
        '{"type":"RECORD","stream":"people","record":{"id":1,"d":1234567890123.456789,"x":{"y":1.10}}%s}',
        '{"type":"RECORD","stream":"people","record":{"id":2,"_sdc_deleted_at":"2026-01-01T00:00:00Z"}%s}',
        '{"type":"RECORD","stream":"people","record":{"id":3,"_sdc_deleted_at":null}%s}',
        '{"type":"RECORD","stream":"people","record":{"id":4,"n":NaN}%s}',
    ]
    fetched = home.fetch("".join(f"print({line % end!r})\n" for line in lines))
    written = Path(fetched.files[0].path).read_text().splitlines()
    assert written[:2] == ['{"id":1,"d":1234567890123.456789,"x":{"y":1.10}}', '{"id":3,"_sdc_deleted_at":null}']
    assert "NaN" in written[2]
    assert len(written) == 3
    assert "warning: left out: 1 record that the source marks as deleted" in home.log.texts


@pytest.mark.parametrize(
    "line",
    [
        '{"type":"RECORD","stream":"people","record":{"id":1,}}',
        '{"type":"RECORD","stream":"people","record":[1]}',
        '{"type":"RECORD","stream":"people"}',
        '{"type":"RECORD","record":{"id":1}}',
        '{"type":"RECORD","stream":"people","record":{"id":1}{"type":"STATE","value":{}}',
        'progress 1{"type":"RECORD","stream":"people","record":{"id":1}}',
        '{"type":"RECORD","stream":"people","record":{"t":"a\x01b"}}',
        '{"type":"RECORD","stream":"people","record":' + '{"a":' * 5000 + "1" + "}" * 5001,
        '{"type":"BATCH","stream":"people"}',
        '{"type": "BATCH", "stream": "people", "manifest"',
    ],
)
@pytest.mark.thorough
def test_a_broken_message_fails_the_run_for_rows_may_be_lost(line: str, home: Home) -> None:
    with pytest.raises(RunError, match=r"program\.py printed a broken message in line 2 of its output") as caught:
        home.fetch(f"record({{'id': 0}}); print({line!r}); record({{'id': 2}})")
    assert caught.value.code == "bad-output"


def test_a_record_that_is_not_utf_8(home: Home) -> None:
    with pytest.raises(RunError, match="broken message in line 1"):
        home.fetch("""
sys.stdout.buffer.write(b'{"type":"RECORD","stream":"people","record":{"n":"\\xff"}}\\n')
""")


def test_a_program_that_is_no_tap(home: Home) -> None:
    with pytest.raises(RunError, match="ended without one Singer message; see in the log what it said; is it a tap"):
        home.fetch("print('hello')", prelude="")


def test_one_stream_of_many(home: Home) -> None:
    tap = "schema('orders'); record({'id': 9}, 'orders'); record({'id': 8}, 'orders'); schema(); record({'id': 1})"
    assert rows(home.fetch(tap)) == [{"id": 1}]
    assert "warning: left out: 2 records of the stream 'orders'" in home.log.texts


def test_a_stream_that_a_tap_without_catalog_does_not_have(home: Home) -> None:
    with pytest.raises(RunError, match="there is no stream 'people'; did you mean 'peoples'"):
        home.fetch("schema('peoples'); schema('orders')", prelude=TAP_WITHOUT_DISCOVERY)


def test_a_name_that_json_writes_in_two_ways(home: Home) -> None:
    tap = """
record({"id": 1}, "Zoë \\"x\\"")
sys.stdout.buffer.write('{"type":"RECORD","stream":"Zoë \\\\"x\\\\"","record":{"id":2}}\\n'.encode())
"""
    assert rows(home.fetch(tap, prelude=TAP_WITHOUT_DISCOVERY, stream='Zoë "x"')) == [{"id": 1}, {"id": 2}]


# --- its catalog -------------------------------------------------------------------------------------------------


def test_the_stream_is_selected_in_the_taps_own_catalog(home: Home) -> None:
    fetched = home.fetch("record(json.load(open(args.catalog)))", cursor="changed")
    (catalog,) = rows(fetched)
    people, orders = catalog["streams"]
    assert people["selected"] is people["schema"]["selected"] is people["metadata"][0]["metadata"]["selected"] is True
    assert orders["selected"] is orders["schema"]["selected"] is orders["metadata"][0]["metadata"]["selected"] is False
    assert people["replication_key"] == people["metadata"][0]["metadata"]["replication-key"] == "changed"
    assert "replication_key" not in orders


def test_a_stream_that_is_not_in_the_catalog(home: Home) -> None:
    with pytest.raises(RunError, match="there is no stream 'person'; there is orders, people") as caught:
        home.fetch("", stream="person")
    assert caught.value.code == "no-stream"


def test_a_catalog_from_a_file(home: Home) -> None:
    (home.folder / "catalog.json").write_text('{"streams": [{"stream": "people", "mine": true}]}')
    fetched = home.fetch("record(json.load(open(args.catalog)))", catalog="catalog.json", prelude=TAP_WITHOUT_DISCOVERY)
    assert rows(fetched)[0]["streams"][0]["mine"] is True


def test_no_catalog_at_all(home: Home) -> None:
    refuses = TAP.replace("print(json.dumps(CATALOG, indent=2))", "sys.exit('never ask me')")
    tap = "record({'catalog': args.catalog}); record({'id': 2}, 'orders')"
    assert rows(home.fetch(tap, prelude=refuses, catalog=False)) == [{"catalog": None}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the catalog catalog.json: No such file or directory"),
        ("{", "cannot read the catalog catalog.json: it is no JSON"),
        ("[]", "the catalog has no list `streams`"),
        ('{"streams": [1]}', "the catalog has no list `streams`"),
    ],
)
def test_a_catalog_file_that_is_none(content: str | None, message: str, home: Home) -> None:
    if content is not None:
        (home.folder / "catalog.json").write_text(content)
    with pytest.raises(RunError, match=message):
        home.fetch("", catalog="catalog.json")


@pytest.mark.parametrize(
    "prelude",
    [
        TAP_WITHOUT_DISCOVERY,  # argparse ends it with a usage error
        TAP.replace("print(json.dumps(CATALOG, indent=2))", "pass"),  # says nothing
        TAP.replace("if args.discover", "if False"),  # begins to read
        TAP.replace("print(json.dumps(CATALOG, indent=2))", "print('{ I know nothing')"),
    ],
)
def test_a_tap_without_a_catalog_reads_all(prelude: str, home: Home) -> None:
    fetched = home.fetch("schema(); record({'id': 1}); record({'id': 2}, 'orders')", prelude=prelude)
    assert rows(fetched) == [{"id": 1}]
    assert any("program.py has no catalog" in text for text in home.log.texts)


def test_a_catalog_behind_other_words(home: Home) -> None:
    talks = TAP.replace("print(json.dumps(CATALOG", "print('hello\\n{'); print(json.dumps(CATALOG")
    assert rows(home.fetch("record(json.load(open(args.catalog)))", prelude=talks))[0]["streams"]


def test_a_discovery_that_fails_fails_the_run(home: Home) -> None:
    refuses = TAP.replace("print(json.dumps(CATALOG, indent=2))", "sys.exit('wrong password for Discovery')")
    with pytest.raises(RunError, match="exit status 1: wrong password for Discovery"):
        home.fetch("record({'id': 1})", prelude=refuses)


# --- its files ---------------------------------------------------------------------------------------------------


BATCH = """
import gzip
def batch(number, rows, stream="people", **encoding):
    path = f"{config['root']}/batch-{number}.jsonl.gz"
    with gzip.open(path, "wt") as file:
        for row in rows:
            file.write(json.dumps(row) + "\\n")
    encoding = {"format": "jsonl", "compression": "gzip", **encoding}
    say("BATCH", stream=stream, encoding=encoding, manifest=["file://" + path])
"""


def test_batches_keep_their_place_among_the_records(home: Home) -> None:
    tap = """
record({"id": 1})
batch(1, [{"id": 2}, {"id": 3}])
batch(2, [{"id": 4}])
batch(3, [{"id": 99}], stream="orders")
record({"id": 5})
say("STATE", value=1)
"""
    fetched = home.fetch(BATCH + tap, config={"root": "{spool}"})
    assert [row["id"] for row in rows(fetched)] == [1, 2, 3, 4, 5]
    zipped = Format(type="jsonl", compression="gzip")
    assert [(file.name, file.format) for file in fetched.files] == [
        ("program.py: people", JSONL),
        ("program.py: people (2)", zipped),
        ("program.py: people (3)", zipped),
        ("program.py: people (4)", JSONL),
    ]
    assert "info: program.py sent 2 records and 2 files of the stream 'people'" in home.log.texts
    assert all(Path(file.path).is_relative_to(home.folder / "spool-1") for file in fetched.files)


def test_batches_elsewhere_stay_there(home: Home) -> None:
    (home.folder / "mine").mkdir()
    fetched = home.fetch(BATCH + "batch(1, [{'id': 1}])", config={"root": "mine"})
    assert rows(fetched) == [{"id": 1}]
    assert (home.folder / "mine" / "batch-1.jsonl.gz").is_file()


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"encoding": {"format": "avro"}, "manifest": []}, "its files are avro with none compression"),
        ({"encoding": {"format": "jsonl", "compression": "lz4"}, "manifest": []}, "jsonl with lz4 compression"),
        ({"encoding": {"format": "jsonl"}, "manifest": ["s3://bucket/a"]}, "its files are at s3://bucket/a"),
        ({"encoding": {"format": "jsonl"}, "manifest": ["file:///nowhere/a"]}, "there is no file /nowhere/a"),
        ({"encoding": {"format": "jsonl"}, "manifest": ["file:///dev/zero"]}, "there is no file /dev/zero"),
    ],
)
@pytest.mark.thorough
def test_batches_that_cannot_be_read(message: Mapping[str, Any], said: str, home: Home) -> None:
    with pytest.raises(RunError, match=said) as caught:
        home.fetch(f"say('BATCH', stream='people', **{message!r})")
    assert caught.value.code == "bad-batch"


# --- what the tap is told, and what remains ----------------------------------------------------------------------


def test_its_config_is_private_and_gone_afterwards(home: Home) -> None:
    tap = """
record({"config": config, "mode": oct(os.stat(args.config).st_mode), "argv": sys.argv, "env": dict(os.environ),
        "folder": os.getcwd(), "temporary": os.environ["TMPDIR"]})
"""
    secret = {"password": "hunter2 hunter2", "nested": [{"token": "tok-12345678"}], "port": 22, "deep": {"tls": True}}
    (told,) = rows(home.fetch(tap, config=secret))
    assert told["config"] == secret
    assert told["mode"] == "0o100600"
    assert "hunter2" not in json.dumps([told["argv"], told["env"]])
    assert told["folder"] == str(home.folder)
    assert Path(told["temporary"]).is_relative_to(home.folder / "spool-1")
    left = [path for path in (home.folder / "spool-1").rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["rows-1.jsonl"]
    assert left[0].stat().st_mode & 0o777 == 0o600


def test_its_config_is_gone_after_a_failure_too(home: Home) -> None:
    with pytest.raises(RunError):
        home.fetch("sys.exit(1)", config={"password": "hunter2 hunter2"}, mark=kept({"a": 1}))
    assert [path.name for path in (home.folder / "spool-1").rglob("*.json")] == []


def test_a_tap_that_stalls(home: Home) -> None:
    with pytest.raises(RunError, match=r"program.py stalled: nothing was heard from it for 1 s"):
        home.fetch("record({'id': 1}); time.sleep(60)", idle="1s")


@pytest.mark.slow
def test_it_tells_how_far_it_is(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "OFTEN", 0.05)
    home.fetch("record({'id': 1}); time.sleep(0.3); record({'id': 2})")
    assert ("read", 1, None) in home.log.told


# --- export ------------------------------------------------------------------------------------------------------


GOOD = """
json.dump(messages, open("sent.json", "w"))
print("saving")
print(json.dumps(state))
"""


def test_a_target_gets_schema_records_and_state(home: Home) -> None:
    rows: list[Mapping[str, Any]] = [
        {"Email": "zoë@example.com", "LTV": 10.50, "tags": ["a", "é"], "vip": True, "orders": 3},
        {"Email": 'q"uote@example.com', "LTV": None, "tags": None, "vip": False, "deleted": "true"},
    ]
    where = home.deliver(GOOD, rows, keys=["Email"], config={"x": 1})
    assert where == "the stream 'people' of program.py"
    schema, *records, state = json.loads((home.folder / "sent.json").read_text())
    text = {"type": ["null", "string"]}
    assert schema == {
        "type": "SCHEMA",
        "stream": "people",
        "schema": {
            "type": "object",
            "properties": dict.fromkeys(("Email", "LTV", "tags", "vip", "orders", "deleted"), text),
        },
        "key_properties": ["Email"],
    }
    assert [record["record"] for record in records] == [
        {
            "Email": "zoë@example.com",
            "LTV": "10.5",
            "tags": '["a", "é"]',
            "vip": "true",
            "orders": "3",
            "deleted": None,
        },
        {
            "Email": 'q"uote@example.com',
            "LTV": None,
            "tags": None,
            "vip": "false",
            "orders": None,
            "deleted": "true",
        },
    ]
    assert {record["stream"] for record in records} == {"people"}
    assert state == {"type": "STATE", "value": {"connection": "people", "run": 1}}
    assert "info: saving" in home.log.texts


def test_numbers_are_sent_as_they_are_written(home: Home) -> None:
    context = home.context()
    local = context.spool / "people.jsonl"
    local.write_text('{"a":10.50,"b":12345678901234567890123,"c":[1.5,2]}\n')
    singer.deliver({"command": home.program(GOOD, TARGET), "stream": "people"}, context, local)
    record = json.loads((home.folder / "sent.json").read_text())[1]["record"]
    assert record == {"a": "10.50", "b": "12345678901234567890123", "c": "[1.5, 2]"}


COUNTED_ONE = """
print(json.dumps(state))
point = {"type": "counter", "metric": "record_count", "value": 1, "tags": {"stream": "people"}}
print("METRIC: " + json.dumps(point), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("code", "message", "reason"),
    [
        ("sys.exit('disk full')", "program.py ended with exit status 1: disk full", "exit-status"),
        ("print(json.dumps(state)); sys.exit('oops')", "program.py ended with exit status 1: oops", "exit-status"),
        ("pass", "ended without a word that 2 rows arrived", "no-receipt"),
        ("print(json.dumps({'run': 0}))", "ended without a word that 2 rows arrived", "no-receipt"),
        (
            COUNTED_ONE,
            "program.py counted 1 row of 2 that it was sent",
            "lost-rows",
        ),
    ],
)
def test_an_export_arrives_whole_or_fails(code: str, message: str, reason: str, home: Home) -> None:
    with pytest.raises(RunError, match=message) as caught:
        home.deliver(code, [{"id": "1"}, {"id": "2"}])
    assert caught.value.code == reason


def test_what_else_a_target_measures_is_no_count(home: Home) -> None:
    metrics = """
def metric(**point):
    print("INFO METRIC: " + json.dumps(point), file=sys.stderr)
metric(type="timer", metric="record_count", value=0.1, tags={"stream": "people"})
metric(type="counter", metric="record_count", value=9, tags={"stream": "orders"})
metric(type="counter", metric="batch_count", value=9, tags={"stream": "people"})
metric(type="counter", metric="record_count", value=1, tags={"stream": "people"})
metric(type="counter", metric="record_count", value=1, tags={"stream": "people"})
print("METRIC: {broken}", file=sys.stderr)
print(json.dumps(state))
"""
    home.deliver(metrics, [{"id": "1"}, {"id": "2"}])
    fewer = metrics.replace("value=1", "value=0")
    home.deliver(fewer, [{"id": "1"}, {"id": "2"}], config={"stream_maps": {"people": {"__filter__": "False"}}})


def test_an_export_without_rows_starts_no_target(home: Home) -> None:
    assert home.deliver("sys.exit(1)", []) == "the stream 'people' of program.py"


def test_a_key_that_no_row_has(home: Home) -> None:
    with pytest.raises(RunError, match="`keys` names the column 'id', and the rows have none; name one of Email, LTV"):
        home.deliver(GOOD, [{"Email": "a", "LTV": 1}], keys=["id"])


def test_a_target_that_stops_reading(home: Home) -> None:
    with pytest.raises(RunError, match="stalled"):
        home.deliver("time.sleep(60)", [{"id": "1"}], idle="1s")


@pytest.mark.slow
def test_it_tells_how_much_the_target_has_read(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "OFTEN", 0.05)
    home.deliver("time.sleep(0.3); print(json.dumps(state))", [{"id": "1"}, {"id": "2"}])
    assert ("sent", 2, 2) in home.log.told


def test_the_name_and_form_of_what_is_sent(home: Home) -> None:
    settings = {"command": home.program(""), "stream": "people"}
    assert singer.target(settings, home.context()) == "people.jsonl"
    assert singer.form(settings, Format(type="csv", compression="gzip")) == JSONL


def test_what_is_not_installed_is_told_before_any_row_is_written(home: Home) -> None:
    settings = {"package": "target-none==1.0", "stream": "people"}
    for act in (
        lambda: singer.target(settings, home.context()),
        lambda: singer.fetch(settings, home.context(), known=lambda *_: False, mark=None),
    ):
        with pytest.raises(RunError) as caught:
            act()
        assert str(caught.value) == "target-none==1.0 is not installed; type `connrunner connectors install people`"
        assert caught.value.code == "not-installed"


def test_settling_changes_nothing(home: Home) -> None:
    singer.settle({"stream": "people"}, home.context(), FetchResult(files=()))

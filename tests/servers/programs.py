"""Small programs that speak as Singer taps and targets and Airbyte sources do; a test adds what they say."""

from __future__ import annotations

TAP = """
import argparse, json, os, sys, time
parser = argparse.ArgumentParser()
for name in ("--config", "--catalog", "--state"):
    parser.add_argument(name)
parser.add_argument("--discover", action="store_true")
args = parser.parse_args()
config = json.load(open(args.config))
state = json.load(open(args.state)) if args.state else {}
def say(type, **more):
    print(json.dumps({"type": type, **more}), flush=True)
def record(row, stream="people"):
    say("RECORD", stream=stream, record=row)
def schema(stream="people", **columns):
    say("SCHEMA", stream=stream, schema={"properties": columns}, key_properties=["id"])
CATALOG = {"streams": [{"tap_stream_id": "people", "stream": "people", "schema": {"properties": {"id": {}}}},
                       {"tap_stream_id": "orders", "stream": "orders", "schema": {}}]}
if args.discover:
    print(json.dumps(CATALOG, indent=2))
    sys.exit()
"""
TAP_WITHOUT_DISCOVERY = TAP.rpartition("if args.discover")[0].replace(
    'parser.add_argument("--discover", action="store_true")', ""
)


TARGET = """
import argparse, json, os, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--config")
config = json.load(open(parser.parse_args().config))
lines = [line for line in sys.stdin]
messages = [json.loads(line) for line in lines]
state = messages[-1]["value"]
"""
SOURCE = """
import argparse, json, os, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("command")
for name in ("--config", "--catalog", "--state", "--manifest-path"):
    parser.add_argument(name)
args = parser.parse_args()
config = json.load(open(args.config))
state = json.load(open(args.state)) if args.state else None
def say(type, **more):
    print(json.dumps({"type": type, **more}, separators=(",", ":")), flush=True)
def record(data, stream="people"):
    say("RECORD", record={"stream": stream, "data": data, "emitted_at": 1700000000000})
def saw(number):
    stream = {"stream_descriptor": {"name": "people"}, "stream_state": {"seen": number}}
    say("STATE", state={"type": "STREAM", "stream": stream})
def log(message, level="INFO"):
    say("LOG", log={"level": level, "message": message})
def trace(type, **more):
    say("TRACE", trace={"type": type, "emitted_at": 1.0, **more})
def status(word, stream="people"):
    trace("STREAM_STATUS", stream_status={"stream_descriptor": {"name": stream}, "status": word})
MODES = ["full_refresh", "incremental"]
STREAMS = [
    {"name": "people", "json_schema": {}, "supported_sync_modes": MODES, "source_defined_cursor": True,
     "default_cursor_field": ["changed"], "source_defined_primary_key": [["id"]]},
    {"name": "orders", "json_schema": {}, "supported_sync_modes": MODES[:1]},
    {"name": "visits", "json_schema": {}, "supported_sync_modes": MODES},
]
CHECKED = {"status": "SUCCEEDED"}
"""
ANSWERS = """
if args.command == "check":
    log("checking")
    say("CONNECTION_STATUS", connectionStatus=CHECKED)
    sys.exit()
if args.command == "discover":
    say("CATALOG", catalog={"streams": STREAMS})
    sys.exit()
"""

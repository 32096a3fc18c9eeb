"""A Singer tap and a Singer target, programs that know a password and say it aloud."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from connrunner.connectors import bridge
from connrunner.processes import tree as process_tree
from tests.servers.programs import TAP, TARGET
from tests.stands import REFERENCE, SECRET, Kind, Person, Settings

# What both do: they read from, and write to, files of the workspace.
PARTNER = f"""
from pathlib import Path
here = Path(sys.argv[0]).parent
def complain(words):
    print("CRITICAL", words, config["password"], file=sys.stderr, flush=True)
    sys.exit(1)
if config["password"] != {SECRET!r}:
    complain("unknown password")
path = here / "trouble.json"
kind, left = json.loads(path.read_text()) if path.exists() else ("", 0)
path.write_text(json.dumps([kind, max(left - 1, 0)]))
def strike():
    if left and kind == "cut":
        os._exit(9)
    if left and kind == "silent":
        print("HOLDING", file=sys.stderr, flush=True)
        time.sleep(60)
if left and kind == "error":
    complain("the server is busy")
people = json.loads((here / "offered.json").read_text()) if (here / "offered.json").exists() else []
"""
READS = """
schema(id={}, name={})
new = people[state.get("seen", 0):]
for number, (id, name) in enumerate(new):
    if number == len(new) // 2:
        strike()
    record({"id": id, "name": name})
say("STATE", value={"seen": len(people)})
"""
TAKES = """
strike()
file = here / "arrived.json"
before = json.loads(file.read_text()) if file.exists() else []
new = [[one["record"]["id"], one["record"]["name"]] for one in messages if one["type"] == "RECORD"]
file.write_text(json.dumps(before + new))
print(json.dumps(state), flush=True)
"""


class Here:
    def __init__(self, folder: Path, server: None) -> None:
        self._folder = folder
        for name, code in (("tap.py", TAP + PARTNER + READS), ("target.py", TARGET + PARTNER + TAKES)):
            self._program(name, code)
        more = {"stream": "people", "config": {"password": REFERENCE}}
        self.source: Settings = {"type": "singer", "command": ["./tap.py"], **more}
        self.destination: Settings = {"type": "singer", "command": ["./target.py"], **more}
        self.more: Settings = {}
        self.reached = threading.Event()
        self._be_patient: Callable[[], object] = lambda: None

    def _program(self, name: str, code: str) -> None:
        path = self._folder / name
        path.write_text(f"#!{sys.executable} -IS\n{code}")
        path.chmod(0o700)

    def offer(self, people: Sequence[Person]) -> None:
        (self._folder / "offered.json").write_text(json.dumps(people))

    def arrived(self) -> list[Person]:
        path = self._folder / "arrived.json"
        return [(id, name) for id, name in json.loads(path.read_text())] if path.exists() else []  # noqa: A001

    def wrong(self, settings: Settings) -> Settings:
        return {**settings, "config": {"password": "another"}}

    def missing(self, settings: Settings) -> tuple[Settings, str]:
        if settings["command"] == ["./target.py"]:
            return {**settings, "command": ["./gone.py"]}, "gone.py"
        return {**settings, "stream": "gone"}, "'gone'"

    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(process_tree, "GRACE", 0.3)

    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        usual = bridge.IDLE
        monkeypatch.setattr(bridge, "IDLE", 0.4)
        # A program that starts slowly is silent too, and must not fail a run without trouble.
        self._be_patient = lambda: monkeypatch.setattr(bridge, "IDLE", usual)

    def trouble(self, kind: Kind, times: int) -> None:
        (self._folder / "trouble.json").write_text(json.dumps([kind, times]))

    def calm(self) -> None:
        self._be_patient()
        (self._folder / "trouble.json").unlink(missing_ok=True)

    def close(self) -> None: ...

"""`replay`: the same decisions as a tick, and nothing done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from connrunner.core import instant
from connrunner.scheduler import tick
from connrunner.state import requests
from tests.conftest import Place
from tests.test_cli import typed

MONDAYS = '{type: days_of_week, days: [monday], time: "06:00"}'
TOLD = "notify: [{to: a@example.com, when: always}]\n"


def picture(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def records(place: Place) -> list[dict[str, Any]]:
    return [{key: value for key, value in one.items() if key != "crc"} for one in place.journal()]


def test_it_knows_what_history_has_and_the_journal_lacks(place: Place) -> None:
    place.command("a", "pass", schedule='{type: cron, expression: "* * * * *"}')
    for minute in range(2):
        tick.tick(place.folder, place.state, now=instant.parse(f"2026-11-22T06:0{minute}:00Z"), say=lambda _: None)
        if not minute:
            older = place.state.journal.read_bytes()
    place.state.journal.write_bytes(older)  # as from a backup
    _, out, _ = typed(place, "replay", "--now", "2026-11-22T06:01:30Z")
    assert "history is ahead of " in out
    assert "a: queued" not in out


def test_it_decides_what_a_tick_decides_and_does_none_of_it(place: Place, tmp_path: Path) -> None:
    place.command("a", "print()", schedule=MONDAYS)
    place.command("b", "print()", schedule=MONDAYS, more=f"{TOLD}start_within: 1h\n")
    tick.Tick(place.folder, place.state, now=instant.parse("2026-11-22T06:00:00Z"), say=lambda _: None).take_in()
    requests.request_run(place.state, "a", at=instant.parse("2026-11-22T07:00:00Z"), by="jane")
    copy = tmp_path / "copy"
    shutil.copytree(place.state.root, copy)
    (copy / "compiled" / "workspace").unlink(missing_ok=True)
    place.command("c", "print()")  # nor is the copy's cache of the workspace brought up to date
    before = picture(copy)
    late = "2026-11-23T09:00:00Z"
    code, out, _ = typed(place, "replay", "--state", str(copy), "--now", late, "--format", "json")
    assert code == 0
    assert picture(copy) == before
    data = json.loads(out)
    assert [(slot["connection"], slot["result"]) for slot in data["slots"]] == [
        ("a", "queued"), ("b", "missed"), ("a", "merged"),
    ]  # fmt: skip
    assert [(run["connection"], run["outcome"]) for run in data["ended"]] == [("b", "skipped")]
    assert [notice["recipients"] for notice in data["owes"] if notice["connection"] == "b"] == [["a@example.com"]]

    known = len(records(place))
    tick.Tick(place.folder, place.state, now=instant.parse(late), say=lambda _: None).take_in()
    new = records(place)[known:]
    slots = [slot for record in new for slot in record.get("slots", ())]
    assert [{**slot, "queued_at": ""} for slot in slots] == [{**slot, "queued_at": ""} for slot in data["slots"]]
    assert {name: value for record in new for name, value in record.get("promises", {}).items()} == data["promises"]


def test_in_words(place: Place) -> None:
    place.command("a", "print()", schedule=MONDAYS, more=TOLD)
    tick.Tick(place.folder, place.state, now=instant.parse("2026-11-22T06:00:00Z"), say=lambda _: None).take_in()
    code, out, _ = typed(place, "replay", "--now", "2026-11-23T05:00:00Z")
    assert (code, out) == (0, "a: queued for 2026-11-23T05:00:00Z\na: next 2026-11-30T05:00:00Z\n")
    code, out, _ = typed(place, "replay", "--now", "2026-11-23T04:00:00Z")
    assert (code, out) == (0, "nothing is decided at 2026-11-23T04:00:00Z\n")


@pytest.mark.parametrize("content", [None, b'{"v":99,"type":"planned","at":"2026-11-22T06:00:00Z"}\n'])
def test_a_state_that_cannot_be_used(place: Place, tmp_path: Path, content: bytes | None) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    if content:
        (copy / "journal.jsonl").write_bytes(content)
    code, out, err = typed(place, "replay", "--state", str(copy))
    assert (code, out) == (2 if content is None else 74, "")
    assert "journal.jsonl" in err

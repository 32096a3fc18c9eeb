"""The journal: durable lines, and where everything stands after them."""

from __future__ import annotations

import json
import multiprocessing
import re
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connrunner.core import instant, run_records
from connrunner.core.model import QueuedRun
from connrunner.errors import BusyError, StateError
from connrunner.state import journal_segments, locks
from connrunner.state.folder import StateFolder
from connrunner.state.journal import Journal
from connrunner.state.journal_state import as_snapshot
from connrunner.state.untold import read_untold

AT = "2026-11-22T06:00:00Z"


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    return folder


def found_in(state: StateFolder) -> list[tuple[int, int]]:
    """Return where damage was found that is to be told, and how long it is."""
    found = [re.search(r" had ([\d,]+) bytes? at byte ([\d,]+) ", one.finding.found) for one in read_untold(state)]
    return [(int(one[2].replace(",", "")), int(one[1].replace(",", ""))) for one in found if one]


def queued(name: str) -> dict[str, Any]:
    entry = QueuedRun(connection=name, due_at=instant.parse(AT), queued_at=instant.parse(AT))
    slot = {**run_records.entry_as_dict(entry), "result": "queued"}
    return {"type": "planned", "at": AT, "promises": {}, "slots": [slot]}


def started(name: str, run: int = 1) -> dict[str, Any]:
    slot = queued(name)["slots"][0]
    return {"type": "started", "at": AT, **slot, "run": run, "lane": "main", "started_at": AT}


def ended(name: str, run: int = 1, **more: Any) -> dict[str, Any]:
    record = {
        "connection": name, "run": run, "outcome": "failed", "trigger": "schedule", "due_at": AT, "queued_at": AT,
        "started_at": AT, "ended_at": AT, "seconds": 1.0, "counts": {"read": 3, "checked": 3, "invalid": 3},
    }  # fmt: skip
    return {"type": "ended", "at": AT, "run": record, "owes": [], **more}


OWED = {"id": "n1", "connection": "a", "run": 1, "event": "failed", "recipients": ["x@example.com", "y@example.com"]}


def delivered(recipient: str, result: str) -> dict[str, Any]:
    return {"type": "delivered", "notice": "n1", "recipient": recipient, "result": result, "at": AT, "reason": "why"}


def test_what_is_appended_stands_for_everybody(state: StateFolder) -> None:
    writer, reader = Journal(state), Journal(state)

    writer.append(queued("a"), queued("b"))
    assert sorted(reader.read().waiting) == ["a", "b"]
    writer.append(started("a"))
    journal_state = reader.read()

    assert (sorted(journal_state.waiting), sorted(journal_state.started), journal_state.numbers) == (
        ["b"],
        ["a"],
        {"a": 1},
    )


def test_a_wish_that_comes_to_nothing_takes_no_run_out_of_the_queue(state: StateFolder) -> None:
    (slot,) = queued("a")["slots"]
    request = {**slot, "result": "dropped", "trigger": "manual", "request": "run-1", "due_at": "2026-11-22T06:00:07Z"}
    journal = Journal(state)

    assert set(journal.append(queued("a"), {**queued("a"), "slots": [request]}).waiting) == {"a"}
    assert journal.append({**queued("a"), "slots": [{**slot, "result": "dropped"}]}).waiting == {}


def test_what_a_killed_process_did_not_sync_is_synced_before_anybody_acts_on_it(
    state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    Journal(state).append(queued("a"))
    journal = Journal(state)
    synced: list[int] = []
    monkeypatch.setattr("os.fdatasync", synced.append)

    journal.open()
    journal.open()

    assert len(synced) == 1


def test_a_run_goes_through_the_journal_once(state: StateFolder) -> None:
    journal = Journal(state)

    journal_state = journal.append(queued("a"), started("a"), ended("a"))

    assert (journal_state.waiting, journal_state.started, journal_state.numbers) == ({}, {}, {"a": 1})
    assert journal_state.last_outcome == {"a": "failed"}


def test_the_end_of_another_run_is_not_the_end_of_the_one_that_works(state: StateFolder) -> None:
    journal_state = Journal(state).append(queued("a"), started("a", 2), ended("a", 3))

    assert journal_state.started["a"].run == 2


def test_a_skipped_slot_stands_until_its_run_is_recorded(state: StateFolder) -> None:
    slot = {**queued("a")["slots"][0], "result": "skipped"}
    key = ("a", "schedule", instant.parse(slot["due_at"]))
    journal = Journal(state)

    assert set(journal.append({**queued("a"), "slots": [slot]}).skipped) == {key}
    journal.rotate(AT, size=1)
    assert set(Journal(state).read().skipped) == {key}
    assert journal.append(ended("a")).skipped == {}


def test_mail_is_owed_until_each_recipient_is_settled(state: StateFolder) -> None:
    journal = Journal(state)

    assert set(journal.append(ended("a", owes=[OWED])).owed) == {"n1"}
    assert set(journal.append(delivered("x@example.com", "sent")).owed) == {"n1"}
    assert set(journal.append(delivered("y@example.com", "deferred")).owed) == {"n1"}
    journal_state = journal.append(delivered("y@example.com", "refused"))

    assert journal_state.owed == {}
    assert [(letter["recipient"], letter["reason"]) for letter in journal_state.dead] == [("y@example.com", "why")]


def test_a_snapshot_stands_for_what_it_replaces(state: StateFolder) -> None:
    journal = Journal(state)
    before = journal.append(
        queued("a"),
        queued("b"),
        started("b"),
        ended("c", 7, owes=[OWED], broken="x"),
        delivered("x@example.com", "sent"),
    )
    expected = as_snapshot(before)

    assert journal.rotate(AT, size=1)

    again = Journal(state)
    assert as_snapshot(again.read()) == expected
    assert len(state.journal.read_bytes().splitlines()) == 1
    assert len(list(journal_segments.read_records(state))) == 5


@pytest.mark.parametrize(
    ("recorded", "last_due", "is_kept"),
    [
        ([[AT, AT]], AT, True),
        (None, AT, True),  # an older version
        ([], None, False),  # nothing of it can become due again
    ],
)
def test_a_recorded_slot_outlives_a_rotation_though_no_history_has_it(
    state: StateFolder, recorded: list[list[str]] | None, last_due: str | None, is_kept: bool
) -> None:
    """Its first run works still, or was taken out of the queue: it is not due again when the connection is back."""
    promise: dict[str, Any] = {
        "on_since": AT,
        "schedule": {"type": "manual"},
        "next_due": None,
        "last_due": last_due,
        "zones": "",
    }
    promise |= {} if recorded is None else {"recorded": recorded}
    journal = Journal(state)
    journal.append({**queued("a"), "promises": {"a": promise}}, started("a"))
    journal.append({"type": "planned", "at": AT, "promises": {"a": None}, "slots": []})

    assert journal.rotate(AT, size=1)

    assert set(Journal(state).read().former) == ({"a"} if is_kept else set())


def test_what_was_decided_outlives_rotations(state: StateFolder) -> None:
    journal = Journal(state)
    kept = []
    for number in range(1, 4):
        records = [{**queued("a"), "before": str(number) * 2999}, started("a"), ended("a", number)]
        kept += records
        journal.append(*records)
        assert journal.rotate(AT, size=1)
    journal.append(queued("b"))

    found = list(journal_segments.read_records(state))
    about_b = list(journal_segments.read_records(state, "b"))

    assert [record["type"] for record in found] == [str(record["type"]) for record in (*kept, queued("b"))]
    assert [record["type"] for record in about_b] == ["planned"]
    assert journal_segments.find_oldest_instant(state) == found[0]["at"]
    assert len(list(state.decisions.iterdir())) == 3


def test_the_oldest_decisions_make_room(state: StateFolder) -> None:
    state.prepare()
    for day in range(1, 5):
        journal_segments.add_segment(state, json.dumps({"at": f"2026-11-0{day}T06:00:00Z"}).encode() + b"\n", kept=110)

    assert sorted(path.name[:8] for path in state.decisions.iterdir()) == ["00000003", "00000004"]
    assert journal_segments.find_oldest_instant(state) == "2026-11-03T06:00:00Z"


def test_a_segment_that_is_written_twice_is_one(state: StateFolder) -> None:
    """A crash between the segment and the snapshot: the next rotation has the same records and more."""
    state.prepare()
    first, second = b'{"at":"2026-11-22T06:00:00Z"}\n', b'{"at":"2026-11-22T06:01:00Z"}\n'
    journal_segments.add_segment(state, first)
    journal_segments.add_segment(state, first + second)

    assert [record["at"][-3:-1] for record in journal_segments.read_records(state)] == ["00", "00"]
    assert len(list(journal_segments.read_records(state))) == 2


def test_a_reader_follows_a_rotation(state: StateFolder) -> None:
    writer, reader = Journal(state), Journal(state)
    writer.append(queued("a"))
    reader.read()

    writer.rotate(AT, size=1)
    writer.append(started("a"))

    assert sorted(reader.read().started) == ["a"]


@settings(deadline=None)
@given(cut=st.integers(0, 10_000))
def test_a_torn_record_is_set_aside_and_told(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    state = StateFolder(tmp_path_factory.mktemp("state"))
    state.prepare()
    Journal(state).append(queued("a"))
    whole = state.journal.read_bytes()
    torn = json.dumps({"v": 1, **started("a")}).encode()
    torn = torn[: cut % len(torn)]
    state.journal.write_bytes(whole + torn)

    journal = Journal(state)
    assert sorted(journal.read().waiting) == ["a"]  # a reader leaves it alone
    assert state.journal.read_bytes() == whole + torn
    journal_state = journal.append(queued("b"))

    assert sorted(journal_state.waiting) == ["a", "b"]
    assert len(state.journal.read_bytes().splitlines()) == 2
    assert found_in(state) == ([(len(whole), len(torn))] if torn else [])
    assert not torn or (state.root / "journal.damaged").read_bytes() == torn + b"\n"


@pytest.mark.parametrize("garbage", [b"\0" * 300, b"\xff\xfe not utf-8", b"{}", b"[]", b'"text"', b"{"])
def test_a_damaged_record_costs_only_itself(state: StateFolder, garbage: bytes) -> None:
    Journal(state).append(queued("a"))
    state.journal.write_bytes(state.journal.read_bytes() + garbage + b"\n")

    journal = Journal(state)
    journal_state = journal.append(queued("b"))

    assert sorted(journal_state.waiting) == ["a", "b"]
    assert [length for _, length in found_in(state)] == [len(garbage) + 1]
    assert (state.root / "journal.damaged").read_bytes() == garbage + b"\n"

    again = Journal(state)
    assert sorted(again.append(queued("c")).waiting) == ["a", "b", "c"]
    assert len(found_in(state)) == 1  # told once, whoever reads it
    assert (state.root / "journal.damaged").read_bytes() == garbage + b"\n"


@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_no_flipped_bit_passes_for_a_record(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    state = StateFolder(tmp_path_factory.mktemp("state"))
    state.prepare()
    Journal(state).append(queued("a"), queued("b"), queued("c"))
    content = bytearray(state.journal.read_bytes())
    line = content.index(b"\n") + 1
    length = content.index(b"\n", line) - line
    position = data.draw(st.integers(0, length - 1))
    content[line + position] ^= 1 << data.draw(st.integers(0, 7))
    state.journal.write_bytes(content)

    journal_state = Journal(state).read()

    assert {"a", "c"} <= set(journal_state.waiting) <= {"a", "b", "c"}
    assert journal_state.waiting.get("b", journal_state.waiting["a"]).due_at == journal_state.waiting["a"].due_at


DAMAGES: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("a line lost in NUL", lambda line: b"\0" * len(line)),
    ("cut in the middle", lambda line: line[: len(line) // 2]),
    ("a bit flipped in a number", lambda line: line.replace(b"2026", b"2036", 1)),
    ("bytes that are no UTF-8", lambda line: line.replace(b"planned", b"pl\xe9nned")),
    ("nested without end", lambda line: b"[" * 100_000),
    ("a version that is none", lambda line: b'{"v":"x","type":"planned"}'),
    ("a record without its keys", lambda line: b'{"v":1,"type":"ended"}'),
    ("a list where a record stood", lambda line: b'{"v":1,"type":"planned","promises":[1]}'),
]


@pytest.mark.parametrize("damage", [row[1] for row in DAMAGES], ids=[row[0] for row in DAMAGES])
def test_damage_in_the_middle_costs_one_record_and_is_told_once(
    state: StateFolder, damage: Callable[[bytes], bytes]
) -> None:
    Journal(state).append(queued("a"), queued("b"), queued("c"))
    lines = state.journal.read_bytes().splitlines()
    lines[1] = damage(lines[1])
    state.journal.write_bytes(b"\n".join(lines) + b"\n")

    journal = Journal(state)
    assert sorted(journal.open().waiting) == ["a", "c"]
    assert found_in(state) == [(len(lines[0]) + 1, len(lines[1]) + 1)]
    assert (state.root / "journal.damaged").read_bytes() == lines[1] + b"\n"
    again = Journal(state)
    assert sorted(again.open().waiting) == ["a", "c"]
    assert len(found_in(state)) == 1


def test_when_the_snapshot_is_damaged_its_copy_stands_in(state: StateFolder) -> None:
    journal = Journal(state)
    journal.append(queued("a"), started("b", 7), ended("b", 7), {**ended("c", 3), "owes": [OWED]})
    assert journal.rotate(AT, size=0)
    whole = journal.append(queued("d"))
    content = bytearray(state.journal.read_bytes())
    content[100] ^= 1
    state.journal.write_bytes(content)

    journal = Journal(state)
    assert as_snapshot(journal.open()) == as_snapshot(whole)
    assert [offset for offset, _ in found_in(state)] == [0]
    again = Journal(state)
    assert as_snapshot(again.open()) == as_snapshot(whole)
    assert len(found_in(state)) == 1


def test_records_without_a_checksum_are_read(state: StateFolder) -> None:
    """Releases before 0.4 wrote none."""
    state.journal.write_text(json.dumps({"v": 1, **queued("a")}) + "\n")
    assert sorted(Journal(state).open().waiting) == ["a"]


def test_a_record_of_a_newer_version_is_refused_and_nothing_is_written(state: StateFolder) -> None:
    Journal(state).append(queued("a"))
    state.journal.write_bytes(state.journal.read_bytes() + b'{"v":2,"type":"planned"}\n')
    before = state.journal.read_bytes()

    with pytest.raises(StateError, match="newer connrunner"):
        Journal(state).append(queued("b"))
    assert state.journal.read_bytes() == before


def test_a_write_that_fails_half_way_is_told_and_leaves_nothing(state: StateFolder) -> None:
    journal = Journal(state)
    journal.append(queued("a"))
    size = state.journal.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        with pytest.raises(StateError, match=f"{state.journal}: File too large"):
            journal.append(queued("b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert state.journal.stat().st_size == size
    assert sorted(Journal(state).append(queued("c")).waiting) == ["a", "c"]


def test_the_state_is_private(state: StateFolder) -> None:
    Journal(state).append(queued("a"))
    with locks.hold_state_lock(state):
        pass
    lane = locks.LaneLock(state, "main")
    assert lane.take()
    lane.release()

    for path in [state.root, *state.root.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_state_lock_is_exclusive(state: StateFolder) -> None:
    with locks.hold_state_lock(state):
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            assert pool.apply(_try_lock, (state,)) == "busy"


def _try_lock(state: StateFolder) -> str:
    try:
        with locks.hold_lock(state, "state", wait=0.1):
            return "free"
    except BusyError:
        return "busy"

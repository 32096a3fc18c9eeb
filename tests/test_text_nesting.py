"""JSON of others: the same bytes are read, or refused, on every Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connrunner.answers import plan, replay
from connrunner.connectors.bridge import programs
from connrunner.connectors.http import client
from connrunner.connectors.singer import _catalog_file, tap
from connrunner.connectors.singer.target import _records
from connrunner.core import instant
from connrunner.errors import ArgumentError, RunError
from connrunner.notify import rejects_excerpt, render
from connrunner.processes import protocol
from connrunner.profiles.readers import json as document
from connrunner.profiles.readers.normalize import NormalizedFile
from connrunner.state import journal_segments, requests, retention, run_files
from connrunner.state.folder import StateFolder
from connrunner.state.journal import Journal
from connrunner.state.untold import read_untold
from connrunner.text.nesting import MAX_DEPTH, TooDeepError, is_too_deep, parse_json

AT = "2026-11-22T06:00:00Z"
ENDED = {
    "connection": "a", "run": 1, "outcome": "failed", "trigger": "schedule", "due_at": AT, "queued_at": AT,
    "started_at": AT, "ended_at": AT, "seconds": 1.0, "counts": {"read": 3, "checked": 3, "invalid": 3},
}  # fmt: skip


# --- the bound -----------------------------------------------------------------------------------------------------

DEPTHS = [
    # text                                  how deeply it nests
    ("1", 0),
    ('"[[["', 0),
    ("[]", 1),
    ('{"a": {}, "b": [1, [2]]}', 3),
    ("[" * 5 + "]" * 5, 5),
    ('[[], [[]], "[[[["]', 3),
    ('["]", [["]"]]]', 3),
    (r'["\"", [["\\"]], "\\\"[[["]', 3),
    (r'["\\", ["\\\\", ["[\\\\\""]]]', 3),
    (r'["", "", [""], "\"", "", "[", "", "]"]', 2),
    ('["é漢\U0001f600[", ["嬀"]]', 2),  # a byte of the last sign is that of a bracket, in UTF-16
    # No JSON: what counts is the part before the mistake.
    ("[" * 5, 5),
    ('["a": [', 2),
    ('[[["', 3),
    ('[[["[', 3),
    ("", 0),
]


@pytest.mark.parametrize(("text", "depth"), DEPTHS)
@pytest.mark.parametrize("encoding", ["", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32-le"])
def test_how_deeply_a_text_nests(text: str, depth: int, encoding: str) -> None:
    given = text.encode(encoding) if encoding else text
    assert [is_too_deep(given, deepest) for deepest in (depth - 1, depth)] == [True, False]


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


TREES = st.recursive(
    st.text('[]{}",\\:a\U0001f600', max_size=5) | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[]{}"\\', max_size=3), inner, max_size=4),
)


@given(TREES, st.booleans(), st.booleans())
def test_the_depth_is_that_of_the_value(value: Any, escaped: bool, as_bytes: bool) -> None:
    text = json.dumps(value, ensure_ascii=escaped)
    given, depth = text.encode() if as_bytes else text, _depth(value)
    assert [is_too_deep(given, deepest) for deepest in (depth - 1, depth)] == [True, False]


@given(st.text('[]{}",\\:1', max_size=60))
def test_what_is_no_json_never_looks_shallower_than_a_reader_goes(text: str) -> None:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        # A reader enters nothing behind the mistake: all that is open before it is the depth it came to.
        entered = _open(text[: error.pos])
    else:
        entered = _depth(value)
    assert not entered or is_too_deep(text, entered - 1)


def _open(text: str) -> int:
    """Return the depth of a sound beginning, sign by sign."""
    depth = most = 0
    inside = escaped = False
    for sign in text:
        if inside:
            inside, escaped = escaped or sign != '"', not escaped and sign == "\\"
        elif sign == '"':
            inside = True
        else:
            depth += (sign in "[{") - (sign in "]}")
            most = max(most, depth)
    return most


@pytest.mark.parametrize("text", ["[" * 1_000_000, '{"a":' * 1_000_000, "[" * 1_000_000 + "]" * 1_000_000])
def test_no_depth_reaches_the_end_of_the_stack(text: str) -> None:
    for form in (text, text.encode()):
        with pytest.raises(TooDeepError, match="nested more than 128 deep"):
            parse_json(form)


# --- every place where JSON of others is read ----------------------------------------------------------------------

Reads = Callable[[bytes, Path], bool]
"""Tell whether the text is taken for what it is, beside a folder to work in."""


def _record(text: bytes, folder: Path) -> bool:
    found = tap.RECORD.stream(text)
    assert found is not None
    return tap.RECORD.row(text, found[1]) is not None


def _catalog(text: bytes, folder: Path) -> bool:
    (folder / "catalog.json").write_bytes(text)
    try:
        return bool(_catalog_file(folder, "catalog.json"))
    except RunError as error:
        return (error.code, "nested more than 128 deep" in error.message) != ("bad-catalog", True)


def _document(text: bytes, folder: Path) -> bool:
    path = folder / "a.json"
    path.write_bytes(text)
    file = NormalizedFile(path=path, name="a.json", size=len(text), nul=False)
    try:
        return document.copy_items(file, "", folder, lambda *_: None)[1] == 2
    except RunError as error:
        return (error.code, "nested too deeply in line 1" in error.message) != ("malformed-json", True)


def _state(folder: Path) -> StateFolder:
    state = StateFolder(folder / "state")
    state.prepare()
    return state


def _wish(text: bytes, folder: Path) -> bool:
    state = _state(folder)
    (state.requests / "run-1.json").write_bytes(text)
    found = requests.read_run_requests(state)
    assert bool(requests.set_aside_unreadable(state)) is not bool(found)
    return bool(found)


def _journal(text: bytes, folder: Path) -> bool:
    state = _state(folder)
    state.journal.write_bytes(text + b"\n")
    journal = Journal(state)
    return "a" in journal.open().numbers and not read_untold(state)


def _decision(text: bytes, folder: Path) -> bool:
    state = _state(folder)
    state.journal.write_bytes(text + b"\n")
    found = bool(list(journal_segments.read_records(state)))
    assert (journal_segments.find_oldest_instant(state) == AT) is found
    return found


def _replayed(text: bytes, folder: Path) -> bool:
    state = _state(folder)
    state.journal.write_bytes(text + b"\n")
    return bool(replay._records(state))


def _event(text: bytes, folder: Path) -> bool:
    path = folder / "log.jsonl"
    path.write_bytes(text + b"\n")
    return bool(list(run_files.read_events_from(path, 0)))


def _retention(text: bytes, folder: Path) -> bool:
    state = _state(folder)
    retention._marker(state).write_bytes(text)
    found = retention.find_next_pass(state)
    assert found is None or found == instant.parse(AT) + retention.EVERY
    return found is not None


def _next_part(text: bytes, folder: Path) -> bool:
    state = _state(folder)
    retention._marker(state).write_bytes(text)
    return retention._next(state) == "b"


def _coming_runs(text: bytes, folder: Path) -> bool:
    (folder / "next.json").write_bytes(text)
    try:
        return bool(list(plan._from_file(folder / "next.json")))
    except ArgumentError as error:
        return "is no list of coming runs" not in str(error)


def _said(text: bytes, folder: Path) -> bool:
    """A line whose message is no text is a mistake of the program; one that is no JSON is an ordinary line."""
    try:
        return protocol.parse(text.decode()) is not None
    except protocol.ProtocolError:
        return True


PLACES: list[tuple[str, Reads, int, str]] = [
    # who wrote it           reads it         levels that count around the @, which is as deep as is wanted
    ("a program's line",     _said,           1, '{"message": @}'),
    ("a Singer message",     lambda text, _: programs.message(text) is not None, 1, '{"type": "STATE", "value": @}'),
    ("a Singer row",         _record,         0, '{"type": "RECORD", "stream": "people", "record": @}'),
    ("a Singer catalog",     lambda text, _: tap._catalog([b"hello", *text.split(b"\n")]) is not None, 1, '{"a": "b",\n"streams": @}'),
    ("a catalog file",       _catalog,        1, '{"streams": @}'),
    ("a Singer metric",      lambda text, _: _records(text, "a") == 3,
     1, '{"metric": "record_count", "type": "counter", "value": 3, "tags": {"stream": "a"}, "more": @}'),
    ("a server's refusal",   lambda text, _: client._message(text) == "why", 1, '{"error": "why", "more": @}'),
    ("a rejected row",       lambda text, _: rejects_excerpt._reject(text) is not None, 1, '{"code": "no-mail", "value": @}'),
    ("a rendered mail",      lambda text, _: bool(list(render._whole(text + b"\n"))), 1, '{"text": @}'),
    ("a document",           _document,       0, '[1, @]'),
    ("a wish",               _wish,           1, f'{{"connection": "a", "asked_at": "{AT}", "asked_by": "b", "more": @}}'),
    ("a journal",            _journal,        1, json.dumps({"v": 1, "type": "ended", "at": AT, "run": ENDED, "owes": []})[:-1] + ', "more": @}'),
    ("the decisions",        _decision,       1, f'{{"v": 1, "type": "planned", "at": "{AT}", "more": @}}'),
    ("a copied journal",     _replayed,       1, f'{{"v": 1, "type": "planned", "at": "{AT}", "more": @}}'),
    ("a history",            lambda text, _: run_files.parse_run(text) is not None, 1, json.dumps(ENDED)[:-1] + ', "more": @}'),
    ("a run's log",          _event,          1, f'{{"type": "message", "at": "{AT}", "message": @}}'),
    ("the last clean-up",    _retention,      1, f'{{"at": "{AT}", "next": "", "more": @}}'),
    ("its next part",        _next_part,      1, f'{{"at": "{AT}", "next": "b", "more": @}}'),
    ("coming runs",          _coming_runs,    2, '[{"connection": "a", "usual": {"runs": 3, "median": 1, "p95": 2}, "more": @}]'),
]  # fmt: skip


@pytest.mark.parametrize(("reads", "around", "text"), [row[1:] for row in PLACES], ids=[row[0] for row in PLACES])
@pytest.mark.parametrize(
    ("depth", "is_read"),
    # 3.11, 3.12 and 3.13 give up by themselves at 992, 1497 and 9998.
    [(MAX_DEPTH, True), (MAX_DEPTH + 1, False), (1400, False), (9900, False), (200_000, False)],
)
def test_every_python_reads_and_refuses_the_same(
    reads: Reads, around: int, text: str, depth: int, is_read: bool, tmp_path: Path
) -> None:
    levels = depth - around
    deep = '{"]]":' * levels + '"[["' + "}" * levels
    assert reads(text.replace("@", deep).encode(), tmp_path) is is_read

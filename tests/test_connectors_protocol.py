"""What a program may say in one line of JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connrunner.core.counts import CHECKED, NAMES, Counts
from connrunner.processes.protocol import LARGEST_COUNTER, ProtocolError, ProtocolLine, parse

SPEAKING: list[tuple[str, ProtocolLine]] = [
    ('{"message": "hello"}', ProtocolLine(message="hello")),
    ('{"message": ""}', ProtocolLine(message="")),
    ('{"message": "slow", "level": "warning"}', ProtocolLine(message="slow", level="warning")),
    (' {"level":"error","message":"no"} ', ProtocolLine(message="no", level="error")),
    ('{"counts": {}}', ProtocolLine(counts=Counts())),
    ('{"counts": {"read": 0, "checked": 0}}', ProtocolLine(counts=Counts())),
    (
        '{"counts": {"read": 3, "checked": 2}}',
        ProtocolLine(counts=Counts(read=3, checked=2)),
    ),  # the caller judges the balance
    ('{"counts": {"created": 2, "updated": 1}}', ProtocolLine(counts=Counts(read=3, checked=3, created=2, updated=1))),
    ('{"counts": {"skipped": 5, "invalid": 1}}', ProtocolLine(counts=Counts(read=6, checked=1, skipped=5, invalid=1))),
    ('{"counts": {"read": 9, "created": 2}}', ProtocolLine(counts=Counts(read=9, checked=2, created=2))),
    (f'{{"counts": {{"read": {LARGEST_COUNTER}}}}}', ProtocolLine(counts=Counts(read=LARGEST_COUNTER))),
    (
        '{"message": "both", "counts": {"created": 1}}',
        ProtocolLine(message="both", counts=Counts(read=1, checked=1, created=1)),
    ),
]

ORDINARY = [
    "",
    "plain text",
    "{",
    '{"message": "torn',
    "[1, 2]",
    '"counts"',
    "{}",
    '{"level": "info"}',
    '{"event": "start"}',
    '{"message": "somebody else\'s log", "time": 12}',
    '{"message": "x", "level": "WARN", "logger": "root"}',
    "[" * 8000,
    '{"a":' * 2000,
    "9" * 5000,
]

WRONG = [
    ('{"counts": []}', "`counts` is [], not an object"),
    ('{"counts": null}', "`counts` is null, not an object"),
    ('{"counts": {"craeted": 1}}', "unknown counter \"craeted\"; did you mean 'created'?"),
    ('{"counts": {"rows": 1}}', "unknown counter"),
    ('{"counts": {"read": -1}}', "counter read is -1, not a whole number"),
    ('{"counts": {"read": 1.0}}', "counter read is 1.0"),
    ('{"counts": {"read": true}}', "counter read is true"),
    ('{"counts": {"read": "1"}}', 'counter read is "1"'),
    ('{"counts": {"read": NaN}}', "counter read is NaN"),
    (f'{{"counts": {{"read": {LARGEST_COUNTER + 1}}}}}', "not a whole number from 0 to 9007199254740991"),
    ('{"counts": {"read": ' + "9" * 4000 + "}}", "counter read is 999"),
    ('{"counts": {"read": 1}, "total": 1}', 'unknown key "total" beside `counts`'),
    ('{"message": 5}', "`message` is 5, not a text"),
    ('{"message": null}', "`message` is null"),
    ('{"message": "x", "level": "warn"}', "unknown level \"warn\"; did you mean 'warning'?"),
    ('{"message": "x", "level": ["info"]}', 'unknown level ["info"]; there is debug, info, warning, error'),
]


@pytest.mark.parametrize(("line", "said"), SPEAKING)
def test_lines_that_speak(line: str, said: ProtocolLine) -> None:
    assert parse(line) == said


@pytest.mark.parametrize("line", ORDINARY)
def test_ordinary_lines(line: str) -> None:
    assert parse(line) is None


@pytest.mark.parametrize(("line", "reason"), WRONG)
def test_lines_that_mean_to_speak_and_do_not(line: str, reason: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(line)
    assert reason in str(caught.value)


@given(st.dictionaries(st.sampled_from(("skipped", "filtered", "not_attempted", *CHECKED)), st.integers(0, 10**9)))
def test_counters_without_sums_always_balance(counts: dict[str, int]) -> None:
    said = parse(json.dumps({"counts": counts}))
    assert said is not None
    assert said.counts is not None
    assert said.counts.imbalance() == ""
    assert {name: getattr(said.counts, name) for name in counts} == counts


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(("message", "level", "counts", *NAMES, "x")), inner)
    ),
)


@given(JSON)
def test_nothing_but_a_protocol_error_comes_out(data: Any) -> None:
    try:
        said = parse(json.dumps(data))
    except ProtocolError:
        return
    if said is not None and said.counts is not None:
        assert all(0 <= value <= LARGEST_COUNTER * len(NAMES) for value in said.counts.as_dict().values())

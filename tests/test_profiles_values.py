"""Which texts are values of a type, one by one, and how they are written again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connrunner.core.model import PropertyType
from connrunner.profiles import values
from tests.effort import examples

T = PropertyType
SAME = ...  # the text itself

VALUES: dict[PropertyType, dict[str, Any]] = {
    T.TEXT: {
        "a": SAME, " a ": "a", "": None, "  ": None, "\ta\r\n": "a", "a b": SAME, "x" * 65_000: SAME, "x" * 65_001: None,
        "é" * 65_000: SAME, "é" * 65_001: None, "a\0b": None, "null": SAME, "\u00a0a": "a", "0": SAME,
    },
    T.EMAIL: {
        "ann@example.com": SAME, " Ann@Example.COM ": "ann@example.com", "o'neil+tag@ex.co.uk": SAME, "a.b@c.de": SAME,
        "ann@müller.de": SAME, "MÜLLER@MÜLLER.DE": "müller@müller.de", "日本@例え.テスト": SAME, "a@xn--mller-kva.de": SAME,
        "a@x.xn--p1ai": SAME, "a_b-c@d-e.org": SAME, "1@2.com": SAME, "x" * 64 + "@a.de": SAME, "x" * 65 + "@a.de": None,
        "a@" + "b" * 250 + ".de": None, "a@" + "b" * 249 + ".de": SAME, "a@" + "b" * 63 + ".de": SAME, "": None, "ann": None, "ann@example": None, "a@b.c": None,
        "a b@c.de": None, "ann@@example.com": None, "a@b@c.de": None, "ann@ex_ample.com": None, ".a@c.de": None,
        "a.@c.de": None, "a..b@c.de": None, "a@-x.de": None, "a@x-.de": None, "a@.de": None, "a@x..de": None, "a@1.2.3.4": None,
        "a@x.12": None, "a,b@c.de": None, "<a@b.de>": None, "Ann <a@b.de>": None, "a@b.de;c@d.de": None, '"a b"@c.de': None,
        "a\u200b@b.de": None, "a@b.de\0": None, "a\n@b.de": None, "@b.de": None, "a@": None, "mailto:a@b.de": None,
    },
    T.INTEGER: {
        "12": SAME, "-12": SAME, "0": SAME, "007": "7", "-0": "0", " 7\t": "7", "9223372036854775807": SAME,
        "-9223372036854775808": SAME, "9223372036854775808": None, "-9223372036854775809": None, "": None, "+5": None,
        "12.7": None, "12.0": None, "12.": None, "1e3": None, "0x1F": None, "1_0": None, "1,000": None, "1 000": None,
        "\u0661\u0662": None, "--1": None, "-": None, "1-": None, "true": None, "NaN": None, "inf": None, "\u00a07": "7", "0b1": None,
    },
    T.DECIMAL: {
        "12.5": SAME, "-12.5": SAME, "12.50": "12.5", ".5": "0.5", "-.5": "-0.5", "100": SAME, "0.0": "0", "-0": "0", " 1.5 ": "1.5",
        "0.1234567894": "0.123456789", "0.1234567895": "0.12345679", "999999999.9999999999": "1000000000",
        "1234567890.5": SAME, "0001.5": "1.5", "0.01": SAME, "-0.05": SAME, "0.95": SAME, "9.995": SAME, "-0.001": SAME,
        "999999999": SAME, "999999999.99": SAME, "999999999.000000001": SAME, "-999999999": SAME, "-999999999.5": SAME,
        "1000000000": SAME, "-1000000000.25": SAME, "1000.50": "1000.5", "-0.000000001": SAME, "1200": SAME, "0.1": SAME, "9" * 29: SAME, "9" * 30: None, "9" * 29 + ".9999999999": None, "": None,
        "5.": None, ".": None, "-": None, "+1": None, "inf": None, "-inf": None, "Infinity": None, "NaN": None, "1e400": None,
        "1e3": None, "1E-3": None, "1_0.5": None, "1,5": None, "1.000,5": None, "1.2.3": None, "$1": None, "1 000": None, "0x1": None,
    },
    T.BOOLEAN: {
        "true": SAME, "TRUE": "true", "False": "false", "yes": "true", "NO": "false", "y": "true", "N": "false", "t": "true",
        "F": "false", "1": "true", "0": "false", " true ": "true", "\tno\r": "false", "": None, "on": None, "off": None,
        "ja": None, "2": None, "-1": None, "null": None, "truee": None, "01": None, "ye s": None,
    },
    T.DATE: {
        "2026-11-22": SAME, " 2026-11-22\n": "2026-11-22", "2024-02-29": SAME, "2000-02-29": SAME, "0001-01-01": SAME,
        "9999-12-31": SAME, "": None, "2023-02-29": None, "1900-02-29": None, "2026-02-30": None, "2026-13-01": None,
        "2026-00-01": None, "2026-01-00": None, "2026-2-3": None, "0000-01-01": None, "10000-01-01": None, "infinity": None,
        "-infinity": None, "epoch": None, "today": None, "2026-01-01T00:00:00Z": None, "2026-01-01 10:00:00": None,
        "22-11-2026": None, "2026/11/22": None, "20261122": None, "2026-11-22x": None, "-001-01-01": None, "0044-03-15 (BC)": None,
        "26-11-22": None, "2026-W01-1": None, "\u0662\u0660\u0662\u0666-01-01": None,
    },
    T.DATETIME: {
        "2026-01-01T10:00:00Z": SAME, "2026-01-01T10:00:00+02:00": "2026-01-01T08:00:00Z",
        "2026-01-01t10:00:00z": "2026-01-01T10:00:00Z", " 2026-01-01 10:00:00Z ": "2026-01-01T10:00:00Z",
        "2026-01-01T10:00:00-00:00": "2026-01-01T10:00:00Z", "2026-01-01T10:00:00.5Z": SAME, "2026-01-01T10:00:00.000Z": "2026-01-01T10:00:00Z",
        "2026-01-01T10:00:00.123456789Z": "2026-01-01T10:00:00.123456Z", "2026-01-01T10:00:00+15:30": "2025-12-31T18:30:00Z",
        "0800-01-01T00:00:00.000001Z": SAME, "1969-12-31T23:59:59.999999Z": SAME, "1970-01-01T00:00:00.1Z": SAME,
        "2026-01-01T10:00:00-23:59": "2026-01-02T09:59:00Z", "0001-01-01T00:00:00Z": SAME, "9999-12-31T23:59:59.999999Z": SAME,
        "0001-01-01T00:00:00+14:00": None, "9999-12-31T23:59:59-12:00": None, "0000-12-31T23:59:59-12:00": None, "": None,
        "2026-01-01T10:00:00": None, "2026-01-01": None, "2026-01-01T10:00Z": None, "2026-01-01T24:00:00Z": None,
        "2026-01-01T10:60:00Z": None, "2026-01-01T23:59:60Z": None, "2026-01-01T10:00:00+24:00": None, "2026-01-01T10:00:00+02:60": None,
        "2026-01-01T10:00:00+0200": None, "2026-01-01T10:00:00+02": None, "2026-01-01T10:00:00 +02:00": None, "2026-02-30T10:00:00Z": None,
        "2026-01-01T10:00:00.1234567890Z": None, "2026-01-01T10:00:00.Z": None, "2026-1-1T10:00:00Z": None, "1767225600": None,
        "2026-01-01T10:00:00 Europe/Amsterdam": None, "now": None, "infinity": None, "Thu, 01 Jan 2026 10:00:00 GMT": None,
    },
}  # fmt: skip
CASES = [
    (kind, text, text if value is SAME else value) for kind, table in VALUES.items() for text, value in table.items()
]


@pytest.fixture(scope="module")
def ask() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def value_of(connection: duckdb.DuckDBPyConnection, kind: PropertyType, text: str, *, trim: bool = True) -> str | None:
    """Return the one spelling of the value that *text* spells, or None."""
    value = values.parse_value(kind, "r", trim=trim)
    # A table, not a constant: what is worked out while planning goes other ways.
    connection.execute("CREATE OR REPLACE TEMP TABLE texts AS SELECT ?::VARCHAR AS r", [text])
    found = connection.execute(
        f"SELECT {values.format_value(kind, 'v')} FROM (SELECT {value} AS v FROM texts)"
    ).fetchone()
    assert found is not None
    value_as_text: str | None = found[0]
    return value_as_text


@pytest.mark.parametrize(("kind", "text", "value"), CASES, ids=[f"{kind}-{text[:30]!r}" for kind, text, _ in CASES])
def test_a_text_and_its_value(ask: duckdb.DuckDBPyConnection, kind: PropertyType, text: str, value: str | None) -> None:
    assert value_of(ask, kind, text) == value


@pytest.mark.parametrize("kind", VALUES)
def test_all_texts_of_a_type_at_once(ask: duckdb.DuckDBPyConnection, kind: PropertyType) -> None:
    """Neighbours in one batch do not change what a text is worth."""
    table = VALUES[kind]
    ask.execute("CREATE OR REPLACE TEMP TABLE texts AS SELECT unnest(?::VARCHAR[]) AS r", [list(table) * 400])
    value = values.parse_value(kind, "r")
    found = ask.execute(
        f"SELECT DISTINCT r, {values.format_value(kind, 'v')} FROM (SELECT r, {value} AS v FROM texts)"
    ).fetchall()
    assert dict(found) == {text: text if value is SAME else value for text, value in table.items()}


@pytest.mark.parametrize("kind", VALUES)
def test_the_text_of_a_cast_is_that_of_duckdb(ask: duckdb.DuckDBPyConnection, kind: PropertyType) -> None:
    """What exports remember of a value is made of it: another text would send everything again."""
    ask.execute("CREATE OR REPLACE TEMP TABLE texts AS SELECT unnest(?::VARCHAR[]) AS r", [list(VALUES[kind])])
    value = values.parse_value(kind, "r")
    found = ask.execute(f"SELECT {values.cast_text(kind, 'v')}, v::VARCHAR FROM (SELECT {value} AS v FROM texts)")
    mine, theirs = zip(*found.fetchall(), strict=True)
    assert mine == theirs


def test_a_text_that_is_no_identifier_keeps_its_blanks(ask: duckdb.DuckDBPyConnection) -> None:
    assert value_of(ask, T.TEXT, " a ", trim=False) == " a "
    assert value_of(ask, T.TEXT, "\u00a0a\ufeff", trim=False) == "\u00a0a\ufeff"
    assert value_of(ask, T.TEXT, "  ", trim=False) is None
    assert value_of(ask, T.TEXT, "", trim=False) is None


@settings(max_examples=examples(15, long=2500), deadline=None)
@given(
    kind=st.sampled_from([T.INTEGER, T.DECIMAL, T.DATE, T.DATETIME, T.BOOLEAN, T.EMAIL]),
    text=st.text("0123456789-+.:TZtze@ /x", max_size=22),
)
def test_a_value_is_a_value_of_its_own_spelling(kind: PropertyType, text: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        spelt = value_of(connection, kind, text)
        if spelt is not None:
            assert value_of(connection, kind, spelt) == spelt

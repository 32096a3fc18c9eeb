"""Rows for Meta: the quick way to write one says what the slow way of the standard library says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connrunner.connectors.meta.member_rows import KeyMapping, compose_body, prepare_rows
from connrunner.connectors.meta.members import Member
from connrunner.connectors.meta.normalization import KEYS, normalize, read_country

KEYS_OF = {"id": "EXTERN_ID", "email": "EMAIL", "phone": "PHONE", "name": ["FN", "FI"], "born": ["DOBY", "DOBM"]}
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(["", " ", "a@b.nl", " A@B.NL ", "0612345678", "+31 6 1234 5678", "1985-03-09", "Ünal", '"\\%s\n']),
)
VALUES = st.one_of(st.none(), TEXTS, st.integers(0, 9999), st.lists(TEXTS, max_size=3))
COUNTRIES = st.sampled_from([None, "", "us", "DE", "Poland", ["gb", "fr"]])
RECORDS = st.fixed_dictionaries(
    {"phone": VALUES | st.just("0170 1234567")},
    optional=dict.fromkeys(["id", "email", "name", "born"], VALUES) | {"land": COUNTRIES},
)


def expected_rows(record: dict[str, Any], keys: dict[str, str]) -> list[dict[str, str]]:
    """Return the rows of *record* by the rules as docs/connectors.md says them, a value at a time."""

    def texts(value: Any) -> list[str]:
        many = value if isinstance(value, list) else [] if value is None else [value]
        return [str(one) for one in many if str(one).strip()]

    country = read_country((texts(record.get(keys["COUNTRY"])) or [""])[0]) or "nl"
    found: dict[str, list[str]] = {}
    for key, column in keys.items():
        given = texts(record.get(column)) or (["nl" if not keys["COUNTRY"] else country] if key == "COUNTRY" else [])
        plain = [normalize(key, text, country) for text in given]
        sent = [text if key == "EXTERN_ID" else hashlib.sha256(text.encode()).hexdigest() for text in plain if text]
        if sent:
            found[key] = list(dict.fromkeys(sent))
    if not set(found) - {"EXTERN_ID", "COUNTRY"}:
        return []
    most = max(len(values) for values in found.values())
    return [
        {
            key: values[0] if len(values) == 1 else values[place]
            for key, values in found.items()
            if len(values) == 1 or place < len(values)
        }
        for place in range(most)
    ]


@pytest.mark.parametrize("land", ["", "land"])
@given(records=st.lists(RECORDS, min_size=1, max_size=4))
@example(records=[{"id": '"%s', "phone": "0170 1234567", "land": ["DE", "pl"], "name": ["Ünal", "-", "Ünal", "B"]}])
def test_rows_and_bodies_are_those_of_the_rules(
    tmp_path_factory: pytest.TempPathFactory, land: str, records: list[dict[str, Any]]
) -> None:
    keys = {**KEYS_OF, land: "COUNTRY"} if land else KEYS_OF
    mapping = KeyMapping.from_settings({"keys": keys, "country": "NL"})
    local: Path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    local.write_text(
        "".join(json.dumps({**one, "profile_key": f"p{place}"}) + "\n" for place, one in enumerate(records))
    )
    (some,) = prepare_rows(local, 10, mapping)
    expected = {
        f"p{place}": rows for place, one in enumerate(records) if (rows := expected_rows(one, dict(mapping.keys)))
    }
    assert {profile: [member.row for member in members] for profile, members in some.wanted.items()} == expected
    assert len(some.refused) == len(records) - len(expected)
    members = [member for each in some.wanted.values() for member in each]
    for member in members:
        text = json.dumps(member.row, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        assert member.text == text, "ledgers know rows by it"
        assert member.digest == hashlib.sha256(text.encode()).digest()[:16]
    later = [Member(one.profile, one.digest, one.text) for one in members[1:]]  # as they come out of the ledger
    body = json.loads(compose_body(members[:1] + later, {"session_id": 1}))
    schema = [key for key in KEYS if any(key in member.row for member in members)]
    assert body == {
        "payload": {"schema": schema, "data": [[one.row.get(key, "") for key in schema] for one in members]},
        "session": {"session_id": 1},
    }

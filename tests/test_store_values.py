"""Which texts are values of a type: every one by itself, through the store, from a file and back."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from connrunner.core import instant
from connrunner.core.model import Field, Format, Import, LocalFile, ProfileModel, Property, PropertyType
from connrunner.core.report import Level
from connrunner.profiles.jobs import ImportJob, RunStamp
from tests.stores import BOTH, open_store

pytestmark = [pytest.mark.usefixtures("store_kind"), pytest.mark.parametrize("store_kind", BOTH, indirect=True)]

AT = instant.parse("2026-11-22T06:00:00Z")


class Quiet:
    def message(self, text: str, *, level: Level = "info", **facts: Any) -> None: ...

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...


# type -> {accepted text: the value that is kept}
ACCEPTED: dict[str, dict[str, Any]] = {
    "text": {"Ann": "Ann", "  two  blanks ": "  two  blanks ", "=1+1": "=1+1", "ünï ☃ 漢": "ünï ☃ 漢", "null": "null", "x" * 65_000: "x" * 65_000},
    "email": {"ann@example.com": "ann@example.com", "A.B+c@Example.COM": "a.b+c@example.com", " d@e.org ": "d@e.org", "jörg@exämple.de": "jörg@exämple.de"},
    "integer": {"0": 0, "-5": -5, "007": 7, " 42 ": 42, "9223372036854775807": 2**63 - 1, "-9223372036854775808": -(2**63)},
    "decimal": {"12.50": "12.5", "-0.1": "-0.1", "7": "7", ".5": "0.5", "0.000000001": "0.000000001", "12345678901234567890.5": "12345678901234567890.5"},
    "boolean": {"true": True, "FALSE": False, "Yes": True, "n": False, "1": True, "0": False, "t": True},
    "date": {"2026-11-22": "2026-11-22", "2024-02-29": "2024-02-29", "0001-01-01": "0001-01-01", "9999-12-31": "9999-12-31"},
    "datetime": {
        "2026-11-22T09:15:00Z": "2026-11-22T09:15:00Z",
        "2026-11-22T10:15:00+01:00": "2026-11-22T09:15:00Z",
        "2026-11-22 10:15:00.250+01:00": "2026-11-22T09:15:00.25Z",
    },
}  # fmt: skip
# What a plain cast lets by, and what people write: none of it is a value.
REFUSED = {
    "text": ["x" * 65_001],
    "email": ["nobody", "a@b", "@example.com", "a b@example.com", "a@example..com", "a@@example.com", "Ann <ann@example.com>", "a@example.com,b@example.com"],
    "integer": ["12.7", "1e3", "0x1F", "1_000", "1,000", "+5", "9223372036854775808", "abc", "--1", "1 2", "NaN", "true"],
    "decimal": ["1,5", "1e400", "1e3", "inf", "-Infinity", "NaN", "1_0.5", "0x1F", "1.2.3", "€ 5", "5.", "1 000"],
    "boolean": ["maybe", "2", "on", "off", "ja", "wahr", "truee"],
    "date": ["2026-2-3", "2026-02-30", "2025-02-29", "infinity", "22-11-2026", "2026/11/22", "2026-11-22T00:00:00Z", "0000-01-01", "20261122"],
    "datetime": ["2026-11-22T09:15:00", "2026-11-22", "2026-11-22T25:00:00Z", "infinity", "2026-11-22T09:15Z", "now", "2026-02-30T09:15:00Z", "2026-11-22T09:15:00 Europe/Amsterdam"],
}  # fmt: skip


@pytest.mark.parametrize("kind", ACCEPTED)
def test_each_value_of_a_type(kind: str, tmp_path: Path) -> None:
    model = ProfileModel(
        properties={
            "id": Property(name="id", identifier=True),
            "value": Property(name="value", type=PropertyType(kind), personal=False),
        }
    )
    accepted, refused = ACCEPTED[kind], REFUSED[kind]
    texts = [*accepted, *refused]
    path = tmp_path / "values.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "value"], *([str(number), text] for number, text in enumerate(texts))])
    work = Import(
        source={"type": "files"}, format=Format(), match=(("id",),),
        fields=(Field(property="id", column="id"), Field(property="value", column="value")),
    )  # fmt: skip
    file_of_rows = LocalFile(path=str(path), name="values.csv", size=path.stat().st_size, modified="x")
    stamp = RunStamp(connection="c", run=1, at=AT)
    rejects = tmp_path / "rejects.jsonl"

    with open_store(tmp_path / "profiles.duckdb", model, temp=tmp_path, report=Quiet()) as store:
        done = store.import_files(ImportJob(work=work, files=[file_of_rows], stamp=stamp, rejects=rejects))
        kept = {profile["id"]: profile["value"] for profile in store.select(("id", "value"))}

    told = {json.loads(line)["line"] for line in rejects.read_text().splitlines()}
    assert {texts[line - 2][:20] for line in told} == {text[:20] for text in refused}
    assert (done.counts.created, done.counts.invalid) == (len(accepted), len(refused))
    for number, (text, value) in enumerate(accepted.items()):
        got = kept[str(number)]
        assert (str(got) if kind in ("decimal", "date", "datetime") else got) == value, text

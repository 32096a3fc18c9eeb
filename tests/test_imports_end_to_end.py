"""Imports and exports from a file to a run row: what people see when the input is good, and when it is bad."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Place

pytestmark = pytest.mark.slow

IMPORT = """\
schedule: {type: manual}
import:
  from: {type: files, path: "in/*.csv"}
  match: [id]
  fields: {id: id, email: email, name: name, age: age}
"""
EXPORT = """\
schedule: {type: manual}
export:
  to: {type: files, path: "out/{run}.csv"}
  fields: {Id: id, Name: name, Age: age}
"""
HEADER = "id,email,name,age\n"


@pytest.fixture
def people(place: Place) -> Place:
    place.write("connections/people.yaml", IMPORT)
    place.write("connections/audience.yaml", EXPORT)
    return place


def run(place: Place, name: str, code: int = 0) -> dict[str, Any]:
    return dict(json.loads(place.run("run", name, "--format", "json", check=code).out))


def counts(found: dict[str, Any]) -> dict[str, int]:
    return {name: number for name, number in found["counts"].items() if number}


BAD: list[tuple[str, bytes | None, str, str]] = [
    # what             the file                                              outcome      what the message says
    ("missing file",   None,                                                 "failed",    "in/*.csv"),
    ("empty file",     b"",                                                  "failed",    "in/a.csv"),
    ("only a header",  HEADER.encode(),                                      "succeeded", ""),
    ("delimiter",      b"id;email;name;age\n1;a@example.com;Ann;3\n",        "failed",    "';'"),
    ("encoding",       b"id,email,name,age\n1,a@example.com,J\xf6rg,3\n",    "failed",    "encoding"),
    ("unknown column", b"id,mail,name,age\n1,a@example.com,Ann,3\n",         "failed",    "did you mean 'mail'"),
    ("not a table",    bytes(range(256)) * 40,                               "failed",    "in/a.csv"),
]  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize(("content", "outcome", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_file_has_a_run_and_a_remedy(people: Place, content: bytes | None, outcome: str, words: str) -> None:
    (people.folder / "in").mkdir()
    if content is not None:
        (people.folder / "in/a.csv").write_bytes(content)

    found = run(people, "people", 0 if outcome == "succeeded" else 1)

    assert found["outcome"] == outcome
    assert words in found["message"], found["message"]
    assert (found["code"] == "") == (outcome == "succeeded")
    assert people.runs("people")[0]["run"] == 1


def test_bad_rows_are_told_with_line_field_and_reason_and_the_others_arrive(people: Place) -> None:
    rows = [
        "1,a@example.com,Ann,30",
        "2,b@example.com,Bob,thirty",
        "3,c@example.com,Cy",
        "4,nobody,Di,40",
        "5,e@example.com,Ed,50",
    ]
    people.write("in/odd[1].csv", HEADER + "\n".join(rows) + "\n")

    found = run(people, "people")

    assert (found["outcome"], counts(found)) == ("partial", {"read": 5, "checked": 5, "created": 2, "invalid": 3})
    rejects = json.loads(people.run("rejects", "people", "--format", "json").out)
    assert [(reject["line"], reject["field"], reject["code"]) for reject in rejects] == [
        (3, "age", "wrong-type"), (4, None, "too-few-columns"), (5, "email", "wrong-type"),
    ]  # fmt: skip
    assert json.loads(people.run("profiles", "--format", "json").out)["profiles"] == 2


@pytest.mark.thorough
def test_a_file_that_did_not_change_is_skipped_and_its_refused_rows_are_offered_again(people: Place) -> None:
    people.write("in/a.csv", HEADER + "1,a@example.com,Ann,30\n2,b@example.com,Bob,thirty\n")

    run(people, "people")
    again = run(people, "people")
    people.write("in/a.csv", HEADER + "1,a@example.com,Ann,31\n2,b@example.com,Bob,30\n")
    mended = run(people, "people")

    assert counts(again) == {"read": 2, "skipped": 1, "checked": 1, "invalid": 1}
    assert counts(mended) == {"read": 2, "checked": 2, "created": 1, "updated": 1}


@pytest.mark.thorough
def test_an_export_sends_what_changed(people: Place) -> None:
    people.write("in/a.csv", HEADER + "1,a@example.com,Ann,30\n2,b@example.com,Bob,31\n")
    run(people, "people")

    first = run(people, "audience")
    people.write("in/b.csv", HEADER + "2,b@example.com,Bob,32\n3,c@example.com,Cy,33\n")
    run(people, "people")
    second = run(people, "audience")

    assert (people.folder / "out/1.csv").read_text() == "Id,Name,Age\n1,Ann,30\n2,Bob,31\n"
    assert (people.folder / "out/2.csv").read_text() == "Id,Name,Age\n2,Bob,32\n3,Cy,33\n"
    assert counts(first) == {"read": 2, "checked": 2, "created": 2}
    assert counts(second) == {"read": 3, "checked": 3, "created": 1, "updated": 1, "unchanged": 1}


@pytest.mark.thorough
def test_an_export_that_cannot_be_delivered_is_sent_again(people: Place) -> None:
    people.write("in/a.csv", HEADER + "1,a@example.com,Ann,30\n")
    run(people, "people")
    people.write("out", "a file where the folder should be\n")
    failed = run(people, "audience", 1)
    (people.folder / "out").unlink()
    sent = run(people, "audience")

    assert failed["outcome"] == "failed"
    assert "out" in failed["message"]
    assert counts(sent) == {"read": 1, "checked": 1, "created": 1}


@pytest.mark.thorough
def test_a_dry_run_shows_the_counters_and_writes_nothing(people: Place) -> None:
    people.write("in/a.csv", HEADER + "1,a@example.com,Ann,30\n2,b@example.com,Bob,31\n")
    run(people, "people")
    people.write("in/b.csv", HEADER + "1,a@example.com,Ann,99\n3,c@example.com,Cy,no\n")
    before = _everything(people.folder)

    tried = people.run("run", "people", "--dry-run")
    exported = json.loads(people.run("run", "audience", "--dry-run", "--format", "json").out)

    assert "4 read, 2 skipped, 2 checked, 1 updated, 1 invalid" in tried.out
    assert "in/b.csv:3: age" in tried.out
    assert (exported["outcome"], exported["counts"]["created"]) == ("succeeded", 2)
    assert _everything(people.folder) == before


def _everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "compiled" not in path.parts
    }


@pytest.mark.thorough
def test_profiles_are_counted_shown_and_written(people: Place) -> None:
    people.write("in/a.csv", HEADER + "1,a@example.com,Ann,30\n2,b@example.com,Bob,31\n")
    run(people, "people")

    shown = people.run("profiles", "A@example.com").out
    found = json.loads(people.run("profiles", "1", "--format", "json").out)
    people.run("profiles", "--where", "age > 30", "--columns", "name,age", "--output", "old.csv")

    assert "Ann" in shown
    assert [profile["properties"]["name"] for profile in found] == ["Ann"]
    assert (people.folder / "old.csv").read_text() == "name,age\nBob,31\n"
    assert people.run("profiles", "--where", "age > 30").out == "1 profile where age > 30\n"
    assert json.loads(people.run("profiles", "--id", "1", "--format", "json").out) == found
    assert "Bob" in people.run("profiles", "--id", "2").out
    assert "no profile with the number 99" in people.run("profiles", "--id", "99", check=2).err
    assert "both say which" in people.run("profiles", "--id", "1", "1", check=2).err
    assert "no profile has id or email 'zzz'" in people.run("profiles", "zzz", check=2).err
    assert "aeg" in people.run("profiles", "--where", "aeg > 30", check=1).err


@pytest.mark.thorough
def test_a_run_that_reads_too_long_is_ended_and_changes_nothing(people: Place) -> None:
    more = IMPORT.replace("schedule:", "timeout: 1s\nschedule:")
    people.write("connections/people.yaml", more)
    rows = "".join(f"{number},p{number}@example.com,Name {number},{number % 90}\n" for number in range(1_500_000))
    people.write("in/a.csv", HEADER + rows)

    found = run(people, "people", 1)

    assert (found["outcome"], found["code"]) == ("failed", "timeout")
    assert found["seconds"] < 30


@pytest.mark.thorough
def test_eight_dated_files_one_run_each_agree_with_a_plain_comparison(people: Place) -> None:
    """People come, go and change; the counters equal what two plain dicts say."""
    chance = random.Random(8)
    known: dict[str, tuple[str, ...]] = {}
    persons = {str(n): (str(n), f"p{n}@example.com", f"Name {n}", str(20 + n % 60)) for n in range(540)}
    (people.folder / "in").mkdir()
    for month in range(8):
        for key in chance.sample(sorted(persons), 12):
            persons.pop(key)
        for n in range(540 + month * 20, 540 + month * 20 + 15):
            persons[str(n)] = (str(n), f"p{n}@example.com", f"Name {n}", str(20 + n % 60))
        for key in chance.sample(sorted(persons), 40):
            number, email, name, age = persons[key]
            persons[key] = (number, email, name, str(int(age) + 1))
        with (people.folder / f"in/people-{month}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("id", "email", "name", "age"), *persons.values()])

        got = counts(run(people, "people"))

        created = sum(key not in known for key in persons)
        updated = sum(key in known and known[key] != row for key, row in persons.items())
        want = {
            "created": created,
            "updated": updated,
            "unchanged": len(persons) - created - updated,
            "checked": len(persons),
        }
        skipped = got.pop("skipped", 0)
        assert got.pop("read") == skipped + len(persons)
        assert got == {name: number for name, number in want.items() if number}
        known.update(persons)

"""Eight dated files of one list of people, imported one by one; each run's counters against a comparison of two files."""

from __future__ import annotations

import csv
import io
import random

import pytest

from tests.test_profiles_open import Shelf, counted, import_of, shelf

__all__ = ["shelf"]

COLUMNS = ("id", "name", "born", "spent", "member", "tags")


def people(dates: int = 8, count: int = 400) -> list[list[dict[str, str]]]:
    """Return dated lists of people who come, go, come back and change."""
    dice = random.Random(20261122)
    everyone = [
        {
            "id": f"B{number:06d}",
            "name": dice.choice(["Ann", "Bob", "Zoë", 'Jan "Jo" de Vries', "O'Neil, Eva", "Two\nLines"]),
            "born": f"{dice.randrange(1930, 2005)}-{dice.randrange(1, 13):02d}-{dice.randrange(1, 29):02d}",
            "spent": f"{dice.randrange(100_000) / 100:.2f}",
            "member": dice.choice(["yes", "no", ""]),
            "tags": ";".join(dice.sample("abc", dice.randrange(3))),
        }
        for number in range(count)
    ]
    lists = []
    for _ in range(dates):
        for person in everyone:
            match dice.randrange(20):
                case 0:
                    person["spent"] = f"{dice.randrange(100_000) / 100:.2f}"
                case 1:
                    person["member"] = "no" if person["member"] == "yes" else "yes"
                case 2:
                    person["tags"] = ";".join(reversed(person["tags"].split(";")))  # the same set
                case 3:
                    person["name"] = ""  # says nothing
        there = [dict(person) for person in everyone if dice.randrange(10)]
        dice.shuffle(there)
        lists.append(there)
    return lists


def text_of(rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def comparison(known: dict[str, dict[str, object]], text: str) -> dict[str, int]:
    """Compare *text* with what is *known* of each person, and bring that up to date; return the counters."""
    counts = {"created": 0, "updated": 0, "unchanged": 0}
    for row in csv.DictReader(io.StringIO(text)):
        says: dict[str, object] = {name: value for name, value in row.items() if value}
        if row["tags"]:
            says["tags"] = frozenset(row["tags"].split(";"))
        if row["spent"]:
            says["spent"] = float(row["spent"])
        old = known.get(row["id"])
        new = {**(old or {}), **says}
        counts["created" if old is None else "unchanged" if new == old else "updated"] += 1
        known[row["id"]] = new
    return {name: count for name, count in counts.items() if count}


@pytest.mark.slow
@pytest.mark.thorough
def test_eight_dated_files_one_by_one(shelf: Shelf) -> None:
    work = import_of(*COLUMNS)
    known: dict[str, dict[str, object]] = {}
    seen = set()
    texts = [text_of(rows) for rows in people()]
    with shelf.open() as store:
        for number, text in enumerate(texts):
            file = shelf.file(text, name=f"people-{number}.csv")
            want = comparison(known, text)
            assert counted(shelf.take(work, file, store=store)) == want
            seen |= set(want)
            assert counted(shelf.take(work, file, store=store)) == {"skipped": text.count("\nB")}
        assert store.count() == len(known)
    assert seen == {"created", "updated", "unchanged"}


@pytest.mark.slow
@pytest.mark.thorough
def test_eight_dated_files_at_once(shelf: Shelf) -> None:
    """A glob hands them over in the order of their names; the sum is the same as one by one."""
    texts = [text_of(rows) for rows in people()]
    known: dict[str, dict[str, object]] = {}
    wants = [comparison(known, text) for text in texts]
    result = shelf.take(import_of(*COLUMNS), *texts)
    assert [
        {
            name: count
            for name, count in file.counts.as_dict().items()
            if name in ("created", "updated", "unchanged") and count
        }
        for file in result.files
    ] == wants

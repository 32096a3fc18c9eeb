"""Sets (`many`) there and back: what an export writes is what an import with the defaults reads, or the row is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connrunner.connectors import Refusal
from connrunner.core.model import Export, Format, ProfileModel, Property, PropertyType
from connrunner.profiles import ProfileStore
from connrunner.profiles.jobs import ExportJob, RunStamp
from tests.test_profiles_open import AT, Shelf, import_of, shelf

__all__ = ["shelf"]

MODEL = ProfileModel(
    properties={
        one.name: one
        for one in (
            Property(name="id", identifier=True, personal=False),
            Property(name="m", many=True),
            Property(name="n", type=PropertyType.DECIMAL, many=True),
        )
    }
)
SETS: list[list[str]] = [
    ["Smith; Sons", "z"],
    ["a", "b"],
    ["a,b", 'say "x"', "it's"],
    ["two\nlines", "x\ty"],
    [";"],
    [],
    ["ë🎉", "|", "\\;"],
]
FORMATS = [
    # how it is written, the rows that no such file can hold
    (Format(), {0, 4, 6}),
    (Format(delimiter=";"), {0, 4, 6}),
    (Format(delimiter="\t"), {0, 4, 6}),
    (Format(encoding="utf-16-le"), {0, 4, 6}),
    (Format(compression="gzip"), {0, 4, 6}),
    (Format(type="jsonl"), set()),
    (Format(type="json"), set()),
    (Format(type="parquet"), set()),
]
WORK = Export(destination={}, format=Format(), fields={"id": "id", "m": "m", "n": "n"})


def fill(shelf: Shelf, store: ProfileStore) -> None:
    lines = (json.dumps({"id": n, "m": one, "n": ["1.5", "2"]}) for n, one in enumerate(SETS))
    shelf.take(import_of("id", "m", "n", format=Format(type="jsonl")), "\n".join(lines), store=store)


def send(store: ProfileStore, path: Path, work: Export, run: int, *refused: int) -> tuple[dict[str, int], list[Any]]:
    """Export to *path*, let the partner refuse some rows, and return the counters and what the rejects say."""
    stamp = RunStamp(connection="e", run=run, at=AT)
    rejects = path.parent / f"export-rejects-{run}"
    done = store.export(ExportJob(work=work, stamp=stamp, path=path))
    told = [Refusal(row=row, code="not-wanted", message="no") for row in refused]
    counts = store.confirm_export(stamp, refused=told, rejects=rejects)
    held = sum(one.get("unchanged", 0) for one in [counts.as_dict()] if work.rows == "changed")
    assert done.rows_written - len(refused) == counts.checked - counts.rejected - held
    lines = [json.loads(line) for line in rejects.read_text().splitlines()] if rejects.exists() else []
    return {name: number for name, number in counts.as_dict().items() if number}, lines


def sets(store: ProfileStore) -> dict[int, list[str]]:
    return {int(one["id"]): sorted(one["m"] or []) for one in store.select(["id", "m"])}


@pytest.mark.thorough
@pytest.mark.parametrize(("form", "lost"), FORMATS, ids=lambda one: "-".join(map(str, vars_of(one))))
def test_sets_come_back_as_they_went(form: Format, lost: set[int], shelf: Shelf) -> None:
    shelf.model = MODEL
    path = shelf.folder / "out"
    with shelf.open() as store:
        fill(shelf, store)
        counts, rejects = send(store, path, replace(WORK, format=form), 50)
    assert counts.get("rejected", 0) == len(rejects) == len(lost)
    assert counts["created"] == len(SETS) - len(lost)
    assert {one["code"] for one in rejects} <= {"unwritable-format"}
    assert {int(one["key"].removeprefix("id=")) for one in rejects} == lost
    again = Shelf(shelf.folder / "again", model=MODEL)
    again.folder.mkdir()
    with again.open() as store:
        done = again.take(import_of("id", "m", "n", format=form), again.file(path.read_bytes(), "out"), store=store)
        assert done.counts.created == len(SETS) - len(lost)
        assert sets(store) == {n: sorted(one) for n, one in enumerate(SETS) if n not in lost}


def vars_of(value: Any) -> tuple[Any, ...]:
    if isinstance(value, Format):
        return (value.type, repr(value.delimiter), value.encoding, value.compression)
    return (len(value),)


def test_a_row_that_cannot_be_written_is_offered_again(shelf: Shelf) -> None:
    """It counts as never sent, whatever else becomes of the run, and the rows of the others keep their numbers."""
    shelf.model = MODEL
    with shelf.open() as store:
        fill(shelf, store)
        counts, rejects = send(store, shelf.folder / "1", WORK, 51, 0)
        assert counts["rejected"] == 4
        assert sorted(((one["key"], one["code"], one["line"]) for one in rejects), key=lambda one: one[0]) == [
            ("id=0", "unwritable-format", None),
            ("id=1", "not-wanted", 1),
            ("id=4", "unwritable-format", None),
            ("id=6", "unwritable-format", None),
        ]
        mended = import_of("id", "m", format=Format(type="jsonl"))
        shelf.take(mended, json.dumps({"id": 0, "m": ["Smith & Sons", "z"]}), store=store)
        counts, _ = send(store, shelf.folder / "2", WORK, 52)
        assert counts["created"] == 2
        assert counts["rejected"] == 2
        counts, _ = send(store, shelf.folder / "3", replace(WORK, rows="all"), 53)
        assert (counts["rejected"], counts["unchanged"]) == (2, 5)


def test_a_run_of_nothing_that_can_be_written(shelf: Shelf) -> None:
    shelf.model = MODEL
    with shelf.open() as store:
        shelf.take(import_of("id", "m", format=Format(type="jsonl")), json.dumps({"id": 1, "m": ["a;b"]}), store=store)
        counts, rejects = send(store, shelf.folder / "1", WORK, 51)
        assert counts["rejected"] == len(rejects) == 1

"""A drop folder of thousands of small files, in one run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connrunner.core.counts import Counts
from connrunner.profiles.results import NAMED_FILES, FileResult, list_told_files
from tests.conftest import Place

IMPORT = """\
schedule: {type: manual}
import:
  from: {type: files, path: "in/*.csv"}
  match: [id]
  fields: {id: id, name: name}
"""


def results(*refused: int, count: int) -> list[FileResult]:
    return [
        FileResult(
            name=f"{number}.csv",
            status="skipped" if number % 2 else "imported",
            counts=Counts(read=1, checked=1, invalid=int(number in refused), created=int(number not in refused)),
        )
        for number in range(count)
    ]


def test_the_history_names_the_files_that_matter_most() -> None:
    assert [one["name"] for one in list_told_files(results(count=3))["files"]] == ["0.csv", "1.csv", "2.csv"]
    assert "more_files" not in list_told_files(results(count=NAMED_FILES))
    found = list_told_files(results(7, 9_999, count=10_000))
    named = [one["name"] for one in found["files"]]
    assert len(named) + found["more_files"] == 10_000
    assert named == ["0.csv", "2.csv", "4.csv", "6.csv", "7.csv", *(f"{n}.csv" for n in range(8, 35, 2)), "9999.csv"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "count", [pytest.param(300, marks=pytest.mark.thorough), pytest.param(10_000, marks=pytest.mark.long)]
)
def test_a_run_of_many_files(place: Place, count: int) -> None:
    place.write("connections/people.yaml", IMPORT)
    folder = place.folder / "in"
    folder.mkdir()
    for number in range(count):
        row = f"{number}\n" if number % 100 == 99 else f"{number},N{number}\n"
        (folder / f"{number:05}.csv").write_text(f"id,name\n{row}")
    bad = count // 100

    first = json.loads(place.run("run", "people", "--format", "json").out)
    second = json.loads(place.run("run", "people", "--format", "json").out)

    assert (first["outcome"], first["counts"]["created"], first["counts"]["invalid"]) == ("partial", count - bad, bad)
    assert (second["counts"]["skipped"], second["counts"]["invalid"]) == (count - bad, bad)
    assert len(json.loads(place.run("rejects", "people", "--format", "json").out)) == bad
    history = place.folder / ".connrunner/runs/people/history.jsonl"
    assert max(map(len, _lines(history))) < 20_000
    log = place.run("log", "people", "1").out
    assert all(f"in/{number:05}.csv" in log for number in range(count))


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()

"""An import that is killed leaves the store as it was, or as it was to become; nothing in between."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from connrunner.core.model import LocalFile
from tests.test_profiles_open import Shelf, counted, import_of

ROWS = 60_000
WORK = import_of("id", "email", "name", "visits")

CHILD = """
import sys
from pathlib import Path
from connrunner.core.model import LocalFile
from tests.test_profiles_crash import WORK
from tests.test_profiles_open import Shelf

folder, rows, run = sys.argv[1:]
shelf = Shelf(Path(folder), runs=int(run))
print("go", flush=True)
path = Path(rows)
file = LocalFile(path=rows, name=path.name, size=path.stat().st_size, modified="1")
with shelf.open(memory_limit="200MB") as store:
    print("open", flush=True)
    shelf.take(WORK, file, store=store)
    print("done", flush=True)
"""


def rows(day: int) -> str:
    """Return people of whom a third changes, a tenth is new and a few are flawed on each later *day*."""
    lines = ["id,email,name,visits"]
    for number in range(ROWS + day * ROWS // 10):
        visits = "x" if number % 997 == 0 else str(number % 90 + (day if number % 3 == 0 else 0))
        lines.append(f"{number},p{number}@x.org,Person {number},{visits}")
    return "\n".join(lines) + "\n"


def state(shelf: Shelf) -> tuple[object, ...]:
    """Return all that the store holds, as a few numbers."""
    return (
        shelf.sql("SELECT count(*), sum(hash(id, email, name, visits)) FROM store.profiles"),
        shelf.sql("SELECT connection, run, counts FROM store.runs ORDER BY run"),
        shelf.sql("SELECT name, rows, len(refused), run FROM store.files ORDER BY name"),
    )


def start(shelf: Shelf, path: Path, run: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(shelf.folder), str(path), str(run)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.long
@pytest.mark.slow
def test_an_import_that_is_killed_at_any_moment(tmp_path: Path) -> None:
    dice = random.Random(7)
    shelf = Shelf(tmp_path / "work")
    shelf.folder.mkdir()
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text(rows(0))
    second.write_text(rows(1))
    with start(shelf, first, 0) as child:
        assert child.wait(timeout=120) == 0
    base = shelf.path.read_bytes()
    before = state(shelf)

    started = time.monotonic()
    with start(shelf, second, 1) as child:
        assert child.stdout is not None
        while child.stdout.readline() != "open\n":
            started = time.monotonic()
        assert child.wait(timeout=120) == 0
    lasts = time.monotonic() - started
    after = state(shelf)
    assert before != after

    seen = set()
    for attempt in range(12):
        for path in shelf.path.parent.iterdir():
            path.unlink()
        shelf.path.write_bytes(base)
        with start(shelf, second, 1) as child:
            assert child.stdout is not None
            while child.stdout.readline() != "open\n":
                pass
            # Most moments lie where the store is written, towards the end.
            time.sleep(lasts * (dice.random() if attempt % 2 else 1 - dice.random() ** 3 / 2))
            os.kill(child.pid, signal.SIGKILL)
        now = state(shelf)
        assert now in (before, after)
        seen.add(now == after)
        file = LocalFile(path=str(second), name=second.name, size=second.stat().st_size, modified="1")
        shelf.runs = 5
        result = shelf.take(WORK, file)
        assert result.counts.read == ROWS + ROWS // 10
        assert bool(result.counts.skipped) == (now == after)
        assert shelf.sql("SELECT count(*), count(DISTINCT id) FROM store.profiles") == shelf.sql(
            f"SELECT {after[0][0][0]}, {after[0][0][0]}"  # type: ignore[index]
        )
    assert False in seen


@pytest.mark.slow
@pytest.mark.thorough
def test_a_store_that_is_open_elsewhere_is_left_alone(tmp_path: Path) -> None:
    """A run of another lane waits for its turn, and both imports are there afterwards."""
    shelf = Shelf(tmp_path)
    path = tmp_path / "first.csv"
    path.write_text(rows(0))
    with start(shelf, path, 0) as child:
        assert child.stdout is not None
        while child.stdout.readline() != "open\n":
            pass
        shelf.runs = 10
        with shelf.open(wait=120) as store:
            assert counted(shelf.take(WORK, "id,email,name,visits\n-1,,Late,1\n", store=store)) == {"created": 1}
        assert child.wait(timeout=120) == 0
    assert len(shelf.sql("SELECT run FROM store.runs")) == 2

"""What an error of the database is taken for: a full disk is no damage, and other files are not the store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from connrunner.errors import RunError
from connrunner.profiles import store_failures
from connrunner.profiles.blocks import find_end_of_blocks
from tests.test_profiles_open import Shelf, shelf  # noqa: F401

STORE = Path("/srv/state/profiles.duckdb")
DETACH = (
    "IO Error: Detached database 'store', but CHECKPOINT during DETACH failed.\nCheckpoint failed for database "
    '"store". The database has been invalidated. Original error: Could not write file "{}": {}'
)
FULL = ["No space left on device", "Disk quota exceeded", "File too large"]
ADVICE = "reset --profiles"


def test_a_store_has_to_reach_to_the_last_block_that_a_table_uses(tmp_path: Path) -> None:
    """Blocks that DuckDB counts and never wrote are not missed: they are free."""
    path = tmp_path / "store.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute('CREATE TABLE "odd ""name" AS SELECT i, repeat(i::TEXT, 20) AS t FROM range(200000) r(i)')
        connection.execute("CREATE TABLE small AS SELECT 1 AS i")
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path}' AS store (READ_ONLY)")
        end = find_end_of_blocks(connection)
    assert 1 << 18 < end <= path.stat().st_size


def test_doctor_and_the_store_know_a_file_that_ends_too_early(
    shelf: Shelf,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with shelf.open() as store:
        store.refuse_short()
        monkeypatch.setattr("connrunner.profiles.blocks.HEADERS", 1 << 30)
        with pytest.raises(RunError, match="is damaged: it is too short"):
            store.refuse_short()


@pytest.mark.parametrize("words", FULL)
@pytest.mark.parametrize("text", [DETACH, 'IO Error: Could not write file "{}": {}'])
def test_what_is_full_is_called_full(text: str, words: str) -> None:
    error = duckdb.IOException(text.format(STORE, words))
    for explained in (store_failures.explain_opening(error, STORE), store_failures.explain_failure(error, STORE)):
        assert explained is not None
        assert (explained.code, "/srv/state" in explained.message, ADVICE in explained.hint) == (
            "disk-full",
            True,
            False,
        )


@pytest.mark.parametrize(
    ("kind", "text", "code"),
    [
        (duckdb.IOException, f'Could not read file "{STORE}": Input/output error', "store-unusable"),
        (duckdb.IOException, DETACH.format(STORE, "Input/output error"), "store-unusable"),
        (duckdb.IOException, "Corrupt database file: computed checksum 1 does not match stored 2", "store-unusable"),
        (duckdb.FatalException, "database has been invalidated because of a previous fatal error", "store-unusable"),
        (duckdb.IOException, 'Could not read file "/in/secret/a.parquet": Input/output error', "operating-system"),
        (duckdb.InvalidInputException, "Corrupt Parquet file: ann@example.com", None),
        (duckdb.BinderException, "a bug", None),
    ],
)
def test_the_words_of_the_store_are_for_the_store(kind: type[duckdb.Error], text: str, code: str | None) -> None:
    explained = store_failures.explain_failure(kind(text), STORE)
    assert (explained and explained.code) == code
    assert explained is None or ADVICE not in explained.hint


@pytest.mark.parametrize(
    ("text", "damaged"),
    [
        (f"The file {STORE} exists, but it is not a valid DuckDB database file!", True),
        ("Corrupt database file: computed checksum 1 does not match stored 2", True),
        (f'Failure while replaying WAL file "{STORE}.wal": Serialization Error', True),
        (f'Could not read enough bytes from file "{STORE}": attempted to read 4096 bytes from location 8192', True),
        (f'Cannot open file "{STORE}": Permission denied', False),
        (f'Could not read WAL file "{STORE}.wal": Input/output error', False),
    ],
)
def test_only_a_damaged_store_is_given_up(text: str, damaged: bool) -> None:
    explained = store_failures.explain_opening(duckdb.IOException(text), STORE)
    assert (explained.code, ADVICE in explained.hint) == ("store-unusable", damaged)


WORDS = [
    # what DuckDB says of the store                                              how it was found, what is said
    (duckdb.IOException, 'Could not read enough bytes from file "{}": 1 of 2',   "opening", "is damaged: it is too short,"),
    (duckdb.IOException, 'Could not read enough bytes from file "{}": 1 of 2',   "failure", "is damaged: it is too short,"),
    (duckdb.IOException, 'The file "{}" exists, but it is not a valid DuckDB',   "opening", "is damaged: it does not begin"),
    (duckdb.Error, "Corrupt database file: computed checksum 1 does not match",  "opening", "is damaged: a checksum in it"),
    (duckdb.IOException, 'Cannot open file "{}": Permission denied',             "opening", "cannot be opened: Permission"),
    (duckdb.IOException, 'Cannot open file "{}": Odd thing',                     "opening", "cannot be opened"),
    (duckdb.IOException, 'Could not read from file "{}": Input/output error',    "failure", "cannot be read or written: Input"),
    (duckdb.IOException, 'Could not read from file "{}": Odd thing',             "failure", "cannot be read or written"),
    (duckdb.FatalException, "database has been invalidated by checksum",         "failure", "cannot be read or written: damaged"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "when", "said"), WORDS)
def test_the_trouble_of_the_store_is_said_once(kind: type[duckdb.Error], text: str, when: str, said: str) -> None:
    explain = {"opening": store_failures.explain_opening, "failure": store_failures.explain_failure}[when]
    explained = explain(kind(text.format(STORE)), STORE)
    assert explained is not None
    assert explained.message.startswith(f"the profile store {STORE} {said}")
    assert explained.message.count("cannot be") <= 1


CHILD = """
import resource, sys
from pathlib import Path
from tests.test_profiles_open import Shelf, import_of

shelf = Shelf(Path(sys.argv[1]))
with shelf.open():
    pass
with shelf.open() as store:
    shelf.take(import_of("id"), "id\\n" + "".join(f"{n}\\n" for n in range(2000)), store=store)
    size = shelf.path.stat().st_size  # it may not grow from here
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
print(shelf.said.messages[-1])
"""


def test_a_checkpoint_that_finds_no_room_loses_nothing(shelf: Shelf) -> None:  # noqa: F811
    done = subprocess.run([sys.executable, "-c", CHILD, str(shelf.folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("('warning', 'all changes are durable in ")
    assert "may not grow any more; the profile store needs about 1 MiB more" in done.stdout
    shelf.runs = 1
    with shelf.open(read_only=True) as store:
        assert store.count() == 2000
    with shelf.open() as store:
        counts = store.read_counts(connection="c", run=1)
        assert counts is not None
        assert counts.created == 2000
    assert not shelf.path.with_name("profiles.duckdb.wal").exists()

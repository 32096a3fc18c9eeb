"""One person leaves the store: found by any identifier, gone from the bytes, and kept out of every later import."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import duckdb
import pytest

from connrunner.core.model import Export, Field, Format, Import, LocalFile
from connrunner.errors import RunError
from connrunner.profiles import tombstones
from connrunner.profiles.erasure import Erasure, ErasureJob
from connrunner.profiles.jobs import ExportJob, RunStamp
from connrunner.profiles.stores.rewriting import erase_person
from tests.test_profiles_open import AT, Shelf, counted, import_of

HEADER = "id,email,name,visits\n"
ANN, BOB, CAS = "1,ann@example.com,Ann Tall,4\n", "2,bob@example.com,Bob,5\n", "3,cas@example.com,Cas,6\n"
WORK = import_of("id", "email", "name", "visits", match=[("id",), ("email",)])
BY_ID = import_of("id", "name", "visits")
KNOWN = {"c": {"id": "id", "email": "email"}}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def erase(shelf: Shelf, value: str, **more: Any) -> Erasure:
    temp = shelf.folder / "state" / "erasing"
    temp.mkdir(exist_ok=True)
    job = ErasureJob(value=value, columns=more.pop("columns", KNOWN), **more)
    return erase_person(
        shelf.path, job, shelf.model, temp=temp, report=shelf.said, wait=0, before=lambda done, inode: None
    )


def export(shelf: Shelf, name: str, **more: Any) -> list[str]:
    """Send the changed profiles, and return the lines of the file without its header."""
    shelf.runs += 1
    work = Export(
        destination={}, fields={"Id": "id", "Email": "email"}, format=Format(), rows="changed", deleted="send", **more
    )
    stamp = RunStamp(connection=name, run=shelf.runs, at=AT)
    path = shelf.folder / f"{name}-{shelf.runs}.csv"
    with shelf.open() as store:
        store.export(ExportJob(work=work, stamp=stamp, path=path))
        store.confirm_export(stamp)
    return path.read_text().splitlines()[1:] if path.exists() else []


def bytes_of(shelf: Shelf) -> bytes:
    return b"".join(path.read_bytes() for path in shelf.path.parent.rglob("*") if path.is_file())


# --- who is found, and what goes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["ann@example.com", " ANN@Example.com", "1"])
def test_a_person_is_gone_from_the_bytes_of_the_store(shelf: Shelf, value: str) -> None:
    shelf.take(WORK, HEADER + ANN + BOB)
    assert export(shelf, "first") == ["1,ann@example.com,false", "2,bob@example.com,false"]
    export(shelf, "second")
    shelf.take(WORK, HEADER + "1,ann@new.example,Ann Tall,4\n")

    done = erase(shelf, value if value == "1" else "ann@new.example")

    assert (done.found, done.profiles, done.sent, done.recipients) == (1, 1, 2, ("first", "second"))
    assert shelf.profiles("id", "email") == [("2", "bob@example.com")]
    for canary in (b"ann@example.com", b"ann@new.example", b"Ann Tall"):
        assert canary not in bytes_of(shelf)
    assert shelf.path.stat().st_mode & 0o777 == 0o600
    # Nobody is told, though partners that knew the person would have been by `deleted: send`.
    assert export(shelf, "first") == export(shelf, "second") == []


def test_a_profile_is_found_by_what_partners_know_it_by(shelf: Shelf) -> None:
    shelf.take(WORK, HEADER + ANN)
    export(shelf, "first")
    shelf.take(WORK, HEADER + "1,ann@new.example,Ann,4\n")
    assert erase(shelf, "ann@example.com").profiles == 1

    # An identifier of earlier that another profile has by now is that one's.
    shelf.take(WORK, HEADER + CAS + BOB)
    export(shelf, "first")
    shelf.take(WORK, HEADER + "3,cas@new.example,Cas,6\n")
    shelf.take(WORK, HEADER + "2,cas@example.com,Bob,5\n")
    erase(shelf, "cas@example.com")
    assert shelf.profiles("id") == [("3",)]


def kept(shelf: Shelf) -> list[str]:
    return [record for (record,) in shelf.sql("SELECT record FROM store.kept ORDER BY number")]


def once(shelf: Shelf, data: str, **more: Any) -> LocalFile:
    return replace(shelf.file(data), once=True, **more)


def test_refused_rows_that_are_kept_go_too(shelf: Shelf) -> None:
    rows = "1,ann@example.com,Ann,many\n7,,Ann,4\n,ann@example.com,Ann,more\n2,bob@example.com,Bob,no\n"
    shelf.take(WORK, once(shelf, HEADER + rows.replace("7,,Ann,4\n", "")))
    assert len(kept(shelf)) == 3

    done = erase(shelf, "ann@example.com")

    assert (done.found, done.profiles, done.kept) == (1, 0, 2), "of whom there are only kept rows"
    assert [("bob@example.com" in record) for record in kept(shelf)] == [True]
    assert b"ann@example.com" not in bytes_of(shelf)
    assert counted(shelf.take(WORK, HEADER + "1,,Ann,4\n")) == {"consent_blocked": 1, "invalid": 1}, "by the other one"


def test_a_number_in_another_column_is_nobody(shelf: Shelf) -> None:
    shelf.take(WORK, HEADER + "4,dee@example.com,Dee,1\n")
    shelf.take(WORK, once(shelf, HEADER + "9,eve@example.com,4,no\n4,,Dee,no\n"))
    assert erase(shelf, "4").kept == 1
    assert "eve@example.com" in kept(shelf)[0]


@pytest.mark.parametrize("value", ["ann@example.com", "ann-17"])
def test_rows_that_could_not_be_read_or_whose_import_is_gone(shelf: Shelf, value: str) -> None:
    lines = '{"id": "ann-17", "email": "ann@example.com", \n{"id": "ann-178", "email": "joann@example.com", \n'
    work = replace(WORK, format=Format(type="jsonl"))
    shelf.take(work, once(shelf, lines))
    shelf.take(
        WORK, once(shelf, HEADER + "ann-17,ann@example.com,Ann,no\nbob,bob@example.com,Bob,no\n"), connection="x"
    )
    done = erase(shelf, value)
    assert done.kept == 2
    assert len(kept(shelf)) == 2
    assert not any('"ann-17"' in record for record in kept(shelf))


def test_a_row_of_two_people_blocks_only_one_of_them(shelf: Shelf) -> None:
    shelf.take(WORK, HEADER + ANN + BOB)
    shelf.take(WORK, once(shelf, HEADER + "1,bob@example.com,Both,9\n"))
    assert erase(shelf, "1").kept == 1
    assert counted(shelf.take(WORK, HEADER + "2,bob@example.com,Bob,6\n")) == {"updated": 1}


# --- in whatever spelling -------------------------------------------------------------------------------------------

UMLAUT = ("ann@b\u00fccher.example", "ann@xn--bcher-kva.example", "ann@bu\u0308cher.example", "Ann@B\u00dcCHER.example")


@pytest.mark.parametrize(
    "asked", [UMLAUT[1], *(pytest.param(other, marks=pytest.mark.thorough) for other in (UMLAUT[0], *UMLAUT[2:]))]
)
def test_a_person_is_erased_in_every_spelling(shelf: Shelf, asked: str) -> None:
    shelf.take(WORK, HEADER + f"1,{UMLAUT[0]},Ann,4\n" + BOB)
    shelf.take(WORK, once(shelf, HEADER + f"11,{UMLAUT[2]},Ann,no\n20,ann@other.example,Ann,no\n"))
    lines = "".join(f'{{"email": {word}\n' for address in UMLAUT for word in (f'"{address}"', json.dumps(address)))
    shelf.take(replace(WORK, format=Format(type="jsonl")), once(shelf, lines), connection="lines")
    shelf.take(WORK, once(shelf, HEADER + f"21,{UMLAUT[1]},Ann,no\n"), connection="gone")

    done = erase(shelf, asked)

    assert (done.found, done.profiles, done.kept) == (1, 1, 10)
    assert ["ann@other.example" in record for record in kept(shelf)] == [True]
    for address in UMLAUT:
        assert address.encode() not in bytes_of(shelf)
        assert json.dumps(address)[1:-1].encode() not in bytes_of(shelf)
        assert counted(shelf.take(WORK, HEADER + f"99,{address},Ann,4\n"))["consent_blocked"] == 1
    assert erase(shelf, asked, forget=True).forgotten


@pytest.mark.thorough
@pytest.mark.parametrize("asked", UMLAUT)
def test_of_whom_only_refused_rows_exist_in_another_spelling(shelf: Shelf, asked: str) -> None:
    shelf.take(WORK, once(shelf, HEADER + f"7,{UMLAUT[1]},Ann,no\n"))
    assert erase(shelf, asked).kept == 1
    assert counted(shelf.take(WORK, HEADER + f"7,,Ann,4\n99,{UMLAUT[1]},Ann,4\n")) == {"consent_blocked": 2}


@pytest.mark.thorough
@pytest.mark.parametrize("asked", [UMLAUT[0], UMLAUT[1], "1", "1\u00a0"])
def test_a_person_in_a_store_that_spells_as_older_versions_did(shelf: Shelf, asked: str) -> None:
    """An erasure is the first that happens to it: nothing has respelt what is stored."""
    shelf.take(WORK, HEADER + "1,ann@example.com,Ann,4\n" + BOB)
    export(shelf, "first")
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{shelf.path}' AS store; DELETE FROM store.about WHERE key = 'spelling'")
        connection.execute("UPDATE store.profiles SET id = '1' || chr(160), email = ? WHERE _id = 1", [UMLAUT[1]])
        connection.execute(
            "UPDATE store.sent SET identifiers = replace(identifiers, 'ann@example.com', ?)", [UMLAUT[1]]
        )
    assert erase(shelf, asked).found == 1
    for row in (f"99,{UMLAUT[0]},Ann,4\n", f"99,{UMLAUT[1]},Ann,4\n", "1,,Ann,4\n"):
        assert counted(shelf.take(WORK, HEADER + row)) == {"consent_blocked": 1}
    assert erase(shelf, asked, forget=True).forgotten == 2


@pytest.mark.parametrize("asked", UMLAUT[:2])
def test_two_profiles_of_one_person_go_together(shelf: Shelf, asked: str) -> None:
    """Respelling leaves both where they would get one identifier, and no value would find the older one."""
    shelf.take(WORK, HEADER + f"1,ann@example.com,Ann,4\n2,{UMLAUT[0]},Ann,4\n" + CAS)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{shelf.path}' AS store; DELETE FROM store.about WHERE key = 'spelling'")
        connection.execute("UPDATE store.profiles SET email = ? WHERE _id = 1", [UMLAUT[1]])
    with shelf.open():
        pass
    assert erase(shelf, asked).profiles == 2
    assert shelf.profiles("id") == [("3",)]
    assert counted(shelf.take(WORK, HEADER + "1,,A,4\n2,,A,4\n" + f"9,{asked},A,4\n")) == {"consent_blocked": 3}


# --- nobody comes back -----------------------------------------------------------------------------------------------


def test_no_import_brings_an_erased_person_back(shelf: Shelf) -> None:
    first = shelf.file(HEADER + ANN + BOB)
    shelf.take(WORK, first)
    erase(shelf, "1")

    for work, text, counts in (
        (WORK, HEADER + "1,,Ann,4\n" + BOB, {"unchanged": 1, "consent_blocked": 1}),
        (WORK, HEADER + "99,Ann@Example.com ,Ann,4\n", {"consent_blocked": 1}),
        (WORK, HEADER + "1,ann@example.com,Ann,many\n", {"consent_blocked": 1}),
        (WORK, HEADER + "1,x@example.com,A,4\n,ann@example.com,A,5\n", {"consent_blocked": 2}),
        (BY_ID, "id,name,visits\n1,Ann,4\n3,Cas,6\n", {"created": 1, "consent_blocked": 1}),
    ):
        assert counted(shelf.take(work, text)) == counts
        told = [row for row in shelf.told() if row["code"] == "erased"]
        assert len(told) == counts["consent_blocked"]
        assert {(row["stage"], row["key"], row["value"], row["field"]) for row in told} == {
            ("consent", None, None, None)
        }
    with shelf.open() as store:
        store.forget_connection("c")
    assert counted(shelf.take(WORK, first)) == {"unchanged": 1, "consent_blocked": 1}
    assert shelf.profiles("id") == [("2",), ("3",)]
    assert b"ann@example.com" not in bytes_of(shelf)


def test_an_erased_row_is_nobodys_duplicate_and_takes_nobodys_place(shelf: Shelf) -> None:
    shelf.take(WORK, HEADER + ANN + BOB)
    erase(shelf, "1")
    # Joined by its address with Bob's row, it would win over it or make both ambiguous.
    assert counted(shelf.take(WORK, HEADER + "2,bob@example.com,Robert,5\n1,bob@example.com,Ann,1\n")) == {
        "updated": 1,
        "consent_blocked": 1,
    }
    assert shelf.profiles("name") == [("Robert",)]


def test_rows_that_come_once_are_not_kept_of_an_erased_person(shelf: Shelf) -> None:
    shelf.take(WORK, HEADER + ANN + BOB)
    erase(shelf, "1")
    shelf.take(WORK, once(shelf, HEADER + "1,ann@example.com,Ann,many\n2,bob@example.com,Bob,many\n"))
    assert len(kept(shelf)) == 1
    assert b"ann@example.com" not in bytes_of(shelf)


@pytest.mark.parametrize(
    ("form", "text", "line"),
    [
        ("csv", "id,name\n \n2,Bob\n \n \n3,Cas\n1,Ann\n", 7),
        ("csv", "id,name\n ,\n2,Bob\n,\n ,\n3,Cas\n1,Ann\n", 7),
        ("csv", "id\n \n2\n \n \n3\n1\n", 7),
        ("jsonl", ' \n{"id": "2"}\n \n \n{"id": "3"}\n{"id": "1"}\n', 6),
    ],
)
def test_lines_without_a_record_stand_in_nobodys_way(
    shelf: Shelf, form: Literal["csv", "jsonl"], text: str, line: int
) -> None:
    shelf.take(WORK, HEADER + ANN)
    erase(shelf, "1")
    work = replace(import_of(*(("id", "name") if "name" in text else ("id",))), format=Format(type=form))
    assert counted(shelf.take(work, text)) == {"created": 2, "consent_blocked": 1}
    assert [row["line"] for row in shelf.told()] == [line]


def test_many_rows_keep_their_order_and_lines(shelf: Shelf) -> None:
    shelf.take(WORK, HEADER + "7777,x@example.com,X,1\n")
    erase(shelf, "7777")
    lines = [f"{number},,P{number},{number % 7 or 'no'}" for number in range(20_000)]
    counts = counted(shelf.take(WORK, HEADER + "\n".join(lines) + "\n"))
    refused = len(range(0, 20_000, 7)) - 1  # 7777 is one of them
    assert counts == {"created": 20_000 - refused - 1, "invalid": refused, "consent_blocked": 1}
    told = shelf.told()
    assert [row["line"] for row in told if row["code"] == "erased"] == [7779]
    assert all(int(row["key"][3:]) == row["line"] - 2 for row in told if row["code"] != "erased")


@pytest.mark.parametrize("still_there", [True, False])
def test_forgetting_an_erasure_lets_the_person_come_back_and_nobody_else(shelf: Shelf, still_there: bool) -> None:
    shelf.take(WORK, HEADER + ANN + BOB)
    erase(shelf, "2")
    if not still_there:
        erase(shelf, "1")
    done = erase(shelf, "ann@example.com", forget=True)
    assert (done.found, done.profiles, done.forgotten) == ((1, 1, 0) if still_there else (1, 0, 2))
    assert shelf.profiles("id") == []
    assert counted(shelf.take(BY_ID, "id,name,visits\n1,Ann,4\n2,Bob,5\n")) == {"created": 1, "consent_blocked": 1}


def test_a_tombstone_tells_nobody_who_it_was(shelf: Shelf) -> None:
    shelf.take(WORK, HEADER + ANN)
    erase(shelf, "1")
    key = tombstones.find_key(shelf.path)
    assert key.stat().st_mode & 0o777 == 0o600
    found = dict(shelf.sql("SELECT property, digest FROM store.erased"))
    for name, text in {"id": "1", "email": "ann@example.com"}.items():
        assert found[name] == hmac.new(key.read_bytes(), f"{name}\0{text}".encode(), hashlib.sha256).hexdigest()


@pytest.mark.thorough
@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(os.urandom(32)), Path.touch])
def test_without_its_key_nothing_is_imported(shelf: Shelf, spoil: Callable[[Path], object]) -> None:
    shelf.take(WORK, HEADER + ANN + BOB)
    erase(shelf, "1")
    key = tombstones.find_key(shelf.path)
    before = key.read_bytes()
    if spoil is Path.touch:
        key.write_bytes(b"short")
    else:
        spoil(key)
    with pytest.raises(RunError) as refused:
        shelf.take(WORK, HEADER + ANN + CAS)
    assert refused.value.code == "erasure-key"
    with pytest.raises(RunError):
        erase(shelf, "2")
    key.write_bytes(before)
    assert counted(shelf.take(WORK, HEADER + ANN + CAS)) == {"created": 1, "consent_blocked": 1}


def test_a_dry_run_says_the_same_and_changes_nothing(shelf: Shelf) -> None:
    shelf.take(WORK, HEADER + ANN + BOB)
    export(shelf, "first")
    before = bytes_of(shelf)
    dry = erase(shelf, "1", dry_run=True)
    assert bytes_of(shelf) == before
    assert erase(shelf, "1") == dry


def test_a_second_time_nobody_is_found(shelf: Shelf) -> None:
    shelf.take(WORK, HEADER + ANN + BOB)
    assert erase(shelf, "nobody").found == 0
    erase(shelf, "1")
    again = erase(shelf, "1")
    assert (again.found, again.erased_before) == (0, True)


def test_a_store_of_an_earlier_version_without_tombstones(shelf: Shelf) -> None:
    shelf.take(WORK, HEADER + ANN + BOB)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{shelf.path}' AS store")
        connection.execute("DROP TABLE store.erased")
    assert erase(shelf, "1").profiles == 1
    assert shelf.sql("SELECT value FROM store.about WHERE key = 'format'") == [("3",)], "older ones leave it alone"
    erase(shelf, "1", forget=True)
    assert shelf.sql("SELECT value FROM store.about WHERE key = 'format'") == [("2",)]


def test_a_log_that_a_killed_import_left_goes_too(shelf: Shelf) -> None:
    shelf.take(WORK, HEADER + ANN)
    program = (
        "import duckdb, os, sys; c = duckdb.connect(); c.execute(f\"ATTACH '{sys.argv[1]}' AS store\");"
        "c.execute(\"UPDATE store.profiles SET name = 'Ann Canary'\"); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", program, str(shelf.path)], check=False)
    log = shelf.path.with_name("profiles.duckdb.wal")
    assert log.exists()
    erase(shelf, "1")
    assert not log.exists()
    assert b"Canary" not in bytes_of(shelf)
    assert shelf.profiles("id") == []


def test_a_new_store_does_not_know_who_was_erased_and_says_so(shelf: Shelf) -> None:
    shelf.take(WORK, HEADER + ANN + BOB)
    erase(shelf, "1")
    shelf.said.messages.clear()
    shelf.take(WORK, HEADER + CAS)
    assert not [text for level, text in shelf.said.messages if level == "warning"]
    shelf.path.unlink()
    shelf.take(WORK, HEADER + CAS)
    (warning,) = [text for level, text in shelf.said.messages if level == "warning"]
    assert "people were erased from an earlier profile store" in warning


def test_a_store_behind_a_link_is_not_half_erased(shelf: Shelf) -> None:
    shelf.take(WORK, HEADER + ANN)
    shelf.path.rename(shelf.folder / "elsewhere")
    shelf.path.symlink_to(shelf.folder / "elsewhere")
    with pytest.raises(RunError) as refused:
        erase(shelf, "1")
    assert refused.value.code == "store-path"
    assert shelf.profiles("id") == [("1",)]


def mapped() -> Import:
    return import_of(Field(property="id", column="Nr"), Field(property="email", column="Mail"))


def test_columns_with_other_names(shelf: Shelf) -> None:
    shelf.take(mapped(), once(shelf, "Nr,Mail\n,ann@example.com\n5,wrong\n"))
    assert erase(shelf, "5", columns={"c": {"id": "Nr", "email": "Mail"}}).kept == 1

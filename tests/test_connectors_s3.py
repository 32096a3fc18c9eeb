"""The s3 connector against a real server of its language, and against one that fails in the ways that servers do."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import os
import signal
import ssl
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from connrunner.connectors import FetchResult, Known, RunContext, SendResult, matching, s3
from connrunner.connectors.s3 import bucket as s3_bucket
from connrunner.connectors.s3 import role as s3_role
from connrunner.core import instant
from connrunner.core.model import Format
from connrunner.errors import RunError
from tests.servers.s3 import (
    KEYS,
    Faulty,
    Handler,
    checking_keys,
    cut,
    empty,
    gives,
    late,
    lose,
    says,
    sleep,
    stall,
    then,
    there,
    well,
)

if TYPE_CHECKING:
    from moto.s3.models import S3Backend

pytestmark = pytest.mark.thorough  # `make test` brings rows there and back in the conformance suite

AT = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
UNKNOWN: Known = lambda _name, _size, _stamp: False  # noqa: E731


class Log:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str, *, level: str = "info", **facts: Any) -> None:
        self.texts.append(text if level == "info" else f"{level}: {text}")

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...


@pytest.fixture
def faulty(s3_server: Faulty) -> Faulty:
    return s3_server


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's own AWS settings, and no waiting."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(s3_bucket, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(s3_bucket, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(s3_bucket, "RETRIES", 2)
    monkeypatch.setattr(s3_role, "PAUSE", 0.01)


@pytest.fixture
def objects(faulty: Faulty) -> S3Backend:
    """An empty bucket `drop`, on the server's side of the wire."""
    faulty.forget()
    return empty()


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def context(tmp_path: Path, log: Log) -> RunContext:
    (tmp_path / "spool").mkdir()
    return RunContext(
        connection="crm",
        run=7,
        at=AT,
        workspace=tmp_path,
        spool=tmp_path / "spool",
        programs=tmp_path / "programs",
        report=log,
    )


def settings(faulty: Faulty, path: str, **more: Any) -> dict[str, Any]:
    return {"type": "s3", "bucket": "drop", "path": path, "endpoint_url": faulty.url, **KEYS, **more}


def fetch(faulty: Faulty, context: RunContext, path: str, *, known: Known = UNKNOWN, **more: Any) -> FetchResult:
    return s3.fetch(settings(faulty, path, **more), context, known=known, mark=None)


def fails(faulty: Faulty, context: RunContext, path: str, **more: Any) -> RunError:
    with pytest.raises(RunError) as caught:
        fetch(faulty, context, path, **more)
    assert KEYS["secret_access_key"] not in str(caught.value)
    return caught.value


def deliver(faulty: Faulty, context: RunContext, path: str, content: bytes, **more: Any) -> SendResult:
    local = context.spool / "rows.csv"
    local.write_bytes(content)
    return s3.deliver(settings(faulty, path, **more), context, local)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


# --- import ------------------------------------------------------------------------------------------------------


def test_objects_come_in_the_order_of_their_keys(
    objects: S3Backend, faulty: Faulty, context: RunContext, log: Log
) -> None:
    for day, content in (("22", b"id\n2\n"), ("21", gzip.compress(b"id\n1\n")), ("23", b"id\n3\n")):
        objects.put_object("drop", f"daily/members-{day}.csv.gz", content)
    objects.put_object("drop", "daily/others.csv", b"id\n4\n")
    fetched = fetch(faulty, context, "daily/members-*.csv.gz")
    assert [file.name for file in fetched.files] == [f"s3://drop/daily/members-{day}.csv.gz" for day in (21, 22, 23)]
    for file in fetched.files:
        content = there(objects)[file.name.removeprefix("s3://drop/")]
        assert Path(file.path).read_bytes() == content
        assert Path(file.path).parent == context.spool
        assert file.path.endswith(".csv.gz")
        assert (file.size, file.modified, file.once) == (len(content), md5(content), False)
    assert fetched.mark is None
    assert log.texts[1] == "fetched s3://drop/daily/members-22.csv.gz (5 bytes)"
    s3.settle(settings(faulty, "daily/members-*.csv.gz"), context, fetched)
    assert len(there(objects)) == 4


FOUND: list[tuple[str, list[str]]] = [
    ("people.csv", ["people.csv"]),
    ("*.csv", ["people.csv"]),
    ("in/members-*", ["in/members-1.csv", "in/members-2.csv"]),
    ("in/members-[2-9].csv", ["in/members-2.csv"]),
    ("in/members-?.csv", ["in/members-1.csv", "in/members-2.csv"]),
    ("in/odd[1].csv", ["in/odd[1].csv"]),  # an object that is called exactly so
    ("in/*/members-*.csv", ["in/2025/members-0.csv"]),
    ("*/2025/members-*.csv", ["in/2025/members-0.csv"]),
    ("in/**/members-*.csv", ["in/2025/deep/members-x.csv", "in/2025/members-0.csv", "in/members-1.csv", "in/members-2.csv"]),
    ("in/**/**/members-[0x].csv", ["in/2025/deep/members-x.csv", "in/2025/members-0.csv"]),
    ("in/2025/**", ["in/2025/deep/members-x.csv", "in/2025/members-0.csv"]),
    ("**/people.csv", ["people.csv"]),
    ("in/.members*", ["in/.members-hidden.csv"]),  # asked for
]  # fmt: skip


@pytest.mark.parametrize(("path", "found"), FOUND)
def test_what_a_path_finds(
    path: str, found: list[str], objects: S3Backend, faulty: Faulty, context: RunContext, log: Log
) -> None:
    for key in (
        "people.csv",
        "in/members-1.csv",
        "in/members-2.csv",
        "in/.members-hidden.csv",
        "in/odd[1].csv",
        "in/2025/members-0.csv",
        "in/2025/deep/members-x.csv",
        "in/.trash/members-gone.csv",
        "inner/members-3.csv",
    ):
        objects.put_object("drop", key, b"id\n")
    objects.put_object("drop", "in/", b"")  # folders that somebody made by hand
    objects.put_object("drop", "in/2025/deeper/", b"")
    fetched = fetch(faulty, context, path)
    assert [file.name.removeprefix("s3://drop/") for file in fetched.files] == found
    assert not [text for text in log.texts if text.startswith("warning")]


def test_a_key_with_a_slash_in_front(objects: S3Backend, faulty: Faulty, context: RunContext) -> None:
    """obstore gives it without the slash."""
    objects.put_object("drop", "/1.csv", b"with")
    objects.put_object("drop", "1.csv", b"without")
    assert fails(faulty, context, "*/1.csv").code == "no-files"
    (file,) = fetch(faulty, context, "**/*.csv").files
    assert (file.name, Path(file.path).read_bytes()) == ("s3://drop/1.csv", b"without")
    objects.delete_object("drop", "1.csv")
    assert fails(faulty, context, "**/*.csv").code == "no-files"


@pytest.mark.parametrize(
    ("key", "fits"),
    [("a/b/c", True), ("a/c", True), ("c", False), ("a/b", False), ("a/.b/c", False), (f"a{'/b' * 500}", False)],
)
def test_no_key_makes_a_pattern_slow(key: str, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each name is compared with each part once at most."""
    names = key.split("/")
    parts = ("a/**/**/**/b*/**/**/**/c" if key.count("/") > 9 else "a/**/**/c").split("/")
    compared: list[tuple[str, str]] = []

    def noted(name: str, part: str) -> bool:
        compared.append((name, part))
        return fits_part(name, part)

    monkeypatch.setattr(s3, "_fits_part", noted)
    assert s3._fits(names, parts) is fits
    assert 0 < len(compared) <= len(names) * len(parts)


fits_part = s3._fits_part


@pytest.mark.slow
@pytest.mark.thorough
def test_a_listing_of_several_pages(objects: S3Backend, faulty: Faulty, context: RunContext) -> None:
    for number in range(1, 2_002):
        objects.put_object("drop", f"in/{number:05}.csv", b"")
    all_known: Known = lambda _name, _size, _stamp: True  # noqa: E731
    assert len(fetch(faulty, context, "in/*.csv", known=all_known).files) == 2_001
    assert len(fetch(faulty, context, "**/*.csv", known=all_known).files) == 2_001
    assert len(faulty.asked) == 6


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("pattern", ["in/*.csv", "in/**"])
def test_a_store_that_lists_without_end(
    pattern: str, odd: bool, objects: S3Backend, faulty: Faulty, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        objects.put_object("drop", f"in/{number}.csv", b"id\n")
    if odd:  # which is listed in another way
        objects.put_object("drop", "in//x.csv", b"id\n")
    monkeypatch.setattr(matching, "MOST_NAMES", 3)
    error = fails(faulty, context, pattern)
    assert (error.code, str(error).partition(";")[0]) == ("too-large", "s3://drop/in/ lists more than 3 names")
    if pattern == "in/*.csv":  # obstore gives nothing before the end, so what has none is left after a time
        monkeypatch.setattr(s3_bucket, "LISTING", 0)
        assert "does not end" in str(fails(faulty, context, pattern))


def test_what_is_known_stays_where_it_is(objects: S3Backend, faulty: Faulty, context: RunContext) -> None:
    objects.put_object("drop", "in/1.csv", b"old")
    objects.put_object("drop", "in/2.csv", b"new")
    seen = []

    def known(name: str, size: int, stamp: str) -> bool:
        seen.append((name, size, stamp))
        return name.endswith("1.csv")

    first, second = fetch(faulty, context, "in/*.csv", known=known).files
    assert seen == [("s3://drop/in/1.csv", 3, md5(b"old")), ("s3://drop/in/2.csv", 3, md5(b"new"))]
    assert (first.path, first.name, first.size, first.modified) == ("", *seen[0])
    assert Path(second.path).read_bytes() == b"new"
    assert [path for method, path in faulty.asked if "list-type" not in path] == ["/drop/in/2.csv"]
    faulty.forget()
    assert fetch(faulty, context, "in/1.csv", known=known).files == (first,)
    assert faulty.asked == [("HEAD", "/drop/in/1.csv")]


def test_an_empty_object(objects: S3Backend, faulty: Faulty, context: RunContext) -> None:
    objects.put_object("drop", "in/empty.csv", b"")
    objects.put_object("drop", "in/", b"")  # a folder that somebody made by hand
    (file,) = fetch(faulty, context, "in/*").files
    assert (file.size, Path(file.path).read_bytes()) == (0, b"")
    assert ("GET", "/drop/in") not in faulty.asked


@pytest.mark.parametrize("name", ["a b.csv", "a+b#?&=.csv", "€/ü.csv", "p%2Fq.csv", "q'\".csv", "<b>.csv", "back\\slash.csv", "$(rm).csv"])  # fmt: skip
def test_odd_names(name: str, objects: S3Backend, faulty: Faulty, context: RunContext) -> None:
    objects.put_object("drop", f"in/{name}", name.encode())
    more: dict[str, Any] = {"after": "move", "move_to": "done"}
    fetched = fetch(faulty, context, "in/**", **more)
    assert [file.name for file in fetched.files] == [f"s3://drop/in/{name}"]
    assert Path(fetched.files[0].path).read_bytes() == name.encode()
    assert [path.name for path in context.spool.iterdir()] == ["000000.csv"]
    s3.settle(settings(faulty, "in/**", **more), context, fetched)
    assert there(objects) == {f"done/{name}": name.encode()}
    deliver(faulty, context, f"out/{name}", b"rows")
    assert there(objects)[f"out/{name}"] == b"rows"


@pytest.mark.parametrize("key", ["in//x.csv", "in/../x.csv", "in/./x.csv", "in/a\nb.csv", "in/\x1b[31m.csv"])
def test_names_that_cannot_be_taken(key: str, objects: S3Backend, faulty: Faulty, context: RunContext) -> None:
    objects.put_object("drop", key, b"id\n")
    error = fails(faulty, context, "in/*.csv")
    assert error.code == "bad-name"
    assert str(error).startswith("cannot list s3://drop/in/: an object has the name ")
    assert str(error).isprintable()


@pytest.mark.parametrize("pattern", ["in/*.csv", "in/**", "*/*.csv"])
def test_an_odd_name_blocks_no_other_object(
    pattern: str, objects: S3Backend, faulty: Faulty, context: RunContext, log: Log
) -> None:
    sound = ["in/a b+é%20.csv", "in/a.csv", "in/z/y.csv"]
    for key in [*sound, "in//b.csv", "in/../c.csv", "in/d\ne.csv", "other/f.csv"]:
        objects.put_object("drop", key, key.encode())
    found = {file.name.removeprefix("s3://drop/"): file for file in fetch(faulty, context, pattern).files}
    expected = [key for key in sound if pattern == "in/**" or key.count("/") == 1]
    assert sorted(found) == sorted([*expected, *(["other/f.csv"] if pattern == "*/*.csv" else [])])
    assert all(Path(file.path).read_bytes().decode() == key for key, file in found.items())
    told = "\n".join(text for text in log.texts if "left out" in text)
    assert 'no name that can be taken: "in//' in told
    assert "in/d\\ne.csv" in told


PATHS = [
    ("/in/x.csv", "begins with a slash"),
    ("s3://drop/in/x.csv", "begins with s3://"),
    ("in//x.csv", "has an empty part"),
    ("in/../x.csv", "has an empty part, or . or .. as one"),
    ("in/", "has an empty part"),
    ("in/\x07.csv", "has a control character"),
    ("x" * 1025, "is longer than 1024 bytes"),
]


@pytest.mark.parametrize(("path", "why"), PATHS)
def test_paths_that_name_nothing(path: str, why: str, faulty: Faulty, context: RunContext) -> None:
    assert why in str(fails(faulty, context, path))
    with pytest.raises(RunError, match=why.replace(".", "\\.")):
        s3.target(settings(faulty, path), context)


def test_nothing_there(objects: S3Backend, faulty: Faulty, context: RunContext) -> None:
    assert str(fails(faulty, context, "in/*.csv")) == (
        "no object s3://drop/in/*.csv; nothing can be seen in s3://drop/in/; correct `path`"
    )
    objects.put_object("drop", "in/members-1.csv", b"id\n")
    objects.put_object("drop", "in/old/members-0.csv", b"id\n")
    error = fails(faulty, context, "in/member-1.csv")
    assert str(error) == "no object s3://drop/in/member-1.csv; near it: members-1.csv"
    assert (error.code, error.waiting_helps) == ("no-files", True)
    error = fails(faulty, context, "in/*.parquet")
    assert str(error).endswith("s3://drop/in/ has 2 others, like members-1.csv, old/")


def test_no_bucket(objects: S3Backend, faulty: Faulty, context: RunContext) -> None:
    for path in ("in/*.csv", "in/**/*.csv", "in/1.csv"):
        error = fails(faulty, context, path, bucket="dorp")
        assert error.code == "no-bucket"
        assert f"there is no bucket 'dorp' at 127.0.0.1:{faulty.server_port}; correct `bucket`, or make it" in str(
            error
        )
    with pytest.raises(RunError, match=r"cannot write s3://dorp/x\.csv: there is no bucket 'dorp'"):
        s3.target(settings(faulty, "x.csv", bucket="dorp"), context)
    with pytest.raises(RunError, match="there is no bucket 'dorp'"):
        deliver(faulty, context, "x.csv", b"rows", bucket="dorp")


# --- after an import ---------------------------------------------------------------------------------------------


def test_delete_what_was_imported(objects: S3Backend, faulty: Faulty, context: RunContext, log: Log) -> None:
    for key in ("in/1.csv", "in/2.csv", "in/3.csv", "in/4.csv"):
        objects.put_object("drop", key, b"id\n")
    known: Known = lambda name, _size, _stamp: name.endswith("1.csv")  # noqa: E731  # a run before got no further
    fetched = fetch(faulty, context, "in/*.csv", known=known, after="delete")
    objects.put_object("drop", "in/2.csv", b"id\nnewer\n")
    objects.delete_object("drop", "in/3.csv")
    log.texts.clear()
    s3.settle(settings(faulty, "in/*.csv", after="delete"), context, fetched)
    assert there(objects) == {"in/2.csv": b"id\nnewer\n"}
    assert faulty.asked[-1] == ("DELETE", "/drop/in/4.csv"), "not all compatible stores delete several at once"
    assert log.texts == [
        "deleted s3://drop/in/1.csv",
        "warning: s3://drop/in/2.csv was overwritten since it was read; it stays",
        "s3://drop/in/3.csv is gone already",
        "deleted s3://drop/in/4.csv",
    ]


def test_move_what_was_imported(objects: S3Backend, faulty: Faulty, context: RunContext, log: Log) -> None:
    for key in ("in/1.csv.gz", "in/a/1.csv.gz", "in/a/2.csv.gz", "in/done/0.csv.gz"):
        objects.put_object("drop", key, key.encode())
    objects.put_object("drop", "in/done/a/1.csv.gz", b"of last week")
    objects.put_object("drop", "in/done/a/2.csv.gz", b"in/a/2.csv.gz")  # copied by a run that then died
    more: dict[str, Any] = {"after": "move", "move_to": "in/done/"}
    fetched = fetch(faulty, context, "in/**/*.csv.gz", **more)
    assert [file.name for file in fetched.files] == [f"s3://drop/in/{name}.csv.gz" for name in ("1", "a/1", "a/2")]
    s3.settle(settings(faulty, "in/**/*.csv.gz", **more), context, fetched)
    assert there(objects) == {
        "in/done/0.csv.gz": b"in/done/0.csv.gz",
        "in/done/1.csv.gz": b"in/1.csv.gz",
        "in/done/a/1.csv.gz": b"of last week",
        "in/done/a/1-7.csv.gz": b"in/a/1.csv.gz",
        "in/done/a/2.csv.gz": b"in/a/2.csv.gz",
    }
    assert log.texts[-2] == "moved s3://drop/in/a/1.csv.gz to s3://drop/in/done/a/1-7.csv.gz"


def test_a_copy_that_did_not_arrive_loses_nothing(objects: S3Backend, faulty: Faulty, context: RunContext) -> None:
    objects.put_object("drop", "in/1.csv", b"id\n")
    more: dict[str, Any] = {"after": "move", "move_to": "done"}
    fetched = fetch(faulty, context, "in/1.csv", **more)
    faulty.faults = [well, well, well, says(200, "")]  # look, look there (HEAD and GET), copy
    with pytest.raises(RunError, match="did not arrive whole"):
        s3.settle(settings(faulty, "in/1.csv", **more), context, fetched)
    assert there(objects) == {"in/1.csv": b"id\n"}


def test_moves_that_cannot_be(
    objects: S3Backend, faulty: Faulty, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.put_object("drop", "in/1.csv", b"123456")
    error = fails(faulty, context, "in/*.csv", after="move", move_to="in")
    assert "`path` takes objects from s3://drop/in/, and `move_to` moves them there" in str(error)
    monkeypatch.setattr(s3_bucket, "ONE_PIECE", 5)
    error = fails(faulty, context, "in/*.csv", after="move", move_to="done")
    assert "s3://drop/in/1.csv has 6 bytes, and S3 moves at most 5; set `after: leave`" in str(error)
    assert [method for method, _ in faulty.asked] == ["GET", "GET"], "listed, and not read"


# --- a server and a network that fail ----------------------------------------------------------------------------


def test_it_is_busy_and_recovers(objects: S3Backend, faulty: Faulty, context: RunContext) -> None:
    objects.put_object("drop", "in/1.csv", b"id\n")
    faulty.faults = [says(503, "SlowDown"), says(500, "InternalError"), well, says(429), says(503)]
    (file,) = fetch(faulty, context, "in/*.csv").files
    assert Path(file.path).read_bytes() == b"id\n"
    assert len(faulty.asked) == 6
    faulty.faults = [says(503, "SlowDown"), says(503)]
    deliver(faulty, context, "out.csv", b"rows")
    assert there(objects)["out.csv"] == b"rows"


def test_it_stays_busy(objects: S3Backend, faulty: Faulty, context: RunContext) -> None:
    faulty.faults = [says(503, "SlowDown")] * 9
    error = fails(faulty, context, "in/*.csv")
    assert (error.code, error.waiting_helps) == ("server-error", True)
    assert str(error) == (
        f"cannot list s3://drop/in/: 127.0.0.1:{faulty.server_port} cannot answer now: 503 said by the server (3 tries); "
        "try again later, and less at a time"
    )
    with pytest.raises(RunError, match=r"cannot write s3://drop/x\.csv: .* cannot answer now"):
        deliver(faulty, context, "x.csv", b"rows")
    assert there(objects) == {}


@pytest.mark.thorough
@pytest.mark.slow
def test_the_line_breaks_in_the_middle(
    objects: S3Backend, faulty: Faulty, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(3_000_000)
    objects.put_object("drop", "in/1.bin", content)
    faulty.faults = [well, cut, cut]
    (file,) = fetch(faulty, context, "in/*").files
    assert Path(file.path).read_bytes() == content
    ranges = [headers.get("range") for headers in faulty.headers[1:]]
    assert ranges == [None, "bytes=1500000-2999999", "bytes=2250000-2999999"], "it went on where it was cut"

    faulty.faults = [well, cut, cut, cut]
    error = fails(faulty, context, "in/*")
    assert (error.code, error.waiting_helps) == ("unreachable", True)
    assert "cannot read s3://drop/in/1.bin" in str(error)

    monkeypatch.setattr(s3_bucket, "READ", 0.5)
    faulty.faults = [well, stall]
    (file,) = fetch(faulty, context, "in/*").files
    assert Path(file.path).read_bytes() == content
    faulty.faults = [well, stall, stall, stall]
    error = fails(faulty, context, "in/*")
    assert (error.code, error.waiting_helps) == ("unreachable", True)
    assert f"127.0.0.1:{faulty.server_port}: it gave no answer in time" in str(error)


def test_overwritten_while_it_is_read(objects: S3Backend, faulty: Faulty, context: RunContext, log: Log) -> None:
    objects.put_object("drop", "in/1.csv", b"old" * 1000)
    faulty.faults = [well, then(lambda: objects.put_object("drop", "in/1.csv", b"newer" * 1000))]
    (file,) = fetch(faulty, context, "in/*.csv").files
    assert Path(file.path).read_bytes() == b"newer" * 1000
    assert (file.size, file.modified) == (5000, md5(b"newer" * 1000))
    assert log.texts[0] == "warning: s3://drop/in/1.csv was overwritten while it was read; it is read again"

    faulty.faults = [well, then(lambda: objects.put_object("drop", "in/1.csv", b"newest" * 1000), cut)]  # half of it
    (file,) = fetch(faulty, context, "in/*.csv").files
    assert Path(file.path).read_bytes() == b"newest" * 1000

    number = itertools.count()
    again = then(lambda: objects.put_object("drop", "in/1.csv", f"{next(number)}".encode()))
    faulty.faults = [well, *[again, well] * 5]
    error = fails(faulty, context, "in/*.csv")
    assert error.code == "changing"
    assert "s3://drop/in/1.csv was overwritten each of the 3 times it was read" in str(error)


def test_gone_while_it_is_read(objects: S3Backend, faulty: Faulty, context: RunContext, log: Log) -> None:
    objects.put_object("drop", "in/1.csv", b"id\n1\n")
    objects.put_object("drop", "in/2.csv", b"id\n2\n")
    faulty.faults = [well, then(lambda: objects.delete_object("drop", "in/1.csv"))]
    assert [file.name for file in fetch(faulty, context, "in/*.csv").files] == ["s3://drop/in/2.csv"]
    assert log.texts[0] == "warning: left out: s3://drop/in/1.csv is gone since it was listed"


def test_nobody_answers(objects: S3Backend, faulty: Faulty, context: RunContext) -> None:
    error = fails(faulty, context, "in/*.csv", endpoint_url="http://127.0.0.1:1")
    assert (error.code, error.waiting_helps) == ("unreachable", True)
    assert "127.0.0.1:1: the connection was refused (3 tries)" in str(error)


SAYS = [
    # status, code,                     more,                                       our code,              words
    (403, "AccessDenied", "", "access-denied", "access denied: said by the server; allow s3:GetObject to the keys"),
    (403, "InvalidAccessKeyId", "", "wrong-credentials", "does not know the access key"),
    (403, "SignatureDoesNotMatch", "", "wrong-credentials", "the secret access key does not belong to the access key"),
    (400, "ExpiredToken", "", "expired-credentials", "the temporary keys have expired; get new ones"),
    (400, "InvalidToken", "", "wrong-credentials", "the session token does not fit"),
    (403, "RequestTimeTooSkewed", "<RequestTime>20261122T233000Z</RequestTime><ServerTime>2026-11-22T22:00:00Z</ServerTime>",
     "clock", "more than 15 minutes off (20261122T233000Z here, 2026-11-22T22:00:00Z there); set the clock"),
    (400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>", "wrong-region", "another region: eu-west-1; set `region: eu-west-1`"),
    (403, "InvalidObjectState", "", "archived", "it is in an archive"),
    (418, "Teapot", "", "refused", "answered 418 Teapot: said by the server"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "code", "more", "ours", "words"), SAYS)
def test_what_a_server_says(
    status: int, code: str, more: str, ours: str, words: str, objects: S3Backend, faulty: Faulty, context: RunContext
) -> None:
    faulty.faults = [says(status, code, more)] * 2  # HEAD, which has no body, and GET, which tells
    error = fails(faulty, context, "in/1.csv")
    assert (error.code, error.waiting_helps) == (ours, False)
    assert words in str(error)
    assert str(error).startswith("cannot read s3://drop/in/1.csv: ")


def test_it_is_no_such_server(objects: S3Backend, faulty: Faulty, context: RunContext) -> None:
    faulty.faults = [gives("Hello")]
    error = fails(faulty, context, "in/*.csv")
    assert (error.code, error.waiting_helps) == ("refused", False)
    assert "Got invalid list response" in str(error)
    faulty.faults = [says(404)]
    assert str(fails(faulty, context, "in/*.csv")).endswith(f"127.0.0.1:{faulty.server_port} answered 404")


def test_a_redirect_to_another_region(objects: S3Backend, faulty: Faulty, context: RunContext) -> None:
    faulty.faults = [says(301, "PermanentRedirect"), says(403, x_amz_bucket_region="eu-central-1")]
    error = fails(faulty, context, "in/*.csv")
    assert error.code == "wrong-region"
    assert "the bucket is in another region: eu-central-1; set `region: eu-central-1`" in str(error)
    assert "authorization" not in faulty.headers[1], "where the bucket is, is told to everybody"
    faulty.faults = [says(301, "PermanentRedirect"), says(200)]
    assert str(fails(faulty, context, "in/*.csv")).endswith("another region; set `region` to the bucket's")


@pytest.fixture
def guarded(objects: S3Backend) -> Iterator[dict[str, str]]:
    """The server checks keys and rights: a user may list and read in the bucket, and nothing else."""
    with checking_keys("s3:ListBucket", "s3:GetObject") as keys:
        yield keys


def test_an_odd_name_where_keys_are_checked(
    guarded: dict[str, Any], objects: S3Backend, faulty: Faulty, context: RunContext
) -> None:
    objects.put_object("drop", "in/a b.csv", b"id\n")
    objects.put_object("drop", "in//b.csv", b"id\n")
    (file,) = fetch(faulty, context, "in/*.csv", **guarded).files
    assert file.name == "s3://drop/in/a b.csv"
    wrong = {**guarded, "secret_access_key": "wrong"}
    assert fails(faulty, context, "in/*.csv", **wrong).code == "wrong-credentials"


def test_keys_are_checked(guarded: dict[str, Any], objects: S3Backend, faulty: Faulty, context: RunContext) -> None:
    objects.put_object("drop", "in/1.csv", b"id\n")
    direct: dict[str, Any] = {"endpoint_url": "http://{}:{}".format(*faulty.behind)}  # a signature holds for one host
    assert len(fetch(faulty, context, "in/*.csv", **guarded, **direct).files) == 1
    error = fails(faulty, context, "in/*.csv", **direct)
    assert (error.code, error.waiting_helps) == ("wrong-credentials", False)
    assert "does not know the access key" in str(error)
    error = fails(faulty, context, "in/*.csv", **{**guarded, "secret_access_key": "another-secret"}, **direct)
    assert error.code == "wrong-credentials"
    assert "the secret access key does not belong to the access key" in str(error)
    assert "another-secret" not in str(error)
    with pytest.raises(
        RunError, match=r"cannot write s3://drop/x\.csv: access denied: .*; allow s3:PutObject"
    ) as denied:
        deliver(faulty, context, "x.csv", b"rows", **guarded, **direct)
    assert denied.value.code == "access-denied"
    files = fetch(faulty, context, "in/*.csv", after="delete", **guarded, **direct)
    with pytest.raises(RunError, match=r"cannot delete s3://drop/in/1\.csv: access denied"):
        s3.settle(settings(faulty, "in/*.csv", after="delete", **guarded, **direct), context, files)
    assert set(there(objects)) == {"in/1.csv"}


@pytest.mark.slow
def test_a_signal_ends_a_transfer_at_once(
    objects: S3Backend, faulty: Faulty, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Exception):  # noqa: N818
        pass

    def stop(_number: int, _frame: object) -> None:
        raise Stopped

    over = threading.Event()

    def stall_for_ever(handler: Handler) -> bool:
        status, headers, body = handler.hand_on()
        handler.answer(status, headers, body, cut=len(body) // 2)
        over.wait()
        return True

    objects.put_object("drop", "in/1.bin", bytes(1_000_000))
    faulty.faults = [well, stall_for_ever]
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(Stopped):
            fetch(faulty, context, "in/*")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        over.set()


# --- export ------------------------------------------------------------------------------------------------------


def test_an_object_is_written(objects: S3Backend, faulty: Faulty, context: RunContext, log: Log) -> None:
    to = settings(faulty, "{connection}/{date}-{run}.csv.gz")
    assert s3.target(to, context) == "s3://drop/crm/2026-11-22-7.csv.gz"
    assert s3.form(to, Format()) == Format()
    done = deliver(faulty, context, to["path"], b"rows")
    assert done == SendResult(where="s3://drop/crm/2026-11-22-7.csv.gz")
    assert there(objects) == {"crm/2026-11-22-7.csv.gz": b"rows"}
    assert log.texts == ["wrote s3://drop/crm/2026-11-22-7.csv.gz (4 bytes)"]
    deliver(faulty, context, to["path"], b"")  # the same run twice, and nothing in it
    assert there(objects) == {"crm/2026-11-22-7.csv.gz": b""}


def test_a_placeholder_that_does_not_exist(faulty: Faulty, context: RunContext) -> None:
    with pytest.raises(RunError, match=r"unknown placeholder \{runs\}.*did you mean \{run\}"):
        s3.target(settings(faulty, "x-{runs}.csv"), context)


def test_overwrite_never(objects: S3Backend, faulty: Faulty, context: RunContext) -> None:
    to = settings(faulty, "out.csv", overwrite="never")
    assert s3.target(to, context) == "s3://drop/out.csv"
    deliver(faulty, context, "out.csv", b"rows", overwrite="never")
    assert faulty.headers[-1]["if-none-match"] == "*"
    with pytest.raises(
        RunError, match=r"s3://drop/out\.csv is there already, and `overwrite: never` keeps it"
    ) as early:
        s3.target(to, context)
    assert early.value.code == "already-there"
    for other in (b"other rows", b"ROWS"):
        with pytest.raises(RunError, match=r"s3://drop/out\.csv is there already"):
            deliver(faulty, context, "out.csv", other, overwrite="never")
    assert there(objects) == {"out.csv": b"rows"}
    deliver(faulty, context, "out.csv", b"rows", overwrite="never")  # the same bytes: it was us
    deliver(faulty, context, "empty.csv", b"", overwrite="never")
    assert there(objects)["empty.csv"] == b""


def test_overwrite_never_when_the_line_breaks(
    objects: S3Backend, faulty: Faulty, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty.faults = [lose]  # written, and only the answer is lost
    deliver(faulty, context, "out.csv", b"rows", overwrite="never")
    assert there(objects) == {"out.csv": b"rows"}
    assert [method for method, _ in faulty.asked] == ["PUT", "PUT", "HEAD"]
    faulty.forget()
    with monkeypatch.context() as hasty:
        hasty.setattr(s3_bucket, "SEND", 0.5)
        faulty.faults = [late]
        deliver(faulty, context, "late.csv", b"rows", overwrite="never")
    assert there(objects)["late.csv"] == b"rows"
    assert [method for method, _ in faulty.asked] == ["PUT", "PUT", "HEAD"]
    faulty.faults = [says(409, "ConditionalRequestConflict"), says(503, "SlowDown")]
    deliver(faulty, context, "more.csv", b"rows", overwrite="never")
    faulty.faults = [says(409, "ConditionalRequestConflict")] * 3
    with pytest.raises(RunError, match="is there already"):
        deliver(faulty, context, "less.csv", b"rows", overwrite="never")


def test_too_large_for_one_piece(
    objects: S3Backend, faulty: Faulty, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_bucket, "ONE_PIECE", 3)
    with pytest.raises(RunError, match=r"S3 takes at most 3 bytes in one piece, .* and these are 4; compress it"):
        deliver(faulty, context, "out.csv", b"rows", overwrite="never")
    assert faulty.asked == []


def test_who_may_write_need_not_be_allowed_to_look(objects: S3Backend, faulty: Faulty, context: RunContext) -> None:
    faulty.faults = [says(403, "AccessDenied"), says(403, "AccessDenied")]
    assert s3.target(settings(faulty, "out.csv", overwrite="never"), context) == "s3://drop/out.csv"
    faulty.faults = [says(403, "InvalidAccessKeyId"), says(403, "InvalidAccessKeyId")]
    with pytest.raises(RunError, match="does not know the access key"):
        s3.target(settings(faulty, "out.csv"), context)


@pytest.mark.thorough
@pytest.mark.slow
def test_a_large_file_goes_in_parts(
    objects: S3Backend, faulty: Faulty, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_bucket, "PART", 5 << 20)
    content = os.urandom(12 << 20)
    faulty.faults = [well, says(503, "SlowDown"), lose]
    deliver(faulty, context, "large.bin", content)
    assert there(objects) == {"large.bin": content}
    assert [method for method, _ in faulty.asked].count("PUT") == 5, "three parts, two of them twice"

    faulty.forget()
    faulty.faults = [well, well, *[says(500, "InternalError")] * 20]
    with pytest.raises(RunError, match=r"cannot write s3://drop/large\.bin: .* cannot answer now"):
        deliver(faulty, context, "large.bin", b"x" * (12 << 20))
    assert there(objects) == {"large.bin": content}, "what was there stays until all parts have arrived"

    def no_part(handler: Handler) -> bool:
        return says(500, "InternalError")(handler) if "partNumber" in handler.path else False

    faulty.forget()
    objects.get_bucket("drop").multiparts.clear()
    faulty.faults = [no_part] * 20
    with pytest.raises(RunError, match="cannot answer now"):
        deliver(faulty, context, "large.bin", b"x" * (12 << 20))
    assert objects.get_bucket("drop").multiparts == {}, "the parts are given up"

    faulty.forget()
    monkeypatch.setattr(s3_bucket, "SEND", 0.2)
    faulty.faults = [well, *[sleep] * 20]
    with pytest.raises(RunError, match="it gave no answer in time"):
        deliver(faulty, context, "large.bin", b"x" * (12 << 20))
    assert there(objects) == {"large.bin": content}


# --- who asks, and how safely ------------------------------------------------------------------------------------


def signer(faulty: Faulty) -> str:
    return faulty.headers[-1]["authorization"].partition("Credential=")[2].partition("/")[0]


def test_keys_of_the_settings_win(
    objects: S3Backend, faulty: Faulty, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.put_object("drop", "1.csv", b"id\n")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENVIRONMENT1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-environment")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-the-environment")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://elsewhere.invalid")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://elsewhere.invalid")
    monkeypatch.setenv("AWS_ENDPOINT", "https://elsewhere.invalid")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
    monkeypatch.setenv("AWS_BUCKET", "another")
    fetch(faulty, context, "1.csv", region="eu-west-1")
    assert signer(faulty) == KEYS["access_key_id"]
    assert "/eu-west-1/s3/" in faulty.headers[-1]["authorization"]
    assert "x-amz-security-token" not in faulty.headers[-1]
    fetch(faulty, context, "1.csv", session_token="token-of-the-settings")
    assert faulty.headers[-1]["x-amz-security-token"] == "token-of-the-settings"
    fetch(faulty, context, "1.csv", access_key_id=None)
    assert signer(faulty) == "AKIDENVIRONMENT1"
    assert faulty.headers[-1]["x-amz-security-token"] == "token-of-the-environment"


def test_keys_of_a_container_and_of_an_instance(
    objects: S3Backend, faulty: Faulty, context: RunContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What obstore does by itself; its server is played here."""
    objects.put_object("drop", "1.csv", b"id\n")
    end = instant.text(datetime.now(UTC) + timedelta(hours=1))
    temporary = {"AccessKeyId": "ASIATEMPORARY001", "SecretAccessKey": "s", "Token": "t", "Expiration": end}

    token = tmp_path / "token"
    token.write_text("of-the-pod")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{faulty.url}/pod")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token))
    faulty.faults = [gives(json.dumps(temporary))]
    fetch(faulty, context, "1.csv", access_key_id=None)
    assert (faulty.asked[0], faulty.headers[0]["authorization"]) == (("GET", "/pod"), "of-the-pod")
    assert signer(faulty) == "ASIATEMPORARY001"

    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/pod")
    error = fails(faulty, context, "1.csv", access_key_id=None)
    assert (error.code, error.waiting_helps) == ("no-credentials", True)
    assert "no keys came from 127.0.0.1:1: the connection was refused" in str(error)

    faulty.forget()
    monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", faulty.url)
    instance = {"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": end, **temporary}
    faulty.faults = [gives("a-token"), gives("the-role"), gives(json.dumps(instance))]
    fetch(faulty, context, "1.csv", access_key_id=None)
    assert [path.rpartition("/")[2] for _, path in faulty.asked[:3]] == ["token", "", "the-role"]
    assert signer(faulty) == "ASIATEMPORARY001"


def test_a_role(objects: S3Backend, faulty: Faulty, context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    objects.put_object("drop", "1.csv", b"id\n")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", faulty.url)
    role: dict[str, Any] = {"role": "arn:aws:iam::123456789012:role/exports", "external_id": "partner"}
    faulty.faults = [says(503)]
    fetch(faulty, context, "1.csv", **role)
    assert [method for method, _ in faulty.asked] == ["POST", "POST", "HEAD", "GET"], "the role is assumed once"
    assert faulty.headers[0]["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE00001/")
    assert signer(faulty).startswith("ASIA")
    assert faulty.headers[-1]["x-amz-security-token"]

    faulty.faults = [says(403, "AccessDenied")]
    error = fails(faulty, context, "1.csv", **role)
    assert str(error) == (
        "cannot assume the role arn:aws:iam::123456789012:role/exports: access denied: said by the server; "
        "allow sts:AssumeRole to the keys in use"
    )
    faulty.faults = [says(301, location="http://127.0.0.1:1/")]
    assert fails(faulty, context, "1.csv", **role).code == "wrong-region"
    faulty.faults = [gives("Hello")]
    assert "does not answer like a token service" in str(fails(faulty, context, "1.csv", **role))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    error = fails(faulty, context, "1.csv", **role)
    assert (error.code, error.waiting_helps) == ("unreachable", True)
    assert "127.0.0.1:1: the connection was refused (4 tries)" in str(error)


@pytest.mark.slow
def test_certificates_are_checked(
    objects: S3Backend,
    faulty: Faulty,
    context: RunContext,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    objects.put_object("drop", "1.csv", b"id\n")
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    for name in ("AWS_ALLOW_INVALID_CERTIFICATES", "AWS_ALLOW_HTTP"):
        monkeypatch.setenv(name, "true")
    with Faulty(faulty.behind) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            url: dict[str, Any] = {"endpoint_url": f"https://127.0.0.1:{server.server_port}"}
            error = fails(faulty, context, "1.csv", **url)
            assert error.code == "bad-certificate"
            assert "its certificate cannot be trusted (UnknownIssuer); for a certificate of your own" in str(error)
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url["endpoint_url"])
            error = fails(faulty, context, "1.csv", role="arn:aws:iam::123456789012:role/exports")
            assert error.code == "bad-certificate"
            assert server.asked == []
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
            assert len(fetch(faulty, context, "1.csv", **url).files) == 1
            server.faults = [says(307, location=f"{faulty.url}/drop/1.csv")] * 9
            assert fails(faulty, context, "1.csv", **url).code == "unreachable"
            assert faulty.asked == [], "no way leads from https to http"
            server.faults = []
            assert len(fetch(faulty, context, "1.csv", role="arn:aws:iam::123456789012:role/exports", **url).files) == 1
        finally:
            server.shutdown()
            thread.join()


def test_without_the_extra(faulty: Faulty, context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("obstore", "obstore.store", "obstore.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    error = fails(faulty, context, "1.csv")
    assert (error.code, str(error)) == (
        "missing-extra",
        "the connector s3 needs its extra; pip install 'connrunner[s3]'",
    )

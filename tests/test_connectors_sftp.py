"""Files on an SFTP server as source and destination, against a real server in this process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import asyncssh
import asyncssh.sftp
import pytest

from connrunner.config import schema
from connrunner.connectors import FetchResult, RunContext, matching, sftp
from connrunner.connectors.sftp import login, sftp_session, trust
from connrunner.core.model import LocalFile
from connrunner.errors import RunError
from tests.servers.sftp import LONG_AGO, PASSWORD, Files, Running, put

pytestmark = pytest.mark.thorough  # `make test` brings rows there and back in the conformance suite

AT = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)


class Log:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str, *, level: str = "info", **facts: Any) -> None:
        self.texts.append(f"{level}: {text}")

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...

    @property
    def warnings(self) -> list[str]:
        return [text.removeprefix("warning: ") for text in self.texts if text.startswith("warning")]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def server(sftp_server: Running, tmp_path: Path) -> Iterator[Running]:
    """The server, in a good mood, with a folder of files."""
    root = tmp_path / "server"
    for name in (
        "in/members-2026-11-22.csv",
        "in/members-2026-11-21.csv",
        "in/members-2026-11-23.csv.part",
        "in/members-2026-11-24.csv.tmp",
        "in/.members-hidden.csv",
        "in/people.csv",
        "in/odd[1].csv",
        "in/2025/members-old.csv",
        "in/2025/deep/members-older.csv",
        "in/.trash/members-gone.csv",
        "elsewhere/secret.csv",
    ):
        put(root / name, f"id\n{name}\n".encode())
    (root / "in" / "members-folder.csv").mkdir()
    (root / "out").mkdir()
    sftp_server.mood.__init__(root=os.fsencode(root))  # type: ignore[misc]
    sftp_server.keys.clear()
    yield sftp_server
    for file in sftp_server.mood.opened:
        file.close()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sftp_session, "PAUSE", 0.01)


def root_of(server: Running) -> Path:
    return Path(os.fsdecode(server.mood.root))


def settings(server: Running, **more: Any) -> dict[str, Any]:
    """Return settings that work; None takes one out."""
    plain = {
        "type": "sftp",
        "host": "127.0.0.1",
        "port": server.port,
        "username": "crm",
        "password": PASSWORD,
        "host_key": server.fingerprint,
        "path": "in/people.csv",
        **more,
    }
    return {key: value for key, value in plain.items() if value is not None}


def context(tmp_path: Path, log: Log, run: int = 7) -> RunContext:
    spool = tmp_path / "spool"
    spool.mkdir(exist_ok=True)
    return RunContext(
        connection="audience",
        run=run,
        at=AT,
        workspace=tmp_path / "workspace",
        spool=spool,
        programs=tmp_path / "programs",
        report=log,
    )


@pytest.fixture
def fetch(server: Running, tmp_path: Path, log: Log) -> Callable[..., FetchResult]:
    def fetch(path: str = "in/people.csv", known: Any = lambda *_: False, **more: Any) -> FetchResult:
        return sftp.fetch(settings(server, path=path, **more), context(tmp_path, log), known=known, mark=None)

    return fetch


@pytest.fixture
def deliver(server: Running, tmp_path: Path, log: Log) -> Callable[..., str]:
    def deliver(path: str = "out/a.csv", content: bytes = b"id\n1\n", **more: Any) -> str:
        local = tmp_path / "rows"
        local.write_bytes(content)
        return sftp.deliver(settings(server, path=path, **more), context(tmp_path, log), local).where

    return deliver


def names(fetched: FetchResult) -> list[str]:
    return ["/".join(file.name.split("/")[3:]) for file in fetched.files]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- the settings -----------------------------------------------------------------------------------------------------

GOOD = {"type": "sftp", "host": "sftp.example.com", "username": "crm", "password": "env:X", "path": "a.csv"}
FINGERPRINT = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
SETTINGS: list[tuple[str, dict[str, Any], str]] = [
    ("import", {}, ""),
    ("export", {}, ""),
    ("import", {"host": "::1", "host_key": FINGERPRINT, "settle": "2m", "after": "move", "move_to": "done"}, ""),
    ("import", {"host_key": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 comment", FINGERPRINT], "done": ".done"}, ""),
    ("import", {"password": None}, "sftp connector needs `password`, `key` or `agent`"),
    ("import", {"password": None, "agent": True}, ""),
    ("import", {"password": "hunter2"}, "`password` holds a secret itself"),
    ("import", {"key": "hunter2"}, "`key` holds a secret itself"),
    ("import", {"passphrase": "env:X"}, "`passphrase` needs `key` beside it"),
    ("import", {"after": "move"}, "sftp connector needs `move_to`"),
    ("import", {"move_to": "done"}, "`move_to` needs `after` beside it"),
    ("import", {"host": "sftp://sftp.example.com"}, "'sftp://sftp.example.com' is not a host"),
    ("import", {"host": "sftp.example.com:22"}, "'sftp.example.com:22' is not a host"),
    ("import", {"host_key": "MD5:aa:bb"}, "'MD5:aa:bb' is not a host key"),
    ("import", {"insecure": True}, "unknown key 'insecure' in sftp connector"),
    ("export", {"path": "{time}.csv"}, "'{time}.csv' is not a path"),
    ("export", {"folders": "yes"}, "`folders` cannot be 'yes'"),
    ("export", {"settle": "30s"}, "unknown key 'settle' in sftp connector"),
]


@pytest.mark.parametrize(("direction", "change", "message"), SETTINGS)
def test_what_may_be_set(direction: str, change: dict[str, Any], message: str) -> None:
    plain = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    importing = {"from": plain, "match": ["a"], "fields": {"a": "A"}}
    work = importing if direction == "import" else {"to": plain, "fields": {"A": "a"}}
    found = schema.check_schema("connection", {"schedule": {"type": "manual"}, direction: work})
    assert [finding.message for finding in found] == ([message] if message else [])


# --- import: which files -----------------------------------------------------------------------------------------

FOUND: list[tuple[str, list[str]]] = [
    ("in/people.csv", ["in/people.csv"]),
    ("./in//people.csv", ["in/people.csv"]),
    ("/in/people.csv", ["in/people.csv"]),
    ("in/members-*.csv", ["in/members-2026-11-21.csv", "in/members-2026-11-22.csv"]),  # by name; whole ones only
    ("in/members-*", ["in/members-2026-11-21.csv", "in/members-2026-11-22.csv"]),
    ("/in/members-2026-11-2?.csv", ["in/members-2026-11-21.csv", "in/members-2026-11-22.csv"]),
    ("in/members-2026-11-2[2-9].csv", ["in/members-2026-11-22.csv"]),
    ("in/odd[1].csv", ["in/odd[1].csv"]),  # a file that is called exactly so
    ("in/*/members-*.csv", ["in/2025/members-old.csv"]),
    ("in/**/members-o*.csv", ["in/2025/deep/members-older.csv", "in/2025/members-old.csv"]),
    ("in/**/**/members-o*.csv", ["in/2025/deep/members-older.csv", "in/2025/members-old.csv"]),
    ("in/2025/**", ["in/2025/deep/members-older.csv", "in/2025/members-old.csv"]),
    ("**/people.csv", ["in/people.csv"]),
    ("in/.members-*.csv", ["in/.members-hidden.csv"]),  # asked for
    ("in/members-2026-11-23.csv.part", ["in/members-2026-11-23.csv.part"]),  # asked for
]


@pytest.mark.parametrize(("path", "found"), FOUND)
def test_what_a_path_finds(path: str, found: list[str], fetch: Any, log: Log) -> None:
    fetched = fetch(path)
    assert names(fetched) == found
    assert [Path(file.path).read_text().splitlines()[1] for file in fetched.files] == found
    assert log.warnings == []


def test_the_order_of_names(fetch: Any, server: Running) -> None:
    for name in ("b", "a b/x", "a/x", "a/Z", "ä", "2", "10"):
        put(root_of(server) / "order" / f"{name}.csv", b"id\n")
    found = [name.removeprefix("order/").removesuffix(".csv") for name in names(fetch("order/**"))]
    assert found == ["10", "2", "a/Z", "a/x", "a b/x", "b", "ä"]  # folder by folder, as for local files


def test_facts_of_a_file(fetch: Any, server: Running, tmp_path: Path) -> None:
    (found,) = fetch("in/people.csv").files
    assert found == LocalFile(
        path=str(tmp_path / "spool" / "000000.csv"),
        name=f"sftp://127.0.0.1:{server.port}/in/people.csv",
        size=17,
        modified="2023-11-14T22:13:20Z",
    )
    assert not fetch("in/people.csv", after="delete").files[0].once  # a crash before settling must not add up twice


ADDRESSES = [("sftp.example.com", 22, "sftp.example.com"), ("::1", 22, "[::1]"), ("::1", 2222, "[::1]:2222")]


@pytest.mark.parametrize(("host", "port", "shown"), ADDRESSES)
def test_addresses(host: str, port: int, shown: str) -> None:
    assert trust.address(host, port) == shown


def test_an_empty_file(fetch: Any, server: Running) -> None:
    put(root_of(server) / "in" / "empty.csv", b"")
    (found,) = fetch("in/empty.csv").files
    assert (Path(found.path).read_bytes(), found.size) == (b"", 0)


def test_a_known_file_is_not_fetched_again(fetch: Any, server: Running) -> None:
    asked = []

    def known(name: str, size: int, modified: str) -> bool:
        asked.append((name.rpartition("/")[2], size, modified))
        return name.endswith("-21.csv")

    first, second = fetch("in/members-*.csv", known=known).files
    assert (first.path, Path(second.path).name) == ("", "000000.csv")
    assert asked == [
        ("members-2026-11-21.csv", 29, "2023-11-14T22:13:20Z"),
        ("members-2026-11-22.csv", 29, "2023-11-14T22:13:20Z"),
    ]
    assert server.mood.asked["open"] == 1


def test_the_suffix_is_kept_and_nothing_else_of_a_name(fetch: Any, server: Running) -> None:
    odd = {"a b;rm -rf $HOME.csv.gz": ".csv.gz", "x.tar.bak.csv": ".bak.csv", "naïve\n.é": "", "-": "", "~": ""}
    for name in odd:
        put(root_of(server) / "odd" / name, name.encode())
    found = {file.name.partition("/odd/")[2]: Path(file.path) for file in fetch("odd/*").files}
    assert {name: "".join(path.suffixes) for name, path in found.items()} == odd
    assert all(path.read_bytes().decode() == name for name, path in found.items())


ERRORS: list[tuple[str, str, str]] = [
    ("in/poeple.csv", "no-files", "no file 'in/poeple.csv' in in on 127.0.0.1:PORT; near it: people.csv"),
    ("in/member-*.csv", "no-files", "near it: members-folder.csv, members-2026-11-22.csv, members-2026-11-2"),
    ("in/2025/deep/zzz", "no-files", "it has 1 other, like members-older.csv"),
    ("out/*.csv", "no-files", "no file 'out/*.csv' in out on 127.0.0.1:PORT; the folder is empty"),
    ("nowhere/*.csv", "no-folder", "no file 'nowhere/*.csv': there is no folder nowhere on 127.0.0.1:PORT"),
    ("nowhere/one.csv", "no-folder", "there is no folder nowhere"),
    ("in/people.csv/*.csv", "no-folder", "there is no folder in/people.csv"),
    ("in", "not-a-file", "in on 127.0.0.1:PORT is a folder; write 'in/*' to take the files in it"),
    ("in/", "not-a-file", "in on 127.0.0.1:PORT is a folder"),
    ("in/pipe.csv", "not-a-file", "is a pipe (FIFO); only files can be imported"),
    ("in/pip?.csv", "no-files", "1 that match are not files to import, see the warnings"),
    ("in/dangling.csv", "no-files", "is a symbolic link to nothing"),
    ("in/out.csv", "outside-folder", "is a symbolic link that leads out of its folder"),
    ("", "bad-name", "`path` is ''"),
    ("in/\0.csv", "bad-name", "`path` is 'in/\\x00.csv'"),
    ("in/bad-*", "bad-name", r"the name of the file in/bad-\udcff.csv is not UTF-8; rename it"),
]


@pytest.fixture
def trouble(server: Running) -> Path:
    """Put onto the server what is no file to import."""
    folder = root_of(server) / "in"
    os.mkfifo(folder / "pipe.csv")
    (folder / "dangling.csv").symlink_to("nowhere.csv")
    (folder / "out.csv").symlink_to("../elsewhere/secret.csv")
    put(folder / os.fsdecode(b"bad-\xff.csv"), b"x")
    return folder


@pytest.mark.parametrize(("path", "code", "text"), ERRORS)
def test_what_cannot_be_imported(path: str, code: str, text: str, trouble: Path, fetch: Any, server: Running) -> None:
    with pytest.raises(RunError) as caught:
        fetch(path)
    assert text.replace("PORT", str(server.port)) in str(caught.value)
    assert caught.value.code == code
    assert caught.value.waiting_helps == (code == "no-files" and "symbolic" not in text)


def test_links_and_strange_things_among_files(trouble: Path, fetch: Any, log: Log) -> None:
    (trouble / "latest.csv").symlink_to("people.csv")
    (trouble / "archive").symlink_to("2025")
    (trouble / "up").symlink_to("..")  # a loop
    (trouble / "away").symlink_to("../elsewhere")
    fetched = fetch("in/[!b]*.csv")
    assert names(fetched) == [
        "in/latest.csv",
        "in/members-2026-11-21.csv",
        "in/members-2026-11-22.csv",
        "in/odd[1].csv",
        "in/people.csv",
    ]
    assert fetched.files[0].size == 17  # of the file, not of the link
    assert log.warnings == [
        "left out: in/dangling.csv is a symbolic link to nothing",
        "left out: in/out.csv leads out of in by a symbolic link",
        "left out: in/pipe.csv is a pipe (FIFO)",
    ]
    log.texts.clear()
    assert names(fetch("in/**/members-o*.csv")) == ["in/2025/deep/members-older.csv", "in/2025/members-old.csv"]
    assert names(fetch("in/archive/*.csv")) == ["in/archive/members-old.csv"]
    assert log.warnings == []
    with pytest.raises(RunError, match="no file"):
        fetch("in/*/secret.csv")  # by way of in/away
    assert "secret.csv leads out of in" in log.warnings[0]


def test_a_server_that_does_not_tell_where_links_lead(trouble: Path, fetch: Any, monkeypatch: Any, log: Log) -> None:
    monkeypatch.setattr(
        Files, "realpath", lambda self, path: self.reverse_map_path(os.path.normpath(self.map_path(path)))
    )
    with pytest.raises(RunError, match="no file"):
        fetch("in/out*.csv")
    assert log.warnings == ["left out: in/out.csv leads out of in by a symbolic link"]


def test_a_server_that_lists_paths_for_names(fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scandir(self: Files, path: bytes) -> Any:
        yield asyncssh.SFTPName(b"../../etc/passwd.csv", attrs=asyncssh.SFTPAttrs(size=1, permissions=0o100644))

    monkeypatch.setattr(Files, "scandir", scandir)
    with pytest.raises(RunError, match=r"lists '../../etc/passwd.csv' in in, which is not the name of a file"):
        fetch("in/*.csv")


@pytest.mark.parametrize("path", ["in/*.csv", "in/**/*.csv"])
def test_a_server_that_lists_without_end(path: str, fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one folder, and of folders in folders."""

    async def scandir(self: Files, path: bytes) -> Any:
        for number in count() if path.endswith(b"in") and not endless else range(40):
            kind = 0o040755 if endless else 0o100644
            yield asyncssh.SFTPName(
                b"%d.csv" % number, attrs=asyncssh.SFTPAttrs(size=1, permissions=kind, atime=1, mtime=1)
            )

    endless = path == "in/**/*.csv"
    monkeypatch.setattr(matching, "MOST_NAMES", 500)
    monkeypatch.setattr(Files, "scandir", scandir)
    with pytest.raises(RunError, match="lists more than 500 names") as refused:
        fetch(path)
    assert refused.value.code == "too-large"


# --- import: when is a file whole? -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_growing_file_is_left_for_later(
    fetch: Any, server: Running, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = root_of(server) / "in"
    now = time.time()
    for age, name in enumerate(("still", "grows", "replaced", "removed")):
        put(folder / f"new-{name}.csv", b"id\n1\n", now - 3600 * age)

    slept: list[float] = []

    def meanwhile(seconds: float) -> None:
        slept.append(seconds)
        with (folder / "new-grows.csv").open("ab") as file:
            file.write(b"2\n")
        put(folder / "new-replaced.csv", b"id\n9\n", now)
        (folder / "new-removed.csv").unlink()

    monkeypatch.setattr("connrunner.connectors.sftp.time.sleep", meanwhile)
    fetched = fetch("in/*.csv", settle="1s", known=lambda name, *_: "new" not in name)
    assert slept == [1]
    assert [name for name in names(fetched) if "new" in name] == ["in/new-still.csv"]
    assert [file.path == "" for file in fetched.files] == [True, True, False, True, True]
    assert log.texts[0].startswith("info: waiting 1 s to see that nobody writes to 4 files on 127.0.0.1")
    assert log.warnings == [
        "left for later: in/new-grows.csv changed, from 5 to 7 bytes",
        "left for later: in/new-removed.csv changed, and is gone",
        "left for later: in/new-replaced.csv changed, from 5 to 5 bytes",
    ]


@pytest.mark.slow
def test_nothing_but_a_growing_file_is_an_error(fetch: Any, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root_of(server) / "in" / "people.csv"
    put(path, b"id\n", time.time())
    monkeypatch.setattr("connrunner.connectors.sftp.time.sleep", lambda _: path.write_bytes(b"id\n1\n"))
    with pytest.raises(RunError, match=r"no file 'in/people.csv' on .* is whole yet") as caught:
        fetch("in/people.csv", settle="1s")
    assert (caught.value.code, caught.value.waiting_helps) == ("unfinished", True)


YOUNG = [
    # the file's age in seconds by our clock, whether the run waits
    (0, True),
    (-7200, True),  # the server's clock is ahead of ours
    (7200, True),  # two hours old, or the server's zone is wrong
    (86_400 + 20, True),
    (86_400 + 60, False),
]


@pytest.mark.parametrize(("age", "waits"), YOUNG)
def test_when_a_run_waits(age: float, waits: bool, fetch: Any, server: Running, monkeypatch: Any) -> None:
    put(root_of(server) / "in" / "people.csv", b"id\n", time.time() - age)
    slept: list[float] = []
    monkeypatch.setattr("connrunner.connectors.sftp.time.sleep", slept.append)
    assert names(fetch("in/people.csv")) == ["in/people.csv"]
    assert slept == ([30] if waits else [])


def test_a_known_file_is_not_waited_for(fetch: Any, server: Running, monkeypatch: Any) -> None:
    put(root_of(server) / "in" / "people.csv", b"id\n", time.time())
    monkeypatch.setattr("connrunner.connectors.sftp.time.sleep", lambda _: pytest.fail("waited"))
    fetch("in/people.csv", known=lambda *_: True)


def test_a_file_that_changes_while_it_is_copied(fetch: Any, server: Running, log: Log, tmp_path: Path) -> None:
    def grow(_: Files, path: bytes) -> None:
        with Path(os.fsdecode(path)).open("ab") as file:
            file.write(b"more\n")

    server.mood.before["read"] = lambda files, path: grow(files, path) if b"-21" in path else None
    assert names(fetch("in/members-*.csv")) == ["in/members-2026-11-22.csv"]
    assert log.warnings == ["left for later: in/members-2026-11-21.csv changed, from 29 to 34 bytes"]
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["000001.csv"]


def test_a_server_that_gives_less_than_it_says(fetch: Any, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(self: Files, file_obj: Any, offset: int, size: int) -> bytes:
        return b"id\n"[offset:]

    monkeypatch.setattr(Files, "read", read)
    with pytest.raises(RunError, match=r"gave 3 of 17 bytes of in/people.csv") as caught:
        fetch("in/people.csv")
    assert caught.value.code == "incomplete"


def test_markers(fetch: Any, server: Running, monkeypatch: Any, log: Log) -> None:
    monkeypatch.setattr("connrunner.connectors.sftp.time.sleep", lambda _: pytest.fail("waited"))
    folder = root_of(server) / "in"
    put(folder / "members-2026-11-21.csv", b"id\n1\n", time.time())
    put(folder / "members-2026-11-21.csv.done", b"")
    assert names(fetch("in/members-*", done=".done")) == ["in/members-2026-11-21.csv"]
    assert log.warnings == ["left for later: in/members-2026-11-22.csv has no members-2026-11-22.csv.done yet"]
    with pytest.raises(RunError, match="is whole yet"):
        fetch("in/people.csv", done=".done")


# --- import: what becomes of the files ---------------------------------------------------------------------------


@pytest.fixture
def settle(server: Running, tmp_path: Path, log: Log) -> Callable[..., None]:
    def settle(fetched: FetchResult, path: str, **more: Any) -> None:
        sftp.settle(settings(server, path=path, **more), context(tmp_path, log), fetched)

    return settle


def test_files_are_left(fetch: Any, settle: Any, server: Running) -> None:
    before = tree(root_of(server))
    settle(fetch("in/*.csv"), "in/*.csv")
    settle(fetch("in/*.csv"), "in/*.csv", after="leave")
    assert tree(root_of(server)) == before


@pytest.mark.parametrize("start", ["", "/"])
def test_files_are_deleted(start: str, fetch: Any, settle: Any, server: Running, log: Log) -> None:
    """Those that are known too, but none that changed, and none that the run did not see."""
    folder = root_of(server) / "in"
    for name in ("a", "b", "c", "d"):
        put(folder / f"{name}.csv", b"id\n1\n")
    path = f"{start}in/[a-d].csv"
    fetched = fetch(path, known=lambda name, *_: "/a.csv" in name, after="delete")
    put(folder / "b.csv", b"id\n2\n", LONG_AGO + 1)
    (folder / "c.csv").unlink()
    put(folder / "e.csv", b"id\n1\n")
    settle(fetched, path, after="delete")
    assert [name for name in "abcde" if (folder / f"{name}.csv").exists()] == ["b", "e"]
    assert log.warnings == [f"sftp://127.0.0.1:{server.port}/in/b.csv stays: it changed since it was fetched"]
    settle(fetched, path, after="delete")  # once more, as after a crash
    assert [name for name in "abcde" if (folder / f"{name}.csv").exists()] == ["b", "e"]


def test_a_marker_goes_before_its_file(fetch: Any, settle: Any, server: Running) -> None:
    folder = root_of(server) / "in"
    put(folder / "people.csv.done", b"")
    removed = []
    server.mood.before["remove"] = lambda _, path: removed.append(path)
    how = {"done": ".done", "after": "delete"}
    settle(fetch("in/people.csv", **how), "in/people.csv", **how)
    assert removed == [b"in/people.csv.done", b"in/people.csv"]
    assert "people.csv" not in {path.name for path in folder.iterdir()}


def test_files_are_moved(fetch: Any, settle: Any, server: Running) -> None:
    folder = root_of(server) / "in"
    put(folder / "done" / "people.csv", b"an older one")
    put(folder / "people.csv.done", b"")
    put(folder / "odd[1].csv.done", b"")
    how = {"done": ".done", "after": "move", "move_to": "/in/done"}
    fetched = fetch("in/**/[op]*.csv", **how)
    assert names(fetched) == ["in/odd[1].csv", "in/people.csv"]  # and not what is in the folder for finished ones
    settle(fetched, "in/**/[op]*.csv", **how)
    assert tree(folder / "done") == {
        "odd[1].csv": b"id\nin/odd[1].csv\n",
        "odd[1].csv.done": b"",
        "people.csv": b"an older one",
        "people.csv.7": b"id\nin/people.csv\n",
        "people.csv.done": b"",
    }
    with pytest.raises(RunError, match="no file"):
        fetch("in/**/[op]*.csv", **how)


NO_PLACE = [
    ("nowhere", "there is no folder nowhere on .*; make it, or correct `move_to`"),
    ("in/people.csv", "there is no folder in/people.csv on"),
    ("./in", "`move_to` is ./in, where the files are already"),
]


@pytest.mark.parametrize(("move_to", "text"), NO_PLACE)
def test_where_files_cannot_be_moved(move_to: str, text: str, fetch: Any, server: Running) -> None:
    """It is found out before any row is imported."""
    with pytest.raises(RunError, match=text):
        fetch("in/*.csv", after="move", move_to=move_to)
    assert server.mood.asked["open"] == 0


def test_a_wrong_path_is_told_as_ever(fetch: Any) -> None:
    with pytest.raises(RunError, match=r"no file 'nowhere/1/x\.csv': there is no folder nowhere/1"):
        fetch("nowhere/1/x.csv", after="move", move_to="out")


def test_a_folder_that_went_away(fetch: Any, settle: Any, server: Running) -> None:
    (root_of(server) / "done").mkdir()
    how = {"after": "move", "move_to": "done"}
    fetched = fetch("in/people.csv", **how)
    (root_of(server) / "done").rmdir()
    with pytest.raises(RunError, match=r"cannot move in/people.csv on .*: there is no folder done"):
        settle(fetched, "in/people.csv", **how)


# --- export ------------------------------------------------------------------------------------------------------

NAMES = [
    ("out/a.csv", "out/a.csv"),
    ("/out/a.csv", "out/a.csv"),
    ("out/{connection}-{run}.csv.gz", "out/audience-7.csv.gz"),
    ("{date}.csv", "2026-11-22.csv"),
]


@pytest.mark.parametrize(("path", "name"), NAMES)
def test_where_an_export_goes(path: str, name: str, server: Running, deliver: Any, tmp_path: Path, log: Log) -> None:
    url = f"sftp://127.0.0.1:{server.port}/{name}"
    assert sftp.target(settings(server, path=path), context(tmp_path, log)) == url
    assert not (root_of(server) / name).exists()  # asking changes nothing
    assert deliver(path) == url
    assert (root_of(server) / name).read_bytes() == b"id\n1\n"
    assert [path.name for path in root_of(server).rglob(".*.part")] == []


def test_rows_may_have_any_form() -> None:
    from connrunner.core.model import Format

    assert sftp.form({}, Format(type="parquet")) == Format(type="parquet")


def test_an_empty_export(deliver: Any, server: Running) -> None:
    deliver(content=b"")
    assert tree(root_of(server) / "out") == {"a.csv": b""}


@pytest.fixture(params=["with posix-rename", "without posix-rename"])
def posix_rename(request: Any, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param.startswith("without"):
        handler = asyncssh.sftp.SFTPServerHandler
        kept = [each for each in handler._extensions if each[0] != b"posix-rename@openssh.com"]
        monkeypatch.setattr(handler, "_extensions", kept)
    return bool(request.param.startswith("with "))


def test_a_file_is_replaced_and_left_overs_are_cleared(deliver: Any, server: Running, posix_rename: bool) -> None:
    deliver()
    put(root_of(server) / "out" / ".a.csv.part", b"left by a crash, and longer than the file")
    deliver(content=b"second\n")
    assert tree(root_of(server) / "out") == {"a.csv": b"second\n"}
    assert server.mood.asked["posix_rename"] == (2 if posix_rename else 0)


def test_a_link_is_replaced_and_never_written_through(deliver: Any, server: Running, posix_rename: bool) -> None:
    out = root_of(server) / "out"
    (out / "a.csv").symlink_to("../elsewhere/secret.csv")
    (out / ".a.csv.part").symlink_to("../elsewhere/secret.csv")
    deliver()
    assert not (out / "a.csv").is_symlink()
    assert (root_of(server) / "elsewhere" / "secret.csv").read_text() == "id\nelsewhere/secret.csv\n"


def test_a_reader_never_sees_half_a_file(deliver: Any, server: Running) -> None:
    deliver(content=b"old")
    seen = []
    for what in ("open", "write", "stat", "posix_rename"):
        server.mood.before[what] = lambda *_: seen.append((root_of(server) / "out" / "a.csv").read_bytes())
    deliver(content=b"new" * 1_000_000)
    assert set(seen) == {b"old"}
    assert len(seen) > 10
    assert (root_of(server) / "out" / "a.csv").read_bytes() == b"new" * 1_000_000


def test_folders_are_made_when_asked_for(deliver: Any, server: Running) -> None:
    with pytest.raises(
        RunError, match=r"there is no folder out/2026/11 on .*; make it, correct `path`, or set `folders"
    ):
        deliver("out/2026/11/a.csv")
    deliver("out/2026/11/a.csv", folders="create")
    deliver("out/2026/11/b.csv", folders="create")
    assert sorted(tree(root_of(server) / "out")) == ["2026/11/a.csv", "2026/11/b.csv"]


REFUSED = [
    ("in", "not-a-file", "cannot write in: it is a folder; set another `path`"),
    ("out/fifo", "not-a-file", "cannot write out/fifo: it is a pipe (FIFO)"),
    ("in/people.csv/a.csv", "not-a-file", "cannot write in/people.csv/a.csv: in/people.csv is a file"),
    ("/", "not-a-file", "cannot write /: it is a folder"),
    ("out/" + "x" * 253, "server-error", "File name too long"),
    ("out/{Run}.csv", "unknown-placeholder", "unknown placeholder {Run} in path 'out/{Run}.csv'; did you mean {run}?"),
]


@pytest.mark.parametrize(("path", "code", "text"), REFUSED)
def test_what_cannot_be_written(path: str, code: str, text: str, deliver: Any, server: Running) -> None:
    os.mkfifo(root_of(server) / "out" / "fifo")
    before = tree(root_of(server))
    with pytest.raises(RunError) as caught:
        deliver(path)
    assert text in str(caught.value)
    assert caught.value.code == code
    assert tree(root_of(server)) == before


FAILURES = [
    ("open", asyncssh.SFTPPermissionDenied("no"), "permission-denied", "does not allow crm to write out/a.csv"),
    (
        "write",
        asyncssh.SFTPFailure("No space left\x1b[0m on device"),
        "server-error",
        "cannot write out/a.csv: No space",
    ),
    ("posix_rename", asyncssh.SFTPFailure("nope"), "server-error", "cannot write out/a.csv: nope"),
]


@pytest.mark.parametrize(("what", "error", "code", "text"), FAILURES)
def test_an_error_leaves_the_old_file(
    what: str, error: Exception, code: str, text: str, deliver: Any, server: Running
) -> None:
    deliver(content=b"old")

    def fail(*_: Any) -> None:
        raise error

    server.mood.before[what] = fail
    with pytest.raises(RunError, match=text) as caught:
        deliver(content=b"new")
    assert caught.value.code == code
    assert "\x1b" not in str(caught.value)
    assert tree(root_of(server) / "out") == {"a.csv": b"old"}
    server.mood.before.clear()
    deliver(content=b"new")  # the server has recovered
    assert tree(root_of(server) / "out") == {"a.csv": b"new"}


@pytest.mark.parametrize("refusal", [asyncssh.SFTPPermissionDenied("no"), asyncssh.SFTPOpUnsupported("no")])
def test_a_server_that_lets_nobody_rename(refusal: Exception, deliver: Any, server: Running) -> None:
    """The message names the rename and the way out; that way leaves the file alone, however long the old one was."""

    def fail(*_: Any) -> None:
        raise refusal

    put(root_of(server) / "out" / "a.csv", b"old, and longer than the new one")
    server.mood.before |= {"posix_rename": fail, "rename": fail}
    with pytest.raises(
        RunError, match=r"does not allow crm to rename out/.a.csv.part to out/a.csv; set `write: direct`"
    ):
        deliver(content=b"new")
    assert tree(root_of(server) / "out") == {"a.csv": b"old, and longer than the new one"}
    deliver(content=b"new", write="direct")
    deliver(content=b"", path="out/b.csv", write="direct")
    assert tree(root_of(server) / "out") == {"a.csv": b"new", "b.csv": b""}


def test_what_is_written_directly_goes_through_no_link(deliver: Any, server: Running) -> None:
    (root_of(server) / "out" / "a.csv").symlink_to("../elsewhere/secret.csv")
    with pytest.raises(RunError, match=r"cannot write out/a.csv: it is a symbolic link"):
        deliver(write="direct")
    assert (root_of(server) / "elsewhere" / "secret.csv").read_text() == "id\nelsewhere/secret.csv\n"


def test_an_odd_name_blocks_no_other_file(trouble: Path, fetch: Any, server: Running, log: Log) -> None:
    put(trouble / os.fsdecode(b"folder-\xe9") / "a.csv", b"x")
    found = [file.name.partition("/in/")[2] for file in fetch("in/**/*.csv").files]
    assert "people.csv" in found
    assert not [name for name in found if "bad" in name or "folder-\udce9" in name]
    told = [text for text in log.texts if "is not UTF-8" in text]
    assert [text.partition("the name ")[2] for text in told] == [
        r"in/bad-\udcff.csv is not UTF-8",
        r"in/folder-\udce9/a.csv is not UTF-8",
    ]


def test_the_size_is_checked_before_the_rename(deliver: Any, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(content=b"old")

    async def write(self: Files, file_obj: Any, offset: int, data: bytes) -> int:
        return len(data)

    monkeypatch.setattr(Files, "write", write)
    with pytest.raises(RunError, match=r"has 0 of 5 bytes of out/a.csv") as caught:
        deliver()
    assert caught.value.code == "incomplete"
    assert tree(root_of(server) / "out") == {"a.csv": b"old"}


# --- the way in --------------------------------------------------------------------------------------------------


def refusal(fetch: Any, **more: Any) -> RunError:
    with pytest.raises(RunError) as caught:
        fetch("in/people.csv", **more)
    assert "battery" not in str(caught.value)
    return caught.value


LOGINS = [
    ({"password": "not the battery"}, "refused the login of crm with the password"),
    ({"username": "nobody"}, "refused the login of nobody with the password"),
    ({"username": "too-many"}, "refused the login of too-many with the password"),
    ({"username": "cr\nm"}, "`username` cannot be used: Prohibited character: '\\n'"),
    ({"password": "battery\a"}, "refused the login of crm with the password"),
]


@pytest.mark.parametrize(("wrong", "text"), LOGINS)
def test_who_is_not_let_in(wrong: dict[str, str], text: str, fetch: Any, server: Running) -> None:
    error = refusal(fetch, **wrong)
    assert text in str(error)
    assert (error.code, error.waiting_helps) == ("login-refused", False)
    assert len(server.mood.logins) <= 1  # a wrong password is not tried again: that locks accounts


def test_a_user_without_sftp(fetch: Any) -> None:
    error = refusal(fetch, username="no-sftp")
    assert "let no-sftp in, but gives no SFTP" in str(error)
    assert error.code == "no-sftp"


KEY_FORMS = [
    ("openssh", None),
    ("pkcs8-pem", None),
    ("pkcs8-pem", "open sesame"),
    ("pkcs1-pem", "open sesame"),
    pytest.param("openssh", "open sesame", marks=pytest.mark.thorough),  # made to cost processor time
]


@pytest.mark.parametrize(("form", "passphrase"), KEY_FORMS)
def test_keys(form: str, passphrase: str | None, fetch: Any, server: Running) -> None:
    if form == "openssh" and passphrase:
        pytest.importorskip("bcrypt")
    key = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    server.keys["crm"] = key.convert_to_public()
    text = (
        key.export_private_key(form, passphrase, rounds=50 if form == "openssh" else 2048).decode().removesuffix("\n")
    )  # as a secret arrives
    how = {"key": text, "password": None, "passphrase": passphrase}
    assert names(fetch("in/people.csv", **how)) == ["in/people.csv"]
    server.keys.clear()
    error = refusal(fetch, **how)
    assert f"refused the login of crm with the key {key.get_fingerprint()}" in str(error)
    assert refusal(fetch, **how, agent=False).code == "login-refused"


BAD_KEYS: list[tuple[str, dict[str, Any], str]] = [
    ("pkcs8-pem", {}, "`key` is encrypted; set `passphrase`, as a reference"),
    ("pkcs8-pem", {"passphrase": "open barley"}, "`passphrase` does not open `key`"),
    ("none", {"key": "c2VjcmV0 hunter2"}, "`key` is not a private key"),
    ("none", {"key": "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2"}, "`key` is not a private key"),
    ("none", {"key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIhunter2"}, "`key` is not a private key"),
]


@pytest.mark.parametrize(("form", "more", "text"), BAD_KEYS)
def test_keys_that_cannot_be_used(form: Any, more: dict[str, Any], text: str, fetch: Any, server: Running) -> None:
    key = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    encrypted = {} if form == "none" else {"key": key.export_private_key(form, "open sesame").decode()}
    error = refusal(fetch, password=None, **encrypted, **more)
    assert text in str(error)
    assert error.code == "bad-key"
    assert "hunter2" not in str(error)
    assert server.mood.logins == []


def test_keys_at_home_and_in_an_agent_are_not_tried(
    fetch: Any, server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless `agent: true` says so."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    server.keys["crm"] = key.convert_to_public()
    home = tmp_path / "home" / ".ssh"
    home.mkdir(parents=True, mode=0o700)
    key.write_private_key(home / "id_ed25519")
    (home / "id_ed25519").chmod(0o600)
    (home / "config").write_text("Host *\n  PreferredAuthentications hostbased\n")
    monkeypatch.setenv("HOME", str(home.parent))
    with agent(tmp_path, home / "id_ed25519") as address:
        monkeypatch.setenv("SSH_AUTH_SOCK", address)
        assert refusal(fetch, password=None).code == "login-refused"
        assert names(fetch("in/people.csv", password=None, agent=True)) == ["in/people.csv"]
    monkeypatch.delenv("SSH_AUTH_SOCK")
    error = refusal(fetch, password=None, agent=True)
    assert "there is no SSH agent for `agent: true`" in str(error)


@contextmanager
def agent(folder: Path, key: Path) -> Iterator[str]:
    address = str(folder / "agent")
    try:
        process = subprocess.Popen(["ssh-agent", "-D", "-a", address], stdout=subprocess.DEVNULL)
    except FileNotFoundError:
        pytest.skip("there is no ssh-agent on this machine")
    try:
        while not Path(address).exists():
            time.sleep(0.01)
        added = {**os.environ, "SSH_AUTH_SOCK": address}
        subprocess.run(["ssh-add", "-q", str(key)], env=added, check=True, capture_output=True)
        yield address
    finally:
        process.terminate()
        process.wait()


def test_without_the_extra(fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    error = refusal(fetch)
    assert (error.code, error.hint) == ("missing-extra", "pip install 'connrunner[sftp]'")


# --- host keys ---------------------------------------------------------------------------------------------------

OTHER = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"


def test_pinned_keys(fetch: Any, server: Running) -> None:
    for pinned in (
        server.fingerprint,
        server.fingerprint + "=",
        server.public,
        server.public + " its comment",
        [OTHER, server.fingerprint],
        server.kinds["ssh-rsa"],  # the server's second key
    ):
        assert names(fetch("in/people.csv", host_key=pinned)) == ["in/people.csv"], pinned


def test_another_key_than_the_pinned_one(fetch: Any, server: Running) -> None:
    error = refusal(fetch, host_key=OTHER)
    ed25519, rsa = server.kinds["ssh-ed25519"], server.kinds["ssh-rsa"]
    assert str(error) == (
        f"127.0.0.1:{server.port} has another host key than expected: it offers {ed25519} (ssh-ed25519) and {rsa} "
        f"(ssh-rsa), `host_key` has {OTHER}; somebody may stand between; only when the server's owner confirms the new "
        f'key, set host_key: "{ed25519}"'
    )
    assert (error.code, error.waiting_helps) == ("changed-host-key", False)
    assert server.mood.logins == []  # nobody has told who we are


def test_what_is_no_host_key(fetch: Any) -> None:
    assert "`host_key` 'ssh-ed25519 AAAA' is not a host key" in str(refusal(fetch, host_key="ssh-ed25519 AAAA"))


def known(server: Running, path: Path, key: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# comment\n[127.0.0.1]:{server.port} {key or server.public}\n")
    return path


def test_known_hosts(fetch: Any, server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known(server, tmp_path / "workspace" / "hosts")
    assert names(fetch("in/people.csv", host_key=None, known_hosts="hosts")) == ["in/people.csv"]
    known(server, tmp_path / "home" / ".ssh" / "known_hosts")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert names(fetch("in/people.csv", host_key=None)) == ["in/people.csv"]
    assert refusal(fetch, host_key=OTHER).code == "changed-host-key"  # what is pinned wins


def test_an_unknown_host(fetch: Any, server: Running, tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "hosts").write_text("")
    error = refusal(fetch, host_key=None, known_hosts="hosts")
    assert str(error) == (
        f"the host key of 127.0.0.1:{server.port} is not known: it offers {server.fingerprint} (ssh-ed25519); compare it "
        f'with what the server\'s owner tells you, then set host_key: "{server.fingerprint}"'
    )
    assert error.code == "unknown-host-key"
    assert server.mood.logins == []


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256"])  # of the same kind, and one it has none of
def test_a_changed_host_key(kind: str, fetch: Any, server: Running, tmp_path: Path) -> None:
    former = asyncssh.generate_private_key(kind)
    known(server, tmp_path / "workspace" / "hosts", former.export_public_key().decode())
    error = refusal(fetch, host_key=None, known_hosts="hosts")
    assert f"it offers {server.fingerprint} (ssh-ed25519), hosts has {former.get_fingerprint()};" in str(error)
    assert error.code == "changed-host-key"
    assert server.mood.logins == []


def test_a_revoked_host_key(fetch: Any, server: Running, tmp_path: Path) -> None:
    path = known(server, tmp_path / "workspace" / "hosts")
    path.write_text(path.read_text() + f"@revoked * {server.public}\n")
    error = refusal(fetch, host_key=None, known_hosts="hosts")
    assert "Host key is revoked" in str(error)
    assert error.code == "no-secure-connection"


BAD_FILES = [
    ("nowhere", "cannot read `known_hosts` WS/nowhere: No such file or directory"),
    ("bad", "bad: Invalid known hosts entry: nonsense"),
]


@pytest.mark.parametrize(("name", "text"), BAD_FILES)
def test_known_hosts_that_cannot_be_used(name: str, text: str, fetch: Any, tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "bad").write_text("nonsense\n")
    error = refusal(fetch, host_key=None, known_hosts=name)
    assert text.replace("WS", str(tmp_path / "workspace")) in str(error)
    assert error.code == "no-known-hosts"


# --- the line ----------------------------------------------------------------------------------------------------


def test_a_host_that_does_not_exist(fetch: Any) -> None:
    error = refusal(fetch, host="sftp.example.invalid")
    assert "cannot find the host sftp.example.invalid" in str(error)
    assert error.code == "unknown-host"


def test_nobody_listens(fetch: Any, log: Log) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = refusal(fetch, port=taken.getsockname()[1])
    assert "cannot reach 127.0.0.1 at port" in str(error)
    assert (error.code, error.waiting_helps) == ("unreachable", True)
    assert len(log.warnings) == sftp_session.ATTEMPTS - 1
    assert log.warnings[0].endswith("Connection refused; trying again")


@contextmanager
def listener(says: bytes) -> Iterator[int]:
    """Run a server that says something and then nothing, or when it is empty hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as waiting:
        lines = []

        def serve() -> None:
            while True:
                try:
                    line, _ = waiting.accept()
                except OSError:
                    return
                line.sendall(says)
                if says:
                    lines.append(line)
                else:
                    line.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield waiting.getsockname()[1]
        waiting.shutdown(socket.SHUT_RDWR)
        thread.join()
        for line in lines:
            line.close()


STRANGERS = [
    (b"SSH-1.5-ancient\r\n", "not-ssh", "does not speak SSH as it should"),
    (b"220 ftp.example.com FTP server ready\r\n", "stalled", "did not finish the login within 0.2 s; see that `port`"),
    (b"SSH-2.0-silence\r\n", "stalled", "did not finish the login within 0.2 s"),
    (b"", "connection-lost", "broke off the login"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("says", "code", "text"), STRANGERS)
def test_what_is_no_ssh_server(says: bytes, code: str, text: str, fetch: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(login, "LOGIN", 0.2)
    with listener(says) as port:
        error = refusal(fetch, port=port)
    assert text in str(error)
    assert error.code == code


def cutting(times: int) -> Callable[[Files, bytes], None]:
    """Return what ends the first *times* connections in the middle of a transfer."""
    seen: Counter[Files] = Counter()

    def cut(files: Files, _: bytes) -> None:
        seen[files] += 1
        if len(seen) <= times and seen[files] > 5:
            files.cut()

    return cut


BIG = os.urandom(3_000_000)


def test_a_line_that_is_cut_in_the_middle(fetch: Any, deliver: Any, server: Running, log: Log) -> None:
    put(root_of(server) / "in" / "people.csv", BIG)
    server.mood.before["read"] = cutting(2)
    assert Path(fetch("in/people.csv").files[0].path).read_bytes() == BIG
    assert [text.partition(" broke ")[2].partition(":")[0] for text in log.warnings] == [
        "when asked to read in/people.csv"
    ] * 2
    server.mood.before["write"] = cutting(2)
    deliver(content=BIG)
    assert tree(root_of(server) / "out") == {"a.csv": BIG}


def test_a_line_that_is_cut_each_time(fetch: Any, deliver: Any, server: Running, caplog: Any) -> None:
    put(root_of(server) / "in" / "people.csv", BIG)
    deliver(content=b"old")
    server.mood.before["read"] = server.mood.before["write"] = cutting(99)
    for call in (fetch, lambda: deliver(content=BIG)):
        with pytest.raises(
            RunError, match=r"the connection to 127.0.0.1:\d+ broke when asked to .*; try later"
        ) as caught:
            call()
        assert (caught.value.code, caught.value.waiting_helps) == ("connection-lost", True)
    assert (root_of(server) / "out" / "a.csv").read_bytes() == b"old"
    assert caplog.messages == []  # asyncio has a line for each packet that cannot be sent


def test_a_line_that_is_cut_at_the_rename(deliver: Any, server: Running, posix_rename: bool) -> None:
    """Nobody knows then whether it was renamed; the second attempt puts it right."""
    deliver(content=b"old")

    def after(files: Files, path: bytes) -> None:
        del server.mood.before[what]
        os.replace(os.path.join(server.mood.root, path), root_of(server) / "out" / "a.csv")  # noqa: PTH105, PTH118
        files.cut()

    what = "posix_rename" if posix_rename else "rename"
    server.mood.before[what] = after
    deliver(content=b"new")
    assert tree(root_of(server) / "out") == {"a.csv": b"new"}


def test_a_line_that_is_cut_at_the_start(fetch: Any, server: Running, log: Log) -> None:
    server.mood.before["start"] = lambda files, _: files.connection.abort()
    assert names(fetch()) == ["in/people.csv"]
    assert [text.partition(" broke ")[2].partition(":")[0] for text in log.warnings] == ["when asked to start SFTP"]


async def forever(*_: Any) -> None:
    await asyncio.sleep(3600)


def patience(monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    """Record each session; return what tells the newest one that its server has been silent for too long."""
    sessions: list[sftp_session.SftpSession] = []
    begin = sftp_session.SftpSession.__enter__

    def recorded(self: sftp_session.SftpSession) -> sftp_session.SftpSession:
        sessions.append(self)
        return begin(self)

    monkeypatch.setattr(sftp_session.SftpSession, "__enter__", recorded)
    return lambda: sessions[-1]._loop.call_soon_threadsafe(sessions[-1]._give_up)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["lstat", "read", "readdir", "scandir"])
def test_a_server_that_stalls(what: str, fetch: Any, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = patience(monkeypatch)
    monkeypatch.setattr(sftp_session, "SILENCE", 1234)

    def stall(*_: Any) -> Any:
        is_over()
        return forever()

    server.mood.before[what] = stall
    with pytest.raises(RunError, match=r"sent nothing for 1234 s when asked to") as caught:
        fetch("in/people*.csv")
    assert (caught.value.code, caught.value.waiting_helps) == ("stalled", True)
    assert server.mood.asked[what] >= sftp_session.ATTEMPTS


@pytest.mark.slow
def test_silence_is_measured(fetch: Any, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sftp_session, "SILENCE", 0.2)
    server.mood.before["read"] = forever
    with pytest.raises(RunError, match=r"sent nothing for 0.2 s when asked to"):
        fetch("in/people.csv")


@pytest.mark.slow
def test_a_server_that_stalls_once(deliver: Any, server: Running, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    is_over = patience(monkeypatch)

    def once(*_: Any) -> Any:
        del server.mood.before["write"]
        is_over()
        return forever()

    server.mood.before["write"] = once
    deliver()
    assert tree(root_of(server) / "out") == {"a.csv": b"id\n1\n"}
    assert len(log.warnings) == 1


@pytest.mark.slow
def test_slow_is_not_silent(fetch: Any, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of five blocks is a sign of life: from one to the next, the patience begins anew."""
    events: list[str] = []
    alive = sftp_session.SftpSession._alive

    def noted(self: sftp_session.SftpSession) -> None:
        events.append("alive")
        alive(self)

    monkeypatch.setattr(sftp_session.SftpSession, "_alive", noted)
    monkeypatch.setattr("connrunner.connectors.sftp.server.BLOCK", 4)
    monkeypatch.setattr("connrunner.connectors.sftp.server.REQUESTS", 1)
    server.mood.before["read"] = lambda *_: events.append("block")
    assert fetch("in/people.csv").files
    blocks = [place for place, event in enumerate(events) if event == "block"]
    assert len(blocks) >= 5
    assert all("alive" in events[one:other] for one, other in pairwise(blocks))


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["fetch", "deliver"])
def test_a_signal_ends_a_transfer(direction: str, fetch: Any, deliver: Any, server: Running) -> None:
    """It comes at once, and what was half written is removed."""

    class Ended(BaseException):
        pass

    def end(*_: Any) -> None:
        raise Ended

    server.mood.before["read"] = forever
    server.mood.before["write"] = lambda *_: asyncio.sleep(0.05)
    former = signal.signal(signal.SIGALRM, end)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(Ended):
            fetch() if direction == "fetch" else deliver(content=BIG)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    assert tree(root_of(server) / "out") == {}
    assert [thread.name for thread in threading.enumerate() if thread.name == "sftp"] == []


def test_a_full_disk_here(fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("connrunner.connectors.sftp.server.os.pwrite", full)
    error = refusal(fetch)
    assert "000000.csv: No space left on device; see that this machine's disk has room" in str(error)
    assert error.code == "unwritable"


def test_what_may_not_be_read(fetch: Any, server: Running) -> None:
    def deny(*_: Any) -> None:
        raise asyncssh.SFTPPermissionDenied("Permission denied")

    for what, doing in (("scandir", "list in"), ("open", "read in/people.csv"), ("lstat", "look at in/p*.csv")):
        server.mood.before = {what: deny}
        with pytest.raises(RunError, match="does not allow crm to " + doing.replace("*", r"\*")) as caught:
            fetch("in/p*.csv")
        assert caught.value.code == "permission-denied"

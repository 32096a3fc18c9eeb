"""Local files as source and destination."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from connrunner.connectors import RunContext, files
from connrunner.connectors.naming import fill
from connrunner.core.model import LocalFile
from connrunner.errors import RunError

AT = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)


class Log:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str, *, level: str = "info", **facts: Any) -> None:
        self.texts.append(f"{level}: {text}")

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Make a workspace with a folder of files, and a folder beside the workspace."""
    home = tmp_path / "workspace"
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
    ):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(f"id\n{name}\n")
    (home / "in" / "members-folder.csv").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.csv").write_text("secret\n")
    return home


def names(workspace: Path, path: str, log: Log) -> list[str]:
    return [file.name for file in fetch(workspace, path, log)]


def fetch(workspace: Path, path: str, log: Log) -> tuple[LocalFile, ...]:
    return files.fetch({"path": path}, context(workspace, log), known=lambda *_: False, mark=None).files


def context(workspace: Path, log: Log, run: int = 7) -> RunContext:
    return RunContext(
        connection="audience",
        run=run,
        at=AT,
        workspace=workspace,
        spool=workspace / "spool",
        programs=workspace / "programs",
        report=log,
    )


# --- import ------------------------------------------------------------------------------------------------------

FOUND: list[tuple[str, list[str]]] = [
    ("in/people.csv", ["in/people.csv"]),
    ("./in//people.csv", ["in/people.csv"]),
    ("in/members-*.csv", ["in/members-2026-11-21.csv", "in/members-2026-11-22.csv"]),  # by name; whole ones only
    ("in/members-*", ["in/members-2026-11-21.csv", "in/members-2026-11-22.csv"]),
    ("in/members-2026-11-2?.csv", ["in/members-2026-11-21.csv", "in/members-2026-11-22.csv"]),
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
def test_what_a_path_finds(path: str, found: list[str], workspace: Path, log: Log) -> None:
    assert names(workspace, path, log) == found
    assert log.texts == []


def test_facts_of_a_file(workspace: Path, log: Log) -> None:
    path = workspace / "in" / "people.csv"
    os.utime(path, ns=(0, 1_794_000_000_123_456_789))
    (found,) = fetch(workspace, "in/people.csv", log)
    assert found == LocalFile(path=str(path), name="in/people.csv", size=17, modified="2026-11-06T21:20:00.123Z")


def test_names_outside_the_workspace_are_absolute(workspace: Path, log: Log) -> None:
    outside = workspace.parent / "elsewhere" / "secret.csv"
    assert names(workspace, str(outside), log) == [str(outside)]
    assert names(workspace, "../elsewhere/*.csv", log) == [str(outside)]
    assert names(workspace, str(workspace / "in" / "people.*"), log) == ["in/people.csv"]


ERRORS: list[tuple[str, str, str]] = [
    ("in/poeple.csv", "no-files", "no file 'in/poeple.csv' in WS/in; near it: people.csv"),
    (
        "in/member-*.csv",
        "no-files",
        "no file 'in/member-*.csv' in WS/in; near it: members-folder.csv, members-2026-11-22.csv, members-2026-11-2",
    ),
    ("in/*.parquet", "no-files", "no file 'in/*.parquet' in WS/in; "),
    ("in/2025/deep/zzz", "no-files", "in WS/in/2025/deep; it has 1 other, like members-older.csv"),
    ("empty/*.csv", "no-files", "no file 'empty/*.csv' in WS/empty; the folder is empty"),
    ("nowhere/*.csv", "no-folder", "no file 'nowhere/*.csv': there is no folder WS/nowhere; make it, mount it"),
    ("nowhere/one.csv", "no-folder", "there is no folder WS/nowhere"),
    ("in/people.csv/*.csv", "no-folder", "there is no folder WS/in/people.csv"),
    ("in/people.csv/x", "unreadable", "cannot read WS/in/people.csv/x: Not a directory"),
    ("in", "not-a-file", "in is a folder; write 'in/*' to take the files in it"),
    ("in/", "not-a-file", "in/ is a folder; write 'in/*'"),
    ("in/pipe.csv", "not-a-file", "in/pipe.csv is a pipe (FIFO); only files can be imported"),
    ("in/socket.csv", "not-a-file", "in/socket.csv is a socket"),
    ("/dev/null", "not-a-file", "/dev/null is a device"),
    ("in/pip?.csv", "no-files", "1 that match are not files to import, see the warnings"),
    ("in/dangling.csv", "no-files", "is a symbolic link to nowhere.csv, which is not there"),
    ("in/loop.csv", "no-files", "is a symbolic link to loop.csv, which is not there"),
    ("in/out.csv", "outside-folder", "is a symbolic link to UP/elsewhere/secret.csv, outside its folder"),
    ("", "bad-name", "`path` is ''"),
    ("in/\0.csv", "bad-name", "`path` is 'in/\\x00.csv'"),
    ("in/" + "x" * 300, "unreadable", "File name too long"),
]


@pytest.fixture
def trouble(workspace: Path) -> Iterator[Path]:
    """Put into the workspace what is no file to import."""
    (workspace / "empty").mkdir()
    os.mkfifo(workspace / "in" / "pipe.csv")
    (workspace / "in" / "dangling.csv").symlink_to("nowhere.csv")
    (workspace / "in" / "loop.csv").symlink_to("loop.csv")
    (workspace / "in" / "out.csv").symlink_to(workspace.parent / "elsewhere" / "secret.csv")
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(workspace / "in")  # the name of a socket is short
        try:
            listener.bind("socket.csv")
        finally:
            os.chdir(before)
        yield workspace


@pytest.mark.parametrize(("path", "code", "text"), ERRORS)
def test_what_cannot_be_imported(path: str, code: str, text: str, trouble: Path, log: Log) -> None:
    with pytest.raises(RunError) as caught:
        names(trouble, path, log)
    assert text.replace("WS", str(trouble)).replace("UP", str(trouble.parent)) in str(caught.value)
    assert caught.value.code == code
    assert caught.value.waiting_helps == (code == "no-files" and "symbolic" not in text)


def test_links_and_strange_things_among_files(trouble: Path, log: Log) -> None:
    (trouble / "in" / "latest.csv").symlink_to("people.csv")
    (trouble / "in" / "archive").symlink_to("2025")
    (trouble / "in" / "up").symlink_to("..")  # a loop
    (trouble / "in" / "away").symlink_to(trouble.parent / "elsewhere")
    assert names(trouble, "in/*.csv", log) == [
        "in/latest.csv",
        "in/members-2026-11-21.csv",
        "in/members-2026-11-22.csv",
        "in/odd[1].csv",
        "in/people.csv",
    ]
    assert log.texts == [
        "warning: left out: in/dangling.csv is a symbolic link to nothing",
        "warning: left out: in/loop.csv is a symbolic link to nothing",
        f"warning: left out: in/out.csv leads out of in by a symbolic link, to {trouble.parent}/elsewhere/secret.csv",
        "warning: left out: in/pipe.csv is a pipe (FIFO)",
        "warning: left out: in/socket.csv is a socket",
    ]
    log.texts.clear()
    assert names(trouble, "in/**/members-o*.csv", log) == ["in/2025/deep/members-older.csv", "in/2025/members-old.csv"]
    assert names(trouble, "in/archive/*.csv", log) == ["in/archive/members-old.csv"]
    assert log.texts == []
    with pytest.raises(RunError, match="no file"):
        names(trouble, "in/*/secret.csv", log)  # by way of in/away
    assert "secret.csv leads out of in" in log.texts[0]


def test_a_link_before_the_first_wildcard_is_the_owners_own(workspace: Path, log: Log) -> None:
    (workspace / "drop").symlink_to(workspace.parent / "elsewhere")
    assert names(workspace, "drop/*.csv", log) == ["drop/secret.csv"]
    assert log.texts == []


def test_a_name_that_is_not_utf_8(workspace: Path, log: Log) -> None:
    (workspace / "in" / os.fsdecode(b"bad-\xff.csv")).write_text("x")
    with pytest.raises(RunError, match=r"the name of the file b'in/bad-\\xff.csv' is not UTF-8; rename it"):
        names(workspace, "in/bad-*", log)


@pytest.mark.parametrize("locked", ["in/people.csv", "in", "in/2025"])
def test_what_may_not_be_read(locked: str, workspace: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workspace / locked
    if os.geteuid() == 0:  # root may read everything, so refuse for it
        refuse(monkeypatch, path)
    else:
        path.chmod(0)
    try:
        with pytest.raises(RunError) as caught:
            names(workspace, "in/people.csv" if path.is_file() else "in/**/*.csv", log)
    finally:
        path.chmod(0o700)
    assert f"{locked}: Permission denied" in str(caught.value)
    assert caught.value.code == "unreadable"


def refuse(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    open_path, scandir = Path.open, os.scandir

    def refusing(function: Any) -> Any:
        def refused(where: Any, *args: Any, **more: Any) -> Any:
            if Path(where) == path:
                raise PermissionError(13, "Permission denied", str(where))
            return function(where, *args, **more)

        return refused

    monkeypatch.setattr(Path, "open", refusing(open_path))
    monkeypatch.setattr(os, "scandir", refusing(scandir))


# --- export ------------------------------------------------------------------------------------------------------


def deliver(workspace: Path, path: str, log: Log, content: bytes = b"id\n1\n", run: int = 7) -> str:
    local = workspace.parent / "rows"
    local.write_bytes(content)
    return files.deliver({"path": path}, context(workspace, log, run), local).where


NAMES = [
    ("out/a.csv", "out/a.csv"),
    ("out/{connection}-{run}.csv.gz", "out/audience-7.csv.gz"),
    ("./out/{date}/a.csv", "out/2026-11-22/a.csv"),
    ("{run}{run}", "77"),
]


@pytest.mark.parametrize(("path", "name"), NAMES)
def test_where_an_export_goes(path: str, name: str, workspace: Path, log: Log) -> None:
    assert files.target({"path": path}, context(workspace, log)) == name
    assert not (workspace / "out").exists()  # asking changes nothing
    assert deliver(workspace, path, log) == name
    assert (workspace / name).read_bytes() == b"id\n1\n"
    assert [each.name for each in (workspace / name).parent.iterdir() if each.name.startswith(".")] == []


def test_the_date_is_that_of_utc() -> None:
    local = AT.astimezone(timezone(timedelta(hours=1)))
    assert (local.day, fill("{date}", connection="c", run=1, at=local)) == (23, "2026-11-22")


def test_a_file_is_replaced_and_left_overs_are_cleared(workspace: Path, log: Log) -> None:
    deliver(workspace, "out/a.csv", log)
    (workspace / "out" / ".a.csv.part").write_bytes(b"left by a crash, and longer than the file")
    deliver(workspace, "out/a.csv", log, b"second\n")
    assert [(path.name, path.read_bytes()) for path in (workspace / "out").iterdir()] == [("a.csv", b"second\n")]


def test_a_link_is_replaced_and_never_written_through(workspace: Path, log: Log) -> None:
    victim = workspace.parent / "elsewhere" / "secret.csv"
    (workspace / "out").mkdir()
    (workspace / "out" / "a.csv").symlink_to(victim)
    (workspace / "out" / ".a.csv.part").symlink_to(victim)
    deliver(workspace, "out/a.csv", log)
    assert not (workspace / "out" / "a.csv").is_symlink()
    assert victim.read_text() == "secret\n"


def test_a_reader_never_sees_half_a_file(workspace: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(workspace, "out/a.csv", log, b"old")
    seen = []

    def look(*_: Any) -> None:
        seen.append((workspace / "out" / "a.csv").read_bytes())

    monkeypatch.setattr(os, "fsync", look)
    deliver(workspace, "out/a.csv", log, b"new")
    assert seen == [b"old", b"new"]  # the file is on the disk before the rename, the folder after it


REFUSED = [
    ("in", "not-a-file", "cannot write in: it is a folder; set another `path`"),
    ("out/fifo", "not-a-file", "cannot write out/fifo: it is a pipe (FIFO)"),
    ("/dev/null", "not-a-file", "cannot write /dev/null: it is a device"),
    ("../nowhere/a.csv", "no-folder", "WS/../nowhere; make it or mount it; connrunner makes folders inside"),
    ("in/people.csv/a.csv", "unwritable", "cannot write in/people.csv/a.csv: Not a directory"),
    ("out/" + "x" * 253, "unwritable", "File name too long"),
    ("out/{Run}.csv", "unknown-placeholder", "unknown placeholder {Run} in path 'out/{Run}.csv'; did you mean {run}?"),
    ("out/{time}.csv", "unknown-placeholder", "unknown placeholder {time}"),
    ("out/{run.real}.csv", "unknown-placeholder", "unknown placeholder {run.real}"),
    ("out/{}.csv", "unknown-placeholder", "there is {date}, {run}, {connection}"),
]


@pytest.mark.parametrize(("path", "code", "text"), REFUSED)
def test_what_cannot_be_written(path: str, code: str, text: str, workspace: Path, log: Log) -> None:
    (workspace / "out").mkdir()
    os.mkfifo(workspace / "out" / "fifo")
    with pytest.raises(RunError) as caught:
        deliver(workspace, path, log)
    assert text.replace("WS", str(workspace)) in str(caught.value)
    assert caught.value.code == code


def test_outside_the_workspace_an_existing_folder_will_do(workspace: Path, log: Log) -> None:
    assert deliver(workspace, "../elsewhere/a.csv", log) == "../elsewhere/a.csv"
    assert (workspace.parent / "elsewhere" / "a.csv").exists()


@pytest.mark.parametrize("call", ["copyfileobj", "fsync"])
def test_a_full_disk_leaves_the_old_file(call: str, workspace: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(workspace, "out/a.csv", log, b"old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil if call == "copyfileobj" else os, call, full)
    with pytest.raises(RunError, match=r"cannot write out/a.csv: No space left on device; see that the disk has room"):
        deliver(workspace, "out/a.csv", log, b"new")
    assert [(path.name, path.read_bytes()) for path in (workspace / "out").iterdir()] == [("a.csv", b"old")]


def test_two_runs_that_write_one_file_do_not_mix(workspace: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.copyfileobj

    def meanwhile(source: Any, copy: Any, size: int) -> None:
        real(source, copy, size)
        monkeypatch.setattr(shutil, "copyfileobj", real)
        (workspace / "out" / ".a.csv.part").unlink()
        (workspace / "out" / ".a.csv.part").write_bytes(b"half of another ru")

    monkeypatch.setattr(shutil, "copyfileobj", meanwhile)
    with pytest.raises(RunError, match="another run is writing it"):
        deliver(workspace, "out/a.csv", log)
    assert not (workspace / "out" / "a.csv").exists()

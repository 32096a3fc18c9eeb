"""Who may read what a command or a run writes: its owner, whatever the umask is and whatever was there before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from connrunner.core.model import Outcome
from connrunner.scheduler import tick
from connrunner.text.files import make_folders, replace_file, replacing, saving
from tests.conftest import PROFILE, Place
from tests.runs import Runs
from tests.test_cli import AT, ended

UMASKS = (0o000, 0o022, 0o077)
BEFORE = ("nothing", "a file", "a link", "a planted one")
COMMANDS = [
    # what is typed                                             where it writes        its mode
    ("log people 1 --output OUT/log.jsonl",                     "log.jsonl",           0o600),
    ("rejects people 1 --output OUT/rejects.jsonl",             "rejects.jsonl",       0o600),
    ("profiles --output OUT/people.csv",                        "people.csv",          0o600),
    ("profiles --output OUT/people.csv.gz",                     "people.csv.gz",       0o600),
    ("profiles --output OUT/people.jsonl",                      "people.jsonl",        0o600),
    ("profiles --output OUT/people.parquet",                    "people.parquet",      0o600),
    ("runs people --format csv --output OUT/runs.csv",          "runs.csv",            0o600),
    ("runs people --format parquet --output OUT/runs.parquet",  "runs.parquet",        0o600),
    ("notify preview people --output OUT",                      "people-failed.txt",   0o600),
    ("metrics --write OUT/metrics.prom",                        "metrics.prom",        0o644),
    ("calendar --write OUT/runs.ics",                           "runs.ics",            0o644),
]  # fmt: skip


@pytest.fixture(params=UMASKS, ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("modes"))
    place.write("connrunner.yaml", "version: 1\n")
    place.write("profile.yaml", PROFILE)
    place.command("people", "print()")
    tick.Tick(place.folder, place.state, now=AT, say=lambda _: None).take_in()
    for number in (1, 2):
        ended(place, "people", number, outcome=Outcome.FAILED, due_at=AT + timedelta(minutes=number))
    place.write("in/a.csv", "id,name,age\n1,Ann,30\n")
    runs = Runs(place.folder, number=6)
    work = {"from": {"type": "files", "path": "in/a.csv"}, "match": ["id"], "fields": {"id": "id", "name": "name"}}
    assert runs.run({"import": work}).counts["created"] == 1
    return place


def put(path: Path, before: str) -> Path:
    """Prepare what is at *path*; return a file that must stay as it is."""
    other = path.with_name(f"other-{path.name}")
    other.write_bytes(b"theirs")
    other.chmod(0o666)
    if before == "a file":
        path.write_bytes(b"older")
        path.chmod(0o666)
    elif before == "a link":
        path.symlink_to(other)
    elif before == "a planted one":  # where some commands prepare their file
        for name in (f".{path.name}.part", f".{path.name}.{os.getpid()}.tmp"):
            path.with_name(name).symlink_to(other)
    return other


@pytest.mark.thorough
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize(("typed", "name", "mode"), COMMANDS, ids=[typed for typed, _, _ in COMMANDS])
def test_what_commands_write(
    lived: Place, tmp_path: Path, umask: int, typed: str, name: str, mode: int, before: str
) -> None:
    del umask
    check_command(lived, tmp_path, typed, name, mode, before)


@pytest.mark.parametrize("umask", [0o000], indirect=True, ids=oct)
@pytest.mark.parametrize(("typed", "name", "mode"), [one for one in COMMANDS if "preview" not in one[0]])
def test_what_commands_write_over_a_file_that_all_may_read(
    lived: Place, tmp_path: Path, umask: int, typed: str, name: str, mode: int
) -> None:
    del umask
    check_command(lived, tmp_path, typed, name, mode, "a file")


def check_command(lived: Place, tmp_path: Path, typed: str, name: str, mode: int, before: str) -> None:
    other = put(tmp_path / name, before)
    lived.run(*typed.replace("OUT", str(tmp_path)).split())
    facts = (tmp_path / name).lstat()
    assert (oct(facts.st_mode), facts.st_uid) == (oct(0o100000 | mode), os.geteuid())
    assert other.read_bytes() == b"theirs"


FORMS = [("a.csv", {}), ("a.csv.gz", {}), ("a.jsonl", {"type": "jsonl"}), ("a.parquet", {"type": "parquet"})]
MODES = [({}, 0o600), ({"mode": "0640"}, 0o640), ({"mode": "0664"}, 0o664), ({"mode": "0400"}, 0o400)]


@pytest.mark.thorough
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize(("setting", "mode"), MODES, ids=[str(setting) for setting, _ in MODES])
def test_what_exports_write(lived: Place, umask: int, setting: dict[str, str], mode: int, before: str) -> None:
    folder = f"{umask:o}-{mode:o}-{before.replace(' ', '')}"
    check_export(lived, folder, "a.csv", {}, setting, mode, before)


@pytest.mark.parametrize(("setting", "mode"), MODES, ids=[str(setting) for setting, _ in MODES])
def test_what_exports_write_over_a_file_that_all_may_read(lived: Place, setting: dict[str, str], mode: int) -> None:
    check_export(lived, f"over-{mode:o}", "a.csv", {}, setting, mode, "a file")


@pytest.mark.parametrize(("name", "form"), FORMS[1:])
def test_exports_in_each_format(lived: Place, name: str, form: dict[str, str]) -> None:
    check_export(lived, "forms", name, form, {"mode": "0644"}, 0o644, "nothing")


def check_export(
    lived: Place, folder: str, name: str, form: dict[str, str], setting: dict[str, str], mode: int, before: str
) -> None:
    target = lived.folder / "out" / folder / name
    if before != "nothing":
        target.parent.mkdir(parents=True)
        target.parent.chmod(0o755)
        other = put(target, before)
    runs = Runs(lived.folder, number=1000 + len(list(lived.state.connection("people").iterdir())))
    to = {"type": "files", "path": f"out/{folder}/{name}", **setting}
    work = {"export": {"to": to, "fields": {"Id": "id"}, "rows": "all", **({"format": form} if form else {})}}
    ran = runs.run(work)
    assert ran.code == "", ran
    facts = target.lstat()
    assert (oct(facts.st_mode), facts.st_uid) == (oct(0o100000 | mode), os.geteuid())
    if before != "nothing":
        assert other.read_bytes() == b"theirs"


@pytest.mark.parametrize(
    ("mode", "folder"), [(0o600, 0o700), (0o640, 0o710), (0o660, 0o710), (0o644, 0o711), (0o604, 0o701)], ids=oct
)
def test_folders_that_are_made(tmp_path: Path, umask: int, mode: int, folder: int) -> None:
    del umask
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(0o755)
    make_folders(there / "a" / "b", mode=mode)
    for made in (there / "a", there / "a" / "b"):
        assert oct(made.stat().st_mode & 0o777) == oct(folder)
    assert there.stat().st_mode & 0o777 == 0o755, "what was there stays"


@pytest.mark.parametrize("before", ["nothing", "a planted one"])
def test_an_archive(lived: Place, tmp_path: Path, umask: int, before: str) -> None:
    place = Place(tmp_path / "workspace")
    place.write("connrunner.yaml", "version: 1\n")
    place.command("people", "print()")
    tick.Tick(place.folder, place.state, now=AT, say=lambda _: None).take_in()
    for number in (1, 2):
        ended(place, "people", number, due_at=AT + timedelta(minutes=number))
    target = tmp_path / "share" / "a.tar.gz"
    target.parent.mkdir()
    target.parent.chmod(0o755)
    other = put(target, before)
    place.run("history", "archive", "--before", "2030-01-01", "--to", str(target))
    assert oct(target.lstat().st_mode) == oct(0o100600)
    assert other.read_bytes() == b"theirs"


def test_a_file_that_somebody_prepared_is_not_written_into(tmp_path: Path, umask: int) -> None:
    del umask
    writers: tuple[Callable[[Path], None], ...] = (_by_replacing, _by_saving, _at_once)
    for number, write in enumerate(writers):
        path = tmp_path / f"{number}.txt"
        planted = [path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.{os.getpid()}.tmp")]
        for one in planted:
            one.write_bytes(b"theirs")
            one.chmod(0o666)
        seen = [one.open("rb") for one in planted]
        write(path)
        assert [file.read() for file in seen] == [b"theirs", b"theirs"], "who has it open sees nothing of ours"
        for file in seen:
            file.close()
        assert (path.read_bytes(), oct(path.stat().st_mode)) == (b"ours", oct(0o100600))


def _by_replacing(path: Path) -> None:
    with replacing(path, suffix="part") as new:
        os.write(new.descriptor, b"ours")


def _at_once(path: Path) -> None:
    replace_file(path, b"ours", suffix="part")


def _by_saving(path: Path) -> None:
    with saving(path) as file:
        file.write(b"ours")


def test_one_that_is_exchanged_meanwhile_is_no_success(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(FileExistsError):
        _be_robbed(path)
    assert not path.exists()


def _be_robbed(path: Path) -> None:
    with replacing(path, suffix="part") as new:
        new.path.unlink()
        new.path.write_bytes(b"theirs")


def test_a_pipe_is_written_as_it_is(lived: Place, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDWR)
    lived.run("log", "people", "1", "--output", str(pipe))
    assert pipe.is_fifo()
    os.close(descriptor)
